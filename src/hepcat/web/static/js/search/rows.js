/**
 * The rows of a search, fetched page after page by cursor.
 *
 * In: `new Rows({of, params, loaded, failed})`; `more()` asks for the next page where there is one and none
 * is under way. Out: `list`, `done`, `answer` (the first page's since, until, notes). A search that
 * is replaced is stopped by `stop()`; its answers are not told any more. `loaded(answer, first)` and
 * `failed(problem)` are called back; where they are set later, `resume()` tells what came meanwhile.
 */
import { get } from "../api.js";

/** The first page is small, so that rows show early; those after it as large as the server gives. */
const PAGES = [60, 240, 1000, 1000, 5000];
/** Rows that a page keeps at most: the bound of the server's own ordered results. */
export const MOST = 100_000;

export class Rows {
  constructor({ of, params, loaded = null, failed = null }) {
    Object.assign(this, { of, params, loaded, failed });
    this.list = [];
    this.done = false;
    this.busy = false;
    this.answer = null;
    this.pages = 0;
    this.next = null;
    this.control = new AbortController();
  }

  /** Ask for the next page. */
  async more() {
    if (this.busy || this.done || this.control.signal.aborted) return;
    this.busy = true;
    const { answer, problem } = await this.ask();
    if (answer) {
      this.busy = false; // before it is told: who hears of it may want the page after it
      this.tell(() => this.take(answer));
      return;
    }
    // Told while busy: what is drawn then has no rows, and would ask again at once, and again.
    if (problem.name !== "AbortError") this.tell(() => this.failed(problem));
    this.busy = false;
  }

  async ask() {
    try {
      return { answer: await get(`/api/${this.of}`, this.parameters(), { signal: this.control.signal }) };
    } catch (problem) {
      return { problem };
    }
  }

  /** Tell what came before anybody listened. */
  resume() {
    const news = this.news;
    this.news = null;
    news?.();
  }

  /** Stop asking. */
  stop() {
    this.control.abort();
  }

  /** Ask for more again, after `stop()`. */
  restart() {
    this.control = new AbortController();
  }

  /**
   * Put rows that happened meanwhile where the order of time has them. A call that is there already becomes what the
   * row says; one from before the rows that are here waits for its page. The oldest beyond `most` are let go.
   * @returns {number[]} the places of the new rows, from the top
   */
  merge(fresh, most = MOST) {
    const time = this.of === "calls" ? "start" : "ts";
    const before = this.done ? (this.answer?.since ?? -Infinity) : (this.list.at(-1)?.[time] ?? -Infinity);
    const added = new Set();
    for (const row of [...fresh].sort((one, two) => one[time] - two[time])) {
      if (row[time] < before) continue;
      const at = this.place(row, time);
      const there = this.of === "calls" ? this.sameCall(row, at) : null;
      if (there) Object.assign(there, row);
      else {
        this.list.splice(at, 0, row);
        added.add(row);
      }
    }
    if (this.list.length > most) {
      this.list.length = most;
      this.done = true;
    }
    const places = [];
    for (let i = 0; places.length < added.size && i < this.list.length; i += 1) if (added.has(this.list[i])) places.push(i);
    return places;
  }

  /** Where a row belongs: before the first that is not newer. */
  place(row, time) {
    let [low, high] = [0, this.list.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.list[middle][time] > row[time]) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  sameCall(row, at) {
    for (let i = at; i < this.list.length && this.list[i].start === row.start; i += 1) if (this.list[i].call_id === row.call_id) return this.list[i];
    return null;
  }

  tell(news) {
    if (this.control.signal.aborted) return;
    if (this.loaded) news();
    else this.news = news;
  }

  parameters() {
    const limit = PAGES[Math.min(this.pages, PAGES.length - 1)];
    if (!this.next) return { ...this.params, limit };
    // The cursor carries the bounds of the first answer: "15m" ago is another time now.
    return { ...this.params, since: null, until: null, limit, cursor: this.next };
  }

  take(answer) {
    const first = this.answer === null;
    this.answer ??= answer;
    this.pages += 1;
    this.next = answer.next ?? null;
    for (const row of answer[this.of].slice(0, MOST - this.list.length)) this.list.push(row);
    this.done = !this.next || this.list.length >= MOST;
    this.loaded(answer, first);
  }
}
