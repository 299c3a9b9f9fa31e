/** A sync in plain words. */

import { bytes, interval } from "./format.js";

/**
 * @param {Ui.SettingsInWords} sync
 * @param {{bucket?: string, connection?: string}} names
 */
export function inWords(sync, names) {
  const every = sync.sync_mode === "initial_only"
    ? "Once"
    : sync.connection_id === "conn_local"
      ? `As files change, and every ${interval(sync.polling_interval_seconds ?? 300)}`
      : `Every ${interval(sync.polling_interval_seconds ?? 300)}`;
  const sentences = [
    `${every}, copy ${which(sync.file_filters)} from ${sync.source_path || "a place to be chosen"}${names.connection && sync.connection_id !== "conn_local" ? ` (${names.connection})` : ""} into the bucket ${names.bucket || "to be chosen"}.`,
  ];
  const reconcile = sync.reconcile ?? {};
  sentences.push(reconcile.on_update === false ? "Files that change at the source stay here as they were." : "Files that change at the source are updated here.");
  sentences.push(reconcile.on_delete !== false
    ? "Files removed from the source are removed here; if that would be more than half of them at once, you are asked first."
    : "Files removed from the source stay here.");
  if (reconcile.on_filter_drift !== false && sync.file_filters) sentences.push("Objects that no longer match the filters are removed.");
  if (sync.skip_duplicates !== false) sentences.push("Files whose content is already in the bucket are skipped.");
  sentences.push("The source is only read.");
  return sentences.join(" ");
}

/** @param {Api.Filters | null | undefined} filters */
function which(filters) {
  if (!filters) return "every file";
  /** @param {string[]} list */
  const or = (list) => list.join(" or ");
  const parts = [];
  if (filters.extensions?.length) parts.push(`ending in ${or(filters.extensions)}`);
  if (filters.include_patterns?.length) parts.push(`matching ${or(filters.include_patterns)}`);
  if (filters.exclude_patterns?.length) parts.push(`not matching ${or(filters.exclude_patterns)}`);
  if (filters.mime_types?.length) parts.push(`of type ${or(filters.mime_types)}`);
  if (filters.min_size_bytes) parts.push(`of at least ${bytes(filters.min_size_bytes)}`);
  if (filters.max_size_bytes) parts.push(`of at most ${bytes(filters.max_size_bytes)}`);
  if (filters.modified_after) parts.push(`changed after ${filters.modified_after.slice(0, 10)}`);
  if (filters.modified_before) parts.push(`changed before ${filters.modified_before.slice(0, 10)}`);
  if (filters.metadata_filters?.length) parts.push("with matching metadata");
  return parts.length ? `files ${parts.join(", ")}` : "every file";
}
