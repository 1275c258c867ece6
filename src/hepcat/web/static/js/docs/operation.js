/**
 * One route of the API: what it does, its parameters as a form, its answers.
 *
 * In: the document, an operation (model.js), whether nobody has to log in. Out: a `details` element; what is inside
 * is made when it is opened first. What can go wrong: nothing; what a request brings is shown by trial.js.
 */
import { dialog, fill, h } from "../dom.js";
import { curlOf, inputOf, requestOf, shapeOf } from "./model.js";
import { Trial } from "./trial.js";

export function drawOperation(document, operation, open) {
  const inside = h("div", { class: "inside" });
  const head = h("summary", {}, verb(operation.method), h("span", { class: "path" }, operation.path), h("span", { class: "words" }, operation.summary));
  const details = h("details", { class: "operation", id: operation.id }, head, inside);
  details.addEventListener("toggle", () => {
    if (details.open && !inside.firstChild) inside.append(...drawInside(document, operation, open));
  });
  return details;
}

/** The method as a chip of its own colour. */
export function verb(method) {
  return h("span", { class: `verb ${method}` }, method.toUpperCase());
}

/** Text in which `this` is code. */
export function words(text) {
  return text.split("`").map((part, i) => (i % 2 ? h("code", {}, part) : part));
}

function drawInside(document, operation, open) {
  const form = new Form(document, operation);
  const curl = h("code");
  const result = h("div", { class: "result" });
  const trial = new Trial(result);
  const stop = h("button", { type: "button", disabled: true, onclick: () => trial.stop() }, "Stop");
  const show = () => fill(curl, curlOf(form.request(), location.origin, open));
  const send = async () => {
    stop.disabled = false;
    await trial.send(form.request());
    stop.disabled = true;
  };
  form.element.addEventListener("input", show);
  form.element.addEventListener("submit", (event) => {
    event.preventDefault();
    if (operation.method === "get") send();
    else ask(operation, send);
  });
  form.element.append(h("div", { class: "row" }, h("button", { class: "primary", type: "submit" }, "Try it"), stop));
  show();
  const copy = h("button", { type: "button", onclick: () => navigator.clipboard?.writeText(curl.textContent) }, "Copy");
  return [
    h("p", { class: "about-text" }, words(operation.description)),
    form.element,
    h("div", { class: "curl" }, h("pre", { tabindex: "0", "aria-label": "As a command" }, curl), copy),
    result,
    h("h3", {}, "Answers"),
    answers(document, operation),
  ];
}

/** What changes something is asked twice. */
function ask(operation, send) {
  const go = h("button", { class: "danger", type: "button", onclick: () => (box.close(), send()) }, `Send ${operation.method.toUpperCase()}`);
  const box = dialog("This changes something", h("p", {}, `${operation.method.toUpperCase()} ${operation.path}: ${operation.summary}.`), h("footer", {}, go));
}

class Form {
  constructor(document, operation) {
    this.operation = operation;
    this.inputs = new Map();
    const rows = operation.parameters.flatMap((parameter) => this.row(document, parameter));
    this.body = operation.body ? h("textarea", { class: "body-text", rows: 5, "aria-label": "Body, JSON", spellcheck: "false" }) : null;
    if (this.body) this.body.value = JSON.stringify(exampleOf(operation.body), null, 2);
    this.element = h("form", {}, rows.length ? h("div", { class: "parameters" }, rows) : h("p", { class: "muted" }, "No parameters."), this.body ? [h("h3", {}, "Body"), this.body] : null);
  }

  row(document, parameter) {
    const id = `${this.operation.id}-${parameter.name}`;
    const known = inputOf(document, parameter.schema);
    const example = parameter.examples ?? known.example;
    const input = inputFor(known, id, parameter.required, example);
    this.inputs.set(parameter.name, { input, known });
    const about = [parameter.description, known.words, parameter.in === "query" ? "" : `in the ${parameter.in}`].filter(Boolean).join(" · ");
    return [h("label", { for: id, class: parameter.required ? "needed" : null }, parameter.name), input, h("span", { class: "about" }, words(about))];
  }

  request() {
    const values = new Map();
    for (const [name, { input, known }] of this.inputs) values.set(name, known.kind === "list" ? input.value.split("\n").map((line) => line.trim()) : [input.value]);
    return requestOf(this.operation, values, this.body?.value ?? "");
  }
}

function inputFor(known, id, required, example) {
  const common = { id, required: Boolean(required), autocomplete: "off", spellcheck: "false" };
  if (known.kind === "choice" || known.kind === "boolean") {
    const choices = known.kind === "boolean" ? ["true", "false"] : known.choices;
    return h("select", common, required ? null : h("option", { value: "" }, ""), choices.map((one) => h("option", { value: one }, String(one))));
  }
  if (known.kind === "list") return h("textarea", { ...common, rows: 2 });
  return h("input", { ...common, type: "text", inputmode: known.kind === "number" ? "numeric" : null, placeholder: typeof example === "string" && example ? `such as ${example}` : null });
}

function exampleOf(schema) {
  const pairs = Object.entries(schema.properties ?? {}).map(([name, one]) => [name, one.default ?? one.enum?.[0] ?? (one.type === "integer" ? 1 : one.anyOf ? null : "")]);
  return Object.fromEntries(pairs);
}

function answers(document, operation) {
  const rows = operation.answers.map(({ status, description, type, schema }) => {
    const shown = schema && status === "200" && type === "application/json" ? shapeOf(document, schema) : null;
    const shape = shown ? h("details", {}, h("summary", {}, "What it looks like"), h("pre", { class: "shape", tabindex: "0" }, shown)) : null;
    return h("tr", {}, h("td", {}, h("code", {}, status)), h("td", {}, words(description), shape), h("td", {}, h("code", {}, type)));
  });
  return h("div", { class: "scroll" }, h("table", {}, h("thead", {}, h("tr", {}, ["Status", "When", "Type"].map((words) => h("th", { scope: "col" }, words)))), h("tbody", {}, rows)));
}
