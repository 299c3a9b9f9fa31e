/**
 * Draws trees of plain values into the page, touching only what differs from what is there, so that
 * focus, scroll places and half-typed fields survive a redraw. Text is always text: nothing here
 * parses markup.
 */

const SVG = "http://www.w3.org/2000/svg";

/** Set as properties: attributes have no effect once a person has used the field. */
const PROPERTIES = new Set(["value", "checked", "indeterminate", "open", "muted"]);

/**
 * An element to draw: `h("p.muted", { id: "x" }, "text")`. `what` is its tag and classes. The props
 * may be left out; they are attributes; `on…` handlers; `key` for its identity among its siblings;
 * `style` as an object; `mount(element)`, called once it is in the page, which may return a
 * function to call when it is removed. False, null and undefined leave an attribute out.
 * @param {string} what
 * @param {Ui.Props | Ui.Child} [props]
 * @param {...Ui.Child} children
 * @returns {Ui.Drawing}
 */
export function h(what, props, ...children) {
  const [tag, ...classes] = what.split(".");
  const own = isProps(props) ? props : null;
  const { key, ...rest } = own ?? {};
  if (classes.length) rest.class = [...classes, rest.class ?? ""].join(" ").trim();
  return { tag, props: rest, children: flat(own ? children : [/** @type {Ui.Child} */ (props), ...children]), key };
}

/** @param {Ui.Props | Ui.Child} value @returns {value is Ui.Props} */
const isProps = (value) => typeof value === "object" && value !== null && !Array.isArray(value) && !("children" in value);

/** @param {Ui.Child[]} children @returns {Ui.Drawing[]} */
function flat(children) {
  /** @type {Ui.Drawing[]} */
  const out = [];
  for (const child of children) {
    if (Array.isArray(child)) out.push(...flat(child));
    else if (child === null || child === undefined || typeof child === "boolean") continue;
    else if (typeof child === "object") out.push(child);
    else out.push({ tag: "#text", props: {}, children: [], text: String(child) });
  }
  return out;
}

/** @type {WeakMap<Element, Ui.Drawing[]>} What each root shows now. */
const drawn = new WeakMap();

/**
 * Makes `root` show `children` and nothing else.
 * @param {Element} root
 * @param {...Ui.Child} children
 */
export function render(root, ...children) {
  const next = flat(children);
  const before = drawn.get(root);
  if (!before) root.replaceChildren();
  /** @type {(() => void)[]} */
  const mounted = [];
  patchChildren(root, before ?? [], next, false, mounted);
  drawn.set(root, next);
  for (const mount of mounted) mount();
}

/**
 * @param {Element} parent @param {Ui.Drawing[]} before @param {Ui.Drawing[]} next
 * @param {boolean} svg @param {(() => void)[]} mounted
 */
function patchChildren(parent, before, next, svg, mounted) {
  const match = matcher(before);
  /** @type {Ui.Drawing[]} */
  const gone = [];
  const pairs = next.map((node) => match(node, gone));
  for (const old of [...gone, ...match.rest()]) remove(old);
  /** @type {ChildNode | null} */
  let place = parent.firstChild;
  next.forEach((node, index) => {
    const old = pairs[index];
    if (old) patch(old, node, svg, mounted);
    else create(node, svg, mounted);
    if (node.dom === place) place = place?.nextSibling ?? null;
    else if (node.dom) parent.insertBefore(node.dom, place);
  });
}

/**
 * Finds for each node the one that it takes the place of: by key, else the next one of its kind.
 * @param {Ui.Drawing[]} before
 */
function matcher(before) {
  /** @type {Map<string, Ui.Drawing>} */
  const keyed = new Map();
  /** @type {Ui.Drawing[]} */
  const loose = [];
  for (const old of before) {
    if (old.key === undefined) loose.push(old);
    else keyed.set(`${old.tag} ${old.key}`, old);
  }
  let at = 0;
  /** @param {Ui.Drawing} node @param {Ui.Drawing[]} gone @returns {Ui.Drawing | undefined} */
  const match = (node, gone) => {
    if (node.key !== undefined) {
      const id = `${node.tag} ${node.key}`;
      const old = keyed.get(id);
      keyed.delete(id);
      return old;
    }
    const found = loose.findIndex((old, index) => index >= at && old.tag === node.tag);
    if (found < 0) return undefined;
    gone.push(...loose.slice(at, found));
    at = found + 1;
    return loose[found];
  };
  match.rest = () => [...loose.slice(at), ...keyed.values()];
  return match;
}

/** @param {Ui.Drawing} node */
function remove(node) {
  unmount(node);
  node.dom?.remove();
}

/** @param {Ui.Drawing} node */
function unmount(node) {
  node.unmount?.();
  node.children.forEach(unmount);
}

/** @param {Ui.Drawing} node @param {boolean} svg @param {(() => void)[]} mounted */
function create(node, svg, mounted) {
  if (node.tag === "#text") {
    node.dom = document.createTextNode(node.text ?? "");
    return;
  }
  const inside = svg || node.tag === "svg";
  const element = inside ? document.createElementNS(SVG, node.tag) : document.createElement(node.tag);
  node.dom = element;
  patchChildren(element, [], node.children, inside, mounted);
  patchProps(element, {}, node.props);
  const mount = node.props.mount;
  if (mount) mounted.push(() => { node.unmount = mount(/** @type {HTMLElement} */ (element)); });
}

/**
 * @param {Ui.Drawing} old
 * @param {Ui.Drawing} node
 * @param {boolean} svg
 * @param {(() => void)[]} mounted
 */
function patch(old, node, svg, mounted) {
  node.dom = old.dom;
  node.unmount = old.unmount;
  if (node.dom instanceof Text) {
    if (old.text !== node.text) node.dom.data = node.text ?? "";
    return;
  }
  if (!node.dom) return;
  patchChildren(node.dom, old.children, node.children, svg || node.tag === "svg", mounted);
  patchProps(node.dom, old.props, node.props);
}

/** An element by the names of its properties. @typedef {Element & Record<string, unknown>} Open */

/** @param {Element} element_ @param {Ui.Props} before @param {Ui.Props} next */
function patchProps(element_, before, next) {
  const element = /** @type {Open} */ (element_);
  for (const name of Object.keys(before)) {
    if (!(name in next)) setProp(element, name, undefined, before[name]);
  }
  for (const name of Object.keys(next)) {
    if (PROPERTIES.has(name)) {
      if (next[name] !== undefined && element[name] !== next[name]) element[name] = next[name];
    } else if (before[name] !== next[name]) {
      setProp(element, name, next[name], before[name]);
    }
  }
}

/** @param {Open} element @param {string} name @param {unknown} value @param {unknown} before */
function setProp(element, name, value, before) {
  if (name === "mount") return;
  if (name.startsWith("on")) {
    element[name] = value ?? null;
  } else if (name === "style") {
    const { style } = /** @type {HTMLElement} */ (/** @type {Element} */ (element));
    for (const property of Object.keys(before ?? {})) {
      if (!Object.hasOwn(value ?? {}, property)) style.removeProperty(property);
    }
    for (const [property, to] of Object.entries(value ?? {})) style.setProperty(property, String(to));
  } else if (PROPERTIES.has(name)) {
    if (typeof before === "boolean") element[name] = false;
  } else if (value === undefined || value === null || (value === false && !name.startsWith("aria-"))) {
    element.removeAttribute(name);
  } else {
    element.setAttribute(name, value === true && !name.startsWith("aria-") ? "" : String(value));
  }
}
