/** A bucket: its tree by path, as a list or as pictures; search, sort, filter; many at once. */

import { to } from "../lib/addresses.js";
import { at, get, post, queryString } from "../lib/api.js";
import { ask } from "../lib/dialog.js";
import { h } from "../lib/dom.js";
import { face } from "../lib/face.js";
import { bytes, count, counted, when } from "../lib/format.js";
import { attempt } from "../lib/notes.js";
import { afterDeletion, archiveOf, byFolder, download, inParts, noteDeleted, objectsOf, opening, pictureOf, placeOf, placeQuery } from "../lib/objects.js";
import { button, empty, icon, link, name, pageHead, pathList, problem, quietChoice, timeOf } from "../lib/parts.js";
import { rowsOf, selectionIn } from "../lib/selection.js";
import { settled, soon } from "../lib/soon.js";
import { inSight, pagedRows } from "../lib/virtual-list.js";

const ROW = 36;
/** Where there is no room for columns, a row has a second line. */
const ROW_OF_TWO = 58;
const NARROW = matchMedia("(max-width: 760px)");
const TILE = { width: 152, height: 158 };
/** What covers the first and the last rows: the heads of the columns, the selection. */
const COVERED = { above: 40, below: 130 };

/** @param {Ui.Visit} visit @returns {Ui.Page} */
export function open(visit) {
  const [bucketId] = visit.params;
  /**
   * `wanted` is what was asked for, `place` what is shown; `active` has the cursor, and `anchor` is
   * where a selection with Shift begins.
   * @type {{bucket: Api.Bucket | null, wanted: Ui.Place, place: Ui.Place, view: string, folders:
   * Ui.Folder[],
   *   total: number, ready: boolean, error: unknown, active: number, anchor: number, width:
   *   number}}
   */
  const state = {
    bucket: null, wanted: placeOf(visit.query), place: placeOf(visit.query), view: visit.query.get("view") ?? "list",
    folders: [], total: 0, ready: false, error: null, active: Number(visit.kept ?? 0), anchor: 0, width: 900,
  };
  const selection = selectionIn(bucketId);
  /** @type {HTMLElement | null} */
  let scroller = null;
  let generation = 0;
  /** @type {Promise<void>} */
  let looking = Promise.resolve();

  const rows = pagedRows({
    size: 100,
    load: (offset, limit, signal) => objectsOf(bucketId, state.place, offset, limit, signal),
    changed: visit.redraw,
    failed: (error) => { state.error = error; visit.redraw(); },
  });

  /** Reads the place that is wanted; one that is overtaken ends with the one that overtook it. */
  const look = () => (looking = read((generation += 1)));

  /** @param {number} mine @returns {Promise<void>} */
  async function read(mine) {
    const place = { ...state.wanted };
    const { folders, total } = await opening(bucketId, place);
    if (mine !== generation) return looking;
    rows.clear();
    Object.assign(state, { place, folders, total, ready: true, error: null });
    visit.redraw();
  }
  const search = settled(() => change({}), 250);
  const again = soon(async () => {
    state.bucket = await get(at.bucket(bucketId));
    await look();
  }, 3000);

  /** @param {Partial<Ui.Place & {view: string}>} wanted */
  function change({ view, ...place }) {
    if (view) state.view = view;
    Object.assign(state.wanted, place);
    Object.assign(state, { active: 0, anchor: 0 });
    visit.rewrite(shown(state));
    look().catch((error) => { state.error = error; visit.redraw(); });
    visit.redraw();
  }

  const columns = () => (state.view === "grid" ? Math.max(2, Math.floor((state.width - 12) / TILE.width)) : 1);
  const rowHeight = () => (state.view === "grid" ? TILE.height : NARROW.matches ? ROW_OF_TWO : ROW);
  const length = () => state.folders.length + state.total;
  /** @param {number} index @returns {Ui.Folder | Ui.Item | undefined} */
  const itemAt = (index) => (index < state.folders.length ? state.folders[index] : rows.at(index - state.folders.length));
  const sight = () => inSight({
    rows: Math.ceil(length() / columns()), rowHeight: rowHeight(), viewHeight: innerHeight,
    scrolled: scroller ? -scroller.getBoundingClientRect().top : 0,
  });

  /** The address of another folder, shown the same way. @param {string} path */
  function within(path) {
    return to.bucket(bucketId, { ...shown(state), path });
  }

  /**
   * The address of an object, which says where it is listed.
   * @param {Ui.Item} item @param {number} index
   */
  const objectAt = (item, index) => to.object(bucketId, item.id, { ...placeQuery(state.place), at: index - state.folders.length + 1 });

  /** @param {number} index */
  function enter(index) {
    const item = itemAt(index);
    if (item) visit.go(item.kind === "folder" ? within(item.path) : objectAt(item, index));
  }

  /**
   * Selects one, or with Shift all from where the selection began.
   * @param {number} index @param {boolean} [range]
   */
  async function pick(index, range) {
    const item = itemAt(index);
    Object.assign(state, { active: index }, range ? {} : { anchor: index });
    if (range) await attempt(() => pickRange(Math.min(index, state.anchor), Math.max(index, state.anchor) + 1));
    else if (item) selection.toggle(item);
    visit.redraw();
  }

  /** @param {number} from @param {number} end */
  async function pickRange(from, end) {
    const { folders, place } = state;
    selection.add(folders.slice(from, end));
    const objects = Math.max(0, end - folders.length);
    if (objects) selection.add(await rowsOf(bucketId, place, Math.max(0, from - folders.length), objects));
  }

  /** @param {KeyboardEvent} event */
  function onkeydown(event) {
    if (event.target !== scroller) return;
    const page = Math.max(1, Math.floor(innerHeight / rowHeight()) - 3) * columns();
    /** @type {Record<string, number>} */
    const moves = { ArrowDown: columns(), ArrowUp: -columns(), PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity, ArrowRight: 1, ArrowLeft: -1 };
    const move = moves[event.key];
    if (event.key === "Enter") enter(state.active);
    else if (event.key === " ") pick(state.active, event.shiftKey);
    else if (event.key === "a" && (event.ctrlKey || event.metaKey)) attempt(() => selection.addAll(state.place, state.folders, state.total)).then(visit.redraw);
    else if (event.key === "Escape" && selection.size) { selection.clear(); visit.redraw(); }
    else if (event.key === "Backspace" && state.place.prefix) visit.go(within(parentOf(state.place.prefix)));
    else if (move === undefined || event.altKey || (event.key.match(/Left|Right/) && state.view === "list")) return;
    else {
      state.active = Math.max(0, Math.min(length() - 1, state.active + move));
      scrollBy(0, sight().reveal(Math.floor(state.active / columns()), COVERED.above, COVERED.below));
      if (event.shiftKey) pick(state.active, true);
      else state.anchor = state.active;
      visit.redraw();
    }
    event.preventDefault();
  }

  /** @param {HTMLElement} element */
  function mount(element) {
    scroller = element;
    const measure = new ResizeObserver(() => { state.width = element.clientWidth; visit.redraw(); });
    measure.observe(element);
    addEventListener("scroll", visit.redraw, { passive: true });
    addEventListener("resize", visit.redraw);
    return () => {
      measure.disconnect();
      removeEventListener("scroll", visit.redraw);
      removeEventListener("resize", visit.redraw);
      scroller = null;
    };
  }

  return {
    title: () => state.bucket?.bucket_name ?? "Bucket",
    wide: true,
    close: () => { search.stop(); again.stop(); rows.clear(); },
    keep: () => state.active,
    moved: async (query, kept) => {
      const inList = scroller?.contains(document.activeElement);
      Object.assign(state, { wanted: placeOf(query), view: query.get("view") ?? "list", active: Number(kept ?? 0), anchor: Number(kept ?? 0) });
      await look();
      if (inList) scroller?.focus({ preventScroll: true });
    },
    refresh: async () => {
      state.bucket = await get(at.bucket(bucketId));
      await look();
    },
    event: (event) => { if (event.bucket_id === bucketId && event.type !== "job.progress") again(); },
    view: () => {
      const { bucket, place } = state;
      if (!bucket) return h("h1.sr", "Bucket");
      return [
        pageHead(name(bucket.bucket_name), [h("span.number", counted(bucket.object_count, "object")), h("span.number", bytes(bucket.total_size_bytes)), bucket.last_upload_at ? h("span", "changed ", timeOf(bucket.last_upload_at)) : null],
          length() > 0 ? button(place.search || place.type ? "Download results" : place.prefix ? "Download this folder" : "Download all", () => download(bucketId, archiveOf(place)), { icon: "down" }) : null,
          link("Add a pipeline", `#/pipelines/new${queryString({ bucket: bucketId, folder: place.prefix })}`, { class: "button", icon: "flow" }),
          bucket.trash_count ? link(`Trash (${count(bucket.trash_count)})`, to.trash(bucketId), { class: "button", icon: "trash" }) : null,
          link("Add a sync", to.newSync({ bucket: bucketId }), { class: "button", icon: "plus" })),
        tools(state, change, search),
        trail(within, state),
        state.error ? problem(state.error) : null,
        !state.ready ? null : length() === 0 ? nothing(state, bucketId) : [
          h("p.muted", { role: "status" }, `${counted(state.folders.length, "folder")}, ${counted(state.total, "object")}${place.search ? " found" : ""}. Arrow keys move, Enter opens, Space selects, Shift selects a range, Ctrl+A everything.`),
          h("div.many", { key: "many" }, state.view === "list" ? h("div.many-head", { "aria-hidden": "true" }, ["", "Name", "Size", byAdded(place) ? "Added" : "Modified", "Type"].map((title, index) => h("span", { key: index, class: COLUMNS[index] }, title))) : null,
            list()),
        ],
        selection.size > 0 ? selected(selection, bucket, visit) : null,
      ];
    },
  };

  function list() {
    const { first, last, height, top } = sight();
    const wide = columns();
    rows.want(Math.max(0, first * wide - state.folders.length), Math.max(0, Math.min(length(), last * wide) - state.folders.length));
    const drawn = [];
    for (let row = first; row < last; row += 1) drawn.push(state.view === "grid" ? tiles(row, wide, top(row)) : line(row, top(row)));
    return h("div", {
        class: "many-view", tabindex: "0", role: "grid", "aria-label": "Objects", "aria-rowcount": Math.ceil(length() / wide),
        "aria-multiselectable": "true", "aria-activedescendant": itemAt(state.active) ? `item-${state.active}` : null, mount, onkeydown,
      },
      h("div", { style: { height: `${height}px` }, role: "presentation" }),
      drawn,
    );
  }

  /** @param {number} index @param {Ui.Folder | Ui.Item | undefined} item */
  function marks(index, item) {
    return (index === state.active ? " active" : "") + (item && selection.has(item) ? " selected" : "");
  }

  /** @param {Ui.Folder | Ui.Item} item @param {number} index */
  function box(item, index) {
    return h("input", {
      type: "checkbox", tabindex: "-1", checked: selection.has(item), "aria-label": `Select ${item.name}`,
      onclick: (event) => { if (event.shiftKey) { event.preventDefault(); pick(index, true); } },
      onchange: () => pick(index),
    });
  }

  /** @param {number} index @param {number} top */
  function line(index, top) {
    const item = itemAt(index);
    const props = { key: index, class: `many-row${marks(index, item)}`, role: "row", id: `item-${index}`, "aria-rowindex": index + 1, "aria-selected": item && selection.has(item) ? "true" : "false", style: { transform: `translateY(${top}px)` } };
    /** @param {Ui.Child[]} cells */
    const row = (...cells) => h("div", props, cells.map((cell, at_) => h("span", { key: at_, role: "gridcell", class: COLUMNS[at_] }, cell)));
    /**
     * @param {string} href @param {"folder" | ReturnType<typeof pictureOf>} which
     * @param {Ui.Child} sign @param {string} called
     */
    const what = (href, which, sign, called) => h("a", { class: `what ${which}`, tabindex: "-1", href }, sign, name(called));
    if (!item) return row(null, h("div.skeleton"));
    if (item.kind === "folder") return row(box(item, index), what(within(item.path), "folder", icon("folder"), item.name), null, null, "Folder");
    const time = byAdded(state.place) ? item.added : item.modified;
    return row(box(item, index), what(objectAt(item, index), pictureOf(item.mime), face(bucketId, item, 64, visit.redraw), byFolder(state.place) ? item.name : item.path), bytes(item.size), time ? timeOf(time) : "–", item.mime);
  }

  /** @param {number} row @param {number} wide @param {number} top */
  function tiles(row, wide, top) {
    const cells = [];
    const width = (state.width - 12) / wide;
    for (let index = row * wide; index < Math.min(length(), (row + 1) * wide); index += 1) {
      const item = itemAt(index);
      const place = { left: `${6 + (index % wide) * width}px`, top: "0px", width: `${width - 6}px`, height: `${TILE.height - 8}px` };
      const thumb = !item ? null : item.kind === "folder" ? icon("folder")
        : face(bucketId, item, 320, visit.redraw);
      const about = item?.kind === "object" ? `${bytes(item.size)}, ${when(byAdded(state.place) ? item.added : item.modified)}` : null;
      cells.push(h("div", { key: index, id: `item-${index}`, role: "gridcell", class: `tile${marks(index, item)}`, "aria-selected": item && selection.has(item) ? "true" : "false", style: place },
        h("a.thumb", { tabindex: "-1", "aria-label": item?.name ?? "…", title: about, href: !item ? to.bucket(bucketId) : item.kind === "folder" ? within(item.path) : objectAt(item, index) }, thumb),
        name(item?.name ?? "…"), item ? box(item, index) : null));
    }
    return h("div", { key: row, role: "row", "aria-rowindex": row + 1, class: "tile-row", style: { transform: `translateY(${top + 4}px)` } }, cells);
  }
}

/** The columns of a list, by their classes. */
const COLUMNS = ["pick", "title", "num", "when", "type"];

/**
 * Whether the date that is shown, and sorted by, is when an object was added.
 * @param {Ui.Place} place
 */
const byAdded = ({ sort }) => sort === "added";

/** The query of the address that shows this. @param {{wanted: Ui.Place, view: string}} state */
const shown = ({ wanted, view }) => ({ ...placeQuery(wanted), view: view === "list" ? "" : view });

/** @param {string} prefix */
const parentOf = (prefix) => prefix.slice(0, prefix.lastIndexOf("/", prefix.length - 2) + 1);

/**
 * @param {{wanted: Ui.Place, view: string}} state
 * @param {(to: Partial<Ui.Place & {view: string}>) => void} change @param {() => void} search
 */
function tools(state, change, search) {
  return h("div.bucket-bar", { role: "search" },
    h("div.search", icon("search"), h("label.sr", { for: "search" }, "Search"),
      h("input", { id: "search", type: "search", value: state.wanted.search, placeholder: "Words in any order", oninput: (event) => { state.wanted.search = event.target.value; search(); } })),
    quietChoice("Kind", "type", state.wanted.type, [["", "Every kind"], ["image", "Images"], ["video", "Videos"], ["audio", "Audio"], ["pdf", "PDF"], ["text", "Text"]], (type) => change({ type })),
    quietChoice("Order", "sort", state.wanted.sort, [["path", "By path"], ["newest", "Newest first"], ["oldest", "Oldest first"], ["added", "Last added first"], ["largest", "Largest first"]], (sort) => change({ sort })),
    h("div.segments", { role: "group", "aria-label": "View" },
      /** @type {const} */ ([["list", "List"], ["grid", "Grid"]]).map(([view, label]) => h("button", { key: view, type: "button", "aria-pressed": state.view === view ? "true" : "false", onclick: () => change({ view }) }, icon(view), label))));
}

/** @param {(path: string) => string} within @param {{place: Ui.Place}} state */
function trail(within, state) {
  if (!state.place.prefix) return null;
  const parts = state.place.prefix.split("/").slice(0, -1);
  return h("nav.path", { "aria-label": "Folder" },
    link("All", within("")),
    parts.map((part, index) => h("span", { key: index }, " / ", index === parts.length - 1 ? h("b", name(part)) : link(name(part || "·"), within(`${parts.slice(0, index + 1).join("/")}/`)))));
}

/** @param {{place: Ui.Place}} state @param {string} bucketId */
function nothing(state, bucketId) {
  return state.place.search || state.place.type
    ? empty("No matches", "No object here matches this search and kind.")
    : empty("Nothing here yet", "Objects appear as syncs copy them.", link("Sync into this bucket", to.newSync({ bucket: bucketId }), { class: "button primary" }));
}

/**
 * @param {ReturnType<typeof selectionIn>} selection @param {Api.Bucket} bucket
 * @param {Ui.Visit} visit
 */
function selected(selection, bucket, visit) {
  const bucketId = bucket.bucket_id;
  return h("div.selection", { role: "region", "aria-label": "Selected objects" },
    h("b", `${selection.words()} selected`),
    button("Download", () => attempt(async () => download(bucketId, await selection.archive())), { kind: "small", icon: "down" }),
    button("Delete", async () => {
      const ids = await attempt(() => selection.ids());
      if (!ids) return;
      const done = await ask({
        title: `Delete ${counted(ids.length, "object")}?`,
        body: [h("p", afterDeletion(bucket)), pathList(selection.paths())],
        action: `Delete ${counted(ids.length, "object")}`,
        danger: true,
        run: () => inParts(ids, (some) => post(`${at.bucket(bucketId)}/objects/bulk-soft-delete`, { object_ids: some, reason: "Deleted in the browser" })),
      });
      if (!done) return;
      selection.clear();
      noteDeleted(bucket, ids);
      await visit.refresh();
    }, { kind: "small danger", icon: "trash" }),
    button("Clear", () => { selection.clear(); visit.redraw(); }, { kind: "small quiet", icon: "cross" }));
}

