// Small pictures of objects, wherever objects are listed.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { promisify } from "node:util";
import { enter, findings } from "./support/browser.mjs";
import { movie, paper, picture } from "./support/media.mjs";
import { eventually, scratch, serve } from "./support/server.mjs";

const run = promisify(execFile);
const DRAWING = '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="20"><rect width="40" height="20" fill="red"/></svg>';

/** Waits until a picture has been drawn there. @param {import("playwright-core").Locator} where */
const isDrawn = (where) => eventually(() => where.locator("img").first().evaluate((image) => image.src.includes("/thumbnail") && image.complete && image.naturalWidth > 0), "the picture");

test("pictures, films, PDF, SVG and HEIC have their small picture in the list, the grid, the search, on their page and in the trash", async (t) => {
  const folder = await scratch(t);
  const source = join(folder, "source");
  await mkdir(source);
  await writeFile(join(source, "a.png"), picture(64, 32));
  await writeFile(join(source, "film.webm"), await movie(t));
  await writeFile(join(source, "paper.pdf"), paper("Hello"));
  await writeFile(join(source, "drawing.svg"), DRAWING);
  await run("heif-enc", ["-o", join(source, "photo.heic"), join(source, "a.png")]);
  const server = await serve(t, join(folder, "data"));
  const sync = await server.sync("box", { source_path: source });
  await server.settled(sync, 1, 5);
  const page = await enter(t, server);
  const names = ["a.png", "drawing.svg", "film.webm", "paper.pdf", "photo.heic"];

  await page.goto(`${server.url}/#/buckets/${sync.bucket}`);
  for (const name of names) await isDrawn(page.getByRole("row", { name: new RegExp(name) }));
  await page.getByRole("button", { name: "Grid", exact: true }).click();
  const tile = (/** @type {string} */ name) => page.getByRole("grid", { name: "Objects" }).locator(".tile").getByRole("link", { name });
  for (const name of names) await isDrawn(tile(name));
  await page.goto(`${server.url}/#/buckets/${sync.bucket}?search=paper`);
  await isDrawn(page.getByRole("row", { name: /paper\.pdf/ }));

  const { results } = await server.api("POST", `/v1/buckets/${sync.bucket}/objects/list`, {});
  for (const { object_id, key_prefix } of results) {
    await page.goto(`${server.url}/#/buckets/${sync.bucket}/objects/${object_id}`);
    await isDrawn(page.getByRole("heading", { level: 1, name: key_prefix }));
    // What a browser cannot show itself is at least that picture, large.
    if (key_prefix === "photo.heic") await isDrawn(page.getByRole("region", { name: "Preview" }));
  }
  assert.deepEqual(await findings(page), []);

  const gone = results.find(({ key_prefix }) => key_prefix === "paper.pdf").object_id;
  await server.api("DELETE", `/v1/buckets/${sync.bucket}/objects/${gone}`);
  await page.goto(`${server.url}/#/buckets/${sync.bucket}/trash`);
  await isDrawn(page.getByRole("row", { name: /paper\.pdf/ }));
});

test("documents and objects of the same content are shown with the small picture of what they come from", async (t) => {
  const folder = await scratch(t);
  const source = join(folder, "source");
  await mkdir(source);
  for (const name of ["a.png", "b.png"]) await writeFile(join(source, name), picture(64, 32));
  const server = await serve(t, join(folder, "data"));
  const sync = await server.sync("box", { source_path: source });
  await server.settled(sync, 1, 2);
  const made = await server.api("POST", "/v1/collections", {
    collection_name: "facts", source: { type: "bucket", bucket_ids: [sync.bucket] },
    feature_extractor: { feature_extractor_name: "file_facts", version: "v1" },
  });
  await server.api("POST", "/v1/collections/facts/trigger", {});
  await eventually(async () => (await server.api("POST", "/v1/collections/facts/documents/list", {})).results.length === 2, "the documents");
  const page = await enter(t, server);
  await page.goto(`${server.url}/#/pipelines/${made.collection_id}`);
  await isDrawn(page.getByRole("region", { name: "Documents" }).getByRole("row", { name: /a\.png/ }));
  const { results } = await server.api("POST", `/v1/buckets/${sync.bucket}/objects/list`, {});
  const first = results.find(({ key_prefix }) => key_prefix === "a.png").object_id;
  await page.goto(`${server.url}/#/buckets/${sync.bucket}/objects/${first}`);
  await isDrawn(page.getByRole("link", { name: "b.png" }));
  await page.goto(`${server.url}/#/pipelines/new?bucket=${sync.bucket}`);
  await isDrawn(page.getByText(/Tried on:/));
});

test("objects that failed in a pipeline are shown with their path and their small picture", async (t) => {
  const folder = await scratch(t);
  const source = join(folder, "source");
  await mkdir(source);
  await writeFile(join(source, "a.png"), picture(64, 32));
  await writeFile(join(source, "b.txt"), "words");
  const server = await serve(t, join(folder, "data"));
  const sync = await server.sync("box", { source_path: source });
  await server.settled(sync, 1, 2);
  const made = await server.api("POST", "/v1/collections", {
    collection_name: "titled", source: { type: "bucket", bucket_ids: [sync.bucket] },
    feature_extractor: {
      feature_extractor_name: "file_facts", version: "v1", field_passthrough: [{ source_path: "title", required: true }],
    },
  });
  await server.api("POST", "/v1/collections/titled/trigger", {});
  await eventually(async () => (await server.api("GET", "/v1/collections/titled")).failed === 2, "the failures");
  const page = await enter(t, server);
  await page.goto(`${server.url}/#/pipelines/${made.collection_id}?show=failures`);
  const failures = page.getByRole("region", { name: "Failures" });
  await failures.getByText("Which", { exact: true }).click();
  await isDrawn(failures.getByRole("link", { name: "a.png" }));
  await failures.getByRole("link", { name: "b.txt" }).click();
  await page.getByRole("heading", { level: 1, name: "b.txt" }).waitFor();
});
