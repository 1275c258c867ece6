"""Kernel: a batch -> rows of a classic table, as the octets of a bulk load, in one pass.

In: a batch, the numbers of its rows wanted, and a plan (plan.py): what each column of the actual table is
filled from, how wide it is, which characters it holds, and how the load separates and escapes. Out: octets in
`out`, and how many values were cut to their width or had octets replaced. What can go wrong: nothing that
hostile traffic can do. An IndexError is a bug of ours or a damaged file (a slice outside its record).

How a value is made:
- It is cut to `width` characters first, never within a character; `cut` counts the values.
- An octet that is no character of the column's set becomes `?`, and so does a character of four octets in
  utf8mb3 and a NUL in PostgreSQL's text; `replaced` counts the values.
- CR and LF of folded lines become single spaces, as in the lake's columns.
Speed: what stands for itself is copied eight octets at a time; a date or a node name that stood in the row
before is copied from there.
"""

from typing import Any

import cython
import numpy as np

from hepcat.batch.layout import Array, Batch
from hepcat.batch.schema import FIELD_INDEX, FLAG_FOLDED, FLAG_REQUEST, FLAG_RESPONSE, MAX_RECORD
from hepcat.stores.classic.schema import Source

if not cython.compiled:  # rows.pxd cimports them, and has the numbers as an enum
    from hepcat.batch.gather import _dotted, _ipv6, _sequence, _unfold  # type: ignore[attr-defined,unused-ignore]

    (
        EMPTY,
        SLICE,
        DATE,
        MICRO_TS,
        METHOD,
        CORRELATION,
        USER_AGENT,
        SOURCE_IP,
        DESTINATION_IP,
        ORIGINATOR_IP,
        ORIGINATOR_PORT,
        NODE,
        SOURCE_PORT,
        DESTINATION_PORT,
        CONTACT_PORT,
        PROTO,
        FAMILY,
        TYPE,
        HEADER,
        SECONDS,
        SEQUENCE,
        LINE,
    ) = map(int, Source)
    OCTETS, LATIN1, UTF8MB3, UTF8MB4, NO_NUL, BYTEA = range(6)
    IS_REQUEST, IS_RESPONSE, IS_FOLDED = FLAG_REQUEST, FLAG_RESPONSE, FLAG_FOLDED
    FIRST_SIP, BODY, TAGS = (FIELD_INDEX[name] for name in ("method", "body", "tags"))
    #: Octets that a cell without a slice takes at most; and octets that have a meaning.
    CELL, QUOTE, BACKSLASH, MARK, COLON = 64, 39, 92, 63, 58

#: Each octet of a word: 1, 32, 128, and a backslash.
ONES = cython.declare(cython.ulonglong, 0x0101010101010101)
CONTROLS = cython.declare(cython.ulonglong, 0x2020202020202020)
HIGH = cython.declare(cython.ulonglong, 0x8080808080808080)
BACKSLASHES = cython.declare(cython.ulonglong, 0x5C5C5C5C5C5C5C5C)
NO_NODE = cython.declare(cython.longlong, 0xFFFFFFFF)
#: Seconds from 0000-03-01 to the epoch.
TO_EPOCH = cython.declare(cython.longlong, 62_162_035_200)
MICROSECONDS = cython.declare(cython.longlong, 1_000_000)


def view(array: Any) -> Any:
    """Give an array as a memoryview: uncompiled, its items are then Python ints, which cannot wrap."""
    contiguous: Any = np.ascontiguousarray(array)
    return memoryview(contiguous)


class RowKernel:
    """One plan's loop over batches. `to` is where `out` is filled to; cut and replaced count on."""

    to: int
    cut: int
    replaced: int
    sequence: int
    date_second: int
    node_number: int
    node_cut: int
    node_replaced: int
    node_size: int

    def __init__(self, plan: Any) -> None:
        self.source = view(plan.source)
        self.width = view(plan.width)
        self.charset = view(plan.charset)
        self.escape = view(plan.escape)
        self.opening = view(plan.opening)
        self.separator = view(plan.separator)
        self.closing = view(plan.closing)
        self.missing = view(plan.missing)
        self.binary = view(plan.binary)
        self.node = view(plan.node)
        self.proto_of = view(plan.proto_of)
        self.type_of = view(plan.type_of)
        self.quoted = plan.quoted
        self.measured = plan.measured
        self.also = plan.also
        self.growth = plan.growth
        self.columns = len(plan.source)
        self.scratch = view(np.zeros(MAX_RECORD + 1, dtype=np.uint8))
        self.sequence = 0
        self.hurt = False

    def take(self, batch: Batch, field: Array, other: Array, rows: Array, local: Array) -> None:
        """Take the columns of a batch. local: local[i] is the second of rows[i] that its date shows."""
        self.field = view(field)
        self.other = view(other)
        self.buffer = view(batch.buffer)
        self.text = self.buffer
        self.start = view(batch.start)
        self.ts = view(np.maximum(batch.ts, 0))
        self.local = view(local)
        self.family = view(batch.family)
        self.ip_proto = view(batch.ip_proto)
        self.src_ip = view(batch.src_ip)
        self.dst_ip = view(batch.dst_ip)
        self.src_port = view(batch.src_port)
        self.dst_port = view(batch.dst_port)
        self.hep_type = view(batch.hep_type)
        self.node_id = view(batch.node_id)
        self.status = view(batch.status)
        self.contact_port = view(batch.contact_port)
        self.flags = view(batch.flags)
        self.fields = view(batch.fields)
        self.rows = view(rows)
        self.to = self.cut = self.replaced = 0
        self.date_at = self.node_at = -1
        self.found_at = self.found_size = self.found_port = 0

    def give(self, out: Array, ends: Array | None = None) -> None:
        """Take where to write; what stands in `out` up to `to` must be what stood there before.

        ends: where each cell ends, row by row, if it is asked for.
        """
        self.out = view(out)
        self.wants_ends = ends is not None
        self.ends = view(np.zeros(0, dtype=np.int64) if ends is None else ends)

    # ---- octets

    def _put(self, octet: cython.int) -> cython.int:
        self.out[self.to] = octet
        self.to += 1
        return 0

    def _copy(self, octets: Any) -> cython.int:
        """Copy a few octets of the plan."""
        i: cython.Py_ssize_t
        for i in range(len(octets)):
            self.out[self.to + i] = octets[i]
        self.to += len(octets)
        return 0

    def _again(self, at: cython.longlong, size: cython.longlong) -> cython.int:
        """Copy what stands in `out` already."""
        i: cython.longlong
        for i in range(size):
            self.out[self.to + i] = self.out[at + i]
        self.to += size
        return 0

    def _clean(self, at: cython.longlong, end: cython.longlong) -> cython.Py_ssize_t:
        """Copy octets that stand for themselves; return where the first other one is.

        The one place where memory is moved unchecked; both ranges are checked first.
        """
        to: cython.longlong = self.to
        c: cython.int
        word: cython.ulonglong = 0
        back: cython.ulonglong
        more: cython.ulonglong
        if at < 0 or end > len(self.text) or to < 0 or to + (end - at) > len(self.out):
            raise IndexError("a value leaves its buffer")
        if cython.compiled:
            also: cython.ulonglong = ONES * cython.cast(cython.ulonglong, self.also)
            while at + 8 <= end:
                memcpy(cython.address(word), cython.address(self.text[at]), 8)  # type: ignore[name-defined]  # noqa: F821
                back = word ^ BACKSLASHES
                more = word ^ also
                # A byte's high bit comes up where it is high itself, below 32, a backslash, or `also`.
                if (
                    word | ((word - CONTROLS) & ~word) | ((back - ONES) & ~back) | ((more - ONES) & ~more)
                ) & HIGH:
                    break
                memcpy(cython.address(self.out[to]), cython.address(word), 8)  # type: ignore[name-defined]  # noqa: F821
                at += 8
                to += 8
        while at < end:
            c = self.text[at]
            if c < 32 or c >= 128 or c == BACKSLASH or c == self.also:
                break
            self.out[to] = c
            at += 1
            to += 1
        self.to = to
        return at

    # ---- values

    def _fitting(
        self, at: cython.longlong, end: cython.longlong, column: cython.Py_ssize_t
    ) -> cython.Py_ssize_t:
        """Return where a value ends once it is cut to its column's width."""
        width: cython.longlong = self.width[column]
        size: cython.int
        if width < 0 or end - at <= width:
            return end
        if self.charset[column] in (OCTETS, LATIN1, BYTEA):
            at += width
        else:
            while width > 0 and at < end:
                size = 1
                if self.text[at] >= 128:
                    size = _sequence(self.text, at, end)
                at += size if size > 0 else 1
                width -= 1
        if at < end:
            self.cut += 1
        return at

    def _escaped(self, octet: cython.int, charset: cython.int) -> cython.int:
        """Write an octet below 128 that may have to be escaped."""
        letter: cython.int = self.escape[octet]
        if charset == BYTEA:
            if octet == BACKSLASH:  # twice for bytea's own reader, each of them twice for COPY
                self._put(BACKSLASH)
                self._put(BACKSLASH)
            elif octet == 0:
                return self._octal(octet)
        if letter != 0:
            self._put(BACKSLASH)
            return self._put(letter)
        return self._put(octet)

    def _octal(self, octet: cython.int) -> cython.int:
        r"""Write an octet as bytea's reader takes it: \ooo, the backslash twice for COPY."""
        self._put(BACKSLASH)
        self._put(BACKSLASH)
        self._put(48 + (octet >> 6))
        self._put(48 + ((octet >> 3) & 7))
        return self._put(48 + (octet & 7))

    def _special(self, at: cython.longlong, end: cython.longlong, charset: cython.int) -> cython.Py_ssize_t:
        """Write the octet or character at `at`, which does not stand for itself; return what follows it."""
        octet: cython.int = self.text[at]
        size: cython.int
        i: cython.int
        if octet < 128:
            if octet == 0 and charset == NO_NUL:
                self.hurt = True
                octet = MARK
            self._escaped(octet, charset)
            return at + 1
        if charset == BYTEA:
            self._octal(octet)
            return at + 1
        if charset in (OCTETS, LATIN1):
            self._put(octet)
            return at + 1
        size = _sequence(self.text, at, end)
        if size == 0 or (size == 4 and charset == UTF8MB3):
            self.hurt = True
            self._put(MARK)
            return at + (size if size > 0 else 1)
        for i in range(size):
            self._put(self.text[at + i])
        return at + size

    def _characters(self, at: cython.longlong, end: cython.longlong, charset: cython.int) -> cython.int:
        """Write a value of `text`, escaped and with what its set cannot hold replaced."""
        self.hurt = False
        while at < end:
            at = self._clean(at, end)
            if at < end:
                at = self._special(at, end, charset)
        if self.hurt:
            self.replaced += 1
        return 0

    def _text(self, at: cython.longlong, size: cython.longlong, column: cython.Py_ssize_t) -> cython.int:
        """Write a value of `text`: cut, quoted where the flavour quotes."""
        charset: cython.int = self.charset[column]
        end: cython.longlong = self._fitting(at, at + size, column)
        if not self.quoted:
            return self._characters(at, end, charset)
        if charset in (OCTETS, LATIN1):
            self._copy(self.binary)
        self._put(QUOTE)
        self._characters(at, end, charset)
        return self._put(QUOTE)

    def _is_folded(self, row: cython.Py_ssize_t, field: cython.Py_ssize_t) -> cython.bint:
        """Whether the slice may hold line ends that become spaces: SIP fields but the body."""
        return (self.flags[row] & IS_FOLDED) != 0 and field >= FIRST_SIP and field != BODY and field != TAGS

    def _slice(
        self, row: cython.Py_ssize_t, field: cython.Py_ssize_t, column: cython.Py_ssize_t
    ) -> cython.int:
        """Write a slice of a record; field -1 is no slice, and an empty value."""
        if field < 0:
            return self._text(0, 0, column)
        at: cython.longlong = self.start[row] + self.fields[row, field, 0]
        size: cython.longlong = self.fields[row, field, 1]
        if size > 0 and self._is_folded(row, field):
            size = _unfold(self.buffer, at, size, self.scratch, 0, True)
            self.text = self.scratch
            self._text(0, size, column)
            self.text = self.buffer
            return 0
        return self._text(at, size, column)

    def _line(
        self, row: cython.Py_ssize_t, field: cython.Py_ssize_t, column: cython.Py_ssize_t
    ) -> cython.int:
        """Write a slice and what follows it up to the end of its header (RFC 3261 section 7.3.1)."""
        at: cython.longlong = self.start[row] + self.fields[row, field, 0]
        end: cython.longlong = at + self.fields[row, field, 1]
        last: cython.longlong = self.start[row] + self.fields[row, 0, 0] + self.fields[row, 0, 1]
        after: cython.longlong
        folded: cython.bint = self._is_folded(row, field)
        if end <= at or end > last or last - at >= len(self.scratch):
            return self._slice(row, field, column)
        while end < last:
            if self.buffer[end] in (10, 13):
                after = end + 1
                if self.buffer[end] == 13 and after < last and self.buffer[after] == 10:
                    after += 1
                if after >= last or self.buffer[after] not in (9, 32):
                    break
                end = after
                folded = True
            end += 1
        while self.buffer[end - 1] in (9, 10, 13, 32) and end > at + 1:
            end -= 1
        if not folded:
            return self._text(at, end - at, column)
        after = _unfold(self.buffer, at, end - at, self.scratch, 0, True)
        self.text = self.scratch
        self._text(0, after, column)
        self.text = self.buffer
        return 0

    def _number(self, value: cython.longlong) -> cython.int:
        """Write a number of 0 and more in digits."""
        digits: cython.longlong = 1
        rest: cython.longlong = value // 10
        i: cython.longlong
        while rest > 0:
            digits += 1
            rest //= 10
        for i in range(digits):
            self.out[self.to + digits - 1 - i] = 48 + value % 10
            value //= 10
        self.to += digits
        return 0

    def _padded(self, value: cython.longlong, digits: cython.int) -> cython.int:
        """Write a number in that many digits."""
        i: cython.int
        for i in range(digits):
            self.out[self.to + digits - 1 - i] = 48 + value % 10
            value //= 10
        self.to += digits
        return 0

    def _date(self, i: cython.Py_ssize_t) -> cython.int:
        """Write YYYY-MM-DD HH:MM:SS. Days become a date as in a calendar whose years begin in March."""
        second: cython.longlong = self.local[i]
        if self.date_at >= 0 and second == self.date_second:
            return self._again(self.date_at, 19)
        self.date_second = second
        self.date_at = self.to
        second += TO_EPOCH  # so it is not negative
        day: cython.longlong = second // 86_400
        second %= 86_400
        era: cython.longlong = day // 146_097  # 400 years
        day -= era * 146_097
        year: cython.longlong = (day - day // 1_460 + day // 36_524 - day // 146_096) // 365
        day -= 365 * year + year // 4 - year // 100
        month: cython.longlong = (5 * day + 2) // 153
        day -= (153 * month + 2) // 5
        month += 3 if month < 10 else -9
        self._padded(era * 400 + year + (1 if month <= 2 else 0), 4)
        self._put(45)  # -
        self._padded(month, 2)
        self._put(45)
        self._padded(day + 1, 2)
        self._put(32)
        self._padded(second // 3_600, 2)
        self._put(58)  # :
        self._padded(second // 60 % 60, 2)
        self._put(58)
        return self._padded(second % 60, 2)

    def _status(self, row: cython.Py_ssize_t, column: cython.Py_ssize_t) -> cython.int:
        """Write the method of a request, the status code of a reply."""
        if (self.flags[row] & IS_RESPONSE) == 0 or self.status[row] == 0:
            return self._slice(row, self.field[column], column)
        return self._number(self.status[row])

    def _node(self, row: cython.Py_ssize_t, column: cython.Py_ssize_t) -> cython.int:
        """Write the capture node's name, and the agent's id behind a colon."""
        number: cython.longlong = self.node_id[row]
        size: cython.longlong = len(self.node)
        i: cython.longlong
        if self.node_at >= 0 and number == self.node_number:
            self.cut += self.node_cut
            self.replaced += self.node_replaced
            return self._again(self.node_at, self.node_size)
        for i in range(size):
            self.scratch[i] = self.node[i]
        if number != NO_NODE:
            at: cython.longlong = self.to
            self._put(58)
            self._number(number)
            for i in range(self.to - at):
                self.scratch[size + i] = self.out[at + i]
            size += self.to - at
            self.to = at
        cut: cython.longlong = self.cut
        replaced: cython.longlong = self.replaced
        self.node_number = number
        self.node_at = self.to
        self.text = self.scratch
        self._text(0, size, column)
        self.text = self.buffer
        self.node_size = self.to - self.node_at
        self.node_cut = self.cut - cut
        self.node_replaced = self.replaced - replaced
        return 0

    def _address(self, row: cython.Py_ssize_t, source: cython.bint) -> cython.int:
        """Write an address (RFC 5952), nothing where the family is unknown."""
        if self.family[row] == 2:
            self.to = _dotted(self.src_ip if source else self.dst_ip, row, self.out, self.to)
        elif self.family[row] == 10:
            self.to = _ipv6(self.src_ip if source else self.dst_ip, row, self.out, self.to)
        return 0

    def _is_server(self, row: cython.Py_ssize_t, field: cython.Py_ssize_t) -> cython.bint:
        """Whether the value comes from the header Server: by the last letter of the name before it."""
        first: cython.longlong = self.start[row]
        at: cython.longlong = first + self.fields[row, field, 0] - 1
        while at >= first and self.buffer[at] in (9, 10, 13, 32):
            at -= 1
        if at < first or self.buffer[at] != 58:
            return False
        at -= 1
        while at >= first and self.buffer[at] in (9, 32):
            at -= 1
        return at >= first and (self.buffer[at] | 0x20) == 114  # r, not the t of User-Agent

    def _originator(self, row: cython.Py_ssize_t, field: cython.Py_ssize_t) -> cython.int:
        """Find address and port of a value ADDRESS[:PORT]; several colons without brackets are IPv6."""
        at: cython.longlong = 0
        size: cython.longlong = 0
        i: cython.longlong
        colon: cython.longlong = -1
        colons: cython.longlong = 0
        if field >= 0:
            at = self.start[row] + self.fields[row, field, 0]
            size = self.fields[row, field, 1]
        self.found_at = at
        self.found_size = size
        self.found_port = 0
        for i in range(size):
            if self.buffer[at + i] == 93:  # ] : what came before was no port
                colons = 0
            elif self.buffer[at + i] == 58:
                colons += 1
                colon = i
        if colons != 1:
            return 0
        self.found_size = colon
        for i in range(colon + 1, size):
            if self.buffer[at + i] < 48 or self.buffer[at + i] > 57 or self.found_port > 65_535:
                break
            self.found_port = self.found_port * 10 + self.buffer[at + i] - 48
        if self.found_port > 65_535:
            self.found_port = 0
        return 0

    # ---- rows

    def _octets(
        self, i: cython.Py_ssize_t, row: cython.Py_ssize_t, column: cython.Py_ssize_t, source: cython.int
    ) -> cython.int:
        """Write a date or an address; where colons separate, its own are escaped."""
        at: cython.longlong = self.to
        k: cython.longlong
        if self.quoted:
            self._put(QUOTE)
        if source == DATE:
            self._date(i)
        elif source == SOURCE_IP:
            self._address(row, True)
        elif source == DESTINATION_IP:
            self._address(row, False)
        if self.quoted:
            return self._put(QUOTE)
        if self.also != COLON:
            return 0
        size: cython.longlong = self.to - at
        for k in range(size):
            self.scratch[k] = self.out[at + k]
        self.to = at
        self.date_at = -1
        self.text = self.scratch
        self._characters(0, size, OCTETS)
        self.text = self.buffer
        return 0

    def _cell(self, i: cython.Py_ssize_t, row: cython.Py_ssize_t, column: cython.Py_ssize_t) -> cython.int:
        """Write one value."""
        source: cython.int = self.source[column]
        field: cython.Py_ssize_t = self.field[column]
        if source in (SLICE, HEADER):
            return self._slice(row, field, column)
        if source == EMPTY:
            return self._text(0, 0, column)
        if source == LINE:
            return self._line(row, field, column)
        if source in (DATE, SOURCE_IP, DESTINATION_IP):
            return self._octets(i, row, column, source)
        if source == METHOD:
            return self._status(row, column)
        if source == CORRELATION:
            if self.fields[row, field, 1] == 0:
                field = self.other[column]
            return self._slice(row, field, column)
        if source == USER_AGENT:
            if self.fields[row, field, 1] > 0 and self._is_server(row, field):
                field = -1
            return self._slice(row, field, column)
        if source == ORIGINATOR_IP:
            self._originator(row, field)
            return self._text(self.found_at, self.found_size, column)
        if source == ORIGINATOR_PORT:
            self._originator(row, field)
            return self._number(self.found_port)
        if source == NODE:
            return self._node(row, column)
        if source == MICRO_TS:
            return self._number(self.ts[row])
        if source == SOURCE_PORT:
            return self._number(self.src_port[row])
        if source == DESTINATION_PORT:
            return self._number(self.dst_port[row])
        if source == CONTACT_PORT:
            return self._number(self.contact_port[row])
        if source == PROTO:
            return self._number(self.proto_of[self.ip_proto[row]])
        if source == FAMILY:
            if self.family[row] == 2 or self.family[row] == 10:
                return self._number(self.family[row])
            return self._copy(self.missing)
        if source == TYPE:
            if self.type_of[self.hep_type[row]] != 0:
                return self._number(self.type_of[self.hep_type[row]])
            if self.flags[row] & IS_REQUEST:
                return self._put(49)
            return self._put(50 if self.flags[row] & IS_RESPONSE else 48)
        if source == SECONDS:
            return self._number(self.ts[row] // MICROSECONDS)
        return self._number(self.sequence)  # SEQUENCE

    def _measured(
        self, i: cython.Py_ssize_t, row: cython.Py_ssize_t, column: cython.Py_ssize_t
    ) -> cython.int:
        """Write one value as COM_STMT_BULK_EXECUTE has it: an indicator, the length in two octets, the value.

        No value is longer than a payload, of 65,535 octets. Only what `missing` stands for has no octets
        where it is no text: that is the indicator of NULL.
        """
        at: cython.longlong = self.to
        self.to += 4
        self._cell(i, row, column)
        size: cython.longlong = self.to - at - 4
        if size == 0 and self.source[column] == FAMILY:
            self.out[at] = 1
            self.to = at + 1
            return 0
        if size > 65_535:
            raise IndexError("a value is longer than its length can say")
        self.out[at] = 0
        self.out[at + 1] = 0xFC  # a length-encoded integer of two octets follows
        self.out[at + 2] = size & 255
        self.out[at + 3] = size >> 8
        return 0

    def _bound(self, row: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """Octets that a row takes at most."""
        size: cython.longlong = len(self.node)
        column: cython.Py_ssize_t
        for column in range(self.columns):
            if self.field[column] >= 0:
                size += self.fields[row, self.field[column], 1]
            if self.other[column] >= 0:
                size += self.fields[row, self.other[column], 1]
        return size * self.growth + (self.columns + 1) * CELL

    def _row(self, i: cython.Py_ssize_t, row: cython.Py_ssize_t) -> cython.int:
        column: cython.Py_ssize_t
        self._copy(self.opening)
        for column in range(self.columns):
            if column > 0:
                self._copy(self.separator)
            if self.measured:
                self._measured(i, row, column)
            else:
                self._cell(i, row, column)
            if self.wants_ends:
                self.ends[i * self.columns + column] = self.to
        self.sequence += 1
        return self._copy(self.closing)

    def run(self, first: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """Write rows from the first-th wanted on; return how many are done: fewer than all, `out` is full."""
        i: cython.Py_ssize_t = first
        with cython.nogil:
            while i < len(self.rows):
                if self.to + self._bound(self.rows[i]) > len(self.out):
                    break
                self._row(i, self.rows[i])
                i += 1
        return i


def hash_slices(batch: Batch, field: int, rows: Array) -> Array:
    """Return the crc32 of one slice of each of the rows, as uint32; of an empty one it is 0."""
    out = np.zeros(len(rows), dtype=np.uint32)
    _hash_all(
        view(batch.buffer),
        view(batch.start),
        view(batch.fields),
        field,
        view(rows),
        view(CRC_TABLE),
        view(out),
    )
    return out


def _hash_all(
    buffer: Any, start: Any, fields: Any, field: cython.Py_ssize_t, rows: Any, table: Any, out: Any
) -> cython.int:
    """The loop of hash_slices."""
    i: cython.Py_ssize_t
    k: cython.longlong
    at: cython.longlong
    crc: cython.uint
    for i in range(len(rows)):
        at = start[rows[i]] + fields[rows[i], field, 0]
        crc = 0xFFFFFFFF
        for k in range(fields[rows[i], field, 1]):
            crc = table[(crc ^ buffer[at + k]) & 255] ^ (crc >> 8)
        out[i] = crc ^ 0xFFFFFFFF
    return 0


def _crc_table() -> Array:
    """Make the table of CRC-32 (ISO 3309, reflected polynomial 0xEDB88320)."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, np.uint32(0xEDB88320) ^ (table >> 1), table >> 1).astype(np.uint32)
    return table


CRC_TABLE = _crc_table()
