/**
 * What the page shows, as its address: which calls, which message, what is hidden, how it is coloured.
 *
 * In: a query string. Out: a `View`, and a View back as a query string: a link reproduces the picture.
 * Nothing can go wrong: what cannot be read is left at its default.
 *
 * @typedef {object} View
 * @property {string[]} ids Call-IDs asked for
 * @property {boolean} related whether other legs of the same call are looked for
 * @property {string} since
 * @property {string} until
 * @property {string} store
 * @property {number | null} at time of the message to begin with, in microseconds: search knows no numbers
 * @property {number | null} message number of the current message, from 0
 * @property {boolean} open whether it is shown
 * @property {string} tab
 * @property {"transaction" | "call" | ""} color empty: by call where there are several
 * @property {boolean} appearance hosts in the order in which they appear, instead of caller to callee
 * @property {boolean} once retransmissions and copies are hidden
 * @property {Set<string>} hosts hidden ones, by name
 * @property {Set<string>} methods hidden ones
 */

export const TABS = ["message", "headers", "sdp", "difference"];

/** @param {string} search @returns {View} */
export function readView(search) {
  const given = new URLSearchParams(search);
  const number = Number.parseInt(given.get("m") ?? "", 10);
  const at = given.get("at") ?? "";
  const color = given.get("color");
  return {
    ids: given.getAll("id").filter((id) => id !== ""),
    related: given.get("related") !== "0",
    since: given.get("since") ?? "",
    until: given.get("until") ?? "",
    store: given.get("store") ?? "",
    at: /^\d{1,17}$/.test(at) ? Number(at) : null,
    message: number > 0 ? number - 1 : null,
    open: given.get("open") === "1",
    tab: TABS.includes(given.get("tab") ?? "") ? /** @type {string} */ (given.get("tab")) : TABS[0],
    color: color === "transaction" || color === "call" ? color : "",
    appearance: given.get("order") === "appearance",
    once: given.get("once") === "1",
    hosts: new Set(given.getAll("nohost")),
    methods: new Set(given.getAll("nomethod")),
  };
}

/** The parameters that say which calls: what the API is asked with. @param {View} view */
export function callParameters(view) {
  const out = new URLSearchParams();
  for (const id of view.ids) out.append("id", id);
  if (!view.related) out.set("related", "0");
  for (const name of /** @type {const} */ (["since", "until", "store"])) {
    if (view[name]) out.set(name, view[name]);
  }
  return out;
}

/** @param {View} view @returns {string} the query string, with its question mark */
export function writeView(view) {
  const out = callParameters(view);
  if (view.message !== null) out.set("m", String(view.message + 1));
  if (view.open) out.set("open", "1");
  if (view.tab !== TABS[0]) out.set("tab", view.tab);
  if (view.color) out.set("color", view.color);
  if (view.appearance) out.set("order", "appearance");
  if (view.once) out.set("once", "1");
  for (const name of view.hosts) out.append("nohost", name);
  for (const name of view.methods) out.append("nomethod", name);
  return `?${out}`;
}
