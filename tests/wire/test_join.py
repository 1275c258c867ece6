"""SIP over several UDP datagrams: any split gives the message once; nothing else changes; nothing is lost."""

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepcat.wire import join as kernel
from hepcat.wire.columns import AREA_ARENA, DATAGRAM_COLUMNS, Arena, Datagrams
from hepcat.wire.join import DatagramJoiner
from tests.wire import make_capture as make
from tests.wire.make_fragments import named, new_drops, rows_of, udp_rows

COMPILED = not kernel.__file__.endswith(".py")
BODY = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\n" * 20
INVITE = make.message("INVITE", "big@a", BODY)
SMALL = make.message("OPTIONS", "small@a")
RINGING = b"SIP/2.0 180 Ringing\r\nCall-ID: a\r\nContent-Length: 0\r\n\r\n"
RTP = b"\x80\x00" + bytes(170)


class Box:
    """A joiner with its arena; every feed checks the sum."""

    def __init__(self, **options: Any) -> None:
        self.joiner = DatagramJoiner(**options)
        self.arena = Arena(16)
        self.fed = self.rows = 0

    def feed(self, parts: list[bytes], **columns: Any) -> list[bytes]:
        """Feed datagrams as one window; return what the rows say."""
        return self.feed_rows(*udp_rows(parts, **columns))

    def feed_rows(self, data: Any, found: Datagrams, rows: Any) -> list[bytes]:
        """Feed rows."""
        self.out = Datagrams.empty(0)
        drops = new_drops()
        n = self.joiner.feed(data, found, rows, self.arena, self.out, drops)
        assert named(drops) == {}
        self.fed += len(rows)
        return self.read(data, n)

    def expire(self, now_us: int, packet: int = 0) -> list[bytes]:
        """Hand out what is late."""
        self.out = Datagrams.empty(0)
        n = self.joiner.expire(now_us, self.arena, self.out, new_drops(), packet)
        return self.read(np.zeros(0, dtype=np.uint8), n)

    def read(self, data: Any, n: int) -> list[bytes]:
        """Datagrams fed = rows + joined + waiting."""
        assert n == self.out.n
        self.rows += n
        j = self.joiner
        assert (j.held == 0) == (j.held_octets == 0)
        assert self.fed == self.rows + j.joined + j.waiting
        assert (j.held == 0) == (j.waiting == 0)
        return [
            (self.arena.data if self.out.area[i] == AREA_ARENA else data)[self.out.offset[i] :][
                : self.out.length[i]
            ].tobytes()
            for i in range(n)
        ]


def split(octets: bytes, *sizes: int) -> list[bytes]:
    """Cut octets into parts of these sizes and the rest."""
    parts, at = [], 0
    for size in sizes:
        parts.append(octets[at : at + size])
        at += size
    return [*parts, octets[at:]]


PLAIN = {
    "whole": INVITE,
    "small": SMALL,
    "reply": RINGING,
    "no Content-Length": b"BYE sip:a SIP/2.0\r\nCall-ID: a\r\n\r\n",
    "more than its Content-Length": SMALL + b"more",
    "headers that end with bare LF": b"BYE sip:a SIP/2.0\nl: 2\n\nab",
    "RTP": RTP,
    "one octet": b"I",
    "empty": b"",
    "keep-alive": b"\r\n\r\n",
    "HTTP": b"GET / HTTP/1.1\r\nContent-Length: 50\r\n\r\n",
    "no line": b"INVITE sip:a SIP/2.0",
    "text": b"SIP/2.0200 OK\r\nCall-ID: a\r\n",
    "no space": b"INVITE-sip:aSIP/2.0\r\na: b\r\n",
    "a length nobody can send": b"INVITE sip:a SIP/2.0\r\nContent-Length: 99999999999999999999\r\n\r\na",
    "a length that is none": b"INVITE sip:a SIP/2.0\r\nContent-Length: x7\r\n\r\na",
    "a negative length": b"INVITE sip:a SIP/2.0\r\nContent-Length: -7\r\n\r\na",
    "a longer name": b"INVITE sip:a SIP/2.0\r\nContent-Lengthy: 7\r\nX-Content-Length: 9\r\n\r\na",
    "no URI": b"INVITE SIP/2.0\r\nl: 5\r\n\r\n",
    "no method": b"A" * 40 + b" sip:a SIP/2.0\r\nl: 5\r\n\r\n",
    "STUN": b"\x00\x01\x00\x00\x21\x12\xa4\x42" + bytes(12),
}


@pytest.mark.parametrize("name", PLAIN)
def test_what_passes_by_unchanged(name: str) -> None:
    box = Box()
    columns = {"packet": [7, 8], "ts": [100, 200], "vlan": 3, "depth": 2, "aux": 9}
    assert box.feed([PLAIN[name], SMALL], **columns) == [PLAIN[name], SMALL]
    for column, value in columns.items():
        assert getattr(box.out, column)[:2].tolist() == (value if isinstance(value, list) else [value] * 2)
    assert not box.joiner.changed
    assert box.joiner.held == 0


HEADS = {
    "l": b"INVITE sip:a SIP/2.0\r\nl: 5\r\n\r\n",
    "spaces": b"INVITE sip:a SIP/2.0\r\nCONTENT-LENGTH \t: \t5 \r\nl:900\r\n\r\n",
    "LF": b"INVITE sip:a SIP/2.0\nContent-Length:5\n\n",
    "between others": b"SIP/2.0 200 OK\r\nc: a/b\r\nL:5\r\nContact: <sip:a>\r\n\r\n",
    "lower case": b"invite sip:a sip/2.0\r\ncontent-length: 05\r\n\r\n",
}


@pytest.mark.parametrize("name", HEADS)
def test_ways_to_write_a_length(name: str) -> None:
    """Cut after each octet behind the start line."""
    message = HEADS[name] + b"hello"
    line = HEADS[name].index(b"\n") + 1
    for at in range(line, len(message)):
        box = Box()
        assert box.feed([message[:at]]) == [], at
        assert box.feed([message[at:]]) == [message], at
        assert (box.joiner.held, box.joiner.joined, box.joiner.partial) == (0, 1, 0)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_split_gives_the_message_once(data: Any) -> None:
    """Several messages, each in parts of its own, with other senders' datagrams between them."""
    parts: list[tuple[int, bytes]] = []
    expected = []
    for sender in range(data.draw(st.integers(1, 3))):
        mine = []
        for n in range(data.draw(st.integers(1, 3))):
            message = make.message("INVITE", f"{n}@{sender}", BODY[: data.draw(st.integers(0, 600))])
            line = message.index(b"\n") + 1
            cuts = data.draw(st.sets(st.integers(line, len(message) - 1), max_size=5))
            edges = [0, *sorted(cuts), len(message)]
            mine += [(sender, message[a:b]) for a, b in itertools.pairwise(edges)]
            expected.append(message)
        # keep each sender's order
        places = sorted(
            data.draw(st.lists(st.integers(0, len(parts)), min_size=len(mine), max_size=len(mine)))
        )
        for shift, (place, part) in enumerate(zip(places, mine, strict=True)):
            parts.insert(place + shift, part)
    at = data.draw(st.integers(0, len(parts)))
    box = Box()
    got = []
    for half in (parts[:at], parts[at:]):
        got += box.feed([octets for _, octets in half], src_port=[5060 + sender for sender, _ in half])
    assert sorted(got) == sorted(expected)
    assert (box.joiner.held, box.joiner.partial) == (0, 0)


def test_columns_of_a_joined_row() -> None:
    box = Box()
    parts = split(INVITE, 500, 300)
    columns = {"packet": [3, 4, 5], "ts": [10, 20, 30], "vlan": 9, "depth": 1, "src_port": 7777}
    assert box.feed([*parts[:2], SMALL], **{**columns, "src_port": [7777, 7777, 1]}) == [SMALL]
    assert box.joiner.changed
    assert box.feed(parts[2:], packet=0, ts=400, vlan=9, depth=1, src_port=7777) == [INVITE]
    out = box.out
    assert [out.packet[0], out.ts[0], out.vlan[0], out.depth[0], out.src_port[0]] == [0, 400, 9, 1, 7777]
    assert out.src_ip[0].tobytes() == bytes(10) + b"\xff\xff" + bytes([192, 0, 2, 1])


@pytest.mark.parametrize("column", ["src_port", "dst_port", "vlan", "src_ip", "dst_ip", "family"])
def test_others_are_not_appended(column: str) -> None:
    first, rest = split(INVITE, 400)
    values: list[Any] = [bytes(16), b"\1" * 16] if column.endswith("_ip") else [2, 10]
    columns: dict[str, Any] = {"src_ip": bytes(16), "dst_ip": bytes(16), column: values}
    box = Box()
    assert box.feed([first, rest], **columns) == [rest]
    assert box.joiner.held == 1


def test_a_new_message_sends_the_unfinished_one_out() -> None:
    box = Box()
    first, rest = split(INVITE, 400)
    assert box.feed([first, SMALL, rest], packet=[1, 2, 3], ts=[10, 20, 30]) == [first, SMALL, rest]
    assert box.out.packet[:3].tolist() == [2, 2, 3]
    assert box.out.ts[:3].tolist() == [10, 20, 30]
    assert box.joiner.partial == 1
    assert box.feed([first, first, rest]) == [first, INVITE]


def test_what_waits_goes_out_in_time() -> None:
    box = Box(timeout_us=1000)
    first, middle, rest = split(INVITE, 400, 300)
    assert box.feed([first], ts=0, packet=5, vlan=8) == []
    assert box.feed([middle], ts=1000, vlan=8) == []
    assert box.expire(2000) == []
    assert box.expire(2001, packet=3) == [first + middle]
    out = box.out
    assert [out.ts[0], out.vlan[0], out.packet[0], out.src_port[0], out.kind[0]] == [1000, 8, 3, 5060, 0]
    assert box.feed([rest], ts=2002, vlan=8) == [rest]
    assert box.feed([first], ts=3000, src_port=[9]) == []
    assert box.feed([SMALL], ts=4001, packet=6) == [first, SMALL]
    assert (box.out.src_port[0], box.out.ts[0], box.out.packet[0]) == (9, 3000, 6)


def test_stun_between_the_parts() -> None:
    box = Box()
    first, rest = split(INVITE, 400)
    assert box.feed([first, PLAIN["STUN"], rest]) == [PLAIN["STUN"], INVITE]


def test_cut_by_the_snap_length() -> None:
    box = Box()
    first, rest = split(INVITE, 400)
    assert box.feed([first, rest], truncated=[1, 0]) == [first, rest]
    assert box.feed([first, rest], truncated=[0, 1]) == [first, rest]


def test_not_udp() -> None:
    box = Box()
    first, rest = split(INVITE, 400)
    assert box.feed([first, rest], ip_proto=[132, 132]) == [first, rest]


def test_the_bounds() -> None:
    first = INVITE[:400]
    box = Box(max_messages=2)
    assert box.feed([first] * 3, src_port=[1, 2, 3]) == [first]
    assert box.out.src_port[0] == 1
    box = Box(max_octets=1 << 17)
    head = b"INVITE sip:a SIP/2.0\r\nl: 60000\r\n\r\n" + bytes(30_000)
    assert box.feed([head] * 5, src_port=[1, 2, 3, 4, 5]) == [head]
    assert box.joiner.held_octets <= 1 << 17
    box = Box()
    endless = b"INVITE sip:a SIP/2.0\r\n" + b"a" * 40_000
    assert box.feed([endless, b"b" * 40_000]) == [endless, b"b" * 40_000]
    with pytest.raises(ValueError, match="65,536"):
        DatagramJoiner(max_octets=1)


def test_keys_that_collide_cost_no_more_than_the_bound() -> None:
    box = Box(seed=bytes(96))
    assert len(box.feed([INVITE[:400]] * 100, src_port=list(range(100)))) == 68


def test_parts_may_lie_in_the_arena() -> None:
    box = Box()
    first, rest = split(INVITE, 400)
    box.arena.reserve(len(rest))
    box.arena.data[: len(rest)] = np.frombuffer(rest, dtype=np.uint8)
    box.arena.used = len(rest)
    data, found, rows = udp_rows([first, rest])
    found.area[1], found.offset[1] = AREA_ARENA, 0
    assert box.feed_rows(data, found, rows) == [INVITE]


def test_the_window_is_let_go() -> None:
    buffer = bytearray(b"INVITE sip:a SIP/2.0\r\nl: 9\r\n\r\n" + b"a" * 40)
    _, found, rows = rows_of([b"x" * 32], kind=0, ip_proto=17)
    found.offset[0] = 0
    joiner = DatagramJoiner()
    joiner.feed(buffer, found, rows, Arena(), Datagrams.empty(0), new_drops())
    assert joiner.held == 1
    buffer.extend(b"no view of it is left")


def test_every_column_is_handed_on() -> None:
    data, found, rows = udp_rows([SMALL, RTP])
    for name, dtype in DATAGRAM_COLUMNS:
        if name not in ("offset", "length", "area", "ip_proto", "kind", "truncated"):
            getattr(found, name)[:2] = np.array([3, 5], dtype=dtype)
    box = Box()
    assert box.feed_rows(data, found, rows) == [SMALL, RTP]
    for name, _ in DATAGRAM_COLUMNS:
        assert np.array_equal(getattr(box.out, name)[:2], getattr(found, name)[:2]), name


@pytest.mark.skipif(not COMPILED, reason="a million of them: compiled only")
def test_floods_stay_within_the_bounds() -> None:
    random_ = np.random.default_rng(5)
    n = 100_000
    pool = [INVITE[:200], b"INVITE sip:a SIP/2.0\r\n", b"a", b"a" * 1000, SMALL, RTP]
    data, found, rows = udp_rows([pool[i] for i in random_.integers(0, len(pool), n)])
    box = Box(max_octets=1 << 18)
    for window in range(10):
        found.src_port[:n] = random_.integers(0, 600, n)
        found.ts[:n] = window * 10_000 + np.arange(n) // 10
        box.arena.reset()
        box.feed_rows(data, found, rows)
        assert box.joiner.held_octets <= 1 << 18
        assert box.joiner.held <= 256
    box.expire(10**12)
    assert box.joiner.held == 0
