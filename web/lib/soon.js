/** Doing a thing once though it is asked for often. */

/**
 * Calls `act` at most once every `wait` milliseconds, and once more after the last call.
 * @param {() => any} act @param {number} wait
 */
export function soon(act, wait) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  let last = 0;
  const call = () => {
    if (timer !== undefined) return;
    timer = setTimeout(() => {
      timer = undefined;
      last = Date.now();
      act();
    }, Math.max(0, last + wait - Date.now()));
  };
  call.stop = () => clearTimeout(timer);
  return call;
}

/**
 * Calls `act` once nothing has asked for it for `wait` milliseconds: for fields that are typed in.
 * @param {() => any} act @param {number} wait
 */
export function settled(act, wait) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const call = () => {
    clearTimeout(timer);
    timer = setTimeout(act, wait);
  };
  call.stop = () => clearTimeout(timer);
  return call;
}
