"""Kernel: masks over the rows of a batch: what a slice begins with, where an address lies, what came before.

In: a batch's columns, a mask of the rows to look at (bool), and what to compare with. Out: a new bool
mask, true only within the given one; or hashes of slices. What can go wrong: IndexError for a slice
outside the buffer (a bug of ours); hostile octets only ever make a mask true or false.
"""

import sys
from typing import Any, Final

import cython
import numpy as np
import numpy.typing as npt

from hepcat.batch.edits import Patch
from hepcat.batch.layout import Batch

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]

#: How a slice is compared with a text.
BEGINS: Final = 0
ENDS: Final = 1
EQUALS: Final = 2

if not cython.compiled:
    PREFIX, SUFFIX, EQUAL = BEGINS, ENDS, EQUALS

#: Odd constants that spread bits (the fractions of the golden ratio and of the square root of 3).
SPREAD = cython.declare(cython.ulonglong, 0x9E3779B97F4A7C15)
MIX = cython.declare(cython.ulonglong, 0xBB67AE8584CAA73B)
#: Header lines that are looked at in one message; the SIP index has the same bound.
MAX_LINES = cython.declare(cython.int, 1024)


def _view(array: Array) -> Any:
    """Return what the loops index: the array, or uncompiled a view that gives plain integers."""
    array = np.ascontiguousarray(array)
    if array.dtype == np.bool_:
        array = array.view(np.uint8)
    return array if cython.compiled else memoryview(array)  # type: ignore[arg-type]


def _octets(text: bytes) -> Any:
    """Return octets as the loops index them."""
    return _view(np.frombuffer(text, dtype=np.uint8))


# ---- texts


def _same(
    buffer: Any, at: cython.Py_ssize_t, text: Any, size: cython.Py_ssize_t, fold: cython.bint
) -> cython.bint:
    """Whether buffer[at:at + size] is the text; fold: letters alike in any case (text in small letters)."""
    i: cython.Py_ssize_t
    c: cython.int
    for i in range(size):
        c = buffer[at + i]
        if fold and 65 <= c <= 90:
            c += 32
        if c != text[i]:
            return False
    return True


def _compare(
    buffer: Any, at: Any, size: Any, text: Any, how: cython.int, fold: cython.bint, mask: Any, out: Any
) -> cython.int:
    """Compare spans with one text."""
    row: cython.Py_ssize_t
    k: cython.Py_ssize_t = text.shape[0]
    pos: cython.Py_ssize_t
    with cython.nogil:
        for row in range(mask.shape[0]):
            out[row] = 0
            if mask[row] == 0 or size[row] < k or (how == EQUAL and size[row] != k):
                continue
            pos = cython.cast(cython.Py_ssize_t, at[row])
            if how == SUFFIX:
                pos += cython.cast(cython.Py_ssize_t, size[row]) - k
            if pos < 0:
                with cython.gil:
                    raise IndexError("slice outside its buffer")
            out[row] = _same(buffer, pos, text, k, fold)
    return 0


def _compare_field(
    buffer: Any,
    start: Any,
    fields: Any,
    field: cython.Py_ssize_t,
    text: Any,
    how: cython.int,
    fold: cython.bint,
    mask: Any,
    out: Any,
) -> cython.int:
    """As _compare, for a slice of each row; an empty slice is no value, and never matches."""
    row: cython.Py_ssize_t
    k: cython.Py_ssize_t = text.shape[0]
    size: cython.Py_ssize_t
    pos: cython.Py_ssize_t
    with cython.nogil:
        for row in range(mask.shape[0]):
            out[row] = 0
            if mask[row] == 0:
                continue
            size = fields[row, field, 1]
            if size == 0 or size < k or (how == EQUAL and size != k):
                continue
            pos = cython.cast(cython.Py_ssize_t, start[row]) + fields[row, field, 0]
            if how == SUFFIX:
                pos += size - k
            if pos < 0:
                with cython.gil:
                    raise IndexError("slice outside its buffer")
            out[row] = _same(buffer, pos, text, k, fold)
    return 0


def compare_field(batch: Batch, field: int, text: bytes, how: int, mask: Mask, *, fold: bool = False) -> Mask:
    """Return where a slice begins with, ends with or equals a text (BEGINS, ENDS, EQUALS).

    field: index into the fields axis. mask: (n,) bool. fold: ASCII letters alike in any case.
    """
    out = np.empty(batch.n, dtype=np.bool_)
    if batch.n:
        small = text.lower() if fold else text
        _compare_field(
            _view(batch.buffer),
            _view(batch.start),
            _view(batch.fields),
            field,
            _octets(small),
            how,
            fold,
            _view(mask),
            _view(out),
        )
    return out


def compare_spans(
    data: Array, at: Array, size: Array, text: bytes, how: int, mask: Mask, *, fold: bool = False
) -> Mask:
    """Return where data[at:at + size] begins with, ends with or equals a text.

    at, size: int64, one a row; a size below 0 never matches.
    """
    out = np.empty(len(mask), dtype=np.bool_)
    if len(mask):
        small = text.lower() if fold else text
        _compare(_view(data), _view(at), _view(size), _octets(small), how, fold, _view(mask), _view(out))
    return out


# ---- addresses


def _within(address: Any, row: cython.Py_ssize_t, low: Any, high: Any, i: cython.Py_ssize_t) -> cython.bint:
    """Whether an address lies in range i, compared octet by octet from the highest."""
    j: cython.int
    above: cython.bint = False  # already above low
    below: cython.bint = False  # already below high
    for j in range(16):
        if not above:
            if address[row, j] < low[i, j]:
                return False
            above = address[row, j] > low[i, j]
        if not below:
            if address[row, j] > high[i, j]:
                return False
            below = address[row, j] < high[i, j]
        if above and below:
            return True
    return True


def _ranges(address: Any, low: Any, high: Any, mask: Any, out: Any) -> cython.int:
    """Compare addresses with ranges."""
    row: cython.Py_ssize_t
    i: cython.Py_ssize_t
    with cython.nogil:
        for row in range(mask.shape[0]):
            out[row] = 0
            if mask[row] == 0:
                continue
            for i in range(low.shape[0]):
                if _within(address, row, low, high, i):
                    out[row] = 1
                    break
    return 0


def in_ranges(address: Array, low: Array, high: Array, mask: Mask) -> Mask:
    """Return where an address lies in one of k ranges, ends included.

    address: (n, 16) uint8, IPv4 as ::ffff:a.b.c.d. low, high: (k, 16) uint8.
    """
    out = np.empty(len(mask), dtype=np.bool_)
    if len(mask):
        _ranges(_view(address), _view(low), _view(high), _view(mask), _view(out))
    return out


# ---- hashes


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
    memcpy(cython.address(word), cython.address(buffer[at]), size)  # type: ignore[name-defined]  # noqa: F821 (match.pxd)
    return word


def _stir(value: cython.ulonglong, word: cython.ulonglong) -> cython.ulonglong:
    """Take eight octets more into a hash."""
    value = (value ^ word) * SPREAD
    if not cython.compiled:
        value &= 0xFFFFFFFFFFFFFFFF
    return value ^ (value >> 29)


def _finish(value: cython.ulonglong) -> cython.ulonglong:
    """Spread a hash over all its bits."""
    value = value * MIX
    if not cython.compiled:
        value &= 0xFFFFFFFFFFFFFFFF
    return value ^ (value >> 32)


def _hash(
    buffer: Any, at: cython.Py_ssize_t, size: cython.Py_ssize_t, seed: cython.ulonglong
) -> cython.ulonglong:
    """Hash octets, eight at a time."""
    value: cython.ulonglong = seed ^ cython.cast(cython.ulonglong, size)
    end: cython.Py_ssize_t = at + size
    while at < end:
        value = _stir(value, _word(buffer, at, end - at))
        at += 8
    return _finish(value)


def _hash_all(buffer: Any, at: Any, size: Any, seed: cython.ulonglong, mask: Any, out: Any) -> cython.int:
    """Hash a span of each row that has one; what is in `out` already is taken in."""
    row: cython.Py_ssize_t
    with cython.nogil:
        for row in range(mask.shape[0]):
            if mask[row] and size[row] > 0:
                out[row] = _hash(
                    buffer,
                    cython.cast(cython.Py_ssize_t, at[row]),
                    cython.cast(cython.Py_ssize_t, size[row]),
                    seed ^ out[row],
                )
    return 0


def hash_spans(data: Array, at: Array, size: Array, mask: Mask, out: Array, seed: int = 0) -> None:
    """Take data[at:at + size] of each row into its hash. out: (n,) uint64, zeros to begin with.

    at, size: int64. The same octets give the same hash on every machine of one byte order: agents that
    sample calls choose the same ones. A row without octets (or outside the mask) stays as it is.
    """
    if len(mask):
        _hash_all(_view(data), _view(at), _view(size), seed, _view(mask), _view(out))


def spans_of(batch: Batch, field: int) -> tuple[Array, Array]:
    """Return where a slice of each row lies in the batch's buffer: (at, size), int64."""
    slices = batch.fields[: batch.n, field]
    return batch.start[: batch.n] + slices[:, 0], slices[:, 1].astype(np.int64)


def hash_field(batch: Batch, field: int, mask: Mask, out: Array, seed: int = 0) -> None:
    """Take a slice of each row into its hash, as hash_spans does."""
    at, size = spans_of(batch, field)
    hash_spans(batch.buffer, at, size, mask, out, seed)


def hash_patch(patch: Patch, mask: Mask, out: Array, seed: int = 0) -> None:
    """Take the patched octets of each row into its hash, as hash_spans does."""
    hash_spans(patch.data, patch.offset, patch.length, mask & (patch.offset >= 0), out, seed)


def hash_columns(columns: tuple[Array, ...], mask: Mask, out: Array, seed: int = 0) -> None:
    """Take fixed columns (addresses, ports) of each row into its hash: each (n,) or (n, k), any type."""
    n = len(mask)
    rows = [np.ascontiguousarray(c).view(np.uint8).reshape(n, -1) for c in columns if n]
    if not rows:
        return
    flat = np.concatenate(rows, axis=1)
    width = flat.shape[1]
    at = np.arange(n, dtype=np.int64) * width
    hash_spans(flat.reshape(-1), at, np.full(n, width, dtype=np.int64), mask, out, seed)


# ---- headers


def _find(buffer: Any, octet: cython.int, lo: cython.Py_ssize_t, hi: cython.Py_ssize_t) -> cython.Py_ssize_t:
    """Where the octet stands in lo..hi, hi where it does not."""
    if lo >= hi:
        return hi
    if lo < 0 or hi > buffer.shape[0]:
        with cython.gil:
            raise IndexError("slice outside its buffer")
    if not cython.compiled:
        found = bytes(buffer[lo:hi]).find(octet)
        return hi if found < 0 else lo + found
    begin: cython.pointer[cython.const[cython.uchar]] = cython.address(buffer[lo])
    place: cython.p_void = memchr(begin, octet, hi - lo)  # type: ignore[name-defined]  # noqa: F821 (match.pxd)
    if place == cython.NULL:
        return hi
    return lo + (cython.cast(cython.pointer[cython.const[cython.uchar]], place) - begin)


def _named(buffer: Any, lo: cython.Py_ssize_t, hi: cython.Py_ssize_t, name: Any) -> cython.Py_ssize_t:
    """Where the value begins if the line lo..hi is a header of this name (small letters), else 0."""
    k: cython.Py_ssize_t = name.shape[0]
    if k == 0 or hi - lo <= k or not _same(buffer, lo, name, k, True):
        return 0
    lo += k
    while lo < hi and (buffer[lo] == 32 or buffer[lo] == 9):
        lo += 1
    if lo >= hi or buffer[lo] != 58:  # :
        return 0
    return lo + 1


def _find_header(
    buffer: Any,
    row: cython.Py_ssize_t,
    lo: cython.Py_ssize_t,
    hi: cython.Py_ssize_t,
    name: Any,
    compact: Any,
    out_at: Any,
    out_size: Any,
) -> cython.int:
    """Find the first header of a name in a message; its value without white space around."""
    pos: cython.Py_ssize_t = _find(buffer, 10, lo, hi) + 1  # behind the start line
    end: cython.Py_ssize_t
    value: cython.Py_ssize_t
    n: cython.int
    for n in range(MAX_LINES):  # noqa: B007
        if pos >= hi:
            return 0
        end = _find(buffer, 10, pos, hi)
        if end == pos or (end == pos + 1 and buffer[pos] == 13):
            return 0  # the empty line: what follows is the body
        value = _named(buffer, pos, end, name)
        if value == 0:
            value = _named(buffer, pos, end, compact)
        if value == 0:
            pos = end + 1
            continue
        # a line that begins with white space goes on with the one before (RFC 3261 section 7.3.1)
        while end + 1 < hi and (buffer[end + 1] == 32 or buffer[end + 1] == 9):
            end = _find(buffer, 10, end + 1, hi)
        while value < end and (buffer[value] <= 32):
            value += 1
        while end > value and buffer[end - 1] <= 32:
            end -= 1
        out_at[row] = value
        out_size[row] = end - value
        return 0
    return 0


def _find_headers(
    buffer: Any, at: Any, size: Any, name: Any, compact: Any, mask: Any, out_at: Any, out_size: Any
) -> cython.int:
    """_find_header for every row of the mask."""
    row: cython.Py_ssize_t
    lo: cython.Py_ssize_t
    with cython.nogil:
        for row in range(mask.shape[0]):
            out_size[row] = -1
            if mask[row]:
                lo = cython.cast(cython.Py_ssize_t, at[row])
                _find_header(
                    buffer,
                    row,
                    lo,
                    lo + cython.cast(cython.Py_ssize_t, size[row]),
                    name,
                    compact,
                    out_at,
                    out_size,
                )
    return 0


def find_headers(
    data: Array, at: Array, size: Array, name: str, compact: str, mask: Mask
) -> tuple[Array, Array]:
    """Find the first header of a name in the SIP messages data[at:at + size].

    name, compact: the long form and the one-letter form ("" where there is none), any case. Returns
    (at, size) of the values, int64; size -1 where a message has no such header. Folded lines are kept
    as they stand.
    """
    out_at = np.zeros(len(mask), dtype=np.int64)
    out_size = np.full(len(mask), -1, dtype=np.int64)
    if len(mask):
        _find_headers(
            _view(data),
            _view(at),
            _view(size),
            _octets(name.lower().encode()),
            _octets(compact.lower().encode()),
            _view(mask),
            _view(out_at),
            _view(out_size),
        )
    return out_at, out_size
