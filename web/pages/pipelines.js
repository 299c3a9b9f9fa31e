/** Every pipeline in a row. */

import { to } from "../lib/addresses.js";
import { get } from "../lib/api.js";
import { h } from "../lib/dom.js";
import { count } from "../lib/format.js";
import { badge, cell, empty, heads, link, name, pageHead } from "../lib/parts.js";
import { bucketsOf, conditionWords, extractorName, pipelines } from "../lib/pipelines.js";
import { soon } from "../lib/soon.js";

/** @param {Ui.Visit} visit @returns {Ui.Page} */
export function open(visit) {
  /** @type {Api.Pipeline[] | null} */
  let rows = null;
  /** @type {Map<string, string>} */
  let buckets = new Map();
  const again = soon(visit.refresh, 1000);
  return {
    title: () => "Pipelines",
    close: again.stop,
    event: (event) => { if (event.type !== "job.progress") again(); },
    refresh: async () => {
      const [all, { results }] = await Promise.all([pipelines(), get("/v1/buckets", { limit: 1000 })]);
      rows = all;
      buckets = new Map(results.map((/** @type {{bucket_id: string, bucket_name: string}} */ one) => [one.bucket_id, one.bucket_name]));
    },
    view: () => [
      pageHead("Pipelines", "A pipeline turns the objects in a bucket into documents, and keeps them up to date.", link("New pipeline", "#/pipelines/new", { class: "button primary", icon: "plus" })),
      rows === null ? null : rows.length === 0
        ? empty("No pipelines yet", "An extractor reads what is in the objects of a bucket: facts about photos and videos, text, records.", link("New pipeline", "#/pipelines/new", { class: "button primary" }))
        : h("table.rows", heads(["Pipeline", "From", "Does", "State", "Documents", "Waiting", "Failed"]),
          h("tbody", rows.map((one) => h("tr", { key: one.collection_id },
            h("td", { "data-label": "Pipeline", class: "main" }, link(name(one.collection_name), to.pipeline(one.collection_id), { class: "strong" }), one.description ? h("small", name(one.description)) : null),
            h("td", { "data-label": "From" }, bucketsOf(one).map((id, index) => h("span", { key: id }, index ? ", " : "", link(name(buckets.get(id) ?? id), to.bucket(id)))), h("small", conditionWords(one.source.source_filters?.filters))),
            cell("Does", extractorName(one.feature_extractor)),
            cell("State", stateOf(one)),
            cell("Documents", count(one.document_count)),
            cell("Waiting", count(one.waiting)),
            h("td.short", { "data-label": "Failed", class: one.failed ? "bad" : null }, count(one.failed)),
          )))),
    ],
  };
}

/** The state of a pipeline, as one badge. @param {Api.Pipeline} one */
export function stateOf(one) {
  if (!one.enabled) return badge("SUSPENDED");
  if (one.paused_reason) return badge("SUSPENDED", "Extractor paused");
  if (one.waiting) return badge("RUNNING", "Processing");
  if (one.failed) return badge("COMPLETED_WITH_ERRORS", "Some failed");
  return one.outdated ? badge("QUEUED", "Some are outdated") : badge("ACTIVE");
}
