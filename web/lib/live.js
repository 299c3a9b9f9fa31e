/**
 * What runs right now, as the event stream tells it: the last progress of each running job, by
 * sync.
 */

/**
 * @typedef {{phase: string, done: number, total: number | null, bytes: number,
 *   bytesTotal: number | null, rate: number | null, eta: number | null, files: string[],
 *   counts: Api.Counts, retry: {attempt: number, at: string, reason: string} | null}} Progress
 * `retry`: what is tried again, and when. `done` and `total` count entries; `rate` is bytes a
 * second, `eta` seconds, `files` those in flight.
 */

/** @type {Map<string, Progress>} */
const running = new Map();

/** @param {Api.LiveEvent} event */
export function heard(event) {
  const sync = event.sync_config_id;
  if (!sync) return;
  if (event.type === "job.finished") running.delete(sync);
  else if (event.type === "job.progress" || event.type === "job.started") running.set(sync, read(event));
}

/** @param {Api.LiveEvent} event @returns {Progress} */
function read(event) {
  const counts = event.counts ?? {};
  return {
    phase: event.phase ?? "discovering",
    done: counts.discovered ?? 0,
    total: event.entries_found ?? null,
    bytes: event.bytes_received ?? counts.bytes ?? 0,
    bytesTotal: event.bytes_found ?? null,
    rate: event.bytes_per_second ?? null,
    eta: event.eta_seconds ?? null,
    files: (event.in_flight ?? []).map((file) => file.path),
    counts,
    retry: event.next_try_at ? { attempt: event.attempt ?? 1, at: event.next_try_at, reason: event.reason ?? "" } : null,
  };
}

/** @param {string} sync @returns {Progress | undefined} */
export const progressOf = (sync) => running.get(sync);

/**
 * Forgets what no longer runs, according to the server's list.
 * @param {Set<string>} syncs those that run
 */
export function keepOnly(syncs) {
  for (const sync of running.keys()) if (!syncs.has(sync)) running.delete(sync);
}
