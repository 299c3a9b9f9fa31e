/** For a browser that the server does not know: how to come in. */

/** @import { Page } from "../app.js" */

import { h } from "../lib/dom.js";
import { command } from "../lib/parts.js";

/** @returns {Page} */
export function open() {
  return {
    title: () => "Sign in",
    view: () => h("div.login", h("img", { src: "/icon.svg", alt: "", width: 48, height: 48 }),
      h("h1", "This browser is not signed in"),
      h("p.muted", "Catchment lets in who can run its command on this computer. It prints a link that is good once; open it in this browser."),
      command("catchment open")),
  };
}
