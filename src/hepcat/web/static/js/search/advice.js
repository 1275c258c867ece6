/**
 * What the table says when it has no rows: waiting, nothing found and what to try, what went wrong.
 *
 * In: the view, a problem. Out: nodes for the place of the table; `go(changes)` is called with what to change in the view.
 */
import { h } from "../dom.js";
import { label } from "../time.js";

/** Queries that show the language; a test asks the server each of them. */
export const EXAMPLES = [
  ["from:alice", "calls and messages from a user"],
  ["user:+49301234*", "a number, in From, To or anywhere else"],
  ["status:>=400 method:INVITE", "attempts that failed"],
  ["status:5xx", "server failures"],
  ["ip:10.0.0.0/8 -method:OPTIONS", "a network, without OPTIONS"],
  ['ua:*Asterisk* OR "X-Custom: 7"', "a user agent, or words of the message"],
];
const WIDER = [["15m", "1h"], ["30m", "3h"], ["1h", "24h"], ["3h", "24h"], ["6h", "24h"], ["12h", "24h"], ["24h", "7d"]];

/** Nothing was found. */
export function nothing(view, go) {
  const range = { since: view.since, until: view.until };
  const wide = WIDER.find(([since]) => since === view.since && !view.until)?.[1];
  const other = view.of === "calls" ? "messages" : "calls";
  const button = (words, changes, kind = "") => h("button", { type: "button", class: kind, onclick: () => go(changes) }, words);
  return h(
    "div",
    { class: "advice" },
    h("h2", {}, view.q ? `No ${view.of} match` : `No ${view.of}`),
    h("p", {}, view.since || view.until ? `Nothing was found in this range: ${label(range)}.` : "Nothing was found at any time."),
    h(
      "div",
      { class: "row" },
      wide ? button(`Look in the ${label({ since: wide, until: "" })}`, { since: wide }, "primary") : null,
      view.since || view.until ? button("Look at all times", { since: "", until: "" }, wide ? "" : "primary") : null,
      view.q ? button("Without the query", { q: "" }) : null,
      button(`Look for ${other}`, { of: other, sort: "", columns: null }),
    ),
    view.q ? hints(view.q) : null,
    examples(go),
  );
}

function hints(query) {
  const told = [];
  if (/(?<![\w"])(?:from|to|user|from_user|to_user):[^\s*~"]+/i.test(query)) told.push("Users match exactly: from:alice is not from:Alice. With * they match in part: from:*alice*.");
  if (/\S\s+\S/.test(query)) told.push("All terms have to fit one and the same message. OR between them finds either.");
  if (/(^|\s)-\w/.test(query)) told.push("-status:486 leaves out messages, not whole calls: look at the outcome column for those.");
  return told.length ? h("ul", {}, told.map((text) => h("li", {}, text))) : null;
}

function examples(go) {
  return h("div", { class: "examples" }, h("h3", {}, "Examples"), h("ul", {}, EXAMPLES.map(([query, words]) => h("li", {}, h("button", { type: "button", class: "plain", onclick: () => go({ q: query }) }, h("code", {}, query)), h("span", { class: "muted" }, words)))));
}

/** What went wrong; a query that cannot be understood is to be changed, all else may be tried again. */
export function trouble(problem, again, go) {
  if (problem.position !== null) {
    return h("div", { class: "advice" }, h("h2", {}, problem.title || "The query cannot be understood"), h("p", {}, problem.detail), problem.hint ? h("p", { class: "muted" }, problem.hint) : null, examples(go));
  }
  const wait = problem.retryAfter ? ` Try again in ${problem.retryAfter} s.` : "";
  return h(
    "div",
    { class: "advice", role: "alert" },
    h("h2", {}, problem.title || "That did not work"),
    problem.detail === `${problem.title}.` && !wait ? null : h("p", {}, problem.detail + wait),
    problem.hint ? h("p", { class: "muted" }, problem.hint) : null,
    h("div", { class: "row" }, h("button", { type: "button", class: "primary", onclick: again }, "Try again"), h("a", { class: "button", href: "/" }, "Start anew")),
  );
}
