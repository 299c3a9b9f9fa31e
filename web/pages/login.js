/** For a browser that is not signed in: how to sign in. */

import { h } from "../lib/dom.js";
import { command } from "../lib/parts.js";

/** @returns {Ui.Page} */
export function open() {
  return {
    title: () => "Sign in",
    view: () => h("div.login", h("img", { src: "/icon.svg", alt: "", width: 48, height: 48 }),
      h("h1", "This browser is not signed in"),
      h("p.muted", "Run this command on the computer that Catchment runs on. It prints a link that works once; open it in this browser."),
      command("catchment open")),
  };
}
