"""Kernel: slices of many records -> the buffers of Arrow columns; and batches made smaller.

In: a batch's arrays (batch/layout.py) and the rows wanted, in the order wanted. Out: int32 offsets,
octets and validity bits of each column as Arrow lays them out, written in one walk over the rows.
What can go wrong: a slice that does not lie within the buffer raises IndexError and a column over
2 GiB raises OverflowError. Both mean a bug of ours or a damaged file, never hostile traffic.
"""

from typing import Any

import cython
import numpy as np
import numpy.typing as npt

from hepcat.batch.layout import NUMERIC, Batch
from hepcat.batch.schema import FIELD_INDEX, FLAG_FOLDED

Array = npt.NDArray[Any]

_NOTHING = np.zeros(0, dtype=np.uint8)
_PAGE = 4096
_CACHE_LINE = 64

# Numbers of schema.py as C constants come from gather.pxd; uncompiled they are these.
if not cython.compiled:
    FOLDED = FLAG_FOLDED
    FIRST_SIP = FIELD_INDEX["method"]  # only SIP fields are unfolded,
    BODY = FIELD_INDEX["body"]  # and the body is not,
    TAGS = FIELD_INDEX["tags"]  # nor the tags behind it
    # Rows ahead whose slices, and whose octets, are asked of memory already; a line of the cache in
    # octets and in slices; and how much of a payload is headers, about.
    FAR, NEAR, LINE, LINE_SLICES, HEADERS = 20, 8, 64, 16, 640


def _copy(
    source: Any, at: cython.longlong, target: Any, to: cython.longlong, length: cython.longlong
) -> cython.int:
    """Copy octets after checking both ranges; the one place where memory is moved unchecked."""
    i: cython.longlong
    if length <= 0:
        return 0
    if at < 0 or at + length > source.shape[0] or to < 0 or to + length > target.shape[0]:
        raise IndexError("slice outside its buffer")
    if cython.compiled:
        # gather.pxd imports memcpy
        memcpy(cython.address(target[to]), cython.address(source[at]), cython.cast(cython.size_t, length))  # type: ignore[name-defined]  # noqa: F821
    else:
        for i in range(length):
            target[to + i] = source[at + i]
    return 0


def _unfold(
    source: Any,
    at: cython.longlong,
    length: cython.longlong,
    target: Any,
    to: cython.longlong,
    write: cython.bint,
) -> cython.longlong:
    """Copy with each run of white space that holds CR or LF as one space (RFC 3261 section 7.3.1).

    Returns the octets written, or that would be written when `write` is false.
    """
    i: cython.longlong = 0
    j: cython.longlong
    out: cython.longlong = 0
    c: cython.uchar
    fold: cython.bint
    if at < 0 or at + length > source.shape[0]:
        raise IndexError("slice outside its buffer")
    while i < length:
        j = i
        fold = False
        while j < length:
            c = source[at + j]
            if c == 13 or c == 10:
                fold = True
            elif c != 32 and c != 9:
                break
            j += 1
        if fold:
            if write:
                target[to + out] = 32
            out += 1
            i = j
            continue
        # white space without a fold stays as it is; then everything up to the next white space
        while i < length and (i < j or source[at + i] not in (9, 10, 13, 32)):
            if write:
                target[to + out] = source[at + i]
            out += 1
            i += 1
    return out


def _soon(fields: Any, row: cython.Py_ssize_t) -> cython.int:
    """Ask memory for the slices of a row that is needed soon, without waiting for them.

    Rows come in an order in which the processor cannot guess where the next one lies.
    """
    field: cython.Py_ssize_t = 0
    if cython.compiled and row >= 0 and row < fields.shape[0]:
        while field < fields.shape[1]:
            prefetch(cython.address(fields[row, field, 0]))  # type: ignore[name-defined]  # noqa: F821 (gather.pxd)
            field += LINE_SLICES
    return 0


def _soon_slice(fields: Any, row: cython.Py_ssize_t, column: cython.Py_ssize_t) -> cython.int:
    """As _soon, for one slice."""
    if cython.compiled and row >= 0 and row < fields.shape[0]:
        prefetch(cython.address(fields[row, column, 0]))  # type: ignore[name-defined]  # noqa: F821 (gather.pxd)
    return 0


def _soon_octet(buffer: Any, at: cython.longlong) -> cython.int:
    """As _soon_octets, for the line of one octet."""
    if cython.compiled and at >= 0 and at < buffer.shape[0]:
        prefetch(cython.address(buffer[at]))  # type: ignore[name-defined]  # noqa: F821 (gather.pxd)
    return 0


def _soon_address(address: Any, row: cython.Py_ssize_t) -> cython.int:
    """As _soon, for an address."""
    if cython.compiled and row >= 0 and row < address.shape[0]:
        prefetch(cython.address(address[row, 0]))  # type: ignore[name-defined]  # noqa: F821 (gather.pxd)
    return 0


def _soon_octets(buffer: Any, start: Any, fields: Any, row: cython.Py_ssize_t) -> cython.int:
    """Ask memory for a record's payload, as far as the headers go that columns are made of."""
    at: cython.longlong = start[row] + fields[row, 0, 0]
    end: cython.longlong = at + (fields[row, 0, 1] if fields[row, 0, 1] < HEADERS else HEADERS)
    if cython.compiled:
        while at >= 0 and at < end and at < buffer.shape[0]:
            prefetch(cython.address(buffer[at]))  # type: ignore[name-defined]  # noqa: F821 (gather.pxd)
            at += LINE
    return 0


def _is_unfolded(folded: cython.bint, column: cython.int) -> cython.bint:
    return folded and column >= FIRST_SIP and column != BODY and column != TAGS


def _measure(
    buffer: Any,
    start: Any,
    fields: Any,
    flags: Any,
    rows: Any,
    columns: Any,
    offsets: Any,
    valid: Any,
    totals: Any,
    nothing: Any,
) -> cython.int:
    """Fill offsets (the first of each column is 0 already), validity bits and octets a column."""
    i: cython.Py_ssize_t
    c: cython.Py_ssize_t
    row: cython.Py_ssize_t
    column: cython.int
    size: cython.longlong
    folded: cython.bint
    with cython.nogil:
        for i in range(rows.shape[0]):
            if i + FAR < rows.shape[0]:
                _soon(fields, rows[i + FAR])
            row = rows[i]
            folded = (flags[row] & FOLDED) != 0
            for c in range(columns.shape[0]):
                column = columns[c]
                size = fields[row, column, 1]
                if size:
                    valid[c, i >> 3] |= 1 << (i & 7)
                    if _is_unfolded(folded, column):
                        size = _unfold(buffer, start[row] + fields[row, column, 0], size, nothing, 0, False)
                    totals[c] += size
                    if totals[c] > 0x7FFFFFFF:
                        raise OverflowError("a column of a batch is over 2 GiB")
                offsets[c, i + 1] = cython.cast(cython.int, totals[c])
    return 0


def _fill(
    buffer: Any,
    start: Any,
    fields: Any,
    flags: Any,
    rows: Any,
    columns: Any,
    offsets: Any,
    base: Any,
    data: Any,
) -> cython.int:
    """Copy every slice to its place. Rows outside, columns inside: a record is in cache once."""
    i: cython.Py_ssize_t
    c: cython.Py_ssize_t
    row: cython.Py_ssize_t
    column: cython.int
    at: cython.longlong
    size: cython.longlong
    folded: cython.bint
    with cython.nogil:
        for i in range(rows.shape[0]):
            if i + FAR < rows.shape[0]:
                _soon(fields, rows[i + FAR])
            if i + NEAR < rows.shape[0]:
                _soon_octets(buffer, start, fields, rows[i + NEAR])
            row = rows[i]
            at = start[row]
            folded = (flags[row] & FOLDED) != 0
            for c in range(columns.shape[0]):
                column = columns[c]
                size = fields[row, column, 1]
                if size == 0:
                    continue
                if _is_unfolded(folded, column):
                    _unfold(buffer, at + fields[row, column, 0], size, data, base[c] + offsets[c, i], True)
                else:
                    _copy(buffer, at + fields[row, column, 0], data, base[c] + offsets[c, i], size)
    return 0


def _plain(array: Array) -> Any:
    """Return what the loops index: the array, or uncompiled a view that gives plain integers.

    (numpy's own scalars would wrap around at 8 or 16 bits.)
    """
    array = np.ascontiguousarray(array)
    return array if cython.compiled else memoryview(array)  # type: ignore[arg-type]


def gather(batch: Batch, columns: Array, rows: Array) -> tuple[Array, Array, Array, Array]:
    """Gather slices of the rows, for several fields at once.

    columns: int32, indices into the fields axis. rows: int64, row numbers in the order wanted.
    Returns (offsets int32 (C, k + 1), valid uint8 (C, (k + 7) // 8) bits in Arrow's order,
    base int64 (C + 1), data uint8): column c's octets are data[base[c]:base[c + 1]] and its
    offsets count from base[c]. CR and LF of folded lines become single spaces in SIP fields.
    """
    count, k = len(columns), len(rows)
    columns = np.ascontiguousarray(columns, dtype=np.int32)
    rows = np.ascontiguousarray(rows, dtype=np.int64)
    offsets = np.empty((count, _apart(k + 1, 4)), dtype=np.int32)
    offsets[:, 0] = 0
    valid = np.zeros((count, _apart(max((k + 7) // 8, 1), 1)), dtype=np.uint8)
    totals = np.zeros(count, dtype=np.int64)
    buffer, start, fields = _plain(batch.buffer), _plain(batch.start), _plain(batch.fields)
    flags, order, wanted = _plain(batch.flags), _plain(rows), _plain(columns)
    _measure(
        buffer,
        start,
        fields,
        flags,
        order,
        wanted,
        _plain(offsets),
        _plain(valid),
        _plain(totals),
        _plain(_NOTHING),
    )
    base = np.zeros(count + 1, dtype=np.int64)
    np.cumsum(totals, out=base[1:])
    data = np.empty(int(base[count]), dtype=np.uint8)
    _fill(buffer, start, fields, flags, order, wanted, _plain(offsets), _plain(base), _plain(data))
    return offsets[:, : k + 1], valid[:, : max((k + 7) // 8, 1)], base, data


def _apart(items: int, octets: int) -> int:
    """Return how many items a column's array gets, so that columns do not compete for the cache.

    The loops write one place of every column after the other. Were the arrays a multiple of a page
    apart, all these places would fall into one set of the cache; three lines more than that spreads them.
    """
    pages = -(-items * octets // _PAGE)
    return (pages * _PAGE + 3 * _CACHE_LINE) // octets


def gather_views(batch: Batch, column: int, rows: Array) -> tuple[Array, Array]:
    """Make Arrow binary views of one field, pointing into the batch's buffer: no copy.

    Returns (views uint8 (k, 16), valid uint8 ((k + 7) // 8)). The buffer must be under 2 GiB
    (OverflowError), because a view's offset is an int32.
    """
    if len(batch.buffer) > 0x7FFFFFFF:
        raise OverflowError("a buffer of a batch is over 2 GiB")
    k = len(rows)
    views = np.zeros((k, 16), dtype=np.uint8)
    valid = np.zeros((k + 7) // 8, dtype=np.uint8)
    if k:
        start, fields, order = _plain(batch.start), _plain(batch.fields), _plain(rows)
        _views(_plain(batch.buffer), start, fields, column, order, _plain(views), _plain(valid))
    return views, valid


def _views(
    buffer: Any, start: Any, fields: Any, column: cython.Py_ssize_t, rows: Any, views: Any, valid: Any
) -> cython.int:
    """Write views as Arrow lays them out: int32 length, then the value itself when it has at most
    12 octets, else its first 4 octets, buffer number 0 and its int32 offset."""
    i: cython.Py_ssize_t
    j: cython.Py_ssize_t
    row: cython.Py_ssize_t
    at: cython.longlong
    size: cython.longlong
    with cython.nogil:
        for i in range(rows.shape[0]):
            if i + FAR < rows.shape[0]:
                _soon_slice(fields, rows[i + FAR], column)
            if i + NEAR < rows.shape[0]:
                _soon_octet(buffer, start[rows[i + NEAR]] + fields[rows[i + NEAR], column, 0])
            row = rows[i]
            at = start[row] + fields[row, column, 0]
            size = fields[row, column, 1]
            if size == 0:
                continue
            if at < 0 or at + size > buffer.shape[0]:
                raise IndexError("slice outside its buffer")
            valid[i >> 3] |= 1 << (i & 7)
            views[i, 0] = size & 255
            views[i, 1] = (size >> 8) & 255
            for j in range(4, 4 + (size if size <= 12 else 4)):
                views[i, j] = buffer[at + j - 4]
            if size > 12:
                for j in range(4):
                    views[i, 12 + j] = (at >> (8 * j)) & 255
    return 0


def _sequence(data: Any, at: cython.longlong, end: cython.longlong) -> cython.int:
    """Octets of the well-formed UTF-8 sequence at `at`, 0 where there is none (RFC 3629 section 4)."""
    a: cython.uchar = data[at]
    low: cython.uchar = 0x80
    high: cython.uchar = 0xBF
    size: cython.int
    i: cython.int
    if a < 0x80:
        return 1
    if a < 0xC2 or a > 0xF4:
        return 0
    size = 2 if a < 0xE0 else (3 if a < 0xF0 else 4)
    if at + size > end:
        return 0
    if a == 0xE0:
        low = 0xA0
    elif a == 0xED:
        high = 0x9F
    elif a == 0xF0:
        low = 0x90
    elif a == 0xF4:
        high = 0x8F
    if data[at + 1] < low or data[at + 1] > high:
        return 0
    for i in range(2, size):
        if data[at + i] < 0x80 or data[at + i] > 0xBF:
            return 0
    return size


def replace_invalid_utf8(data: Array, offsets: Array) -> int:
    """Overwrite each octet that is not part of well-formed UTF-8 by '?', value by value, in place.

    data: octets of one column. offsets: int32 (k + 1). Returns how many octets were replaced.
    """
    return int(_replace(_plain(data), _plain(offsets))) if len(data) else 0


def _replace(data: Any, offsets: Any) -> cython.longlong:
    i: cython.Py_ssize_t
    at: cython.longlong
    end: cython.longlong
    size: cython.int
    replaced: cython.longlong = 0
    with cython.nogil:
        for i in range(offsets.shape[0] - 1):
            at = offsets[i]
            end = offsets[i + 1]
            while at < end:
                size = _sequence(data, at, end)
                if size == 0:
                    data[at] = 63  # ?
                    replaced += 1
                    size = 1
                at += size
    return replaced


def _decimal(value: cython.int, out: Any, to: cython.longlong) -> cython.longlong:
    """Write 0..255 in digits, return the place after it."""
    if value >= 100:
        out[to] = 48 + value // 100
        to += 1
    if value >= 10:
        out[to] = 48 + (value // 10) % 10
        to += 1
    out[to] = 48 + value % 10
    return to + 1


def _dotted(address: Any, row: cython.Py_ssize_t, out: Any, to: cython.longlong) -> cython.longlong:
    """Write the last four octets as an IPv4 address, return the place after it."""
    i: cython.int
    for i in range(12, 16):
        if i > 12:
            out[to] = 46  # .
            to += 1
        to = _decimal(address[row, i], out, to)
    return to


def _group(value: cython.int, out: Any, to: cython.longlong) -> cython.longlong:
    """Write 16 bits in lower-case hexadecimal without leading zeros (RFC 5952 sections 4.1, 4.3)."""
    shift: cython.int = 12
    digit: cython.int
    while shift > 0 and (value >> shift) == 0:
        shift -= 4
    while shift >= 0:
        digit = (value >> shift) & 15
        out[to] = digit + (48 if digit < 10 else 87)
        to += 1
        shift -= 4
    return to


def _ipv6(address: Any, row: cython.Py_ssize_t, out: Any, to: cython.longlong) -> cython.longlong:
    """Write an IPv6 address as RFC 5952 says, return the place after it."""
    i: cython.int
    best: cython.int = -1  # first group of the longest run of zero groups (section 4.2)
    best_len: cython.int = 1
    run: cython.int = 0
    mapped: cython.bint
    for i in range(8):
        if address[row, 2 * i] == 0 and address[row, 2 * i + 1] == 0:
            run += 1
            if run > best_len:
                best_len = run
                best = i - run + 1
        else:
            run = 0
    # ::ffff:0:0/96 is written with the IPv4 part dotted (section 5)
    mapped = best == 0 and best_len == 5 and address[row, 10] == 255 and address[row, 11] == 255
    i = 0
    while i < 8:
        if i == best:
            out[to] = 58  # :
            out[to + 1] = 58
            to += 2
            i += best_len
            continue
        if (i > 0 and i != best + best_len) or (i > 0 and best < 0):
            out[to] = 58
            to += 1
        if mapped and i == 6:
            return _dotted(address, row, out, to)
        to = _group(address[row, 2 * i] * 256 + address[row, 2 * i + 1], out, to)
        i += 1
    return to


def write_addresses(address: Array, family: Array, rows: Array) -> tuple[Array, Array]:
    """Write the addresses of the rows as text (RFC 5952), one after the other.

    address: (n, 16), IPv4 in the last four octets. family: 2 or 10, else nothing is written (null).
    Returns (offsets int32 (k + 1), octets). Writing an address costs less than looking it up would,
    so there is no table of known addresses that a sender could blow up.
    """
    k = len(rows)
    offsets = np.zeros(k + 1, dtype=np.int32)
    out = np.empty(45 * k, dtype=np.uint8)
    if k == 0:
        return offsets, out
    size = _addresses(_plain(address), _plain(family), _plain(rows), _plain(offsets), _plain(out))
    return offsets, out[:size]


def _addresses(address: Any, family: Any, rows: Any, offsets: Any, out: Any) -> cython.longlong:
    i: cython.Py_ssize_t
    row: cython.Py_ssize_t
    to: cython.longlong = 0
    with cython.nogil:
        for i in range(rows.shape[0]):
            if i + FAR < rows.shape[0]:
                _soon_address(address, rows[i + FAR])
            row = rows[i]
            if family[row] == 2:
                to = _dotted(address, row, out, to)
            elif family[row] == 10:
                to = _ipv6(address, row, out, to)
            offsets[i + 1] = cython.cast(cython.int, to)
    return to


def _pack(buffer: Any, start: Any, rows: Any, out_start: Any, out: Any) -> cython.int:
    """Copy whole records one after the other."""
    i: cython.Py_ssize_t
    with cython.nogil:
        for i in range(rows.shape[0]):
            _copy(buffer, start[rows[i]], out, out_start[i], out_start[i + 1] - out_start[i])
    return 0


def take_rows(batch: Batch, rows: Array) -> Batch:
    """Return a new, compact batch of these rows only.

    rows: int64 row numbers in the order wanted, or a bool mask over the batch's n rows.
    Raises IndexError for a row that the batch does not have.
    """
    if rows.dtype == np.bool_:
        rows = np.flatnonzero(rows[: batch.n])
    rows = np.ascontiguousarray(rows, dtype=np.int64)
    if len(rows) and (int(rows.min()) < 0 or int(rows.max()) >= batch.n):
        raise IndexError("row outside the batch")
    start = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum(batch.start[rows + 1] - batch.start[rows], out=start[1:])
    buffer = np.empty(int(start[len(rows)]), dtype=np.uint8)
    _pack(_plain(batch.buffer), _plain(batch.start), _plain(rows), _plain(start), _plain(buffer))
    return Batch(
        n=len(rows),
        buffer=buffer,
        start=start,
        src_ip=batch.src_ip[rows],
        dst_ip=batch.dst_ip[rows],
        fields=batch.fields[rows],
        extra=batch.extra,
        **{name: getattr(batch, name)[rows] for name, _, _ in NUMERIC},
    )
