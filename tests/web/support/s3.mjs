// A tiny S3: one bucket whose objects are given, and keys that fail as long as the test wants.
import { createServer } from "node:http";
import { atEnd } from "./ending.mjs";

const escaped = (text) => text.replace(/[&<>]/g, (sign) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[sign]);

/**
 * Serves `objects` (key to text) as the bucket `stuff`. `gate(key)` may answer a status to fail
 * with, or a promise that is waited for; `listing()` a status for listings.
 */
export async function s3(t, objects, gate = async () => null, listing = async () => null) {
  const server = createServer(async (request, response) => {
    const url = new URL(request.url, "http://s3");
    const [, bucket, ...rest] = url.pathname.split("/");
    const key = decodeURIComponent(rest.join("/"));
    const xml = (text) => response.writeHead(200, { "Content-Type": "application/xml" }).end(`<?xml version="1.0"?>${text}`);
    if (!bucket) return xml("<ListAllMyBucketsResult><Buckets><Bucket><Name>stuff</Name></Bucket></Buckets></ListAllMyBucketsResult>");
    const refused = key ? null : await listing();
    if (refused) return response.writeHead(refused, { "Content-Type": "application/xml" }).end(`<Error><Code>${refused === 403 ? "AccessDenied" : "InternalError"}</Code></Error>`);
    if (!key) {
      const prefix = url.searchParams.get("prefix") ?? "";
      const keys = [...objects.keys()].filter((one) => one.startsWith(prefix)).sort();
      const row = (one) => `<Contents><Key>${escaped(encodeURIComponent(one))}</Key><Size>${objects.get(one).length}</Size><ETag>"${objects.get(one).length}-${one.length}"</ETag><LastModified>2024-05-01T10:00:00.000Z</LastModified><StorageClass>STANDARD</StorageClass></Contents>`;
      return xml(`<ListBucketResult><Name>${bucket}</Name><EncodingType>url</EncodingType><IsTruncated>false</IsTruncated><KeyCount>${keys.length}</KeyCount><MaxKeys>1000</MaxKeys>${keys.map(row).join("")}</ListBucketResult>`);
    }
    const status = await gate(key);
    if (status) return response.writeHead(status, { "Content-Type": "application/xml" }).end("<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>");
    const text = objects.get(key);
    if (text === undefined) return response.writeHead(404, { "Content-Type": "application/xml" }).end("<Error><Code>NoSuchKey</Code></Error>");
    return response.writeHead(200, { ETag: `"${text.length}-${key.length}"`, "Content-Length": text.length, "Last-Modified": "Wed, 01 May 2024 10:00:00 GMT" }).end(text);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  atEnd(t, () => { server.closeAllConnections(); server.close(); });
  return `http://127.0.0.1:${server.address().port}`;
}
