// From objects to documents, in the hands of a person.
import assert from "node:assert/strict";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { enter, findings, tabTo } from "./support/browser.mjs";
import { picture } from "./support/media.mjs";
import { eventually, scratch, serve } from "./support/server.mjs";

/** A bucket of pictures and texts, and a page. */
async function filled(t, options) {
  const folder = await scratch(t);
  const source = join(folder, "source");
  await mkdir(join(source, "photos"), { recursive: true });
  for (let index = 0; index < 4; index += 1) await writeFile(join(source, "photos", `tram-${index}.png`), picture(32 + index, 16));
  await writeFile(join(source, "notes.txt"), "not a picture");
  const server = await serve(t, join(folder, "data"));
  const sync = await server.sync("box", { source_path: source });
  await server.settled(sync, 1, 5);
  return { server, sync, source, page: await enter(t, server, options) };
}

/** A pipeline made through the API, with all that is there processed. */
async function piped(t, options) {
  const made = await filled(t, options);
  const { server, sync } = made;
  const { collection_id } = await server.api("POST", "/v1/collections", {
    collection_name: "photo-facts", source: { type: "bucket", bucket_ids: [sync.bucket] },
    feature_extractor: { feature_extractor_name: "file_facts", version: "v1" },
  });
  await server.api("POST", `/v1/collections/${collection_id}/trigger`, {});
  await eventually(async () => (await server.api("GET", `/v1/collections/${collection_id}`)).document_count === 5, "the documents");
  return { ...made, collection_id, base: `/v1/collections/${collection_id}` };
}

test("a pipeline is made from a bucket, tried on three files without keeping anything, and saved with what is there", async (t) => {
  const { server, page } = await filled(t);
  await page.getByRole("link", { name: "Pipelines" }).click();
  await page.getByRole("link", { name: "New pipeline" }).first().click();
  await page.getByLabel("Kind").selectOption("image/");
  await page.getByText("4 objects go through it now.").waitFor();
  await page.getByRole("radio", { name: /file_facts/ }).check();
  await page.getByText("Nothing leaves this computer.").waitFor();
  await page.getByRole("button", { name: "Try", exact: true }).click();
  const tried = page.getByRole("article");
  await tried.first().getByText(/1 document in/).waitFor();
  assert.equal(await tried.count(), 3);
  await tried.first().getByText(/"width": 3\d/).waitFor();
  assert.equal((await server.api("GET", "/v1/collections")).results.length, 0, "a try keeps nothing");
  assert.deepEqual(await findings(page), []);
  await page.getByLabel("Name", { exact: true }).fill("photo-facts");
  await page.getByText(/Also the 4 objects that are here \(about .*, from the try\)/).waitFor();
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByRole("heading", { name: "photo-facts", level: 1 }).waitFor();
  await page.getByText("images of box").or(page.getByText(/images of/)).first().waitFor();
  await page.getByText("4 documents").waitFor();
  const [made] = (await server.api("GET", "/v1/collections")).results;
  assert.deepEqual([made.document_count, made.failed, made.waiting], [4, 0, 0]);
});

test("settings of an extractor are drawn from its schema, and documents carry the fields that were chosen", async (t) => {
  const { server, page } = await filled(t);
  await page.goto(`${server.url}/#/pipelines/new`);
  await page.getByLabel("Kind").selectOption("text/");
  await page.getByText("1 object goes through it now.").waitFor();
  await page.getByRole("radio", { name: /^text / }).check();
  const size = page.getByLabel("chunk size", { exact: true });
  for (const [typed, problem] of [["many", "A whole number"], ["50", "At least 100"]]) {
    await size.fill(typed);
    await page.getByText(problem, { exact: true }).waitFor();
  }
  await size.fill("120");
  await page.getByLabel("split by", { exact: true }).selectOption("characters");
  await page.getByLabel("Fields of the object that its documents carry").selectOption("some");
  await page.getByLabel("Which", { exact: true }).fill("key_prefix");
  await page.getByRole("button", { name: "Try", exact: true }).click();
  await page.getByRole("article").getByText(/"key_prefix": "notes\.txt"/).first().waitFor();
  await page.getByLabel("Name", { exact: true }).fill("words");
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByRole("heading", { name: "words", level: 1 }).waitFor();
  const { feature_extractor: saved } = await server.api("GET", "/v1/collections/words");
  assert.deepEqual([saved.parameters.chunk_size, saved.parameters.split_by], [120, "characters"]);
  await page.getByRole("columnheader", { name: "key_prefix" }).waitFor();
});

test("a new pipeline says where each extractor takes objects, and no address", async (t) => {
  const { page } = await filled(t);
  // What the list says of a service and of a program with a network.
  await page.route("**/features/extractors*", async (route) => {
    const answer = await route.fetch();
    const { results, ...rest } = await answer.json();
    const own = (feature_extractor_name, more) => ({ ...results[0], feature_extractor_name, source: "own", network: true, ...more });
    return route.fulfill({ response: answer, json: { ...rest, results: [...results, own("whisper", { not_confined: ["service"] }), own("fetcher", { not_confined: [] }), own("loose", { not_confined: ["files", "processes"] })] } });
  });
  await page.getByRole("link", { name: "Pipelines" }).click();
  await page.getByRole("link", { name: "New pipeline" }).first().click();
  await page.getByText("Nothing leaves this computer.").waitFor();
  await page.getByRole("radio", { name: /whisper/ }).check();
  await page.getByText("Sends each object to the service that the extractor whisper is set up with.").waitFor();
  await page.getByRole("radio", { name: /fetcher/ }).check();
  await page.getByText("The program of the extractor fetcher may use the network.").waitFor();
  assert.equal(await page.getByText("Nothing leaves this computer.").count(), 0);
  const loose = page.getByText("The kernel of this computer does not keep extractors from: files, processes.");
  assert.equal(await loose.count(), 0);
  await page.getByRole("radio", { name: /loose/ }).check();
  await loose.waitFor();
});

test("documents are a table that is searched, and lead to the objects that they come from", async (t) => {
  const { server, page, collection_id } = await piped(t);
  await page.goto(`${server.url}/#/pipelines/${collection_id}`);
  const table = page.getByRole("region", { name: "Documents" });
  await table.getByRole("link", { name: "photos/tram-0.png" }).waitFor();
  await table.getByRole("columnheader", { name: "mime_type" }).waitFor();
  await page.getByLabel("Search documents").fill("text plain");
  await page.getByText("1 document found").waitFor();
  await table.getByRole("link", { name: "notes.txt" }).click();
  await page.getByText("not a picture").waitFor();
  const beside = page.getByRole("region", { name: "Documents of photo-facts" });
  await beside.getByRole("cell", { name: "text/plain" }).waitFor();
  await beside.getByRole("button", { name: "Details" }).click();
  await beside.getByText("\"size_bytes\": 13").waitFor();
});

test("what failed is told by reason and can be retried, and the log of its batch can be read", async (t) => {
  const { server, page, sync, base, collection_id } = await piped(t);
  const { results: objects } = await server.api("POST", `/v1/buckets/${sync.bucket}/objects/list`, {});
  const [object] = objects;
  let retried = null;
  // An object fails here for as long as nobody retries it.
  await page.route(`**${base}`, async (route) => {
    const answer = await route.fetch();
    return route.fulfill({ response: answer, json: { ...(await answer.json()), failed: retried ? 0 : 1 } });
  });
  const failure = { bucket_id: sync.bucket, object_id: object.object_id, key_prefix: object.key_prefix, mime_type: "image/png", batch_id: "btch_of_it", error: "the file is damaged", error_type: "permanent", attempts: 1, timestamp: "2026-01-02T03:04:05Z", stderr: "bad header" };
  const group = { error_type: "permanent", error: "the file is damaged", count: 1, example_object_id: object.object_id };
  await page.route("**/failures?*", (route) => route.fulfill({ json: { collection_id, groups: [group], results: [failure], total: 1, limit: 20, offset: 0, has_more: false } }));
  page.on("request", (request) => { if (request.url().endsWith("/failures/retry")) retried = request.postDataJSON(); });
  await page.goto(`${server.url}/#/pipelines/${collection_id}?show=failures`);
  const shown = page.getByRole("region", { name: "Failures" }).getByRole("article");
  await shown.getByText("1 object: the file is damaged").waitFor();
  await shown.getByText("Cannot be read").waitFor();
  await shown.getByText("Which").click();
  await shown.getByText("bad header").waitFor();
  await shown.getByRole("button", { name: /^Retry these/ }).click();
  await page.getByText("Nothing failed").waitFor();
  assert.deepEqual(retried, { error_type: "permanent", error: "the file is damaged", retry_mode: "all" });
  await page.getByRole("link", { name: "Batches" }).click();
  await page.getByRole("button", { name: /^Log of the batch/ }).first().click();
  await page.getByRole("region", { name: "Log of the batch" }).waitFor();
});

test("a paused pipeline takes nothing, and once resumed all that came meanwhile", async (t) => {
  const { server, page, source, sync, base, collection_id } = await piped(t);
  await page.goto(`${server.url}/#/pipelines/${collection_id}`);
  await page.getByRole("button", { name: "Pause" }).click();
  await page.getByText("Paused", { exact: true }).first().waitFor();
  await writeFile(join(source, "later.txt"), "later");
  await server.api("POST", `${sync.base}/trigger`, {});
  await eventually(async () => (await server.api("GET", "/v1/overview")).objects === 6, "the object");
  assert.equal((await server.api("GET", base)).document_count, 5);
  await page.getByRole("button", { name: "Resume" }).click();
  await page.getByText("6 documents").waitFor();
});

test("pipelines can be used by keyboard, on a narrow screen and in dark colours", async (t) => {
  const { server, page, collection_id } = await piped(t, { scheme: "dark", width: 360, height: 740 });
  for (const address of ["/#/pipelines", "/#/pipelines/new", `/#/pipelines/${collection_id}`, `/#/pipelines/${collection_id}?show=failures`, `/#/pipelines/${collection_id}?show=batches`, `/#/pipelines/${collection_id}/edit`]) {
    await page.goto(server.url + address);
    await page.locator(address.endsWith(collection_id) ? ".documents td" : "main .page > :nth-child(2)").first().waitFor({ state: "attached" });
    assert.deepEqual(await findings(page), [], address);
    const wider = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    assert.ok(wider <= 0, `${address} is ${wider} px wider than the screen`);
  }
  await page.goto(`${server.url}/#/pipelines/${collection_id}?show=batches`);
  const log = page.getByRole("button", { name: /^Log of the batch/ }).first();
  await log.waitFor();
  await tabTo(page, log);
  await page.keyboard.press("Enter");
  await page.getByRole("region", { name: "Log of the batch" }).waitFor();
});
