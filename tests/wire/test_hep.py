"""HEP decode and encode against one table of vectors, whole and cut at every octet."""

import struct
import tracemalloc
import zlib

import numpy as np
import pytest

from hepcat.batch.drops import Drop
from hepcat.batch.layout import Batch
from hepcat.batch.schema import FIELD_COUNT
from hepcat.errors import HepcatError
from hepcat.wire.hep import AuthKeys, decode_hep
from hepcat.wire.hep_encode import encode_hep

from .vectors_hep import (
    ADDRESSES4,
    BODY,
    BROKEN,
    HEAD4,
    INVITE,
    RECEIVED,
    TAGS,
    V4,
    VECTORS,
    Record,
    Vector,
    batch_of,
    chunk,
    datagrams_of,
    decode,
    hep3,
    hep12,
    no_drops,
    pack,
    records,
)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v.name)
def test_decode(vector: Vector) -> None:
    batch, drops = decode([vector.octets])
    assert not drops.any()
    assert records(batch) == [vector.record]


@pytest.mark.parametrize("vector", [v for v in VECTORS if v.encode is not None], ids=lambda v: v.name)
def test_encode(vector: Vector) -> None:
    assert vector.encode is not None
    encoded = encode_hep(batch_of([vector.record]), **vector.encode)
    assert datagrams_of(encoded) == [vector.octets]


@pytest.mark.parametrize(("octets", "drop"), [b[1:] for b in BROKEN], ids=[b[0] for b in BROKEN])
def test_broken(octets: bytes, drop: Drop) -> None:
    batch, drops = decode([octets])
    assert batch.n == 0
    assert {Drop(int(i)): int(drops[i]) for i in np.flatnonzero(drops)} == {drop: 1}


def test_all_in_one_batch() -> None:
    good = [v.octets for v in VECTORS]
    mixed = [octets for pair in zip(good, [b[1] for b in BROKEN], strict=False) for octets in pair]
    batch, drops = decode(mixed)
    assert records(batch) == [v.record for v in VECTORS]
    assert drops.sum() == len(mixed) - len(good)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v.name)
def test_cut_at_every_octet(vector: Vector) -> None:
    """A datagram that was cut is counted or, in HEP 1 and 2, a record with a shorter payload."""
    whole = vector.octets
    total = struct.unpack(">H", whole[4:6])[0] if whole[0] > 2 else len(whole)
    for size in range(total):
        batch, drops = decode([whole[:size]])
        outcome = Drop(int(np.flatnonzero(drops)[0])) if batch.n == 0 else None
        if whole[0] > 2:
            assert outcome == (Drop.HEP_SHORT if size < 6 else Drop.HEP_LENGTH)
            continue
        header = len(whole) - len(INVITE)
        if size <= header:
            assert outcome == (Drop.HEP_SHORT if size < header else Drop.HEP_PAYLOAD)
        else:
            assert batch.text(0, "payload") == INVITE[: size - header]


@pytest.mark.parametrize("vector", [v for v in VECTORS if v.octets[0] > 2], ids=lambda v: v.name)
def test_cut_with_the_total_made_to_fit(vector: Vector) -> None:
    """Cut inside of chunks: the total length agrees, so that the chunk walk itself meets the end."""
    seen = set()
    for size in range(6, len(vector.octets)):
        cut = vector.octets[:4] + struct.pack(">H", size) + vector.octets[6:size]
        batch, drops = decode([cut])
        seen.add(None if batch.n else Drop(int(np.flatnonzero(drops)[0])))
    assert Drop.HEP_CHUNK in seen
    assert seen <= {None, Drop.HEP_CHUNK, Drop.HEP_MISSING, Drop.HEP_PAYLOAD, Drop.HEP_INFLATE}


# --- HEP2's byte order -------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("sec", "usec"),
    [
        (1_795_358_810, 0),  # microseconds fit either way: the nearer time wins
        (1_795_358_810, 256),
        (1_795_358_810, 999_999),
        (1_795_358_810, 65_536),
        (1_795_358_810, 1),
        (1_600_000_000, 123_456),  # an old clock: the microseconds alone tell
        (0, 5),
        (0xFFFFFFFF, 999_999),
    ],
)
def test_hep2_byte_order(order: str, sec: int, usec: int) -> None:
    batch, _ = decode([hep12(2, 16, ADDRESSES4, struct.pack(order + "IIHH", sec, usec, 0x0102, 0))])
    assert int(batch.ts[0]) == sec * 1_000_000 + usec
    assert int(batch.node_id[0]) == 0x0102


def test_hep2_nonsense_time_is_no_error() -> None:
    batch, _ = decode([hep12(2, 16, ADDRESSES4, b"\xff" * 12)])
    assert int(batch.ts[0]) == 0xFFFFFFFF * 1_000_000 + 0xFFFFFFFF
    assert int(batch.node_id[0]) == 0xFFFF


# --- keys ----------------------------------------------------------------------------------------------


KEYS = AuthKeys([(b"secret", "berlin"), (b"tokens", "paris"), (b"longer-key", "rome")])


@pytest.mark.parametrize(
    ("key", "name"), [(b"secret", b"berlin"), (b"tokens", b"paris"), (b"longer-key", b"rome")]
)
def test_key_names_its_agent(key: bytes, name: bytes) -> None:
    batch, _ = decode([hep3(*HEAD4, *V4, chunk(14, key), BODY)], KEYS)
    assert batch.text(0, "node_name") == name
    assert batch.text(0, "payload") == INVITE
    assert key not in batch.buffer[: batch.octets].tobytes()


def test_own_name_comes_before_the_key_name() -> None:
    batch, _ = decode([hep3(*HEAD4, *V4, chunk(14, b"secret"), chunk(19, b"own"), BODY)], KEYS)
    assert batch.text(0, "node_name") == b"own"


@pytest.mark.parametrize("key", [b"", b"s", b"secreT", b"secret1", b"secrets", b"Tokens", b"secrettoken"])
def test_wrong_key(key: bytes) -> None:
    _, drops = decode([hep3(*HEAD4, *V4, chunk(14, key), BODY)], KEYS)
    assert drops[Drop.AUTH] == 1


def test_missing_key() -> None:
    plain = [v.octets for v in VECTORS if b"secret" not in v.octets]
    _, drops = decode(plain, KEYS)
    assert drops[Drop.AUTH] == len(plain)


def test_no_keys_at_all_let_nobody_in() -> None:
    _, drops = decode([hep3(*HEAD4, *V4, chunk(14, b""), BODY)], AuthKeys([]))
    assert drops[Drop.AUTH] == 1


def test_nothing_is_inflated_without_a_key() -> None:
    _, drops = decode([hep3(*HEAD4, *V4, chunk(16, b"not zlib"))], KEYS)
    assert drops[Drop.AUTH] == 1


def test_keys_are_not_shown() -> None:
    assert "secret" not in repr(KEYS)
    for pairs in ([(b"", "berlin")], [(b"secret", "berlin"), (b"secret", "rome")]):
        with pytest.raises(HepcatError) as error:
            AuthKeys(pairs)
        assert "berlin" in str(error.value)
        assert "secret" not in str(error.value) + error.value.hint


def test_key_name_over_the_record_is_counted() -> None:
    keys = AuthKeys([(b"k", "n" * 65_000)])
    _, drops = decode([hep3(*HEAD4, *V4, chunk(14, b"k"), chunk(15, bytes(600)))], keys)
    assert drops[Drop.OVERSIZE] == 1


# --- bounds of payloads and batches ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bound", "fits"), [(0, False), (99, False), (100, True), (65_535, True), (10**9, True)]
)
def test_inflate_bound(bound: int, fits: bool) -> None:
    batch, drops = decode([hep3(*HEAD4, *V4, chunk(16, zlib.compress(bytes(100))))], bound=bound)
    assert batch.n == fits
    assert drops[Drop.HEP_INFLATE_BOUND] == (not fits)


def test_zip_bomb_takes_no_memory() -> None:
    bomb = hep3(*HEAD4, *V4, chunk(16, zlib.compress(bytes(10_000_000), 9)))
    data, offsets, lengths = pack([bomb])
    batch, drops = Batch.empty(1, 70_000), no_drops()
    tracemalloc.start()
    decode_hep(data, offsets, lengths, 1, RECEIVED, batch, drops)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert drops[Drop.HEP_INFLATE_BOUND] == 1
    assert peak < 1_000_000


def test_largest_message_fits() -> None:
    head = len(hep3(*HEAD4, *V4, chunk(15, b"")))
    payload = bytes(65_535 - head)
    batch, _ = decode([hep3(*HEAD4, *V4, chunk(15, payload))])
    assert batch.text(0, "payload") == payload
    assert datagrams_of(encode_hep(batch)) == [hep3(*HEAD4, *V4, chunk(15, payload))]


@pytest.mark.parametrize("rows", [1, 2, 5, 100])
@pytest.mark.parametrize("octets", [len(INVITE) + 20, 3 * len(INVITE), 100_000])
def test_full_batch_hands_back_the_rest(rows: int, octets: int) -> None:
    mixed = [octets_ for v, b in zip(VECTORS, BROKEN, strict=False) for octets_ in (v.octets, b[1])]
    data, offsets, lengths = pack(mixed)
    drops, got, done, calls = no_drops(), [], 0, 0
    batch = Batch.empty(rows, octets)
    while done < len(mixed):
        left = len(mixed) - done
        before = int(drops.sum())
        batch.n = 0
        consumed = decode_hep(
            data, offsets[done:], lengths[done:].astype(np.int32), left, RECEIVED, batch, drops
        )
        assert consumed == batch.n + drops.sum() - before
        assert consumed > 0, "no progress"
        got += records(batch)
        done += consumed
        calls += 1
    assert got == [v.record for v in VECTORS]
    assert calls >= len(got) / rows


def test_record_over_the_whole_buffer_does_not_block() -> None:
    data, offsets, lengths = pack([VECTORS[0].octets])
    batch, drops = Batch.empty(4, len(INVITE) - 1), no_drops()
    assert decode_hep(data, offsets, lengths, 1, RECEIVED, batch, drops) == 1
    assert drops[Drop.OVERSIZE] == 1


def test_appends_behind_what_is_there() -> None:
    data, offsets, lengths = pack([v.octets for v in VECTORS[:4]])
    batch, drops = Batch.empty(10, 10_000), no_drops()
    for i in range(4):
        assert decode_hep(data, offsets[i:], lengths[i:], 1, RECEIVED, batch, drops) == 1
        assert batch.n == i + 1
    assert records(batch) == [v.record for v in VECTORS[:4]]


def test_used_batch_gives_the_same() -> None:
    """Whatever an earlier use left in a batch does not show."""
    batch, drops = Batch.empty(50, 70_000), no_drops()
    for name in (
        "fields",
        "src_ip",
        "dst_ip",
        "status",
        "contact_port",
        "expires",
        "malformed",
        "flags",
        "vlan",
    ):
        getattr(batch, name).fill(7)
    data, offsets, lengths = pack([v.octets for v in VECTORS])
    decode_hep(data, offsets, lengths, len(VECTORS), RECEIVED, batch, drops)
    assert records(batch) == [v.record for v in VECTORS]
    fresh, n = Batch.empty(50, 1), batch.n
    for name in ("status", "contact_port", "expires", "malformed", "flags"):
        assert (getattr(batch, name)[:n] == getattr(fresh, name)[:n]).all(), name
    assert not batch.fields[:n, 3:TAGS].any()


def test_extra_headers_have_their_slots() -> None:
    data, offsets, lengths = pack([v.octets for v in VECTORS[:4]])
    batch, drops = Batch.empty(5, 10_000, ("x-one", "x-two")), no_drops()
    decode_hep(data, offsets, lengths, 4, RECEIVED, batch, drops)
    assert batch.fields.shape[1] == FIELD_COUNT + 2
    assert records(batch) == [v.record for v in VECTORS[:4]]


@pytest.mark.parametrize(("offset", "length"), [(-1, 5), (0, -1), (0, 6), (6, 1), (2**62, 2**62)])
def test_bounds_of_the_caller_raise(offset: int, length: int) -> None:
    """Ours, not theirs: loud."""
    batch, drops = Batch.empty(1, 100), no_drops()
    with pytest.raises(IndexError):
        decode_hep(b"HEP3\0", np.array([offset]), np.array([length]), 1, 0, batch, drops)


def test_nothing_to_do() -> None:
    batch, drops = Batch.empty(1, 100), no_drops()
    assert decode_hep(b"", np.array([], np.int64), np.array([], np.int64), 0, 0, batch, drops) == 0
    batch.n = 1
    assert decode_hep(b"x", np.array([0]), np.array([1]), 1, 0, batch, drops) == 0
    assert not drops.any()


# --- encode ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("capture_id", [0, 1, 0xFFFF])
def test_encode_capture_id_stands_in_for_the_rows_own(version: int, capture_id: int) -> None:
    batch = batch_of([Record(node_id=5), Record()])
    again, _ = decode(datagrams_of(encode_hep(batch, version, capture_id=capture_id)))
    assert [r.node_id for r in records(again)] == [capture_id, capture_id]


def test_encode_rows_by_number_and_by_mask() -> None:
    batch = batch_of([Record(src_port=port) for port in range(10)])
    every = datagrams_of(encode_hep(batch))
    assert datagrams_of(encode_hep(batch, rows=[7, 2, 2])) == [every[7], every[2], every[2]]
    assert datagrams_of(encode_hep(batch, rows=np.arange(10) % 2 == 1)) == every[1::2]
    assert datagrams_of(encode_hep(batch, rows=[])) == []
    assert datagrams_of(encode_hep(Batch.empty(3, 3))) == []


@pytest.mark.parametrize(
    ("record", "version"),
    [
        (Record(payload=bytes(65_535)), 3),
        (Record(payload=bytes(65_400), correlation_id=b"c" * 60), 3),
        (Record(payload=bytes(65_535)), 1),
        (Record(payload=bytes(65_508)), 2),
        (Record(hep_type=5), 1),
        (Record(hep_type=100), 2),
        (Record(ts=-1), 3),
        (Record(ts=2**32 * 1_000_000), 3),
        (Record(ts=-1), 2),
        (Record(family=0), 3),
    ],
)
def test_encode_gives_an_empty_datagram_for_what_it_cannot_say(record: Record, version: int) -> None:
    batch = batch_of([Record(), record, Record()])
    first, second, third = datagrams_of(encode_hep(batch, version))
    assert first == third != b""
    assert second == b""


def test_encode_largest_hep1_and_hep2() -> None:
    for version, size in ((1, 65_535 - 16), (2, 65_535 - 28)):
        (octets,) = datagrams_of(encode_hep(batch_of([Record(payload=bytes(size))]), version))
        assert len(octets) == 65_535


def test_encode_oversize_by_the_key() -> None:
    batch = batch_of([Record(payload=bytes(65_300))])
    assert datagrams_of(encode_hep(batch, key=b"k" * 200)) == [b""]
    assert datagrams_of(encode_hep(batch, key=b"k" * 200, compress=True)) != [b""]
    assert datagrams_of(encode_hep(batch, key=b"k" * 70_000, compress=True)) == [b""]


def test_encode_hep2_has_16_bits_of_id() -> None:
    batch = batch_of([Record(node_id=0x10000), Record(node_id=0xFFFF), Record()])
    again, _ = decode(datagrams_of(encode_hep(batch, 2)))
    assert [r.node_id for r in records(again)] == [0, 0xFFFF, 0]


@pytest.mark.parametrize(
    "options",
    [{"version": 0}, {"version": 4}, {"magic": b"HEP4"}, {"byteorder": "native"}, {"capture_id": -1},
     {"capture_id": 2**32}, {"version": 2, "capture_id": 2**16}],
)  # fmt: skip
def test_encode_options(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="encode_hep"):
        encode_hep(batch_of([Record()]), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("rows", [[1], [-1], [0, 5]])
def test_encode_row_that_there_is_not(rows: list[int]) -> None:
    with pytest.raises(IndexError):
        encode_hep(batch_of([Record()]), rows=rows)
    roomy = batch_of([Record(), Record()])
    roomy.n = 1
    with pytest.raises(IndexError):
        encode_hep(roomy, rows=rows)
