"""The matching kernel against a slow reading of the same, compiled or not."""

import ipaddress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hepcat.batch.edits import Patch
from hepcat.batch.schema import FIELD_INDEX
from hepcat.plans import match, tables
from hepcat.plans.ast import Argument, Position
from hepcat.plans.function import Context
from hepcat.plans.values import addresses
from tests.plans.support import sip
from tests.wire.make_batch import Datagram, make_batch, octets_of

letters = st.binary(max_size=12).map(lambda b: bytes(c % 4 + 65 + 32 * (c & 1) for c in b))


HOWS = ((match.BEGINS, bytes.startswith), (match.ENDS, bytes.endswith), (match.EQUALS, bytes.__eq__))


@given(st.lists(st.tuples(letters, st.booleans()), min_size=1, max_size=8), letters)
def test_compare(rows: list[tuple[bytes, bool]], text: bytes) -> None:
    data = np.frombuffer(b"".join(octets for octets, _ in rows) + b"ABab", dtype=np.uint8)
    size = np.array([len(octets) for octets, _ in rows], dtype=np.int64)
    at = np.concatenate([[0], np.cumsum(size)[:-1]]).astype(np.int64)
    mask = np.array([wanted for _, wanted in rows])
    for fold in (False, True):
        folded = [(o.lower() if fold else o, w) for o, w in rows]
        small = text.lower() if fold else text
        for how, test in HOWS:
            found = match.compare_spans(data, at, size, text, how, mask, fold=fold)
            assert found.tolist() == [w and test(o, small) for o, w in folded]


def test_compare_field_ignores_empty_slices_and_other_rows() -> None:
    batch = make_batch(sip(), sip(status=200), b"junk", sip(from_user="alice2"))
    every = np.ones(4, dtype=np.bool_)
    user = FIELD_INDEX["from_user"]
    assert match.compare_field(batch, user, b"alice", match.BEGINS, every).tolist() == [
        True,
        True,
        False,
        True,
    ]
    assert match.compare_field(batch, user, b"", match.BEGINS, every).tolist() == [True, True, False, True]
    assert match.compare_field(batch, user, b"", match.EQUALS, every).tolist() == [False] * 4
    assert not match.compare_field(batch, user, b"alice", match.BEGINS, ~every).any()


def test_a_slice_outside_the_buffer_is_our_bug_and_loud() -> None:
    data = np.zeros(4, dtype=np.uint8)
    mask = np.ones(1, dtype=np.bool_)
    for at, size in ((2, 3), (-1, 2), (100, 2)):
        spans = (np.array([at], dtype=np.int64), np.array([size], dtype=np.int64))
        with pytest.raises(IndexError):
            match.compare_spans(data, *spans, b"\0\0\0"[:size], match.BEGINS, mask)
        with pytest.raises(IndexError):
            match.hash_spans(data, *spans, mask, np.zeros(1, dtype=np.uint64))


ip = st.one_of(
    st.integers(0, 2**32 - 1).map(ipaddress.IPv4Address),
    st.integers(0, 2**128 - 1).map(ipaddress.IPv6Address),
    st.sampled_from(
        ["0.0.0.0", "255.255.255.255", "10.0.0.1", "10.0.0.255", "10.0.1.0", "::", "2001:db8::1"]
    ).map(ipaddress.ip_address),
)


def ranges_of(text: str) -> tuple[np.ndarray, np.ndarray]:
    context = Context("t", (), {}, ())
    return addresses(context, Argument(text, Position(1, 1)))


@given(st.lists(ip, min_size=1, max_size=6), ip, st.integers(0, 128))
def test_networks(rows: list[ipaddress.IPv4Address | ipaddress.IPv6Address], of: object, bits: int) -> None:
    network = ipaddress.ip_network(
        f"{of}/{min(bits, 32) if isinstance(of, ipaddress.IPv4Address) else bits}", False
    )
    column = np.frombuffer(b"".join(octets_of(str(a)) for a in rows), dtype=np.uint8).reshape(-1, 16)
    low, high = ranges_of(str(network))
    found = match.in_ranges(column, low, high, np.ones(len(rows), dtype=np.bool_))
    for address, true in zip(rows, found.tolist(), strict=True):
        if address.version == network.version:
            assert true == (address in network and getattr(address, "ipv4_mapped", None) is None)


def test_a_network_of_all_ipv6_is_not_ipv4() -> None:
    column = np.frombuffer(
        octets_of("10.0.0.1") + octets_of("2001:db8::1") + octets_of("::1"), dtype=np.uint8
    )
    every = np.ones(3, dtype=np.bool_)
    assert match.in_ranges(column.reshape(3, 16), *ranges_of("::/0"), every).tolist() == [False, True, True]
    assert match.in_ranges(column.reshape(3, 16), *ranges_of("0.0.0.0/0"), every).tolist() == [
        True,
        False,
        False,
    ]


@given(st.integers(0, 2**32 - 1).map(ipaddress.IPv4Address), st.integers(1, 15))
def test_beginnings_of_addresses_are_textual(address: ipaddress.IPv4Address, cut: int) -> None:
    """What the original compared as text: a prefix that is no whole address."""
    prefix = str(address)[:cut]
    if prefix == str(address) or (prefix.count(".") == 3 and not prefix.endswith(".")):
        return  # a whole address means itself
    low, high = ranges_of(prefix)
    others = [
        address,
        *(ipaddress.IPv4Address((int(address) + d) % 2**32) for d in (1, -1, 256, -256, 2**24)),
    ]
    column = np.frombuffer(b"".join(octets_of(str(a)) for a in others), dtype=np.uint8).reshape(-1, 16)
    found = match.in_ranges(column, low, high, np.ones(len(others), dtype=np.bool_))
    assert found.tolist() == [str(a).startswith(prefix) for a in others]


def hashes(*values: bytes, seed: int = 0) -> list[int]:
    out = np.zeros(len(values), dtype=np.uint64)
    data = np.frombuffer(b"".join(values) + b"\0", dtype=np.uint8)
    size = np.array([len(v) for v in values], dtype=np.int64)
    at = np.concatenate([[0], np.cumsum(size)[:-1]]).astype(np.int64)
    match.hash_spans(data, at, size, np.ones(len(values), dtype=np.bool_), out, seed)
    return [int(v) for v in out]


def test_hashes_are_the_same_everywhere() -> None:
    """Agents that sample have to agree: these values may never change (byte order: little)."""
    first, again, other, longer, empty = hashes(b"a@b", b"a@b", b"a@c", b"a@b-and-more-than-eight", b"")
    assert first == again
    assert len({first, other, longer}) == 3
    assert empty == 0
    assert (first, longer) == GOLDEN
    assert hashes(b"a@b", seed=5) != [first]
    patch = Patch.of(2, {1: b"a@b"})
    out = np.zeros(2, dtype=np.uint64)
    match.hash_patch(patch, np.ones(2, dtype=np.bool_), out)
    assert out.tolist() == [0, first]


GOLDEN = (3556581610848945445, 1393836245584591829)


def test_hashes_are_spread() -> None:
    values = np.array(hashes(*[b"%d@host" % i for i in range(2000)]), dtype=np.uint64)
    assert len(set(values.tolist())) == 2000
    for shift in (0, 8, 32, 60):
        counts = np.bincount(((values >> np.uint64(shift)) & np.uint64(15)).astype(np.int64), minlength=16)
        assert counts.min() > 60
        assert counts.max() < 200


# ---- headers

HEADERS = (
    b"Via: v1\r\nX-A : one \r\nv: v2\r\nSubject:\r\n folded\r\n\tvalue \r\nx-a: two\r\nX-AB: no\r\nEmpty:\r\n"
)


@pytest.mark.parametrize(
    ("name", "compact", "value"),
    [
        ("X-A", "", b"one"),
        ("x-ab", "", b"no"),
        ("via", "v", b"v1"),
        ("subject", "s", b"folded\r\n\tvalue"),
        ("empty", "", b""),
        ("x-b", "", None),
        ("body", "", None),
        ("INVITE", "", None),
    ],
)
@pytest.mark.parametrize("newline", [b"\r\n", b"\n"])
def test_find_headers(name: str, compact: str, value: bytes | None, newline: bytes) -> None:
    message = (b"INVITE: sip:x SIP/2.0\r\n" + HEADERS + b"\r\nBody: x\r\n").replace(b"\r\n", newline)
    batch = make_batch(b"junk", message, message)
    at, size = match.spans_of(batch, FIELD_INDEX["payload"])
    mask = np.array([False, True, False])
    where, length = match.find_headers(batch.buffer, at, size, name, compact, mask)
    assert length[[0, 2]].tolist() == [-1, -1]
    if value is None:
        assert length[1] == -1
    else:
        assert batch.buffer[where[1] : where[1] + length[1]].tobytes() == value.replace(b"\r\n", newline)


@given(st.binary(max_size=60).map(lambda b: bytes(b"A:\r\n \tx"[c % 7] for c in b)))
def test_find_headers_in_anything(octets: bytes) -> None:
    data = np.frombuffer(octets + b"A: out of bounds\r\n", dtype=np.uint8)
    spans = (np.array([0], dtype=np.int64), np.array([len(octets)], dtype=np.int64))
    where, length = match.find_headers(data, *spans, "a", "x", np.ones(1, dtype=np.bool_))
    assert length[0] == -1 or 0 <= where[0] <= where[0] + length[0] <= len(octets)


# ---- tables


def test_seen_remembers_for_a_window() -> None:
    seen = tables.Seen(64)
    every = np.ones(1, dtype=np.bool_)

    def new(value: int, ts: int) -> bool:
        return bool(seen.new_ones(np.array([value], dtype=np.uint64), np.array([ts]), 200, every)[0])

    assert [new(1, 0), new(1, 100), new(1, 200), new(1, 201), new(1, 300), new(2, 300)] == [
        *(True, False, False, True, False, True)
    ]
    assert new(1, 150) is False, "a copy that comes late, of another worker's clock"


def test_a_flood_only_makes_it_forget() -> None:
    seen = tables.Seen(16)
    value = np.arange(1, 400, dtype=np.uint64)
    out = seen.new_ones(value, np.arange(len(value)), 1000, np.ones(len(value), dtype=np.bool_))
    assert out.all(), "what is new is never held back"
    assert len(seen.value) == 16


def test_buckets_let_through_the_rate_and_one_second_at_once() -> None:
    buckets = tables.Buckets(10.0)
    ts = np.arange(0, 10_000_000, 10_000)  # 100 a second for 10 seconds
    keys = np.zeros(len(ts), dtype=np.uint64)
    out = buckets.take(keys, ts, np.ones(len(ts), dtype=np.bool_))
    assert out[:10].all()
    assert 108 <= np.count_nonzero(out) <= 110
    for second in range(2, 10):
        assert 9 <= np.count_nonzero(out[second * 100 : second * 100 + 100]) <= 11


def test_buckets_are_apart_and_slow_rates_work() -> None:
    buckets = tables.Buckets(0.5)
    keys = np.array([1, 2, 1, 1, 2, 1], dtype=np.uint64)
    ts = np.array([0, 0, 1_000_000, 2_000_001, 2_000_001, 1_000_000])
    out = buckets.take(keys, ts, np.ones(6, dtype=np.bool_))
    assert out.tolist() == [True, True, False, True, True, False]


def test_buckets_fill_again_after_the_clock_was_set_back() -> None:
    buckets = tables.Buckets(1.0)
    ts = np.array([9_000_000_000, 1_000_000, 2_000_000, 3_000_000], dtype=np.int64)
    out = buckets.take(np.zeros(4, dtype=np.uint64), ts, np.ones(4, dtype=np.bool_))
    assert out.tolist() == [True, False, True, True]


def test_buckets_of_a_flood_of_keys_stay_bounded() -> None:
    buckets = tables.Buckets(1.0, 16)
    keys = np.arange(1000, dtype=np.uint64)
    assert buckets.take(keys, np.zeros(1000, dtype=np.int64), np.ones(1000, dtype=np.bool_)).all()
    assert len(buckets.keys) == 16


def test_rows_of_datagrams_are_hashed_by_their_columns() -> None:
    batch = make_batch(Datagram(b"x"), Datagram(b"x", src_port=1), Datagram(b"x"))
    out = np.zeros(3, dtype=np.uint64)
    match.hash_columns((batch.src_ip, batch.src_port), np.array([True, True, False]), out)
    assert out[0] != out[1]
    assert out[2] == 0
