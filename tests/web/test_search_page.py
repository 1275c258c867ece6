"""The search page: query, histogram, the view in the URL, keys, looks."""

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from hepcat.search.parser import parse_query
from tests.web.pictures import keep
from tests.web.search_pages import ROW, asked, column, done, search_page, settled
from tests.web.support import SCREENSHOTS, Site, expect, open_page

IMAGES = Path(__file__).parents[2] / "docs/images"
#: What moved since the page began, as the browser counts it.
SHIFTS = """globalThis.shifts = [];
    new PerformanceObserver((list) => shifts.push(...list.getEntries().map((e) => e.value)))
        .observe({type: 'layout-shift', buffered: true});"""


def test_fields_operators_and_values_are_completed(browser: Any, search_site: Site) -> None:
    page = search_page(browser, search_site)
    page.keyboard.press("/")
    page.keyboard.type("user_a")
    page.wait_for_selector("#options li:has-text('user_agent')")
    page.keyboard.press("ArrowDown")
    expect(page.locator("[name=q]")).to_have_attribute("aria-activedescendant", "option-0")
    page.keyboard.press("Enter")
    expect(page.locator("[name=q]")).to_have_value("user_agent:")
    page.wait_for_selector("#options li:has-text('seen lately')")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Tab")
    query = page.input_value("[name=q]")
    assert re.fullmatch(r"user_agent:.+ ", query)
    parse_query(query)
    page.keyboard.press("Enter")
    settled(page)
    assert asked(page)["q"] == query
    assert column(page, "call_id")
    page.fill("[name=q]", "status")
    page.wait_for_selector("#options li:has-text('status>=')")
    page.fill("[name=q]", "method:INV")
    page.wait_for_selector("#options li:has-text('INVITE')")
    page.keyboard.press("Escape")
    expect(page.locator("#options")).to_be_hidden()
    # Whoever pauses while typing has an unfinished query checked: the browser's console names the answer.
    page.faults = [fault for fault in page.faults if "400" not in fault]
    done(page)


def test_who_types_before_the_fields_are_known_is_offered_them_then(browser: Any, search_site: Site) -> None:
    page = open_page(browser, "about:blank")
    held: list[Any] = []
    page.route("**/api/fields", lambda route: held.append(route))
    page.goto(f"{search_site.url}/?since=")
    settled(page)
    page.keyboard.press("/")
    page.keyboard.type("user_a")
    expect(page.locator("#options")).to_be_hidden()
    for route in held:
        route.continue_()
    expect(page.locator("#options li").first).to_contain_text("user_agent")
    done(page)


def test_a_fault_is_marked_under_its_character(browser: Any, search_site: Site) -> None:
    page = search_page(browser, search_site)
    page.fill("[name=q]", "method:INVITE frm:alice")
    page.wait_for_selector(".mirror mark")
    page.keyboard.press("Escape")
    expect(page.locator(".fault")).to_have_text(re.compile(r"^there is no field 'frm'"))
    mark = page.evaluate("document.querySelector('.mirror mark').getBoundingClientRect().left")
    letter = page.evaluate(
        """() => {
            const input = document.querySelector('[name=q]');
            const canvas = document.createElement('canvas').getContext('2d');
            const style = getComputedStyle(input);
            canvas.font = style.font;
            const left = input.getBoundingClientRect().left + parseFloat(style.paddingLeft) + 1;
            return left + canvas.measureText('method:INVITE ').width;
        }"""
    )
    assert abs(mark - letter) < 2
    expect(page.locator("[name=q]")).to_have_attribute("aria-invalid", "true")
    page.fill("[name=q]", "from:alice")
    expect(page.locator("[name=q]")).to_have_attribute("aria-invalid", "false")
    page.fill("[name=q]", "status:(")
    page.keyboard.press("Enter")
    page.wait_for_selector(".instead:has-text('cannot be understood')")
    expect(page.locator(".fault")).to_be_visible()
    assert [fault for fault in page.faults if "400" not in fault] == []
    page.context.close()


def test_a_query_that_is_too_long_is_not_sent(browser: Any, search_site: Site) -> None:
    page = search_page(browser, search_site)
    before = page.url, page.inner_text(".summary b")
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url))
    page.fill("[name=q]", "\u5b57" * 8192)
    page.wait_for_selector(".fault:visible")  # while one types
    page.fill("[name=q]", "\u5b57" * 8191)
    page.keyboard.press("Enter")
    page.wait_for_selector(".fault:visible")  # at once
    words = page.inner_text(".fault")
    assert re.match(r"the query is too long: its address would have 7\d,\d{3} characters, and", words)
    expect(page.locator("[name=q]")).to_have_attribute("aria-invalid", "true")
    assert sent == []
    assert (page.url, page.inner_text(".summary b")) == before, "the page stays as it is"
    page.fill("[name=q]", "method:BYE")
    expect(page.locator(".fault")).to_be_hidden()
    page.keyboard.press("Enter")
    settled(page)
    assert asked(page)["q"] == "method:BYE"
    done(page)


def test_a_query_that_is_just_short_enough_is_answered(browser: Any, search_site: Site) -> None:
    page = search_page(browser, search_site)
    page.fill("[name=q]", "\u5b57" * 8192)
    page.wait_for_selector(".mirror mark")
    # As many characters as stand before the mark have room; a few are for other parameters of the search.
    fits = page.evaluate("document.querySelector('.mirror').firstChild.data.length") - 200
    assert 5000 < fits < 8000
    page.fill("[name=q]", "\u5b57" * fits)
    page.keyboard.press("Enter")
    page.wait_for_selector(".instead:has-text('No calls match')", timeout=60_000)
    page.reload()
    page.wait_for_selector(".instead:has-text('No calls match')", timeout=60_000)
    expect(page.locator("[name=q]")).to_have_value("\u5b57" * fits)
    done(page)


def test_what_to_try_where_nothing_is_found(browser: Any, search_site: Site) -> None:
    page = search_page(browser, search_site, "")
    expect(page.locator(".instead")).to_contain_text("last 1 h")
    page.click("text=Look at all times")
    settled(page)
    assert asked(page) == {"since": ""}
    assert column(page, "call_id")
    page.goto(f"{search_site.url}/?since=&q=from:nobody")
    settled(page)
    page.click(".instead >> text=Without the query")
    settled(page)
    assert column(page, "call_id")
    page.go_back()
    page.wait_for_selector(".instead:not([hidden])")
    expect(page.locator("[name=q]")).to_have_value("from:nobody")
    done(page)


def test_dragging_zooms_and_back_leads_back(browser: Any, search_site: Site) -> None:
    page = search_page(browser, search_site)
    before = page.inner_text(".summary b")
    frame = page.locator(".picture").bounding_box()
    page.mouse.move(frame["x"] + frame["width"] * 0.25, frame["y"] + 40)
    page.mouse.down()
    page.mouse.move(frame["x"] + frame["width"] * 0.5, frame["y"] + 40, steps=4)
    page.mouse.up()
    settled(page)
    since, until = int(asked(page)["since"]), int(asked(page)["until"])
    whole = search_site.get("/api/histogram", buckets=20)
    length = whole["start"][-1] + whole["width"] - whole["start"][0]
    assert abs((until - since) - length / 4) < length / 8
    expect(page.locator(".summary b")).not_to_have_text(before)
    first = search_site.get("/api/calls", since=since, until=until, limit=1)["calls"][0]
    assert column(page, "call_id")[0] == first["call_id"]
    page.go_back()
    settled(page)
    page.wait_for_function(f"document.querySelector('.summary b').textContent === {json.dumps(before)}")
    done(page)


def test_the_histogram_by_keys(browser: Any, search_site: Site) -> None:
    page = search_page(browser, search_site)
    page.keyboard.press("h")
    for key in ("ArrowRight", "ArrowRight", "Shift+ArrowRight", "Shift+ArrowRight"):
        page.keyboard.press(key)
    told = page.get_attribute(".picture", "aria-valuetext")
    assert "success" in told
    bars = page.evaluate("document.querySelector('.picture').ariaValueMax")
    assert int(bars) > 5
    page.keyboard.press("Enter")
    settled(page)
    whole = asked(page)
    assert int(whole["until"]) > int(whole["since"])
    page.keyboard.press("Escape")
    page.keyboard.press("[")
    settled(page)
    assert asked(page)["until"] == whole["since"]
    done(page)


def test_a_search_that_lasts_says_so(browser: Any, search_site: Site) -> None:
    page = open_page(browser, "about:blank")
    held: list[Any] = []
    page.route("**/api/calls*", lambda route: held.append(route))
    page.add_init_script(SHIFTS)
    page.goto(f"{search_site.url}/?since=")
    page.wait_for_selector(".searching:has-text('Searching…')")
    expect(page.locator(".summary")).to_have_text("Searching…")
    heading = ".head .c-from"
    before = page.locator(heading).bounding_box()
    page.wait_for_timeout(100)
    held.pop().continue_()
    settled(page)
    assert page.locator(heading).bounding_box() == before
    expect(page.locator(".searching")).to_be_hidden()
    assert page.evaluate("shifts") == []
    page.fill("[name=q]", "method:BYE")
    page.keyboard.press("Enter")
    expect(page.locator(".summary"), "the figures of the query before are none of this one's").to_have_text(
        "Searching…"
    )
    expect(page.locator(".grid")).to_have_attribute("aria-busy", "true")
    page.wait_for_timeout(100)
    held.pop().continue_()
    settled(page)
    expect(page.locator(".summary")).to_contain_text("calls")
    done(page)


def test_a_single_call_is_seen_between_times(browser: Any, search_site: Site) -> None:
    one = search_site.get("/api/calls", limit=1)["calls"][0]["call_id"]
    page = search_page(browser, search_site, f"since=&q=call_id:{one}")
    page.wait_for_selector(".histogram .picture [class^=p-]", state="attached")
    texts = page.locator(".histogram .axis text").all_text_contents()
    assert len(texts) >= 3
    bars = "[...document.querySelectorAll('.picture [class^=p-]')].map((bar) => bar.getBBox().width)"
    assert 0 < max(page.evaluate(bars)) < 60
    done(page)


def test_the_legend_counts_and_narrows(browser: Any, search_site: Site) -> None:
    page = search_page(browser, search_site)
    entry = page.locator(".legend button:has-text('server failure')")
    shown = int(entry.locator(".count").inner_text().replace(",", ""))
    counts = search_site.get("/api/histogram", buckets=20)
    assert shown == sum(counts["5xx"])
    assert sum(counts["total"]) == int(page.inner_text(".summary b").split()[0].replace(",", ""))
    entry.click()
    settled(page)
    assert asked(page)["q"] == "status:5xx"
    assert page.locator(".legend .entry").last.inner_text().split() == ["others", "0"]
    page.go_back()
    settled(page)
    failed = page.locator(".legend button:has-text('client failure')")
    shown = failed.locator(".count").inner_text()
    failed.click()
    settled(page)
    assert asked(page)["q"] == "status:4xx,6xx -status:401,407,487"
    expect(page.locator(".summary b"), "challenges that were answered are no failures").to_have_text(
        f"{shown} calls"
    )
    done(page)


def test_a_link_reproduces_the_view(browser: Any, search_site: Site) -> None:
    query = "q=method:INVITE&since=1750000001000000&until=1750000004000000&sort=-messages"
    query += "&columns=start,messages,call_id&zone=utc"
    page = search_page(browser, search_site, query)
    shown = column(page, "call_id"), column(page, "messages"), column(page, "start")
    assert asked(page) == {name: values[0] for name, values in parse_qs(query).items()}
    assert shown[2][0].startswith("2025-06-15 15:06:4")
    assert [int(n) for n in shown[1]] == sorted(map(int, shown[1]), reverse=True)
    other = search_page(browser, search_site, urlsplit(page.url).query)
    assert (column(other, "call_id"), column(other, "messages"), column(other, "start")) == shown
    page.click(".zone")
    assert column(page, "start")[0].startswith("2025-06-15 17:06:4")
    assert "zone" not in asked(page)
    done(page)
    done(other)


def test_a_new_search_stops_the_one_before(browser: Any, large_site: Site) -> None:
    page = search_page(browser, large_site)
    begun: list[str] = []
    stopped: list[str] = []
    page.on("request", lambda request: begun.append(request.url))
    page.on("requestfailed", lambda request: stopped.append(request.url))
    page.evaluate(
        """() => {
            const [box, form] = [document.querySelector('[name=q]'), document.querySelector('.ask')];
            for (const word of ['"slow words one"', '"slow words two"', 'method:BYE']) {
                box.value = word;
                form.requestSubmit();
            }
        }"""
    )
    settled(page)
    assert asked(page)["q"] == "method:BYE"
    assert sum("/api/calls" in url for url in stopped) >= 2
    # Their histograms would have been asked for once rows were there.
    assert ["slow" in url for url in begun if "/api/histogram" in url] == [False]
    assert all(column(page, "call_id"))
    done(page)


def test_the_range_picker(browser: Any, search_site: Site) -> None:
    page = search_page(browser, search_site)
    page.click(".range .what")
    page.fill(".pick [name=since]", "2025-06-15 17:06:42")
    page.fill(".pick [name=until]", "2025-06-15 17:06:41")
    page.click("text=Use this range")
    expect(page.locator(".pick .error")).to_contain_text("ends before")
    page.fill(".pick [name=until]", "2025-06-15 17:06:43")
    page.keyboard.press("Enter")
    settled(page)
    assert (asked(page)["since"], asked(page)["until"]) == ("1750000002000000", "1750000003000000")
    page.click("[aria-label^='Later']")
    settled(page)
    assert (asked(page)["since"], asked(page)["until"]) == ("1750000003000000", "1750000004000000")
    page.click(".range .what")
    page.click(".pick >> text='24 h'")
    settled(page)
    assert asked(page)["since"] == "24h"
    done(page)


def test_a_message_is_the_current_one_of_its_call(browser: Any, search_site: Site) -> None:
    page = search_page(browser, search_site, "since=&of=messages&q=method:ACK")
    page.click(f"{ROW} >> nth=3")
    expect(page.locator("svg.messages [aria-selected=true]")).to_have_attribute(
        "aria-label", re.compile("ACK")
    )
    assert {"m", "id"} == set(asked(page))
    done(page)


def test_a_night_in_which_clocks_change(browser: Any, search_site: Site) -> None:
    autumn = "since=1761433200000000&until=1761447600000000"  # 2025-10-26 01:00 CEST to 04:00 CET
    page = search_page(browser, search_site, autumn)
    expect(page.locator(".notes")).to_contain_text("from +02:00 to +01:00")
    hours = "[...document.querySelectorAll('.histogram .axis text')].map((text) => text.textContent)"
    assert page.evaluate(hours).count("02:30") == 2
    page.click(".zone")
    expect(page.locator(".notes")).to_be_hidden()
    done(page)


def test_all_times_cannot_be_more(browser: Any, search_site: Site) -> None:
    page = search_page(browser, search_site)
    expect(page.locator(".zoom-out")).to_be_disabled()
    page.keyboard.press("Escape")
    page.keyboard.press("z")
    assert asked(page) == {"since": ""}
    done(page)


def test_everything_by_keys(browser: Any, search_site: Site) -> None:
    page = search_page(browser, search_site)
    page.keyboard.press("?")
    expect(page.locator("dialog")).to_contain_text("to the query")
    expect(page.locator("dialog h3")).to_have_text(["Search", "Table", "Everywhere"])
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    page.keyboard.type("method:INVITE status:200")
    page.keyboard.press("Enter")
    settled(page)
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.className") == "grid"
    for key in ("ArrowDown", "PageDown", "End", "Home", "ArrowDown"):
        page.keyboard.press(key)
    active = page.get_attribute(".grid", "aria-activedescendant")
    assert active == "row-1"
    call_id = page.inner_text(f"#{active} .c-call_id")
    page.keyboard.press("Enter")
    page.wait_for_url("**/call?**")
    assert parse_qs(urlsplit(page.url).query)["id"] == [call_id]
    page.context.close()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("phone", [False, True], ids=["wide", "phone"])
def test_looks(browser: Any, search_site: Site, dark: bool, phone: bool) -> None:
    query = "q=method:INVITE,REGISTER&since=1750000000000000&until=1750000001500000"
    page = search_page(browser, search_site, query, dark=dark, phone=phone)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    background = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert (background == "rgb(17, 21, 27)") == dark
    if not phone or not dark:
        picture(page, "phone" if phone else "dark" if dark else "light")
    page.click(".theme")
    assert page.evaluate("document.documentElement.dataset.theme") == "light"
    page.reload()
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(255, 255, 255)"
    done(page)


def picture(page: Any, name: str) -> None:
    if not SCREENSHOTS:
        return
    page.evaluate("document.querySelector('.took').remove()")
    keep(page, IMAGES / f"search-{name}.png")


@pytest.mark.parametrize("phone", [False, True], ids=["wide", "phone"])
def test_the_first_view_is_small_and_nothing_moves(browser: Any, search_site: Site, phone: bool) -> None:
    page = open_page(browser, "about:blank", phone=phone)
    page.add_init_script(SHIFTS)
    page.goto(f"{search_site.url}/?since=")
    settled(page)
    page.wait_for_timeout(300)
    assert page.evaluate("shifts") == []
    sizes = page.evaluate(
        """performance.getEntriesByType('resource').concat(performance.getEntriesByType('navigation'))
            .map((entry) => [entry.name, entry.transferSize])"""
    )
    assert sum(size for _, size in sizes) < 300_000, sizes
    assert {urlsplit(name).netloc for name, _ in sizes} == {urlsplit(search_site.url).netloc}
    done(page)


def test_axe_finds_nothing_in_what_opens(browser: Any, search_site: Site) -> None:
    axe: Any = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = search_page(browser, search_site)
    for key, opened in (("/", "#options"), ("c", "dialog"), ("?", "dialog")):
        page.keyboard.press(key)
        page.wait_for_selector(opened)
        found = axe.run(page)
        assert found.violations_count == 0, found.generate_report()
        page.keyboard.press("Escape")
        page.keyboard.press("Escape")
    for button, opened in ((".range .what", ".pick"), ("text=Export", ".tools .menu")):
        page.click(button)
        page.wait_for_selector(opened)
        found = axe.run(page)
        assert found.violations_count == 0, found.generate_report()
        page.keyboard.press("Escape")
    done(page)
