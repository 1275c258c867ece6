/**
 * The controls over the picture: colours, what is hidden, other legs, export, the link.
 *
 * In: the answer, the view, what to do on a change. Out: elements. Nothing can go wrong.
 */

import { fill, h } from "../dom.js";
import { count } from "../format.js";
import { icon } from "../icons.js";
import { methodCounts } from "./model.js";
import { safe } from "../safe.js";

/**
 * @param {any} answer
 * @param {() => import("./view.js").View} view the one that holds now
 * @param {(change: Partial<import("./view.js").View>, load?: boolean) => void} change
 * @returns {{nodes: Node[], update: (shown: import("./model.js").Shown) => void}} `update` after every change:
 *   the controls stay, so that focus and open menus do too
 */
export function makeControls(answer, view, change) {
  /** @type {[HTMLInputElement, (now: import("./view.js").View) => boolean][]} */
  const boxes = [];
  const box = (words, holds, run, title = null) => {
    const input = h("input", { type: "checkbox", onchange: () => run(input.checked) });
    boxes.push([input, holds]);
    return h("label", { title }, input, words);
  };
  const colors = ["transaction", "call"].map((value) => h("button", { type: "button", dataset: { color: value }, onclick: () => change({ color: value }) }, value === "call" ? "by Call-ID" : "by transaction"));
  const words = h("span", {}, "Show");
  const told = h("span", { class: "muted push", id: "shown", role: "status" });
  const nodes = [
    h("span", { class: "group", role: "group", "aria-label": "Colour" }, colors),
    menu("filter", words, "show-menu", hideBoxes(answer, view, change, box)),
    box("other legs", (now) => now.related, (on) => change({ related: on }, true), "Look for the other legs of the same call"),
    told,
  ];
  const update = (shown) => {
    const now = view();
    for (const [input, holds] of boxes) input.checked = holds(now);
    for (const button of colors) button.setAttribute("aria-pressed", String(button.dataset.color === shown.color));
    const away = now.hosts.size + now.methods.size + Number(now.once) + Number(now.appearance);
    words.textContent = away ? `Show (${away} changed)` : "Show";
    fill(told, count(answer.ladder.messages.length, "message"), shown.hidden ? h("b", {}, `, ${shown.hidden} hidden`) : null);
  };
  return { nodes, update };
}

/** Hosts and methods with a box each. */
function hideBoxes(answer, view, change, box) {
  const { hosts, messages } = answer.ladder;
  const toggled = (set, name, on) => {
    const next = new Set(set);
    if (on) next.delete(name);
    else next.add(name);
    return next;
  };
  const hostBox = ({ name }) => box(safe(name, 60), (now) => !now.hosts.has(name), (on) => change({ hosts: toggled(view().hosts, name, on) }));
  const methodBox = ([name, number]) => box(`${safe(name, 40)} (${number})`, (now) => !now.methods.has(name), (on) => change({ methods: toggled(view().methods, name, on) }));
  return [
    h("fieldset", {}, h("legend", {}, "Hosts"), hosts.map(hostBox)),
    h("fieldset", {}, h("legend", {}, "Methods, with their responses"), methodCounts(messages).map(methodBox)),
    h("fieldset", {}, h("legend", {}, "Repeats and order"),
      box("retransmissions and copies", (now) => !now.once, (on) => change({ once: !on })),
      box("hosts in order of appearance", (now) => now.appearance, (on) => change({ appearance: on }))),
    h("button", { type: "button", onclick: () => change({ hosts: new Set(), methods: new Set(), once: false, appearance: false }) }, "Show everything"),
  ];
}

/**
 * The export menu and the link.
 * @param {{address: (path: string, more?: Record<string, string>) => string, svg: () => void, png: () => void, link: () => void, reload: () => void}} actions
 * @returns {Node[]}
 */
export function drawTools(actions) {
  const file = (words, path, more, title) => h("a", { href: actions.address(path, more), download: "", title }, words);
  return [
    h("button", { class: "plain square", type: "button", title: "Read the call again (r)", "aria-label": "Read the call again", onclick: actions.reload }, icon("refresh")),
    h("button", { type: "button", onclick: actions.link }, icon("link"), "Copy link"),
    menu("export", "Export", "export-menu", [
      file("pcap", "/api/export", { format: "pcap" }, "The messages as a capture file"),
      file("pcapng", "/api/export", { format: "pcapng" }, "The same, with what pcap has no place for"),
      file("Messages as text", "/api/export", { format: "text" }, "The messages one after another"),
      file("Messages as JSON", "/api/export", { format: "json" }, "With all columns"),
      h("button", { type: "button", onclick: actions.svg, title: "As it is shown here" }, "Picture, SVG"),
      h("button", { type: "button", onclick: actions.png, title: "As it is shown here" }, "Picture, PNG"),
      file("Picture as text", "/api/call/flow.txt", { download: "1" }, "The ladder in characters"),
      file("Picture for Mermaid", "/api/call/flow.mmd", { download: "1" }, "A sequence diagram"),
      file("Model, JSON", "/api/call", {}, "What this page is drawn from"),
    ], true),
  ];
}

/** A button that opens what belongs to it; Esc, a click elsewhere and (with `once`) a choice close it. */
function menu(symbol, words, id, children, once = false) {
  const list = h("div", { class: "menu", id, hidden: true }, children);
  const button = h("button", { type: "button", "aria-expanded": "false", "aria-controls": id }, icon(symbol), words, icon("down"));
  const holder = h("span", { class: "with-menu" }, button, list);
  const toggle = (open) => {
    list.hidden = !open;
    button.setAttribute("aria-expanded", String(open));
  };
  button.addEventListener("click", () => toggle(list.hidden));
  holder.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || list.hidden) return;
    toggle(false);
    button.focus();
    event.stopPropagation();
    event.preventDefault();
  });
  holder.addEventListener("focusout", (event) => {
    if (event.relatedTarget && !holder.contains(event.relatedTarget)) toggle(false);
  });
  holder.addEventListener("hepcat:close", () => toggle(false));
  if (once) list.addEventListener("click", () => toggle(false));
  return holder;
}

document.addEventListener("pointerdown", (event) => {
  for (const holder of document.querySelectorAll(".with-menu")) {
    if (!holder.contains(/** @type {Node} */ (event.target))) holder.dispatchEvent(new CustomEvent("hepcat:close"));
  }
});
