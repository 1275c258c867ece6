"""Recorded traffic: a real proxy's HEP and real captures; and `flow` says of a call what `search` says."""

import time
import xml.etree.ElementTree as ET

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from hepcat.search.ladder import Ladder, build
from hepcat.search.searcher import Searcher
from tests.ladder.make import message, recorded_hep, recorded_pcap, table
from tests.ladder.test_model import A, B, answered, fork
from tests.ladder.test_render import check_mermaid, two_calls
from tests.search.support import Source
from tests.support import SHARED

needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason=f"no recorded traffic at {SHARED}")


def of(messages: pa.Table, call_id: str) -> Ladder:
    return build(messages.filter(pc.equal(messages["call_id"], call_id)))


@needs_shared
def test_a_call_through_a_real_proxy() -> None:
    result = of(recorded_hep(), "1-31396@127.0.0.1")
    assert [h.name for h in result.hosts] == ["127.0.0.1:5062", "127.0.0.1:5070", "127.0.0.1:5080"]
    assert [(a.src, a.dst, a.label) for a in result.arrows] == [
        (0, 1, "INVITE"),
        (1, 0, "100 trying -- your call is important to us"),
        (1, 2, "INVITE"),
        (2, 1, "180 Ringing"),
        (1, 0, "180 Ringing"),
        (2, 1, "200 OK"),
        (1, 0, "200 OK"),
        (0, 1, "ACK"),
        (1, 2, "ACK"),
        (0, 1, "BYE"),
        (1, 2, "BYE"),
        (2, 1, "200 OK (BYE)"),
        (1, 0, "200 OK (BYE)"),
    ]
    assert not any(a.notes for a in result.arrows)
    assert [a.sdp.summary for a in result.arrows if a.sdp] == [
        "PCMU 127.0.0.1:6004 sendrecv",
        "PCMU 127.0.0.1:6004 sendrecv",
        "PCMU 127.0.0.1:6000 sendrecv",
        "PCMU 127.0.0.1:6000 sendrecv",
    ]


@needs_shared
def test_all_calls_of_a_recording() -> None:
    messages = recorded_hep()
    calls = messages.column("call_id").unique().to_pylist()
    assert len(calls) == 100
    for call_id in calls:
        result = of(messages, call_id)
        assert (len(result.arrows), len(result.hosts)) == (13, 3)
        assert (result.legs[0].status, result.legs[0].state) == (200, "completed")
        assert not any(a.notes for a in result.arrows)


@needs_shared
def test_retransmissions_of_a_real_phone() -> None:
    """An INVITE sent three times and a CANCEL eleven times, no answer in time."""
    result = of(recorded_pcap("zeek-wireshark.pcap"), "105090259-446faf7a@192.168.1.2")
    assert [a.retransmission for a in result.arrows if a.label == "INVITE"] == [0, 1, 2]
    assert [a.retransmission for a in result.arrows if a.label == "CANCEL"] == list(range(11))
    assert result.legs[0].state == "no answer"


@needs_shared
def test_a_real_call_seen_at_three_places() -> None:
    """A trunk, a LAN and its mirror: the mirror doubles messages, the trunk has them unchanged."""
    result = build(recorded_pcap("ndpi-FAX-Call-t38-CA-TDM-SIP-FB-1.pcap"))
    assert len(result.arrows) == 92
    lan = [a for a in result.arrows if a.src_text.startswith("10.35.40.")]
    assert len([a for a in lan if a.copy_of is not None]) * 2 == len(lan) == 46
    assert not any(a.retransmission for a in result.arrows)
    assert result.arrows[1].forward_of == 0
    assert {"re-INVITE"} < {a.label for a in result.arrows}
    assert any(a.sdp and a.sdp.summary.startswith("image t38") for a in result.arrows)
    ET.fromstring(result.svg())
    check_mermaid(result.mermaid())


def agree(messages: pa.Table) -> int:
    """Compare each leg with the row that search has for the call; return how many calls there were."""
    source = Source(())
    source.tables["sip"] = messages
    calls = {row["call_id"]: row for row in Searcher(source).calls("").table.to_pylist()}  # type: ignore[arg-type]
    legs = [leg for leg in build(messages).legs if leg.call_id]
    assert {leg.call_id for leg in legs} == set(calls)
    for leg in legs:
        row = calls[leg.call_id]
        assert (leg.method, leg.status, leg.state, leg.messages) == (
            row["method"],
            row["status"],
            row["state"],
            row["messages"],
        )
        for name in ("post_dial_delay", "ring_time", "talk_time"):
            mine = getattr(leg, name)
            assert (None if mine is None else mine / 1e6) == row[name], (leg.call_id, name)
    return len(legs)


def outcomes() -> pa.Table:
    """A call for each way that a call can go."""
    rows = []
    for number, (method, status, expires) in enumerate(
        (method, status, expires)
        for method in ("INVITE", "REGISTER", "OPTIONS", "ACK")
        for status in (None, "100 Trying", "180 Ringing", "200 OK", "302 Moved", "401 Unauthorized",
                       "404 Not Found", "408 Timeout", "480 Away", "486 Busy", "487 Gone", "503 Down",
                       "603 No")
        for expires in (None, 0)
    ):  # fmt: skip
        call = {"call_id": f"call-{number}", "branch": f"z9hG4bK{number}"}
        rows.append({**message(number, f"{A}>{B}", method, **call), "expires": expires})
        if status:
            rows.append(message(number + 1, f"{B}>{A}", status, cseq=f"1 {method}", to_tag="b", **call))
        if number % 5 == 0:
            rows.append(message(number + 2, f"{A}>{B}", "CANCEL", **call))
        if number % 7 == 0:
            rows.append(message(number + 3, f"{A}>{B}", method, cseq=f"2 {method}", **call))
    return table(sorted(rows, key=lambda row: row["ts"]))


def test_flow_says_what_search_says() -> None:
    for rows in (answered(), fork(), two_calls()):
        agree(table(rows))
    assert agree(outcomes()) == 104


@needs_shared
def test_flow_says_what_search_says_of_recorded_calls() -> None:
    assert agree(recorded_hep()) == 100
    assert agree(recorded_pcap("zeek-wireshark.pcap")) > 5
    assert agree(recorded_pcap("ndpi-FAX-Call-t38-CA-TDM-SIP-FB-1.pcap")) == 2


def test_a_long_call_is_drawn_fast() -> None:
    """500 messages, each SDP different: about 0.03 s for the model and 0.05 s a form, alone on a core. Where
    others use its caches and its twin it takes twice that; what is drawn slowly takes ten times as long.
    """
    rows = []
    for i in range(100):
        for row in answered()[:5]:
            body = row["payload"].replace(b"4000", str(4000 + i).encode())
            rows.append({**row, "ts": row["ts"] + i * 20_000_000, "payload": body, "via_1_branch": f"b{i}"})
    messages = table(rows)
    best = min(_seconds(lambda: build(messages)) for _ in range(5))
    assert best < 0.3
    result = build(messages)
    assert min(_seconds(lambda: result.text(width=120, color=True)) for _ in range(5)) < 0.5
    assert min(_seconds(result.svg) for _ in range(5)) < 0.5


def _seconds(work: object) -> float:
    """Of the processor: what others do meanwhile is not counted."""
    start = time.thread_time()
    work()  # type: ignore[operator]
    return time.thread_time() - start
