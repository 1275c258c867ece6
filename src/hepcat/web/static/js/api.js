/**
 * The HTTP API.
 *
 * In: paths and parameters. Out: what the server answered as JSON. What can go wrong: `Problem` (the
 * server's problem document, or status 0 when it cannot be reached), and AbortError when `signal` said so.
 * An answer 401 leads to /login, which comes back, and is told why as far as the page knows.
 */

/** What the server says went wrong (RFC 9457). `position`: 0-based, of a fault in `query`. */
export class Problem extends Error {
  constructor(fields, status) {
    super(fields.detail || fields.title || `HTTP ${status}`);
    this.name = "Problem";
    this.status = status;
    this.title = fields.title || "";
    this.detail = fields.detail || this.message;
    this.hint = fields.hint || "";
    this.position = Number.isInteger(fields.position) ? fields.position : null;
    this.query = fields.query ?? null;
    this.retryAfter = null;
  }
}

/**
 * The address of a path with parameters. Lists are repeated; null, undefined, "" and false are left out.
 * @param {string} path
 * @param {Object<string, any>} [params]
 */
export function url(path, params = {}) {
  const pairs = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== null && one !== undefined && one !== "" && one !== false) pairs.append(name, one === true ? "1" : String(one));
    }
  }
  const query = pairs.toString();
  return query ? `${path}?${query}` : path;
}

/**
 * Characters of an address that are asked for at most. The server takes 64 KiB of a request's head (web/running.py); the
 * rest is for cursors, cookies and what else browsers send along.
 */
const LONGEST_ADDRESS = 56 * 1024;

/**
 * Why a query cannot be asked for: with it the address is longer than the server takes. It would not say so itself.
 * @returns {Problem|null} null: it is short enough; position: of the first character that has no room
 */
export function tooLong(path, params) {
  const size = url(path, params).length;
  if (size <= LONGEST_ADDRESS || typeof params.q !== "string") return null;
  const [needed, possible] = [size, LONGEST_ADDRESS].map((n) => n.toLocaleString("en"));
  return new Problem({
    title: "The query is too long",
    detail: `the query is too long: its address would have ${needed} characters, and ${possible} are possible`,
    hint: "In an address, a letter such as ä counts as 6 characters, one such as 字 as 9.",
    position: fitting(params.q, size - LONGEST_ADDRESS),
    query: params.q,
  }, 414);
}

/** How many characters are left of a text when so many of its address are taken away from its end. */
function fitting(text, over) {
  const letters = [...text];
  let left = letters.length;
  for (let rest = over; rest > 0 && left > 0; left -= 1) rest -= new URLSearchParams({ q: letters[left - 1] }).toString().length - "q=".length;
  return left;
}

/** GET; returns the JSON. Throws at once where a query is too long. @param {{signal?: AbortSignal}} [options] */
export async function get(path, params = {}, { signal } = {}) {
  const problem = tooLong(path, params);
  if (problem) throw problem;
  return ask(url(path, params), { signal });
}

/** POST a JSON body; returns the JSON. */
export async function post(path, body = {}, { signal } = {}) {
  return change("POST", path, body, signal);
}

/** DELETE; returns the JSON, null where the answer is empty. */
export async function del(path, params = {}, { signal } = {}) {
  return change("DELETE", url(path, params), undefined, signal);
}

let known = null;
let was = ""; // how the page was let in: "open" (nobody had to log in) or "session"

/**
 * Who is logged in: {user, role, via, open, login, csrf}. Asked once a page.
 * @param {boolean} [again] ask the server again
 */
export function session(again = false) {
  if (!known || again) {
    known = ask("/api/session", {}, false);
    known.then((who) => (was ||= who.open ? "open" : who.user ? "session" : ""), () => (known = null));
  }
  return known;
}

/** Leave for the login page; it returns to where we are. */
export function login() {
  if (location.pathname === "/login") return;
  location.assign(url("/login", { next: location.pathname + location.search + location.hash, was }));
}

/**
 * Server-sent events. The browser connects again by itself after a break.
 * @param {string} path
 * @param {Object<string, any>} params
 * @param {Object<string, (data: any) => void>} handlers by event name (data is parsed JSON), and
 *   `open()` and `broken(final: boolean)`
 * @returns {{close: () => void}}
 */
export function events(path, params, handlers) {
  const { open, broken, ...named } = handlers;
  const source = new EventSource(url(path, params));
  source.onopen = () => open?.();
  source.onerror = () => {
    broken?.(source.readyState === EventSource.CLOSED);
    // Why it was refused is not told to scripts: a session that ended is what one can do something about.
    if (source.readyState === EventSource.CLOSED) session(true).then((who) => who.user || login(), () => null);
  };
  for (const [name, run] of Object.entries(named)) source.addEventListener(name, (event) => run(JSON.parse(event.data)));
  return { close: () => source.close() };
}

async function change(method, path, body, signal) {
  const headers = { "X-CSRF-Token": (await session().catch(() => ({}))).csrf ?? "" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  return ask(path, { method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body) });
}

async function ask(address, options, leave = true) {
  let response;
  try {
    response = await fetch(address, { ...options, headers: { Accept: "application/json", ...options.headers }, credentials: "same-origin" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem({ title: "The server cannot be reached", detail: "The server cannot be reached.", hint: "Is it running? The page tries again when you do." }, 0);
  }
  const answer = await read(response);
  if (response.ok) return answer;
  if (response.status === 401 && leave) login();
  const problem = new Problem(answer && typeof answer === "object" ? answer : { title: response.statusText }, response.status);
  problem.retryAfter = Number(response.headers.get("Retry-After")) || null;
  throw problem;
}

async function read(response) {
  const text = await response.text();
  if (!text) return null;
  try {
    return JSON.parse(text);
  } catch {
    if (response.ok) throw new Problem({ title: "The answer is not JSON", detail: "The server's answer is not JSON.", hint: "Is there a proxy in between?" }, response.status);
    return null;
  }
}
