/** Connections: their health, the syncs that use them; test, edit, delete. */

import { to } from "../lib/addresses.js";
import { at, get, patch, post, remove } from "../lib/api.js";
import { PROVIDERS, blankConnection, configOf, connectionForm, draftOf, make } from "../lib/connection-form.js";
import { ask } from "../lib/dialog.js";
import { h } from "../lib/dom.js";
import { counted } from "../lib/format.js";
import { note } from "../lib/notes.js";
import { badge, button, facts, icon, link, name, pageHead, said, timeOf } from "../lib/parts.js";
import { SIGN_INS, signInTo } from "../lib/sign-in.js";
import { soon } from "../lib/soon.js";
import { signInOf, wayOut } from "../lib/way-out.js";

/** @param {Ui.Visit} visit @returns {Ui.Page} */
export function open(visit) {
  const [shown] = visit.params;
  /**
   * @typedef {{id?: string, draft: Ui.ConnectionDraft, busy?:
   * boolean,
   *   error?: unknown}} Form
   * @type {{list: Api.Connection[] | null, syncs: Api.SyncRow[], form: Form | null,
   *   tests: Map<string, {busy?: boolean, success?: boolean, message?: string}>}}
   */
  const state = { list: null, syncs: [], form: null, tests: new Map() };
  const again = soon(visit.refresh, 1000);

  /** @param {Form | null} form */
  function edit(form) {
    state.form = form;
    visit.redraw();
  }

  async function save() {
    const { form } = state;
    if (!form) return;
    Object.assign(form, { busy: true, error: null });
    visit.redraw();
    try {
      if (form.id) {
        const changed = configOf(form.draft);
        await patch(at.connection(form.id), { name: form.draft.name, ...(Object.keys(changed).length ? { provider_config: changed } : {}) });
      } else {
        const made = await make(form.draft);
        if (made.isGenerated) await test(made);
      }
      if (form.id) note("Saved.");
      state.form = null;
      await visit.refresh();
    } catch (error) {
      Object.assign(form, { busy: false, error });
      visit.redraw();
    }
  }

  /** @param {Api.Connection} connection */
  async function test(connection) {
    state.tests.set(connection.connection_id, { busy: true });
    visit.redraw();
    const answer = await post(`${at.connection(connection.connection_id)}/test`).catch((error) => ({ success: false, message: error.message }));
    state.tests.set(connection.connection_id, answer);
    await visit.refresh();
  }

  return {
    title: () => "Connections",
    close: again.stop,
    event: (event) => { if (event.type === "connection.changed" || event.type === "job.finished") again(); },
    refresh: async () => {
      const [local, answer, overview] = await Promise.all([
        get(at.connection("conn_local")), post("/v1/organizations/connections/list", {}, { limit: 1000 }), get("/v1/overview"),
      ]);
      state.list = [local, ...answer.results.filter((one) => one.status !== "ARCHIVED")];
      state.syncs = overview.syncs;
      const signedIn = visit.query.get("test") && state.list.find((one) => one.connection_id === shown);
      if (signedIn && !state.tests.has(signedIn.connection_id)) test(signedIn);
    },
    view: () => [
      pageHead("Connections", "How Catchment reaches storage elsewhere. It only reads from it. Credentials are encrypted and never shown again.",
        SIGN_INS.map((one) => link(`Sign in with ${one.with}`, to.signIn(one.id), { key: one.id, class: "button" })),
        button("New connection", () => edit({ draft: blankConnection() }), { kind: "primary", icon: "plus" })),
      state.form && !state.form.id ? h("section.panel.stack", { "aria-label": "New connection" }, h("h2", "New connection"),
        connectionForm({ ...state.form, changed: visit.redraw, submit: save, cancel: () => edit(null), action: "Test and save" })) : null,
      (state.list ?? []).map((connection) => panel(connection)),
    ],
  };

  /** @param {Api.Connection} connection */
  function panel(connection) {
    const id = connection.connection_id;
    const users = state.syncs.filter((row) => row.connection_id === id);
    const tested = state.tests.get(id);
    const local = id === "conn_local";
    const signIn = signInTo(connection.provider_type);
    const kind = PROVIDERS.find((provider) => provider.id === connection.provider_type)?.name ?? signIn?.what ?? connection.provider_type;
    const renewable = signInOf(connection);
    return h("section", { key: id, class: "panel stack", "aria-label": connection.name, "aria-current": id === shown ? "true" : null },
      h("header.page-head", h("div", h("h2", name(connection.name)),
          h("p", ["SUSPENDED", "FAILED"].includes(connection.status) || connection.consecutive_failures > 0 ? badge("FAILED", connection.status === "SUSPENDED" ? "Suspended after failures" : "Failing") : connection.last_used_at || local || tested?.success ? badge("ACTIVE", "Working") : badge("PENDING", "Not used yet"),
            h("span", local ? "Folders of this computer" : kind), connection.last_used_at ? h("span", "used ", timeOf(connection.last_used_at)) : null)),
        h("div.actions", renewable ? link("Sign in again", to.signIn(renewable.id, { renew: id }), { class: `button small ${connection.last_error?.includes("sign in again") ? "primary" : ""}`, "aria-label": `Sign in again: ${connection.name}` }) : null,
          button(tested?.busy ? "Testing…" : "Test", () => test(connection), { kind: "small", busy: tested?.busy, "aria-label": `Test ${connection.name}` }),
          local ? null : button("Edit", () => edit({ id, draft: draftOf(connection) }), { kind: "small", "aria-label": `Edit ${connection.name}` }),
          local ? null : button("Delete", () => drop(connection, users).then(visit.refresh), { kind: "small danger", "aria-label": `Delete ${connection.name}` }))),
      tested && !tested.busy ? h("p", { class: tested.success ? "" : "bad", role: "status" }, icon(tested.success ? "check" : "alert"), " ", said(tested.message)) : null,
      tested && !tested.busy ? wayOut(tested.message, { connection, retry: () => test(connection) }) : null,
      connection.last_error && !tested ? h("div.problem", icon("alert"), h("div", said(connection.last_error), wayOut(connection.last_error, { connection, retry: () => test(connection) }))) : null,
      state.form?.id === id ? connectionForm({ ...state.form, changed: visit.redraw, submit: save, cancel: () => edit(null), action: "Save" })
        : facts([
          ...configFacts(connection.provider_config),
          ["Used by", users.length === 0 ? "no sync" : h("ul", users.map((row) => h("li", { key: row.sync_config_id }, link(name(row.source_path), to.sync(row)))))],
        ]));
  }
}

/** @type {Record<string, string>} */
const CREDENTIALS = {
  access_key: "an access key", ambient: "this computer's own", assume_role: "a role", oauth: "a person who signed in", delegated: "a person who signed in",
  service_account: "a service account", client_credentials: "an application", key_pair: "a key pair", username_password: "a token", app_token: "an app token",
};

/**
 * The settings of a connection, without secrets and defaults.
 * @param {Record<string, unknown>} config
 * @returns {[string, Ui.Child][]}
 */
function configFacts(config) {
  const usual = { addressing: "auto", anonymous: false, requester_pays: false, use_ssl: true, verify_ssl: true };
  return Object.entries(config ?? {})
    .filter(([key, value]) => key !== "provider_type" && value !== null && value !== "" && value !== usual[/** @type {keyof typeof usual} */ (key)])
    .map(([key, value]) => {
      const label = key.replaceAll("_", " ");
      const type = typeof value === "object" && value && "type" in value ? String(value.type) : "";
      const words = type ? CREDENTIALS[type] ?? type : typeof value === "object" ? JSON.stringify(value) : String(value);
      return [label[0].toUpperCase() + label.slice(1).replace("url", "URL"), name(words)];
    });
}

/** @param {Api.Connection} connection @param {Api.SyncRow[]} users */
const drop = (connection, users) => ask({
  title: `Delete ${connection.name}?`,
  body: [h("p", "Its credentials are erased. It cannot be used again."),
    users.length ? [h("p", h("b", `${counted(users.length, "sync")} will be paused:`)), h("ul.paths", users.map((row) => h("li", name(row.source_path), " → ", name(row.bucket_name))))] : h("p", "No sync uses it.")],
  action: "Delete the connection",
  danger: true,
  run: () => remove(at.connection(connection.connection_id), users.length ? { force: true } : {}),
});
