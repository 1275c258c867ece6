/**
 * Elements from plain calls. The only place where the pages make elements.
 *
 * In: names, properties, children. Out: nodes. Text from traffic can come in as a child, a `title`, an
 * `aria-label` or any other attribute: children become text nodes, and what could run or load something
 * (`on...` as text, `innerHTML`, `srcdoc`, `style` as text, links to other schemes than http) is refused
 * by a TypeError, which is a mistake in our code and not in the traffic.
 */
import { upright } from "./safe.js";

const SVG = "http://www.w3.org/2000/svg";
const LINKS = new Set(["href", "src", "action", "formaction", "xlink:href"]);

/**
 * Make an HTML element.
 * @param {string} tag
 * @param {Object<string, any>} [props] class, dataset {}, style {} (through CSSOM), onclick etc. as functions,
 *   `value`, `checked`, `disabled` and the like as properties, all else as attributes; null and false: left out
 * @param {...(Node|string|number|null|false|Array)} children
 * @returns {HTMLElement}
 */
export function h(tag, props = {}, ...children) {
  return dress(document.createElement(tag), props, children);
}

/**
 * Make an SVG element; as `h`.
 * @returns {SVGElement}
 */
export function svg(tag, attributes = {}, ...children) {
  return dress(document.createElementNS(SVG, tag), attributes, children);
}

/** Replace the children of a node. Returns the node. */
export function fill(node, ...children) {
  node.replaceChildren(...flat(children));
  return node;
}

/** The first element that a selector finds, or null. */
export function $(selector, root = document) {
  return root.querySelector(selector);
}

/** All elements that a selector finds, as an array. */
export function $$(selector, root = document) {
  return [...root.querySelectorAll(selector)];
}

/**
 * A modal dialog with a heading and a button that closes it; Esc closes it too. It removes itself.
 * @param {string} title
 * @param {Node[]} children
 * @returns {HTMLDialogElement} already open
 */
export function dialog(title, ...children) {
  const close = h("button", { class: "plain square", type: "button", "aria-label": "Close", onclick: () => box.close() }, "✕");
  const head = h("h2", { id: "dialog-title" }, title);
  const box = h("dialog", { "aria-labelledby": "dialog-title" }, h("header", {}, head, close), h("div", {}, ...children));
  box.addEventListener("close", () => box.remove());
  box.addEventListener("click", (event) => event.target === box && box.close());
  document.body.append(box);
  box.showModal();
  return box;
}

/** A notice: kind "note", "warning" or "error". */
export function notice(kind, ...children) {
  return h("div", { class: `notice ${kind}`, role: kind === "error" ? "alert" : "status" }, h("div", {}, ...children));
}

/** Say something to screen readers without showing it. */
export function say(text) {
  let region = document.getElementById("said");
  if (!region) document.body.append((region = h("div", { id: "said", class: "unseen", role: "status", "aria-live": "polite" })));
  region.textContent = text;
}

/** Offer text or a Blob as a file. */
export function download(name, content, type = "text/plain") {
  const url = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  const link = Object.assign(document.createElement("a"), { href: url, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** Call `run` once, `wait` milliseconds after the last call; `.now()` at once, `.cancel()` not at all. */
export function debounce(run, wait) {
  let timer = 0;
  const later = (...values) => {
    clearTimeout(timer);
    timer = setTimeout(() => run(...values), wait);
  };
  later.cancel = () => clearTimeout(timer);
  later.now = (...values) => {
    clearTimeout(timer);
    run(...values);
  };
  return later;
}

function flat(children) {
  return children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false).map((child) => (child instanceof Node ? child : upright(String(child))));
}

function dress(node, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value !== null && value !== undefined && value !== false) set(node, name, value);
  }
  node.append(...flat(children));
  return node;
}

function set(node, name, value) {
  const low = name.toLowerCase();
  if (typeof value === "function" && low.startsWith("on")) node.addEventListener(low.slice(2), value);
  else if (low === "dataset") Object.assign(node.dataset, value);
  else if (low === "style" && typeof value === "object") place(node, value);
  else if (low.startsWith("on") || low === "style" || low === "srcdoc" || low.endsWith("html")) throw new TypeError(`${name} is not set from text`);
  else if (LINKS.has(low)) node.setAttribute(name, link(value));
  else if (["value", "checked", "indeterminate", "selected"].includes(name)) node[name] = value;
  else node.setAttribute(name, value === true ? "" : upright(String(value)));
}

function place(node, styles) {
  for (const [name, value] of Object.entries(styles)) node.style.setProperty(name, String(value));
}

function link(value) {
  const scheme = new URL(value, document.baseURI).protocol;
  if (!["http:", "https:", "blob:"].includes(scheme)) throw new TypeError(`a link to ${scheme} is not made`);
  return value;
}
