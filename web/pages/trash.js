/** The trash of a bucket: deleted objects, which can be restored until they are purged. */

import { to } from "../lib/addresses.js";
import { at, get, post } from "../lib/api.js";
import { ask } from "../lib/dialog.js";
import { h } from "../lib/dom.js";
import { face } from "../lib/face.js";
import { bytes, count, counted, day } from "../lib/format.js";
import { attempt, note } from "../lib/notes.js";
import { itemOf } from "../lib/objects.js";
import { button, cell, empty, heads, link, name, pageHead, timeOf } from "../lib/parts.js";
import { soon } from "../lib/soon.js";

const PAGE = 100;

/** @param {Ui.Visit} visit @returns {Ui.Page} */
export function open(visit) {
  const [bucketId] = visit.params;
  const trash = /** @type {const} */ (`${at.bucket(bucketId)}/objects/trash`);
  /**
   * @type {{bucket: Api.Bucket | null, list: Api.Trash | null, shown: number, chosen: Set<string>}}
   */
  const state = { bucket: null, list: null, shown: PAGE, chosen: new Set() };
  const again = soon(visit.refresh, 1500);

  /** Those that are chosen, or all. */
  const which = () => (state.chosen.size ? { object_ids: [...state.chosen] } : { all: true });
  const words = () => (state.chosen.size ? counted(state.chosen.size, "object") : "everything");

  const restore = () => attempt(async () => {
    const { restored, refused, errors } = await post(`${trash}/restore`, which());
    note(refused ? `${counted(restored, "object")} restored. ${counted(refused, "object")} could not be: ${errors[0]?.message}` : `${counted(restored, "object")} restored.`, refused ? "bad" : "good");
    state.chosen.clear();
  }).then(visit.refresh);

  const purge = () => ask({
    title: `Delete ${words()} for good?`,
    body: h("p", "They cannot be restored afterwards. Content that no other object uses is deleted from the disk."),
    action: "Delete for good",
    danger: true,
    run: async () => { await post(`${trash}/purge`, which()); state.chosen.clear(); },
  }).then(visit.refresh);

  return {
    title: () => "Trash",
    close: again.stop,
    event: (event) => { if (event.bucket_id === bucketId && event.type !== "job.progress") again(); },
    refresh: async () => {
      const [bucket, list] = await Promise.all([get(at.bucket(bucketId)), post(`${trash}/list`, {}, { limit: state.shown })]);
      Object.assign(state, { bucket, list });
    },
    view: () => {
      const { bucket, list } = state;
      if (!bucket || !list) return h("h1.sr", "Trash");
      return [
        pageHead(["Trash of ", name(bucket.bucket_name)], [link("Back to the bucket", to.bucket(bucketId)), h("span.number", `${counted(list.trash_count, "object")}, ${bytes(list.trash_bytes)}`)],
          list.trash_count ? [button(`Restore ${words()}`, restore, { kind: "primary" }), button(`Delete ${words()} for good`, purge, { kind: "danger", icon: "trash" })] : null),
        list.trash_count === 0 ? empty("The trash is empty", "Objects that you delete can be restored from here until they are purged.")
          : h("table.rows", heads([h("span.sr", "Select"), "Object", "Size", "Deleted", "Purged on"]),
            h("tbody", list.results.map((object) => {
              const item = itemOf(object);
              return h("tr", { key: item.id },
                h("td", h("input", { type: "checkbox", checked: state.chosen.has(item.id), "aria-label": `Select ${item.path}`, onchange: () => { if (!state.chosen.delete(item.id)) state.chosen.add(item.id); visit.redraw(); } })),
                h("td", { "data-label": "Object", class: "main faced" }, face(bucketId, item, 64, visit.redraw), name(item.path)),
                cell("Size", bytes(item.size)), cell("Deleted", timeOf(object.deleted_at)), cell("Purged on", day(object.purge_at)));
            }))),
        list.results.length < list.trash_count ? h("div.actions", h("p.muted", `${count(list.results.length)} of ${count(list.trash_count)} are shown.`), state.shown < 1000 ? button("Show more", () => { state.shown = 1000; return visit.refresh(); }) : null) : null,
      ];
    },
  };
}
