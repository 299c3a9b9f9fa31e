// Signing in with Google and Microsoft, from the first step to a connection.
import assert from "node:assert/strict";
import { join } from "node:path";
import test from "node:test";
import { authority } from "./support/authority.mjs";
import { enter, findings } from "./support/browser.mjs";
import { movingClock, scratch, serve } from "./support/server.mjs";

const GOOGLE = { id: "123.apps.googleusercontent.com", secret: "canary-secret" };

async function connections(t, options = {}) {
  const dataDir = join(await scratch(t), "data");
  const fake = await authority(t, dataDir);
  const server = await serve(t, dataDir, options);
  const page = await enter(t, server, { elsewhere: [fake.url, `http://localhost:${new URL(server.url).port}`], faults: /status of 4\d\d/ });
  await page.goto(`${server.url}/#/connections`);
  return { fake, server, page };
}

/** Leads through all steps at Google. */
async function register(page) {
  await page.getByRole("link", { name: "Sign in with Google" }).click();
  for (const done of ["I have a project", "The API is enabled", "It is Internal or In production"]) {
    await page.getByRole("button", { name: done }).click();
  }
  await page.getByLabel("Client ID").fill(GOOGLE.id);
  await page.getByLabel("Client secret").fill(GOOGLE.secret);
  await page.getByRole("button", { name: "Continue" }).click();
}

test("a newcomer is led through making a client, signs in with Google, and has a connection that was tested", async (t) => {
  const { fake, server, page } = await connections(t);
  await page.getByRole("link", { name: "Sign in with Google" }).click();
  await page.getByRole("heading", { name: "Choose a project" }).waitFor();
  assert.deepEqual(await findings(page), []);
  const where = page.getByRole("link", { name: "Open Google Cloud" });
  assert.match(await where.getAttribute("href"), /^https:\/\/console\.cloud\.google\.com\//);
  assert.match(await where.getAttribute("rel"), /noreferrer/);
  await page.getByRole("button", { name: "I have a project" }).click();
  await page.getByRole("button", { name: "The API is enabled" }).click();
  await page.getByText("Do not leave it in “Testing”").waitFor();
  await page.getByRole("button", { name: "It is Internal or In production" }).click();
  await page.getByLabel("Client ID").fill("nonsense");
  await page.getByLabel("Client secret").fill(GOOGLE.secret);
  await page.getByRole("button", { name: "Continue" }).click();
  await page.getByText("ends with .apps.googleusercontent.com").first().waitFor();
  await page.getByLabel("Client ID").fill(GOOGLE.id);
  await page.getByRole("button", { name: "Continue" }).click();
  await page.getByLabel("Name of the connection").fill("My Drive");
  await page.getByRole("button", { name: "Sign in with Google" }).click();
  await page.getByRole("link", { name: "Allow" }).click();

  await page.waitForURL(`${server.url}/#/connections/**`);
  const panel = page.getByRole("region", { name: "My Drive" });
  await panel.getByRole("status").waitFor();
  await panel.getByRole("link", { name: "Sign in again: My Drive" }).waitFor();
  assert.equal(fake.seen[0].client_secret, GOOGLE.secret);
  assert.doesNotMatch(server.log(), /canary/);
  assert.doesNotMatch(await page.content(), /canary/);
});

test("a person who refuses at Google is told so, and can go on from where they were", async (t) => {
  const { page } = await connections(t);
  await register(page);
  await page.getByRole("button", { name: "Sign in with Google" }).click();
  await page.getByRole("link", { name: "Cancel" }).click();
  await page.getByText("access_denied").waitFor();
  await page.getByRole("link", { name: "Back to Catchment" }).click();
  await page.getByRole("alert").filter({ hasText: "access_denied" }).waitFor();
  assert.equal(await page.getByLabel("Client ID").inputValue(), GOOGLE.id);
  assert.equal(await page.getByLabel("Client secret").inputValue(), "", "a secret is not kept");
});

test("a callback that is opened twice says that nothing has changed", async (t) => {
  const { server, page } = await connections(t);
  await register(page);
  let callback = "";
  page.on("request", (request) => { if (request.url().includes("/oauth/callback")) callback = request.url(); });
  await page.getByRole("button", { name: "Sign in with Google" }).click();
  await page.getByRole("link", { name: "Allow" }).click();
  await page.waitForURL(`${server.url}/#/connections/**`);
  await page.goto(callback);
  await page.getByText("Nothing has changed.").waitFor();
  const { results } = await server.api("POST", "/v1/organizations/connections/list", {});
  assert.equal(results.length, 1);
});

test("a callback that comes late, or with a state that is not ours, changes nothing and says so", async (t) => {
  const clock = await movingClock(t);
  const { fake, server, page } = await connections(t, { clock });
  const unchanged = async () => {
    await page.getByText("Nothing has changed.").waitFor();
    const { results } = await server.api("POST", "/v1/organizations/connections/list", {});
    assert.deepEqual([results, fake.seen], [[], []]);
  };
  await register(page);
  await page.getByRole("button", { name: "Sign in with Google" }).click();
  const callback = new URL(await page.getByRole("link", { name: "Allow" }).getAttribute("href"));
  callback.searchParams.set("state", "foreign");
  await page.goto(callback.href);
  await unchanged();
  assert.doesNotMatch(await page.content(), /canary/);

  await page.goBack();
  await clock.forward("11m");
  await page.getByRole("link", { name: "Allow" }).click();
  await unchanged();
  assert.doesNotMatch(server.log(), /canary/);
});

test("signing in with Microsoft comes back to localhost and moves on to where it began", async (t) => {
  const { fake, server, page } = await connections(t);
  await page.getByRole("link", { name: "Sign in with Microsoft" }).click();
  await page.getByRole("button", { name: "It is registered" }).click();
  await page.getByText("http://localhost/oauth/callback").first().waitFor();
  await page.getByRole("button", { name: "The address is added" }).click();
  await page.getByLabel("Application (client) ID").fill("11111111-2222-3333-4444-555555555555");
  await page.getByRole("button", { name: "Continue" }).click();
  await page.getByRole("button", { name: "Sign in with Microsoft" }).click();
  await page.getByRole("link", { name: "Allow" }).click();
  await page.waitForURL(`${server.url}/#/connections/**`);
  await page.getByRole("region", { name: "Microsoft" }).waitFor();
  assert.match(fake.seen[0].redirect_uri, /^http:\/\/localhost:\d+\/oauth\/callback$/);
  assert.equal(fake.seen[0].client_secret, undefined);
});
