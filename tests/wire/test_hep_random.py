"""HEP under hypothesis: any record comes back, any octets are counted, compiled and plain Python agree."""

import importlib.util
import struct
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import hepcat.wire
from hepcat.batch.layout import Batch
from hepcat.wire.hep import AuthKeys
from hepcat.wire.hep import decode_hep as decode_hep_here
from hepcat.wire.hep_encode import encode_hep

from .vectors_hep import (
    BROKEN,
    RECEIVED,
    VECTORS,
    Record,
    batch_of,
    chunk,
    datagrams_of,
    decode,
    hep3,
    no_drops,
    pack,
    records,
)

V4_TEXT = st.ip_addresses(v=4).map(str)
V6_TEXT = st.ip_addresses(v=6).map(str)
SHORT = st.none() | st.binary(min_size=1, max_size=40)
KEYS = AuthKeys([(b"secret", "berlin"), (b"s", "rome")])


@st.composite
def any_record(draw: st.DrawFn, hep_type: st.SearchStrategy[int] | None = None) -> Record:
    family = draw(st.sampled_from([2, 10]))
    address = V4_TEXT if family == 2 else V6_TEXT
    u16 = st.integers(0, 0xFFFF)
    return Record(
        ts=draw(st.integers(0, 0xFFFFFFFF)) * 1_000_000 + draw(st.integers(0, 999_999)),
        family=family,
        ip_proto=draw(st.integers(0, 255)),
        src_ip=draw(address),
        dst_ip=draw(address),
        src_port=draw(u16),
        dst_port=draw(u16),
        vlan=draw(u16),
        hep_type=draw(st.integers(0, 255) if hep_type is None else hep_type),
        node_id=draw(st.integers(0, 0xFFFFFFFF)),
        payload=draw(st.binary(min_size=1, max_size=300)),
        correlation_id=draw(SHORT),
        node_name=draw(SHORT),
    )


@settings(max_examples=150, deadline=None)
@given(
    rows=st.lists(any_record(), min_size=1, max_size=6),
    key=st.sampled_from([b"", b"k", b"secret"]),
    compress=st.booleans(),
    magic=st.sampled_from([b"HEP3", b"EEP1"]),
)
def test_hep3_round_trip(rows: list[Record], key: bytes, compress: bool, magic: bytes) -> None:
    encoded = encode_hep(batch_of(rows), 3, key, compress, magic)
    batch, _ = decode(datagrams_of(encoded))
    assert records(batch) == rows


@settings(max_examples=100, deadline=None)
@given(row=any_record(st.just(1)), order=st.sampled_from(["little", "big"]))
def test_hep2_round_trip(row: Record, order: str) -> None:
    """With the time of reception near the time of capture, as it is, the byte order is always found."""
    time = divmod(row.ts, 1_000_000)
    assume(struct.pack("<II", *time) != struct.pack(">II", *time))  # else nothing tells the order of the id
    octets = datagrams_of(encode_hep(batch_of([row]), 2, byteorder=order))
    batch, _ = decode(octets, received=row.ts)
    (back,) = records(batch)
    assert (back.ts, back.payload, back.src_ip) == (row.ts, row.payload, row.src_ip)
    assert back.node_id == (row.node_id if row.node_id <= 0xFFFF else 0)


@settings(max_examples=50, deadline=None)
@given(row=any_record(st.just(1)))
def test_hep1_round_trip(row: Record) -> None:
    batch, _ = decode(datagrams_of(encode_hep(batch_of([row]), 1)), received=row.ts)
    (back,) = records(batch)
    assert (back.ts, back.payload, back.src_ip, back.dst_ip) == (row.ts, row.payload, row.src_ip, row.dst_ip)


def load_plain() -> ModuleType:
    """Load hep.py beside the module in use, as plain Python."""
    path = Path(hepcat.wire.__file__).with_name("hep.py")
    spec = importlib.util.spec_from_file_location("plain_hep", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["plain_hep"] = module
    spec.loader.exec_module(module)
    return module


PLAIN = load_plain()
COLUMNS = (
    "start",
    "ts",
    "family",
    "ip_proto",
    "src_ip",
    "dst_ip",
    "src_port",
    "dst_port",
    "vlan",
    "hep_type",
)


def both_ways(datagrams: list[bytes], rows: int, octets: int, keys: AuthKeys | None) -> None:
    """Hold the sum and that compiled and plain code say the same, to the last column."""
    data, offsets, lengths = pack(datagrams)
    results = []
    for decode_hep in (decode_hep_here, PLAIN.decode_hep):
        batch, drops = Batch.empty(rows, octets), no_drops()
        consumed = decode_hep(data, offsets, lengths, len(datagrams), RECEIVED, batch, drops, keys)
        assert consumed == batch.n + drops.sum()
        assert consumed == len(datagrams) or batch.n == rows or batch.octets > 0
        results.append((consumed, batch, drops))
    (a, one, drops_one), (b, two, drops_two) = results
    assert a == b
    assert (drops_one == drops_two).all()
    for name in (*COLUMNS, "node_id", "fields"):
        end = one.n + 1 if name == "start" else one.n
        assert np.array_equal(getattr(one, name)[:end], getattr(two, name)[:end]), name
    assert one.buffer[: one.octets].tobytes() == two.buffer[: two.octets].tobytes()


SEEDS = [v.octets for v in VECTORS] + [b[1] for b in BROKEN if len(b[1]) < 2000]
NUMBERS = st.sampled_from([0, 1, 5, 6, 7, 0x7F, 0x80, 0xFF])


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Take a vector and change, cut, double or lengthen it somewhere, most often in its headers."""
    octets = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, max(0, len(octets) - 1)) | st.integers(0, 120))
        kind = draw(st.integers(0, 3))
        if kind == 0 and at < len(octets):
            octets[at] = draw(NUMBERS | st.integers(0, 255))
        elif kind == 1:
            del octets[at : at + draw(st.integers(1, 30))]
        elif kind == 2:
            octets[at:at] = draw(st.binary(max_size=20))
        else:
            octets[at:at] = octets[: draw(st.integers(0, 60))]
    if draw(st.booleans()) and len(octets) >= 6 and octets[0] > 2:  # let the total agree
        octets[4:6] = min(len(octets), 65_535).to_bytes(2, "big")
    return bytes(octets)


@settings(max_examples=250, deadline=None)
@given(
    datagrams=st.lists(mutated() | st.binary(max_size=40), min_size=1, max_size=8),
    rows=st.integers(1, 8),
    octets=st.sampled_from([1, 250, 600, 70_000]),
    keys=st.sampled_from([None, KEYS]),
)
def test_mutations(datagrams: list[bytes], rows: int, octets: int, keys: AuthKeys | None) -> None:
    both_ways(datagrams, rows, octets, keys)


CHUNKS = st.builds(
    chunk,
    st.integers(0, 0x2A) | st.integers(0, 0xFFFF),
    st.binary(max_size=4) | st.binary(min_size=16, max_size=16) | st.sampled_from([b"\2", b"\n", b"secret"]),
    st.sampled_from([0, 0, 0, 1, 0xFFFF]),
)


@settings(max_examples=250, deadline=None)
@given(datagrams=st.lists(st.lists(CHUNKS, max_size=12).map(lambda c: hep3(*c)), min_size=1, max_size=6))
def test_any_chunks(datagrams: list[bytes]) -> None:
    both_ways(datagrams, 6, 70_000, None)
