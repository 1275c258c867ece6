/**
 * What the dashboard says, out of the API's answers. Nothing is drawn here.
 *
 * In: answers of /api/figures, /api/top, /api/samples. Out: tiles, charts and lists as plain values. What can go
 * wrong: a figure without a value (nothing to compute it from) is null, and shown as a dash.
 */
import { duration, number, percent, short } from "../format.js";
import { MINUTE, SECOND } from "../time.js";

/** The tiles. better: the direction that is good, null where neither is. unit: of the difference. */
export const TILES = [
  { name: "calls_a_second", title: "Calls a second", format: rate, better: null, link: "method:INVITE" },
  { name: "asr", title: "Answer-seizure ratio", format: percent, better: "up", points: true },
  { name: "ner", title: "Network effectiveness", format: percent, better: "up", points: true },
  { name: "acd", title: "Average call duration", format: duration, better: null },
  { name: "pdd_p50", title: "Post-dial delay, median", format: duration, better: "down" },
  { name: "pdd_p95", title: "Post-dial delay, p95", format: duration, better: "down" },
  { name: "registrations_a_second", title: "Registrations a second", format: rate, better: null },
  { name: "retransmissions", title: "Retransmitted", format: percent, better: "down", points: true },
];

/** The charts over the range. of(answer) gives the series: [{key, word, values}]; `query`: what a click adds. */
export const CHARTS = [
  {
    name: "calls", title: "Calls a second", kind: "lines", format: rate, query: "method:INVITE",
    of: (answer) => [
      { key: "attempts", word: "attempts", values: whole(answer, answer.series.calls_a_second) },
      { key: "answered", word: "answered", values: whole(answer, answer.series.answered.map((n, i) => n / answer.seconds[i])) },
    ],
  },
  {
    name: "ratios", title: "Answered and effective", kind: "lines", format: percent, highest: 1, query: "method:INVITE",
    of: ({ series }) => [
      { key: "ner", word: "network effectiveness", values: series.ner },
      { key: "asr", word: "answer-seizure ratio", values: series.asr },
    ],
  },
  {
    name: "pdd", title: "Post-dial delay", kind: "lines", format: duration, query: "method:INVITE",
    of: ({ series }) => [
      { key: "p95", word: "95 in 100 within", values: series.pdd_p95 },
      { key: "p50", word: "half within", values: series.pdd_p50 },
    ],
  },
  {
    name: "registrations", title: "Registrations", kind: "bars", format: number, query: "method:REGISTER",
    of: ({ series }) => [
      { key: "success", word: "successful", values: series.registered },
      { key: "client", word: "failed", values: series.registration_failures },
    ],
  },
  { name: "methods", title: "Requests by method", kind: "bars", format: number, query: "-status:100..699", of: methods },
  { name: "statuses", title: "Responses by status", kind: "bars", format: number, query: "status:100..699", of: statuses },
];

/** The top lists. */
export const LISTS = [
  { by: "user_agent", title: "Top user agents", what: "User agent", field: "user_agent" },
  { by: "source", title: "Top sources", what: "Address", field: "src_ip" },
];
/** Rows of a list. */
export const LIST_ROWS = 8;
/** Methods with a part of their own where there are more; the others are one part. */
const METHODS = 5;
/** Methods with a look of their own: the frequent ones first, of which no two have a colour or stripes alike. */
const KNOWN = ["INVITE", "REGISTER", "BYE", "ACK", "OPTIONS", "CANCEL", "SUBSCRIBE", "NOTIFY", "PUBLISH", "MESSAGE", "INFO", "UPDATE", "PRACK", "REFER"];
/** As many looks as there are colours times kinds of stripes (charts.js). */
export const LOOKS = 36;
/** Reasons of drops with a part of their own. */
const REASONS = 5;
const CLASSES = [
  { of: "2xx", key: "success", word: "2xx" },
  { of: "1xx", key: "running", word: "1xx" },
  { of: "3xx", key: "redirect", word: "3xx" },
  { of: "4xx", key: "client", word: "4xx" },
  { of: "5xx", key: "server", word: "5xx" },
  { of: "6xx", key: "decline", word: "6xx" },
];

/** "23.9", "0.12", "1.2 k". */
export function rate(value) {
  if (value === null || value === undefined) return "";
  // Over years a call a second is a very small number, yet not none.
  if (value > 0 && value < 0.001) return value.toExponential(0);
  return value > 0 && value < 0.01 ? value.toFixed(4) : short(value);
}

/** A tile's words: {value, more, kind}; more: the difference to the range before. */
export function tile(spec, totals, before) {
  const value = totals?.[spec.name] ?? null;
  const was = before?.[spec.name] ?? null;
  return { value: value === null ? "–" : spec.format(value), ...difference(spec, value, was) };
}

function difference(spec, value, was) {
  if (value === null || was === null) return { more: "", kind: "" };
  const change = spec.points ? (value - was) * 100 : was ? ((value - was) / was) * 100 : null;
  if (change === null) return { more: `before: ${spec.format(was)}`, kind: "" };
  const size = Math.abs(change);
  if (size < (spec.points ? 0.05 : 0.5)) return { more: "as before", kind: "" };
  const words = `${change > 0 ? "▲" : "▼"} ${size >= 1000 ? "> 999" : size >= 10 ? size.toFixed(0) : size.toFixed(1)} ${spec.points ? "points" : "%"}`;
  const good = spec.better === null ? null : (change > 0) === (spec.better === "up");
  return { more: `${words}${good === null ? "" : good ? ", better" : ", worse"}`, kind: good === null ? "" : good ? "o-success" : "o-client" };
}

/** Values of buckets of which enough lies in the range: a second of a minute says little. */
export function whole(answer, values) {
  return values.map((value, i) => (answer.seconds[i] * SECOND < answer.width / 4 ? null : value));
}

/**
 * The looks of series by their names, so that a name looks the same whatever its rank: methods that are known have
 * places of their own, others the one that their letters say, or the next that is free.
 * @param {string[]} names at most LOOKS
 * @returns {Map<string, number>} each with another number below LOOKS
 */
export function looksOf(names) {
  const looks = new Map(names.filter((name) => KNOWN.includes(name)).map((name) => [name, KNOWN.indexOf(name)]));
  const taken = new Set(looks.values());
  for (const name of names.filter((one) => !looks.has(one)).sort()) {
    let look = KNOWN.length + (hash(name) % (LOOKS - KNOWN.length));
    while (taken.has(look)) look = (look + 1) % LOOKS;
    taken.add(look);
    looks.set(name, look);
  }
  return looks;
}

function hash(text) {
  let sum = 0;
  for (let i = 0; i < Math.min(text.length, 64); i += 1) sum = (sum * 31 + text.charCodeAt(i)) % 65_521;
  return sum;
}

/** Series of these values, the look of each by its name, in the order of looks: a change of rank moves none. */
function named(most, rest) {
  const looks = looksOf(most.map(({ word }) => word));
  const own = most.map(({ word, values }) => ({ key: `c${looks.get(word)}`, look: looks.get(word), word, values }));
  own.sort((a, b) => a.look - b.look);
  return rest ? [...own, { key: "rest", ...rest }] : own;
}

function methods(answer) {
  const sums = Object.entries(answer.methods).map(([word, values]) => ({ word, values, sum: total(values) })).sort((a, b) => b.sum - a.sum);
  if (sums.length <= METHODS + 1) return named(sums, null);
  const others = sums.slice(METHODS);
  const values = answer.start.map((_, i) => others.reduce((sum, one) => sum + one.values[i], 0));
  return named(sums.slice(0, METHODS), { word: "others", values });
}

function statuses(answer) {
  return CLASSES.filter(({ of }) => answer.statuses[of]?.some((n) => n)).map(({ of, key, word }) => ({ key, word, values: answer.statuses[of] }));
}

/** The most frequent codes in words: "200: 12,345". */
export function codes(answer) {
  return answer.codes.slice(0, 8).map(({ value, count }) => ({ value, text: `${value}: ${number(count)}` }));
}

/**
 * Drops over the last minutes by reason, from the server's counters.
 * @returns {{since, until, start, width, series, sum}} as charts take it
 */
export function drops(samples) {
  const steps = samples.slice(1).map((sample, i) => ({ at: samples[i].at, until: sample.at, counts: less(sample.dropped, samples[i].dropped) }));
  const sums = {};
  for (const { counts } of steps) for (const [reason, n] of Object.entries(counts)) sums[reason] = (sums[reason] ?? 0) + n;
  const order = Object.keys(sums).filter((reason) => sums[reason]).sort((a, b) => sums[b] - sums[a]);
  if (!samples.length) return { since: 0, until: 0, start: [], width: 1, series: [], sum: 0 };
  const until = samples.at(-1).at;
  const since = until - 20 * MINUTE;
  const width = 20 * SECOND;
  const start = Array.from({ length: 60 }, (_, i) => since + i * width);
  const most = order.slice(0, REASONS).map((word) => ({ word, values: start.map(() => 0) }));
  const rest = { word: "other reasons", values: start.map(() => 0) };
  for (const { until: at, counts } of steps) {
    const bucket = Math.min(start.length - 1, Math.ceil((at - since) / width) - 1);
    if (bucket < 0) continue;
    for (const [reason, n] of Object.entries(counts)) {
      const place = order.indexOf(reason);
      if (n && place >= 0) (most[place] ?? rest).values[bucket] += n;
    }
  }
  return { since, until, start, width, series: named(most, order.length > REASONS ? rest : null), sum: order.reduce((all, reason) => all + sums[reason], 0) };
}

function less(after, before) {
  return Object.fromEntries(Object.entries(after ?? {}).map(([reason, n]) => [reason, Math.max(0, n - (before?.[reason] ?? 0))]));
}

function total(values) {
  return values.reduce((sum, n) => sum + (n ?? 0), 0);
}
