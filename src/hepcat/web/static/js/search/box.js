/**
 * The query box: completion, marks under the character that is wrong, recent queries.
 *
 * In: `new Box(form, {search, fields, params})`: what to call with a query, the fields (a promise), what else
 * `values` needs. Out: `search(query)` on Enter; `mark(problem)` shows where a query is wrong, `value` gets and sets the text. A box of
 * the ARIA kind "combobox": arrows choose, Enter or Tab takes what was chosen, Esc closes; Enter without a choice searches.
 */
import { get } from "../api.js";
import { $, debounce, fill, h } from "../dom.js";
import { contextAt, fieldItems, fieldNamed, operatorItems, valueItems, values } from "./complete.js";
import { EXAMPLES } from "./advice.js";

const KEPT = "hepcat.queries";
const REMEMBERED = 12;
/** People type faster than they want to be corrected. */
const CHECK_AFTER = 350;
const ASK_AFTER = 120;

export class Box {
  constructor(form, { search, fields, params }) {
    Object.assign(this, { form, search, params, items: [], at: -1, list: [], early: false });
    this.input = $("input[name=q]", form);
    this.mirror = $(".mirror", form);
    this.options = $(".options", form);
    this.said = document.getElementById("fault");
    fields.then((list) => this.learn(list)).catch(() => null);
    this.check = debounce(() => this.parse(), CHECK_AFTER);
    this.ask = debounce((context, field) => this.askValues(context, field), ASK_AFTER);
    form.addEventListener("submit", (event) => (event.preventDefault(), this.submit()));
    this.input.addEventListener("input", () => this.typed());
    this.input.addEventListener("scroll", () => this.follow());
    this.input.addEventListener("keydown", (event) => this.onKey(event));
    this.input.addEventListener("focus", () => !this.value && this.suggest());
    this.input.addEventListener("blur", () => this.close());
    this.options.addEventListener("pointerdown", (event) => this.onPress(event));
  }

  get value() {
    return this.input.value;
  }

  set value(text) {
    this.input.value = text;
    this.mark(null);
  }

  /** The fields are known now: who typed before that waits for what could stand there. */
  learn(list) {
    this.list = list;
    if (this.early && document.activeElement === this.input) this.suggest();
  }

  /** Show where the query is wrong, and why; null: nowhere. */
  mark(problem) {
    this.checking?.abort();
    const text = this.value;
    const fault = problem && problem.position !== null && problem.query === text ? offset(text, problem.position) : -1;
    const wrong = fault >= 0;
    this.input.setAttribute("aria-invalid", String(wrong));
    this.said.textContent = wrong ? sentences(problem.detail, problem.hint) : "";
    this.said.hidden = !wrong;
    const end = wrong ? Math.max(fault + 1, fault + (/^[^\s()",|:=<>]*/.exec(text.slice(fault))?.[0].length ?? 0)) : 0;
    fill(this.mirror, wrong ? [text.slice(0, fault), h("mark", {}, text.slice(fault, end) || "\u00a0"), text.slice(end)] : null);
    this.follow();
  }

  follow() {
    this.mirror.scrollLeft = this.input.scrollLeft;
  }

  focus() {
    this.input.focus();
    this.input.select();
  }

  submit() {
    this.early = false;
    this.close();
    this.check.cancel();
    this.ask.cancel();
    this.asking?.abort();
    if (this.value.trim()) remember(this.value.trim());
    this.search(this.value);
  }

  typed() {
    this.early = !this.list.length;
    this.mark(null);
    this.check();
    this.suggest();
  }

  async parse() {
    const text = this.value;
    this.checking?.abort();
    this.checking = new AbortController();
    if (!text.trim()) return;
    try {
      await get("/api/parse", { q: text }, { signal: this.checking.signal });
    } catch (problem) {
      if (problem.name !== "AbortError" && problem.position !== null && text === this.value) this.mark(problem);
    }
  }

  /** Offer what could stand where the caret is. */
  suggest() {
    this.asking?.abort();
    this.ask.cancel();
    const [text, caret] = [this.value, this.input.selectionStart ?? this.value.length];
    if (!text.trim()) return this.offer(starters(), { from: 0, to: text.length });
    const context = contextAt(text, caret);
    if (context.kind === "none") return this.close();
    if (context.kind === "field") return this.offer(this.fieldsFor(context), context);
    const field = fieldNamed(this.list, context.field);
    if (!field) return this.close();
    this.offer(valueItems(field, context.typed, []), context);
    if (field.kind !== "time" && field.kind !== "words" && !field.header) this.ask(context, field);
  }

  fieldsFor(context) {
    const exact = this.list.find((field) => field.name === context.typed.toLowerCase());
    const others = context.typed ? fieldItems(this.list, context.typed) : [];
    return exact ? [...operatorItems(exact), ...others.filter((item) => item.text !== exact.name)] : others;
  }

  async askValues(context, field) {
    this.asking = new AbortController();
    const { signal } = this.asking;
    try {
      const recent = await values(field, context.typed, this.params(), signal);
      if (!signal.aborted && document.activeElement === this.input) this.offer(valueItems(field, context.typed, recent), context);
    } catch {
      /* Without values one can still type. */
    }
  }

  offer(items, context) {
    Object.assign(this, { items, context, at: -1 });
    if (!items.length) return this.close();
    fill(this.options, items.map((item, i) => h("li", { role: "option", id: `option-${i}`, "aria-selected": "false", dataset: { i } }, h("code", {}, item.text), h("span", {}, item.words))));
    this.options.hidden = false;
    this.input.setAttribute("aria-expanded", "true");
    this.input.removeAttribute("aria-activedescendant");
  }

  close() {
    this.options.hidden = true;
    this.at = -1;
    this.input.setAttribute("aria-expanded", "false");
    this.input.removeAttribute("aria-activedescendant");
  }

  get isOpen() {
    return !this.options.hidden;
  }

  onKey(event) {
    const { key } = event;
    if (event.isComposing) return;
    if (key === "ArrowDown" || key === "ArrowUp") this.isOpen ? this.step(key === "ArrowDown" ? 1 : -1) : this.suggest();
    else if ((key === "Enter" || key === "Tab") && this.isOpen && this.at >= 0) this.take(this.items[this.at]);
    else if (key === "Escape" && this.isOpen) this.close();
    else if (key === " " && event.ctrlKey) this.suggest();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  step(by) {
    const count = this.items.length;
    this.at = (this.at + by + count + (this.at < 0 && by < 0 ? 1 : 0)) % count;
    [...this.options.children].forEach((node, i) => node.setAttribute("aria-selected", String(i === this.at)));
    this.options.children[this.at].scrollIntoView({ block: "nearest" });
    this.input.setAttribute("aria-activedescendant", `option-${this.at}`);
  }

  onPress(event) {
    event.preventDefault();
    const option = event.target.closest("[data-i]");
    if (option) this.take(this.items[Number(option.dataset.i)]);
  }

  take(item) {
    const { from, to } = this.context;
    const text = this.value;
    const rest = text.slice(to);
    const insert = item.insert.endsWith(" ") && /^[\s)]/.test(rest) ? item.insert.trimEnd() : item.insert;
    this.input.setRangeText(insert, from, to, "end");
    const caret = from + insert.length - (item.back ?? 0);
    this.input.setSelectionRange(caret, caret);
    this.typed();
    if (!item.again) this.close();
  }
}

/** A position in characters (code points) as one in the units of JavaScript's text. */
function offset(text, position) {
  return [...text].slice(0, position).join("").length;
}

/** Two sentences of which either may be missing. */
function sentences(first, second) {
  return second ? `${first}${/[.?!]$/.test(first) ? "" : "."} ${second}` : first;
}

/** What to offer where nothing is typed: recent queries, then examples. */
function starters() {
  const recent = recall().map((query) => ({ text: query, words: "searched before", insert: query }));
  return [...recent.slice(0, 6), ...EXAMPLES.map(([query, words]) => ({ text: query, words, insert: query }))];
}

function recall() {
  try {
    const kept = JSON.parse(localStorage.getItem(KEPT) ?? "[]");
    return Array.isArray(kept) ? kept.filter((query) => typeof query === "string") : [];
  } catch {
    return [];
  }
}

function remember(query) {
  try {
    localStorage.setItem(KEPT, JSON.stringify([query, ...recall().filter((other) => other !== query)].slice(0, REMEMBERED)));
  } catch {
    /* Storage may be forbidden. */
  }
}
