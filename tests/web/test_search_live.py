"""Live mode of the search page: real HEP into a real server, and what people see of it."""

import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.serve.peers import hep3, invite
from tests.support import Server, hepcat, wait_for
from tests.web.search_pages import ROW, asked, column, done, settled
from tests.web.support import expect, open_page

BUSY = (
    "SIP/2.0 486 Busy Here\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK{0}\r\n"
    "From: <sip:alice@example.com>;tag=f{0}\r\nTo: <sip:bob@example.com>;tag=t{0}\r\nCall-ID: {0}\r\n"
    "CSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("live"), page=True) as started:
        yield started


def send(server: Server, *payloads: bytes) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        for payload in payloads:
            sock.sendto(hep3(payload), ("127.0.0.1", server.port))


def live_page(browser: Any, server: Server, query: str = "") -> Any:
    page = open_page(browser, f"http://127.0.0.1:{server.http}/?live=1{query}")
    settled(page)
    return page


def test_calls_come_on_top_as_they_happen_and_change(browser: Any, server: Server) -> None:
    send(server, invite("before"))
    wait_for(lambda: server.count() >= 1, 60, "stored")
    page = live_page(browser, server)
    expect(page.locator("button.live")).to_have_attribute("aria-pressed", "true")
    send(server, invite("first"))
    page.wait_for_selector(f"{ROW}:has-text('first')")
    send(server, invite("second"))
    page.wait_for_selector(f"{ROW}:has-text('second')")
    assert column(page, "call_id") == ["second", "first", "before"]
    assert "no reply" in column(page, "state")[1]
    send(server, BUSY.format("first").encode())
    page.wait_for_selector(f"{ROW}.o-client:has-text('first'):has-text('busy')")
    send(server, BUSY.format("before").encode())
    page.wait_for_selector(f"{ROW}:has-text('before'):has-text('busy')")
    assert column(page, "call_id") == ["second", "first", "before"]
    page.click("button.live")
    settled(page)
    assert "live" not in asked(page)
    done(page)


def test_what_one_reads_does_not_move(browser: Any, server: Server) -> None:
    send(server, *(invite(f"old-{i:03}") for i in range(120)))
    wait_for(lambda: server.count("call_id:old-*") == 120, 60, "stored")
    page = live_page(browser, server, "&q=call_id:old-*,new-*")
    page.wait_for_function(
        """() => {
            const grid = document.querySelector('.grid');
            grid.scrollTop = 900;
            return grid.scrollHeight > 120 * 28;
        }"""
    )
    page.wait_for_selector(".line[aria-rowindex='52']:not([hidden])")
    before = column(page, "call_id")
    top = page.evaluate("document.querySelector('.grid').scrollTop")
    send(server, *(invite(f"new-{i}") for i in range(7)))
    page.wait_for_selector(".newer:has-text('7 new')")
    assert column(page, "call_id") == before
    assert page.evaluate("document.querySelector('.grid').scrollTop") == top
    page.click(".newer")
    page.wait_for_selector(f"{ROW}:has-text('new-6')")
    assert column(page, "call_id")[:7] == [f"new-{i}" for i in reversed(range(7))]
    expect(page.locator(".newer")).to_be_hidden()
    done(page)


def test_only_what_matches_comes(browser: Any, server: Server) -> None:
    page = live_page(browser, server, "&q=status:486&of=messages")
    send(server, invite("not-this"), BUSY.format("but-this").encode())
    page.wait_for_selector(f"{ROW}:has-text('but-this')")
    assert "not-this" not in column(page, "call_id")
    done(page)


def test_a_server_that_comes_back(browser: Any, tmp_path: Path) -> None:
    with Server(tmp_path, page=True) as server:
        page = live_page(browser, server)
        send(server, invite("before"))
        page.wait_for_selector(f"{ROW}:has-text('before')")
        server.stop()
        page.locator(".grid").focus()
        page.keyboard.press("r")
        page.wait_for_selector(".notes:has-text('The server cannot be reached. Trying again.')")
        assert column(page, "call_id") == ["before"], "a search that is refreshed keeps its rows"
        expect(page.locator(".summary")).to_have_text(re.compile(r"^1 call"))
        page.fill("[name=q]", "from:alice")
        page.keyboard.press("Enter")
        page.wait_for_selector(".instead:has-text('The server cannot be reached')")
        expect(page.locator(ROW), "rows of another search are no answer").to_have_count(0)
        server.start()
        page.wait_for_selector(f"{ROW}:has-text('before')")
        expect(page.locator(".notes")).to_be_hidden()
        expect(page.locator(".instead")).to_be_hidden()
        page.wait_for_function("() => !document.querySelector('.histogram').classList.contains('waiting')")
        send(server, invite("after"))
        page.wait_for_selector(f"{ROW}:has-text('after')")
        page.context.close()


def test_what_was_chosen_is_chosen_when_the_server_is_back(browser: Any, tmp_path: Path) -> None:
    with Server(tmp_path, page=True) as server:
        page = live_page(browser, server)
        for name in ("first", "second", "third"):
            send(server, invite(name))
            page.wait_for_selector(f"{ROW}:has-text('{name}')")
        page.click(f"{ROW}:has-text('first') .pick")
        page.click(f"{ROW}:has-text('second') .pick")
        page.locator(".grid").focus()
        server.stop()
        page.keyboard.press("r")
        page.wait_for_selector(".notes:has-text('The server cannot be reached. Trying again.')")
        server.start()
        page.wait_for_selector(".notes", state="hidden", timeout=60_000)
        selected = page.locator(f"{ROW}[aria-selected=true] .c-call_id").all_inner_texts()
        assert sorted(selected) == ["first", "second"]
        expect(page.locator(".some b")).to_have_text("2 chosen")
        expect(page.locator(".line.active .c-call_id")).to_have_text("second")
        page.context.close()


def test_a_store_is_chosen_where_there_are_several(browser: Any, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/other.db"
    assert hepcat("db", "create", url).returncode == 0
    config = tmp_path / "hepcat.toml"
    config.write_text(f'stores = ["lake", "other"]\n[[databases]]\nname = "other"\nurl = "{url}"\n')
    with Server(tmp_path, "--config", str(config), page=True) as server:
        page = live_page(browser, server)
        send(server, invite("both"))
        page.wait_for_selector(f"{ROW}:has-text('both')")
        page.goto(f"http://127.0.0.1:{server.http}/")
        settled(page)
        page.select_option("[aria-label=Store]", "other")
        settled(page)
        assert asked(page) == {"store": "other"}
        expect(page.locator("[aria-label=Store]")).to_have_value("other")
        page.wait_for_selector(f"{ROW}:has-text('both')")
        page.keyboard.press("j")
        page.keyboard.press("Enter")
        page.wait_for_url("**/call?**store=other**")
        page.context.close()
