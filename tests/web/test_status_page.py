"""The status page on a running server: what came, what was lost, and the switch."""

import json
import re
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.serve.peers import hep3, invite
from tests.support import HEPCAT, ROOT, Server, free_port, hepcat, program, wait_for
from tests.web.pictures import keep
from tests.web.support import SCREENSHOTS, Site, expect, open_page

IMAGES = ROOT / "docs" / "images"
#: Layout shifts since the page began, as the browser counts them.
SHIFTS = """
window.shifts = [];
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) {
    if (!entry.hadRecentInput) shifts.push(entry.sources.map((one) => one.node?.outerHTML?.slice(0, 80)));
  }
}).observe({type: "layout-shift", buffered: true});
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("status")
    config = folder / "hepcat.toml"
    config.write_text("")
    with Server(folder, "--config", str(config), page=True) as started:
        send(started, "first")
        send(started, "second")
        send(started, garbage=b"GET / HTTP/1.0")
        wait_for(lambda: started.total("hepcat_stored_total") == 2, 60, "stored")
        wait_for(lambda: ask(started, "agents")["agents"], 60, "agents")
        yield started


@pytest.fixture
def page(browser: Any, server: Server) -> Iterator[Any]:
    opened = status_page(browser, server)
    yield opened
    assert opened.faults == []
    opened.context.close()


def status_page(browser: Any, server: Server, **options: Any) -> Any:
    """Open the page and wait for the values of two looks, so that there are rates."""
    opened = open_page(browser, f"http://127.0.0.1:{server.http}/status", **options)
    opened.wait_for_selector(".totals dd >> nth=0")
    again(opened)
    opened.wait_for_selector(".totals .more:has-text('a second')")
    return opened


def again(page: Any) -> None:
    """Let the page look once more, now."""
    with page.expect_response("**/api/agents"):
        page.keyboard.press("r")


def send(server: Server, *names: str, garbage: bytes = b"") -> None:
    """Send a request of each Call-ID by HEP, or octets that are none."""
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        for octets in [hep3(invite(name), name=b"sbc-1") for name in names] or [garbage]:
            sock.sendto(octets, ("127.0.0.1", server.port))


def row(page: Any, section: str, name: str) -> dict[str, str]:
    """Return a table's row by its heads; the second "a second" is called so with a 2."""
    heads = [text.strip() for text in page.locator(f".{section} th").all_inner_texts()]
    cells = page.locator(f".{section} tbody tr").filter(has_text=name).locator("td").all_inner_texts()
    heads = [head if head not in heads[:at] else f"{head} 2" for at, head in enumerate(heads)]
    return dict(zip(heads, (cell.strip() for cell in cells), strict=True))


def state(page: Any) -> str:
    return str(page.inner_text(".state"))


def source(server: Server) -> str:
    return f"udp://127.0.0.1:{server.port}"


def test_what_runs_what_came_and_what_was_lost(page: Any, server: Server) -> None:
    assert "Capturing and storing" in state(page)
    facts = page.inner_text(".panels .server")
    assert server.process is not None
    for word in (source(server), f"tcp://127.0.0.1:{server.port}", str(server.data), str(server.process.pid)):
        assert word in facts
    url = source(server)
    assert row(page, "sources", url) == {
        "Source": url, "Capture": "on", "Received": "3", "a second": "0", "Kept": "2", "Dropped": "1",
        "a second 2": "0", "Connections": "0",
    }  # fmt: skip
    lost = row(page, "drops", url)
    assert (lost["Reason"], lost["Records"]) == ("hep_magic", "1")
    assert lost["Because"] == "neither HEP3, EEP1, nor a HEP 1 or 2 header"
    store = row(page, "stores", "lake")
    assert (store["Written"], store["Waiting"], store["Dropped"]) == ("2", "0", "0")
    assert store["State"] == "takes records"
    agent = row(page, "agents", "sbc-1")
    assert (agent["Node"], agent["Messages"], agent["State"]) == ("7", "2", "sends")


def test_rates_are_the_difference_of_two_looks(page: Any, server: Server) -> None:
    for at in range(40):
        send(server, f"rate-{at}")
    wait_for(lambda: server.total("hepcat_stored_total") >= 42, 60, "stored")
    again(page)
    page.wait_for_function("() => Number(document.querySelector('.sources td:nth-child(4)').textContent) > 1")
    assert int(row(page, "sources", source(server))["Received"]) >= 43


def test_switching_one_source_off_and_on(page: Any, server: Server) -> None:
    url, before = source(server), server.total("hepcat_stored_total")
    page.get_by_role("switch", name=url).click()
    page.get_by_role("button", name="Leave it on").click()
    expect(page.get_by_role("switch", name=url)).to_have_attribute("aria-checked", "true")
    page.get_by_role("switch", name=url).click()
    assert page.locator("dialog p").all_inner_texts()[0] == f"This switches capture off for {url}."
    page.get_by_role("button", name="Switch off").click()
    page.wait_for_selector(".sources [role=switch][aria-checked=false]")
    expect(page.locator(".told")).to_contain_text("Capture was switched off")
    assert "Some sources are off" in state(page)
    assert url in state(page)
    send(server, "lost-1", "lost-2", "lost-3")
    wait_for(lambda: server.total("hepcat_dropped_total") >= 4, 60, "counted")
    again(page)
    page.wait_for_selector(".drops td:has-text('capture_off')")
    lost = row(page, "drops", "capture_off")
    assert (lost["Where"], lost["Records"], lost["Because"]) == (url, "3", "capture was switched off")
    assert server.total("hepcat_stored_total") == before
    page.get_by_role("switch", name=url).click()
    page.wait_for_selector(".state.success")
    expect(page.locator(".told")).to_contain_text("Capture was switched on")
    send(server, "kept")
    wait_for(lambda: server.total("hepcat_stored_total") == before + 1, 60, "stored again")


def test_switching_all_with_the_keyboard(page: Any, server: Server) -> None:
    page.get_by_role("switch", name="all sources").focus()
    page.keyboard.press("Space")
    assert page.locator("dialog p").all_inner_texts()[0] == "This switches capture off for all sources."
    page.get_by_role("button", name="Switch off").press("Enter")
    page.wait_for_selector(".state:has-text('Capture is off')")
    assert {one["capture"] for one in stats(server)["sources"].values()} == {False}
    page.get_by_role("switch", name="all sources").press("Enter")
    page.wait_for_selector(".state:has-text('Capturing and storing')")
    assert stats(server)["capture"] is True


def test_reload_says_what_came_of_it(page: Any, server: Server) -> None:
    config = server.log.parent / "hepcat.toml"
    reload = page.get_by_role("button", name="Reload the configuration")
    reload.click()
    page.wait_for_selector(".told:has-text('The configuration is in force')")
    config.write_text('user = "root"\n')
    reload.click()
    page.wait_for_selector(".told:has-text('changes only with a restart')")
    config.write_text("data = 7\nno_such = 1\n")
    reload.click()
    page.wait_for_selector(".told .error:has-text('was not put in force')")
    expect(page.locator(".told")).to_contain_text("no_such")
    page.faults.clear()  # the browser tells of the 409
    config.write_text("")
    reload.click()
    page.wait_for_selector(".told:has-text('The configuration is in force')")


def test_nothing_moves_while_values_change(browser: Any, server: Server) -> None:
    page = open_page(browser, "about:blank")
    page.add_init_script(SHIFTS)
    page.goto(f"http://127.0.0.1:{server.http}/status")
    page.wait_for_selector(".agents tbody tr")
    for _ in range(3):
        shown = page.inner_text(".sources tbody td:nth-child(3) >> nth=0")
        for at in range(400):
            send(server, f"move-{at}")
        again(page)
        page.wait_for_function(
            "(before) => document.querySelector('.sources tbody td:nth-child(3)').innerText !== before",
            arg=shown,
        )
    assert page.evaluate("shifts") == []
    page.context.close()


def test_it_rests_while_nobody_looks(browser: Any, server: Server) -> None:
    page = open_page(browser, "about:blank")
    page.add_init_script(
        "Object.defineProperty(document, 'hidden', {get: () => window.away ?? false});"
        "window.leave = (away) => {"
        "window.away = away; document.dispatchEvent(new Event('visibilitychange')); };"
    )
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/api/stats" in request.url else None)
    page.goto(f"http://127.0.0.1:{server.http}/status")
    page.wait_for_selector(".agents tbody tr")
    page.evaluate("leave(true)")
    page.wait_for_timeout(300)
    asked.clear()
    page.wait_for_timeout(3300)  # it asks every 3 seconds
    assert asked == []
    with page.expect_request("**/api/stats"):
        page.evaluate("leave(false)")
    page.context.close()


def test_the_phone_scrolls_no_page_sideways(browser: Any, server: Server) -> None:
    page = status_page(browser, server, phone=True)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.context.close()


@pytest.mark.parametrize("dark", [False, True])
def test_nothing_that_axe_finds(browser: Any, server: Server, dark: bool) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    page = status_page(browser, server, dark=dark)
    found = axe.Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    page.get_by_role("switch", name="all sources").click()
    found = axe.Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    page.context.close()


def test_a_server_that_stopped(browser: Any, tmp_path: Path) -> None:
    with Server(tmp_path, page=True) as server:
        send(server, "one")
        page = status_page(browser, server)
        page.wait_for_selector(".agents .chip.success")
        places = "[...document.querySelectorAll('h2')].map((head) => head.getBoundingClientRect().y)"
        before = page.evaluate(places)
        server.stop()
        page.keyboard.press("r")
        page.wait_for_selector(".state.error:has-text('does not answer')")
        assert row(page, "sources", source(server))["Received"] == "1"  # the last values stay
        assert re.fullmatch(r"last known, as of \d\d:\d\d:\d\d", page.inner_text(".updated"))
        expect(page.locator(".agents h2")).to_have_text("Agents last known")
        assert page.evaluate(places) == before, "nothing moves"
        colors = page.evaluate(
            """() => {
                const color = (one, name) => getComputedStyle(document.querySelector(one))[name];
                const probe = document.body.appendChild(document.createElement('p'));
                probe.style.color = 'var(--ended)';
                return [color('body > p:last-child', 'color'), color('.agents .chip', 'color'),
                    color('.stores .chip', 'color'), color('.sources .switch .word', 'color')];
            }"""
        )
        assert len(set(colors)) == 1, "nothing is green"
        axe = pytest.importorskip("axe_playwright_python.sync_playwright")
        assert (found := axe.Axe().run(page)).violations_count == 0, found.generate_report()
        page.context.close()


def test_a_database_that_is_away(browser: Any, tmp_path: Path) -> None:
    config = tmp_path / "hepcat.toml"
    config.write_text(
        'stores = ["lake", "pg"]\n[[databases]]\nname = "pg"\n'
        f'url = "postgresql://somebody@127.0.0.1:{free_port()}/none"\n'
    )
    with Server(tmp_path, "--config", str(config), page=True) as server:
        send(server, "one")
        page = status_page(browser, server)
        page.wait_for_selector(".stores .chip.error")
        store = row(page, "stores", "pg")
        assert store["Waiting"] == "1"
        assert store["State"].startswith("trouble")
        expect(page.get_by_role("row").filter(has_text="lake").get_by_text("takes records")).to_have_count(1)
        page.wait_for_selector(".state.warning:has-text('A database does not take records')")
        page.context.close()


def test_a_viewer_sees_the_switch_and_why_it_is_not_theirs(browser: Any, tmp_path: Path) -> None:
    with Server(tmp_path, page=True) as server:
        secret = account(server, "vera", "viewer")
        headers = {"Authorization": f"Bearer {secret}"}
        page = status_page(browser, server, extra_http_headers=headers)
        for switch in page.get_by_role("switch").all():
            expect(switch).to_be_disabled()
        expect(page.get_by_role("button", name="Reload")).to_be_disabled()
        expect(page.locator(".capture .why")).to_contain_text("vera is viewer")
        for path, body in (("capture", b'{"mode":"off"}'), ("reload", b"{}")):
            request = urllib.request.Request(
                f"http://127.0.0.1:{server.http}/api/{path}",
                body,
                {**headers, "Content-Type": "application/json"},
            )
            with pytest.raises(urllib.error.HTTPError, match="403"):
                urllib.request.urlopen(request, timeout=60)
        assert stats(server, headers)["capture"] is True
        page.context.close()


def account(server: Server, name: str, role: str) -> str:
    """Make an account and return a token of it."""
    (server.data.parent / "password").write_text("correct horse battery\n")
    hepcat("user", "add", name, "--role", role, "--data", str(server.data),
           "--password-file", str(server.data.parent / "password"))  # fmt: skip
    return hepcat("token", "add", name, "--name", "test", "--data", str(server.data)).stdout.strip()


def test_a_lake_without_a_server(browser: Any, tmp_path: Path, server: Server) -> None:
    data = tmp_path / "it's a lake"
    hepcat("import", "--data", str(data), str(one_message(tmp_path)))
    with Site(data, tmp_path) as site:
        page = open_page(browser, f"{site.url}/status")
        page.wait_for_selector(".state:has-text('No server runs on this lake')")
        expect(page.locator(".starting pre")).to_contain_text(
            f"hepcat serve --data '{tmp_path}/it'\\''s a lake'"
        )
        assert row(page, "stores", "lake")["State"] == "to search only"
        expect(page.locator(".capture")).to_be_hidden()
        assert page.faults == []
        page.context.close()


def one_message(folder: Path) -> Path:
    capture = folder / "one.pcap"
    hepcat("bench", "pcap", "--out", str(capture), "--packets", "50", "--calls", "5")
    return capture


def stats(server: Server, headers: dict[str, str] | None = None) -> Any:
    return ask(server, "stats", headers)


def ask(server: Server, name: str, headers: dict[str, str] | None = None) -> Any:
    """Return what the API says."""
    request = urllib.request.Request(f"http://127.0.0.1:{server.http}/api/{name}", headers=headers or {})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def test_what_the_server_refuses_is_no_server_away(server: Server) -> None:
    request = urllib.request.Request(
        f"http://127.0.0.1:{server.http}/api/capture",
        b'{"mode":"off","source":"udp://192.0.2.1:1"}',
        {"Content-Type": "application/json"},
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=60)
    problem = json.load(refused.value)
    assert (problem["status"], problem["type"]) == (400, "/api/docs#problem-refused")
    assert problem["detail"] == "no source udp://192.0.2.1:1"
    assert source(server) in problem["hint"]


@pytest.mark.skipif(not SCREENSHOTS, reason="HEPCAT_SCREENSHOTS is not set")
def test_screenshots(browser: Any, server: Server) -> None:
    """Real counters; only ports, paths and the process's number are always the same ones."""
    assert server.process is not None
    same = {str(server.data): "/var/lib/hepcat", str(server.port): "9060", str(server.process.pid): "4711"}

    def steady(route: Any) -> None:
        answer = route.fetch()
        text = answer.text()
        for found, shown in same.items():
            text = text.replace(found, shown)
        route.fulfill(response=answer, body=text)

    arguments = ("--to", source(server), "--rate", "150", "--seconds", "60", "--calls", "100")
    with program([*HEPCAT, "bench", "hep", *arguments]):
        wait_for(lambda: any(a["rate"] and a["rate"] > 100 for a in ask(server, "agents")["agents"]), 60)
        for name in ("light", "dark", "phone"):
            page = open_page(browser, "about:blank", dark=name == "dark", phone=name == "phone")
            page.route("**/api/st*", steady)
            page.goto(f"http://127.0.0.1:{server.http}/status")
            page.wait_for_selector(".sources td:nth-child(4):not(:empty)")
            keep(page, IMAGES / f"status-{name}.png", full_page=True)
            page.context.close()
