/**
 * Live mode: rows on top as they happen.
 *
 * In: GET /api/live (server-sent events). Out: `arrived(rows)` at most twice a second, newest first, at most
 * BURST rows at a time (`dropped(n)` tells of those that were left out); `changed()` after rows that may still change were asked again:
 * a call is told of once, when its first message was seen. While `paused()` says so nothing arrives: up to HELD rows wait.
 */
import { events, get } from "../api.js";
import { written } from "./complete.js";
import * as columnsOf from "./columns.js";

const EVERY = 500;
const BURST = 200;
const HELD = 2000;
const AGAIN_EVERY = 2000;
/** Call-IDs in one query: it has a bound of length. */
const MOST_IDS = 40;
const LONGEST = 3500;
const OPEN = new Set(["in call", "ringing", "trying", "no reply"]);

export class Live {
  constructor({ view, names, rows, arrived, changed, paused, waiting, dropped, said }) {
    Object.assign(this, { view, names, rows, arrived, changed, paused, waiting, dropped, said });
    this.held = [];
    this.lost = 0;
    const take = (list) => this.take(list);
    this.source = events("/api/live", { q: view.q, of: view.of, store: view.store, fields: columnsOf.fieldsFor(view.of, names) }, {
      [view.of]: take,
      note: (note) => said(typeof note === "string" ? note : (note.note ?? note.detail ?? "")),
      open: () => said(""),
      broken: (final) => said(final ? "Live results ended." : "The connection broke; trying again."),
    });
    this.flushing = setInterval(() => this.flush(), EVERY);
    this.asking = setInterval(() => this.again(), AGAIN_EVERY);
    this.control = new AbortController();
  }

  stop() {
    this.source.close();
    this.control.abort();
    clearInterval(this.flushing);
    clearInterval(this.asking);
  }

  take(list) {
    for (const row of list) this.held.push(row);
    const over = this.held.length - HELD;
    if (over > 0) {
      this.held.splice(0, over);
      this.lost += over;
    }
  }

  /** Hand over what waits, unless people read. */
  flush(force = false) {
    if (this.lost) this.dropped(this.lost);
    this.lost = 0;
    if (document.hidden) return;
    if (this.paused() && !force) return this.waiting(this.held.length);
    const fresh = this.held.splice(Math.max(0, this.held.length - (force ? HELD : BURST)));
    if (this.held.length) this.dropped(this.held.length);
    this.held = [];
    this.waiting(0);
    if (fresh.length) this.deliver(fresh.reverse());
  }

  deliver(fresh) {
    if (this.view.of === "messages") return this.arrived(fresh);
    const there = new Map(this.rows().slice(0, HELD).map((row) => [row.call_id, row]));
    for (const row of fresh) if (there.has(row.call_id)) Object.assign(there.get(row.call_id), row);
    this.arrived(fresh.filter((row) => !there.has(row.call_id)));
  }

  /** Ask again for calls at the top that were not over yet. */
  async again() {
    if (this.view.of !== "calls" || document.hidden || this.busy) return;
    const open = this.rows().slice(0, 200).filter((row) => OPEN.has(row.state) && row.call_id).slice(0, MOST_IDS);
    const ids = [];
    let size = 0;
    for (const row of open) {
      const text = written(row.call_id);
      size += text.length * 1.2 + 1;
      if (size < LONGEST) ids.push(text);
    }
    if (!ids.length) return;
    this.busy = true;
    try {
      const since = Math.min(...open.map((row) => row.start)) - 1;
      const answer = await get("/api/calls", { q: `call_id:${ids.join(",")}`, since, limit: MOST_IDS, store: this.view.store, fields: columnsOf.fieldsFor("calls", this.names) }, { signal: this.control.signal });
      const told = new Map(answer.calls.map((row) => [row.call_id, row]));
      for (const row of open) if (told.has(row.call_id)) Object.assign(row, told.get(row.call_id));
      if (!this.control.signal.aborted) this.changed();
    } catch {
      /* The next time may do. */
    } finally {
      this.busy = false;
    }
  }
}
