/** Activity: what happened, newest first, in sentences. */

/** @import { Page, Visit } from "../app.js" */
import { to } from "../lib/addresses.js";
import { get, post } from "../lib/api.js";
import { h } from "../lib/dom.js";
import { bytes, clock, counted } from "../lib/format.js";
import { button, empty, icon, link, name, pageHead, quietChoice, said } from "../lib/parts.js";
import { didWhat } from "../lib/runs.js";
import { soon } from "../lib/soon.js";

/** @type {[string, string][]} */
const KINDS = [["", "Everything"], ["job", "Runs"], ["objects", "Objects"], ["sync", "Syncs"], ["connection", "Connections"], ["bucket", "Buckets"], ["notice", "Notices"]];

/** @param {Visit} visit @returns {Page} */
export function open(visit) {
  /**
   * @type {{events: any[], kind: string, bucket: string, buckets: any[], syncs: any[], connections:
   * any[], next: number | null, ready: boolean}}
   */
  const state = { events: [], kind: visit.query.get("kind") ?? "", bucket: visit.query.get("bucket") ?? "", buckets: [], syncs: [], connections: [], next: null, ready: false };
  const again = soon(visit.refresh, 1000);

  /** @param {any} event */
  const wanted = (event) => told(event) && (!state.kind || event.type.startsWith(state.kind)) && (!state.bucket || event.bucket_id === state.bucket);

  /**
   * Events that are wanted, from the log backwards, until there are some.
   * @param {number | null} before
   */
  async function read(before) {
    /** @type {any[]} */
    const found = [];
    let from = before;
    do {
      const answer = await get("/v1/events/log", { before: from, limit: 500 });
      found.push(...answer.results.filter(wanted));
      from = answer.next_before;
    } while (from && found.length < 100);
    return { found, next: from };
  }

  async function older() {
    const { found, next } = await read(state.next);
    state.events.push(...found);
    state.next = next;
    visit.redraw();
  }

  /** @param {{kind?: string, bucket?: string}} to */
  function change(to) {
    Object.assign(state, to, { events: [] });
    visit.rewrite({ kind: state.kind, bucket: state.bucket });
    visit.refresh();
  }

  return {
    title: () => "Activity",
    close: again.stop,
    event: (event) => { if (event.type !== "job.progress") again(); },
    refresh: async () => {
      const [newest, overview, buckets, connections] = await Promise.all([
        read(null), get("/v1/overview"), get("/v1/buckets", { limit: 1000 }), post("/v1/organizations/connections/list", {}, { limit: 1000 }),
      ]);
      // What was paged in below stays.
      const last = newest.found.at(-1)?.event_id ?? 0;
      const known = state.events.filter((event) => event.event_id < last);
      Object.assign(state, { events: [...newest.found, ...known], next: known.length ? state.next : newest.next, syncs: overview.syncs, buckets: buckets.results, connections: connections.results, ready: true });
    },
    view: () => [
      pageHead("Activity", "What happened, newest first.",
        quietChoice("Kind", "kind", state.kind, KINDS, (kind) => change({ kind })),
        quietChoice("Bucket", "in-bucket", state.bucket, [["", "Every bucket"], ...state.buckets.map(({ bucket_id, bucket_name }) => /** @type {[string, string]} */ ([bucket_id, bucket_name]))], (bucket) => change({ bucket }))),
      !state.ready ? null : state.events.length === 0 ? empty("Nothing has happened yet", "Runs, changes and notices appear here as they happen.") : h("ol.log", lines(state)),
      state.next ? h("div.actions", button("Show older", older)) : null,
    ],
  };
}

/** @param {any} state */
function lines(state) {
  let day = "";
  return state.events.flatMap((/** @type {any} */ event) => {
    const today = new Date(event.created_at).toLocaleDateString("en-GB", { dateStyle: "full" });
    const head = today === day ? [] : [h("li", { key: today, class: "day" }, today)];
    day = today;
    const [which, tone, words] = tell(event, state);
    return [...head, h("li", { key: event.event_id, class: tone }, h("time", { datetime: event.created_at }, clock(event.created_at)), icon(which), h("p", words))];
  });
}

/**
 * An event as an icon, a tone and words.
 * @param {any} event
 * @param {any} state
 * @returns {[any, string, any]}
 */
function tell(event, { syncs, buckets, connections }) {
  const detail = event.detail ?? {};
  const row = syncs.find((/** @type {any} */ one) => one.sync_config_id === event.sync_config_id);
  const bucket = buckets.find((/** @type {any} */ one) => one.bucket_id === event.bucket_id);
  const where = bucket ? link(name(bucket.bucket_name), to.bucket(bucket.bucket_id)) : "a deleted bucket";
  const what = row ? link([name(row.source_path), " → ", name(row.bucket_name)], to.sync(row)) : "a deleted sync";
  const number = detail.count ?? 0;
  switch (event.type) {
    case "job.started": return ["play", "", [detail.resumed ? "A run resumed: " : "A run started: ", what]];
    case "job.finished": {
      const failed = detail.status === "failed";
      const counts = detail.counts ?? detail;
      return [failed ? "alert" : "check", failed ? "bad" : "good", [`A run ${failed ? "failed" : detail.status === "interrupted" ? "was interrupted" : detail.phase === "held" ? "ended, with removals held" : "ended"}: `, what, ". ", didWhat({ status: detail.status, counts }), counts.bytes ? `, ${bytes(counts.bytes)}` : "", detail.error ? [". ", said(detail.error)] : ""]];
    }
    case "objects.added": return ["plus", "", [`${counted(number, "object")} added to `, where]];
    case "objects.updated": return ["check", "", [`${counted(number, "object")} updated in `, where]];
    case "objects.removed": return ["trash", "", [`${counted(number, "object")} removed from `, where]];
    case "sync.changed": return ["gear", "", [what, " ", became(detail), detail.reason ? [": ", said(detail.reason)] : ""]];
    case "connection.changed": {
      const connection = connections.find((/** @type {any} */ one) => one.connection_id === detail.connection_id);
      return ["plug", "", [connection ? link(name(connection.name), to.connection(connection.connection_id)) : "A connection", " ", became(detail)]];
    }
    case "bucket.changed": return ["bucket", "", [bucket ? where : "A bucket", " ", became(detail)]];
    default: return ["alert", "", said(detail.message ?? JSON.stringify(detail))];
  }
}

/** Whether an event says more than those of the runs around it. @param {any} event */
const told = ({ type, detail }) =>
  type !== "sync.changed" || detail?.change !== "status" || detail.paused || detail.was === "SUSPENDED" || ["COMPLETED", "ARCHIVED"].includes(detail.status);

/** What became of a thing. @param {any} detail */
function became(detail) {
  switch (detail.change === "status" ? detail.status : detail.change) {
    case "created": return "was created";
    case "changed": return "was changed";
    case "archived": case "ARCHIVED": case "deleted": return "was deleted";
    case "held": return `is holding ${counted(detail.count, "removal")} until you decide`;
    case "approved": return `had ${counted(detail.count, "held removal")} approved`;
    case "rejected": return `had ${counted(detail.count, "held removal")} rejected: the objects stay`;
    case "is_active": return detail.is_active ? "was switched on" : "was switched off";
    case "COMPLETED": return "has completed";
    case "SUSPENDED": return "was paused";
    default: return detail.was === "SUSPENDED" ? "was resumed" : `is now ${String(detail.status ?? detail.change).toLowerCase().replaceAll("_", " ")}`;
  }
}
