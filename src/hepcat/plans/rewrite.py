"""Kernel: SIP messages with pseudonyms for numbers, names, addresses and SDP.

In: octets of messages, which are written over, and the rows to change. Out: the same octets: a pseudonym is
as long as what it stands for (pseudonyms.py), so that Content-Length, offsets and the syntax stay right. What
can go wrong: nothing; whatever does not look like a message, a URI or an address stays as it is. The names
of hosts are left alone. Every step goes forward: no message takes more than a time in proportion to it.
"""

from typing import Any, Final

import cython
import numpy as np
import numpy.typing as npt

from hepcat.plans.pseudonyms import halves, octets_view, view

if not cython.compiled:  # compiled, rewrite.pxd cimports them
    from hepcat.plans.match import _find, _named
    from hepcat.plans.octets import is_alnum, is_digit
    from hepcat.plans.pseudonyms import Pseudonyms

Array = npt.NDArray[Any]

#: What is replaced, as bits.
NUMBERS: Final = 1
ADDRESSES: Final = 2
SDP: Final = 4

_NUMBERS = cython.declare(cython.int, 1)
_ADDRESSES = cython.declare(cython.int, 2)
_SDP = cython.declare(cython.int, 4)
#: The longest URI that is looked at; one that is longer is no address of a person.
MAX_URI = cython.declare(cython.Py_ssize_t, 2048)

#: Headers with an address in front of which a display name may stand; then those that are text or a token
#: which holds numbers (RFC 8224: the telephone numbers are in the Identity, as Base64), credentials, and
#: parameters that say where a phone is (RFC 7315 section 5.4).
ADDRESS_HEADERS: Final = (
    b"from f to t contact m p-asserted-identity p-preferred-identity remote-party-id diversion referred-by b "
    b"refer-to r history-info p-called-party-id reply-to p-associated-uri"
).split()
TEXT_HEADERS: Final = b"subject s organization identity y user-to-user".split()
CREDENTIALS: Final = b"authorization proxy-authorization".split()
PLACES: Final = b"p-access-network-info cellular-network-info".split()
#: SDP attributes that are secrets.
SECRETS: Final = b"a=crypto: a=ice-pwd: a=key-mgmt:".split()

_NAMES: Final = (*ADDRESS_HEADERS, *TEXT_HEADERS, *CREDENTIALS, *PLACES, *SECRETS)
_TEXT_FROM = cython.declare(cython.Py_ssize_t, len(ADDRESS_HEADERS))
_CREDENTIALS_FROM = cython.declare(cython.Py_ssize_t, len(ADDRESS_HEADERS) + len(TEXT_HEADERS))
_PLACES_FROM = cython.declare(cython.Py_ssize_t, len(_NAMES) - len(SECRETS) - len(PLACES))
_SECRETS_FROM = cython.declare(cython.Py_ssize_t, len(_NAMES) - len(SECRETS))
_ALL_NAMES = cython.declare(cython.Py_ssize_t, len(_NAMES))


class Scrambler(Pseudonyms):
    """One run over messages, which are written over."""

    def __init__(self, data: Any, key0: int, key1: int) -> None:
        super().__init__(data, key0, key1)
        self.names = octets_view(b"".join(_NAMES))
        self.name_at = view(np.cumsum([0, *(len(name) for name in _NAMES)]).astype(np.int64))
        self.username = octets_view(b"username")
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
            elif i < _PLACES_FROM:
                self.credentials(value, hi)
            else:
                self.values(value, hi)
        return self.uris(lo, hi, False)

    def values(self, lo: cython.Py_ssize_t, hi: cython.Py_ssize_t) -> cython.int:
        """The values of parameters, name=value, up to a semicolon or a comma."""
        end: cython.Py_ssize_t
        while lo < hi:
            lo = _find(self.data, 61, lo, hi) + 1  # =
            end = lo
            while end < hi and self.data[end] != 59 and self.data[end] != 44:
                end += 1
            self.scramble(lo, end)
            lo = end
        return 0

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
            if colon - size < lo or (colon - size > lo and is_alnum(self.data[colon - size - 1])):
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
            while end < hi and (is_digit(self.data[end]) or self.data[end] == 43 or self.data[end] == 45):
                end += 1
            if end == hi or not (self.data[end] == 46 or self.data[end] == 91 or is_alnum(self.data[end])):
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


def scramble_messages(data: Array, at: Array, size: Array, mask: Array, what: int, key: bytes) -> None:
    """Write pseudonyms over SIP messages, in place. data: writable uint8; at, size: int64; what: bits."""
    if len(mask) and len(data):
        Scrambler(view(data), *halves(key)).run(view(at), view(size), view(mask), what)
