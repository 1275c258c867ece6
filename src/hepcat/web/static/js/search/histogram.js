/**
 * The histogram above the table: outcomes over the range; drag to zoom, and the same by keys.
 *
 * In: `new Histogram(node, {zoom, narrow})`; `show(answer, bounds, noun)`, `wait()`, `fail(text)`. Out: `zoom(since, until)`
 * in microseconds when a part was marked, `narrow(query)` when a word of the legend was pressed. Parts are told
 * apart by colour, pattern and order; the numbers stand in the legend, and under the pointer or the keyboard's cursor in
 * the readout. Its height is fixed.
 *
 * Keys (the picture is a slider): Left and Right go from bar to bar, Shift marks, Enter zooms, Esc lets go.
 */
import { fill, h, svg } from "../dom.js";
import { number } from "../format.js";
import { SECOND, clock, day, onZone, zone } from "../time.js";
import { MONTH, PARTS, YEAR, barsOf, nameOf, queryOf, ticks, totals, words } from "./buckets.js";

const HEIGHT = 84;
const AXIS = 18;
/** Narrower bars cannot be told apart. */
const NARROWEST = 5;
/** Dragging that many pixels is no zoom but a shaky click. */
const SHAKY = 4;

export class Histogram {
  constructor(node, { zoom, narrow }) {
    Object.assign(this, { node, zoom, narrow });
    this.cursor = -1;
    this.mark = null;
    this.noun = "calls";
    this.legend = h("div", { class: "legend" });
    this.readout = h("div", { class: "readout number", "aria-hidden": "true" });
    this.picture = svg("svg", { class: "picture", height: HEIGHT + AXIS, role: "slider", tabindex: "0", "aria-label": "Histogram", "aria-valuemin": "0", "aria-valuemax": "0", "aria-valuenow": "0", "aria-valuetext": "nothing" });
    this.status = h("div", { class: "state muted" });
    fill(node, h("div", { class: "row top-line" }, this.legend, this.readout), h("div", { class: "frame" }, this.picture, this.status));
    this.listen();
    new ResizeObserver(() => this.draw()).observe(this.picture);
    onZone(() => this.draw());
    this.drawLegend(null);
  }

  /** How many bars fit. */
  get most() {
    return Math.max(10, Math.floor((this.picture.clientWidth || 800) / NARROWEST));
  }

  wait() {
    this.node.setAttribute("aria-busy", "true");
    this.node.classList.add("waiting");
  }

  show(answer, bounds, noun) {
    Object.assign(this, { answer, bounds, noun, cursor: -1, mark: null });
    this.settle("");
    this.draw();
  }

  fail(text) {
    this.answer = null;
    this.settle(text);
    this.draw();
  }

  settle(text) {
    this.node.removeAttribute("aria-busy");
    this.node.classList.remove("waiting");
    this.status.textContent = text;
  }

  draw() {
    const width = this.picture.clientWidth;
    if (!width) return;
    const data = this.answer ? barsOf(this.answer, this.bounds, Math.floor(width / NARROWEST)) : null;
    this.data = data && Number.isFinite(data.from) && Number.isFinite(data.to) ? data : null;
    this.cursor = Math.min(this.cursor, (this.data?.bars.length ?? 0) - 1);
    this.drawLegend(this.data ? totals(this.data.bars) : this.answer ? totals([]) : null);
    this.picture.setAttribute("viewBox", `0 0 ${width} ${HEIGHT + AXIS}`);
    this.picture.setAttribute("aria-valuemax", String(Math.max(0, (this.data?.bars.length ?? 1) - 1)));
    this.selection = svg("rect", { class: "selection", y: 0, height: HEIGHT, hidden: true });
    this.pointer = svg("rect", { class: "cursor", y: 0, height: HEIGHT, hidden: true });
    const base = svg("line", { class: "base", x1: 0, x2: width, y1: HEIGHT, y2: HEIGHT });
    fill(this.picture, patterns(), this.pointer, this.data ? this.drawBars(width) : null, base, this.data ? this.drawAxis(width) : null, this.selection);
    this.told();
  }

  drawBars(width) {
    const { bars } = this.data;
    if (!bars.length) return null;
    const highest = Math.max(...bars.map((bar) => bar.total));
    const scale = (HEIGHT - 10) / highest;
    const rects = bars.flatMap((bar) => {
      const [left, right] = [this.x(bar.start), this.x(bar.end)];
      const wide = Math.max(right - left - (right - left > 3 ? 1 : 0), 1);
      let y = HEIGHT;
      return PARTS.filter((part) => bar[part.key]).map((part) => {
        const tall = Math.max(bar[part.key] * scale, 1);
        y -= tall;
        return svg("rect", { class: `p-${part.key}`, x: left.toFixed(1), y: y.toFixed(1), width: wide.toFixed(1), height: tall.toFixed(1) });
      });
    });
    const peak = svg("text", { class: "peak", x: width - 2, y: 9, "text-anchor": "end" }, `max ${number(highest)}`);
    return svg("g", {}, rects, peak);
  }

  drawAxis(width) {
    const { step, at } = ticks(this.data.from, this.data.to, Math.max(2, Math.floor(width / 95)), shiftOf);
    return svg("g", { class: "axis" }, at.map((us) => {
      const x = this.x(us);
      const anchor = x < 30 ? "start" : x > width - 30 ? "end" : "middle";
      return [svg("line", { x1: x, x2: x, y1: HEIGHT, y2: HEIGHT + 4 }), svg("text", { x, y: HEIGHT + 15, "text-anchor": anchor }, tickWords(us, step))];
    }));
  }

  drawLegend(sums) {
    fill(this.legend, PARTS.map((part) => {
      const swatch = svg("svg", { class: "swatch", viewBox: "0 0 14 10", "aria-hidden": "true" }, svg("rect", { class: `p-${part.key}`, width: 14, height: 10 }));
      const body = [swatch, nameOf(part, this.noun), h("span", { class: "number count" }, sums ? number(sums[part.key]) : "")];
      const query = queryOf(part, this.noun);
      if (!query) return h("span", { class: "entry", title: this.noun === "parts of calls" ? "The messages that were found have no final status, or 401, 407 or 487." : null }, body);
      return h("button", { type: "button", class: "plain entry", title: `Search for ${query} as well`, onclick: () => this.narrow(query) }, body);
    }));
  }

  x(us) {
    return ((us - this.data.from) / (this.data.to - this.data.from)) * this.picture.clientWidth;
  }

  us(x) {
    const share = Math.max(0, Math.min(1, x / this.picture.clientWidth));
    return this.data.from + share * (this.data.to - this.data.from);
  }

  listen() {
    this.picture.addEventListener("pointerdown", (event) => this.press(event));
    this.picture.addEventListener("pointermove", (event) => this.hover(event));
    this.picture.addEventListener("pointerleave", () => !this.dragged && this.place(-1));
    this.picture.addEventListener("keydown", (event) => this.onKey(event));
    this.picture.addEventListener("blur", () => this.let());
  }

  press(event) {
    if (!this.data || event.button !== 0) return;
    const begun = event.offsetX;
    const control = new AbortController();
    const { signal } = control;
    this.dragged = true;
    this.picture.setPointerCapture(event.pointerId);
    const at = (move) => move.clientX - this.picture.getBoundingClientRect().left;
    const end = (run) => () => {
      control.abort();
      this.dragged = false;
      run();
    };
    let x = begun;
    const released = () => {
      if (Math.abs(x - begun) < SHAKY) this.let();
      else this.zoomTo(this.us(Math.min(begun, x)), this.us(Math.max(begun, x)));
    };
    this.picture.addEventListener("pointermove", (move) => this.band(this.us(begun), this.us((x = at(move)))), { signal });
    this.picture.addEventListener("pointerup", end(released), { signal });
    this.picture.addEventListener("pointercancel", end(() => this.let()), { signal });
  }

  hover(event) {
    if (!this.data || this.dragged) return;
    const at = this.us(event.offsetX);
    this.place(this.data.bars.findIndex((bar) => at >= bar.start && at < bar.end));
  }

  onKey(event) {
    if (!this.data || event.ctrlKey || event.altKey || event.metaKey) return;
    const last = this.data.bars.length - 1;
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowDown: -1, ArrowUp: 1, PageDown: -10, PageUp: 10, Home: -last, End: last };
    if (event.key in steps) this.go(steps[event.key], event.shiftKey);
    else if (event.key === "Enter") this.enter();
    else if (event.key === "Escape" && (this.mark !== null || this.cursor >= 0)) this.let();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  go(by, marking) {
    if (!this.data.bars.length) return;
    const before = this.cursor < 0 ? (by < 0 ? this.data.bars.length : -1) : this.cursor;
    this.place(Math.max(0, Math.min(this.data.bars.length - 1, before + by)));
    if (!marking) this.mark = null;
    else this.mark ??= Math.max(0, before);
    const span = this.marked();
    if (this.mark === null) this.selection.setAttribute("hidden", "");
    else this.band(span.since, span.until);
  }

  enter() {
    if (this.cursor < 0) return;
    const { since, until } = this.marked();
    this.zoomTo(since, until);
  }

  marked() {
    const [a, b] = [this.mark ?? this.cursor, this.cursor].sort((one, two) => one - two);
    return { since: this.data.bars[a].start, until: this.data.bars[b].end };
  }

  zoomTo(since, until) {
    this.let();
    this.zoom(Math.floor(since), Math.max(Math.ceil(until), Math.floor(since) + 1000));
  }

  let() {
    this.mark = null;
    this.selection?.setAttribute("hidden", "");
    this.place(-1);
  }

  band(from, to) {
    const [a, b] = [this.x(Math.min(from, to)), this.x(Math.max(from, to))];
    this.selection.removeAttribute("hidden");
    this.selection.setAttribute("x", a);
    this.selection.setAttribute("width", Math.max(b - a, 1));
    this.readout.textContent = `${tickWords(Math.min(from, to), SECOND)} – ${tickWords(Math.max(from, to), SECOND)}`;
  }

  place(index) {
    this.cursor = index;
    const bar = this.data?.bars[index];
    if (!bar) this.pointer?.setAttribute("hidden", "");
    else {
      this.pointer.removeAttribute("hidden");
      this.pointer.setAttribute("x", this.x(bar.start));
      this.pointer.setAttribute("width", Math.max(this.x(bar.end) - this.x(bar.start), 2));
    }
    this.told();
  }

  told() {
    const bar = this.data?.bars[this.cursor];
    const span = bar ? `${tickWords(bar.start, Math.min(this.data.width, SECOND))} – ${tickWords(bar.end, Math.min(this.data.width, SECOND))}` : "";
    const text = bar ? `${span}   ${words(bar, this.noun)}` : "";
    this.readout.textContent = text;
    const sums = this.data ? `${words(totals(this.data.bars), this.noun)}` : "nothing";
    this.picture.setAttribute("aria-valuenow", String(Math.max(0, this.cursor)));
    this.picture.setAttribute("aria-valuetext", text || `${this.noun}: ${sums}`);
  }
}

function tickWords(us, step) {
  if (step >= MONTH) return day(us).slice(0, step >= YEAR ? 4 : 7);
  if (step >= 864e8) return day(us);
  const time = clock(us, step < 1e3 ? 6 : step < SECOND ? 3 : 0);
  if (step >= SECOND && time === "00:00:00") return day(us).slice(5);
  return step >= 60 * SECOND ? time.slice(0, 5) : time;
}

/** How far the shown zone is ahead of UTC at a time, in microseconds. */
function shiftOf(us) {
  return zone() === "utc" ? 0 : -new Date(us / 1000).getTimezoneOffset() * 60 * SECOND;
}

/** Stripes over the colours, so that parts can be told apart without them. */
function patterns() {
  const hatch = (key, size, turn, line) =>
    svg("pattern", { id: `stripes-${key}`, width: size, height: size, patternUnits: "userSpaceOnUse", patternTransform: `rotate(${turn})` },
      svg("rect", { class: `f-${key}`, width: size, height: size }), svg("rect", { class: "stripe", width: line, height: size }));
  return svg("defs", {}, hatch("client", 6, 45, 2), hatch("server", 4, -45, 2), hatch("redirect", 4, 0, 1.5), hatch("running", 5, 90, 1));
}
