/**
 * Where one was: for each entry of the browser's history, how far the page was scrolled, what had
 * the focus, and what the page wants back. Gone with the tab.
 */

/**
 * @typedef {{scroll: number, focus: [selector: string, nth: number] | null, page: unknown}} Kept
 */

/** @type {Map<string, Kept>} */
const kept = new Map();
/** Entries that are remembered. */
const REMEMBERED = 200;

/** The entry of the history that is shown; one that was never left gets its name now. */
export function entry() {
  const known = history.state?.entry;
  if (known) return /** @type {string} */ (known);
  const name = `${Date.now()} ${Math.random()}`;
  history.replaceState({ entry: name }, "");
  return name;
}

/** Remembers how an entry is left. @param {string} name @param {unknown} page */
export function leave(name, page) {
  kept.delete(name);
  kept.set(name, { scroll: scrollY, focus: describe(document.activeElement), page });
  const [oldest] = kept.keys();
  if (kept.size > REMEMBERED) kept.delete(oldest);
}

/** @param {string} name */
export const left = (name) => kept.get(name);

/**
 * Scrolls and focuses as it was; returns whether there was something to focus.
 * @param {Kept} was
 */
export function restore({ scroll, focus }) {
  scrollTo(0, scroll);
  const element = focus && document.querySelectorAll(focus[0])[focus[1]];
  if (element instanceof HTMLElement) element.focus({ preventScroll: true });
  return document.activeElement === element;
}

/** How to find an element again in a page that was drawn anew. @param {Element | null} element */
function describe(element) {
  if (!element || element === document.body || !element.closest("main")) return null;
  const by = ["id", "href", "aria-label", "name"].find((name) => element.hasAttribute(name));
  const tag = element.tagName.toLowerCase();
  const selector = `main ${tag}${by ? `[${by}="${CSS.escape(element.getAttribute(by) ?? "")}"]` : ""}`;
  return /** @type {[string, number]} */ ([selector, [...document.querySelectorAll(selector)].indexOf(element)]);
}
