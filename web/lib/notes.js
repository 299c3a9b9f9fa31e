/** Traces of what was done, and of what could not be. */

/** Says what was done, for a while. @param {string} text @param {"good" | "bad"} [tone] */
export function note(text, tone = "good") {
  const place = document.getElementById("notes");
  if (!place) return;
  const line = document.createElement("p");
  line.className = `note ${tone}`;
  line.textContent = text;
  place.append(line);
  setTimeout(() => line.remove(), tone === "bad" ? 10000 : 5000);
}

/**
 * Does something at a press of a button; what went wrong is told, never swallowed.
 * @param {() => Promise<any>} act @param {string} [done] what to say then
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
