// OneDrive in the hands of a person: places that are known by id, sign-ins that end, originals.
import assert from "node:assert/strict";
import { join } from "node:path";
import test from "node:test";
import { enter, findings } from "./support/browser.mjs";
import { ROOT, oneDrive, signedIn } from "./support/graph.mjs";
import { scratch, serve } from "./support/server.mjs";

const REFUSED = { faults: /status of 4\d\d/ };

test("OneDrive is browsed by name, and the folder that is chosen is remembered by its id", async (t) => {
  const dataDir = join(await scratch(t), "data");
  await oneDrive(t, dataDir, [{ id: "F1", name: "Photos", parent: ROOT }, { id: "F2", name: "Lisbon", parent: "F1" }, { id: "F3", name: "Tiles", parent: "F2" }]);
  const server = await serve(t, dataDir);
  await signedIn(server, "Ada's OneDrive");
  const page = await enter(t, server, REFUSED);
  await page.goto(`${server.url}/#/new`);
  await page.getByRole("radio", { name: /Ada's OneDrive/ }).check();
  const folders = page.getByRole("list", { name: "Folders" });
  for (const name of ["Photos", "Lisbon", "Tiles"]) await folders.getByRole("button", { name }).click();
  await page.getByText("Nothing is below this.").waitFor();
  const place = page.getByLabel("Library or folder");
  assert.equal(await place.inputValue(), "drive1!F3");
  const trail = page.locator(".browser header");
  assert.match(await trail.innerText(), /Photos\s*\/\s*Lisbon\s*\/\s*Tiles/);
  await trail.getByRole("button", { name: "Photos" }).click();
  await folders.getByRole("button", { name: "Lisbon" }).waitFor();
  assert.equal(await place.inputValue(), "drive1!F1");
});

test("sites are found beside the drive, and lead to their libraries and folders", async (t) => {
  const dataDir = join(await scratch(t), "data");
  await oneDrive(t, dataDir, [{ id: "F1", name: "Photos", parent: ROOT }, { id: "T1", name: "plan.md", parent: "F1", text: "# The plan" }]);
  const server = await serve(t, dataDir);
  await signedIn(server, "Ada at work");
  const page = await enter(t, server, REFUSED);
  await page.goto(`${server.url}/#/new`);
  await page.getByRole("radio", { name: /Ada at work/ }).check();
  const folders = page.getByRole("list", { name: "Folders" });
  const place = page.getByLabel("Library or folder");
  for (const name of ["SharePoint sites", "Team", "Documents"]) await folders.getByRole("button", { name }).click();
  await folders.getByRole("button", { name: "Photos" }).waitFor();
  assert.equal(await place.inputValue(), `drive1!${ROOT}`);
  const trail = page.locator(".browser header");
  assert.match(await trail.innerText(), /SharePoint sites\s*\/\s*Team\s*\/\s*Documents/);
  await folders.getByRole("button", { name: "Photos" }).click();
  await page.getByText("Nothing is below this.").waitFor();
  assert.equal(await place.inputValue(), "drive1!F1");
  assert.deepEqual(await findings(page), []);
});

test("a sign-in that ended says what to do beside its connection, and leads there", async (t) => {
  const dataDir = join(await scratch(t), "data");
  await oneDrive(t, dataDir, [], () => "invalid_grant");
  const server = await serve(t, dataDir);
  await signedIn(server, "Ada's OneDrive");
  const page = await enter(t, server, REFUSED);
  await page.goto(`${server.url}/#/connections`);
  const panel = page.getByRole("region", { name: "Ada's OneDrive" });
  await panel.getByRole("button", { name: "Test Ada's OneDrive" }).click();
  await panel.getByText("sign in again, and agree at Microsoft").first().waitFor();
  assert.deepEqual(await findings(page), []);
  await panel.getByRole("link", { name: "Sign in again", exact: true }).first().click();
  await page.getByText("Your client stays as it is").waitFor();
});
