/**
 * Talks to Catchment's public API, and to nothing else. The session cookie says who we are.
 */

/** @typedef {{field: string, message: string}} FieldProblem */

/** What went wrong with a request, in the API's own words. */
export class ApiError extends Error {
  /**
   * @param {number} status HTTP status; 0 when the server did not respond.
   * @param {{message?: string, type?: string, details?: {errors?: FieldProblem[]}}} error
   */
  constructor(status, error) {
    super(error.message ?? `The server returned status ${status} and no reason.`);
    this.status = status;
    this.type = error.type ?? "unknown";
    this.details = error.details;
  }

  /** The wrong fields of a request, by their path. @returns {FieldProblem[]} */
  get fields() {
    return this.details?.errors ?? [];
  }
}

/** @param {unknown} error */
export const messageOf = (error) => (error instanceof Error ? error.message : String(error));

/** The wrong fields of a request that failed. @param {unknown} error */
export const fieldsOf = (error) => (error instanceof ApiError ? error.fields : []);

/**
 * What is wrong with a field, by the end of its path.
 * @param {unknown} error @param {string} field
 */
export const wrongAt = (error, field) => fieldsOf(error).find((one) => one.field.endsWith(field))?.message;

/** Called when the server no longer accepts our session. @type {() => void} */
let signedOut = () => {};

/** @param {() => void} handler */
export function onSignedOut(handler) {
  signedOut = handler;
}

/**
 * @param {string} method @param {string} path @param {unknown} [body]
 * @param {{signal?: AbortSignal, query?: object}} [options]
 * @returns {Promise<never>} The response's JSON, null for an empty one. What it is, `get` and the
 * others say by its path.
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
  if (response.ok) return /** @type {never} */ (answer);
  if (response.status === 401) signedOut();
  throw new ApiError(response.status, answer?.error ?? {});
}

/** @param {string} text @returns {{error?: object} | null} */
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

/**
 * @type {<P extends string>(path: P, query?: object, signal?: AbortSignal) =>
 * Promise<Api.Answer<"get", P>>}
 */
export const get = (path, query, signal) => request("GET", path, undefined, { query, signal });
/**
 * @type {<P extends string>(path: P, body?: unknown, query?: object, signal?: AbortSignal) =>
 * Promise<Api.Answer<"post", P>>}
 */
export const post = (path, body = {}, query = {}, signal = undefined) => request("POST", path, body, { query, signal });
/** @type {<P extends string>(path: P, body: unknown) => Promise<Api.Answer<"patch", P>>} */
export const patch = (path, body) => request("PATCH", path, body);
/** @type {<P extends string>(path: P, query?: object) => Promise<Api.Answer<"delete", P>>} */
export const remove = (path, query) => request("DELETE", path, undefined, { query });

const part = encodeURIComponent;

/** Addresses of the API. */
export const at = {
  /** @param {string} bucket @returns {`/v1/buckets/${string}`} */
  bucket: (bucket) => `/v1/buckets/${part(bucket)}`,
  /**
   * @param {string} bucket @param {string} sync @returns {`/v1/buckets/${string}/syncs/${string}`}
   */
  sync: (bucket, sync) => `/v1/buckets/${part(bucket)}/syncs/${part(sync)}`,
  /**
   * @param {string} bucket @param {string} object
   * @returns {`/v1/buckets/${string}/objects/${string}`}
   */
  object: (bucket, object) => `/v1/buckets/${part(bucket)}/objects/${part(object)}`,
  /** @param {string} bucket @param {string} object @param {string} blob */
  content: (bucket, object, blob) =>
    `/v1/buckets/${part(bucket)}/objects/${part(object)}/blobs/${part(blob)}/content`,
  /** @param {string} bucket @param {string} object @param {number} size */
  thumbnail: (bucket, object, size) => `/v1/buckets/${part(bucket)}/objects/${part(object)}/thumbnail?size=${size}`,
  /** @param {string} connection @returns {`/v1/organizations/connections/${string}`} */
  connection: (connection) => `/v1/organizations/connections/${part(connection)}`,
};
