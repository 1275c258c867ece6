"""Plans like those that the original ships, and the built-in ones, on made and recorded traffic."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from hepcat.batch.drops import Drop
from hepcat.errors import HepcatError
from hepcat.plans.builtin import KINDS, builtin_plan
from hepcat.plans.compiler import compile_plan
from hepcat.plans.measure import bench_plan
from hepcat.sources.pcap_file import read_batches
from tests.plans.support import SDP, Bench, bench, sip
from tests.plans.test_functions import DIAMETER, DNS, ISUP, JUNK, REPORT, RTCP, RTP, XR
from tests.support import ROOT, SHARED
from tests.wire.make_batch import Datagram

#: The shipped plans in our own words (what they do: size, protocol, media, send).
PLANS = {
    "sip": """
capture[sipplan] {
    # anything that is long enough to be SIP
    if (msg_check("size", "100")) {
        if (parse_sip()) {
            if (!send_hep("hepsocket")) { clog("ERROR", "not sent"); }
            if (sip_has_sdp()) {
                if (!check_rtcp_ipport()) { clog("ERROR", "no media in the SDP"); }
            }
        }
    }
    drop;
}""",
    "rtcp": """
capture[rtcpplan] {
    if (msg_check("size", "30")) {
        if (is_rtcp()) {
            if (is_rtcp_exist()) {
                if (parse_rtcp_to_json()) { send_hep("hepsocket"); }
            }
        }
    }
    drop;
}""",
    "rtcpxr": """
capture[rtcpxrplan] {
    if (is_rtcpxr()) {
        if (parse_rtcpxr_to_json()) { send_hep("hepsocket"); }
    }
    else {
        if (parse_full_sip()) {
            if (sip_check("method", "PUBLISH")) {
                send_hep_proto("hepsocket", "99");
                send_reply();
            }
        }
    }
    drop;
}""",
    "tls": """
capture[tlsplan] {
    if (parse_tls()) {
        if (parse_sip()) { send_hep("hepsocket"); if (sip_has_sdp()) { check_rtcp_ipport(); } }
    }
    drop;
}""",
    "tzsp": 'capture[tzsp] { if (tzsp_payload_extract()) { if (parse_sip()) send_hep("hepsocket"); } drop; }',
    "isup": 'capture[isup] { if (parse_isup_to_json()) { send_hep("hepsocket"); } drop; }',
    "diameter": 'capture[dia] { if (parse_diameter_to_json()) { send_hep("hepsocket"); } drop; }',
}

CALL = sip(body=SDP, call_id="call@x")
MEDIA = Datagram(RTCP, src="10.0.0.1", src_port=4001, dst="10.7.0.1", dst_port=9)
STRANGER = Datagram(RTCP, src="10.8.0.1", src_port=4001, dst="10.8.0.2", dst_port=9)
TRAFFIC = (
    Datagram(CALL),
    Datagram(sip(status=200)),
    MEDIA,
    STRANGER,
    Datagram(XR, src="10.8.0.3", src_port=1),
    Datagram(REPORT),
    Datagram(DIAMETER, src="10.8.0.4"),
    Datagram(ISUP, proto=132, src="10.8.0.4"),
    Datagram(DNS, src="10.8.0.4", src_port=53),
    Datagram(RTP, src="10.8.0.4"),
    Datagram(JUNK, src="10.8.0.4"),
)


def sent_by(made: Bench) -> list[tuple[int, int]]:
    return [(r["row"], r["hep_type"]) for r in made.targets["hepsocket"].records]


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("sip", [(0, 1), (1, 1), (5, 1)]),
        ("rtcp", []),
        ("rtcpxr", [(4, 5), (5, 99)]),
        ("tls", [(0, 1), (1, 1), (5, 1)]),
        ("tzsp", [(0, 1), (1, 1), (5, 1)]),
        ("isup", [(7, 0x36)]),
        ("diameter", [(6, 0x38)]),
    ],
)
def test_shipped_plans(name: str, sent: list[tuple[int, int]]) -> None:
    made = bench(PLANS[name])
    assert made.plan.warnings == ()
    work = made.run(*TRAFFIC)
    assert sorted(sent_by(made)) == sorted(sent)
    assert int(made.env.drops[Drop.PLAN]) == work.batch.n - len(sent)


def test_the_sip_plan_teaches_the_rtcp_plan() -> None:
    first = bench(PLANS["sip"])
    second = bench(PLANS["rtcp"], media=first.env.media)
    first.run(CALL)
    report = RTCP[:1] + b"\xc9\0\1" + bytes(4) + RTCP  # the plan wants more than 30 octets
    second.run(Datagram(report, src="10.0.0.1", src_port=4001, dst="10.7.0.1"), MEDIA, STRANGER)
    (record,) = second.targets["hepsocket"].records
    assert record["correlation_id"] == b"call@x"
    assert json.loads(record["payload"])["type"] in (200, 201)


def test_the_rtcpxr_plan_answers() -> None:
    made = bench(PLANS["rtcpxr"])
    made.run(*TRAFFIC)
    assert made.env.replier.answers == [(5, 200, "OK")]  # type: ignore[union-attr]


CAPTAGENT = ROOT / "tests" / "config" / "captagent" / "etc" / "plans"


@pytest.mark.parametrize("path", sorted(CAPTAGENT.glob("*.cfg")), ids=lambda p: p.stem)
def test_plans_of_the_configuration_tests_compile(path: Path) -> None:
    plan = compile_plan(path.read_text(), str(path), ["hepsocket"], {}, ("X-A",))
    assert plan.targets == {"hepsocket"}


# ---- built-in plans


@pytest.mark.parametrize(
    ("kind", "sent"),
    [
        ("sip", [0, 1, 5]),
        ("rtcp", []),
        ("default", [0, 1, 2, 5, 5, 6, 7, 8]),
    ],
)
def test_builtin_plans(kind: str, sent: list[int]) -> None:
    made = bench(builtin_plan(kind, ["hepsocket", "other"]))
    made.run(*TRAFFIC)
    assert sorted(made.sent) == sent
    assert sorted(made.targets["other"].rows) == sent
    assert made.plan.name == kind
    assert made.plan.warnings == ()


def test_builtin_plans_need_a_target_and_a_kind_that_there_is() -> None:
    assert set(KINDS) == {"sip", "rtcp", "default"}
    with pytest.raises(HepcatError, match="needs a target"):
        builtin_plan("sip", [])
    with pytest.raises(HepcatError, match='no built-in plan "spi"; did you mean "sip"'):
        builtin_plan("spi", ["a"])


# ---- recorded traffic


def batches(name: str) -> object:
    path = SHARED / "captures" / name
    if not path.exists():
        pytest.skip("the captures are not here")
    return read_batches(path, only_sip=False)


@pytest.mark.parametrize(
    ("name", "sip_messages"),
    [("zeek-wireshark.pcap", 81), ("ndpi-FAX-Call-t38-CA-TDM-SIP-FB-1.pcap", 92), ("ndpi-rtp.pcapng", 0)],
)
def test_recorded_sip_is_sent_whole(name: str, sip_messages: int) -> None:
    made = bench(PLANS["sip"])
    total = sent = 0
    for batch in batches(name):  # type: ignore[attr-defined]
        work = made.run(batch)
        total += batch.n
        sent += int(np.count_nonzero(work.sent))
        assert not np.count_nonzero(~work.sent & ~work.dropped)
    assert sent == sip_messages
    assert int(made.env.drops[Drop.PLAN]) == total - sent


def test_recorded_media_finds_its_call() -> None:
    made = bench(
        'capture { if (parse_sip()) { check_rtcp_ipport(); send_hep("other"); } '
        'else if (is_rtcp_or_rtp() && is_rtcp_exist()) send_hep("hepsocket"); }'
    )
    for batch in batches("ndpi-FAX-Call-t38-CA-TDM-SIP-FB-1.pcap"):  # type: ignore[attr-defined]
        made.run(batch)
    messages = b"".join(r["payload"] for r in made.targets["other"].records)
    media = made.targets["hepsocket"].records
    assert len(media) > 1000
    assert all(b"Call-ID: " + record["correlation_id"] in messages for record in media)


# ---- cost


@pytest.mark.skipif(os.environ.get("HEPCAT_PURE") == "1", reason="uncompiled kernels are slow")
def test_a_plan_of_twenty_functions_costs_little() -> None:
    """At most 0.5 us a message. Measured over again where the machine was busy."""
    from hepcat.batch.gather import take_rows
    from tests.wire.make_batch import make_batch

    few = make_batch(
        *[sip(m, call_id=f"{i}@x") for i, m in enumerate(("INVITE", "BYE", "OPTIONS", "INFO") * 8)]
    )
    batch = take_rows(few, np.arange(2000, dtype=np.int64) % few.n)
    assert min(bench_plan(batch, seconds=0.3) for _ in range(3)) < 0.5
