/** What a run would do. */

import { h } from "../../lib/dom.js";
import { bytes, count, counted } from "../../lib/format.js";
import { name, said } from "../../lib/parts.js";

/** The API's answer, as this page shows it. @param {Api.Preview} answer @returns {Ui.Preview} */
export function previewOf(answer) {
  const counts = answer.counts ?? {};
  const items = answer.sample.map((item) => ({
    path: item.path, verdict: item.action, size: item.size_bytes ?? null, why: item.renamed_from ? `was ${item.renamed_from}` : item.reason ?? "",
  }));
  return {
    add: counts.synced ?? 0, update: counts.updated ?? 0, remove: counts.removed ?? 0, exclude: counts.filtered ?? 0,
    fail: counts.failed ?? 0, same: counts.unchanged ?? 0, bytes: answer.bytes_to_fetch ?? 0, looked: answer.looked_at ?? 0,
    whole: answer.complete !== false, held: Boolean(answer.removals_held), items, rules: Object.entries(answer.excluded ?? {}),
    notices: answer.notices,
  };
}

const VERDICTS = { add: "Add", update: "Update", remove: "Remove", exclude: "Exclude", fail: "Fails", rename: "Rename", wait: "Waits" };

/** @param {Ui.Preview | null} preview @param {boolean} placed whether a place was chosen */
export function previewPanel(preview, placed) {
  if (!preview) return h("p.muted", placed ? "Listing the source…" : "Choose a folder to see what a run would copy, and why it leaves out the rest.");
  const nothing = preview.looked === 0 && preview.items.length === 0;
  return [
    h("p.tally", { "aria-live": "polite" },
      h("span", h("b.verdict.add", count(preview.add)), " to add"),
      preview.update ? h("span", h("b.verdict.update", count(preview.update)), " to update") : null,
      preview.remove ? h("span", h("b.verdict.remove", count(preview.remove)), " to remove") : null,
      preview.same ? h("span", h("b", count(preview.same)), " unchanged") : null,
      h("span", h("b", count(preview.exclude)), " left out"),
      preview.fail ? h("span", h("b.verdict.fail", count(preview.fail)), " fail") : null,
      h("span", h("b", bytes(preview.bytes)), " to fetch")),
    preview.notices.map((one) => h("p.muted", { key: one.code, role: "status" }, said(one.message))),
    preview.held ? h("p.bad", "So many removals at once would be held until you approve them.") : null,
    preview.rules.length ? h("ul.rules", { "aria-label": "Why entries are left out" }, preview.rules.map(([rule, number]) => h("li", { key: rule }, said(rule), ": ", h("b", count(number))))) : null,
    nothing ? h("p.muted", "Nothing is there yet. A sync copies what appears later.") : null,
    preview.whole ? null : h("p.muted", `Only the first ${counted(preview.looked, "entry", "entries")} were checked; there are more.`),
    preview.items.length ? h("ul.preview-list", { tabindex: "0", "aria-label": "Some of the entries" }, preview.items.map((item) => h("li", { key: `${item.verdict} ${item.path}` },
      h("span", { class: `verdict ${item.verdict}` }, VERDICTS[/** @type {keyof typeof VERDICTS} */ (item.verdict)] ?? item.verdict),
      name(item.path),
      h("small", [item.size === null ? "" : bytes(item.size), item.why].filter(Boolean).join(" · "))))) : null,
  ];
}
