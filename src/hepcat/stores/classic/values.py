"""Kernel: values as a bulk load reads them: text that is cut, escaped and quoted; numbers, dates, separators.

In: a piece of `text`, or a number, and a plan (plan.py): how wide each column is, which characters it holds,
and how the load separates and escapes. Out: octets in `out`, and how many values were cut to their width or
had octets replaced. What can go wrong: nothing that hostile traffic can do. An IndexError is a bug of ours.

- A value is cut to `width` characters first, never within a character; `cut` counts the values.
- An octet that is no character of the column's set becomes `?`, and so does a character of four octets in
  utf8mb3 and a NUL in PostgreSQL's text; `replaced` counts the values.
Speed: what stands for itself is copied eight octets at a time; a date that stood in the row before is copied
from there.
"""

from typing import Any

import cython
import numpy as np

from hepcat.batch.layout import Array

if not cython.compiled:  # values.pxd cimports it, and has the numbers as an enum
    from hepcat.batch.gather import _sequence  # type: ignore[attr-defined,unused-ignore]

    OCTETS, LATIN1, UTF8MB3, UTF8MB4, NO_NUL, BYTEA = range(6)
    #: Octets that have a meaning.
    QUOTE, BACKSLASH, MARK = 39, 92, 63

#: Each octet of a word: 1, 32, 128, and a backslash.
ONES = cython.declare(cython.ulonglong, 0x0101010101010101)
CONTROLS = cython.declare(cython.ulonglong, 0x2020202020202020)
HIGH = cython.declare(cython.ulonglong, 0x8080808080808080)
BACKSLASHES = cython.declare(cython.ulonglong, 0x5C5C5C5C5C5C5C5C)
#: Seconds from 0000-03-01 to the epoch.
TO_EPOCH = cython.declare(cython.longlong, 62_162_035_200)


def view(array: Any) -> Any:
    """Give an array as a memoryview: uncompiled, its items are then Python ints, which cannot wrap."""
    contiguous: Any = np.ascontiguousarray(array)
    return memoryview(contiguous)


class Values:
    """What one plan writes. `to` is where `out` is filled to; cut and replaced count on."""

    to: int
    cut: int
    replaced: int
    date_second: int

    def __init__(self, plan: Any) -> None:
        self.opening = view(plan.opening)
        self.separator = view(plan.separator)
        self.closing = view(plan.closing)
        self.width = view(plan.width)
        self.charset = view(plan.charset)
        self.escape = view(plan.escape)
        self.binary = view(plan.binary)
        self.quoted = plan.quoted
        self.also = plan.also
        self.hurt = False

    def begin(self, text: Array) -> None:
        """Take the octets that pieces are taken of, and begin anew."""
        self.text = view(text)
        self.to = self.cut = self.replaced = 0
        self.date_at = -1

    def bind_output(self, out: Array) -> None:
        """Take where to write; what stands in `out` up to `to` must be what stood there before."""
        self.out = view(out)

    def put(self, octet: cython.int) -> cython.int:
        """Write one octet as it is."""
        self.out[self.to] = octet
        self.to += 1
        return 0

    def copy(self, octets: Any) -> cython.int:
        """Copy a few octets of the plan."""
        i: cython.Py_ssize_t
        for i in range(len(octets)):
            self.out[self.to + i] = octets[i]
        self.to += len(octets)
        return 0

    def again(self, at: cython.longlong, size: cython.longlong) -> cython.int:
        """Copy what stands in `out` already."""
        i: cython.longlong
        for i in range(size):
            self.out[self.to + i] = self.out[at + i]
        self.to += size
        return 0

    def begin_row(self) -> cython.int:
        """Write what stands before a row."""
        return self.copy(self.opening)

    def separate(self) -> cython.int:
        """Write what stands between two values."""
        return self.copy(self.separator)

    def end_row(self) -> cython.int:
        """Write what stands behind a row."""
        return self.copy(self.closing)

    def measure(self, at: cython.longlong) -> cython.int:
        """Write before a value, in the four octets from `at` on, what COM_STMT_BULK_EXECUTE has there.

        That is an indicator and the length in two octets: no value is longer than a payload, of 65,535
        octets.
        """
        size: cython.longlong = self.to - at - 4
        if size > 65_535:
            raise IndexError("a value is longer than its length can say")
        self.out[at] = 0
        self.out[at + 1] = 0xFC  # a length-encoded integer of two octets follows
        self.out[at + 2] = size & 255
        self.out[at + 3] = size >> 8
        return 0

    def write_null(self, at: cython.longlong) -> cython.int:
        """Write COM_STMT_BULK_EXECUTE's indicator of NULL in the place of what stands from `at` on."""
        self.out[at] = 1
        self.to = at + 1
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
                self.put(BACKSLASH)
                self.put(BACKSLASH)
            elif octet == 0:
                return self._octal(octet)
        if letter != 0:
            self.put(BACKSLASH)
            return self.put(letter)
        return self.put(octet)

    def _octal(self, octet: cython.int) -> cython.int:
        r"""Write an octet as bytea's reader takes it: \ooo, the backslash twice for COPY."""
        self.put(BACKSLASH)
        self.put(BACKSLASH)
        self.put(48 + (octet >> 6))
        self.put(48 + ((octet >> 3) & 7))
        return self.put(48 + (octet & 7))

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
            self.put(octet)
            return at + 1
        size = _sequence(self.text, at, end)
        if size == 0 or (size == 4 and charset == UTF8MB3):
            self.hurt = True
            self.put(MARK)
            return at + (size if size > 0 else 1)
        for i in range(size):
            self.put(self.text[at + i])
        return at + size

    def write_characters(self, at: cython.longlong, end: cython.longlong, charset: cython.int) -> cython.int:
        """Write a value of `text`, escaped and with what its set cannot hold replaced."""
        self.hurt = False
        while at < end:
            at = self._clean(at, end)
            if at < end:
                at = self._special(at, end, charset)
        if self.hurt:
            self.replaced += 1
        return 0

    def write_text(self, at: cython.longlong, size: cython.longlong, column: cython.Py_ssize_t) -> cython.int:
        """Write a value of `text`: cut, quoted where the flavour quotes."""
        charset: cython.int = self.charset[column]
        end: cython.longlong = self._fitting(at, at + size, column)
        if not self.quoted:
            return self.write_characters(at, end, charset)
        if charset in (OCTETS, LATIN1):
            self.copy(self.binary)
        self.put(QUOTE)
        self.write_characters(at, end, charset)
        return self.put(QUOTE)

    def write_number(self, value: cython.longlong) -> cython.int:
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

    def write_padded(self, value: cython.longlong, digits: cython.int) -> cython.int:
        """Write a number in that many digits."""
        i: cython.int
        for i in range(digits):
            self.out[self.to + digits - 1 - i] = 48 + value % 10
            value //= 10
        self.to += digits
        return 0

    def write_date(self, second: cython.longlong) -> cython.int:
        """Write YYYY-MM-DD HH:MM:SS. Days become a date as in a calendar whose years begin in March."""
        if self.date_at >= 0 and second == self.date_second:
            return self.again(self.date_at, 19)
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
        self.write_padded(era * 400 + year + (1 if month <= 2 else 0), 4)
        self.put(45)  # -
        self.write_padded(month, 2)
        self.put(45)
        self.write_padded(day + 1, 2)
        self.put(32)
        self.write_padded(second // 3_600, 2)
        self.put(58)  # :
        self.write_padded(second // 60 % 60, 2)
        self.put(58)
        return self.write_padded(second % 60, 2)
