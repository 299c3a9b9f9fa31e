/** Signing in to a provider: setting up a client there, step by step, then the sign-in itself. */

import { to } from "../lib/addresses.js";
import { at, get, post } from "../lib/api.js";
import { h } from "../lib/dom.js";
import { button, command, field, icon, input, link, name, pageHead, problem, said } from "../lib/parts.js";
import { begin, draftOf, forgetDraft, isHere, keepDraft, signInTo } from "../lib/sign-in.js";

/** How often a sign-in that continues elsewhere is looked at, in milliseconds. */
const LOOK = 1000;

/** @param {Ui.Visit} visit @returns {Ui.Page} */
export function open(visit) {
  const provider = signInTo(visit.params[0]);
  const renew = visit.query.get("renew");
  const ended = visit.query.get("ended");
  if (!provider) return { title: () => "Sign in", view: () => pageHead("There is no such sign-in", link("Back to the connections", "#/connections")) };
  const draft = draftOf(provider.id);
  /**
   * @type {{step: number, wrong: Record<string, string>, busy: boolean, error: unknown, begun:
   * Api.SignInStarted | null, url: string, failed: string | null, connection: Api.Connection |
   * null}}
   */
  const state = { step: draft.clientId && ended ? provider.steps.length - 1 : 0, wrong: {}, busy: false, error: null, begun: null, url: "", failed: null, connection: null };
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let looking;

  /** Checks a step's fields, and continues to the next step. @param {number} index */
  function done(index) {
    const wrong = (provider?.steps[index].fields ?? []).map((one) => [one.key, one.check(draft[one.key].trim())]);
    state.wrong = Object.fromEntries(wrong.filter(([, what]) => what));
    if (!Object.keys(state.wrong).length) state.step = index + 1;
    visit.redraw();
  }

  /** @param {boolean} device */
  async function start(device) {
    if (!provider) return;
    Object.assign(state, { busy: true, error: null, failed: null });
    visit.redraw();
    try {
      keepDraft(provider.id, draft);
      const begun = await begin(provider, draft, { renew, device });
      if (begun.authorize_url && isHere()) {
        location.href = begun.authorize_url;
        return;
      }
      Object.assign(state, { begun, busy: false });
      look();
    } catch (error) {
      Object.assign(state, { busy: false, error });
    }
    visit.redraw();
  }

  /** Waits for the end of a sign-in that continues elsewhere. */
  function look() {
    looking = setTimeout(async () => {
      const now = await get(`/v1/sign-ins/${state.begun?.sign_in_id}`).catch(() => null);
      if (now) settle(now);
      if (state.begun) look();
    }, LOOK);
  }

  /** @param {Api.SignIn} now */
  function settle(now) {
    if (now.status === "waiting") return;
    state.begun = null;
    if (now.status === "done") {
      if (provider) forgetDraft(provider.id);
      visit.go(`${to.connection(now.connection_id ?? "")}?test=1`);
      return;
    }
    state.failed = now.status === "expired" ? "Nobody signed in within ten minutes." : now.error ?? null;
    visit.redraw();
  }

  async function paste() {
    Object.assign(state, { busy: true, error: null });
    visit.redraw();
    try {
      const now = await post(`/v1/sign-ins/${state.begun?.sign_in_id}/answer`, { url: state.url });
      state.busy = false;
      settle(now);
    } catch (error) {
      Object.assign(state, { busy: false, error });
    }
    visit.redraw();
  }

  return {
    title: () => `Sign in with ${provider.with}`,
    close: () => clearTimeout(looking),
    refresh: async () => {
      const [failed, connection] = await Promise.all([
        ended ? get(`/v1/sign-ins/${encodeURIComponent(ended)}`).catch(() => null) : null,
        renew ? get(at.connection(renew)) : null,
      ]);
      if (failed?.status === "failed") state.failed = failed.error ?? null;
      state.connection = connection;
    },
    view: () => [
      pageHead(`Sign in with ${provider.with}`, renew
        ? "Your client stays as it is; only the sign-in is renewed."
        : `Catchment reads ${provider.what} through a client of your own, so that nobody else stands between you and your files. Setting it up takes about five minutes, once.`),
      state.failed ? h("div.problem", { role: "alert" }, icon("alert"), h("div", h("p", said(state.failed)), h("p", "Nothing was changed. You can sign in again."))) : null,
      renew ? (state.connection ? h("p", "The connection: ", name(state.connection.name)) : null)
        : h("ol.steps", provider.steps.map((step, index) => stepOf(step, index))),
      renew || state.step >= provider.steps.length ? last() : null,
      state.error ? problem(state.error) : null,
    ],
  };

  /** @param {Ui.Step} step @param {number} index */
  function stepOf(step, index) {
    const isDone = index < state.step;
    if (index > state.step) return h("li.step.later", { key: index }, h("h2", step.title));
    return h("li", { key: index, class: `step ${isDone ? "done" : "now"}`, "aria-current": isDone ? null : "step" },
      h("h2", isDone ? icon("check") : null, step.title, isDone ? h("span.sr", " (done)") : null),
      isDone ? button("Change", () => { state.step = index; visit.redraw(); }, { kind: "small quiet", "aria-label": `Change: ${step.title}` })
        : h("form.stack", { onsubmit: (event) => { event.preventDefault(); done(index); } },
          h("div", step.body),
          step.href ? h("p", h("a", { class: "button", href: step.href, target: "_blank", rel: "noopener noreferrer" }, step.go ?? "Open")) : null,
          (step.fields ?? []).map((one) => h("div", { key: one.key }, field(one.label, input(draft[one.key], (value) => { draft[one.key] = value; }, { type: one.secret ? "password" : "text", required: !one.optional }),
            { id: `sign-in-${one.key}`, hint: one.hint, error: state.wrong[one.key] }))),
          h("div.actions", h("button", { type: "submit", class: "button primary" }, step.done ?? "Done"))),
    );
  }

  function last() {
    if (state.begun?.user_code) {
      return h("section.panel.stack", { "aria-label": "On another device" }, h("h2", "On any other device"),
        h("p", "Open ", h("a", { href: state.begun.verification_url, target: "_blank", rel: "noopener noreferrer" }, state.begun.verification_url), " and enter this code:"),
        command(state.begun.user_code), h("p", { role: "status" }, "Waiting until you have signed in there…"));
    }
    if (state.begun) {
      return h("section.panel.stack", { "aria-label": "In your browser" }, h("h2", "Sign in, then paste the address"),
        h("p", h("a", { class: "button primary", href: state.begun.authorize_url, target: "_blank", rel: "noopener noreferrer" }, `Sign in with ${provider?.with}`)),
        h("p", "In the end your browser shows a page that cannot be reached: Catchment runs on another computer. Copy the whole address of that page from the address bar and paste it here:"),
        h("form.stack", { onsubmit: (event) => { event.preventDefault(); paste(); } },
          field("Address", input(state.url, (value) => { state.url = value; }, { required: true, placeholder: "http://…/oauth/callback?…" }), { id: "sign-in-url" }),
          h("div.actions", h("button", { type: "submit", class: "button primary", disabled: state.busy }, "Finish"))));
    }
    return h("section.panel.stack", { "aria-label": "Sign in" }, h("h2", "Sign in"),
      h("p", provider?.id === "google_drive" ? "Google asks you to agree that your client may see your files. Catchment only ever reads them." : "Microsoft asks you to agree that your application may read your files. Catchment only ever reads them."),
      renew ? null : field("Name of the connection", input(draft.name, (value) => { draft.name = value; }, { maxlength: 100, placeholder: provider?.with }), { id: "sign-in-name", hint: "To recognise it by; may be left empty" }),
      h("div.actions", button(state.busy ? "One moment…" : `Sign in with ${provider?.with}`, () => start(false), { kind: "primary", busy: state.busy }),
        provider?.onDevices ? button("Sign in on another device", () => start(true), { busy: state.busy }) : null));
  }
}
