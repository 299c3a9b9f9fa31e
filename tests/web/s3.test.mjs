// From a real S3 server to objects here.
import assert from "node:assert/strict";
import { join } from "node:path";
import test from "node:test";
import { enter } from "./support/browser.mjs";
import { BUCKET, KEYS, narrow, seaweedfs } from "./support/peer.mjs";
import { eventually, scratch, serve } from "./support/server.mjs";

test("a newcomer connects to S3, is told why a wrong key is refused, browses, previews, and syncs", async (t) => {
  const endpoint = await seaweedfs(t, new Map([
    ["2024/lisbon/tram.txt", "a tram"], ["2024/lisbon/tile.txt", "a tile"], ["2024/porto/bridge.txt", "a bridge"], ["raw/large.bin", "x".repeat(100)],
  ]));
  const server = await serve(t, join(await scratch(t), "data"));
  const page = await enter(t, server, { faults: /status of 422/ });
  await page.getByRole("link", { name: /An S3 bucket/ }).click();
  await page.getByLabel("Name", { exact: true }).fill("Studio");
  await page.getByLabel("Endpoint").fill(endpoint);
  await page.getByLabel("Region").fill("us-east-1");
  await page.getByLabel("Access key id").fill(KEYS.access_key);
  await page.getByLabel("Secret access key").fill("wrong");
  await page.getByRole("button", { name: "Test and save" }).click();
  await page.getByRole("alert").filter({ hasText: "SignatureDoesNotMatch" }).first().waitFor();
  await page.getByLabel("Secret access key").fill(KEYS.secret_key);
  await page.getByRole("button", { name: "Test and save" }).click();
  await page.getByText("The connection works and was saved.").waitFor();

  const folders = page.getByRole("list", { name: "Folders" });
  await folders.getByRole("button", { name: BUCKET }).click();
  await folders.getByRole("button", { name: "2024" }).click();
  await folders.getByRole("button", { name: "lisbon" }).waitFor();
  assert.equal((await page.getByLabel("Bucket and prefix").inputValue()).replace(/\/$/, ""), `${BUCKET}/2024`);
  await page.getByText("3 to add").waitFor();
  await page.getByLabel("Exclude").fill("tile*");
  await page.getByText("2 to add").waitFor();
  assert.equal((await server.api("GET", "/v1/overview")).objects, 0, "looking takes nothing");

  await page.getByLabel("Its name").fill("trips");
  await page.getByRole("button", { name: "Start syncing" }).click();
  await page.getByText("2 added").first().waitFor();
  await page.getByRole("link", { name: "trips", exact: true }).click();
  await page.getByRole("grid").getByText("lisbon/", { exact: true }).click();
  await page.getByRole("grid").getByText("tram.txt").click();
  await page.getByText("a tram", { exact: true }).waitFor();
});

test("the progress of a run from S3 moves while it runs", async (t) => {
  const real = await seaweedfs(t, new Map(Array.from({ length: 40 }, (_, index) => [`clips/${index}.bin`, Buffer.alloc(100_000, index + 1)])));
  const line = await narrow(t, real, 1_500_000);
  const server = await serve(t, join(await scratch(t), "data"));
  const page = await enter(t, server);
  const { connection_id } = await server.api("POST", "/v1/organizations/connections", {
    name: "Studio", provider_type: "s3",
    provider_config: { endpoint_url: line.endpoint, region: "us-east-1", credentials: { type: "access_key", access_key_id: KEYS.access_key, secret_access_key: KEYS.secret_key } },
  });
  await server.sync("clips", { connection_id, source_path: `${BUCKET}/clips` });
  const card = page.getByRole("region", { name: "Running now" }).getByRole("article");
  await card.getByRole("listitem").first().waitFor();
  const bar = card.getByRole("progressbar");
  const share = async () => Number((await bar.getAttribute("aria-valuenow")) ?? 0);
  await eventually(async () => (await share()) > 0, "the bar's first step");
  assert.ok((await share()) < 100, "it waits for what is held back");
  line.open();
  await page.getByRole("row", { name: /clips/ }).getByText("Up to date").waitFor();
  await card.waitFor({ state: "detached" });
  assert.equal((await server.api("GET", "/v1/overview")).objects, 40);
});
