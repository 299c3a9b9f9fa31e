/**
 * The form of a connection: by provider, its secrets write-only. Used to make one and to edit one.
 */

import { fieldsOf as wrongFields, post } from "./api.js";
import { h } from "./dom.js";
import { note } from "./notes.js";
import { button, choice, field, input, problem } from "./parts.js";

/** @type {Ui.PlaceWords} */
const BUCKETS = { label: "Bucket and prefix", placeholder: "bucket/prefix", hint: "Without a prefix, the whole bucket.", top: "All buckets" };

/** @type {Ui.Provider[]} */
export const PROVIDERS = [
  { id: "s3", label: "Amazon S3 or S3-compatible storage", name: "S3", types: [["access_key", "An access key"]], place: BUCKETS, fields: [
    { key: "credentials.access_key_id", label: "Access key id", hint: "Leave empty to use this computer's AWS credentials" },
    { key: "credentials.secret_access_key", label: "Secret access key", kind: "secret" },
    { key: "region", label: "Region", hint: "us-east-1" },
    { key: "endpoint_url", label: "Endpoint", hint: "Only for storage other than Amazon S3: https://s3.example.org" },
  ] },
  { id: "tigris", label: "Tigris", name: "Tigris", types: [["access_key", "An access key"]], place: BUCKETS, fields: [
    { key: "credentials.access_key_id", label: "Access key id", hint: "tid_…" },
    { key: "credentials.secret_access_key", label: "Secret access key", kind: "secret" },
  ] },
  { id: "google_drive", label: "Google Drive, with a service account", name: "Google Drive", types: [["service_account", "A service account"]],
    place: { label: "Folder", placeholder: "/Photos", hint: "A path in My Drive, or a folder's ID. / is all of My Drive.", top: "Google Drive" }, fields: [
      { key: "credentials", label: "Key file", hint: "The whole JSON file that Google gave you. Share the folder with the client_email in it", kind: "json" },
      { key: "impersonate_user", label: "Act for", hint: "Only with domain-wide delegation: ada@example.org" },
      { key: "shared_drive_id", label: "Shared drive", hint: "Its ID, to use it as the root" },
    ] },
  { id: "sharepoint", label: "SharePoint and OneDrive, with an application", name: "SharePoint", types: [["client_credentials", "An application"]],
    place: { label: "Library or folder", placeholder: "/sites/Team/Documents", hint: "A site's library, a folder in it, or an ID. With a personal sign-in, / is your OneDrive.", top: "All sites" }, fields: [
      { key: "credentials.tenant_id", label: "Directory (tenant) ID" },
      { key: "credentials.client_id", label: "Application (client) ID" },
      { key: "credentials.client_secret", label: "Client secret", kind: "secret" },
      { key: "site_id", label: "Site", hint: "Its address or ID, if it is not the root site" },
    ] },
  { id: "snowflake", label: "Snowflake", name: "Snowflake",
    types: [["generated", "A new key pair, created here"], ["key_pair", "A key pair you already have"], ["username_password", "A programmatic access token"]],
    place: { label: "Table or view", placeholder: "SALES.PUBLIC.ORDERS", hint: "DATABASE.SCHEMA.TABLE. Every row becomes an object.", top: "All databases", level: 3 }, fields: [
      { key: "account", label: "Account", hint: "As in org-account, or the address that your browser shows" },
      { key: "credentials.username", label: "User", hint: "LOADER" },
      { key: "credentials.private_key", label: "Private key", hint: "The whole PEM text, with the BEGIN and END lines", kind: "json", for: "key_pair" },
      { key: "credentials.private_key_passphrase", label: "Passphrase of the key", hint: "If it has one", kind: "secret", for: "key_pair" },
      { key: "credentials.password", label: "Token", kind: "secret", for: "username_password" },
      { key: "warehouse", label: "Warehouse", hint: "LOAD_WH" },
      { key: "role", label: "Role", hint: "The user's own, if empty" },
      { key: "database", label: "Database", hint: "For tables that are named without one" },
      { key: "schema", label: "Schema", hint: "For tables that are named without one" },
      { key: "primary_key_columns", label: "Key columns", hint: "Columns that identify a row, separated by commas. Default: the declared primary key", kind: "list" },
      { key: "incremental_column", label: "Column that increases with every change", hint: "Such as UPDATED_AT; without one, changes are found by reading the whole table" },
    ] },
  { id: "iconik", label: "Iconik", name: "Iconik", types: [["app_token", "An app token"]],
    place: { label: "Collection", placeholder: "/Campaigns/2026", hint: "A collection's path or ID. / is everything.", top: "All collections" }, fields: [
      { key: "credentials.app_id", label: "App ID", hint: "Make a token in Iconik under Admin › Settings › Application Tokens. Its user has to see the collections." },
      { key: "credentials.auth_token", label: "Auth token", kind: "secret" },
      { key: "base_url", label: "Address", hint: "Only if it is not https://app.iconik.io" },
      { key: "metadata_view_id", label: "Metadata view", hint: "The ID of the view whose fields filters and mappings know" },
    ] },
];

/** @type {Ui.PlaceWords} */
const FOLDERS = { label: "Folder", placeholder: "/home/you/Pictures", hint: "An absolute path. Everything below it is included, hidden files too.", top: "/" };

/** How the places of a provider are called. @param {string} [provider] */
export const placeWords = (provider) => (provider === "local" ? FOLDERS : providerOf(provider ?? "")?.place ?? BUCKETS);

/** Used where no credentials are given: those that this computer has already. */
const AMBIENT = { type: "ambient" };

/** @param {string} provider @returns {Ui.ConnectionDraft} */
export const blankConnection = (provider = "s3") => ({ provider, name: "", values: {} });

/**
 * The draft of a connection that exists: with what is stored, which is all but its credentials.
 * @param {Pick<Api.Connection, "provider_type" | "name" | "provider_config">} connection
 * @returns {Ui.ConnectionDraft}
 */
export function draftOf({ provider_type, name, provider_config }) {
  const { credentials, ...stored } = provider_config ?? {};
  const values = Object.fromEntries(Object.entries(stored).filter(([, value]) => value !== null && typeof value !== "boolean").map(([key, value]) => [key, Array.isArray(value) ? value.join(", ") : String(value)]));
  return { provider: provider_type, name, type: credentials?.type, values, stored: { ...stored, ...values } };
}

/** @param {string} id */
const providerOf = (id) => PROVIDERS.find((provider) => provider.id === id);

/**
 * The fields of a draft: those of its credentials only where it can have such.
 * @param {Ui.ConnectionDraft} draft
 */
function fieldsOf({ provider, type, stored }) {
  const known = providerOf(provider);
  const types = known?.types.map(([each]) => each) ?? [];
  // A person signed in: the credentials are the sign-in's.
  const isSignedIn = stored && type && ![...types, "ambient"].includes(type);
  const kind = type ?? types[0];
  return (known?.fields ?? []).filter((one) => !(isSignedIn && one.key.startsWith("credentials")) && (!one.for || one.for === kind));
}

/**
 * The `provider_config` that the fields make. What is as it was stored is omitted; what was emptied
 * is null, which clears it.
 * @param {Ui.ConnectionDraft} draft
 */
export function configOf(draft) {
  /** @type {Record<string, unknown>} */
  const config = {};
  /** @type {Record<string, unknown>} */
  let credentials = {};
  for (const { key, kind } of fieldsOf(draft)) {
    const value = draft.values[key] ?? "";
    if (value === (draft.stored?.[key] ?? "")) continue;
    const [, inner] = /^credentials\.?(.*)$/.exec(key) ?? [];
    if (inner === "") credentials = pasted(value);
    else if (inner) credentials[inner] = value;
    else config[key] = value === "" ? null : kind === "list" ? value.split(",").map((one) => one.trim()).filter(Boolean) : value;
  }
  const type = draft.type ?? providerOf(draft.provider)?.types[0][0];
  const isMade = type === "generated" && !draft.stored;
  if (isMade) credentials.private_key = "generate";
  if (Object.keys(credentials).length) config.credentials = { ...credentials, type: type === "generated" ? "key_pair" : type === "ambient" ? "access_key" : type };
  return config;
}

/** @param {string} text @returns {Record<string, unknown>} */
function pasted(text) {
  try {
    return JSON.parse(text);
  } catch {
    throw new Error("The key file is not JSON: paste all of it, from the first brace to the last.");
  }
}

/**
 * Makes the connection, once it has been tested and works; one whose key is made here is stored
 * first, so that there is a key to let in.
 * @param {Ui.ConnectionDraft} draft
 */
export async function make(draft) {
  const provider = providerOf(draft.provider);
  const isGenerated = (draft.type ?? provider?.types[0][0]) === "generated";
  const made = await post("/v1/organizations/connections", {
    name: draft.name, provider_type: draft.provider, test_before_save: !isGenerated,
    provider_config: { ...(provider?.types[0][0] === "access_key" ? { credentials: AMBIENT } : {}), ...configOf(draft) },
  });
  note(isGenerated ? "A key pair was created and the connection saved. Now authorize the key in Snowflake." : "The connection works and was saved.");
  return { ...made, isGenerated };
}

/**
 * What of a draft may be stored in the browser: all but its credentials.
 * @param {Ui.ConnectionDraft} draft
 * @returns {Ui.ConnectionDraft}
 */
export const withoutCredentials = (draft) =>
  ({ ...draft, values: Object.fromEntries(Object.entries(draft.values).filter(([key]) => !key.startsWith("credentials"))) });

/**
 * `changed` is called at everything that is typed.
 * @param {{draft: Ui.ConnectionDraft, error?: unknown, busy?: boolean, changed: () => void,
 *   submit: () => void, cancel?: () => void, action: string}} options
 */
export function connectionForm({ draft, error, busy, changed, submit, cancel, action }) {
  const provider = providerOf(draft.provider);
  const editing = Boolean(draft.stored);
  /** @type {Record<string, string>} */
  const wrong = Object.fromEntries(wrongFields(error).map((item) => [item.field.replace(/^.*provider_config\./, ""), item.message]));
  /** @param {Ui.ConnectionField} one */
  const control = ({ key, label, hint, kind }) => {
    const isStored = editing && key.startsWith("credentials");
    const value = draft.values[key] ?? "";
    /** @param {string} typed */
    const type = (typed) => { draft.values[key] = typed; changed(); };
    const placeholder = isStored ? "stored, and stays as it is" : null;
    return h("div", { key }, field(label, kind === "json"
      ? h("textarea", { rows: 6, spellcheck: "false", autocomplete: "off", value, placeholder, oninput: (event) => type(event.target.value) })
      : input(value, type, { type: kind === "secret" ? "password" : "text", placeholder }),
    { id: `connection-${key.replace(".", "-")}`, hint: isStored ? "To change credentials, enter all of them." : kind === "secret" ? "Encrypted here; never shown again" : hint, error: wrong[key] }));
  };
  return h("form.stack", { onsubmit: (event) => { event.preventDefault(); submit(); } },
    h("div.fields", editing ? null : field("Kind", choice("connection-kind", draft.provider, PROVIDERS.map(({ id, label }) => [id, label]), (provider_) => { Object.assign(draft, { provider: provider_, type: undefined }); changed(); }), { id: "connection-kind" }),
      field("Name", input(draft.name, (name) => { draft.name = name; changed(); }, { required: true, maxlength: 100, placeholder: provider?.name }),
        { id: "connection-name", hint: "To recognise it by", error: wrong.name }),
      !editing && provider && provider.types.length > 1 ? field("Signs in with", choice("connection-type", draft.type ?? provider.types[0][0], provider.types, (type) => { draft.type = type; changed(); }), { id: "connection-type" }) : null,
      fieldsOf(draft).map(control)),
    error ? problem(error) : null,
    h("div.actions", h("button", { type: "submit", class: "button primary", disabled: busy }, busy ? "Testing…" : action),
      cancel ? button("Cancel", cancel) : null),
  );
}
