/** An object: its preview, its fields, its blobs, where it came from, what shares its content. */

import { to } from "../lib/addresses.js";
import { at, get, remove } from "../lib/api.js";
import { ask } from "../lib/dialog.js";
import { h } from "../lib/dom.js";
import { face } from "../lib/face.js";
import { bytes, counted, moment } from "../lib/format.js";
import { attempt } from "../lib/notes.js";
import { afterDeletion, itemOf, neighbours, noteDeleted, placeOf, placeQuery } from "../lib/objects.js";
import { badge, button, facts, link, name, section } from "../lib/parts.js";
import { documentTable } from "../lib/documents.js";
import { bucketsOf, pipelines } from "../lib/pipelines.js";
import { preview } from "./object/preview.js";

/** What every object has; all else in it are fields that a mapping gave it. */
const OURS = new Set(["object_id", "bucket_id", "key_prefix", "blobs", "source_details", "edges", "status", "error", "created_at",
  "updated_at", "document_count", "consistency", "source", "path_bytes", "namespace_id", "internal_id", "metadata_type", "twins", "edited_fields", "released"]);

/** @param {Ui.Visit} visit @returns {Ui.Page} */
export function open(visit) {
  const [bucketId, objectId] = visit.params;
  /**
   * `beside`: the objects before and after it, where the address says how it was listed.
   * @type {{object: Api.Object_ | null, bucket: Api.Bucket | null, sync: Api.Sync | null,
   * twins: Api.Twin[] | null, beside: Awaited<ReturnType<typeof
   *   neighbours>> | null, documents: [Api.Pipeline, ReturnType<typeof documentTable>][] | null}}
   */
  const state = { object: null, bucket: null, sync: null, twins: null, beside: null, documents: null };
  const look = preview(visit.redraw);
  const place = placeOf(visit.query);
  const index = Number(visit.query.get("at")) - 1;

  /** @param {"before" | "after"} which */
  function besideAt(which) {
    const [item, nth] = state.beside?.[which] ?? [];
    return item ? to.object(bucketId, item.id, { ...placeQuery(place), at: Number(nth) + 1 }) : null;
  }

  // In the place of this one: Back returns to the list.
  /** @param {string | null} address */
  const goBeside = (address) => { if (address) location.replace(address); };

  /** @param {KeyboardEvent} event */
  function onkeydown(event) {
    const which = /** @type {const} */ ({ ArrowLeft: "before", ArrowRight: "after" })[event.key];
    const on = /** @type {HTMLElement} */ (event.target);
    if (!which || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey || on.closest("pre, .sheet, .markdown, video, audio, input, dialog")) return;
    goBeside(besideAt(which));
  }
  addEventListener("keydown", onkeydown);

  /** @param {"before" | "after"} which @param {string} label */
  function beside(which, label) {
    const address = besideAt(which);
    const [item] = state.beside?.[which] ?? [];
    return address ? link(label, address, { class: "button", title: item?.name, "aria-label": `${label}: ${item?.name}`, onclick: (/** @type {Event} */ event) => { event.preventDefault(); goBeside(address); } })
      : button(label, () => {}, { disabled: true });
  }

  /** The documents that pipelines made of it. */
  async function readDocuments() {
    const mine = (await pipelines()).filter((one) => bucketsOf(one).includes(state.bucket?.bucket_id ?? ""));
    state.documents ??= mine.map((one) => [one, documentTable({ collection: one.collection_id, object: objectId, redraw: visit.redraw })]);
    await Promise.all(state.documents.map(([, table]) => table.load()));
  }

  return {
    title: () => (state.object ? itemOf(state.object).name : "Object"),
    close: () => removeEventListener("keydown", onkeydown),
    event: (event) => { if (event.type === "documents.written") state.documents?.forEach(([, table]) => table.load()); },
    refresh: async () => {
      const [object, bucket] = await Promise.all([get(at.object(bucketId, objectId)), get(at.bucket(bucketId))]);
      Object.assign(state, { object, bucket });
      look.open(bucketId, object);
      // The object is shown before its neighbours and others with the same content are found.
      if (index >= 0 && !state.beside) attempt(async () => { state.beside = await neighbours(bucketId, place, index, objectId); }).then(visit.redraw);
      attempt(readDocuments).then(visit.redraw);
      const sync = object.source?.sync_config_id;
      if (sync && !state.sync) attempt(async () => { state.sync = await get(at.sync(bucketId, sync)); }).then(visit.redraw);
      attempt(async () => { state.twins = (await get(`${at.object(bucketId, objectId)}/twins`, { limit: 50 })).results; }).then(visit.redraw);
    },
    view: () => {
      const { object, bucket } = state;
      if (!object) return h("h1.sr", "Object");
      const item = itemOf(object);
      const folder = item.path.slice(0, item.path.length - item.name.length);
      const base = to.bucket(bucketId);
      return [
        h("header.page-head", h("div", h("p.crumb", link(name(bucket?.bucket_name), base), folder ? h("span", "/ ", link(name(folder), to.bucket(bucketId, { path: folder }))) : null),
            h("h1.faced", face(bucketId, item, 128, visit.redraw), name(item.name)),
            h("p", h("span", bytes(item.size)), h("span", item.mime), object.error ? badge("FAILED") : null, object.released ? badge("INTERRUPTED", "Kept, gone from the source") : null)),
          h("div.actions", state.beside ? [beside("before", "Previous"), beside("after", "Next")] : null,
            originalOf(object) ? link("Open the original", originalOf(object), { class: "button", target: "_blank", rel: "noopener noreferrer" }) : null,
            item.blob ? link("Download", at.content(bucketId, objectId, item.blob), { class: "button primary", download: item.name, icon: "down" }) : null,
            button("Delete", async () => {
              const gone = await ask({
                title: "Delete this object?",
                body: [h("p", name(item.path)), h("p", bucket && afterDeletion(bucket))],
                action: "Delete the object",
                danger: true,
                run: () => remove(at.object(bucketId, objectId)),
              });
              if (gone && bucket) noteDeleted(bucket, [objectId]);
              if (gone) visit.go(to.bucket(bucketId, { path: folder }));
            }, { kind: "danger", icon: "trash" }))),
        h("div.object", h("section.preview", { "aria-label": "Preview" }, look.view()),
          h("div.stack", fields(object), origin(object, state.sync), blobs(object, bucketId), state.twins && twins(state.twins, item, visit.redraw))),
        (state.documents ?? []).filter(([, table]) => !table.isEmpty()).map(([one, table]) => h("section.stack", { key: one.collection_id, "aria-label": `Documents of ${one.collection_name}` },
          section(h("span", "Documents of ", link(name(one.collection_name), to.pipeline(one.collection_id)))), table.view())),
      ];
    },
  };
}

/** Where the original can be opened, if its provider tells. @param {Api.Object_} object */
function originalOf({ source }) {
  const address = source?.metadata?.webViewLink ?? source?.metadata?.webUrl;
  return typeof address === "string" && /^https:\/\//.test(address) ? address : "";
}

/** What a document without bytes of its own was exported to. @param {Api.Object_} object */
function exportOf({ source }) {
  const [, format] = /^export (\w+) /.exec(source?.version ?? source?.etag ?? "") ?? [];
  return format ? `A Google document, exported as ${format.toUpperCase()}` : null;
}

/** @param {Api.Object_} object */
function fields(object) {
  const own = Object.entries(object).filter(([key, value]) => !OURS.has(key) && value !== null);
  if (own.length === 0) return null;
  return h("section.panel", section("Fields"), facts(own.map(([key, value]) => [object.edited_fields?.includes(key) ? `${key} (edited here)` : key, name(typeof value === "string" ? value : JSON.stringify(value))])));
}

/** @param {Api.Object_} object @param {Api.Sync | null} sync */
function origin(object, sync) {
  const { source } = object;
  const version = source?.etag ?? source?.version;
  return h("section.panel", section("Where it came from"),
    source ? facts([
      ["Path at the source", name(source.path)],
      ["Sync", sync ? link(name(sync.source_path), to.sync(sync)) : source.sync_config_id ? "…" : null],
      ["Kind of source", source.provider],
      ["What it is", exportOf(object)],
      ["Changed at the source", moment(source.modified_at)],
      // A file system's version is bytes that mean nothing to a person.
      ["Version at the source", !exportOf(object) && /^[!-~]+$/.test(version ?? "") && source.provider !== "local" ? h("code.hash", version) : null],
      ["Added", moment(object.created_at)],
    ]) : h("p.muted", `Created through the API, ${moment(object.created_at)}.`));
}

/** @param {Api.Object_} object @param {string} bucketId */
function blobs(object, bucketId) {
  return h("section.panel", section("Blobs", object.blobs?.length ?? 0),
    (object.blobs ?? []).map((blob) => h("div", { key: blob.blob_id, class: "stack" },
      facts([
        ["Property", name(blob.property)],
        ["Size", blob.details?.size_bytes === undefined ? "–" : blob.details.size_bytes < 1024 ? counted(blob.details.size_bytes, "byte") : `${bytes(blob.details.size_bytes)} (${counted(blob.details.size_bytes, "byte")})`],
        ["Type", name(blob.details?.mime_type)],
        ["", link("Download", at.content(bucketId, object.object_id, blob.blob_id), { download: blob.details?.filename ?? "" })],
      ]),
      blob.details?.hash ? h("p.hash", blob.details.hash) : null)));
}

/**
 * @param {Api.Twin[]} others @param {Ui.Item} item
 * @param {() => void} redraw
 */
function twins(others, item, redraw) {
  return h("section.panel", section("Same content", others.length),
    others.length === 0
      ? h("p.muted", "No other object has the same content.")
      : [h("p.muted", `Stored once for ${counted(others.length + 1, "object")}.`),
        h("ul", others.map((other) => h("li", { key: other.object_id },
          h("a.faced", { href: to.object(other.bucket_id, other.object_id) }, face(other.bucket_id, { ...item, id: other.object_id }, 64, redraw), name(other.key_prefix)))))]);
}
