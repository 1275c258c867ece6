"""Kernel: the order in which records are stored: message after message of one call.

In: a batch and rows of it, by time. Out: the same rows, those of one Call-ID together. What can go
wrong: IndexError for a slice outside the buffer or a row outside the batch (a bug of ours).

Messages of one call repeat each other: side by side they compress better, and a call is read from one
place. Only the order of rows depends on what is computed here, so Call-IDs are compared by their hash
alone, and a sender that makes hashes collide gets its own calls stored less well sorted.
"""

import sys
from typing import Any

import cython
import numpy as np
import numpy.typing as npt

from hepcat.batch.layout import Batch
from hepcat.batch.schema import FIELD_INDEX

Array = npt.NDArray[Any]

#: Slots looked at before two calls share one; bounds what crafted hashes can cost.
PROBES = cython.declare(cython.int, 32)
#: Rows ahead whose octets are asked of memory already.
AHEAD = cython.declare(cython.Py_ssize_t, 12)
#: Odd constants that spread bits (the fraction of the golden ratio, and of the square root of 3).
SPREAD = cython.declare(cython.ulonglong, 0x9E3779B97F4A7C15)
MIX = cython.declare(cython.ulonglong, 0xBB67AE8584CAA73B)

if not cython.compiled:
    CALL_ID = FIELD_INDEX["call_id"]


def _word(buffer: Any, at: cython.Py_ssize_t, size: cython.Py_ssize_t) -> cython.ulonglong:
    """Up to eight octets as a number, in the byte order of the machine."""
    word: cython.ulonglong = 0
    if size > 8:
        size = 8
    if at < 0 or size < 1 or at + size > buffer.shape[0]:
        with cython.gil:
            raise IndexError("slice outside its buffer")
    if not cython.compiled:
        return int.from_bytes(bytes(buffer[at : at + size]).ljust(8, b"\0"), sys.byteorder)
    memcpy(cython.address(word), cython.address(buffer[at]), size)  # type: ignore[name-defined]  # noqa: F821 (order.pxd)
    return word


def _hash(buffer: Any, at: cython.Py_ssize_t, size: cython.Py_ssize_t) -> cython.ulonglong:
    """Hash octets, eight at a time."""
    value: cython.ulonglong = cython.cast(cython.ulonglong, size)
    end: cython.Py_ssize_t = at + size
    while at < end:
        value = (value ^ _word(buffer, at, end - at)) * SPREAD
        if not cython.compiled:
            value &= 0xFFFFFFFFFFFFFFFF
        value ^= value >> 29
        at += 8
    value = value * MIX
    if not cython.compiled:
        value &= 0xFFFFFFFFFFFFFFFF
    return value ^ (value >> 32)


def _soon(buffer: Any, at: cython.Py_ssize_t) -> cython.int:
    """Ask memory for the octets at `at`, without waiting for them."""
    if cython.compiled and at >= 0 and at < buffer.shape[0]:
        prefetch(cython.address(buffer[at]))  # type: ignore[name-defined]  # noqa: F821 (order.pxd)
    return 0


def _number(
    buffer: Any, start: Any, fields: Any, rows: Any, hashes: Any, groups: Any, of: Any, counts: Any
) -> cython.Py_ssize_t:
    """Number the calls in the order of their first row; return how many there are.

    hashes, groups: the hash table, a power of two long; group -1 is a free slot. of: group of each row.
    counts: rows of each group, one place further than its number.
    """
    i: cython.Py_ssize_t
    row: cython.Py_ssize_t
    slot: cython.Py_ssize_t
    n: cython.Py_ssize_t = rows.shape[0]
    known: cython.Py_ssize_t = 0
    mask: cython.Py_ssize_t = groups.shape[0] - 1
    probe: cython.int
    value: cython.ulonglong
    with cython.nogil:
        for i in range(n):
            if i + AHEAD < n:
                row = rows[i + AHEAD]
                _soon(buffer, start[row] + fields[row, CALL_ID, 0])
            row = rows[i]
            value = _hash(buffer, start[row] + fields[row, CALL_ID, 0], fields[row, CALL_ID, 1])
            slot = cython.cast(cython.Py_ssize_t, value & mask)
            probe = 0
            while groups[slot] >= 0 and hashes[slot] != value and probe < PROBES:
                slot = (slot + 1) & mask
                probe += 1
            if groups[slot] < 0:
                hashes[slot] = value
                groups[slot] = cython.cast(cython.int, known)
                known += 1
            of[i] = groups[slot]
            counts[of[i] + 1] += 1
    return known


def _place(rows: Any, of: Any, at: Any, out: Any) -> cython.int:
    """Put each row where its group's next one belongs."""
    i: cython.Py_ssize_t
    with cython.nogil:
        for i in range(rows.shape[0]):
            out[at[of[i]]] = rows[i]
            at[of[i]] += 1
    return 0


def _plain(array: Array) -> Any:
    """Return what the loops index; uncompiled a view that gives plain integers."""
    return array if cython.compiled else memoryview(array)  # type: ignore[arg-type]


def by_call(batch: Batch, rows: Array) -> Array:
    """Return the rows with those of one Call-ID together, calls in the order of their first row.

    rows: int64, rows of table sip. Within a call the order stays. Raises IndexError for rows or slices
    outside the batch.
    """
    n = len(rows)
    if n < 2:
        return rows
    rows = np.ascontiguousarray(rows, dtype=np.int64)
    slots = 1 << (2 * n - 1).bit_length()
    groups = np.full(slots, -1, dtype=np.int32)
    of = np.empty(n, dtype=np.int32)
    at = np.zeros(n + 1, dtype=np.int64)
    fields = _plain(np.ascontiguousarray(batch.fields))
    known = _number(
        _plain(batch.buffer),
        _plain(batch.start),
        fields,
        _plain(rows),
        _plain(np.empty(slots, dtype=np.uint64)),
        _plain(groups),
        _plain(of),
        _plain(at),
    )
    np.cumsum(at[: known + 1], out=at[: known + 1])
    out = np.empty(n, dtype=np.int64)
    _place(_plain(rows), _plain(of), _plain(at), _plain(out))
    return out
