/** Small pictures of runs. Each says in words what it shows. */

import { h } from "./dom.js";
import { bytes, count, counted, day, moment } from "./format.js";

/**
 * @typedef {{id: string, status: string, at: string | null, objects: number, removed: number,
 *   bytes: number, failed: number, held: boolean, did: string}} Run
 */

/** @param {Run} run */
const tone = (run) =>
  run.status === "failed" ? "bad" : run.status === "running" ? "busy" : run.failed || run.held || run.status === "interrupted" ? "warn" : "good";

/**
 * A height between 0 and 1 that lets small runs be seen beside large ones: the square root.
 * @param {number} value
 * @param {number} most
 */
const height = (value, most) => (most > 0 ? Math.sqrt(value / most) : 0);

/** The last runs of a sync in a line of bars, oldest first. @param {Run[]} runs */
export function spark(runs) {
  const most = Math.max(0, ...runs.map((run) => run.objects));
  const failed = runs.filter((run) => run.status === "failed").length;
  const partly = runs.filter((run) => tone(run) === "warn").length;
  const said = runs.length === 0 ? "No runs yet" : `${counted(runs.length, "run")}, ${failed} failed${partly ? `, ${partly} incomplete` : ""}`;
  const width = 4;
  return h("svg.spark", { viewBox: `0 0 ${30 * width} 24`, role: "img", "aria-label": said },
    runs.slice(-30).map((run, index) => {
      const tall = Math.max(2, height(run.objects, most) * 22);
      return h("rect", {
        x: index * width, y: 24 - tall, width: width - 1, height: tall, rx: 1, class: tone(run),
      });
    }),
  );
}

/** Where things are drawn: objects above a line, removals below it, bytes above another one. */
const OBJECTS = { base: 100, tall: 84 };
const REMOVED = { base: 100, tall: 40 };
const BYTES = { base: 196, tall: 36 };
const TALL = 200;
/** The least between two figures beside it. */
const LEGIBLE = 13;
/** A chart is as wide as so many columns at least, so that its dates have room. */
const COLUMNS = 14;
/** Dates below it, at most. */
const DATES = 5;

/**
 * The history of a sync: one column a run, oldest first. Arrow keys move through the columns;
 * `select` is called with the one that is shown.
 * @param {Run[]} runs @param {string | null} selected @param {(id: string) => void} select
 */
export function history(runs, selected, select) {
  const mostObjects = Math.max(1, ...runs.map((run) => run.objects), ...runs.map((run) => run.removed));
  const mostRemoved = Math.max(0, ...runs.map((run) => run.removed));
  const mostBytes = Math.max(1, ...runs.map((run) => run.bytes));
  const step = Math.max(10, Math.min(28, 840 / Math.max(1, runs.length)));
  const width = step * Math.max(COLUMNS, runs.length);
  const index = Math.max(0, runs.findIndex((run) => run.id === selected));
  /** @param {KeyboardEvent} event */
  const onkeydown = (event) => {
    const move = { ArrowLeft: -1, ArrowRight: 1, Home: -runs.length, End: runs.length }[event.key];
    if (move === undefined) return;
    event.preventDefault();
    const next = Math.max(0, Math.min(runs.length - 1, index + move));
    select(runs[next].id);
  };
  /** @param {string} kind @param {number} at @param {number} top @param {number} tall */
  const bar = (kind, at, top, tall) => h(`rect.${kind}`, { x: at * step + 1.5, y: top, width: step - 3, height: tall, rx: 1.5 });
  /** @param {number} at */
  const line = (at) => h("line", { x1: 0, x2: width, y1: at, y2: at, class: "axis" });
  return h("div.chart", { style: { "max-width": `${Math.round(width * 1.6) + 70}px` } },
    h("div.scale", { "aria-hidden": "true" },
      tick(OBJECTS.base - OBJECTS.tall, count(mostObjects)), mostObjects >= 4 ? tick(OBJECTS.base - OBJECTS.tall / 2, count(Math.round(mostObjects / 4))) : null, tick(OBJECTS.base, "0"),
      mostRemoved ? tick(REMOVED.base + Math.max(LEGIBLE, REMOVED.tall * height(mostRemoved, mostObjects)), `−${count(mostRemoved)}`) : null,
      tick(BYTES.base - BYTES.tall, bytes(mostBytes)), tick(BYTES.base, "0")),
    h("div", {
        class: "history", tabindex: "0", role: "listbox", "aria-label": "Runs, oldest first. Arrow keys move between them.",
        "aria-activedescendant": runs[index] ? `run-${runs[index].id}` : null, onkeydown,
      },
      h("svg", { viewBox: `0 0 ${width} ${TALL}`, preserveAspectRatio: "none", role: "presentation" },
        line(OBJECTS.base), line(BYTES.base),
        runs.map((run, at) => {
          const up = Math.max(run.objects ? 2 : 0, height(run.objects, mostObjects) * OBJECTS.tall);
          const down = Math.max(run.removed ? 2 : 0, height(run.removed, mostObjects) * REMOVED.tall);
          const tall = Math.max(run.bytes ? 2 : 0, height(run.bytes, mostBytes) * BYTES.tall);
          const middle = at * step + step / 2;
          return h("g", {
              key: run.id, id: `run-${run.id}`, role: "option", "aria-selected": at === index ? "true" : "false",
              class: `run ${tone(run)}`, "aria-label": `${moment(run.at)}, ${run.status}: ${run.did}, ${bytes(run.bytes)}${run.held ? ", removals held" : ""}`,
              onmouseenter: () => select(run.id), onclick: () => select(run.id),
            },
            h("rect.hit", { x: at * step, y: 0, width: step, height: TALL }),
            bar("objects", at, OBJECTS.base - up, up), bar("removed", at, REMOVED.base + 1, down), bar("bytes", at, BYTES.base - tall, tall),
            run.status === "failed" ? h("path.mark", { d: `M${middle - 3} ${OBJECTS.base - up - 10}l6 6m0-6l-6 6` }) : null,
            run.held ? h("path.held", { d: `M${middle - 2} ${OBJECTS.base - up - 11}v7m4 0v-7` }) : null,
          );
        }),
      )),
    h("div.dates", { "aria-hidden": "true" }, dates(runs).map(([at, words]) => h("span", { key: at, style: { left: `${((at + 0.5) * step * 100) / width}%` } }, words))),
  );
}

/** @param {number} at @param {string} words */
const tick = (at, words) => h("span", { key: `${at} ${words}`, style: { top: `${(at * 100) / TALL}%` } }, words);

/**
 * Some of the columns, with their dates; with times where all are of one day.
 * @param {Run[]} runs @returns {[number, string][]}
 */
function dates(runs) {
  const days = new Set(runs.map((run) => day(run.at)));
  const many = Math.min(DATES, Math.max(1, Math.floor((DATES * runs.length) / COLUMNS)));
  const places = new Set(Array.from({ length: many }, (_, nth) => (many === 1 ? 0 : Math.round((nth * (runs.length - 1)) / (many - 1)))));
  return [...places].map((at) => [at, days.size > 1 ? day(runs[at].at) : moment(runs[at].at).slice(-8, -3)]);
}
