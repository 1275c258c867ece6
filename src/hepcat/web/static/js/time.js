/**
 * Times: microseconds since the epoch (UTC) to text and back, the zone people chose, and ranges.
 *
 * The zone is "browser" or "utc", kept in localStorage; changing it sends the event `hepcat:zone` on
 * document. A range is {since, until}, both text as in a page's URL: "" (open, or now), a length of time
 * ago ("15m", "1h30m") or microseconds ("1795435606000000"); the server understands more (`today`), which
 * `resolve` leaves to it.
 */

export const SECOND = 1e6;
export const MINUTE = 60 * SECOND;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;
const UNITS = { us: 1, ms: 1000, s: SECOND, m: MINUTE, min: MINUTE, h: HOUR, d: DAY, w: 7 * DAY };
const KEPT = "hepcat.zone";
/** The clock cannot show times that far away (years 1 and 9999). */
const FARTHEST = 8.64e18;

/** Ranges that the picker offers. */
export const RANGES = ["15m", "30m", "1h", "3h", "6h", "12h", "24h", "7d"].map((since) => ({ since, until: "" }));

let chosen = stored();

/** "browser" or "utc". */
export function zone() {
  return chosen;
}

/** Choose the zone, keep it unless `lasting` is false, and tell the page. */
export function setZone(name, lasting = true) {
  const next = name === "utc" ? "utc" : "browser";
  if (next === chosen) return;
  chosen = next;
  formats.clear();
  if (lasting) keep(next);
  document.dispatchEvent(new CustomEvent("hepcat:zone", { detail: next }));
}

/** Call `run` whenever the zone changes. */
export function onZone(run) {
  document.addEventListener("hepcat:zone", () => run(chosen));
}

/** The zone's name: "UTC", or such as "Europe/Berlin". */
export function zoneName() {
  return chosen === "utc" ? "UTC" : Intl.DateTimeFormat().resolvedOptions().timeZone;
}

/** Now, in microseconds. */
export function now() {
  return Date.now() * 1000;
}

/** "13:46:45.912" with `digits` digits of the second (0, 3 or 6). */
export function clock(us, digits = 3) {
  const parts = fields(us);
  if (!parts) return "";
  const fraction = digits ? `.${String(mod(us, SECOND)).padStart(6, "0").slice(0, digits)}` : "";
  return `${parts.hour}:${parts.minute}:${parts.second}${fraction}`;
}

/** "2026-11-22". */
export function day(us) {
  const parts = fields(us);
  return parts ? `${parts.year}-${parts.month}-${parts.day}` : "";
}

/** "2026-11-22 13:46:45.912". */
export function stamp(us, digits = 3) {
  return us === null || us === undefined ? "" : `${day(us)} ${clock(us, digits)}`;
}

/** How far the shown zone is ahead of UTC at a time: "+02:00"; "UTC" where it is shown. */
export function offset(us) {
  if (chosen === "utc") return "UTC";
  const minutes = -new Date(us / 1000).getTimezoneOffset();
  const size = Math.abs(minutes);
  return `${minutes < 0 ? "-" : "+"}${two(Math.floor(size / 60))}:${two(size % 60)}`;
}

/** As short as it can be told: "13:46:45.912" today, "11-22 13:46:45.912" this year, else with it. */
export function moment(us, digits = 3, at = now()) {
  const [date, today] = [day(us), day(at)];
  if (date === today) return clock(us, digits);
  return date.slice(0, 4) === today.slice(0, 4) ? `${date.slice(5)} ${clock(us, digits)}` : stamp(us, digits);
}

/** The difference of two times: "+0.132", "+12.004", "+1:02.500", "+1:02:03". */
export function delta(us) {
  const [sign, size] = [us < 0 ? "-" : "+", Math.abs(us)];
  if (size < MINUTE) return `${sign}${(size / SECOND).toFixed(3)}`;
  if (size < HOUR) return `${sign}${Math.floor(size / MINUTE)}:${((size % MINUTE) / SECOND).toFixed(3).padStart(6, "0")}`;
  return `${sign}${Math.floor(size / HOUR)}:${two(Math.floor(size / MINUTE) % 60)}:${two(Math.floor(size / SECOND) % 60)}`;
}

/** A length of time in one or two units, as the server reads it: 5400000000 -> "1h30m". */
export function length(us) {
  const parts = [];
  let rest = Math.round(us);
  for (const [unit, size] of [["d", DAY], ["h", HOUR], ["m", MINUTE], ["s", SECOND], ["ms", 1000], ["us", 1]]) {
    const n = Math.floor(rest / size);
    if (n) parts.push(`${n}${unit}`);
    rest -= n * size;
    if (parts.length === 2) break;
  }
  return parts.join("") || "0s";
}

/** The microseconds of "90s", "1h30m"; null when it is none. */
export function parseLength(text) {
  const cleaned = text.trim().toLowerCase();
  if (!/^(\d+(\.\d+)?(us|ms|min|s|m|h|d|w))+$/.test(cleaned)) return null;
  let total = 0;
  for (const [, n, unit] of cleaned.matchAll(/(\d+(?:\.\d+)?)(us|ms|min|s|m|h|d|w)/g)) total += Number(n) * UNITS[unit];
  return Math.round(total);
}

/** What people type as a time, in the chosen zone: "2026-11-22 13:46[:45[.9]]", "13:46", "15m" (ago), "now"; else null. */
export function parseTime(text, at = now()) {
  const cleaned = text.trim();
  if (/^now$/i.test(cleaned)) return at;
  if (/^\d{15,17}$/.test(cleaned)) return Number(cleaned);
  const ago = parseLength(cleaned.replace(/^-/, ""));
  if (ago !== null) return at - ago;
  const match = /^(?:(\d{4}-\d{2}-\d{2})(?:[T ]+|$))?(?:(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,6}))?)?)?$/.exec(cleaned);
  if (!match || !cleaned) return null;
  const [, date = day(at), hour = "00", minute = "00", second = "00", fraction = ""] = match;
  const ms = Date.parse(`${date}T${hour.padStart(2, "0")}:${minute}:${second}${chosen === "utc" ? "Z" : ""}`);
  return Number.isNaN(ms) ? null : ms * 1000 + Number(fraction.padEnd(6, "0"));
}

/** A range's bounds in microseconds: {since, until}; null where it is open or only the server knows. */
export function resolve(range, at = now()) {
  return { since: bound(range.since, at, null), until: bound(range.until, at, at) };
}

/** Whether a range moves with the clock. */
export function isRelative(range) {
  return !/^\d{15,17}$/.test(range.since || "") && !/^\d{15,17}$/.test(range.until || "");
}

/** The range before (-1) or after (1) one, absolute and of the same length; `known`: its bounds in microseconds. */
export function step(known, direction) {
  const size = known.until - known.since;
  return absolute(known.since + direction * size, known.until + direction * size);
}

/** The absolute range of two times in microseconds. */
export function absolute(since, until) {
  return { since: String(Math.floor(since)), until: String(Math.ceil(until)) };
}

/** Two bounds outwards to times that are easy to read: within a percent or so of what was meant. */
export function rounded(since, until) {
  const unit = [MINUTE, SECOND, 1000].find((one) => until - since >= 60 * one) ?? 1;
  return [Math.floor(since / unit) * unit, Math.ceil(until / unit) * unit];
}

/** A range in words: "last 15 min", "22 Nov 13:00 – 14:00". */
export function label(range) {
  if (!range.since && !range.until) return "all time";
  const ago = range.since && !range.until ? parseLength(range.since) : null;
  if (ago !== null) return `last ${inWords(ago)}`;
  const bounds = [range.since, range.until].map((text) => (/^\d{15,17}$/.test(text) ? Number(text) : text));
  const [from, to] = bounds.map((us) => (typeof us === "number" ? `${day(us)} ${brief(us)}` : us));
  if (!range.since) return `until ${to}`;
  if (!range.until) return `since ${from}`;
  const sameDay = bounds.every((us) => typeof us === "number") && day(bounds[0]) === day(bounds[1]);
  return `${from} – ${sameDay ? brief(bounds[1]) : to}`;
}

const formats = new Map();

function fields(us) {
  if (us === null || us === undefined || Math.abs(us) > FARTHEST) return null;
  if (!formats.has("parts")) {
    formats.set("parts", new Intl.DateTimeFormat("en-CA", {
      year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit",
      hourCycle: "h23", timeZone: chosen === "utc" ? "UTC" : undefined,
    }));
  }
  const parts = formats.get("parts").formatToParts(Math.floor(us / 1000));
  return Object.fromEntries(parts.map((part) => [part.type, part.value]));
}

function bound(text, at, missing) {
  if (!text) return missing;
  if (/^\d{15,17}$/.test(text)) return Number(text);
  if (text === "now") return at;
  const ago = parseLength(text);
  return ago === null ? null : at - ago;
}

/** The clock without what is zero at its end. */
function brief(us) {
  return clock(us, mod(us, SECOND) ? 3 : 0).replace(/:00$/, "");
}

function inWords(us) {
  const units = [["day", DAY], ["h", HOUR], ["min", MINUTE], ["s", SECOND]];
  const [word, size] = units.find(([, unit]) => us >= unit && us % unit === 0 && !(unit === DAY && us === DAY)) ?? [null, 0];
  if (!word) return length(us);
  return `${us / size} ${word === "day" ? "days" : word}`;
}

function mod(value, size) {
  return ((value % size) + size) % size;
}

function two(value) {
  return String(value).padStart(2, "0");
}

function keep(name) {
  try {
    localStorage.setItem(KEPT, name);
  } catch {
    /* Storage may be forbidden: the choice lasts as long as the page. */
  }
}

function stored() {
  try {
    return localStorage.getItem(KEPT) === "utc" ? "utc" : "browser";
  } catch {
    return "browser";
  }
}
