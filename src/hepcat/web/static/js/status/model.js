/**
 * What the status page shows, as plain values: no element is made here.
 *
 * In: answers of /api/status, /api/stats and /api/agents, and those of the look before. Out: lists of rows with
 * counts and rates (a second; null before there are two looks), and the state of all in one sentence. What can
 * go wrong: an answer of another version lacks something; then it counts as nothing.
 */
import { bytes, count, number } from "../format.js";

/** Seconds after which an agent that sent before is called silent. */
export const SILENT_SECONDS = 60;

/**
 * One look at the server.
 * @typedef {{at: number, status: object|null, stats: object|null, agents: object[], problem: Error|null}} Look
 *   at: seconds of the page's clock; problem: what kept it from being whole
 */

/** The state of all: {kind: "success"|"note"|"warning"|"error", title, text, hint}. */
export function state(look) {
  const { status, stats, problem } = look;
  if (!status) return { kind: "error", title: "The page's server does not answer", text: problem?.detail ?? "", hint: "It is asked again every few seconds." };
  if (!status.server) return { kind: "note", title: "No server runs on this lake", text: "Nothing is captured. What was captured before can be searched.", hint: "" };
  const server = status.server;
  if (server.storing === false) return { kind: "error", title: "Cannot store", text: server.trouble || troubles(stats).join("; ") || "The log of the server says why.", hint: "What arrives waits in memory up to its bound; then it is dropped and counted." };
  if (!server.capture) return { kind: "warning", title: "Capture is off", text: "What arrives is counted and not stored.", hint: "" };
  if (server.capture_off?.length) return { kind: "warning", title: "Some sources are off", text: server.capture_off.join(", "), hint: "" };
  const said = troubles(stats);
  if (said.length) return { kind: "warning", title: "A database does not take records", text: said.join("; "), hint: "Its records wait in the spool." };
  return { kind: "success", title: "Capturing and storing", text: "", hint: "" };
}

/** Facts about the server: [[term, value or list of values]]. */
export function facts(look) {
  const { status } = look;
  if (!status) return [];
  const server = status.server;
  if (!server) return [["Version", status.version], ["Lake", status.stores.map((store) => store.url)]];
  return [
    ["Version", server.version === status.version ? server.version : `${server.version} (this page: ${status.version})`],
    ["Process", String(server.pid ?? "")],
    ["Listens on", server.listening?.length ? server.listening : "nothing"],
    ["Lake", server.data ?? ""],
    ["Stores", (server.stores ?? []).join(", ")],
  ];
}

/** Totals: [[term, value, rate]]. */
export function totals(look, before) {
  const { stats } = look;
  if (!stats) return [];
  const rate = rates(look, before);
  const total = stats.total ?? {};
  const rows = [
    ["Received", number(total.received), rate("total", "received")],
    ["Stored", number(total.stored), rate("total", "stored")],
    ...(total.forwarded ? [["Forwarded", number(total.forwarded), rate("total", "forwarded")]] : []),
    ["Dropped", number(sum(total.dropped)), rate("total", "dropped")],
    ["In memory", `${number(stats.queue?.records ?? 0)} (${bytes(stats.queue?.octets ?? 0)})`, null],
  ];
  return rows;
}

/** Sources: [{url, on, received, rate, kept, dropped, dropRate, connections}]. */
export function sources(look, before) {
  const rate = rates(look, before);
  return Object.entries(look.stats?.sources ?? {}).map(([url, counts]) => ({
    key: url,
    url,
    on: counts.capture !== false,
    received: counts.received,
    rate: rate("sources", url, "received"),
    kept: (counts.stored ?? 0) + (counts.forwarded ?? 0),
    dropped: sum(counts.dropped),
    dropRate: rate("sources", url, "dropped"),
    connections: counts.connections,
  }));
}

/** Stores: [{name, url, written, rate, waiting, spool, dropped, trouble, writes}]. */
export function stores(look, before) {
  const rate = rates(look, before);
  return (look.status?.stores ?? []).map(({ name, url }) => {
    const counts = look.stats?.stores?.[name];
    const database = counts?.database;
    const path = ["stores", name, ...(database ? ["database", "written"] : ["stored"])];
    return {
      key: name,
      name,
      url,
      writes: Boolean(counts),
      written: counts ? at(look.stats, path) : null,
      rate: counts ? rate(...path) : null,
      waiting: counts ? (counts.queued ?? 0) + (database?.waiting ?? 0) : null,
      spool: database ? database.spool_octets : null,
      dropped: counts ? sum(counts.dropped) + sum(database?.dropped) : null,
      trouble: [...new Set([counts?.trouble, database?.trouble])].filter(Boolean).join("; "),
    };
  });
}

/** What was dropped, by source or store and reason, most first within each: [{where, reason, count, rate, because}]. */
export function drops(look, before) {
  const rate = rates(look, before);
  const reasons = look.stats?.reasons ?? {};
  const rows = [];
  const add = (where, path, dropped) => {
    for (const [reason, dropped_] of Object.entries(dropped ?? {}).sort((a, b) => b[1] - a[1])) {
      if (dropped_) rows.push({ key: [...path, reason].join(" "), where, reason, count: dropped_, rate: rate(...path, "dropped", reason), because: reasons[reason] ?? "" });
    }
  };
  for (const [url, counts] of Object.entries(look.stats?.sources ?? {})) add(url, ["sources", url], counts.dropped);
  for (const [name, counts] of Object.entries(look.stats?.stores ?? {})) {
    if (counts.database) add(`store ${name}`, ["stores", name, "database"], counts.database.dropped);
    else if (Object.keys(look.stats.stores).length > 1) add(`store ${name}`, ["stores", name], counts.dropped);
  }
  return rows;
}

/** Agents, the silent ones first: [{key, node, name, messages, rate, seen, silent}]. */
export function agents(look) {
  const rows = look.agents.map((agent) => ({
    key: `${agent.node_id} ${agent.node_name}`,
    node: agent.node_id === null ? "" : String(agent.node_id),
    name: agent.node_name ?? "",
    messages: agent.messages,
    rate: agent.rate,
    seen: agent.last_seen,
    silent: agent.silent_seconds >= SILENT_SECONDS ? agent.silent_seconds : null,
  }));
  return rows.sort((a, b) => Number(b.silent !== null) - Number(a.silent !== null) || order(a, b));
}

/** Searches of this page: [[term, count]]. */
export function searches(look) {
  return Object.entries(look.status?.searches ?? {}).map(([name, value]) => [name, number(value)]);
}

/** "12 s", "3 min", "2 h", "4 d". */
export function ago(seconds) {
  for (const [unit, size] of [["d", 86400], ["h", 3600], ["min", 60]]) {
    if (seconds >= size) return `${Math.floor(seconds / size)} ${unit}`;
  }
  return `${Math.max(0, Math.round(seconds))} s`;
}

/** "3 agents, 1 silent". */
export function agentsInWords(rows) {
  const silent = rows.filter((row) => row.silent !== null).length;
  return `${count(rows.length, "agent")}${silent ? `, ${number(silent)} silent` : ""}`;
}

/** The rate of the counter under a path, "" where it is not known: also when a server was started anew. */
function rates(look, before) {
  const seconds = before ? look.at - before.at : 0;
  const same = before?.status?.server?.pid === look.status?.server?.pid && before?.stats;
  return (...path) => (same && seconds > 0 ? Math.max(0, at(look.stats, path) - at(before.stats, path)) / seconds : null);
}

function at(values, path) {
  const found = path.reduce((inner, name) => inner?.[name], values);
  return typeof found === "object" ? sum(found) : (found ?? 0);
}

function sum(counts) {
  return Object.values(counts ?? {}).reduce((total, one) => total + one, 0);
}

function troubles(stats) {
  const said = Object.entries(stats?.stores ?? {}).map(([name, counts]) => [name, counts.trouble || counts.database?.trouble]);
  return said.filter(([, trouble]) => trouble).map(([name, trouble]) => `${name}: ${trouble}`);
}

function order(a, b) {
  return Number(a.node) - Number(b.node) || a.name.localeCompare(b.name);
}
