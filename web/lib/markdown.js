/** Markdown as elements: headings, lists, quotes, tables, code, links. Nothing in it is fetched. */

import { h } from "./dom.js";

const FENCE = /^ {0,3}(```+|~~~+)/;
const HEADING = /^ {0,3}(#{1,6})\s+(.*?)\s*#*$/;
const RULE = /^ {0,3}([-*_])(\s*\1){2,}\s*$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^(\s*)([-*+]|\d{1,9}[.)])\s+/;
const DIVIDER = /^\s*\|?(\s*:?-+:?\s*\|)+\s*:?-*:?\s*\|?\s*$/;

/** @param {string} text @returns {Ui.Child[]} */
export const markdown = (text) => blocks(text.replaceAll("\r\n", "\n").split("\n"), { level: 1 });

/**
 * @param {string[]} lines
 * @param {{level: number}} above the level of the last heading: none is skipped
 * @returns {Ui.Child[]}
 */
function blocks(lines, above) {
  const out = [];
  let at = 0;
  /** The lines from here on for which `test` holds. @param {(line: string) => boolean} test */
  const take = (test) => {
    const from = at;
    while (at < lines.length && test(lines[at])) at += 1;
    return lines.slice(from, at);
  };
  while (at < lines.length) {
    const line = lines[at];
    const [fence, heading, item] = [FENCE.exec(line), HEADING.exec(line), ITEM.exec(line)];
    if (!line.trim()) at += 1;
    else if (fence) {
      at += 1;
      out.push(h("pre", { tabindex: "0" }, take((next) => !next.trimStart().startsWith(fence[1])).join("\n")));
      at += 1;
    } else if (heading) {
      at += 1;
      above.level = Math.min(above.level + 1, heading[1].length + 1, 6);
      out.push(h(`h${above.level}`, inline(heading[2])));
    } else if (RULE.test(line)) {
      at += 1;
      out.push(h("hr"));
    } else if (QUOTE.test(line)) {
      out.push(h("blockquote", blocks(take((next) => QUOTE.test(next)).map((next) => next.replace(QUOTE, "")), above)));
    } else if (item) out.push(list(take(belongs(item[1].length)), item, above));
    else if (line.includes("|") && DIVIDER.test(lines[at + 1] ?? "")) out.push(table(take((next) => next.includes("|"))));
    else out.push(h("p", inline(take((next) => Boolean(next.trim()) && ![FENCE, HEADING, QUOTE, ITEM].some((begins) => begins.test(next))).join(" "))));
  }
  return out;
}

/** Whether a line continues a list that is indented so. @param {number} indent */
const belongs = (indent) => (/** @type {string} */ line) => !line.trim() || /^\s*/.exec(line)?.[0].length !== indent || ITEM.test(line);

/** @param {string[]} lines @param {RegExpExecArray} first @param {{level: number}} above */
function list(lines, [, indent, mark], above) {
  /** @type {string[][]} */
  const items = [];
  for (const line of lines) {
    const begins = ITEM.exec(line);
    if (begins && begins[1].length <= indent.length) items.push([line.slice(begins[0].length)]);
    else items.at(-1)?.push(line.replace(/^ {1,4}|^\t/, ""));
  }
  return h(/\d/.test(mark) ? "ol" : "ul", items.map((item) => {
    const [text, ...rest] = item;
    return h("li", inline(text), rest.some((line) => line.trim()) ? blocks(rest, above) : null);
  }));
}

/** @param {string[]} lines */
function table([head, , ...rows]) {
  /** @param {string} line */
  const cells = (line) => line.trim().replace(/^\||\|$/g, "").split("|").map((cell) => inline(cell.trim()));
  return h("table", h("thead", h("tr", cells(head).map((cell) => h("th", { scope: "col" }, cell)))),
    h("tbody", rows.map((row) => h("tr", cells(row).map((cell) => h("td", cell))))));
}

const INLINE = /(`+)(.+?)\1|!\[([^\]]*)\]\([^)]*\)|\[([^\]]+)\]\((\S+?)(?:\s+"[^"]*")?\)|<(https?:[^>\s]+)>|(\*\*|__)(?=\S)(.+?)\7|([*_])(?=\S)(.+?)\9(?!\w)|~~(.+?)~~/;

/** @param {string} text @returns {Ui.Child[]} */
function inline(text) {
  /** @type {Ui.Child[]} */
  const out = [];
  let rest = text;
  for (let found = INLINE.exec(rest); found; found = INLINE.exec(rest)) {
    const [all, , code, picture, label, to, bare, , bold, , slanted, struck] = found;
    out.push(rest.slice(0, found.index), code !== undefined ? h("code", code)
      : picture !== undefined ? h("em", picture || "picture")
        : label ? linked(to, inline(label))
          : bare ? linked(bare, [bare])
            : bold ? h("strong", inline(bold))
              : slanted ? h("em", inline(slanted)) : h("del", inline(struck)));
    rest = rest.slice(found.index + all.length);
  }
  return [...out, rest];
}

/**
 * A link that leaves this app, if it leads to the web; else only its words.
 * @param {string} to @param {Ui.Child[]} words
 */
const linked = (to, words) =>
  (/^(https?|mailto):/i.test(to) ? h("a", { href: to, target: "_blank", rel: "noopener noreferrer" }, words) : words);
