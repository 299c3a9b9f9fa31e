// The npm package microsoft-onedrive-mock on a free port, which is the first line that it prints,
// behind a front that translates: the package has only the routes of /me/drive and no pre-signed
// addresses. The front passes requests for /drives/ID/... on as requests for /me/drive/..., and
// gives away an address of its own in place of content, which takes no credentials. All that is
// answered about items is the package's.
//
// Each line of its input is a method of the package's store with its arguments, as a JSON array; the
// answer is what the method returned, as JSON.
const { createApp, driveStore } = require("microsoft-onedrive-mock");
const { createServer } = require("node:http");
const { createInterface } = require("node:readline");

const app = createApp();
const server = createServer((request, response) => {
  const { pathname, search } = new URL(request.url, "http://front");
  const path = decodeURIComponent(pathname);
  const content = /^\/v1\.0\/drives\/[^/]+\/items\/([^/]+)\/content$/.exec(path);
  const download = /^\/download\/([^/]+)$/.exec(path);
  if (content) {
    const location = `http://${request.headers.host}/download/${content[1]}`;
    return response.writeHead(302, { Location: location }).end();
  }
  if (download) {
    if (request.headers.authorization) return response.writeHead(400).end("credentials leaked");
    request.headers.authorization = "Bearer valid-token";
    request.url = `/v1.0/me/drive/items/${download[1]}/content`;
  } else if (path === "/v1.0/me/drive") {
    request.url = "/v1.0/drives/mine";
  } else {
    // Places in a drive, and not what the package itself says of a drive.
    request.url = pathname.replace(/^\/v1\.0\/drives\/[^/]+\/(?=root|items)/, "/v1.0/me/drive/") + search;
  }
  return app(request, response);
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
createInterface({ input: process.stdin })
  .on("line", (line) => {
    const [method, ...given] = JSON.parse(line);
    console.log(JSON.stringify(driveStore[method](...given) ?? null));
  })
  .on("close", () => process.exit());
