/**
 * Where everything of the ladder stands, in pixels.
 *
 * In: what is shown, the width that there is. Out: `Geometry`. Nothing can go wrong. Texts are measured on a
 * canvas, which asks the page for no layout.
 *
 * @typedef {import("./model.js").Message} Message
 *
 * @typedef {object} Geometry
 * @property {boolean} narrow
 * @property {number} gutter width of the columns of number and time
 * @property {Map<number, number>} x middle of each shown host
 * @property {Map<number, string>} names what is written above each
 * @property {number} pitch
 * @property {number} width
 */

import { labelOf, mediaOf, notesOf } from "./model.js";
import { safe } from "../safe.js";

export const ROW = 44;
export const LINE = 25; // of the arrow, from the top of its row
export const SUB = 15; // height of a line under an arrow
export const LOOP = 34;
export const BOX = 30; // height of a host's box
/** media: as far apart as lifelines stand where lines of media ask for it. */
const PITCH = { least: 150, most: 340, media: 560, narrow: 116 };
/** A line under an arrow ends at the next lifeline, unless it would say next to nothing then. */
const LEAST_UNDER = 240;
const EDGE = 16;

/** The fonts that css/call.css gives the picture's texts. */
export const FONTS = {
  label: '500 13px system-ui, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif',
  sub: '11px system-ui, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif',
  host: '600 13px system-ui, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif',
};

const context = document.createElement("canvas").getContext("2d");
/** @type {Map<string, number>} */
const widths = new Map();

/** Width of a text. @param {string} text @param {keyof typeof FONTS} font */
export function widthOf(text, font) {
  const key = font + text;
  let width = widths.get(key);
  if (width === undefined) {
    if (widths.size > 20_000) widths.clear();
    context.font = FONTS[font];
    width = context.measureText(text).width;
    widths.set(key, width);
  }
  return width;
}

/** A text cut to a width; what is cut ends in an ellipsis. */
export function fit(/** @type {string} */ text, /** @type {number} */ room, /** @type {keyof typeof FONTS} */ font) {
  if (widthOf(text, font) <= room) return text;
  let [low, high] = [0, text.length];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (widthOf(`${text.slice(0, middle)}…`, font) <= room) low = middle;
    else high = middle - 1;
  }
  return low ? `${text.slice(0, low)}…` : "";
}

/** A line of media cut to a width: what carries no sound goes first, so that the address stays. */
export function fitMedia(/** @type {string} */ text, /** @type {number} */ room) {
  return fit(widthOf(text, "sub") <= room ? text : text.replace(/ (?:telephone-event|CN)(?= )/g, ""), room, "sub");
}

/** Cut in the middle: the ends of addresses tell most. */
function fitMiddle(/** @type {string} */ text, /** @type {number} */ room) {
  if (widthOf(text, "host") <= room) return text;
  let keep = text.length - 1;
  while (keep > 6 && widthOf(middleCut(text, keep), "host") > room) keep -= 1;
  return middleCut(text, keep);
}

function middleCut(/** @type {string} */ text, /** @type {number} */ keep) {
  const tail = Math.floor(keep / 2);
  return `${text.slice(0, keep - tail)}…${text.slice(text.length - tail)}`;
}

/**
 * @param {{name: string}[]} hosts all, by number
 * @param {import("./model.js").Shown} shown
 * @param {number} available width without scrolling
 * @returns {Geometry}
 */
export function place(hosts, shown, available) {
  const narrow = available < 640;
  const gutter = narrow ? 124 : 182;
  const full = new Map(shown.hosts.map((i) => [i, safe(hosts[i].name, 60)]));
  const halves = [shown.hosts[0], shown.hosts[shown.hosts.length - 1]].map((i) => Math.min(boxWidth(full.get(i) ?? ""), 230) / 2);
  const pitch = pitchOf(full, shown, available - gutter - halves[0] - halves[1] - EDGE, narrow);
  const names = new Map([...full].map(([i, name]) => [i, fitMiddle(name, pitch - 30)]));
  const start = gutter + Math.max(boxWidth(names.get(shown.hosts[0]) ?? "") / 2, 24);
  const x = new Map(shown.hosts.map((host, i) => [host, Math.round(start + i * pitch)]));
  const last = shown.hosts[shown.hosts.length - 1];
  const box = (x.get(last) ?? start) + boxWidth(names.get(last) ?? "") / 2;
  return { narrow, gutter, x, names, pitch, width: Math.max(Math.ceil(Math.max(box, reach(shown, x)) + EDGE), available) };
}

/** Width of the box around a host's name. @param {string} name */
export function boxWidth(name) {
  return Math.max(widthOf(name, "host") + 28, 90);
}

/** The distance of lifelines: what the texts ask for, more where there is room, within bounds. */
function pitchOf(
  /** @type {Map<number, string>} */ names,
  /** @type {import("./model.js").Shown} */ shown,
  /** @type {number} */ room,
  /** @type {boolean} */ narrow,
) {
  const column = new Map(shown.hosts.map((host, i) => [host, i]));
  const gaps = Math.max(names.size - 1, 1);
  const space = room / gaps;
  let need = narrow ? PITCH.narrow : PITCH.least;
  let wish = need; // what stands under arrows is cut where it does not fit
  for (const name of names.values()) need = Math.max(need, Math.min(widthOf(name, "host") + 40, 230));
  for (const message of shown.messages) {
    const span = Math.abs((column.get(message.src) ?? 0) - (column.get(message.dst) ?? 0));
    if (!span) continue;
    need = Math.max(need, (widthOf(safe(labelOf(message), 80), "label") + 34) / span);
    for (const media of mediaOf(message)) wish = Math.max(wish, (widthOf(safe(media, 90), "sub") + 24) / span);
  }
  need = Math.min(need, narrow ? 190 : 260);
  return Math.round(Math.min(Math.max(need, space), Math.max(PITCH.most, Math.min(wish, PITCH.media))));
}

/** How far to the right texts reach: those of loops, and those under arrows. */
function reach(/** @type {import("./model.js").Shown} */ shown, /** @type {Map<number, number>} */ x) {
  let most = 0;
  for (const message of shown.messages) {
    const left = Math.min(x.get(message.src) ?? 0, x.get(message.dst) ?? 0);
    const loop = message.src === message.dst;
    if (loop) most = Math.max(most, left + LOOP + 12 + Math.min(widthOf(safe(labelOf(message), 80), "label"), 300));
    const room = roomUnder(message, x);
    for (const { text } of linesUnder(message)) most = Math.max(most, left + (loop ? LOOP : 0) + 10 + Math.min(widthOf(text, "sub"), room));
  }
  return most;
}

/** The width there is for what stands under an arrow. @param {Message} message @param {Map<number, number>} x */
export function roomUnder(message, x) {
  if (message.src === message.dst) return Infinity;
  return Math.max(Math.abs((x.get(message.src) ?? 0) - (x.get(message.dst) ?? 0)) - 20, LEAST_UNDER);
}

/**
 * What stands under an arrow: its marks, its media.
 * @param {Message} message @returns {{kind: "notes" | "media", text: string}[]}
 */
export function linesUnder(message) {
  const notes = notesOf(message);
  const media = mediaOf(message).map((text) => /** @type {const} */ ({ kind: "media", text: safe(text, 90) }));
  return notes.length ? [{ kind: "notes", text: safe(notes.join(", "), 90) }, ...media] : media;
}
