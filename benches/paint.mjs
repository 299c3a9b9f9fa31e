// How soon Home shows something of use, beside Syncthing's page: benches/run paint
//
// Both serve one folder that is up to date, to the same Chromium; each page is loaded again and
// again, in turns, and the largest contentful paint is taken: on Home that is the table of syncs.
// Prints medians, spreads and the ratio; exits 1 when Home's median is not under 150 ms.
import { spawn, execFile } from "node:child_process";
import { createServer } from "node:net";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { browser, enter } from "../tests/web/support/browser.mjs";
import { atEnd } from "../tests/web/support/ending.mjs";
import { eventually, scratch, serve } from "../tests/web/support/server.mjs";

const ROUNDS = Number(process.env.ROUNDS ?? 15);
const TARGET_MS = 150;
const run = promisify(execFile);

/** What the support of the browser's tests asks of a test: to be told of its end. */
const endings = [];
const bench = { after: (act) => endings.push(act) };

async function folder() {
  const at = await scratch(bench);
  await mkdir(join(at, "source"));
  for (let index = 0; index < 12; index += 1) await writeFile(join(at, "source", `note-${index}.txt`), `note ${index}`);
  return at;
}

async function home() {
  const at = await folder();
  const server = await serve(bench, join(at, "data"));
  const sync = await server.sync("notes", { source_path: join(at, "source") });
  await server.settled(sync);
  const page = await enter(bench, server);
  const ready = () => page.getByRole("row", { name: /notes/ }).waitFor();
  await ready();
  return { name: "catchment", page, ready };
}

async function syncthing() {
  const at = await folder();
  const state = join(at, "state");
  await run("syncthing", ["generate", "--home", state]);
  const address = await freeAddress();
  const child = spawn("syncthing", ["serve", "--home", state, "--gui-address", address, "--no-browser", "--no-upgrade"], {
    stdio: "ignore", env: { ...process.env, HOME: at, STNOUPGRADE: "1" },
  });
  const ended = new Promise((resolve) => child.once("exit", resolve));
  atEnd(bench, async () => { child.kill("SIGTERM"); await ended; });
  await eventually(async () => (await fetch(`http://${address}/`)).ok, "Syncthing's page");
  const page = await (await (await browser(bench)).newContext({ viewport: { width: 1280, height: 860 }, reducedMotion: "reduce" })).newPage();
  await page.goto(`http://${address}/`);
  const ready = () => page.locator("#folders .panel").first().waitFor();
  await ready();
  return { name: "syncthing", page, ready };
}

async function freeAddress() {
  const holder = createServer();
  await new Promise((resolve) => holder.listen(0, "127.0.0.1", resolve));
  const { port } = /** @type {any} */ (holder.address());
  await new Promise((resolve) => holder.close(resolve));
  return `127.0.0.1:${port}`;
}

/** Loads the page once more; answers when the largest thing on it was painted, in ms. */
async function paint({ page, ready }) {
  await page.reload();
  await ready();
  return page.evaluate(() => new Promise((resolve) => {
    new PerformanceObserver((list) => resolve(list.getEntries().at(-1).startTime)).observe({ type: "largest-contentful-paint", buffered: true });
  }));
}

const median = (times) => times.toSorted((a, b) => a - b)[Math.floor(times.length / 2)];

try {
  const peers = [await home(), await syncthing()];
  const times = new Map(peers.map(({ name }) => [name, []]));
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const peer of peers) times.get(peer.name).push(await paint(peer));
  }
  for (const [name, all] of times) console.log(`${name.padEnd(10)} ${median(all).toFixed(0)} ms (${Math.min(...all).toFixed(0)} to ${Math.max(...all).toFixed(0)})`);
  const [ours, theirs] = peers.map(({ name }) => median(times.get(name)));
  console.log(`ratio      ${(ours / theirs).toFixed(2)} x Syncthing; ${TARGET_MS} ms ${ours < TARGET_MS ? "reached" : "missed"}`);
  if (ours >= TARGET_MS) process.exitCode = 1;
} finally {
  for (const end of endings) await end();
}
