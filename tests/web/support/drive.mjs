// Google Drive as far as a page needs it: folders by their ids, exported documents, and a token for
// whoever asks.
// `tests/support/fake_drive.rs` has the rest of it.
import { mkdir, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";
import { atEnd } from "./ending.mjs";

export const FOLDER = "application/vnd.google-apps.folder";
export const ROOT = "0AMyDriveRoot";

/**
 * Serves `files` (`{id, name, parents, mimeType}`; what is `exported` of a document), and writes
 * the `config.toml` that leads to it.
 * `refuse` may give the token endpoint's error instead of a token; `account` is who signs in.
 */
export async function drive(t, dataDir, files, refuse = () => null, account = "ada@example.org") {
  const all = [{ id: ROOT, name: "My Drive", mimeType: FOLDER, parents: [] }, ...files];
  const server = createServer((request, response) => {
    const url = new URL(request.url, "http://fake");
    const json = (status, body) => response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(body));
    request.resume();
    if (url.pathname === "/token") return refuse() ? json(400, { error: refuse() }) : json(200, { access_token: "canary-access", expires_in: 3599, token_type: "Bearer" });
    const [, id] = /^\/drive\/v3\/files\/(.+)$/.exec(url.pathname) ?? [];
    if (url.pathname === "/drive/v3/about") return json(200, { user: { emailAddress: account } });
    if (url.pathname === "/drive/v3/drives") return json(200, { drives: [] });
    if (url.pathname === "/drive/v3/changes/startPageToken") return json(200, { startPageToken: "1" });
    const [, document] = /^(.+)\/export$/.exec(id ?? "") ?? [];
    if (document) return response.writeHead(200, { "Content-Type": url.searchParams.get("mimeType") }).end(all.find((file) => file.id === document).exported);
    if (url.pathname === "/drive/v3/changes") return json(200, { changes: [], newStartPageToken: "1" });
    if (id) {
      const found = all.find((file) => file.id === (id === "root" ? ROOT : decodeURIComponent(id)));
      return found ? json(200, found) : json(404, { error: { code: 404, message: "File not found", errors: [{ reason: "notFound" }] } });
    }
    const query = url.searchParams.get("q") ?? "";
    const [, parent] = /'([^']+)' in parents/.exec(query) ?? [];
    const wantsFolders = query.includes(`mimeType = '${FOLDER}'`);
    const found = all.filter((file) => (!parent || file.parents.includes(parent === "root" ? ROOT : parent)) && (!wantsFolders || file.mimeType === FOLDER));
    return json(200, { files: found.map(({ exported: _, ...file }) => file), incompleteSearch: false });
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  atEnd(t, () => { server.closeAllConnections(); server.close(); });
  const url = `http://127.0.0.1:${server.address().port}`;
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  await writeFile(join(dataDir, "config.toml"), `[hosts]\n${["google_api", "google_token", "google_accounts"].map((host) => `${host} = "${url}"\n`).join("")}`);
}

/** A connection of a person who signed in. */
export const signedIn = (server, name) => server.api("POST", "/v1/organizations/connections", {
  name, provider_type: "google_drive", test_before_save: false,
  provider_config: { credentials: { type: "oauth", client_id: "123.apps.googleusercontent.com", client_secret: "canary-secret", refresh_token: "canary-refresh" } },
});
