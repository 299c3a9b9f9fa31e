/** Numbers, times and names as people read them. */

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

/** @param {?number} [value] */
export const count = (value) => (value === null || value === undefined ? "–" : whole.format(value));

/** `1 file`, `2 files`. @param {number} value @param {string} one @param {string} [many] */
export const counted = (value, one, many = `${one}s`) => `${count(value)} ${value === 1 ? one : many}`;

/** @param {?number} [value] bytes */
export function bytes(value) {
  if (value === null || value === undefined) return "–";
  let size = value;
  let unit = 0;
  while (size >= 1024 && unit < UNITS.length - 1) {
    size /= 1024;
    unit += 1;
  }
  const digits = unit === 0 || size >= 100 ? 0 : size >= 10 ? 1 : 2;
  return `${size.toFixed(digits)} ${UNITS[unit]}`;
}

/** @param {?number} [seconds] */
export function duration(seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return "–";
  if (seconds < 1) return `${Math.max(0, Math.round(seconds * 1000))} ms`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.floor(seconds % 60)} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} days`;
}

/** How long a person would say it is. @param {number} seconds */
function roughly(seconds) {
  if (seconds < 60) return `${Math.round(seconds)} s`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)} h`;
  return counted(Math.round(seconds / 86400), "day");
}

/** Seconds in a week: what is older, or still to come, is told by its date. */
const WEEK = 604_800;

/**
 * How long ago within a week, else the date.
 * @param {?string} [time] RFC 3339 @param {number} [now]
 */
export function when(time, now = Date.now()) {
  if (!time) return "never";
  const seconds = (now - Date.parse(time)) / 1000;
  if (seconds > WEEK || seconds < -3) return day(time);
  return seconds < 3 ? "just now" : `${roughly(seconds)} ago`;
}

/** @param {?string} [time] RFC 3339 */
export const day = (time) =>
  (time ? new Date(time).toLocaleDateString("en-GB", { dateStyle: "medium" }) : "–");

/** @param {?string} [time] RFC 3339 @param {number} [now] */
export function until(time, now = Date.now()) {
  if (!time) return "–";
  const seconds = (Date.parse(time) - now) / 1000;
  if (seconds <= 0) return "due now";
  if (seconds < 600) {
    const left = Math.ceil(seconds);
    return `in ${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
  }
  return `in ${roughly(seconds)}`;
}

/** @param {?string} [time] RFC 3339 */
export function moment(time) {
  if (!time) return "–";
  return new Date(time).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "medium" });
}

/** @param {?string} [time] RFC 3339 */
export function clock(time) {
  return time ? new Date(time).toLocaleTimeString("en-GB") : "–";
}

/** @param {?number} [seconds] an interval of a schedule */
export function interval(seconds) {
  if (!seconds) return "–";
  if (seconds % 3600 === 0) return counted(seconds / 3600, "hour");
  if (seconds % 60 === 0) return counted(seconds / 60, "minute");
  return counted(seconds, "second");
}

/**
 * Characters that a screen would hide or obey: controls, and those that turn the direction of text.
 */
const UNSEEN = /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

/**
 * A name from outside with nothing hidden in it: control characters as their pictures, direction
 * marks by their code.
 * @param {string | null | undefined} text
 */
export function visible(text) {
  return (text ?? "").replace(UNSEEN, (character) => {
    const code = character.charCodeAt(0);
    if (code < 0x20) return String.fromCharCode(0x2400 + code);
    if (code === 0x7f) return "\u2421";
    return `\u27e8U+${code.toString(16).toUpperCase().padStart(4, "0")}\u27e9`;
  });
}

/** The last segment of a path; a trailing slash belongs to it. @param {string} path */
export function baseName(path) {
  const cut = path.lastIndexOf("/", path.length - 2);
  return path.slice(cut + 1) || path;
}
