"""The page in Chromium: how long until somebody sees what they asked for.

In: addresses of the page. Out: seconds, as the browser's own clock has them. A row counts as seen when it
stands in the page and the browser has drawn a frame since. What can go wrong: Skipped, where Playwright (a
development dependency) or Chromium is not there; an error of Playwright, where what is waited for does not
come.
"""

import os
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from hepcat.bench.measure import Skipped

_CHROMIUM: Final = ("/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome")
_FLAGS: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
#: Promises of when what is waited for was on the screen, in milliseconds: `first` since navigation, `entered`
#: since Enter. Two frames: a callback runs before its frame is drawn, the next one after.
_WATCH: Final = """
const when = (there, node, what) => new Promise((resolve) => {
  const drawn = () => requestAnimationFrame(() => requestAnimationFrame(() => resolve(performance.now())));
  const watcher = new MutationObserver(() => there() && (watcher.disconnect(), drawn()));
  watcher.observe(node, what);
});
const rows = () => document.querySelector(".grid:not([aria-busy=true]) .body [role=row]");
const ladder = () => performance.getEntriesByName("ladder").length;
const all = {subtree: true, childList: true, attributes: true};
window.bench = {first: when(location.pathname === "/call" ? ladder : rows, document, all)};
// A new search marks the table as busy until its rows are there.
addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  const done = when(rows, document.querySelector(".grid"), {attributeFilter: ["aria-busy"]});
  bench.entered = done.then((at) => at - event.timeStamp);
}, true);
"""
#: From the call's last octet to the frame drawn: reading JSON, findings, controls, ladder, layout, paint.
_DRAWING: Final = """async () => {
  const answer = performance.getEntriesByType("resource").find(({name}) => name.includes("/api/call?"));
  return [await bench.first - answer.responseEnd, performance.getEntriesByName("ladder").at(-1).duration];
}"""


class Chromium:
    """A browser. Use as a context. `asked`: the parameters of the page's last request by path."""

    def __init__(self) -> None:
        """Find it. Raises Skipped."""
        try:
            from playwright.sync_api import sync_playwright
        except ImportError:
            raise Skipped("the browser is driven by Playwright, which is not installed") from None
        programs = (os.environ.get("HEPCAT_CHROMIUM", ""), *_CHROMIUM)
        self._program = next((path for path in programs if path and Path(path).exists()), None)
        if self._program is None:
            raise Skipped(f"no Chromium: {', '.join(_CHROMIUM)}; HEPCAT_CHROMIUM names another place")
        self._playwright = sync_playwright()
        self.asked: dict[str, dict[str, str]] = {}
        self._browser: Any = None

    def __enter__(self) -> "Chromium":
        playwright = self._playwright.__enter__()
        self._browser = playwright.chromium.launch(executable_path=self._program, args=list(_FLAGS))
        return self

    def __exit__(self, *reason: Any) -> None:
        self._browser.close()
        self._playwright.__exit__(*reason)

    def page(self) -> Any:
        """Open a page that nobody opened before: nothing of it is in the browser's cache."""
        context = self._browser.new_context(viewport={"width": 1440, "height": 900})
        context.set_default_timeout(60_000)
        page = context.new_page()
        page.add_init_script(_WATCH)
        page.on("request", lambda request: self._note(request.url))
        return page

    def first(self, url: str) -> tuple[Any, float]:
        """Open a page; return it, and the seconds from navigation to the first rows, or the ladder, drawn."""
        page = self.page()
        page.goto(url, wait_until="commit")
        return page, page.evaluate("() => bench.first") / 1000

    def search(self, page: Any, query: str) -> float:
        """Type a query; return the seconds from Enter to its first rows drawn."""
        page.fill("[name=q]", query)
        page.keyboard.press("Escape")  # the completions
        page.press("[name=q]", "Enter")
        return float(page.evaluate("() => bench.entered")) / 1000

    def drawing(self, page: Any) -> tuple[float, float]:
        """Return the seconds from the answer's last octet to the ladder drawn; and its script's own share."""
        whole, script = page.evaluate(_DRAWING)
        return whole / 1000, script / 1000

    def _note(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.path.startswith("/api/"):
            self.asked[parts.path] = dict(parse_qsl(parts.query))
