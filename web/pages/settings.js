/** Settings: version, where the data is and what it takes, the token, who may call, how much is logged. */

/** @import { Page, Visit } from "../app.js" */
import { get, patch, post } from "../lib/api.js";
import { ask } from "../lib/dialog.js";
import { h } from "../lib/dom.js";
import { bytes, duration } from "../lib/format.js";
import { attempt } from "../lib/notes.js";
import { bar, button, choice, command, facts, field, link, pageHead, section } from "../lib/parts.js";

/** @param {Visit} visit @returns {Page} */
export function open(visit) {
  /** @type {{settings: any, hosts: string | null, token: string | null, error: any}} */
  const state = { settings: null, hosts: null, token: null, error: null };
  return {
    title: () => "Settings",
    refresh: async () => { state.settings = await get("/v1/settings"); },
    view: () => {
      const { settings } = state;
      if (!settings) return h("h1", "Settings");
      return [
        pageHead("Settings"),
        h("section.panel.stack", section("This installation"), facts([
          ["Version", settings.version],
          ["Address", location.origin],
          ["Running for", duration(settings.uptime_seconds)],
          ["Data directory", h("code", settings.data_dir)],
        ])),
        disk(settings.disk),
        token(state, visit),
        access(state, visit),
        log(settings, visit),
        h("section.panel.stack", section("For a report of a fault"),
          h("p", "A support bundle tells about this installation: its version, settings, counts, states and the last events. Names of files, secrets and tokens are left out. Look into it before you pass it on; it is one JSON file."),
          h("div.actions", link("Download a support bundle", "/v1/settings/support-bundle", { class: "button", download: "catchment-support.json", icon: "down" }))),
      ];
    },
  };
}

/** @param {any} disk */
function disk(disk) {
  const used = disk.database_bytes + disk.blob_bytes;
  return h("section.panel.stack", section("Disk"),
    bar("Disk in use", (disk.total_bytes - disk.free_bytes) / disk.total_bytes),
    facts([
      ["Catchment takes", bytes(used)],
      ["Database", bytes(disk.database_bytes)],
      ["Blobs beside it", bytes(disk.blob_bytes)],
      ["Disk left", `${bytes(disk.free_bytes)} of ${bytes(disk.total_bytes)}`],
      ["Kept free", disk.floor_bytes ? `${bytes(disk.floor_bytes)}: a run that would go below pauses` : null],
    ]));
}

/** @param {any} state @param {Visit} visit */
function token(state, visit) {
  return h("section.panel.stack", section("Token"),
    h("p", "Programs and the command line prove themselves with it. A new one makes the old one worthless at once; browsers stay signed in."),
    state.token ? [h("p", { role: "status" }, h("b", "The new token. "), "It is shown this once, and kept in the data directory: catchment token prints it."), command(state.token, "Copy")] : null,
    state.settings.token_from_environment
      ? h("p.muted", "It comes from CATCHMENT_TOKEN; change it there.")
      : h("div.actions", button("Make a new token", () => ask({
          title: "Make a new token?",
          body: h("p", "Every program that uses the old one is refused from then on."),
          action: "Make a new token",
          danger: true,
          run: async () => { state.token = (await post("/v1/settings/token/rotate")).token; },
        }).then(visit.redraw))));
}

/** @param {any} state @param {Visit} visit */
function access(state, visit) {
  const known = state.settings.allowed_hosts.join("\n");
  const typed = state.hosts ?? known;
  const wrong = state.error?.fields?.[0]?.message ?? state.error?.message;
  return h("section.panel.stack", section("Allowed hosts"),
    field("Names that this server answers to, besides localhost", h("textarea", { rows: 3, spellcheck: "false", value: typed, placeholder: "catchment.home.example", oninput: (event) => { state.hosts = event.target.value; visit.redraw(); } }),
      { id: "hosts", hint: "One a line. A request for any other name is refused, so that a web page elsewhere cannot reach in.", error: wrong }),
    h("div.actions", button("Save", async () => {
      const hosts = typed.split("\n").map((/** @type {string} */ line) => line.trim()).filter(Boolean);
      try {
        state.settings = await patch("/v1/settings", { allowed_hosts: hosts });
        Object.assign(state, { hosts: null, error: null });
      } catch (error) {
        state.error = error;
      }
      visit.redraw();
    }, { disabled: typed === known })));
}

/** @param {any} settings @param {Visit} visit */
function log(settings, visit) {
  return h("section.panel.stack", section("Log"),
    field("How much is written to it", choice("log-level", settings.log_level, [["error", "Errors"], ["warn", "Warnings"], ["info", "What happens"], ["debug", "Every step"], ["trace", "Everything"]],
      (log_level) => attempt(async () => { Object.assign(settings, await patch("/v1/settings", { log_level })); visit.redraw(); }, "Changed, from now on.")), { id: "log-level", hint: "Until the next start." }));
}
