"""IP fragments: any order and copies give a datagram once; hostile ones are counted; tshark agrees."""

import itertools
import os
import random
import struct
import subprocess
from pathlib import Path
from typing import Any

import cython
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepcat.batch.drops import Drop
from hepcat.wire import fragments as kernel
from hepcat.wire.columns import (
    AREA_ARENA,
    KIND_FRAGMENT,
    LINKTYPE_RAW,
    WANT_ALL,
    Arena,
    Datagrams,
    Packets,
)
from hepcat.wire.fragments import REPEAT_US, Defragmenter
from hepcat.wire.frames import decode_frames
from tests.support import SHARED, need
from tests.wire.make_fragments import DST6, SRC6, checksum, cut, fragment_rows, named, new_drops, window_of

BODY = bytes(random.Random(1).randbytes(3000))
COMPILED = not kernel.__file__.endswith(".py")
assert not cython.compiled


class Box:
    """A defragmenter with its arena and counts; every feed checks the sum."""

    def __init__(self, **options: Any) -> None:
        self.defragmenter = Defragmenter(**options)
        self.arena = Arena(16)
        self.drops = new_drops()
        self.fed = 0

    def feed(self, pieces: list[tuple[int, bool, bytes]], **columns: Any) -> list[bytes]:
        """Feed fragments as one window; return the packets that came out."""
        data, found, rows = fragment_rows(pieces, **columns)
        return self.feed_rows(data, found, rows)

    def feed_rows(self, data: Any, found: Datagrams, rows: Any) -> list[bytes]:
        """Feed rows; return the packets that came out."""
        out = Packets.empty(0)
        n = self.defragmenter.feed(data, found, rows, self.arena, out, self.drops)
        self.fed += len(rows)
        self.check()
        assert n == out.n == len(self.defragmenter.packet_of) == len(self.defragmenter.depth_of)
        assert (out.link[:n] == LINKTYPE_RAW).all()
        assert (out.captured[:n] == out.original[:n]).all()
        self.out = out
        return [self.arena.data[out.offset[i] :][: out.captured[i]].tobytes() for i in range(n)]

    def check(self) -> None:
        """Fragments fed = used + held + drops."""
        d = self.defragmenter
        assert self.fed == d.used + d.held + self.drops.sum()
        assert d.held >= 0
        assert d.held_octets >= 0
        assert (d.held == 0) == (d.held_octets == 0)


def test_a_datagram_of_ipv4() -> None:
    box = Box()
    pieces = cut(BODY, 1480, 1480)
    columns = {"seq": 0xBEEF, "vlan": 7, "depth": 2, "ip_proto": 17}
    assert box.feed(pieces[:2], packet=[4, 5], ts=[100, 200], **columns) == []
    assert (box.defragmenter.held, box.defragmenter.held_octets) == (2, 2960)
    (packet,) = box.feed(pieces[2:], packet=[9], ts=[300], **columns)
    version, total, identification, flags, ttl, protocol = struct.unpack("!BxHHHBBxx", packet[:12])
    assert (version, total, identification, flags, ttl, protocol) == (0x45, 3020, 0xBEEF, 0, 64, 17)
    assert packet[12:20] == bytes([192, 0, 2, 1, 198, 51, 100, 2])
    assert checksum(packet[:20]) == 0
    assert packet[20:] == BODY
    assert (box.out.ts[0], box.out.vlan[0]) == (300, 7)
    assert box.defragmenter.packet_of.tolist() == [9]
    assert box.defragmenter.depth_of.tolist() == [2]
    assert (box.defragmenter.held, box.defragmenter.used) == (0, 3)


def test_a_datagram_of_ipv6_takes_its_next_header_from_the_first_fragment() -> None:
    box = Box()
    order = [2, 0, 1]
    pieces = cut(BODY, 1448, 1448)
    columns = {"family": 10, "src_ip": SRC6, "dst_ip": DST6, "seq": 0xDEADBEEF}
    (packet,) = box.feed([pieces[i] for i in order], ip_proto=[59, 60, 6], **columns)
    assert packet[:8] == struct.pack("!IHBB", 6 << 28, 3000, 60, 64)
    assert packet[8:40] == SRC6 + DST6
    assert packet[40:] == BODY


def test_fragments_may_lie_in_the_arena() -> None:
    """A tunnel whose outer packet was put together may carry fragments itself."""
    box = Box()
    box.arena.reserve(4000)
    box.arena.data[:3000] = np.frombuffer(BODY, dtype=np.uint8)
    box.arena.used = 3000
    data, found, rows = fragment_rows(cut(BODY, 1480, 1480))
    found.area[0] = found.area[2] = AREA_ARENA
    found.offset[0], found.offset[2] = 0, 2960
    assert [p[20:] for p in box.feed_rows(data, found, rows)] == [BODY]
    assert box.arena.data[:3000].tobytes() == BODY


@pytest.mark.parametrize("column", ["seq", "src_ip", "dst_ip", "vlan", "ip_proto", "family"])
def test_what_keeps_datagrams_apart(column: str) -> None:
    """Fragments that differ in a part of the key are not of one datagram."""
    values: dict[str, list[Any]] = {
        "seq": [1, 2],
        "src_ip": [SRC6, DST6],
        "dst_ip": [SRC6, DST6],
        "vlan": [1, 2],
        "ip_proto": [6, 17],
        "family": [2, 10],
    }
    box = Box()
    columns: dict[str, Any] = {"src_ip": SRC6, "dst_ip": SRC6, column: values[column]}
    assert box.feed(cut(BODY, 1480), **columns) == []
    assert box.defragmenter.held == 2


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_order_and_any_copies_give_it_back_once(data: Any) -> None:
    """Also with fragments cut differently, so that they overlap and agree, and in several windows."""
    body = random.Random(data.draw(st.integers(0, 999))).randbytes(data.draw(st.integers(1, 2500)))
    pieces = []
    for _ in range(data.draw(st.integers(1, 2))):
        cuts = sorted(data.draw(st.sets(st.integers(1, max(1, (len(body) - 1) // 8)), max_size=12)))
        edges = [0, *(c * 8 for c in cuts if c * 8 < len(body)), len(body)]
        pieces += [(a, b != len(body), body[a:b]) for a, b in itertools.pairwise(edges)] * data.draw(
            st.integers(1, 2)
        )
    pieces = data.draw(st.permutations(pieces))
    split = data.draw(st.integers(0, len(pieces)))
    box = Box()
    got = box.feed(pieces[:split]) + box.feed(pieces[split:])
    assert [packet[20:] for packet in got] == [body]
    assert set(named(box.drops)) <= {"FRAGMENT_DUPLICATE"}
    assert box.defragmenter.held == 0


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_datagrams_mixed_with_each_other(data: Any) -> None:
    box = Box()
    bodies = {i: random.Random(i).randbytes(200 + 100 * i) for i in range(5)}
    mixed = data.draw(st.permutations([(i, piece) for i in bodies for piece in cut(bodies[i], 64, 128)]))
    got = box.feed([piece for _, piece in mixed], seq=[i for i, _ in mixed])
    assert sorted(packet[20:] for packet in got) == sorted(bodies.values())


def test_a_first_fragment_that_splits_the_transport_header() -> None:
    box = Box()
    assert [p[20:] for p in box.feed(cut(BODY, 8, 16))] == [BODY]


@pytest.mark.parametrize(("family", "most", "proto"), [(2, 65_515, 17), (10, 65_535, 17)])
def test_the_longest_datagram(family: int, most: int, proto: int) -> None:
    body = random.Random(2).randbytes(most)
    sizes = [1480] * (most // 1480)
    box = Box()
    (packet,) = box.feed(cut(body, *sizes), family=family, ip_proto=proto)
    assert packet[20 if family == 2 else 40 :] == body
    assert struct.unpack_from("!H", packet, 2 if family == 2 else 4)[0] == (
        most + 20 if family == 2 else most
    )


HOSTILE: dict[str, tuple[list[tuple[int, bool, bytes]], dict[str, int], int]] = {
    # fragments; counts; held afterwards
    "overlap that disagrees": (
        [(0, True, b"a" * 16), (8, True, b"b" * 16)],
        {"FRAGMENT_OVERLAP": 2},
        0,
    ),
    "overlap of the whole of another": (
        [(8, True, b"a" * 8), (0, True, b"b" * 24), (24, False, b"a")],
        {"FRAGMENT_OVERLAP": 3},
        0,
    ),
    "one octet differs in a copy": (
        [(0, True, b"a" * 16), (0, True, b"a" * 15 + b"b")],
        {"FRAGMENT_OVERLAP": 2},
        0,
    ),
    "later ones of it are counted too": (
        [(0, True, b"a" * 8), (0, True, b"b" * 8), (8, False, b"c"), (0, True, b"a" * 8)],
        {"FRAGMENT_OVERLAP": 4},
        0,
    ),
    "teardrop: the last one within the first": (
        [(0, True, b"a" * 32), (8, False, b"a" * 8)],
        {"FRAGMENT_LENGTH": 2},
        0,
    ),
    "nothing in it": ([(8, True, b""), (0, True, b"a" * 8)], {"FRAGMENT_LENGTH": 1}, 1),
    "ping of death": ([(65_528, False, b"a" * 8), (0, True, b"a" * 8)], {"FRAGMENT_LENGTH": 1}, 1),
    "two ends": ([(8, False, b"a"), (8, False, b"aa"), (0, True, b"a" * 8)], {"FRAGMENT_LENGTH": 3}, 0),
    "past the end": ([(8, False, b"a" * 4), (16, True, b"a" * 8)], {"FRAGMENT_LENGTH": 2}, 0),
    "an end before the rest": ([(16, True, b"a" * 8), (8, False, b"a" * 4)], {"FRAGMENT_LENGTH": 2}, 0),
    "the last one says more follow": (
        [(8, False, b"a" * 8), (8, True, b"a" * 8)],
        {"FRAGMENT_LENGTH": 2},
        0,
    ),
    "no multiple of eight": ([(0, True, b"a" * 9), (8, True, b"a" * 8)], {"FRAGMENT_LENGTH": 1}, 1),
    "a copy": ([(8, True, b"a" * 8), (8, True, b"a" * 8)], {"FRAGMENT_DUPLICATE": 1}, 1),
    "a copy of the end": ([(8, False, b"abc"), (8, False, b"abc")], {"FRAGMENT_DUPLICATE": 1}, 1),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile(name: str) -> None:
    pieces, counts, held = HOSTILE[name]
    box = Box()
    assert box.feed(pieces) == []
    assert named(box.drops) == counts
    assert box.defragmenter.held == held


def test_a_datagram_that_was_given_up_can_come_again_after_its_time() -> None:
    box = Box(timeout_us=1000)
    box.feed([(0, True, b"a" * 8), (0, True, b"b" * 8)], ts=[10, 20])
    assert len(box.feed(cut(b"c" * 20, 8), ts=1011)) == 1
    assert named(box.drops) == {"FRAGMENT_OVERLAP": 2}


def test_its_number_is_used_again() -> None:
    """Other octets under the same identification are a new datagram, copies are not."""
    box = Box()
    one, other = cut(b"a" * 24, 8, 8), cut(b"b" * 24, 8, 8)
    assert len(box.feed([*one, *one, *other, *other])) == 2
    assert named(box.drops) == {"FRAGMENT_DUPLICATE": 6}
    again = box.feed(other, ts=REPEAT_US + 1)
    assert [packet[20:] for packet in again] == [b"b" * 24], "a retransmission, not a copy"


def test_the_same_octets_that_say_more_follow_are_another_datagram() -> None:
    box = Box()
    body = b"a" * 24
    assert len(box.feed(cut(body, 8, 8))) == 1
    assert [p[20:] for p in box.feed([(16, True, b"a" * 8), *cut(body + b"b", 8, 8, 8)])] == [body + b"b"]
    assert named(box.drops) == {"FRAGMENT_DUPLICATE": 1}


def test_what_does_not_become_whole_in_time() -> None:
    box = Box(timeout_us=1000)
    box.feed([(0, True, b"a" * 8), (16, True, b"a" * 8)], ts=[0, 900])
    assert box.defragmenter.held == 2
    assert box.feed([(8, True, b"a" * 8)], ts=1001) == []
    assert named(box.drops) == {"FRAGMENT_TIMEOUT": 2}
    box.defragmenter.expire(2001, box.drops)
    box.check()
    assert box.defragmenter.held == 1, "time runs from the datagram's first fragment"
    box.defragmenter.expire(2002, box.drops)
    box.check()
    assert named(box.drops) == {"FRAGMENT_TIMEOUT": 3}
    assert box.defragmenter.held == box.defragmenter.held_octets == 0


def test_a_clock_that_jumps_back_does_not_hold_fragments_for_ever() -> None:
    box = Box(timeout_us=1000)
    box.feed([(0, True, b"a" * 8)], ts=10**12)
    box.defragmenter.expire(5, box.drops)
    assert named(box.drops) == {"FRAGMENT_TIMEOUT": 1}


def test_the_oldest_is_pushed_out_by_number() -> None:
    box = Box(max_datagrams=4)
    box.feed([(0, True, b"a" * 8)] * 6, seq=[0, 1, 2, 3, 4, 5])
    assert named(box.drops) == {"FRAGMENT_BOUND": 2}
    assert box.feed([(8, False, b"a")] * 2, seq=[0, 5]) != []
    assert box.defragmenter.packet_of.tolist() == [1]


def test_the_oldest_is_pushed_out_by_octets() -> None:
    box = Box(max_octets=1 << 16)
    body = bytes(60_000)
    assert box.feed(cut(body, 30_000)[:1], seq=1) == []
    assert box.feed(cut(body, 40_000)[:1], seq=2) == []
    assert named(box.drops) == {"FRAGMENT_BOUND": 1}
    assert box.defragmenter.held_octets == 40_000
    assert len(box.feed(cut(body, 40_000)[1:], seq=2)) == 1


def test_a_datagram_may_push_itself_out() -> None:
    """Scattered tiny fragments take a block each; the pool is one datagram's worth and holds another too."""
    box = Box(max_octets=1 << 16)
    box.feed([(at, True, b"a" * 8) for at in range(0, 65_000, 512)], seq=1, ts=0)
    box.feed([(0, True, b"a" * 8)], seq=2, ts=1)
    assert box.defragmenter.held <= 128
    box.feed([(at, True, b"a" * 8) for at in range(0, 65_000, 512)], seq=2, ts=2)
    assert box.defragmenter.held <= 128


def test_remembered_datagrams_make_room_first() -> None:
    box = Box(max_datagrams=2)
    box.feed([(0, True, b"a" * 8)], seq=1)
    for number in range(2, 9):
        assert len(box.feed(cut(b"b" * 20, 8), seq=number)) == 1
    assert named(box.drops) == {}
    assert len(box.feed([(8, False, b"a")], seq=1)) == 1


def test_cut_by_the_snap_length() -> None:
    box = Box()
    box.feed(cut(BODY, 1480), truncated=[0, 1])
    assert named(box.drops) == {"FRAME_TRUNCATED": 1}


def test_keys_that_collide_cost_no_more_than_the_bound() -> None:
    """With factors of 0 every key falls into one bucket: its chain stays at 32."""
    box = Box(seed=bytes(96))
    box.feed([(0, True, b"a" * 8)] * 100, seq=list(range(100)))
    assert (box.defragmenter.held, named(box.drops)) == (32, {"FRAGMENT_BOUND": 68})
    assert len(box.feed([(8, False, b"a")] * 32, seq=list(range(68, 100)))) == 32


def test_nothing_fed() -> None:
    box = Box()
    assert box.feed([]) == []
    box.defragmenter.expire(10**15, box.drops)
    box.check()


def test_bounds_that_hold_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="65,536"):
        Defragmenter(max_octets=100)
    with pytest.raises(ValueError, match="room"):
        Defragmenter(max_datagrams=0)


def test_a_row_outside_its_window_is_our_bug_and_raises() -> None:
    data, found, rows = fragment_rows(cut(BODY, 1480))
    found.offset[0] = len(data) - 10
    with pytest.raises(IndexError):
        Box().feed_rows(data, found, rows)


def test_the_window_is_let_go() -> None:
    """A ring's block or a mapped file can be given back."""
    buffer = bytearray(b"a" * 64)
    _, found, rows = fragment_rows([(0, True, b"a" * 8)])
    Defragmenter().feed(buffer, found, rows, Arena(), Packets.empty(0), new_drops())
    buffer.extend(b"no view of it is left")


@pytest.mark.skipif(not COMPILED, reason="a million of them: compiled only")
def test_floods_stay_within_the_bounds() -> None:
    """A million fragments each: random ones, first ones alone, tiny ones of one datagram in random order."""
    random_ = np.random.default_rng(5)
    n = 100_000
    for kind in ("random", "first", "tiny"):
        box = Box(max_octets=1 << 18, max_datagrams=200)
        octets = [b"x" * 8] * n
        for window in range(10):
            data, found, rows = fragment_rows([(0, True, part) for part in octets], packet=0)
            found.ts[:n] = window * 1000
            if kind == "random":
                found.seq[:n] = random_.integers(0, 300, n)
                found.bits[:n] = random_.integers(0, 0x4000, n)
                found.offset[:n] = 3
                found.length[:n] = random_.integers(0, 1500, n)
                found.family[:n] = random_.choice([2, 10], n)
            elif kind == "first":
                found.seq[:n] = np.arange(n) + window * n
            else:
                found.bits[:n] = random_.integers(0, 8100, n) | 0x2000
                found.seq[:n] = window // 5
            box.feed_rows(data, found, rows)
            assert box.defragmenter.held_octets <= 1 << 18
            assert box.defragmenter.held <= (1 << 18) // 8
        box.defragmenter.expire(10**12, box.drops)
        box.check()
        assert box.defragmenter.held == 0


# ---- real captures


def ip_fragments(capture: Path) -> tuple[Any, Datagrams, Any]:
    """Read the fragments of a capture with a reader of this test's own (Ethernet or raw IP, no tunnels)."""
    octets = capture.read_bytes()
    order = "<" if octets[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1") else ">"
    link = struct.unpack_from(order + "I", octets, 20)[0]
    at, number, pieces, columns = 24, 0, [], []
    while at + 16 <= len(octets):
        seconds, micros, captured, _ = struct.unpack_from(order + "IIII", octets, at)
        frame = octets[at + 16 : at + 16 + captured]
        at += 16 + captured
        number += 1
        packet = frame[14:] if link == 1 else frame
        if packet[0] >> 4 == 4:
            total, identification, bits = struct.unpack_from("!HHH", packet, 2)
            words, protocol = packet[0] & 15, packet[9]
            if bits & 0x3FFF:
                pieces.append(((bits & 0x1FFF) * 8, bool(bits & 0x2000), packet[words * 4 : total]))
                mapped = bytes(10) + b"\xff\xff"
                addresses = mapped + packet[12:16], mapped + packet[16:20]
                columns.append((2, protocol, identification, *addresses, seconds * 10**6 + micros, number))
        elif packet[0] >> 4 == 6 and packet[6] == 44:
            length = struct.unpack_from("!H", packet, 4)[0]
            following, bits, identification = struct.unpack_from("!BxHI", packet, 40)
            pieces.append((bits & 0xFFF8, bool(bits & 1), packet[48 : 40 + length]))
            stamp = seconds * 10**6 + micros
            columns.append((10, following, identification, packet[8:24], packet[24:40], stamp, number))
    names = ("family", "ip_proto", "seq", "src_ip", "dst_ip", "ts", "packet")
    return fragment_rows(pieces, **dict(zip(names, map(list, zip(*columns, strict=True)), strict=True)))


CAPTURES = [
    *(f"zeek-fragmented-{i}" for i in (1, 2, 3, 4)),
    "zeek-ipv6-fragmented-dns",
    "suricata-frag-ipv6-tcp",
]


@pytest.mark.parametrize("name", CAPTURES)
def test_real_captures_against_tshark(name: str) -> None:
    capture = SHARED / "captures" / f"{name}.pcap"
    if not capture.exists():
        pytest.skip(f"{capture} is not there")
    need("tshark")
    flags = ("overlap.conflict", "multipletails", "toolongfragment")
    fields = ["frame.number", "ip.reassembled.data", "ipv6.reassembled.data"]
    fields += [f"{ip}.fragment.{flag}" for ip in ("ip", "ipv6") for flag in flags]
    options = [part for field in fields for part in ("-e", field)]
    command = ["tshark", "-r", str(capture), "-o", "ip.defragment:TRUE", "-T", "fields", *options]
    text = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ}).stdout
    expected, attacks = {}, 0
    for line in text.splitlines():
        number, v4, v6, *flagged = line.split("\t")
        if any(flagged):  # tshark shows what it makes of it; we take none of it
            attacks += 1
        elif v4 or v6:
            expected[int(number)] = bytes.fromhex((v4 or v6).split(",")[0])
    assert attacks == {"zeek-fragmented-1": 1, "zeek-fragmented-4": 1}.get(name, 0)
    box = Box()
    got = box.feed_rows(*ip_fragments(capture))
    bodies = [packet[20 if packet[0] >> 4 == 4 else 40 :] for packet in got]
    assert dict(zip(box.defragmenter.packet_of.tolist(), bodies, strict=True)) == expected
    refused = box.drops[Drop.FRAGMENT_OVERLAP] + box.drops[Drop.FRAGMENT_LENGTH]
    assert refused >= attacks


@pytest.mark.parametrize("name", CAPTURES[-2:])
def test_from_frames_to_payloads(name: str) -> None:
    """Frames, fragments, frames again; what comes out is what tshark shows."""
    capture = SHARED / "captures" / f"{name}.pcap"
    if not capture.exists():
        pytest.skip(f"{capture} is not there")
    need("tshark")
    fields = ("frame.number", "ip.proto", "ipv6.nxt", "udp.srcport", "udp.dstport", "udp.length")
    fields += ("tcp.srcport", "tcp.dstport", "tcp.len", "ipv6.reassembled.length")
    options = [part for field in fields for part in ("-e", field)]
    command = ["tshark", "-r", str(capture), "-T", "fields", *options]
    text = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ}).stdout
    expected = []
    for line in text.splitlines():
        number, _, _, *udp_tcp, reassembled = line.split("\t")
        if reassembled and udp_tcp[0]:
            expected.append((int(number), 17, int(udp_tcp[0]), int(udp_tcp[1]), int(udp_tcp[2]) - 8))
        elif reassembled:
            expected.append((int(number), 6, int(udp_tcp[3]), int(udp_tcp[4]), int(udp_tcp[5])))
    data, packets = window_of(capture)
    found, drops = Datagrams.empty(1000), new_drops()
    decode_frames(data, packets, found, drops, WANT_ALL)
    rows = np.flatnonzero(found.kind[: found.n] == KIND_FRAGMENT)
    assert len(rows) >= 3
    box = Box()
    box.feed_rows(data, found, rows)
    inner = Datagrams.empty(1000)
    decode_frames(box.arena.data, box.out, inner, drops, WANT_ALL, area=AREA_ARENA)
    got = [
        (
            int(box.defragmenter.packet_of[inner.packet[i]]) + 1,
            int(inner.ip_proto[i]),
            int(inner.src_port[i]),
            int(inner.dst_port[i]),
            int(inner.length[i]),
        )
        for i in range(inner.n)
    ]
    assert got == expected
    assert len(got) == 1
