// What a person sets about the server itself.
import assert from "node:assert/strict";
import { join } from "node:path";
import test from "node:test";
import { enter } from "./support/browser.mjs";
import { eventually, scratch, serve } from "./support/server.mjs";

async function settings(t, options) {
  const server = await serve(t, join(await scratch(t), "data"));
  const page = await enter(t, server, options);
  await page.goto(`${server.url}/#/settings`);
  await page.getByRole("heading", { name: "Settings" }).waitFor();
  return { server, page };
}

test("a new token replaces the old one after one question, and the browser stays signed in", async (t) => {
  const { server, page } = await settings(t);
  await page.getByRole("button", { name: "Make a new token" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Make a new token" }).click();
  await page.getByText("The new token.").waitFor();
  const token = await page.locator(".command code").first().innerText();
  const status = async (bearer) => (await fetch(`${server.url}/v1/settings`, { headers: { Authorization: `Bearer ${bearer}` } })).status;
  assert.deepEqual([await status(server.token), await status(token)], [401, 200]);
  await page.reload();
  await page.getByRole("heading", { name: "This installation" }).waitFor();
});

test("an allowed host name is saved, and an invalid one is refused with the reason", async (t) => {
  const { server, page } = await settings(t, { faults: /status of 422/ });
  const hosts = page.getByLabel("Host names that this server accepts");
  await hosts.fill("catchment.home.example");
  await page.getByRole("button", { name: "Save" }).click();
  await eventually(async () => (await server.api("GET", "/v1/settings")).allowed_hosts.includes("catchment.home.example"), "the name");
  await hosts.fill("no such/name");
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByRole("alert").waitFor();
  assert.deepEqual((await server.api("GET", "/v1/settings")).allowed_hosts, ["catchment.home.example"]);
});

test("the log level changes at once", async (t) => {
  const { server, page } = await settings(t);
  await page.getByLabel("Level").selectOption("debug");
  await page.getByText("The log level was changed.").waitFor();
  assert.equal((await server.api("GET", "/v1/settings")).log_level, "debug");
});

test("the form of a connection shows what is stored, and saves only what was changed", async (t) => {
  const { server, page } = await settings(t);
  const { connection_id } = await server.api("POST", "/v1/organizations/connections", {
    name: "Studio", provider_type: "s3", test_before_save: false,
    provider_config: { endpoint_url: "http://127.0.0.1:9/", region: "eu-west-1", credentials: { type: "access_key", access_key_id: "AKIAEXAMPLE", secret_access_key: "canary-secret" } },
  });
  await page.goto(`${server.url}/#/connections`);
  await page.getByRole("button", { name: "Edit Studio" }).click();
  const form = page.getByRole("region", { name: "Studio" });
  assert.equal(await form.getByLabel("Region").inputValue(), "eu-west-1");
  assert.match(await form.getByLabel("Endpoint").inputValue(), /^http:\/\/127\.0\.0\.1:9/);
  assert.equal(await form.getByLabel("Secret access key").inputValue(), "");
  assert.match(await form.getByLabel("Secret access key").getAttribute("placeholder"), /stored/);
  const sent = [];
  page.on("request", (request) => { if (request.method() === "PATCH") sent.push(request.postDataJSON()); });
  await form.getByLabel("Name").fill("Studio 2");
  await form.getByRole("button", { name: "Save" }).click();
  await page.getByText("Saved.").waitFor();
  assert.deepEqual(sent, [{ name: "Studio 2" }]);
  const stored = await server.api("GET", `/v1/organizations/connections/${connection_id}`);
  assert.deepEqual([stored.name, stored.provider_config.region, stored.provider_config.credentials.type], ["Studio 2", "eu-west-1", "access_key"]);
});
