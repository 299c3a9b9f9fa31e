// The built program, serving a data directory of its own.
import { spawn, execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { atEnd } from "./ending.mjs";

const PROGRAM = process.env.CATCHMENT_PROGRAM ?? new URL("../../../target/debug/catchment", import.meta.url).pathname;
const run = promisify(execFile);

/** A folder that goes with the test. */
export async function scratch(t) {
  const folder = await mkdtemp(join(tmpdir(), "catchment-web-"));
  atEnd(t, () => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** Runs a command of the program on a data directory; answers what it printed. */
export async function command(dataDir, ...args) {
  const { stdout } = await run(PROGRAM, ["--data-dir", dataDir, ...args], { maxBuffer: 64 * 1024 * 1024 });
  return stdout;
}

/** Asks `what` until it answers something; fails after `seconds`. */
export async function eventually(what, said = "what was waited for", seconds = 60) {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    const answer = await what().catch((error) => (Date.now() > end ? Promise.reject(error) : null));
    if (answer) return answer;
    if (Date.now() > end) throw new Error(`${said} did not come about within ${seconds} s`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/**
 * A clock for a program, which can be put forward while that runs, as in
 * `await clock.forward("11m")`.
 */
export async function movingClock(t) {
  const file = join(await scratch(t), "clock");
  const forward = (by) => writeFile(file, `+${by}`);
  await forward("0s");
  const { stdout } = await run("faketime", ["-f", "+0s", "env"]);
  const preload = /^LD_PRELOAD=(.+)$/m.exec(stdout)[1];
  const env = { LD_PRELOAD: preload, FAKETIME_TIMESTAMP_FILE: file, FAKETIME_NO_CACHE: "1", FAKETIME_DONT_FAKE_MONOTONIC: "1", DONT_FAKE_MONOTONIC: "1" };
  return { env, forward };
}

/** Starts `catchment serve`, by its own clock where it has one. */
export async function serve(t, dataDir, { listen = "127.0.0.1:0", clock } = {}) {
  const env = { ...process.env, ...clock?.env };
  const child = spawn(PROGRAM, ["--data-dir", dataDir, "serve", "--listen", listen], { env, stdio: ["ignore", "pipe", "pipe"] });
  let said = "";
  let log = "";
  child.stdout.on("data", (text) => { said += text; });
  child.stderr.on("data", (text) => { log += text; });
  const ended = new Promise((resolve) => child.once("exit", resolve));
  const stop = async () => {
    child.kill("SIGTERM");
    await ended;
  };
  atEnd(t, stop);
  await eventually(async () => {
    if (child.exitCode !== null) throw new Error(`the server ended: ${log}`);
    return /login\?code=\S+/.test(said);
  }, "the server's address");
  const url = /http:\/\/[\w.:[\]]+/.exec(said)[0];
  const token = (await command(dataDir, "token")).trim();

  /** Asks the API; fails on any answer that is none. */
  async function api(method, path, body) {
    const answer = await fetch(url + path, {
      method,
      headers: { Authorization: `Bearer ${token}`, ...(body ? { "Content-Type": "application/json" } : {}) },
      body: body ? JSON.stringify(body) : undefined,
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    return text ? JSON.parse(text) : null;
  }

  /** Makes a bucket and a sync into it. */
  async function sync(name, settings) {
    const bucket = await api("POST", "/v1/buckets", { bucket_name: name, bucket_schema: { properties: {} } });
    const made = await api("POST", `/v1/buckets/${bucket.bucket_id}/syncs`, { connection_id: "conn_local", skip_duplicates: false, ...settings });
    return { bucket: bucket.bucket_id, id: made.sync_config_id, base: `/v1/buckets/${bucket.bucket_id}/syncs/${made.sync_config_id}`, page: `/#/buckets/${bucket.bucket_id}/syncs/${made.sync_config_id}` };
  }

  /**
   * Waits until a sync has ended so many runs, and its bucket has so many objects: a file that was
   * written a moment ago is taken by a run of its own.
   */
  const settled = (sync, runs = 1, objects = 0) => eventually(async () => {
    const { results } = await api("POST", `${sync.base}/jobs`, {});
    const { object_count } = await api("GET", `/v1/buckets/${sync.bucket}`);
    return object_count >= objects && results.filter((job) => job.completed_at).length >= runs && results.every((job) => job.status !== "running");
  }, `${runs} runs`, 120);

  return { url, token, api, sync, settled, stop, link: /http\S+login\?code=\S+/.exec(said)[0], log: () => log };
}
