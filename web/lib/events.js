/**
 * The one event stream of this tab. The browser reconnects it by itself, from the last event that it
 * saw; this module says whether it is up, and hands each event to whoever listens.
 */

/**
 * @typedef {{type: string, event_id?: number, created_at?: string, bucket_id?: string | null,
 *   sync_config_id?: string | null, sync_job_id?: string | null, detail?: any, [key: string]: any}} LiveEvent
 */

export const KINDS = [
  "job.started", "job.progress", "job.finished", "objects.added", "objects.updated", "objects.removed",
  "sync.changed", "connection.changed", "bucket.changed", "notice", "reset",
];

/** @type {Set<(event: LiveEvent) => void>} */
const listeners = new Set();
/** @type {Set<(state: "up" | "down") => void>} */
const watchers = new Set();
/** @type {EventSource | undefined} */
let stream;
/** @type {"up" | "down" | "unknown"} */
let state = "unknown";
/** @type {number | undefined} */
let retry;

/** Opens the stream; harmless when it is open. */
export function connect() {
  if (stream && stream.readyState !== EventSource.CLOSED) return;
  stream = new EventSource("/v1/events");
  stream.onopen = () => become("up");
  stream.onerror = () => {
    become("down");
    // A refused stream is not retried by the browser: try again ourselves.
    if (stream?.readyState === EventSource.CLOSED) {
      clearTimeout(retry);
      retry = setTimeout(connect, 2000);
    }
  };
  for (const kind of KINDS) stream.addEventListener(kind, told);
}

/** Closes it: signed out. */
export function disconnect() {
  clearTimeout(retry);
  stream?.close();
  stream = undefined;
  state = "unknown";
}

/** @param {MessageEvent} message */
function told(message) {
  /** @type {LiveEvent} */
  const event = JSON.parse(message.data);
  for (const listener of listeners) listener(event);
}

/** @param {"up" | "down"} next */
function become(next) {
  if (state === next) return;
  state = next;
  for (const watcher of watchers) watcher(next);
}

/** Calls `listener` with every event until the answered function is called.
 * @param {(event: LiveEvent) => void} listener @returns {() => void} */
export function onEvent(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Calls `watcher` when the stream comes up or goes down.
 * @param {(state: "up" | "down") => void} watcher @returns {() => void} */
export function onState(watcher) {
  watchers.add(watcher);
  return () => watchers.delete(watcher);
}

/** Whether we hear the server, as far as we know. */
export const isUp = () => state !== "down";
