/**
 * The form of a connection: by provider, its secrets write-only. Used to make one and to edit one.
 */

import { post } from "./api.js";
import { h } from "./dom.js";
import { note } from "./notes.js";
import { button, choice, field, input, problem } from "./parts.js";

/**
 * @typedef {{id: string, label: string, name: string, fields: [key: string, label: string, hint:
 * string, kind?: string][]}} Provider A field's key is its path in `provider_config`; kind `secret`
 * is never shown again.
 */

/** @type {Provider[]} */
export const PROVIDERS = [
  { id: "s3", label: "Amazon S3 or S3-compatible storage", name: "S3", fields: [
    ["credentials.access_key_id", "Access key id", "Leave empty to use this computer's AWS credentials"],
    ["credentials.secret_access_key", "Secret access key", "", "secret"],
    ["region", "Region", "us-east-1"],
    ["endpoint_url", "Endpoint", "Only for storage other than Amazon S3: https://s3.example.org"],
  ] },
  { id: "tigris", label: "Tigris", name: "Tigris", fields: [
    ["credentials.access_key_id", "Access key id", "tid_…"],
    ["credentials.secret_access_key", "Secret access key", "tsec_…", "secret"],
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
    if (rest) (config[group] ??= {})[rest] = value;
    else config[group] = value;
  }
  if (config.credentials) config.credentials.type = "access_key";
  return config;
}

/** Makes the connection, once it has been tested and works. @param {ConnectionDraft} draft */
export async function make(draft) {
  const made = await post("/v1/organizations/connections", {
    name: draft.name, provider_type: draft.provider, provider_config: { credentials: AMBIENT, ...configOf(draft) }, test_before_save: true,
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
  ({ ...draft, values: Object.fromEntries(Object.entries(draft.values).filter(([key]) => !key.startsWith("credentials."))) });

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
        h("div", { key }, field(label, input(draft.values[key] ?? "", (value) => { draft.values[key] = value; changed(); }, {
          type: kind === "secret" ? "password" : "text", placeholder: editing && kind === "secret" ? "unchanged" : null,
        }), { id: `connection-${key.replace(".", "-")}`, hint: kind === "secret" ? "Encrypted here; never shown again" : hint, error: wrong[key] })))),
    error ? problem(error) : null,
    h("div.actions", h("button", { type: "submit", class: "button primary", disabled: busy }, busy ? "Testing…" : action),
      cancel ? button("Cancel", cancel) : null),
  );
}
