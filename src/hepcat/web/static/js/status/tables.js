/**
 * Tables and lists whose values change while one looks at them.
 *
 * In: columns once, rows again and again. Out: elements that stay the same ones: only text that differs is set, so
 * that a selection, the focus and the place on the screen stay. What can go wrong: two rows with one key; the
 * later one wins.
 */
import { fill, h } from "../dom.js";
import { upright } from "../safe.js";

/**
 * A table.
 * @param {string} caption for screen readers
 * @param {{head: string, class?: string, text?: (row: object) => string, cell?: (td: Element, row: object) => void}[]} columns
 *   cell: called with the cell and each new row, in place of text
 * @param {string} none shown where there are no rows
 * @returns {{node: Element, show: (rows: {key: string}[]) => void}}
 */
export function table(caption, columns, none) {
  const body = h("tbody");
  const heads = columns.map((column) => h("th", { scope: "col", class: column.class }, column.head));
  const instead = h("p", { class: "muted none" }, none);
  const whole = h("table", { "aria-label": caption }, h("thead", {}, h("tr", {}, heads)), body);
  // Wider than a phone: it scrolls by itself, and keys can scroll it.
  const scroll = h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `${caption}, scrolls sideways` }, whole);
  const lines = new Map();
  const show = (rows) => {
    const wanted = new Set(rows.map((row) => row.key));
    for (const [key, line] of lines) {
      if (!wanted.has(key)) {
        line.node.remove();
        lines.delete(key);
      }
    }
    let after = null;
    for (const row of rows) {
      const line = lines.get(row.key) ?? added(lines, row.key, columns);
      line.show(row);
      const place = after ? after.nextSibling : body.firstChild;
      if (place !== line.node) body.insertBefore(line.node, place);
      after = line.node;
    }
    scroll.hidden = !rows.length;
    instead.hidden = Boolean(rows.length);
  };
  return { node: h("div", {}, scroll, instead), show };
}

/** A list of terms with values that may be lists: `show([[term, value, ...more]])`. */
export function list(name) {
  const node = h("dl", { class: `facts ${name}` });
  const lines = new Map();
  const show = (rows) => {
    if ([...lines.keys()].join("\n") !== rows.map(([term]) => term).join("\n")) {
      lines.clear();
      fill(node, rows.map(([term, , ...more]) => {
        const cells = [h("dd", {}), ...more.map(() => h("dd", { class: "more" }))];
        lines.set(term, cells);
        return [h("dt", {}, term), cells];
      }));
    }
    for (const [term, ...values] of rows) values.forEach((value, i) => put(lines.get(term)[i], value));
  };
  return { node, show };
}

/** Set a node's text, a list as lines, where it differs. */
export function put(node, value) {
  const lines = Array.isArray(value) ? value : [value ?? ""];
  const text = lines.join("\n");
  const shown = upright(text);
  if (node.textContent !== shown) node.textContent = shown;
}

function added(lines, key, columns) {
  const cells = columns.map((column) => h("td", { class: column.class }));
  const show = (row) => columns.forEach((column, i) => (column.cell ? column.cell(cells[i], row) : put(cells[i], column.text(row))));
  const line = { node: h("tr", {}, cells), show };
  lines.set(key, line);
  return line;
}
