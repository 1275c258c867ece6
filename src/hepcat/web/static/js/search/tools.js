/**
 * What one does with the table: choose columns, open several calls together, export.
 *
 * In: the view, chosen rows. Out: dialogs and links; the exports are the server's (GET /api/export).
 */
import { url } from "../api.js";
import { $, $$, dialog, fill, h } from "../dom.js";
import { count, number } from "../format.js";
import { icon } from "../icons.js";
import * as columnsOf from "./columns.js";
import { asked } from "./state.js";

/** Calls in one picture at most, as the server has it. */
export const TOGETHER = 20;
export const FORMATS = [["pcap", "pcap (Wireshark)"], ["pcapng", "pcapng"], ["json", "JSON, one message a line"], ["text", "text"]];

/** The dialog of columns. `change(names)`: null is the default. */
export function chooseColumns(of, names, change) {
  const shown = [...names, ...columnsOf.all(of).map((column) => column.name).filter((name) => !names.includes(name))];
  const list = h("ol", { class: "columns" }, shown.map((name) => entry(columnsOf.find(of, name), names.includes(name))));
  const apply = () => {
    const chosen = $$("input", list).filter((box) => box.checked).map((box) => box.value);
    if (!chosen.length) return;
    box.close();
    change(chosen);
  };
  const box = dialog(
    "Columns",
    h("p", { class: "muted" }, "In this order, kept in this browser."),
    list,
    h("footer", {}, h("button", { type: "button", onclick: () => (box.close(), change(null)) }, "Default columns"), h("button", { type: "button", class: "primary push", onclick: apply }, "Show these")),
  );
  box.classList.add("columns-dialog");
}

function entry(column, checked) {
  const swap = (way) => () => {
    const other = way < 0 ? item.previousElementSibling : item.nextElementSibling;
    if (other) way < 0 ? other.before(item) : other.after(item);
  };
  const move = (way, words, sign) => {
    const press = (event) => {
      swap(way)();
      event.currentTarget.focus();
    };
    return h("button", { type: "button", class: "plain square", "aria-label": `${column.title}: ${words}`, onclick: press }, icon(sign));
  };
  const item = h("li", {}, h("label", {}, h("input", { type: "checkbox", value: column.name, checked }), column.title === column.name.replaceAll("_", " ") ? column.title : `${column.title} (${column.name})`), move(-1, "further to the left", "up"), move(1, "further to the right", "down"));
  return item;
}

/**
 * Links to the exports: of the chosen calls, else of all that was found. `found`: how many that are, -1: not known.
 * @returns {{words: string, links: Element[]}}
 */
export function exportLinks(view, rows, found = -1) {
  const calls = new Set(rows.map((row) => row.call_id).filter(Boolean));
  const ids = [...calls].slice(0, TOGETHER);
  const what = ids.length ? { id: ids, store: view.store } : { ...asked(view), of: view.of };
  const links = FORMATS.map(([format, words]) => h("a", { class: "button", role: "menuitem", href: url("/api/export", { format, ...what }), download: true }, words));
  return { words: exported(view.of, rows.length, calls.size, found), links };
}

/** What an export is about, in words. */
function exported(of, chosen, calls, found) {
  if (!calls) return found >= 0 ? `All that was found: ${count(found, of.slice(0, -1))}` : `All ${of} that were found`;
  const first = calls > TOGETHER ? `The first ${TOGETHER} of ${number(calls)} chosen calls` : null;
  if (of === "messages") return `Whole calls: ${first ?? count(calls, "call")} of the ${chosen === 1 ? "chosen message" : `${number(chosen)} chosen messages`}`;
  return first ?? (calls === 1 ? "The chosen call" : `The ${calls} chosen calls`);
}

/** A button that unfolds a menu; `items()` makes its links, and the words above them, anew each time. */
export function menuButton(label, sign, items) {
  const menu = h("div", { class: "menu", role: "menu", "aria-label": label, hidden: true });
  const button = h("button", { type: "button", "aria-label": label, "aria-haspopup": "menu", "aria-expanded": "false" }, icon(sign), h("span", { class: "word" }, label));
  const node = h("div", { class: "with-menu" }, button, menu);
  const unfold = (open) => {
    if (open) {
      const { words, links } = items();
      const head = h("div", { class: "menu-head", id: "menu-head" }, words);
      fill(menu, h("div", { role: "group", "aria-labelledby": "menu-head" }, head, links));
    }
    menu.hidden = !open;
    button.setAttribute("aria-expanded", String(open));
    if (open) $("[role=menuitem]", menu)?.focus();
  };
  button.addEventListener("click", () => unfold(menu.hidden));
  menu.addEventListener("click", () => unfold(false));
  node.addEventListener("focusout", (event) => node.contains(event.relatedTarget) || unfold(false));
  node.addEventListener("keydown", (event) => onMenuKey(event, menu, () => (unfold(false), button.focus())));
  return node;
}

function onMenuKey(event, menu, close) {
  if (menu.hidden) return;
  const links = $$("[role=menuitem]", menu);
  const at = links.indexOf(document.activeElement);
  const steps = { ArrowDown: at + 1, ArrowUp: at - 1 + links.length, Home: 0, End: links.length - 1 };
  if (event.key in steps) links[steps[event.key] % links.length].focus();
  else if (event.key === "Escape") close();
  else return;
  event.preventDefault();
  event.stopPropagation();
}
