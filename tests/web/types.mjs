// Writes `types/openapi.d.ts`: the API's types, from the document that the built program serves.
import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import openapiTS, { astToString } from "openapi-typescript";

const PROGRAM = process.env.CATCHMENT_PROGRAM ?? new URL("../../target/debug/catchment", import.meta.url).pathname;

const home = await mkdtemp(join(tmpdir(), "catchment-types-"));
const server = spawn(PROGRAM, ["--data-dir", join(home, "data"), "serve", "--listen", "127.0.0.1:0"], { stdio: ["ignore", "pipe", "pipe"] });
let log = "";
server.stderr.on("data", (text) => { log += text; });
const ended = new Promise((resolve) => server.once("exit", resolve));
try {
  let printed = "";
  for await (const text of server.stdout) {
    printed += text;
    if (/login\?code=/.test(printed)) break;
  }
  const [url] = /http:\/\/[\w.:[\]]+/.exec(printed) ?? [];
  if (!url) throw new Error(`the server did not start: ${log}`);
  const document = await (await fetch(`${url}/openapi.json`)).json();
  const types = await openapiTS(document, { emptyObjectsUnknown: true, defaultNonNullable: false });
  await writeFile(new URL("types/openapi.d.ts", import.meta.url), astToString(types));
} finally {
  server.kill("SIGTERM");
  await ended;
  await rm(home, { recursive: true, force: true });
}
