/** A form that is drawn from a JSON Schema: the parameters of an extractor. */

import { h } from "./dom.js";
import { choice, field, input } from "./parts.js";

/**
 * What a person typed, by parameter; empty: the extractor's default.
 * @typedef {Record<string, string>} Typed
 */

/** @param {Api.Schema} schema @returns {[string, Api.Schema][]} */
const parametersOf = (schema) => Object.entries(schema.properties ?? {}).filter(([, one]) => one.const === undefined);

/** The type of a parameter, null left out. @param {Api.Schema} one */
function typeOf({ type, enum: values, items }) {
  if (values) return "enum";
  const known = [type ?? []].flat().find((each) => each !== "null");
  if (known === "array") return items?.type === "string" ? "list" : "json";
  return known === "object" || known === undefined ? "json" : known;
}

/**
 * @param {Api.Schema} schema @param {Typed} typed @param {() => void} changed
 * @param {Record<string, string>} wrong by parameter
 */
export function schemaForm(schema, typed, changed, wrong) {
  const all = parametersOf(schema);
  if (all.length === 0) return h("p.muted", "It has no settings.");
  return h("div.fields", all.map(([key, one]) => {
    const value = typed[key] ?? "";
    const usual = one.default === undefined || one.default === null ? "default" : `default: ${JSON.stringify(one.default)}`;
    /** @param {string} to */
    const set = (to) => { typed[key] = to; changed(); };
    const type = typeOf(one);
    const control = type === "boolean" ? choice(key, value, [["", usual], ["true", "yes"], ["false", "no"]], set)
      : type === "enum" ? choice(key, value, [["", usual], ...(one.enum ?? []).filter((each) => each !== null).map((each) => [String(each), String(each)])], set)
        : type === "json" ? h("textarea", { rows: 3, spellcheck: "false", value, placeholder: "JSON", oninput: (event) => set(event.target.value) })
          : input(value, set, { placeholder: usual, inputmode: type === "integer" || type === "number" ? "decimal" : null });
    return h("div", { key }, field(key.replaceAll("_", " "), control, { id: `parameter-${key}`, hint: one.description, error: wrong[key] ?? problemOf(one, value) }));
  }));
}

/** What is wrong with what was typed. @param {Api.Schema} one @param {string} value */
function problemOf(one, value) {
  if (!value) return null;
  const type = typeOf(one);
  if (type === "json") return parsed(value) === undefined ? "This is not JSON." : null;
  if (type !== "integer" && type !== "number") return null;
  const number = Number(value);
  if (Number.isNaN(number) || (type === "integer" && !Number.isInteger(number))) return type === "integer" ? "A whole number" : "A number";
  if (one.minimum !== undefined && number < one.minimum) return `At least ${one.minimum}`;
  if (one.maximum !== undefined && number > one.maximum) return `At most ${one.maximum}`;
  return null;
}

/** @param {string} text @returns {unknown} */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Whether everything that was typed fits. @param {Api.Schema} schema @param {Typed} typed */
export const fits = (schema, typed) => parametersOf(schema).every(([key, one]) => !problemOf(one, typed[key] ?? ""));

/**
 * The parameters that were typed, as the API takes them.
 * @param {Api.Schema} schema @param {Typed} typed
 */
export function parametersFrom(schema, typed) {
  return Object.fromEntries(parametersOf(schema).filter(([key]) => typed[key]).map(([key, one]) => [key, valueOf(typeOf(one), typed[key])]));
}

/** @param {string} type @param {string} text */
function valueOf(type, text) {
  switch (type) {
    case "boolean": return text === "true";
    case "integer": case "number": return Number(text);
    case "list": return text.split(",").map((each) => each.trim()).filter(Boolean);
    case "json": return parsed(text);
    default: return text;
  }
}

/**
 * Parameters that are stored, as a person would type them.
 * @param {Record<string, unknown>} stored @returns {Typed}
 */
export const typedFrom = (stored) => Object.fromEntries(Object.entries(stored).filter(([key, value]) => key !== "extractor_type" && value !== null)
  .map(([key, value]) => [key, Array.isArray(value) && value.every((each) => typeof each === "string") ? value.join(", ") : typeof value === "object" ? JSON.stringify(value) : String(value)]));
