"""Kernel: SIP messages with other headers, or with pseudonyms for numbers, names, addresses and SDP.

In: octets of messages and the rows to change. Out: new octets; for pseudonyms the same octets, written
over, for a pseudonym is as long as what it stands for: Content-Length, offsets and the syntax stay right.
What can go wrong: nothing; whatever does not look like a message, a URI or an address stays as it is.

A pseudonym is drawn from SipHash-2-4 under a secret key (128 bits), so that it is the same for the same
value everywhere and at all times under one key, and cannot be turned back without it. A digit becomes a
digit and a letter a letter of the same case; an octet of an IPv4 address keeps its number of digits, a
group of an IPv6 address its number of hexadecimal digits, so that text and binary addresses agree. The
names of hosts are left alone, and so are anonymous, 0.0.0.0, ::, and loopback addresses.
"""

from typing import Any, Final

import cython
import numpy as np
import numpy.typing as npt

if not cython.compiled:  # compiled, rewrite.pxd cimports them
    from hepcat.plans.match import _find, _named

Array = npt.NDArray[Any]

#: What is replaced, as bits.
NUMBERS: Final = 1
ADDRESSES: Final = 2
SDP: Final = 4

_NUMBERS = cython.declare(cython.int, 1)
_ADDRESSES = cython.declare(cython.int, 2)
_SDP = cython.declare(cython.int, 4)
ALL = cython.declare(cython.ulonglong, 0xFFFFFFFFFFFFFFFF)
GOLDEN = cython.declare(cython.ulonglong, 0x9E3779B97F4A7C15)
#: Constants of SipHash, and of splitmix64.
SIP0 = cython.declare(cython.ulonglong, 0x736F6D6570736575)
SIP1 = cython.declare(cython.ulonglong, 0x646F72616E646F6D)
SIP2 = cython.declare(cython.ulonglong, 0x6C7967656E657261)
SIP3 = cython.declare(cython.ulonglong, 0x7465646279746573)
DRAW0 = cython.declare(cython.ulonglong, 0xBF58476D1CE4E5B9)
DRAW1 = cython.declare(cython.ulonglong, 0x94D049BB133111EB)
#: The longest URI that is looked at; one that is longer is no address of a person.
MAX_URI = cython.declare(cython.Py_ssize_t, 2048)

#: Users that are no names (RFC 3323 section 4.1.1.3, and what gateways write).
KEPT: Final = b"anonymous\0unavailable\0unknown\0restricted\0"
#: Headers with an address in front of which a display name may stand; then those that are text.
ADDRESS_HEADERS: Final = (
    b"from f to t contact m p-asserted-identity p-preferred-identity remote-party-id diversion referred-by b "
    b"refer-to r history-info p-called-party-id reply-to p-associated-uri"
).split()
TEXT_HEADERS: Final = b"subject s organization".split()
CREDENTIALS: Final = b"authorization proxy-authorization".split()
#: SDP attributes that are secrets.
SECRETS: Final = b"a=crypto: a=ice-pwd: a=key-mgmt:".split()

_NAMES: Final = (*ADDRESS_HEADERS, *TEXT_HEADERS, *CREDENTIALS, *SECRETS)
_TEXT_FROM = cython.declare(cython.Py_ssize_t, len(ADDRESS_HEADERS))
_CREDENTIALS_FROM = cython.declare(cython.Py_ssize_t, len(ADDRESS_HEADERS) + len(TEXT_HEADERS))
_SECRETS_FROM = cython.declare(cython.Py_ssize_t, len(ADDRESS_HEADERS) + len(TEXT_HEADERS) + len(CREDENTIALS))
_ALL_NAMES = cython.declare(cython.Py_ssize_t, len(_NAMES))


def _view(array: Array) -> Any:
    """Return what the loops index: the array, or uncompiled a view that gives plain integers."""
    array = np.ascontiguousarray(array)
    if array.dtype == np.bool_:
        array = array.view(np.uint8)
    return array if cython.compiled else memoryview(array)  # type: ignore[arg-type]


def _octets(text: bytes) -> Any:
    return _view(np.frombuffer(text, dtype=np.uint8))


# ---- headers


class HeaderEditor:
    """One run over messages: takes out a header, or sets it."""

    def __init__(self, data: Any, name: Any, compact: Any, line: Any, out: Any) -> None:
        self.data = data
        self.name = name
        self.compact = compact
        self.line = line
        self.out = out
        self.used = 0
        self.placed = self.found = False

    def run(self, at: Any, size: Any, mask: Any, out_at: Any, out_size: Any) -> cython.int:
        """Edit the messages; out_at stays -1 where a message has nothing to edit."""
        row: cython.Py_ssize_t
        before: cython.Py_ssize_t
        lo: cython.Py_ssize_t
        with cython.nogil:
            for row in range(mask.shape[0]):
                if mask[row] == 0:
                    continue
                before = self.used
                lo = cython.cast(cython.Py_ssize_t, at[row])
                self.edit(lo, lo + cython.cast(cython.Py_ssize_t, size[row]))
                if self.found or self.placed:
                    out_at[row] = before
                    out_size[row] = self.used - before
                else:
                    self.used = before
        return 0

    def copy(self, source: Any, lo: cython.Py_ssize_t, hi: cython.Py_ssize_t) -> cython.int:
        """Append octets, after checking both ranges."""
        if hi <= lo:
            return 0
        if lo < 0 or hi > source.shape[0] or self.used + (hi - lo) > self.out.shape[0]:
            with cython.gil:
                raise IndexError("slice outside its buffer")
        if cython.compiled:
            memcpy(  # type: ignore[name-defined]  # noqa: F821 (rewrite.pxd)
                cython.address(self.out[self.used]),
                cython.address(source[lo]),
                cython.cast(cython.size_t, hi - lo),
            )
        else:
            self.out[self.used : self.used + hi - lo] = bytes(source[lo:hi])
        self.used += hi - lo
        return 0

    def edit(self, lo: cython.Py_ssize_t, hi: cython.Py_ssize_t) -> cython.int:
        """Copy a message without the header; the new line goes where it stood first, else at the end."""
        pos: cython.Py_ssize_t = min(_find(self.data, 10, lo, hi) + 1, hi)  # behind the start line
        end: cython.Py_ssize_t
        named: cython.bint
        self.placed = self.found = False
        self.copy(self.data, lo, pos)
        while pos < hi:
            end = min(_find(self.data, 10, pos, hi) + 1, hi)
            if self.data[pos] == 10 or (self.data[pos] == 13 and end == pos + 2):
                if not self.placed and self.line.shape[0] > 0:
                    self.copy(self.line, 0, self.line.shape[0])
                    self.placed = True
                self.copy(self.data, pos, hi)
                return 0
            while end < hi and (self.data[end] == 32 or self.data[end] == 9):  # folded lines
                end = min(_find(self.data, 10, end, hi) + 1, hi)
            named = _named(self.data, pos, end, self.name) > 0
            if not named:
                named = _named(self.data, pos, end, self.compact) > 0
            if not named:
                self.copy(self.data, pos, end)
            else:
                self.found = True
                if not self.placed and self.line.shape[0] > 0:
                    self.copy(self.line, 0, self.line.shape[0])
                    self.placed = True
            pos = end
        return 0


def edit_headers(
    data: Array, at: Array, size: Array, mask: Array, name: str, compact: str, line: bytes
) -> tuple[Array, Array, Array]:
    """Take a header out of messages, every line of it; or, with `line` (its CRLF included), set it.

    data[at:at + size]: messages, int64. name, compact: the header's long and one-letter form. Returns
    (octets, offset, length); offset -1 where nothing changed: the header was not there to be taken out, or
    the message's headers do not end.
    """
    out_at = np.full(len(mask), -1, dtype=np.int64)
    out_size = np.zeros(len(mask), dtype=np.int64)
    count = int(np.count_nonzero(mask))
    if not count:
        return np.empty(0, dtype=np.uint8), out_at, out_size
    out = np.empty(int(size[mask].sum()) + count * len(line), dtype=np.uint8)
    editor = HeaderEditor(
        _view(data),
        _octets(name.lower().encode()),
        _octets(compact.lower().encode()),
        _octets(line),
        _view(out),
    )
    editor.run(_view(at), _view(size), _view(mask), _view(out_at), _view(out_size))
    return out, out_at, out_size


# ---- pseudonyms


class Scrambler:
    """One run over messages, which are written over."""

    def __init__(self, data: Any, key0: int, key1: int) -> None:
        self.data = data
        self.key0 = key0
        self.key1 = key1
        self.v0 = self.v1 = self.v2 = self.v3 = self.state = 0
        self.kept = _octets(KEPT)
        self.names = _octets(b"".join(_NAMES))
        self.name_at = _view(np.cumsum([0, *(len(name) for name in _NAMES)]).astype(np.int64))
        self.username = _octets(b"username")
        self.group_at = _view(np.zeros(10, dtype=np.int64))
        self.group_digits = _view(np.zeros(10, dtype=np.int64))
        self.group_value = _view(np.zeros(10, dtype=np.int64))
        self.octets = _view(np.zeros(16, dtype=np.uint8))
        self.after = 0
        self.loose = False  # quotes of this header do not pair when escapes are minded

    def run(self, at: Any, size: Any, mask: Any, what: cython.int) -> cython.int:
        """Write over SIP messages. what: bits NUMBERS, ADDRESSES, SDP."""
        row: cython.Py_ssize_t
        lo: cython.Py_ssize_t
        with cython.nogil:
            for row in range(mask.shape[0]):
                if mask[row] and size[row] > 0:
                    lo = cython.cast(cython.Py_ssize_t, at[row])
                    self.message(lo, lo + cython.cast(cython.Py_ssize_t, size[row]), what)
        return 0

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

    def message(self, lo: cython.Py_ssize_t, hi: cython.Py_ssize_t, what: cython.int) -> cython.int:
        """One message."""
        body: cython.Py_ssize_t = self.body_of(lo, hi)
        if what & _NUMBERS:
            self.numbers(lo, body, hi)
        if what & _SDP:
            self.sdp(body, hi)
        if what & _ADDRESSES:
            self.addresses(lo, hi)
        elif what & _SDP:
            self.addresses(body, hi)
        return 0

    def body_of(self, lo: cython.Py_ssize_t, hi: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """Where the body begins; hi where there is none."""
        while lo < hi:
            lo = _find(self.data, 10, lo, hi) + 1
            if lo < hi and self.data[lo] == 10:
                return lo + 1
            if lo + 1 < hi and self.data[lo] == 13 and self.data[lo + 1] == 10:
                return lo + 2
        return hi

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
            if not self.is_alnum(c) and c < 0x80:
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

    def is_digit(self, octet: cython.int) -> cython.bint:
        return 48 <= octet <= 57

    def is_alnum(self, octet: cython.int) -> cython.bint:
        return 48 <= octet <= 57 or 65 <= octet <= 90 or 97 <= octet <= 122

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
            if self.is_digit(c):
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
            while end < hi and self.is_digit(self.data[end]):
                end += 1
            if end - lo >= 3:
                self.scramble(lo, end)
            lo = end + 1
        return 0

    # ---- numbers and names

    def numbers(self, lo: cython.Py_ssize_t, body: cython.Py_ssize_t, hi: cython.Py_ssize_t) -> cython.int:
        """Users of URIs anywhere, display names, names in credentials, and headers that are free text."""
        pos: cython.Py_ssize_t = min(_find(self.data, 10, lo, body) + 1, body)
        end: cython.Py_ssize_t
        self.uris(lo, pos, True)
        while pos < body:
            end = min(_find(self.data, 10, pos, body) + 1, body)
            while end < body and (self.data[end] == 32 or self.data[end] == 9):  # folded lines
                end = min(_find(self.data, 10, end, body) + 1, body)
            self.header(pos, end)
            pos = end
        self.uris(body, hi, False)
        return 0

    def header(self, lo: cython.Py_ssize_t, hi: cython.Py_ssize_t) -> cython.int:
        """One header with its folded lines."""
        i: cython.Py_ssize_t
        value: cython.Py_ssize_t = 0
        for i in range(_SECRETS_FROM):
            if (self.data[lo] | 0x20) != self.names[self.name_at[i]]:
                continue
            value = _named(self.data, lo, hi, self.names[self.name_at[i] : self.name_at[i + 1]])
            if value > 0:
                break
        if value > 0:
            if i < _TEXT_FROM:
                self.display(value, hi)
            elif i < _CREDENTIALS_FROM:
                self.scramble(value, hi)
                return 0
            else:
                self.credentials(value, hi)
        return self.uris(lo, hi, False)

    def display(self, lo: cython.Py_ssize_t, hi: cython.Py_ssize_t) -> cython.int:
        """Names in front of <, and whatever stands in quotes (RFC 3261 section 25.1: name-addr)."""
        first: cython.Py_ssize_t = lo  # of the piece that may be a name
        c: cython.int
        self.loose = False
        while lo < hi:
            c = self.data[lo]
            if c == 34:  # "
                lo = self.quoted(lo, hi)
                first = lo
                continue
            if c == 60:  # <
                self.scramble(first, lo)
                lo = _find(self.data, 62, lo, hi)
                first = hi
            elif c == 44:  # , begins the next address
                first = lo + 1
            lo += 1
        return 0

    def quoted(self, at: cython.Py_ssize_t, hi: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """Write over a quoted string; return the octet after it."""
        end: cython.Py_ssize_t = at + 1
        if not self.loose:
            while end < hi and self.data[end] != 34:
                end += 2 if self.data[end] == 92 else 1
            self.loose = end >= hi  # it does not end: some escape the quotes themselves
        if self.loose:
            end = _find(self.data, 34, at + 1, hi)
            if end == hi:
                return at + 1
        self.scramble(at + 1, end)
        return end + 1

    def credentials(self, lo: cython.Py_ssize_t, hi: cython.Py_ssize_t) -> cython.int:
        """username="..." up to an @ (RFC 3261 section 22.4)."""
        end: cython.Py_ssize_t
        while lo < hi:
            lo = _find(self.data, 61, lo, hi)  # =
            if lo + 1 >= hi or self.data[lo + 1] != 34:
                lo += 1
                continue
            end = _find(self.data, 34, lo + 2, hi)
            if lo >= 8 and _named_before(self.data, lo, self.username):
                self.scramble(lo + 2, _find(self.data, 64, lo + 2, end))
            lo = min(end + 1, hi)
        return 0

    def uris(self, lo: cython.Py_ssize_t, hi: cython.Py_ssize_t, whole: cython.bint) -> cython.int:
        """Every sip, sips and tel URI. whole: one stands alone, so that ; and , belong to it."""
        colon: cython.Py_ssize_t
        size: cython.int
        bracketed: cython.bint
        pos: cython.Py_ssize_t = lo
        while pos < hi:
            colon = _find(self.data, 58, pos, hi)
            if colon == hi:
                return 0
            size = self.scheme(lo, colon)
            pos = colon + 1
            if size == 0:
                continue
            bracketed = whole or (colon - size > lo and self.data[colon - size - 1] == 60)
            if size == 3 and (self.data[colon - 1] | 0x20) == 108:  # tel
                pos = self.tel_uri(pos, hi)
            else:
                pos = self.sip_uri(pos, hi, bracketed)
        return 0

    def scheme(self, lo: cython.Py_ssize_t, colon: cython.Py_ssize_t) -> cython.int:
        """The length of sip, sips or tel before a colon, 0 where something else stands there."""
        size: cython.int
        a: cython.int
        b: cython.int
        c: cython.int
        for size in range(3, 5):
            if colon - size < lo or (colon - size > lo and self.is_alnum(self.data[colon - size - 1])):
                continue
            a = self.data[colon - size] | 0x20
            b = self.data[colon - size + 1] | 0x20
            c = self.data[colon - size + 2] | 0x20
            if a == 115 and b == 105 and c == 112 and (size == 3 or (self.data[colon - 1] | 0x20) == 115):
                return size
            if size == 3 and a == 116 and b == 101 and c == 108:
                return size
        return 0

    def sip_uri(
        self, at: cython.Py_ssize_t, hi: cython.Py_ssize_t, bracketed: cython.bint
    ) -> cython.Py_ssize_t:
        """Write over the user of a SIP URI (RFC 3261 section 19.1.1); return where to go on."""
        end: cython.Py_ssize_t = at
        whole: cython.Py_ssize_t
        user: cython.Py_ssize_t = -1  # where the @ stands
        c: cython.int
        hi = min(hi, at + MAX_URI)
        while end < hi:
            c = self.data[end]
            if c <= 32 or c == 60 or c == 62 or c == 34:  # space, <, >, quote
                break
            if not bracketed and user < 0 and (c == 59 or c == 44 or c == 63):  # ; , ?
                break
            if c == 64 and user < 0:
                user = end
                break
            end += 1
        if user < 0:  # a host alone; some write a number there
            whole = end
            end = at
            while end < hi and (
                self.is_digit(self.data[end]) or self.data[end] == 43 or self.data[end] == 45
            ):
                end += 1
            if end == hi or not (
                self.data[end] == 46 or self.data[end] == 91 or self.is_alnum(self.data[end])
            ):
                self.scramble(at, end)
            return whole
        end = at
        while end < user and self.data[end] != 58 and self.data[end] != 59:
            end += 1
        self.scramble(at, end)
        if end < user:
            if self.data[end] == 58:
                self.scramble(end + 1, user)  # a password
            else:
                self.digit_runs(end + 1, user)  # parameters of a number: ;phone-context=+49
        return user + 1

    def tel_uri(self, at: cython.Py_ssize_t, hi: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """Write over the number of a tel URI (RFC 3966), and numbers in its parameters."""
        end: cython.Py_ssize_t = at
        c: cython.int
        last: cython.Py_ssize_t
        hi = min(hi, at + MAX_URI)
        while end < hi:
            c = self.data[end]
            if c <= 32 or c == 59 or c == 44 or c == 60 or c == 62 or c == 34 or c == 63:
                break
            end += 1
        self.scramble(at, end)
        last = end
        while last < hi:
            c = self.data[last]
            if c <= 32 or c == 44 or c == 60 or c == 62 or c == 34:
                break
            last += 1
        self.digit_runs(end, last)
        return last

    # ---- SDP

    def begins(self, lo: cython.Py_ssize_t, hi: cython.Py_ssize_t, name: cython.Py_ssize_t) -> cython.bint:
        """Whether a line begins with a name of the list."""
        i: cython.Py_ssize_t
        at: cython.Py_ssize_t = cython.cast(cython.Py_ssize_t, self.name_at[name])
        size: cython.Py_ssize_t = cython.cast(cython.Py_ssize_t, self.name_at[name + 1]) - at
        if hi - lo < size:
            return False
        for i in range(size):  # noqa: SIM110 (a closure would need the GIL)
            if self.data[lo + i] != self.names[at + i]:
                return False
        return True

    def sdp(self, lo: cython.Py_ssize_t, hi: cython.Py_ssize_t) -> cython.int:
        """Lines of session descriptions: from v=0 up to an empty line (a part of a multipart ends so)."""
        end: cython.Py_ssize_t
        inside: cython.bint = False
        while lo < hi:
            end = _find(self.data, 10, lo, hi)
            if hi - lo >= 3 and self.data[lo] == 118 and self.data[lo + 1] == 61:  # v=
                inside = True
            elif end - lo <= 1:
                inside = False
            elif inside:
                self.sdp_line(lo, end)
            lo = end + 1
        return 0

    def sdp_line(self, lo: cython.Py_ssize_t, hi: cython.Py_ssize_t) -> cython.int:
        """Who and what a line names (RFC 8866 sections 5.2 to 5.6, 5.12), and secrets in attributes."""
        kind: cython.int = self.data[lo]
        i: cython.Py_ssize_t
        if self.data[lo + 1] != 61:
            return 0
        if kind == 111:  # o=<username> ...
            self.scramble(lo + 2, _find(self.data, 32, lo + 2, hi))
        elif kind == 115 or kind == 105 or kind == 117 or kind == 101 or kind == 112 or kind == 107:
            self.scramble(lo + 2, hi)  # s= i= u= e= p= k=
        elif kind == 97:
            for i in range(_SECRETS_FROM, _ALL_NAMES):
                if self.begins(lo, hi, i):
                    lo += cython.cast(cython.Py_ssize_t, self.name_at[i + 1] - self.name_at[i])
                    lo = min(_find(self.data, 58, lo, hi) + 1, hi) if i == _SECRETS_FROM else lo  # inline:
                    self.scramble(lo, hi)
                    return 0
        return 0

    # ---- addresses

    def addresses(self, lo: cython.Py_ssize_t, hi: cython.Py_ssize_t) -> cython.int:
        """Every address that stands as text."""
        pos: cython.Py_ssize_t = lo
        c: cython.int
        before: cython.int
        while pos < hi:
            c = self.data[pos]
            if c != 58 and not self.is_alnum(c):
                pos += 1
                continue
            before = self.data[pos - 1] if pos > lo else 32
            if self.is_alnum(before):
                if self.is_digit(before) or not self.is_digit(c):
                    pos += 1  # within a word
                    continue
            elif before != 58 and (c == 58 or self.hex_value(c) >= 0) and self.ipv6(pos, hi):
                pos = self.after
                continue
            if self.is_digit(c):
                if before == 46 and pos - 1 > lo and self.is_digit(self.data[pos - 2]):
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
        while end < hi and self.is_digit(self.data[end]):
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
            while lo < hi and lo - first < 3 and self.is_digit(self.data[lo]):
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
        if lo < hi and self.is_digit(self.data[lo]):
            return False
        if lo + 1 < hi and self.data[lo] == 46 and self.is_digit(self.data[lo + 1]):
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

    def hex_value(self, octet: cython.int) -> cython.int:
        """The value of a hexadecimal digit, -1 where it is none."""
        if 48 <= octet <= 57:
            return octet - 48
        octet |= 0x20
        return octet - 87 if 97 <= octet <= 102 else -1

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
        while count < 8 and lo < hi and self.hex_value(self.data[lo]) >= 0:
            first = lo
            value = 0
            while lo < hi and lo - first < 4 and self.hex_value(self.data[lo]) >= 0:
                value = value * 16 + self.hex_value(self.data[lo])
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
            elif lo + 1 < hi and self.data[lo] == 58 and self.hex_value(self.data[lo + 1]) >= 0:
                lo += 1
            else:
                break
        if dotted:
            return self.mapped_address(lo, hi, count, gap)
        if (count != 8 if gap < 0 else count >= 8) or count == 0:
            return False
        if lo < hi and (self.is_alnum(self.data[lo]) or self.data[lo] == 58):
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

    def mapped_address(
        self, lo: cython.Py_ssize_t, hi: cython.Py_ssize_t, count: cython.Py_ssize_t, gap: cython.Py_ssize_t
    ) -> cython.bint:
        """An address whose last 32 bits are dotted: those become what the IPv4 address becomes."""
        if (count != 6 if gap < 0 else count > 5) or not self.ipv4(lo, hi):
            return False
        self.put_ipv4()
        return True


def _named_before(data: Any, end: cython.Py_ssize_t, name: Any) -> cython.bint:
    """Whether the name (small letters) stands right before `end`, in any case."""
    i: cython.Py_ssize_t
    size: cython.Py_ssize_t = name.shape[0]
    if end < size:
        return False
    for i in range(size):  # noqa: SIM110 (a closure would need the GIL)
        if (data[end - size + i] | 0x20) != name[i]:
            return False
    return True


def _scrambler(data: Array, key: bytes) -> Scrambler:
    if len(key) != 16:
        raise ValueError("a key of pseudonyms has 16 octets")
    return Scrambler(_view(data), int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little"))


def scramble_messages(data: Array, at: Array, size: Array, mask: Array, what: int, key: bytes) -> None:
    """Write pseudonyms over SIP messages, in place. data: writable uint8; at, size: int64; what: bits."""
    if len(mask) and len(data):
        _scrambler(data, key).run(_view(at), _view(size), _view(mask), what)


def scramble_text(data: Array, at: Array, size: Array, mask: Array, key: bytes) -> None:
    """Write pseudonyms over the addresses in texts, in place."""
    if len(mask) and len(data):
        _scrambler(data, key).run_text(_view(at), _view(size), _view(mask))


def scramble_columns(address: Array, mask: Array, key: bytes) -> None:
    """Write pseudonyms over binary addresses (n, 16), in place."""
    if len(mask):
        _scrambler(np.zeros(1, dtype=np.uint8), key).run_columns(_view(address), _view(mask))
