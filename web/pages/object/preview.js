/** What the bytes of an object look like: pictures, sound, film, text, JSON, tables, PDF. */

import { at } from "../../lib/api.js";
import { h } from "../../lib/dom.js";
import { bytes } from "../../lib/format.js";
import { itemOf, pictureOf } from "../../lib/objects.js";
import { icon, link, problem } from "../../lib/parts.js";

/** How much of a text is shown. */
const SHOWN = 256 * 1024;
/** Rows of a table. */
const ROWS = 500;

/** @param {() => void} redraw */
export function preview(redraw) {
  /**
   * @type {{kind: string, url: string, item: import("../../lib/objects.js").Item | null, text:
   * string, cut: boolean, error: any}}
   */
  const state = { kind: "", url: "", item: null, text: "", cut: false, error: null };

  async function read() {
    try {
      const answer = await fetch(state.url, { headers: { Range: `bytes=0-${SHOWN - 1}` } });
      if (!answer.ok) throw new Error(answer.status === 416 ? "It is empty." : `The server returned status ${answer.status}.`);
      state.text = new TextDecoder().decode(await answer.arrayBuffer());
      state.cut = (state.item?.size ?? 0) > SHOWN;
    } catch (error) {
      state.error = error;
    }
    redraw();
  }

  return {
    /** @param {string} bucket @param {any} object */
    open(bucket, object) {
      const item = itemOf(object);
      const url = item.blob ? at.content(bucket, item.id, item.blob) : "";
      if (url === state.url && item.size === state.item?.size) return;
      Object.assign(state, { item, url, kind: url ? kindOf(item.mime, item.name) : "none", text: "", error: null });
      if (["text", "json", "csv"].includes(state.kind)) read();
    },
    view() {
      const { kind, url, item } = state;
      if (state.error) return problem(state.error);
      if (kind === "image") return h("img", { key: url, src: url, alt: item?.name ?? "" });
      if (kind === "video") return h("video", { key: url, src: url, controls: true, preload: "metadata", "aria-label": item?.name });
      if (kind === "audio") return h("audio", { key: url, src: url, controls: true, preload: "metadata", "aria-label": item?.name });
      // In the browser's own viewer, which is a process of its own and has nothing of this page.
      if (kind === "pdf") return [h("iframe", { key: url, src: `${url}#navpanes=0`, title: item?.name }), h("p", link("Open in a new tab", url, { target: "_blank", rel: "noopener" }))];
      if (kind === "csv") return [table(state.text, item?.name ?? ""), more(state)];
      if (kind === "json") return [h("pre", { tabindex: "0", "aria-label": "Content" }, pretty(state.text, state.cut)), more(state)];
      if (kind === "text") return [h("pre", { tabindex: "0", "aria-label": "Content" }, state.text), more(state)];
      return h("div.empty", icon(/** @type {any} */ (pictureOf(item?.mime ?? ""))), h("p", kind === "none" ? "It has no content." : "No preview for this kind of file."), url ? link("Download", url, { class: "button", download: item?.name }) : null);
    },
  };
}

/** @param {string} mime @param {string} file */
function kindOf(mime, file) {
  const [group] = mime.split("/");
  if (mime === "text/csv" || mime === "text/tab-separated-values") return "csv";
  if (mime === "application/json" || mime.endsWith("+json")) return "json";
  if (mime === "application/pdf") return "pdf";
  if (group === "image" || group === "video" || group === "audio") return group;
  const readable = group === "text" || /(xml|yaml|toml|javascript|sql|x-sh)$/.test(mime) || /\.(md|txt|log|rs|py|js|ts|toml|ya?ml|ini|conf|sh|sql)$/i.test(file);
  return readable ? "text" : "other";
}

/** @param {any} state */
const more = (state) => (state.cut ? h("p.muted", `The first ${bytes(SHOWN)} of ${bytes(state.item.size)}.`) : null);

/** @param {string} text @param {boolean} cut */
function pretty(text, cut) {
  if (cut) return text;
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

/** @param {string} text @param {string} file */
function table(text, file) {
  const [head, ...rows] = parse(text, file.toLowerCase().endsWith(".tsv") ? "\t" : ",").slice(0, ROWS);
  return h("div.sheet", { tabindex: "0", role: "region", "aria-label": "Content" }, h("table", h("thead", h("tr", (head ?? []).map((cell) => h("th", { scope: "col" }, cell)))),
    h("tbody", rows.map((row) => h("tr", row.map((cell) => h("td", cell)))))));
}

/** RFC 4180, forgiving. @param {string} text @param {string} comma @returns {string[][]} */
function parse(text, comma) {
  /** @type {string[][]} */
  const rows = [];
  /** @type {string[]} */
  let row = [];
  let cell = "";
  let quoted = false;
  for (let index = 0; index < text.length && rows.length < ROWS; index += 1) {
    const character = text[index];
    if (quoted) {
      if (character !== '"') cell += character;
      else if (text[index + 1] === '"') { cell += '"'; index += 1; } else quoted = false;
    } else if (character === '"' && cell === "") quoted = true;
    else if (character === comma) { row.push(cell); cell = ""; } else if (character === "\n") {
      rows.push([...row, cell.replace(/\r$/, "")]);
      row = [];
      cell = "";
    } else cell += character;
  }
  if (cell || row.length) rows.push([...row, cell]);
  return rows;
}
