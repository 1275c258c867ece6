/**
 * What administrators do here: switch capture, read the configuration again.
 *
 * In: who is logged in, what the server said last. Out: POST /api/capture and /api/reload, and words about what
 * came of it. Switching off asks first; others than administrators see the switch, and why they cannot use it.
 */
import { post } from "../api.js";
import { dialog, fill, h, notice, say } from "../dom.js";
import { clock, now } from "../time.js";

/** What is said where the switch cannot be used. */
export const ONLY_ADMINS = "Only administrators may switch capture or reload.";

/**
 * @param {Element} told where the outcome is said
 * @param {() => void} changed called after each change
 */
export function makeSwitches(told, changed) {
  let admin = false;
  let words = "It is not known yet who you are.";

  /** Learn who is logged in: the answer of /api/session, null where it is not known. */
  const who = (session) => {
    admin = session?.role === "admin";
    words = admin ? "" : session?.user ? `${ONLY_ADMINS} ${session.user} is ${session.role}.` : ONLY_ADMINS;
  };

  /** A switch for one source, or for all where there is none. `show(on)` says how it stands. */
  const make = (source, name) => {
    const word = h("span", { class: "word" });
    const button = h("button", { type: "button", class: "switch", role: "switch", "aria-checked": "true", "aria-label": `Capture: ${name}` }, h("span", { class: "knob", "aria-hidden": "true" }), word);
    let on = true;
    button.addEventListener("click", () => (on ? ask(source, name) : turn(source, name, "on")));
    const show = (stands) => {
      on = stands;
      button.setAttribute("aria-checked", String(on));
      word.textContent = on ? "on" : "off";
      button.disabled = !admin;
      button.title = words;
    };
    return { node: button, show };
  };

  const ask = (source, name) => {
    const off = h("button", { type: "button", class: "danger", onclick: () => (box.close(), turn(source, name, "off")) }, "Switch off");
    const box = dialog(
      "Switch capture off?",
      source ? h("p", {}, "This switches capture off for ", h("code", {}, name), ".") : h("p", {}, "This switches capture off for all sources."),
      h("p", {}, "What arrives from then on is counted as capture_off and not stored. Nothing brings it back."),
      h("footer", {}, h("button", { type: "button", onclick: () => box.close() }, "Leave it on"), off),
    );
  };

  const turn = async (source, name, mode) => {
    try {
      await post("/api/capture", { mode, ...(source ? { source } : {}) });
      tell("note", `Capture was switched ${mode} at ${clock(now(), 0)}: ${name}.`);
    } catch (problem) {
      tell("error", `Capture was not switched ${mode}: ${problem.detail ?? problem.message}`, problem.hint);
    }
    changed();
  };

  const reload = async (event) => {
    const button = event.currentTarget;
    button.disabled = true;
    try {
      const { notes = [] } = await post("/api/reload");
      tell(notes.length ? "warning" : "note", `The configuration is in force since ${clock(now(), 0)}.`, ...notes);
    } catch (problem) {
      tell("error", `The configuration was not put in force: ${problem.detail ?? problem.message}`, problem.hint);
    }
    button.disabled = !admin;
    changed();
  };

  const tell = (kind, sentence, ...more) => {
    const lines = more.filter(Boolean);
    fill(told, notice(kind, h("p", {}, sentence), lines.length ? h("ul", {}, lines.map((line) => h("li", {}, line))) : null));
    if (kind !== "error") say(sentence);
  };

  return { who, make, reload, isAdmin: () => admin, why: () => words };
}
