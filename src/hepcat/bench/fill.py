"""Kernel: write made-up messages from templates, at the rate a capture server has to be tested with.

In: templates as rows of operations (hepcat.bench.templates), and for each message its template, its
dialog's number and its time. Out: the messages one behind the other in a buffer, with their offsets.
Everything random in a message is a hash of (seed, dialog, key), so a dialog's messages agree without
any state being kept. What can go wrong: IndexError where the buffer is too small.
"""

import sys
from typing import Any

import cython
import numpy as np

# C constants (a plain module global would be a Python object inside the loops); names for Python: OPS.
WIDTH = cython.declare(cython.int, 6)
NOTHING = cython.declare(cython.int, 0)
RANDOM = cython.declare(cython.int, 1)
PICK = cython.declare(cython.int, 2)
NUMBER = cython.declare(cython.int, 3)
BODY_LENGTH = cython.declare(cython.int, 4)
TIME = cython.declare(cython.int, 5)
SIZE = cython.declare(cython.int, 6)
IP_SUM = cython.declare(cython.int, 7)
HEX = cython.declare(cython.int, 0)
TOKEN = cython.declare(cython.int, 1)
DIGITS = cython.declare(cython.int, 2)
OCTETS = cython.declare(cython.int, 3)

#: A template is made of rows (offset, length, op, a, b, c): the literal pool[offset:offset + length],
#: then an operation. nothing: the literal alone. random: b characters of alphabet c, by key a.
#: pick: of table a an entry, by key b. number: decimal of hash(key a) % b + c. body_length: octets of
#: the rows from row a of the template on, decimal. time: u32 of seconds (a = 0) or microseconds,
#: little-endian where b is 1.
#: size: a octets wide, little-endian where b is 1: (end of the message - this place) + c.
#: ip_sum: checksum of the IPv4 header whose octets 10 and 11 this is (RFC 791).
OPS: dict[str, int] = {
    "nothing": 0,
    "random": 1,
    "pick": 2,
    "number": 3,
    "body_length": 4,
    "time": 5,
    "size": 6,
    "ip_sum": 7,
}
ALPHABETS: dict[str, int] = {"hex": 0, "token": 1, "digits": 2, "octets": 3}
#: The letters of hex, then the 64 of token (RFC 3261 section 25.1 allows them in a token).
LETTERS: bytes = b"0123456789abcdefABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-."

# Odd multipliers of well-known generators; the mask wraps where integers do not (uncompiled).
MIX_DIALOG = cython.declare(cython.ulonglong, 0x5851F42D4C957F2D)
MIX_KEY = cython.declare(cython.ulonglong, 0x2545F4914F6CDD1D)
MIX_FIRST = cython.declare(cython.ulonglong, 0x369DEA0F31A53F85)
MIX_SECOND = cython.declare(cython.ulonglong, 0x27BB2EE687B0B0FD)
# Eight nibbles to eight hexadecimal digits at once.
HIGH_HALF = cython.declare(cython.ulonglong, 0xFFFF0000)
LOW_HALF = cython.declare(cython.ulonglong, 0x0000FFFF)
SPREAD_8_HIGH = cython.declare(cython.ulonglong, 0x00FF000000FF0000)
SPREAD_8_LOW = cython.declare(cython.ulonglong, 0x000000FF000000FF)
SPREAD_4_HIGH = cython.declare(cython.ulonglong, 0x0F000F000F000F00)
SPREAD_4_LOW = cython.declare(cython.ulonglong, 0x000F000F000F000F)
SIXES = cython.declare(cython.ulonglong, 0x0606060606060606)
ONES = cython.declare(cython.ulonglong, 0x0101010101010101)
ZEROS = cython.declare(cython.ulonglong, 0x3030303030303030)
MASK = cython.declare(cython.ulonglong, 0xFFFFFFFFFFFFFFFF)


def mix(seed: cython.ulonglong, dialog: cython.ulonglong, key: cython.ulonglong) -> int:
    """Hash the three into 64 bits; multiplications wrap."""
    z: cython.ulonglong = (seed + dialog * MIX_DIALOG + key * MIX_KEY) & MASK
    z = ((z ^ (z >> 30)) * MIX_FIRST) & MASK
    z = ((z ^ (z >> 27)) * MIX_SECOND) & MASK
    return z ^ (z >> 31)  # type: ignore[no-any-return]


def digits_of(value: cython.ulonglong) -> int:
    """Count the decimal digits of a number."""
    n: cython.int = 1
    while value >= 10:
        value = value // 10
        n += 1
    return n  # type: ignore[no-any-return]


class Writer:
    """One run over a batch. The write functions append to `out` at `at`, dialog by dialog."""

    def __init__(
        self, ops: Any, template_start: Any, pool: Any, entries: Any, table_start: Any, out: Any, seed: int
    ) -> None:
        self.ops = memoryview(ops)
        self.template_start = memoryview(template_start)
        self.pool = memoryview(pool)
        self.entries = memoryview(entries)
        self.table_start = memoryview(table_start)
        self.letters = memoryview(LETTERS)
        places: Any = np.zeros(64, dtype=np.int64)  # 32 fields of a message that wait for its end
        self.places = memoryview(places)
        self.out = memoryview(out)
        self.at = 0
        self.seed = seed
        self.dialog = 0

    def _room(self, n: cython.Py_ssize_t) -> int:
        if n < 0 or n > len(self.out) - self.at:
            with cython.gil:
                raise IndexError("fill_messages: the buffer is too small")
        return 0

    def _copy(self, begin: cython.Py_ssize_t, n: cython.Py_ssize_t) -> int:
        """Append pool[begin:begin + n]; the one place of unchecked access, so it checks both ranges."""
        self._room(n)
        if begin < 0 or n > len(self.pool) - begin:
            with cython.gil:
                raise IndexError("fill_messages: outside of the pool")
        if n > 0:
            if cython.compiled:
                # fill.pxd imports memcpy. A copy of fixed size is a move or two: most literals are short,
                # and what is copied too much is written over by what comes next.
                if n <= 32 and len(self.out) - self.at >= 32 and len(self.pool) - begin >= 32:
                    memcpy(cython.address(self.out[self.at]), cython.address(self.pool[begin]), 32)  # type: ignore[name-defined]  # noqa: F821
                else:
                    memcpy(cython.address(self.out[self.at]), cython.address(self.pool[begin]), n)  # type: ignore[name-defined]  # noqa: F821
            else:
                self.out[self.at : self.at + n] = self.pool[begin : begin + n]
            self.at += n
        return 0

    def _decimal(self, value: cython.ulonglong) -> int:
        """Append a number in decimal."""
        place: cython.Py_ssize_t = self.at + digits_of(value)
        self._room(place - self.at)
        end: cython.Py_ssize_t = place
        while place > self.at:
            place -= 1
            self.out[place] = 48 + value % 10
            value = value // 10
        self.at = end
        return 0

    def _integer(
        self, at: cython.Py_ssize_t, value: cython.ulonglong, width: cython.int, little: cython.bint
    ) -> int:
        """Write an unsigned integer of `width` octets at a place."""
        i: cython.int
        for i in range(width):
            self.out[at + (i if little else width - 1 - i)] = value & 255
            value = value >> 8
        return 0

    def _hex8(self, at: cython.Py_ssize_t, value: cython.ulonglong) -> int:
        """Write the low 32 bits as eight hexadecimal digits, the caller has looked for room."""
        x: cython.ulonglong = ((value & HIGH_HALF) << 16) | (value & LOW_HALF)
        x = ((x << 8) & SPREAD_8_HIGH) | (x & SPREAD_8_LOW)
        x = ((x << 4) & SPREAD_4_HIGH) | (x & SPREAD_4_LOW)
        x = x + ZEROS + (((x + SIXES) >> 4) & ONES) * 39
        if len(self.out) - at < 8:
            with cython.gil:
                raise IndexError("fill_messages: the buffer is too small")
        if cython.compiled:
            memcpy(cython.address(self.out[at]), cython.address(x), 8)  # type: ignore[name-defined]  # noqa: F821
        else:
            self.out[at : at + 8] = x.to_bytes(8, sys.byteorder)
        return 0

    def _random(self, key: cython.ulonglong, n: cython.int, alphabet: cython.int) -> int:
        """Append n characters of an alphabet; long runs take further hashes (key + 1,000,000 each)."""
        at: cython.Py_ssize_t = self.at
        value: cython.ulonglong = 0
        left: cython.int = 0
        i: cython.int
        self._room(n)
        while alphabet == HEX and n >= 8:
            if left == 0:
                value = mix(self.seed, self.dialog, key)
                key += 1000000
                left = 2
            self._hex8(at, value)
            value = value >> 32
            left -= 1
            at += 8
            n -= 8
        left = 0
        self.at = at + n
        for i in range(n):
            if left == 0:
                value = mix(self.seed, self.dialog, key)
                key += 1000000
                left = 16 if alphabet == HEX else 10 if alphabet == TOKEN else 18 if alphabet == DIGITS else 8
            left -= 1
            if alphabet == HEX:
                self.out[at + i] = self.letters[value & 15]
                value = value >> 4
            elif alphabet == TOKEN:
                self.out[at + i] = self.letters[16 + (value & 63)]
                value = value >> 6
            elif alphabet == DIGITS:
                self.out[at + i] = 48 + value % 10
                value = value // 10
            else:
                self.out[at + i] = value & 255
                value = value >> 8
        return 0

    def _pick(self, table: cython.int, key: cython.ulonglong) -> int:
        """Return the entry of a table that a hash points at. The last entry of a table only ends it."""
        first: cython.Py_ssize_t = self.table_start[table]
        size: cython.ulonglong = self.table_start[table + 1] - first - 1
        return first + cython.cast(cython.Py_ssize_t, mix(self.seed, self.dialog, key) % size)  # type: ignore[no-any-return]

    def _length(self, row: cython.Py_ssize_t, stop: cython.Py_ssize_t) -> int:
        """Sum up the octets that the rows row..stop - 1 will write (of those a body may have)."""
        total: cython.Py_ssize_t = 0
        entry: cython.Py_ssize_t
        i: cython.Py_ssize_t
        at: cython.Py_ssize_t
        op: cython.int
        size: cython.ulonglong
        for i in range(row, stop):
            at = i * WIDTH
            total += self.ops[at + 1]
            op = self.ops[at + 2]
            if op == RANDOM:
                total += self.ops[at + 4]
            elif op == PICK:
                entry = self._pick(self.ops[at + 3], self.ops[at + 4])
                total += self.entries[entry + 1] - self.entries[entry]
            elif op == NUMBER:
                size = self.ops[at + 4]
                total += digits_of(mix(self.seed, self.dialog, self.ops[at + 3]) % size + self.ops[at + 5])
        return total  # type: ignore[no-any-return]

    def _finish(self, row: cython.Py_ssize_t, stop: cython.Py_ssize_t) -> int:
        """Write what had to wait for the end of the message: sizes, then checksums over them.

        places holds a pair for each: the row, and the place in `out`.
        """
        total: cython.uint
        place: cython.Py_ssize_t
        i: cython.Py_ssize_t
        j: cython.Py_ssize_t
        at: cython.Py_ssize_t
        for i in range(row, stop, 2):
            at = self.places[i] * WIDTH
            place = self.places[i + 1]
            if self.ops[at + 2] == SIZE:
                self._integer(place, self.at - place + self.ops[at + 5], self.ops[at + 3], self.ops[at + 4])
            else:
                total = 0
                for j in range(place - 10, place + 10, 2):
                    total += (self.out[j] << 8) + self.out[j + 1]
                total = (total & 0xFFFF) + (total >> 16)
                total = (total & 0xFFFF) + (total >> 16)
                self._integer(place, 0xFFFF - total, 2, False)
        return 0

    def _message(self, row: cython.Py_ssize_t, stop: cython.Py_ssize_t, ts: cython.longlong) -> int:
        """Append one message."""
        op: cython.int
        a: cython.int
        b: cython.int
        entry: cython.Py_ssize_t
        i: cython.Py_ssize_t
        at: cython.Py_ssize_t
        width: cython.int
        size: cython.ulonglong
        waiting: cython.Py_ssize_t = 0
        for i in range(row, stop):
            at = i * WIDTH
            self._copy(self.ops[at], self.ops[at + 1])
            op = self.ops[at + 2]
            if op == NOTHING:
                continue
            a = self.ops[at + 3]
            b = self.ops[at + 4]
            if op == PICK:
                entry = self._pick(a, b)
                self._copy(self.entries[entry], self.entries[entry + 1] - self.entries[entry])
            elif op == RANDOM:
                self._random(a, b, self.ops[at + 5])
            elif op == NUMBER:
                size = b
                self._decimal(mix(self.seed, self.dialog, a) % size + self.ops[at + 5])
            elif op == BODY_LENGTH:
                self._decimal(self._length(row + a, stop))
            elif op == TIME:
                self._room(4)
                self._integer(self.at, ts % 1000000 if a else ts // 1000000, 4, b)
                self.at += 4
            else:
                width = a if op == SIZE else 2
                self._room(width)
                self._integer(self.at, 0, width, False)
                self.places[waiting] = i
                self.places[waiting + 1] = self.at
                waiting += 2
                self.at += width
        if waiting:
            self._finish(0, waiting)
        return 0

    def run(self, template: Any, dialog: Any, ts: Any, offsets: Any) -> int:
        """Write every message of the batch; return the octets written."""
        i: cython.Py_ssize_t
        t: cython.Py_ssize_t
        with cython.nogil:
            for i in range(template.shape[0]):
                t = template[i]
                offsets[i] = self.at
                self.dialog = dialog[i]
                self._message(self.template_start[t], self.template_start[t + 1], ts[i])
            offsets[template.shape[0]] = self.at
        return self.at


def fill_messages(
    ops: Any,
    template_start: Any,
    pool: Any,
    entries: Any,
    table_start: Any,
    seed: int,
    template: Any,
    dialog: Any,
    ts: Any,
    out: Any,
    offsets: Any,
) -> int:
    """Write one message for each row of template, dialog and ts; return the octets written.

    ops: int32, six for each row. template_start: int32, template t is rows start[t]..start[t + 1] - 1.
    pool: uint8, literals and the entries of tables; entry e is pool[entries[e]:entries[e + 1]], those of
    table t begin with table_start[t]; both int32.
    template: int32 (n), dialog: int64 (n), ts: int64 (n), microseconds. out: uint8, room for them all.
    offsets: int64 (n + 1), written. Raises IndexError where `out` is too small, or where a template
    names what is not there.
    """
    writer = Writer(ops, template_start, pool, entries, table_start, out, seed)
    views = (memoryview(array) for array in (template, dialog, ts, offsets))
    return int(writer.run(*views))
