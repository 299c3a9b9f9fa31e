/** What an object looks like in a list: a small picture where there is one, else a sign. */

import { at } from "./api.js";
import { h } from "./dom.js";
import { pictureOf } from "./objects.js";
import { icon } from "./parts.js";

/** @type {Set<string>} Addresses at which there was no picture; asked once. */
const faceless = new Set();
const REMEMBERED = 10_000;

/**
 * Whether the server may draw it: a picture, a frame, the first page, or the cover of music.
 * @param {string} mime
 */
export const mayHaveOne = (mime) => /^(image|video)\/|^application\/pdf$|^audio\/(mpeg|mp4|x-m4a|(x-)?flac|ogg)$/.test(mime);

/**
 * @param {string} bucket @param {Pick<Ui.Item, "id" | "mime" | "blob">} item
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
