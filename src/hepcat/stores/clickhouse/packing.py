"""Kernel: text columns as Arrow has them -> as ClickHouse's native protocol has them; and crc32 of each
value.

In: offsets and octets of a column. Out: each value behind its length as a varint (7 bits an octet, the lowest
first, the highest bit set where more follow); or the crc32 (ISO-HDLC, as zlib's) of each value. What can go
wrong: IndexError for offsets that leave the octets, which means a bug of ours or a damaged file.
"""

import zlib
from typing import Any

import cython
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

#: crc32 of each octet by itself, as the loop needs it: the register's start and end complement taken away.
_TABLE: Array = np.array(
    [zlib.crc32(bytes((i,)), 0xFFFFFFFF) ^ 0xFFFFFFFF for i in range(256)], dtype=np.uint32
)


def _plain(array: Array) -> Any:
    """Return what the loops index: the array, or uncompiled a view that gives plain integers."""
    array = np.ascontiguousarray(array)
    return array if cython.compiled else memoryview(array)  # type: ignore[arg-type]


def _copy(
    source: Any, at: cython.longlong, target: Any, to: cython.longlong, length: cython.longlong
) -> cython.int:
    """Copy octets after checking both ranges; the one place where memory is moved unchecked."""
    i: cython.longlong
    if length <= 0:
        return 0
    if at < 0 or at + length > source.shape[0] or to < 0 or to + length > target.shape[0]:
        raise IndexError("value outside its column")
    if cython.compiled:
        # packing.pxd imports memcpy
        memcpy(cython.address(target[to]), cython.address(source[at]), cython.cast(cython.size_t, length))  # type: ignore[name-defined]  # noqa: F821
    else:
        for i in range(length):
            target[to + i] = source[at + i]
    return 0


def pack_strings(offsets: Array, data: Array) -> Array:
    """Return a column of the native type String. offsets: int32 (k + 1). data: uint8."""
    sizes = np.diff(offsets)
    # A varint has an octet for every 7 bits that are begun.
    heads = np.ones(len(sizes), dtype=np.int64)
    if len(sizes) and int(sizes.max()) >= 0x80:
        for bits in (7, 14, 21, 28):
            heads += sizes >> bits > 0
    out = np.empty(int(heads.sum()) + int(sizes.sum()), dtype=np.uint8)
    if len(sizes):
        _pack(_plain(offsets), _plain(data), _plain(out))
    return out


def _pack(offsets: Any, data: Any, out: Any) -> cython.longlong:
    i: cython.Py_ssize_t
    at: cython.longlong
    size: cython.longlong
    rest: cython.longlong
    to: cython.longlong = 0
    with cython.nogil:
        for i in range(offsets.shape[0] - 1):
            at = offsets[i]
            size = offsets[i + 1] - at
            if size < 0:
                raise IndexError("offsets are not in order")
            rest = size
            while rest >= 0x80:
                out[to] = (rest & 0x7F) | 0x80
                to += 1
                rest >>= 7
            out[to] = rest
            to += 1
            _copy(data, at, out, to, size)
            to += size
    return to


def crc32_of(offsets: Array, data: Array) -> Array:
    """Return the crc32 of each value (uint32); 0 for an empty one. offsets: int32 (k + 1). data: uint8."""
    sums = np.zeros(max(len(offsets) - 1, 0), dtype=np.uint32)
    if len(sums):
        _sum(_plain(offsets), _plain(data), _plain(_TABLE), _plain(sums))
    return sums


def _sum(offsets: Any, data: Any, table: Any, sums: Any) -> cython.int:
    i: cython.Py_ssize_t
    at: cython.longlong
    state: cython.uint
    ones: cython.uint = 0xFFFFFFFF
    with cython.nogil:
        for i in range(offsets.shape[0] - 1):
            state = ones
            for at in range(offsets[i], offsets[i + 1]):
                state = table[(state ^ data[at]) & 0xFF] ^ (state >> 8)
            sums[i] = state ^ ones
    return 0
