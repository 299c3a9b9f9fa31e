// Providers that know things by id, and what a person can do when they fail or make one wait.
import assert from "node:assert/strict";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { enter } from "./support/browser.mjs";
import { scratch, serve } from "./support/server.mjs";
import { snowflake } from "./support/snowflake.mjs";

const REFUSED = { faults: /status of 4\d\d/ };

test("a key pair for Snowflake is made in the form, which shows the one statement that lets it in", async (t) => {
  const dataDir = join(await scratch(t), "data");
  const fake = await snowflake(t, dataDir);
  await fake.control("users", { "ORG-ACC.LOADER": { key: null, tokens: [] } });
  const server = await serve(t, dataDir);
  const page = await enter(t, server, REFUSED);
  await page.goto(`${server.url}/#/connections`);
  await page.getByRole("button", { name: "New connection" }).click();
  const form = page.getByRole("region", { name: "New connection" });
  await form.getByLabel("Kind").selectOption("snowflake");
  await form.getByLabel("Name", { exact: true }).fill("Sales");
  await form.getByLabel("Account", { exact: true }).fill("org-acc");
  await form.getByLabel("User", { exact: true }).fill("LOADER");
  await form.getByLabel("Warehouse").fill("LOAD_WH");
  assert.equal(await form.getByLabel("Private key").count(), 0, "nobody has to paste a key");
  await form.getByRole("button", { name: "Test and save" }).click();
  const panel = page.getByRole("region", { name: "Sales" });
  await panel.getByText("Run this one statement in Snowflake").waitFor();
  const statement = await panel.locator(".command code").innerText();
  const [, key] = /^ALTER USER "LOADER" SET RSA_PUBLIC_KEY='([\w+/=]+)';$/.exec(statement) ?? [];
  assert.ok(key, statement);
  await fake.control("users", { "ORG-ACC.LOADER": { key, tokens: [] } });
  await panel.getByRole("button", { name: "Test again" }).click();
  await panel.getByText("Connection test succeeded").waitFor();
  assert.doesNotMatch(await page.content(), /PRIVATE KEY/);
});

test("a table of Snowflake is browsed to, and its columns say which suit as key and watermark", async (t) => {
  const dataDir = join(await scratch(t), "data");
  const fake = await snowflake(t, dataDir);
  await fake.control("users", { "ORG-ACC.LOADER": { key: null, tokens: ["pat"] } });
  await fake.control("sql", { sql: ["CREATE DATABASE sales", "CREATE SCHEMA sales.shop", "CREATE TABLE sales.shop.orders (id INT PRIMARY KEY, updated_at TIMESTAMP_NTZ, note VARCHAR)"] });
  const server = await serve(t, dataDir);
  await server.api("POST", "/v1/organizations/connections", {
    name: "Sales", provider_type: "snowflake", test_before_save: false,
    provider_config: { account: "org-acc", warehouse: "LOAD_WH", credentials: { type: "username_password", username: "LOADER", password: "pat" } },
  });
  const page = await enter(t, server, REFUSED);
  await page.goto(`${server.url}/#/new`);
  await page.getByRole("radio", { name: /Sales/ }).check();
  const folders = page.getByRole("list", { name: "Folders" });
  const place = page.getByLabel("Table or view");
  for (const name of ["SALES", "SHOP"]) await folders.getByRole("button", { name }).click();
  await folders.getByRole("button", { name: "ORDERS" }).waitFor();
  assert.equal(await place.inputValue(), "", "neither a database nor a schema can be synced");
  await folders.getByRole("button", { name: "ORDERS" }).click();
  await folders.getByRole("listitem").filter({ hasText: "ID" }).getByText("suits primary key columns").waitFor();
  await folders.getByRole("listitem").filter({ hasText: "UPDATED_AT" }).getByText("suits incremental column").waitFor();
  assert.match(await place.inputValue(), /SALES.*SHOP.*ORDERS/);
});

test("a table without a key says so before it is synced and afterwards, and a run says how long a warehouse worked", async (t) => {
  const dataDir = join(await scratch(t), "data");
  const fake = await snowflake(t, dataDir);
  await fake.control("users", { "ORG-ACC.LOADER": { key: null, tokens: ["pat"] } });
  const columns = [["ID", "fixed", 0], ["LINE", "text", null]];
  await fake.control("table", { name: ["DB", "S", "ORDERS"], columns, key: ["ID"], rows: [["1", "a"]] });
  await fake.control("table", { name: ["DB", "S", "LOG"], columns, key: [], rows: [["1", "a"], ["2", "b"]] });
  const server = await serve(t, dataDir);
  await server.api("POST", "/v1/organizations/connections", {
    name: "Sales", provider_type: "snowflake", test_before_save: false,
    provider_config: { account: "org-acc", warehouse: "LOAD_WH", credentials: { type: "username_password", username: "LOADER", password: "pat" } },
  });
  const page = await enter(t, server, REFUSED);
  await page.goto(`${server.url}/#/new`);
  await page.getByRole("radio", { name: /Sales/ }).check();
  const place = page.getByLabel("Table or view");
  const preview = page.getByRole("complementary", { name: "Preview and summary" });
  const words = /declares no key, so each row is known by a hash of what is in it.*every change takes a pass over the whole table/;
  await place.fill("DB.S.ORDERS");
  await preview.getByText("1 to add").waitFor();
  assert.equal(await preview.getByText(words).count(), 0, "it has a key");
  await place.fill("DB.S.LOG");
  await preview.getByText(words).waitFor();
  await preview.getByText("2 to add").waitFor();
  await page.getByRole("button", { name: "Start syncing" }).click();
  await page.getByRole("heading", { name: "DB.S.LOG" }).waitFor();
  await page.getByRole("status").filter({ hasText: words }).waitFor();
  await page.getByRole("region", { name: "History" }).getByText(/\d+ requests · a warehouse worked [\d.]+ m?s/).waitFor({ timeout: 60_000 });
  await page.getByRole("status").filter({ hasText: words }).waitFor();
});

test("a sync that its provider makes wait says so and until when, and calls it no failure", async (t) => {
  const folder = await scratch(t);
  await mkdir(join(folder, "source"));
  await writeFile(join(folder, "source", "one.txt"), "1");
  const server = await serve(t, join(folder, "data"));
  const sync = await server.sync("box", { source_path: join(folder, "source") });
  await server.settled(sync);
  const page = await enter(t, server);
  const notices = [{ code: "waiting_for_provider", message: "Google Drive asked to be left alone" }];
  const until = new Date(Date.now() + 3_600_000).toISOString();
  // What the API says of such a sync, beside what is true of this one.
  await page.route("**/v1/overview", async (route) => {
    const answer = await route.fetch();
    const body = await answer.json();
    return route.fulfill({ response: answer, json: { ...body, syncs: body.syncs.map((row) => ({ ...row, notices, next_sync_at: until })) } });
  });
  await page.route(`**${sync.base}`, async (route) => {
    const answer = await route.fetch();
    return route.fulfill({ response: answer, json: { ...(await answer.json()), notices, next_sync_at: until } });
  });
  await page.goto(`${server.url}/#/settings`);
  await page.goto(`${server.url}/#/`);
  const row = page.getByRole("row", { name: /box/ });
  await row.getByText("Waiting for the provider").waitFor();
  await row.getByText(/waits until \d\d:\d\d/).waitFor();
  await page.goto(server.url + sync.page);
  await page.getByRole("heading", { name: /^Waiting for the provider until/ }).waitFor();
  await page.getByText("Google Drive asked to be left alone").waitFor();
  await page.getByText("Nothing has failed.").waitFor();
});

test("a document opens as what it was exported to, with a link to the original", async (t) => {
  const folder = await scratch(t);
  await mkdir(join(folder, "source"));
  await writeFile(join(folder, "source", "Plan.md"), "# The plan\n");
  const server = await serve(t, join(folder, "data"));
  const sync = await server.sync("box", { source_path: join(folder, "source") });
  await server.settled(sync, 1, 1);
  const { objects: [{ object_id }] } = await server.api("GET", `/v1/buckets/${sync.bucket}/tree`);
  const address = `/v1/buckets/${sync.bucket}/objects/${object_id}`;
  const original = "https://docs.google.com/document/d/1Plan/edit";
  const page = await enter(t, server);
  // What the API says of an exported document, beside what is true of this file.
  await page.route(`**${address}`, async (route) => {
    const answer = await route.fetch();
    const object = await answer.json();
    const source = { ...object.source, provider: "google_drive", version: "export md 2024-05-01T10:00:00Z", etag: null, metadata: { webViewLink: original } };
    return route.fulfill({ response: answer, json: { ...object, source } });
  });
  await page.goto(`${server.url}/#/buckets/${sync.bucket}/objects/${object_id}`);
  await page.getByRole("region", { name: "Content" }).getByRole("heading", { name: "The plan" }).waitFor();
  const link = page.getByRole("link", { name: "Open the original" });
  assert.equal(await link.getAttribute("href"), original);
  assert.match(await link.getAttribute("rel"), /noreferrer/);
  await page.getByText("A Google document, exported as MD").waitFor();
});
