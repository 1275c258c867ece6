/**
 * Charts over time: lines, stacked bars, sparklines, as SVG.
 *
 * In: `new Chart({title, kind: "lines"|"bars", format, highest, open})`; `show({since, until, start, width, series})`, where a
 * series is {key, word, values}, values one a bucket, null: none. Out: `node`; `open(since, until)` is called with a
 * bucket's bounds when it is clicked, or chosen with Enter. Heights are fixed: nothing moves when values come.
 *
 * Each chart has its numbers as a table too, behind its button. The picture is a slider: Left and Right go from
 * bucket to bucket and say the values, Home and End to the ends, Esc lets go. Series are told apart by colour, and
 * by dashes (lines) or stripes (bars).
 */
import { fill, h, svg } from "../dom.js";
import { SECOND, clock, day, onZone, zone } from "../time.js";
import { MONTH, YEAR, ticks } from "../search/buckets.js";

const HEIGHT = 150;
const AXIS = 18;
const LEFT = 58;
const TOP = 8;
let numbers = 0;

export class Chart {
  constructor({ title, kind, format, highest = null, open = null, id = `chart-${(numbers += 1)}` }) {
    Object.assign(this, { title, kind, format, highest, open, id, cursor: -1, data: null });
    this.legend = h("div", { class: "legend" });
    this.readout = h("div", { class: "readout number", "aria-hidden": "true" });
    this.picture = svg("svg", { class: "picture", height: HEIGHT + AXIS, role: "slider", tabindex: "0", "aria-label": title, "aria-valuemin": "0", "aria-valuemax": "0", "aria-valuenow": "0", "aria-valuetext": "no values" });
    this.rows = h("div", { class: "scroll rows", tabindex: "0", role: "region", "aria-label": `${title}: table`, hidden: true });
    this.button = h("button", { class: "plain small", type: "button", "aria-expanded": "false", "aria-label": `${title}: as a table`, onclick: () => this.turn() }, "Table");
    this.status = h("p", { class: "state muted" });
    const heading = h("h2", { id: this.id }, title);
    this.node = h("section", { class: `panel chart ${kind}`, "aria-labelledby": this.id }, h("div", { class: "head" }, heading, this.readout, this.button), this.legend, h("div", { class: "frame" }, this.picture, this.rows, this.status));
    this.listen();
    new ResizeObserver(() => this.draw()).observe(this.picture);
    onZone(() => this.draw());
  }

  /** Show other values; the bucket that is looked at stays the one under the pointer. */
  show(data, none = "nothing in this range") {
    this.data = data;
    this.empty = !data.series.some((one) => one.values.some((value) => (this.kind === "bars" ? value : value !== null)));
    this.status.textContent = this.empty ? none : "";
    this.draw();
  }

  turn() {
    const wanted = this.rows.hidden;
    this.rows.hidden = !wanted;
    this.picture.toggleAttribute("hidden", wanted);
    this.button.setAttribute("aria-expanded", String(wanted));
    this.button.textContent = wanted ? "Picture" : "Table";
    this.button.setAttribute("aria-label", `${this.title}: as a ${wanted ? "picture" : "table"}`);
    this.draw();
  }

  draw() {
    if (!this.data) return;
    this.drawLegend();
    if (!this.rows.hidden) return this.drawTable();
    const width = this.picture.clientWidth;
    if (!width) return;
    this.width = width;
    this.scale();
    this.picture.setAttribute("viewBox", `0 0 ${width} ${HEIGHT + AXIS}`);
    this.picture.setAttribute("aria-valuemax", String(Math.max(0, this.data.start.length - 1)));
    this.pointer = svg("rect", { class: "cursor", y: TOP, height: HEIGHT - TOP, hidden: true });
    const base = svg("line", { class: "base", x1: LEFT, x2: width, y1: HEIGHT, y2: HEIGHT });
    const marks = this.empty ? null : this.kind === "bars" ? this.drawBars() : this.drawLines();
    fill(this.picture, this.kind === "bars" ? this.patterns() : null, this.drawScale(), this.pointer, marks, base, this.drawAxis());
    this.place(this.cursor);
  }

  scale() {
    const { series, start } = this.data;
    const sums = this.kind === "bars" ? start.map((_, i) => series.reduce((all, one) => all + (one.values[i] ?? 0), 0)) : series.flatMap((one) => one.values.map((value) => value ?? 0));
    this.top = this.highest ?? round(sums.reduce((most, value) => Math.max(most, value), 0));
  }

  drawScale() {
    if (this.empty) return null;
    return svg("g", { class: "scale" }, [0, 0.5, 1].map((share) => {
      const y = this.y(this.top * share);
      const words = svg("text", { x: LEFT - 6, y: y + 4, "text-anchor": "end" }, this.format(this.top * share) || "0");
      return [share ? svg("line", { x1: LEFT, x2: this.width, y1: y, y2: y }) : null, words];
    }));
  }

  drawBars() {
    const { series, start, width } = this.data;
    return svg("g", {}, start.flatMap((at, i) => {
      const [left, right] = [this.x(at), this.x(at + width)];
      const wide = Math.max(right - left - (right - left > 3 ? 1 : 0), 1);
      let from = 0;
      return series.filter((one) => one.values[i]).map((one) => {
        const [low, high] = [this.y(from), this.y((from += one.values[i]))];
        return svg("rect", { fill: `url("#${this.id}-${one.key}")`, x: left.toFixed(1), y: Math.min(high, low - 1).toFixed(1), width: wide.toFixed(1), height: Math.max(low - high, 1).toFixed(1) });
      });
    }));
  }

  drawLines() {
    const { series, start, width } = this.data;
    return svg("g", {}, series.map((one, n) => {
      const points = start.map((at, i) => (one.values[i] === null ? null : [this.x(at + width / 2), this.y(one.values[i])]));
      const alone = points.filter((point, i) => point && !points[i - 1] && !points[i + 1]);
      return svg("g", { class: `line l${n}` }, svg("path", { d: path(points) }), alone.map(([cx, cy]) => svg("circle", { cx, cy, r: 2.5 })));
    }));
  }

  drawAxis() {
    const { since, until } = this.data;
    if (!(until > since)) return null;
    const { step, at } = ticks(since, until, Math.max(2, Math.floor((this.width - LEFT) / 80)), shiftOf);
    return svg("g", { class: "axis" }, at.map((us) => {
      const x = this.x(us);
      const anchor = x > this.width - 24 ? "end" : "middle";
      return [svg("line", { x1: x, x2: x, y1: HEIGHT, y2: HEIGHT + 4 }), svg("text", { x, y: HEIGHT + 15, "text-anchor": anchor }, words(us, step))];
    }));
  }

  drawLegend() {
    const said = this.data.series.map((one) => `${one.key} ${one.word}`).join("\n");
    if (said === this.said) return;
    this.said = said;
    fill(this.legend, this.data.series.map((one, n) => {
      const bars = () => [svg("defs", {}, pattern(one, n, `${this.id}-l-${one.key}`)), svg("rect", { fill: `url("#${this.id}-l-${one.key}")`, width: 14, height: 10 })];
      const inside = this.kind === "bars" ? bars() : svg("g", { class: `line l${n}` }, svg("path", { d: "M0 5H18" }));
      return h("span", { class: "entry" }, svg("svg", { class: "swatch", viewBox: this.kind === "bars" ? "0 0 14 10" : "0 0 18 10", "aria-hidden": "true" }, inside), one.word);
    }));
  }

  drawTable() {
    const { series, start, width } = this.data;
    const head = h("tr", {}, h("th", { scope: "col" }, "From"), series.map((one) => h("th", { scope: "col", class: "number" }, one.word)));
    const lines = start.map((at, i) => h("tr", {}, h("th", { scope: "row", class: "number" }, span(at, width)), series.map((one) => h("td", { class: "number" }, one.values[i] === null ? "–" : this.format(one.values[i]) || "0"))));
    fill(this.rows, h("table", {}, h("caption", { class: "unseen" }, this.title), h("thead", {}, head), h("tbody", {}, lines.reverse())));
  }

  /** The stripes of each series; ids belong to this chart. */
  patterns() {
    return svg("defs", {}, this.data.series.map((one, n) => pattern(one, n, `${this.id}-${one.key}`)));
  }

  x(us) {
    const { since, until } = this.data;
    const share = Math.max(0, Math.min(1, (us - since) / Math.max(1, until - since)));
    return LEFT + share * (this.width - LEFT);
  }

  y(value) {
    return HEIGHT - (this.top ? Math.min(value / this.top, 1) : 0) * (HEIGHT - TOP);
  }

  listen() {
    this.picture.addEventListener("pointermove", (event) => this.place(this.at(event.offsetX)));
    this.picture.addEventListener("pointerleave", () => this.place(-1));
    this.picture.addEventListener("blur", () => this.place(-1));
    this.picture.addEventListener("click", (event) => this.choose(this.at(event.offsetX), event.ctrlKey || event.metaKey));
    this.picture.addEventListener("keydown", (event) => this.onKey(event));
    if (this.open) this.picture.classList.add("leads");
  }

  onKey(event) {
    if (!this.data?.start.length || event.altKey) return;
    const last = this.data.start.length - 1;
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowDown: -1, ArrowUp: 1, PageDown: -10, PageUp: 10 };
    const ends = { Home: 0, End: last };
    if (event.key in ends) this.place(ends[event.key]);
    else if (event.key in steps) {
      const before = this.cursor < 0 ? (steps[event.key] < 0 ? last + 1 : -1) : this.cursor;
      this.place(Math.max(0, Math.min(last, before + steps[event.key])));
    } else if (event.key === "Enter") this.choose(this.cursor, event.ctrlKey || event.metaKey);
    else if (event.key === "Escape" && this.cursor >= 0) this.place(-1);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  at(x) {
    if (!this.data || x < LEFT) return -1;
    const { since, until, start, width } = this.data;
    const us = since + ((x - LEFT) / (this.width - LEFT)) * (until - since);
    return start.findIndex((begin) => us >= begin && us < begin + width);
  }

  choose(index, apart) {
    if (index < 0 || !this.open) return;
    const { start, width, since, until } = this.data;
    this.open(Math.max(start[index], since), Math.min(start[index] + width, until), apart);
  }

  place(index) {
    const bucket = this.data?.start[index];
    this.cursor = bucket === undefined ? -1 : index;
    const said = bucket === undefined ? "" : `${span(bucket, this.data.width)}   ${this.values(index)}`;
    if (bucket === undefined) this.pointer?.setAttribute("hidden", "");
    else {
      this.pointer.removeAttribute("hidden");
      this.pointer.setAttribute("x", this.x(bucket));
      this.pointer.setAttribute("width", Math.max(this.x(bucket + this.data.width) - this.x(bucket), 2));
    }
    this.readout.textContent = said;
    this.picture.setAttribute("aria-valuenow", String(Math.max(0, this.cursor)));
    this.picture.setAttribute("aria-valuetext", said || this.summary());
  }

  values(index) {
    return this.data.series.map((one) => `${one.word} ${one.values[index] === null ? "–" : this.format(one.values[index]) || "0"}`).join(" · ") || "nothing";
  }

  summary() {
    if (!this.data || this.empty) return "no values";
    const most = this.data.series.map((one) => `${one.word}: at most ${this.format(Math.max(...one.values.map((value) => value ?? 0))) || "0"}`);
    return most.join(", ");
  }
}

/** Colours and kinds of stripes, [width, angle], of series that have a look: each pair of them is one look. */
const COLORS = 6;
const STRIPES = [[0, 0], [2, 45], [1.5, -45], [1.5, 0], [2.5, 90], [1, 45]];

/** What fills the bars of a series: the look of its name, or that of its place. */
function pattern(one, n, id) {
  const { look } = one;
  const place = [[0, -45], [2, 45], [1, -45], [0, 45], [2, -45], [1, 45]][n % 6];
  const [stripe, turn] = look === undefined ? place : STRIPES[(look + Math.floor(look / COLORS)) % STRIPES.length];
  const color = look === undefined ? one.key : `c${look % COLORS}`;
  return svg("pattern", { id, width: 5, height: 5, patternUnits: "userSpaceOnUse", patternTransform: `rotate(${turn})` }, svg("rect", { class: `b-${color}`, width: 5, height: 5 }), stripe ? svg("rect", { class: "stripe", width: stripe, height: 5 }) : null);
}

/** A line without axes, for a tile; `values` may hold null. Its height is fixed. */
export function sparkline() {
  const line = svg("path", {});
  const area = svg("path", { class: "area" });
  const node = svg("svg", { class: "spark", viewBox: "0 0 100 28", preserveAspectRatio: "none", "aria-hidden": "true" }, area, line);
  const show = (values, highest = null) => {
    const top = highest ?? Math.max(...values.map((value) => value ?? 0), 0);
    const wide = 100 / Math.max(1, values.length - 1);
    const points = values.map((value, i) => (value === null ? null : [i * wide, 26 - (top ? value / top : 0) * 24]));
    // A value without neighbours is a dash.
    const seen = points.flatMap((point, i) => (point && !points[i - 1] && !points[i + 1] ? [[point[0] - 1, point[1]], [point[0] + 1, point[1]], null] : [point]));
    line.setAttribute("d", path(seen));
    area.setAttribute("d", runs(seen).map((run) => `${path(run)}L${run.at(-1)[0].toFixed(1)} 28L${run[0][0].toFixed(1)} 28Z`).join(""));
  };
  return { node, show };
}

/** The runs of points between gaps. */
function runs(points) {
  const all = [[]];
  for (const point of points) point ? all.at(-1).push(point) : all.push([]);
  return all.filter((run) => run.length);
}

/** A path through points; a null is a gap. */
function path(points) {
  return points.map((point, i) => (point ? `${points[i - 1] ? "L" : "M"}${point[0].toFixed(1)} ${point[1].toFixed(1)}` : "")).join("");
}

/** The next number above that is easy to read: 1, 2, 5, 10, 20 ... */
function round(value) {
  if (!(value > 0)) return 1;
  const size = 10 ** Math.floor(Math.log10(value));
  return [1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10].map((step) => step * size).find((step) => step >= value * 0.999);
}

/** A bucket in words. */
function span(at, width) {
  const digits = width < SECOND ? 3 : 0;
  const [from, to] = [clock(at, digits), clock(at + width, digits)];
  const date = width >= 86400 * SECOND ? day(at) : from.slice(0, width < 60 * SECOND ? undefined : 5);
  return width >= 86400 * SECOND ? date : `${date} – ${to.slice(0, width < 60 * SECOND ? undefined : 5)}`;
}

function words(us, step) {
  if (step >= MONTH) return day(us).slice(0, step >= YEAR ? 4 : 7);
  if (step >= 864e8) return day(us).slice(5);
  const time = clock(us, step < SECOND ? 3 : 0);
  if (time === "00:00:00") return day(us).slice(5);
  return step >= 60 * SECOND ? time.slice(0, 5) : time;
}

/** How far the shown zone is ahead of UTC at a time, in microseconds. */
function shiftOf(us) {
  return zone() === "utc" ? 0 : -new Date(us / 1000).getTimezoneOffset() * 60 * SECOND;
}
