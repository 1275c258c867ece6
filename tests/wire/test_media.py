"""The media table: which call RTP and RTCP belong to, as their SDP says and as they are seen."""

import ipaddress
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepcat.batch.layout import Batch
from hepcat.sources.pcap_file import read_batches
from hepcat.wire import media, rtcp
from hepcat.wire.media import MAX_CALL_ID, MediaTable
from tests.support import SHARED
from tests.wire.make_batch import Datagram, make_batch, octets_in

SECOND = 1_000_000
A, B, C = "203.0.113.10", "203.0.113.20", "203.0.113.30"


def sdp(*lines: str, eol: str = "\r\n") -> bytes:
    """A session description with these lines behind the ones that must be there."""
    return eol.join(["v=0", "o=- 1 1 IN IP4 192.0.2.1", "s=-", *lines, ""]).encode()


def invite(
    body: bytes, call_id: str = "a@b", kind: str = "application/sdp", src: str = "192.0.2.1", status: int = 0
) -> Datagram:
    """An INVITE, or a response to one, with a body."""
    first = f"SIP/2.0 {status} OK" if status else "INVITE sip:bob@example.com SIP/2.0"
    head = [
        first,
        "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1",
        "From: <sip:alice@example.com>;tag=1",
        "To: <sip:bob@example.com>",
        f"Call-ID: {call_id}",
        "CSeq: 1 INVITE",
        *([f"Content-Type: {kind}"] if kind else []),
        f"Content-Length: {len(body)}",
        "\r\n",
    ]
    return Datagram("\r\n".join(head).encode() + body, src=src)


def rtp(src: str, src_port: int, dst: str = "0.0.0.0", dst_port: int = 0) -> Datagram:
    return Datagram(b"\x80" + bytes(11), src, src_port, dst, dst_port)


def learn(table: MediaTable, *messages: Datagram, now: int = 0) -> list[bool]:
    batch = make_batch(*messages)
    return table.learn(batch, np.arange(batch.n), now).tolist()  # type: ignore[no-any-return]


def find(table: MediaTable, *packets: Datagram, now: int = 0) -> list[bytes | None]:
    batch = make_batch(*packets)
    return octets_in(table.find(batch, np.arange(batch.n), now), batch.n)


def known(table: MediaTable, address: str, *ports: int) -> list[bool]:
    """Which ports of an address are known, as source and as destination alike."""
    as_source = [c is not None for c in find(table, *(rtp(address, p) for p in ports))]
    as_target = [c is not None for c in find(table, *(rtp("0.0.0.0", 0, address, p) for p in ports))]
    assert as_source == as_target
    return as_source


#: name: lines of the SDP, what is known of (address, port)
SDPS: dict[str, tuple[list[str], dict[tuple[str, int], bool]]] = {
    "session": (
        [f"c=IN IP4 {A}", "m=audio 4000 RTP/AVP 0"],
        {(A, 4000): True, (A, 4001): True, (A, 4002): False, (B, 4000): False},
    ),
    "media over session": (
        [f"c=IN IP4 {A}", "m=audio 4000 RTP/AVP 0", f"c=IN IP4 {B}", "m=video 5000 RTP/AVP 31"],
        {(B, 4000): True, (B, 4001): True, (A, 4000): False, (A, 5000): True, (B, 5000): False},
    ),
    "rtcp port": (
        [f"c=IN IP4 {A}", "m=audio 4000 RTP/AVP 0", "a=rtcp:4777"],
        {(A, 4000): True, (A, 4777): True, (A, 4001): False},
    ),
    "rtcp address": (
        [f"c=IN IP4 {A}", "m=audio 4000 RTP/AVP 0", f"a=rtcp:4777 IN IP4 {C}"],
        {(A, 4000): True, (C, 4777): True, (A, 4777): False, (A, 4001): False},
    ),
    "rtcp address 6": (
        [f"c=IN IP4 {A}", "m=audio 4000 RTP/AVP 0", "a=rtcp:4777 IN IP6 2001:db8::1"],
        {(A, 4000): True, ("2001:db8::1", 4777): True},
    ),
    "other rtcp attributes": (
        [f"c=IN IP4 {A}", "m=video 4000 RTP/AVPF 96", "a=rtcp-fb:96 nack", "a=rtcp-xr:voip-metrics"],
        {(A, 4000): True, (A, 4001): True},
    ),
    "refused": ([f"c=IN IP4 {A}", "m=audio 0 RTP/AVP 0", "m=video 6000 RTP/AVP 31"], {(A, 6000): True}),
    "hold": (["c=IN IP4 0.0.0.0", "m=audio 4000 RTP/AVP 0"], {("0.0.0.0", 4000): False}),
    "several ports": (
        [f"c=IN IP4 {A}/127", "m=audio 4000/2 RTP/AVP 0"],
        {(A, 4000): True, (A, 4001): True, (A, 4002): True, (A, 4003): True, (A, 4004): False},
    ),
    "ipv6": (
        ["c=IN IP6 2001:db8:0:1::a:b", "m=audio 4000 RTP/AVP 0"],
        {("2001:db8:0:1::a:b", 4000): True, ("2001:db8:0:1::a:c", 4000): False},
    ),
    "name": (["c=IN IP4 media.example.com", "m=audio 4000 RTP/AVP 0"], {(A, 4000): False}),
    "long": ([f"c=IN IP4 {'1' * 4000}", "m=audio 4000 RTP/AVP 0"], {(A, 4000): False}),
    "long 6": ([f"c=IN IP6 {'1:' * 2000}", "m=audio 4000 RTP/AVP 0"], {(A, 4000): False}),
    "port too large": ([f"c=IN IP4 {A}", "m=audio 70000 RTP/AVP 0"], {(A, 4464): False}),
    "last port": ([f"c=IN IP4 {A}", "m=audio 65535 RTP/AVP 0"], {(A, 65535): True, (A, 0): False}),
    "media without c": (["m=audio 4000 RTP/AVP 0"], {(A, 4000): False}),
}


@pytest.mark.parametrize("name", SDPS)
@pytest.mark.parametrize("eol", ["\r\n", "\n"])
def test_what_sdp_says(name: str, eol: str) -> None:
    lines, expected = SDPS[name]
    table = MediaTable(256, nat=False)
    learn(table, invite(sdp(*lines, eol=eol)))
    assert {key: known(table, key[0], key[1])[0] for key in expected} == expected


def test_the_call_id_comes_back_whole() -> None:
    table = MediaTable(256)
    for n in (1, 63, MAX_CALL_ID):
        call_id = "x" * n
        body = sdp(f"c=IN IP4 {A}", f"m=audio {4000 + 2 * n} RTP/AVP 0")
        assert learn(table, invite(body, call_id)) == [True]
        assert find(table, rtp(A, 4000 + 2 * n)) == [call_id.encode()]


def test_a_long_call_id_is_not_learnt() -> None:
    table = MediaTable(256)
    body = sdp(f"c=IN IP4 {A}", "m=audio 4000 RTP/AVP 0")
    assert learn(table, invite(body, "x" * (MAX_CALL_ID + 1))) == [False]
    assert find(table, rtp(A, 4000)) == [None]


def test_rtcp_mux_in_an_answer_leaves_the_next_port_alone() -> None:
    lines = [f"c=IN IP4 {A}", "m=audio 4000 RTP/AVP 0", "a=rtcp-mux"]
    table = MediaTable(256, nat=False)
    learn(table, invite(sdp(*lines)))
    assert known(table, A, 4000, 4001) == [True, True]  # an offer may be refused (RFC 5761 section 5.1.1)
    table = MediaTable(256, nat=False)
    learn(table, invite(sdp(*lines), status=200))
    assert known(table, A, 4000, 4001) == [True, False]


def test_a_multipart_body() -> None:
    body = (
        b"--b1\r\nContent-Type: application/sdp\r\n\r\n"
        + sdp(f"c=IN IP4 {A}", "m=audio 4000 RTP/AVP 0")
        + b"--b1\r\nContent-Type: text/plain\r\n\r\nm=audio 5000 RTP/AVP 0\r\n--b1--\r\n"
    )
    table = MediaTable(256)
    assert learn(table, invite(body, kind="multipart/mixed;boundary=b1")) == [True]
    assert known(table, A, 4000, 4001, 5000) == [True, True, False]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("application/sdp", True),
        ("Application/SDP;charset=utf-8", True),
        ("", True),
        ("text/plain", False),
        ("application/pidf+xml", False),
    ],
)
def test_content_type(kind: str, expected: bool) -> None:
    table = MediaTable(256)
    body = sdp(f"c=IN IP4 {A}", "m=audio 4000 RTP/AVP 0")
    assert learn(table, invite(body, kind=kind)) == [expected]


def test_a_new_offer_moves_the_media() -> None:
    table = MediaTable(256)
    learn(table, invite(sdp(f"c=IN IP4 {A}", "m=audio 4000 RTP/AVP 0"), "one"))
    learn(table, invite(sdp(f"c=IN IP4 {B}", "m=audio 4100 RTP/AVP 0"), "one"))
    learn(table, invite(sdp(f"c=IN IP4 {A}", "m=audio 4000 RTP/AVP 0"), "two"))  # the port was given away
    assert find(table, rtp(B, 4100), rtp(A, 4000)) == [b"one", b"two"]


def test_a_conclusion_does_not_take_a_port_from_a_call() -> None:
    table = MediaTable(256)
    learn(table, invite(sdp(f"c=IN IP4 {A}", "m=audio 4001 RTP/AVP 0"), "one"))
    learn(table, invite(sdp(f"c=IN IP4 {A}", "m=audio 4000 RTP/AVP 0"), "two"))
    assert find(table, rtp(A, 4001), rtp(A, 4000)) == [b"one", b"two"]


def test_nat_by_the_source_of_the_message_and_by_what_is_seen() -> None:
    message = invite(sdp("c=IN IP4 10.0.0.5", "m=audio 4000 RTP/AVP 0"), src="203.0.113.99")
    table = MediaTable(256)
    learn(table, message)
    assert find(table, rtp("203.0.113.99", 4001)) == [b"a@b"]
    # The other side was in no SDP that was captured; once its packets are seen they are known alone, too.
    assert find(table, rtp(C, 7001)) == [None]
    assert find(table, rtp(C, 7001, "10.0.0.5", 4001)) == [b"a@b"]
    assert find(table, rtp(C, 7001)) == [b"a@b"]
    # Nothing is concluded from that again.
    assert find(table, rtp(C, 7001, B, 8001)) == [b"a@b"]
    assert find(table, rtp(B, 8001)) == [None]
    plain = MediaTable(256, nat=False)
    learn(plain, message)
    assert find(plain, rtp("203.0.113.99", 4001), rtp(C, 7001, "10.0.0.5", 4001), rtp(C, 7001)) == [
        None,
        b"a@b",
        None,
    ]


def test_time_out_and_use() -> None:
    table = MediaTable(256, timeout_us=80 * SECOND)
    learn(table, invite(sdp(f"c=IN IP4 {A}", "m=audio 4000 RTP/AVP 0")))
    for now in range(0, 400 * SECOND, 60 * SECOND):
        assert find(table, rtp(A, 4000), now=now) == [b"a@b"]
    assert find(table, rtp(A, 4001), now=400 * SECOND) == [None]  # that one was not used
    assert find(table, rtp(A, 4000), now=1000 * SECOND) == [None]
    assert table.live(1000 * SECOND) == 0


def test_a_full_table_forgets_the_oldest() -> None:
    table = MediaTable(1024, nat=False)
    addresses = [str(ipaddress.IPv4Address("10.0.0.0") + i) for i in range(2000)]
    for i, address in enumerate(addresses):
        body = sdp(f"c=IN IP4 {address}", "m=audio 4000 RTP/AVP 0", "a=rtcp:4000")
        learn(table, invite(body, f"call {i}"), now=i)
        if i % 100 == 99:  # one that is in use stays
            assert find(table, rtp(addresses[0], 4000), now=i) == [b"call 0"]
    assert table.live(2000) <= 1024
    found = [find(table, rtp(address, 4000), now=2000)[0] for address in addresses]
    assert all(c is None or c == f"call {i}".encode() for i, c in enumerate(found))
    assert sum(c is not None for c in found[-300:]) == 300
    assert sum(c is not None for c in found[:300]) < 100


def test_a_call_in_use_outlives_its_place_in_the_ring() -> None:
    table = MediaTable(16, nat=False)  # a ring of 8,192 octets
    body = sdp(f"c=IN IP4 {A}", "m=audio 4000 RTP/AVP 0", "a=rtcp:4000")
    learn(table, invite(body, "the one"))
    for i in range(200):
        other = sdp(f"c=IN IP4 {B}", "m=audio 4000 RTP/AVP 0", "a=rtcp:4000")
        learn(table, invite(other, f"{i:0300}"))
        assert find(table, rtp(A, 4000)) == [b"the one"]
        assert find(table, rtp(B, 4000)) == [f"{i:0300}".encode()]


def test_what_is_no_sip_or_has_no_sdp() -> None:
    table = MediaTable(256)
    body = sdp(f"c=IN IP4 {A}", "m=audio 4000 RTP/AVP 0")
    assert learn(table, Datagram(body), invite(b""), invite(b"v=0\r\n" * 3)) == [False] * 3
    empty = make_batch()
    assert len(table.learn(empty, np.arange(0), 0)) == 0
    assert octets_in(table.find(empty, np.arange(0), 0), 0) == []


def test_only_the_rows_asked_for() -> None:
    table = MediaTable(256)
    batch = make_batch(
        invite(sdp(f"c=IN IP4 {A}", "m=audio 4000 RTP/AVP 0"), "one"),
        invite(sdp(f"c=IN IP4 {B}", "m=audio 4000 RTP/AVP 0"), "two"),
        rtp(A, 4000),
        rtp(B, 4000),
    )
    assert table.learn(batch, np.array([1]), 0).tolist() == [True]
    assert octets_in(table.find(batch, np.array([3, 2]), 0), 4) == [None, None, None, b"two"]
    assert octets_in(table.find(batch, np.array([2]), 0), 4) == [None] * 4


@pytest.mark.skipif(not media.__file__.endswith(".so"), reason="uncompiled it is for one thread")
def test_several_threads_share_a_table() -> None:
    table = MediaTable(4096, nat=False)
    wrong: list[object] = []

    def work(number: int) -> None:
        address, rows = f"10.0.{number}.1", np.arange(50)
        for turn in range(40):
            messages = [
                invite(
                    sdp(f"c=IN IP4 {address}", f"m=audio {2000 + 2 * i} RTP/AVP 0"), f"{number} {turn} {i}"
                )
                for i in range(50)
            ]
            table.learn(make_batch(*messages), rows, turn)
            found = find(table, *(rtp(address, 2000 + 2 * i) for i in range(50)), now=turn)
            expected = [f"{number} {turn} {i}".encode() for i in range(50)]
            wrong.extend(pair for pair in zip(found, expected, strict=True) if pair[0] != pair[1])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


ADDRESSES = st.one_of(
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(str),
    st.ip_addresses(v=6).map(lambda ip: ip.exploded),
    st.ip_addresses(v=4).map(lambda ip: f"::ffff:{ip}"),
    st.ip_addresses(v=4).map(lambda ip: f"2001:db8:1:2:3:4:{ip}"),
    st.text("0123456789abcdefg:.%", max_size=50),
)


@given(ADDRESSES)
@settings(max_examples=300, deadline=None)
def test_addresses_are_read_as_the_standard_library_reads_them(text: str) -> None:
    table = MediaTable(16, nat=False)
    learn(table, invite(sdp(f"c=IN IP6 {text}", "m=audio 4000 RTP/AVP 0")))
    try:
        ip = ipaddress.ip_address(text)
    except ValueError:
        if not any(part.startswith("0") and part != "0" for part in text.split(".")) and "%" not in text:
            assert table.live(0) == 0
        return
    if "%" in text:
        return
    mapped = getattr(ip, "ipv4_mapped", None)
    unspecified = ip.is_unspecified or (mapped is not None and mapped.is_unspecified)
    assert known(table, str(mapped or ip), 4000) == [not unspecified]


PIECES = (
    *("v=0", f"c=IN IP4 {A}", "c=IN IP6 ::1", "c=", "c=IN", "m=", "m=audio", "m=audio 1", "m"),
    *("m=a 4000/9 x", "a=rtcp", "a=rtcp:", "a=rtcp:1", "a=rtcp:5000 IN IP4 1.2.3.4"),
    *("a=rtcp-mux", "a=rtcp-", "--"),
)
LINES = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=60)), max_size=20)


@given(LINES, st.sampled_from(["\r\n", "\n", "\r"]), st.binary(max_size=40))
@settings(max_examples=300, deadline=None)
def test_hostile_sdp(lines: list[str], eol: str, tail: bytes) -> None:
    table = MediaTable(64)
    body = eol.join(lines).encode() + tail
    learn(table, invite(body), invite(body, "other", status=200))
    assert find(table, rtp(A, 4000))[0] in (None, b"a@b", b"other")


def test_a_recorded_call() -> None:
    path = SHARED / "captures" / "ndpi-FAX-Call-t38-CA-TDM-SIP-FB-1.pcap"
    if not path.exists():
        pytest.skip("the shared captures are not there")
    table, rtps, matched = MediaTable(), 0, 0
    batch: Batch
    for batch in read_batches(path, only_sip=False):
        mask = np.zeros(batch.n, dtype=np.uint8)
        rtcp.rtp_or_rtcp_mask(batch, mask)
        for row in range(batch.n):  # in the order of capture
            now = int(batch.ts[row])
            table.learn(batch, np.array([row]), now)
            if mask[row]:
                rtps += 1
                matched += octets_in(table.find(batch, np.array([row]), now), batch.n)[row] is not None
    assert rtps > 1200
    assert matched == rtps
