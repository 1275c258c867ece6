"""Frames to datagrams: every link, tag and extension header; every cut; what is counted as what."""

import itertools
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepcat.batch.drops import Drop
from hepcat.batch.schema import NO_VLAN
from hepcat.wire.columns import Datagrams, Packets
from hepcat.wire.frames import copy_payloads, decode_frames
from tests.wire import make_capture as make

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



def test_copy_payloads() -> None:
    data = np.frombuffer(b"0123456789", dtype=np.uint8)
    out, start = np.zeros(7, dtype=np.uint8), np.array([2, 0, 0, 0], dtype=np.int64)
    copy_payloads(data, np.array([8, 0, 3]), np.array([2, 0, 3]), out, start)
    assert (out.tobytes(), start.tolist()) == (b"\0\0" + b"89345", [2, 4, 4, 7])


@pytest.mark.parametrize(("offset", "length"), [(-1, 1), (9, 2), (0, 11), (2**62, 2**62), (0, 9)])
def test_copy_payloads_checks_both_ranges(offset: int, length: int) -> None:
    out, start = np.zeros(8, dtype=np.uint8), np.zeros(2, dtype=np.int64)
    with pytest.raises(IndexError):
        copy_payloads(np.zeros(10, np.uint8), np.array([offset]), np.array([length]), out, start)


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
