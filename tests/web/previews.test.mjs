// What the bytes of an object look like.
import assert from "node:assert/strict";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { enter } from "./support/browser.mjs";
import { movie, paper, picture, tone } from "./support/media.mjs";
import { eventually, scratch, serve } from "./support/server.mjs";

/**
 * A page that shows the one object that `bytes` become, and the Range headers that it asks with.
 */
async function shown(t, name, bytes) {
  const folder = await scratch(t);
  await mkdir(join(folder, "source"));
  await writeFile(join(folder, "source", name), bytes);
  const server = await serve(t, join(folder, "data"));
  const sync = await server.sync("box", { source_path: join(folder, "source") });
  await server.settled(sync, 1, 1);
  const { objects: [object] } = await server.api("GET", `/v1/buckets/${sync.bucket}/tree`);
  // What is damaged or of no kind has no thumbnail, and the console says so.
  const page = await enter(t, server, { faults: /status of 415/ });
  const ranges = [];
  page.on("response", (answer) => {
    if (answer.url().includes("/content")) ranges.push([answer.request().headers().range ?? "", answer.status()]);
  });
  await page.goto(`${server.url}/#/buckets/${sync.bucket}/objects/${object.object_id}`);
  await page.getByRole("heading", { level: 1, name }).waitFor();
  return { page, ranges };
}

test("a picture is shown", async (t) => {
  const { page } = await shown(t, "red.png", picture(32, 16));
  const image = page.getByRole("img", { name: "red.png" });
  await image.waitFor();
  await eventually(() => image.evaluate((element) => element.complete && element.naturalWidth === 32), "the picture");
});

test("audio plays from where a person seeks to, and only that part is fetched", async (t) => {
  const seconds = 3600;
  const { page, ranges } = await shown(t, "waves.wav", tone(seconds));
  const sound = page.locator("audio");
  await eventually(() => sound.evaluate((element) => element.duration > 3000), "the length");
  await sound.evaluate((element, to) => { element.currentTime = to; }, seconds - 60);
  await eventually(() => sound.evaluate((element) => !element.seeking && element.currentTime > 3000 && element.readyState >= 2), "the sound there");
  const from = ranges.filter(([, status]) => status === 206).map(([range]) => Number(/bytes=(\d+)-/.exec(range)?.[1] ?? 0));
  assert.ok(from.some((start) => start > 1_000_000), `asked for ${JSON.stringify(ranges)}`);
});

test("video is shown, and seeking works", async (t) => {
  const { page, ranges } = await shown(t, "film.webm", await movie(t));
  const film = page.locator("video");
  await eventually(() => film.evaluate((element) => element.videoWidth === 64 && element.readyState >= 2), "the first picture");
  await film.evaluate((element) => { element.currentTime = 0.5; });
  await eventually(() => film.evaluate((element) => !element.seeking && Math.abs(element.currentTime - 0.5) < 0.2), "the picture there");
  assert.ok(ranges.some(([range, status]) => range.startsWith("bytes=") && status === 206), JSON.stringify(ranges));
});

test("a PDF is shown in the browser's own viewer, within the page", async (t) => {
  const { page } = await shown(t, "paper.pdf", paper("Hello, catchment"));
  await page.locator("iframe[title='paper.pdf']").waitFor();
  const viewer = await eventually(async () => page.frames().find((frame) => frame.url().startsWith("chrome-extension://")), "the viewer");
  await viewer.getByText("paper.pdf").or(viewer.locator("viewer-toolbar")).first().waitFor();
  await viewer.locator("viewer-toolbar").locator("#pagelength, [id=pageLength]").or(viewer.locator("viewer-page-selector")).first().waitFor({ state: "attached" });
  await page.getByRole("link", { name: "Open in a new tab" }).waitFor();
});

test("text, JSON and CSV are each shown in their own form", async (t) => {
  const text = await shown(t, "readme.txt", "# Photos\n<b>not bold</b>\n");
  await text.page.getByText("<b>not bold</b>").waitFor();
  const json = await shown(t, "index.json", "{\"album\":\"Lisbon\",\"n\":[1,2]}");
  await json.page.getByText("\"album\": \"Lisbon\"").waitFor();
  const csv = await shown(t, "people.csv", "name,place\n\"Lopes, Ana\",Lisbon\n");
  await csv.page.getByRole("columnheader", { name: "place" }).waitFor();
  await csv.page.getByRole("cell", { name: "Lopes, Ana" }).waitFor();
});

test("JSON of a record a line is a table, and a line that is none is shown as it is", async (t) => {
  const { page } = await shown(t, "events.jsonl", "{\"id\":1,\"tags\":[\"a\"]}\nnot JSON\n{\"id\":2,\"who\":\"Ana\"}\n");
  await page.getByRole("columnheader", { name: "who" }).waitFor();
  await page.getByRole("cell", { name: "[\"a\"]" }).waitFor();
  await page.getByRole("cell", { name: "Ana" }).waitFor();
  await page.getByRole("cell", { name: "not JSON" }).waitFor();
});

test("Markdown is laid out, what is HTML in it stays text, and nothing in it is fetched", async (t) => {
  const { page } = await shown(t, "notes.md", "# Lisbon\n\n- a **tram**\n- [map](https://example.org/map)\n\n| day | place |\n| --- | --- |\n| 1 | Belém |\n\n<img src=x onerror=alert(1)> ![a tile](https://example.org/tile.png) [run](javascript:alert(1))\n\n```\nlet x = 1;\n```\n");
  const preview = page.getByRole("region", { name: "Content" });
  await preview.getByRole("heading", { name: "Lisbon" }).waitFor();
  await preview.getByRole("listitem").getByText("tram", { exact: true }).waitFor();
  await preview.getByRole("cell", { name: "Belém" }).waitFor();
  await preview.getByText("let x = 1;").waitFor();
  await preview.getByText("<img src=x onerror=alert(1)>").waitFor();
  assert.equal(await preview.getByRole("link").count(), 1, "only what leads to the web is a link");
  assert.match(await preview.getByRole("link").getAttribute("rel"), /noreferrer/);
  assert.equal(await preview.locator("img").count(), 0);
});

test("text without an extension is shown, and for bytes that a browser cannot show there is a plain word", async (t) => {
  const text = await shown(t, "LICENSE", "You may use it.\nÜberall.\n");
  await text.page.getByText("Überall.").waitFor();
  const bytes = await shown(t, "blob", Buffer.from([0, 1, 2, 3, 255, 254, 0, 9]));
  await bytes.page.getByText("This is not text, an image, audio or video, so the browser cannot show it.").waitFor();
  const raw = await shown(t, "IMG_1.heic", Buffer.from("not really"));
  await raw.page.getByText("The browser cannot show HEIC images. Download it").waitFor();
  const broken = await shown(t, "broken.png", Buffer.from("no picture"));
  await broken.page.getByText("The browser cannot show this image").waitFor();
});
