/**
 * The frame around the pages: which page an address names, its place in the navigation, whether the
 * server responds. A page is a module in `pages/` whose `open(visit)` returns a `Page`.
 */

import { get, onSignedOut, queryString } from "./lib/api.js";
import { h, render } from "./lib/dom.js";
import { connect, disconnect, isUp, listen } from "./lib/events.js";
import { heard } from "./lib/live.js";
import { entry, leave, left, restore } from "./lib/memory.js";
import { icon, problem } from "./lib/parts.js";

/**
 * Every address, and the page behind it; the last that fits counts.
 * @type {[pattern: RegExp, load: () => Promise<{open: Ui.OpenPage}>, section: string][]}
 */
const PAGES = [
  [/^\/$/, () => import("./pages/home.js"), "home"],
  [/^\/new$/, () => import("./pages/new-sync.js"), "new"],
  [/^\/buckets$/, () => import("./pages/buckets.js"), "buckets"],
  [/^\/buckets\/([^/]+)$/, () => import("./pages/bucket.js"), "buckets"],
  [/^\/buckets\/([^/]+)\/trash$/, () => import("./pages/trash.js"), "buckets"],
  [/^\/buckets\/([^/]+)\/objects\/([^/]+)$/, () => import("./pages/object.js"), "buckets"],
  [/^\/buckets\/([^/]+)\/syncs\/([^/]+)$/, () => import("./pages/sync.js"), "home"],
  [/^\/buckets\/([^/]+)\/syncs\/([^/]+)\/edit$/, () => import("./pages/new-sync.js"), "home"],
  [/^\/pipelines$/, () => import("./pages/pipelines.js"), "pipelines"],
  [/^\/pipelines\/([^/]+)$/, () => import("./pages/pipeline.js"), "pipelines"],
  [/^\/pipelines\/new$/, () => import("./pages/new-pipeline.js"), "pipelines"],
  [/^\/pipelines\/([^/]+)\/edit$/, () => import("./pages/new-pipeline.js"), "pipelines"],
  [/^\/connections(?:\/([^/]+))?$/, () => import("./pages/connections.js"), "connections"],
  [/^\/sign-in\/([^/]+)$/, () => import("./pages/sign-in.js"), "connections"],
  [/^\/activity$/, () => import("./pages/activity.js"), "activity"],
  [/^\/settings$/, () => import("./pages/settings.js"), "settings"],
];

/** @type {[section: string, label: string, icon: Parameters<typeof icon>[0]][]} */
const NAVIGATION = [
  ["home", "Home", "home"],
  ["buckets", "Buckets", "bucket"],
  ["pipelines", "Pipelines", "flow"],
  ["connections", "Connections", "plug"],
  ["activity", "Activity", "pulse"],
  ["settings", "Settings", "gear"],
];

const root = /** @type {HTMLElement} */ (document.getElementById("app"));

// Where one was is known here; a browser would scroll before a page is drawn.
history.scrollRestoration = "manual";

/**
 * @type {{page: Ui.Page | null, path: string, entry: string, section: string, error: unknown,
 *   opened: number, signedOut: boolean, lost: boolean}}
 */
const state = { page: null, path: "", entry: entry(), section: "home", error: null, opened: 0, signedOut: false, lost: false };

let drawing = false;

/** Draws once, soon, however often it is asked. */
function redraw() {
  if (drawing) return;
  drawing = true;
  // A hidden tab has no animation frames.
  if (document.hidden) setTimeout(draw, 50);
  else requestAnimationFrame(draw);
}

function draw() {
  drawing = false;
  const title = state.page?.title() ?? "";
  document.title = title ? `${title} · Catchment` : "Catchment";
  if (state.page && state.signedOut) render(root, h("main", { id: "main", class: "alone" }, state.page.view()));
  else render(root, frame());
}

function frame() {
  return [
    h("a.skip", { href: "#main", onclick: skip }, "Skip to the content"),
    h("header.rail", h("a.brand", { href: "#/" }, h("img", { src: "/icon.svg", alt: "", width: 26, height: 26 }), h("span", "Catchment")),
      h("nav", { "aria-label": "Main" },
        NAVIGATION.map(([section, label, which]) =>
          h("a", { href: section === "home" ? "#/" : `#/${section}`, "aria-current": state.section === section ? "page" : null }, icon(which), h("span", label)),
        ),
      ),
      h("a.button.primary.new", { href: "#/new", "aria-current": state.section === "new" ? "page" : null }, icon("plus"), h("span", "New sync")),
    ),
    h("main", { id: "main", tabindex: "-1", class: state.page?.wide ? "wide" : null },
      h("div.lost-place", { role: "status" },
        state.lost
          ? h("p.lost", icon("alert"), h("span", h("b", "Catchment is not responding. "), "What you see may be out of date. Syncs resume from their last checkpoint once it runs again; this page reconnects by itself."))
          : null,
      ),
      state.error ? problem(state.error, () => refresh(state.opened)) : null,
      h("div", { key: state.opened, class: "page" }, state.page?.view()),
    ),
  ];
}

/** @param {Event} event */
function skip(event) {
  event.preventDefault();
  document.getElementById("main")?.focus();
}

/** @returns {[path: string, query: URLSearchParams]} */
function address() {
  const [path, query] = (location.hash.slice(1) || "/").split("?");
  return [path, new URLSearchParams(query)];
}

/** The address has changed: leaves the entry that was shown, and shows the one that it names. */
async function changed() {
  leave(state.entry, state.page?.keep?.());
  state.entry = entry();
  const was = left(state.entry);
  const [path, query] = address();
  if (path !== state.path || !state.page?.moved) return open(was);
  try {
    const { opened } = state;
    await state.page.moved(query, was?.page);
    if (opened !== state.opened) return;
    draw();
    if (was) restore(was);
    else scrollTo(0, 0);
  } catch (error) {
    state.error = error;
    redraw();
  }
}

/** Opens the page that the address names. @param {import("./lib/memory.js").Kept} [was] */
async function open(was) {
  const opened = (state.opened += 1);
  const isFirst = opened === 1;
  const [path, query] = address();
  state.page?.close?.();
  state.path = path;
  let found = null;
  for (const [pattern, load, section] of PAGES) {
    const match = pattern.exec(path);
    if (match) found = { load, section, params: match.slice(1).map((part) => decodeURIComponent(part ?? "")) };
  }
  const { open: openPage } = await (found ? found.load() : import("./pages/nowhere.js"));
  if (opened !== state.opened) return;
  Object.assign(state, { section: found?.section ?? "", error: null });
  state.page = openPage({
    params: found?.params ?? [],
    query,
    kept: was?.page,
    redraw,
    refresh: () => refresh(opened),
    go: (/** @type {string} */ to) => { location.hash = to; },
    rewrite,
  });
  draw();
  if (!was && !isFirst) {
    scrollTo(0, 0);
    focusHeading();
  }
  await refresh(opened);
  if (!was || opened !== state.opened) return;
  draw();
  if (!restore(was)) focusHeading();
}

function focusHeading() {
  const heading = /** @type {HTMLElement | null} */ (root.querySelector("h1"));
  heading?.setAttribute("tabindex", "-1");
  heading?.focus({ preventScroll: true });
}

/** Loads what the page shows. @param {number} opened the page that asks */
async function refresh(opened) {
  if (opened !== state.opened) return;
  try {
    await state.page?.refresh?.();
    if (opened === state.opened) state.error = null;
  } catch (error) {
    if (opened === state.opened) state.error = error;
  }
  redraw();
}

/** @param {Record<string, string | undefined>} query */
function rewrite(query) {
  const [path] = location.hash.slice(1).split("?");
  history.replaceState(history.state, "", `#${path}${queryString(query)}`);
}

/** The server does not know this browser: shows the page that says how to sign in. */
async function signedOut() {
  if (state.signedOut) return;
  state.signedOut = true;
  disconnect();
  const { open: openPage } = await import("./pages/login.js");
  state.opened += 1;
  state.page = openPage();
  draw();
}

onSignedOut(signedOut);
addEventListener("hashchange", () => { if (!state.signedOut) changed(); });
listen((event) => {
  heard(event);
  state.page?.event?.(event);
}, async (heardIt) => {
  const back = heardIt === "up" && state.lost;
  state.lost = heardIt === "down";
  redraw();
  if (back) await refresh(state.opened);
  // A stopped server and one that has ended our session refuse a stream alike; a request tells
  // which.
  if (state.lost) await get("/v1/overview").catch(() => {});
});
setInterval(() => { if (state.page?.ticks && isUp()) redraw(); }, 1000);
open().then(connect);
