// Google Drive in the hands of a person.
import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { join } from "node:path";
import test from "node:test";
import { enter, findings } from "./support/browser.mjs";
import { FOLDER, ROOT, drive, signedIn } from "./support/drive.mjs";
import { scratch, serve } from "./support/server.mjs";

const REFUSED = { faults: /status of 4\d\d/ };

test("Google Drive is browsed by name and remembered by id, also through folders whose names no path can say", async (t) => {
  const dataDir = join(await scratch(t), "data");
  await drive(t, dataDir, [
    { id: "1PhotosFolderIdentifier000001", name: "Photos", parents: [ROOT], mimeType: FOLDER },
    { id: "1LisbonFolderIdentifier000002", name: "2024/Lisbon", parents: ["1PhotosFolderIdentifier000001"], mimeType: FOLDER },
    { id: "1TilesFolderIdentifier0000003", name: "Tiles", parents: ["1LisbonFolderIdentifier000002"], mimeType: FOLDER },
  ]);
  const server = await serve(t, dataDir);
  await signedIn(server, "Ada's Drive");
  const page = await enter(t, server, REFUSED);
  await page.goto(`${server.url}/#/new`);
  await page.getByRole("radio", { name: /Ada's Drive/ }).check();
  const folders = page.getByRole("list", { name: "Folders" });
  for (const name of ["My Drive", "Photos", "2024/Lisbon", "Tiles"]) await folders.getByRole("button", { name }).click();
  await page.getByText("Nothing is below this.").waitFor();
  assert.match(await page.getByLabel("Folder", { exact: true }).inputValue(), /1TilesFolderIdentifier0000003|^\/.*Tiles$/);
  const trail = page.locator(".browser header");
  await trail.getByRole("button", { name: "Photos" }).click();
  await folders.getByRole("button", { name: "2024/Lisbon" }).waitFor();
  assert.match(await page.getByLabel("Folder", { exact: true }).inputValue(), /1PhotosFolderIdentifier000001|^\/Photos$/);
});

test("a sign-in that ended says what to do, on Home and beside the connection", async (t) => {
  const dataDir = join(await scratch(t), "data");
  await drive(t, dataDir, [], () => "invalid_grant");
  const server = await serve(t, dataDir);
  await signedIn(server, "Ada's Drive");
  const page = await enter(t, server, REFUSED);
  await page.goto(`${server.url}/#/connections`);
  const panel = page.getByRole("region", { name: "Ada's Drive" });
  await panel.getByRole("button", { name: "Test Ada's Drive" }).click();
  await panel.getByText("What to do:").first().waitFor();
  await panel.getByText("sign in again, and agree at Google").first().waitFor();
  assert.deepEqual(await findings(page), []);
  await panel.getByRole("link", { name: "Sign in again", exact: true }).first().click();
  await page.getByText("Your client stays as it is").waitFor();
});

test("the test of a service account says with whom to share the folder", async (t) => {
  const dataDir = join(await scratch(t), "data");
  const email = "robot@project.iam.gserviceaccount.com";
  await drive(t, dataDir, [], () => null, email);
  const server = await serve(t, dataDir);
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const key = privateKey.export({ type: "pkcs8", format: "pem" }).toString();
  await server.api("POST", "/v1/organizations/connections", {
    name: "Robot", provider_type: "google_drive", test_before_save: false,
    provider_config: { credentials: { type: "service_account", project_id: "project", private_key_id: "1", private_key: key, client_email: email, client_id: "123" } },
  });
  const page = await enter(t, server);
  await page.goto(`${server.url}/#/connections`);
  const panel = page.getByRole("region", { name: "Robot" });
  await panel.getByRole("button", { name: "Test Robot" }).click();
  await panel.getByText(`share the folder with ${email}`).waitFor();
});

test("a Google document opens as what it was exported to, with a link to the original", async (t) => {
  const dataDir = join(await scratch(t), "data");
  const original = "https://docs.google.com/document/d/1PlanDocumentIdentifier00001/edit";
  await drive(t, dataDir, [{
    id: "1PlanDocumentIdentifier00001", name: "Plan", parents: [ROOT], mimeType: "application/vnd.google-apps.document",
    modifiedTime: "2024-05-01T10:00:00.000Z", webViewLink: original, exported: "# The plan\n\nA **tram** at noon.\n",
  }]);
  const server = await serve(t, dataDir);
  const { connection_id } = await signedIn(server, "Ada's Drive");
  const sync = await server.sync("drive", { connection_id, source_path: "root", provider_filters: { export_formats: { "application/vnd.google-apps.document": "md" } } });
  await server.settled(sync);
  const page = await enter(t, server);
  await page.goto(`${server.url}/#/buckets/${sync.bucket}`);
  await page.getByRole("grid", { name: "Objects" }).getByRole("link", { name: "Plan.md" }).click();
  await page.getByRole("region", { name: "Content" }).getByRole("heading", { name: "The plan" }).waitFor();
  const link = page.getByRole("link", { name: "Open the original" });
  assert.equal(await link.getAttribute("href"), original);
  assert.match(await link.getAttribute("rel"), /noreferrer/);
  await page.getByText("A Google document, exported as MD").waitFor();
});
