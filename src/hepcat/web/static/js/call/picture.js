/**
 * The picture as a file: SVG with its colours and fonts written into it, and PNG made of that.
 *
 * In: the two SVG elements on the page. Out: text, or a Blob. What can go wrong: `Error` with words for people
 * where a picture is larger than a canvas may be. Nothing is asked of a server, and no traffic becomes
 * markup: the file is made from the nodes by the browser's own serializer.
 */

import { svg } from "../dom.js";

const NS = "http://www.w3.org/2000/svg";
/** What the page's style sheet says and a file has to say by itself. */
const COPIED = ["fill", "stroke", "stroke-width", "stroke-dasharray", "stroke-linejoin", "paint-order", "opacity", "font-family", "font-size", "font-weight", "text-anchor"];
/** Longest side and area of a canvas that every browser draws. */
const LONGEST = 16_000;
const LARGEST = 120_000_000;

/**
 * One picture of hosts and messages.
 * @param {SVGElement} head @param {SVGElement} body @param {string} caption the text over it, lines
 * @returns {{text: string, width: number, height: number}}
 */
export function pictureOf(head, body, caption) {
  const lines = caption.split("\n");
  const top = 16 + lines.length * 18;
  const [headHeight, bodyHeight] = [head, body].map((one) => Number(one.getAttribute("height")));
  const width = Math.max(Number(body.getAttribute("width")), 480);
  const height = top + headHeight + bodyHeight + 12;
  const style = getComputedStyle(document.body);
  const color = getComputedStyle(document.documentElement).getPropertyValue("--page");
  const ground = resolved(color) || style.backgroundColor;
  // The current message looks different only on the page, and would lend its look to others of its class.
  const current = body.querySelector('[aria-selected="true"]');
  current?.setAttribute("aria-selected", "false");
  const [hosts, messages] = [copies(head), copies(body)];
  current?.setAttribute("aria-selected", "true");
  const out = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, "font-family": style.fontFamily },
    svg("rect", { width, height, fill: ground }),
    lines.map((line, i) => svg("text", { x: 16, y: 24 + i * 18, "font-size": i ? 12 : 14, "font-weight": i ? 400 : 600, fill: style.color }, line)),
    svg("g", { transform: `translate(0 ${top})` }, hosts),
    svg("g", { transform: `translate(0 ${top + headHeight})` }, messages));
  out.setAttribute("xmlns", NS);
  return { text: new XMLSerializer().serializeToString(out), width, height };
}

/** The computed value of a colour that may depend on the theme. */
function resolved(color) {
  const probe = document.createElement("span");
  probe.style.color = color;
  document.body.append(probe);
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value;
}

/** Children of an element with their styles as attributes. Elements of one class look alike: each is asked once. */
function copies(root) {
  /** @type {Map<string, [string, string][]>} */
  const known = new Map();
  const copy = (/** @type {Element} */ from, /** @type {string} */ above) => {
    // Neither what only answers to the pointer, nor the ground of numbers and times that were scrolled along.
    if (from.classList.contains("hit") || from.matches(".gutter > rect")) return null;
    const to = document.createElementNS(NS, from.localName);
    const key = `${above}>${from.localName}.${from.getAttribute("class") ?? ""}.${from.getAttribute("text-anchor") ?? ""}`;
    if (!known.has(key)) known.set(key, looks(from));
    for (const name of ["x", "y", "x1", "y1", "x2", "y2", "d", "width", "height", "rx"]) {
      if (from.hasAttribute(name)) to.setAttribute(name, from.getAttribute(name) ?? "");
    }
    if (["text", "line", "path", "rect", "g"].includes(from.localName)) for (const [name, value] of known.get(key) ?? []) to.setAttribute(name, value);
    for (const child of from.childNodes) {
      if (child.nodeType === Node.TEXT_NODE) to.append(child.nodeValue ?? "");
      else if (child instanceof Element) to.append(...[copy(child, key)].filter((one) => one !== null));
    }
    return to;
  };
  return [...root.children].map((child) => copy(child, "")).filter((one) => one !== null);
}

function looks(/** @type {Element} */ element) {
  const style = getComputedStyle(element);
  const group = element.localName === "g";
  return (group ? ["opacity"] : COPIED).map((name) => /** @type {[string, string]} */ ([name, style.getPropertyValue(name)])).filter(([, value]) => value && value !== "normal");
}

/**
 * The picture as PNG, sharp where it is not too large.
 * @param {{text: string, width: number, height: number}} picture
 * @returns {Promise<Blob>}
 */
export async function pngOf({ text, width, height }) {
  const scale = Math.min(2, LONGEST / width, LONGEST / height, Math.sqrt(LARGEST / (width * height)));
  if (scale < 0.4) throw new Error("The picture is too large for PNG: hide hosts or messages, or take SVG.");
  const image = new Image();
  // A data: address, which the Content-Security-Policy lets images have; the picture has no parts elsewhere.
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((done, fail) => canvas.toBlob((blob) => (blob ? done(blob) : fail(new Error("The browser made no PNG: take SVG."))), "image/png"));
}
