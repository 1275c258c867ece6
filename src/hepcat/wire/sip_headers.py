"""Kernel: where things stand in a SIP message: its start line, the values of its headers, its body.

In: octets, where a message begins and ends, and the header names to look for (sip_names.py). Out: attributes
of `SipHeaders`: the parts of the start line, `lo` and `hi` of each header's value, where the body begins.
What can go wrong: `fault` says what is wrong with hostile octets, a code of `malformed` (schema.py), and
whatever could be read is there all the same. An IndexError is a bug of ours. What stands within the values
is found by `SipValues` (sip_values.py), which inherits from `SipHeaders`, as the index (sip.py) does from it.

Choices that RFC 3261 leaves open, or that a capture system makes otherwise than a proxy:
- A message's line ending is that of its start line: LF, with or without CR before it, or a lone CR.
- Of a header that may stand once, the first counts. Content-Length must be the same each time.
- Up to JUNK_LINES lines before a start line are passed over; `malformed` says start_line then.
"""

import sys
from typing import Any

import cython
import numpy as np

from hepcat.wire import sip_names

if not cython.compiled:  # sip_headers.pxd cimports them
    # fmt: off
    from hepcat.wire.sip_codes import (  # noqa: I001
        COLON, CONTENT_LENGTH, CONTENT_LENGTH_WRONG, CR, DOT, HEADER_LINE, JUNK_LINES, LF, LONGEST_METHOD,
        MAX_HEADERS, NEITHER, NO_HEADER_END, NO_NUMBER, NUL, REQUEST, RESPONSE, SLASH, SLOT_MASK, SPACE, TAB,
        TOO_MANY_HEADERS,
    )
    # fmt: on

#: A set of octets below 64, as bits: linear white space.
SPACES = cython.declare(cython.ulonglong, 1 << 9 | 1 << 10 | 1 << 13 | 1 << 32)
#: Bit 0x20 of each octet of a word: folds letters.
FOLD_WORD = cython.declare(cython.ulonglong, 0x2020202020202020)

#: Numbers (Content-Length, Expires, CSeq) saturate here, one above 32 bits.
SATURATED = cython.declare(cython.Py_ssize_t, 1 << 32)


def view(array: Any) -> Any:
    """Give an array as a memoryview: uncompiled, its items are then Python ints, which cannot wrap."""
    return memoryview(array)


class SipHeaders:
    """Reads one message at a time, or looks at a buffer of datagrams. Positions are those of the buffer."""

    def __init__(self, buffer: Any) -> None:
        self.buf = buffer if cython.compiled else view(buffer).tobytes()
        self.size = memoryview(buffer).nbytes
        self.fault = 0
        self.token = view(sip_names.TOKEN)

    def bind_names(self, table: sip_names.NameTable) -> None:
        """Take the header names to look for."""
        self.slots = view(table.slots)
        self.pool = view(table.pool)
        self.entry_at = view(table.at)
        self.entry_size = view(table.size)
        self.entry_id = view(table.id)
        self.entry_first = view(table.first)
        self.entry_last = view(table.last)
        self.masks = view(sip_names.MASKS)
        self.entry_next = view(table.next)
        self.header_count = table.headers
        self.lo = view(np.zeros(table.headers, dtype=np.intp))
        self.hi = view(np.zeros(table.headers, dtype=np.intp))

    # ---- octets

    if not cython.compiled:  # compiled, they stand in sip_headers.pxd, inline for those who inherit, too

        def _at(self, pos: int) -> Any:
            return self.buf[pos]

        def _word(self, pos: int) -> int:
            return int.from_bytes(self.buf[pos : pos + 8], sys.byteorder)

        def _find(self, octet: int, lo: int, hi: int) -> int:
            at = self.buf.find(octet, lo, hi) if lo < hi else -1
            return hi if at < 0 else at

    def _skip_space(self, lo: cython.Py_ssize_t, hi: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """The first octet at or after lo that is not linear white space."""
        while lo < hi and self._at(lo) <= SPACE and (SPACES >> self._at(lo)) & 1:
            lo += 1
        return lo

    def _trim(self, lo: cython.Py_ssize_t, hi: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """The end of lo..hi without linear white space behind."""
        while hi > lo and self._at(hi - 1) <= SPACE and (SPACES >> self._at(hi - 1)) & 1:
            hi -= 1
        return hi

    def _same(self, pos: cython.Py_ssize_t, name: cython.Py_ssize_t, size: cython.Py_ssize_t) -> cython.bint:
        """Whether the octets at pos are the name at `name` in the pool, in any case."""
        i: cython.Py_ssize_t
        for i in range(size):  # noqa: SIM110
            if (self._at(pos + i) | 0x20) != self.pool[name + i]:
                return False
        return True

    def _is_token(self, lo: cython.Py_ssize_t, hi: cython.Py_ssize_t) -> cython.bint:
        if lo >= hi:
            return False
        i: cython.Py_ssize_t
        for i in range(lo, hi):  # noqa: SIM110 (a closure would need the GIL)
            if self.token[self._at(i)] == 0:
                return False
        return True

    def _number(self, lo: cython.Py_ssize_t, hi: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """The decimal number in lo..hi, SATURATED if it is 2**32 or more, NO_NUMBER if it is none."""
        value: cython.Py_ssize_t = 0
        digit: cython.int
        if lo >= hi:
            return NO_NUMBER
        while lo < hi:
            digit = self._at(lo) - 48
            if digit < 0 or digit > 9:
                return NO_NUMBER
            value = value * 10 + digit
            if value > SATURATED:
                value = SATURATED
            lo += 1
        return value

    def _blank(self, lo: cython.Py_ssize_t, hi: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """What is before the first line: CR and LF (RFC 3261 section 7.5), also NUL and space."""
        while lo < hi and (
            self._at(lo) == CR or self._at(lo) == LF or self._at(lo) == SPACE or self._at(lo) == NUL
        ):
            lo += 1
        return lo

    def _blame(self, fault: cython.int) -> cython.int:
        """Note what is wrong: the lowest code is kept."""
        if self.fault == 0 or fault < self.fault:
            self.fault = fault
        return 0

    # ---- start line

    def _version(self, pos: cython.Py_ssize_t, hi: cython.Py_ssize_t) -> cython.bint:
        """Whether SIP-Version stands at pos (RFC 3261 section 25.1), in any case."""
        return (
            hi - pos >= 7
            and (self._at(pos) | 0x20) == 115
            and (self._at(pos + 1) | 0x20) == 105
            and (self._at(pos + 2) | 0x20) == 112
            and self._at(pos + 3) == SLASH
            and 48 <= self._at(pos + 4) <= 57
            and self._at(pos + 5) == DOT
            and 48 <= self._at(pos + 6) <= 57
        )

    def _line(self, lo: cython.Py_ssize_t, hi: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """The end of the line at lo without its line end; next_line is behind that, hi + 1 if it has none."""
        end: cython.Py_ssize_t = self._find(self.eol, lo, hi)
        self.next_line = end + 1
        if end == hi:
            return hi
        if self.eol == LF:
            if end > lo and self._at(end - 1) == CR:
                return end - 1
        elif self.next_line < hi and self._at(self.next_line) == LF:
            self.next_line += 1
        return end

    def _first_line(self, lo: cython.Py_ssize_t, hi: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """As _line; decides what line ends the message has."""
        self.eol = LF
        end: cython.Py_ssize_t = self._find(LF, lo, hi)
        cr: cython.Py_ssize_t = self._find(CR, lo, end)
        if cr < end - 1 or (cr < end and end == hi):
            self.eol = CR
        return self._line(lo, hi)

    def _parse_start_line(self, lo: cython.Py_ssize_t, hi: cython.Py_ssize_t) -> cython.int:
        """Read the line at lo as a start line: REQUEST, RESPONSE or NEITHER; line_fault if it is bad.

        The cheap looks come first: on ports that are not SIP's, most of what comes here is RTP.
        """
        self.line_fault = False
        if self._version(lo, hi):
            return self._parse_status_line(lo, self._first_line(lo, hi))
        pos: cython.Py_ssize_t = lo
        longest: cython.Py_ssize_t = hi if hi - lo < LONGEST_METHOD else lo + LONGEST_METHOD
        while pos < longest and self.token[self._at(pos)] != 0:
            pos += 1
        if pos - lo == 0 or pos == longest or self._at(pos) != SPACE:
            return NEITHER
        self.method_lo = lo
        self.method_hi = pos
        return self._parse_request_line(pos, self._first_line(lo, hi))

    def _parse_status_line(self, lo: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.int:
        """SIP-Version SP Status-Code SP Reason-Phrase (RFC 3261 section 7.2)."""
        pos: cython.Py_ssize_t = lo + 7
        if pos >= end or self._at(pos) != SPACE:
            return NEITHER
        pos += 1
        after: cython.Py_ssize_t = self._find(SPACE, pos, end)
        code: cython.Py_ssize_t = self._number(pos, after)
        self.code = 0
        if after - pos == 3 and 100 <= code <= 699:
            self.code = cython.cast(cython.int, code)
        else:
            self.line_fault = True
        self.phrase_lo = self._skip_space(after, end)
        self.phrase_hi = self._trim(self.phrase_lo, end)
        return RESPONSE

    def _parse_request_line(self, pos: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.int:
        """SP Request-URI SP SIP-Version, from behind the method (RFC 3261 section 7.1)."""
        tail: cython.Py_ssize_t = self._trim(pos, end)
        if tail != end:
            self.line_fault = True
        if tail - 8 < pos or self._at(tail - 8) != SPACE or not self._version(tail - 7, tail):
            return NEITHER
        self.uri_lo = self._skip_space(pos, tail - 8)
        self.uri_hi = self._trim(self.uri_lo, tail - 8)
        if self.uri_lo != pos + 1 or self.uri_hi != tail - 8 or self.uri_lo == self.uri_hi:
            self.line_fault = True
        return REQUEST

    def _find_start_line(self, lo: cython.Py_ssize_t, hi: cython.Py_ssize_t) -> cython.int:
        """Look for a start line behind junk. Headers and empty lines end the search."""
        _: cython.int
        kind: cython.int
        for _ in range(JUNK_LINES):
            end: cython.Py_ssize_t = self._first_line(lo, hi)
            colon: cython.Py_ssize_t = self._find(COLON, lo, end)
            if end == lo or (colon < end and self._header_of(lo, self._trim(lo, colon)) >= 0):
                return NEITHER
            lo = self.next_line
            if lo >= hi:
                return NEITHER
            kind = self._parse_start_line(lo, hi)
            if kind != NEITHER:
                return kind
        return NEITHER

    # ---- headers

    def _header_of(self, lo: cython.Py_ssize_t, hi: cython.Py_ssize_t) -> cython.int:
        """The number of the header of this name, -1 for one that no column needs."""
        size: cython.Py_ssize_t = hi - lo
        if size <= 0:
            return -1
        slot: cython.Py_ssize_t = size + (self._at(lo) | 0x20) * 2 + (self._at(hi - 1) | 0x20) * 6
        entry: cython.int = self.slots[slot & SLOT_MASK]  # as sip_names.slot_of
        while entry >= 0:
            if self.entry_size[entry] == size and self._is_name(entry, lo, size):
                return self.entry_id[entry]
            entry = self.entry_next[entry]
        return -1

    def _is_name(self, entry: cython.int, lo: cython.Py_ssize_t, size: cython.Py_ssize_t) -> cython.bint:
        """Compare by words: the first eight octets, the last eight, and those between one by one."""
        if size < 8:
            if lo + 8 > self.size:
                return self._same(lo, self.entry_at[entry], size)
            return (self._word(lo) | FOLD_WORD) & self.masks[size] == self.entry_first[entry]
        if (self._word(lo) | FOLD_WORD) != self.entry_first[entry]:
            return False
        if (self._word(lo + size - 8) | FOLD_WORD) != self.entry_last[entry]:
            return False
        return size <= 16 or self._same(lo + 8, self.entry_at[entry] + 8, size - 16)

    def _read_headers(self, pos: cython.Py_ssize_t, hi: cython.Py_ssize_t) -> cython.int:
        """Note where the values of the headers stand, and where the body begins (-1: no empty line)."""
        count: cython.int = 0
        blank: cython.bint
        self._forget_headers()
        self.body_at = -1
        self.folded = False
        self.said = -1
        while pos < hi:
            blank = self._at(pos) == CR or self._at(pos) == LF
            if blank and self._line(pos, hi) == pos and self.next_line <= hi:
                self.body_at = self.next_line
                return 0
            if count == MAX_HEADERS:
                return self._blame(TOO_MANY_HEADERS)
            count += 1
            pos = self._read_line(pos, hi)
        return self._blame(NO_HEADER_END)

    def _forget_headers(self) -> cython.int:
        """Mark every header as absent: hi 0 (no value can end there, its name comes before)."""
        if not cython.compiled:
            self.hi[:] = view(np.zeros(self.header_count, dtype=np.intp))
            return 0
        if self.hi.shape[0] != self.header_count:
            with cython.gil:
                raise IndexError("headers without room for their values")
        memset(cython.address(self.hi[0]), 0, self.header_count * cython.sizeof(cython.Py_ssize_t))  # type: ignore[name-defined]  # noqa: F821
        return 0

    def _read_line(self, pos: cython.Py_ssize_t, hi: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """Read one header with the lines it is folded over; where the next one begins."""
        end: cython.Py_ssize_t = self._line(pos, hi)
        colon: cython.Py_ssize_t = self._find(COLON, pos, end)
        folds: cython.bint = False
        while self.next_line < hi and (self._at(self.next_line) == SPACE or self._at(self.next_line) == TAB):
            folds = True
            end = self._line(self.next_line, hi)
        name: cython.Py_ssize_t = colon
        while name > pos and (self._at(name - 1) == SPACE or self._at(name - 1) == TAB):
            name -= 1  # HCOLON, RFC 3261 section 25.1
        header: cython.int = self._header_of(pos, name)
        if colon >= end:
            if self.next_line <= hi:  # else it was cut within the name: no_header_end
                self._blame(HEADER_LINE)
        elif header < 0:
            if not self._is_token(pos, name):
                self._blame(HEADER_LINE)
        else:
            pos = self._skip_space(colon + 1, end)
            end = self._trim(pos, end)
            if folds:
                self.folded = True
            if header == CONTENT_LENGTH:
                self._content_length(pos, end)
            if self.hi[header] == 0:
                self.lo[header] = pos
                self.hi[header] = end
        return self.next_line

    def _content_length(self, lo: cython.Py_ssize_t, hi: cython.Py_ssize_t) -> cython.int:
        """Content-Length (RFC 3261 section 20.14): the first that is a number; others must agree."""
        value: cython.Py_ssize_t = self._number(lo, hi)
        if value < 0 or (self.said >= 0 and value != self.said):
            self._blame(CONTENT_LENGTH_WRONG)
        if self.said < 0 and value >= 0:
            self.said = value
        return 0

    # ---- datagrams

    def mask(self, offsets: Any, lengths: Any, out: Any) -> cython.int:
        """Set out[i] to whether datagram i begins with a SIP start line."""
        i: cython.Py_ssize_t
        lo: cython.Py_ssize_t
        hi: cython.Py_ssize_t
        n: cython.Py_ssize_t = offsets.shape[0]
        with cython.nogil:
            for i in range(n):
                lo = cython.cast(cython.Py_ssize_t, offsets[i])
                hi = lo + cython.cast(cython.Py_ssize_t, lengths[i])
                lo = self._blank(lo, hi)
                out[i] = self._parse_start_line(lo, hi) != NEITHER
        return 0
