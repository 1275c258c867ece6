"""Markup and scripts in every part of SIP, in Call-IDs and in names of agents: on no page do they act.

The messages come over HEP into a running server, so that the pages about agents and counters have them too.
"""

import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from hepcat.web.routes.pages import PAGES, STATIC
from tests.serve.peers import hep3
from tests.support import Server, wait_for
from tests.web.call_captures import HOSTILE_IDS, MARKUP, TOKEN, hostile_call
from tests.web.support import Site, open_page

#: What has happened if anything of it has acted.
FALLEN = """() => {
  const all = [...document.querySelectorAll('*')];
  const attributes = all.flatMap((node) => [...node.attributes].map((one) => [node, one]));
  return {
    fallen: window.fallen ?? null,
    handlers: attributes.filter(([, one]) => one.name.startsWith('on')).length,
    addresses: attributes.filter(([, one]) => /^(href|src|action|xlink:href|data)$/.test(one.name)
      && !/^(\\/|#|\\?|http:\\/\\/127\\.0\\.0\\.1|blob:)/.test(one.value)).map(([, one]) => one.value),
    elements: all.filter((node) => /^(img|iframe|object|embed|style|base|meta|form)$/.test(node.localName)
      && !(node.localName === 'meta' && node.closest('head')) && !node.closest('#main form, #login, .range'))
      .map((node) => node.outerHTML.slice(0, 200)),
    scripts: [...document.scripts].map((one) => one.getAttribute('src')),
    turned: [...document.body.innerText].filter((one) => /[\\u202a-\\u202e\\u2066-\\u2069]/.test(one)).length,
    text: document.body.textContent,
  };
}"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Return the page beside a server that received hostile messages from an agent with a hostile name."""
    folder = tmp_path_factory.mktemp("hostile")
    with Server(folder) as running, Site(running.data, folder) as page:
        rows = [row for call_id in HOSTILE_IDS for row in hostile_call(call_id)]
        sent = 0
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            for row in rows:
                udp.sendto(hep3(row["payload"], name=MARKUP.encode()), ("127.0.0.1", running.port))
                sent += 1
        wait_for(lambda: running.total("hepcat_received_total") >= sent, 60, "the messages")
        wait_for(lambda: running.count() >= 2 * len(HOSTILE_IDS), 60, "the calls")
        yield page


@pytest.fixture
def visit(site: Site, browser: Any) -> Iterator[Any]:
    """Return a function that opens a path in one window; nothing may have acted when it is left."""
    page = open_page(browser, "about:blank")
    page.set_default_timeout(60_000)
    page.strange = []
    own = (f"{site.url}/", "data:", "blob:", "about:")
    page.on("dialog", lambda dialog: (page.strange.append(dialog.message), dialog.dismiss()))
    page.on("popup", lambda popup: page.strange.append(popup.url))
    page.on("request", lambda asked: asked.url.startswith(own) or page.strange.append(asked.url))

    def go(path: str) -> Any:
        if page.url != "about:blank":
            harmless(page)
        page.goto(site.url + path)
        return page

    yield go
    harmless(page)
    page.context.close()


def harmless(page: Any) -> str:
    """Assert that nothing of the messages has acted on a page; return its text."""
    page.wait_for_timeout(150)
    seen = page.evaluate(FALLEN)
    name = PAGES["/" + page.url.split("/", 3)[3].partition("?")[0]]
    own = (STATIC / name).read_text().count("<script")
    assert seen["fallen"] is None
    assert seen["handlers"] == 0
    assert seen["addresses"] == []
    assert seen["elements"] == []
    assert len(seen["scripts"]) == own
    assert all(script.startswith("/static/") for script in seen["scripts"])
    assert seen["turned"] == 0
    assert page.strange == []
    assert page.faults == []  # the browser's own word where a policy had to stop something
    text: str = seen["text"]
    return text


@pytest.mark.parametrize("path", [path for path, name in PAGES.items() if (STATIC / name).exists()])
def test_pages(visit: Any, path: str) -> None:
    page = visit(f"{path}?{urlencode({'id': HOSTILE_IDS[0]})}" if path == "/call" else path)
    page.wait_for_load_state("networkidle") if path in ("/call", "/login") else page.wait_for_timeout(600)
    assert harmless(page)


@pytest.mark.parametrize("call_id", HOSTILE_IDS, ids=["markup", "address"])
def test_the_call(visit: Any, call_id: str) -> None:
    page = visit(f"/call?{urlencode({'id': call_id})}")
    page.wait_for_selector("svg.messages")
    assert page.title().endswith("hepcat")
    for _ in range(page.locator("svg.messages [role=option]").count()):
        page.keyboard.press("j")
        page.keyboard.press("Enter")
        for tab in page.locator("[role=tab]").all():
            tab.click()
            assert page.evaluate("window.fallen ?? null") is None
    text = harmless(page)
    assert TOKEN in text  # it is all there, as text
    page.locator("#m0").click()
    page.get_by_role("tab", name="Message").click()
    shown = page.locator("pre.sip").inner_text()
    assert MARKUP.replace("\u202e", "\\u202e").replace("\u200b", "\\u200b") in shown
    page.get_by_role("button", name="Show").click()
    page.get_by_role("button", name="Export").hover()
    for row in page.locator("svg.messages [role=option]").all():
        row.hover(force=True)


def test_the_search(visit: Any) -> None:
    for table in ("calls", "messages"):
        page = visit(f"/?since=1h&of={table}")
        page.get_by_text("window.fallen=1").first.wait_for(state="attached")
        harmless(page)
    page = visit(f"/?q={quote(MARKUP)}&since=1h")
    page.wait_for_selector("[aria-invalid=true], .notice, .fault")
    page.faults.clear()  # the 400 that was asked for


def test_addresses_act_no_more_than_messages(visit: Any) -> None:
    for name in ("id", "m", "tab", "color", "nohost", "nomethod", "store", "since"):
        page = visit(f"/call?{urlencode({'id': HOSTILE_IDS[0], name: MARKUP}, doseq=True)}")
        page.wait_for_selector("svg.messages, .notice")
        page.faults.clear()  # 404 and 400 that were asked for


def test_files_are_no_pages(visit: Any) -> None:
    """What the API hands out, opened as a page by itself, does nothing either."""
    page = visit("/login")
    home = page.url
    for path in ("/api/call", "/api/call/ladder.svg", "/api/call/flow.txt", "/api/call/flow.mmd"):
        asked = urlencode({"id": HOSTILE_IDS[0], "raw": 1})
        answer = page.goto(f"{home.removesuffix('/login')}{path}?{asked}")
        assert answer.status == 200
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert page.evaluate("window.fallen ?? null") is None
        assert page.evaluate("document.querySelectorAll('script, img, iframe').length") == 0
        assert page.strange == []
    page.goto(home)
    page.faults.clear()


def test_the_test_can_fail(visit: Any) -> None:
    page = visit("/login")
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=window.fallen=1>')")
    with pytest.raises(AssertionError):
        harmless(page)
    page.evaluate("document.querySelector('img').remove(), delete window.fallen")
    page.faults.clear()
    page.strange.clear()
