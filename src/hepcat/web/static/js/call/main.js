/**
 * The call page: reads its address, asks the API, draws, listens.
 *
 * In: /call?id=...; what else may stand there, see view.js. Out: the page; its address always reproduces what is
 * shown. What can go wrong: the API's problems are told in words, with Call-IDs that are similar to an unknown one.
 */

import { get } from "../api.js";
import { $, download, fill, h, notice, say } from "../dom.js";
import { count } from "../format.js";
import { shell } from "../shell.js";
import { MINUTE, clock, day, onZone, stamp, zoneName } from "../time.js";
import { drawTools, makeControls } from "./controls.js";
import { place } from "./geometry.js";
import { drawFindings, drawLegs } from "./heads.js";
import { listen } from "./keys.js";
import { drawLadder, nameOf } from "./ladder.js";
import { shownOf } from "./model.js";
import { drawPanel, tabsOf } from "./panel.js";
import { pictureOf, pngOf } from "./picture.js";
import { safe } from "../safe.js";
import { TABS, callParameters, readView, writeView } from "./view.js";

let view = readView(location.search);
/** The API's answer, what is shown of it, where, and its drawing. */
let answer = null;
let shown = null;
let geometry = null;
let drawing = null;
let controls = null;
let asking = null;
/** What was asked for when the picture was drawn. */
let drawn = "";
/** Width that the picture has without scrolling. */
let width = 0;
/** How far the picture is scrolled: known here, because asking the page would make it lay out half a picture. */
let sideways = 0;
/** Which finding was opened last: n and p go on from it. */
let finding = -1;

const flow = $("#flow");
const panel = $("#panel");

// -- reading

async function load() {
  asking?.abort();
  asking = new AbortController();
  if (!view.ids.length) return fail({ detail: "No Call-ID is named in the address.", hint: "Choose calls in the search, or add ?id=CALL-ID." });
  const asked = callParameters(view).toString();
  flow.setAttribute("aria-busy", "true");
  try {
    answer = await get(`/api/call?${asked}`, {}, { signal: asking.signal });
  } catch (problem) {
    if (problem.name === "AbortError") return;
    flow.removeAttribute("aria-busy");
    // The picture that is there is still true where the server is only away, or busy.
    if (answer && asked === drawn && !(problem.status >= 400 && problem.status < 429)) keepAnd(problem);
    else fail(problem);
    return;
  }
  flow.removeAttribute("aria-busy");
  drawn = asked;
  if (view.at !== null) {
    const found = answer.ladder.messages.findIndex((message) => message.ts === view.at);
    Object.assign(view, { at: null, message: found < 0 ? view.message : found });
  }
  if (view.message !== null && view.message >= answer.ladder.messages.length) Object.assign(view, { message: null, open: false });
  finding = -1;
  drawAll();
}

/** Tell what went wrong over the picture of before. */
function keepAnd(problem) {
  fill($("#notes"), notice("error", h("b", {}, "The call was not read again: "), safe(problem.detail ?? problem.message), " ", safe(problem.hint)));
}

/** Tell what went wrong instead of a picture. */
function fail(problem) {
  answer = drawing = null;
  flow.removeAttribute("aria-busy");
  $("#wait")?.remove();
  const similar = (problem.hint ?? "").startsWith("Similar: ") ? problem.hint.slice(9).split(", ") : [];
  const links = similar.filter((id) => !id.endsWith("…")).map((id) => h("li", {}, h("a", { href: `/call?${new URLSearchParams({ id })}` }, safe(id))));
  fill($("#legs"));
  fill($("#controls"));
  fill($("#ladder"));
  $("#findings").hidden = panel.hidden = $("#tools").hidden = true;
  fill($("#notes"), notice("error", h("b", {}, safe(problem.detail ?? problem.message)), " ", links.length ? ["Similar ones:", h("ul", {}, links)] : safe(problem.hint), " ", h("a", { href: "/" }, "Search")));
}

// -- drawing

function drawAll() {
  $("#wait")?.remove();
  const { calls, messages } = answer.ladder;
  const first = calls[0];
  const name = calls.length > 1 ? count(calls.length, "call") : `${safe(first?.caller ?? "?", 40)} → ${safe(first?.callee ?? "?", 40)}`;
  fill($("#title"), calls.length > 1 ? `${name} in one picture` : "Call", " ", h("small", { class: "when muted number" }));
  tellWhen();
  document.title = `${name} · hepcat`;
  fill($("#notes"), answer.notes.map((text) => notice("warning", safe(text))),
    answer.cut ? notice("warning", `${count(answer.cut, "later message")} not drawn: the picture ends after ${messages.length}. Name a time (since, until) in the address, or export all.`) : null);
  fill($("#legs"), drawLegs(answer, { only: (id) => change({ ids: [id], related: false, message: null, open: false, hosts: new Set() }, true), without, copy }));
  $("#findings").hidden = $("#tools").hidden = false;
  fill($("#findings"), drawFindings(answer, openFinding));
  controls = makeControls(answer, () => view, change);
  fill($("#controls"), controls.nodes);
  drawPicture();
  if (view.message !== null) select(view.message, { scroll: true });
}

/** The day, and whose clock it is: the picture itself has the time of day only. */
function tellWhen() {
  const first = answer.ladder.messages[0];
  fill($("#title .when"), first ? `${stamp(first.ts, 0)} ${zoneName()}` : "");
}

/** Leave one call out: what is left is asked for by name. */
function without(id) {
  const ids = answer.ladder.calls.map((leg) => leg.call_id).filter((other) => other !== id);
  change({ ids, related: false, message: null, open: false, hosts: new Set() }, true);
}

function drawPicture() {
  performance.mark("ladder-start");
  const { ladder } = answer;
  shown = shownOf(answer, view);
  geometry = place(ladder.hosts, shown, width || flow.clientWidth);
  drawing = drawLadder(ladder, shown, geometry, minutes());
  const empty = shown.messages.length ? null : h("p", { class: "muted wait" }, "Everything is hidden: see Show.");
  fill($("#ladder"), h("div", { class: "top-hosts" }, drawing.head), drawing.body, empty);
  controls.update(shown);
  follow();
  performance.measure("ladder", "ladder-start");
  drawing.body.addEventListener("click", pick);
  drawing.body.addEventListener("focus", () => view.message === null && shown.messages.length && select(shown.messages[0].index));
}

/** Clock and day of many times: the calendar is asked once a minute of them, which takes most of the work. */
function minutes() {
  const known = new Map();
  const minute = (us) => {
    const start = Math.floor(us / MINUTE) * MINUTE;
    if (!known.has(start)) known.set(start, { start, day: day(start), clock: clock(start, 0).slice(0, 6) });
    return known.get(start);
  };
  return {
    day: (us) => minute(us).day,
    clock: (us) => {
      const { start, clock: begin } = minute(us);
      return begin + ((us - start) / 1e6).toFixed(6).padStart(9, "0").slice(0, 6);
    },
  };
}

/** Redraw with other widths or times; the current message stays current. */
function redraw() {
  if (!answer) return;
  drawPicture();
  mark();
  if (view.open && view.message !== null) showPanel();
}

// -- acting

/** Change the view; `again` asks the API too. */
function change(changes, again = false) {
  Object.assign(view, changes);
  if (again) {
    keep(true);
    load();
  } else {
    keep();
    redraw();
  }
}

/** Write the view into the address; `step` makes it a step that the back button undoes. */
function keep(step = false) {
  history[step ? "pushState" : "replaceState"](null, "", location.pathname + writeView(view));
}

function pick(event) {
  const group = event.target.closest("[data-i]");
  if (!group) return;
  select(Number(group.dataset.i), { open: true });
}

/** Make a message the current one. */
function select(index, { open = view.open, scroll = false, focus = false } = {}) {
  const message = answer.ladder.messages[index];
  if (!message) return;
  Object.assign(view, { message: index, open });
  if (!drawing.groups.has(index)) show(message);
  mark();
  if (view.open) showPanel();
  if (scroll) reveal(index);
  if (focus) drawing.body.focus({ preventScroll: true });
  keep();
  if (!view.open) say(nameOf(message, answer.ladder.hosts, answer.ladder.calls.length > 1));
}

/** Show a message that is hidden: somebody asked for it by name. */
function show(message) {
  const names = [message.src, message.dst].map((i) => answer.ladder.hosts[i].name);
  view.hosts = new Set([...view.hosts].filter((name) => !names.includes(name)));
  view.methods = new Set([...view.methods].filter((name) => name !== (message.method ?? "(not SIP)")));
  view.once = false;
  drawPicture();
}

/** Show in the picture which message is current. */
function mark() {
  for (const group of drawing.body.querySelectorAll('[aria-selected="true"]')) group.setAttribute("aria-selected", "false");
  const group = drawing.groups.get(view.message);
  if (group) {
    group.setAttribute("aria-selected", "true");
    drawing.body.setAttribute("aria-activedescendant", group.id);
  } else drawing.body.removeAttribute("aria-activedescendant");
}

/** Scroll so that a message stands clear of the hosts and the sheet. */
function reveal(index) {
  const row = drawing.rows.get(index);
  if (!row) return;
  const hosts = $(".top-hosts").getBoundingClientRect();
  const box = flow.getBoundingClientRect();
  const top = drawing.body.getBoundingClientRect().top + row.top;
  const covered = getComputedStyle(panel).position === "fixed" && !panel.hidden ? panel.getBoundingClientRect().height : 0;
  const [least, most] = [box.top + hosts.height + 8, box.bottom - covered - 8];
  if (top < least) flow.scrollTop -= least - top;
  else if (top + row.height > most) flow.scrollTop += Math.min(top + row.height - most, top - least);
  const { left, right } = spanOf(index);
  const [from, to] = [flow.scrollLeft + geometry.gutter, flow.scrollLeft + flow.clientWidth];
  if (left < from) flow.scrollLeft = Math.max(left - geometry.gutter - 8, 0);
  else if (right > to) flow.scrollLeft = Math.min(right - flow.clientWidth + 8, left - geometry.gutter - 8);
}

/** Where an arrow stands, from left to right. */
function spanOf(index) {
  const { src, dst } = answer.ladder.messages[index];
  const ends = [src, dst].map((host) => geometry.x.get(host) ?? 0);
  return { left: Math.min(...ends), right: Math.max(...ends) };
}

/** Numbers and times stay in view when the picture is scrolled sideways. */
function follow() {
  if (!drawing) return;
  drawing.gutter.setAttribute("transform", `translate(${sideways} 0)`);
  drawing.gutter.classList.toggle("over-picture", sideways > 0);
}

function showPanel() {
  const message = answer.ladder.messages[view.message];
  const tab = tabsOf(message).includes(view.tab) ? view.tab : TABS[0];
  const opened = panel.hidden;
  panel.hidden = false;
  drawPanel(panel, answer, message, tab, {
    tab: (name) => openTab(name),
    close: closePanel,
    go: (index) => select(index, { open: true, scroll: true }),
    step,
    copy,
  });
  if (opened) resized();
}

function closePanel() {
  panel.hidden = true;
  fill(panel);
  view.open = false;
  keep();
  resized();
  drawing?.body.focus({ preventScroll: true });
}

function openTab(name) {
  view.tab = name;
  keep();
  showPanel();
  document.getElementById(`tab-${name}`)?.focus();
}

/** Go to the message before or after the current one, of those shown. */
function step(by) {
  const indices = shown.messages.map((message) => message.index);
  if (!indices.length) return;
  const at = indices.indexOf(view.message);
  const next = at < 0 && Math.abs(by) === 1 ? (by > 0 ? 0 : indices.length - 1) : Math.min(Math.max(at + by, 0), indices.length - 1);
  select(indices[next], { scroll: true });
}

function openFinding(number, index) {
  finding = number;
  for (const item of $("#findings").querySelectorAll("li")) item.classList.toggle("current", Number(item.dataset.finding) === number);
  select(index, { open: true, scroll: true, focus: true });
}

/** Go to the next or the last finding that names a message. */
function stepFinding(by) {
  const all = answer.findings.map((one, i) => [one, i]).filter(([one]) => one.arrows.length);
  if (!all.length) return say("No findings.");
  const at = all.findIndex(([, i]) => i === finding);
  const [next, number] = all[at < 0 ? (by > 0 ? 0 : all.length - 1) : (at + by + all.length) % all.length];
  openFinding(number, next.arrows[0]);
  say(`${next.severity}: ${safe(next.title, 200)}`);
}

// -- files, the link

/** The address of something about these calls, as it is asked for now. */
function address(path, more = {}) {
  const parameters = callParameters(view);
  if (path === "/api/export" && answer) {
    // The export knows nothing of related legs: it is told all calls of the picture.
    parameters.delete("id");
    parameters.delete("related");
    for (const leg of answer.ladder.calls) parameters.append("id", leg.call_id);
  }
  for (const [name, value] of Object.entries(more)) parameters.set(name, value);
  return `${path}?${parameters}`;
}

/** The name of a file about these calls. */
function fileName(ending) {
  const id = answer.ladder.calls[0]?.call_id ?? "call";
  return `${id.replace(/[^\w.-]+/g, "_").slice(0, 60) || "call"}.${ending}`;
}

function picture() {
  const caption = answer.ladder.calls.map((leg) => safe(`${leg.call_id}  ${[leg.status, leg.reason].filter((part) => part !== null).join(" ")}${leg.state ? `, ${leg.state}` : ""}`, 140));
  if (shown.hidden) caption.push(`${count(shown.hidden, "message")} hidden`);
  return pictureOf(drawing.head, drawing.body, caption.join("\n"));
}

async function savePng() {
  try {
    download(fileName("png"), await pngOf(picture()));
  } catch (error) {
    fill($("#notes"), notice("error", error.message));
  }
}

/** Copy text; where the browser allows it only over TLS, the old way. */
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = h("textarea", { class: "unseen", value: text, "aria-hidden": "true" });
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  say("Copied.");
  toast("Copied");
}

function toast(words) {
  const node = h("div", { class: "toast", "aria-hidden": "true" }, words);
  document.body.append(node);
  setTimeout(() => node.remove(), 1500);
}

// -- beginning

function resized() {
  if (flow.clientWidth === width) return;
  width = flow.clientWidth;
  redraw();
  if (view.message !== null && drawing) reveal(view.message);
}

fill($("#tools"), drawTools({
  address,
  svg: () => download(fileName("svg"), picture().text, "image/svg+xml"),
  png: savePng,
  link: () => copy(location.href),
  reload: load,
}));
// The menu's links are made when they are asked for: the calls are not known before.
$("#export-menu").addEventListener("focusin", fresh);
$("#export-menu").addEventListener("pointerover", fresh);
function fresh() {
  for (const link of $("#export-menu").querySelectorAll("a")) {
    const at = new URL(link.href);
    const given = Object.fromEntries([...at.searchParams].filter(([name]) => ["format", "download"].includes(name)));
    link.href = address(at.pathname, given);
    link.download = at.pathname === "/api/call" ? fileName("json") : "";
  }
}
listen({
  step, stepFinding, reload: load,
  open: () => (view.message === null ? step(1) : null, view.message !== null && (select(view.message, { open: true, scroll: true }), $("#tab-body")?.focus({ preventScroll: true }))),
  close: () => view.open && (closePanel(), true),
  tab: (by) => {
    if (!view.open) return;
    const tabs = tabsOf(answer.ladder.messages[view.message]);
    openTab(tabs[(tabs.indexOf(view.tab) + by + tabs.length) % tabs.length]);
  },
  copy: () => view.message !== null && copy(answer.ladder.messages[view.message].payload ?? ""),
  ready: () => answer !== null,
});
flow.addEventListener("scroll", () => {
  if (flow.scrollLeft === sideways) return;
  sideways = flow.scrollLeft;
  follow();
}, { passive: true });
new ResizeObserver(resized).observe(flow);
onZone(() => {
  if (answer) tellWhen();
  redraw();
});
window.addEventListener("popstate", () => {
  view = readView(location.search);
  load();
});
shell("call");
load();
