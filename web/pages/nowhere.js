/** The page of an address that names nothing. */

import { empty, link } from "../lib/parts.js";
import { h } from "../lib/dom.js";

export function open() {
  return {
    title: () => "Not found",
    view: () => [h("h1.sr", "Not found"), empty("Nothing is here", "There is no page at this address. It may have been deleted or mistyped.", link("Home", "#/", { class: "button primary" }))],
  };
}
