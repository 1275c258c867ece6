"""The order of storing: calls together, in the order of their first message."""

from pathlib import Path

import numpy as np
import pytest

from hepcat.batch import order
from hepcat.batch.layout import Batch
from hepcat.batch.order import by_call
from hepcat.batch.schema import FIELD_INDEX


def make(call_ids: list[bytes]) -> Batch:
    """Return a batch whose records are a few octets and a Call-ID."""
    batch = Batch.empty(len(call_ids), sum(3 + len(c) for c in call_ids) + 1)
    for i, call_id in enumerate(call_ids):
        at = int(batch.start[i])
        batch.buffer[at : at + 3 + len(call_id)] = list(b"SIP" + call_id)
        batch.start[i + 1] = at + 3 + len(call_id)
        batch.fields[i, FIELD_INDEX["call_id"]] = (3 if call_id else 0, len(call_id))
    batch.n = len(call_ids)
    return batch


def expected(call_ids: list[bytes], rows: list[int]) -> list[int]:
    """Return what by_call must say, the slow way."""
    groups: dict[bytes, list[int]] = {}
    for row in rows:
        groups.setdefault(call_ids[row], []).append(row)
    return [row for group in groups.values() for row in group]


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 16, 40])
def test_calls_stand_together_in_the_order_of_their_first_message(size):
    dice = np.random.default_rng(size)
    names = [bytes(dice.integers(0, 256, size, dtype=np.uint8)) for _ in range(20)]
    call_ids = [names[i] for i in dice.integers(0, 20, 200)]
    rows = dice.permutation(200)
    found = by_call(make(call_ids), rows.astype(np.int64))
    assert found.tolist() == expected(call_ids, rows.tolist())


def test_call_ids_that_differ_in_one_octet_are_told_apart():
    call_ids = [b"a" * 23 + bytes([i]) for i in range(100)] * 2
    found = by_call(make(call_ids), np.arange(200, dtype=np.int64))
    assert found.tolist() == expected(call_ids, list(range(200)))


def test_no_rows_and_one_row():
    batch = make([b"x", b"y"])
    assert by_call(batch, np.zeros(0, dtype=np.int64)).tolist() == []
    assert by_call(batch, np.array([1])).tolist() == [1]


def test_a_slice_outside_the_buffer_is_an_error():
    batch = make([b"x", b"y"])
    batch.fields[1, FIELD_INDEX["call_id"]] = (60_000, 9)
    with pytest.raises(IndexError):
        by_call(batch, np.arange(2, dtype=np.int64))


def test_a_row_outside_the_batch_is_an_error():
    with pytest.raises(IndexError):
        by_call(make([b"x", b"y"]), np.array([0, 7]))


def test_the_kernels_number_is_that_of_the_schema():
    pxd = Path(order.__file__).with_name("order.pxd").read_text()
    assert f"CALL_ID = {FIELD_INDEX['call_id']}\n" in pxd
