/** Jobs of the API, as charts and tables of runs show them. */

import { at, post } from "./api.js";
import { ask } from "./dialog.js";
import { h } from "./dom.js";
import { count, counted, duration } from "./format.js";
import { attempt, note } from "./notes.js";
import { badge, pathList } from "./parts.js";

/**
 * A job, as the API, the overview or an event has it.
 * @typedef {{status?: string, counts?: Api.Counts, progress?: Api.Job["progress"], metadata?:
 * Api.Job["metadata"]}} Counted
 */

/** What a job counted. @param {Counted} job */
const countsOf = (job) => job.counts ?? job.progress?.counts ?? job.metadata?.counts ?? {};

/** Whether a run came to its end and left something out. @param {Counted} job */
export const hasFailures = (job) => job.status === "completed" && Boolean(countsOf(job).failed);

/** @param {Api.Job | Api.Run} job @returns {import("./chart.js").Run} */
export function runOf(job) {
  const counts = countsOf(job);
  return {
    id: job.sync_job_id,
    status: job.status,
    at: job.started_at ?? job.updated_at ?? null,
    objects: (counts.synced ?? 0) + (counts.updated ?? 0),
    removed: counts.removed ?? 0,
    bytes: counts.bytes ?? 0,
    failed: counts.failed ?? 0,
    held: job.phase === "held",
    did: didWhat(job),
  };
}

/** What a job did, in words. @param {Counted} job */
export function didWhat(job) {
  const counts = countsOf(job);
  const parts = [
    counts.synced ? `${count(counts.synced)} added` : "",
    counts.updated ? `${count(counts.updated)} updated` : "",
    counts.removed ? `${count(counts.removed)} removed` : "",
    counts.duplicates ? counted(counts.duplicates, "duplicate") : "",
    counts.filtered ? `${count(counts.filtered)} left out` : "",
    counts.failed ? `${count(counts.failed)} failed` : "",
    counts.unchanged ? `${count(counts.unchanged)} unchanged` : "",
  ].filter(Boolean);
  return parts.length ? parts.join(" · ") : (/** @type {Record<string, string>} */ (DID_NOTHING))[job.status ?? ""] ?? "Nothing to do";
}

/** What a job has cost its provider, in words. @param {Api.Job} job */
export function costOf({ details }) {
  const { requests, throttled_seconds: waited, warehouse_seconds: warehouse } = details ?? {};
  return [
    requests ? counted(requests, "request") : "",
    waited && waited >= 1 ? `waited ${duration(waited)} for the provider` : "",
    warehouse ? `a warehouse worked ${duration(warehouse)}` : "",
  ].filter(Boolean).join(" · ");
}

/** What a job did that counted nothing. */
const DID_NOTHING = {
  running: "In progress",
  failed: "Ended by an error before anything was done",
  interrupted: "Stopped before anything was done",
};

const CAUSES = {
  interval: "Schedule",
  file_changed: "A change in the folder",
  manual: "By hand",
  full_sync: "Full run by hand",
  resumed: "Resumed",
  slice: "Next part of the pass",
  requeue: "Failed entries to be tried again",
};

/** Why a job was begun. @param {?string} [cause] */
export const causeWords = (cause) => CAUSES[/** @type {keyof typeof CAUSES} */ (cause ?? "")] ?? cause ?? "";

const PHASES = {
  queued: "Queued",
  discovering: "Listing the source",
  downloading: "Copying",
  verifying: "Checking that the listing is complete",
  reconciling: "Applying removals",
  held: "Removals held",
};

/** @param {?string} [phase] */
export const phaseWords = (phase) => PHASES[/** @type {keyof typeof PHASES} */ (phase ?? "")] ?? phase ?? "";

/**
 * What a sync waits for, if its provider makes it wait: in whose words, and until when.
 * @param {Api.AnySync} sync
 * @returns {{message: string, until: string | null} | null}
 */
export function waitsFor(sync) {
  const notice = sync.notices?.find((one) => one.code === "waiting_for_provider");
  return notice ? { message: notice.message, until: notice.until ?? sync.next_sync_at ?? null } : null;
}

/** The state of a job. @param {Api.Job} job */
export const jobBadge = (job) => (job.phase === "held" ? badge("COMPLETED_WITH_ERRORS", "Removals held") : badge(hasFailures(job) ? "COMPLETED_WITH_ERRORS" : job.status));

/** @param {Api.AnySync} sync */
const baseOf = (sync) => at.sync(sync.bucket_id, sync.sync_config_id);

/** @param {Api.AnySync} sync @param {boolean} [full] */
export async function runNow(sync, full = false) {
  const answer = await attempt(() => post(`${baseOf(sync)}/trigger`, {}, full ? { full_sync: true, refetch: true } : {}));
  if (answer) note(answer.status === "skipped_already_running" ? "A run is already in progress." : full ? "A full run was started." : "A run was started.");
}

/** @param {Api.AnySync} sync */
export const resume = (sync) =>
  attempt(() => post(`${baseOf(sync)}/resume`), "Resumed. The next run is due now.");

/** @param {Api.AnySync} sync */
export const pause = (sync) =>
  ask({
    title: "Pause this sync?",
    body: h("p", "A run in progress stops at its next checkpoint. Nothing is lost; the next run resumes from there."),
    field: { label: "Why? (optional)", placeholder: "moving the disk" },
    action: "Pause",
    run: (reason) => post(`${baseOf(sync)}/pause`, reason ? { reason } : {}),
  });

/** Reasons for which removals are held, besides their number. @type {Record<string, string>} */
const HELD_BECAUSE = {
  source_emptied: "The source is empty and was not before. Its disk or share may not be mounted, so nothing was removed.",
  source_replaced: "Another folder is in the place of the source. Nothing of it was read, and nothing was removed.",
};

/**
 * @template {Api.AnySync} S @param {S} sync
 * @returns {sync is S & {held_removals: Api.Held}}
 */
export const isHeld = (sync) => Boolean(sync.held_removals?.count);

/** Why removals are held, in a sentence. @param {Api.HeldSync} sync */
export const whyHeld = ({ held_removals: { reason, count: held, of } }) =>
  HELD_BECAUSE[reason] ?? `${counted(held, "object")} of ${count(of)} are gone from the source. Removing so many at once may be a mistake, so nothing was removed.`;

/** Approves held removals, naming what will be removed. @param {Api.HeldSync} sync */
export const approveRemovals = (sync) =>
  ask({
    title: sync.held_removals.reason === "source_replaced" ? "Take this folder as the source from now on?" : `Remove ${counted(sync.held_removals.count, "object")} from the bucket?`,
    body: [h("p", `What is not in the source is removed. This sync has ${counted(sync.held_removals.of, "object")} in the bucket. The source is never changed.`), sampleOf(sync)],
    action: sync.held_removals.reason === "source_replaced" ? "Take it" : `Remove ${counted(sync.held_removals.count, "object")}`,
    danger: true,
    run: () => post(`${baseOf(sync)}/removals/approve`),
  });

/** @param {Api.HeldSync} sync */
export const rejectRemovals = (sync) =>
  ask({
    title: `Keep ${counted(sync.held_removals.count, "object")}?`,
    body: [h("p", "They stay in the bucket although the source no longer has them. You will not be asked about them again until the source changes."), sampleOf(sync)],
    action: "Keep them",
    run: () => post(`${baseOf(sync)}/removals/reject`),
  });

/** Some of the paths whose removal is held. @param {Api.HeldSync} sync */
export const sampleOf = ({ held_removals: { sample, count: all } }) => pathList(sample, all);
