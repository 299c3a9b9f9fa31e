// The authorization servers of Google and Microsoft, as far as a browser sees them: a page to agree
// or to refuse on, and tokens in exchange for a code. `tests/support/fake_authority.rs` checks
// more.
import { createHash, randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { atEnd } from "./ending.mjs";

/** Starts one, and writes the `config.toml` that leads to it into a data directory. */
export async function authority(t, dataDir) {
  const codes = new Map();
  const seen = [];
  const server = createServer(async (request, response) => {
    const url = new URL(request.url, "http://fake");
    const json = (status, body) => response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(body));
    if (url.pathname.endsWith("/authorize") || url.pathname === "/o/oauth2/v2/auth") {
      const query = Object.fromEntries(url.searchParams);
      const code = `canary-${randomUUID()}`;
      codes.set(code, query);
      const back = `${query.redirect_uri}?state=${encodeURIComponent(query.state)}`;
      return response.writeHead(200, { "Content-Type": "text/html" }).end(`<!doctype html><title>Consent</title><h1>Catchment wants to see your files</h1><a href="${back}&amp;code=${code}">Allow</a> <a href="${back}&amp;error=access_denied">Cancel</a>`);
    }
    if (url.pathname === "/drive/v3/about") return json(200, { user: { emailAddress: "me@example.org" } });
    if (url.pathname.startsWith("/v1.0/")) return json(200, { id: "1", name: "root", driveType: "business", webUrl: "https://x.example/d", folder: { childCount: 0 }, root: {}, parentReference: { driveId: "1" }, value: [] });
    if (!url.pathname.endsWith("/token")) return response.writeHead(404).end();
    let body = "";
    for await (const piece of request) body += piece;
    const form = Object.fromEntries(new URLSearchParams(body));
    seen.push(form);
    if (form.grant_type === "refresh_token") return json(200, { access_token: "canary-access", expires_in: 3599 });
    const granted = codes.get(form.code);
    codes.delete(form.code);
    const challenge = createHash("sha256").update(form.code_verifier ?? "").digest("base64url");
    if (!granted || granted.code_challenge !== challenge || granted.redirect_uri !== form.redirect_uri) return json(400, { error: "invalid_grant" });
    return json(200, { access_token: "canary-access", refresh_token: "canary-refresh", expires_in: 3599 });
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  atEnd(t, () => { server.closeAllConnections(); server.close(); });
  const url = `http://127.0.0.1:${server.address().port}`;
  const hosts = ["google_api", "google_token", "google_accounts", "microsoft_graph", "microsoft_login"];
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  await writeFile(join(dataDir, "config.toml"), `[hosts]\n${hosts.map((host) => `${host} = "${url}"\n`).join("")}`);
  return { url, seen };
}
