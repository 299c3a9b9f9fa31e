// A sync in the hands of a person.
import assert from "node:assert/strict";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { enter, tabTo } from "./support/browser.mjs";
import { s3 } from "./support/s3.mjs";
import { eventually, scratch, serve } from "./support/server.mjs";

async function withFolder(t, files) {
  const folder = await scratch(t);
  const source = join(folder, "source");
  await mkdir(source);
  for (let index = 0; index < files; index += 1) await writeFile(join(source, `file-${String(index).padStart(3, "0")}.txt`), `content ${index}`);
  const server = await serve(t, join(folder, "data"));
  const sync = await server.sync("box", { source_path: source });
  await server.settled(sync, 1, files);
  return { source, server, sync };
}

async function connect(server, endpoint_url) {
  const connection = await server.api("POST", "/v1/organizations/connections", {
    name: "faulty", provider_type: "s3",
    provider_config: { endpoint_url, region: "us-east-1", credentials: { type: "access_key", access_key_id: "AKIAEXAMPLE", secret_access_key: "secretsecretsecret" } },
  });
  return connection.connection_id;
}

test("a sync can be paused with a reason, resumed, and run now", async (t) => {
  const { server, sync } = await withFolder(t, 2);
  const page = await enter(t, server);
  await page.goto(server.url + sync.page);
  await page.getByRole("button", { name: "Pause" }).click();
  await page.getByRole("dialog").getByLabel(/Why/).fill("moving the disk");
  await page.getByRole("dialog").getByRole("button", { name: "Pause" }).click();
  await page.getByText("moving the disk").waitFor();
  const paused = await server.api("GET", sync.base);
  assert.equal(paused.pause_reason, "moving the disk");
  assert.ok(await page.getByRole("button", { name: "Run now" }).isDisabled());

  await page.getByRole("button", { name: "Resume" }).click();
  await page.getByRole("button", { name: "Pause" }).waitFor();
  assert.equal((await server.api("GET", sync.base)).paused, false);
  // What is resumed is due: while that run is under way, no other one is started.
  const isThrough = ({ sync_run_counter, status }) =>
    sync_run_counter > paused.sync_run_counter && !["QUEUED", "IN_PROGRESS"].includes(status);
  await eventually(async () => isThrough(await server.api("GET", sync.base)), "the run that was due");

  const before = (await server.api("GET", sync.base)).sync_run_counter;
  await page.getByRole("button", { name: "Run now" }).click();
  await page.getByText("A run was started.").waitFor();
  await eventually(async () => (await server.api("GET", sync.base)).sync_run_counter > before, "a run");
});

test("the progress of a run moves while it runs", async (t) => {
  const folder = await scratch(t);
  const objects = new Map(Array.from({ length: 60 }, (_, index) => [`clip-${index}.bin`, "x".repeat(50_000 + index)]));
  let released = () => {};
  const hold = new Promise((resolve) => { released = resolve; });
  let given = 0;
  const endpoint = await s3(t, objects, async () => { given += 1; if (given > 20) await hold; return null; });
  const server = await serve(t, join(folder, "data"));
  const page = await enter(t, server);
  const connection_id = await connect(server, endpoint);
  await server.sync("clips", { connection_id, source_path: "stuff" });

  const card = page.getByRole("region", { name: "Running now" }).getByRole("article");
  await card.waitFor();
  await card.getByRole("listitem").first().waitFor();
  const bar = card.getByRole("progressbar");
  const share = async () => Number((await bar.getAttribute("aria-valuenow")) ?? 0);
  await eventually(async () => (await share()) > 0, "the bar's first step");
  const before = await share();
  assert.ok(before < 100, `${before} % while files are held back`);
  released();
  await page.getByRole("row", { name: /clips/ }).getByText("Up to date").waitFor();
  await card.waitFor({ state: "detached" });
});

test("entries that failed are shown with their reason, and copied once they are retried", async (t) => {
  const folder = await scratch(t);
  let refuses = true;
  const objects = new Map([["good.txt", "fine"], ["locked.txt", "hidden"]]);
  const endpoint = await s3(t, objects, async (key) => (refuses && key === "locked.txt" ? 403 : null));
  const server = await serve(t, join(folder, "data"));
  const connection_id = await connect(server, endpoint);
  const sync = await server.sync("stuff", { connection_id, source_path: "stuff" });
  await server.settled(sync);
  const page = await enter(t, server);
  await page.getByRole("link", { name: "See why" }).click();
  const row = page.getByRole("row", { name: /locked\.txt/ });
  await row.getByText("Not allowed").waitFor();
  refuses = false;
  await row.getByRole("button", { name: /^Retry/ }).click();
  await page.getByText("It will be retried now.").waitFor();
  await page.getByRole("button", { name: "Run now" }).click().catch(() => {});
  await page.getByText("Nothing failed").waitFor();
  const { objects: count } = await server.api("GET", "/v1/overview");
  assert.equal(count, 2);
});

test("no page shows in green what has failed entries", async (t) => {
  const folder = await scratch(t);
  const objects = new Map([["good.txt", "fine"], ["locked.txt", "hidden"]]);
  const endpoint = await s3(t, objects, async (key) => (key === "locked.txt" ? 403 : null));
  const server = await serve(t, join(folder, "data"));
  const connection_id = await connect(server, endpoint);
  const sync = await server.sync("stuff", { connection_id, source_path: "stuff" });
  await server.settled(sync);
  const page = await enter(t, server);
  const row = page.getByRole("region", { name: "Syncs" }).getByRole("row", { name: /stuff/ });
  await row.getByText("Done, with failures").waitFor();
  await row.getByRole("img", { name: "1 run, 0 failed, 1 incomplete" }).waitFor();
  for (const [address, words] of [[sync.page, "Done, with failures"], ["/#/activity", /A run ended, with failures: /]]) {
    await page.goto(server.url + address);
    await page.getByText(words).first().waitFor();
    assert.deepEqual(await page.locator(".badge.good, .log .good").allInnerTexts(), [], address);
  }
});

test("several entries that failed can be selected and retried together", async (t) => {
  const folder = await scratch(t);
  const refused = new Set(["a.txt", "b.txt", "c.txt"]);
  const objects = new Map(["a.txt", "b.txt", "c.txt", "fine.txt"].map((key) => [key, `content of ${key}`]));
  const endpoint = await s3(t, objects, async (key) => (refused.has(key) ? 403 : null));
  const server = await serve(t, join(folder, "data"));
  const connection_id = await connect(server, endpoint);
  const sync = await server.sync("stuff", { connection_id, source_path: "stuff" });
  await server.settled(sync);
  const page = await enter(t, server);
  await page.goto(`${server.url}${sync.page}?show=failures`);
  for (const key of ["a.txt", "b.txt"]) await page.getByRole("row", { name: key }).getByRole("checkbox").check();
  for (const key of ["a.txt", "b.txt"]) refused.delete(key);
  await page.getByRole("button", { name: "Retry 2 entries" }).click();
  await page.getByText("They will be retried now.").waitFor();
  await server.api("POST", `${sync.base}/trigger`, {});
  await page.getByRole("row", { name: "a.txt" }).waitFor({ state: "detached" });
  await page.getByRole("row", { name: "b.txt" }).waitFor({ state: "detached" });
  await page.getByRole("row", { name: "c.txt" }).waitFor();
  assert.equal((await server.api("GET", "/v1/overview")).objects, 3);
});

test("a lease can be revoked after a warning, and its worker can write nothing more", async (t) => {
  const folder = await scratch(t);
  const objects = new Map([["first.txt", "first"], ["slow.txt", "slow"]]);
  let released = () => {};
  const hold = new Promise((resolve) => { released = resolve; });
  let holds = true;
  const endpoint = await s3(t, objects, async (key) => { if (holds && key === "slow.txt") await hold; return null; });
  const server = await serve(t, join(folder, "data"));
  const connection_id = await connect(server, endpoint);
  const sync = await server.sync("stuff", { connection_id, source_path: "stuff" });
  const first = await eventually(async () => {
    const state = await server.api("GET", sync.base);
    return state.locked ? state : null;
  }, "a run that holds the lease");
  const page = await enter(t, server);
  await page.goto(`${server.url}${sync.page}?show=inside`);
  await page.getByText(first.locked_by_worker_id).waitFor();
  await page.getByRole("button", { name: "Unlock" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByText("A worker that is still running can write nothing more").waitFor();
  holds = false;
  await dialog.getByRole("button", { name: "Unlock" }).click();
  await dialog.waitFor({ state: "detached" });
  // The next run, which is due at once, goes on without the one that is held up.
  await eventually(async () => (await server.api("GET", "/v1/overview")).objects === 2, "the next run's objects");
  assert.notEqual((await server.api("GET", sync.base)).locked_at, first.locked_at);
  released();
  await server.settled(sync, 2);
  const { results } = await server.api("POST", `${sync.base}/jobs`, {});
  assert.deepEqual(results.map((job) => job.status), ["completed", "interrupted"]);
});

test("held removals name the objects, which are removed once approved", async (t) => {
  const { source, server, sync } = await withFolder(t, 20);
  for (let index = 0; index < 15; index += 1) await rm(join(source, `file-${String(index).padStart(3, "0")}.txt`));
  await server.api("POST", `${sync.base}/trigger`, {});
  const page = await enter(t, server);
  const card = page.getByRole("region", { name: "Needs attention" }).getByRole("article");
  await card.getByText("15 objects of 20").waitFor();
  await card.getByRole("button", { name: "Remove them" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByText("file-003.txt").waitFor();
  await dialog.getByRole("button", { name: "Remove 15 objects" }).click();
  await card.waitFor({ state: "detached" });
  await eventually(async () => (await server.api("GET", "/v1/overview")).objects === 5, "the removal");
});

test("an emptied source keeps its objects until somebody decides", async (t) => {
  const { source, server, sync } = await withFolder(t, 3);
  for (let index = 0; index < 3; index += 1) await rm(join(source, `file-00${index}.txt`));
  await server.api("POST", `${sync.base}/trigger`, {});
  const page = await enter(t, server);
  const card = page.getByRole("region", { name: "Needs attention" }).getByRole("article");
  await card.getByText("The source is empty and was not before.").waitFor();
  assert.equal((await server.api("GET", "/v1/overview")).objects, 3);
  assert.deepEqual(await page.getByRole("region", { name: "Syncs" }).locator(".badge.good").allInnerTexts(), []);
  await card.getByRole("button", { name: "Remove them" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Remove 3 objects" }).click();
  await card.waitFor({ state: "detached" });
  await eventually(async () => (await server.api("GET", "/v1/overview")).objects === 0, "the removal");
});

test("a source that fails is seen at once: the attempt, when it comes, and the reason; then that it failed", async (t) => {
  const folder = await scratch(t);
  let status = null;
  const endpoint = await s3(t, new Map([["one.txt", "1"]]), undefined, async () => status);
  const server = await serve(t, join(folder, "data"));
  const connection_id = await connect(server, endpoint);
  const sync = await server.sync("stuff", { connection_id, source_path: "stuff" });
  await server.settled(sync, 1, 1);
  const page = await enter(t, server);
  await page.goto(server.url + sync.page);
  status = 500;
  await server.api("POST", `${sync.base}/trigger`, {});
  await page.getByText(/^Attempt [2-9] at \d\d:\d\d.*: .*InternalError/).waitFor();
  status = 403;
  await page.getByText("Ended by an error before anything was done").first().waitFor();
  assert.equal(await page.getByText("Nothing to do").count(), 0);
  await page.getByText("Failed", { exact: true }).first().waitFor();
});

test("an edit of the filters that removes objects says so, names them, and asks", async (t) => {
  const { server, sync } = await withFolder(t, 4);
  const page = await enter(t, server);
  await page.goto(server.url + sync.page);
  await page.getByRole("link", { name: "Edit" }).click();
  await page.getByText("4 unchanged").last().waitFor();
  await page.getByLabel("Include").fill("file-000.txt");
  await page.getByText("3 to remove").waitFor();
  assert.equal((await server.api("GET", sync.base)).file_filters, null);
  await page.getByText("Saving this removes 3 objects from the bucket").waitFor();
  await page.getByRole("button", { name: "Save, and remove 3 objects" }).click();
  const dialog = page.getByRole("dialog", { name: "Remove 3 objects from the bucket?" });
  await dialog.getByText("file-003.txt").waitFor();
  await dialog.getByRole("button", { name: "Cancel" }).click();
  assert.equal((await server.api("GET", sync.base)).file_filters, null, "cancelled, it changes nothing");
  await page.getByRole("button", { name: "Save, and remove 3 objects" }).click();
  await dialog.getByRole("button", { name: "Save, and remove 3 objects" }).click();
  await page.getByText("Saved.").waitFor();
  assert.deepEqual((await server.api("GET", sync.base)).file_filters.include_patterns, ["file-000.txt"]);
});

test("the page notices that the server stopped, and reconnects by itself", async (t) => {
  const { server, sync } = await withFolder(t, 1);
  const folder = (await server.api("GET", "/v1/settings")).data_dir;
  const page = await enter(t, server, { outages: true });
  await page.getByRole("row", { name: /box/ }).waitFor();
  await server.stop();
  await page.getByText("Catchment is not responding.").waitFor();
  const again = await serve(t, folder, { listen: new URL(server.url).host });
  await page.getByText("Catchment is not responding.").waitFor({ state: "detached" });
  await again.api("POST", `${sync.base}/pause`, { reason: "after the restart" });
  await page.getByRole("row", { name: /box/ }).getByText("Paused", { exact: true }).waitFor();
});

test("objects whose removals are rejected stay, and are not asked about again", async (t) => {
  const { source, server, sync } = await withFolder(t, 20);
  for (let index = 0; index < 15; index += 1) await rm(join(source, `file-${String(index).padStart(3, "0")}.txt`));
  await server.api("POST", `${sync.base}/trigger`, {});
  const page = await enter(t, server);
  await page.goto(server.url + sync.page);
  const held = page.getByRole("region", { name: "Held removals" });
  await held.getByText("file-003.txt").waitFor();
  await held.getByRole("button", { name: "Keep them" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Keep them" }).click();
  await held.waitFor({ state: "detached" });
  assert.equal((await server.api("GET", "/v1/overview")).objects, 20);
});

test("arrow keys move through the history, and a table below it says the same", async (t) => {
  const { source, server, sync } = await withFolder(t, 3);
  await writeFile(join(source, "later.txt"), "later");
  await server.api("POST", `${sync.base}/trigger`, {});
  await eventually(async () => (await server.api("GET", "/v1/overview")).objects === 4, "the second run");
  const page = await enter(t, server);
  await page.goto(server.url + sync.page);
  const chart = page.getByRole("listbox", { name: /Runs, oldest first/ });
  await tabTo(page, chart);
  await page.keyboard.press("Home");
  await page.locator(".chosen-run").getByText("3 added").waitFor();
  assert.match(await chart.getByRole("option", { selected: true }).getAttribute("aria-label"), /completed: 3 added/);
  await page.keyboard.press("ArrowRight");
  await page.locator(".chosen-run").getByText("3 added").waitFor({ state: "detached" });
  const table = page.getByRole("table", { name: "Runs, newest first" });
  await table.getByRole("cell", { name: "3 added" }).waitFor();
  await table.getByRole("cell", { name: /^1 added/ }).first().waitFor();
});

test("the configuration is shown as JSON and as a command that would create the same sync", async (t) => {
  const { source, server, sync } = await withFolder(t, 1);
  await server.api("PATCH", sync.base, { file_filters: { exclude_patterns: ["it's *.tmp"] } });
  const page = await enter(t, server);
  await page.goto(`${server.url}${sync.page}?show=configuration`);
  const json = JSON.parse(await page.locator(".command code").first().innerText());
  assert.equal(json.source_path, source);
  assert.deepEqual(json.file_filters, { exclude_patterns: ["it's *.tmp"] });
  const command = await page.locator(".command code").nth(1).innerText();
  assert.ok(command.startsWith(`curl -X POST '${server.url}/v1/buckets/${sync.bucket}/syncs'`), command);
  const body = /-d '(.*)'$/s.exec(command)[1].replaceAll("'\\''", "'");
  assert.deepEqual(JSON.parse(body), json);
});

test("a deleted sync is archived plainly: its objects stay and its history can be read", async (t) => {
  const { server, sync } = await withFolder(t, 2);
  const page = await enter(t, server);
  await page.goto(server.url + sync.page);
  await page.getByRole("button", { name: "Delete" }).click();
  await page.getByRole("dialog").getByText("the 2 objects in the bucket.").waitFor();
  await page.getByRole("dialog").getByRole("button", { name: "Delete the sync" }).click();
  await page.getByText("This sync was deleted and will not run again.").waitFor();
  await page.getByText("Archived", { exact: true }).waitFor();
  for (const name of ["Run now", "Pause", "Edit", "Delete"]) assert.equal(await page.getByRole("button", { name, exact: true }).count(), 0, name);
  await page.getByRole("table", { name: "Runs, newest first" }).getByText("2 added").waitFor();
  assert.equal((await server.api("GET", "/v1/overview")).objects, 2);

  await page.goto(`${server.url}/#/`);
  await page.getByRole("button", { name: "Deleted syncs" }).click();
  await page.getByRole("region", { name: "Deleted syncs" }).getByRole("link").first().click();
  await page.getByRole("table", { name: "Runs, newest first" }).getByText("2 added").waitFor();
});

test("the history has axes with dates and a named scale, and shows removals and holds", async (t) => {
  const { source, server, sync } = await withFolder(t, 20);
  await rm(join(source, "file-000.txt"));
  await server.api("POST", `${sync.base}/trigger`, {});
  await eventually(async () => (await server.api("GET", "/v1/overview")).objects === 19, "the removal");
  for (let index = 1; index < 16; index += 1) await rm(join(source, `file-${String(index).padStart(3, "0")}.txt`));
  await server.api("POST", `${sync.base}/trigger`, {});
  await eventually(async () => (await server.api("GET", sync.base)).held_removals, "the hold");
  const page = await enter(t, server);
  await page.goto(server.url + sync.page);
  const chart = page.locator(".chart");
  await chart.locator(".scale").getByText("20", { exact: true }).waitFor();
  await chart.locator(".scale").getByText("−1", { exact: true }).waitFor();
  assert.match(await chart.locator(".dates").innerText(), /\d\d:\d\d/);
  await page.getByText("Bar heights use a square-root scale").waitFor();
  assert.equal(await chart.locator("rect.removed:not([height='0'])").count(), 1);
  await chart.locator("path.held").first().waitFor({ state: "attached" });
  await page.locator(".legend").getByText("removals held").waitFor();
});
