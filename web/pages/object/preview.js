/** What the bytes of an object look like: pictures, sound, film, text, tables, Markdown, PDF. */

import { at } from "../../lib/api.js";
import { h } from "../../lib/dom.js";
import { mayHaveOne } from "../../lib/face.js";
import { bytes } from "../../lib/format.js";
import { markdown } from "../../lib/markdown.js";
import { itemOf, pictureOf } from "../../lib/objects.js";
import { icon, link, problem } from "../../lib/parts.js";

/** How much of a text is shown. */
const SHOWN = 256 * 1024;
/** Rows of a table. */
const ROWS = 500;
/** How much tells whether bytes of no known kind are text. */
const LOOKED_AT = 4096;

/**
 * @typedef {{kind: string, url: string, small: string, item: Ui.Item | null, text: string,
 * cut: boolean, broken: boolean, error: unknown}} State
 */

/** @param {() => void} redraw */
export function preview(redraw) {
  /** @type {State} */
  const state = { kind: "", url: "", small: "", item: null, text: "", cut: false, broken: false, error: null };

  /** @param {number} size */
  async function first(size) {
    const answer = await fetch(state.url, { headers: { Range: `bytes=0-${size - 1}` } });
    if (!answer.ok) throw new Error(answer.status === 416 ? "It is empty." : `The server returned status ${answer.status}.`);
    return new Uint8Array(await answer.arrayBuffer());
  }

  async function read() {
    try {
      const { item } = state;
      if (state.kind === "unknown") {
        if (item?.size === 0) throw new Error("It is empty.");
        state.kind = isText(await first(LOOKED_AT)) ? "text" : "other";
      }
      if (READ.has(state.kind)) {
        const content = await first(SHOWN);
        state.text = new TextDecoder(encodingOf(content)).decode(content);
        state.cut = (item?.size ?? 0) > SHOWN;
      }
    } catch (error) {
      state.error = error;
    }
    redraw();
  }

  const onerror = () => { state.broken = true; redraw(); };

  return {
    /** @param {string} bucket @param {Api.Object_} object */
    open(bucket, object) {
      const item = itemOf(object);
      const url = item.blob ? at.content(bucket, item.id, item.blob) : "";
      if (url === state.url && item.size === state.item?.size) return;
      const small = url && mayHaveOne(item.mime) ? at.thumbnail(bucket, item.id, 1024) : "";
      Object.assign(state, { item, url, small, kind: url ? kindOf(item.mime, item.name) : "none", text: "", broken: false, error: null });
      if (state.kind === "unknown" || READ.has(state.kind)) read();
    },
    view() {
      const { kind, url, item } = state;
      const named = item?.name ?? "";
      if (state.error) return problem(state.error);
      if (state.broken || kind === "other" || kind === "none") {
        if (!state.small) return cannot(state);
        return h("img", { key: state.small, src: state.small, alt: named, onerror: () => { state.small = ""; redraw(); } });
      }
      switch (kind) {
        case "image": return h("img", { key: url, src: url, alt: named, onerror });
        case "video": return h("video", { key: url, src: url, controls: true, preload: "metadata", "aria-label": named, onerror });
        case "audio": return h("audio", { key: url, src: url, controls: true, preload: "metadata", "aria-label": named, onerror });
        // In the browser's own viewer, which is a process of its own and has nothing of this page.
        case "pdf": return [h("iframe", { key: url, src: `${url}#navpanes=0`, title: named }), h("p", link("Open in a new tab", url, { target: "_blank", rel: "noopener" }))];
        case "csv": return [sheet(parse(state.text, named.toLowerCase().endsWith(".tsv") ? "\t" : ",")), more(state)];
        case "jsonl": return [records(state), more(state)];
        case "markdown": return [h("div.markdown", { tabindex: "0", role: "region", "aria-label": "Content" }, markdown(state.text)), more(state)];
        case "json": return [content(pretty(state)), more(state)];
        case "text": return [content(state.text), more(state)];
        default: return h("p.muted", "Reading…");
      }
    },
  };
}

/** Kinds whose text is read. */
const READ = new Set(["text", "json", "jsonl", "csv", "markdown"]);

/** @param {string} mime @param {string} file */
function kindOf(mime, file) {
  const [group] = mime.split("/");
  if (/(\+|\/)(x-)?(ndjson|jsonl|jsonlines|json-seq)$/.test(mime) || /\.(jsonl|ndjson)$/i.test(file)) return "jsonl";
  if (mime === "text/markdown" || /\.(md|markdown)$/i.test(file)) return "markdown";
  if (mime === "text/csv" || mime === "text/tab-separated-values") return "csv";
  if (mime === "application/json" || mime.endsWith("+json")) return "json";
  if (mime === "application/pdf") return "pdf";
  if (UNKNOWN_TO_BROWSERS.some(([what]) => what.test(mime) || what.test(file))) return "other";
  if (group === "image" || group === "video" || group === "audio") return group;
  return group === "text" || /(xml|yaml|toml|javascript|sql|x-sh)$/.test(mime) ? "text" : "unknown";
}

/** Kinds of files that no browser shows, and what people call them. @type {[RegExp, string][]} */
const UNKNOWN_TO_BROWSERS = [
  [/image\/hei[cf]|\.hei[cf]$/i, "HEIC images"],
  [/image\/tiff|\.tiff?$/i, "TIFF images"],
  [/photoshop|\.psd$/i, "Photoshop images"],
  [/\.(cr2|cr3|nef|arw|dng|raf|orf|rw2)$/i, "camera raw images"],
  [/msword|wordprocessingml|opendocument\.text|\.(docx?|odt|rtf)$/i, "word processor documents"],
  [/ms-excel|spreadsheetml|opendocument\.spreadsheet|\.(xlsx?|ods)$/i, "spreadsheets"],
  [/ms-powerpoint|presentationml|opendocument\.presentation|\.(pptx?|odp)$/i, "presentations"],
  [/zip|x-tar|gzip|x-7z|rar|x-bzip|\.(zip|tar|tgz|gz|7z|rar|bz2|xz|zst)$/i, "archives"],
  [/parquet|\.parquet$/i, "Parquet tables"],
  [/sqlite|\.(db|sqlite3?)$/i, "databases"],
];

/** In plain words that there is nothing to see, and the way out. @param {State} state */
function cannot({ kind, broken, item, url }) {
  const { mime = "", name = "" } = item ?? {};
  const what = UNKNOWN_TO_BROWSERS.find(([known]) => known.test(mime) || known.test(name))?.[1];
  const words = kind === "none" ? "It has no content."
    : broken ? `The browser cannot show this ${kind}: the file is damaged, or its format is not supported.`
      : what ? `The browser cannot show ${what}.` : "This is not text, an image, audio or video, so the browser cannot show it.";
  return h("div.empty", icon(pictureOf(mime)), h("p", words, url ? " Download it to open it in another program." : ""),
    url ? link("Download", url, { class: "button", download: name }) : null);
}

/** @param {Uint8Array} content */
function isText(content) {
  if (encodingOf(content) !== "utf-8") return true;
  try {
    // A character may be cut at the end, which is no fault of the text.
    const text = new TextDecoder("utf-8", { fatal: true }).decode(content, { stream: true });
    return !/[\u0000-\u0008\u000e-\u001a\u001c-\u001f]/.test(text);
  } catch {
    return false;
  }
}

/** By the mark that a text may begin with. @param {Uint8Array} content */
const encodingOf = ([first, second]) =>
  (first === 0xff && second === 0xfe ? "utf-16le" : first === 0xfe && second === 0xff ? "utf-16be" : "utf-8");

/** @param {State} state */
const more = ({ cut, item }) => (cut ? h("p.muted", `The first ${bytes(SHOWN)} of ${bytes(item?.size)}.`) : null);

/** @param {string} text */
const content = (text) => h("pre", { tabindex: "0", role: "region", "aria-label": "Content" }, text);

/** @param {State} state */
function pretty({ text, cut }) {
  if (cut) return text;
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

/** @param {string[][]} rows the first are the titles of the columns */
function sheet([head = [], ...rows]) {
  return h("div.sheet", { tabindex: "0", role: "region", "aria-label": "Content" }, h("table", h("thead", h("tr", head.map((cell) => h("th", { scope: "col" }, cell || "–")))),
    h("tbody", rows.slice(0, ROWS).map((row) => h("tr", row.map((cell) => h("td", cell)))))));
}

/**
 * JSON, a record a line, as a table; lines that cannot be read are shown as they are.
 * @param {State} state
 */
function records({ text, cut }) {
  const lines = text.split("\n");
  if (cut) lines.pop();
  const read = lines.filter((line) => line.trim()).slice(0, ROWS).map((line) => {
    try {
      return /** @type {unknown} */ (JSON.parse(line));
    } catch {
      return line;
    }
  });
  /** @type {(value: unknown) => value is Record<string, unknown>} */
  const isRecord = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
  const columns = [...new Set(read.filter(isRecord).flatMap((record) => Object.keys(record)))].slice(0, 50);
  if (columns.length === 0) return content(read.map((value) => (typeof value === "string" ? value : JSON.stringify(value))).join("\n"));
  return sheet([columns, ...read.map((record) => (isRecord(record) ? columns.map((column) => cellOf(record[column])) : [typeof record === "string" ? record : JSON.stringify(record)]))]);
}

/** @param {unknown} value */
const cellOf = (value) => (value === undefined ? "" : typeof value === "string" ? value : JSON.stringify(value));

/** RFC 4180, forgiving. @param {string} text @param {string} comma @returns {string[][]} */
function parse(text, comma) {
  /** @type {string[][]} */
  const rows = [];
  /** @type {string[]} */
  let row = [];
  let cell = "";
  let quoted = false;
  for (let index = 0; index < text.length && rows.length <= ROWS; index += 1) {
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
