/** Small pictures of runs. Each says in words what it shows. */

import { h } from "./dom.js";
import { bytes, counted, moment } from "./format.js";

/**
 * @typedef {{id: string, status: string, at: string | null, objects: number, bytes: number,
 *   failed: number, held: boolean, did: string}} Run
 */

/** @param {Run} run */
const tone = (run) =>
  run.status === "failed" ? "bad" : run.status === "running" ? "busy" : run.failed || run.held || run.status === "interrupted" ? "warn" : "good";

/**
 * A height between 0 and 1 that lets small runs be seen beside large ones.
 * @param {number} value
 * @param {number} most
 */
const height = (value, most) => (most > 0 ? Math.sqrt(value / most) : 0);

/** The last runs of a sync in a line of bars, oldest first. @param {Run[]} runs */
export function spark(runs) {
  const most = Math.max(0, ...runs.map((run) => run.objects));
  const failed = runs.filter((run) => run.status === "failed").length;
  const said = runs.length === 0 ? "No runs yet" : `${counted(runs.length, "run")}, ${failed} failed`;
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

/**
 * The history of a sync: objects above the line, bytes below it, one column a run, oldest first.
 * Arrow keys move through the columns; `select` is called with the one that is shown.
 * @param {Run[]} runs @param {string | null} selected @param {(id: string) => void} select
 */
export function history(runs, selected, select) {
  const mostObjects = Math.max(1, ...runs.map((run) => run.objects));
  const mostBytes = Math.max(1, ...runs.map((run) => run.bytes));
  const step = Math.max(10, Math.min(28, 840 / Math.max(1, runs.length)));
  const index = Math.max(0, runs.findIndex((run) => run.id === selected));
  /** @param {KeyboardEvent} event */
  const onkeydown = (event) => {
    const move = { ArrowLeft: -1, ArrowRight: 1, Home: -runs.length, End: runs.length }[event.key];
    if (move === undefined) return;
    event.preventDefault();
    const next = Math.max(0, Math.min(runs.length - 1, index + move));
    select(runs[next].id);
  };
  return h("div", {
      class: "history", tabindex: "0", role: "listbox", "aria-label": "Runs, oldest first. Arrow keys move between them.",
      "aria-activedescendant": runs[index] ? `run-${runs[index].id}` : null, onkeydown,
    },
    h("svg", { viewBox: `0 0 ${runs.length * step} 150`, preserveAspectRatio: "none", style: { "max-width": `${runs.length * step * 1.6}px` } },
      h("line", { x1: 0, x2: runs.length * step, y1: 90, y2: 90, class: "axis" }),
      runs.map((run, at) => {
        const up = Math.max(run.objects ? 2 : 0, height(run.objects, mostObjects) * 84);
        const down = Math.max(run.bytes ? 2 : 0, height(run.bytes, mostBytes) * 50);
        return h("g", {
            key: run.id, id: `run-${run.id}`, role: "option", "aria-selected": at === index ? "true" : "false",
            class: `run ${tone(run)}`, "aria-label": `${moment(run.at)}, ${run.status}: ${run.did}, ${bytes(run.bytes)}`,
            onmouseenter: () => select(run.id), onclick: () => select(run.id),
          },
          h("rect.hit", { x: at * step, y: 0, width: step, height: 150 }),
          h("rect.objects", { x: at * step + 1.5, y: 90 - up, width: step - 3, height: up, rx: 1.5 }),
          h("rect.bytes", { x: at * step + 1.5, y: 91, width: step - 3, height: down, rx: 1.5 }),
          run.status === "failed"
            ? h("path.mark", { d: `M${at * step + step / 2 - 3} 76l6 6m0-6l-6 6` })
            : null,
        );
      }),
    ),
  );
}
