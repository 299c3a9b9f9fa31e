/**
 * What runs right now, as the event stream tells it: the last progress of each running job, by sync.
 */

/**
 * @typedef {{job: string, sync: string, bucket: string, phase: string, done: number, total: number | null,
 *   bytes: number, bytesTotal: number | null, rate: number | null, eta: number | null, files: string[],
 *   counts: Record<string, number>, since: number, heard: number}} Progress
 * `done` and `total` count entries; `rate` is bytes a second, `eta` seconds, `files` those in flight.
 */

/** @type {Map<string, Progress>} */
const running = new Map();

/** @param {import("./events.js").LiveEvent} event */
export function heard(event) {
  const sync = event.sync_id;
  if (!sync) return;
  if (event.event === "job.finished") running.delete(sync);
  else if (event.event === "job.progress" || event.event === "job.started") running.set(sync, read(event, running.get(sync)));
}

/** @param {import("./events.js").LiveEvent} event @param {Progress | undefined} before @returns {Progress} */
function read(event, before) {
  const detail = event.detail ?? event;
  const counts = detail.counts ?? {};
  const again = before && before.job === event.job_id;
  return {
    job: event.job_id ?? "",
    sync: event.sync_id ?? "",
    bucket: event.bucket_id ?? "",
    phase: detail.phase ?? (again ? before.phase : "discovering"),
    done: detail.entries_done ?? counts.discovered ?? 0,
    total: detail.entries_found ?? null,
    bytes: detail.bytes_done ?? counts.bytes ?? 0,
    bytesTotal: detail.bytes_found ?? null,
    rate: detail.bytes_per_second ?? null,
    eta: detail.eta_seconds ?? null,
    files: detail.files ?? [],
    counts,
    since: again ? before.since : Date.now(),
    heard: Date.now(),
  };
}

/** @param {string} sync @returns {Progress | undefined} */
export const progressOf = (sync) => running.get(sync);

/** Forgets what no longer runs: the list is the server's word. @param {Set<string>} syncs those that run */
export function keepOnly(syncs) {
  for (const sync of running.keys()) if (!syncs.has(sync)) running.delete(sync);
}
