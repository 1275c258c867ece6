"""The call page in a real browser: the picture, the message, keys, hiding, files, the address."""

import base64
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from xml.etree import ElementTree

import pytest

from tests.support import ROOT, SHARED, need
from tests.web.call_captures import described_call, held_call, long_call, two_legs, write
from tests.web.pictures import keep
from tests.web.support import SCREENSHOTS, Site, expect, import_lake, open_page

WIRESHARK = SHARED / "captures" / "zeek-wireshark.pcap"
FAX = SHARED / "captures" / "ndpi-FAX-Call-t38-CA-TDM-SIP-FB-1.pcap"
FAX_CALL = "00e9d4a500e9d48-0015-0001-0000-0000@10.35.40.25"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Return the page on a lake of our calls, and of real captures where they are."""
    folder = tmp_path_factory.mktemp("call-page")
    rows = [*held_call(), *held_call("L" * 600), *two_legs(), *described_call(), *long_call(500, "long")]
    captures = [write(folder / "calls.pcap", rows), *(path for path in (WIRESHARK, FAX) if path.exists())]
    lake = import_lake(folder / "lake", captures)
    with Site(lake, folder) as running:
        yield running


@pytest.fixture
def call(site: Site, browser: Any) -> Iterator[Any]:
    """Return a function that opens a call; at its end no page may have had a fault."""
    opened = []

    def go(*ids: str, dark: bool = False, phone: bool = False, wait: bool = True, **view: Any) -> Any:
        query = urlencode({"id": ids, **view}, doseq=True)
        page = open_page(browser, f"{site.url}/call?{query}", dark=dark, phone=phone, accept_downloads=True)
        page.set_default_timeout(60_000)
        opened.append(page)
        if wait:
            page.wait_for_selector("svg.messages")
        return page

    yield go
    for page in opened:
        assert page.faults == []
        page.context.close()


def current(page: Any) -> str:
    """Return the name of the current message as a screen reader has it."""
    name: str = page.evaluate(
        "document.getElementById(document.querySelector('svg.messages')"
        ".getAttribute('aria-activedescendant') ?? 'none')?.getAttribute('aria-label') ?? ''"
    )
    return name


def test_the_picture(call: Any) -> None:
    page = call("held-call")
    expect(page.locator("svg.messages [role=option]")).to_have_count(16)
    texts = page.locator("svg.messages .label").all_text_contents()
    assert texts[0] == "INVITE (SDP)"
    assert texts[7] == "200 OK (SDP)"
    assert (
        "PCMU PCMA telephone-event 192.168.1.20:4000 sendrecv"
        in page.locator("svg.messages .media").all_text_contents()
    )
    expect(page.locator("svg.messages .faint")).to_have_count(1)
    expect(page.locator("#m10 path.w")).to_have_count(1)  # a loop is a path, not a line
    expect(page.locator("svg.hosts .host")).to_have_count(3)
    expect(page.locator(".leg")).to_contain_text("completed")
    expect(page.locator(".leg")).to_contain_text("26.8 s")
    name = page.locator("#m7").get_attribute("aria-label")
    assert name == "8: 200 OK (SDP) from 198.51.100.1:5060 to 203.0.113.7:5060, at 4.20 s"


def test_lines_of_media_end_at_the_next_lifeline(call: Any) -> None:
    page = call("described-call")
    whole = "G722 PCMA PCMU G729 telephone-event 198.51.100.250:15875 sendrecv"
    ends = """(() => {
        const lines = [...document.querySelectorAll('svg.messages .life')].map((one) => one.x1.baseVal.value);
        return [...document.querySelectorAll('svg.messages .media')]
            .map((text) => text.getBBox()).map((box) => [box.x + box.width, lines[1], lines[1] - lines[0]]);
    })()"""
    expect(page.locator("svg.messages .media").first).to_have_text(whole)
    assert all(end < line and gap <= 560 for end, line, gap in page.evaluate(ends))
    page.set_viewport_size({"width": 700, "height": 900})
    page.wait_for_selector("svg.messages .media:has-text('…')", state="attached")
    first = page.locator("svg.messages .media").first.text_content()
    assert first.startswith("G722 PCMA PCMU G729 198.51.100."), "the address before telephone-event"
    assert all(end < line for end, line, _ in page.evaluate(ends))
    expect(page.locator("svg.messages g:has(> .media) > title").first).to_have_text(whole)
    page.set_viewport_size({"width": 1440, "height": 900})
    root = ElementTree.fromstring(saved(page, "Picture, SVG"))
    assert whole in [one.text for one in root.iter()]


def test_hosts_stay_on_top(call: Any) -> None:
    page = call("long")
    before = page.locator("svg.hosts").bounding_box()["y"]
    page.evaluate("document.querySelector('#flow').scrollTop = 9000")
    page.wait_for_timeout(50)
    after = page.locator("svg.hosts").bounding_box()["y"]
    assert before > 150
    assert 40 <= after < 60  # right beneath the page's head
    assert page.locator("#m10").bounding_box()["y"] < 0


def test_keys(call: Any) -> None:
    page = call("held-call")
    page.keyboard.press("j")
    assert current(page).startswith("1: INVITE")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("k")
    assert current(page).startswith("2: ")
    expect(page.locator("#panel")).to_be_hidden()
    page.keyboard.press("Enter")
    expect(page.locator("#panel h2")).to_have_text("#2 INVITE (SDP)")
    page.keyboard.press("]")
    expect(page.locator('[role=tab][aria-selected="true"]')).to_have_text("Headers")
    page.keyboard.press("[")
    page.keyboard.press("[")
    expect(page.locator('[role=tab][aria-selected="true"]')).to_have_text("Difference")
    page.keyboard.press("End")  # scrolls the message, as arrows do there
    assert current(page).startswith("2: ")
    page.keyboard.press("j")
    expect(page.locator("#panel h2")).to_have_text("#3 100 Trying")
    page.keyboard.press("Escape")
    expect(page.locator("#panel")).to_be_hidden()
    page.keyboard.press("End")
    assert current(page).startswith("16: 200 OK (BYE)")
    page.keyboard.press("?")
    expect(page.locator("dialog")).to_contain_text("next finding")
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    page.wait_for_url("**/")


def test_findings_open_what_shows_them(call: Any) -> None:
    page = call("leg-one@b2bua")
    first = page.locator("#findings li").first
    expect(first).to_contain_text("486 Busy Here")
    assert "warning" in first.inner_text() or "error" in first.inner_text()
    first.locator("button.finding").click()
    expect(page.locator("#panel h2")).to_contain_text("486")
    page.keyboard.press("n")
    second = page.locator("#panel h2").inner_text()
    page.keyboard.press("p")
    expect(page.locator("#panel h2")).to_contain_text("486")
    expect(page.locator("#findings li.current")).to_have_count(1)
    assert second


def test_legs_of_one_call_are_one_picture(call: Any) -> None:
    page = call("leg-one@b2bua")
    expect(page.locator(".leg")).to_have_count(2)
    expect(page.locator(".leg").nth(1)).to_contain_text("added: ")
    expect(page.locator("svg.messages .tag")).to_have_text(list("AABBBAA"))
    expect(page.locator('[data-color="call"]')).to_have_attribute("aria-pressed", "true")
    page.get_by_label("other legs").uncheck()
    expect(page.locator(".leg")).to_have_count(1)
    assert "related=0" in page.url
    page.go_back()
    expect(page.locator(".leg")).to_have_count(2)
    page.get_by_role("button", name="Only call B").click()
    expect(page.locator("svg.messages [role=option]")).to_have_count(3)
    assert "leg-two" in page.url


def test_hiding(call: Any) -> None:
    page = call("held-call")
    page.get_by_role("button", name="Show").click()
    page.locator("#show-menu").get_by_text("INVITE (10)").click()
    expect(page.locator("svg.messages [role=option]")).to_have_count(6)
    expect(page.locator("#shown")).to_have_text("16 messages, 10 hidden")
    page.locator("#show-menu").get_by_text("INVITE (10)").click()
    page.locator("#show-menu").get_by_text("198.51.100.20:5060").click()
    expect(page.locator("svg.hosts .host")).to_have_count(2)
    expect(page.locator("#shown")).to_have_text("16 messages, 4 hidden")
    page.locator("#show-menu").get_by_text("retransmissions and copies").click()
    expect(page.locator("#shown")).to_contain_text("5 hidden")
    link = page.url
    page.keyboard.press("Escape")
    expect(page.locator("#show-menu")).to_be_hidden()
    page.goto(link)
    page.wait_for_selector("svg.messages")
    expect(page.locator("#shown")).to_contain_text("5 hidden")
    page.get_by_role("button", name="Show").click()
    page.get_by_role("button", name="Show everything").click()
    expect(page.locator("svg.messages [role=option]")).to_have_count(16)


def test_the_message(call: Any) -> None:
    page = call("held-call")
    page.locator("#m11").click()
    expect(page.locator("pre.sip .s-method")).to_have_text("INVITE")
    expect(page.locator("pre.sip")).to_contain_text("a=sendonly")
    page.get_by_role("tab", name="Headers").click()
    rows = page.locator("table.headers tr")
    expect(rows.filter(has_text="Via")).to_contain_text("branch=z9hG4bKa2")
    page.get_by_role("tab", name="SDP").click()
    expect(page.locator(".tab")).to_contain_text("On hold")
    page.get_by_role("tab", name="Difference").click()
    expect(page.locator(".tab")).to_have_text(re.compile(r"^Against #2 INVITE \(SDP\)"))
    gone, new = (page.locator(f".diff .{kind}").all_inner_texts() for kind in ("gone", "new"))
    assert "gone: − CSeq: 1 INVITE" in [" ".join(text.split()) for text in gone]
    assert "new: + a=sendonly" in [" ".join(text.split()) for text in new]
    page.locator("#m0").click()
    expect(page.locator(".tab")).to_contain_text("nothing to compare")


def test_compact_and_folded_headers(call: Any) -> None:
    page = call("held-call")  # any page: the module is asked directly
    parsed = page.evaluate(
        """async () => (await import('/static/js/call/sip.js')).parseMessage(
            'INVITE sip:b SIP/2.0\\r\\nv: SIP/2.0/UDP a;branch=1,\\r\\n SIP/2.0/UDP b;branch=2\\r\\n'
            + 'm: "x, y; z" <sip:a;b>;q=1\\r\\nodd\\r\\n\\r\\nbody')"""
    )
    via, contact, odd = parsed["headers"]
    assert (via["name"], via["short"]) == ("Via", "v")
    assert [value["parameters"] for value in via["values"]] == [
        [{"name": "branch", "value": "1"}],
        [{"name": "branch", "value": "2"}],
    ]
    assert contact["values"] == [{"text": '"x, y; z" <sip:a;b>', "parameters": [{"name": "q", "value": "1"}]}]
    assert odd["name"] == ""
    assert parsed["body"] == ["body"]


def test_the_address_says_everything(call: Any) -> None:
    page = call("held-call")
    page.locator("#m11").click()
    page.get_by_role("tab", name="SDP").click()
    page.get_by_role("button", name="by Call-ID").click()
    link = page.url
    again = call("held-call")
    again.goto(link)
    again.wait_for_selector("#panel h2")
    expect(again.locator("#panel h2")).to_have_text("#12 re-INVITE (SDP)")
    expect(again.locator('[role=tab][aria-selected="true"]')).to_have_text("SDP")
    expect(again.locator('[data-color="call"]')).to_have_attribute("aria-pressed", "true")
    assert again.locator("#m11").bounding_box()["y"] < 900


def saved(page: Any, words: str) -> bytes:
    """Return the file that a choice of the export menu saves."""
    page.get_by_role("button", name="Export").click()
    with page.expect_download() as coming:
        page.locator("#export-menu").get_by_text(words, exact=True).click()
    return Path(coming.value.path()).read_bytes()


def test_pictures_are_saved(call: Any) -> None:
    page = call("held-call", nomethod="BYE", m=1)
    svg = saved(page, "Picture, SVG").decode()
    root = ElementTree.fromstring(svg)
    texts = [element.text for element in root.iter() if element.tag.endswith("text")]
    assert "re-INVITE (SDP)" in texts
    assert "BYE" not in texts
    assert "2 messages hidden" in texts
    loop, straight = (
        next(one for one in root.iter() if one.text == text) for text in ("OPTIONS", "100 Trying")
    )
    assert (loop.get("text-anchor"), straight.get("text-anchor")) == ("start", "middle")
    grounds = {one.get("stroke") for one in root.iter() if one.text and "INVITE" in one.text}
    assert grounds == {"rgb(255, 255, 255)"}  # also that of the current message
    assert "var(" not in svg
    assert "class=" not in svg
    assert texts.count("203.0.113.7:5060") == 1
    png = saved(page, "Picture, PNG")
    assert png.startswith(b"\x89PNG")
    width, height = (int.from_bytes(png[at : at + 4], "big") for at in (16, 20))
    assert width > 1000
    assert height > 1000
    colors = page.evaluate(
        """async (text) => {
            const image = new Image(); image.src = text; await image.decode();
            const canvas = new OffscreenCanvas(image.width, image.height);
            const context = canvas.getContext('2d'); context.drawImage(image, 0, 0);
            const data = context.getImageData(0, 0, image.width, image.height).data, seen = {};
            for (let i = 0; i < data.length; i += 4) {
              const key = [data[i], data[i + 1], data[i + 2]].join(); seen[key] = (seen[key] ?? 0) + 1;
            }
            return seen; }""",
        "data:image/png;base64," + base64.b64encode(png).decode(),
    )
    assert colors["255,255,255"] > width * height / 2  # the ground of the light theme
    assert colors["37,99,235"] > 1000  # arrows of the first transaction


def test_texts_are_saved(call: Any) -> None:
    page = call("held-call")
    assert b"re-INVITE" in saved(page, "Picture as text")
    assert saved(page, "Picture for Mermaid").startswith(b"sequenceDiagram")
    assert len(json.loads(saved(page, "Model, JSON"))["ladder"]["messages"]) == 16


def test_captures_are_saved(call: Any, tmp_path: Path) -> None:
    need("tshark")
    page = call("leg-one@b2bua")
    file = tmp_path / "call.pcap"
    file.write_bytes(saved(page, "pcap"))
    done = subprocess.run(
        ["tshark", "-n", "-r", str(file), "-T", "fields", "-e", "sip.Call-ID"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert sorted(set(done.stdout.split())) == ["leg-one@b2bua", "leg-two@b2bua"]
    assert len(done.stdout.split()) == 7


def test_the_link_is_copied(call: Any) -> None:
    page = call("held-call", m=3)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy link").click()
    page.wait_for_selector(".toast")
    assert page.evaluate("navigator.clipboard.readText()") == page.url


def test_unknown_calls(call: Any) -> None:
    page = call("held-calls", wait=False)
    page.wait_for_selector(".notice.error")
    expect(page.locator(".notice")).to_contain_text("no message with Call-ID held-calls")
    page.get_by_role("link", name="held-call").click()
    page.wait_for_selector("svg.messages")
    assert page.faults.pop().startswith("Failed to load resource")  # the 404 that was asked for
    expect(call("", wait=False).locator(".notice.error")).to_have_text(re.compile(r"^No Call-ID"))


def test_zones(call: Any) -> None:
    page = call("held-call")
    expect(page.locator("svg.messages .t").first).to_have_text("14:46:45.000")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d 14:46:45 Europe/Berlin", page.inner_text("#title .when"))
    page.get_by_role("button", name="Time zone").click()
    expect(page.locator("svg.messages .t").first).to_have_text("13:46:45.000")
    expect(page.locator("#title .when")).to_have_text(re.compile(r"13:46:45 UTC$"))


def test_numbers_and_times_stay_when_scrolled_sideways(call: Any) -> None:
    page = call("held-call", phone=True)
    page.evaluate("document.querySelector('#flow').scrollLeft = 200")
    page.wait_for_timeout(50)
    assert 0 <= page.locator("svg.messages .t").first.bounding_box()["x"] < 60
    assert page.locator("#title").bounding_box()["x"] < 20
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize("phone", [False, True], ids=["wide", "phone"])
def test_nothing_moves(call: Any, site: Site, phone: bool) -> None:
    page = call("held-call", phone=phone)
    page.add_init_script(
        """globalThis.shifts = [];
        new PerformanceObserver((list) => shifts.push(...list.getEntries().map((e) => e.value)))
            .observe({type: 'layout-shift', buffered: true});"""
    )
    page.reload()
    page.wait_for_selector("svg.messages")
    page.wait_for_timeout(200)
    assert page.evaluate("shifts") == []


def test_the_picture_stays_while_the_server_is_away(call: Any) -> None:
    page = call("held-call")
    page.context.set_offline(True)
    page.keyboard.press("r")
    page.wait_for_selector(".notice.error:has-text('was not read again')")
    expect(page.locator("svg.messages .m")).to_have_count(16)
    page.context.set_offline(False)
    page.keyboard.press("r")
    page.wait_for_selector(".notice.error", state="detached")
    assert page.faults.pop().startswith("Failed to load resource")  # what could not be read


def test_a_long_call_id_makes_nothing_wider(call: Any) -> None:
    page = call("L" * 600, phone=True)
    assert page.locator(".leg").bounding_box()["width"] <= 390
    assert page.get_by_role("button", name="Copy the Call-ID").bounding_box()["x"] < 370


def test_long_calls_are_drawn_at_once(call: Any) -> None:
    """How long it takes is in docs/performance.md; here: no message asks for a layout of its own."""
    page = call("long")
    client = page.context.new_cdp_session(page)
    client.send("Performance.enable")

    def layouts() -> int:
        metrics = {one["name"]: one["value"] for one in client.send("Performance.getMetrics")["metrics"]}
        return int(metrics["LayoutCount"])

    before = layouts()
    page.get_by_role("button", name="by Call-ID").click()
    assert layouts() - before < 20
    assert page.evaluate("performance.getEntriesByName('ladder').length") >= 2


@pytest.mark.skipif(not FAX.exists(), reason="no recorded captures here")
def test_a_real_capture(call: Any) -> None:
    page = call(FAX_CALL)
    expect(page.locator("svg.messages [role=option]")).to_have_count(69)
    expect(page.locator("#findings")).to_contain_text("488")
    page.locator("#findings button.finding").first.click()
    expect(page.locator("#panel h2")).to_contain_text("488")
    expect(page.locator("svg.messages .faint")).to_have_count(23)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_everybody_can_use_it(call: Any, dark: bool) -> None:
    from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]

    page = call("leg-one@b2bua", m=3, open=1, tab="headers", dark=dark)
    page.get_by_role("button", name="Show").click()
    for tab in ("Message", "SDP", "Difference"):
        page.get_by_role("tab", name=tab, exact=True).click()
        found = Axe().run(page).response["violations"]
        assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found] == []


@pytest.mark.parametrize("look", ["light", "dark", "phone"])
def test_screenshots(call: Any, look: str) -> None:
    view = {} if look == "phone" else {"m": 1, "open": 1, "tab": "sdp"}
    page = call("held-call", dark=look == "dark", phone=look == "phone", **view)
    expect(page.locator("svg.messages [role=option]")).to_have_count(16)
    if SCREENSHOTS:
        keep(page, ROOT / "docs/images" / f"call-{look}.png")
