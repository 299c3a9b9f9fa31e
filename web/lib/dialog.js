/** Questions, asked once. Native dialogs: Escape closes, focus stays inside and returns. */

import { h, render } from "./dom.js";
import { problem } from "./parts.js";

/**
 * Asks before something is done, and does it while the dialog is open, so that an error is shown in
 * it. Returns whether it was done.
 * @param {{title: string, body: Ui.Child, action: string, danger?: boolean, field?:
 * {label: string,
 *   placeholder?: string, value?: string}, run: (text: string) => Promise<unknown>}} question
 * @returns {Promise<boolean>}
 */
export function ask(question) {
  return new Promise((resolve) => {
    const dialog = document.createElement("dialog");
    /** @type {{text: string, busy: boolean, error: unknown, done: boolean}} */
    const state = { text: question.field?.value ?? "", busy: false, error: null, done: false };
    const draw = () => render(dialog, view());
    const view = () =>
      h("form", {
          method: "dialog",
          onsubmit: async (event) => {
            event.preventDefault();
            if (state.busy) return;
            Object.assign(state, { busy: true, error: null });
            draw();
            try {
              await question.run(state.text);
              state.done = true;
              dialog.close();
            } catch (error) {
              Object.assign(state, { busy: false, error });
              draw();
            }
          },
        },
        h("h2", { id: "dialog-title" }, question.title),
        h("div.dialog-body", question.body),
        question.field
          ? h("label.field", h("span", question.field.label), h("input", {
              type: "text", value: state.text, placeholder: question.field.placeholder, maxlength: 500,
              oninput: (event) => { state.text = event.target.value; },
            }))
          : null,
        state.error ? problem(state.error) : null,
        h("div.actions.end", h("button", { type: "button", class: "button", onclick: () => dialog.close() }, "Cancel"),
          h("button", { type: "submit", class: `button ${question.danger ? "danger" : "primary"}`, disabled: state.busy }, question.action),
        ),
      );
    dialog.setAttribute("aria-labelledby", "dialog-title");
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(state.done);
    });
    document.body.append(dialog);
    draw();
    dialog.showModal();
  });
}
