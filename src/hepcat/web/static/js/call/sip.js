/**
 * A SIP message taken apart for reading: start line, headers, body, and what to colour (RFC 3261 section 7).
 *
 * In: the message's text as the API gives it. Out: its parts; pieces of a line with a class each. Nothing can
 * go wrong: what is no SIP is one piece. Every loop has a bound: at most MOST_LINES lines, and pieces of the
 * first LONGEST characters of a line.
 *
 * @typedef {{kind: string, text: string}} Piece
 * @typedef {{name: string, short: string, values: Value[]}} Header `short`: the compact form that was sent
 * @typedef {{text: string, parameters: {name: string, value: string}[]}} Value
 */

const MOST_LINES = 5000;
const LONGEST = 2000;

/** Compact forms: RFC 3261 section 7.3.3 and the registry that it began. */
const COMPACT = new Map(
  Object.entries({
    a: "Accept-Contact", b: "Referred-By", c: "Content-Type", d: "Request-Disposition", e: "Content-Encoding",
    f: "From", i: "Call-ID", j: "Reject-Contact", k: "Supported", l: "Content-Length", m: "Contact",
    n: "Identity-Info", o: "Event", r: "Refer-To", s: "Subject", t: "To", u: "Allow-Events", v: "Via",
    x: "Session-Expires", y: "Identity",
  }),
);
/** Headers of which one line may hold several values, with commas between (those worth taking apart). */
const LISTS = new Set([
  "via", "route", "record-route", "contact", "path", "service-route", "diversion", "history-info",
  "p-asserted-identity", "reason", "warning",
]);
/** Headers whose values have parameters behind semicolons. */
const WITH_PARAMETERS = new Set([
  ...LISTS, "from", "to", "refer-to", "referred-by", "content-type", "content-disposition", "session-expires",
  "min-se", "event", "subscription-state", "replaces", "session-id", "p-charging-vector", "accept-contact",
]);

/** @param {string} text @returns {string[]} lines without their ends, the last empty one left out */
export function linesOf(text) {
  const lines = text.split(/\r\n|\n|\r/, MOST_LINES);
  if (lines.length > 1 && lines[lines.length - 1] === "") lines.pop();
  return lines;
}

/** @param {string[]} lines @returns {number} how many are start line and headers, without the empty line */
export function headEnd(lines) {
  const end = lines.indexOf("");
  return end < 0 ? lines.length : end;
}

/** @param {string} text @returns {{start: string, headers: Header[], body: string[]}} */
export function parseMessage(text) {
  const lines = linesOf(text);
  const end = headEnd(lines);
  /** @type {string[]} */
  const unfolded = [];
  for (const line of lines.slice(1, end)) {
    // A line that begins with a space goes on with the one before (RFC 3261 section 7.3.1).
    if (/^[ \t]/.test(line) && unfolded.length) unfolded[unfolded.length - 1] += ` ${line.trim()}`;
    else unfolded.push(line);
  }
  return { start: lines[0] ?? "", headers: unfolded.map(parseHeader), body: lines.slice(end + 1) };
}

/** @param {string} line @returns {Header} */
function parseHeader(line) {
  const colon = line.indexOf(":");
  if (colon < 0) return { name: "", short: "", values: [{ text: line, parameters: [] }] };
  const sent = line.slice(0, colon).trim();
  const name = COMPACT.get(sent.toLowerCase()) ?? sent;
  const value = line.slice(colon + 1).trim();
  const key = name.toLowerCase();
  const values = LISTS.has(key) && value.length <= LONGEST ? splitOutside(value, ",") : [value];
  return {
    name,
    short: name === sent ? "" : sent,
    values: values.map((one) => parseValue(one.trim(), WITH_PARAMETERS.has(key))),
  };
}

/** @param {string} text @param {boolean} parameters @returns {Value} */
function parseValue(text, parameters) {
  if (!parameters || text.length > LONGEST) return { text, parameters: [] };
  const [first, ...rest] = splitOutside(text, ";");
  return {
    text: first.trim(),
    parameters: rest.filter((part) => part.trim()).map((part) => {
      const equals = part.indexOf("=");
      if (equals < 0) return { name: part.trim(), value: "" };
      return { name: part.slice(0, equals).trim(), value: part.slice(equals + 1).trim() };
    }),
  };
}

/** Split where a separator stands outside of quotes and angle brackets. */
function splitOutside(/** @type {string} */ text, /** @type {string} */ separator) {
  const parts = [""];
  let quoted = false;
  let angle = false;
  for (let i = 0; i < text.length; i += 1) {
    const character = text[i];
    if (quoted && character === "\\" && i + 1 < text.length) {
      parts[parts.length - 1] += character + text[++i];
      continue;
    }
    if (character === '"') quoted = !quoted;
    else if (!quoted && character === "<") angle = true;
    else if (!quoted && character === ">") angle = false;
    if (character === separator && !quoted && !angle) parts.push("");
    else parts[parts.length - 1] += character;
  }
  return parts;
}

// -- what to colour

const REQUEST = /^(\S{1,64}) (\S+) (SIP\/2\.0)$/;
const RESPONSE = /^(SIP\/2\.0) (\d{3})(?: (.*))?$/;
const TOKENS = /("(?:[^"\\]|\\.)*")|(<[^>]*>|\bsips?:[^\s;,>]+|\btel:[^\s;,>]+)|(;\s*)([\w.!%*+`'~-]+)(=?)/g;

/**
 * The pieces of each line: kinds are start, method, status, uri, name, value, quoted, parameter, mark, letter,
 * body, plain.
 * @param {string[]} lines @returns {Piece[][]}
 */
export function highlight(lines) {
  const end = headEnd(lines);
  const sdp = lines.slice(end + 1, end + 3).some((line) => line.startsWith("v="));
  return lines.map((line, index) => {
    if (index === 0) return startLine(line);
    if (index < end) return headerLine(line);
    return index > end && (sdp || /^--/.test(lines[end + 1] ?? "")) ? bodyLine(line) : [{ kind: "body", text: line }];
  });
}

/** @returns {Piece[]} */
function startLine(/** @type {string} */ line) {
  const request = REQUEST.exec(line);
  if (request) {
    const [, method, uri, version] = request;
    return [piece("method", method), piece("plain", " "), piece("uri", uri), piece("plain", " "), piece("mark", version)];
  }
  const response = RESPONSE.exec(line);
  if (response) {
    const [, version, status, reason] = response;
    const kind = `status status-${status[0]}`;
    return [piece("mark", version), piece("plain", " "), piece(kind, reason === undefined ? status : `${status} ${reason}`)];
  }
  return [piece("plain", line)];
}

/** @returns {Piece[]} */
function headerLine(/** @type {string} */ line) {
  if (/^[ \t]/.test(line)) return valuePieces(line);
  const colon = line.indexOf(":");
  if (colon < 0) return [piece("plain", line)];
  return [piece("name", line.slice(0, colon)), piece("mark", ":"), ...valuePieces(line.slice(colon + 1))];
}

/** @returns {Piece[]} */
function valuePieces(/** @type {string} */ text) {
  if (text.length > LONGEST) return [piece("value", text)];
  /** @type {Piece[]} */
  const pieces = [];
  let at = 0;
  for (const match of text.matchAll(TOKENS)) {
    if (match.index > at) pieces.push(piece("value", text.slice(at, match.index)));
    if (match[1]) pieces.push(piece("quoted", match[1]));
    else if (match[2]) pieces.push(piece("uri", match[2]));
    else pieces.push(piece("mark", match[3]), piece("parameter", match[4]), piece("mark", match[5]));
    at = match.index + match[0].length;
  }
  pieces.push(piece("value", text.slice(at)));
  return pieces.filter((one) => one.text !== "");
}

/** @returns {Piece[]} */
function bodyLine(/** @type {string} */ line) {
  if (/^[a-z]=/.test(line)) return [piece("letter", line.slice(0, 2)), piece("body", line.slice(2))];
  return [piece("body", line)];
}

/** @returns {Piece} */
function piece(/** @type {string} */ kind, /** @type {string} */ text) {
  return { kind, text };
}
