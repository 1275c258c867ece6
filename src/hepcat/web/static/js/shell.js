/**
 * The head of every page: name, navigation, theme, zone, keys, who is logged in.
 *
 * In: `<header class="top" id="top"></header>` as first in the body (its height is fixed by base.css, so
 * nothing moves when this fills it) and a `<main id="main">`. Out: `shell("search")` fills it and returns
 * the session's promise. The login page has no navigation for who is not logged in. The theme is kept in localStorage, and set before the first paint by theme.js.
 */
import { del, session } from "./api.js";
import { $, fill, h } from "./dom.js";
import { icon } from "./icons.js";
import { help, keys } from "./keys.js";
import { onZone, setZone, zone, zoneName } from "./time.js";

const PAGES = [
  { name: "search", path: "/", words: "Search", key: "1" },
  { name: "dashboard", path: "/dashboard", words: "Dashboard", key: "2" },
  { name: "status", path: "/status", words: "Status", key: "3" },
  { name: "docs", path: "/api/docs", words: "API", key: "4" },
];
const THEMES = [
  { name: "auto", icon: "auto", words: "Theme: as the system" },
  { name: "light", icon: "sun", words: "Theme: light" },
  { name: "dark", icon: "moon", words: "Theme: dark" },
];

/**
 * Fill the head.
 * @param {string} current name of the page: search, call, dashboard, status, docs, login, account
 * @returns {Promise<object|null>} the session; null where the server did not say
 */
export function shell(current) {
  const top = $("#top");
  const who = h("span", { class: "who" });
  const nav = h("nav", { "aria-label": "Pages", id: "pages" }, PAGES.map((page) => h("a", { href: page.path, "aria-current": page.name === current ? "page" : null }, page.words)));
  const burger = h("button", { class: "plain square burger", type: "button", "aria-label": "Pages", "aria-controls": "pages", "aria-expanded": "false", onclick: () => unfold() }, icon("menu"));
  const unfold = (open = !top.classList.contains("open")) => {
    top.classList.toggle("open", open);
    burger.setAttribute("aria-expanded", String(open));
  };
  fill(
    top,
    h("a", { class: "skip unseen", href: "#main" }, "Skip to content"),
    burger,
    h("a", { class: "brand", href: "/" }, icon("brand"), "hepcat"),
    nav,
    h("div", { class: "tools" }, who, zoneButton(), themeButton(), h("button", { class: "plain square", type: "button", "aria-label": "Keys", title: "Keys (?)", onclick: help }, icon("help"))),
  );
  // Where one logs in there is nowhere else to go, until it is known that one need not.
  const locked = (is) => top.classList.toggle("locked", is);
  const lead = () => keys("Everywhere", PAGES.map((page) => ({ keys: [`Alt+${page.key}`], words: page.words, run: () => location.assign(page.path) })));
  if (current === "login") locked(true);
  else lead();
  keys("Everywhere", [{ keys: ["Escape"], run: () => top.classList.contains("open") && (unfold(false), true) }]);
  return session().then(
    (known) => {
      fill(who, whoIsThere(known, current));
      if (current === "login" && (known.open || known.user)) {
        locked(false);
        lead();
      }
      return known;
    },
    () => null,
  );
}

function whoIsThere(known, current) {
  if (known.open) {
    const words = "No accounts exist: everybody who reaches this address on this machine may see and switch everything. `hepcat user add` makes the first account.";
    return h("span", { class: "chip warning", title: words, tabindex: "0", "aria-label": `open. ${words}` }, "open");
  }
  if (!known.user) return current === "login" ? null : h("a", { href: "/login" }, "Log in");
  return [
    h("a", { class: "button plain", href: "/account", title: `${known.user} (${known.role})` }, icon("person"), h("span", { class: "word" }, known.user)),
    known.csrf ? h("button", { class: "plain", type: "button", onclick: logout }, "Log out") : null,
  ];
}

async function logout() {
  await del("/api/session").catch(() => null);
  location.assign("/login");
}

function zoneButton() {
  const words = h("span");
  const button = h("button", { class: "plain zone", type: "button", onclick: () => setZone(zone() === "utc" ? "browser" : "utc") }, words);
  const show = () => {
    fill(words, zone() === "utc" ? "UTC" : "Local");
    button.title = `Times in ${zoneName()}; press for ${zone() === "utc" ? "the browser's zone" : "UTC"}`;
    button.setAttribute("aria-label", `Time zone: ${zoneName()}`);
  };
  onZone(show);
  show();
  return button;
}

function themeButton() {
  const button = h("button", { class: "plain square theme", type: "button" });
  const show = (theme) => {
    button.title = theme.words;
    button.setAttribute("aria-label", theme.words);
    fill(button, icon(theme.icon));
  };
  button.addEventListener("click", () => {
    const next = THEMES[(THEMES.findIndex((theme) => theme.name === chosen()) + 1) % THEMES.length];
    keep(next.name);
    show(next);
  });
  show(THEMES.find((theme) => theme.name === chosen()));
  return button;
}

function chosen() {
  return document.documentElement.dataset.theme || "auto";
}

function keep(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  document.dispatchEvent(new CustomEvent("hepcat:theme", { detail: theme }));
  try {
    if (theme === "auto") localStorage.removeItem("hepcat.theme");
    else localStorage.setItem("hepcat.theme", theme);
  } catch {
    /* Storage may be forbidden: the choice lasts as long as the page. */
  }
}
