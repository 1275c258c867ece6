/**
 * The OpenAPI document as this page needs it.
 *
 * In: the document of GET /api/openapi.json. Out: `operationsOf(document)`: routes by tag; `shapeOf(schema)`: what an
 * answer looks like, as text; `requestOf(operation, values)`: address and body; `curlOf`: the same as a command. Nothing can
 * go wrong: what is missing in the document is left out.
 */

const METHODS = ["get", "post", "put", "patch", "delete"];
/** How deep an answer's shape is written out. */
const DEEP = 6;

/**
 * @typedef {object} Operation
 * @property {string} id an anchor
 * @property {string} method
 * @property {string} path
 * @property {string} tag
 * @property {string} summary
 * @property {string} description
 * @property {object[]} parameters as in the document
 * @property {object|null} body schema of the request's body
 * @property {Array<{status: string, description: string, type: string, schema: object|null}>} answers
 */

/** @returns {Map<string, Operation[]>} by tag, in the document's order of tags */
export function operationsOf(document) {
  const tags = new Map((document.tags ?? []).map((tag) => [tag.name, []]));
  for (const [path, methods] of Object.entries(document.paths)) {
    for (const method of METHODS.filter((name) => methods[name])) {
      const operation = operationOf(document, path, method, methods[method]);
      if (!tags.has(operation.tag)) tags.set(operation.tag, []);
      tags.get(operation.tag).push(operation);
    }
  }
  for (const [tag, operations] of tags) if (!operations.length) tags.delete(tag);
  return tags;
}

function operationOf(document, path, method, given) {
  const answers = Object.entries(given.responses ?? {}).flatMap(([status, answer]) => {
    const types = Object.entries(answer.content ?? { "": {} });
    return types.map(([type, content]) => ({ status, description: answer.description ?? "", type, schema: content.schema ?? null }));
  });
  return {
    id: `${method}${path.replace(/[^A-Za-z0-9]+/g, "-")}`,
    method,
    path,
    tag: given.tags?.[0] ?? "other",
    summary: given.summary ?? "",
    description: given.description ?? "",
    parameters: (given.parameters ?? []).filter((one) => one.in !== "cookie"),
    body: resolved(document, given.requestBody?.content?.["application/json"]?.schema ?? null),
    answers,
  };
}

/** What a parameter takes: {kind: "choice"|"boolean"|"number"|"text"|"list", choices, words}. */
export function inputOf(document, schema) {
  const known = resolved(document, schema) ?? {};
  const plain = known.anyOf?.find((one) => one.type !== "null") ?? known;
  const bounds = [];
  if (plain.minimum !== undefined) bounds.push(`from ${plain.minimum}`);
  if (plain.maximum !== undefined) bounds.push(`to ${plain.maximum}`);
  if (plain.maxLength !== undefined) bounds.push(`at most ${plain.maxLength} characters`);
  if (plain.maxItems !== undefined) bounds.push(`at most ${plain.maxItems}, one a line`);
  if (known.default !== undefined && known.default !== null && known.default !== "" && String(known.default)) bounds.push(`default ${known.default}`);
  const kind = plain.enum ? "choice" : plain.type === "boolean" ? "boolean" : plain.type === "array" ? "list" : ["integer", "number"].includes(plain.type) ? "number" : "text";
  return { kind, choices: plain.enum ?? [], words: bounds.join(", "), example: known.examples?.[0] ?? plain.examples?.[0] ?? "" };
}

/** What a value of a schema looks like, as indented text. */
export function shapeOf(document, schema) {
  return shape(document, schema, "", 0);
}

function shape(document, schema, indent, depth) {
  const known = resolved(document, schema);
  if (!known || depth > DEEP) return "…";
  if (known.anyOf) return known.anyOf.map((one) => shape(document, one, indent, depth + 1)).join(" | ");
  if (known.enum) return known.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (known.const !== undefined) return JSON.stringify(known.const);
  if (known.type === "array") return `[${shape(document, known.items, indent, depth + 1)}, …]`;
  if (known.properties) {
    const inner = `${indent}  `;
    const lines = Object.entries(known.properties).map(([name, one]) => {
      const about = resolved(document, one)?.description ?? one.description ?? "";
      return `${inner}${JSON.stringify(name)}: ${shape(document, one, inner, depth + 1)}${about ? `    # ${about.split("\n")[0]}` : ""}`;
    });
    return `{\n${lines.join("\n")}\n${indent}}`;
  }
  return known.type ?? "any value";
}

function resolved(document, schema) {
  let known = schema;
  for (let i = 0; known?.$ref && i < DEEP; i += 1) {
    known = known.$ref.split("/").slice(1).reduce((at, name) => at?.[name], document);
  }
  return known;
}

/**
 * The request that a form's values make.
 * @param {Operation} operation
 * @param {Map<string, string[]>} values by parameter; "" is left out
 * @param {string} body
 * @returns {{address: string, method: string, headers: Record<string, string>, body: string|undefined}}
 */
export function requestOf(operation, values, body) {
  let path = operation.path;
  const query = new URLSearchParams();
  const headers = {};
  for (const parameter of operation.parameters) {
    for (const value of (values.get(parameter.name) ?? []).filter((one) => one !== "")) {
      if (parameter.in === "path") path = path.replace(`{${parameter.name}}`, encodeURIComponent(value));
      else if (parameter.in === "query") query.append(parameter.name, value);
      else if (parameter.in === "header") headers[parameter.name] = value;
    }
  }
  const sent = operation.body && body.trim() ? body : undefined;
  if (sent !== undefined) headers["Content-Type"] = "application/json";
  const text = query.toString();
  return { address: text ? `${path}?${text}` : path, method: operation.method.toUpperCase(), headers, body: sent };
}

/** The same as a command for a shell. */
export function curlOf(request, origin, open) {
  const parts = ["curl"];
  if (request.method !== "GET") parts.push("-X", request.method);
  if (!open) parts.push("-H", quoted("Authorization: Bearer hepcat_..."));
  for (const [name, value] of Object.entries(request.headers)) parts.push("-H", quoted(`${name}: ${value}`));
  if (request.body !== undefined) parts.push("-d", quoted(request.body));
  return [...parts, quoted(origin + request.address)].join(" ");
}

function quoted(text) {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
