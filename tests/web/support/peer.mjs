// A real S3 server: SeaweedFS, from the environment that `tests/run` makes, filled by boto3.
import { spawn } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import { atEnd } from "./ending.mjs";
import { eventually, scratch } from "./server.mjs";

export const VENV = process.env.CATCHMENT_TEST_VENV ?? new URL("../../../target/test-venv", import.meta.url).pathname;
export const support = (name) => new URL(`../../support/${name}`, import.meta.url).pathname;
export const KEYS = { access_key: "catchment", secret_key: "not-a-secret" };
export const BUCKET = "catchment-peer";

async function listening(server) {
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return server.address().port;
}

/** Ports that nobody has, all different. */
async function freePorts(count) {
  const servers = Array.from({ length: count }, () => createServer());
  const ports = await Promise.all(servers.map(listening));
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

/** Does the steps of `tests/support/prepare.py`. */
async function prepare(endpoint, steps) {
  const child = spawn(join(VENV, "bin/python"), [support("prepare.py")], { stdio: ["pipe", "pipe", "inherit"] });
  child.stdin.end(JSON.stringify({ endpoint, ...KEYS, bucket: BUCKET, steps }));
  let said = "";
  child.stdout.on("data", (text) => { said += text; });
  const code = await new Promise((resolve) => child.once("close", resolve));
  if (code !== 0) throw new Error(`prepare.py ended with ${code}`);
  return JSON.parse(said);
}

/** Starts it for one test, with `objects` (key to bytes) in its bucket; answers its address. */
export async function seaweedfs(t, objects) {
  const home = await scratch(t);
  await mkdir(join(home, "data"));
  await writeFile(join(home, "s3.json"), JSON.stringify({ identities: [{
    name: "catchment", credentials: [{ accessKey: KEYS.access_key, secretKey: KEYS.secret_key }], actions: ["Admin", "Read", "Write", "List", "Tagging"],
  }] }));
  const ports = await freePorts(8);
  const places = ["master", "volume", "filer", "s3"].flatMap((name, index) => [`-${name}.port=${ports[2 * index]}`, `-${name}.port.grpc=${ports[2 * index + 1]}`]);
  const child = spawn(join(VENV, "bin/python"), [
    support("keep.py"), join(VENV, "bin/weed"), "server", "-s3", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false",
    "-master.volumeSizeLimitMB=64", "-master.heartbeatInterval=100ms", "-volume.max=50", "-volume.preStopSeconds=0", "-s3.port.iceberg=0",
    "-s3.port.lance=0", `-dir=${join(home, "data")}`, `-s3.config=${join(home, "s3.json")}`, ...places,
  ], { stdio: ["pipe", "ignore", "pipe"], env: { ...process.env, HOME: home }, cwd: home });
  let log = "";
  child.stderr.on("data", (text) => { log = (log + text).slice(-4000); });
  const ended = new Promise((resolve) => child.once("exit", resolve));
  atEnd(t, () => { child.stdin.end(); return ended; });
  const endpoint = `http://127.0.0.1:${ports[6]}`;
  await eventually(async () => {
    if (child.exitCode !== null) throw new Error(`weed ended: ${log}`);
    return fetch(endpoint).then(() => true);
  }, "SeaweedFS");
  await prepare(endpoint, [
    { do: "create_bucket" },
    ...[...objects].map(([key, bytes]) => ({ do: "put", key, content: Buffer.from(bytes).toString("base64") })),
  ]);
  return endpoint;
}

/** A line to a server that lets `most` bytes through towards us, and the rest once it is opened. */
export async function narrow(t, endpoint, most) {
  let open = () => {};
  const opened = new Promise((resolve) => { open = resolve; });
  let passed = 0;
  const line = createServer((near) => {
    const far = connect(new URL(endpoint).port, "127.0.0.1");
    near.pipe(far);
    far.on("data", async (bytes) => {
      passed += bytes.length;
      if (passed > most) {
        far.pause();
        await opened;
        far.resume();
      }
      near.write(bytes);
    });
    far.on("end", () => near.end());
    for (const [one, other] of [[near, far], [far, near]]) one.on("error", () => other.destroy());
    near.on("close", () => far.destroy());
  });
  const port = await listening(line);
  atEnd(t, () => { open(); line.close(); });
  return { endpoint: `http://127.0.0.1:${port}`, open };
}
