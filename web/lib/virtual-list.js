/**
 * Lists of any length: only the rows in view are drawn, only the pages in view are requested.
 */

/** Browsers cannot draw taller elements; a longer list scrolls in proportion. */
const TALLEST = 15_000_000;
/** Pages that are remembered. */
const REMEMBERED = 60;

/**
 * Rows by their place, fetched a page at a time when they are first looked at.
 * @template T
 * @param {{size: number, load: (offset: number, limit: number, signal: AbortSignal) =>
 * Promise<T[]>,
 *   changed: () => void, failed: (error: unknown) => void}} options
 */
export function pagedRows({ size, load, changed, failed }) {
  /** @type {Map<number, T[]>} */
  const pages = new Map();
  /** @type {Map<number, AbortController>} */
  const asked = new Map();

  /** @param {number} page */
  async function fetchPage(page) {
    const stop = new AbortController();
    asked.set(page, stop);
    try {
      const rows = await load(page * size, size, stop.signal);
      if (stop.signal.aborted) return;
      pages.set(page, rows);
      if (pages.size > REMEMBERED) pages.delete(/** @type {number} */ (pages.keys().next().value));
      changed();
    } catch (error) {
      if (!stop.signal.aborted) failed(error);
    } finally {
      if (asked.get(page) === stop) asked.delete(page);
    }
  }

  return {
    /** @param {number} index @returns {T | undefined} */
    at: (index) => pages.get(Math.floor(index / size))?.[index % size],
    /**
     * Asks for what lies between, not for what was scrolled past.
     * @param {number} from
     * @param {number} to
     */
    want(from, to) {
      const [first, last] = [Math.floor(from / size), Math.floor(Math.max(from, to - 1) / size)];
      for (const [page, stop] of asked) {
        if (page < first - 1 || page > last + 1) {
          stop.abort();
          asked.delete(page);
        }
      }
      for (let page = first; page <= last; page += 1) if (!pages.has(page) && !asked.has(page)) fetchPage(page);
    },
    /** Forgets everything: another list, or one that changed. */
    clear() {
      for (const stop of asked.values()) stop.abort();
      asked.clear();
      pages.clear();
    },
  };
}

/**
 * Which rows are in sight, and where they are drawn. The page scrolls, and `scrolled` is how much
 * of the list is above the screen.
 * @param {{rows: number, rowHeight: number, scrolled: number, viewHeight: number}} state
 */
export function inSight({ rows, rowHeight, scrolled, viewHeight }) {
  const full = rows * rowHeight;
  const height = Math.min(full, TALLEST);
  const scale = height > viewHeight ? (full - viewHeight) / (height - viewHeight) : 1;
  const scrollTop = Math.max(0, Math.min(scrolled, height - viewHeight));
  const shift = scrollTop * scale;
  const first = Math.max(0, Math.floor(shift / rowHeight) - 4);
  const last = Math.min(rows, Math.ceil((shift + viewHeight) / rowHeight) + 4);
  return {
    height, first, last,
    /** @param {number} row */
    top: (row) => row * rowHeight - shift + scrollTop,
    /**
     * How far to scroll so that a row is in sight, `above` and `below` left free; 0 when it is.
     * @param {number} row @param {number} above @param {number} below
     */
    reveal(row, above, below) {
      const place = row * rowHeight;
      const top = shift + scrolled - scrollTop;
      if (place < top + above) return (place - above - top) / scale;
      if (place + rowHeight > top + viewHeight - below) return (place + rowHeight + below - top - viewHeight) / scale;
      return 0;
    },
  };
}
