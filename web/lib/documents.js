/** Documents as a table, with search. */

import { to } from "./addresses.js";
import { post } from "./api.js";
import { h } from "./dom.js";
import { face } from "./face.js";
import { counted } from "./format.js";
import { button, empty, icon, name, problem } from "./parts.js";
import { pipelineAt } from "./pipelines.js";
import { settled } from "./soon.js";

/** Columns of fields, at most: the others are in the document. */
const COLUMNS = 6;
const PAGE = 50;
/** What is not a field of a document. */
const OURS = new Set(["document_id", "collection_id", "document_blobs", "vector_hydration_incomplete", "searchable_at", "_internal", "root_object"]);

/**
 * The documents of a pipeline; of one object, if one is named.
 * @param {{collection: string, object?: string, search?: string, redraw: () => void,
 *   searched?: (search: string) => void}} options
 */
export function documentTable({ collection, object, search = "", redraw, searched }) {
  /**
   * @type {{rows: Api.Document[], total: number, next: string | null, search: string, open: string,
   *   ready: boolean, error: unknown}}
   */
  const state = { rows: [], total: 0, next: null, search, open: "", ready: false, error: null };
  let asked = 0;

  /** @param {string | null} [cursor] */
  async function load(cursor = null) {
    const mine = (asked += 1);
    try {
      const answer = await post(`${pipelineAt(collection)}/documents/list`, {
        limit: PAGE, expand: ["root_object"], include_total: true, ...(state.search ? { search: state.search } : {}), ...(cursor ? { cursor } : {}),
        ...(object ? { filters: { AND: [{ field: "_internal.object_id", operator: "eq", value: object }] }, sort: { field: "_internal.part", direction: "asc" } } : {}),
      });
      if (mine !== asked) return;
      Object.assign(state, { rows: cursor ? [...state.rows, ...answer.results] : answer.results, total: answer.pagination.total ?? 0, next: answer.pagination.next_cursor, ready: true, error: null });
    } catch (error) {
      if (mine === asked) state.error = error;
    }
    redraw();
  }
  const typed = settled(() => { searched?.(state.search); load(); }, 250);

  return {
    load: () => load(),
    stop: typed.stop,
    total: () => state.total,
    isEmpty: () => state.ready && state.total === 0 && !state.search,
    view: () => {
      const id = `documents-${collection}`;
      return [
        h("div.bucket-bar", { role: "search" }, h("div.search", icon("search"), h("label.sr", { for: id }, "Search documents"),
          h("input", { id, type: "search", value: state.search, placeholder: "Words in any order", oninput: (event) => { state.search = event.target.value; typed(); } })),
        h("p.muted", { role: "status" }, state.ready ? `${counted(state.total, "document")}${state.search ? " found" : ""}` : "")),
        state.error ? problem(state.error, load) : null,
        !state.ready ? null : state.rows.length === 0
          ? state.search ? empty("No matches", "No document has all these words.") : empty("No documents yet", "They appear as objects are processed.")
          : table(),
        state.next ? h("div.actions", button("Show more", () => load(state.next))) : null,
      ];
    },
  };

  function table() {
    const columns = [...new Set(state.rows.flatMap((row) => Object.keys(row).filter((key) => !OURS.has(key) && row[key] !== null)))].slice(0, COLUMNS);
    return h("div.sheet.documents", { tabindex: "0", role: "region", "aria-label": "Documents" },
      h("table", h("thead", h("tr", object ? null : h("th", { scope: "col" }, "Object"), columns.map((column) => h("th", { scope: "col", key: column }, name(column))), h("th", { scope: "col" }, h("span.sr", "Details")))),
        h("tbody", state.rows.map((row) => [
          h("tr", { key: row.document_id },
            object ? null : h("td", origin(row, redraw)),
            columns.map((column) => h("td", { key: column }, name(text(row[column])))),
            h("td", button(state.open === row.document_id ? "Close" : "Details", () => { state.open = state.open === row.document_id ? "" : row.document_id; redraw(); }, { kind: "small quiet", "aria-expanded": state.open === row.document_id ? "true" : "false" }))),
          state.open === row.document_id ? h("tr", { key: `${row.document_id} details` }, h("td", { colspan: columns.length + 2 }, details(row))) : null,
        ]))));
  }
}

/**
 * The object that a document comes from.
 * @param {Api.Document} row @param {() => void} redraw @returns {Ui.Child}
 */
const origin = ({ root_object: from, _internal: { part } }, redraw) =>
  (from ? h("a.faced", { href: to.object(from.bucket_id, from.object_id) }, face(from.bucket_id, { id: from.object_id, mime: from.mime_type ?? "", blob: from.object_id }, 64, redraw), name(from.key_prefix), part ? ` (${part + 1})` : "") : h("span.muted", "created manually"));

/** @param {Api.Document} row */
function details(row) {
  const fields = Object.fromEntries(Object.entries(row).filter(([key]) => !OURS.has(key)));
  return h("div.stack", h("pre", { tabindex: "0", role: "region", "aria-label": "Document" }, JSON.stringify(fields, null, 2)),
    row.document_blobs.length ? h("p.actions", row.document_blobs.map((blob) => h("a", { key: blob.url, href: new URL(blob.url).pathname, class: "button small", download: blob.field }, icon("down"), name(blob.field)))) : null,
    h("p.muted", h("code", row.document_id)));
}

/** @param {unknown} value */
const text = (value) => (value === undefined || value === null ? "" : typeof value === "string" ? value.slice(0, 300) : JSON.stringify(value).slice(0, 300));
