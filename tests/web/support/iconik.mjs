// A media library of Iconik as far as a page needs it: collections, assets of one file each, and a
// storage that gives their bytes to whoever has the address. `tests/support/fake_iconik.rs` has the
// rest of it.
import { createServer } from "node:http";
import { atEnd } from "./ending.mjs";

export const APP_ID = "app-of-the-tests";
export const AUTH_TOKEN = "canary-token-of-the-tests";

const DATE = "2026-05-01T10:00:00+00:00";

/**
 * Serves `collections` (`{id, title, parent}`) and `assets` (`{id, title, name, collections,
 * bytes}`); returns the address.
 */
export async function iconik(t, collections, assets) {
  let url = "";
  const collection = ({ id, title, parent = null }) => ({
    id, title, parent_id: parent, in_collections: parent ? [parent] : [], status: "ACTIVE", object_type: "collections", _sort: [id],
  });
  const asset = ({ id, title, collections: inside }) => ({
    id, title, type: "ASSET", status: "ACTIVE", object_type: "assets", media_type: "image", archive_status: "NOT_ARCHIVED",
    date_modified: DATE, in_collections: inside, versions: [{ id: `v-${id}`, version_number: 1 }], _sort: [1, id],
  });
  const file = ({ id, name, bytes }) => ({ id: `f-${id}`, name, status: "CLOSED", type: "FILE", size: bytes.length, format_id: "original", version_id: `v-${id}`, file_date_modified: DATE });
  const server = createServer(async (request, response) => {
    const { pathname, searchParams } = new URL(request.url, "http://fake");
    const json = (status, body) => response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(body));
    let text = "";
    for await (const part of request) text += part;
    const [, download] = /^\/storage\/(.+)$/.exec(pathname) ?? [];
    if (download) return response.writeHead(200, { "Content-Type": "application/octet-stream" }).end(assets.find((one) => one.id === download).bytes);
    if (request.headers["app-id"] !== APP_ID || request.headers["auth-token"] !== AUTH_TOKEN) return json(401, { errors: ["Token is invalid"] });
    if (pathname === "/API/search/v1/search/") {
      const { doc_types: [kind], filter, search_after: after } = JSON.parse(text);
      const within = filter?.terms?.find((term) => term.name === "in_collections");
      const wanted = within?.value_in ?? (within ? [within.value] : null);
      const found = kind === "collections" ? collections.map(collection)
        : assets.filter((one) => !wanted || one.collections.some((id) => wanted.includes(id))).map(asset);
      return json(200, { objects: after ? [] : found, total: found.length });
    }
    const [, contents] = /^\/API\/assets\/v1\/collections\/([^/]+)\/contents\/$/.exec(pathname) ?? [];
    if (contents) return json(200, { objects: searchParams.get("object_types") === "assets" ? assets.filter((one) => one.collections.includes(contents)).map(asset) : [], pages: 1 });
    const [, of, kind] = /^\/API\/files\/v1\/assets\/([^/]+)\/(files|formats)\/$/.exec(pathname) ?? [];
    const known = assets.find((one) => one.id === of);
    if (known) return json(200, { objects: kind === "files" ? [file(known)] : [], total: kind === "files" ? 1 : 0 });
    const [, wantsUrl] = /^\/API\/files\/v1\/assets\/([^/]+)\/files\/[^/]+\/download_url\/$/.exec(pathname) ?? [];
    if (wantsUrl) return json(200, { url: `${url}/storage/${wantsUrl}` });
    const [, one] = /^\/API\/assets\/v1\/(?:assets|collections)\/([^/]+)\/$/.exec(pathname) ?? [];
    const found = assets.filter(({ id }) => id === one).map(asset)[0] ?? collections.filter(({ id }) => id === one).map(collection)[0];
    return found ? json(200, found) : json(404, { errors: ["Not found"] });
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  atEnd(t, () => { server.closeAllConnections(); server.close(); });
  url = `http://127.0.0.1:${server.address().port}`;
  return url;
}
