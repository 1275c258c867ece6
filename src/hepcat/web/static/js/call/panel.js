/**
 * The message panel: one message as text, as headers, its media in words, and what differs from the one before.
 *
 * In: the answer, a message, which tab. Out: the panel's content. Nothing can go wrong: text of the message is
 * made visible (safe.js) and becomes text nodes.
 */

import { fill, h } from "../dom.js";
import { bytes, duration } from "../format.js";
import { icon } from "../icons.js";
import { offset, stamp, zone, zoneName } from "../time.js";
import { diffLines } from "./diff.js";
import { comparedWith, labelOf, letter, notesOf } from "./model.js";
import { safe } from "../safe.js";
import { highlight, linesOf, parseMessage } from "./sip.js";

const NAMES = { message: "Message", headers: "Headers", sdp: "SDP", difference: "Difference" };

/**
 * @param {HTMLElement} panel
 * @param {any} answer
 * @param {import("./model.js").Message} message
 * @param {string} tab
 * @param {{tab: (name: string) => void, close: () => void, go: (message: number) => void, step: (by: number) => void, copy: (text: string) => void}} actions
 */
export function drawPanel(panel, answer, message, tab, actions) {
  const { hosts, calls } = answer.ladder;
  const title = h("h2", { id: "panel-title", tabindex: -1 }, h("span", { class: "muted" }, `#${message.index + 1} `), safe(labelOf(message), 200));
  const square = (words, name, run) => h("button", { class: "plain square", type: "button", title: words, "aria-label": words, onclick: run }, icon(name));
  const facts = [
    ["Time", `${stamp(message.ts, 6)} ${zoneName()}${zone() === "utc" ? "" : ` (${offset(message.ts)})`}`],
    ["After", message.index ? `${duration(message.delta / 1e6)} after #${message.index}, ${duration(message.elapsed / 1e6)} after the first` : "the first message"],
    ["From", place(hosts[message.src].name, message.src_text)],
    ["To", place(hosts[message.dst].name, message.dst_text)],
    ["Over", `${safe(message.transport ?? "?", 20).toUpperCase()}, ${bytes(message.octets)}`],
  ];
  if (calls.length > 1) facts.push(["Call", `${letter(message.call)}: ${safe(calls[message.call].call_id, 120)}`]);
  const notes = notesOf(message);
  if (notes.length) facts.push(["Note", safe(notes.join(", "), 300)]);
  fill(
    panel,
    h("header", {}, title, h("span", { class: "push" }), square("Message before (k)", "up", () => actions.step(-1)), square("Next message (j)", "down", () => actions.step(1)),
      square("Copy the message", "copy", () => actions.copy(message.payload ?? "")), square("Close (Esc)", "close", actions.close)),
    h("dl", { class: "facts small" }, facts.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])),
    tabList(tab, message, actions),
    h("div", { class: `tab ${tab}`, role: "tabpanel", id: "tab-body", "aria-labelledby": `tab-${tab}`, tabindex: 0 }, body(answer, message, tab, actions)),
  );
}

function place(name, endpoint) {
  return name === endpoint ? safe(endpoint, 80) : `${safe(name, 80)} (${safe(endpoint, 80)})`;
}

function tabList(current, message, actions) {
  const shown = Object.keys(NAMES).filter((name) => name !== "sdp" || message.sdp_words !== null || current === "sdp");
  const buttons = shown.map((name) =>
    h("button", { class: "plain", type: "button", role: "tab", id: `tab-${name}`, "aria-selected": String(name === current), "aria-controls": "tab-body", tabindex: name === current ? 0 : -1, onclick: () => actions.tab(name) }, NAMES[name]));
  const list = h("div", { class: "tabs", role: "tablist", "aria-label": "Views of the message" }, buttons);
  list.addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by) return;
    event.preventDefault();
    event.stopPropagation();
    const next = shown[(shown.indexOf(current) + by + shown.length) % shown.length];
    actions.tab(next);
    document.getElementById(`tab-${next}`)?.focus();
  });
  return list;
}

/** The tabs that a message has. */
export function tabsOf(message) {
  return Object.keys(NAMES).filter((name) => name !== "sdp" || message.sdp_words !== null);
}

function body(answer, message, tab, actions) {
  if (message.payload === null) return h("p", { class: "notice" }, "The text of this message is left out, because the messages of these calls are very large. An export has it.");
  if (tab === "headers") return headers(message.payload);
  if (tab === "sdp") return sdp(answer.sdp_words[message.sdp_words]);
  if (tab === "difference") return difference(answer.ladder.messages, message, actions);
  return raw(message.payload);
}

/** The message as it was sent. */
function raw(text) {
  const lines = highlight(linesOf(text));
  return h("pre", { class: "sip" }, lines.map((pieces) => h("span", { class: "line" }, pieces.map(({ kind, text: part }) => h("span", { class: kind.split(" ").map((one) => `s-${one}`).join(" ") }, safe(part))), "\n")));
}

/** Start line and headers as a table. */
function headers(text) {
  const { start, headers: all, body: lines } = parseMessage(text);
  const rows = all.map((header) => h("tr", {},
    h("th", { scope: "row" }, safe(header.name, 100) || "(no name)", header.short && h("span", { class: "muted", title: "compact form, as it was sent" }, ` (${safe(header.short, 10)})`)),
    h("td", {}, header.values.map((value) => h("div", { class: "value" }, safe(value.text), value.parameters.length > 0 && h("ul", { class: "parameters" }, value.parameters.map((one) => h("li", {}, h("span", { class: "s-parameter" }, safe(one.name, 200)), one.value && `=${safe(one.value)}`))))))));
  const size = lines.length ? h("p", { class: "muted small" }, `and a body of ${lines.length} ${lines.length === 1 ? "line" : "lines"}`) : null;
  return [h("p", { class: "mono startline" }, safe(start)), h("table", { class: "headers" }, h("tbody", {}, rows)), size];
}

/** Each line of the session description with what it means. */
function sdp(words) {
  if (!words) return h("p", { class: "muted" }, "This message describes no media.");
  return [
    words.sections.map((section) => h("section", { class: "sdp-section" }, h("h3", {}, safe(section.title, 100)), section.summary && h("p", {}, safe(section.summary)),
      h("table", {}, h("thead", { class: "unseen" }, h("tr", {}, h("th", { scope: "col" }, "Line"), h("th", { scope: "col" }, "Meaning"))), h("tbody", {}, section.lines.map((line) => h("tr", {}, h("td", { class: "mono" }, safe(line.text)), h("td", {}, safe(line.words) || h("span", { class: "muted" }, "–")))))))),
    words.left ? h("p", { class: "muted" }, `and ${words.left} more lines`) : null,
  ];
}

/** What differs from the message that it is best compared with. */
function difference(messages, message, actions) {
  const found = comparedWith(messages, message);
  if (!found) return h("p", { class: "muted" }, "This is the first message: there is nothing to compare it with.");
  const { other, alike } = found;
  const link = h("button", { class: "plain small inline", type: "button", onclick: () => actions.go(other.index) }, `#${other.index + 1} ${safe(labelOf(other), 80)}`);
  const words = alike ? "the message before of the same kind and way" : "the message before, as none of the same kind went this way earlier";
  const intro = h("p", { class: "small" }, "Against ", link, `, ${words}.`);
  if (other.payload === null) return [intro, h("p", { class: "notice" }, "Its text is left out.")];
  const changes = diffLines(linesOf(other.payload), linesOf(message.payload ?? ""));
  const changed = changes.filter((change) => change.kind !== "same").length;
  const signs = { same: " ", gone: "−", new: "+" };
  const spoken = { gone: "gone: ", new: "new: " };
  return [
    intro,
    h("p", { class: "small muted" }, changed ? `${changed} lines differ.` : "No line differs."),
    h("pre", { class: "diff" }, changes.map(({ kind, text }) => h("span", { class: `line ${kind}` }, spoken[kind] && h("span", { class: "unseen" }, spoken[kind]), h("span", { "aria-hidden": "true" }, `${signs[kind]} `), safe(text), "\n"))),
  ];
}
