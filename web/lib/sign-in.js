/**
 * Signing in with Google or Microsoft: what a person has to set up there, in steps, and how each is
 * checked. What the provider itself answers is for the sign-in to find out.
 */

import { post } from "./api.js";
import { h } from "./dom.js";
import { command } from "./parts.js";

/** @param {string} address */
const redirect = (address) => h("div", command(address));

/** @type {Ui.SignIn[]} */
export const SIGN_INS = [
  { id: "google_drive", with: "Google", what: "Google Drive", renews: ["oauth"], onDevices: false, steps: [
    { title: "Choose a project", href: "https://console.cloud.google.com/projectcreate", go: "Open Google Cloud",
      body: "Sign in to Google Cloud with the account whose files you want, and create a project (or choose one you have). It costs nothing.", done: "I have a project" },
    { title: "Switch on the Drive API", href: "https://console.cloud.google.com/apis/library/drive.googleapis.com", go: "Open the Drive API",
      body: "Check that your project is selected at the top, and press Enable.", done: "The API is enabled" },
    { title: "Choose who may sign in", href: "https://console.cloud.google.com/auth/audience", go: "Open the audience page",
      body: [h("p", "With Google Workspace choose ", h("b", "Internal"), ". Otherwise choose ", h("b", "External"), " and then ", h("b", "Publish app"), ", so that it says “In production”."),
        h("p", h("b", "Do not leave it in “Testing”"), ": Google would end your sign-in after 7 days.")], done: "It is Internal or In production" },
    { title: "Create a client", href: "https://console.cloud.google.com/auth/clients", go: "Open the clients page",
      body: ["Press Create client, choose the type ", h("b", "Desktop app"), ", and copy what it shows:"], done: "Continue", fields: [
        { key: "clientId", label: "Client ID", hint: "Ends with .apps.googleusercontent.com",
          check: (value) => value.endsWith(".apps.googleusercontent.com") ? null : "A client ID of Google ends with .apps.googleusercontent.com" },
        { key: "clientSecret", label: "Client secret", hint: "Encrypted here; never shown again", secret: true, check: (value) => value ? null : "Google requires the secret of a desktop app, too" },
      ] },
  ] },
  { id: "sharepoint", with: "Microsoft", what: "SharePoint and OneDrive", renews: ["delegated"], onDevices: true, steps: [
    { title: "Register an application", href: "https://entra.microsoft.com/#view/Microsoft_AAD_RegisteredApps/CreateApplicationBlade/quickStartType~/null/isMSAApp~/false", go: "Open App registrations",
      body: "Choose New registration. Under “Supported account types” choose your organization, or personal accounts too if your OneDrive is a private one.", done: "It is registered" },
    { title: "Add the redirect address",
      body: ["Under Authentication choose Add a platform, ", h("b", "Mobile and desktop applications"), ", and add this address:", redirect("http://localhost/oauth/callback")], done: "The address is added" },
    { title: "Copy its ID", body: "Both are on the overview page of the application:", done: "Continue", fields: [
      { key: "clientId", label: "Application (client) ID", hint: "As in 00000000-0000-0000-0000-000000000000",
        check: (value) => /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(value) ? null : "The ID has 32 hexadecimal digits in five groups" },
      { key: "tenantId", label: "Directory (tenant) ID", hint: "Empty for a personal account, or for accounts of any organization", optional: true,
        check: (value) => !value || /^[\w.-]+$/.test(value) ? null : "A tenant is an ID, or a name such as example.onmicrosoft.com" },
    ] },
  ] },
];

/** @param {string} id */
export const signInTo = (id) => SIGN_INS.find((one) => one.id === id);

/** @returns {Ui.SignInDraft} */
const blank = () => ({ clientId: "", clientSecret: "", tenantId: "", name: "" });

/** @param {string} id */
const place = (id) => `sign-in:${id}`;

/**
 * What was typed before the browser went to the provider; never a secret.
 * @param {string} id
 * @returns {Ui.SignInDraft}
 */
export function draftOf(id) {
  try {
    return { ...blank(), ...JSON.parse(sessionStorage.getItem(place(id)) ?? "{}") };
  } catch {
    return blank();
  }
}

/** @param {string} id @param {Ui.SignInDraft} draft */
export const keepDraft = (id, { clientId, tenantId, name }) =>
  sessionStorage.setItem(place(id), JSON.stringify({ clientId, tenantId, name }));

/** @param {string} id */
export const forgetDraft = (id) => sessionStorage.removeItem(place(id));

/** Whether a browser on this computer shows this page: only that can come back by itself. */
export const isHere = () => /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(location.hostname);

/**
 * Begins a sign-in.
 * @param {Ui.SignIn} provider
 * @param {Ui.SignInDraft} draft
 * @param {{renew?: string | null, device?: boolean}} options
 */
export const begin = (provider, draft, { renew, device }) => post("/v1/sign-ins", renew
  ? { provider_type: provider.id, connection_id: renew, ...(device ? { device } : {}) }
  : {
    provider_type: provider.id, client_id: draft.clientId.trim(),
    ...(draft.clientSecret ? { client_secret: draft.clientSecret.trim() } : {}),
    ...(draft.tenantId ? { tenant_id: draft.tenantId.trim() } : {}),
    ...(draft.name ? { name: draft.name } : {}),
    ...(device ? { device } : {}),
  });
