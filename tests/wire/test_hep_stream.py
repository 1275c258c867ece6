"""HEP streams: the same messages come out however the stream was cut, and garbage does not stop them."""

import itertools
import random
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepcat.batch.drops import Drop
from hepcat.wire.hep_stream import MAX_MESSAGE, frame_hep

from .vectors_hep import BODY, HEAD4, INVITE, V4, VECTORS, chunk, hep3, hep12, no_drops

MESSAGES = [v.octets for v in VECTORS if v.octets[0] > 2 and not v.octets.endswith(b"\r\n\0")]
SMALL = [hep3(), hep3(chunk(1, b"\2")), hep3(chunk(15, b"HEP3")), hep3(chunk(0, b""), magic=b"EEP1")]
#: Garbage that is no beginning of a message, whatever follows it.
GARBAGE = [
    b"\r\n\r\n",
    b"\0",
    b"HEPX",
    b"HHEEPP",
    b"HEP3\0\5",  # total below the header
    b"HEP3\0\x0b",  # no room for a chunk header
    b"HEP3\0\x20\0\0\0\1\0\5",  # chunk length below its header
    b"HEP3\0\x20\0\0\0\1\0\x1b",  # chunk past the end
    b"GET / HTTP/1.1\r\n\r\n",
    INVITE,
    hep12(1, 16, ("192.0.2.1", "192.0.2.2")),
    bytes(range(256)),
]


class Connection:
    """A connection's buffer as a source keeps it: append, frame, keep the rest."""

    def __init__(self, room: int = 4) -> None:
        self.rest = b""
        self.room = room
        self.messages: list[bytes] = []
        self.counts = no_drops()

    def feed(self, octets: bytes) -> None:
        data = self.rest + octets
        offsets, lengths = np.zeros(self.room, np.int64), np.zeros(self.room, np.int64)
        start = 0
        while True:
            count, consumed = frame_hep(data, start, len(data), offsets, lengths, self.counts)
            assert 0 <= count <= self.room
            assert 0 <= consumed <= len(data) - start
            bounds = list(zip(offsets[:count].tolist(), lengths[:count].tolist(), strict=True))
            for at, size in bounds:
                assert start <= at
                assert at + size <= start + consumed
            self.messages += [data[at : at + size] for at, size in bounds]
            start += consumed
            if count < self.room:
                break
        self.rest = data[start:]

    @property
    def garbage(self) -> int:
        assert self.counts.sum() == self.counts[Drop.STREAM_GARBAGE]
        return int(self.counts[Drop.STREAM_GARBAGE])


def test_whole() -> None:
    connection = Connection()
    connection.feed(b"".join(MESSAGES + SMALL))
    assert connection.messages == MESSAGES + SMALL
    assert (connection.rest, connection.garbage) == (b"", 0)


def test_octet_by_octet() -> None:
    connection = Connection()
    for octet in b"".join(MESSAGES + SMALL):
        connection.feed(bytes([octet]))
    assert connection.messages == MESSAGES + SMALL
    assert (connection.rest, connection.garbage) == (b"", 0)


def test_cut_in_two_at_every_octet() -> None:
    pair = [SMALL[1], MESSAGES[0], SMALL[3]]
    stream = b"".join(pair)
    for at in range(len(stream) + 1):
        connection = Connection(room=1)
        connection.feed(stream[:at])
        connection.feed(stream[at:])
        assert connection.messages == pair
        assert (connection.rest, connection.garbage) == (b"", 0)


@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda g: repr(g[:12]))
def test_in_step_again_after_garbage(garbage: bytes) -> None:
    connection = Connection()
    connection.feed(garbage + MESSAGES[0] + garbage + garbage + MESSAGES[1] + MESSAGES[2] + garbage)
    assert connection.messages == MESSAGES[:3]
    # "run": what lies between two messages counts once
    assert connection.garbage == 3 or (connection.garbage == 2 and connection.rest)


@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda g: repr(g[:12]))
def test_garbage_octet_by_octet(garbage: bytes) -> None:
    connection = Connection()
    for octet in MESSAGES[0] + garbage + MESSAGES[1]:
        connection.feed(bytes([octet]))
    assert connection.messages == MESSAGES[:2]
    assert connection.garbage >= 1


@settings(max_examples=60, deadline=None)
@given(
    parts=st.lists(st.sampled_from([*SMALL, MESSAGES[0], *GARBAGE]), max_size=12),
    cuts=st.lists(st.integers(0, 2000), max_size=12),
)
def test_any_segmentation(parts: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(parts)
    whole = Connection(room=100)
    whole.feed(stream)
    pieces = Connection(room=2)
    bounds = sorted({0, len(stream), *(c for c in cuts if c < len(stream))})
    for a, b in itertools.pairwise(bounds):
        pieces.feed(stream[a:b])
    assert pieces.messages == whole.messages
    assert pieces.messages == [p for p in parts if p not in GARBAGE]
    assert pieces.rest == whole.rest
    assert pieces.garbage >= whole.garbage


def test_random_octets_do_not_pile_up() -> None:
    noise = random.Random(1)
    connection = Connection()
    for _ in range(200):
        connection.feed(noise.randbytes(500).replace(b"HEP3", b"").replace(b"EEP1", b""))
        assert len(connection.rest) <= 3
    connection.feed(MESSAGES[0])
    assert connection.messages == [MESSAGES[0]]


@pytest.mark.parametrize("tail", [b"H", b"HE", b"HEP", b"E", b"EE", b"EEP"])
def test_beginning_of_a_magic_is_kept(tail: bytes) -> None:
    connection = Connection()
    connection.feed(b"noise" + tail)
    assert (connection.rest, connection.garbage) == (tail, 1)


@pytest.mark.parametrize("tail", [b"Hx", b"HEx", b"HEPX", b"EEP3", b"HEP1", b"HEP3\0\5", b"HEP3\0\x0b"])
def test_what_can_be_no_beginning_is_not_kept(tail: bytes) -> None:
    connection = Connection()
    connection.feed(tail)
    assert (connection.rest, connection.garbage) == (b"", 1)


def test_what_is_kept_is_bounded() -> None:
    """The longest message is the most that a connection holds."""
    largest = b"HEP3" + struct.pack(">HHHH", MAX_MESSAGE, 0, 15, MAX_MESSAGE - 6)
    connection = Connection()
    connection.feed(largest.ljust(MAX_MESSAGE - 1, b"x"))
    assert len(connection.rest) == MAX_MESSAGE - 1
    connection.feed(b"x" + MESSAGES[0])
    assert [len(m) for m in connection.messages] == [MAX_MESSAGE, len(MESSAGES[0])]
    assert connection.rest == b""


def test_broken_inside_is_left_to_the_decoder() -> None:
    broken = hep3(*HEAD4, *V4, b"\0\0\0\1\0\0", BODY)
    connection = Connection()
    connection.feed(broken + MESSAGES[0])
    assert connection.messages == [broken, MESSAGES[0]]
    assert connection.garbage == 0


def test_hep1_and_hep2_streams_are_garbage() -> None:
    connection = Connection()
    for version, time in ((1, b""), (2, bytes(12))):
        connection.feed(hep12(version, 16, ("192.0.2.1", "192.0.2.2"), time) * 50)
    assert connection.messages == []
    assert len(connection.rest) <= 3
    assert connection.garbage == 2


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_part_of_a_buffer(dtype: type) -> None:
    """Offsets are those of the buffer; only start to end is looked at."""
    data = b"HEP3" + MESSAGES[0] + MESSAGES[1] + b"HEP3"
    end = len(data) - 4
    offsets, lengths = np.zeros(9, np.int64), np.zeros(9, dtype)
    assert frame_hep(data, 4, end, offsets, lengths, no_drops()) == (2, end - 4)
    assert offsets[:2].tolist() == [4, 4 + len(MESSAGES[0])]
    assert lengths[:2].tolist() == [len(MESSAGES[0]), len(MESSAGES[1])]
    assert frame_hep(data, 4, end - 1, offsets, lengths, no_drops()) == (1, len(MESSAGES[0]))


@pytest.mark.parametrize(("start", "end"), [(-1, 0), (0, 6), (3, 2), (6, 6)])
def test_bounds_of_the_caller_raise(start: int, end: int) -> None:
    with pytest.raises(IndexError):
        frame_hep(b"HEP3\0", start, end, np.zeros(1, np.int64), np.zeros(1, np.int64), no_drops())
