/** Which files: the filters of a sync that is being edited. */

import { h } from "../../lib/dom.js";
import { sizeOf } from "../../lib/draft.js";
import { button, choice, field, input } from "../../lib/parts.js";

/** @param {Ui.Draft} draft @param {Ui.Change} change */
export function filterStep(draft, change) {
  /**
   * @param {string} label
   * @param {keyof Ui.Draft} key
   * @param {string} placeholder
   * @param {string} [hint]
   * @param {string} [type]
   */
  const text = (label, key, placeholder, hint, type = "text") => field(label, input(String(draft[key]), (value) => change({ [key]: value }), { type, placeholder }), { id: `filter-${key}`, hint, error: (key === "min" || key === "max") && Number.isNaN(sizeOf(String(draft[key]))) ? "A number with a unit, such as 10 MB" : null });
  /** @param {string} label @param {keyof Ui.Draft} key @param {string} placeholder */
  const patterns = (label, key, placeholder) => field(label, h("textarea", {
    rows: 2, value: draft[key], placeholder, spellcheck: "false", oninput: (event) => change({ [key]: event.target.value }),
  }), { id: `filter-${key}`, hint: "One pattern per line. Without / it matches names in any folder." });
  const metadata = draft.metadata;
  return [
    h("p.muted", "A file must match all of these. An empty filter matches everything."),
    h("div.fields", patterns("Include", "include", "*.jpg\n2024/**"), patterns("Exclude", "exclude", "*.tmp\n**/node_modules/**")),
    h("div.fields", text("Extensions", "extensions", "jpg png mp4"), text("Types", "mime", "image/* video/mp4")),
    h("details", { open: Boolean(draft.min || draft.max || draft.after || draft.before || metadata.length) }, h("summary", "Size, date and metadata"),
      h("div.stack", h("div.fields", text("At least", "min", "10 KB"), text("At most", "max", "2 GB"), text("Changed after", "after", "", undefined, "date"), text("Changed before", "before", "", undefined, "date")),
        metadata.map((filter, index) => h("div", { key: index, class: "fields" },
          field("Metadata field", input(filter.field, (field) => { filter.field = field; change({ metadata }); }, { placeholder: "author" }), { id: `metadata-${index}` }),
          field("Operator", choice(`operator-${index}`, filter.operator, ["contains", "not_contains", "equals", "not_equals", "gt", "lt", "gte", "lte", "exists"].map((operator) => [operator, operator.replace("_", " ")]), (operator) => { filter.operator = operator; change({ metadata }); }), { id: `operator-${index}` }),
          field("Value", input(filter.value, (value) => { filter.value = value; change({ metadata }); }), { id: `with-${index}` }),
          h("div.actions", button("Remove", () => change({ metadata: metadata.filter((_, other) => other !== index) }), { kind: "small quiet", icon: "cross" })))),
        h("div", button("Add a metadata filter", () => change({ metadata: [...metadata, { field: "", operator: "contains", value: "" }] }), { kind: "small", icon: "plus" })))),
  ];
}
