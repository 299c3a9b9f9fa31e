// A person's OneDrive through Microsoft Graph, as far as a page needs it: folders by their ids, one
// listing of everything, a site whose library it is too, and a token for whoever asks.
// `tests/support/fake_graph.rs` has the rest.
import { mkdir, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";
import { atEnd } from "./ending.mjs";

const DRIVE = "drive1";
const SITE = "contoso.sharepoint.com,site1,web1";
export const ROOT = "root1";

/**
 * Serves `items` (`{id, name, parent}`, with `text` those that are files), and writes the
 * `config.toml` that leads to it. `refuse` may return the error of a token endpoint that refuses.
 */
export async function oneDrive(t, dataDir, items, refuse = () => null) {
  let url = "";
  const root = { id: ROOT, name: "root", root: {}, folder: {}, parentReference: { driveId: DRIVE } };
  const told = ({ id, name, parent, text, webUrl }) => ({
    id, name, webUrl, parentReference: { driveId: DRIVE, id: parent }, eTag: `"${id},1"`, cTag: `"c:${id},1"`,
    fileSystemInfo: { lastModifiedDateTime: "2024-05-01T10:00:00Z" },
    ...(text === undefined ? { folder: {} } : { size: text.length, file: { mimeType: "text/markdown" }, "@microsoft.graph.downloadUrl": `${url}/download/${id}` }),
  });
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url, "http://fake");
    const path = decodeURIComponent(pathname).replace(/^\/v1\.0/, "");
    const json = (status, body) => response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(body));
    request.resume();
    if (path.endsWith("/token")) return refuse() ? json(400, { error: refuse(), error_description: "AADSTS50173" }) : json(200, { access_token: "canary-access", refresh_token: "canary-refresh", expires_in: 3599, token_type: "Bearer" });
    const site = { id: SITE, displayName: "Team", webUrl: "https://contoso.sharepoint.com/sites/Team", siteCollection: { hostname: "contoso.sharepoint.com" } };
    if (path === "/sites" || path === "/me/followedSites") return json(200, { value: [site] });
    if (path === "/sites/root" || path === "/sites/contoso.sharepoint.com:/sites/Team") return json(200, site);
    if (path === `/sites/${SITE}/drives`) return json(200, { value: [{ id: DRIVE, name: "Documents", webUrl: `${site.webUrl}/Shared%20Documents` }] });
    if (path === "/me/drive") return json(200, { id: DRIVE, driveType: "personal" });
    if (path === `/drives/${DRIVE}/root`) return json(200, root);
    if (path === `/drives/${DRIVE}/root/delta`) return json(200, { value: [root, ...items.map(told)], "@odata.deltaLink": `${url}/v1.0/drives/${DRIVE}/root/delta?token=1` });
    const [, download] = /^\/download\/(.+)$/.exec(path) ?? [];
    if (download) return response.writeHead(200, { "Content-Type": "text/markdown" }).end(items.find((item) => item.id === download).text);
    const [, way] = /^\/drives\/[^/]+\/root:\/(.+)$/.exec(path) ?? [];
    if (way) {
      const item = way.split("/").reduce((parent, name) => items.find((one) => one.parent === parent.id && one.name === name) ?? {}, root);
      return item.id ? json(200, told(item)) : json(404, { error: { code: "itemNotFound", message: "The resource could not be found." } });
    }
    const [, id, children] = /^\/drives\/[^/]+\/items\/([^/]+)(\/children)?$/.exec(path) ?? [];
    if (children) return json(200, { value: items.filter((item) => item.parent === id).map(told) });
    const found = id === ROOT ? root : items.filter((item) => item.id === id).map(told)[0];
    return found ? json(200, found) : json(404, { error: { code: "itemNotFound", message: "The resource could not be found." } });
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  atEnd(t, () => { server.closeAllConnections(); server.close(); });
  url = `http://127.0.0.1:${server.address().port}`;
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  await writeFile(join(dataDir, "config.toml"), `[hosts]\nmicrosoft_graph = "${url}"\nmicrosoft_login = "${url}"\n`);
}

/** A connection of a person who signed in. */
export const signedIn = (server, name) => server.api("POST", "/v1/organizations/connections", {
  name, provider_type: "sharepoint", test_before_save: false,
  provider_config: { credentials: { type: "delegated", tenant_id: "consumers", client_id: "11111111-2222-3333-4444-555555555555", refresh_token: "canary-refresh" } },
});
