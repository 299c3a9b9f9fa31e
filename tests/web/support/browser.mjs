// Real Chromium, and what every page is held to: no error on its console, no request to elsewhere.
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { atEnd } from "./ending.mjs";

const require = createRequire(import.meta.url);
const AXE = await readFile(require.resolve("axe-core/axe.min.js"), "utf8");
const FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync"];

/** The PDF viewer, which is a part of Chromium. */
const VIEWER = /^chrome(-extension)?:\/\//;

/**
 * With `CATCHMENT_WEB` set to a folder, scripts and styles come from there and not from the
 * program, so that a change of the interface can be tried without building it.
 */
async function fromDisk(context, server) {
  const folder = process.env.CATCHMENT_WEB;
  if (!folder) return;
  const file = (url) => join(folder, decodeURIComponent(url.pathname).replace(/^\/~[^/]*/, ""));
  await context.route((url) => url.href.startsWith(server.url) && /\.(js|css)$/.test(url.pathname) && existsSync(file(url)),
    (route) => route.fulfill({ path: file(new URL(route.request().url())), contentType: route.request().url().endsWith("css") ? "text/css" : "text/javascript" }));
}

/** A browser that goes with the test. */
export async function browser(t) {
  const launched = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: FLAGS });
  atEnd(t, () => launched.close());
  return launched;
}

/**
 * A page that has come in by the server's one-time link. `outages`: the server is stopped in this
 * test, and a request that finds nobody is no fault. `faults`: what the browser says on its console
 * of answers that the test provokes, which no page can keep it from saying. `elsewhere`: where else
 * the test lets the browser go.
 */
export async function enter(t, server, { scheme = "light", width = 1280, height = 860, outages = false, still = true, faults: expected = null, elsewhere = [] } = {}) {
  const context = await (await browser(t)).newContext({
    viewport: { width, height }, colorScheme: scheme, reducedMotion: still ? "reduce" : "no-preference", acceptDownloads: true,
  });
  await fromDisk(context, server);
  const page = await context.newPage();
  const faults = [];
  page.on("console", (message) => {
    const text = message.text();
    if (message.type() === "error" && !expected?.test(text) && !(outages && /ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED|ERR_CONNECTION_RESET|ERR_EMPTY|ERR_SOCKET_NOT_CONNECTED/.test(text))) faults.push(text);
  });
  page.on("pageerror", (error) => faults.push(error.stack ?? String(error)));
  page.on("request", (request) => {
    const at = request.url();
    if (!at.startsWith(server.url) && !elsewhere.some((place) => at.startsWith(place)) && !at.startsWith("blob:") && !at.startsWith("data:") && !VIEWER.test(at)) faults.push(`a request to ${at}`);
  });
  atEnd(t, () => assert.deepEqual(faults, [], "faults of the page"));
  page.setDefaultTimeout(process.env.CATCHMENT_WEB ? 10_000 : 30_000);
  await page.goto(server.link);
  await page.waitForURL(`${server.url}/**`);
  await page.getByRole("navigation", { name: "Main" }).waitFor();
  return page;
}

/** What axe finds, as lines. */
export async function findings(page) {
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, {
    runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
  }));
  return violations.map((one) => `${one.id}: ${one.help}: ${one.nodes.map((node) => node.target.join(" ")).slice(0, 4).join(" | ")}`);
}

/**
 * Presses Tab until `locator` has the focus: what cannot be reached so cannot be used by keyboard.
 */
export async function tabTo(page, locator, most = 80) {
  for (let step = 0; step < most; step += 1) {
    if (await locator.evaluate((element) => element === document.activeElement).catch(() => false)) return;
    await page.keyboard.press("Tab");
  }
  throw new Error(`${locator} cannot be reached by Tab`);
}
