/** What is selected in a bucket. It stays selected wherever one goes, while the tab is open. */

import { at, post } from "./api.js";
import { counted } from "./format.js";
import { archiveOf, bodyOf, objectsOf } from "./objects.js";

/** Objects that are selected one by one: more are selected as everything that is shown. */
const ONE_BY_ONE = 5000;
/** Rows of a request. */
const PAGE = 1000;

/** @type {Map<string, Map<string, Ui.Chosen>>} */
const selections = new Map();

/** @param {Ui.Folder | Ui.Item} item */
const keyOf = (item) => (item.kind === "folder" ? `folder ${item.path}` : item.id);

/** @param {Ui.Folder | Ui.Item} item @returns {Ui.Chosen} */
const chosen = (item) => (item.kind === "folder" ? { kind: "folder", path: item.path } : { kind: "object", id: item.id, path: item.path });

/** The selection of a bucket. @param {string} bucket */
export function selectionIn(bucket) {
  const all = selections.get(bucket) ?? new Map();
  selections.set(bucket, all);

  return {
    /** @param {Ui.Folder | Ui.Item} item */
    has: (item) => all.has("all") || all.has(keyOf(item)),
    /** @param {Ui.Folder | Ui.Item} item */
    toggle(item) {
      if (all.delete("all")) all.clear();
      else if (!all.delete(keyOf(item))) all.set(keyOf(item), chosen(item));
    },
    /** @param {(Ui.Folder | Ui.Item)[]} items */
    add(items) {
      for (const item of items) all.set(keyOf(item), chosen(item));
    },
    /**
     * Selects everything that a place shows.
     * @param {Ui.Place} place @param {Ui.Folder[]} folders @param {number} total objects
     */
    async addAll(place, folders, total) {
      if (folders.length + total <= ONE_BY_ONE) {
        this.add(folders);
        this.add(await rowsOf(bucket, place, 0, total));
      } else {
        all.clear();
        all.set("all", { kind: "all", place: { ...place }, path: place.prefix, count: total });
      }
    },
    clear: () => all.clear(),
    get size() { return all.size; },
    /** What is selected, in words. */
    words() {
      const whole = all.get("all");
      if (whole) return whole.count ? `Everything here: ${counted(whole.count, "object")} and all folders` : "Everything here";
      const folders = [...all.values()].filter(({ kind }) => kind === "folder").length;
      const objects = all.size - folders;
      return [folders ? counted(folders, "folder") : "", objects ? counted(objects, "object") : ""].filter(Boolean).join(" and ");
    },
    /** The request for an archive of it, as the API takes it. */
    async archive() {
      const [only] = all.values();
      if (all.size === 1 && only.kind !== "object") return archiveOf(only.kind === "all" ? only.place : within(only.path));
      const ids = await this.ids();
      if (ids.length > ONE_BY_ONE) throw new Error("To download more than 5,000 objects, select one folder, or everything here.");
      return { object_ids: ids };
    },
    /** The ids of all objects in it, those of its folders too. */
    async ids() {
      /** @type {Set<string>} */
      const ids = new Set();
      for (const one of all.values()) {
        if (one.kind === "object") ids.add(one.id);
        else for await (const id of idsOf(bucket, one.kind === "all" ? one.place : within(one.path))) ids.add(id);
      }
      return [...ids];
    },
    /** Its first paths. */
    paths: () => [...all.values()].map(({ path }) => path || "Everything in the bucket"),
  };
}

/** @param {string} prefix @returns {Ui.Place} */
const within = (prefix) => ({ prefix, search: "", sort: "path", type: "" });

/**
 * Objects of a place, between two.
 * @param {string} bucket @param {Ui.Place} place @param {number} from @param {number} to
 */
export async function rowsOf(bucket, place, from, to) {
  const { signal } = new AbortController();
  /** @type {Ui.Item[]} */
  const rows = [];
  if (to - from > ONE_BY_ONE) throw new Error("At most 5,000 objects can be selected individually. Ctrl+A selects everything shown.");
  for (let page = Math.floor(from / PAGE); page * PAGE < to; page += 1) {
    const some = await objectsOf(bucket, place, page * PAGE, PAGE, signal);
    rows.push(...some.filter((_, index) => page * PAGE + index >= from && page * PAGE + index < to));
  }
  return rows;
}

/** @param {string} bucket @param {Ui.Place} place */
async function* idsOf(bucket, place) {
  let cursor = "";
  do {
    const answer = await post(`${at.bucket(bucket)}/objects/list`, { ...bodyOf(place), select: ["object_id"] }, { limit: PAGE, cursor });
    for (const { object_id } of answer.results) yield /** @type {string} */ (object_id);
    cursor = answer.pagination.next_cursor ?? "";
  } while (cursor);
}
