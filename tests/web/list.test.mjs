// The list of a bucket as a place that one moves about in.
import assert from "node:assert/strict";
import { mkdir, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { enter, tabTo } from "./support/browser.mjs";
import { eventually, scratch, serve } from "./support/server.mjs";

/** A bucket with these files (path to text), shown in a page, and its list. */
async function listed(t, files, { query = "", ...options } = {}) {
  const folder = await scratch(t);
  const source = join(folder, "source");
  for (const [path, text] of files) {
    await mkdir(join(source, path, ".."), { recursive: true });
    await writeFile(join(source, path), text);
  }
  const server = await serve(t, join(folder, "data"));
  const sync = await server.sync("box", { source_path: source });
  await server.settled(sync, 1, files.size);
  const page = await enter(t, server, options);
  await page.goto(`${server.url}/#/buckets/${sync.bucket}${query}`);
  const grid = page.getByRole("grid", { name: "Objects" });
  await grid.getByRole("link").first().waitFor();
  const isFocused = () => grid.evaluate((element) => element === document.activeElement);
  return { server, sync, page, grid, source, isFocused };
}

const numbered = (index) => `file-${String(index).padStart(3, "0")}.txt`;
const many = (count, folder = "") => new Map(Array.from({ length: count }, (_, index) => [folder + numbered(index), `content ${index}`]));
const active = (grid) => grid.evaluate((element) => document.getElementById(element.getAttribute("aria-activedescendant"))?.innerText ?? "");

test("Back returns to the place in the list: scrolled, focused, and at the same object", async (t) => {
  const { page, grid, isFocused } = await listed(t, many(300));
  await tabTo(page, grid);
  for (let step = 0; step < 8; step += 1) await page.keyboard.press("PageDown");
  const place = await page.evaluate(() => scrollY);
  const object = await eventually(() => active(grid), "the object under the cursor");
  assert.ok(place > 2000, `scrolled to ${place}`);
  await grid.getByText(object.split("\n")[0]).waitFor();
  await page.keyboard.press("Enter");
  await page.getByText(/^content \d+$/).waitFor();
  assert.equal(await page.evaluate(() => scrollY), 0, "an object is shown from its top");
  await page.goBack();
  await eventually(async () => (await page.evaluate(() => scrollY)) === place, "the scroll");
  await eventually(isFocused, "the focus");
  assert.equal((await active(grid)).split("\n")[0], object.split("\n")[0]);
});

test("the keyboard stays in the list from folder to folder, there and back", async (t) => {
  const { page, grid, isFocused } = await listed(t, new Map([["a/one.txt", "1"], ["b/deep/two.txt", "2"], ["b/three.txt", "3"]]));
  await tabTo(page, grid);
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
  await grid.getByText("three.txt").waitFor();
  assert.ok(await isFocused());
  await page.keyboard.press("Enter");
  await grid.getByText("two.txt").waitFor();
  assert.ok(await isFocused());
  await page.keyboard.press("Backspace");
  await grid.getByText("three.txt").waitFor();
  await page.goBack();
  await page.goBack();
  await page.goBack();
  await grid.getByText("a/", { exact: true }).waitFor();
  assert.ok(await isFocused());
  assert.match(await active(grid), /^b\//, "at the folder that was entered");
});

test("an object leads to the previous and the next one as they were listed, and Back returns to the list", async (t) => {
  const { page, grid } = await listed(t, new Map([["a.txt", "first"], ["b.txt", "second, longer"], ["c.txt", "third, the longest of all"]]), { query: "?sort=largest" });
  await grid.getByRole("link", { name: "b.txt" }).click();
  await page.getByText("second, longer").waitFor();
  await page.getByRole("link", { name: "Next: a.txt" }).click();
  await page.getByText("first", { exact: true }).waitFor();
  assert.ok(await page.getByRole("button", { name: "Next" }).isDisabled());
  await page.getByRole("link", { name: "Previous: b.txt" }).waitFor();
  await page.keyboard.press("ArrowLeft");
  await page.getByText("second, longer").waitFor();
  await page.getByRole("link", { name: "Previous: c.txt" }).waitFor();
  await page.goBack();
  await grid.getByRole("link", { name: "c.txt" }).waitFor();
});

test("a range is selected with Shift, everything with Ctrl+A, folders too, and the selection survives other pages", async (t) => {
  const { server, page, grid } = await listed(t, new Map([...many(12), ["sub/one.txt", "1"], ["sub/two.txt", "2"]]));
  const selection = page.getByRole("region", { name: "Selected objects" });
  await tabTo(page, grid);
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Space");
  for (let step = 0; step < 3; step += 1) await page.keyboard.press("Shift+ArrowDown");
  await selection.getByText("4 objects selected").waitFor();
  await grid.getByLabel("Select sub/").check();
  await selection.getByText("1 folder and 4 objects selected").waitFor();
  await grid.getByText("sub/", { exact: true }).click();
  await grid.getByText("two.txt").waitFor();
  await selection.getByText("1 folder and 4 objects selected").waitFor();
  await page.goto(`${server.url}/#/activity`);
  await page.goBack();
  await selection.getByText("1 folder and 4 objects selected").waitFor();
  await page.goBack();
  await grid.getByLabel(`Select ${numbered(8)}`).click();
  await grid.getByLabel(`Select ${numbered(10)}`).click({ modifiers: ["Shift"] });
  await selection.getByText("1 folder and 7 objects selected").waitFor();
  await grid.focus();
  await page.keyboard.press("Control+a");
  await selection.getByText("1 folder and 12 objects selected").waitFor();
  await page.keyboard.press("Escape");
  await selection.waitFor({ state: "detached" });
  await grid.getByLabel("Select sub/").check();
  await selection.getByRole("button", { name: "Delete" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Delete 2 objects" }).click();
  await eventually(async () => (await server.api("GET", "/v1/overview")).objects === 12, "the folder's objects gone");
});

test("newest first is by the date that is shown, which is a date where it is older than a week", async (t) => {
  const { server, sync, page, grid, source } = await listed(t, new Map([["a.txt", "1"], ["b.txt", "2"], ["c.txt", "3"]]));
  const at = { "a.txt": "2019-03-05T12:00:00Z", "b.txt": "2023-07-09T12:00:00Z" };
  for (const [file, time] of Object.entries(at)) await utimes(join(source, file), new Date(time), new Date(time));
  await server.api("POST", `${sync.base}/trigger`, {});
  await grid.getByText("5 Mar 2019").waitFor();
  await page.getByLabel("Order").selectOption("newest");
  await eventually(async () => /^c\.txt[^]*ago|just now/.test(await grid.getByRole("row").first().innerText()), "the newest first");
  const rows = await grid.getByRole("row").allInnerTexts();
  assert.match(rows[1], /^b\.txt[^]*9 Jul 2023/);
  assert.match(rows[2], /^a\.txt[^]*5 Mar 2019/);
});

test("a search finds objects that have all its words in any order", async (t) => {
  const { page, grid } = await listed(t, new Map([["2024/lisbon/tram.jpg", "x"], ["2024/porto/bridge.jpg", "y"]]), { faults: /status of 415/ });
  await page.getByLabel("Search").fill("tram 2024");
  await page.getByText("1 object found").waitFor();
  await grid.getByText("2024/lisbon/tram.jpg").waitFor();
});

test("there is one scrollbar, and nothing is lost at a zoom of 200 %", async (t) => {
  const { page, grid } = await listed(t, many(200), { width: 640, height: 430 });
  const scrolling = await page.evaluate(() => [...document.querySelectorAll("main *")].filter((element) => element.scrollHeight > element.clientHeight + 1 && /auto|scroll/.test(getComputedStyle(element).overflowY)).length);
  assert.equal(scrolling, 0, "only the page scrolls");
  const row = grid.getByRole("row").nth(3);
  await row.scrollIntoViewIfNeeded();
  for (const text of [numbered(3), "9 B", /just now|ago/, "text/plain"]) assert.ok(await row.getByText(text).first().isVisible(), String(text));
  await page.evaluate(() => scrollTo(0, document.documentElement.scrollHeight));
  const last = grid.getByText(numbered(199));
  await last.waitFor();
  const under = await page.evaluate((top) => document.elementFromPoint(120, top)?.closest("nav") === null, (await last.boundingBox()).y + 4);
  assert.ok(under, "nothing covers the last object");
});
