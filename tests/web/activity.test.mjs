// What happened, as a person reads it.
import assert from "node:assert/strict";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { enter } from "./support/browser.mjs";
import { scratch, serve } from "./support/server.mjs";

/** Two syncs that have run, and the page of what happened. */
async function twoSyncs(t) {
  const folder = await scratch(t);
  const server = await serve(t, join(folder, "data"));
  const syncs = [];
  for (const place of ["trams", "tiles"]) {
    await mkdir(join(folder, place));
    await writeFile(join(folder, place, "one.txt"), place);
    const sync = await server.sync(place, { source_path: join(folder, place) });
    await server.settled(sync, 1, 1);
    syncs.push(sync);
  }
  const page = await enter(t, server);
  await page.goto(`${server.url}/#/activity`);
  const lines = page.locator(".log li:not(.day)");
  await lines.first().waitFor();
  return { server, syncs, page, lines };
}

test("a run is one line, from its beginning to what it did", async (t) => {
  const { server, syncs, page, lines } = await twoSyncs(t);
  await page.getByLabel("Kind").selectOption("job");
  await lines.getByText(/A run ended: .*trams.* 1 added, 5 B, in .*, begun \d\d:/).first().waitFor();
  assert.equal(await page.getByText("A run started").count(), 0);
  const { results } = await server.api("POST", `${syncs[0].base}/jobs`, {});
  await page.getByLabel("Sync").selectOption(syncs[0].id);
  await page.waitForFunction((count) => document.querySelectorAll(".log li:not(.day)").length === count, results.length);
});

test("what happened is searched by words in any order, and by sync", async (t) => {
  const { syncs, page, lines } = await twoSyncs(t);
  await page.getByLabel("Search").fill("added tiles");
  await page.waitForFunction(() => document.querySelectorAll(".log li:not(.day)").length === 1);
  await lines.getByText(/tiles/).first().waitFor();
  await page.getByLabel("Search").fill("nothing of the kind");
  await page.getByText("No matches").waitFor();
  await page.getByLabel("Search").fill("");
  await page.getByLabel("Sync").selectOption(syncs[0].id);
  await page.waitForFunction(() => [...document.querySelectorAll(".log li:not(.day)")].every((line) => line.innerText.includes("trams")));
  assert.match(page.url(), /sync=sync_/, "the address leads back to it");
});
