// A bucket of any size, with names of any kind.
import assert from "node:assert/strict";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { enter, findings, tabTo } from "./support/browser.mjs";
import { command, eventually, scratch, serve } from "./support/server.mjs";
import { million } from "./support/million.mjs";

/** Brings `files` (path to text) into the bucket `box`. */
async function filled(t, files) {
  const folder = await scratch(t);
  const source = join(folder, "source");
  await mkdir(source);
  for (const path of files.keys()) if (path.includes("/")) await mkdir(join(source, path.slice(0, path.lastIndexOf("/"))), { recursive: true });
  const all = [...files];
  for (let at = 0; at < all.length; at += 500) await Promise.all(all.slice(at, at + 500).map(([path, text]) => writeFile(join(source, path), text)));
  await command(join(folder, "data"), "sync", source, "--bucket", "box", "--quiet");
  const server = await serve(t, join(folder, "data"));
  const { results } = await server.api("GET", "/v1/buckets");
  return { server, bucket: results[0].bucket_id };
}

/** Scrolls the page, which is all that scrolls, to a part of its height. */
const scrollTo = (page, part) => page.evaluate((to) => globalThis.scrollTo(0, document.documentElement.scrollHeight * to), part);

const numbered = (index) => `file-${String(index).padStart(6, "0")}.txt`;

test("a bucket of 100,000 objects can be scrolled, searched and opened", { timeout: 600_000 }, async (t) => {
  const files = new Map(Array.from({ length: 100_000 }, (_, index) => [numbered(index), `content ${index}`]));
  const { server, bucket } = await filled(t, files);
  const page = await enter(t, server);
  await page.goto(`${server.url}/#/buckets/${bucket}`);
  const grid = page.getByRole("grid", { name: "Objects" });
  await grid.getByText(numbered(0)).waitFor();
  assert.ok((await grid.getByRole("row").count()) < 80, "only what is in sight is drawn");

  // A person drags the scroll bar to the end, and back to the middle.
  await scrollTo(page, 1);
  await grid.getByText(numbered(99_999)).waitFor();
  await scrollTo(page, 0.5);
  await grid.getByText(/^file-0(49|50)/).first().waitFor();

  // Scrolling on and on, no frame takes long: nothing stutters.
  const slowest = await page.evaluate(async () => {
    let worst = 0;
    let last = performance.now();
    for (let step = 0; step < 60; step += 1) {
      scrollBy(0, 700);
      await new Promise((resolve) => requestAnimationFrame(resolve));
      worst = Math.max(worst, performance.now() - last);
      last = performance.now();
    }
    return worst;
  });
  assert.ok(slowest < 400, `the slowest frame took ${Math.round(slowest)} ms`);

  await page.getByLabel("Search").fill("file-077777");
  await grid.getByText(numbered(77_777)).waitFor();
  await page.getByText("1 object found").waitFor();
  await grid.getByRole("link").click();
  await page.getByText("content 77777").waitFor();
});

test("a bucket of a million objects can be scrolled to its end, searched and opened", { timeout: 600_000 }, async (t) => {
  const data = join(await scratch(t), "data");
  const source = await scratch(t);
  await writeFile(join(source, "first.txt"), "one of a million");
  await command(data, "sync", source, "--bucket", "box", "--quiet");
  await million(data);
  const server = await serve(t, data);
  const page = await enter(t, server);
  await page.getByRole("link", { name: "box" }).first().click();
  await page.getByText("1,000,001 objects").first().waitFor();
  const grid = page.getByRole("grid", { name: "Objects" });
  await grid.getByText("made-0000001.txt").waitFor();
  await scrollTo(page, 1);
  await grid.getByText("made-1000000.txt").waitFor();
  await scrollTo(page, 1 / 3);
  await grid.getByText(/^made-0333\d+/).first().waitFor();
  await grid.focus();
  await page.keyboard.press("Home");
  await grid.getByText("first.txt").waitFor();
  assert.ok((await grid.evaluate((element) => element.querySelectorAll("*").length)) < 600, "only what is in sight is drawn");

  await page.getByLabel("Search").fill("made-0777777");
  await page.getByText("1 object found").waitFor();
  await grid.getByRole("link").click();
  await page.getByText("one of a million").waitFor();
});

test("hostile names are shown as text with nothing hidden in them", async (t) => {
  const long = `${"long ".repeat(50)}.txt`;
  const { server, bucket } = await filled(t, new Map([
    ["<img src=x onerror=document.title='owned'>.txt", "1"],
    ["invoice\u202Efdp.exe", "2"],
    ["two\nlines.txt", "3"],
    [long, "4"],
    [`${"deep".repeat(50)}/${"deeper".repeat(40)}/${"deepest".repeat(34)}/${"down".repeat(60)}/x.txt`, "5"],
  ]));
  const page = await enter(t, server, { width: 360, height: 740 });
  await page.goto(`${server.url}/#/buckets/${bucket}`);
  const grid = page.getByRole("grid", { name: "Objects" });
  await grid.getByText("<img src=x onerror=document.title='owned'>.txt").waitFor();
  await grid.getByText("invoice⟨U+202E⟩fdp.exe").waitFor();
  await grid.getByText("two␊lines.txt").waitFor();
  assert.equal(await page.locator("img[src='x']").count(), 0);
  await page.getByLabel("Search").fill("x.txt");
  await grid.getByText(/x\.txt$/).first().waitFor();
  await grid.getByRole("link").first().click();
  await page.getByRole("heading", { level: 1 }).waitFor();
  const wider = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(wider <= 0, `the page is ${wider} px wider than the screen`);
  assert.doesNotMatch(await page.title(), /owned/);
});

test("folders can be opened, and selected objects are deleted after one question that names them", async (t) => {
  const { server, bucket } = await filled(t, new Map([["a/one.txt", "1"], ["a/b/two.txt", "2"], ["three.txt", "3"], ["four.txt", "4"]]));
  const page = await enter(t, server);
  await page.goto(`${server.url}/#/buckets/${bucket}`);
  const grid = page.getByRole("grid", { name: "Objects" });
  await grid.getByText("a/", { exact: true }).click();
  await grid.getByText("one.txt").waitFor();
  await grid.getByText("b/", { exact: true }).click();
  await grid.getByText("two.txt").waitFor();
  await page.getByRole("navigation", { name: "Folder" }).getByRole("link", { name: "All" }).click();
  await grid.getByLabel("Select three.txt").check();
  await page.getByRole("button", { name: "Delete" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByText("three.txt").waitFor();
  await dialog.getByRole("button", { name: "Delete 1 object" }).click();
  await grid.getByText("three.txt").waitFor({ state: "detached" });
  assert.equal((await server.api("GET", "/v1/overview")).objects, 3);
  await page.getByRole("button", { name: "Undo" }).click();
  await grid.getByText("three.txt").waitFor();
  assert.equal((await server.api("GET", "/v1/overview")).objects, 4);
});

test("a name of 1,024 characters is shown whole and breaks no page", async (t) => {
  const server = await serve(t, join(await scratch(t), "data"));
  const path = `${"k".repeat(1019)}.\u202Etxt`;
  assert.equal(path.length, 1024);
  const bucket = await server.api("POST", "/v1/buckets", { bucket_name: "box", bucket_schema: { properties: { content: { type: "text" } } } });
  const object = await server.api("POST", `/v1/buckets/${bucket.bucket_id}/objects`, { key_prefix: path, blobs: [] });
  const page = await enter(t, server, { width: 360, height: 740 });
  for (const address of [`/#/buckets/${bucket.bucket_id}`, `/#/buckets/${bucket.bucket_id}/objects/${object.object_id}`]) {
    await page.goto(server.url + address);
    await page.getByText("⟨U+202E⟩").first().waitFor();
    const wider = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(wider <= 0, `${address} is ${wider} px wider than the screen`);
  }
  await page.getByRole("heading", { level: 1, name: `${"k".repeat(1019)}.⟨U+202E⟩txt`, exact: true }).waitFor();
});

test("a dialog works by keyboard, Escape cancels it, and the focus returns to where it was", async (t) => {
  const { server, bucket } = await filled(t, new Map([["three.txt", "3"], ["four.txt", "4"]]));
  const page = await enter(t, server);
  await page.goto(`${server.url}/#/buckets/${bucket}`);
  const grid = page.getByRole("grid", { name: "Objects" });
  await grid.getByText("four.txt").waitFor();
  await tabTo(page, grid);
  await page.keyboard.press("Space");
  const ask = page.getByRole("region", { name: "Selected objects" }).getByRole("button", { name: "Delete" });
  await tabTo(page, ask);
  await page.keyboard.press("Enter");
  const dialog = page.getByRole("dialog", { name: "Delete 1 object?" });
  await dialog.getByText("four.txt").waitFor();
  assert.ok(await dialog.evaluate((element) => element.contains(document.activeElement)), "the focus is in the question");
  await page.keyboard.press("Escape");
  await dialog.waitFor({ state: "detached" });
  await eventually(() => ask.evaluate((element) => element === document.activeElement), "the focus back");
  assert.equal((await server.api("GET", "/v1/overview")).objects, 2);
});

test("selected objects, and a folder, are downloaded as one archive", async (t) => {
  const { server, bucket } = await filled(t, new Map([["a/one.txt", "1"], ["a/b/two.txt", "2"], ["three.txt", "3"], ["four.txt", "4"]]));
  const page = await enter(t, server);
  await page.goto(`${server.url}/#/buckets/${bucket}`);
  const grid = page.getByRole("grid", { name: "Objects" });
  /** The names in the archive that a press of `button` brings. */
  const archived = async (button) => {
    const [download] = await Promise.all([page.waitForEvent("download"), button.click()]);
    const zip = await readFile(await download.path());
    assert.equal(zip.readUInt32LE(0), 0x04034b50, "it is a zip archive");
    const names = zip.toString("latin1").match(/(?:a\/(?:b\/)?)?(?:one|two|three|four)\.txt/g) ?? [];
    return [...new Set(names)].sort();
  };
  await grid.getByLabel("Select three.txt").check();
  await grid.getByLabel("Select four.txt").check();
  assert.deepEqual(await archived(page.getByRole("region", { name: "Selected objects" }).getByRole("button", { name: "Download" })), ["four.txt", "three.txt"]);
  await page.getByText(/^Downloading .*: 2 objects/).waitFor();
  await grid.getByText("a/", { exact: true }).click();
  assert.equal((await archived(page.getByRole("button", { name: "Download this folder" }))).length, 2);
});

test("an object lists the objects that have the same content", async (t) => {
  const { server, bucket } = await filled(t, new Map([["here.json", "{\"a\": [1, 2]}"], ["there.json", "{\"a\": [1, 2]}"]]));
  const page = await enter(t, server);
  await page.goto(`${server.url}/#/buckets/${bucket}`);
  await page.getByRole("grid").getByText("here.json", { exact: true }).click();
  await page.getByText("Stored once for 2 objects.").waitFor();
  await page.getByRole("link", { name: "there.json", exact: true }).waitFor();
  await page.getByText("\"a\": [").waitFor();
});

test("an object says what was edited here, and names the sync that it came from by its place", async (t) => {
  const folder = await scratch(t);
  const source = join(folder, "trams");
  await mkdir(source);
  await writeFile(join(source, "one.txt"), "1");
  const server = await serve(t, join(folder, "data"));
  const sync = await server.sync("box", { source_path: source });
  await server.settled(sync, 1, 1);
  const { objects } = await server.api("GET", `/v1/buckets/${sync.bucket}/tree`);
  await server.api("PATCH", `/v1/buckets/${sync.bucket}/objects/${objects[0].object_id}`, { stars: 5 });
  const page = await enter(t, server);
  await page.goto(`${server.url}/#/buckets/${sync.bucket}`);
  await page.getByRole("grid").getByText("one.txt", { exact: true }).click();
  await page.getByText("stars (edited here)").waitFor();
  const origin = page.locator("section.panel", { hasText: "Where it came from" });
  await origin.getByRole("link", { name: source, exact: true }).click();
  await page.getByRole("heading", { level: 1, name: source }).waitFor();
  assert.doesNotMatch(await page.locator("main").innerText(), /sync_\w{20}/);
});

test("what is deleted goes to the trash, from where it is restored or deleted for good", async (t) => {
  const { server, bucket } = await filled(t, new Map([["one.txt", "1"], ["two.txt", "2"], ["three.txt", "3"]]));
  const page = await enter(t, server);
  await page.goto(`${server.url}/#/buckets/${bucket}`);
  const grid = page.getByRole("grid", { name: "Objects" });
  for (const name of ["one.txt", "two.txt"]) await grid.getByLabel(`Select ${name}`).check();
  await page.getByRole("button", { name: "Delete" }).click();
  await page.getByRole("dialog").getByText("The trash keeps what is deleted for 30 days").waitFor();
  await page.getByRole("dialog").getByRole("button", { name: "Delete 2 objects" }).click();
  await page.getByRole("link", { name: "Trash (2)" }).click();
  await page.getByLabel("Select one.txt").check();
  await page.getByRole("button", { name: "Restore 1 object" }).click();
  await page.getByText("1 object restored.").waitFor();
  assert.deepEqual(await findings(page), []);
  await page.getByRole("button", { name: "Delete everything for good" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Delete for good" }).click();
  await page.getByText("The trash is empty").waitFor();
  await page.getByRole("link", { name: "Back to the bucket" }).click();
  await grid.getByText("one.txt").waitFor();
  assert.equal((await server.api("GET", "/v1/overview")).objects, 2);
});
