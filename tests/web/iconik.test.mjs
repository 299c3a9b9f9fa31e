// Iconik in the hands of a person.
import assert from "node:assert/strict";
import { join } from "node:path";
import test from "node:test";
import { enter, findings } from "./support/browser.mjs";
import { APP_ID, AUTH_TOKEN, iconik } from "./support/iconik.mjs";
import { picture } from "./support/media.mjs";
import { scratch, serve } from "./support/server.mjs";

const NEWS = "11111111-0000-11ee-8000-000000000001";
const INNER = "11111111-0000-11ee-8000-000000000002";

test("a connection to Iconik is made in the form, a collection is browsed to, and its assets become objects", async (t) => {
  const address = await iconik(t, [
    { id: NEWS, title: "News" }, { id: INNER, title: "2026/27", parent: NEWS }, { id: "11111111-0000-11ee-8000-000000000003", title: "Archive" },
  ], [
    { id: "22222222-0000-11ee-8000-000000000001", title: "Tram", name: "tram.png", collections: [INNER], bytes: picture(32, 16) },
    { id: "22222222-0000-11ee-8000-000000000002", title: "Elsewhere", name: "elsewhere.png", collections: [NEWS], bytes: picture(16, 16) },
  ]);
  const server = await serve(t, join(await scratch(t), "data"));
  const page = await enter(t, server, { faults: /status of 4\d\d/ });
  await page.goto(`${server.url}/#/connections`);
  await page.getByRole("button", { name: "New connection" }).click();
  const form = page.getByRole("region", { name: "New connection" });
  await form.getByLabel("Kind").selectOption("iconik");
  await form.getByText("Admin › Settings › Application Tokens").waitFor();
  await form.getByLabel("Name", { exact: true }).fill("Library");
  await form.getByLabel("App ID").fill(APP_ID);
  await form.getByLabel("Auth token").fill("wrong");
  await form.getByLabel("Address").fill(address);
  await form.getByRole("button", { name: "Test and save" }).click();
  await page.getByText(/make a new application token/).first().waitFor();
  await form.getByLabel("Auth token").fill(AUTH_TOKEN);
  await form.getByRole("button", { name: "Test and save" }).click();
  const panel = page.getByRole("region", { name: "Library" });
  await panel.getByRole("button", { name: "Test Library" }).waitFor();
  assert.deepEqual(await findings(page), []);
  assert.doesNotMatch(await page.content(), new RegExp(AUTH_TOKEN));

  await page.goto(`${server.url}/#/new`);
  await page.getByRole("radio", { name: /Library/ }).check();
  const folders = page.getByRole("list", { name: "Folders" });
  await folders.getByRole("button", { name: "Archive" }).waitFor();
  for (const name of ["News", "2026/27"]) await folders.getByRole("button", { name }).click();
  await page.getByText("Nothing is below this.").waitFor();
  assert.equal(await page.getByLabel("Collection", { exact: true }).inputValue(), INNER, "kept by its id");
  await page.getByText("1 to add").waitFor();
  await page.getByLabel("Its name").fill("trams");
  await page.getByRole("button", { name: "Start syncing" }).click();
  await page.getByText("1 added").first().waitFor();
  await page.getByRole("link", { name: "trams", exact: true }).click();
  await page.getByRole("grid").getByText("tram.png").click();
  await page.getByRole("heading", { level: 1, name: "tram.png" }).waitFor();
  await page.getByRole("img", { name: "tram.png" }).waitFor();
});
