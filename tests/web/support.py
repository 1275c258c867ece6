"""A `hepcat web` of its own on loopback, and the browser that looks at it."""

import json
import os
import signal
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support import HEPCAT, free_port, hepcat, wait_for

CHROMIUM: Final = Path("/usr/bin/chromium")
#: What Debian's Chromium is started with: no screen, nothing that looks for hosts elsewhere.
CHROMIUM_FLAGS: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
#: Screenshots of docs/images are made anew where this is set.
SCREENSHOTS: Final = bool(os.environ.get("HEPCAT_SCREENSHOTS"))


class Site:
    """The page and the API on a lake, as `hepcat web` offers them."""

    def __init__(
        self, data: Path, folder: Path, *arguments: str, environment: dict[str, str] | None = None
    ) -> None:
        self.data, self.log = data, folder / "web.log"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._arguments, self._environment = arguments, environment or {}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> "Site":
        """Start it; return when it answers."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *HEPCAT,
                    "web",
                    "--data",
                    str(self.data),
                    f"--listen=127.0.0.1:{self.port}",
                    *self._arguments,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self._environment},
            )
        try:
            wait_for(self._ready, 60, "page ready")
        except BaseException:
            self.stop()
            raise
        return self

    def _ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"it ended:\n{self.log.read_text()[-4000:]}"
        try:
            urllib.request.urlopen(f"{self.url}/healthz", timeout=20).close()
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False
        return True

    def stop(self) -> None:
        """End it."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def get(self, path: str, **parameters: Any) -> Any:
        """Return the JSON of an answer, whatever its status."""
        query = urllib.parse.urlencode(
            {name: value for name, value in parameters.items() if value is not None}, doseq=True
        )
        try:
            with urllib.request.urlopen(f"{self.url}{path}?{query}", timeout=60) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            return json.load(error)

    def __enter__(self) -> "Site":
        return self if self.process else self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def import_lake(data: Path, captures: Sequence[Path]) -> Path:
    """Import captures into a new lake; return its folder."""
    done = hepcat("import", "--data", str(data), *map(str, captures))
    assert done.returncode == 0, done.stderr
    return data


def need_chromium() -> None:
    """Skip where there is no browser."""
    if not CHROMIUM.exists():
        pytest.skip("no /usr/bin/chromium (Debian's package chromium)")
    pytest.importorskip("playwright")


@contextmanager
def chromium() -> Iterator[Any]:
    """Start the browser; gives Playwright's Browser."""
    need_chromium()
    from playwright.sync_api import expect as waits
    from playwright.sync_api import sync_playwright

    waits.set_options(timeout=60_000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=list(CHROMIUM_FLAGS))
        try:
            yield browser
        finally:
            browser.close()


def expect(shown: Any, why: str | None = None) -> Any:
    """Return Playwright's assertions about what is shown: they wait, since a page is never done at once."""
    from playwright.sync_api import expect as waits

    return waits(shown, why)


def open_page(browser: Any, url: str, *, dark: bool = False, phone: bool = False, **options: Any) -> Any:
    """Open a page in a context of its own; what goes wrong in it fails the test (see `faults`)."""
    context = browser.new_context(
        viewport={"width": 390, "height": 844} if phone else {"width": 1440, "height": 900},
        color_scheme="dark" if dark else "light",
        timezone_id="Europe/Berlin",
        locale="en-GB",
        reduced_motion="reduce",
        **options,
    )
    page = context.new_page()
    page.faults = []
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.on("console", lambda line: page.faults.append(line.text) if line.type == "error" else None)
    page.goto(url)
    return page


def changed(change: Callable[[Any, str], None]) -> Callable[[Any], Any]:
    """Return a route's handler: the server's answer as `change(body, url)` makes it.

    Unlike Playwright's own `fetch` it is over when it returns: no page can close meanwhile.
    """

    def answer(route: Any) -> Any:
        try:
            with urllib.request.urlopen(route.request.url, timeout=60) as found:
                body = json.load(found)
        except OSError:  # the server is gone: the page is to see that, and no later test
            return route.abort()
        change(body, route.request.url)
        return route.fulfill(json=body)

    return answer
