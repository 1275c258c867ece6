"""Whatever a message holds, findings are few, short, safe to show, and found in about linear time."""

import random
from typing import Any

import pytest

from hepcat.search.findings import RULES, find
from hepcat.search.findings.addresses import ip_of, kind_of
from hepcat.search.findings.authentication import digest
from hepcat.search.findings.causes import cause_words, causes, given_reasons
from hepcat.search.findings.headers import MAX_LINES, MAX_VALUE, parameters, read_headers, split_quoted
from hepcat.search.findings.registry import MAX_ARROWS, MAX_FINDINGS, MAX_OF_A_RULE
from hepcat.search.ladder import build
from tests.findings.scenarios import CLEAN, DOWN, UP, WRONG, Talk, challenge, credentials, sdp
from tests.ladder.make import table

#: Things that text of the network should never do to a terminal or a page.
NASTY = "\x1b[31m\x07\u202e<script>alert(1)</script>\x00\x9b\r"


def small(rows: list[dict[str, Any]]) -> list[Any]:
    """Return the findings of rows, having checked what must hold for all."""
    ladder = build(table(rows))
    found = find(ladder)
    names = {rule.name for rule in RULES}
    assert len(found) <= MAX_FINDINGS
    for finding in found:
        assert finding.rule in names
        assert len(finding.title) < 500
        assert len(finding.detail) < 2000
        text = finding.title + finding.detail
        assert text.isprintable(), text
        assert 0 < len(finding.arrows) <= MAX_ARROWS
        assert all(0 <= index < len(ladder.arrows) for index in finding.arrows)
    for leg in ladder.legs:
        for rule in RULES:
            assert sum(f.rule == rule.name and f.call == leg.index for f in found) <= MAX_OF_A_RULE
    return found


@pytest.mark.parametrize("seed", range(8))
def test_broken_messages(seed: int) -> None:
    """Octets, columns and orders of real calls at random."""
    dice = random.Random(seed)
    rows = [row for scenario in (*WRONG, *CLEAN) for row in scenario()]
    for row in rows:
        payload = bytearray(row["payload"])
        for _ in range(dice.randrange(6)):
            payload[dice.randrange(len(payload))] = dice.randrange(256)
        row["payload"] = bytes(
            payload[: dice.randrange(len(payload) + 1)] if dice.random() < 0.2 else payload
        )
        for name in ("cseq", "from_tag", "to_tag", "via_1_branch", "method", "ruri", "src_ip", "call_id"):
            if dice.random() < 0.1:
                row[name] = dice.choice([None, "", NASTY, "1", "999999999999999999999 INVITE", "x" * 5000])
        if dice.random() < 0.1:
            row["status"] = dice.choice([None, 0, 99, 200, 487, 699, 65535])
    dice.shuffle(rows)
    small(rows)


def test_nasty_text_everywhere() -> None:
    extra = (
        f'Reason: {NASTY};cause=17;text="{NASTY}"\r\nWarning: 399 {NASTY}\r\nRetry-After: {NASTY}\r\n'
        f"Unsupported: {NASTY}\r\nContact: <sip:{NASTY}@10.0.0.1>\r\nMin-SE: {NASTY}\r\n"
    )
    rows = Talk("nasty").refused(f"488 {NASTY}".replace("\r", ""), extra, sdp(codecs=NASTY)).rows
    for row in rows:
        row["reason_phrase"] = NASTY if row["status"] else None
        row["ruri"] = row["user_agent"] = row["method"] = NASTY
    assert {f.rule for f in small(rows)} == {"final_failure"}
    assert {f.rule for f in small(Talk("n2").refused(f"503 {NASTY}", extra).rows)} >= {"final_failure"}


def test_long_reasons_are_cut() -> None:
    extra = "".join(f'Reason: Q.850;cause=41;text="{"x" * 3000}"\r\n' for _ in range(50))
    (finding, *_) = small(Talk("long").refused("500 Server Error", extra).rows)
    assert len(finding.detail) < 700


@pytest.mark.parametrize("kind", ["exchanges", "hops", "responses", "challenges", "sdp", "legs"])
def test_work_grows_with_the_messages(kind: str) -> None:
    """Twice the messages are twice the work: counted in calls of Python functions, not in seconds."""
    assert work(kind, 800) < 2.6 * work(kind, 400)


def work(kind: str, many: int) -> int:
    """Return how many functions are called to judge so many messages."""
    import sys

    ladder = build(table(flood(kind, many)))
    calls = 0

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        find(ladder)
    finally:
        sys.setprofile(before)
    return calls


def flood(kind: str, many: int) -> list[dict[str, Any]]:
    talk = Talk(kind)
    for i in range(many // 2):
        at, same = i / 10, {"cseq": f"{i + 1} INVITE"}
        if kind == "exchanges":
            talk.say(at, UP, "INVITE", str(i), to_tag="b", **same)
            talk.say(at + 0.05, DOWN, "200 OK", str(i), to_tag="b", extra="Session-Expires: 1800\r\n", **same)
        elif kind == "hops":
            talk.say(at, UP, "INVITE", str(i), extra=f"Max-Forwards: {many - i}\r\n")
            talk.say(at + 0.05, DOWN, "503 Full", str(i), to_tag=str(i))
        elif kind == "responses":
            talk.say(at, DOWN, "200 OK", to_tag=str(i), sdp=sdp("10.0.0.1"))
            talk.say(at, UP, "ACK", str(i), cseq="1 ACK", to_tag=str(i))
        elif kind == "challenges":
            talk.say(at, UP, "INVITE", str(i), extra=credentials(f"n{i - 1}"), **same)
            talk.say(at + 0.05, DOWN, "401 No", str(i), extra=challenge(f"n{i}"), to_tag="b", **same)
        elif kind == "sdp":
            talk.say(
                at, UP, "UPDATE", str(i), cseq=f"{i} UPDATE", to_tag="b", sdp=sdp(f"10.0.{i % 250}.1", i + 1)
            )
            talk.say(at + 0.05, DOWN, "488 No", str(i), cseq=f"{i} UPDATE", to_tag="b")
        else:
            talk.say(at, UP, "INVITE", str(i), call_id=f"leg{i}", sdp=sdp("10.0.0.1"))
            talk.say(at + 0.05, DOWN, "BYE", str(i), call_id=f"leg{i}", from_tag="b", to_tag="a")
    return talk.rows


def test_headers_are_read_tolerantly_and_bounded() -> None:
    found = read_headers(
        b"INVITE sip:a SIP/2.0\r\nm: <sip:a@b>\r\nCONTACT : <sip:c@d>\r\nx:\r\n 90;refresher=uac\r\n"
        b"no colon\r\n"
        b" folded into nothing\r\nReason: Q.850\r\n\t;cause=16\r\n\r\nReason: body\r\n"
    )
    assert found["contact"] == ["<sip:a@b>", "<sip:c@d>"]
    assert found["session-expires"] == [" 90;refresher=uac"] or found["session-expires"] == [
        "90;refresher=uac"
    ]
    assert found["reason"] == ["Q.850 ;cause=16"]
    many = read_headers(b"x\n" + b"".join(b"H%d: v\n" % i for i in range(10_000)))
    assert len(many) < MAX_LINES
    assert len(read_headers(b"x\nA: " + b"y" * 60_000)["a"][0]) == MAX_VALUE
    assert read_headers(b"") == {} == read_headers(b"\xff\x00")


def test_parameters_and_quotes() -> None:
    assert split_quoted('a;"b;c";<d;e>;f', ";") == ["a", '"b;c"', "<d;e>", "f"]
    assert parameters('Q.850 ; cause = 16 ;TEXT="a \\" b;c"') == {"cause": "16", "text": 'a " b;c'}
    assert digest('Digest realm="a, b", nonce=x,stale=TRUE') == {
        "realm": "a, b",
        "nonce": "x",
        "stale": "TRUE",
    }
    assert digest("") == {} == digest("Digest")


def test_reasons_in_words() -> None:
    headers = read_headers(
        b'x\nReason: SIP;cause=200;text="a, b", q.850;cause=17\nReason: preemption;cause=x\n'
    )
    assert list(causes(headers)) == [("SIP", 200, "a, b"), ("q.850", 17, ""), ("preemption", None, "")]
    assert cause_words("q.850", 17, "") == "Q.850 cause 17 (user busy)"
    assert given_reasons(headers) == ['Reason: SIP cause 200 "a, b"; Q.850 cause 17 (user busy); PREEMPTION.']
    assert given_reasons(read_headers(b"x\nReason: Q.850;cause=99999999999999\n")) == ["Reason: Q.850."]


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("10.0.0.1", "private"),
        ("172.32.0.1", "public"),
        ("172.31.0.1", "private"),
        ("192.168.1.1", "private"),
        ("100.64.0.1", "private"),
        ("100.128.0.1", "public"),
        ("169.254.1.1", "private"),
        ("192.0.2.1", "public"),
        ("127.0.0.2", "loopback"),
        ("::1", "loopback"),
        ("fd00::1", "private"),
        ("[fe80::1]", "private"),
        ("2001:db8::1", "public"),
        ("::ffff:10.0.0.1", "private"),
        ("0.0.0.0", "none"),
        ("224.2.1.1", "none"),
        ("example.com", "none"),
        ("", "none"),
        ("1" * 5000, "none"),
    ],
)
def test_kinds_of_addresses(address: str, kind: str) -> None:
    assert kind_of(address) == kind


def test_the_address_of_an_endpoint() -> None:
    ends = ("10.0.0.1:5060", "10.0.0.1", "[2001:db8::1]:5060", "2001:db8::1", "?")
    assert [ip_of(end) for end in ends] == ["10.0.0.1", "10.0.0.1", "2001:db8::1", "2001:db8::1", "?"]
