/**
 * The table of calls or messages: a grid that draws only the rows in sight.
 *
 * In: `new Table(node, {open, sort, near, chose, scrolled, link})` and `show({of, columns, rows, sort, total, oldest})`, `oldest`: the
 * earliest time that rows may have, those of later pages too: it says whether columns of times have room for a year. Where
 * a row needs its year, all rows have theirs. The same few
 * row elements are used again and again while one scrolls; each stands at its place by `transform`. Out:
 * callbacks: `open(rows)`, `sort(name)`, `near()` when the last rows come in sight, `chose(set)` when rows
 * are chosen, `scrolled(atTop)`, `link(ids, at)` for a call's address. Text from traffic becomes text nodes only.
 *
 * Keyboard: the grid has the focus and names its active row (aria-activedescendant); keys.js has the keys.
 */
import { fill, h } from "../dom.js";
import { outcome } from "../format.js";
import { upright } from "../safe.js";
import * as columnsOf from "./columns.js";

/** Rows drawn above and below what is in sight. */
const SPARE = 6;
/** The next page is asked for when that many rows are left. */
const NEAR = 120;

/** What tells rows apart from answer to answer: a call by its Call-ID; of messages that are alike, each counts. */
function keyOf(of, row) {
  return of === "calls" ? row.call_id : JSON.stringify([row.ts, row.call_id, row.method, row.status]);
}

export class Table {
  constructor(node, { open, sort, near, chose, scrolled, link }) {
    Object.assign(this, { node, open, sortBy: sort, near, chose, scrolled, link });
    this.head = h("div", { role: "row", class: "head", "aria-rowindex": "1", "aria-busy": "true" });
    this.body = h("div", { role: "rowgroup", class: "body" });
    this.chosen = new Map();
    this.sought = null;
    this.pool = [];
    this.active = -1;
    this.rows = [];
    this.years = false;
    this.of = "calls";
    this.columns = [];
    fill(node, h("div", { role: "rowgroup", class: "heads" }, this.head), this.body);
    node.addEventListener("scroll", () => this.onScroll(), { passive: true });
    node.addEventListener("focus", () => node.matches(":focus-visible") && this.active < 0 && this.activate(0));
    this.body.addEventListener("click", (event) => this.onClick(event));
    this.body.addEventListener("mousedown", (event) => event.shiftKey && event.preventDefault());
    new ResizeObserver(() => this.resize()).observe(node);
  }

  /** Show other rows, from the top. `keep`: they answer the same search, so what was chosen is chosen again. */
  show({ of, columns, rows, sort, total, oldest, keep = false }) {
    const sought = keep ? this.choices() : null;
    Object.assign(this, { of, rows, sort, oldest, columns: columns.map((name) => columnsOf.find(of, name)) });
    this.settleHead();
    this.restart();
    this.sought = sought;
    this.count(total);
  }

  /** What is chosen and focused, as it can be found among other rows; also what is still sought. */
  choices() {
    const before = this.misses ? this.sought : { chosen: [], active: null, above: null, among: 0 };
    const chosen = new Map(before.chosen);
    for (const row of this.chosen.keys()) chosen.set(keyOf(this.of, row), (chosen.get(keyOf(this.of, row)) ?? 0) + 1);
    const among = Math.max(before.among, this.rows.length);
    const row = this.rows[this.active];
    if (!row) return { ...before, chosen, among, at: 0 };
    const top = this.node.scrollTop;
    return { chosen, active: keyOf(this.of, row), above: top > 1 ? this.active * this.height - top : null, among, at: 0 };
  }

  /** Choose and focus again what is sought, as far as rows have come. */
  recall() {
    const { sought } = this;
    if (!sought) return;
    const before = this.chosen.size;
    for (; sought.at < this.rows.length; sought.at += 1) {
      const row = this.rows[sought.at];
      const key = keyOf(this.of, row);
      const left = sought.chosen.get(key);
      if (left) this.chosen.set(row, true);
      if (left > 1) sought.chosen.set(key, left - 1);
      else sought.chosen.delete(key);
      if (key === sought.active && this.active < 0) this.refocus(sought);
    }
    if (this.chosen.size > before) this.chose([...this.chosen.keys()]);
  }

  /** The row that had the focus has it again, at its place on the screen where people had scrolled. */
  refocus({ at, above }) {
    this.active = this.anchor = at;
    if (above !== null && this.node.scrollTop <= 1) this.node.scrollTop = at * this.height - above;
  }

  /** Whether rows that are sought may be among those that are not here yet: not far behind the place where they were. */
  get misses() {
    const { sought } = this;
    return Boolean(sought) && (sought.chosen.size > 0 || (sought.active !== null && this.active < 0)) && this.rows.length <= sought.among;
  }

  /** Draw the head anew where it is about other columns, or where longer times came than there is room for. */
  settleHead() {
    this.years = columnsOf.needYears(this.columns, this.rows);
    this.room = this.years || columnsOf.ofOtherYear(this.oldest);
    const look = [this.of, this.sort, ...this.columns.map((column) => `${column.name}=${this.widthOf(column)}`)].join();
    if (look === this.look) return;
    this.look = look;
    this.drawHead();
  }

  widthOf(column) {
    return columnsOf.width(column, this.room);
  }

  /** Rows came at the end. @param {number} total rows in all; -1: not known */
  count(total) {
    this.settleHead();
    this.node.setAttribute("aria-rowcount", total < 0 ? "-1" : String(total + 1));
    this.body.style.blockSize = `${this.rows.length * this.height}px`;
    this.recall();
    this.draw(true);
  }

  /** Rows came in at these places, from the top. What one reads does not move. */
  inserted(places) {
    const above = (index) => places.reduce((at, place) => at + (place <= at ? 1 : 0), index);
    if (this.active >= 0) this.active = above(this.active);
    if (this.anchor >= 0) this.anchor = above(this.anchor);
    this.settleHead();
    this.body.style.blockSize = `${this.rows.length * this.height}px`;
    const top = Math.floor(this.node.scrollTop / this.height);
    if (this.node.scrollTop > 0) this.node.scrollTop += (above(top) - top) * this.height;
    this.draw(true);
  }

  restart() {
    this.active = -1;
    this.anchor = -1;
    this.clear();
    this.node.scrollTop = 0;
  }

  /** Choose nothing. */
  clear() {
    this.sought = null;
    this.choose(() => this.chosen.clear());
  }

  get height() {
    this.rowHeight ||= parseFloat(getComputedStyle(this.node).getPropertyValue("--row")) || 28;
    return this.rowHeight;
  }

  drawHead() {
    const widths = this.columns.map((column) => this.widthOf(column));
    const tracks = this.columns.map((column, i) => (column.kind === "text" ? `minmax(${widths[i]}ch, ${widths[i]}fr)` : `${widths[i]}ch`));
    this.node.style.setProperty("--widths", `2.25rem ${tracks.join(" ")}`);
    this.node.style.setProperty("--least", `${widths.reduce((sum, one) => sum + one, 0)}ch`);
    this.node.setAttribute("aria-colcount", String(this.columns.length + 1));
    this.node.dataset.of = this.of;
    const down = this.sort.startsWith("-") || !this.sort;
    const by = this.sort.replace(/^-/, "") || columnsOf.timeOf(this.of);
    const heads = this.columns.map((column, i) => {
      const sorted = column.name === by ? (down ? "descending" : "ascending") : null;
      const sign = h("span", { class: "sign", "aria-hidden": "true" }, sorted ? (down ? "▾" : "▴") : "");
      const button = h("button", { type: "button", class: "plain", tabindex: "-1", title: `Sort by ${column.title}`, onclick: () => this.sortBy(column.name) }, column.title, sign);
      return h("div", { role: "columnheader", "aria-colindex": i + 2, "aria-sort": sorted ?? "none", class: `c-${column.name} ${column.kind}` }, button);
    });
    fill(this.head, h("div", { role: "columnheader", "aria-colindex": "1", class: "pick" }, h("span", { class: "unseen" }, "chosen")), ...heads);
    this.head.removeAttribute("aria-busy");
    this.pool = [];
    fill(this.body);
  }

  resize() {
    this.rowHeight = 0;
    this.body.style.blockSize = `${this.rows.length * this.height}px`;
    this.draw(true);
  }

  onScroll() {
    this.draw(false);
    this.scrolled(this.node.scrollTop <= 1);
  }

  /** Bring the pool to where one looks. `all`: rows may have changed, write each again. */
  draw(all) {
    const [height, seen] = [this.height, this.node.clientHeight];
    const first = Math.max(0, Math.floor(this.node.scrollTop / height) - SPARE);
    const wanted = Math.ceil(seen / height) + 2 * SPARE;
    while (this.pool.length < wanted) this.pool.push(this.blank());
    while (this.pool.length > wanted) this.pool.pop().node.remove();
    const last = Math.min(first + wanted, this.rows.length);
    const used = new Set();
    for (let index = first; index < last; index += 1) {
      const place = this.pool[index % wanted];
      used.add(place);
      if (all || place.index !== index) this.write(place, index);
    }
    for (const place of this.pool) place.node.hidden = !used.has(place);
    if (this.active >= first && this.active < last) this.node.setAttribute("aria-activedescendant", `row-${this.active}`);
    else this.node.removeAttribute("aria-activedescendant");
    // Most people never scroll: at the top the next page is asked for only where the rows do not fill the view.
    const unmoved = this.node.scrollTop <= 1 && last < this.rows.length;
    if (last + NEAR >= this.rows.length && !unmoved) this.near();
  }

  blank() {
    const box = h("input", { type: "checkbox", tabindex: "-1" });
    const cells = this.columns.map((column, i) => h("div", { role: "gridcell", "aria-colindex": i + 2, class: `c-${column.name} ${column.kind}` }));
    const node = h("div", { role: "row", class: "line" }, h("div", { role: "gridcell", "aria-colindex": "1", class: "pick" }, box), cells);
    this.body.append(node);
    return { node, box, cells, index: -1 };
  }

  write(place, index) {
    const row = this.rows[index];
    const end = outcome(row);
    place.index = index;
    place.node.id = `row-${index}`;
    place.node.style.transform = `translateY(${index * this.height}px)`;
    place.node.setAttribute("aria-rowindex", String(index + 2));
    place.node.className = `line ${end.class}${index === this.active ? " active" : ""}${row.fresh ? " fresh" : ""}`;
    const chosen = this.chosen.has(row);
    place.node.setAttribute("aria-selected", String(chosen));
    place.box.checked = chosen;
    place.box.setAttribute("aria-label", `Choose row ${index + 1}`);
    this.columns.forEach((column, i) => this.cell(place.cells[i], column, row, end, i));
  }

  cell(node, column, row, end, i) {
    const text = columnsOf.text(column, row, this.years);
    node.title = upright(columnsOf.hint(column, row) ?? "");
    if (column.kind === "outcome") {
      const word = column.name === "status" ? text || "request" : end.word;
      const sign = word === "request" ? "→" : end.sign;
      fill(node, h("span", { class: "sign", "aria-hidden": "true" }, sign), h("span", {}, word), column.name === "state" && row.status ? h("small", {}, row.status) : null);
    } else if (i === 0 && row.call_id) {
      fill(node, h("a", { href: this.link([row.call_id], row.ts), tabindex: "-1" }, text || "–"));
    } else node.textContent = upright(text);
  }

  onClick(event) {
    const line = event.target.closest(".line");
    if (!line || getSelection().toString()) return;
    const index = this.pool.find((place) => place.node === line).index;
    if (event.target.closest(".pick")) {
      if (event.shiftKey && this.anchor >= 0) this.chooseRange(this.anchor, index);
      else this.toggle(index);
      this.activate(index);
      return;
    }
    if (event.ctrlKey || event.metaKey) {
      if (event.target.closest("a")) return;
      this.toggle(index);
      this.activate(index);
      return;
    }
    if (event.target.closest("a") && event.shiftKey) return;
    event.preventDefault();
    this.activate(index);
    this.open([this.rows[index]]);
  }

  /** Make a row the active one and bring it into sight. */
  activate(index) {
    if (!this.rows.length) return;
    this.active = Math.max(0, Math.min(index, this.rows.length - 1));
    const [top, height, head] = [this.active * this.height, this.height, this.head.offsetHeight];
    const { scrollTop, clientHeight } = this.node;
    if (top < scrollTop) this.node.scrollTop = top;
    else if (top + height > scrollTop + clientHeight - head) this.node.scrollTop = top + height - clientHeight + head;
    this.draw(true);
  }

  move(by) {
    this.activate(this.active < 0 ? 0 : this.active + by);
  }

  /** Rows that fit. */
  get page() {
    return Math.max(1, Math.floor((this.node.clientHeight - this.head.offsetHeight) / this.height) - 1);
  }

  toggle(index = this.active) {
    const row = this.rows[index];
    if (!row) return;
    this.anchor = index;
    this.choose(() => (this.chosen.has(row) ? this.chosen.delete(row) : this.chosen.set(row, true)));
  }

  chooseRange(from, to) {
    this.choose(() => {
      for (let i = Math.min(from, to); i <= Math.max(from, to); i += 1) this.chosen.set(this.rows[i], true);
    });
  }

  choose(change) {
    const before = this.chosen.size;
    change();
    if (before || this.chosen.size) this.draw(true);
    this.chose([...this.chosen.keys()]);
  }

  /** The rows that "open" is about: the chosen ones, else the active one. */
  wanted() {
    if (this.chosen.size) return [...this.chosen.keys()];
    return this.rows[this.active] ? [this.rows[this.active]] : [];
  }

  focus() {
    this.node.focus({ preventScroll: true });
    if (this.active < 0 && this.rows.length) this.activate(0);
  }
}

/** The page of these calls, in one picture. */
export function callUrl(ids, more = {}) {
  const pairs = new URLSearchParams();
  for (const id of ids) pairs.append("id", id);
  for (const [name, value] of Object.entries(more)) if (value) pairs.append(name, value);
  return `/call?${pairs}`;
}
