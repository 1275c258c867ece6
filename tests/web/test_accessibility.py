"""Every page as axe-core sees it: WCAG 2.2 A and AA, light and dark, on a phone, with dialogs open."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import Server, hepcat, wait_for
from tests.web.support import open_page

TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with calls of all outcomes, and an agent."""
    with Server(tmp_path_factory.mktemp("axe"), page=True) as started:
        to = f"udp://127.0.0.1:{started.port}"
        hepcat("bench", "hep", "--to", to, "--rate", "200", "--seconds", "5")
        wait_for(lambda: started.count() > 900, 60, "stored")
        yield started


def script() -> str:
    module = pytest.importorskip("axe_playwright_python")
    return (Path(module.__file__).parent / "axe.min.js").read_text()


def violations(page: Any) -> list[str]:
    """Return what axe-core finds, a line each."""
    page.evaluate(script())
    options = {"runOnly": {"type": "tag", "values": TAGS}, "resultTypes": ["violations"]}
    found = page.evaluate("options => axe.run(document, options)", options)
    return [
        f"{fault['id']}: {fault['help']}: {node['target']} {node.get('failureSummary', '')}"
        for fault in found["violations"]
        for node in fault["nodes"][:3]
    ]


def url_of(server: Server, path: str) -> str:
    if path == "/call":
        found = hepcat("search", "--data", str(server.data), "status:486", "--limit", "1", "--format", "csv",
                       "--fields", "call_id")  # fmt: skip
        path = f"/call?id={found.stdout.splitlines()[1]}"
    return f"http://127.0.0.1:{server.http}{path}"


PAGES = {
    "/": "[role=row] >> nth=3",
    "/?q=status%3A486&of=messages": "[role=row] >> nth=3",
    "/?q=from%3A%3A%28": "body",
    "/?q=from%3Anobody-has-this-name": "body",
    "/call": "svg",
    "/dashboard": "svg",
    "/status": "table",
    "/login": "form",
    "/account": "main",
    "/api/docs": "details",
    "/nothere": "nav a",
}


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("look", ["light", "dark", "phone"])
def test_no_violations(server: Server, browser: Any, path: str, look: str) -> None:
    page = open_page(browser, url_of(server, path), dark=look == "dark", phone=look == "phone")
    try:
        page.wait_for_selector(PAGES[path], state="attached", timeout=60_000)
        page.wait_for_timeout(300)
        assert not (found := violations(page)), "\n".join(found)
    finally:
        page.context.close()


@pytest.mark.parametrize(
    ("path", "keys"),
    [
        ("/", ["Escape", "Shift+Slash"]),  # the keys' dialog
        ("/call", ["ArrowDown", "Enter"]),  # a message
        ("/call", ["Shift+Slash"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "+".join(value),
)
def test_no_violations_in_what_opens(server: Server, browser: Any, path: str, keys: list[str]) -> None:
    page = open_page(browser, url_of(server, path))
    try:
        page.wait_for_selector(PAGES[path], state="attached", timeout=60_000)
        page.wait_for_timeout(300)
        for key in keys:
            page.keyboard.press(key)
        page.wait_for_timeout(300)
        assert not (found := violations(page)), "\n".join(found)
    finally:
        page.context.close()


def test_no_violations_while_an_answer_is_waited_for(server: Server, browser: Any) -> None:
    page = open_page(browser, "about:blank")
    page.route("**/api/calls*", lambda route: None)
    page.goto(url_of(server, "/"))
    page.wait_for_selector("[role=row] >> nth=3", state="attached")
    assert not (found := violations(page)), "\n".join(found)
    page.context.close()
