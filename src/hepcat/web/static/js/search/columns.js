/**
 * The columns of the table: names as the API has them, headings, widths, how a value is written.
 *
 * In: rows of GET /api/calls or /api/messages. Out: text. Widths are fixed (in characters of the table's
 * own font), so that nothing moves when rows arrive; texts get what is left of a wide screen. tests/web/test_search_page.py compares the names with the server's.
 */
import { duration, number } from "../format.js";
import { safe } from "../safe.js";
import { day, moment, now, offset, stamp } from "../time.js";

/** Characters of a value that are shown: a header may have 64 thousand. */
const LONGEST = 300;

/**
 * @typedef {object} Column
 * @property {string} name
 * @property {string} title
 * @property {number} width in characters
 * @property {"time"|"text"|"number"|"seconds"|"outcome"} kind
 */
function column(name, width = 16, kind = "text", title = name.replaceAll("_", " ")) {
  return { name, title, width, kind };
}

const CALLS = [
  column("start", 19, "time"),
  column("from", 23),
  column("to", 23),
  column("method", 10),
  column("state", 19, "outcome", "outcome"),
  column("status", 7, "number"),
  column("phrase", 18),
  column("post_dial_delay", 9, "seconds", "post-dial"),
  column("ring_time", 8, "seconds", "ring"),
  column("talk_time", 9, "seconds", "talk"),
  column("messages", 6, "number", "msgs"),
  column("source", 22),
  column("destination", 22),
  column("call_id", 26, "text", "Call-ID"),
  column("end", 19, "time"),
  column("duration", 10, "seconds"),
  column("answered", 19, "time"),
  ...["from_user", "from_domain", "from_tag", "to_user", "to_domain", "to_tag"].map((name) => column(name)),
  column("ruri", 30, "text", "Request-URI"),
  ...["ruri_user", "ruri_domain", "pid_user", "auth_user"].map((name) => column(name)),
  column("user_agent", 26),
  column("server", 26),
  column("transport", 10),
  column("node_id", 9, "number"),
  column("node_name", 16),
  column("correlation_id", 26),
  column("call_id_aleg", 26),
  column("reason", 26),
  column("diversion", 26),
  column("retransmissions", 9, "number", "retrans."),
  column("malformed", 10, "number"),
];

const MESSAGES = [
  column("ts", 19, "time", "time"),
  column("method", 10),
  column("status", 13, "outcome"),
  column("reason_phrase", 17, "text", "phrase"),
  column("src_ip", 18, "text", "source"),
  column("src_port", 8, "number", "port"),
  column("dst_ip", 18, "text", "destination"),
  column("dst_port", 8, "number", "port"),
  column("from_user", 16),
  column("to_user", 16),
  column("cseq", 15, "text", "CSeq"),
  column("call_id", 26, "text", "Call-ID"),
  column("transport", 10),
  column("ruri", 30, "text", "Request-URI"),
  ...["ruri_user", "ruri_domain", "from_domain", "from_tag", "to_domain", "to_tag", "call_id_aleg"].map((name) => column(name)),
  column("via_1", 34),
  column("via_1_branch", 26),
  ...["pid_user", "contact_user", "contact_ip"].map((name) => column(name)),
  column("contact_port", 8, "number"),
  column("auth_user"),
  column("user_agent", 26),
  column("content_type", 20),
  column("expires", 9, "number"),
  ...["diversion", "reason", "rtp_stat"].map((name) => column(name, 26)),
  column("session_id", 34, "text", "Session-ID"),
  column("malformed"),
  column("vlan", 7, "number"),
  column("node_id", 9, "number"),
  column("node_name"),
  column("correlation_id", 26),
  column("tags"),
];

const ALL = { calls: CALLS, messages: MESSAGES };
const BY_NAME = Object.fromEntries(Object.entries(ALL).map(([of, columns]) => [of, new Map(columns.map((one) => [one.name, one]))]));

/** The columns shown unless somebody chose others. */
export const DEFAULTS = {
  calls: CALLS.slice(0, 14).map((one) => one.name).filter((name) => !["status", "phrase", "ring_time"].includes(name)),
  messages: MESSAGES.slice(0, 12).map((one) => one.name),
};
/** What a row has to have for us: its time, its name, its outcome. */
const NEEDED = { calls: ["start", "call_id", "state", "status", "from", "to"], messages: ["ts", "call_id", "method", "status"] };

/** All columns. @returns {Column[]} */
export function all(of) {
  return ALL[of];
}

/** Whether there is a column of that name. */
export function known(of, name) {
  return BY_NAME[of].has(name);
}

/** The column of that name. @returns {Column} */
export function find(of, name) {
  return BY_NAME[of].get(name);
}

/** The column that holds a row's time. */
export function timeOf(of) {
  return of === "calls" ? "start" : "ts";
}

/** The `fields` to ask the API for. */
export function fieldsFor(of, names) {
  return [...new Set([...NEEDED[of], ...names])].join();
}

/** Columns as kept in this browser, else the default ones. */
export function kept(of) {
  try {
    const names = (localStorage.getItem(`hepcat.columns.${of}`) ?? "").split(",").filter((name) => known(of, name));
    return names.length ? names : DEFAULTS[of];
  } catch {
    return DEFAULTS[of];
  }
}

/** Keep the columns in this browser. */
export function keep(of, names) {
  try {
    if (names.join() === DEFAULTS[of].join()) localStorage.removeItem(`hepcat.columns.${of}`);
    else localStorage.setItem(`hepcat.columns.${of}`, names.join());
  } catch {
    /* Storage may be forbidden: the URL has them. */
  }
}

/** Characters of a time with its year, and a bit. */
const WITH_YEAR = 24;

/** A column's width in characters. `years`: its times may have one. */
export function width(column, years) {
  return column.kind === "time" && years ? Math.max(column.width, WITH_YEAR) : column.width;
}

/** Whether a time is of another year than now: no one knows of it unless the year is told. */
export function ofOtherYear(us, at = now()) {
  const told = day(us);
  return told !== "" && told.slice(0, 4) !== day(at).slice(0, 4);
}

/** Whether any of the times in these columns is of another year than now. */
export function needYears(columns, rows) {
  let [oldest, newest] = [Infinity, -Infinity];
  for (const { name } of columns.filter((one) => one.kind === "time")) {
    for (const row of rows) {
      const us = row[name];
      if (us === null || us === undefined) continue;
      if (us < oldest) oldest = us;
      if (us > newest) newest = us;
    }
  }
  return oldest <= newest && (ofOtherYear(oldest) || ofOtherYear(newest));
}

/** A cell's text. `years`: all times are told with it, since some have to be. @param {Column} column */
export function text(column, row, years = false) {
  const value = row[column.name];
  if (value === null || value === undefined) return "";
  if (column.kind === "time") return years ? stamp(value) : moment(value);
  if (column.kind === "seconds") return duration(value);
  if (column.kind === "number") return column.name.endsWith("port") || column.name === "status" ? String(value) : number(value);
  return safe(String(value), LONGEST);
}

/** What a pointer resting on a cell is told: the whole value. */
export function hint(column, row) {
  const value = row[column.name];
  if (value === null || value === undefined) return "";
  if (column.kind === "time") return `${stamp(value, 6)} ${offset(value)}`;
  return column.kind === "seconds" ? `${value} s` : safe(String(value), LONGEST);
}
