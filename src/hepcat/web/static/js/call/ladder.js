/**
 * The ladder as SVG: hosts, lifelines, one group a message.
 *
 * In: the answer's ladder, what is shown, where it stands. Out: two SVG elements (the hosts, which stay on top
 * while scrolling, and the messages) and where each message begins. Nothing can go wrong: all text is made
 * visible (safe.js) and becomes text nodes.
 *
 * For a screen reader the messages are a listbox, named like "12: 200 OK from proxy to alice, at 0.4 s".
 *
 * @typedef {import("./model.js").Message} Message
 * @typedef {import("./geometry.js").Geometry} Geometry
 *
 * @typedef {object} Drawing
 * @property {SVGElement} head
 * @property {SVGElement} body
 * @property {SVGElement} gutter numbers and times, which are moved along when the picture is scrolled sideways
 * @property {Map<number, SVGElement>} groups by number of message
 * @property {Map<number, {top: number, height: number}>} rows
 */

import { svg } from "../dom.js";
import { duration } from "../format.js";
import { BOX, LINE, LOOP, ROW, SUB, boxWidth, fit, fitMedia, linesUnder, roomUnder } from "./geometry.js";
import { isFaint, labelOf, letter, notesOf } from "./model.js";
import { safe } from "../safe.js";

const COLORS = 6;
const HEAD = 9; // length of an arrow's head

/**
 * @param {{hosts: {name: string, endpoints: string[]}[], calls: any[], messages: Message[]}} ladder
 * @param {import("./model.js").Shown} shown
 * @param {Geometry} geometry
 * @param {{clock: (us: number) => string, day: (us: number) => string}} times
 * @returns {Drawing}
 */
export function drawLadder(ladder, shown, geometry, times) {
  const several = ladder.calls.length > 1;
  const groups = new Map();
  const rows = new Map();
  const drawn = [];
  const stamped = [];
  let y = 6;
  let today = shown.messages.length ? times.day(shown.messages[0].ts) : "";
  for (const message of shown.messages) {
    const day = times.day(message.ts);
    if (day !== today) {
      stamped.push(svg("text", { class: "day", x: 10, y: y + 16 }, day));
      today = day;
      y += 24;
    }
    const under = linesUnder(message);
    const height = ROW + Math.max(under.length * SUB - 2, 0);
    const group = drawMessage({ message, ladder, shown, geometry, under, y, height, several });
    stamped.push(...stamps(message, shown, geometry, times, y + LINE, several));
    groups.set(message.index, group);
    rows.set(message.index, { top: y, height });
    drawn.push(group);
    y += height;
  }
  const bottom = y + 12;
  const gutter = svg("g", { class: "gutter", "aria-hidden": "true" }, svg("rect", { width: geometry.gutter - 6, height: bottom }), stamped);
  const lines = [...geometry.x.values()].map((x) => svg("line", { class: "life", x1: x, y1: 0, x2: x, y2: bottom }));
  const body = svg(
    "svg",
    {
      class: "messages", width: geometry.width, height: bottom, viewBox: `0 0 ${geometry.width} ${bottom}`,
      role: "listbox", tabindex: 0, "aria-label": "Messages, in order of time",
    },
    svg("g", { "aria-hidden": "true" }, lines),
    drawn,
    gutter,
  );
  return { head: drawHosts(ladder.hosts, shown, geometry), body, gutter, groups, rows };
}

/** The boxes with the names of the hosts. */
function drawHosts(
  /** @type {{name: string, endpoints: string[]}[]} */ hosts,
  /** @type {import("./model.js").Shown} */ shown,
  /** @type {Geometry} */ geometry,
) {
  const height = BOX + 12;
  const boxes = shown.hosts.map((i) => {
    const x = geometry.x.get(i) ?? 0;
    const width = boxWidth(geometry.names.get(i) ?? "");
    const title = hosts[i].endpoints.slice(0, 20).map((end) => safe(end, 80)).join("\n");
    return svg(
      "g",
      { class: "host" },
      svg("title", {}, `${safe(hosts[i].name, 200)}\n${title}`),
      svg("line", { class: "life", x1: x, y1: BOX + 6, x2: x, y2: height }),
      svg("rect", { x: x - width / 2, y: 6, width, height: BOX, rx: 6 }),
      svg("text", { x, y: 26 }, geometry.names.get(i)),
    );
  });
  const names = shown.hosts.map((i) => safe(hosts[i].name, 60)).join(", ");
  const size = { width: geometry.width, height, viewBox: `0 0 ${geometry.width} ${height}` };
  return svg("svg", { class: "hosts", role: "img", "aria-label": `Hosts: ${names || "none"}`, ...size }, boxes);
}

/**
 * One message.
 * @param {{message: Message, ladder: any, shown: import("./model.js").Shown, geometry: Geometry,
 *   under: {kind: string, text: string}[], y: number, height: number, several: boolean}} what
 */
function drawMessage({ message, ladder, shown, geometry, under, y, height, several }) {
  const kinds = ["m", colorOf(message, shown)];
  if (message.status !== null) kinds.push("response");
  if (isFaint(message)) kinds.push("faint");
  if (message.outcome === "failure" || message.malformed) kinds.push("bad");
  const line = y + LINE;
  const loop = message.src === message.dst;
  const left = Math.min(geometry.x.get(message.src) ?? 0, geometry.x.get(message.dst) ?? 0) + (loop ? LOOP + 10 : 10);
  return svg(
    "g",
    {
      class: kinds.join(" "), id: `m${message.index}`, role: "option", "aria-selected": "false",
      "aria-label": nameOf(message, ladder.hosts, several), "data-i": message.index,
    },
    svg("rect", { class: "hit", x: 2, y: y + 1, width: geometry.width - 4, height: height - 2, rx: 4 }),
    loop ? loopArrow(message, geometry, line) : straightArrow(message, geometry, line),
    under.map((one, i) => lineUnder(one, left, line + 14 + i * SUB, roomUnder(message, geometry.x))),
  );
}

/** A line under an arrow; what is cut is told whole to those who point at it, and in the message's panel. */
function lineUnder(/** @type {{kind: string, text: string}} */ { kind, text }, /** @type {number} */ x, /** @type {number} */ y, /** @type {number} */ room) {
  const cut = kind === "media" ? fitMedia(text, room) : fit(text, room, "sub");
  const shown = svg("text", { class: kind, x, y }, cut);
  return cut === text ? shown : svg("g", {}, svg("title", {}, text), shown);
}

/** The class that colours a message: by its call or its transaction. */
function colorOf(/** @type {Message} */ message, /** @type {import("./model.js").Shown} */ shown) {
  return `c${(shown.color === "call" ? message.call : message.transaction) % COLORS}`;
}

/** Number, tag (the call's letter, or the transaction's number: no colour stands alone), time and difference. */
function stamps(
  /** @type {Message} */ message, /** @type {import("./model.js").Shown} */ shown, /** @type {Geometry} */ geometry,
  /** @type {any} */ times, /** @type {number} */ line, /** @type {boolean} */ several,
) {
  const { narrow } = geometry;
  const at = narrow ? 38 : 82;
  const tag = shown.color !== "call" ? `T${message.transaction + 1}` : several ? letter(message.call) : null;
  const place = narrow ? { x: 32, y: line + 15, "text-anchor": "end" } : { x: 40, y: line + 4 };
  const own = { "data-i": message.index };
  return [
    svg("text", { class: "n", x: 32, y: line + 4, ...own }, message.index + 1),
    ...(tag ? [svg("text", { class: `tag ${colorOf(message, shown)}`, ...place, ...own }, tag)] : []),
    svg("text", { class: "t", x: at, y: line + 4, ...own }, times.clock(message.ts)),
    ...(message.index ? [svg("text", { class: "d", x: at, y: line + 15, ...own }, `+${duration(message.delta / 1e6)}`)] : []),
  ];
}

function straightArrow(/** @type {Message} */ message, /** @type {Geometry} */ geometry, /** @type {number} */ y) {
  const a = geometry.x.get(message.src) ?? 0;
  const b = geometry.x.get(message.dst) ?? 0;
  const way = b > a ? 1 : -1;
  const label = fit(safe(labelOf(message), 200), Math.abs(b - a) - 18, "label");
  return [
    svg("line", { class: "w", x1: a, y1: y, x2: b - way * HEAD, y2: y }),
    svg("path", { class: "h", d: `M${b - way} ${y}l${-way * (HEAD + 1)} -4.5v9z` }),
    svg("text", { class: "label", "text-anchor": "middle", x: (a + b) / 2, y: y - 6 }, label),
  ];
}

/** From a host to itself. */
function loopArrow(/** @type {Message} */ message, /** @type {Geometry} */ geometry, /** @type {number} */ y) {
  const x = geometry.x.get(message.src) ?? 0;
  return [
    svg("path", { class: "w", d: `M${x} ${y - 8}h${LOOP}v14h${HEAD - LOOP}` }),
    svg("path", { class: "h", d: `M${x + 1} ${y + 6}l${HEAD + 1} -4.5v9z` }),
    svg("text", { class: "label", x: x + LOOP + 8, y: y + 2 }, fit(safe(labelOf(message), 80), 300, "label")),
  ];
}

/** The name of a message for a screen reader. */
export function nameOf(/** @type {Message} */ message, /** @type {{name: string}[]} */ hosts, several = false) {
  const [from, to] = [hosts[message.src], hosts[message.dst]].map((host) => safe(host.name, 60));
  const leg = several ? `, call ${letter(message.call)}` : "";
  const notes = notesOf(message).map((note) => `, ${note}`).join("");
  const at = message.elapsed ? duration(message.elapsed / 1e6) : "0 s";
  return safe(`${message.index + 1}: ${labelOf(message)} from ${from} to ${to}, at ${at}${leg}${notes}`, 300);
}
