/**
 * Pipelines: the API's collections. Objects of a bucket that pass a filter go through an extractor
 * and become documents.
 */

import { at, get, post } from "./api.js";

/** @param {string} collection @returns {`/v1/collections/${string}`} */
const of = (collection) => `/v1/collections/${encodeURIComponent(collection)}`;

/** @returns {Promise<Api.Pipeline[]>} */
export const pipelines = async () => (await get("/v1/collections", { limit: 1000 })).results;

/** @param {string} collection @returns {Promise<Api.Pipeline>} */
export const pipeline = (collection) => get(of(collection));

/** @returns {Promise<Api.Extractor[]>} */
export const extractors = async () => (await get("/v1/collections/features/extractors")).results;

/**
 * Extracts what is not extracted as the pipeline is now.
 * @param {string} collection @param {object} [which]
 */
export const trigger = (collection, which = {}) => post(`${of(collection)}/trigger`, which);

/**
 * @param {string} bucket @param {string[]} objects @param {Api.ExtractorSettings} extractor
 * @returns {Promise<Api.Tried>}
 */
export const tryOut = (bucket, objects, extractor) => post("/v1/collections/try", { bucket_id: bucket, object_ids: objects, feature_extractor: extractor });

export { of as pipelineAt };

/** The buckets whose objects reach a pipeline. @param {Api.Pipeline} one */
export const bucketsOf = ({ source }) => source.bucket_ids ?? source.inherited_bucket_ids ?? [];

/** How an extractor is called. @param {Api.ExtractorSettings | Api.Extractor} one */
export const extractorName = ({ feature_extractor_name, version }) => `${feature_extractor_name} ${version}`;

/** Objects that are shown of each reason. */
const SHOWN = 20;

/**
 * The latest batches of a pipeline, over all its buckets.
 * @param {Api.Pipeline} one @returns {Promise<Api.Batch[]>}
 */
export async function batchesOf(one) {
  const pages = await Promise.all(bucketsOf(one).map((bucket) => post(`${at.bucket(bucket)}/batches/list`, { collection_id: one.collection_id, limit: 50 })));
  return pages.flatMap(({ results }) => results).sort((/** @type {Api.Batch} */ a, /** @type {Api.Batch} */ b) => b.created_at.localeCompare(a.created_at));
}

/**
 * What failed and was not done since, by reason, the most frequent first, each with some of
 * its objects.
 * @param {string} collection @returns {Promise<Ui.FailureGroup[]>}
 */
export async function failuresOf(collection) {
  const path = /** @type {`/v1/collections/${string}/failures`} */ (`${of(collection)}/failures`);
  const { groups } = await get(path, { limit: 1 });
  return Promise.all(groups.map(async (group) => {
    const { results } = await get(path, { error_type: group.error_type, error: group.error, limit: SHOWN });
    return { ...group, objects: results };
  }));
}

/**
 * Tries all failures of a reason again.
 * @param {string} collection @param {Ui.FailureGroup} group
 */
export const retryFailures = (collection, { error_type, error }) => post(`${of(collection)}/failures/retry`, { error_type, error, retry_mode: "all" });

/**
 * @param {string} bucket @param {string} batch @returns {`/v1/buckets/${string}/batches/${string}`}
 */
export const batchAt = (bucket, batch) => `${at.bucket(bucket)}/batches/${encodeURIComponent(batch)}`;

/** Kinds of files, by the beginning of their type. @type {[value: string, label: string][]} */
export const KINDS = [["", "Every kind"], ["image/", "Images"], ["video/", "Videos"], ["audio/", "Audio"], ["application/pdf", "PDF"], ["text/", "Text"]];

/** @param {Ui.Which} which @returns {Api.Conditions | null} */
export function conditionsOf({ folder, name, kind }) {
  /** @type {Api.Conditions["AND"]} */
  const all = [];
  if (folder) all.push({ field: "key_prefix", operator: "starts_with", value: folder });
  if (name) all.push({ field: "key_prefix", operator: "contains", value: name });
  if (kind) all.push({ field: "mime_type", operator: "starts_with", value: kind });
  return all.length ? { AND: all } : null;
}

/** Which of them a condition is. @type {Record<string, keyof Ui.Which>} */
const SAID_BY = { "key_prefix starts_with": "folder", "key_prefix contains": "name", "mime_type starts_with": "kind" };

/**
 * What conditions say, if a person could have said it here.
 * @param {Api.Conditions | undefined} conditions @returns {Ui.Which | null}
 */
export function whichOf(conditions) {
  const which = { folder: "", name: "", kind: "" };
  for (const { field, operator, value } of conditions?.AND ?? []) {
    const key = SAID_BY[`${field} ${operator}`];
    if (!key || which[key]) return null;
    which[key] = String(value);
  }
  return conditions && !conditions.AND ? null : which;
}

/** Conditions in words. @param {Api.Conditions | undefined} conditions */
export function conditionWords(conditions) {
  if (!conditions) return "all objects";
  const which = whichOf(conditions);
  if (!which) return "objects that pass its filters";
  const kind = KINDS.find(([value]) => value && value === which.kind)?.[1].toLowerCase() ?? (which.kind ? `objects of type ${which.kind}` : "objects");
  return [kind, which.folder ? `in ${which.folder}` : "", which.name ? `with “${which.name}” in their path` : ""].filter(Boolean).join(" ");
}
