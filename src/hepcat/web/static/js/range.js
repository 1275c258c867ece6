/**
 * The range picker that search and dashboard share: quick ranges, any range, one step back or on.
 *
 * In: `rangePicker({range, change, known})`: the range {since, until} (js/time.js), what to call with a new
 * one, and a function that returns the bounds in microseconds that the server answered for it (or null).
 * Out: {node, set(range)}. `set` shows another range without calling `change`.
 */
import { $, fill, h } from "./dom.js";
import { icon } from "./icons.js";
import { RANGES, absolute, label, now, onZone, parseLength, parseTime, resolve, stamp, step, zoneName } from "./time.js";

export function rangePicker({ range, change, known = () => null }) {
  let current = range;
  const words = h("span", { class: "label" });
  const open = h("button", { type: "button", class: "what", "aria-haspopup": "dialog", "aria-expanded": "false", onclick: () => unfold(panel.hidden) }, icon("clock"), words);
  const panel = h("div", { class: "menu pick", role: "dialog", "aria-label": "Time range", hidden: true });
  const node = h(
    "div",
    { class: "range" },
    h("div", { class: "group" }, move(-1, "left", "Earlier: one range back"), open, move(1, "right", "Later: one range on")),
    panel,
  );

  function move(direction, sign, words) {
    return h("button", { type: "button", class: "square", "aria-label": words, title: words, onclick: () => shift(direction) }, icon(sign));
  }
  function shift(direction) {
    const bounds = boundsOf();
    if (bounds) choose(step(bounds, direction));
  }
  function boundsOf() {
    const [own, told] = [current.since || current.until ? resolve(current) : {}, known()];
    const bounds = { since: own.since ?? told?.since, until: own.until ?? told?.until };
    return Number.isFinite(bounds.since) && Number.isFinite(bounds.until) ? bounds : null;
  }
  function choose(next) {
    unfold(false);
    show(next);
    change(next);
  }
  function show(next) {
    current = next;
    fill(words, label(next));
    open.title = `${label(next)} (${zoneName()})`;
  }
  function unfold(wanted) {
    if (wanted === !panel.hidden) return;
    if (wanted) fill(panel, quick(choose, current), custom(choose, boundsOf()));
    panel.hidden = !wanted;
    open.setAttribute("aria-expanded", String(wanted));
    if (wanted) $("[aria-pressed=true], button", panel).focus();
  }
  node.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || panel.hidden) return;
    event.preventDefault();
    unfold(false);
    open.focus();
  });
  document.addEventListener("pointerdown", (event) => node.contains(event.target) || unfold(false));
  onZone(() => {
    show(current);
    unfold(false);
  });
  show(range);
  return { node, set: show, step: shift };
}

function quick(choose, current) {
  const all = [...RANGES, { since: "", until: "" }];
  return h("div", { class: "quick", role: "group", "aria-label": "Quick ranges" }, all.map((range) => {
    const chosen = range.since === current.since && range.until === current.until;
    return h("button", { type: "button", "aria-pressed": String(chosen), onclick: () => choose(range) }, label(range).replace("last ", ""));
  }));
}

function custom(choose, bounds) {
  const field = (name, value) => h("input", { name, value, autocomplete: "off", spellcheck: "false", placeholder: "2026-11-22 13:46, 10:30, 2h, now" });
  const wrong = h("p", { class: "error", role: "alert", hidden: true });
  const from = field("since", bounds ? stamp(bounds.since, 0) : "");
  const to = field("until", bounds ? stamp(bounds.until, 0) : "");
  const submit = (event) => {
    event.preventDefault();
    const read = custom.read(from.value, to.value);
    wrong.hidden = !read.error;
    if (read.error) wrong.textContent = read.error;
    else choose(read.range);
  };
  return h("form", { onsubmit: submit, novalidate: true }, h("label", { class: "stack" }, "From", from), h("label", { class: "stack" }, "To", to), wrong, h("div", { class: "row" }, h("small", { class: "muted" }, `times in ${zoneName()}`), h("button", { class: "primary push" }, "Use this range")));
}

/** Two texts to {range} or {error}. A length of time with "now" or nothing after it stays relative. */
custom.read = (from, to) => {
  const open = !to.trim() || /^now$/i.test(to.trim());
  if (open && parseLength(from) !== null) return { range: { since: from.trim().toLowerCase(), until: "" } };
  const at = now();
  const [since, until] = [from.trim() ? parseTime(from, at) : null, open ? null : parseTime(to, at)];
  if (from.trim() && since === null) return { error: `“${from}” is not a time: write 2026-11-22 13:46, 10:30, or 2h for two hours ago` };
  if (!open && until === null) return { error: `“${to}” is not a time: write 2026-11-22 14:00, 11:00, or now` };
  if (since !== null && until !== null && since >= until) return { error: "The range ends before it begins." };
  const range = absolute(since ?? 0, until ?? 0);
  return { range: { since: since === null ? "" : range.since, until: until === null ? "" : range.until } };
};

export const readRange = custom.read;
