/** Home: what is here, what is running, what needs attention, and every sync in a row. */

import { to } from "../lib/addresses.js";
import { get } from "../lib/api.js";
import { spark } from "../lib/chart.js";
import { h } from "../lib/dom.js";
import { bytes, clock, count, counted, duration, until } from "../lib/format.js";
import { keepOnly, progressOf } from "../lib/live.js";
import { badge, bar, button, cell, command, empty, heads, icon, link, name, said, section, stat, syncBadge, timeOf } from "../lib/parts.js";
import { attempt } from "../lib/notes.js";
import { approveRemovals, isHeld, pause, phaseWords, rejectRemovals, resume, runNow, runOf, waitsFor, whyHeld } from "../lib/runs.js";
import { deletedSyncs } from "../lib/deleted.js";
import { soon } from "../lib/soon.js";

/** @param {Ui.Visit} visit @returns {Ui.Page} */
export function open(visit) {
  /** @type {Api.Overview | null} */
  let overview = null;
  let deleted = /** @type {Api.Sync[] | null} */ (visit.kept ?? null);
  const again = soon(visit.refresh, 700);

  return {
    title: () => "Home",
    ticks: true,
    close: again.stop,
    keep: () => deleted,
    refresh: async () => {
      overview = await get("/v1/overview");
      keepOnly(new Set(overview.syncs.filter(isRunning).map((row) => row.sync_config_id)));
    },
    event: (event) => (event.type === "job.progress" ? visit.redraw() : again()),
    view: () => {
      if (!overview) return h("h1.sr", "Home");
      if (overview.syncs.length === 0 && overview.objects === 0) return firstStart();
      return [
        h("h1.sr", "Home"),
        here(overview),
        now(overview.syncs.filter(isRunning)),
        needs(overview, visit),
        table(overview.syncs, visit),
        h("div.actions", deleted ? button("Hide deleted syncs", () => { deleted = null; visit.redraw(); }, { kind: "small quiet" })
          : button("Deleted syncs", async () => { deleted = await attempt(showDeleted) ?? null; visit.redraw(); }, { kind: "small quiet" })),
        deleted && deletedTable(deleted),
      ];
    },
  };
}

const showDeleted = async () => deletedSyncs((await get("/v1/buckets", { limit: 1000 })).results);

/**
 * Syncs that were deleted: they never run again, and their history can be read.
 * @param {Api.Sync[]} rows
 */
function deletedTable(rows) {
  if (rows.length === 0) return h("p.muted", { role: "status" }, "There are no deleted syncs.");
  return h("section", { "aria-label": "Deleted syncs" }, section("Deleted syncs", rows.length),
    h("table.rows", heads(["Source", "Bucket", "Deleted", "Runs", "Copied"]),
      h("tbody", rows.map((sync) => h("tr", { key: sync.sync_config_id },
        h("td", { "data-label": "Source", class: "main" }, h("a", { href: to.sync(sync), class: "strong clamp" }, name(sync.source_path))),
        h("td", { "data-label": "Bucket" }, h("a", { href: to.bucket(sync.bucket_id) }, name(sync.bucket_name))),
        cell("Deleted", timeOf(sync.updated_at)), cell("Runs", count(sync.sync_run_counter)), cell("Copied", count(sync.total_files_synced)))))));
}

/** @param {Api.SyncRow} row */
const isRunning = (row) => row.runs.at(-1)?.status === "running";

/** What is shown while nothing has been synced yet. */
function firstStart() {
  return h("div.welcome", h("img", { src: "/icon.svg", alt: "", width: 56, height: 56 }),
    h("h1", "Bring your files home"),
    h("p.lead", "Catchment keeps local buckets up to date with storage elsewhere. It only reads from a source, stores identical content once, and resumes where it stopped."),
    h("div.choices", h("a.choice", { href: "#/new?provider=local" }, icon("folder"), h("b", "A folder on this computer"), h("span", "Watched for changes: a changed file is copied within a second.")),
      h("a.choice", { href: "#/new?provider=s3" }, icon("bucket"), h("b", "An S3 bucket"), h("span", "Amazon S3, Tigris or S3-compatible storage.")),
    ),
    h("p.muted", "Or from a terminal, now:"),
    command("catchment sync ~/Pictures"),
  );
}

/** @param {Api.Overview} overview */
function here(overview) {
  const { disk } = overview;
  const share = overview.bytes > 0 ? Math.round((overview.saved_bytes / overview.bytes) * 100) : 0;
  return h("dl.stats", { "aria-label": "What is here" },
    stat("Objects", count(overview.objects), `in ${counted(overview.buckets, "bucket")}`),
    stat("Total size", bytes(overview.bytes), `${bytes(disk.used_bytes)} on disk`),
    stat("Saved by deduplication", bytes(overview.saved_bytes), share > 0 ? `${share} % of their size` : "identical content is stored once"),
    stat("Free disk space", bytes(disk.free_bytes), `of ${bytes(disk.total_bytes)}`),
  );
}

/** @param {Api.SyncRow[]} rows those that run */
function now(rows) {
  if (rows.length === 0) return null;
  return h("section", { key: "now", "aria-label": "Running now" },
    section("Running now", rows.length),
    h("div.cards", rows.map((row) => h("div", { key: row.sync_config_id }, running(row, row.runs.at(-1), row)))),
  );
}

/**
 * One running job: what it is doing, how far it is, how long it will take.
 * @param {Api.AnySync} sync @param {Api.Job | Api.Run | undefined} job @param {{bucket_name?:
 * string}} [row]
 */
export function running(sync, job, row) {
  const live = progressOf(sync.sync_config_id);
  // A source that is still being listed may well be copied from already.
  const phase = live?.files.length ? "downloading" : live?.phase ?? job?.phase;
  const counts = live?.counts ?? {};
  const taken = (counts.synced ?? 0) + (counts.updated ?? 0);
  const share = live?.bytesTotal ? live.bytes / live.bytesTotal : live?.total ? live.done / live.total : null;
  return h("article.running", { "aria-label": `Run of ${sync.source_path}` },
    h("header", row ? h("a", { href: to.sync(sync), class: "strong" }, name(sync.source_path), " → ", name(row.bucket_name)) : h("b", phaseWords(phase)),
      row ? h("span.muted", phaseWords(phase)) : null,
    ),
    bar("Progress", share),
    h("p.figures", h("span", h("b", count(live?.done ?? 0)), live?.total ? ` of ${count(live.total)} checked` : " checked"),
      h("span", h("b", count(taken)), " copied"),
      counts.failed ? h("span.bad", h("b", count(counts.failed)), " failed") : null,
      h("span", h("b", bytes(live?.bytes ?? 0)), live?.bytesTotal ? ` of ${bytes(live.bytesTotal)}` : ""),
      live?.rate ? h("span", h("b", `${bytes(live.rate)}/s`)) : null,
      live?.eta !== null && live?.eta !== undefined ? h("span", h("b", duration(Math.ceil(live.eta))), " left") : null,
    ),
    live?.retry ? h("p.muted", { role: "status" }, `Attempt ${live.retry.attempt} at ${clock(live.retry.at)}: `, said(live.retry.reason)) : null,
    live && live.files.length > 0
      ? h("ul.flight", { "aria-label": "Files being copied" }, live.files.slice(0, 4).map((file) => h("li", { key: file }, icon("down"), name(file))),
        live.files.length > 4 ? h("li", { key: "more" }, `and ${live.files.length - 4} more`) : null)
      : null,
  );
}

/** @param {Api.Overview} overview @param {Ui.Visit} visit */
function needs(overview, visit) {
  /** @type {Ui.Child[]} */
  const cards = [];
  for (const row of overview.syncs) cards.push(...needsOfSync(row, visit));
  for (const connection of overview.failing_connections ?? []) {
    const again = /sign in again/i.test(connection.last_error ?? "");
    cards.push(card(`connection ${connection.connection_id}`, "bad",
      [name(connection.name), again ? " has to be signed in to again" : " cannot be reached"],
      connection.last_error ?? "It was suspended after repeated failures.",
      link("What to do", to.connection(connection.connection_id), { class: "button small primary" })));
  }
  if (cards.length === 0) return null;
  return h("section", { key: "needs", "aria-label": "Needs attention" }, section("Needs attention", cards.length), h("div.cards", cards));
}

/** @param {Api.SyncRow} sync @param {Ui.Visit} visit */
function needsOfSync(sync, visit) {
  /** @type {Ui.Child[]} */
  const out = [];
  /** @param {string} tone @param {string} text @param {...Ui.Child} actions */
  const need = (tone, text, ...actions) =>
    out.push(card(`${out.length} ${sync.sync_config_id}`, tone, [name(sync.source_path), " → ", name(sync.bucket_name)], text, ...actions));
  /**
   * @param {string} label @param {(sync: Api.SyncRow) => Promise<unknown>} does
   * @param {string} [kind]
   */
  const act = (label, does, kind = "") => button(label, () => does(sync).then(visit.refresh), { kind: `small ${kind}` });
  const look = link("View", to.sync(sync), { class: "button small quiet" });
  if (isHeld(sync)) {
    const held = sync;
    need("warn", whyHeld(sync),
      act("Keep them", () => rejectRemovals(held)), act("Remove them", () => approveRemovals(held), "danger"), look);
  }
  if (sync.paused_by_failures) need("bad", sync.pause_reason ?? sync.last_error ?? "Paused after repeated failures.", act("Resume", resume, "primary"), look);
  else if (sync.status === "FAILED") need("bad", sync.last_error ?? "The last run failed.", act("Run now", runNow), look);
  if (sync.dead_letters > 0) {
    need("warn", `${counted(sync.dead_letters, "entry", "entries")} could not be copied. Everything else was.`, link("See why", to.sync(sync, "failures"), { class: "button small" }));
  }
  return out;
}

/**
 * @param {string} key
 * @param {string} tone
 * @param {Ui.Child} title
 * @param {string} text
 * @param {...Ui.Child} actions
 */
const card = (key, tone, title, text, ...actions) =>
  h("article", { key, class: `need ${tone}` }, icon("alert"), h("div", h("h3", title), h("p", said(text))), h("div.actions", actions));

/** @param {Api.SyncRow[]} rows @param {Ui.Visit} visit */
function table(rows, visit) {
  if (rows.length === 0) {
    return empty("No syncs yet", "A sync keeps a bucket up to date with a place.", link("New sync", "#/new", { class: "button primary" }));
  }
  return h("section", { key: "syncs", "aria-label": "Syncs" },
    section("Syncs", rows.length),
    h("table.rows.syncs", heads(["Source", "Bucket", "State", "Last run", "Next run", "Last 30 runs", ""]),
      h("tbody", rows.map((row) => syncRow(row, visit))),
    ),
  );
}

/** @param {Api.SyncRow} sync @param {Ui.Visit} visit */
function syncRow(sync, visit) {
  const going = isRunning(sync);
  const last = sync.runs.filter((job) => job.status !== "running").at(-1);
  const toggle = sync.paused
    ? button("Resume", () => resume(sync).then(visit.refresh), { kind: "small", "aria-label": `Resume ${sync.source_path}` })
    : button(null, () => pause(sync).then(visit.refresh), { kind: "small quiet", icon: "pause", title: "Pause", "aria-label": `Pause ${sync.source_path}` });
  return h("tr", { key: sync.sync_config_id },
    h("td", { "data-label": "Source", class: "main" },
      h("a", { href: to.sync(sync), class: "strong clamp" }, name(sync.source_path)),
      h("small", name(sync.connection_name))),
    h("td", { "data-label": "Bucket" }, h("a", { href: to.bucket(sync.bucket_id) }, name(sync.bucket_name))),
    cell("State", going ? badge("IN_PROGRESS") : syncBadge(sync)),
    cell("Last run", last ? timeOf(last.completed_at ?? last.updated_at) : "never"),
    cell("Next run", going ? "running" : sync.paused ? "paused" : waitsFor(sync)?.until ? `waits until ${clock(waitsFor(sync)?.until)}` : until(sync.next_sync_at)),
    h("td", { "data-label": "Last 30 runs", class: "spark-cell" }, spark(sync.runs.map(runOf))),
    h("td.row-actions", button(null, () => runNow(sync).then(visit.refresh), { kind: "small quiet", icon: "play", disabled: going || sync.paused, title: "Run now", "aria-label": `Run ${sync.source_path} now` }),
      toggle),
  );
}
