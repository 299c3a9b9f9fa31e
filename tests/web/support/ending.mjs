// What is to be done when a test ends: the last begun first, so that a page is gone before its
// server.

const endings = new WeakMap();

export function atEnd(t, act) {
  if (!endings.has(t)) {
    endings.set(t, []);
    t.after(async () => {
      const faults = [];
      for (const ending of endings.get(t).reverse()) await ending().catch((fault) => faults.push(fault));
      if (faults.length > 0) throw faults[0];
    });
  }
  endings.get(t).push(async () => act());
}
