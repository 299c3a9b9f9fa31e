/** A pipeline: its documents, what failed and why, its batches; pause, retry, log. */

import { to } from "../lib/addresses.js";
import { get, patch, post, remove } from "../lib/api.js";
import { ask } from "../lib/dialog.js";
import { documentTable } from "../lib/documents.js";
import { h } from "../lib/dom.js";
import { face } from "../lib/face.js";
import { count, counted, duration, moment } from "../lib/format.js";
import { attempt, note } from "../lib/notes.js";
import { badge, bar, button, cell, empty, heads, icon, link, name, said, section, stat } from "../lib/parts.js";
import { batchAt, batchesOf, bucketsOf, conditionWords, extractorName, failuresOf, pipeline, pipelineAt, retryFailures, trigger } from "../lib/pipelines.js";
import { soon } from "../lib/soon.js";
import { stateOf } from "./pipelines.js";

const TABS = [["documents", "Documents"], ["failures", "Failures"], ["batches", "Batches"]];

/**
 * How a failure is told apart: what may pass, what will not, what took too much.
 * @type {Record<string, string>}
 */
const FAILURES = { transient: "May pass", permanent: "Cannot be read", resource: "Took too much time, memory or room" };

/** @param {Ui.Visit} visit @returns {Ui.Page} */
export function open(visit) {
  const [id] = visit.params;
  /**
   * @type {{one: Api.Pipeline | null, buckets: Map<string, string>, batches: Api.Batch[], groups:
   * Ui.FailureGroup[],
   *   tab: string, log: {batch: string, text: string} | null}}
   */
  const state = { one: null, buckets: new Map(), batches: [], groups: [], tab: visit.query.get("show") ?? "documents", log: null };
  const documents = documentTable({ collection: id, search: visit.query.get("search") ?? "", redraw: visit.redraw, searched: () => rewrite() });
  const again = soon(visit.refresh, 1000);

  /** @param {string} [search] */
  const rewrite = (search) => visit.rewrite({ show: state.tab === "documents" ? "" : state.tab, search });

  /** @param {string} tab */
  function show(tab) {
    state.tab = tab;
    rewrite();
    visit.redraw();
  }

  return {
    title: () => state.one?.collection_name ?? "Pipeline",
    ticks: true,
    close: () => { again.stop(); documents.stop(); },
    event: (event) => { if (/^(batch|documents|collection|extractor|objects)\./.test(event.type)) again(); },
    refresh: async () => {
      const [one, { results }] = await Promise.all([pipeline(id), get("/v1/buckets", { limit: 1000 }), documents.load()]);
      state.buckets = new Map(results.map((/** @type {{bucket_id: string, bucket_name: string}} */ bucket) => [bucket.bucket_id, bucket.bucket_name]));
      state.batches = await batchesOf(one);
      state.groups = one.failed ? await failuresOf(id) : [];
      state.one = one;
    },
    view: () => {
      const { one } = state;
      if (!one) return h("h1.sr", "Pipeline");
      return [
        head(one, state.buckets, visit),
        one.paused_reason ? h("section.need.warn", { "aria-label": "The extractor is paused" }, icon("alert"),
          h("div", h("h3", "The extractor is paused"), h("p", said(one.paused_reason)), h("p", "Nothing is lost. It is checked again automatically, and waiting objects are processed once it works."))) : null,
        one.disabled_reason?.message ? h("div.problem", icon("alert"), h("div", said(one.disabled_reason.message))) : null,
        one.warnings.map((warning) => h("p.bad", { key: warning }, said(warning))),
        h("dl.stats", { "aria-label": "What it has done" }, stat("Documents", count(one.document_count)), stat("Waiting", count(one.waiting), one.waiting && !one.enabled ? "until it is resumed" : ""),
          stat("Failed", count(one.failed)), stat("Outdated", count(one.outdated), one.outdated ? "made with other settings" : "")),
        h("nav.tabs", { "aria-label": "About this pipeline" }, TABS.map(([tab, label]) => h("a", {
          key: tab, href: to.pipeline(id, { show: tab === "documents" ? "" : tab }), "aria-current": state.tab === tab ? "page" : null,
          onclick: (event) => { event.preventDefault(); show(tab); },
        }, label, tab === "failures" && one.failed > 0 ? h("span.number", count(one.failed)) : null))),
        state.tab === "documents" ? documents.view() : null,
        state.tab === "failures" ? failures(one) : null,
        state.tab === "batches" ? batches() : null,
      ];
    },
  };

  /** @param {Api.Pipeline} one */
  function failures(one) {
    if (one.failed === 0) return empty("Nothing failed", "An object that fails is listed here with the reason. One bad object never stops the rest.");
    return h("section.stack", { "aria-label": "Failures" }, section("By reason", one.failed),
      state.groups.map((group) => h("article.need", { key: `${group.error_type} ${group.error}` }, icon("alert"),
        h("div", h("h3", `${counted(group.count, "object")}: `, said(group.error)), h("p", FAILURES[group.error_type] ?? group.error_type),
          h("details", h("summary", "Which"), h("ul", group.objects.map((object) => h("li", { key: object.object_id }, failedObject(one, object), ` tried ${counted(object.attempts, "time")}, ${moment(object.timestamp)}`,
            object.stderr ? h("pre", { tabindex: "0" }, object.stderr) : null))), group.count > group.objects.length ? h("p.muted", `and ${count(group.count - group.objects.length)} more`) : null)),
        h("div.actions", button("Retry these", () => retry(group), { kind: "small primary", "aria-label": `Retry these: ${group.error}` })))));
  }

  /** @param {Api.Pipeline} one @param {Api.FailedInPipeline} object */
  function failedObject(one, { object_id: object, bucket_id, key_prefix, mime_type }) {
    const bucket = bucket_id ?? bucketsOf(one)[0];
    return h("a.faced", { href: to.object(bucket, object) }, face(bucket, { id: object, mime: mime_type ?? "", blob: object }, 64, visit.redraw), name(key_prefix));
  }

  /** @param {Ui.FailureGroup} group */
  function retry(group) {
    return attempt(() => retryFailures(id, group), `${counted(group.count, "object")} will be tried again.`).then(visit.refresh);
  }

  function batches() {
    if (state.batches.length === 0) return empty("No batches yet", "New and changed objects are processed in batches as syncs copy them.");
    return [
      h("table.rows", h("caption.sr", "Batches, newest first"), heads(["Made", "State", "Objects", "Documents", "Failed", "Took", ""]),
        h("tbody", state.batches.map((batch) => batchRow(batch)))),
      state.log ? h("section.panel.stack", { "aria-label": "Log" }, section(`What the extractor said`, undefined, button("Close", () => { state.log = null; visit.redraw(); }, { kind: "small quiet" })),
        h("p.muted", h("code", state.log.batch)), h("pre.log-text", { tabindex: "0", role: "region", "aria-label": "Log of the batch" }, state.log.text || "Nothing.")) : null,
    ];
  }

  /** @param {Api.Batch} batch */
  function batchRow(batch) {
    const base = batchAt(batch.bucket_id, batch.batch_id);
    const isOpen = ["PENDING", "IN_PROGRESS"].includes(batch.status);
    const took = batch.completed_at ? (Date.parse(batch.completed_at) - Date.parse(batch.created_at)) / 1000 : null;
    return h("tr", { key: batch.batch_id },
      cell("Made", moment(batch.created_at)),
      h("td", { "data-label": "State" }, badge(batch.status === "PENDING" ? "QUEUED" : batch.status), isOpen && batch.status !== "PENDING" ? bar("Progress", batch.progress.percent / 100) : null,
        batch.lifecycle_reason || batch.error ? h("small.bad", said(batch.lifecycle_reason ?? batch.error)) : null),
      cell("Objects", count(batch.object_count)), cell("Documents", count(batch.documents_written)), cell("Failed", count(batch.failed_object_count)), cell("Took", isOpen ? "–" : duration(took)),
      h("td.row-actions",
        isOpen ? button("Cancel", () => attempt(() => post(`${base}/cancel`), "The batch is being cancelled. Documents that are written stay.").then(visit.refresh), { kind: "small" }) : null,
        !isOpen && batch.failed_object_count ? button("Retry failed", () => attempt(() => post(`${base}/retry`, { retry_mode: "all" }), "What failed will be tried again.").then(visit.refresh), { kind: "small" }) : null,
        button("Log", () => attempt(async () => {
          const { tiers } = await get(`${base}/logs`);
          state.log = { batch: batch.batch_id, text: tiers.map((/** @type {{logs: string}} */ tier) => tier.logs).join("\n") };
          visit.redraw();
        }), { kind: "small quiet", "aria-label": `Log of the batch of ${moment(batch.created_at)}` })));
  }
}

/** @param {Api.Pipeline} one @param {Map<string, string>} buckets @param {Ui.Visit} visit */
function head(one, buckets, visit) {
  const base = pipelineAt(one.collection_id);
  const from = bucketsOf(one);
  /** @param {boolean} enabled */
  const enable = (enabled) => attempt(async () => {
    await patch(base, { enabled });
    // Objects that arrived in the meantime are in no batch.
    if (enabled) await trigger(one.collection_id);
  }, enabled ? "Resumed. Objects that arrived in the meantime are processed now." : "Paused. Objects that arrive now are processed after you resume it.").then(visit.refresh);
  return h("header.page-head", h("div", h("h1", name(one.collection_name)),
      h("p", stateOf(one), h("span", conditionWords(one.source.source_filters?.filters), " of ", from.map((id, index) => h("span", { key: id }, index ? ", " : "", link(name(buckets.get(id) ?? id), to.bucket(id)))), ` through ${extractorName(one.feature_extractor)}`)),
      one.description ? h("p", name(one.description, { title: null })) : null),
    h("div.actions",
      button("Process what is here", () => attempt(async () => { note((await trigger(one.collection_id)).message); }).then(visit.refresh), { kind: "primary", icon: "play", disabled: !one.enabled, title: "New, changed and temporarily failed objects" }),
      one.outdated ? button(`Redo ${counted(one.outdated, "outdated object")}`, () => attempt(() => trigger(one.collection_id, { only_outdated: true }), "They are processed with the current settings.").then(visit.refresh)) : null,
      one.enabled ? button("Pause", () => enable(false), { icon: "pause" }) : button("Resume", () => enable(true), { icon: "play" }),
      link("Edit", `${to.pipeline(one.collection_id)}/edit`, { class: "button" }),
      button("Delete", async () => {
        const done = await ask({
          title: `Delete the pipeline ${one.collection_name}?`,
          body: h("p", h("b", `Its ${counted(one.document_count, "document")} are deleted.`), " The objects stay, and so do the sources."),
          action: "Delete the pipeline",
          danger: true,
          run: () => remove(base, { force: true }),
        });
        if (done) visit.go("#/pipelines");
      }, { kind: "danger" })));
}
