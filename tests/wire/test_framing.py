"""Streams to messages: SIP whatever the cuts, what is lost, what is no SIP; Diameter; bounds."""

import random
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hepcat.wire.held as held
from hepcat.wire.columns import (
    FLOW_END,
    FLOW_GAP,
    FLOW_START,
    PROTOCOL_DIAMETER,
    PROTOCOL_OTHER,
    PROTOCOL_SIP,
    PROTOCOL_TLS,
    PROTOCOL_UNKNOWN,
)
from tests.wire.make_streams import Cutter, Piece, Tap, in_pieces, sip
from tests.wire.make_tcp import Segment, at_times, cut

PLAIN = held.__file__.endswith(".py")
FRAG = b"SIP/2.0 100 Trying\r\n"

#: Each is one message, from its first octet to its last.
MESSAGES = [
    sip(),
    sip("INVITE", "1", b"v=0\r\no=x\r\n"),
    sip("200", "2", b"abc\r\n\r\nSIP/2.0 100 x\r\n"),
    sip("NOTIFY", "frag", FRAG * 3),
    b"ACK sip:a SIP/2.0\nl : 3\n\nabc",
    b"ACK sip:a SIP/2.0\nL:3\r\n\nabc",
    b"MESSAGE sip:a SIP/2.0\r\nContent-length\t:\r\n 5\r\nX: y\r\n\r\nhello",
    b"MESSAGE sip:a SIP/2.0\r\nCONTENT-LENGTH: 0005 \r\n  folded: no\r\n\r\nhello",
    b"X-1!%*_+`'~.x tel:+1 sip/2.0 \r\nCall-ID: 5\r\nContent-Lengthy: 7\r\n\r\n",
    b"SIP/2.0 999 \r\nContent-Length: 5\r\nContent-Length: 3\r\n\r\nabc",
    b"BYE sip:a SIP/2.0\r\nContent-Length: many\r\nContent-Length: 2x\r\nl: 2\r\n\r\nab",
    b"BYE sip:a SIP/2.0\r\nContent-Length:\r\nl\r\nlist: 3\r\nc: x\r\n\r\n",
    b"BYE sip:a SIP/2.0\r\nX: y\r\n Content-Length: 99\r\n\r\n",
    b"BYE sip:a SIP/2.0\r\n\rno: empty line\r\nContent-Length: 1\r\n\r\n.",
    sip("SUBSCRIBE", "9", b"x" * 3000),
]


@pytest.mark.parametrize("sizes", [[1], [2], [3], [7], [100], [1460], [100_000], [5, 50, 500]])
@pytest.mark.parametrize("together", [False, True])
def test_messages_come_out_once_however_they_are_cut(sizes: list[int], together: bool) -> None:
    cutter = Cutter()
    pieces = in_pieces(b"".join(MESSAGES), sizes)
    for part in [pieces] if together else [[piece] for piece in pieces]:
        cutter.feed(*part)
    assert [octets for _, octets in cutter.messages] == MESSAGES
    assert cutter.drops == {}
    assert cutter.framer.held_octets == 0
    assert cutter.flows.protocol[0] == PROTOCOL_SIP


def test_a_message_whole_in_its_stretch_is_not_copied() -> None:
    cutter = Cutter()
    cutter.feed(Piece(0, sip() + sip(), FLOW_START), Piece(0, sip()[:9]))
    assert list(cutter.out.area[:2]) == [0, 0]
    assert cutter.arena.used == 0
    cutter.feed(Piece(0, sip()[9:] + sip()))
    assert list(cutter.out.area[:2]) == [1, 0]
    assert cutter.arena.used == len(sip())


def test_a_row_says_where_its_message_came_from_and_when_it_was_whole() -> None:
    cutter = Cutter()
    cutter.flows.src_ip[3] = np.arange(16)
    cutter.flows.vlan[3], cutter.flows.family[3] = 77, 10
    cutter.feed(Piece(3, sip()[:20], FLOW_START), Piece(4, sip(), FLOW_START), Piece(3, sip()[20:]))
    out = cutter.out
    assert [int(port) for port in out.src_port[: out.n]] == [4, 3]
    assert (int(out.packet[1]), int(out.ts[1])) == (2, 1002)
    assert (int(out.vlan[1]), int(out.family[1]), out.src_ip[1].tobytes()) == (77, 10, bytes(range(16)))


@settings(max_examples=15 if PLAIN else 60, deadline=None)
@given(
    picks=st.lists(st.tuples(st.integers(0, 3), st.integers(0, len(MESSAGES) - 1)), min_size=1, max_size=30),
    sizes=st.lists(st.integers(1, 900), min_size=1, max_size=4),
    seed=st.integers(0, 2**32),
)
def test_many_streams_any_order_copies_each_message_once(
    picks: list[tuple[int, int]], sizes: list[int], seed: int
) -> None:
    chance = random.Random(seed)
    target, queues, sent = ("192.0.2.9", 5060), [], []
    for stream in range(4):
        messages = [MESSAGES[pick] for number, pick in picks if number == stream]
        source = ("192.0.2.1", 1000 + stream)
        first, *rest = cut(source, target, chance.getrandbits(32), b"".join(messages), sizes)
        for i in range(len(rest) - 1):  # nearby segments change places, some come twice
            j = min(len(rest) - 1, i + chance.randrange(3))
            rest[i], rest[j] = rest[j], rest[i]
        rest += chance.choices(rest, k=2)
        queues.append([first, *rest])
        sent += [(1000 + stream, octets) for octets in messages]
    segments = []
    while queues:
        queue = chance.choice(queues)
        segments.append(queue.pop(0))
        queues = [queue for queue in queues if queue]
    tap, segments = Tap(), at_times(segments)
    while segments:
        n = chance.randrange(1, 20)
        tap.feed_segments(segments[:n])
        segments = segments[n:]
    assert sorted(tap.messages) == sorted(sent)
    assert tap.framer.held_octets == 0
    assert set(tap.drops) <= {"TCP_CONTROL", "TCP_DUPLICATE"}


@settings(max_examples=10 if PLAIN else 40, deadline=None)
@given(sizes=st.lists(st.integers(20, 900), min_size=1, max_size=4), seed=st.integers(0, 2**32))
def test_lost_segments_cost_only_the_messages_they_held(sizes: list[int], seed: int) -> None:
    chance = random.Random(seed)
    messages = [sip("OPTIONS", f"call-{i}", b"body\r\n" * chance.randrange(99)) for i in range(30)]
    segments = at_times(cut(("192.0.2.1", 1), ("192.0.2.9", 5060), 1, b"".join(messages), sizes))
    lost = [segment for segment in segments if segment.data and chance.random() < 0.05]
    spoiled, at = set(), 2
    for i, message in enumerate(messages):
        if any(s.seq < at + len(message) and s.seq + len(s.data) > at for s in lost):
            spoiled.add(i)
        at += len(message)
    tap = Tap()
    tap.feed_segments([segment for segment in segments if segment not in lost])
    for seconds in range(3, 99, 3):
        tap.expire(seconds * 1_000_000)
    assert [octets for _, octets in tap.messages] == [m for i, m in enumerate(messages) if i not in spoiled]
    assert tap.framer.held_octets == 0
    assert ("STREAM_GAP" in tap.drops) == bool(lost)


def test_streams_joined_in_the_middle_begin_at_the_next_start_line() -> None:
    for marks in (FLOW_START | FLOW_GAP, FLOW_GAP):
        cutter = Cutter()
        cutter.feed(
            Piece(0, b"ag=123\r\nCSeq: 1 BYE\r\nContent-Length: 0\r\n\r\n" + sip() + sip("BYE"), marks)
        )
        assert [octets for _, octets in cutter.messages] == [sip(), sip("BYE")]
        assert cutter.drops == {"STREAM_SKIPPED": 1}
        assert cutter.flows.protocol[0] == PROTOCOL_SIP


def test_a_gap_in_a_message_is_counted_and_the_next_one_found() -> None:
    cutter = Cutter()
    cutter.feed(Piece(0, sip() + sip()[:50], FLOW_START), Piece(0, b" rest\r\n\r\n" + sip("BYE"), FLOW_GAP))
    cutter.feed(Piece(0, sip("200"), FLOW_GAP), Piece(0, sip()[:40], FLOW_END))
    assert [octets for _, octets in cutter.messages] == [sip(), sip("BYE"), sip("200")]
    assert cutter.drops == {"STREAM_PARTIAL": 2, "STREAM_SKIPPED": 1}


@pytest.mark.parametrize("size", [1, 2, 4, 1000])
def test_keep_alives_between_messages_never_stall(size: int) -> None:
    octets = b"\r\n\r\n" + sip() + b"\r\n\r\n\r\n" + sip("BYE") + b"\0\0\0\0" + sip("ACK") + b"\r\n"
    cutter = Cutter()
    for piece in in_pieces(octets, [size]):
        cutter.feed(piece)
    assert [octets for _, octets in cutter.messages] == [sip(), sip("BYE"), sip("ACK")]
    assert set(cutter.drops) == {"KEEPALIVE"}
    assert cutter.framer.held_octets == 0


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_a_body_longer_than_it_was_said_to_be_is_skipped(size: int) -> None:
    lying = sip(body=b"a=1\r\nb=2\r\n").replace(b"Content-Length: 10", b"Content-Length: 5")
    cutter = Cutter()
    cutter.feed(*in_pieces(lying + sip("BYE"), [size]))
    assert [octets for _, octets in cutter.messages] == [lying[:-5], sip("BYE")]
    assert cutter.drops == {"STREAM_SKIPPED": 1}


@pytest.mark.parametrize("said", ["999999", "4294967295", "4294967296", "9" * 400])
def test_a_length_over_the_bound_loses_that_message_alone(said: str) -> None:
    lying = sip().replace(b"Content-Length: 0", b"Content-Length: " + said.encode())
    for sizes in ([1], [10_000]):
        cutter = Cutter()
        cutter.feed(*in_pieces(sip("INVITE") + lying + sip("BYE"), sizes))
        assert [octets for _, octets in cutter.messages] == [sip("INVITE"), sip("BYE")]
        assert cutter.drops == {"STREAM_PARTIAL": 1}


def test_a_message_just_at_the_bound() -> None:
    for extra, drops in ((0, {}), (1, {"STREAM_PARTIAL": 1})):
        message = sip(body=b"x" * (2000 - len(sip(body=b"x" * 1000)) + 1000 + extra))
        assert len(message) == 2000 + extra
        cutter = Cutter(max_message=2000)
        cutter.feed(*in_pieces(message, [700]))
        assert (len(cutter.messages), cutter.drops) == (0 if drops else 1, drops)


def test_endless_headers_and_endless_first_lines_stay_inside_the_bounds() -> None:
    cutter = Cutter(max_octets=256 << 10)
    cutter.feed(Piece(0, b"INVITE sip:a SIP/2.0\r\n", FLOW_START), Piece(2, b"INVITE sip:", FLOW_START))
    cutter.feed(Piece(4, b"X" * 60, FLOW_START))
    for _ in range(100):
        cutter.feed(Piece(0, b"X: y\r\n" * 300), Piece(2, b"a" * 1800))
        assert cutter.framer.held_octets <= 2 * 65535 + 60
    cutter.feed(Piece(0, b"\r\n" + sip()), Piece(2, b"\r\n" + sip("BYE")))
    assert cutter.messages == [(0, sip())]  # the other flow never had a start line: it is not SIP's
    assert cutter.flows.protocol[2] == PROTOCOL_OTHER
    assert cutter.drops["STREAM_PARTIAL"] == 1


def test_partial_messages_of_many_flows_stay_inside_the_pool_and_the_oldest_goes() -> None:
    cutter = Cutter(flows=400, max_octets=64 << 10)
    body = sip(body=b"z" * 2000)
    for flow in range(300):
        cutter.feed(Piece(flow, body[:-1], FLOW_START))
        assert cutter.framer.held_octets <= 64 << 10
    lost = cutter.drops["STREAM_PARTIAL"]
    whole = sum(len(cutter.feed(Piece(flow, body[-1:]))) for flow in reversed(range(300)))
    assert whole == (64 << 10) // (5 * 512)
    assert lost == 300 - whole
    for flow in range(300):
        assert cutter.feed(Piece(flow, b"\r\n" + sip("BYE"))) == [sip("BYE")]
    tiny = Cutter(max_octets=512)
    tiny.feed(Piece(0, body[:-1], FLOW_START), Piece(0, body[-1:] + b"\r\n" + sip()))
    assert [octets for _, octets in tiny.messages] == [sip()]
    assert tiny.framer.held_octets == 0


def test_a_thousand_messages_in_one_stretch() -> None:
    tiny = b"A b SIP/2.0\n\n"
    cutter = Cutter()
    cutter.feed(Piece(0, tiny * 1000 + tiny[:5], FLOW_START), Piece(2, tiny * 3, FLOW_START))
    assert [octets for _, octets in cutter.messages] == [tiny] * 1003


@pytest.mark.parametrize(
    "octets",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"POST /x HTTP/1.1\r\n\r\n",
        b"SSH-2.0-OpenSSH_9\r\n",
        b"\x00\x01\x02",
        b"\x7fELF",
        b"\xff\xfe\xfd\xfc\xfb" * 10,
        b"\x81\x05hello",
        b"\x01\x00\x00\x13" + bytes(40),
        b"SIP/x",
        b"x" * 100,
    ],
)
@pytest.mark.parametrize("size", [1, 1000])
def test_what_is_not_read_is_counted_and_left_alone(octets: bytes, size: int) -> None:
    cutter = Cutter()
    for piece in in_pieces(octets, [size]):
        cutter.feed(piece)
    cutter.feed(Piece(0, b"\r\n" + sip()))
    assert cutter.messages == []
    assert cutter.flows.protocol[0] == PROTOCOL_OTHER
    assert set(cutter.drops) <= {"TCP_OTHER", "KEEPALIVE"}
    assert cutter.drops["TCP_OTHER"] >= 1
    assert cutter.framer.held_octets == 0
    cutter.feed(Piece(0, sip(), FLOW_GAP))  # behind a gap it is looked at again
    assert [octets for _, octets in cutter.messages] == [sip()]
    cutter.feed(Piece(0, octets, FLOW_START), Piece(0, b"", FLOW_END), Piece(0, sip("BYE"), FLOW_START))
    assert cutter.messages[-1][1] == sip("BYE")


def test_a_stream_joined_in_the_middle_that_never_shows_a_start_line_is_left_alone() -> None:
    cutter = Cutter()
    cutter.feed(Piece(0, b"binary\xff" * 100, FLOW_START | FLOW_GAP))
    for _ in range(100):
        cutter.feed(Piece(0, b"\xffnothing of ours\n" * 90))
    assert cutter.flows.protocol[0] == PROTOCOL_OTHER
    assert cutter.drops["STREAM_SKIPPED"] == 1
    assert 40 < cutter.drops["TCP_OTHER"] < 60


@pytest.mark.parametrize("first", [b"\x16\x03\x01\x02\x00", b"\x17\x03\x03", b"\x14\x03", b"\x15", b"\x16"])
def test_tls_is_told_by_its_first_octets(first: bytes) -> None:
    cutter = Cutter()
    cutter.feed(Piece(0, first + bytes(5) if len(first) > 2 else first, FLOW_START))
    assert cutter.flows.protocol[0] == PROTOCOL_TLS
    assert cutter.drops == {"TCP_OTHER": 1}  # nobody took it away before feed
    assert cutter.messages == []
    for other in (b"\x16\x02", b"\x16\x03\x09", b"\x18\x03\x01"):
        cutter.feed(Piece(2, other + bytes(40), FLOW_START))
        assert cutter.flows.protocol[2] == PROTOCOL_OTHER


def test_classify_alone_does_not_frame() -> None:
    from hepcat.wire.columns import Arena, Stretches

    cutter, stretches = Cutter(), Stretches.empty(4)
    data = np.frombuffer(b"\x16\x03\x01" + sip(), dtype=np.uint8)
    stretches.n = 3
    stretches.flow[:3] = 0, 2, 2
    stretches.marks[:3] = FLOW_START, FLOW_START, 0
    stretches.offset[:3], stretches.length[:3] = (0, 3, 3), (3, 0, 10)
    cutter.framer.classify(stretches, np.arange(3), data, Arena(), cutter.flows)
    assert list(cutter.flows.protocol[:3]) == [PROTOCOL_TLS, PROTOCOL_UNKNOWN, PROTOCOL_UNKNOWN]
    assert cutter.framer.held_octets == 0
    stretches.offset[2] = 0
    cutter.framer.classify(stretches, np.arange(3), data, Arena(), cutter.flows)
    assert cutter.flows.protocol[2] == PROTOCOL_TLS


def diameter(size: int, flags: int = 0x80) -> bytes:
    """A Diameter message of this length."""
    return struct.pack("!IIIII", 1 << 24 | size, flags << 24 | 257, 0, 1, 2) + bytes(
        i & 255 for i in range(size - 20)
    )


@pytest.mark.parametrize("sizes", [[1], [3], [7, 9], [60], [10_000]])
def test_diameter_messages_are_cut_by_their_length(sizes: list[int]) -> None:
    messages = [diameter(size) for size in (20, 100, 24, 3000, 20)]
    cutter = Cutter()
    for piece in in_pieces(b"".join(messages), sizes):
        cutter.feed(piece)
    assert [octets for _, octets in cutter.messages] == messages
    assert cutter.drops == {}
    assert cutter.flows.protocol[0] == PROTOCOL_DIAMETER


def test_diameter_goes_on_behind_a_gap_and_over_a_message_too_long() -> None:
    cutter = Cutter(max_message=1000)
    cutter.feed(Piece(0, diameter(100) + diameter(200)[:50], FLOW_START), Piece(0, b"lost\1", FLOW_GAP))
    cutter.feed(Piece(0, bytes(30)), Piece(0, diameter(40)), Piece(0, diameter(2000) + diameter(44)))
    assert [len(octets) for _, octets in cutter.messages] == [100, 40, 44]
    assert cutter.drops == {"STREAM_PARTIAL": 2, "STREAM_SKIPPED": 1}
    cutter.feed(Piece(0, b"\2" + bytes(30)), Piece(0, diameter(48)))
    assert len(cutter.messages[-1][1]) == 48
    assert cutter.framer.held_octets == 0


def test_a_segment_row_outside_its_area_raises() -> None:
    from hepcat.wire.columns import Stretches

    cutter, stretches = Cutter(), Stretches.empty(1)
    stretches.n, stretches.length[0] = 1, 100
    with pytest.raises(IndexError):
        cutter.read(np.frombuffer(sip()[:50], dtype=np.uint8), stretches)


def test_hundred_thousand_flows_one_after_the_other() -> None:
    tap = Tap(max_streams=50)
    for window in range(2 if PLAIN else 100):
        segments = []
        for i in range(100):
            ends = (f"10.0.{window}.{i}", 1000), ("192.0.2.9", 5060)
            segments += [
                Segment(*ends, 1, sip()[:100], ts=window),
                Segment(*ends, 101, sip()[100:], ts=window),
            ]
        tap.feed_segments(segments)
        assert tap.tcp.streams <= 50
    assert len(tap.messages) == (2 if PLAIN else 100) * 50
    assert tap.framer.held_octets == 0
