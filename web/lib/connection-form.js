/**
 * The form of a connection: by provider, its secrets write-only. Used to make one and to edit one.
 */

import { post } from "./api.js";
import { h } from "./dom.js";
import { note } from "./notes.js";
import { button, choice, field, input, problem } from "./parts.js";

/**
 * @typedef {{id: string, label: string, name: string, type: string, fields: [key: string, label:
 * string, hint: string, kind?: string][]}} Provider `type`: of its credentials. A field's key is
 * its path in `provider_config`; kind `secret` is never shown again, kind `json` is a whole object,
 * pasted as it was downloaded, and secret too.
 */

/** @type {Provider[]} */
export const PROVIDERS = [
  { id: "s3", label: "Amazon S3 or S3-compatible storage", name: "S3", type: "access_key", fields: [
    ["credentials.access_key_id", "Access key id", "Leave empty to use this computer's AWS credentials"],
    ["credentials.secret_access_key", "Secret access key", "", "secret"],
    ["region", "Region", "us-east-1"],
    ["endpoint_url", "Endpoint", "Only for storage other than Amazon S3: https://s3.example.org"],
  ] },
  { id: "tigris", label: "Tigris", name: "Tigris", type: "access_key", fields: [
    ["credentials.access_key_id", "Access key id", "tid_…"],
    ["credentials.secret_access_key", "Secret access key", "tsec_…", "secret"],
  ] },
  { id: "google_drive", label: "Google Drive, with a service account", name: "Google Drive", type: "service_account", fields: [
    ["credentials", "Key file", "The whole JSON file that Google gave you. Share the folder with the client_email in it", "json"],
    ["impersonate_user", "Act for", "Only with domain-wide delegation: ada@example.org"],
    ["shared_drive_id", "Shared drive", "Its ID, if it is to be the root"],
  ] },
  { id: "sharepoint", label: "SharePoint and OneDrive, with an application", name: "SharePoint", type: "client_credentials", fields: [
    ["credentials.tenant_id", "Directory (tenant) ID", ""],
    ["credentials.client_id", "Application (client) ID", ""],
    ["credentials.client_secret", "Client secret", "", "secret"],
    ["site_id", "Site", "Its address or ID, if it is not the root site"],
  ] },
];

/** Used where no credentials are given: those that this computer has already. */
const AMBIENT = { type: "ambient" };

/**
 * What a person typed.
 * @typedef {{provider: string, name: string, values: Record<string, string>}} ConnectionDraft
 */

/** @param {string} provider @returns {ConnectionDraft} */
export const blankConnection = (provider = "s3") => ({ provider, name: "", values: {} });

/** @param {string} id */
const providerOf = (id) => PROVIDERS.find((provider) => provider.id === id);

/**
 * The `provider_config` that the fields make. Empty fields are omitted, so that what is stored
 * stays.
 * @param {ConnectionDraft} draft
 */
export function configOf(draft) {
  /** @type {Record<string, any>} */
  const config = {};
  for (const [key, value] of Object.entries(draft.values)) {
    if (!value) continue;
    const [group, rest] = key.split(".");
    if (group === "credentials" && !rest) config.credentials = pasted(value);
    else if (rest) (config[group] ??= {})[rest] = value;
    else config[group] = value;
  }
  if (config.credentials) config.credentials.type = providerOf(draft.provider)?.type;
  return config;
}

/** @param {string} text @returns {any} */
function pasted(text) {
  try {
    return JSON.parse(text);
  } catch {
    throw new Error("The key file is no JSON: paste all of it, from the first brace to the last.");
  }
}

/** Makes the connection, once it has been tested and works. @param {ConnectionDraft} draft */
export async function make(draft) {
  const made = await post("/v1/organizations/connections", {
    name: draft.name, provider_type: draft.provider, test_before_save: true,
    provider_config: { ...(providerOf(draft.provider)?.type === "access_key" ? { credentials: AMBIENT } : {}), ...configOf(draft) },
  });
  note("The connection works and was saved.");
  return made;
}

/**
 * What of a draft may be stored in the browser: all but its credentials.
 * @param {ConnectionDraft} draft
 * @returns {ConnectionDraft}
 */
export const withoutCredentials = (draft) =>
  ({ ...draft, values: Object.fromEntries(Object.entries(draft.values).filter(([key]) => !key.startsWith("credentials"))) });

/**
 * `changed` is called at everything that is typed.
 * @param {{draft: ConnectionDraft, error?: any, busy?: boolean, changed: () => void, submit: () =>
 * void,
 *   cancel?: () => void, action: string, editing?: boolean}} options
 */
export function connectionForm({ draft, error, busy, changed, submit, cancel, action, editing }) {
  const provider = providerOf(draft.provider);
  /** @type {Record<string, string>} */
  const wrong = Object.fromEntries((error?.fields ?? []).map((/** @type {any} */ item) => [item.field.replace(/^.*provider_config\./, ""), item.message]));
  return h("form.stack", { onsubmit: (event) => { event.preventDefault(); submit(); } },
    h("div.fields", editing ? null : field("Kind", choice("connection-kind", draft.provider, PROVIDERS.map(({ id, label }) => [id, label]), (provider_) => { draft.provider = provider_; changed(); }), { id: "connection-kind" }),
      field("Name", input(draft.name, (name) => { draft.name = name; changed(); }, { required: true, maxlength: 100, placeholder: provider?.name }),
        { id: "connection-name", hint: "To recognise it by", error: wrong.name }),
      (provider?.fields ?? []).map(([key, label, hint, kind]) =>
        h("div", { key }, field(label, kind === "json" ? h("textarea", { rows: 6, spellcheck: "false", autocomplete: "off", value: draft.values[key] ?? "", placeholder: editing ? "unchanged" : null, oninput: (event) => { draft.values[key] = event.target.value; changed(); } })
        : input(draft.values[key] ?? "", (value) => { draft.values[key] = value; changed(); }, {
          type: kind === "secret" ? "password" : "text", placeholder: editing && kind === "secret" ? "unchanged" : null,
        }), { id: `connection-${key.replace(".", "-")}`, hint: kind === "secret" ? "Encrypted here; never shown again" : hint, error: wrong[key] })))),
    error ? problem(error) : null,
    h("div.actions", h("button", { type: "submit", class: "button primary", disabled: busy }, busy ? "Testing…" : action),
      cancel ? button("Cancel", cancel) : null),
  );
}
