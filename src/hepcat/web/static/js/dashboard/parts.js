/**
 * The parts of the dashboard that are no charts: tiles, top lists, agents, the dialog of definitions.
 *
 * In: what each is for. Out: elements that are made once; `show` changes them in place, so that nothing moves and
 * the focus stays.
 */
import { get } from "../api.js";
import { dialog, fill, h, notice } from "../dom.js";
import { number, percent } from "../format.js";
import { moment } from "../time.js";
import { written } from "../search/complete.js";
import { SILENT_SECONDS, ago } from "../status/model.js";
import { put, table } from "../status/tables.js";
import { sparkline } from "./charts.js";
import { rate, tile, whole } from "./model.js";

/** A tile: a figure large, how it went, and the difference to the range before. */
export function makeTile(spec) {
  const value = h("p", { class: "value number" }, "–");
  const more = h("p", { class: "more small" });
  const spark = sparkline();
  const node = h("div", { class: `panel tile t-${spec.name}` }, h("h2", {}, spec.title), value, more, spark.node);
  const show = (figures, before) => {
    const said = tile(spec, figures?.totals, before?.totals);
    put(value, said.value);
    put(more, said.more);
    more.className = `more small ${said.kind || "muted"}`;
    more.title = before && said.more ? "against the range of the same length before" : "";
    if (figures) spark.show(whole(figures, figures.series[spec.name] ?? []), spec.points && spec.better === "up" ? 1 : null);
  };
  return { node, show };
}

/** A top list; `href(query)` is the address of a search. */
export function makeList(spec, href) {
  let sum = 0;
  const rows = table(spec.title, [
    { head: spec.what, class: "name", cell: (cell, row) => {
      const link = cell.firstElementChild ?? cell.appendChild(h("a", { href: "/" }));
      put(link, row.value);
      link.title = row.value;
      link.href = href(`${spec.field}:${written(row.value)}`);
    } },
    { head: "Messages", class: "number count", text: (row) => number(row.count) },
    { head: "Share", class: "number share", cell: (cell, row) => {
      const share = sum ? row.count / sum : 0;
      put(cell, percent(share));
      cell.style.setProperty("--share", String(share));
    } },
  ], "Nothing in this range.");
  const id = `top-${spec.by}`;
  const more = h("p", { class: "muted small rest" });
  const node = h("section", { class: `panel top-list unasked ${spec.by}`, "aria-labelledby": id }, h("h2", { id }, spec.title), rows.node, more);
  const show = (answer) => {
    sum = answer.total;
    node.classList.remove("unasked");
    rows.show(answer.rows.map(({ value, count }) => ({ key: String(value), value: String(value), count })));
    put(more, answer.other ? `others: ${number(answer.other)}` : "");
    return answer.rows.length > 0;
  };
  const fail = (text) => {
    rows.show([]);
    put(more, text);
  };
  return { node, show, fail };
}

/**
 * The agents; who is silent says so in words, and so do all of them while there is no news.
 *
 * `show(agents, at)`: what the server said, and when (microseconds); with `why`, what keeps it from saying more.
 * `doubt(why)`: nothing newer is known, whatever was shown before.
 */
export function makeAgents() {
  let [known, since] = [[], null];
  const rows = table("Agents", [
    { head: "Node", class: "number node", text: (row) => row.node },
    { head: "Name", class: "name", text: (row) => row.name },
    { head: "Messages a second", class: "number", text: (row) => (row.doubtful ? "" : rate(row.rate) || (row.rate === 0 ? "0" : "")) },
    { head: "Last seen", class: "when", text: (row) => moment(row.seen, 0) },
    { head: "State", class: "health", cell: (cell, row) => {
      const [kind, said] = health(row);
      if (cell.textContent !== said) fill(cell, h("span", { class: `chip ${kind}` }, said));
    } },
  ], "");
  const words = h("p", { class: "muted" });
  const node = h("section", { class: "panel agents", "aria-labelledby": "agents" }, h("h2", { id: "agents" }, "Capture agents"), words, rows.node);
  const doubt = (why) => {
    rows.show(known.map((row) => ({ ...row, doubtful: Boolean(why) })));
    put(words, inWords(known, since, why));
  };
  const show = (agents, at, why) => {
    [known, since] = [agents, at];
    doubt(why);
  };
  return { node, show, doubt };
}

/** An agent's state: the kind of its sign, and the words. */
function health({ doubtful, silent }) {
  // Green, of a server that may be gone, would be a lie.
  if (doubtful) return ["ended", "unknown"];
  return silent === null ? ["success", "sends"] : ["warning", `silent for ${ago(silent)}`];
}

/** How many agents there are, and how they are. */
function inWords(agents, since, why) {
  const seen = `${number(agents.length)} seen`;
  if (why) return agents.length ? `${seen}, state unknown since ${moment(since, 0)}. ${sentence(why)}` : sentence(why);
  if (!agents.length) return "No agent was seen since the server was started.";
  const silent = agents.filter((row) => row.silent !== null).length;
  return `${seen}, ${silent ? `${number(silent)} silent for more than ${SILENT_SECONDS} s` : "none silent"}`;
}

/** What the figures mean, as the server defines them. */
export async function explain() {
  const box = dialog("What the figures mean", h("p", { class: "muted" }, "Asking the server …"));
  const place = box.lastElementChild;
  try {
    const all = await get("/api/figures/definitions");
    fill(place, h("dl", { class: "definitions" }, all.map((one) => [h("dt", {}, one.title), h("dd", {}, one.doc, one.standard ? h("small", { class: "muted" }, ` ${one.standard}`) : null)])));
  } catch (problem) {
    fill(place, notice("error", problem.message));
  }
}

function sentence(text) {
  return `${text[0].toUpperCase()}${text.slice(1).replace(/\.$/, "")}.`;
}
