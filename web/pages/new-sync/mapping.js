/**
 * How files are stored: the mapping of a sync that is being edited, with samples from real entries.
 */

import { h } from "../../lib/dom.js";
import { SOURCES, sampleOf } from "../../lib/draft.js";
import { button, choice, field, input, name } from "../../lib/parts.js";

/**
 * @param {Ui.Draft} draft @param {string[]} paths of real entries, for samples
 * @param {Ui.Change} change
 */
export function mappingStep(draft, paths, change) {
  const { mapping } = draft;
  return [
    h("p.muted", mapping.length === 0
      ? "Each file becomes an object with one blob, content. Add fields to give objects properties from paths, names, tags or metadata."
      : "Without a row for the file itself, objects have fields and no content."),
    mapping.map((row, index) => {
      /** @param {Partial<Ui.MappingRow>} to */
      const set = (to) => { Object.assign(row, to); change({ mapping }); };
      const [, , key, placeholder] = SOURCES.find(([type]) => type === row.source) ?? SOURCES[0];
      const samples = paths.map((path) => sampleOf(row, path)).filter((value) => value !== null);
      return h("div.mapping", { key: index },
        field("Property", input(row.target, (target) => set({ target }), { placeholder: "album" }), { id: `target-${index}` }),
        field("Source", choice(`from-${index}`, row.source, SOURCES.map(([type, label]) => [type, label]), (source) => set({ source })), { id: `from-${index}` }),
        key ? field(key, input(row.value, (value) => set({ value }), { placeholder }), { id: `key-${index}` }) : h("span"),
        row.source === "file" ? h("span") : field("Transform", choice(`made-${index}`, row.transform, [["", "none"], ["lowercase", "lower case"], ["uppercase", "upper case"], ["trim", "trim spaces"], ["json_parse", "parse JSON"]], (transform) => set({ transform })), { id: `made-${index}` }),
        button(h("span.sr", `Remove ${row.target || "this property"}`), () => change({ mapping: mapping.filter((_, other) => other !== index) }), { kind: "quiet", icon: "cross" }),
        h("p.sample", samples.length
          ? ["For example: ", samples.map((value, at_) => [at_ ? ", " : "", name(value)])]
          : ["tag", "metadata"].includes(row.source) ? "Its values are read when files are copied." : paths.length ? "None of the first files has a value." : ""));
    }),
    h("div.actions", button("Add a property", () => change({ mapping: [...(mapping.length ? mapping : [{ target: "content", source: "file", value: "", transform: "" }]), { target: "", source: "folder_path", value: "", transform: "" }] }), { kind: "small", icon: "plus" })),
  ];
}
