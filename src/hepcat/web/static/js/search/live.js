/**
 * Live mode: rows as they happen.
 *
 * In: GET /api/live (server-sent events; a call that goes on comes again). Out: `arrived(rows)` at most
 * twice a second, at most BURST at a time; `changed()` after rows that are there became others;
 * `waiting(n)`: rows that wait while `paused()` says that people read, at most HELD; `said(text)`: notes.
 * Calls that were there before, and were not over, are asked for again now and then.
 */
import { events, get } from "../api.js";
import * as columnsOf from "./columns.js";
import { written } from "./complete.js";

const EVERY = 500;
const BURST = 200;
const HELD = 2000;
const AGAIN_EVERY = 5000;
/** Call-IDs in one query, and its length: the server has a bound. */
const MOST_IDS = 40;
const LONGEST = 3000;
const OPEN = new Set(["in call", "ringing", "trying", "no reply"]);

export class Live {
  constructor({ view, names, since, rows, arrived, changed, paused, waiting, said }) {
    Object.assign(this, { view, names, rows, arrived, changed, paused, waiting, said });
    this.held = [];
    this.lost = 0;
    this.control = new AbortController();
    const wish = { q: view.q, of: view.of, store: view.store, since, fields: columnsOf.fieldsFor(view.of, names) };
    this.source = events("/api/live", wish, {
      [view.of]: (list) => this.take(list),
      note: (note) => said(note.note ?? ""),
      slow: (note) => said(note.note ?? ""),
      open: () => said(""),
      broken: (final) => said(final ? "Live results ended; press Live to begin again." : "The connection broke; trying again."),
    });
    this.flushing = setInterval(() => this.flush(), EVERY);
    this.asking = setInterval(() => this.again(), AGAIN_EVERY);
  }

  stop() {
    this.source.close();
    this.control.abort();
    clearInterval(this.flushing);
    clearInterval(this.asking);
  }

  take(list) {
    const there = this.view.of === "calls" ? this.known() : new Map();
    let changed = false;
    for (const row of list) {
      row.told = true;
      const known = there.get(row.call_id);
      if (known) changed = Boolean(Object.assign(known, row));
      else this.held.push(row);
    }
    const over = this.held.length - HELD;
    if (over > 0) this.held.splice(0, over);
    this.lost += Math.max(over, 0);
    if (changed) this.changed();
  }

  /** Calls that are shown or wait, by Call-ID. */
  known() {
    const all = [...this.rows().slice(0, HELD), ...this.held];
    return new Map(all.filter((row) => row.call_id).map((row) => [row.call_id, row]));
  }

  /** Hand over what waits, unless people read. */
  flush(force = false) {
    if (document.hidden) return;
    if (this.paused() && !force) return this.waiting(this.held.length);
    const fresh = this.held.splice(Math.max(0, this.held.length - (force ? HELD : BURST)));
    this.lost += this.held.length;
    this.held = [];
    this.waiting(0);
    if (this.lost) this.said(`More came than can be read: ${this.lost} are left out here. The search finds them.`);
    this.lost = 0;
    if (fresh.length) this.arrived(fresh);
  }

  /** Ask again for calls at the top that the server does not tell of by itself. */
  async again() {
    if (this.view.of !== "calls" || document.hidden || this.busy) return;
    const open = this.rows().slice(0, 200).filter((row) => !row.told && OPEN.has(row.state) && row.call_id);
    const ids = [];
    let size = 0;
    for (const row of open.slice(0, MOST_IDS)) {
      size += row.call_id.length + 3;
      if (size < LONGEST) ids.push(written(row.call_id));
    }
    if (!ids.length) return;
    this.busy = true;
    try {
      const wish = { q: `call_id:${ids.join(",")}`, since: Math.min(...open.map((row) => row.start)), limit: MOST_IDS, store: this.view.store, fields: columnsOf.fieldsFor("calls", this.names) };
      const answer = await get("/api/calls", wish, { signal: this.control.signal });
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
