"""Every function of the registry: true for some records, false for others; a test walks the registry."""

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from hepcat.batch.layout import Batch
from hepcat.batch.schema import FIELD_INDEX
from hepcat.plans.compiler import compile_plan
from hepcat.plans.registry import functions, functions_reference
from tests.plans.support import SDP, bench, sip, true_for
from tests.wire import make_rtcp as rtcp
from tests.wire.make_batch import Datagram, make_batch

RTCP = rtcp.sr(1, 2, 3, 4, 5)
XR = rtcp.rr(1) + rtcp.xr(1, rtcp.voip_metrics(1, list(range(21))))
RTP = struct.pack("!BBHII", 0x80, 0, 1, 2, 3) + bytes(160)
DNS = struct.pack("!6H", 7, 0x0100, 1, 0, 0, 0) + b"\7example\3com\0" + struct.pack("!2H", 1, 1)
DIAMETER = b"\x01\x00\x00\x20\x80\x00\x01\x18\0\0\0\0" + bytes(8) + b"\0\0\x01\x07\x40\0\0\x0ca;b;"
REPORT = sip(
    "PUBLISH", body=b"VQSessionReport: CallTerm\r\nCallID: x@y\r\n", body_type="application/vq-rtcpxr"
)
ISUP_PDU = b"\xd5\0\x10\x00"


def m3ua(isup: bytes) -> bytes:
    """M3UA DATA (RFC 4666 section 3.3.1) with one Protocol Data parameter."""
    data = struct.pack("!II4B", 11522, 12163, 5, 2, 0, 5) + isup
    body = struct.pack("!HH", 0x0210, 4 + len(data)) + data + bytes(-len(data) % 4)
    return struct.pack("!4BI", 1, 0, 1, 1, 8 + len(body)) + body


ISUP = m3ua(ISUP_PDU)


@dataclass(frozen=True)
class Case:
    """A condition, records that it is true for, and records that it is false for."""

    condition: str
    true: tuple[Any, ...] = ()
    false: tuple[Any, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)


def udp(payload: bytes = b"x", **options: Any) -> Datagram:
    return Datagram(payload, **options)


INVITE, BYE, OK, BUSY = sip(), sip("BYE"), sip(status=200), sip(status=486)
JUNK = b"\x00\x01not sip"

# ruff: noqa: E501 (a table)
CASES = (
    Case('msg_check("size", "3")', (b"1234",), (b"123", b"")),
    Case('msg_check("src_ip", "10.0.0.1")', (udp(src="10.0.0.1"),), (udp(src="10.0.0.10"), udp(src="10.0.0.2"))),
    Case(
        'msg_check("source_ip", "10.1.")', (udp(src="10.1.2.3"), udp(src="10.1.255.255")), (udp(src="10.10.2.3"),)
    ),
    Case('msg_check("src_ip", "192.168.1")', (udp(src="192.168.1.9"), udp(src="192.168.10.9"), udp(src="192.168.199.9")), (udp(src="192.168.2.9"),)),
    Case('msg_check("dst_ip", "10.0.0.0/8")', (udp(dst="10.255.0.1"),), (udp(dst="11.0.0.1"), udp(src="10.0.0.1"))),
    Case('msg_check("destination_ip", "2001:db8::/32")', (udp(src="2001:db8::1", dst="2001:db8:1::2"),), (udp(src="2001:db9::1", dst="2001:db9::1"), udp())),
    Case('msg_check("src_ip", "2001:db8:")', (udp(src="2001:db8:5::1", dst="::1"),), (udp(src="2001:db80::1", dst="::1"), udp())),
    Case('msg_check("src_ip", "2001:db8::")', (udp(src="2001:db8:5::1", dst="::1"),), (udp(src="2001:db9::1", dst="::1"),)),
    Case('msg_check("src_ip", "2001:db8")', (udp(src="2001:db8::1", dst="::1"), udp(src="2001:db8f::1", dst="::1")), (udp(src="2001:db::1", dst="::1"),)),
    Case('msg_check("src_ip", "2001:db8::1")', (udp(src="2001:db8::1", dst="::1"),), (udp(src="2001:db8::2", dst="::1"),)),
    Case('msg_check("any_ip", "10.0.0.1, 192.0.2.0/24")', (udp(src="10.0.0.1"), udp(src="1.1.1.1", dst="192.0.2.9")), (udp(src="1.1.1.1"),)),
    Case('msg_check("src_port", "5060")', (udp(src_port=5060),), (udp(src_port=5061),)),
    Case('msg_check("dst_port", "5060-5091,8060")', (udp(dst_port=5091), udp(dst_port=8060)), (udp(dst_port=5092),)),
    Case('msg_check("any_port", "9")', (udp(dst_port=9), udp(src_port=9)), (udp(),)),
    Case('msg_check("src_port_gt", "100")', (udp(src_port=101),), (udp(src_port=100),)),
    Case('msg_check("src_port_lt", "100")', (udp(src_port=99),), (udp(src_port=100),)),
    Case('msg_check("dst_port_gt", "100")', (udp(dst_port=101),), (udp(dst_port=100),)),
    Case('msg_check("dst_port_lt", "100")', (udp(dst_port=99),), (udp(dst_port=100),)),
    Case("is_udp()", (udp(),), (udp(proto=6),)),
    Case("is_tcp()", (udp(proto=6),), (udp(),)),
    Case("is_sctp()", (udp(proto=132),), (udp(),)),
    Case("is_ipv4()", (udp(),), (udp(src="::1", dst="::2"),)),
    Case("is_ipv6()", (udp(src="::1", dst="::2"),), (udp(),)),
    Case('is_hep_type("1")', (INVITE,), (JUNK,)),
    Case('set_hep_type("0x63") && is_hep_type("99")', (INVITE, JUNK)),
    Case('sip_check("method", "INVITE")', (INVITE,), (BYE, OK, JUNK, sip("INVITED"))),
    Case('sip_check("rmethod", "INVITE")', (INVITE, OK), (BYE, sip("BYE", 200), JUNK)),
    Case('sip_check("response", "200")', (OK,), (INVITE, BUSY, JUNK)),
    Case('sip_check("response_gt", "486")', (sip(status=487),), (BUSY, INVITE, JUNK)),
    Case('sip_check("response_lt", "200")', (sip(status=199),), (OK, INVITE, JUNK)),
    Case('sip_check("from_user_prefix", "+49")', (sip(from_user="+4930"),), (sip(from_user="+1"), sip(from_user="+4"), JUNK)),
    Case('sip_check("from_user_suffix", "99")', (sip(from_user="199"), sip(from_user="99")), (sip(from_user="991"), sip(from_user="9"), JUNK)),
    Case('sip_check("to_user_prefix", "b")', (sip(),), (sip(to_user="carol"), JUNK)),
    Case('sip_check("to_user_suffix", "ob")', (sip(),), (sip(to_user="carol"), JUNK)),
    Case('sip_check("user_agent_prefix", "Phone")', (sip(),), (sip(agent="phone"), JUNK)),
    Case('sip_check("user_agent_suffix", "1.0")', (sip(),), (sip(agent="1.0 Phone"), JUNK)),
    Case('sip_check("ruri_user_prefix", "b")', (sip(),), (OK, JUNK)),
    Case('sip_check("ruri_user_suffix", "b")', (sip(),), (OK, JUNK)),
    Case('sip_check("from_domain", "example.com")', (sip(),), (JUNK,)),
    Case('sip_check("to_domain", "example.org")', (), (sip(), JUNK)),
    Case('sip_check("to_domain", "example.com")', (sip(),), (JUNK,)),
    Case('sip_check("ruri_domain", "example.com")', (sip(),), (OK, JUNK)),
    Case("parse_sip()", (INVITE, OK), (JUNK, b"\r\n\r\n", RTCP)),
    Case("parse_full_sip()", (INVITE, OK), (JUNK,)),
    Case("light_parse_sip()", (INVITE, OK), (JUNK,)),
    Case("parse_tls()", (INVITE, OK), (JUNK,)),
    Case("sip_is_method()", (INVITE,), (OK, JUNK)),
    Case("is_request()", (INVITE,), (OK, JUNK)),
    Case("is_response()", (OK,), (INVITE, JUNK)),
    Case('is_response_class("4xx")', (BUSY,), (OK, INVITE, sip(status=500), JUNK)),
    Case('is_method("BYE, CANCEL")', (BYE, sip("BYE", 200), sip("CANCEL")), (INVITE, OK, JUNK)),
    Case(
        "sip_has_sdp()",
        (
            sip(body=SDP),
            sip(body=SDP, body_type="Application/SDP;charset=utf8"),
            sip(body=b"--x\r\nContent-Type: application/sdp\r\n\r\n" + SDP, body_type="multipart/mixed;boundary=x"),
            INVITE.replace(b"Content-Length: 0\r\n", b"") + SDP,
        ),
        (INVITE, sip(body=b"hello", body_type="text/plain"), sip(body=b"--x\r\n", body_type="multipart/mixed"), SDP),
    ),
    Case('header_check("User-Agent", "Pho")', (INVITE,), (sip(agent="x"), JUNK)),
    Case('header_check("useragent", "Pho")', (INVITE,), (sip(agent="x"),)),
    Case('header_check("X-Foo", "bar")', (sip(headers="x-fOO \t:  bar2\r\n"),), (sip(headers="X-Foob: bar\r\n"), INVITE, sip(body=b"X-Foo: bar\r\n"))),
    Case('header_check("Subject", "s p")', (sip(headers="s: s p\r\n"),), (sip(headers="s: s q\r\n"),)),
    Case('header_check("custom", "bar")', (sip(headers="X-B: bar\r\n"), sip(headers="X-A: bar\r\n")), (sip(headers="X-C: bar\r\n"),), {"custom_headers": ("X-A", "X-B")}),
    Case('has_header("X-A")', (sip(headers="X-A: 1\r\n"),), (INVITE, JUNK, sip(headers="X-A:\r\n"))),
    Case('header_regexp_match("From", "vip")', (sip(from_user="boss7"),), (INVITE, JUNK, sip(to_user="boss7")), {"regexps": {"vip": r"boss\d"}}),
    Case('header_regexp_match("body", "vip")', (sip(from_user="boss7"), sip(body=b"boss8")), (INVITE, b"boss7"), {"regexps": {"vip": r"boss\d"}}),
    Case('header_regexp_match("content", "vip")', (sip(body=b"boss8"),), (sip(from_user="boss7"),), {"regexps": {"vip": r"boss\d"}}),
    Case('header_regexp_match("raw", "vip")', (sip(from_user="boss7"),), (INVITE,), {"regexps": {"vip": r"boss\d"}}),
    Case('set_tag("a", "b")', (INVITE, JUNK)),
    Case('clog("ERROR", "x")', (INVITE, JUNK)),
    Case('is_flag_set("1", "0")', (INVITE,)),
    Case('is_flag_set("1", "2")', (), (INVITE,)),
    Case('sip_is_method() && set_flag("1", "2") && is_flag_set("1", "2")', (INVITE,), (OK,)),
    Case("send_reply()", (INVITE,), (OK, JUNK)),
    Case("send_rtcpxr_reply()", (INVITE,), (OK, JUNK)),
    Case('send_hep("other")', (INVITE, JUNK)),
    Case('send_hep("other", "true")', (INVITE, JUNK)),
    Case('send_hep_proto("other", "99")', (INVITE, JUNK)),
    Case('send_hep_raw("other")', (INVITE, JUNK)),
    Case('send_json("other")', (INVITE, JUNK)),
    Case("tzsp_payload_extract()", (INVITE, JUNK)),
    Case("is_rtcp()", (RTCP, XR, rtcp.bye(1)), (RTP, INVITE, JUNK)),
    Case("is_rtcp_or_rtp()", (RTCP, RTP), (INVITE, JUNK)),
    Case("set_rtcp_flag() && is_hep_type(\"5\")", (RTCP, JUNK)),
    Case("parse_rtcp_to_json()", (RTCP,), (RTP, INVITE, JUNK)),
    Case("is_rtcpxr()", (XR,), (RTCP, REPORT, JUNK)),
    Case("is_vq_report()", (REPORT,), (XR, INVITE, JUNK)),
    Case("parse_rtcpxr_to_json()", (XR, REPORT), (RTCP, INVITE, JUNK)),
    Case("check_rtcp_ipport()", (sip(body=SDP),), (INVITE, JUNK)),
    Case("check_redis_rtcp_ipport()", (sip(body=SDP),), (INVITE, JUNK)),
    Case("check_rtcp_ipport() || is_rtcp_exist()", (sip(body=SDP), udp(RTCP, dst="10.0.0.1", dst_port=4001)), (udp(RTCP, src="10.9.0.1", dst_port=4001, dst="10.0.0.2"), udp(src="10.9.0.1"))),
    Case("check_redis_rtcp_ipport() || is_redis_rtcp_exist()", (sip(body=SDP), udp(RTCP, src="10.0.0.1", src_port=4001)), (udp(RTCP, src="10.9.0.1", dst="10.9.0.2"), udp(src="10.9.0.1", dst="10.9.0.2"))),
    Case("is_diameter()", (DIAMETER,), (INVITE, JUNK, DIAMETER[:10])),
    Case("parse_diameter_to_json()", (DIAMETER,), (INVITE, JUNK)),
    Case("is_dns()", (udp(DNS, dst_port=53),), (udp(DNS, dst_port=54), udp(INVITE, dst_port=53))),
    Case("parse_dns_to_json()", (udp(DNS, src_port=53),), (udp(DNS), INVITE)),
    Case("parse_isup()", (udp(ISUP, proto=132),), (INVITE, JUNK, ISUP[:20])),
    Case("parse_isup_to_json()", (udp(ISUP, proto=132),), (INVITE, JUNK)),
    Case("isup_to_json()", (udp(ISUP, proto=132),), (INVITE, JUNK)),
    Case("is_syslog()", (udp(b"<34>1 x", dst_port=514),), (udp(b"34 x", dst_port=514), udp(b"<34>1 x"), udp(INVITE, dst_port=514))),
    Case("parse_syslog()", (udp(b"<34>1 x", dst_port=514),), (udp(b"<x>", dst_port=514),)),
    Case('sample("100%")', (INVITE, JUNK)),
    Case('sample("0%")', (), (INVITE, JUNK)),
    Case('rate_limit("1/s")', (INVITE,), (BYE, JUNK)),
    Case("dedup()", (INVITE, BYE), (INVITE,)),
    Case("has_call_id()", (INVITE,), (JUNK,)),
    Case('remove_header("User-Agent")', (INVITE,), (JUNK, INVITE.replace(b"User-Agent", b"X-Agent"))),
    Case('set_header("X-A", "b")', (INVITE, OK), (JUNK, INVITE[:-2])),
    Case('anonymise("all")', (INVITE, OK), (JUNK, RTCP)),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.condition)
def test_function(case: Case) -> None:
    records = (*case.true, *case.false)
    wanted = [True] * len(case.true) + [False] * len(case.false)
    assert true_for(case.condition, *records, **case.options) == wanted
    # the other way round: a function must not answer for rows outside the mask it was given
    assert true_for(f"0 && {case.condition}", *records, **case.options) == [False] * len(records)


def test_is_vlan() -> None:
    batch = make_batch(INVITE, INVITE, INVITE)
    batch.vlan[:] = (7, 8, 0xFFFF)
    assert true_for('is_vlan("7")', batch) == [True, False, False]


TRIED = " ".join(case.condition for case in CASES) + ' is_vlan("7")'


@pytest.mark.parametrize("name", sorted(functions()))
def test_registry(name: str) -> None:
    function = functions()[name]
    assert f"{name}(" in TRIED, "no test makes it true or false"
    assert function.doc.endswith("."), "no doc line"
    assert function.module
    assert function.example.startswith(f"{name}(")
    for parameter in function.parameters:
        assert parameter.doc
    assert [p.optional for p in function.parameters] == sorted(p.optional for p in function.parameters)
    plan = compile_plan(f"capture {{ {function.example}; }}", "f", ["hepsocket"], {"vip": "x"}, ("X-A",))
    assert plan.functions == {name}
    assert f"`{function.signature}`" in functions_reference()


@pytest.mark.parametrize("name", ["parse_sip", "header_check", "send_hep", "is_rtcp", "dedup", "anonymise"])
def test_an_empty_batch(name: str) -> None:
    batch: Batch = make_batch()
    made = bench(f"capture {{ {functions()[name].example}; }}")
    assert made.run(batch).sent.tolist() == []


def test_a_batch_with_room_left_is_taken_as_far_as_it_goes() -> None:
    full = make_batch(INVITE, BYE)
    roomy = Batch.empty(10, 4000)
    for column in ("ts", "family", "ip_proto", "src_port", "dst_port", "vlan", "hep_type", "flags", "status"):
        getattr(roomy, column)[:2] = getattr(full, column)
    roomy.fields[:2], roomy.start[:3] = full.fields, full.start
    roomy.buffer[: full.octets] = full.buffer[: full.octets]
    roomy.n = 2
    assert true_for('sip_check("method", "BYE") && set_tag("a", "b")', roomy) == [False, True]


# ---- what functions do beside being true or false


def test_json_records_carry_type_and_correlation() -> None:
    made = bench(
        'capture { check_rtcp_ipport(); if (is_rtcp_exist() && parse_rtcp_to_json() || parse_rtcpxr_to_json() '
        '|| parse_diameter_to_json() || parse_isup_to_json() || parse_dns_to_json() || parse_syslog()) '
        'send_hep("hepsocket"); }'
    )  # fmt: skip
    made.run(
        sip(body=SDP, call_id="media@x"),
        udp(RTCP, dst="10.0.0.1", dst_port=4001),
        REPORT,
        DIAMETER,
        udp(ISUP, proto=132),
        udp(DNS, src="10.9.0.1", dst_port=53),
        udp(b"<34>1 log", src="10.9.0.1", dst_port=514),
    )
    records = made.targets["hepsocket"].records
    kinds = [(r["row"], r["hep_type"], r["correlation_id"]) for r in records]
    assert kinds == [
        (1, 5, b"media@x"),
        (2, 0x23, b"x@y"),
        (3, 0x38, b"a;b;"),
        (4, 0x36, b"11522:12163:213"),
        (5, 0x35, None),
        (6, 0x64, None),
    ]
    assert all(r["payload"].startswith(b"{") for r in records[:5])
    assert records[5]["payload"] == b"<34>1 log"


def test_isup_correlation_can_be_off() -> None:
    made = bench('capture { if (isup_to_json()) send_hep("hepsocket"); }', isup_correlation=False)
    made.run(udp(ISUP, proto=132))
    assert made.targets["hepsocket"].records[0]["correlation_id"] is None


def test_send_hep_proto_sets_the_type_and_raw_sends_what_was_captured() -> None:
    made = bench(
        'capture { anonymise("all"); send_hep_proto("hepsocket", "0x63"); send_hep_raw("other"); send_hep("other"); }'
    )
    made.run(INVITE)
    (sent,) = made.targets["hepsocket"].records
    raw, again = made.targets["other"].records
    assert sent["hep_type"] == raw["hep_type"] == again["hep_type"] == 99
    assert raw["payload"] == INVITE
    assert raw["src"] == "192.0.2.1"
    assert sent["payload"] == again["payload"] != INVITE
    assert sent["src"] == again["src"] != "192.0.2.1"


def test_tags_add_up() -> None:
    made = bench(
        'capture { if (sip_is_method()) set_tag("kind", "request"); set_tag("site", "b"); '
        'if (sip_check("method", "BYE")) set_tag("last", ""); send_hep("hepsocket"); }'
    )
    made.run(INVITE, BYE, OK, INVITE)
    tags = [r["tags"] for r in made.targets["hepsocket"].records]
    assert tags == [b"kind=request;site=b", b"kind=request;site=b;last=", b"site=b", b"kind=request;site=b"]


def test_tags_follow_those_that_the_record_came_with() -> None:
    batch = make_batch(INVITE, BYE)
    batch.fields[0, FIELD_INDEX["tags"]] = (0, 6)  # any octets of the record
    made = bench('capture { set_tag("a", "b"); set_tag("c", "d"); send_hep("hepsocket"); }')
    made.run(batch)
    assert [r["tags"] for r in made.targets["hepsocket"].records] == [b"INVITE;a=b;c=d", b"a=b;c=d"]


def test_replies_go_to_requests_alone() -> None:
    made = bench('capture { send_reply("202", "Fine"); send_reply("404"); send_rtcpxr_reply(); }')
    made.run(INVITE, OK, BYE)
    assert made.env.replier.answers == [  # type: ignore[union-attr]
        (row, code, text) for code, text in ((202, "Fine"), (404, "OK"), (200, "OK")) for row in (0, 2)
    ]
    assert true_for("send_reply()", INVITE, replier=None) == [False]


def test_clog_writes_once_a_second() -> None:
    made = bench('capture { clog("NOTICE", "seen"); }')
    for second, count in ((0.0, 3), (0.5, 2), (0.9, 2), (1.1, 1), (3.0, 1)):
        made.run(*[udp(ts=1_000_000_000 + int(second * 1e6))] * count)
    assert made.log == [("notice", "seen (3 messages)"), ("notice", "seen (5 messages)"), ("notice", "seen")]


def test_clog_writes_what_is_left_at_the_end() -> None:
    made = bench('capture { clog("NOTICE", "seen"); }')
    for second, count in ((0.0, 3), (0.5, 2)):
        made.run(*[udp(ts=1_000_000_000 + int(second * 1e6))] * count)
    for end in (*made.env.at_end, *made.env.at_end):
        end()
    assert made.log == [("notice", "seen (3 messages)"), ("notice", "seen (2 messages)")]


def test_a_slow_pattern_is_shown_a_bounded_part() -> None:
    shown: list[int] = []

    class Search:
        def search(self, octets: memoryview) -> None:
            shown.append(len(octets))

    import hepcat.plans.functions.sip as functions_of_sip

    before: Callable[..., Any] = functions_of_sip.compile_pattern
    functions_of_sip.compile_pattern = lambda *a: Search()  # type: ignore[assignment]
    try:
        long = sip(headers=f"X-Long: {'a' * 30000}\r\n")
        true_for(
            'header_regexp_match("X-Long", "p") || header_regexp_match("body", "p")', long, regexps={"p": "x"}
        )
    finally:
        functions_of_sip.compile_pattern = before  # type: ignore[assignment]
    assert shown == [functions_of_sip.MAX_HEADER, functions_of_sip.MAX_MESSAGE]


def test_media_is_optional() -> None:
    assert (
        true_for("check_rtcp_ipport() || is_rtcp_exist()", sip(body=SDP), udp(RTCP), media=None)
        == [False] * 2
    )


def test_indexed_headers_are_used_where_the_pipeline_has_them() -> None:
    """Both ways to a header's value agree: the index's extra slices, and a look into the message."""
    from hepcat.wire.sip import index_sip

    messages = [sip(headers=h) for h in ("X-A: one\r\n", "X-B: one\r\n", "x-a:\r\n two\r\n", "X-A:\r\n", "")]
    plain = make_batch(*messages)
    extra = Batch.empty(plain.n, len(plain.buffer), extra=("x-a",))
    for column in ("buffer", "start", "ts", "family", "ip_proto", "src_ip", "dst_ip", "hep_type", "src_port"):
        getattr(extra, column)[...] = getattr(plain, column)
    extra.fields[:, : plain.fields.shape[1]] = plain.fields
    extra.n = plain.n
    index_sip(extra)
    for condition in ('header_check("X-A", "one")', 'has_header("X-A")', 'header_regexp_match("X-A", "p")'):
        options: dict[str, Any] = {"regexps": {"p": "two"}}
        found = true_for(condition, plain, **options)
        assert true_for(condition, extra, **options) == found
        assert np.count_nonzero(found) in (1, 2)
