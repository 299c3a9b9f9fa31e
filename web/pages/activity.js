/** Activity: what happened, newest first, in sentences; a run is one line. */

import { to } from "../lib/addresses.js";
import { get, post } from "../lib/api.js";
import { deletedSyncs } from "../lib/deleted.js";
import { h } from "../lib/dom.js";
import { bytes, clock, counted, duration } from "../lib/format.js";
import { button, empty, icon, link, name, pageHead, quietChoice, said } from "../lib/parts.js";
import { didWhat } from "../lib/runs.js";
import { settled, soon } from "../lib/soon.js";

const KINDS = [["", "Everything"], ["job", "Runs"], ["objects", "Objects"], ["sync", "Syncs"], ["connection", "Connections"], ["bucket", "Buckets"], ["batch", "Batches"], ["collection", "Pipelines"], ["notice", "Notices"]];

/** Lines of a page. */
const LINES = 100;
/** Events of a request. */
const EVENTS = 500;

/**
 * A line: what began and ended as one, a run or a batch, is one. `of` is the last of its events,
 * `begun` the first, `parts` those in between.
 * @typedef {{of: Api.LiveEvent, begun?: Api.LiveEvent, parts: Api.LiveEvent[]}} Line
 */

/** @param {Ui.Visit} visit @returns {Ui.Page} */
export function open(visit) {
  const asked = (/** @type {string} */ key) => visit.query.get(key) ?? "";
  /**
   * @type {{events: Api.LiveEvent[], kind: string, bucket: string, sync: string, search: string,
   *   names: Names, next: number | null, ready: boolean}}
   */
  const state = {
    events: [], kind: asked("kind"), bucket: asked("bucket"), sync: asked("sync"), search: asked("search"),
    names: { buckets: [], syncs: [], connections: [], collections: [] }, next: null, ready: false,
    ...(/** @type {object | undefined} */ (visit.kept)),
  };
  const again = soon(visit.refresh, 1000);
  const search = settled(() => change({}), 250);

  /** @param {Api.LiveEvent} event */
  const isOfInterest = (event) => tellsMore(event) && (!state.bucket || event.bucket_id === state.bucket) && (!state.sync || event.sync_config_id === state.sync);

  /** The lines that are asked for. @param {Api.LiveEvent[]} events */
  const linesOf = (events) => folded(events).filter((line) =>
    (!state.kind || line.of.type.startsWith(state.kind) || line.parts.some(({ type }) => type.startsWith(state.kind))) && hasWords(line, state));

  /**
   * Events of interest, from the log backwards, until they make a page of lines.
   * @param {number | null} before
   */
  async function read(before) {
    /** @type {Api.LiveEvent[]} */
    const found = [];
    let from = before;
    do {
      const answer = await get("/v1/events/log", { before: from, limit: EVENTS });
      found.push(...answer.results.filter(isOfInterest));
      from = answer.next_before;
    } while (from && linesOf(found).length < LINES);
    return { found, next: from };
  }

  async function older() {
    const { found, next } = await read(state.next);
    state.events.push(...found);
    state.next = next;
    visit.redraw();
  }

  /** @param {Partial<Record<"kind" | "bucket" | "sync" | "search", string>>} wanted */
  function change(wanted) {
    Object.assign(state, wanted, { events: [] });
    visit.rewrite({ kind: state.kind, bucket: state.bucket, sync: state.sync, search: state.search });
    visit.refresh();
  }

  return {
    title: () => "Activity",
    close: () => { again.stop(); search.stop(); },
    keep: () => ({ events: state.events, next: state.next }),
    event: (event) => { if (event.type !== "job.progress") again(); },
    refresh: async () => {
      state.names = await names();
      const newest = await read(null);
      // What was paged in below stays.
      const last = newest.found.at(-1)?.event_id ?? 0;
      const known = state.events.filter((event) => (event.event_id ?? 0) < last);
      Object.assign(state, { events: [...newest.found, ...known], next: known.length ? state.next : newest.next, ready: true });
    },
    view: () => {
      const lines = linesOf(state.events);
      const { buckets, syncs } = state.names;
      return [
        pageHead("Activity", "What happened, newest first."),
        h("div.bucket-bar", { role: "search" },
          h("div.search", icon("search"), h("label.sr", { for: "search" }, "Search"),
            h("input", { id: "search", type: "search", value: state.search, placeholder: "Words in any order", oninput: (event) => { state.search = event.target.value; search(); } })),
          quietChoice("Kind", "kind", state.kind, KINDS, (kind) => change({ kind })),
          quietChoice("Bucket", "in-bucket", state.bucket, [["", "Every bucket"], ...buckets.map(({ bucket_id, bucket_name }) => [bucket_id, bucket_name])], (bucket) => change({ bucket })),
          quietChoice("Sync", "of-sync", state.sync, [["", "Every sync"], ...syncs.map((sync) => [sync.sync_config_id, `${sync.source_path}${sync.status === "ARCHIVED" ? " (deleted)" : ""}`])], (sync) => change({ sync }))),
        !state.ready ? null : lines.length > 0 ? h("ol.log", drawn(lines, state.names))
          : state.kind || state.bucket || state.sync || state.search ? empty("No matches", "No event in the log matches these filters.")
            : empty("Nothing has happened yet", "Runs, changes and notices appear here as they happen."),
        state.next ? h("div.actions", button("Show older", older)) : null,
      ];
    },
  };
}

/**
 * @typedef {{buckets: Api.Bucket[], syncs: (Api.SyncRow | Api.Sync)[], connections:
 * Api.Connection[], collections: Api.Pipeline[]}} Names
 */

/**
 * What events are about, by id; deleted syncs too, whose history is still there.
 * @returns {Promise<Names>}
 */
async function names() {
  const [overview, buckets, connections, collections] = await Promise.all([
    get("/v1/overview"), get("/v1/buckets", { limit: 1000 }), post("/v1/organizations/connections/list", {}, { limit: 1000 }), get("/v1/collections", { limit: 1000 }),
  ]);
  return { syncs: [...overview.syncs, ...await deletedSyncs(buckets.results)], buckets: buckets.results, connections: connections.results, collections: collections.results };
}

/**
 * Events, newest first, as lines: those of one run or batch are one line.
 * @param {Api.LiveEvent[]} events @returns {Line[]}
 */
function folded(events) {
  /** @type {Map<string, Line>} */
  const runs = new Map();
  /** @type {Line[]} */
  const lines = [];
  for (const event of events) {
    const run = /^(job|objects)\./.test(event.type) ? event.sync_job_id : /^(batch|documents)\./.test(event.type) ? event.detail?.batch_id : null;
    const line = run && runs.get(run);
    if (line && event.type === "job.started") line.begun = event;
    else if (line) line.parts.push(event);
    else {
      const begins = { of: event, parts: [] };
      if (run) runs.set(run, begins);
      lines.push(begins);
    }
  }
  return lines;
}

/** @param {Line[]} lines @param {Names} names_ */
function drawn(lines, names_) {
  let day = "";
  return lines.flatMap((line) => {
    const event = line.of;
    const time = event.created_at ?? "";
    const today = new Date(time).toLocaleDateString("en-GB", { dateStyle: "full" });
    const head = today === day ? [] : [h("li", { key: today, class: "day" }, today)];
    day = today;
    const [which, tone, words] = tell(line, names_);
    return [...head, h("li", { key: event.event_id, class: tone }, h("time", { datetime: time }, clock(time)), icon(which), h("p", words))];
  });
}

/**
 * Whether a line has every word that is searched for.
 * @param {Line} line @param {{search: string, names: Names}} state
 */
function hasWords(line, { search, names: names_ }) {
  const wanted = search.toLowerCase().split(/\s+/).filter(Boolean);
  if (wanted.length === 0) return true;
  const text = textOf(tell(line, names_)[2]).toLowerCase();
  return wanted.every((word) => text.includes(word));
}

/** The words of what is drawn. @param {Ui.Child} child @returns {string} */
function textOf(child) {
  if (Array.isArray(child)) return child.map(textOf).join("");
  if (typeof child !== "object" || child === null) return typeof child === "boolean" || child === undefined ? "" : String(child ?? "");
  return child.text ?? textOf(child.children);
}

/**
 * A line as an icon, a tone and words.
 * @param {Line} line @param {Names} names_
 * @returns {[Parameters<typeof icon>[0], string, Ui.Child]}
 */
function tell({ of: event, begun, parts }, { syncs, buckets, connections, collections }) {
  const detail = event.detail ?? {};
  const row = syncs.find((one) => one.sync_config_id === event.sync_config_id);
  const bucket = buckets.find((one) => one.bucket_id === event.bucket_id);
  const collection = collections.find((one) => one.collection_id === detail.collection_id);
  const where = bucket ? link(name(bucket.bucket_name), to.bucket(bucket.bucket_id)) : "a deleted bucket";
  const what = row ? link([name(row.source_path), " → ", name(row.bucket_name)], to.sync(row)) : "a deleted sync";
  const pipeline = collection ? link(name(collection.collection_name), to.pipeline(collection.collection_id)) : detail.name ? name(detail.name) : "a deleted pipeline";
  const number = counted(detail.count ?? 0, "object");
  switch (event.type) {
    case "job.started": return ["play", "", [detail.resumed ? "A run resumed: " : "A run started: ", what]];
    case "job.finished": return finished(detail, what, { began: begun, isResumed: begun?.detail?.resumed });
    case "objects.added": return ["plus", "", [`${number} added to `, where]];
    case "objects.updated": return ["check", "", [`${number} updated in `, where]];
    case "objects.removed": return ["trash", "", [`${number} removed from `, where]];
    case "sync.changed": return ["gear", "", [what, " ", became(detail), detail.reason ? [": ", said(detail.reason)] : ""]];
    case "connection.changed": {
      const connection = connections.find((one) => one.connection_id === detail.connection_id);
      return ["plug", "", [connection ? link(name(connection.name), to.connection(connection.connection_id)) : "A connection", " ", became(detail)]];
    }
    case "bucket.changed": return ["bucket", "", [bucket ? where : "A bucket", " ", became(detail)]];
    case "batch.finished": {
      const documents = parts.reduce((sum, part) => sum + (part.detail?.count ?? 0), 0);
      const isGood = detail.status === "COMPLETED";
      return [isGood ? "check" : "alert", isGood ? "good" : detail.status === "FAILED" ? "bad" : "", [`A batch of ${counted(detail.objects ?? 0, "object")} in `, where, " ", ENDED[detail.status ?? ""] ?? "ended", documents ? `: ${counted(documents, "document")} written` : ""]];
    }
    case "documents.written": return ["table", "", [`${counted(detail.count ?? 0, "document")} written by `, pipeline]];
    case "collection.changed": return ["table", "", ["The pipeline ", pipeline, " ", became(detail)]];
    case "extractor.paused": return ["alert", "bad", ["The extractor ", name(detail.extractor), " ", detail.reason ? ["was paused: ", said(detail.reason)] : "works again"]];
    default: return ["alert", "", said(detail.message ?? JSON.stringify(detail))];
  }
}

/**
 * A run that has ended.
 * @param {Api.Detail} detail @param {Ui.Child} what @param {{began?: Api.LiveEvent, isResumed?:
 * boolean}} options
 * @returns {[Parameters<typeof icon>[0], string, Ui.Child]}
 */
function finished(detail, what, { began, isResumed }) {
  const failed = detail.status === "failed";
  const { counts = {} } = detail;
  const took = detail.run_ms ?? null;
  const isWhole = detail.status === "completed" && detail.phase !== "held" && !counts.failed;
  const ended = failed ? "failed" : detail.status === "interrupted" ? "was interrupted" : detail.phase === "held" ? "ended, with removals held" : `${isResumed ? "resumed and ended" : "ended"}${counts.failed ? ", with failures" : ""}`;
  return [isWhole ? "check" : "alert", failed ? "bad" : isWhole ? "good" : "warn", [
    `A run ${ended}: `, what, ". ", didWhat({ status: detail.status, counts }), counts.bytes ? `, ${bytes(counts.bytes)}` : "",
    took !== null ? `, in ${duration(took / 1000)}` : "", began ? `, begun ${clock(began.created_at ?? null)}` : "", detail.error ? [". ", said(detail.error)] : "",
  ]];
}

/** Whether an event says more than those of the runs around it. @param {Api.LiveEvent} event */
const tellsMore = ({ type, detail }) =>
  type !== "sync.changed" || detail?.change !== "status" || detail.paused || detail.was === "SUSPENDED" || ["COMPLETED", "ARCHIVED"].includes(detail.status ?? "");

/** How a batch ended. @type {Record<string, string>} */
const ENDED = { COMPLETED: "was processed", COMPLETED_WITH_ERRORS: "was processed, with failures", FAILED: "failed", CANCELED: "was cancelled" };

/** What became of a thing. @param {Api.Detail} detail */
function became(detail) {
  const number = detail.count ?? 0;
  switch (detail.change === "status" ? detail.status : detail.change) {
    case "created": return "was created";
    case "changed": case "updated": return "was changed";
    case "archived": case "ARCHIVED": case "deleted": return "was deleted";
    case "held": return `is holding ${counted(number, "removal")} until you decide`;
    case "approved": return `had ${counted(number, "held removal")} approved`;
    case "rejected": return `had ${counted(number, "held removal")} rejected: the objects stay`;
    case "is_active": return detail.is_active ? "was switched on" : "was switched off";
    case "COMPLETED": return "has completed";
    case "SUSPENDED": return "was paused";
    default: return detail.was === "SUSPENDED" ? "was resumed" : `is now ${String(detail.status ?? detail.change).toLowerCase().replaceAll("_", " ")}`;
  }
}
