"""Kernel: pseudonyms for names, numbers and addresses, written over what they stand for.

In: octets, which are written over, or binary addresses. Out: the same, as long as before. What can go wrong:
nothing; what is no address stays as it is. IndexError for a range outside the buffer is a bug of ours.

A pseudonym is drawn from SipHash-2-4 under a secret key (128 bits), so that it is the same for the same
value everywhere and at all times under one key, and cannot be turned back without it. A digit becomes a
digit and a letter a letter of the same case; an octet of an IPv4 address keeps its number of digits, a
group of an IPv6 address its number of hexadecimal digits, so that text and binary addresses agree. Left
alone are anonymous and its like, 0.0.0.0, ::, and loopback addresses.
"""

from typing import Any, Final

import cython
import numpy as np
import numpy.typing as npt

if not cython.compiled:  # compiled, pseudonyms.pxd has them inline
    from hepcat.plans.octets import hex_value, is_alnum, is_digit

Array = npt.NDArray[Any]

ALL = cython.declare(cython.ulonglong, 0xFFFFFFFFFFFFFFFF)
GOLDEN = cython.declare(cython.ulonglong, 0x9E3779B97F4A7C15)
#: Constants of SipHash, and of splitmix64.
SIP0 = cython.declare(cython.ulonglong, 0x736F6D6570736575)
SIP1 = cython.declare(cython.ulonglong, 0x646F72616E646F6D)
SIP2 = cython.declare(cython.ulonglong, 0x6C7967656E657261)
SIP3 = cython.declare(cython.ulonglong, 0x7465646279746573)
DRAW0 = cython.declare(cython.ulonglong, 0xBF58476D1CE4E5B9)
DRAW1 = cython.declare(cython.ulonglong, 0x94D049BB133111EB)

#: Users that are no names (RFC 3323 section 4.1.1.3, and what gateways write).
KEPT: Final = b"anonymous\0unavailable\0unknown\0restricted\0"


def view(array: Array) -> Any:
    """Return what the loops index: the array, or uncompiled a view that gives plain integers."""
    array = np.ascontiguousarray(array)
    if array.dtype == np.bool_:
        array = array.view(np.uint8)
    return array if cython.compiled else memoryview(array)  # type: ignore[arg-type]


def octets_view(text: bytes) -> Any:
    return view(np.frombuffer(text, dtype=np.uint8))


class Pseudonyms:
    """One run over octets, which are written over."""

    def __init__(self, data: Any, key0: int, key1: int) -> None:
        self.data = data
        self.key0 = key0
        self.key1 = key1
        self.v0 = self.v1 = self.v2 = self.v3 = self.state = 0
        self.kept = octets_view(KEPT)
        self.group_at = view(np.zeros(10, dtype=np.int64))
        self.group_digits = view(np.zeros(10, dtype=np.int64))
        self.group_value = view(np.zeros(10, dtype=np.int64))
        self.octets = view(np.zeros(16, dtype=np.uint8))
        self.after = 0

    def run_text(self, at: Any, size: Any, mask: Any) -> cython.int:
        """Write over the addresses in any text."""
        row: cython.Py_ssize_t
        lo: cython.Py_ssize_t
        with cython.nogil:
            for row in range(mask.shape[0]):
                if mask[row] and size[row] > 0:
                    lo = cython.cast(cython.Py_ssize_t, at[row])
                    self.addresses(lo, lo + cython.cast(cython.Py_ssize_t, size[row]))
        return 0

    def run_columns(self, address: Any, mask: Any) -> cython.int:
        """Write over binary addresses, (n, 16), IPv4 as ::ffff:a.b.c.d."""
        row: cython.Py_ssize_t
        i: cython.Py_ssize_t
        mapped: cython.bint
        with cython.nogil:
            for row in range(mask.shape[0]):
                if mask[row] == 0:
                    continue
                mapped = address[row, 10] == 0xFF and address[row, 11] == 0xFF
                for i in range(10):
                    mapped = mapped and address[row, i] == 0
                if mapped:
                    for i in range(4):
                        self.octets[i] = address[row, 12 + i]
                    self.new_ipv4()
                    for i in range(4):
                        address[row, 12 + i] = self.octets[i]
                else:
                    for i in range(16):
                        self.octets[i] = address[row, i]
                    self.new_ipv6()
                    for i in range(16):
                        address[row, i] = self.octets[i]
        return 0

    # ---- SipHash-2-4 (Aumasson and Bernstein, 2012), and draws from it

    def hash_round(self) -> cython.int:
        self.v0 = (self.v0 + self.v1) & ALL
        self.v1 = ((self.v1 << 13) | (self.v1 >> 51)) & ALL
        self.v1 ^= self.v0
        self.v0 = ((self.v0 << 32) | (self.v0 >> 32)) & ALL
        self.v2 = (self.v2 + self.v3) & ALL
        self.v3 = ((self.v3 << 16) | (self.v3 >> 48)) & ALL
        self.v3 ^= self.v2
        self.v0 = (self.v0 + self.v3) & ALL
        self.v3 = ((self.v3 << 21) | (self.v3 >> 43)) & ALL
        self.v3 ^= self.v0
        self.v2 = (self.v2 + self.v1) & ALL
        self.v1 = ((self.v1 << 17) | (self.v1 >> 47)) & ALL
        self.v1 ^= self.v2
        self.v2 = ((self.v2 << 32) | (self.v2 >> 32)) & ALL
        return 0

    def hash_begin(self) -> cython.int:
        self.v0 = self.key0 ^ SIP0
        self.v1 = self.key1 ^ SIP1
        self.v2 = self.key0 ^ SIP2
        self.v3 = self.key1 ^ SIP3
        return 0

    def hash_word(self, word: cython.ulonglong) -> cython.int:
        self.v3 ^= word
        self.hash_round()
        self.hash_round()
        self.v0 ^= word
        return 0

    def hash_end(self, word: cython.ulonglong) -> cython.int:
        """Take in the last word, which holds the length, and set `state` that draws come from."""
        self.hash_word(word)
        self.v2 ^= 0xFF
        self.hash_round()
        self.hash_round()
        self.hash_round()
        self.hash_round()
        self.state = self.v0 ^ self.v1 ^ self.v2 ^ self.v3
        return 0

    def hash_token(self, lo: cython.Py_ssize_t, hi: cython.Py_ssize_t) -> cython.int:
        """Hash the letters and digits of a token, in small letters: +49 30 and 4930 are one number."""
        word: cython.ulonglong = 0
        count: cython.ulonglong = 0
        c: cython.int
        i: cython.Py_ssize_t
        self.hash_begin()
        for i in range(lo, hi):
            c = self.data[i]
            if 65 <= c <= 90:
                c += 32
            if not is_alnum(c) and c < 0x80:
                continue
            word |= cython.cast(cython.ulonglong, c) << ((count & 7) * 8)
            count += 1
            if count & 7 == 0:
                self.hash_word(word)
                word = 0
        self.hash_end(word | ((count & 0xFF) << 56))
        return 0

    def hash_octets(self, count: cython.Py_ssize_t) -> cython.int:
        """Hash octets[:count]; count: a multiple of four."""
        word: cython.ulonglong = 0
        i: cython.Py_ssize_t
        self.hash_begin()
        for i in range(count):
            word |= cython.cast(cython.ulonglong, self.octets[i]) << ((i & 7) * 8)
            if i & 7 == 7:
                self.hash_word(word)
                word = 0
        self.hash_end(word | (cython.cast(cython.ulonglong, count) << 56))
        return 0

    def draw(self, bound: cython.ulonglong) -> cython.ulonglong:
        """The next number below bound. (splitmix64: the stream tells nothing of the key)."""
        self.state = (self.state + GOLDEN) & ALL
        value: cython.ulonglong = self.state
        value = ((value ^ (value >> 30)) * DRAW0) & ALL
        value = ((value ^ (value >> 27)) * DRAW1) & ALL
        return (value ^ (value >> 31)) % bound

    # ---- tokens

    def is_kept(self, lo: cython.Py_ssize_t, hi: cython.Py_ssize_t) -> cython.bint:
        """Whether a token is one of the words that name nobody."""
        i: cython.Py_ssize_t = 0
        k: cython.Py_ssize_t
        while i < self.kept.shape[0]:
            k = 0
            while self.kept[i + k] != 0 and lo + k < hi and (self.data[lo + k] | 0x20) == self.kept[i + k]:
                k += 1
            if self.kept[i + k] == 0 and lo + k == hi:
                return True
            while self.kept[i] != 0:
                i += 1
            i += 1
        return False

    def scramble(self, lo: cython.Py_ssize_t, hi: cython.Py_ssize_t) -> cython.int:
        """Write a pseudonym over a token. Escapes (%2B) and everything but letters and digits stays."""
        c: cython.int
        if lo >= hi or self.is_kept(lo, hi):
            return 0
        self.hash_token(lo, hi)
        while lo < hi:
            c = self.data[lo]
            if c == 37:  # %
                lo += 3
                continue
            if is_digit(c):
                self.data[lo] = cython.cast(cython.uchar, 48 + self.draw(10))
            elif c >= 0x80 or 97 <= c <= 122:
                self.data[lo] = cython.cast(cython.uchar, 97 + self.draw(26))
            elif 65 <= c <= 90:
                self.data[lo] = cython.cast(cython.uchar, 65 + self.draw(26))
            lo += 1
        return 0

    def digit_runs(self, lo: cython.Py_ssize_t, hi: cython.Py_ssize_t) -> cython.int:
        """Write over what looks like a number: three digits and more."""
        end: cython.Py_ssize_t
        while lo < hi:
            end = lo
            while end < hi and is_digit(self.data[end]):
                end += 1
            if end - lo >= 3:
                self.scramble(lo, end)
            lo = end + 1
        return 0

    # ---- addresses as text

    def addresses(self, lo: cython.Py_ssize_t, hi: cython.Py_ssize_t) -> cython.int:
        """Every address that stands as text."""
        pos: cython.Py_ssize_t = lo
        c: cython.int
        before: cython.int
        while pos < hi:
            c = self.data[pos]
            if c != 58 and not is_alnum(c):
                pos += 1
                continue
            before = self.data[pos - 1] if pos > lo else 32
            if is_alnum(before):
                if is_digit(before) or not is_digit(c):
                    pos += 1  # within a word
                    continue
            elif before != 58 and (c == 58 or hex_value(c) >= 0) and self.ipv6(pos, hi):
                pos = self.after
                continue
            if is_digit(c):
                if before == 46 and pos - 1 > lo and is_digit(self.data[pos - 2]):
                    pos += 1
                    continue
                if self.ipv4(self.last_octet(pos, hi), hi):
                    self.put_ipv4()
                    pos = self.after
                    continue
            pos += 1
        return 0

    def last_octet(self, lo: cython.Py_ssize_t, hi: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """Where an address can begin in a run of digits: some hang it behind another number."""
        end: cython.Py_ssize_t = lo
        while end < hi and is_digit(self.data[end]):
            end += 1
        if end - lo <= 3:
            return lo
        if (self.data[end - 3] - 48) * 100 + (self.data[end - 2] - 48) * 10 + self.data[end - 1] - 48 <= 255:
            return end - 3
        return end - 2

    def ipv4(self, lo: cython.Py_ssize_t, hi: cython.Py_ssize_t) -> cython.bint:
        """Read a dotted address into groups and octets; `after` is behind it."""
        i: cython.Py_ssize_t
        value: cython.int
        first: cython.Py_ssize_t
        for i in range(4):
            first = lo
            value = 0
            while lo < hi and lo - first < 3 and is_digit(self.data[lo]):
                value = value * 10 + self.data[lo] - 48
                lo += 1
            if lo == first or value > 255:
                return False
            self.group_at[i] = first
            self.group_digits[i] = lo - first
            self.octets[i] = cython.cast(cython.uchar, value)
            if i < 3:
                if lo >= hi or self.data[lo] != 46:
                    return False
                lo += 1
        if lo < hi and is_digit(self.data[lo]):
            return False
        if lo + 1 < hi and self.data[lo] == 46 and is_digit(self.data[lo + 1]):
            return False  # 1.2.3.4.5 is a version
        self.after = lo
        return True

    def put_ipv4(self) -> cython.int:
        """Write the pseudonym of octets[:4] over the groups."""
        i: cython.Py_ssize_t
        at: cython.Py_ssize_t
        value: cython.int
        self.new_ipv4()
        for i in range(4):
            value = self.octets[i]
            at = cython.cast(cython.Py_ssize_t, self.group_at[i] + self.group_digits[i])
            while at > self.group_at[i]:
                at -= 1
                self.data[at] = cython.cast(cython.uchar, 48 + value % 10)
                value //= 10
        return 0

    def ipv6(self, lo: cython.Py_ssize_t, hi: cython.Py_ssize_t) -> cython.bint:
        """Read an address (RFC 4291 section 2.2) and write its pseudonym over it; `after` is behind it."""
        count: cython.Py_ssize_t = 0
        gap: cython.Py_ssize_t = -1
        value: cython.int
        first: cython.Py_ssize_t
        dotted: cython.bint = False
        if lo + 1 < hi and self.data[lo] == 58:
            if self.data[lo + 1] != 58:
                return False
            gap = 0
            lo += 2
        while count < 8 and lo < hi and hex_value(self.data[lo]) >= 0:
            first = lo
            value = 0
            while lo < hi and lo - first < 4 and hex_value(self.data[lo]) >= 0:
                value = value * 16 + hex_value(self.data[lo])
                lo += 1
            if lo < hi and self.data[lo] == 46 and count > 0 and count <= 6:
                dotted = True  # the last 32 bits as an IPv4 address
                lo = first
                break
            self.group_at[count] = first
            self.group_digits[count] = lo - first
            self.group_value[count] = value
            count += 1
            if lo + 1 < hi and self.data[lo] == 58 and self.data[lo + 1] == 58:
                if gap >= 0:
                    return False
                gap = count
                lo += 2
            elif lo + 1 < hi and self.data[lo] == 58 and hex_value(self.data[lo + 1]) >= 0:
                lo += 1
            else:
                break
        if dotted:
            return self.mapped_address(lo, hi, count, gap)
        if (count != 8 if gap < 0 else count >= 8) or count == 0:
            return False
        if lo < hi and (is_alnum(self.data[lo]) or self.data[lo] == 58):
            return False
        self.after = lo
        self.put_ipv6(count, gap)
        return True

    def put_ipv6(self, count: cython.Py_ssize_t, gap: cython.Py_ssize_t) -> cython.int:
        """Write the pseudonym of the groups over them."""
        i: cython.Py_ssize_t
        at: cython.Py_ssize_t
        place: cython.Py_ssize_t
        value: cython.int
        for i in range(16):
            self.octets[i] = 0
        for i in range(count):
            place = i if gap < 0 or i < gap else i + 8 - count
            self.octets[2 * place] = cython.cast(cython.uchar, self.group_value[i] >> 8)
            self.octets[2 * place + 1] = cython.cast(cython.uchar, self.group_value[i] & 0xFF)
        self.new_ipv6()
        for i in range(count):
            place = i if gap < 0 or i < gap else i + 8 - count
            value = (self.octets[2 * place] << 8) | self.octets[2 * place + 1]
            at = cython.cast(cython.Py_ssize_t, self.group_at[i] + self.group_digits[i])
            while at > self.group_at[i]:
                at -= 1
                self.data[at] = cython.cast(
                    cython.uchar, 48 + value % 16 if value % 16 < 10 else 87 + value % 16
                )
                value //= 16
        return 0

    def mapped_address(
        self, lo: cython.Py_ssize_t, hi: cython.Py_ssize_t, count: cython.Py_ssize_t, gap: cython.Py_ssize_t
    ) -> cython.bint:
        """An address whose last 32 bits are dotted: those become what the IPv4 address becomes."""
        if (count != 6 if gap < 0 else count > 5) or not self.ipv4(lo, hi):
            return False
        self.put_ipv4()
        return True

    # ---- addresses as octets

    def new_ipv4(self) -> cython.int:
        """The pseudonym of octets[:4]: each octet keeps its number of digits, the whole stays unicast."""
        i: cython.Py_ssize_t
        value: cython.int
        bound: cython.int
        if self.octets[0] == 0 or self.octets[0] == 127:
            return 0
        self.hash_octets(4)
        for i in range(4):
            value = self.octets[i]
            if value < 10:
                value = (
                    cython.cast(cython.int, self.draw(9) + 1)
                    if i == 0
                    else cython.cast(cython.int, self.draw(10))
                )
            elif value < 100:
                value = cython.cast(cython.int, self.draw(90)) + 10
            else:
                bound = 124 if i == 0 else 156  # below 224: no multicast
                value = cython.cast(cython.int, self.draw(bound)) + 100
                if i == 0 and value == 127:
                    value = 128
            self.octets[i] = cython.cast(cython.uchar, value)
        return 0

    def new_ipv6(self) -> cython.int:
        """The pseudonym of octets: each group keeps its number of digits, and zeros stay zeros."""
        i: cython.Py_ssize_t
        value: cython.int
        low: cython.int
        rest: cython.int = 0
        for i in range(15):
            rest |= self.octets[i]
        if rest == 0 and self.octets[15] <= 1:  # :: and ::1
            return 0
        self.hash_octets(16)
        for i in range(8):
            value = (self.octets[2 * i] << 8) | self.octets[2 * i + 1]
            if value == 0:
                continue
            low = 1
            while low * 16 <= value:
                low *= 16
            value = low + cython.cast(cython.int, self.draw(cython.cast(cython.ulonglong, low * 15)))
            self.octets[2 * i] = cython.cast(cython.uchar, value >> 8)
            self.octets[2 * i + 1] = cython.cast(cython.uchar, value & 0xFF)
        return 0


def halves(key: bytes) -> tuple[int, int]:
    """Return a key as the two numbers that SipHash takes. Raises ValueError unless it has 16 octets."""
    if len(key) != 16:
        raise ValueError("a key of pseudonyms has 16 octets")
    return int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")


def scramble_text(data: Array, at: Array, size: Array, mask: Array, key: bytes) -> None:
    """Write pseudonyms over the addresses in texts data[at:at + size], in place."""
    if len(mask) and len(data):
        Pseudonyms(view(data), *halves(key)).run_text(view(at), view(size), view(mask))


def scramble_columns(address: Array, mask: Array, key: bytes) -> None:
    """Write pseudonyms over binary addresses (n, 16), IPv4 as ::ffff:a.b.c.d, in place."""
    if len(mask):
        nothing = np.zeros(1, dtype=np.uint8)
        Pseudonyms(view(nothing), *halves(key)).run_columns(view(address), view(mask))
