/** What a person can do about a failure of a connection, where its message says it. */

import { to } from "./addresses.js";
import { h } from "./dom.js";
import { button, command, link } from "./parts.js";
import { signInTo } from "./sign-in.js";

/**
 * The sign-in that a connection's credentials come from, if a person signed in.
 * @param {Api.Connection | null} [connection]
 */
export function signInOf(connection) {
  const signIn = signInTo(connection?.provider_type ?? "");
  return signIn?.renews.includes(connection?.provider_config.credentials?.type ?? "") ? signIn : null;
}

/**
 * The next step, or nothing where the message has none.
 * @param {?string} [message] @param {{connection?: Api.Connection | null, retry?: () => void}}
 * [options]
 */
export function wayOut(message, { connection, retry } = {}) {
  const text = message ?? "";
  const again = retry ? h("div.actions", button("Test again", retry, { kind: "small primary" })) : null;
  const [statement] = /ALTER USER [^;]+;/.exec(text) ?? [];
  if (statement) return h("div.way-out", h("p", h("b", "Run this one statement in Snowflake"), ", as a role that may alter the user:"), command(statement), again);
  const [, account] = /share [^.]*?with ([\w.+-]+@[\w-]+(?:\.[\w-]+)+)/i.exec(text) ?? [];
  if (account) return h("div.way-out", h("p", h("b", "Share the folder with this address"), ", as you would with a person:"), command(account), again);
  const signIn = signInOf(connection);
  if (signIn && connection && /sign in again/i.test(text)) {
    return h("div.way-out", h("p", h("b", "What to do: "), `sign in again, and agree at ${signIn.with}. Nothing else changes.`),
      h("div.actions", link("Sign in again", to.signIn(signIn.id, { renew: connection.connection_id }), { class: "button small primary" })));
  }
  return null;
}
