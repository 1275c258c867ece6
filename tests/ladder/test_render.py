"""The forms of the picture: golden pictures of small calls, and what hostile messages may not do to any.

HEPCAT_GOLDEN=1 writes the golden files anew; look at the difference before you commit it.
"""

import json
import os
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from hepcat.search.ladder import Ladder, build
from hepcat.search.render.escape import cells, fit, fit_middle, safe_block, safe_line, split_cells
from hepcat.search.render.mermaid import mermaid_text
from tests.ladder.make import PCMU, message, table
from tests.ladder.test_model import A, B, C, answered, fork

GOLDEN = Path(__file__).parent / "golden"
SVG = "{http://www.w3.org/2000/svg}"


def two_calls() -> list[dict]:
    """A call that is put on hold, and one that is refused over TCP, with retransmissions and a loop."""
    hold = PCMU + "a=sendonly\r\n"
    other = {"call_id": "call-2", "from_tag": "x", "transport": "tcp"}
    return [
        *answered()[:5],
        message(5, f"{A}>{B}", "INVITE", cseq="2 INVITE", branch="z9hG4bK9", to_tag="b", sdp=hold),
        message(5.5, f"{A}>{B}", "INVITE", cseq="2 INVITE", branch="z9hG4bK9", to_tag="b", sdp=hold),
        message(6, f"{B}>{C}", "INVITE", branch="z9hG4bK8", **other),
        message(6.1, f"{C}>{C}", "INVITE", branch="z9hG4bK7", **other),
        message(6.2, f"{C}>{B}", "486 Busy Here", branch="z9hG4bK8", to_tag="c", **other),
        message(86_400, f"{B}>{A}", "BYE", branch="z9hG4bK3", from_tag="b", to_tag="a"),
    ]


CALLS = {"answered": answered, "fork": fork, "two-calls": two_calls}
FORMS = {
    "80.txt": lambda x: x.text(width=80),
    "140.txt": lambda x: x.text(width=140),
    "40.txt": lambda x: x.text(width=40),
    "color.txt": lambda x: x.text(width=100, color=True),
    "raw.txt": lambda x: x.text(width=100, raw=True),
    "svg": lambda x: x.svg(),
    "mmd": lambda x: x.mermaid(),
    "json": lambda x: x.json(raw=True),
}


def ladder(*rows: dict, **options) -> Ladder:
    return build(table(rows), **options)


def every_form(result: Ladder) -> dict[str, str]:
    return {name: draw(result) for name, draw in FORMS.items()}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("call", CALLS)
def test_golden(call: str, form: str) -> None:
    picture = FORMS[form](ladder(*CALLS[call](), aliases={"10.0.0.2": "proxy"}))
    path = GOLDEN / f"{call}.{form}"
    if os.environ.get("HEPCAT_GOLDEN") == "1":
        GOLDEN.mkdir(exist_ok=True)
        path.write_text(picture, encoding="utf-8")
    assert picture == path.read_text(encoding="utf-8")


def test_lines_of_media_end_at_the_next_lifeline() -> None:
    sdp = PCMU.replace("10.0.0.1", "198.51.100.250").replace("4000", "15875").replace(" 0 8 ", " 9 8 0 18 ")
    whole = "G722 PCMA PCMU G729 telephone-event 198.51.100.250:15875 sendrecv"
    lone = message(0, f"{A}>{B}", "INVITE", sdp=sdp)
    for rows, shown in (
        ([lone], whole),
        ([lone, *(message(1 + n, f"{B}>10.0.9.{n}:5060", "BYE") for n in range(6))], None),
    ):
        root = ET.fromstring(ladder(*rows).svg())
        lives = [float(one.get("x1", "0")) for one in root.iter(f"{SVG}line") if one.get("class") == "life"]
        text = next(one for one in root.iter(f"{SVG}text") if one.get("class") == "s")
        assert text.text is not None
        if shown:
            assert text.text == shown
            assert float(text.get("x", "0")) + len(text.text) * 6.4 < lives[1]
        else:
            assert text.text.endswith("…")
            assert len(text.text) == 240 / 6.5 // 1
            assert whole.split()[0] in text.text
        assert "198.51.100.250:15875" in "".join(root.itertext())


def rows_of(text: str) -> list[str]:
    return [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in text.splitlines()]


@pytest.mark.parametrize("width", [1, 40, 41, 60, 72, 80, 100, 132, 200, 400])
@pytest.mark.parametrize("color", [False, True])
def test_no_row_is_wider_than_asked(width: int, color: bool) -> None:
    long = [message(100, f"{A}>{B}", "480 " + "word " * 60, to_tag="b"), message(101, f"{B}>{A}", "X" * 300)]
    for rows in (answered(), fork(), two_calls(), long):
        for line in rows_of(ladder(*rows).text(width=width, color=color)):
            assert cells(line) <= max(width, 40), line


@pytest.mark.parametrize("hosts", [1, 2, 12, 30, 60, 200])
@pytest.mark.parametrize("width", [40, 80, 200])
def test_many_hosts(hosts: int, width: int) -> None:
    """Every message is drawn once, in as many columns as there is room for."""
    rows = [
        message(
            i / 100, f"10.0.0.{i % hosts + 1}:5060>10.0.0.{(i + 1) % hosts + 1}:5060", "INFO", branch=f"b{i}"
        )
        for i in range(hosts + 3)
    ]
    lines = rows_of(ladder(*rows).text(width=width))
    assert sum(bool(re.match(r" *\d+ 13:46:4", line)) for line in lines) == hosts + 3
    assert sum("INFO" in line and "13:46" in line for line in lines) == hosts + 3
    assert all(cells(line) <= width for line in lines)


def test_the_terminals_width_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "64")
    assert max(cells(line) for line in ladder(*answered()).text().splitlines()) <= 64
    monkeypatch.setenv("COLUMNS", "180")
    assert max(cells(line) for line in ladder(*answered()).text().splitlines()) > 64


def test_local_time(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        assert "14:46:45.000" in ladder(*answered()).text(utc=False)
        assert "2026-11-22 CET" in ladder(*answered()).text(utc=False)
        assert "14:46:45.000" in ladder(*answered()).svg(utc=False)
    finally:
        monkeypatch.undo()
        time.tzset()


def test_plain_text_has_no_escapes_and_colour_only_colours() -> None:
    result = ladder(*two_calls())
    plain, colored = result.text(width=100), result.text(width=100, color=True)
    assert "\x1b" not in plain
    stripped = re.sub(r"\x1b\[[0-9;]*m", "", colored)
    assert [line.rstrip() for line in stripped.splitlines()] == plain.splitlines()


HOSTILE = [
    "\x1b[2J\x1b]0;owned\x07",
    "a\x00b\r\nInjected: x\x7f\x9b31m",
    "\u202egnirts\u2066\u200b\ufeff",
    "<script>alert(1)</script>&amp;\"'",
    "]]><svg onload=x>",
    "end; participant X\n%%{init: {}}%% #quot; $$x$$",
    "wrap: nowrap:`x`",
    "a" + "\u0301" * 500,
    "漢字かな交じり文" * 30,
    "\ud800\U000e0001\ufffe\U0010ffff",
    "x" * 10_000,
    "[bold red]markup[/]",
    "\\x1b[31m",
]


def hostile_rows(text: str) -> list[dict]:
    clean = text.encode("utf-8", "replace").decode()
    rows = [
        message(0, f"{A}>{B}", "INVITE", call_id=clean),
        message(1, f"{B}>{A}", "180 x", call_id=clean, to_tag="t"),
        message(2, f"{A}>{A}", "BYE", call_id=clean + "2"),
    ]
    for name in ("from_user", "to_user", "ruri", "user_agent", "malformed"):
        rows[0][name] = clean
    rows[0]["method"] = clean
    rows[1]["reason_phrase"] = clean
    body = f"v=0\nm=audio 1 RTP/AVP 96\na=rtpmap:96 {clean}/8000\nc=IN IP4 {clean}\n"
    rows[0]["payload"] = b"X\r\n\r\n" + body.encode()
    rows[0]["content_type"] = "application/sdp"
    rows[2]["payload"] = text.encode("utf-8", "surrogatepass")
    return rows


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_reaches_no_form_raw(text: str) -> None:
    result = ladder(*hostile_rows(text), aliases={"10.0.0.1": text})
    forms = every_form(result)
    for name, picture in forms.items():
        shown = re.sub(r"\x1b\[[0-9;]*m", "", picture) if name == "color.txt" else picture
        bad = re.search(
            "[\x00-\x09\x0b-\x1f\x7f-\x9f\u00ad\u0300-\u036f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]",
            shown,
        )
        assert bad is None, (name, bad)
        picture.encode("utf-8")
    root = ET.fromstring(forms["svg"])
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {
        "svg", "style", "rect", "line", "text", "g", "title", "path", "circle", "tspan"
    }  # fmt: skip
    assert not [a for e in root.iter() for a in e.attrib if a.startswith("on") or "href" in a]
    check_mermaid(forms["mmd"])
    assert len(json.loads(forms["json"])["messages"]) == 3
    for name in ("80.txt", "40.txt"):
        assert all(cells(line) <= int(name[:2]) for line in forms[name].splitlines())
        assert len(forms[name]) < 8000, "one hostile name does not fill the screen"


LINE = re.compile(
    r"sequenceDiagram"
    r"|    participant h\d+ as (?P<alias>.+)"
    r"|    Note over h\d+(,h\d+)?: (?P<note>.*)"
    r"|    h\d+--?>>h\d+: (?P<text>.+)"
)


def check_mermaid(diagram: str) -> None:
    """Mermaid's rules: one statement a line, `;` and `#` only in entity codes, no markup but <br/>."""
    assert diagram.endswith("\n")
    for line in diagram[:-1].split("\n"):
        match = LINE.fullmatch(line)
        assert match is not None, line
        for text in filter(None, match.groupdict().values()):
            rest = re.sub(r"#\d+;", "", text).replace("<br/>", "")
            assert not re.search(r'[#;<>&%$`"{}\\]', rest), line
            assert not re.match(r"\s*:?(no)?wrap:", text), line


def test_mermaid_text_reads_back() -> None:
    """An entity code is the character's number, as Mermaid and browsers read it."""
    text = 'a; b #1 <i>& "q" %% `x` {y} wrap: z'
    codes = re.sub(r"#(\d+);", lambda m: chr(int(m[1])), mermaid_text(text))
    assert codes == text
    assert mermaid_text("a\nb") == "a#92;x0ab"
    assert mermaid_text("\ufb02°°60¶ß") == "#64258;°°60#182;ß"
    assert mermaid_text("wrap: me") == "wrap#58; me"
    assert mermaid_text("180 Ringing") == "180 Ringing"
    assert mermaid_text("sip:a@10.0.0.1:5060") == "sip:a@10.0.0.1:5060"


def test_json_has_the_whole_model() -> None:
    value = json.loads(ladder(*two_calls()).json())
    assert [call["call_id"] for call in value["calls"]] == ["call-1", "call-2"]
    assert value["messages"][0]["sdp"]["summary"].startswith("PCMU PCMA")
    assert value["messages"][6]["retransmission_of"] == 5
    assert value["messages"][0]["octets"] > 200
    assert "payload" not in value["messages"][0]
    raw = json.loads(ladder(*two_calls()).json(raw=True))
    assert raw["messages"][0]["payload"].startswith("INVITE sip:bob@example.com SIP/2.0\r\n")


def test_svg_in_a_notebook() -> None:
    result = ladder(*answered())
    assert result._repr_svg_() == result.svg()
    root = ET.fromstring(result.svg())
    groups = [g for g in root.iter(f"{SVG}g") if "m" in g.attrib["class"].split()]
    assert len(groups) == 7
    assert groups[0].findtext(f"{SVG}title", "").startswith("#1  2026-11-22 13:46:45.000000+00:00")
    # a notebook puts the style sheet into its own page: every rule is for our class alone
    style = root.findtext(f"{SVG}style") or ""
    for rule in re.sub(r"@media[^{]*\{", "", style).split("}"):
        for selector in filter(None, rule.partition("{")[0].split(",")):
            assert selector.startswith("svg.hepcat "), selector
    assert "prefers-color-scheme:dark" in style


def test_every_form_of_nothing() -> None:
    empty = ladder()
    assert empty.text() == "no messages\n"
    ET.fromstring(empty.svg())
    check_mermaid(empty.mermaid())
    assert json.loads(empty.json()) == {"hosts": [], "calls": [], "messages": []}


def test_times_that_no_calendar_has() -> None:
    rows = [{**message(0, f"{A}>{B}", "INVITE"), "ts": ts} for ts in (-(2**62), 0, 2**62)]
    for picture in every_form(ladder(*rows)).values():
        assert "INVITE" in picture


def test_raw_shows_the_octets() -> None:
    text = ladder({**message(0, f"{A}>{B}", "INVITE"), "payload": b'X: "\\\x1b[2J\xff"\r\n\tfold\r\n'}).text(
        raw=True
    )
    assert 'X: "\\\\x1b[2J\\xff"\n\\x09fold\n' in text
    assert safe_block(b"a\r\n\r\nb") == ["a", "", "b"]


def test_measuring_text() -> None:
    assert (cells("abc"), cells("漢字"), cells("─>")) == (3, 4, 2)
    assert (fit("abcdef", 4), fit("漢字漢字", 5), fit("abc", 3), fit("abc", 0)) == (
        "abc…",
        "漢字…",
        "abc",
        "",
    )
    assert fit_middle("10.0.0.1:5060", 9) == "10.0…5060"
    assert split_cells("a漢") == ["a", "漢", ""]
    assert safe_line("é ü 漢 → €") == "é ü 漢 → €"
    assert safe_line(None) == ""
