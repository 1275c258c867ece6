/**
 * Keys: one map a page, and the dialog that shows it (?).
 *
 * In: `keys("Section", [{keys: ["j", "ArrowDown"], words: "next row", run, when, typing}])`. Out: a function
 * that takes them away again. A key is as KeyboardEvent.key says, with "Ctrl+", "Alt+" or "Shift+" in front
 * where needed ("Shift+ArrowDown"; letters and signs as typed, without Shift). `run(event)` may return false: not mine
 * after all. While somebody types into a field only entries with `typing: true` count; while a dialog is open
 * none does. Later sections are asked first.
 */
import { $, dialog, h } from "./dom.js";

const EVERYWHERE = "Everywhere";
const sections = [];

/** @returns {() => void} removes the section */
export function keys(title, entries) {
  const section = { title, entries };
  sections.push(section);
  return () => sections.splice(sections.indexOf(section), 1);
}

/** Open the dialog with all keys of the page. */
export function help() {
  if ($("dialog[open]")) return;
  const titles = [...new Set([...sections.map(({ title }) => title).filter((title) => title !== EVERYWHERE), EVERYWHERE])];
  const tables = titles.map((title) => {
    const entries = sections.filter((section) => section.title === title).flatMap((section) => section.entries);
    const rows = entries.filter((entry) => entry.words).map((entry) => {
      const shown = entry.keys.flatMap((key, i) => [i ? " or " : null, h("kbd", {}, spoken(key))]);
      return h("tr", {}, h("td", {}, shown), h("td", {}, entry.words));
    });
    return rows.length ? [h("h3", {}, title), h("table", { class: "keys" }, h("tbody", {}, rows))] : null;
  });
  dialog("Keys", ...tables);
}

const SPOKEN = { ArrowUp: "↑", ArrowDown: "↓", ArrowLeft: "←", ArrowRight: "→", " ": "Space", Escape: "Esc", PageUp: "Page up", PageDown: "Page down" };

function spoken(key) {
  const parts = key === " " || key === "+" ? [key] : key.split("+");
  return parts.map((part) => SPOKEN[part] ?? part).join(" + ");
}

function named(event) {
  const letter = event.key.length === 1;
  const shift = event.shiftKey && (!letter || event.key === " ");
  return `${event.ctrlKey || event.metaKey ? "Ctrl+" : ""}${event.altKey ? "Alt+" : ""}${shift ? "Shift+" : ""}${event.key}`;
}

/** Whether letters pressed here are text. */
export function isTyping(target) {
  if (target.isContentEditable || ["TEXTAREA", "SELECT"].includes(target.tagName)) return true;
  return target.tagName === "INPUT" && !["checkbox", "radio", "button", "submit", "range"].includes(target.type);
}

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.isComposing || $("dialog[open]")) return;
  const [name, typing] = [named(event), isTyping(event.target)];
  for (const { entries } of [...sections].reverse()) {
    for (const entry of entries) {
      if (!entry.keys.includes(name) || (typing && !entry.typing) || (entry.when && !entry.when(event))) continue;
      if (entry.run(event) === false) continue;
      event.preventDefault();
      return;
    }
  }
});

keys(EVERYWHERE, [{ keys: ["?"], words: "these keys", run: help }]);
