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

Array = npt.NDArray[Any]

# Codes that schema.py names too; a kernel wants them as C constants.
_FOLDED = cython.declare(cython.int, 4)  # schema.FLAG_FOLDED
_FIRST_SIP = cython.declare(cython.int, 3)  # FIELDS.index("method"): only SIP fields are unfolded
_BODY = cython.declare(cython.int, 29)  # FIELDS.index("body"): not unfolded


@cython.cfunc
@cython.exceptval(-1, check=False)
@cython.nogil
def _copy(
    source: cython.const[cython.uchar][::1],
    at: cython.longlong,
    target: cython.uchar[::1],
    to: cython.longlong,
    length: cython.longlong,
) -> cython.int:
    """Copy octets after checking both ranges; the one place where memory is moved unchecked."""
    i: cython.longlong
    if length <= 0:
        return 0
    if at < 0 or at + length > source.shape[0] or to < 0 or to + length > target.shape[0]:
        raise IndexError("slice outside its buffer")
    if cython.compiled:
        memcpy(cython.address(target[to]), cython.address(source[at]), cython.cast(cython.size_t, length))  # type: ignore[name-defined]  # noqa: F821
    else:
        for i in range(length):
            target[to + i] = source[at + i]
    return 0


@cython.cfunc
@cython.exceptval(-2, check=False)
@cython.nogil
def _unfold(
    source: cython.const[cython.uchar][::1],
    at: cython.longlong,
    length: cython.longlong,
    target: cython.uchar[::1],
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
        while i < length and (i < j or not (source[at + i] in (9, 10, 13, 32))):
            if write:
                target[to + out] = source[at + i]
            out += 1
            i += 1
    return out


@cython.cfunc
@cython.exceptval(check=False)
@cython.nogil
def _is_folded(flags: cython.int, column: cython.int) -> cython.bint:
    return (flags & _FOLDED) != 0 and column >= _FIRST_SIP and column != _BODY


@cython.cfunc
@cython.exceptval(-1, check=False)
@cython.nogil
def _measure(
    buffer: cython.const[cython.uchar][::1],
    start: cython.const[cython.longlong][::1],
    fields: cython.const[cython.ushort][:, :, ::1],
    flags: cython.const[cython.uchar][::1],
    rows: cython.const[cython.longlong][::1],
    columns: cython.const[cython.int][::1],
    offsets: cython.int[:, ::1],
    valid: cython.uchar[:, ::1],
    totals: cython.longlong[::1],
) -> cython.int:
    """Fill offsets (the first of each column is 0 already), validity bits and octets a column."""
    i: cython.Py_ssize_t
    c: cython.Py_ssize_t
    row: cython.Py_ssize_t
    column: cython.int
    size: cython.longlong
    for i in range(rows.shape[0]):
        row = rows[i]
        for c in range(columns.shape[0]):
            column = columns[c]
            size = fields[row, column, 1]
            if size:
                valid[c, i >> 3] |= 1 << (i & 7)
                if _is_folded(flags[row], column):
                    size = _unfold(buffer, start[row] + fields[row, column, 0], size, valid[c], 0, False)
                totals[c] += size
                if totals[c] > 0x7FFFFFFF:
                    raise OverflowError("a column of a batch is over 2 GiB")
            offsets[c, i + 1] = cython.cast(cython.int, totals[c])
    return 0


@cython.cfunc
@cython.exceptval(-1, check=False)
@cython.nogil
def _fill(
    buffer: cython.const[cython.uchar][::1],
    start: cython.const[cython.longlong][::1],
    fields: cython.const[cython.ushort][:, :, ::1],
    flags: cython.const[cython.uchar][::1],
    rows: cython.const[cython.longlong][::1],
    columns: cython.const[cython.int][::1],
    offsets: cython.const[cython.int][:, ::1],
    base: cython.const[cython.longlong][::1],
    data: cython.uchar[::1],
) -> cython.int:
    """Copy every slice to its place. Rows outside, columns inside: a record is in cache once."""
    i: cython.Py_ssize_t
    c: cython.Py_ssize_t
    row: cython.Py_ssize_t
    column: cython.int
    at: cython.longlong
    size: cython.longlong
    for i in range(rows.shape[0]):
        row = rows[i]
        at = start[row]
        for c in range(columns.shape[0]):
            column = columns[c]
            size = fields[row, column, 1]
            if size == 0:
                continue
            if _is_folded(flags[row], column):
                _unfold(buffer, at + fields[row, column, 0], size, data, base[c] + offsets[c, i], True)
            else:
                _copy(buffer, at + fields[row, column, 0], data, base[c] + offsets[c, i], size)
    return 0


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
    offsets = np.empty((count, k + 1), dtype=np.int32)
    offsets[:, 0] = 0
    valid = np.zeros((count, max((k + 7) // 8, 1)), dtype=np.uint8)
    totals = np.zeros(count, dtype=np.int64)
    fields = np.ascontiguousarray(batch.fields)
    start, flags = np.ascontiguousarray(batch.start), np.ascontiguousarray(batch.flags)
    _measure_all(batch.buffer, start, fields, flags, rows, columns, offsets, valid, totals)
    base = np.zeros(count + 1, dtype=np.int64)
    np.cumsum(totals, out=base[1:])
    data = np.empty(int(base[count]), dtype=np.uint8)
    _fill_all(batch.buffer, start, fields, flags, rows, columns, offsets, base, data)
    return offsets, valid, base, data


def _measure_all(
    buffer: cython.const[cython.uchar][::1],
    start: cython.const[cython.longlong][::1],
    fields: cython.const[cython.ushort][:, :, ::1],
    flags: cython.const[cython.uchar][::1],
    rows: cython.const[cython.longlong][::1],
    columns: cython.const[cython.int][::1],
    offsets: cython.int[:, ::1],
    valid: cython.uchar[:, ::1],
    totals: cython.longlong[::1],
) -> None:
    if not cython.compiled:  # plain integers, not numpy scalars that wrap around
        buffer, start, fields, flags = map(memoryview, (buffer, start, fields, flags))  # type: ignore[assignment]
        rows, columns, totals = map(memoryview, (rows, columns, totals))  # type: ignore[assignment]
    with cython.nogil:
        _measure(buffer, start, fields, flags, rows, columns, offsets, valid, totals)


def _fill_all(
    buffer: cython.const[cython.uchar][::1],
    start: cython.const[cython.longlong][::1],
    fields: cython.const[cython.ushort][:, :, ::1],
    flags: cython.const[cython.uchar][::1],
    rows: cython.const[cython.longlong][::1],
    columns: cython.const[cython.int][::1],
    offsets: cython.const[cython.int][:, ::1],
    base: cython.const[cython.longlong][::1],
    data: cython.uchar[::1],
) -> None:
    if not cython.compiled:
        buffer, start, fields, flags = map(memoryview, (buffer, start, fields, flags))  # type: ignore[assignment]
        rows, columns, offsets, base = map(memoryview, (rows, columns, offsets, base))  # type: ignore[assignment]
    with cython.nogil:
        _fill(buffer, start, fields, flags, rows, columns, offsets, base, data)


def gather_views(
    buffer: cython.const[cython.uchar][::1],
    start: cython.const[cython.longlong][::1],
    fields: cython.const[cython.ushort][:, :, ::1],
    column: cython.int,
    rows: cython.const[cython.longlong][::1],
    views: cython.uchar[:, ::1],
    valid: cython.uchar[::1],
) -> None:
    """Write Arrow binary views (16 octets each) of one field, pointing into `buffer`: no copy.

    views: zeroed uint8 (k, 16). valid: zeroed uint8 ((k + 7) // 8). The buffer must be under
    2 GiB (OverflowError), because a view's offset is an int32. Layout: int32 length, then the
    value itself when it has at most 12 octets, else 4 octets of prefix, buffer number 0, offset.
    """
    i: cython.Py_ssize_t
    j: cython.Py_ssize_t
    row: cython.Py_ssize_t
    at: cython.longlong
    size: cython.longlong
    if not cython.compiled:
        buffer, start, fields, rows = map(memoryview, (buffer, start, fields, rows))  # type: ignore[assignment]
    if buffer.shape[0] > 0x7FFFFFFF:
        raise OverflowError("a buffer of a batch is over 2 GiB")
    with cython.nogil:
        for i in range(rows.shape[0]):
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


@cython.cfunc
@cython.exceptval(-1, check=False)
@cython.nogil
def _sequence(data: cython.const[cython.uchar][::1], at: cython.longlong, end: cython.longlong) -> cython.int:
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


def replace_invalid_utf8(data: cython.uchar[::1], offsets: cython.const[cython.int][::1]) -> int:
    """Overwrite each octet that is not part of well-formed UTF-8 by '?', value by value, in place.

    data: octets of one column. offsets: int32 (k + 1). Returns how many octets were replaced.
    """
    i: cython.Py_ssize_t
    at: cython.longlong
    end: cython.longlong
    size: cython.int
    replaced: cython.longlong = 0
    if not cython.compiled:
        data, offsets = memoryview(data), memoryview(offsets)  # type: ignore[assignment,arg-type]
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


@cython.cfunc
@cython.exceptval(-1, check=False)
@cython.nogil
def _decimal(value: cython.int, out: cython.uchar[::1], to: cython.longlong) -> cython.longlong:
    """Write 0..255 in digits, return the place after it."""
    if value >= 100:
        out[to] = 48 + value // 100
        to += 1
    if value >= 10:
        out[to] = 48 + (value // 10) % 10
        to += 1
    out[to] = 48 + value % 10
    return to + 1


@cython.cfunc
@cython.exceptval(-1, check=False)
@cython.nogil
def _dotted(
    address: cython.const[cython.uchar][:, ::1],
    row: cython.Py_ssize_t,
    out: cython.uchar[::1],
    to: cython.longlong,
) -> cython.longlong:
    """Write the last four octets as an IPv4 address, return the place after it."""
    i: cython.int
    for i in range(12, 16):
        if i > 12:
            out[to] = 46  # .
            to += 1
        to = _decimal(address[row, i], out, to)
    return to


@cython.cfunc
@cython.exceptval(-1, check=False)
@cython.nogil
def _group(value: cython.int, out: cython.uchar[::1], to: cython.longlong) -> cython.longlong:
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


@cython.cfunc
@cython.exceptval(-1, check=False)
@cython.nogil
def _ipv6(
    address: cython.const[cython.uchar][:, ::1],
    row: cython.Py_ssize_t,
    out: cython.uchar[::1],
    to: cython.longlong,
) -> cython.longlong:
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
        if i > 0 and i != best + best_len:
            out[to] = 58
            to += 1
        elif i > 0 and best < 0:
            out[to] = 58
            to += 1
        if mapped and i == 6:
            return _dotted(address, row, out, to)
        to = _group(address[row, 2 * i] * 256 + address[row, 2 * i + 1], out, to)
        i += 1
    return to


def write_addresses(
    address: cython.const[cython.uchar][:, ::1],
    family: cython.const[cython.uchar][::1],
    rows: cython.const[cython.longlong][::1],
    offsets: cython.int[::1],
    out: cython.uchar[::1],
) -> int:
    """Write the addresses of the rows as text (RFC 5952), one after the other.

    address: (n, 16), IPv4 in the last four octets. family: 2 or 10, else nothing is written (null).
    offsets: int32 (k + 1). out: room for 45 octets a row. Returns the octets written. A formatter
    costs about 30 ns a row, so no table of known addresses is kept that a sender could blow up.
    """
    i: cython.Py_ssize_t
    row: cython.Py_ssize_t
    to: cython.longlong = 0
    if not cython.compiled:
        address, family, rows = map(memoryview, (address, family, rows))  # type: ignore[assignment]
    with cython.nogil:
        offsets[0] = 0
        for i in range(rows.shape[0]):
            row = rows[i]
            if family[row] == 2:
                to = _dotted(address, row, out, to)
            elif family[row] == 10:
                to = _ipv6(address, row, out, to)
            offsets[i + 1] = cython.cast(cython.int, to)
    return to


def _pack(
    buffer: cython.const[cython.uchar][::1],
    start: cython.const[cython.longlong][::1],
    rows: cython.const[cython.longlong][::1],
    out_start: cython.const[cython.longlong][::1],
    out: cython.uchar[::1],
) -> None:
    """Copy whole records one after the other."""
    i: cython.Py_ssize_t
    with cython.nogil:
        for i in range(rows.shape[0]):
            _copy(buffer, start[rows[i]], out, out_start[i], out_start[i + 1] - out_start[i])


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
    _pack(batch.buffer, np.ascontiguousarray(batch.start), rows, start, buffer)
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
