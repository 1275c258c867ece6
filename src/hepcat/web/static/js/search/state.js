/**
 * What the search page shows, as its URL says it: a link reproduces the view.
 *
 * In: location.search. Out: a View {q, since, until, of, sort, columns, live, store}; `toSearch` is the way
 * back. What is as by default is left out, so that a plain "/" is the plain view. What can go wrong:
 * nothing; what is not understood is left out, and times and queries are the server's to judge.
 */
import { setZone, zone } from "../time.js";
import { DEFAULTS, known } from "./columns.js";

/** The range where the URL has none. */
export const DEFAULT_SINCE = "1h";
/** Characters of a query (hepcat.search.parser). */
const LONGEST = 8192;

/**
 * @typedef {object} View
 * @property {string} q
 * @property {string} since "" is open
 * @property {string} until "" is now, or open
 * @property {"calls"|"messages"} of
 * @property {string} sort a column, - in front: descending; "" is newest first
 * @property {string[]|null} columns null: those that were kept, or the default ones
 * @property {boolean} live
 * @property {string} store "" is the first
 */

/** Read a View from the part of a URL after "?". @returns {View} */
export function fromSearch(search) {
  const given = new URLSearchParams(search);
  const of = given.get("of") === "messages" ? "messages" : "calls";
  const sort = given.get("sort") ?? "";
  const columns = (given.get("columns") ?? "").split(",").filter((name) => known(of, name));
  if (given.has("zone")) setZone(given.get("zone") === "utc" ? "utc" : "browser", false);
  return {
    q: (given.get("q") ?? "").slice(0, LONGEST),
    since: given.has("since") || given.has("until") ? (given.get("since") ?? "").slice(0, 64) : DEFAULT_SINCE,
    until: (given.get("until") ?? "").slice(0, 64),
    of,
    sort: known(of, sort.replace(/^-/, "")) ? sort : "",
    columns: columns.length ? columns : null,
    live: given.get("live") === "1",
    store: (given.get("store") ?? "").slice(0, 128),
  };
}

/** The part of the URL from "?" on; "" for the plain view. @param {View} view */
export function toSearch(view) {
  const pairs = new URLSearchParams();
  if (view.q) pairs.set("q", view.q);
  if (view.since !== DEFAULT_SINCE || view.until) pairs.set("since", view.since);
  if (view.until) pairs.set("until", view.until);
  if (view.of !== "calls") pairs.set("of", view.of);
  if (view.sort) pairs.set("sort", view.sort);
  if (view.columns && view.columns.join() !== DEFAULTS[view.of].join()) pairs.set("columns", view.columns.join());
  if (view.live) pairs.set("live", "1");
  if (view.store) pairs.set("store", view.store);
  if (zone() === "utc") pairs.set("zone", "utc");
  const text = pairs.toString().replaceAll("%3A", ":").replaceAll("%2C", ",").replaceAll("%40", "@");
  return text ? `?${text}` : "";
}

/** The parameters that ask the API for what a view is about. @param {View} view */
export function asked(view) {
  return { q: view.q, since: view.since, until: view.until, store: view.store };
}
