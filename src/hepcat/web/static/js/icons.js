/**
 * The pages' own icons, drawn on a grid of 16 with one line width.
 *
 * In: a name. Out: an <svg> that takes the colour of the text and that screen readers skip: the control
 * it stands in has words.
 */
import { svg } from "./dom.js";

const PATHS = {
  brand: "M2 4.5v7M5 2.5v11M8 6v4M11 3.5v9M14 6v4",
  search: "M7 2.5a4.5 4.5 0 1 0 0 9a4.5 4.5 0 0 0 0-9M10.5 10.5L14 14",
  sun: "M8 5a3 3 0 1 0 0 6a3 3 0 0 0 0-6M8 1v1.5M8 13.5V15M1 8h1.5M13.5 8H15M3 3l1.1 1.1M11.9 11.9L13 13M3 13l1.1-1.1M11.9 4.1L13 3",
  moon: "M13.5 9.8A6 6 0 0 1 6.2 2.5a6 6 0 1 0 7.3 7.3z",
  auto: "M8 2a6 6 0 1 0 0 12a6 6 0 0 0 0-12M8 2v12M9.5 4h2M9.5 6.5h4M9.5 9h4.3M9.5 11.5h2.5",
  clock: "M8 2a6 6 0 1 0 0 12a6 6 0 0 0 0-12M8 4.5V8l2.5 1.5",
  menu: "M2 4h12M2 8h12M2 12h12",
  left: "M10 3L5 8l5 5",
  right: "M6 3l5 5l-5 5",
  up: "M3 10l5-5l5 5",
  down: "M3 6l5 5l5-5",
  plus: "M8 3v10M3 8h10",
  minus: "M3 8h10",
  close: "M3.5 3.5l9 9M12.5 3.5l-9 9",
  check: "M3 8.5l3.5 3.5L13 4.5",
  export: "M8 2v8M5 7l3 3l3-3M2.5 11v2.5h11V11",
  columns: "M2 3h12v10H2zM6 3v10M10 3v10",
  play: "M4.5 3l8 5l-8 5z",
  pause: "M5 3v10M11 3v10",
  live: "M8 7a1 1 0 1 0 0 2a1 1 0 0 0 0-2M5.2 5.2a4 4 0 0 0 0 5.6M10.8 5.2a4 4 0 0 1 0 5.6M3 3a7 7 0 0 0 0 10M13 3a7 7 0 0 1 0 10",
  refresh: "M13.5 8a5.5 5.5 0 1 1-1.6-3.9M12 1.5v3h-3",
  link: "M6.5 9.5l3-3M7 4.5l1.5-1.5a3 3 0 0 1 4.3 4.3L11.3 8.8M9 11.5L7.5 13a3 3 0 0 1-4.3-4.3L4.7 7.2",
  copy: "M5.5 5.5h8v8h-8zM3 10.5H2.5v-8h8V3",
  person: "M8 2.5a2.7 2.7 0 1 0 0 5.4a2.7 2.7 0 0 0 0-5.4M2.8 14c.6-3 2.6-4.4 5.2-4.4s4.6 1.4 5.2 4.4",
  warning: "M8 2L14.5 13.500h-13zM8 6.500v3.500M8 11.500v.5",
  info: "M8 2a6 6 0 1 0 0 12a6 6 0 0 0 0-12M8 7.500v3.500M8 5v.5",
  error: "M5.5 2h5l3.5 3.500v5l-3.5 3.500h-5L2 10.500v-5zM8 5v3.500M8 10.500v.5",
  filter: "M2 3h12L9.5 8.500V13l-3-1.500v-3z",
  help: "M6 6a2 2 0 1 1 3 1.700c-.7.4-1 .8-1 1.800M8 11.500v.5M8 2a6 6 0 1 0 0 12a6 6 0 0 0 0-12",
};

/** Names of all icons. */
export const NAMES = Object.keys(PATHS);

/** Make an icon. @param {string} name one of NAMES */
export function icon(name) {
  const line = svg("path", { d: PATHS[name], fill: "none", stroke: "currentColor", "stroke-width": 1.5, "stroke-linecap": "round", "stroke-linejoin": "round" });
  return svg("svg", { class: "icon", viewBox: "0 0 16 16", "aria-hidden": "true" }, line);
}
