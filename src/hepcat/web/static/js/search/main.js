/**
 * The search page: one view, from the URL to the screen and back.
 *
 * In: location. Out: the page. Rows are asked for first; the histogram, which looks at all that match, when they
 * are there or are long in coming, so as not to hold them up. A new view stops what the one before had asked.
 * `go(changes)` is the only way to another view: it writes the URL, and Back leads back.
 */
import { get, tooLong } from "../api.js";
import { $, $$, dialog, fill, h, say } from "../dom.js";
import { number } from "../format.js";
import { icon } from "../icons.js";
import { keys } from "../keys.js";
import { rangePicker } from "../range.js";
import { shell } from "../shell.js";
import { DAY, absolute, offset, onZone, resolve, rounded, step } from "../time.js";
import { nothing, trouble } from "./advice.js";
import { Box } from "./box.js";
import { nounOf } from "./buckets.js";
import * as columnsOf from "./columns.js";
import { early, first, paramsOf } from "./early.js";
import { Histogram } from "./histogram.js";
import { Live } from "./live.js";
import { MOST, Rows } from "./rows.js";
import { DEFAULT_SINCE, asked, fromSearch, toSearch } from "./state.js";
import { Table, callUrl } from "./table.js";
import { TOGETHER, chooseColumns, exportLinks, menuButton } from "./tools.js";

const BARS_EVERY = 10_000;
/** Milliseconds that the histogram waits for the first rows. */
const BARS_AFTER = 500;
/** What may be over soon: nobody there, too many searches, a server or a store that is away. */
const PASSING = new Set([0, 429, 502, 503]);
/** Milliseconds until a live view that got no answer asks again, unless the server says when. */
const AGAIN_AFTER = 5000;

let view = first;
let rows = null;
let live = null;
let counting = null;
let total = -1; // rows that one can scroll to; -1: not known
let found = -1; // rows that match
let begun = 0;
let again = null;
let bars = null; // the timer of a histogram that is still to be asked for
let chosen = [];
let target = history.state?.row ?? null;
let wish = ""; // what was asked for, to tell a search that is refreshed from another one
let kept = null; // the last search that was answered: {wish, rows, total, found, begun}
let retry = null; // the timer of a live view that asks again

const grid = $(".grid");
const instead = $(".instead");
const liveButton = $(".live");
const newer = $(".newer");

const table = new Table(grid, { open, sort, near: () => rows?.more(), chose, scrolled: (top) => top && live?.flush(), link: linkTo });
const histogram = new Histogram($(".histogram"), { zoom: (since, until) => go({ ...absolute(...rounded(since, until)), live: false }), narrow });
const box = new Box($(".ask"), {
  search: (q) => go({ q }, true),
  fields: get("/api/fields").then((answer) => answer.fields ?? answer),
  params: () => ({ since: view.since, until: view.until, store: view.store }),
});
const picker = rangePicker({ range: view, change: (range) => go({ ...range, live: view.live && !range.until }), known: bounds });
$(".when").append(picker.node);

function names() {
  return view.columns ?? columnsOf.kept(view.of);
}

/** Show another view. `anew`: also when it is the same. */
function go(changes, anew = false) {
  const next = { ...view, ...changes };
  const problem = tooLong(`/api/${next.of}`, paramsOf(next));
  if (problem) return refuse(next.q, problem);
  const changed = toSearch(next) !== toSearch(view);
  if (!changed && !anew) return;
  if (changed) history.pushState(null, "", location.pathname + toSearch(next));
  view = next;
  target = null;
  run();
}

/** A query that nobody can be asked for: the box says why, and the page stays as it is. */
function refuse(q, problem) {
  if (box.value !== q) box.value = q;
  box.mark(problem);
  say(problem.detail);
}

/** Search for what the view says. `quiet`: people see no sign of it until there is an answer. */
function run(started = null, quiet = false) {
  stop();
  if (rows?.answer) kept = { wish, rows, total, found, begun };
  begun = started ? 0 : performance.now();
  total = found = -1;
  if (!quiet) {
    showControls();
    showWaiting();
  }
  const params = paramsOf(view);
  wish = JSON.stringify([view.of, params]);
  const mine = started ?? new Rows({ of: view.of, params });
  mine.loaded = (answer, first) => onLoaded(mine, answer, first);
  mine.failed = (problem) => onFailed(mine, problem);
  rows = mine;
  bars = quiet ? 0 : setTimeout(startBars, BARS_AFTER); // 0: with the first rows only
  if (started) rows.resume();
  else rows.more();
  if (view.live) again = setInterval(() => !document.hidden && countBars(true), BARS_EVERY);
}

/** Say that a search is under way: the rows of the one before are pale, and where there are none a word stands. */
function showWaiting() {
  grid.setAttribute("aria-busy", "true");
  histogram.wait();
  fill($(".summary"), "Searching…");
  if (table.rows.length) return;
  table.show({ of: view.of, columns: names(), rows: [], sort: view.sort, total: -1, oldest: resolve(view).since ?? 0 });
  instead.hidden = false;
  fill(instead, h("p", { class: "searching muted", "aria-hidden": "true" }, "Searching…"));
}

function stop() {
  rows?.stop();
  live?.stop();
  counting?.abort();
  clearInterval(again);
  clearTimeout(bars);
  clearTimeout(retry);
  bars = live = null;
  newer.hidden = true;
}

function showControls() {
  document.title = `${view.q || "Search"} · hepcat`;
  if (box.value !== view.q) box.value = view.q;
  picker.set({ since: view.since, until: view.until });
  const widest = !view.since && !view.until;
  $(".zoom-out").disabled = widest;
  for (const button of $$("[data-of]")) button.setAttribute("aria-pressed", String(button.dataset.of === view.of));
  liveButton.setAttribute("aria-pressed", String(view.live));
  fill(liveButton, icon(view.live ? "pause" : "live"), "Live");
  $(".stores select")?.replaceWith(storeSelect());
}

/** Ask for the histogram, where that has not been done yet. */
function startBars() {
  if (bars === null) return;
  clearTimeout(bars);
  bars = null;
  countBars();
}

function onLoaded(from, answer, first) {
  if (from !== rows) return;
  grid.removeAttribute("aria-busy");
  if (rows.done && !view.live) total = rows.list.length;
  if (rows.done && total < MOST) found = total;
  if (first) {
    table.show({ of: view.of, columns: names(), rows: rows.list, sort: view.sort, total, oldest: answer.since ?? 0, keep: kept?.wish === wish });
    kept = null;
    instead.hidden = rows.list.length > 0 || view.live;
    if (!instead.hidden) fill(instead, nothing(view, (changes) => go(changes)));
    performance.measure("first rows", { start: begun, end: performance.now() });
    begun = performance.now() - begun;
    notes([...(answer.notes ?? []), ...twice(answer)]);
    if (view.live) goLive();
  } else table.count(total);
  summary();
  back();
  if (table.misses) rows.more();
  startBars();
}

function onFailed(from, problem) {
  if (from !== rows) return;
  grid.removeAttribute("aria-busy");
  clearTimeout(bars);
  bars = null;
  if (problem.position !== null) box.mark(problem);
  if (rows.list.length) return notes([problem.message]);
  const trying = view.live && PASSING.has(problem.status);
  if (problem.position === null && kept?.wish === wish && kept.rows.list.length) keepOld(problem, trying);
  else showTrouble(problem);
  if (trying) retry = setTimeout(tryAgain, problem.retryAfter ? problem.retryAfter * 1000 : AGAIN_AFTER);
}

/** The rows of the search that could not be made anew stay, and what went wrong stands above them. */
function keepOld(problem, trying) {
  counting?.abort();
  ({ rows, total, found, begun } = kept);
  rows.restart();
  histogram.settle("");
  summary();
  notes([`${problem.message}${trying ? " Trying again." : ""}`, "The rows are those of the last answer."]);
}

function showTrouble(problem) {
  table.show({ of: view.of, columns: names(), rows: [], sort: view.sort, total: 0, oldest: resolve(view).since ?? 0 });
  instead.hidden = false;
  fill(instead, trouble(problem, () => go({}, true), go));
  fill($(".summary"));
  histogram.fail("");
}

function tryAgain() {
  if (document.hidden) retry = setTimeout(tryAgain, AGAIN_AFTER);
  else run(null, true);
}

/** Go back to the row that was opened, when somebody comes back to this page. */
function back() {
  if (target === null) return;
  if (rows.list.length <= target && !rows.done) return rows.more();
  const row = target;
  target = null;
  if (row < rows.list.length) {
    table.activate(row);
    table.focus();
  }
}

async function countBars(quiet = false) {
  counting?.abort();
  counting = new AbortController();
  const { signal } = counting;
  const of = view.of;
  if (!quiet) histogram.wait();
  try {
    const answer = await get("/api/histogram", { ...asked(view), of, buckets: Math.min(histogram.most, 300) }, { signal });
    if (signal.aborted) return;
    // Where the range is open at both ends, the picture is as wide as what was found, and a bit wider round a moment.
    const known = { since: answer.since, until: view.since || view.until ? answer.until : null };
    histogram.show(answer, known, nounOf(of, view.q));
    const sum = answer.total.reduce((all, n) => all + n, 0);
    if (!view.live && !rows?.done) total = Math.min(sum, MOST);
    if (!rows?.done || sum > MOST) found = sum;
    if (rows?.answer) table.count(total);
    summary();
  } catch (problem) {
    if (problem.name === "AbortError" || signal.aborted) return;
    // A picture that cannot be renewed just now is better than none: the line above the table tells why.
    if (quiet) histogram.settle("");
    else histogram.fail(problem.position === null ? problem.message : "");
  }
}

/** The bounds in microseconds that the server answered. */
function bounds() {
  const { since, until } = rows?.answer ?? {};
  const data = histogram.data;
  const open = !view.since && !view.until;
  return { since: since ?? data?.from ?? null, until: (open ? null : until) ?? data?.to ?? null };
}

function summary() {
  if (!rows?.answer) return;
  const shown = rows.list.length;
  const noun = view.of === "calls" ? "call" : "message";
  const cut = found > MOST ? `, the first ${number(MOST)} are listed` : "";
  const most = found >= 0 ? Math.max(found, shown) : shown;
  // A phone has room for the number; what it counts is pressed beside it.
  const words = h("span", { class: "noun" }, ` ${noun}${most === 1 ? "" : "s"}`);
  fill($(".summary"), h("b", {}, number(most), words, found >= 0 ? "" : " so far"), view.live ? ", live" : cut, view.live ? null : h("span", { class: "took" }, ` in ${(begun / 1000).toFixed(2)} s`));
}

/** What to know of a night in which clocks are put forward or back. */
function twice({ since, until }) {
  if (since === null || until === null || until - since > 2 * DAY || offset(since) === offset(until)) return [];
  return [`Clocks were changed in this range, from ${offset(since)} to ${offset(until)}: times in UTC tell the hours apart.`];
}

function notes(list) {
  const button = $(".notes");
  button.hidden = !list.length;
  fill(button, icon("warning"), list[0] ?? "", list.length > 1 ? ` (and ${list.length - 1} more)` : "");
  button.onclick = () => dialog("Notes", h("ul", {}, list.map((note) => h("li", {}, note))));
}

function goLive() {
  const mine = rows;
  live = new Live({
    view,
    names: names(),
    since: mine.answer.until,
    rows: () => mine.list,
    arrived: (fresh) => arrived(mine, fresh),
    changed: () => table.draw(true),
    paused: () => grid.scrollTop > 1 || chosen.length > 0,
    waiting: (n) => ((newer.hidden = !n), fill(newer, icon("up"), `${number(n)} new`)),
    said: (text) => notes(text ? [text] : []),
  });
}

function arrived(mine, fresh) {
  if (mine !== rows || !fresh.length) return;
  for (const row of fresh) row.fresh = true;
  table.inserted(mine.merge(fresh));
  setTimeout(() => fresh.forEach((row) => delete row.fresh), 1500);
  summary();
}

function sort(name) {
  const [current, time] = [view.sort || `-${columnsOf.timeOf(view.of)}`, columnsOf.timeOf(view.of)];
  const kind = columnsOf.find(view.of, name).kind;
  const first = kind === "text" || kind === "outcome" ? name : `-${name}`;
  const next = current.replace(/^-/, "") !== name ? first : current.startsWith("-") ? name : `-${name}`;
  go({ sort: next === `-${time}` ? "" : next, live: false });
}

/** `at`: the time of the one message that was chosen. */
function linkTo(ids, at = null) {
  return callUrl(ids, { store: view.store, at });
}

function open(list) {
  const ids = [...new Set(list.map((row) => row.call_id).filter(Boolean))].slice(0, TOGETHER);
  if (!ids.length) return say("This message has no Call-ID.");
  history.replaceState({ row: table.active }, "");
  location.assign(linkTo(ids, list.length === 1 ? list[0].ts : null));
}

function chose(list) {
  chosen = list;
  const some = $(".some");
  some.hidden = !list.length;
  const calls = new Set(list.map((row) => row.call_id).filter(Boolean)).size;
  const words = calls > TOGETHER ? `Open the first ${TOGETHER} together` : calls > 1 ? "Open together" : "Open";
  fill(some, h("b", {}, `${list.length} chosen`), h("button", { type: "button", onclick: () => open(list) }, words), h("button", { type: "button", class: "plain", onclick: () => table.clear() }, "Clear"));
}

function narrow(query) {
  const q = view.q.trim();
  go({ q: q ? `(${q}) ${query}`.replace(/^\(([^\s()]+)\)/, "$1") : query });
}

function setOf(of) {
  if (of !== view.of) go({ of, sort: "", columns: null });
}

function toggleLive() {
  if (view.live) return go({ live: false });
  const relative = !/^\d{15,}$/.test(view.since) && !view.until;
  go({ live: true, sort: "", until: "", since: relative ? view.since : DEFAULT_SINCE });
}

function earlier(direction) {
  const [own, told] = [resolve(view), bounds()];
  const known = { since: own.since ?? told.since, until: own.until ?? told.until };
  if (Number.isFinite(known.since) && Number.isFinite(known.until)) go({ ...step(known, direction), live: false });
}

function zoomOut() {
  if (!view.since && !view.until) return say("All times are shown.");
  const known = { ...bounds() };
  if (!Number.isFinite(known.since) || !Number.isFinite(known.until)) return;
  const half = Math.max(known.until - known.since, 1000);
  go({ ...absolute(known.since - half, known.until + half), live: false });
}

function pickColumns() {
  chooseColumns(view.of, names(), (wanted) => {
    const next = wanted ?? columnsOf.DEFAULTS[view.of];
    columnsOf.keep(view.of, next);
    go({ columns: next }, true);
  });
}

let stores = [];
function storeSelect() {
  const options = stores.map(({ name }, i) => h("option", { value: i ? name : "", selected: name === view.store || (!i && !view.store) }, name));
  return h("select", { "aria-label": "Store", onchange: (event) => go({ store: event.target.value }) }, options);
}

async function findStores() {
  const answer = await get("/api/stores");
  stores = (answer.stores ?? answer).map((store) => (typeof store === "string" ? { name: store } : store));
  if (stores.length > 1) $(".bar .tools").prepend(h("span", { class: "stores" }, storeSelect()));
}

const inGrid = () => document.activeElement === grid;
const walk = (by) => {
  const begun = table.active >= 0;
  table.focus();
  if (begun) table.move(by);
};
const extend = (by) => {
  if (table.active < 0) return table.move(by);
  const from = table.active;
  table.move(by);
  table.chooseRange(from, table.active);
};

keys("Search", [
  { keys: ["/"], words: "to the query", run: () => box.focus() },
  { keys: ["Escape"], words: "from the query to the table; choose nothing", typing: true, run: () => (document.activeElement === box.input ? table.focus() : chosen.length ? table.clear() : false) },
  { keys: ["["], words: "earlier: one range back", run: () => earlier(-1) },
  { keys: ["]"], words: "later: one range on", run: () => earlier(1) },
  { keys: ["z"], words: "three times the range", run: zoomOut },
  { keys: ["h"], words: "to the histogram: ← → go, Shift marks, Enter zooms", run: () => $(".picture").focus() },
  { keys: ["r"], words: "search again", run: () => go({}, true) },
  { keys: ["l"], words: "live on and off", run: toggleLive },
  { keys: ["m"], words: "calls or messages", run: () => setOf(view.of === "calls" ? "messages" : "calls") },
  { keys: ["c"], words: "columns", run: pickColumns },
]);
keys("Table", [
  { keys: ["ArrowDown"], when: inGrid, run: () => table.move(1) },
  { keys: ["ArrowUp"], when: inGrid, run: () => table.move(-1) },
  { keys: ["j"], words: "next row (or ↓)", run: () => walk(1) },
  { keys: ["k"], words: "row before (or ↑)", run: () => walk(-1) },
  { keys: ["PageDown"], words: "a screen on", when: inGrid, run: () => table.move(table.page) },
  { keys: ["PageUp"], words: "a screen back", when: inGrid, run: () => table.move(-table.page) },
  { keys: ["Home"], words: "first row", when: inGrid, run: () => table.activate(0) },
  { keys: ["End"], words: "last row that is here", when: inGrid, run: () => table.activate(rows.list.length - 1) },
  { keys: ["Enter"], words: "open the call, or the chosen ones together", when: inGrid, run: () => open(table.wanted()) },
  { keys: [" "], words: "choose the row", when: inGrid, run: () => table.toggle() },
  { keys: ["Shift+ArrowDown"], words: "choose on the way down", when: inGrid, run: () => extend(1) },
  { keys: ["Shift+ArrowUp"], words: "choose on the way up", when: inGrid, run: () => extend(-1) },
]);

function main() {
  shell("search");
  $(".bar .tools").append(
    h("button", { type: "button", class: "zoom-out", title: "Three times the range (z)", "aria-label": "Zoom out: three times the range", onclick: zoomOut }, icon("minus"), h("span", { class: "word" }, "Zoom out")),
    h("button", { type: "button", title: "Columns (c)", "aria-label": "Columns", onclick: pickColumns }, icon("columns"), h("span", { class: "word" }, "Columns")),
    menuButton("Export", "export", () => exportLinks(view, chosen, found)),
  );
  for (const button of $$("[data-of]")) button.addEventListener("click", () => setOf(button.dataset.of));
  liveButton.addEventListener("click", toggleLive);
  newer.addEventListener("click", () => {
    grid.scrollTop = 0;
    table.clear();
    live?.flush(true);
  });
  addEventListener("popstate", () => {
    view = fromSearch(location.search);
    target = history.state?.row ?? null;
    run();
  });
  onZone(() => {
    table.settleHead();
    table.draw(true);
    if (rows?.answer) notes([...(rows.answer.notes ?? []), ...twice(rows.answer)]);
    history.replaceState(history.state, "", location.pathname + toSearch(view));
  });
  run(early);
  findStores().catch(() => null);
}

main();
