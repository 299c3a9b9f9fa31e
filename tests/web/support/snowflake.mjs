// `tests/support/fake_snowflake.py`, an imitation of Snowflake's SQL API, for one test.
import { spawn } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { atEnd } from "./ending.mjs";
import { VENV, support } from "./peer.mjs";

/** Starts it and writes the `config.toml` that leads to it; `control` tells it what to hold. */
export async function snowflake(t, dataDir) {
  const child = spawn(join(VENV, "bin/python"), [support("fake_snowflake.py")], { stdio: ["pipe", "pipe", "inherit"] });
  const ended = new Promise((resolve) => child.once("exit", resolve));
  atEnd(t, () => { child.kill(); return ended; });
  const line = await new Promise((resolve) => child.stdout.once("data", resolve));
  const url = `http://127.0.0.1:${JSON.parse(line).port}`;
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  await writeFile(join(dataDir, "config.toml"), `[hosts]\nsnowflake = "${url}"\n`);
  return { control: (what, body) => fetch(`${url}/control/${what}`, { method: "POST", body: JSON.stringify(body) }) };
}
