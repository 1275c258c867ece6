"""Edits applied: what a plan changed is in the new batch, what it did not is as before, nothing else."""

import random

import numpy as np
import pytest

from hepcat.batch.edit import apply_edits, changes_octets, overlay
from hepcat.batch.edits import Edits, Patch
from hepcat.batch.layout import NUMERIC, Batch
from hepcat.batch.schema import FIELD_COUNT, FIELDS, MAX_RECORD, NO_EXPIRES
from tests.lake.make import NOON, build, traffic

SLICES = ("payload", "correlation_id", "node_name", "tags")


def record(**values):
    return {
        "payload": b"INVITE sip:b SIP/2.0\r\n\r\n", "ts": NOON, "method": b"INVITE", "status": 0, "flags": 1,
        "expires": 60, "node_name": b"edge", "correlation_id": b"corr", "tags": b"a=1",
    } | values  # fmt: skip


def texts(batch: Batch, row: int) -> dict[str, bytes | None]:
    return {name: batch.text(row, name) for name in FIELDS}


def test_no_edits_copy_the_rows():
    batch = traffic(20)
    out = apply_edits(batch, np.array([3, 5, 19]), Edits())
    assert [texts(out, i) for i in range(3)] == [texts(batch, i) for i in (3, 5, 19)]
    for name, _, _ in NUMERIC:
        assert getattr(out, name).tolist() == getattr(batch, name)[[3, 5, 19]].tolist()
    assert out.octets == sum(int(batch.start[i + 1] - batch.start[i]) for i in (3, 5, 19))
    assert not np.shares_memory(out.buffer, batch.buffer)


def test_a_new_payload_takes_its_sip_fields_away_and_keeps_the_rest():
    batch = build([record(), record()])
    edits = Edits(payload=Patch.of(2, {1: b'{"json":1}'}))
    out = apply_edits(batch, np.arange(2), edits)
    assert texts(out, 0) == texts(batch, 0)
    expected = dict.fromkeys(FIELDS) | {
        "payload": b'{"json":1}', "node_name": b"edge", "correlation_id": b"corr", "tags": b"a=1",
    }  # fmt: skip
    assert texts(out, 1) == expected
    assert [int(out.flags[1]), int(out.expires[1]), int(out.flags[0])] == [0, NO_EXPIRES, 1]
    assert out.octets == int(batch.start[1]) + len(b'{"json":1}edgecorra=1')


def test_correlation_id_and_tags_change_and_vanish_beside_the_payload():
    batch = build([record() for _ in range(4)])
    edits = Edits()
    edits.put("tags", Patch.of(4, {0: b"b=2", 1: b""}))
    edits.put("correlation_id", Patch.of(4, {1: b"x@y", 2: b""}))
    edits.put("tags", Patch.of(4, {0: b"c=3"}))
    out = apply_edits(batch, np.arange(4), edits)
    assert [out.text(i, "tags") for i in range(4)] == [b"c=3", None, b"a=1", b"a=1"]
    assert [out.text(i, "correlation_id") for i in range(4)] == [b"corr", b"x@y", None, b"corr"]
    for i in range(4):
        assert (out.text(i, "payload"), out.text(i, "method")) == (batch.text(i, "payload"), b"INVITE")
    assert not out.fields[out.fields[:, :, 1] == 0].any()


def test_columns_change_without_a_copy():
    batch = build([record(src_port=1, dst_port=2) for _ in range(3)])
    edits = Edits(hep_type=np.array([1, 5, 1], dtype=np.uint8), dst_port=np.array([7, 8, 9], dtype=np.uint16))
    shared = overlay(batch, edits)
    assert shared.buffer is batch.buffer
    assert not changes_octets(edits)
    for out in (shared, apply_edits(batch, np.arange(3), edits)):
        assert out.hep_type.tolist() == [1, 5, 1]
        assert out.src_port.tolist() == [1, 1, 1]
        assert out.dst_port.tolist() == [7, 8, 9]
    assert batch.dst_port.tolist() == [2, 2, 2]


def test_a_record_over_the_bound_is_left_out_and_its_neighbours_are_not():
    batch = build([record(ts=NOON + i) for i in range(3)])
    rest = len(b"edgecorra=1")
    edits = Edits(payload=Patch.of(3, {0: b"x" * (MAX_RECORD - rest), 1: b"y" * (MAX_RECORD - rest + 1)}))
    out = apply_edits(batch, np.arange(3), edits)
    assert out.ts.tolist() == [NOON, NOON + 2]
    assert out.text(0, "payload") == b"x" * (MAX_RECORD - rest)
    assert out.text(0, "tags") == b"a=1"
    assert out.text(1, "method") == b"INVITE"


def test_extra_headers_go_with_their_payload():
    batch = build([record() | {"X-A": b"1"}, record() | {"X-A": b"2"}], extra=("X-A",))
    out = apply_edits(batch, np.arange(2), Edits(payload=Patch.of(2, {0: b"new"})))
    assert [out.text(i, "X-A") for i in range(2)] == [None, b"2"]
    assert out.fields.shape[1] == FIELD_COUNT + 1


@pytest.mark.parametrize("rows", [[-1], [3], [0, 3]])
def test_rows_outside_the_batch(rows):
    with pytest.raises(IndexError):
        apply_edits(traffic(3), np.array(rows), Edits())


def test_a_patch_outside_its_data():
    edits = Edits(tags=Patch.of(1, {0: b"abc"}))
    edits.tags.length[0] = 4
    with pytest.raises(IndexError):
        apply_edits(traffic(1), np.array([0]), edits)


def test_no_rows():
    assert apply_edits(traffic(3), np.array([], dtype=np.int64), Edits()).n == 0


@pytest.mark.parametrize("seed", range(5))
def test_random_edits_against_a_dictionary(seed):
    rng = random.Random(seed)
    batch = traffic(30, seed)
    edits = Edits()
    changed: dict[str, dict[int, bytes]] = {}
    for name in ("payload", "correlation_id", "tags"):
        if rng.random() < 0.8:
            values = {i: rng.randbytes(rng.randrange(40)) for i in range(30) if rng.random() < 0.4}
            edits.put(name, Patch.of(30, values))
            changed[name] = values
    rows = sorted(rng.sample(range(30), rng.randrange(1, 30)))
    out = apply_edits(batch, np.array(rows), edits)
    for i, row in enumerate(rows):
        expected = texts(batch, row)
        if row in changed.get("payload", {}):
            expected = {name: value if name in SLICES else None for name, value in expected.items()}
        for name, values in changed.items():
            expected[name] = values[row] or None if row in values else expected[name]
        assert texts(out, i) == expected
    ends = out.fields[:, :, 0].astype(int) + out.fields[:, :, 1]
    assert (ends <= np.diff(out.start)[:, None]).all()
