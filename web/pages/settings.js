/** Settings: version, data directory and disk, token, allowed hosts, log level. */

import { fieldsOf, get, messageOf, patch, post } from "../lib/api.js";
import { ask } from "../lib/dialog.js";
import { h } from "../lib/dom.js";
import { bytes, duration } from "../lib/format.js";
import { attempt } from "../lib/notes.js";
import { bar, button, choice, command, facts, field, link, pageHead, section } from "../lib/parts.js";

/**
 * @typedef {{settings: Api.Settings | null, hosts: string | null, token: string | null, error:
 * unknown}} State
 */
/** @typedef {State & {settings: Api.Settings}} Loaded */

/** @param {Ui.Visit} visit @returns {Ui.Page} */
export function open(visit) {
  /** @type State */
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
        token(/** @type {Loaded} */ (state), visit),
        access(/** @type {Loaded} */ (state), visit),
        log(settings, visit),
        h("section.panel.stack", section("Reporting a problem"),
          h("p", "A support bundle describes this installation: its version, settings, counts, states and latest events. It has no file names, secrets or tokens. It is one JSON file: read it before you share it."),
          h("div.actions", link("Download a support bundle", "/v1/settings/support-bundle", { class: "button", download: "catchment-support.json", icon: "down" }))),
      ];
    },
  };
}

/** @param {Api.Settings["disk"]} disk */
function disk(disk) {
  const used = disk.used_bytes;
  return h("section.panel.stack", section("Disk"),
    bar("Disk in use", (disk.total_bytes - disk.free_bytes) / disk.total_bytes),
    facts([
      ["Used by Catchment", bytes(used)],
      ["Database", bytes(disk.database_bytes)],
      ["Blob files", bytes(disk.blob_bytes)],
      ["Free", `${bytes(disk.free_bytes)} of ${bytes(disk.total_bytes)}`],
      ["Kept free", disk.floor_bytes ? `${bytes(disk.floor_bytes)}: a run that would use it stops first` : null],
    ]));
}

/** @param {Loaded} state @param {Ui.Visit} visit */
function token(state, visit) {
  return h("section.panel.stack", section("Token"),
    h("p", "Programs need it to use the API. A new token replaces the old one at once; browsers stay signed in."),
    state.token ? [h("p", { role: "status" }, h("b", "The new token. "), "It is shown only now. It is stored in the data directory: catchment token prints it."), command(state.token, "Copy")] : null,
    state.settings.token_from_environment
      ? h("p.muted", "It is set by CATCHMENT_TOKEN; change it there.")
      : h("div.actions", button("Make a new token", () => ask({
          title: "Make a new token?",
          body: h("p", "Programs that use the old one are refused from then on."),
          action: "Make a new token",
          danger: true,
          run: async () => { state.token = (await post("/v1/settings/token/rotate")).token; },
        }).then(visit.redraw))));
}

/** @param {Loaded} state @param {Ui.Visit} visit */
function access(state, visit) {
  const known = state.settings.allowed_hosts.join("\n");
  const typed = state.hosts ?? known;
  const wrong = state.error ? fieldsOf(state.error)[0]?.message ?? messageOf(state.error) : null;
  return h("section.panel.stack", section("Allowed hosts"),
    field("Host names that this server accepts, besides localhost", h("textarea", { rows: 3, spellcheck: "false", value: typed, placeholder: "catchment.home.example", oninput: (event) => { state.hosts = event.target.value; visit.redraw(); } }),
      { id: "hosts", hint: "One name per line. Requests for any other name are refused, so that other web sites cannot reach this server.", error: wrong }),
    h("div.actions", button("Save", async () => {
      const hosts = typed.split("\n").map((line) => line.trim()).filter(Boolean);
      try {
        state.settings = await patch("/v1/settings", { allowed_hosts: hosts });
        Object.assign(state, { hosts: null, error: null });
      } catch (error) {
        state.error = error;
      }
      visit.redraw();
    }, { disabled: typed === known })));
}

/** @param {Api.Settings} settings @param {Ui.Visit} visit */
function log(settings, visit) {
  return h("section.panel.stack", section("Log"),
    field("Level", choice("log-level", settings.log_level ?? "", [["error", "Errors"], ["warn", "Warnings"], ["info", "Events"], ["debug", "Every step"], ["trace", "Everything"]],
      (log_level) => attempt(async () => { Object.assign(settings, await patch("/v1/settings", { log_level })); visit.redraw(); }, "The log level was changed.")), { id: "log-level", hint: "Applies until the next start." }));
}
