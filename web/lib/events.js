/**
 * The one event stream of this tab. The browser reconnects it by itself, from the last event that
 * it saw; this module says whether it is up, and passes each event to the listener.
 */

const KINDS = [
  "job.started", "job.progress", "job.finished", "objects.added", "objects.updated", "objects.removed",
  "sync.changed", "connection.changed", "bucket.changed", "batch.finished", "documents.written", "collection.changed",
  "extractor.paused", "notice", "reset",
];

/** @type {(event: Api.LiveEvent) => void} */
let heard = () => {};
/** @type {(state: "up" | "down") => void} */
let became = () => {};
/** @type {EventSource | undefined} */
let stream;
/** @type {"up" | "down" | "unknown"} */
let state = "unknown";
/** @type {number | undefined} */
let retry;

/**
 * Sets the listeners: for every event, and for the stream coming up or going down.
 * @param {(event: Api.LiveEvent) => void} event @param {(state: "up" | "down") => void} up
 */
export function listen(event, up) {
  heard = event;
  became = up;
}

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
  for (const kind of KINDS) stream.addEventListener(kind, (message) => heard(JSON.parse(message.data)));
}

/** Closes it: signed out. */
export function disconnect() {
  clearTimeout(retry);
  stream?.close();
  stream = undefined;
  state = "unknown";
}

/** @param {"up" | "down"} next */
function become(next) {
  if (state === next) return;
  state = next;
  became(next);
}

/** Whether the server responds, as far as we know. */
export const isUp = () => state !== "down";
