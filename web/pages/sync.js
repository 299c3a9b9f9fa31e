/** A sync: its controls, its history, its failures, held removals, and its settings. */

import { to } from "../lib/addresses.js";
import { at, get, post, remove } from "../lib/api.js";
import { history } from "../lib/chart.js";
import { ask } from "../lib/dialog.js";
import { h } from "../lib/dom.js";
import { bytes, clock, count, counted, duration, interval, moment, until } from "../lib/format.js";
import { attempt, note } from "../lib/notes.js";
import { badge, button, cell, command, empty, facts, heads, icon, link, name, quietChoice, said, section, syncBadge, timeOf } from "../lib/parts.js";
import { approveRemovals, causeWords, costOf, didWhat, isHeld, jobBadge, pause, rejectRemovals, resume, runNow, runOf, sampleOf, waitsFor, whyHeld } from "../lib/runs.js";
import { soon } from "../lib/soon.js";
import { inWords } from "../lib/words.js";
import { wayOut } from "../lib/way-out.js";
import { running } from "./home.js";

const TABS = [["history", "History"], ["failures", "Failures"], ["configuration", "Configuration"], ["inside", "Internals"]];

/** Runs that are shown at first, and at most. */
const RUNS = 60;
const MOST_RUNS = 960;

/**
 * @typedef {{sync: Api.Sync | null, jobs: Api.Job[], jobsTotal: number, shown: number,
 *   letters: Api.Letter[], lettersTotal: number, bucket: Api.Bucket | null,
 *   connection: Api.Connection | null, tab: string, run: string | null, errorType: string,
 *   chosen: Set<string>}} State
 * @typedef {State & {sync: Api.Sync}} Loaded
 */

/** @param {Ui.Visit} visit @returns {Ui.Page} */
export function open(visit) {
  const [bucketId, syncId] = visit.params;
  const base = at.sync(bucketId, syncId);
  const kept = /** @type {{shown: number, run: string | null} | undefined} */ (visit.kept);
  /**
   * @type {State}
   */
  const state = {
    sync: null, jobs: [], jobsTotal: 0, shown: kept?.shown ?? RUNS, letters: [], lettersTotal: 0, bucket: null, connection: null,
    tab: visit.query.get("show") ?? "history", run: kept?.run ?? null, errorType: "", chosen: new Set(),
  };
  const again = soon(visit.refresh, 700);

  /** @param {string} tab */
  const show = (tab) => {
    state.tab = tab;
    visit.rewrite(tab === "history" ? {} : { show: tab });
    visit.redraw();
  };

  /** The running job, if there is one. */
  const underWay = () => state.jobs.find((job) => job.status === "running");

  return {
    title: () => (state.sync ? state.sync.source_path : "Sync"),
    ticks: true,
    close: again.stop,
    keep: () => ({ shown: state.shown, run: state.run }),
    refresh: async () => {
      const [sync, jobs, letters, bucket] = await Promise.all([
        get(base),
        post(`${base}/jobs`, {}, { limit: state.shown }),
        post(`${base}/dlq`, state.errorType ? { error_types: [state.errorType] } : {}),
        get(at.bucket(bucketId)),
      ]);
      Object.assign(state, { sync, jobs: jobs.results, jobsTotal: jobs.total, letters: letters.results, lettersTotal: letters.total, bucket });
      state.connection ??= await get(at.connection(sync.connection_id)).catch(() => null);
    },
    event: (event) => {
      if (event.sync_config_id !== syncId) return;
      if (event.type === "job.progress") visit.redraw();
      else again();
    },
    view: () => {
      const { sync } = state;
      if (!sync) return h("h1.sr", "Sync");
      const job = underWay();
      const loaded = /** @type {Loaded} */ (state);
      return [
        head(loaded, job, visit),
        job ? running(sync, job) : null,
        isDeleted(sync) ? null : [waiting(sync), notices(sync), held(sync, visit)],
        sync.last_error && !job && !isDeleted(sync) ? trouble(sync, state.connection) : null,
        h("nav.tabs", { "aria-label": "About this sync" }, TABS.map(([tab, label]) =>
          h("a", {
            href: to.sync(sync, tab === "history" ? "" : tab),
            "aria-current": state.tab === tab ? "page" : null,
            onclick: (event) => { event.preventDefault(); show(tab); },
          }, label, tab === "failures" && state.lettersTotal > 0 ? h("span.number", count(state.lettersTotal)) : null))),
        state.tab === "history" ? past(state, visit) : null,
        state.tab === "failures" ? failures(loaded, base, visit) : null,
        state.tab === "configuration" ? configuration(loaded) : null,
        state.tab === "inside" ? inside(loaded, base, visit) : null,
      ];
    },
  };
}

/** @param {Loaded} state @param {Api.Job | undefined} job @param {Ui.Visit} visit */
function head({ sync, bucket, connection }, job, visit) {
  const base = at.sync(sync.bucket_id, sync.sync_config_id);
  return h("header.page-head", h("div", h("h1", name(sync.source_path)),
      h("p", job ? badge("IN_PROGRESS") : syncBadge(sync),
        h("span", "from ", connection ? link(name(connection.name), to.connection(connection.connection_id)) : "…",
          " into ", link(name(bucket?.bucket_name), to.bucket(sync.bucket_id))),
        h("span.number", isDeleted(sync) ? ["deleted ", timeOf(sync.updated_at)] : job ? `started ${clock(job.started_at)}` : sync.paused ? ["paused ", timeOf(sync.paused_at)] : sync.next_sync_at ? `next run ${until(sync.next_sync_at)}` : "not scheduled")),
      isDeleted(sync) ? h("p", "This sync was deleted and will not run again. Its history, failures and configuration stay readable, and its objects stay in the bucket.") : null,
      sync.paused && sync.pause_reason ? h("p", "Reason: ", said(sync.pause_reason)) : null,
    ),
    isDeleted(sync) ? h("div.actions", link("New sync", to.newSync({ bucket: sync.bucket_id }), { class: "button" })) : h("div.actions", button("Run now", () => runNow(sync).then(visit.refresh), { kind: "primary", icon: "play", disabled: Boolean(job) || sync.paused }),
      sync.paused
        ? button("Resume", () => resume(sync).then(visit.refresh), { icon: "play" })
        : button("Pause", () => pause(sync).then(visit.refresh), { icon: "pause" }),
      button("Full run", () => fullRun(sync).then(visit.refresh), { disabled: sync.paused }),
      link("Edit", to.edit(sync), { class: "button" }),
      button("Delete", async () => {
        const deleted = await ask({
          title: "Delete this sync?",
          body: h("p", "It stops running. Its history stays, and so do ", h("b", `the ${counted(bucket?.object_count ?? 0, "object")} in the bucket.`), " The source is never changed."),
          action: "Delete the sync",
          danger: true,
          run: () => remove(base),
        });
        if (deleted) {
          note("Deleted. Its history stays here, and under Home, Deleted syncs.");
          await visit.refresh();
        }
      }, { kind: "danger" }),
    ),
  );
}

/** @param {Api.Sync} sync */
const isDeleted = (sync) => sync.status === "ARCHIVED";

/** @param {Api.Sync} sync */
const fullRun = (sync) => ask({
  title: "Fetch everything again?",
  body: h("p", "A full run fetches every entry of the source again, changed or not. It can take long and cost requests; content that is already stored is not stored twice."),
  action: "Start a full run",
  run: () => runNow(sync, true),
});

/** @param {Api.Sync} sync @param {Ui.Visit} visit */
function held(sync, visit) {
  if (!isHeld(sync)) return null;
  return h("section.need.warn", { "aria-label": "Held removals" },
    icon("alert"),
    h("div.stack", h("h3", `Removals of ${counted(sync.held_removals.count, "object")} wait for your decision`),
      h("p", `${whyHeld(sync)} Held since ${moment(sync.held_removals.held_at)}.`),
      sampleOf(sync)),
    h("div.actions", button("Keep them", () => rejectRemovals(sync).then(visit.refresh), { kind: "small" }),
      button("Remove them", () => approveRemovals(sync).then(visit.refresh), { kind: "small danger" })),
  );
}

/** That the provider makes it wait, which is no failure, and until when. @param {Api.Sync} sync */
function waiting(sync) {
  const waits = waitsFor(sync);
  return waits && h("section.need", { "aria-label": "Waiting for the provider" }, icon("pause"),
    h("div", h("h3", waits.until ? `Waiting for the provider until ${moment(waits.until)}` : "Waiting for the provider"),
      h("p", said(waits.message)), h("p", "Nothing has failed. It continues automatically from where it stopped.")));
}

/** What is true of it and needs no action. @param {Api.Sync} sync */
const notices = (sync) => (sync.notices ?? []).filter((one) => one.code !== "waiting_for_provider")
  .map((one) => h("p.muted", { key: one.code, role: "status" }, said(one.message)));

/** @param {Api.Sync} sync @param {Api.Connection | null} connection */
const trouble = (sync, connection) => h("div.problem", icon("alert"),
  h("div", h("p", said(sync.last_error)),
    sync.consecutive_failures > 0 ? h("p.muted", `${counted(sync.consecutive_failures, "run")} failed in a row. After five the sync is paused.`) : null,
    wayOut(sync.last_error, { connection })),
);

/** @param {State} state @param {Ui.Visit} visit */
function past(state, visit) {
  if (state.jobs.length === 0) {
    return empty("No runs yet", "The first run copies every entry of the source. Later runs fetch only what changed.");
  }
  const runs = state.jobs.map(runOf).reverse();
  const chosen = state.jobs.find((job) => job.sync_job_id === state.run) ?? state.jobs[0];
  return [
    h("section.panel", { "aria-label": "History" },
      section("Runs", undefined, h("p.legend",
        h("span", h("i"), "objects copied"), h("span.removed", h("i"), "objects removed"), h("span.bytes", h("i"), "bytes"),
        h("span.failed", h("b", "×"), "failed"), h("span.held", h("b", "‖"), "removals held"))),
      history(runs, chosen.sync_job_id, (id) => { state.run = id; visit.redraw(); }),
      h("p.muted", "Bar heights use a square-root scale, so that small runs stay visible beside large ones."),
      h("div.chosen-run", { "aria-live": "polite" },
        jobBadge(chosen), h("b", moment(chosen.started_at ?? chosen.updated_at)), h("span", didWhat(chosen)), h("span.muted", bytes(runOf(chosen).bytes)), costOf(chosen) ? h("span.muted", costOf(chosen)) : null,
        chosen.error ? h("span.bad", said(chosen.error)) : null)),
    h("table.rows", h("caption.sr", "Runs, newest first"),
      heads(["Started", "State", "Trigger", "What it did", "Bytes", "Duration"]),
      h("tbody", state.jobs.map((job) => jobRow(job)))),
    h("div.actions", link("Activity of this sync", `#/activity?sync=${chosen.sync_config_id}`, { class: "button small quiet", icon: "pulse" }),
      state.jobs.length < state.jobsTotal && state.shown < MOST_RUNS ? button("Show older runs", () => { state.shown = Math.min(MOST_RUNS, state.shown * 4); return visit.refresh(); }) : null),
  ];
}

/** @param {Api.Job} job */
function jobRow(job) {
  const took = job.started_at && job.completed_at ? (Date.parse(job.completed_at) - Date.parse(job.started_at)) / 1000 : null;
  return h("tr", { key: job.sync_job_id },
    cell("Started", moment(job.started_at ?? job.updated_at)),
    cell("State", jobBadge(job)),
    cell("Trigger", causeWords(job.cause)),
    h("td", { "data-label": "What it did" }, didWhat(job),
      job.error ? h("small.bad", said(job.error)) : null),
    cell("Bytes", bytes(runOf(job).bytes)),
    cell("Duration", duration(took)),
  );
}

const ERRORS = {
  download_failed: "Could not be read",
  not_found: "Gone before it was read",
  permission_denied: "Not allowed",
  rate_limited: "The source asked to slow down",
  timeout: "Took too long",
  too_large: "Too large",
  validation_error: "Not accepted",
  schema_mismatch: "Does not fit the bucket's schema",
  changed_during_read: "Changed while it was read",
  checksum_mismatch: "Arrived damaged",
  unsupported_type: "Not supported",
  internal: "Internal error",
};

/** @param {string} type */
const errorWords = (type) => ERRORS[/** @type {keyof typeof ERRORS} */ (type)] ?? type;

/** @param {Loaded} state @param {ReturnType<typeof at.sync>} base @param {Ui.Visit} visit */
function failures(state, base, visit) {
  const over = isDeleted(state.sync);
  if (state.letters.length === 0 && !state.errorType) {
    return empty("Nothing failed", "An entry that fails is listed here with the reason, and later runs retry it. One bad entry never stops the rest.");
  }
  const types = [...new Set(state.letters.map((letter) => letter.error_type))];
  /** @param {object} body @param {string} done */
  const requeue = (body, done) => attempt(() => post(`${base}/dlq/requeue`, body), done).then(() => { state.chosen.clear(); return visit.refresh(); });
  return h("section", { "aria-label": "Failures" },
    section("Entries that could not be copied", state.lettersTotal,
      h("div.actions", quietChoice("Kind of failure", "error-type", state.errorType, [["", "Every kind"], ...[...new Set([...types, ...(state.errorType ? [state.errorType] : [])])].map((type) => [type, errorWords(type)])],
          (type) => { state.errorType = type; visit.refresh(); }),
        over ? null : state.chosen.size > 0
          ? button(`Retry ${counted(state.chosen.size, "entry", "entries")}`, () => requeue({ dlq_ids: [...state.chosen] }, "They will be retried now."), { kind: "primary" })
          : button(state.letters.length < state.lettersTotal ? `Retry these ${count(state.letters.length)}` : "Retry all", () => requeue({ dlq_ids: state.letters.map((letter) => letter.dlq_id) }, "They will be retried now."), { kind: "primary" }))),
    h("table.rows", heads([h("span.sr", "Select"), "Entry", "Reason", "Tried", "Last seen", ""]),
      h("tbody", state.letters.map((letter) => h("tr", { key: letter.dlq_id },
        h("td", over ? null : h("input", {
          type: "checkbox", checked: state.chosen.has(letter.dlq_id), "aria-label": `Select ${letter.source_path ?? letter.source_object_id}`,
          onchange: (event) => { event.target.checked ? state.chosen.add(letter.dlq_id) : state.chosen.delete(letter.dlq_id); visit.redraw(); },
        })),
        h("td", { "data-label": "Entry", class: "main" }, name(letter.source_path ?? letter.source_object_id)),
        h("td", { "data-label": "Reason" }, h("b", errorWords(letter.error_type)), h("small", said(letter.error_message))),
        cell("Tried", counted(letter.retry_count + 1, "time") + (letter.disposal_reason ? ", given up" : letter.max_retries_reached ? ", no retries left" : "")),
        cell("Last seen", letter.requeued_at && letter.requeued_at > (letter.last_seen_at ?? "") ? "retried next" : timeOf(letter.last_seen_at)),
        h("td.row-actions", over ? null : button("Retry", () => requeue({ dlq_ids: [letter.dlq_id] }, "It will be retried now."), { kind: "small", "aria-label": `Retry ${letter.source_path ?? letter.source_object_id}` })),
      )))),
  );
}

/** The settings of a sync as a request that would create another like it. @param {Api.Sync} sync */
function settingsOf(sync) {
  const fields = /** @type {const} */ ([
    "connection_id", "source_path", "sync_mode", "polling_interval_seconds", "file_filters", "provider_filters", "schema_mapping",
    "reconcile", "skip_duplicates", "skip_batch_submission", "batch_size", "sync_concurrency", "max_objects_per_run", "description", "metadata",
  ]);
  return Object.fromEntries(fields.map((field) => [field, worth(sync[field])]).filter(([, value]) => value !== undefined));

  /** The value without nulls and empty lists. @param {unknown} value @returns {unknown} */
  function worth(value) {
    if (value === null || (Array.isArray(value) && value.length === 0)) return undefined;
    if (typeof value !== "object" || Array.isArray(value)) return value;
    const pairs = Object.entries(value).map(([key, inner]) => [key, worth(inner)]).filter(([, inner]) => inner !== undefined);
    return pairs.length ? Object.fromEntries(pairs) : undefined;
  }
}

/** @param {Loaded} state */
function configuration({ sync, bucket, connection }) {
  const settings = settingsOf(sync);
  const json = JSON.stringify(settings, null, 2);
  const quoted = JSON.stringify(settings).replaceAll("'", "'\\''");
  const curl = `curl -X POST '${location.origin}${at.bucket(sync.bucket_id)}/syncs' \\\n  -H "Authorization: Bearer $(catchment token)" \\\n  -H 'Content-Type: application/json' \\\n  -d '${quoted}'`;
  return h("div.stack", h("section.panel", h("p.summary", inWords(sync, { bucket: bucket?.bucket_name, connection: connection?.name })), sync.description ? h("p.muted", name(sync.description, { title: null })) : null),
    h("section", section("As JSON"), command(json, "Copy")),
    h("section", section("As a command"), command(curl, "Copy")),
  );
}

/** @param {Loaded} state @param {ReturnType<typeof at.sync>} base @param {Ui.Visit} visit */
function inside({ sync }, base, visit) {
  const shards = Object.entries(sync.sync_checkpoints ?? {});
  return h("div.stack", h("section.panel.stack", section("The lease"),
      facts([
        ["Held", sync.locked ? "yes" : "no"],
        ["By", sync.locked_by_worker_id ? h("code", sync.locked_by_worker_id) : null],
        ["Since", sync.locked_at ? moment(sync.locked_at) : null],
        ["Expires", sync.lock_expires_at ? until(sync.lock_expires_at) : null],
      ]),
      sync.locked ? h("div.actions", button("Unlock", () => ask({
        title: "Unlock this sync?",
        body: h("p", "Do this only if the worker that holds the lease is gone for good. A worker that is still running can write nothing more, and the next run resumes from the last checkpoint."),
        action: "Unlock",
        danger: true,
        run: () => post(`${base}/unlock`),
      }).then(visit.refresh), { kind: "danger small", icon: "lock" })) : null),
    h("section.panel", section("Checkpoints"),
      shards.length === 0 ? h("p.muted", "None yet: the first page of a run writes one.") : shards.map(([shard, checkpoint]) => h("div", { key: shard },
        shard === "__default__" ? null : h("h3", name(shard)),
        facts(Object.entries(checkpoint).map(([term, value]) => [term.replaceAll("_", " "), value === null ? "–" : h("code", name(String(value)))]))))),
    h("section.panel", section("Totals since it was created"),
      facts([
        ["Discovered", count(sync.total_files_discovered)],
        ["Copied", count(sync.total_files_synced)],
        ["Failed", count(sync.total_files_failed)],
        ["Bytes", bytes(sync.total_bytes_synced)],
        ["Runs", count(sync.sync_run_counter)],
        ["Schedule", sync.sync_mode === "initial_only" ? "once" : `every ${interval(sync.polling_interval_seconds)}`],
        ["Last complete pass", moment(sync.last_sync_at)],
        ["Created", moment(sync.created_at)],
        ["ID", h("code", sync.sync_config_id)],
      ])),
  );
}

