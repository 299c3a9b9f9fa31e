/** Shows the folders of a connection. */

import { at, get } from "../../lib/api.js";
import { h } from "../../lib/dom.js";
import { icon, name, problem } from "../../lib/parts.js";
import { wayOut } from "../../lib/way-out.js";

/**
 * A place that was entered: `id` is what a sync takes, `path` what is listed.
 * @typedef {{name: string, id: string, path: string}} Crumb
 */

/**
 * @param {{redraw: () => void, choose: (path: string) => void}} options
 * `choose` is called with each folder that is entered: it becomes the source of the sync.
 */
export function browser({ redraw, choose }) {
  /**
   * @type {{connection: string, trail: Crumb[], folders: (Crumb & {note?: string | null})[],
   *   truncated: boolean, error: unknown, busy: boolean, level: number | undefined}}
   */
  const state = { connection: "", level: undefined, trail: [], folders: [], truncated: false, error: null, busy: false };
  let asked = 0;

  /** Lists the last place of a trail. @param {Crumb[]} trail */
  async function list(trail) {
    const mine = (asked += 1);
    Object.assign(state, { trail, busy: true, error: null });
    redraw();
    try {
      const answer = await get(`${at.connection(state.connection)}/folders`, { path: trail.at(-1)?.path });
      if (mine !== asked) return;
      Object.assign(state, { folders: answer.results, truncated: answer.truncated });
    } catch (error) {
      if (mine !== asked) return;
      Object.assign(state, { folders: [], truncated: false, error });
    }
    state.busy = false;
    redraw();
  }

  /** @param {Crumb[]} trail */
  function enter(trail) {
    const place = trail.at(-1);
    if (place?.id && trail.length > (state.level ?? 0)) choose(place.id);
    list(trail);
  }

  /**
   * A folder to enter, or what a place has in it.
   * @param {Crumb & {note?: string | null}} folder
   */
  function row(folder) {
    const shown = [name(folder.name), folder.note ? h("small", folder.note.replaceAll("_", " ")) : null];
    return state.level && state.trail.length > state.level
      ? h("li.column", { key: folder.path }, icon("table"), shown)
      : h("li", { key: folder.path }, h("button", { type: "button", onclick: () => enter([...state.trail, folder]) }, icon("folder"), shown));
  }

  return {
    /**
     * Shows a place, and those above it as far as its path names them.
     * @param {string} connection @param {string} provider @param {string} place
     * @param {Ui.PlaceWords} words
     */
    open(connection, provider, place, { top, level }) {
      if (!connection) return;
      Object.assign(state, { connection, level });
      const isLocal = provider === "local";
      const first = { name: top, id: isLocal ? "/" : "", path: "/" };
      const parts = place.split("/").filter(Boolean);
      if (isLocal || provider === "s3" || provider === "tigris") {
        list([first, ...parts.map((name, index) => {
          const path = parts.slice(0, index + 1).join("/");
          return { name, id: isLocal ? `/${path}` : path, path: `/${path}` };
        })]);
      } else list(parts.length ? [first, { name: place, id: place, path: place }] : [first]);
    },
    view: () => h("div.browser",
      h("header", state.trail.map((crumb, index) => h("span", { key: crumb.path }, index > 1 ? " / " : " ", h("button", { type: "button", class: "link", onclick: () => enter(state.trail.slice(0, index + 1)) }, name(crumb.name))))),
      state.error
        ? [problem(state.error, () => list(state.trail)), wayOut(state.error instanceof Error ? state.error.message : null)]
        : state.folders.length === 0
          ? h("p", state.busy ? "Listing…" : "Nothing is below this.")
          : h("ul", { "aria-label": "Folders" }, state.folders.map(row),
            state.truncated ? h("li", { key: "more" }, h("p", "There are more than are shown: type the rest of the path.")) : null),
    ),
  };
}
