/** Doing something once although it is asked for often. */

/**
 * Does `act` once, after a while; asked again, that begins `anew` or not. `stop` forgets it.
 * @param {() => unknown} act @param {() => number} wait @param {boolean} anew
 */
function later(act, wait, anew) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const call = () => {
    if (anew) clearTimeout(timer);
    else if (timer !== undefined) return;
    timer = setTimeout(() => { timer = undefined; act(); }, wait());
  };
  call.stop = () => clearTimeout(timer);
  return call;
}

/**
 * Calls `act` at most once every `wait` milliseconds, and once more after the last call.
 * @param {() => unknown} act @param {number} wait
 */
export function soon(act, wait) {
  let last = 0;
  return later(() => { last = Date.now(); act(); }, () => Math.max(0, last + wait - Date.now()), false);
}

/**
 * Calls `act` once nothing has asked for it for `wait` milliseconds: for fields.
 * @param {() => unknown} act
 * @param {number} wait
 */
export const settled = (act, wait) => later(act, () => wait, true);
