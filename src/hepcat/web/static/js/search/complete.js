/**
 * Completion of the query language: what the caret stands in, and what could stand there.
 *
 * In: text, caret, the fields of GET /api/fields. Out: `contextAt` {kind: "field"|"value", from, to, typed, field, quoted}
 * (from..to is what a suggestion replaces), `fieldItems`, `operatorItems`, `valueItems`: {text, words, insert, caret}. Nothing is
 * asked here but `values`, the server's recent values. The language is explained in docs/search.md.
 */
import { get } from "../api.js";

const NAME = /^(-?)([A-Za-z_][\w.-]*)(:(?:!=|>=|<=|=|<|>)?|!=|>=|<=|=|<|>)/;
const METHODS = ["INVITE", "REGISTER", "OPTIONS", "BYE", "CANCEL", "ACK", "SUBSCRIBE", "NOTIFY", "MESSAGE", "PUBLISH", "UPDATE", "PRACK", "REFER", "INFO"];
const CLASSES = [["1xx", "provisional"], ["2xx", "success"], ["3xx", "redirect"], ["4xx", "client failure"], ["5xx", "server failure"], ["6xx", "global failure"], [">=400", "any failure"], ["486", "Busy Here"], ["404", "Not Found"], ["408", "Request Timeout"], ["480", "Temporarily Unavailable"], ["487", "Request Terminated"], ["503", "Service Unavailable"]];
const TIMES = [["15m", "15 minutes ago"], ["1h", "an hour ago"], ["today", "the whole day"], ["yesterday", "the whole day"]];
const JOINS = [["AND", "both sides (as is a space)"], ["OR", "either side"], ["NOT", "not what follows (as is -)"]];
const SIGNS = { ":": "is", "!=": "is there and is not", ">": "more than", ">=": "at least", "<": "less than", "<=": "at most" };
const MOST = 12;

/** What the caret stands in. */
export function contextAt(text, caret) {
  const word = wordAt(text, caret);
  if (word.open === "~") return { kind: "none", from: caret, to: caret, typed: "" };
  const part = text.slice(word.from, caret);
  const match = NAME.exec(part);
  if (!match) {
    if (word.open) return { kind: "none", from: caret, to: caret, typed: "" };
    if (word.inside) return { kind: "value", from: word.from, to: endOf(text, caret), typed: part, field: word.inside, quoted: false };
    const minus = part.startsWith("-") ? 1 : 0;
    return { kind: "field", from: word.from + minus, to: endOf(text, caret), typed: part.slice(minus) };
  }
  const values = word.from + match[0].length;
  const begin = Math.max(values, lastComma(text, values, caret));
  const quoted = text[begin] === '"';
  const typed = text.slice(begin + (quoted ? 1 : 0), caret).replace(/^(\.\.|[<>]=?|!=|=)/, "");
  return { kind: "value", from: caret - typed.length - (quoted ? 1 : 0), to: endOf(text, caret, quoted), typed, field: match[2], quoted };
}

/** Fields, headers and joining words that begin so. */
export function fieldItems(fields, typed) {
  const low = typed.toLowerCase().replaceAll("-", "_");
  const ranked = fields.map((field) => ({ field, rank: rank(field, low) })).filter(({ rank }) => rank < 9);
  ranked.sort((a, b) => a.rank - b.rank);
  const items = ranked.map(({ field }) => ({ text: field.name, words: field.doc, insert: field.name.endsWith(".") ? field.name : `${field.name}:`, again: true }));
  const joins = typed ? JOINS.filter(([word]) => word.startsWith(typed)).map(([word, words]) => ({ text: word, words, insert: `${word} ` })) : [];
  return [...joins, ...items].slice(0, MOST);
}

/** Operators that a field takes, once its name is complete. */
export function operatorItems(field) {
  const item = (sign, words) => ({ text: `${field.name}${sign}`, words, insert: `${field.name}${sign}`, again: true });
  const items = (field.operators ?? [":"]).map((sign) => item(sign, sign === ":" && field.examples?.length ? `such as ${field.examples.join(", ")}` : SIGNS[sign]));
  if (!field.kind.startsWith("text")) return items;
  return [...items, { text: `${field.name}:~…~`, words: "matches a regular expression", insert: `${field.name}:~~`, back: 1 }];
}

/** Values: those that the language knows, then those of the server. */
export function valueItems(field, typed, recent) {
  const known = field.name === "method" || field.name === "cseq" ? METHODS.map((method) => [method, ""]) : field.name === "status" ? CLASSES : field.kind === "time" ? TIMES : [];
  const low = typed.toLowerCase();
  const own = known.filter(([value]) => value.toLowerCase().startsWith(low));
  const seen = new Set(own.map(([value]) => value));
  const theirs = recent.filter((value) => !seen.has(String(value))).map((value) => [String(value), "seen lately"]);
  const all = field.name === "status" ? [...own, ...theirs] : [...theirs, ...own];
  return all.slice(0, MOST).map(([value, words]) => ({ text: value, words, insert: `${written(value, field)} ` }));
}

/** Recent values of a field from the server; none where it has none. */
export async function values(field, prefix, params, signal) {
  const answer = await get("/api/values", { ...params, field: field.name, prefix }, { signal });
  return answer.values.map((value) => (value && typeof value === "object" ? value.value : value)).filter((value) => value !== null && value !== "");
}

/** The field of that name or alias. */
export function fieldNamed(fields, name) {
  const low = name.toLowerCase().replaceAll("-", "_");
  const found = fields.find((field) => field.name === low || field.aliases?.includes(low));
  if (found || !/^(extra|header)\./i.test(name)) return found;
  return { name, kind: "text", doc: "", aliases: [], header: true };
}

/** A value as the language wants it: in quotes where it has to be. */
export function written(value, field = { kind: "text" }) {
  const plain = /^[^\s()",|~*?<>=!\\]+$/.test(value) && !value.includes("..");
  if (plain || field.name === "status" || field.kind === "number") return value;
  const escapes = { "\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t" };
  return `"${value.replace(/[\\"\n\r\t]/g, (char) => escapes[char])}"`;
}

function rank(field, typed) {
  const names = [field.name, ...(field.aliases ?? [])];
  if (!typed) return 1;
  if (field.name === typed) return 0;
  if (field.name.startsWith(typed)) return 1;
  if (names.some((name) => name.startsWith(typed))) return 2;
  return typed.length > 1 && names.some((name) => name.includes(typed)) ? 3 : 9;
}

/** The word before the caret: where it begins, an open quote or regular expression, the field whose list it stands in. */
function wordAt(text, caret) {
  let [from, open, inside] = [0, "", ""];
  for (let i = 0; i < caret; i += 1) {
    const char = text[i];
    if (open) {
      if (char === "\\") i += 1;
      else if (char === open) open = "";
    } else if (char === '"' || (char === "~" && (i === from || /[:=]/.test(text[i - 1])))) open = char;
    else if (/\s/.test(char)) from = i + 1;
    else if (char === "(" && (i === from || /[:=<>]/.test(text[i - 1]))) {
      inside = NAME.exec(text.slice(from, i))?.[2] ?? "";
      from = i + 1;
    } else if (char === ")") inside = "";
    else if (char === "," && inside) from = i + 1;
  }
  return { from, open, inside: /^(OR|AND)$/.test(text.slice(from, caret)) ? "" : inside };
}

/** Where the alternative begins that the caret stands in. */
function lastComma(text, from, caret) {
  let [at, quoted] = [from, false];
  for (let i = from; i < caret; i += 1) {
    if (text[i] === "\\") i += 1;
    else if (text[i] === '"') quoted = !quoted;
    else if (!quoted && /[,|]/.test(text[i])) at = i + 1;
  }
  return at;
}

/** The end of the word that the caret stands in. */
function endOf(text, caret, quoted = false) {
  const rest = (quoted ? /^[^"]*"?/ : /^[^\s()",|]*/).exec(text.slice(caret));
  return caret + rest[0].length;
}
