/**
 * The API's description: /api/openapi.json as a page on which requests can be tried.
 *
 * In: the document. Out: routes by tag, each a form; the kinds of problems, with the anchors that the `type` of a
 * problem names (#problem-KIND). What can go wrong is shown in place of the routes.
 */
import { get, session } from "./api.js";
import { $, $$, debounce, fill, h, notice, say } from "./dom.js";
import { drawOperation, verb, words } from "./docs/operation.js";
import { operationsOf } from "./docs/model.js";
import { keys } from "./keys.js";
import { shell } from "./shell.js";

const filter = h("input", { type: "search", placeholder: "Filter", "aria-label": "Filter routes" });

shell("docs");
keys("This page", [{ keys: ["/"], words: "filter the routes", run: () => filter.focus() }]);
start();

async function start() {
  try {
    const [document, known] = await Promise.all([get("/api/openapi.json"), session().catch(() => ({ open: false }))]);
    draw(document, Boolean(known.open));
  } catch (problem) {
    fill($("#about"), notice("error", problem.detail ?? String(problem)));
  }
}

function draw(document, open) {
  const tags = operationsOf(document);
  fill(
    $("#about"),
    h("p", {}, words(document.info.description)),
    h("p", {}, open ? "There are no accounts: requests from this machine need nothing. " : "Programs send a token: ", open ? null : h("code", {}, "Authorization: Bearer hepcat_…"), " The document itself: ", h("a", { href: "/api/openapi.json" }, "/api/openapi.json"), ` (version ${document.info.version}).`),
  );
  const sections = [...tags].map(([tag, operations]) => {
    const about = document.tags?.find((one) => one.name === tag)?.description ?? "";
    const id = `tag-${tag.replace(/\W+/g, "-")}`;
    return h("section", { "aria-labelledby": id }, h("h2", { id }, tag), about ? h("p", { class: "muted" }, words(about)) : null, operations.map((operation) => drawOperation(document, operation, open)));
  });
  fill($("#operations"), ...sections);
  fill($("#contents"), filter, ...[...tags].map(([tag, operations]) => contents(tag, operations)), h("h2", {}, "errors"), h("ul", {}, h("li", {}, h("a", { href: "#problems" }, "Problems"))));
  fill($("#kinds"), ...(document["x-problem-kinds"] ?? []).flatMap(({ kind, doc }) => [h("dt", { id: `problem-${kind}` }, kind), h("dd", {}, words(doc))]));
  $("#problems").hidden = false;
  filter.addEventListener("input", debounce(() => narrow(filter.value), 100));
  addEventListener("hashchange", follow);
  follow();
}

function contents(tag, operations) {
  const links = operations.map((operation) => h("li", { dataset: { words: `${operation.path} ${operation.summary} ${operation.method}`.toLowerCase(), of: operation.id } }, h("a", { href: `#${operation.id}`, title: operation.summary }, verb(operation.method), operation.path.replace(/^\/api\//, ""))));
  return h("div", { class: "part" }, h("h2", {}, tag), h("ul", {}, links));
}

/** Show the routes that have these letters. */
function narrow(text) {
  const wanted = text.trim().toLowerCase();
  let shown = 0;
  for (const line of $$("#contents li[data-of]")) {
    const fits = line.dataset.words.includes(wanted);
    line.hidden = !fits;
    document.getElementById(line.dataset.of).hidden = !fits;
    shown += Number(fits);
  }
  for (const part of $$("#contents .part")) part.hidden = !$("li:not([hidden])", part);
  for (const section of $$("#operations > section")) section.hidden = !$("details:not([hidden])", section);
  say(`${shown} routes`);
}

/** Open what the address names. */
function follow() {
  const place = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!place) return;
  if (place.tagName === "DETAILS") place.open = true;
  for (const other of $$(".wanted")) other.classList.remove("wanted");
  place.classList.toggle("wanted", place.tagName === "DT");
  place.scrollIntoView();
}
