"""The dashboard: what the API says of an hour of calls, and the page that shows it."""

import concurrent.futures
import json
import re
import time
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hepcat.search.figure_table import FIGURES
from tests.serve.peers import hep3, invite
from tests.support import ROOT, Server, wait_for
from tests.web.dashboard_lake import HOUR, hour_of_calls
from tests.web.pictures import keep
from tests.web.support import SCREENSHOTS, Site, changed, expect, open_page
from tests.web.test_accessibility import violations
from tests.web.test_status_page import SHIFTS, send

IMAGES = ROOT / "docs" / "images"
READY = ".dashboard main:not(.waiting) .top-list a"
#: An agent that is well.
SENDS = ".agents .chip.success:text-is('sends')"


class Calls(Site):
    """The page on a lake with an hour of calls."""

    def __init__(self, folder: Path) -> None:
        self.low, self.high = hour_of_calls(folder / "data")
        super().__init__(folder / "data", folder)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Calls]:
    with Calls(tmp_path_factory.mktemp("dashboard")) as started:
        yield started


@pytest.fixture
def page(browser: Any, site: Calls) -> Iterator[Any]:
    opened = dashboard(browser, site)
    yield opened
    assert opened.faults == []
    opened.context.close()


def dashboard(browser: Any, site: Calls, more: str = "", **options: Any) -> Any:
    """Open the page on the lake's hour, wait for its values."""
    opened = open_page(browser, f"{site.url}/dashboard?since={site.low}&until={site.high}{more}", **options)
    opened.wait_for_selector(READY)
    return opened


def figures(site: Calls, **options: Any) -> Any:
    return site.get("/api/figures", **{"since": site.low, "until": site.high, **options})


def tile(page: Any, name: str) -> str:
    return str(page.inner_text(f".t-{name} .value"))


def again(page: Any) -> None:
    """Let the page look once more, now."""
    with page.expect_response("**/api/samples"):
        page.keyboard.press("r")
    page.wait_for_timeout(200)


def parameters(url: str) -> dict[str, str]:
    return dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(url).query))


# -- the API


def test_what_the_api_says(site: Calls) -> None:
    found = figures(site, buckets=64)
    assert (found["since"], found["until"], found["width"]) == (site.low, site.high, HOUR // 60)
    assert {len(values) for values in found["series"].values()} == {len(found["start"])}
    names = {figure.name for figure in FIGURES}
    assert set(found["totals"]) == set(found["series"]) == names
    assert 500 < found["totals"]["attempts"] < 2500
    assert 0.5 < found["totals"]["asr"] < found["totals"]["ner"] < 1
    assert found["notes"] == []
    told = site.get("/api/figures/definitions")
    assert [one["name"] for one in told] == [figure.name for figure in FIGURES]
    assert all(one["doc"] and one["title"] for one in told)


def test_a_query_and_what_is_wrong(site: Calls) -> None:
    busy = figures(site, q="status:486")
    assert busy["totals"]["asr"] == 0
    assert busy["totals"]["ner"] == 1
    wrong = figures(site, q="status:(")
    assert (wrong["status"], wrong["query"]) == (400, "status:(")
    assert "position" in wrong
    assert figures(site, buckets=301)["status"] == 400
    assert figures(site, store="none")["status"] == 404
    assert figures(site, since=site.high, until=site.low)["status"] == 400
    assert figures(site, since="never")["status"] == 400


def test_those_who_look_at_the_same_share_an_answer(site: Calls) -> None:
    def look(_: int) -> Any:
        return site.get("/api/figures", since="20m", buckets=20)

    for _ in range(5):  # once in five seconds "now" goes on while they ask
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(look, range(8)))
        if len({answer["until"] for answer in answers}) == 1:
            break
    assert all(answer == answers[0] for answer in answers)
    assert answers[0]["until"] % 5_000_000 == 0
    assert answers[0]["until"] - answers[0]["since"] == 20 * 60_000_000
    assert time.time() - answers[0]["until"] / 1e6 < 60


# -- the page


def test_the_tiles_say_what_the_api_says(page: Any, site: Calls) -> None:
    totals = figures(site)["totals"]
    assert tile(page, "asr") == f"{round(totals['asr'] * 100, 1):g} %"
    assert tile(page, "calls_a_second") == f"{totals['calls_a_second']:.2f}".rstrip("0")
    minutes, seconds = divmod(round(totals["acd"]), 60)
    assert tile(page, "acd") == f"{minutes}:{seconds:02}"
    assert tile(page, "pdd_p50") == f"{totals['pdd_p50']:.2f} s"


def test_the_difference_to_the_range_before(browser: Any, site: Calls) -> None:
    middle = site.low + HOUR // 2
    page = open_page(browser, f"{site.url}/dashboard?since={middle}&until={middle + HOUR // 6}")
    page.wait_for_selector(".t-asr .more:not(:empty)")
    now, before = (
        site.get("/api/figures", since=since, until=since + HOUR // 6)["totals"]
        for since in (middle, middle - HOUR // 6)
    )
    points = (now["asr"] - before["asr"]) * 100
    assert points < -3  # in its trouble
    said = page.inner_text(".t-asr .more")
    assert said == f"▼ {abs(points):.{0 if points <= -10 else 1}f} points, worse"
    expect(page.locator(".t-pdd_p95 .more")).to_have_text(re.compile(r"%, worse$"))
    page.context.close()


def test_charts_tell_their_values_by_pointer_and_keys(page: Any, site: Calls) -> None:
    found = figures(site, buckets=64)
    chart = page.get_by_role("slider", name="Responses by status")
    chart.focus()
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    said = chart.get_attribute("aria-valuetext")
    assert f"2xx {found['statuses']['2xx'][-2]} " in said
    page.keyboard.press("Home")
    assert f"2xx {found['statuses']['2xx'][0]} " in chart.get_attribute("aria-valuetext")
    page.keyboard.press("Escape")
    expect(chart).to_have_attribute("aria-valuetext", re.compile("at most"))
    page.get_by_role("slider", name="Calls a second").hover(position={"x": 200, "y": 60})
    expect(page.locator(".chart:has(#c-calls) .readout")).to_contain_text("attempts")


def test_charts_are_tables_too(page: Any, site: Calls) -> None:
    found = figures(site, buckets=64)
    page.get_by_role("button", name="Requests by method: as a table").click()
    table = page.locator(".chart:has(#c-methods) table")
    heads = table.locator("thead th").all_inner_texts()
    newest = table.locator("tbody tr >> nth=0").locator("td").all_inner_texts()
    assert dict(zip(heads[1:], newest, strict=True))["INVITE"] == str(found["methods"]["INVITE"][-1])
    expect(table.locator("tbody tr")).to_have_count(len(found["start"]))
    page.get_by_role("button", name="Requests by method: as a picture").click()
    expect(page.get_by_role("slider", name="Requests by method")).to_be_visible()


def test_a_click_leads_to_the_search(page: Any, site: Calls) -> None:
    chart = page.get_by_role("slider", name="Responses by status")
    chart.focus()
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    page.wait_for_url("**/?q=*")
    asked = parameters(page.url)
    assert (asked["q"], asked["of"]) == ("status:100..699", "messages")
    assert int(asked["until"]) - int(asked["since"]) == HOUR // 60
    page.wait_for_selector(".summary:not(:empty)")
    page.go_back()
    page.wait_for_selector(READY)
    page.get_by_role("link", name="Zoiper v2.10").click()
    page.wait_for_url("**/?q=*")
    asked = parameters(page.url)
    assert asked["q"] == 'user_agent:"Zoiper v2.10"'
    assert (int(asked["since"]), int(asked["until"])) == (site.low, site.high)
    page.wait_for_selector(".grid .line:not([hidden])")


def test_what_is_shown_is_in_the_url(page: Any, site: Calls) -> None:
    asr = tile(page, "asr")
    page.get_by_label("Only calls and messages that match").fill("status:486")
    page.keyboard.press("Enter")
    page.wait_for_selector(".t-asr .value:text-is('0 %')")
    assert parameters(page.url)["q"] == "status:486"
    page.get_by_role("button", name="Earlier: one range back").click()
    page.wait_for_selector(".t-asr .value:text-is('–')")
    assert int(parameters(page.url)["until"]) == site.low
    page.reload()
    page.wait_for_selector(".tile")
    expect(page.get_by_label("Only calls and messages that match")).to_have_value("status:486")
    page.go_back()
    page.go_back()
    page.wait_for_selector(f".t-asr .value:text-is('{asr}')")
    assert "q" not in parameters(page.url)
    page.locator(".zone").click()
    assert parameters(page.url)["zone"] == "utc"


def test_a_query_that_cannot_be_read(page: Any) -> None:
    page.get_by_label("Only calls and messages that match").fill("status:(")
    page.keyboard.press("Enter")
    page.wait_for_selector(".fault:visible")
    expect(page.locator(".fault")).to_contain_text("character")
    page.get_by_label("Only calls and messages that match").fill("")
    page.keyboard.press("Enter")
    page.wait_for_selector(".fault", state="hidden")
    page.faults.clear()  # the browser tells of the 400


def test_a_query_that_is_too_long_is_not_sent(page: Any) -> None:
    before = page.url
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if "q=" in request.url else None)
    page.get_by_label("Only calls and messages that match").fill("\u5b57" * 8192)
    page.keyboard.press("Enter")
    page.wait_for_selector(".fault:visible")
    words = page.inner_text(".fault")
    assert re.match(r"the query is too long: its address would have 7\d,\d{3} characters, and", words)
    assert sent == []
    assert page.url == before, "an address that nobody could open is not shown"
    page.get_by_label("Only calls and messages that match").fill("")
    page.keyboard.press("Enter")
    page.wait_for_selector(".fault", state="hidden")


def test_definitions(page: Any) -> None:
    page.keyboard.press("i")
    page.wait_for_selector("dialog dt >> nth=5")
    for figure in FIGURES:
        expect(page.locator("dialog")).to_contain_text(figure.title)


def test_it_asks_again_and_rests_while_nobody_looks(browser: Any, site: Calls) -> None:
    page = open_page(browser, "about:blank")
    page.add_init_script(
        "Object.defineProperty(document, 'hidden', {get: () => window.away ?? false});"
        "window.leave = (away) => { window.away = away;"
        "document.dispatchEvent(new Event('visibilitychange')); };"
        "const wait = setTimeout; window.setTimeout = (run, ms, ...more) => wait(run, ms / 50, ...more);"
    )
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/api/figures" in request.url else None)
    page.goto(f"{site.url}/dashboard?since={site.low}&until={site.high}")
    page.wait_for_selector(READY)
    wait_for(lambda: page.wait_for_timeout(50) or len(asked) > 4, 60, "asked again")
    page.evaluate("leave(true)")
    page.wait_for_timeout(600)
    asked.clear()
    page.wait_for_timeout(800)  # ten seconds are 200 milliseconds here
    assert asked == []
    with page.expect_request("**/api/figures*"):
        page.evaluate("leave(false)")
    page.context.close()


def test_nothing_moves(browser: Any, site: Calls) -> None:
    page = open_page(browser, "about:blank")
    page.add_init_script(SHIFTS)
    page.goto(f"{site.url}/dashboard?since={site.low}&until={site.high}")
    page.wait_for_selector(READY)
    for _ in range(2):
        with page.expect_response("**/api/samples"):
            page.keyboard.press("r")
    page.get_by_label("Only calls and messages that match").fill("nothing_of_this")
    page.keyboard.press("Enter")
    page.wait_for_selector(".t-asr .value:text-is('–')")
    page.wait_for_timeout(300)
    assert page.evaluate("shifts") == []
    page.context.close()


@pytest.mark.parametrize("look", ["light", "dark", "phone"])
def test_for_everybody(browser: Any, site: Calls, look: str) -> None:
    page = dashboard(browser, site, dark=look == "dark", phone=look == "phone")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert not (found := violations(page)), "\n".join(found)
    for button in page.locator(".chart .head button").all():
        button.click()
    assert not (found := violations(page)), "\n".join(found)
    if look == "light":
        page.keyboard.press("i")
        page.wait_for_selector("dialog dt >> nth=5")
        assert not (found := violations(page)), "\n".join(found)
    page.context.close()


def test_names_from_messages_are_text(browser: Any, tmp_path: Path) -> None:
    name = "<img src=x onerror=alert(1)>\"'\\ ~x~"
    with Server(tmp_path, page=True) as server:
        message = invite("one").replace(b"\r\nCall-ID", f"\r\nUser-Agent: {name}\r\nCall-ID".encode(), 1)
        send(server, garbage=hep3(message, name=b"<b>sbc</b>"))
        wait_for(lambda: server.total("hepcat_stored_total") == 1, 60, "stored")
        page = open_page(browser, f"http://127.0.0.1:{server.http}/dashboard")
        wait_for(lambda: again(page) or page.locator(READY).count(), 60, "the range has the message")
        expect(page.locator(".user_agent a")).to_have_text(name)
        expect(page.locator("main img, main b")).to_have_count(0)
        page.wait_for_selector(".agents td:has-text('<b>sbc</b>')", timeout=60_000)
        page.click(".user_agent a")
        page.wait_for_selector(".grid .line:not([hidden])")  # its own link finds it
        assert page.faults == []
        page.context.close()


def test_agents_and_drops(browser: Any, tmp_path: Path) -> None:
    with Server(tmp_path, page=True) as server:
        page = open_page(browser, f"http://127.0.0.1:{server.http}/dashboard")
        page.wait_for_selector(".agents:has-text('No agent was seen')")
        wait_for(lambda: samples(page), 60, "a sample")
        send(server, "one")
        for _ in range(3):
            send(server, garbage=b"GET / HTTP/1.0")
        wait_for(
            lambda: len(samples(page)) > 1 and samples(page)[-1]["dropped"].get("hep_magic") == 3, 60, "drops"
        )
        page.keyboard.press("r")
        page.wait_for_selector(".chart:has(#c-drops) .legend:has-text('hep_magic')")
        page.get_by_role("button", name="Capture drops, last 20 minutes: as a table").click()
        cells = page.locator(".chart:has(#c-drops) td").all_inner_texts()
        assert sum(map(int, cells)) == 3
        page.wait_for_selector(".agents .chip:has-text('sends')")
        page.route("**/api/agents*", silent_for(301.0))
        page.keyboard.press("r")
        page.wait_for_selector(".agents .chip:has-text('silent for 5 min')")
        expect(page.locator(".agents p").first).to_contain_text("1 silent")
        page.context.close()


def samples(page: Any) -> Any:
    return page.evaluate("fetch('/api/samples').then((answer) => answer.json())")["samples"]


def silent_for(seconds: float) -> Callable[[Any], None]:
    """Let the agents be silent for so long, however long this test took to get there."""

    def change(body: Any, url: str) -> None:
        for agent in body["agents"]:
            agent["silent_seconds"] = seconds

    return changed(change)


def agents_page(browser: Any, url: str, server: Server) -> Any:
    """Open the dashboard and wait for an agent that sends."""
    send(server, "one")
    page = open_page(browser, "about:blank")
    page.clock.install()
    page.route("**/api/agents*", silent_for(1.0))
    page.goto(f"{url}/dashboard")
    wait_for(lambda: again(page) or page.locator(SENDS).count(), 60, "an agent that sends")
    expect(page.locator(".agents p").first).to_have_text("1 seen, none silent")
    assert rate_shown(page) != ""
    return page


def rate_shown(page: Any) -> str:
    return str(page.inner_text(".agents td:nth-child(3)"))


def doubted(page: Any, why: str) -> None:
    """Wait until nothing tells of health: how the agents are is unknown, in words, and since when."""
    page.wait_for_selector(".agents .chip:text-is('unknown')", timeout=60_000)
    expect(page.locator(".agents .chip.success")).to_have_count(0)
    assert rate_shown(page) == ""
    words = page.inner_text(".agents p")
    assert re.fullmatch(rf"1 seen, state unknown since \d\d:\d\d:\d\d\. {why}\.", words), words


def test_agents_are_unknown_while_no_server_runs(browser: Any, tmp_path: Path) -> None:
    with Server(tmp_path) as server, Site(server.data, tmp_path) as site:
        page = agents_page(browser, site.url, server)
        server.stop()
        why = wait_for(lambda: site.get("/api/agents")["why"], 60, "the page knows that it is away")
        again(page)
        doubted(page, re.escape(f"{why[0].upper()}{why[1:]}"))
        assert not (found := violations(page)), "\n".join(found)
        expect(page.locator(".told .error"), "the rest of the page suffers nothing").to_have_count(0)
        server.start()
        send(server, "two")
        wait_for(lambda: again(page) or page.locator(SENDS).count(), 60, "the first good answer")
        expect(page.locator(".agents p").first).to_have_text("1 seen, none silent")
        assert page.faults == []
        page.context.close()


def test_agents_are_unknown_when_a_look_fails(browser: Any, tmp_path: Path) -> None:
    away = json.dumps({"title": "Not available", "status": 503, "detail": "no server runs on this lake"})
    held: list[Any] = []
    failures: list[tuple[str, Callable[[Any], None]]] = [
        ("The server cannot be reached", lambda route: route.abort()),
        ("No server runs on this lake", lambda route: route.fulfill(status=503, body=away)),
        ("The server does not answer", lambda route: held.append(route)),
    ]
    with Server(tmp_path, page=True) as server:
        page = agents_page(browser, f"http://127.0.0.1:{server.http}", server)
        for why, fail in failures:
            page.route("**/api/samples", fail)
            page.keyboard.press("r")
            if "does not answer" in why:
                wait_for(lambda: page.wait_for_timeout(50) or held, 60, "asked")
                page.clock.fast_forward(21_000)
            doubted(page, why)
            page.unroute("**/api/samples")
            page.keyboard.press("r")
            page.wait_for_selector(SENDS, timeout=60_000)
            expect(page.locator(".agents p").first).to_have_text("1 seen, none silent")
        page.context.close()


def test_when_the_server_goes_away(browser: Any, tmp_path: Path) -> None:
    with Calls(tmp_path) as site:
        page = dashboard(browser, site)
        asr = tile(page, "asr")
        site.stop()
        page.keyboard.press("r")
        page.wait_for_selector(".told .error:has-text('cannot be reached')")
        assert tile(page, "asr") == asr  # the last values stay
        page.context.close()


@pytest.mark.skipif(not SCREENSHOTS, reason="HEPCAT_SCREENSHOTS is not set")
@pytest.mark.parametrize("look", ["light", "dark", "phone"])
def test_screenshots(browser: Any, tmp_path: Path, look: str) -> None:
    with Server(tmp_path, page=True) as server:
        low, _ = hour_of_calls(server.data)
        hour_of_calls(server.data, low, dialogs=2200, seed=8)
        send(server, "one")
        page = open_page(
            browser, f"http://127.0.0.1:{server.http}/dashboard", dark=look == "dark", phone=look == "phone"
        )
        page.wait_for_selector(".t-asr .more:not(:empty)")
        wait_for(lambda: again(page) or page.locator(".agents .chip").count(), 60, "an agent")
        keep(page, IMAGES / f"dashboard-{look}.png", full_page=look != "phone")
        page.context.close()
