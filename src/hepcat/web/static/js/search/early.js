/**
 * The first request for rows, sent before the rest of the page is even loaded.
 *
 * In: location.search. Out: `first`, the view; `early`, its rows, asked for already. It needs few modules, and the
 * page (main.js) takes over from here.
 */
import * as columnsOf from "./columns.js";
import { Rows } from "./rows.js";
import { asked, fromSearch } from "./state.js";

/** What to ask the API for the rows of a view. */
export function paramsOf(view) {
  const names = view.columns ?? columnsOf.kept(view.of);
  return { ...asked(view), sort: view.sort, fields: columnsOf.fieldsFor(view.of, names) };
}

export const first = fromSearch(location.search);
export const early = new Rows({ of: first.of, params: paramsOf(first) });
early.more();
