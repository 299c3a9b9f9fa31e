/** The small pieces that every page is made of. */

import { fieldsOf, messageOf } from "./api.js";
import { h } from "./dom.js";
import { count, moment, visible, when } from "./format.js";
import { attempt, note } from "./notes.js";

/**
 * A name from a source: text only, its writing direction isolated, nothing hidden in it.
 * @param {?string} [text] @param {object} [props]
 */
export function name(text, props = {}) {
  const shown = visible(text);
  return h("bdi.name", { title: shown.length > 24 ? shown : null, ...props }, shown);
}

/** Words from outside, such as a reason or an error. @param {?string} [text] */
export const said = (text) => h("bdi.said", visible(text));

/**
 * A time: relative within a week, else its date; to the second on pointing.
 * @param {?string} [at]
 */
export const timeOf = (at) => h("time", { datetime: at ?? null, title: at ? moment(at) : null }, when(at));

/**
 * A list to choose from.
 * @param {string} id @param {string} value @param {string[][]} options each a value and its label
 * @param {(value: string) => unknown} choose
 */
export const choice = (id, value, options, choose) =>
  h("select", { id, value, onchange: (event) => choose(event.target.value) },
    options.map(([each, label]) => h("option", { key: each, value: each, selected: each === value }, label)));

/**
 * The same, its label for screen readers only.
 * @param {string} label
 * @param {Parameters<typeof choice>} rest
 */
export const quietChoice = (label, ...rest) => [h("label.sr", { for: rest[0] }, label), choice(...rest)];

/** @param {string} path of an icon in a 16 × 16 box */
const drawing = (path) =>
  h("svg.icon", { viewBox: "0 0 16 16", "aria-hidden": "true", focusable: "false" }, h("path", { d: path }));

const ICONS = {
  home: "M2.5 7.5 8 3l5.5 4.5M4 6.8V13h8V6.8",
  bucket: "M2.5 5c0-1.2 2.5-2 5.5-2s5.5.8 5.5 2-2.5 2-5.5 2-5.5-.8-5.5-2zm0 0 1.2 7c.2 1 2 1.7 4.3 1.7s4.1-.7 4.3-1.7l1.2-7",
  flow: "M2.5 4h4v3h-4zM9.5 9h4v3h-4zM6.5 5.5h3a2 2 0 0 1 2 2V9",
  plug: "M5.5 2.5v3M10.5 2.5v3M4 5.5h8v2a4 4 0 0 1-8 0zM8 11.5v2.5",
  pulse: "M1.5 8.5h3l2-5 3 9 2-4h3",
  gear: "M8 5.7a2.3 2.3 0 1 0 0 4.6 2.3 2.3 0 0 0 0-4.6zM8 1.8v2M8 12.2v2M1.8 8h2M12.2 8h2M3.6 3.6 5 5M11 11l1.4 1.4M12.4 3.6 11 5M5 11l-1.4 1.4",
  plus: "M8 3v10M3 8h10",
  play: "M5 3.2v9.6L12.5 8z",
  pause: "M5.5 3.5v9M10.5 3.5v9",
  folder: "M2 4.5c0-.6.4-1 1-1h3.2l1.5 1.7H13c.6 0 1 .4 1 1v5.8c0 .6-.4 1-1 1H3c-.6 0-1-.4-1-1z",
  file: "M4 2.5h5l3 3v8H4zM9 2.5v3h3",
  image: "M2.5 3.5h11v9h-11zM2.5 10.5l3-3 3 3 2-2 3 3M10.5 6.2h.01",
  film: "M2.5 3.5h11v9h-11zM5.5 3.5v9M10.5 3.5v9M2.5 8h11",
  sound: "M6 12V4l6-1.5V10M6 12a1.8 1.8 0 1 1-3.6 0A1.8 1.8 0 0 1 6 12zM12 10.2a1.8 1.8 0 1 1-3.6 0 1.8 1.8 0 0 1 3.6 0z",
  text: "M4 2.5h5l3 3v8H4zM6 7h4M6 9h4M6 11h2.5",
  table: "M2.5 3.5h11v9h-11zM2.5 6.5h11M2.5 9.5h11M6.5 3.5v9",
  alert: "M8 2.5 14.5 13.5h-13zM8 6.5v3.2M8 11.7h.01",
  check: "M3 8.5 6.5 12 13 4.5",
  cross: "M4 4l8 8M12 4l-8 8",
  copy: "M5.5 5.5h7v8h-7zM3.5 10.5v-8h7",
  down: "M8 2.5v8M4.5 7.5 8 11l3.5-3.5M3 13.5h10",
  trash: "M3 4.5h10M6 4.5V3h4v1.5M4.5 4.5l.5 9h6l.5-9",
  search: "M7 2.8a4.2 4.2 0 1 0 0 8.4 4.2 4.2 0 0 0 0-8.4zM10.2 10.2 13.5 13.5",
  lock: "M4 7.5h8v6H4zM5.5 7.5v-2a2.5 2.5 0 0 1 5 0v2",
  list: "M2.5 4h11M2.5 8h11M2.5 12h11",
  grid: "M3 3h4v4H3zM9 3h4v4H9zM3 9h4v4H3zM9 9h4v4H9z",
};

/** @param {keyof typeof ICONS} which */
export const icon = (which) => drawing(ICONS[which]);

/**
 * A button. `kind`: primary, danger, quiet or plain.
 * @param {Ui.Child} label @param {(event: Event) => unknown} onclick
 * @param {{kind?: string, icon?: keyof typeof ICONS, busy?: boolean, disabled?: boolean,
 * [attribute: string]: unknown}} [options]
 */
export function button(label, onclick, options = {}) {
  const { kind = "", icon: which, busy, disabled, ...rest } = options;
  return h("button", { type: "button", class: `button ${kind}`, onclick, disabled: disabled || busy, "aria-busy": busy ? "true" : null, ...rest },
    which ? icon(which) : null,
    label,
  );
}

/**
 * @param {Ui.Child} label
 * @param {string} href
 * @param {Ui.Props & {icon?: keyof typeof ICONS}} [options]
 */
export function link(label, href, options = {}) {
  const { icon: which, ...rest } = options;
  return h("a", { href, ...rest }, which ? icon(which) : null, label);
}

/** How a state looks. @type {Record<string, [tone: string, words: string]>} */
const STATES = {
  PENDING: ["quiet", "Not run yet"],
  QUEUED: ["busy", "Queued"],
  IN_PROGRESS: ["busy", "Running"],
  ACTIVE: ["good", "Up to date"],
  COMPLETED: ["good", "Completed"],
  COMPLETED_WITH_ERRORS: ["warn", "Done, with failures"],
  FAILED: ["bad", "Failed"],
  SUSPENDED: ["warn", "Paused"],
  INTERRUPTED: ["warn", "Interrupted"],
  ARCHIVED: ["quiet", "Archived"],
  RUNNING: ["busy", "Running"],
  SKIPPED: ["quiet", "Skipped"],
};

/**
 * A state as a dot and words; never colour alone.
 * @param {?string} [state]
 * @param {string} [words]
 */
export function badge(state, words) {
  const [tone, said] = STATES[(state ?? "").toUpperCase()] ?? ["quiet", state ?? "Unknown"];
  return h("span", { class: `badge ${tone}` }, h("i.dot", { "aria-hidden": "true" }), words ?? said);
}

/**
 * The state of a sync, as one badge.
 * @param {Api.AnySync} sync
 */
export function syncBadge(sync) {
  if (sync.notices?.some((one) => one.code === "waiting_for_provider")) return badge("QUEUED", "Waiting for the provider");
  if (sync.held_removals?.count) return badge("COMPLETED_WITH_ERRORS", "Removals held");
  if (sync.paused) {
    const failed = sync.paused_by_failures ?? sync.paused_by_user_id === null;
    return badge(failed ? "FAILED" : "SUSPENDED", failed ? "Paused by failures" : "Paused");
  }
  return badge(sync.status);
}

/** @param {string} title @param {Ui.Child} body @param {...Ui.Child} actions */
export function empty(title, body, ...actions) {
  return h("div.empty", h("h2", title), h("p", body), h("div.actions", actions));
}

/**
 * What went wrong, and what to do about it.
 * @param {unknown} error @param {(() => void) | null} [retry]
 */
export function problem(error, retry) {
  const fields = fieldsOf(error);
  return h("div.problem", { role: "alert" },
    icon("alert"),
    h("div", h("p", visible(messageOf(error))),
      fields.length > 0
        ? h("ul", fields.map((field) => h("li", h("code", visible(field.field)), " ", visible(field.message))))
        : null,
    ),
    retry ? button("Try again", retry, { kind: "small" }) : null,
  );
}

/** @param {string} label @param {number | null} share 0 to 1, null when unknown */
export function bar(label, share) {
  const known = share !== null && Number.isFinite(share);
  const percent = known ? Math.max(0, Math.min(100, share * 100)) : 0;
  return h("div", {
      class: `bar${known ? "" : " unknown"}`, role: "progressbar", "aria-label": label,
      "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": known ? Math.round(percent) : null,
    },
    h("i", { style: known ? { width: `${percent}%` } : {} }),
  );
}

/** Facts as a list of terms. @param {[string, Ui.Child][]} pairs */
export function facts(pairs) {
  return h("dl.facts", pairs.filter(([, value]) => value !== null && value !== undefined && value !== false)
      .map(([term, value]) => h("div", { key: term }, h("dt", term), h("dd", value))),
  );
}

/** @param {string} label @param {Ui.Child} value @param {Ui.Child} [note] */
export const stat = (label, value, note) =>
  h("div.stat", h("dt", label), h("dd", h("b", value), note ? h("small", note) : null));

/**
 * A line to type in.
 * @param {string} value
 * @param {(value: string) => void} changed
 * @param {object} [props]
 */
export const input = (value, changed, props) =>
  h("input", { type: "text", spellcheck: "false", autocomplete: "off", value, oninput: (event) => changed(event.target.value), ...props });

/** A field with its label, a hint, and what is wrong with it.
 * @param {string} label @param {Ui.Drawing} control
 * @param {{hint?: Ui.Child, error?: string | null, id?: string}} [options] */
export function field(label, control, { hint, error, id } = {}) {
  const about = error || hint;
  const noteId = id && about ? `${id}-note` : null;
  if (id) {
    control.props.id = id;
    control.props["aria-describedby"] = noteId;
    control.props["aria-invalid"] = error ? "true" : null;
  }
  return h("div", { class: `field${error ? " wrong" : ""}` },
    h("label", { for: id }, label),
    control,
    about ? h("p.hint", { id: noteId, role: error ? "alert" : null }, error ? visible(error) : hint) : null,
  );
}

/** A command to copy. @param {string} text @param {string} [label] */
export function command(text, label = "Copy") {
  return h("div.command", h("code", { tabindex: "0" }, text),
    button(label, () => navigator.clipboard
      ? attempt(() => navigator.clipboard.writeText(text), "Copied.")
      : note("Browsers let a page copy only on localhost and over HTTPS: select the text instead.", "bad"),
    { kind: "small", icon: "copy", "aria-label": `${label}: ${text.slice(0, 60)}` }));
}

/**
 * A short cell of a table that becomes a list on small screens.
 * @param {string} label
 * @param {...Ui.Child} content
 */
export const cell = (label, ...content) => h("td.short", { "data-label": label }, content);

/**
 * A heading with a count beside it.
 * @param {Ui.Child} title
 * @param {number} [number]
 * @param {...Ui.Child} beside
 */
export const section = (title, number, ...beside) =>
  h("div.section", h("h2", title, number === undefined ? null : h("span.number", count(number))), beside);

/**
 * The head of a page: what it is, a line about it, what can be done.
 * @param {Ui.Child} title
 * @param {Ui.Child} [about]
 * @param {...Ui.Child} actions
 */
export const pageHead = (title, about, ...actions) =>
  h("header.page-head", h("div", h("h1", title), about ? h("p", about) : null), actions.length ? h("div.actions", actions) : null);

/** The first row of a table; a column without a title has buttons. @param {Ui.Child[]} titles */
export const heads = (titles) =>
  h("thead", h("tr", titles.map((title) => h("th", { scope: "col" }, title || h("span.sr", "Actions")))));

/** Some of many paths. @param {string[]} paths @param {number} [all] */
export const pathList = (paths, all = paths.length) =>
  h("ul.paths", { tabindex: "0", "aria-label": "Which" }, paths.slice(0, 20).map((path) => h("li", name(path))), all > Math.min(20, paths.length) ? h("li.muted", `and ${count(all - Math.min(20, paths.length))} more`) : null);
