/** For a browser that the server does not know: how to come in. */

/** @import { Page } from "../app.js" */
import { request } from "../lib/api.js";
import { h } from "../lib/dom.js";
import { command, field, problem } from "../lib/parts.js";

/** @param {{redraw: () => void, entered: () => void}} visit @returns {Page} */
export function open(visit) {
  /** @type {{token: string, error: any, busy: boolean}} */
  const state = { token: "", error: null, busy: false };

  /** @param {Event} event */
  async function submit(event) {
    event.preventDefault();
    Object.assign(state, { busy: true, error: null });
    visit.redraw();
    try {
      await request("POST", "/v1/session", { token: state.token.trim() });
      visit.entered();
    } catch (error) {
      Object.assign(state, { busy: false, error });
      visit.redraw();
    }
  }

  return {
    title: () => "Sign in",
    view: () => h("div", { class: "login" },
      h("img", { src: "/icon.svg", alt: "", width: 48, height: 48 }),
      h("h1", null, "This browser is not signed in"),
      h("p", { class: "muted" }, "Catchment lets in who can run its command on this computer. Print a link that is good once, and open it here:"),
      command("catchment open"),
      h("form", { class: "stack", onsubmit: submit },
        field("Or paste the token", h("input", { type: "password", autocomplete: "off", required: true, value: state.token, oninput: (event) => { state.token = event.target.value; } }), { id: "token", hint: "catchment token prints it." }),
        state.error ? problem(state.error) : null,
        h("div", null, h("button", { type: "submit", class: "button primary", disabled: state.busy }, "Sign in")))),
  };
}
