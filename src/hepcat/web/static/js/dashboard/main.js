/**
 * The dashboard: how calls went over a range of time, who sends most, and whether capture is well.
 *
 * In: the URL (q, since, until, store, zone), and /api/figures, /api/top, /api/agents, /api/samples, asked again every ten
 * seconds while somebody looks. Out: the page, made once and then changed in place. What can go wrong: the query (said
 * under it), no answer (the last values stay, and the page says so; how agents are is unknown), no server on the lake
 * (there is nothing about capture then, and agents that were seen before are unknown).
 */
import { get, tooLong, url } from "../api.js";
import { $, fill, h, notice, say } from "../dom.js";
import { number } from "../format.js";
import { icon } from "../icons.js";
import { keys } from "../keys.js";
import { rangePicker } from "../range.js";
import { shell } from "../shell.js";
import { absolute, clock, now, onZone, setZone, zone } from "../time.js";
import * as status from "../status/model.js";
import { put } from "../status/tables.js";
import { Chart } from "./charts.js";
import { CHARTS, LISTS, LIST_ROWS, TILES, codes, drops } from "./model.js";
import { explain, makeAgents, makeList, makeTile } from "./parts.js";

const EVERY = 10_000;
/** The range before, and the lists, change slowly. */
const SLOW = 60_000;
/** An answer about capture comes at once, or nobody is there. */
const LATE = 20_000;
/** An answer that took long is asked for again after that many times its time. */
const PATIENCE = 10;
const DEFAULT_SINCE = "1h";
/** Buckets that are asked for: 15 minutes in parts of half a minute, an hour in minutes. */
const BUCKETS = 64;

let view = fromSearch(location.search);
let figures = null;
let before = null;
let beforeAt = -Infinity;
let listsAt = -Infinity;
let timer = 0;
let control = new AbortController();

const main = $("#main");
const picker = rangePicker({ range: view, change: (range) => go({ ...view, ...range }), known: () => figures });
const input = h("input", { name: "q", "aria-label": "Only calls and messages that match", "aria-describedby": "fault", placeholder: "all calls, or a query", value: view.q, maxlength: "8192", spellcheck: "false", autocapitalize: "off", autocomplete: "off", enterkeyhint: "search" });
const fault = h("p", { class: "fault", id: "fault", role: "alert", hidden: true });
const updated = h("span", { class: "muted number updated" });
const told = h("div", { class: "told" });
const tiles = TILES.map(makeTile);
const charts = CHARTS.map((spec) => ({ spec, chart: new Chart({ ...spec, id: `c-${spec.name}`, open: (since, until, apart) => leave(spec.query, absolute(since, until), apart) }) }));
const lists = LISTS.map((spec) => ({ spec, list: makeList(spec, (query) => href(query, bounds(), "messages")) }));
const lost = new Chart({ title: "Capture drops, last 20 minutes", kind: "bars", format: number, id: "c-drops" });
const agents = makeAgents();
const top = h("p", { class: "codes number" });

build();
shell("dashboard");
onZone(() => write("replaceState"));
keys("Dashboard", [
  { keys: ["r"], words: "look again now", run: () => look() },
  { keys: ["/"], words: "to the query", run: () => input.focus() },
  { keys: ["["], words: "one range back", run: () => picker.step(-1) },
  { keys: ["]"], words: "one range on", run: () => picker.step(1) },
  { keys: ["i"], words: "what the figures mean", run: () => void explain() },
]);
window.addEventListener("popstate", () => {
  view = fromSearch(location.search);
  input.value = view.q;
  picker.set(view);
  anew();
});
document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : look()));
look();

function build() {
  const form = h("form", { class: "only", role: "search", onsubmit: (event) => (event.preventDefault(), go({ ...view, q: input.value.trim() })) }, h("div", { class: "box" }, input, fault), h("button", { type: "submit" }, icon("filter"), "Filter"));
  const help = h("button", { class: "plain", type: "button", onclick: explain }, icon("info"), h("span", { class: "word" }, "What the figures mean"));
  fill(
    main,
    h("div", { class: "title row" }, h("h1", {}, "Dashboard"), updated, help),
    h("div", { class: "tools row" }, form, h("div", { class: "when" }, picker.node)),
    told,
    h("div", { class: "tiles" }, tiles.map((tile) => tile.node)),
    h("div", { class: "charts" }, charts.map(({ chart }) => chart.node)),
    top,
    h("div", { class: "charts" }, lists.map(({ list }) => list.node), lost.node, agents.node),
  );
}

/** Another query or range: it becomes the URL. */
function go(next) {
  view = next;
  write("pushState");
  picker.set(view);
  anew();
}

/** The view becomes the URL, unless it is one that nobody could ask the server for. */
function write(way) {
  if (!tooLong("/", view)) history[way](null, "", toSearch(view) || location.pathname);
}

function anew() {
  [before, beforeAt, listsAt] = [null, -Infinity, -Infinity];
  main.classList.add("waiting");
  look();
}

/** Ask for everything, show it, and ask again in a while. What was asked before and is not answered yet is let go. */
async function look() {
  clearTimeout(timer);
  control.abort();
  control = new AbortController();
  const { signal } = control;
  const begun = performance.now();
  try {
    await Promise.all([lookAtCalls(signal), lookAtCapture(signal)]);
    if (signal.aborted) return;
    fill(told, (figures?.notes ?? []).map((text) => notice("note", text)));
    fault.hidden = true;
    input.removeAttribute("aria-invalid");
    put(updated, `as of ${clock(now(), 0)}`);
  } catch (problem) {
    if (signal.aborted || problem.name === "AbortError") return;
    tell(problem);
  }
  main.classList.remove("waiting");
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(look, Math.max(EVERY, PATIENCE * (performance.now() - begun)));
}

async function lookAtCalls(signal) {
  const asked = { q: view.q, store: view.store };
  figures = await get("/api/figures", { ...asked, since: view.since, until: view.until, buckets: BUCKETS }, { signal });
  showCalls();
  await Promise.all([lookBefore(asked, signal), lookAtLists(asked, signal)]);
}

/** The range of the same length before: what the differences are to. */
async function lookBefore(asked, signal) {
  const at = performance.now();
  if (at - beforeAt < SLOW || !view.since) return;
  const { since, until } = figures;
  before = await get("/api/figures", { ...asked, since: since - (until - since), until: since, buckets: 1 }, { signal });
  beforeAt = at;
  showCalls();
}

async function lookAtLists(asked, signal) {
  const at = performance.now();
  if (at - listsAt < SLOW) return;
  const some = await Promise.all(lists.map(({ spec, list }) => lookAtList(spec, list, asked, signal)));
  listsAt = some.some(Boolean) ? at : -Infinity;
}

/** A store that cannot count a list says why; the rest of the page does not suffer. @returns whether it has rows */
async function lookAtList(spec, list, asked, signal) {
  try {
    return list.show(await get("/api/top", { ...asked, by: spec.by, since: figures.since, until: figures.until, limit: LIST_ROWS }, { signal }));
  } catch (problem) {
    if (problem.name === "AbortError" || problem.status === 0) throw problem;
    list.fail(problem.detail);
    return true;
  }
}

/** Where this fails, or lasts, nobody knows how the agents are: what was shown of them is old then. */
async function lookAtCapture(signal) {
  const late = setTimeout(() => agents.doubt("the server does not answer"), LATE);
  try {
    const [seen, counted] = await Promise.all([get("/api/agents", {}, { signal }), get("/api/samples", {}, { signal })]);
    if (signal.aborted) return;
    agents.show(status.agents({ agents: seen.agents }), counted.samples.at(-1)?.at ?? now(), seen.why);
    lost.show(drops(counted.samples), counted.why ? `${counted.why}` : "nothing was dropped");
  } catch (problem) {
    if (!signal.aborted) agents.doubt(problem.detail ?? problem.message);
    throw problem;
  } finally {
    clearTimeout(late);
  }
}

function showCalls() {
  tiles.forEach((tile) => tile.show(figures, before));
  for (const { spec, chart } of charts) {
    const { since, until, start, width } = figures;
    chart.show({ since, until, start, width, series: start.length ? spec.of(figures) : [] });
  }
  const shown = codes(figures);
  if (top.dataset.said === JSON.stringify([shown, bounds()])) return;
  top.dataset.said = JSON.stringify([shown, bounds()]);
  fill(top, h("span", { class: "muted" }, "Most frequent statuses: "), shown.map(({ value, text }) => [h("a", { href: href(`status:${value}`, bounds(), "messages") }, text), " "]), shown.length ? null : "none");
}

function tell(problem) {
  const mine = problem.position !== null && problem.position !== undefined;
  fault.hidden = !mine;
  if (mine) {
    input.setAttribute("aria-invalid", "true");
    fault.textContent = `${problem.detail} (character ${problem.position + 1})${problem.hint ? `. ${problem.hint}` : ""}`;
    fill(told);
    return;
  }
  fill(told, notice("error", h("p", {}, problem.detail ?? problem.message), problem.hint ? h("p", { class: "muted" }, problem.hint) : null));
  say(problem.detail ?? problem.message);
}

/** The bounds that the figures are of, as a range. */
function bounds() {
  return figures ? absolute(figures.since, figures.until) : { since: view.since, until: view.until };
}

/** The address of the search for what a query of ours adds to the page's own. */
function href(query, range, of = "calls") {
  const both = [view.q ? (query ? `(${view.q})` : view.q) : "", query].filter(Boolean).join(" ");
  return url("/", { q: both, since: range.since, until: range.until, of: of === "calls" ? "" : of, store: view.store, zone: zone() === "utc" ? "utc" : "" });
}

function leave(query, range, apart) {
  const address = href(query, range, /status/.test(query) ? "messages" : "calls");
  if (apart) window.open(address, "_blank", "noopener");
  else location.assign(address);
}

function fromSearch(search) {
  const given = new URLSearchParams(search);
  if (given.has("zone")) setZone(given.get("zone") === "utc" ? "utc" : "browser", false);
  const text = (name, most) => (given.get(name) ?? "").slice(0, most);
  return { q: text("q", 8192), since: given.has("since") || given.has("until") ? text("since", 64) : DEFAULT_SINCE, until: text("until", 64), store: text("store", 128) };
}

function toSearch({ q, since, until, store }) {
  const pairs = new URLSearchParams();
  if (q) pairs.set("q", q);
  if (since !== DEFAULT_SINCE || until) pairs.set("since", since);
  if (until) pairs.set("until", until);
  if (store) pairs.set("store", store);
  if (zone() === "utc") pairs.set("zone", "utc");
  const text = pairs.toString().replaceAll("%3A", ":").replaceAll("%2C", ",").replaceAll("%40", "@");
  return text ? `?${text}` : "";
}
