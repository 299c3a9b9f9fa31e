/** A bucket: its tree by path, as a list or as pictures; search, sort, filter; many at once. */

/** @import { Page, Visit } from "../app.js" */
import { to } from "../lib/addresses.js";
import { at, get, post } from "../lib/api.js";
import { ask } from "../lib/dialog.js";
import { h } from "../lib/dom.js";
import { ago, bytes, counted } from "../lib/format.js";
import { note } from "../lib/notes.js";
import { archiveOf, byFolder, download, objectsOf, opening, pictureOf } from "../lib/objects.js";
import { button, empty, icon, link, name, pageHead, pathList, problem, quietChoice } from "../lib/parts.js";
import { settled, soon } from "../lib/soon.js";
import { inSight, pagedRows } from "../lib/virtual-list.js";

const ROW = 36;
const TILE = { width: 152, height: 158 };

/** @param {Visit} visit @returns {Page} */
export function open(visit) {
  const [bucketId] = visit.params;
  const asked = visit.query;
  /**
   * @type {{bucket: any, place: import("../lib/objects.js").Place, view: string, folders: any[],
   * total: number,
   * ready: boolean, error: any, active: number, selected: Map<string, string>, top: number, height:
   * number, width: number}} */
  const state = {
    bucket: null,
    place: { prefix: asked.get("path") ?? "", search: asked.get("search") ?? "", sort: asked.get("sort") ?? "path", type: asked.get("type") ?? "" },
    view: asked.get("view") ?? "list", folders: [], total: 0, ready: false, error: null, active: 0, selected: new Map(), top: 0, height: 600, width: 900,
  };
  /** @type {HTMLElement | null} */
  let scroller = null;
  let generation = 0;

  const rows = pagedRows({
    size: 100,
    load: (offset, limit, signal) => objectsOf(bucketId, state.place, offset, limit, signal),
    changed: visit.redraw,
    failed: (error) => { state.error = error; visit.redraw(); },
  });

  async function look() {
    const mine = (generation += 1);
    const { folders, total } = await opening(bucketId, state.place);
    if (mine !== generation) return;
    rows.clear();
    Object.assign(state, { folders, total, ready: true, error: null });
    visit.redraw();
  }
  const search = settled(() => change({}), 250);
  const again = soon(async () => {
    state.bucket = await get(at.bucket(bucketId));
    await look();
  }, 3000);

  /** @param {Partial<import("../lib/objects.js").Place & {view: string}>} asked_ */
  function change(asked_) {
    const { view, ...place } = asked_;
    if (view) state.view = view;
    Object.assign(state.place, place);
    Object.assign(state, { active: 0, top: 0 });
    if (scroller) scroller.scrollTop = 0;
    visit.rewrite(shown(state));
    look().catch((error) => { state.error = error; visit.redraw(); });
    visit.redraw();
  }

  const columns = () => (state.view === "grid" ? Math.max(2, Math.floor((state.width - 12) / TILE.width)) : 1);
  const length = () => state.folders.length + state.total;
  /** @param {number} index */
  const itemAt = (index) => (index < state.folders.length ? state.folders[index] : rows.at(index - state.folders.length));
  const sight = () => inSight({ rows: Math.ceil(length() / columns()), rowHeight: state.view === "grid" ? TILE.height : ROW, scrollTop: state.top, viewHeight: state.height });

  /** The address of another folder, shown the same way. @param {string} path */
  function within(path) {
    return to.bucket(bucketId, { ...shown(state), path });
  }

  /** @param {any} item */
  function enter(item) {
    if (!item) return;
    if (item.kind === "folder") visit.go(within(item.path));
    else visit.go(to.object(bucketId, item.id));
  }

  /** @param {any} item */
  function pick(item) {
    if (!item || item.kind === "folder") return;
    if (state.selected.has(item.id)) state.selected.delete(item.id);
    else state.selected.set(item.id, item.path);
    visit.redraw();
  }

  /** @param {KeyboardEvent} event */
  function onkeydown(event) {
    if (event.target !== scroller) return;
    const page = Math.max(1, Math.floor(state.height / (state.view === "grid" ? TILE.height : ROW)) - 1) * columns();
    const moves = { ArrowDown: columns(), ArrowUp: -columns(), PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity, ArrowRight: 1, ArrowLeft: -1 };
    const move = moves[/** @type {keyof typeof moves} */ (event.key)];
    if (event.key === "Enter") enter(itemAt(state.active));
    else if (event.key === " ") pick(itemAt(state.active));
    else if (event.key === "Backspace" && state.place.prefix) up();
    else if (move === undefined || (Math.abs(move) === 1 && event.key.match(/Left|Right/) && state.view === "list")) return;
    else {
      state.active = Math.max(0, Math.min(length() - 1, state.active + move));
      const place = sight().reveal(Math.floor(state.active / columns()));
      if (place !== null && scroller) scroller.scrollTop = place;
      visit.redraw();
    }
    event.preventDefault();
  }

  function up() {
    visit.go(within(parentOf(state.place.prefix)));
  }

  /** @param {HTMLElement} element */
  function mount(element) {
    scroller = element;
    element.scrollTop = state.top;
    const measure = new ResizeObserver(() => {
      Object.assign(state, { height: element.clientHeight, width: element.clientWidth });
      visit.redraw();
    });
    measure.observe(element);
    return () => { measure.disconnect(); scroller = null; };
  }

  return {
    title: () => state.bucket?.bucket_name ?? "Bucket",
    wide: true,
    close: () => { search.stop(); again.stop(); rows.clear(); },
    refresh: async () => {
      state.bucket = await get(at.bucket(bucketId));
      await look();
    },
    event: (event) => { if (event.bucket_id === bucketId && event.type !== "job.progress") again(); },
    view: () => {
      const { bucket, place } = state;
      if (!bucket) return h("h1.sr", "Bucket");
      return [
        pageHead(name(bucket.bucket_name), [h("span.number", counted(bucket.object_count, "object")), h("span.number", bytes(bucket.total_size_bytes)), bucket.last_upload_at ? h("span", `changed ${ago(bucket.last_upload_at)}`) : null],
          length() > 0 ? button(place.search || place.type ? "Download results" : place.prefix ? "Download this folder" : "Download all", () => download(bucketId, archiveOf(place)), { icon: "down" }) : null,
          link("Add a sync", to.newSync({ bucket: bucketId }), { class: "button", icon: "plus" })),
        tools(state, change, search),
        trail(within, state),
        state.error ? problem(state.error) : null,
        !state.ready ? null : length() === 0 ? nothing(state, bucketId) : [
          state.view === "list" ? h("div.many", h("div.many-head", { "aria-hidden": "true" }, h("span"), h("span", "Name"), h("span.num", "Size"), h("span", "Changed"), h("span", "Type")),
            list()) : h("div.many", list()),
          h("p.muted", { role: "status" }, `${counted(state.folders.length, "folder")}, ${counted(state.total, "object")}${place.search ? " found" : ""}. Arrow keys move, Enter opens, Space selects.`),
        ],
        state.selected.size > 0 ? selection(state, bucketId, visit) : null,
      ];
    },
  };

  function list() {
    const { first, last, height, top } = sight();
    const wide = columns();
    rows.want(Math.max(0, first * wide - state.folders.length), Math.max(0, Math.min(length(), last * wide) - state.folders.length));
    /** @type {any[]} */
    const drawn = [];
    for (let row = first; row < last; row += 1) drawn.push(state.view === "grid" ? tiles(row, wide, top(row)) : line(row, top(row)));
    return h("div", {
        class: "many-view", tabindex: "0", role: "grid", "aria-label": "Objects", "aria-rowcount": Math.ceil(length() / wide),
        "aria-multiselectable": "true", "aria-activedescendant": itemAt(state.active) ? `item-${state.active}` : null, mount, onkeydown,
        onscroll: (event) => { state.top = event.currentTarget.scrollTop; visit.redraw(); },
      },
      h("div", { style: { height: `${height}px` }, role: "presentation" }),
      drawn,
    );
  }

  /** @param {number} index @param {any} item */
  function marks(index, item) {
    return (index === state.active ? " active" : "") + (item && state.selected.has(item.id) ? " selected" : "");
  }

  /** @param {any} item */
  function box(item) {
    return h("input", { type: "checkbox", tabindex: "-1", checked: state.selected.has(item.id), "aria-label": `Select ${item.name}`, onchange: () => pick(item) });
  }

  /** @param {number} index @param {number} top */
  function line(index, top) {
    const item = itemAt(index);
    const props = { key: index, class: `many-row${marks(index, item)}`, role: "row", id: `item-${index}`, "aria-rowindex": index + 1, style: { transform: `translateY(${top}px)` } };
    /** @param {...any} cells */
    const row = (...cells) => h("div", props, cells.map((cell, at_) => h("span", { key: at_, role: "gridcell", class: ["pick", "", "num", "when", "when"][at_] }, cell)));
    /** @param {string} href @param {any} which @param {string} called */
    const what = (href, which, called) => h("a", { class: `what ${which}`, tabindex: "-1", href }, icon(which), name(called));
    if (!item) return row(null, h("div.skeleton"));
    if (item.kind === "folder") return row(null, what(within(item.path), "folder", item.name), null, null, "Folder");
    return row(box(item), what(to.object(bucketId, item.id), pictureOf(item.mime), byFolder(state.place) ? item.name : item.path), bytes(item.size), ago(item.modified), item.mime);
  }

  /** @param {number} row @param {number} wide @param {number} top */
  function tiles(row, wide, top) {
    const cells = [];
    const width = (state.width - 12) / wide;
    for (let index = row * wide; index < Math.min(length(), (row + 1) * wide); index += 1) {
      const item = itemAt(index);
      const place = { left: `${6 + (index % wide) * width}px`, top: "0px", width: `${width - 6}px`, height: `${TILE.height - 8}px` };
      const thumb = !item ? null : item.kind === "folder" ? icon("folder")
        : item.mime.startsWith("image/") && item.blob && (item.size ?? 0) < 20_000_000
          ? h("img", { src: at.content(bucketId, item.id, item.blob), alt: "", loading: "lazy", decoding: "async" }) : icon(pictureOf(item.mime));
      cells.push(h("div", { key: index, id: `item-${index}`, role: "gridcell", class: `tile${marks(index, item)}`, style: place },
        h("a.thumb", { tabindex: "-1", "aria-label": item?.name ?? "…", href: !item ? to.bucket(bucketId) : item.kind === "folder" ? within(item.path) : to.object(bucketId, item.id) }, thumb),
        name(item?.name ?? "…"), item?.kind === "object" ? box(item) : null));
    }
    return h("div", { key: row, role: "row", "aria-rowindex": row + 1, class: "tile-row", style: { transform: `translateY(${top + 4}px)` } }, cells);
  }
}

/** The query of the address that shows this again. @param {any} state */
const shown = ({ place, view }) => ({ path: place.prefix, search: place.search, sort: place.sort === "path" ? "" : place.sort, type: place.type, view: view === "list" ? "" : view });

/** @param {string} prefix */
const parentOf = (prefix) => prefix.slice(0, prefix.lastIndexOf("/", prefix.length - 2) + 1);

/** @param {any} state @param {(to: any) => void} change @param {() => void} search */
function tools(state, change, search) {
  return h("div.bucket-bar", { role: "search" },
    h("div.search", icon("search"), h("label.sr", { for: "search" }, "Search"),
      h("input", { id: "search", type: "search", value: state.place.search, placeholder: "Search by name", oninput: (event) => { state.place.search = event.target.value; search(); } })),
    quietChoice("Kind", "type", state.place.type, [["", "Every kind"], ["image", "Images"], ["video", "Videos"], ["audio", "Sounds"], ["pdf", "PDF"], ["text", "Text"]], (type) => change({ type })),
    quietChoice("Order", "sort", state.place.sort, [["path", "By path"], ["newest", "Newest first"], ["oldest", "Oldest first"], ["largest", "Largest first"]], (sort) => change({ sort })),
    h("div.segments", { role: "group", "aria-label": "View" },
      /** @type {const} */ ([["list", "List"], ["grid", "Grid"]]).map(([view, label]) => h("button", { key: view, type: "button", "aria-pressed": state.view === view ? "true" : "false", onclick: () => change({ view }) }, icon(view), label))));
}

/** @param {(path: string) => string} within @param {any} state */
function trail(within, state) {
  if (!state.place.prefix) return null;
  const parts = state.place.prefix.split("/").slice(0, -1);
  return h("nav.path", { "aria-label": "Folder" },
    link("All", within("")),
    parts.map((/** @type {string} */ part, /** @type {number} */ index) => h("span", { key: index }, " / ", index === parts.length - 1 ? h("b", name(part)) : link(name(part || "·"), within(`${parts.slice(0, index + 1).join("/")}/`)))));
}

/** @param {any} state @param {string} bucketId */
function nothing(state, bucketId) {
  return state.place.search || state.place.type
    ? empty("No matches", "No object here has that in its path and is of that kind.")
    : empty("Nothing here yet", "Objects appear as syncs copy them.", link("Sync into this bucket", to.newSync({ bucket: bucketId }), { class: "button primary" }));
}

/** @param {any} state @param {string} bucketId @param {Visit} visit */
function selection(state, bucketId, visit) {
  const ids = [...state.selected.keys()];
  return h("div.selection", { role: "region", "aria-label": "Selected objects" },
    h("b", `${counted(ids.length, "object")} selected`),
    button("Download", () => download(bucketId, { object_ids: ids }), { kind: "small", icon: "down" }),
    button("Delete", async () => {
      const done = await ask({
        title: `Delete ${counted(ids.length, "object")}?`,
        body: [h("p", "They are removed from this bucket. A sync that still finds them at its source may add them again."),
          pathList([...state.selected.values()])],
        action: `Delete ${counted(ids.length, "object")}`,
        danger: true,
        run: () => post(`${at.bucket(bucketId)}/objects/bulk-soft-delete`, { object_ids: ids, reason: "Deleted in the browser" }),
      });
      if (!done) return;
      state.selected.clear();
      note(`${counted(ids.length, "object")} deleted.`);
      await visit.refresh();
    }, { kind: "small danger", icon: "trash" }),
    button("Clear", () => { state.selected.clear(); visit.redraw(); }, { kind: "small quiet", icon: "cross" }));
}
