/**
 * The histogram's numbers: what the server counted, in bars that can be seen.
 *
 * In: an answer of GET /api/histogram ({start, width, total, request, 1xx ... 6xx}), the bounds of the
 * picture and how many bars fit. Out: {from, to, width, bars: [{start, end, total, success, redirect, client, server,
 * running}]}; all times in microseconds. Nothing is drawn here.
 */

/** The parts of a bar, from the bottom to the top, and the classes of status in each. */
export const PARTS = [
  { key: "success", word: "success", query: "status:2xx", of: ["2xx"] },
  { key: "redirect", word: "redirect", query: "status:3xx", of: ["3xx"] },
  { key: "client", word: "client failure", query: "status:4xx,6xx", of: ["4xx", "6xx"] },
  { key: "server", word: "server failure", query: "status:5xx", of: ["5xx"] },
  { key: "running", word: "running", query: "", of: ["request", "1xx"] },
];

/** Fewer bars than these side by side are no picture of a length of time, ... */
const FEW = 8;
/** ... which is a minute then at least. */
const MOMENT = 6e7;

/** Fields that all messages of a call have alike: a search by them alone finds whole calls. */
const WHOLE = new Set(["call_id", "from", "to", "user", "from_user", "from_domain", "from_tag", "to_user", "to_domain", "correlation_id"]);

/**
 * What is counted: "messages"; "calls"; "parts of calls" where a query finds some of their messages only, as
 * the server goes by the status of what was found.
 */
export function nounOf(of, query) {
  if (of === "messages") return of;
  const fields = query.replace(/"[^"]*"/g, "").match(/[\w.-]+(?=\s*[:<>=])/g) ?? [];
  return fields.every((name) => WHOLE.has(name.replace(/^-/, "").toLowerCase())) ? "calls" : "parts of calls";
}

/** A part's name: what has no final status is a call that runs only where all of its messages were found. */
export function nameOf(part, noun) {
  if (part.key !== "running" || noun === "calls") return part.word;
  return noun === "messages" ? "requests, 1xx" : "others";
}

/** What to search for to see a part; of calls, a challenge that was answered is no failure. */
export function queryOf(part, noun) {
  return part.key === "client" && noun !== "messages" ? `${part.query} -status:401,407,487` : part.query;
}

/** Counts as bars. @param {{since: number|null, until: number|null}} bounds of the picture; null: of the data */
export function barsOf(answer, bounds, most) {
  const { start, width } = answer;
  if (!start?.length) return { from: bounds.since, to: bounds.until, width: 0, bars: [] };
  const { from, to } = widened(bounds.since ?? start[0], bounds.until ?? start.at(-1) + width, width, bounds);
  const together = Math.max(1, Math.ceil((to - from) / width / Math.max(most, 1)));
  const wide = width * together;
  const bars = new Map();
  start.forEach((at, i) => {
    const begin = Math.floor(at / wide) * wide;
    if (!bars.has(begin)) bars.set(begin, { start: begin, end: begin + wide, total: 0, success: 0, redirect: 0, client: 0, server: 0, running: 0 });
    const bar = bars.get(begin);
    bar.total += answer.total[i];
    for (const part of PARTS) for (const name of part.of) bar[part.key] += answer[name][i];
  });
  return { from, to, width: wide, bars: [...bars.values()].filter((bar) => bar.total > 0) };
}

/** Open ends are moved away from bars that would fill the picture: a moment is seen as one, between times. */
function widened(from, to, width, bounds) {
  if (to - from >= FEW * width) return { from, to: Math.max(to, from + 1) };
  const half = Math.max((FEW * width) / 2, MOMENT / 2);
  const middle = (from + to) / 2;
  const [low, high] = [Math.floor(middle - half), Math.ceil(middle + half)];
  return { from: bounds.since ?? Math.min(from, low), to: Math.max(bounds.until ?? Math.max(to, high), from + 1) };
}

/** Totals over all bars, by part, and `total`. */
export function totals(bars) {
  const sums = { total: 0, success: 0, redirect: 0, client: 0, server: 0, running: 0 };
  for (const bar of bars) for (const key of Object.keys(sums)) sums[key] += bar[key];
  return sums;
}

/** A bar in words. */
export function words(bar, noun) {
  const parts = PARTS.filter((part) => bar[part.key]).map((part) => `${bar[part.key]} ${nameOf(part, noun)}`);
  return `${bar.total}${parts.length ? `: ${parts.join(", ")}` : ""}`;
}

/** A month and a year as steps of the axis. */
export const MONTH = 26784e8;
export const YEAR = 12 * MONTH;
const STEPS = [1e3, 1e4, 1e5, 1e6, 5e6, 1e7, 3e7, 6e7, 3e8, 6e8, 9e8, 18e8, 36e8, 108e8, 216e8, 432e8, 864e8, 1728e8, 6048e8];
const MONTHS = [1, 3, 6, 12, 24, 60, 120, 240, 600, 1200, 12_000];

/** Times for the axis between two bounds: {step, at}; `step` says how fine the clock has to be. */
export function ticks(from, to, most, zoneShift) {
  const step = STEPS.find((one) => (to - from) / one <= most);
  if (!step) return months(from, to, most, zoneShift);
  // Steps of hours and less go on evenly where clocks change, so that an hour that comes twice has its ticks twice.
  const even = step <= 36e8;
  const shift = step >= 18e8 ? zoneShift(from) : 0;
  const at = [];
  for (let wall = Math.ceil((from + shift) / step) * step; at.length <= most + 1; wall += step) {
    // Clocks may be put forward or back on the way.
    const us = wall - (even ? shift : zoneShift(wall - shift));
    if (us > to) break;
    if (us >= from && us !== at.at(-1)) at.push(us);
  }
  return { step, at };
}

/** Ticks at the beginnings of months and years. */
function months(from, to, most, zoneShift) {
  const count = MONTHS.find((one) => (to - from) / (one * MONTH) <= most) ?? MONTHS.at(-1);
  const begin = new Date((from + zoneShift(from)) / 1000);
  let month = Math.ceil((begin.getUTCFullYear() * 12 + begin.getUTCMonth()) / count) * count;
  const at = [];
  for (; at.length <= most + 1; month += count) {
    const wall = Date.UTC(Math.floor(month / 12), month % 12) * 1000;
    const us = wall - zoneShift(wall);
    if (!(us <= to)) break;
    if (us >= from) at.push(us);
  }
  return { step: count * MONTH, at };
}
