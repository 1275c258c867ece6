/**
 * The status page: what runs, whether it stores, what came and what was lost, and the capture switch.
 *
 * In: /api/status, /api/stats, /api/agents, asked every few seconds while somebody looks. Out: the page, made once
 * with the first answer and then changed in place, so that nothing moves. What can go wrong: no server on this
 * lake (the page says so, and shows what there is); no answer (the last values stay, and the page says so).
 */
import { get } from "../api.js";
import { $, fill, h } from "../dom.js";
import { bytes, number } from "../format.js";
import { icon } from "../icons.js";
import { keys } from "../keys.js";
import { shell } from "../shell.js";
import { clock, moment, now, onZone } from "../time.js";
import * as model from "./model.js";
import { makeSwitches } from "./switches.js";
import { list, put, table } from "./tables.js";

const EVERY = 3000;
/** Rows of agents until somebody asks for all. */
const AGENTS = 100;
const SIGNS = { success: "check", note: "info", warning: "warning", error: "error" };

const told = h("div", { class: "told" });
const switches = makeSwitches(told, () => look());
const all = switches.make(null, "all sources");
const sourceSwitches = new Map();
const parts = {
  state: h("div", { class: "state", role: "status" }),
  updated: h("span", { class: "muted number updated" }),
  facts: list("server"),
  totals: list("totals"),
  searches: list("searches"),
  why: h("p", { class: "muted why" }),
  start: h("pre", { class: "start" }),
  sources: table("Sources", [
    { head: "Source", class: "name", text: (row) => row.url },
    { head: "Capture", class: "short", cell: sourceSwitch },
    { head: "Received", class: "number", text: (row) => number(row.received) },
    { head: "a second", class: "number", text: (row) => speed(row.rate) },
    { head: "Kept", class: "number", text: (row) => number(row.kept) },
    { head: "Dropped", class: "number", text: (row) => number(row.dropped) },
    { head: "a second", class: "number", text: (row) => speed(row.dropRate) },
    { head: "Connections", class: "number", text: (row) => number(row.connections) },
  ], "The server listens on nothing."),
  stores: table("Stores", [
    { head: "Store", class: "name", cell: storeName },
    { head: "Written", class: "number", text: (row) => number(row.written) },
    { head: "a second", class: "number", text: (row) => speed(row.rate) },
    { head: "Waiting", class: "number", text: (row) => number(row.waiting) },
    { head: "Spool", class: "number", text: (row) => bytes(row.spool) },
    { head: "Dropped", class: "number", text: (row) => number(row.dropped) },
    { head: "State", class: "wide", cell: storeState },
  ], "There is no store."),
  drops: table("Dropped records", [
    { head: "Where", class: "name", text: (row) => row.where },
    { head: "Reason", class: "reason", text: (row) => row.reason },
    { head: "Records", class: "number", text: (row) => number(row.count) },
    { head: "a second", class: "number", text: (row) => speed(row.rate) },
    { head: "Because", class: "wide", text: (row) => row.because },
  ], "Nothing was dropped."),
  agents: table("Agents", [
    { head: "Node", class: "node number", text: (row) => row.node },
    { head: "Name", class: "name", text: (row) => row.name },
    { head: "Messages", class: "number", text: (row) => number(row.messages) },
    { head: "a second", class: "number", text: (row) => speed(row.rate) },
    { head: "Last seen", class: "when", text: (row) => moment(row.seen, 0) },
    { head: "State", class: "wide", cell: agentState },
  ], "No agent was seen since the server was started."),
  agentsHead: h("span", { class: "muted" }),
  more: h("button", { type: "button", hidden: true, onclick: () => ((everyAgent = true), show()) }),
};
const reload = h("button", { type: "button", onclick: switches.reload }, icon("refresh"), "Reload the configuration");
const main = $("#main");

let before = null;
let last = null;
let everyAgent = false;
let timer = 0;
let asking = null;
let made = false;
let asOf = "";

shell("status").then((session) => {
  switches.who(session);
  if (last) show();
});
keys("Status", [{ keys: ["r"], words: "look again now", run: () => look() }]);
document.addEventListener("visibilitychange", () => (document.hidden ? pause() : look()));
onZone(() => last && show());
look();

/** Ask, show, and ask again in a while. A look that is under way is left alone. */
async function look() {
  clearTimeout(timer);
  asking ??= ask();
  const found = await asking;
  asking = null;
  if (found.status || !last) {
    if (found.stats) before = last?.stats ? last : null;
    last = found;
  } else {
    last = { ...last, status: null, kept: last.status ?? last.kept, problem: found.problem };
  }
  show();
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(look, EVERY);
}

function pause() {
  clearTimeout(timer);
}

/** @returns {Promise<model.Look>} never fails */
async function ask() {
  const found = { at: performance.now() / 1000, status: null, stats: null, agents: [], problem: null };
  try {
    found.status = await get("/api/status");
    if (!found.status.server) return found;
    const [stats, agents] = await Promise.all([get("/api/stats"), get("/api/agents")]);
    Object.assign(found, { at: performance.now() / 1000, stats, agents: agents.agents });
  } catch (problem) {
    found.problem = problem;
  }
  return found;
}

function show() {
  const runs = Boolean((last.status ?? last.kept)?.server);
  if (!made) build();
  const state = model.state(last);
  if (parts.state.dataset.said !== JSON.stringify(state)) {
    parts.state.dataset.said = JSON.stringify(state);
    parts.state.className = `state notice ${state.kind}`;
    fill(parts.state, icon(SIGNS[state.kind]), h("div", {}, h("p", {}, h("strong", {}, state.title), state.text ? `. ${state.text}` : ""), state.hint ? h("p", { class: "muted" }, state.hint) : null));
  }
  if (last.status) asOf = clock(now(), 0);
  // Green words of a server that may be gone would be lies.
  const stale = !last.status;
  put(parts.updated, stale ? (asOf ? `last known, as of ${asOf}` : "") : `as of ${asOf}`);
  main.classList.toggle("stale", stale);
  main.classList.toggle("without", !runs);
  if (!last.status) return;
  parts.facts.show(model.facts(last));
  parts.searches.show(model.searches(last));
  parts.stores.show(model.stores(last, before));
  if (!runs) {
    put(parts.start, `hepcat serve --data ${quoted(last.status.stores[0]?.url ?? "data")} --hep udp://0.0.0.0:9060`);
    return;
  }
  all.show(last.status.server.capture);
  reload.disabled = !switches.isAdmin();
  put(parts.why, switches.why());
  if (!last.stats) return;
  parts.totals.show(model.totals(last, before).map(([term, value, rate]) => [term, value, rate === null ? "" : `${speed(rate)} a second`]));
  parts.sources.show(model.sources(last, before));
  parts.drops.show(model.drops(last, before));
  const agents = model.agents(last);
  const shown = everyAgent ? agents : agents.slice(0, AGENTS);
  parts.agents.show(shown);
  put(parts.agentsHead, agents.length ? model.agentsInWords(agents) : "");
  parts.more.hidden = shown.length === agents.length;
  put(parts.more, `Show all ${number(agents.length)}`);
}

/** Put the parts on the page, with the first answer: what comes at once does not move. */
function build() {
  made = true;
  fill(
    main,
    h("div", { class: "title row" }, h("h1", {}, "Status"), parts.updated),
    parts.state,
    told,
    h("div", { class: "panels" },
      section("Server", "server", parts.facts.node),
      section("Capture", "capture running", h("div", { class: "row master" }, all.node, h("span", {}, "all sources"), h("span", { class: "push" }, reload)), parts.why, parts.totals.node),
      section("Start a server", "starting absent", h("p", {}, "It receives HEP from capture agents, stores it here, and shows this page."), parts.start),
      section("Searches of this page", "searches", parts.searches.node)),
    section("Sources", "sources running", parts.sources.node),
    section("Stores", "stores", parts.stores.node),
    section("Dropped", "drops running", parts.drops.node),
    section("Agents", "agents running", parts.agentsHead, parts.agents.node, parts.more),
  );
}

function section(title, name, ...children) {
  const id = `s-${name.split(" ")[0]}`;
  return h("section", { class: name, "aria-labelledby": id }, h("h2", { id }, title, h("span", { class: "last" }, " last known")), ...children);
}

function sourceSwitch(cell, row) {
  const known = sourceSwitches.get(row.url) ?? switches.make(row.url, row.url);
  sourceSwitches.set(row.url, known);
  if (known.node.parentNode !== cell) fill(cell, known.node);
  known.show(row.on);
}

function storeName(cell, row) {
  if (cell.dataset.shown === row.url) return;
  cell.dataset.shown = row.url;
  fill(cell, row.name, " ", h("span", { class: "muted small" }, row.url));
}

function storeState(cell, row) {
  if (row.trouble) return chip(cell, "error", "trouble", row.trouble);
  return row.writes ? chip(cell, "success", "takes records") : chip(cell, "ended", "to search only");
}

function agentState(cell, row) {
  return row.silent === null ? chip(cell, "success", "sends") : chip(cell, "warning", `silent for ${model.ago(row.silent)}`);
}

/** A word with a colour, and what there is to say besides. */
function chip(cell, kind, word, more = "") {
  const said = `${kind} ${word} ${more}`;
  if (cell.dataset.said === said) return;
  cell.dataset.said = said;
  fill(cell, h("span", { class: `chip ${kind}` }, word), more ? ` ${more}` : null);
}

function speed(rate) {
  if (rate === null || rate === undefined) return "";
  return rate >= 10 || rate === 0 ? number(rate) : rate.toFixed(1);
}

/** A path as a shell takes it. */
function quoted(path) {
  return /^[\w@%+=:,./-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`;
}
