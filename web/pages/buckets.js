/** Every bucket in a row. */

import { to } from "../lib/addresses.js";
import { at, get, post, remove } from "../lib/api.js";
import { ask } from "../lib/dialog.js";
import { h } from "../lib/dom.js";
import { bytes, count, counted } from "../lib/format.js";
import { button, cell, empty, heads, link, name, pageHead, timeOf } from "../lib/parts.js";
import { soon } from "../lib/soon.js";

/** @param {Ui.Visit} visit @returns {Ui.Page} */
export function open(visit) {
  /** @type {Api.Bucket[] | null} */
  let buckets = null;
  const again = soon(visit.refresh, 1500);
  return {
    title: () => "Buckets",
    close: again.stop,
    event: (event) => { if (event.type !== "job.progress") again(); },
    refresh: async () => { buckets = (await get("/v1/buckets", { limit: 1000 })).results; },
    view: () => [
      pageHead("Buckets", "Where objects are kept on this computer. Several syncs can share one.", button("New bucket", () => create().then(visit.refresh), { icon: "plus" })),
      buckets === null ? null : buckets.length === 0
        ? empty("No buckets yet", "A sync creates its bucket when it starts.", link("New sync", "#/new", { class: "button primary" }))
        : h("table.rows", heads(["Bucket", "Objects", "Size", "Changed", ""]),
            h("tbody", buckets.map((bucket) => row(bucket, visit)))),
    ],
  };
}

/** @param {Api.Bucket} bucket @param {Ui.Visit} visit */
function row(bucket, visit) {
  return h("tr", { key: bucket.bucket_id },
    h("td", { "data-label": "Bucket", class: "main" }, link(name(bucket.bucket_name), to.bucket(bucket.bucket_id), { class: "strong" }), bucket.description ? h("small", name(bucket.description, { title: null })) : null),
    cell("Objects", count(bucket.object_count)),
    cell("Size", bytes(bucket.total_size_bytes)),
    cell("Changed", timeOf(bucket.last_upload_at ?? bucket.updated_at)),
    h("td.row-actions", button("Delete", () => ask({
      title: `Delete the bucket ${bucket.bucket_name}?`,
      body: h("p", h("b", `${counted(bucket.object_count, "object")}, ${bytes(bucket.total_size_bytes)}, and every sync into it are deleted.`), " Bytes that other buckets share stay. The sources are never changed."),
      action: "Delete the bucket",
      danger: true,
      run: () => remove(at.bucket(bucket.bucket_id), { force_foreclose: true }),
    }).then(visit.refresh), { kind: "small quiet", icon: "trash", "aria-label": `Delete ${bucket.bucket_name}` })));
}

const create = () => ask({
  title: "New bucket",
  body: h("p", "It starts empty. Choose it when you create a sync."),
  field: { label: "Name", placeholder: "pictures" },
  action: "Create",
  run: (text) => post("/v1/buckets", { bucket_name: text, bucket_schema: { properties: {} } }),
});
