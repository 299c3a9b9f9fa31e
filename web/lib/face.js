/** What an object looks like in a list: a small picture where there is one, else a sign. */

import { at } from "./api.js";
import { h } from "./dom.js";
import { pictureOf } from "./objects.js";
import { icon } from "./parts.js";

/** Pictures that the server does not draw, and sound that may carry a cover. */
const NEVER = new Set(["image/svg+xml", "image/heic", "image/heif", "image/avif", "image/jxl"]);
const COVERED = new Set(["audio/mpeg", "audio/mp4", "audio/x-m4a", "audio/flac", "audio/x-flac", "audio/ogg"]);

/** @type {Set<string>} Addresses at which there was no picture; asked once. */
const faceless = new Set();
const REMEMBERED = 10_000;

/** @param {string} mime */
const mayHaveOne = (mime) => (mime.startsWith("image/") ? !NEVER.has(mime) : COVERED.has(mime));

/**
 * @param {string} bucket @param {import("./objects.js").Item} item
 * @param {number} size of the longest edge, in pixels
 * @param {() => void} redraw called once it turns out that there is no picture
 */
export function face(bucket, item, size, redraw) {
  const sign = icon(pictureOf(item.mime));
  if (!item.blob || !mayHaveOne(item.mime)) return sign;
  const src = at.thumbnail(bucket, item.id, size);
  if (faceless.has(src)) return sign;
  const onerror = () => {
    if (faceless.size >= REMEMBERED) faceless.clear();
    faceless.add(src);
    redraw();
  };
  return h("img", { key: src, src, alt: "", loading: "lazy", decoding: "async", onerror });
}
