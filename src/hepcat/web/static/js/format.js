/**
 * Numbers and outcomes as people read them.
 *
 * In: figures of the API (durations in seconds, counts). Out: short text; "" for what is not there.
 */

const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

/** 12345 -> "12,345". */
export function number(value) {
  return value === null || value === undefined ? "" : WHOLE.format(value);
}

/** 12345 -> "12.3 k", 2_000_000 -> "2 M". */
export function short(value) {
  if (value === null || value === undefined) return "";
  const size = Math.abs(value);
  for (const [limit, unit] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (size >= limit) return `${trim(value / limit)} ${unit}`;
  }
  return trim(value);
}

/** 0.123 -> "12.3 %"; a share of 1. */
export function percent(share) {
  return share === null || share === undefined ? "" : `${trim(share * 100)} %`;
}

/** 123456 -> "123 kB". */
export function bytes(value) {
  if (value === null || value === undefined) return "";
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (Math.abs(value) >= 1000 && unit < units.length - 1) [value, unit] = [value / 1000, unit + 1];
  return `${trim(value)} ${units[unit]}`;
}

/** Seconds: 0.0004 -> "0.4 ms", 0.12 -> "120 ms", 3.2 -> "3.2 s", 75 -> "1:15", 3723 -> "1:02:03". */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "";
  if (seconds < 0) return `-${duration(-seconds)}`;
  if (seconds === 0) return "0 s";
  if (seconds < 1) return `${seconds < 0.01 ? trim(seconds * 1000) : Math.round(seconds * 1000)} ms`;
  if (seconds < 59.95) return `${seconds < 10 ? seconds.toFixed(2) : seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

/** The kinds of outcome, in the order in which charts stack them. `sign` goes with the colour. */
export const OUTCOMES = [
  { key: "success", word: "success", sign: "✓" },
  { key: "redirect", word: "redirect", sign: "↪" },
  { key: "client", word: "client failure", sign: "✕" },
  { key: "server", word: "server failure", sign: "!" },
  { key: "running", word: "running", sign: "…" },
  { key: "ended", word: "ended", sign: "–" },
];
const BY_KEY = Object.fromEntries(OUTCOMES.map((outcome) => [outcome.key, outcome]));
/** States of calls that their status does not tell: given up by the caller, or a challenge left alone. */
const ENDED = new Set(["cancelled", "auth required"]);
/** States that are not over, whatever the last response was: a challenge was answered, say. */
const RUNNING = new Set(["ringing", "trying", "no reply"]);

/** The class of a status: null -> "running" (a request), 100 -> "running", 200 -> "success", 486 -> "client". */
export function outcomeOfStatus(status) {
  const kind = Math.floor((status ?? 0) / 100);
  return BY_KEY[["running", "running", "success", "redirect", "client", "server", "client"][kind] ?? "ended"];
}

/**
 * The outcome of a row of calls or messages.
 * @returns {{key: string, word: string, sign: string, class: string}} word: the state where there is one
 */
export function outcome(row) {
  const kind = ENDED.has(row.state) ? BY_KEY.ended : RUNNING.has(row.state) ? BY_KEY.running : outcomeOfStatus(row.status);
  return { ...kind, word: row.state || kind.word, class: `o-${kind.key}` };
}

/** "1 call", "2 calls". */
export function count(value, one, many = `${one}s`) {
  return `${number(value)} ${value === 1 ? one : many}`;
}

function trim(value) {
  const size = Math.abs(value);
  return String(Number(value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : 2)));
}

function two(value) {
  return String(value).padStart(2, "0");
}
