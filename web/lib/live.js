/**
 * What runs right now, as the event stream tells it: the last progress of each running job, by
 * sync.
 */

/** @type {Map<string, Ui.Progress>} */
const running = new Map();

/** @param {Api.LiveEvent} event */
export function heard(event) {
  const sync = event.sync_config_id;
  if (!sync) return;
  if (event.type === "job.finished") running.delete(sync);
  else if (event.type === "job.progress" || event.type === "job.started") running.set(sync, read(event));
}

/** @param {Api.LiveEvent} event @returns {Ui.Progress} */
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

/** @param {string} sync @returns {Ui.Progress | undefined} */
export const progressOf = (sync) => running.get(sync);

/**
 * Forgets what no longer runs, according to the server's list.
 * @param {Set<string>} syncs those that run
 */
export function keepOnly(syncs) {
  for (const sync of running.keys()) if (!syncs.has(sync)) running.delete(sync);
}
