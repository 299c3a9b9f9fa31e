/** Short messages about what was done, and what failed. */

/**
 * Says what was done, for a while. With `undo` it has a button that takes it back, and stays
 * longer.
 * @param {string} text @param {"good" | "bad"} [tone] @param {() => Promise<unknown>} [undo]
 */
export function note(text, tone = "good", undo) {
  const place = document.getElementById("notes");
  if (!place) return;
  const line = document.createElement("p");
  line.className = `note ${tone}`;
  line.textContent = text;
  if (undo) {
    const button = document.createElement("button");
    Object.assign(button, { type: "button", className: "undo", textContent: "Undo" });
    button.addEventListener("click", () => { line.remove(); attempt(undo); });
    line.append(" ", button);
  }
  place.append(line);
  setTimeout(() => line.remove(), undo ? 20000 : tone === "bad" ? 10000 : 5000);
}

/**
 * Does what a button is for; an error is shown, never swallowed.
 * @template T @param {() => Promise<T>} act @param {string} [done] what to say then
 */
export async function attempt(act, done) {
  try {
    const answer = await act();
    if (done) note(done);
    return answer;
  } catch (error) {
    note(error instanceof Error ? error.message : String(error), "bad");
    return undefined;
  }
}
