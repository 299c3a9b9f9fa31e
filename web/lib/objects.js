/** Objects of a bucket: how they are requested, and what they are. */

import { at, get, post } from "./api.js";
import { baseName, bytes, counted } from "./format.js";
import { attempt, note } from "./notes.js";

/** @param {Api.Object_} object @returns {Ui.Item} */
export function itemOf(object) {
  const blob = object.blobs?.[0];
  const path = object.key_prefix ?? object.object_id;
  return {
    kind: "object", id: object.object_id, path, name: baseName(path), size: blob?.details?.size_bytes ?? null,
    mime: blob?.details?.mime_type ?? "", modified: object.source?.modified_at ?? object.updated_at ?? null, added: object.created_at ?? null, blob: blob?.blob_id ?? null,
  };
}

/** @param {Api.Leaf} object as a tree has it @returns {Ui.Item} */
const leafOf = (object) => ({
  kind: "object", id: object.object_id, path: object.key_prefix, name: baseName(object.key_prefix), size: object.size_bytes,
  mime: object.mime_type ?? "", modified: object.modified_at, added: null, blob: "content",
});

/** Whether a place is shown folder by folder. @param {Ui.Place} place */
export const byFolder = (place) => !place.search && !place.type && place.sort === "path";

/**
 * The folders of a place, and how many objects it has.
 * @param {string} bucket @param {Ui.Place} place @returns {Promise<{folders: Ui.Folder[], total:
 * number}>}
 */
export async function opening(bucket, place) {
  if (byFolder(place)) {
    const tree = await get(`${at.bucket(bucket)}/tree`, { prefix: place.prefix, limit: 0 });
    const folders = (tree.folders ?? []).map((folder) => /** @type {Ui.Folder} */ ({ kind: "folder", ...folder }));
    return { folders, total: tree.object_count ?? 0 };
  }
  const answer = await post(`${at.bucket(bucket)}/objects/list`, bodyOf(place), { limit: 1, include_total: true });
  return { folders: [], total: answer.pagination.total ?? 0 };
}

/**
 * Objects of a place, from one on.
 * @param {string} bucket @param {Ui.Place} place @param {number} offset @param {number} limit
 * @param {AbortSignal} signal @returns {Promise<Ui.Item[]>}
 */
export async function objectsOf(bucket, place, offset, limit, signal) {
  if (byFolder(place)) {
    const tree = await get(`${at.bucket(bucket)}/tree`, { prefix: place.prefix, limit, page: offset / limit + 1 }, signal);
    return tree.objects.map(leafOf);
  }
  const answer = await post(`${at.bucket(bucket)}/objects/list`, bodyOf(place), { limit, page: offset / limit + 1 }, signal);
  return answer.results.map(itemOf);
}

const SORTS = {
  path: { field: "key_prefix", direction: "asc" },
  newest: { field: "source.modified_at", direction: "desc" },
  oldest: { field: "source.modified_at", direction: "asc" },
  added: { field: "created_at", direction: "desc" },
  largest: { field: "size_bytes", direction: "desc" },
};

/** @param {Ui.Place} place */
export function bodyOf(place) {
  const conditions = [];
  if (place.prefix) conditions.push({ field: "key_prefix", operator: "starts_with", value: place.prefix });
  if (place.type) conditions.push({ field: "blobs.type", operator: "eq", value: place.type });
  return {
    ...(place.search ? { search: place.search } : {}),
    ...(conditions.length ? { filters: { AND: conditions } } : {}),
    sort: SORTS[/** @type {keyof typeof SORTS} */ (place.sort)] ?? SORTS.path,
  };
}

/**
 * The objects before and after one, in the order of a place.
 * @param {string} bucket @param {Ui.Place} place @param {number} index where the object was listed
 * @param {string} id
 * @returns {Promise<{before: [Ui.Item, number] | null, after: [Ui.Item, number] | null}>}
 */
export async function neighbours(bucket, place, index, id) {
  const size = 100;
  const { signal } = new AbortController();
  /** @param {number} page */
  const read = (page) => (page < 0 ? Promise.resolve([]) : objectsOf(bucket, place, page * size, size, signal));
  const page = Math.floor(index / size);
  const rows = await read(page);
  const at_ = rows.findIndex((item) => item.id === id);
  if (at_ < 0) return { before: null, after: null };
  const first = page * size;
  const [before, after] = await Promise.all([
    at_ > 0 ? rows[at_ - 1] : read(page - 1).then((rows_) => rows_.at(-1)),
    at_ < size - 1 ? rows[at_ + 1] : read(page + 1).then(([next]) => next),
  ]);
  return { before: before ? [before, first + at_ - 1] : null, after: after ? [after, first + at_ + 1] : null };
}

/** A place as the query of an address. @param {Ui.Place} place */
export const placeQuery = ({ prefix, search, sort, type }) => ({ path: prefix, search, sort: sort === "path" ? "" : sort, type });

/** The place that an address asks for. @param {URLSearchParams} query @returns {Ui.Place} */
export const placeOf = (query) => ({
  prefix: query.get("path") ?? "", search: query.get("search") ?? "", sort: query.get("sort") ?? "path", type: query.get("type") ?? "",
});

/** The request for an archive of all that a place shows. @param {Ui.Place} place */
export function archiveOf(place) {
  const { sort: _, filters, ...body } = bodyOf({ ...place, prefix: "" });
  return { ...body, ...(filters ? { filters } : {}), ...(place.prefix ? { prefix: place.prefix } : {}) };
}

/**
 * Downloads objects in one archive, which is made while it is downloaded.
 * @param {string} bucket @param {object} which objects, as the API takes it
 */
export const download = (bucket, which) => attempt(async () => {
  const made = await post(`${at.bucket(bucket)}/objects/archive`, which);
  const { pathname, search } = new URL(made.url);
  const link = Object.assign(document.createElement("a"), { href: pathname + search, download: made.filename });
  link.click();
  note(`Downloading ${made.filename}: ${counted(made.objects, "object")}, ${bytes(made.bytes)}.`);
});

/** What becomes of objects that are deleted from a bucket. @param {Api.Bucket} bucket */
export const afterDeletion = ({ trash_days: days }) => (days
  ? `The trash keeps what is deleted for ${counted(days, "day")}, and it can be restored from there. Sources are never changed.`
  : "This bucket has no trash: what is deleted is gone. An object of a sync comes back only once it changes at its source.");

/** The most objects that one request deletes or restores. */
const AT_ONCE = 5000;

/**
 * Does something with objects, as many at once as a request takes.
 * @param {string[]} ids @param {(ids: string[]) => Promise<unknown>} act
 */
export async function inParts(ids, act) {
  for (let from = 0; from < ids.length; from += AT_ONCE) await act(ids.slice(from, from + AT_ONCE));
}

/**
 * Says that objects were deleted; from the trash they come back.
 * @param {Api.Bucket} bucket @param {string[]} ids
 */
export function noteDeleted(bucket, ids) {
  const restore = () => inParts(ids, (some) => post(`${at.bucket(bucket.bucket_id)}/objects/trash/restore`, { object_ids: some }));
  note(`${counted(ids.length, "object")} deleted.`, "good", bucket.trash_days ? restore : undefined);
}

/** The picture for a kind of file. @param {string} mime */
export function pictureOf(mime) {
  if (mime.startsWith("image/")) return "image";
  if (mime.startsWith("video/")) return "film";
  if (mime.startsWith("audio/")) return "sound";
  if (mime === "text/csv" || mime.includes("spreadsheet") || mime.includes("excel")) return "table";
  if (mime.startsWith("text/") || mime === "application/json" || mime === "application/pdf") return "text";
  return "file";
}
