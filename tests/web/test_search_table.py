"""The table of the search page: 100,000 rows, sorting, columns, choosing."""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.support import wait_for
from tests.web.search_pages import ROW, asked, column, done, search_page, settled
from tests.web.support import Site, changed, expect, open_page

#: A time as it is told with its year.
WITH_YEAR = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}")
#: Cells of times that have no room for their text.
CUT_OFF = """[...document.querySelectorAll('.grid .line:not([hidden]) .time')]
    .filter((cell) => cell.scrollWidth > cell.clientWidth).map((cell) => cell.textContent)"""


def test_100_000_rows_scroll_in_a_constant_number_of_elements(browser: Any, large_site: Site) -> None:
    page = search_page(browser, large_site, "since=&of=messages&columns=ts,method,call_id")
    elements = page.locator(".grid .line").count()
    assert elements < 60
    expect(page.locator(".grid")).to_have_attribute("aria-rowcount", "100001")
    page.evaluate(
        """async () => {
            const grid = document.querySelector('.grid');
            const lines = () => [...grid.querySelectorAll('.line:not([hidden])')];
            const index = () => Math.max(...lines().map((line) => +line.ariaRowIndex));
            for (let turns = 0; turns < 4000 && index() < 100001; turns += 1) {
                grid.scrollTop = grid.scrollHeight;
                await new Promise((next) => setTimeout(next, 10));
            }
        }"""
    )
    expect(page.locator(".grid .line")).to_have_count(elements)
    expect(page.locator(ROW).last).to_be_visible()
    indices = page.evaluate(f"[...document.querySelectorAll('{ROW}')].map((line) => +line.ariaRowIndex)")
    assert max(indices) == 100_001
    expect(page.locator(".summary")).to_contain_text(", the first 100,000 are listed")
    middle = 50_000 * 28
    page.evaluate(f"document.querySelector('.grid').scrollTop = {middle}")
    page.wait_for_selector(".line[aria-rowindex='50002']")
    times = column(page, "ts")
    assert times == sorted(times, reverse=True)
    assert len(times) > 20
    assert all(column(page, "call_id"))
    done(page)


def test_pages_hold_each_call_once_and_in_order(browser: Any, search_site: Site) -> None:
    page = search_page(browser, search_site)
    page.keyboard.press("j")
    total = int(page.inner_text(".summary b").split()[0].replace(",", ""))
    seen: dict[str, None] = {}
    page.wait_for_function(
        """(total) => {
            const grid = document.querySelector('.grid');
            grid.scrollTop = grid.scrollHeight;
            return grid.scrollHeight >= total * 28;
        }""",
        arg=total,
    )
    for top in range(0, total * 28, 600):
        page.evaluate(f"document.querySelector('.grid').scrollTop = {top}")
        page.evaluate("new Promise(requestAnimationFrame)")
        seen.update(dict.fromkeys(column(page, "call_id")))
    expected = [
        row["call_id"] for row in search_site.get("/api/calls", limit=1000, fields="call_id")["calls"]
    ]
    assert list(seen)[: len(expected)] == expected
    assert len(seen) == total
    done(page)


def test_sorting_by_a_heading(browser: Any, search_site: Site) -> None:
    page = search_page(browser, search_site)
    page.click(".head button:has-text('from')")
    settled(page)
    assert asked(page)["sort"] == "from"
    page.wait_for_selector("[aria-sort=ascending].c-from")
    names = [name for name in column(page, "from") if name]
    assert names == sorted(names)
    page.click(".head button:has-text('from')")
    settled(page)
    page.wait_for_selector("[aria-sort=descending].c-from")
    assert asked(page)["sort"] == "-from"
    page.click(".head button:has-text('start')")
    settled(page)
    assert "sort" not in asked(page)
    done(page)


def test_columns_are_chosen_and_kept(browser: Any, search_site: Site) -> None:
    page = search_page(browser, search_site)
    page.keyboard.press("c")
    page.check("dialog input[value=user_agent]")
    page.uncheck("dialog input[value=destination]")
    page.click("dialog [aria-label^='from: further to the left']")
    page.click("dialog >> text=Show these")
    settled(page)
    page.wait_for_selector(".head .c-user_agent")
    expect(page.locator(".head .c-destination")).to_have_count(0)
    assert asked(page)["columns"].startswith("from,start,")
    page.goto(f"{search_site.url}/?since=")
    settled(page)
    expect(page.locator(".head .c-user_agent")).to_have_count(1)
    assert any(column(page, "user_agent"))
    page.keyboard.press("c")
    page.click("dialog >> text=Default columns")
    settled(page)
    page.reload()
    settled(page)
    expect(page.locator(".head .c-user_agent")).to_have_count(0)
    done(page)


def test_calls_are_chosen_and_opened_together(browser: Any, search_site: Site) -> None:
    page = search_page(browser, search_site)
    ids = column(page, "call_id")
    page.keyboard.press("Escape")
    for key in ("j", "j", "Space", "ArrowDown", "ArrowDown", "Space"):
        page.keyboard.press(key)
    expect(page.locator(".line[aria-selected=true]")).to_have_count(2)
    expect(page.locator(".some")).to_contain_text("2 chosen")
    page.click("text=Export")
    expect(page.locator(".menu-head")).to_have_text("The 2 chosen calls")
    expect(page.get_by_role("group", name="The 2 chosen calls").get_by_role("menuitem")).to_have_count(4)
    with page.expect_download() as download:
        page.click(".menu a:has-text('pcap (Wireshark)')")
    assert Path(download.value.path()).read_bytes()[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1")
    page.locator(".grid").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/call?**")
    assert parse_qs(urlsplit(page.url).query)["id"] == [ids[1], ids[3]]
    page.go_back()
    settled(page)
    page.wait_for_selector(".line.active[aria-rowindex='5']")
    done(page)


def test_a_search_that_is_refreshed_keeps_what_was_chosen(browser: Any, search_site: Site) -> None:
    page = search_page(browser, search_site)
    ids = [row["call_id"] for row in search_site.get("/api/calls", limit=400, fields="call_id")["calls"]]
    for at in (2, 3, 150):  # the last one is on another page of rows
        scroll_to(page, at)
        page.click(f".line[aria-rowindex='{at + 2}'] .pick")
    place = page.locator(".line.active").bounding_box()
    page.locator(".grid").focus()
    page.route("**/api/calls*", lambda route: route.abort())
    page.keyboard.press("r")
    page.wait_for_selector(".notes:has-text('The server cannot be reached')")
    page.unroute("**/api/calls*")
    page.route("**/api/calls*", without(ids[3]))
    page.keyboard.press("r")
    again = f".line.active[aria-selected=true]:has-text('{ids[150]}')"
    wait_for(lambda: noted(page) or page.locator(again).count(), 60, "the row of the second page")
    assert page.locator(".line.active").bounding_box() == place, "what one reads does not move"
    expect(page.locator(".grid")).to_have_attribute("aria-activedescendant", "row-149")
    expect(page.locator(".some b"), "a call that is gone cannot be chosen").to_have_text("2 chosen")
    page.keyboard.press("Enter")
    page.wait_for_url("**/call?**")
    assert parse_qs(urlsplit(page.url).query)["id"] == [ids[2], ids[150]]
    page.context.close()


def test_all_rows_have_their_year_or_none(browser: Any, search_site: Site) -> None:
    page = open_page(browser, "about:blank")
    page.route("**/api/calls*", of_now(60))  # the first page of rows; all others are of June 2025
    page.goto(f"{search_site.url}/?since=")
    settled(page)
    heading = page.locator(".head .c-from").bounding_box()
    assert not [start for start in column(page, "start") if WITH_YEAR.fullmatch(start)]
    for at in (200, 0):
        scroll_to(page, at)
        assert all(WITH_YEAR.fullmatch(start) for start in column(page, "start"))
        assert page.locator(".head .c-from").bounding_box() == heading, "nothing moves while one scrolls"
        assert page.evaluate(CUT_OFF) == []
    page.route("**/api/calls*", of_now(3))
    page.reload()
    settled(page)
    starts = column(page, "start")
    assert all(WITH_YEAR.fullmatch(start) for start in starts)
    assert starts[2][:4] != starts[3][:4]
    done(page)


def of_now(count: int) -> Callable[[Any], None]:
    """Let the first calls of the first page be of this moment."""

    def change(body: Any, url: str) -> None:
        if "cursor=" not in url:
            for at, row in enumerate(body["calls"][:count]):
                row["start"] = time.time_ns() // 1000 - at

    return changed(change)


def test_another_search_has_nothing_chosen(browser: Any, search_site: Site) -> None:
    page = search_page(browser, search_site)
    page.click(f"{ROW} >> nth=2 >> .pick")
    expect(page.locator(".some b")).to_have_text("1 chosen")
    page.fill("[name=q]", "method:INVITE")
    page.keyboard.press("Enter")
    settled(page)
    expect(page.locator(".some")).to_be_hidden()
    expect(page.locator(".line.active")).to_have_count(0)
    done(page)


def noted(page: Any) -> None:
    """Search again where a busy server did not answer in time."""
    page.wait_for_timeout(100)
    if page.is_visible(".notes"):
        page.keyboard.press("r")


def scroll_to(page: Any, at: int) -> None:
    """Bring a row into sight, whichever page of rows it is on."""
    page.wait_for_function(
        """(at) => {
            const grid = document.querySelector('.grid');
            grid.scrollTop = Math.max(0, at - 5) * 28;
            return grid.querySelector(`.line:not([hidden])[aria-rowindex='${at + 2}']`);
        }""",
        arg=at,
    )


def without(call_id: str) -> Callable[[Any], None]:
    """Leave a call out of the answers."""

    def change(body: Any, url: str) -> None:
        body["calls"] = [row for row in body["calls"] if row["call_id"] != call_id]

    return changed(change)


def test_a_click_opens_the_call(browser: Any, search_site: Site) -> None:
    page = search_page(browser, search_site)
    call_id = column(page, "call_id")[4]
    page.click(f"{ROW}:has-text('{call_id}') .c-to")
    page.wait_for_url("**/call?**")
    assert parse_qs(urlsplit(page.url).query)["id"] == [call_id]
    page.context.close()


def test_messages_too(browser: Any, search_site: Site) -> None:
    page = search_page(browser, search_site)
    page.keyboard.press("m")
    settled(page)
    page.wait_for_selector(".head .c-cseq")
    assert asked(page)["of"] == "messages"
    expect(page.locator(".summary b")).to_have_text("12,000 messages")
    page.click("text=Export")
    expect(page.locator(".menu-head")).to_have_text("All that was found: 12,000 messages")
    page.keyboard.press("End")
    assert page.evaluate("document.activeElement.textContent") == "text"
    page.keyboard.press("Escape")
    page.click(".line[aria-rowindex='2'] .pick")
    page.click("text=Export")
    expect(page.locator(".menu-head")).to_have_text("Whole calls: 1 call of the chosen message")
    page.keyboard.press("Escape")
    methods = column(page, "method")
    assert "INVITE" in methods
    done(page)
