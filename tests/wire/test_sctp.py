"""SCTP chunks: whole ones pass, parts are put together in any order, copies are counted, bounds hold."""

import os
import random
import subprocess
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepcat.wire import sctp as kernel
from hepcat.wire.columns import AREA_ARENA, KIND_DATAGRAM, WANT_CHUNKS, Arena, Datagrams
from hepcat.wire.frames import decode_frames
from hepcat.wire.sctp import SctpAssembler
from tests.support import SHARED, need
from tests.wire.make_fragments import chunk_rows, named, new_drops, window_of

COMPILED = not kernel.__file__.endswith(".py")
WHOLE, FIRST, MIDDLE, LAST = 3, 2, 0, 1
Chunk = tuple[int, int, bytes]


class Box:
    """An assembler with its arena and counts; every feed checks the sum."""

    def __init__(self, **options: Any) -> None:
        self.assembler = SctpAssembler(**options)
        self.arena = Arena(16)
        self.drops = new_drops()
        self.fed = 0
        self.out = Datagrams.empty(0)

    def feed(self, chunks: list[Chunk], **columns: Any) -> list[bytes]:
        """Feed chunks as one window; return the messages."""
        return self.feed_rows(*chunk_rows(chunks, **columns))

    def feed_rows(self, data: Any, found: Datagrams, rows: Any) -> list[bytes]:
        """Feed rows; return the messages."""
        first = self.out.n
        n = self.assembler.feed(data, found, rows, self.arena, self.out, self.drops)
        assert n == self.out.n - first
        self.fed += len(rows)
        self.check()
        messages = []
        for i in range(first, self.out.n):
            octets = self.arena.data if self.out.area[i] == AREA_ARENA else data
            messages.append(octets[self.out.offset[i] :][: self.out.length[i]].tobytes())
            assert self.out.kind[i] == KIND_DATAGRAM
            assert self.out.ip_proto[i] == 132
        return messages

    def check(self) -> None:
        """Chunks fed = whole + used + held + drops."""
        a = self.assembler
        assert self.fed == a.whole + a.used + a.held + self.drops.sum()
        assert (a.held == 0) == (a.held_octets == 0)
        assert a.held >= 0


def parts_of(message: bytes, tsn: int, *sizes: int) -> list[Chunk]:
    """Cut a message into chunks of these sizes and the rest."""
    pieces, at = [], 0
    for size in sizes:
        pieces.append(message[at : at + size])
        at += size
    pieces.append(message[at:])
    last = len(pieces) - 1
    return [
        ((tsn + i) & 0xFFFFFFFF, (FIRST if i == 0 else 0) | (LAST if i == last else 0), piece)
        for i, piece in enumerate(pieces)
    ]


def test_whole_chunks_stay_where_they_are() -> None:
    box = Box()
    columns = {"aux": [3, 4], "packet": [8, 9], "ts": [100, 200], "vlan": 7, "depth": 1, "truncated": [0, 1]}
    assert box.feed([(1, WHOLE, b"one"), (2, WHOLE, b"two")], **columns) == [b"one", b"two"]
    for name, value in columns.items():
        assert getattr(box.out, name)[:2].tolist() == (value if isinstance(value, list) else [value] * 2)
    assert box.arena.used == 0
    assert box.assembler.whole == 2


def test_parts_over_two_windows() -> None:
    box = Box()
    message = random.Random(1).randbytes(3000)
    parts = parts_of(message, 10, 1400, 1400)
    assert box.feed(parts[:2], aux=5, ts=[1, 2]) == []
    assert (box.assembler.held, box.assembler.held_octets) == (2, 2800)
    assert box.feed(parts[2:], aux=5, ts=3, packet=4, depth=2) == [message]
    assert (box.out.aux[0], box.out.ts[0], box.out.packet[0], box.out.depth[0]) == (5, 3, 4, 2)
    assert (box.assembler.held, box.assembler.used) == (0, 3)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_order_and_any_copies_give_each_message_once(data: Any) -> None:
    """Several messages after each other, numbers that wrap around, several windows."""
    tsn = data.draw(st.sampled_from([1, 0xFFFFFFFA, 0x7FFFFFFC]))
    messages, chunks = [], []
    for n in range(data.draw(st.integers(1, 4))):
        message = random.Random(n).randbytes(data.draw(st.integers(1, 1500)))
        sizes = data.draw(st.lists(st.integers(1, 400), max_size=6))
        while sum(sizes) >= len(message):
            sizes.pop()
        parts = parts_of(message, tsn, *sizes)
        tsn += len(parts)
        messages.append(message)
        chunks += parts * data.draw(st.integers(1, 2))
    chunks = data.draw(st.permutations(chunks))
    split = data.draw(st.integers(0, len(chunks)))
    box = Box()
    got = box.feed(chunks[:split]) + box.feed(chunks[split:])
    assert sorted(got) == sorted(messages)
    assert set(named(box.drops)) <= {"SCTP_DUPLICATE"}
    assert box.assembler.held == 0


@pytest.mark.parametrize("column", ["src_port", "dst_port", "vlan", "src_ip", "dst_ip"])
def test_associations_are_kept_apart(column: str) -> None:
    values = [bytes(16), bytes(15) + b"\1"] if column.endswith("_ip") else [1, 2]
    columns: dict[str, Any] = {"src_ip": bytes(16), "dst_ip": bytes(16), column: values}
    box = Box()
    assert box.feed([(1, FIRST, b"a"), (2, LAST, b"b")], **columns) == []
    assert box.assembler.held == 2


def test_a_retransmission_is_counted_whole_or_not() -> None:
    box = Box()
    assert box.feed([(1, WHOLE, b"a"), (1, WHOLE, b"a"), (2, FIRST, b"b"), (2, FIRST, b"b")]) == [b"a"]
    assert named(box.drops) == {"SCTP_DUPLICATE": 2}
    assert box.feed([(3, LAST, b"c"), (2, FIRST, b"b"), (3, LAST, b"c"), (1, WHOLE, b"a")]) == [b"bc"]
    assert named(box.drops) == {"SCTP_DUPLICATE": 5}


def test_an_association_that_counts_from_the_same_number_again() -> None:
    """A simulator that always begins at 1: other octets are other messages; so are the same ones later."""
    box = Box(timeout_us=1000)
    assert box.feed([(1, WHOLE, b"a"), (2, WHOLE, b"b")]) == [b"a", b"b"]
    assert box.feed([(1, WHOLE, b"c"), (2, WHOLE, b"d")]) == [b"c", b"d"]
    assert box.feed([(1, WHOLE, b"c"), (2, WHOLE, b"d")], ts=1001) == [b"c", b"d"]
    assert named(box.drops) == {}


def test_a_number_far_away_begins_anew() -> None:
    box = Box()
    for tsn in (1000, 5, 0x80000005, 1000):
        assert box.feed([(tsn, WHOLE, b"a")]) == [b"a"]
    assert box.feed([(745, WHOLE, b"a"), (745, WHOLE, b"a"), (744, WHOLE, b"a")]) == [b"a", b"a"]


HOSTILE: dict[str, tuple[list[Chunk], list[bytes], dict[str, int], int]] = {
    "an end without a beginning": ([(2, LAST, b"a")], [], {}, 1),
    "a hole": ([(1, FIRST, b"a"), (3, LAST, b"a")], [], {}, 2),
    "a middle behind an end": ([(1, FIRST, b"a"), (2, LAST, b"b"), (3, MIDDLE, b"c")], [b"ab"], {}, 1),
    "a beginning within": (
        [(1, FIRST, b"a"), (2, MIDDLE, b"b"), (3, FIRST, b"c"), (4, LAST, b"d")],
        [b"cd"],
        {},
        2,
    ),
    "an end, then more of the same": (
        [(3, MIDDLE, b"c"), (2, LAST, b"b"), (4, LAST, b"d"), (1, FIRST, b"a")],
        [b"ab"],
        {},
        2,
    ),
    "a middle behind an end that waits": (
        [(2, LAST, b"b"), (3, MIDDLE, b"c"), (1, FIRST, b"a")],
        [b"ab"],
        {},
        1,
    ),
    "a middle before a beginning that waits": (
        [(3, FIRST, b"c"), (2, MIDDLE, b"b"), (4, LAST, b"d")],
        [b"cd"],
        {},
        1,
    ),
    "nothing in it": ([(1, FIRST, b""), (2, LAST, b"a")], [], {"SCTP_PARTIAL": 1}, 1),
    "other octets under its number": ([(1, FIRST, b"a"), (1, FIRST, b"b")], [], {"SCTP_DUPLICATE": 1}, 1),
    "longer than a record": (
        [(1, FIRST, bytes(60_000)), (2, MIDDLE, bytes(6_000)), (3, LAST, b"a")],
        [],
        {"SCTP_PARTIAL": 2},
        1,
    ),
    "as long as a record": ([(1, FIRST, bytes(60_000)), (2, LAST, bytes(5_535))], [bytes(65_535)], {}, 0),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile(name: str) -> None:
    chunks, messages, counts, held = HOSTILE[name]
    box = Box()
    assert box.feed(chunks) == messages
    assert named(box.drops) == counts
    assert box.assembler.held == held


def test_what_does_not_become_whole_in_time() -> None:
    box = Box(timeout_us=1000)
    box.feed([(1, FIRST, b"a"), (2, MIDDLE, b"b"), (9, FIRST, b"c")], ts=[0, 900, 950])
    assert box.feed([(3, LAST, b"d")], ts=1001) == []
    assert named(box.drops) == {"SCTP_PARTIAL": 2}
    assert box.assembler.held == 2
    box.assembler.expire(3000, box.drops)
    box.check()
    assert box.assembler.held == 0
    assert named(box.drops) == {"SCTP_PARTIAL": 4}


@pytest.mark.parametrize(
    "chunks", [[(3, MIDDLE, b"c"), (2, LAST, b"b")], [(2, MIDDLE, b"b"), (3, FIRST, b"c")]]
)
def test_a_message_that_is_given_up_leaves_its_neighbours(chunks: list[Chunk]) -> None:
    box = Box(timeout_us=1000)
    box.feed(chunks, ts=[0, 900])
    box.assembler.expire(1001, box.drops)
    box.check()
    assert (named(box.drops), box.assembler.held) == ({"SCTP_PARTIAL": 1}, 1)


def test_other_flags_are_another_chunk() -> None:
    box = Box()
    assert box.feed([(1, WHOLE, b"a"), (1, FIRST, b"a")]) == [b"a"]
    assert box.assembler.held == 1


def test_the_oldest_message_is_pushed_out() -> None:
    box = Box(max_messages=3)
    box.feed([(1, FIRST, b"a"), (2, MIDDLE, b"a")])
    box.feed([(10, FIRST, b"b"), (20, FIRST, b"c"), (30, FIRST, b"d")])
    assert named(box.drops) == {"SCTP_PARTIAL": 2}
    assert box.feed([(11, LAST, b"b")]) == [b"bb"]
    box = Box(max_octets=1 << 17)
    box.feed([(100 * n, FIRST, bytes(30_000)) for n in range(5)])
    assert named(box.drops) == {"SCTP_PARTIAL": 1}
    assert box.assembler.held_octets <= 1 << 17


def test_cut_by_the_snap_length() -> None:
    """What follows the hole is not joined to what stands before it."""
    box = Box()
    chunks = [(1, FIRST, b"abc"), (2, MIDDLE, b"de"), (3, LAST, b"fgh")]
    assert box.feed(chunks, truncated=[0, 1, 0]) == [b"abcde"]
    assert box.out.truncated[0] == 1


def test_chunks_may_lie_in_the_arena() -> None:
    box = Box()
    box.arena.reserve(1000)
    box.arena.data[:6] = np.frombuffer(b"abcdef", dtype=np.uint8)
    box.arena.used = 6
    data, found, rows = chunk_rows([(1, FIRST, b"xyz"), (2, LAST, b"abc"), (3, WHOLE, b"def")])
    found.area[1:3] = AREA_ARENA
    found.offset[1:3] = [0, 3]
    assert box.feed_rows(data, found, rows) == [b"xyzabc", b"def"]


def test_keys_that_collide_cost_no_more_than_the_bound() -> None:
    box = Box(seed=bytes(96))
    box.feed([(2 * n, FIRST, b"a") for n in range(100)])
    assert (box.assembler.held, named(box.drops)) == (32, {"SCTP_PARTIAL": 68})
    box.feed([(1, WHOLE, b"a")] * 100, src_port=list(range(100)))


def test_more_associations_than_are_remembered() -> None:
    box = Box()
    n = kernel.DIRECTIONS + 50
    assert len(box.feed([(1, WHOLE, b"a")] * n, src_port=list(range(n)))) == n
    assert len(box.feed([(1, WHOLE, b"a")] * 50, src_port=list(range(n - 50, n)))) == 0
    assert len(box.feed([(1, WHOLE, b"a")] * 50, src_port=list(range(50)))) == 50


def test_bounds_that_hold_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="65,536"):
        SctpAssembler(max_octets=1000)


def test_the_window_is_let_go() -> None:
    buffer = bytearray(b"a" * 64)
    _, found, rows = chunk_rows([(1, FIRST, b"a" * 8)])
    SctpAssembler().feed(buffer, found, rows, Arena(), Datagrams.empty(0), new_drops())
    buffer.extend(b"no view of it is left")


@pytest.mark.skipif(not COMPILED, reason="a million of them: compiled only")
def test_floods_stay_within_the_bounds() -> None:
    """A million chunks each: never ending messages, random ones, one octet each in random order."""
    random_ = np.random.default_rng(5)
    n = 100_000
    for kind in ("endless", "random", "backwards"):
        box = Box(max_octets=1 << 18)
        for window in range(10):
            data, found, rows = chunk_rows([(0, MIDDLE, b"x")] * n)
            found.ts[:n] = window * 1000
            box.out.n = 0
            if kind == "endless":
                found.seq[:n] = np.arange(n) + window * n
            elif kind == "random":
                found.seq[:n] = random_.integers(0, 5000, n)
                found.bits[:n] = random_.integers(0, 4, n)
                found.offset[:n] = 3
                found.length[:n] = random_.integers(0, 1500, n)
                found.src_port[:n] = random_.integers(0, 3, n)
            else:
                found.seq[:n] = 2_000_000 - np.arange(n) - window * n
            box.feed_rows(data, found, rows)
            assert box.assembler.held_octets <= 1 << 18
            assert box.assembler.held <= (1 << 18) // 512
        box.assembler.expire(10**12, box.drops)
        box.check()
        assert box.assembler.held == 0


# ---- real captures


@pytest.mark.parametrize(("name", "chunks"), [("zeek-sctp", 120), ("tcpdump-isup", 6)])
def test_real_captures_against_tshark(name: str, chunks: int) -> None:
    capture = SHARED / "captures" / f"{name}.pcap"
    if not capture.exists():
        pytest.skip(f"{capture} is not there")
    need("tshark")
    fields = ("frame.number", "sctp.data_tsn_raw", "sctp.data_payload_proto_id", "sctp.srcport")
    options = [part for field in fields for part in ("-e", field)]
    command = ["tshark", "-r", str(capture), "-Y", "sctp.data_tsn_raw", "-T", "fields", *options]
    text = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ}).stdout
    expected = []
    for line in text.splitlines():
        number, tsns, protocols, port = line.split("\t")
        for tsn, protocol in zip(tsns.split(","), protocols.split(","), strict=True):
            expected.append((int(number), int(tsn, 0), int(protocol), int(port)))
    octets, packets = window_of(capture)
    found = Datagrams.empty(2000)
    box = Box()
    decode_frames(octets, packets, found, new_drops(), WANT_CHUNKS)
    rows = np.flatnonzero(found.kind[: found.n] == 2)
    assert len(rows) == len(expected)
    messages = box.feed_rows(octets, found, rows)
    got = [
        (int(box.out.packet[i]) + 1, int(box.out.seq[i]), int(box.out.aux[i]), int(box.out.src_port[i]))
        for i in range(box.out.n)
    ]
    assert len(expected) == chunks
    first_of = {(port, tsn): (number, tsn, *rest, port) for number, tsn, *rest, port in reversed(expected)}
    assert got == sorted(first_of.values(), key=expected.index)
    assert named(box.drops) == ({"SCTP_DUPLICATE": chunks - len(got)} if chunks > len(got) else {})
    assert len(messages) == len(got)
