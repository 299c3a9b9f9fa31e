/** Shows the folders of a connection. */

import { at, get } from "../../lib/api.js";
import { h } from "../../lib/dom.js";
import { icon, name, problem } from "../../lib/parts.js";

/**
 * @param {{redraw: () => void, choose: (path: string) => void}} options
 * `choose` is called with each folder that is entered: it becomes the source of the sync.
 */
export function browser({ redraw, choose }) {
  /** @type {{connection: string, path: string, folders: any[], error: any, busy: boolean}} */
  const state = { connection: "", path: "", folders: [], error: null, busy: false };
  let asked = 0;

  /** @param {string} path */
  async function list(path) {
    const mine = (asked += 1);
    Object.assign(state, { path, busy: true, error: null });
    redraw();
    try {
      const answer = await get(`${at.connection(state.connection)}/folders`, { path });
      if (mine !== asked) return;
      Object.assign(state, { folders: answer.results, path: answer.parent_path });
    } catch (error) {
      if (mine !== asked) return;
      Object.assign(state, { folders: [], error });
    }
    state.busy = false;
    redraw();
  }

  /** @param {{path: string, id: string}} folder `id` is what a sync takes, `path` what is listed */
  function enter(folder) {
    choose(folder.id);
    list(folder.path);
  }

  /** The folders above the one that is shown. */
  function trail() {
    const local = state.connection === "conn_local";
    const parts = state.path.split("/").filter(Boolean);
    const crumbs = parts.map((part, index) => {
      const path = parts.slice(0, index + 1).join("/");
      return { part, path: `/${path}`, id: local ? `/${path}` : path };
    });
    return [{ part: local ? "/" : "All buckets", path: "/", id: local ? "/" : "" }, ...crumbs];
  }

  return {
    /** @param {string} connection @param {string} path */
    open(connection, path) {
      if (!connection) return;
      state.connection = connection;
      list(path);
    },
    view: () => h("div.browser", h("header", trail().map((crumb, index) => h("span", { key: crumb.path }, index > 1 ? " / " : " ", h("button", { type: "button", class: "link", onclick: () => (crumb.id ? enter(crumb) : list("/")) }, name(crumb.part))))),
      state.error
        ? problem(state.error)
        : state.folders.length === 0
          ? h("p", state.busy ? "Listing…" : "No folders in here.")
          : h("ul", { "aria-label": "Folders" }, state.folders.map((folder) => h("li", { key: folder.path },
              h("button", { type: "button", onclick: () => enter(folder) }, icon("folder"), name(folder.name))))),
    ),
  };
}
