"""Frames to datagrams: every link, tag and extension header; every cut; what is counted as what."""

import itertools
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepcat.batch.drops import Drop
from hepcat.batch.schema import NO_VLAN
from hepcat.wire import frames
from hepcat.wire.columns import (
    DATAGRAM_COLUMNS,
    KIND_CHUNK,
    KIND_FRAGMENT,
    KIND_SEGMENT,
    MAX_ROWS_A_FRAME,
    WANT_ALL,
    WANT_CHUNKS,
    WANT_DATAGRAMS,
    WANT_FRAGMENTS,
    WANT_SEGMENTS,
    Datagrams,
    Packets,
)
from hepcat.wire.frames import LINK_TYPES, decode_frames
from tests.wire import make_capture as make
from tests.wire import make_tunnels as tunnel

PAYLOAD = make.message()
V4 = make.ipv4(make.udp(PAYLOAD))
V6 = make.ipv6(make.udp(PAYLOAD))
MAPPED = bytes(10) + b"\xff\xff"
SRC4, DST4 = MAPPED + bytes([192, 0, 2, 1]), MAPPED + bytes([198, 51, 100, 2])


def decode(
    *frames: bytes, link: int = 1, original: int | None = None
) -> tuple[list[dict[str, object]], dict[str, int]]:
    """Decode frames laid one behind the other; return the rows, and the drops that are not 0."""
    data = np.frombuffer(b"\xee" * 3 + b"".join(frames) + b"\xee" * 3, dtype=np.uint8)
    packets, found = Packets.empty(len(frames)), Datagrams.empty(len(frames))
    packets.n = len(frames)
    packets.captured[:] = [len(frame) for frame in frames]
    packets.offset[:] = 3 + np.concatenate([[0], np.cumsum(packets.captured)[:-1]])
    packets.original[:] = packets.captured if original is None else original
    packets.link[:] = link
    drops = np.zeros(len(Drop), dtype=np.int64)
    assert decode_frames(data, packets, found, drops) == len(frames)
    n = found.n
    assert n + drops.sum() == len(frames)
    rows = []
    for i in range(n):
        start, size = int(found.offset[i]), int(found.length[i])
        frame = int(found.packet[i])
        begin = int(packets.offset[frame])
        assert begin <= start <= start + size <= begin + int(packets.captured[frame])
        rows.append(
            {
                "payload": data[start : start + size].tobytes(),
                "src": found.src_ip[i].tobytes(),
                "dst": found.dst_ip[i].tobytes(),
                "ports": (int(found.src_port[i]), int(found.dst_port[i])),
                "vlan": int(found.vlan[i]),
                "family": int(found.family[i]),
                "proto": int(found.ip_proto[i]),
                "truncated": int(found.truncated[i]),
                "packet": frame,
            }
        )
    return rows, {Drop(i).name: int(count) for i, count in enumerate(drops) if count}


def the_row(frame: bytes, link: int = 1, original: int | None = None) -> dict[str, object]:
    rows, drops = decode(frame, link=link, original=original)
    assert drops == {}
    return rows[0]


def the_drop(frame: bytes, link: int = 1, original: int | None = None) -> str:
    rows, drops = decode(frame, link=link, original=original)
    assert rows == []
    return next(iter(drops))


SLL = struct.pack("!HHH8s", 0, 1, 6, bytes(8))
SLL2 = struct.pack("!HIHBB8s", 0, 2, 1, 0, 6, bytes(8))
SNAP = b"\xaa\xaa\x03\0\0\0"
#: name: link type, frame, VLAN
LINKS: dict[str, tuple[int, bytes, int]] = {
    "ethernet 4": (1, make.ethernet(0x0800, V4), NO_VLAN),
    "ethernet 6": (1, make.ethernet(0x86DD, V6), NO_VLAN),
    "802.1Q": (1, make.ethernet(0x0800, V4, (0x8100, 0x6007)), 7),
    "priority tag": (1, make.ethernet(0x0800, V4, (0x8100, 0x6000)), NO_VLAN),
    "802.1ad": (1, make.ethernet(0x86DD, V6, (0x88A8, 100), (0x8100, 200)), 200),
    "old QinQ": (1, make.ethernet(0x0800, V4, (0x9100, 4095), (0x9100, 2), (0x8100, 3)), 3),
    "SNAP": (1, make.ethernet(len(SNAP) + 2 + len(V4), SNAP + b"\x08\0" + V4), NO_VLAN),
    "cooked 1": (113, SLL + b"\x08\0" + V4, NO_VLAN),
    "cooked 1 with a tag": (113, SLL + b"\x81\0\0\x05\x86\xdd" + V6, 5),
    "cooked 2": (276, b"\x08\0" + SLL2[2:] + b"\0\0" + V4, NO_VLAN),
    "raw 12": (12, V4, NO_VLAN),
    "raw 14": (14, V6, NO_VLAN),
    "raw 101": (101, V6, NO_VLAN),
    "raw 4": (228, V4, NO_VLAN),
    "raw 6": (229, V6, NO_VLAN),
    "null little": (0, b"\2\0\0\0" + V4, NO_VLAN),
    "null big": (0, b"\0\0\0\2" + V4, NO_VLAN),
    "null 6 of macOS": (0, b"\x1e\0\0\0" + V6, NO_VLAN),
    "null 6 of FreeBSD, big": (0, b"\0\0\0\x1c" + V6, NO_VLAN),
    "loop": (108, b"\0\0\0\x18" + V6, NO_VLAN),
}


@pytest.mark.parametrize("name", LINKS)
def test_links(name: str) -> None:
    link, frame, vlan = LINKS[name]
    row = the_row(frame + b"\0" * 6, link)  # padding of the link is no payload
    assert (row["payload"], row["vlan"], row["proto"], row["truncated"]) == (PAYLOAD, vlan, 17, 0)
    assert row["ports"] == (5060, 5062)
    if row["family"] == 2:
        assert (row["src"], row["dst"]) == (SRC4, DST4)
    else:
        assert row["family"] == 10
        assert row["src"] == bytes.fromhex("20010db8" + "0" * 23 + "1")


@pytest.mark.parametrize("name", LINKS)
def test_links_cut_at_every_octet(name: str) -> None:
    """However short: a truncated row with what there is of the payload, or a counted drop."""
    link, frame, vlan = LINKS[name]
    header = len(frame) - len(PAYLOAD)
    for size in range(len(frame)):
        rows, drops = decode(frame[:size], link=link, original=len(frame))
        if size <= header:
            assert drops == {"FRAME_TRUNCATED": 1}
        else:
            assert (rows[0]["payload"], rows[0]["truncated"]) == (PAYLOAD[: size - header], 1)
            assert rows[0]["vlan"] == vlan


@pytest.mark.parametrize("option_words", [1, 4, 10])
def test_ipv4_options(option_words: int) -> None:
    frame = make.ipv4(make.udp(PAYLOAD), options=b"\1" * 4 * option_words)
    assert the_row(frame, 101)["payload"] == PAYLOAD


UDP = make.udp(PAYLOAD)
EXTENSIONS: dict[int, bytes] = {
    0: b"\0" + bytes(6),
    43: b"\1" + bytes(14),
    60: b"\2" + bytes(22),
    135: b"\0" + bytes(6),
    139: b"\0" + bytes(6),
    140: b"\0" + bytes(6),
    51: b"\4" + bytes(22),
    44: b"\0\0\0" + b"\0\0\0\1",  # the atomic fragment: nothing before it, nothing after
}


@pytest.mark.parametrize("kinds", [*itertools.permutations(EXTENSIONS, 2), tuple(EXTENSIONS)])
def test_ipv6_extension_headers(kinds: tuple[int, ...]) -> None:
    body, following = UDP, 17
    for kind in reversed(kinds):
        body = bytes([following]) + EXTENSIONS[kind] + body
        following = kind
    row = the_row(make.ipv6(body, kind=following), 101)
    assert (row["payload"], row["family"]) == (PAYLOAD, 10)


@pytest.mark.parametrize(
    ("frame", "link", "drop"),
    [
        (b"", 1, "FRAME_TRUNCATED"),
        (V4, 147, "FRAME_LINK"),
        (make.ethernet(0x0806, bytes(28)), 1, "FRAME_LINK"),
        (make.ethernet(0x0026, b"\x42\x42\x03" + bytes(35)), 1, "FRAME_LINK"),  # spanning tree
        (
            make.ethernet(0x0030, b"\xaa\xaa\x03\0\0\x0c\x20\x04" + bytes(40)),
            1,
            "FRAME_LINK",
        ),  # a vendor's SNAP
        (make.ethernet(0x0030, b"\xaa\xaa\x03\x01\0\0\x08\0" + V4), 1, "FRAME_LINK"),
        (make.ethernet(0x0800, V4, *[(0x8100, 1)] * 9), 1, "FRAME_LINK"),  # no honest frame has nine tags
        (b"\x11\0\0\0" + V4, 0, "FRAME_LINK"),
        (make.ipv4(UDP, protocol=6), 101, "FRAME_PROTOCOL"),
        (make.ipv6(UDP, kind=59), 101, "FRAME_PROTOCOL"),
        (make.ipv6(UDP, kind=58), 101, "FRAME_PROTOCOL"),
        (make.ipv4(UDP, fragment=0x2000), 101, "FRAME_FRAGMENT"),
        (make.ipv4(UDP, fragment=1), 101, "FRAME_FRAGMENT"),
        (make.ipv6(b"\x11\0\0\1\0\0\0\1" + UDP, kind=44), 101, "FRAME_FRAGMENT"),
        (make.ipv6(b"\x11\0\0\x08\0\0\0\1" + UDP, kind=44), 101, "FRAME_FRAGMENT"),
        (b"\x55" + V4[1:], 101, "FRAME_MALFORMED"),
        (make.ethernet(0x0800, V6), 1, "FRAME_MALFORMED"),
        (make.ethernet(0x86DD, V4), 1, "FRAME_MALFORMED"),
        (b"\x44" + V4[1:], 101, "FRAME_MALFORMED"),  # a header of 16 octets
        (make.ipv4(UDP, total=19), 101, "FRAME_MALFORMED"),
        (make.ipv4(UDP, total=27), 101, "FRAME_MALFORMED"),  # no room for UDP's header
        (make.ipv4(make.udp(PAYLOAD, length=7)), 101, "FRAME_MALFORMED"),
        (make.ipv6(UDP, length=7), 101, "FRAME_MALFORMED"),
        (make.ipv6(b"\x11\x7f" + bytes(6) + UDP, kind=60), 101, "FRAME_MALFORMED"),
        (make.ipv6(b"\0\0" * 200, kind=0), 101, "FRAME_MALFORMED"),  # hop-by-hop without end
    ],
)
def test_what_is_counted_as_what(frame: bytes, link: int, drop: str) -> None:
    assert the_drop(frame, link) == drop


def test_fragment_bit_dont_fragment_is_no_fragment() -> None:
    assert the_row(make.ipv4(UDP, fragment=0x4000), 101)["payload"] == PAYLOAD


@pytest.mark.parametrize("frame", [make.ipv4(UDP, total=0), make.ipv6(UDP, length=0)])
def test_lengths_left_to_the_network_card(frame: bytes) -> None:
    assert the_row(frame, 101)["payload"] == PAYLOAD
    assert the_row(frame[:-5], 101, original=len(frame))["truncated"] == 1


def test_udp_length_zero_below_and_beyond_ip() -> None:
    assert the_row(make.ipv4(make.udp(PAYLOAD, length=0)), 101)["payload"] == PAYLOAD
    assert the_row(make.ipv4(make.udp(PAYLOAD, length=12)), 101)["payload"] == PAYLOAD[:4]
    beyond = the_row(make.ipv4(make.udp(PAYLOAD, length=9000)), 101)
    assert (beyond["payload"], beyond["truncated"]) == (PAYLOAD, 0)


def test_empty_datagram() -> None:
    assert the_row(make.ipv4(make.udp(b"")), 101)["payload"] == b""


def test_nothing_of_a_frame_reaches_the_next() -> None:
    rows, _ = decode(make.ethernet(0x86DD, V6, (0x8100, 9)), bytes(60), make.ethernet(0x0800, V4))
    assert [(r["family"], r["vlan"], r["packet"]) for r in rows] == [(10, 9, 0), (2, NO_VLAN, 2)]


def test_packets_outside_the_window_are_malformed() -> None:
    data = np.zeros(50, dtype=np.uint8)
    packets, found = Packets.empty(4), Datagrams.empty(4)
    packets.n = 4
    packets.offset[:] = [-1, 40, 2**62, 0]
    packets.captured[:] = [10, 11, 2**62, -1]
    packets.link[:] = 1
    drops = np.zeros(len(Drop), dtype=np.int64)
    assert decode_frames(data, packets, found, drops) == 4
    assert found.n == 0
    assert drops[Drop.FRAME_MALFORMED] == 4


Row = tuple[object, ...]


def rows_of(
    *frames: bytes, want: int = WANT_ALL, link: int = 101, cut: int = 0
) -> tuple[list[Row], dict[str, int]]:
    """Rows as (kind, ports, payload, seq, bits, aux, protocol, truncated), and the drops."""
    data = np.frombuffer(b"".join(frames), dtype=np.uint8)
    packets, found = Packets.empty(len(frames)), Datagrams.empty(MAX_ROWS_A_FRAME * len(frames))
    packets.n = len(frames)
    packets.captured[:] = [len(frame) for frame in frames]
    packets.offset[1:] = np.cumsum(packets.captured)[:-1]
    packets.original[:] = packets.captured + cut
    packets.link[:] = link
    drops = np.zeros(len(Drop), dtype=np.int64)
    assert decode_frames(data, packets, found, drops, want) == len(frames)
    rows = []
    for i in range(found.n):
        start, size = int(found.offset[i]), int(found.length[i])
        ports = int(found.src_port[i]), int(found.dst_port[i])
        marks = (int(getattr(found, name)[i]) for name in ("seq", "bits", "aux", "ip_proto", "truncated"))
        rows.append((int(found.kind[i]), *ports, data[start : start + size].tobytes(), *marks))
    return rows, {Drop(i).name: int(count) for i, count in enumerate(drops) if count}


@pytest.mark.parametrize("flags", [0x02, 0x12, 0x10, 0x18, 0x11, 0x04, 0xC2])
@pytest.mark.parametrize("payload", [b"", PAYLOAD])
@pytest.mark.parametrize("options", [b"", b"\2\4\5\xb4", b"\1" * 40])
def test_segments(flags: int, payload: bytes, options: bytes) -> None:
    segment = tunnel.tcp(payload, 0xFFFFFFFE, flags, options)
    for frame in (make.ipv4(segment, protocol=6), make.ipv6(segment, kind=6)):
        want = [(KIND_SEGMENT, 5060, 5062, payload, 0xFFFFFFFE, flags, 0, 6, 0)]
        assert rows_of(frame + b"\0" * 6) == (want, {})  # padding of the link is no data
        assert rows_of(frame, want=WANT_ALL & ~WANT_SEGMENTS) == ([], {"FRAME_PROTOCOL": 1})


def test_segment_cut_at_every_octet() -> None:
    """As soon as its header is there a segment is handed out: sequence number and flags are of use."""
    frame = make.ipv4(tunnel.tcp(PAYLOAD, options=b"\1" * 8), protocol=6)
    for size in range(len(frame)):
        rows, drops = rows_of(frame[:size], cut=len(frame) - size)
        if size < 48:
            assert (rows, drops) == ([], {"FRAME_TRUNCATED": 1})
        else:
            assert (rows[0][3], rows[0][-1], drops) == (PAYLOAD[: size - 48], 1, {})


@pytest.mark.parametrize("words", [0, 4, 11, 15])
def test_segment_with_a_lying_header_length(words: int) -> None:
    frame = make.ipv4(tunnel.tcp(b"x" * 20, words=words), protocol=6)
    assert rows_of(frame) == ([], {"FRAME_MALFORMED": 1})
    assert rows_of(make.ipv4(tunnel.tcp(b"")[:19], protocol=6)) == ([], {"FRAME_MALFORMED": 1})


def packet(*chunks: bytes) -> bytes:
    return make.ipv4(tunnel.sctp(*chunks), protocol=132)


def chunk_row(payload: bytes, tsn: int, flags: int = 3, user: int = 3) -> Row:
    return (KIND_CHUNK, 5060, 5062, payload, tsn, flags, user, 132, 0)


def test_bundled_chunks() -> None:
    frame = packet(
        tunnel.chunk(3, 0, bytes(12)),
        tunnel.data(PAYLOAD, 7),
        tunnel.data(b"x", 8, flags=2),
        tunnel.data(b"yyy", 9, flags=1, user=0xFFFFFFFF),
        tunnel.idata(b"whole", 10),
        tunnel.idata(b"part", 11, flags=2),
        tunnel.chunk(0, 3, bytes(12)),  # DATA without data
        tunnel.chunk(255, 0, b""),
        tunnel.data(b"last one, not padded", 12),
    )
    rows, drops = rows_of(frame, frame)
    once = [
        chunk_row(PAYLOAD, 7),
        chunk_row(b"x", 8, 2),
        chunk_row(b"yyy", 9, 1, 0xFFFFFFFF),
        chunk_row(b"whole", 10),
        chunk_row(b"last one, not padded", 12),
    ]
    assert rows == once * 2
    assert drops == {"SCTP_CONTROL": 4, "SCTP_PARTIAL": 2, "FRAME_MALFORMED": 2}
    assert rows_of(frame, want=WANT_ALL & ~WANT_CHUNKS) == ([], {"FRAME_PROTOCOL": 1})


def test_more_chunks_than_rows() -> None:
    rows, drops = rows_of(packet(*(tunnel.data(b"x", tsn) for tsn in range(200))))
    assert [row[4] for row in rows] == list(range(MAX_ROWS_A_FRAME))
    assert drops == {"SCTP_PARTIAL": 200 - MAX_ROWS_A_FRAME}


@pytest.mark.parametrize("length", [0, 3, 60000])
def test_chunk_of_a_lying_length(length: int) -> None:
    rows, drops = rows_of(packet(tunnel.data(b"whole", 1), tunnel.chunk(0, 3, bytes(20), length)))
    assert (rows, drops) == ([chunk_row(b"whole", 1)], {"FRAME_MALFORMED": 1})


def test_chunks_cut_at_every_octet() -> None:
    frame = packet(tunnel.data(b"first of all", 1), tunnel.data(PAYLOAD, 2))
    second = 20 + 12 + 28
    for size in range(len(frame)):
        rows, drops = rows_of(frame[:size], cut=len(frame) - size)
        assert len(rows) + sum(drops.values()) == (2 if size >= second else 1), size
        if size > second + 16:
            cut = int(size < second + 16 + len(PAYLOAD))  # the last octets are padding
            assert (rows[1][3], rows[1][-1]) == (PAYLOAD[: size - second - 16], cut)
        assert set(drops) <= {"FRAME_TRUNCATED"}
    assert rows_of(packet()) == ([], {"FRAME_MALFORMED": 1})


@pytest.mark.parametrize("part", [0x2000, 0x2001, 1, 0x1FFF, 0x3FFF])
def test_ipv4_fragments(part: int) -> None:
    frame = make.ipv4(PAYLOAD, fragment=part, protocol=6, options=b"\1" * 8)
    assert rows_of(frame + b"\0" * 3) == ([(KIND_FRAGMENT, 0, 0, PAYLOAD, 1, part, 0, 6, 0)], {})
    assert rows_of(frame, want=WANT_ALL & ~WANT_FRAGMENTS) == ([], {"FRAME_FRAGMENT": 1})
    assert rows_of(frame[:-5], cut=5)[0][0][-1] == 1


@pytest.mark.parametrize(("offset", "more"), [(0, 1), (1, 0), (1, 1), (0x1FFF, 1), (0x1FFF, 0)])
def test_ipv6_fragments(offset: int, more: int) -> None:
    header = struct.pack("!BBHI", 60, 0, offset << 3 | more, 0xDEADBEEF)
    want = [(KIND_FRAGMENT, 0, 0, PAYLOAD, 0xDEADBEEF, offset | more << 13, 0, 60, 0)]
    assert rows_of(make.ipv6(header + PAYLOAD, kind=44)) == (want, {})
    behind = b"\x2b" + bytes(7) + b"\x2c" + bytes(7) + header + PAYLOAD
    assert rows_of(make.ipv6(behind, kind=0)) == (want, {})
    short = make.ipv6(header, kind=44)
    assert rows_of(short)[0][0][3] == b""
    assert rows_of(short[:-1], cut=1) == ([], {"FRAME_TRUNCATED": 1})


def test_kinds_that_are_not_wanted() -> None:
    frames = [
        V4,
        make.ipv4(tunnel.tcp(b""), protocol=6),
        packet(tunnel.data(b"x")),
        make.ipv4(b"x", fragment=1),
    ]
    for want in range(WANT_ALL + 1):
        rows, drops = rows_of(*frames, want=want)
        assert [row[0] for row in rows] == [kind for kind in range(4) if want >> kind & 1]
        assert drops.get("FRAME_FRAGMENT", 0) == (0 if want & WANT_FRAGMENTS else 1)
        assert len(rows) + sum(drops.values()) == 4


@pytest.mark.parametrize("room", [MAX_ROWS_A_FRAME, MAX_ROWS_A_FRAME + 1, 100, 200])
@pytest.mark.parametrize("want", [WANT_DATAGRAMS, WANT_ALL])
def test_the_caller_goes_on_where_out_was_full(room: int, want: int) -> None:
    """Emptied and called again, small columns give what large ones give."""
    frames = [V4, packet(*[tunnel.data(b"x", tsn) for tsn in range(40)]), V6, b"\0"] * 40
    data = np.frombuffer(b"".join(frames), dtype=np.uint8)
    packets = Packets.empty(len(frames))
    packets.n = len(frames)
    packets.captured[:] = packets.original[:] = [len(frame) for frame in frames]
    packets.offset[1:] = np.cumsum(packets.captured)[:-1]
    packets.link[:] = 101
    whole, counts = Datagrams.empty(10_000), np.zeros(len(Drop), dtype=np.int64)
    assert decode_frames(data, packets, whole, counts, want) == len(frames)
    found, drops = Datagrams.empty(room), np.zeros(len(Drop), dtype=np.int64)
    first, at = 0, 0
    while first < packets.n:
        found.n = 0
        first = decode_frames(data, packets, found, drops, want, first=first)
        for name in (*(name for name, _ in DATAGRAM_COLUMNS), "src_ip", "dst_ip"):
            assert np.array_equal(getattr(found, name)[: found.n], getattr(whole, name)[at : at + found.n])
        at += found.n
    assert at == whole.n
    assert (drops == counts).all()


def test_too_little_room_is_an_error_of_ours() -> None:
    packets, drops = Packets.empty(1), np.zeros(len(Drop), dtype=np.int64)
    for room, want in ((0, WANT_DATAGRAMS), (MAX_ROWS_A_FRAME - 1, WANT_CHUNKS)):
        with pytest.raises(ValueError, match=f"room for {room} rows"):
            decode_frames(b"", packets, Datagrams.empty(room), drops, want)
    with pytest.raises(ValueError, match="first packet -1"):
        decode_frames(b"", packets, Datagrams.empty(1), drops, first=-1)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([make.ethernet(0x0800, V4), *(frame for _, frame, _ in LINKS.values())]),
    st.sampled_from([0, 1, 12, 101, 108, 113, 228, 229, 276]),
    st.lists(st.tuples(st.integers(0, 90), st.integers(0, 255)), max_size=6),
    st.integers(0, 500),
)
def test_mutated_frames_give_a_row_or_a_drop(
    frame: bytes, link: int, changes: list[tuple[int, int]], size: int
) -> None:
    octets = bytearray(frame)
    for at, value in changes:
        octets[at % len(octets)] = value
    decode(bytes(octets[:size]), link=link, original=len(frame))


PREFIXES = [
    b"",
    *(frame[:size] for _, frame, _ in LINKS.values() for size in (14, 34, 42)),
    *(tunnel.outer4(b"", protocol) for protocol in (4, 6, 17, 41, 47, 132)),
    tunnel.outer4(tunnel.sctp(tunnel.data(b"", length=99)), 132),
    *(tunnel.outer6(b"", kind) for kind in (0, 4, 6, 17, 41, 43, 44, 47, 60, 132)),
    *(tunnel.over_udp(port, b"") for port in (2152, 4789, 6081, 7932, 8472, 37008)),
    *(tunnel.over_udp(4789, tunnel.vxlan(b"")), tunnel.over_udp(2152, tunnel.gtpu(b""))),
    *(make.ethernet(kind, b"") for kind in (0x8847, 0x8864, 0x8100, 0x8909, 3)),
    *(tunnel.outer4(tunnel.gre(kind, b""), 47) for kind in (0x88BE, 0x22EB, 0x6558, 0x880B)),
]


def test_a_million_frames_of_random_octets() -> None:
    """Random octets behind headers that lead deep: nothing raised, every row lies within its frame."""
    total = 20_000 if str(frames.__file__).endswith(".py") else 1_000_000
    random = np.random.default_rng(5)
    data = random.integers(0, 256, 4 << 20, dtype=np.uint8)
    n = 10_000
    packets, found = Packets.empty(n), Datagrams.empty(n * 2)
    packets.n = n
    seen = np.zeros(4, dtype=np.int64)
    for turn in range(total // n):
        packets.offset[:] = np.arange(n) * 419
        packets.captured[:] = random.integers(0, 419, n)
        packets.original[:] = packets.captured + random.integers(0, 2, n) * 100
        links = random.choice([*LINK_TYPES, 147, 0x10800], n // 4)
        packets.link[:] = np.concatenate([np.ones(n - len(links), dtype=np.int64), links])
        for i in random.integers(0, n, n // 20):  # Python's part: new prefixes for some of them
            prefix = PREFIXES[int(random.integers(0, len(PREFIXES)))]
            start = int(packets.offset[i])
            data[start : start + len(prefix)] = np.frombuffer(prefix, dtype=np.uint8)
            if len(prefix) > 18 and prefix[12:14] == b"\x08\0":
                data[start + 16 : start + 18] = (1, 0x80)  # IPv4's total length: 384
        drops, first, rows = np.zeros(len(Drop), dtype=np.int64), 0, 0
        while first < n:
            found.n = 0
            first = decode_frames(data, packets, found, drops, WANT_ALL, first=first)
            rows += check_rows(packets, found)
            seen += np.bincount(found.kind[: found.n], minlength=4)
        extra = rows + int(drops.sum()) - n  # more than one chunk in an SCTP packet
        assert 0 <= extra < n // 4, turn
    assert (seen > 0).all(), seen


def check_rows(packets: Packets, found: Datagrams) -> int:
    """Every row lies within its frame; return how many there are."""
    rows = slice(0, found.n)
    frame = found.packet[rows]
    begin, end = packets.offset[frame], packets.offset[frame] + packets.captured[frame]
    start, stop = found.offset[rows], found.offset[rows] + found.length[rows]
    assert ((begin <= start) & (start <= stop) & (stop <= end)).all()
    assert (found.depth[rows] <= 8).all()
    assert np.isin(found.family[rows], (2, 10)).all()
    return int(found.n)
