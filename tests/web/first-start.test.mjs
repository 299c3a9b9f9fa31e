// From nothing to the first synced file.
import assert from "node:assert/strict";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { enter, tabTo } from "./support/browser.mjs";
import { scratch, serve } from "./support/server.mjs";

async function newcomer(t) {
  const folder = await scratch(t);
  const photos = join(folder, "photos");
  await mkdir(photos);
  await writeFile(join(photos, "lisbon.txt"), "a tram");
  await writeFile(join(photos, "draft.tmp"), "half a tram");
  const server = await serve(t, join(folder, "data"));
  return { photos, server, page: await enter(t, server) };
}

test("a newcomer syncs a first file with the mouse alone", async (t) => {
  const { photos, page } = await newcomer(t);
  await page.getByRole("link", { name: /A folder on this computer/ }).click();
  await page.getByLabel("Folder", { exact: true }).fill(photos);
  await page.getByText("2 to add").waitFor();
  await page.getByRole("button", { name: "Start syncing" }).click();
  await page.getByRole("heading", { name: photos }).waitFor();
  await page.getByText("2 added").first().waitFor();
  await page.getByRole("link", { name: "photos", exact: true }).click();
  await page.getByRole("row", { name: /lisbon\.txt/ }).getByRole("link").click();
  await page.getByText("a tram").waitFor();
  assert.equal(await page.title(), "lisbon.txt · Catchment");
});

test("a newcomer syncs a first file with the keyboard alone", async (t) => {
  const { photos, page } = await newcomer(t);
  await tabTo(page, page.getByRole("link", { name: /A folder on this computer/ }));
  await page.keyboard.press("Enter");
  await page.getByLabel("Folder", { exact: true }).waitFor();
  await tabTo(page, page.getByLabel("Folder", { exact: true }));
  await page.keyboard.type(photos);
  await page.getByText("2 to add").waitFor();
  await tabTo(page, page.getByRole("button", { name: "Start syncing" }));
  await page.keyboard.press("Enter");
  await page.getByText("2 added").first().waitFor();
  await tabTo(page, page.getByRole("link", { name: "photos", exact: true }));
  await page.keyboard.press("Enter");
  await page.getByRole("row", { name: /lisbon\.txt/ }).waitFor();
  await tabTo(page, page.getByRole("grid", { name: "Objects" }));
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
  await page.getByText("a tram").waitFor();
});

test("a preview says what would be copied and why the rest is left out, and stores nothing", async (t) => {
  const { photos, server, page } = await newcomer(t);
  await page.goto(`${server.url}/#/new`);
  await page.getByLabel("Folder", { exact: true }).fill(photos);
  await page.getByText("2 to add").waitFor();
  await page.getByLabel("Exclude").fill("*.tmp");
  await page.getByText("1 to add").waitFor();
  await page.getByText("1 left out").waitFor();
  const left = page.getByRole("list", { name: "Some of the entries" }).getByRole("listitem").filter({ hasText: "draft.tmp" });
  assert.match(await left.innerText(), /\*\.tmp/);
  const { syncs, buckets } = await server.api("GET", "/v1/overview");
  assert.deepEqual([syncs.length, buckets], [0, 0]);
});

test("what was typed survives a reload", async (t) => {
  const { photos, server, page } = await newcomer(t);
  await page.goto(`${server.url}/#/new`);
  await page.getByLabel("Folder", { exact: true }).fill(photos);
  await page.getByLabel("Include").fill("*.jpg");
  await page.reload();
  assert.equal(await page.getByLabel("Folder", { exact: true }).inputValue(), photos);
  assert.equal(await page.getByLabel("Include").inputValue(), "*.jpg");
});

test("an unfinished connection survives a reload, except for its credentials", async (t) => {
  const { server, page } = await newcomer(t);
  await page.getByRole("link", { name: /An S3 bucket/ }).click();
  await page.getByLabel("Name", { exact: true }).fill("Studio");
  await page.getByLabel("Endpoint").fill("https://s3.example.org");
  await page.getByLabel("Secret access key").fill("do not keep me");
  await page.goto(`${server.url}/#/`);
  await page.getByRole("link", { name: "New sync" }).click();
  await page.reload();
  assert.equal(await page.getByLabel("Name", { exact: true }).inputValue(), "Studio");
  assert.equal(await page.getByLabel("Endpoint").inputValue(), "https://s3.example.org");
  assert.equal(await page.getByLabel("Secret access key").inputValue(), "");
  assert.doesNotMatch(await page.evaluate(() => JSON.stringify({ ...sessionStorage, ...localStorage })), /do not keep me/);
});

test("a mapping shows what it makes of real entries before it is saved", async (t) => {
  const { photos, server, page } = await newcomer(t);
  await mkdir(join(photos, "Trips"));
  await writeFile(join(photos, "Trips", "2024.txt"), "a year");
  await page.goto(`${server.url}/#/new`);
  await page.getByLabel("Folder", { exact: true }).fill(photos);
  await page.getByText("3 to add").waitFor();
  await page.getByRole("button", { name: "Add a property" }).click();
  await page.getByLabel("Property").nth(1).fill("album");
  await page.getByLabel("segment").fill("0");
  await page.getByLabel("Transform").selectOption("lowercase");
  await page.getByText("For example: trips", { exact: true }).waitFor();
});
