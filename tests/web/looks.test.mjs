// What holds for every page: readable by all, in light and dark, on a phone, and small.
import assert from "node:assert/strict";
import { mkdir, readFile, readdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { enter, findings } from "./support/browser.mjs";
import { scratch, serve } from "./support/server.mjs";

async function furnished(t) {
  const folder = await scratch(t);
  const source = join(folder, "source");
  await mkdir(join(source, "2024"), { recursive: true });
  for (let index = 0; index < 12; index += 1) await writeFile(join(source, "2024", `note-${index}.txt`), `note ${index}`);
  await writeFile(join(source, "table.csv"), "name,age\nAda,36\n");
  await writeFile(join(source, "gone.txt"), "in the trash");
  const server = await serve(t, join(folder, "data"));
  const sync = await server.sync("notes", { source_path: source });
  await server.settled(sync, 1, 14);
  const { objects: all } = await server.api("GET", `/v1/buckets/${sync.bucket}/tree`);
  const [gone, objects] = [all.filter((object) => object.key_prefix === "gone.txt"), all.filter((object) => object.key_prefix !== "gone.txt")];
  await server.api("DELETE", `/v1/buckets/${sync.bucket}/objects/${gone[0].object_id}`);
  const deleted = await server.api("POST", `/v1/buckets/${sync.bucket}/syncs`, { connection_id: "conn_local", source_path: join(source, "2024") });
  await server.api("DELETE", `/v1/buckets/${sync.bucket}/syncs/${deleted.sync_config_id}`);
  const pipeline = await server.api("POST", "/v1/collections", { collection_name: "facts", source: { type: "bucket", bucket_ids: [sync.bucket] }, feature_extractor: { feature_extractor_name: "file_facts", version: "v1" } });
  return {
    server,
    pages: ["/#/", "/#/new", sync.page, `${sync.page}?show=failures`, `${sync.page}?show=configuration`, `${sync.page}?show=inside`,
      `${sync.page}/edit`, "/#/buckets", `/#/buckets/${sync.bucket}`, `/#/buckets/${sync.bucket}?view=grid`,
      ...objects.map((object) => `/#/buckets/${sync.bucket}/objects/${object.object_id}`), `/#/buckets/${sync.bucket}/syncs/${deleted.sync_config_id}`, "/#/pipelines", "/#/pipelines/new", `/#/pipelines/${pipeline.collection_id}`, `/#/pipelines/${pipeline.collection_id}/edit`, `/#/buckets/${sync.bucket}/trash`, "/#/connections", "/#/connections/conn_local", "/#/connections#form", "/#/sign-in/google_drive", "/#/activity", "/#/settings", "/#/nowhere"],
  };
}

// 640 px is 1280 at a zoom of 200 %.
for (const [scheme, width] of [["light", 1280], ["dark", 1280], ["light", 640], ["dark", 360], ["light", 360], ["dark", 3840]]) {
  test(`axe finds nothing, and nothing is wider than the screen: ${scheme}, ${width} px`, async (t) => {
    const { server, pages } = await furnished(t);
    const page = await enter(t, server, { scheme, width, height: 800 });
    const found = [];
    for (const address of pages) {
      await page.goto(server.url + address.replace("#form", ""));
      await page.getByRole("heading", { level: 1 }).first().waitFor({ state: "attached" });
      if (address.endsWith("#form")) await page.getByRole("button", { name: "New connection" }).click();
      await page.locator("main .page > :nth-child(2)").first().waitFor({ state: "attached" });
      found.push(...(await findings(page)).map((line) => `${address} ${line}`));
      const wider = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      if (wider > 0) found.push(`${address} is ${wider} px wider than the screen`);
    }
    assert.deepEqual(found, []);
  });
}

/** Every file of the interface. */
async function files() {
  const web = new URL("../../web/", import.meta.url).pathname;
  const all = await readdir(web, { recursive: true, withFileTypes: true });
  return all.filter((file) => file.isFile()).map((file) => join(file.parentPath, file.name));
}

test("the whole interface is under 330 KiB", async () => {
  let size = 0;
  for (const file of await files()) size += (await stat(file)).size;
  assert.ok(size < 330 * 1024, `${size} bytes`);
});

test("no type in the interface is any", async () => {
  const found = [];
  for (const file of (await files()).filter((name) => name.endsWith(".js"))) {
    for (const [comment] of (await readFile(file, "utf8")).matchAll(/\/\*\*[^]*?\*\//g)) {
      // The types of a comment are in its braces; between words, "any" is a word.
      const [types = ""] = /\{[^]*\}/.exec(comment) ?? [];
      if (/[^\w\s-]\s*\bany\b\s*[^\w\s]/.test(types)) found.push(`${file}: ${comment}`);
    }
  }
  assert.deepEqual(found, []);
});

test("a browser that is not signed in is told how to sign in", async (t) => {
  const { server } = await furnished(t);
  const page = await enter(t, server);
  await page.context().clearCookies();
  const faults = [];
  page.on("pageerror", (error) => faults.push(error));
  await page.route("**/v1/**", (route) => route.fulfill({ status: 401, contentType: "application/json", body: "{\"success\":false,\"status\":401,\"error\":{\"message\":\"no\"}}" }));
  page.removeAllListeners("console");
  await page.goto(`${server.url}/#/settings`);
  await page.getByText("This browser is not signed in").waitFor();
  await page.getByText("catchment open").waitFor();
  assert.deepEqual(faults, []);
});
