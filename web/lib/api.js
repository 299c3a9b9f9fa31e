/**
 * Talks to Catchment's public API, and to nothing else. The session cookie says who we are.
 */

/** What went wrong with a request, in the API's own words. */
export class ApiError extends Error {
  /**
   * @param {number} status HTTP status; 0 when the server did not respond.
   * @param {{message?: string, type?: string, details?: any}} error
   */
  constructor(status, error) {
    super(error.message ?? `The server returned status ${status} and no reason.`);
    this.status = status;
    this.type = error.type ?? "unknown";
    this.details = error.details;
  }

  /** The wrong fields of a request, by their path. @returns {{field: string, message: string}[]} */
  get fields() {
    return this.details?.errors ?? [];
  }
}

/** Called when the server no longer accepts our session. @type {() => void} */
let signedOut = () => {};

/** @param {() => void} handler */
export function onSignedOut(handler) {
  signedOut = handler;
}

/**
 * @param {string} method @param {string} path @param {unknown} [body]
 * @param {{signal?: AbortSignal, query?: Record<string, any>}} [options]
 * @returns {Promise<any>} The response's JSON, null for an empty one.
 */
export async function request(method, path, body, options = {}) {
  let response;
  try {
    response = await fetch(path + queryString(options.query), {
      method,
      headers: body === undefined ? {} : { "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: options.signal,
    });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError(0, {
      type: "unreachable",
      message: "Catchment is not responding. If it was stopped, start it again with: catchment serve",
    });
  }
  const text = await response.text();
  const answer = text ? parsed(text) : null;
  if (response.ok) return answer;
  if (response.status === 401) signedOut();
  throw new ApiError(response.status, answer?.error ?? {});
}

/** @param {string} text */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** @param {object} [query] */
export function queryString(query = {}) {
  const pairs = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== "");
  if (!pairs.length) return "";
  return `?${new URLSearchParams(pairs.map(([name, value]) => [name, String(value)]))}`;
}

/** @param {string} path @param {object} [query] @param {AbortSignal} [signal] */
export const get = (path, query, signal) => request("GET", path, undefined, { query, signal });
/**
 * @param {string} path
 * @param {unknown} [body]
 * @param {object} [query]
 * @param {AbortSignal} [signal]
 */
export const post = (path, body = {}, query = {}, signal = undefined) => request("POST", path, body, { query, signal });
/** @param {string} path @param {unknown} body */
export const patch = (path, body) => request("PATCH", path, body);
/** @param {string} path @param {object} [query] */
export const remove = (path, query) => request("DELETE", path, undefined, { query });

const part = encodeURIComponent;

/** Addresses of the API. */
export const at = {
  /** @param {string} bucket */
  bucket: (bucket) => `/v1/buckets/${part(bucket)}`,
  /** @param {string} bucket @param {string} sync */
  sync: (bucket, sync) => `/v1/buckets/${part(bucket)}/syncs/${part(sync)}`,
  /** @param {string} bucket @param {string} object */
  object: (bucket, object) => `/v1/buckets/${part(bucket)}/objects/${part(object)}`,
  /** @param {string} bucket @param {string} object @param {string} blob */
  content: (bucket, object, blob) =>
    `/v1/buckets/${part(bucket)}/objects/${part(object)}/blobs/${part(blob)}/content`,
  /** @param {string} connection */
  connection: (connection) => `/v1/organizations/connections/${part(connection)}`,
};
