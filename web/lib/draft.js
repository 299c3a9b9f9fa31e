/**
 * A sync being written: the fields of its form, kept in the tab's storage until it is started, and
 * the request that they make. Holds no credentials.
 */

const KEPT = "catchment new sync";

/** @returns {Ui.Draft} */
export const blank = () => ({
  connection_id: "", source_path: "", bucket_id: "", bucket_name: "", bucket_named: false,
  include: "", exclude: "", extensions: "", mime: "", min: "", max: "", after: "", before: "", metadata: [], mapping: [],
  sync_mode: "continuous", interval: 300, on_update: true, on_delete: true, on_filter_drift: true, skip_duplicates: false, description: "",
  places: {}, making: null,
});

/** The draft that this tab kept, or a new one. @returns {Ui.Draft} */
export function kept() {
  try {
    return { ...blank(), ...JSON.parse(sessionStorage.getItem(KEPT) ?? "{}") };
  } catch {
    return blank();
  }
}

/** @param {Ui.Draft} draft */
export const keep = (draft) => sessionStorage.setItem(KEPT, JSON.stringify(draft));

/** It was started: the next one begins anew. */
export const forget = () => sessionStorage.removeItem(KEPT);

/** The form of a sync that exists. @param {Api.Sync} sync @returns {Ui.Draft} */
export function ofSync(sync) {
  const filters = sync.file_filters ?? {};
  const reconcile = sync.reconcile ?? {};
  /** @param {string[] | null | undefined} list */
  const lines = (list) => (list ?? []).join("\n");
  return {
    ...blank(),
    connection_id: sync.connection_id, source_path: sync.source_path, bucket_id: sync.bucket_id,
    include: lines(filters.include_patterns), exclude: lines(filters.exclude_patterns),
    extensions: (filters.extensions ?? []).join(" "), mime: (filters.mime_types ?? []).join(" "),
    min: sizeWords(filters.min_size_bytes), max: sizeWords(filters.max_size_bytes),
    after: filters.modified_after?.slice(0, 10) ?? "", before: filters.modified_before?.slice(0, 10) ?? "",
    metadata: (filters.metadata_filters ?? []).map((filter) => ({ field: filter.field, operator: filter.operator ?? "contains", value: String(filter.value ?? "") })),
    mapping: Object.entries(sync.schema_mapping?.mappings ?? {}).map(([target, entry]) => rowOf(target, entry)),
    sync_mode: sync.sync_mode ?? "continuous", interval: sync.polling_interval_seconds ?? 300,
    on_update: reconcile.on_update !== false, on_delete: reconcile.on_delete !== false, on_filter_drift: reconcile.on_filter_drift !== false,
    skip_duplicates: sync.skip_duplicates !== false, description: sync.description ?? "",
  };
}

/** @param {?number} [size] */
function sizeWords(size) {
  if (!size) return "";
  for (const [unit, factor] of [["GiB", 2 ** 30], ["MiB", 2 ** 20], ["KiB", 2 ** 10]]) {
    if (size % Number(factor) === 0) return `${size / Number(factor)} ${unit}`;
  }
  return String(size);
}

/** `10 MB`, `1.5 GiB`, `4096`: bytes, null for nothing, NaN for nonsense. @param {string} text */
export function sizeOf(text) {
  if (!text.trim()) return null;
  const match = /^\s*([\d.]+)\s*([kmgt]?)(i?)b?\s*$/i.exec(text);
  if (!match) return NaN;
  const power = " kmgt".indexOf(match[2].toLowerCase() || " ");
  return Math.round(Number(match[1]) * (match[3] ? 1024 : 1000) ** power);
}

/** @param {string} text one a line @returns {string[]} */
const lines = (text) => text.split("\n").map((line) => line.trim()).filter(Boolean);
/** @param {string} text parted by spaces or commas @returns {string[]} */
const words = (text) => text.split(/[\s,]+/).filter(Boolean);

/** @param {string} day */
const midnight = (day) => (day ? `${day}T00:00:00Z` : null);

/** @param {Ui.Draft} draft @returns {Api.Filters | null} */
function filtersOf(draft) {
  const all = {
    include_patterns: lines(draft.include), exclude_patterns: lines(draft.exclude), extensions: words(draft.extensions),
    mime_types: words(draft.mime), min_size_bytes: sizeOf(draft.min), max_size_bytes: sizeOf(draft.max),
    modified_after: midnight(draft.after), modified_before: midnight(draft.before),
    metadata_filters: draft.metadata.filter((filter) => filter.field).map(({ field, operator, value }) => ({ field, operator, value: operator === "exists" ? value !== "false" : value })),
  };
  const said = Object.entries(all).filter(([, value]) => value !== null && !(Array.isArray(value) && value.length === 0));
  return said.length ? Object.fromEntries(said) : null;
}

/**
 * What a mapping can read.
 * @type {[type: string, label: string, key: string | null, placeholder: string][]}
 */
export const SOURCES = [
  ["file", "the file itself", null, ""],
  ["folder_path", "folder of the path", "segment", "0 is the first, -1 the last"],
  ["filename_regex", "part of the file name", "pattern", "(\\d{4})"],
  ["metadata", "S3 metadata", "key", "author"],
  ["tag", "S3 tag", "key", "project"],
  ["constant", "a fixed value", "value", "holiday"],
];

/** @typedef {{source?: string | Record<string, unknown>, transform?: string | null}} Mapped */

/** @param {string} target @param {Mapped} entry @returns {Ui.MappingRow} */
function rowOf(target, entry) {
  /** @type {Record<string, unknown>} */
  const { type: type_ = "file", ...rest } = typeof entry.source === "string" ? { type: entry.source } : entry.source ?? {};
  const type = String(type_);
  const key = SOURCES.find(([known]) => known === type)?.[2];
  return { target, source: type, value: key && rest[key] !== undefined && rest[key] !== null ? String(rest[key]) : "", transform: entry.transform ?? "" };
}

/** @param {Ui.MappingRow} row */
function mappingOf(row) {
  const key = SOURCES.find(([type]) => type === row.source)?.[2];
  const value = row.source === "folder_path" ? (row.value.trim() === "" ? null : Number(row.value)) : row.value;
  const source = key && value !== null ? { type: row.source, [key]: value } : { type: row.source };
  return row.source === "file"
    ? { target_type: "blob", source }
    : { target_type: "field", source, ...(row.transform ? { transform: row.transform } : {}) };
}

/**
 * The settings that a draft makes: the body of create, and of PATCH.
 * @param {Ui.Draft} draft
 */
export function requestOf(draft) {
  const mappings = draft.mapping.filter((row) => row.target);
  return {
    connection_id: draft.connection_id,
    source_path: draft.source_path,
    sync_mode: draft.sync_mode,
    polling_interval_seconds: Number(draft.interval),
    file_filters: filtersOf(draft),
    schema_mapping: mappings.length ? { mappings: Object.fromEntries(mappings.map((row) => [row.target, mappingOf(row)])) } : null,
    reconcile: { on_update: draft.on_update, on_delete: draft.on_delete, on_filter_drift: draft.on_filter_drift },
    skip_duplicates: draft.skip_duplicates,
    description: draft.description || null,
  };
}

/**
 * What a row of the mapping gives for an entry, as far as its path tells.
 * @param {Ui.MappingRow} row
 * @param {string} path
 */
export function sampleOf(row, path) {
  const segments = path.split("/");
  const file = segments.pop() ?? "";
  const value = (() => {
    if (row.source === "file") return path;
    if (row.source === "constant") return row.value;
    if (row.source === "folder_path") return row.value.trim() === "" ? segments.at(-1) : segments.at(Number(row.value));
    if (row.source !== "filename_regex") return undefined;
    try {
      return new RegExp(row.value).exec(file)?.[1];
    } catch {
      return undefined;
    }
  })();
  if (value === undefined) return null;
  return { lowercase: value.toLowerCase(), uppercase: value.toUpperCase(), trim: value.trim() }[row.transform] ?? value;
}

/** A name for the bucket of a place. @param {string} place */
export function bucketNameFor(place) {
  const last = place.split("/").filter(Boolean).at(-1) ?? "";
  return last.toLowerCase().replace(/[^a-z0-9._-]+/g, "-").replace(/^[-._]+|[-._]+$/g, "").slice(0, 60);
}
