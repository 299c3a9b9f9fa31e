/** The small pieces that every page is made of. */

import { h } from "./dom.js";
import { count, visible } from "./format.js";

/** @typedef {import("./dom.js").Child} Child */

/**
 * A name from outside: text only, its direction kept to itself, nothing hidden in it.
 * @param {string | null | undefined} text @param {Record<string, any>} [props]
 */
export function name(text, props = {}) {
  const shown = visible(text);
  return h("bdi.name", { title: shown.length > 24 ? shown : null, ...props }, shown);
}

/** Words from outside, such as a reason or an error. @param {string | null | undefined} text */
export const said = (text) => h("bdi.said", visible(text));

/**
 * A list to choose from.
 * @param {string} id @param {string} value @param {[value: string, label: string][]} options
 * @param {(value: string) => any} choose
 */
export const choice = (id, value, options, choose) =>
  h("select", { id, value, onchange: (event) => choose(event.target.value) },
    options.map(([each, label]) => h("option", { key: each, value: each, selected: each === value }, label)));

/** The same, its label for screen readers only. @param {string} label @param {Parameters<typeof choice>} rest */
export const quietChoice = (label, ...rest) => [h("label.sr", { for: rest[0] }, label), choice(...rest)];

/** @param {string} path of an icon in a 16 × 16 box */
const drawing = (path) =>
  h("svg.icon", { viewBox: "0 0 16 16", "aria-hidden": "true", focusable: "false" }, h("path", { d: path }));

const ICONS = {
  home: "M2.5 7.500 8 3l5.500 4.500M4 6.800V13h8V6.800",
  bucket: "M2.500 5c0-1.200 2.500-2 5.500-2s5.500.8 5.500 2-2.500 2-5.500 2-5.500-.8-5.500-2zm0 0 1.200 7c.2 1 2 1.700 4.300 1.700s4.100-.7 4.300-1.700l1.200-7",
  plug: "M5.500 2.500v3M10.500 2.500v3M4 5.500h8v2a4 4 0 0 1-8 0zM8 11.500v2.500",
  pulse: "M1.500 8.500h3l2-5 3 9 2-4h3",
  gear: "M8 5.700a2.300 2.300 0 1 0 0 4.600 2.300 2.300 0 0 0 0-4.600zM8 1.800v2M8 12.200v2M1.800 8h2M12.200 8h2M3.600 3.600 5 5M11 11l1.400 1.400M12.400 3.600 11 5M5 11l-1.400 1.400",
  plus: "M8 3v10M3 8h10",
  play: "M5 3.200v9.600L12.500 8z",
  pause: "M5.500 3.500v9M10.500 3.500v9",
  folder: "M2 4.500c0-.6.4-1 1-1h3.200l1.500 1.700H13c.6 0 1 .4 1 1v5.800c0 .6-.4 1-1 1H3c-.6 0-1-.4-1-1z",
  file: "M4 2.500h5l3 3v8H4zM9 2.500v3h3",
  image: "M2.500 3.500h11v9h-11zM2.500 10.500l3-3 3 3 2-2 3 3M10.500 6.200h.01",
  film: "M2.500 3.500h11v9h-11zM5.500 3.500v9M10.500 3.500v9M2.500 8h11",
  sound: "M6 12V4l6-1.500V10M6 12a1.800 1.800 0 1 1-3.600 0A1.800 1.800 0 0 1 6 12zM12 10.200a1.800 1.800 0 1 1-3.600 0 1.800 1.800 0 0 1 3.600 0z",
  text: "M4 2.500h5l3 3v8H4zM6 7h4M6 9h4M6 11h2.500",
  table: "M2.500 3.500h11v9h-11zM2.500 6.500h11M2.500 9.500h11M6.500 3.500v9",
  alert: "M8 2.500 14.500 13.500h-13zM8 6.500v3.200M8 11.700h.01",
  check: "M3 8.500 6.500 12 13 4.500",
  cross: "M4 4l8 8M12 4l-8 8",
  copy: "M5.500 5.500h7v8h-7zM3.500 10.500v-8h7",
  down: "M8 2.500v8M4.500 7.500 8 11l3.500-3.500M3 13.500h10",
  trash: "M3 4.500h10M6 4.500V3h4v1.500M4.500 4.500l.5 9h6l.5-9",
  search: "M7 2.800a4.200 4.200 0 1 0 0 8.400 4.200 4.200 0 0 0 0-8.400zM10.200 10.200 13.500 13.500",
  lock: "M4 7.500h8v6H4zM5.500 7.500v-2a2.500 2.500 0 0 1 5 0v2",
  list: "M2.500 4h11M2.500 8h11M2.500 12h11",
  grid: "M3 3h4v4H3zM9 3h4v4H9zM3 9h4v4H3zM9 9h4v4H9z",
  spark: "M8 2v3M8 11v3M2 8h3M11 8h3",
};

/** @param {keyof typeof ICONS} which */
export const icon = (which) => drawing(ICONS[which]);

/**
 * A button. `kind`: primary, danger, quiet or plain.
 * @param {Child} label @param {(event: Event) => any} onclick
 * @param {{kind?: string, icon?: keyof typeof ICONS, busy?: boolean, disabled?: boolean, [attribute: string]: any}} [options]
 */
export function button(label, onclick, options = {}) {
  const { kind = "", icon: which, busy, disabled, ...rest } = options;
  return h("button", { type: "button", class: `button ${kind}`, onclick, disabled: disabled || busy, "aria-busy": busy ? "true" : null, ...rest },
    which ? icon(which) : null,
    label,
  );
}

/** @param {Child} label @param {string} href @param {Record<string, any> & {icon?: keyof typeof ICONS}} [options] */
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
  running: ["busy", "Running"],
  completed: ["good", "Completed"],
  failed: ["bad", "Failed"],
  interrupted: ["warn", "Interrupted"],
  skipped: ["quiet", "Skipped"],
};

/** A state as a dot and words; never colour alone. @param {string | null | undefined} state @param {string} [words] */
export function badge(state, words) {
  const [tone, said] = STATES[state ?? ""] ?? ["quiet", state ?? "Unknown"];
  return h("span", { class: `badge ${tone}` }, h("i.dot", { "aria-hidden": "true" }), words ?? said);
}

/**
 * How a sync stands, as one badge.
 * @param {any} sync
 */
export function syncBadge(sync) {
  if (sync.held_removals?.count) return badge("COMPLETED_WITH_ERRORS", "Removals held");
  if (sync.paused) {
    const failed = sync.paused_by_failures ?? sync.paused_by_user_id === null;
    return badge(failed ? "FAILED" : "SUSPENDED", failed ? "Paused by failures" : "Paused");
  }
  return badge(sync.status);
}

/** @param {string} title @param {Child} body @param {...Child} actions */
export function empty(title, body, ...actions) {
  return h("div.empty", h("h2", title), h("p", body), h("div.actions", actions));
}

/**
 * What went wrong, and what to do about it.
 * @param {any} error @param {(() => void) | null} [retry]
 */
export function problem(error, retry) {
  const fields = error?.fields ?? [];
  return h("div.problem", { role: "alert" },
    icon("alert"),
    h("div", h("p", visible(error?.message ?? String(error))),
      fields.length > 0
        ? h("ul", fields.map((/** @type {any} */ field) => h("li", h("code", visible(field.field)), " ", visible(field.message))))
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

/** Facts as a list of terms. @param {[string, Child][]} pairs */
export function facts(pairs) {
  return h("dl.facts", pairs.filter(([, value]) => value !== null && value !== undefined && value !== false)
      .map(([term, value]) => h("div", { key: term }, h("dt", term), h("dd", value))),
  );
}

/** @param {string} label @param {Child} value @param {Child} [note] */
export const stat = (label, value, note) =>
  h("div.stat", h("dt", label), h("dd", h("b", value), note ? h("small", note) : null));

/** A field with its label, a hint, and what is wrong with it.
 * @param {string} label @param {Child} control @param {{hint?: Child, error?: string | null, id?: string}} [options] */
export function field(label, control, { hint, error, id } = {}) {
  const note = error || hint;
  const noteId = id && note ? `${id}-note` : null;
  if (control?.props && id) {
    control.props.id = id;
    control.props["aria-describedby"] = noteId;
    control.props["aria-invalid"] = error ? "true" : null;
  }
  return h("div", { class: `field${error ? " wrong" : ""}` },
    h("label", { for: id }, label),
    control,
    note ? h("p.hint", { id: noteId, role: error ? "alert" : null }, error ? visible(error) : hint) : null,
  );
}

/** A command to copy. @param {string} text @param {string} [label] */
export function command(text, label = "Copy") {
  return h("div.command", h("code", { tabindex: "0" }, text),
    h("button", {
      type: "button", class: "button small", "aria-label": `${label}: ${text.slice(0, 60)}`,
      onclick: async (event) => {
        const pressed = event.currentTarget;
        await navigator.clipboard?.writeText(text);
        pressed.classList.add("done");
        setTimeout(() => pressed.classList.remove("done"), 1500);
      },
    }, icon("copy"), label),
  );
}

/** A short cell of a table that becomes a list on small screens. @param {string} label @param {...Child} content */
export const cell = (label, ...content) => h("td.short", { "data-label": label }, content);

/** A heading with a count beside it. @param {string} title @param {number} [number] @param {...Child} beside */
export const section = (title, number, ...beside) =>
  h("div.section", h("h2", title, number === undefined ? null : h("span.number", count(number))), beside);
