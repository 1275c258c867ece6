"""SIP index: the records of a batch in, the columns of table sip out. No I/O, no clock, no log.

In: rows of HEP type 1 whose payload slice stands in `fields`. Out: their slices from `method` on,
status, contact_port, expires, malformed, flags and the extra headers. What can go wrong: hostile
octets end in a `malformed` code or a flag (schema.py), never in an exception; whatever could be
read is filled in all the same. An IndexError is a bug of ours (a batch that contradicts itself).

Choices that RFC 3261 leaves open, or that a capture system makes otherwise than a proxy:
- A message's line ending is that of its start line: LF, with or without CR before it, or a lone CR.
- Of a header that may stand once, the first counts. Content-Length must be the same each time.
- Slices of folded values keep the line ends within them, and FLAG_FOLDED says so (section 7.3.1).
- Up to JUNK_LINES lines before a start line are passed over; `malformed` says start_line then.
- `malformed` of truncated or oversize, set by the kernel that filled the row, stays where nothing
  that comes earlier in the order is wrong.
- Domains keep the brackets of an IPv6 reference, contact_ip does not. User parts end at : or @
  (section 19.1.1), those of tel URIs at the first parameter (RFC 3966). Other schemes (urn, http)
  have neither user nor domain.
"""

import sys
from typing import Any, Final

import cython
import numpy as np

from hepcat.batch import schema
from hepcat.batch.layout import Batch
from hepcat.wire import sip_names

if not cython.compiled:  # compiled, they are an enum of sip.pxd
    # fmt: off
    from hepcat.wire.sip_codes import (  # noqa: I001
        ASSERTED, AT, AUTHORIZATION, BACKSLASH, BODY_SHORT, BRANCH_AT, CALL_ID, CALL_ID_MISSING,
        CLOSE_BRACKET, COLON, COMMA, CONTACT, CONTENT_LENGTH, CONTENT_LENGTH_WRONG, CR, CSEQ,
        CSEQ_MISSING, CSEQ_WRONG, DIVERSION, DOT, EQUALS, EXPIRES, FOLDED, FROM, FROM_MISSING, F_AUTH,
        F_BODY, F_CONTACT, F_DIVERSION, F_FROM, F_METHOD, F_PHRASE, F_PID, F_RURI, F_TAGS, F_TO, F_VIA,
        GREATER, HEADER_LINE, JUNK_LINES, KEEPALIVE, LESS, LF, LONGEST, LONGEST_METHOD, MAX_HEADERS, NEITHER,
        NOT_SIP, NO_HEADER_END, NO_NUMBER, NUL, OPEN_BRACKET, OVERSIZE, PREFERRED, PROXY_AUTHORIZATION,
        QUESTION, QUOTE, REMOTE_PARTY, REQUEST, RESPONSE, SCHEME_OTHER, SCHEME_SIP, SCHEME_TEL,
        SCHEME_WRONG, SEMICOLON, SIP, SLASH, SLOT_MASK, SPACE, STAR, START_LINE, STUN, TAB, TAG_AT, TO,
        TOO_MANY_HEADERS, TO_MISSING, TRUNCATED, URI_WRONG, USERNAME_AT, VIA, VIA_MISSING,
    )
    # fmt: on

#: Sets of octets below 64, as bits.
SPACES = cython.declare(cython.ulonglong, 1 << 9 | 1 << 10 | 1 << 13 | 1 << 32)
#: What ends a host: controls, space, quote, comma and : ; < = > ?
HOST_ENDS = cython.declare(cython.ulonglong, (1 << 33) - 1 | 1 << 34 | 1 << 44 | 63 << 58)
#: What ends a parameter's value: controls, space, comma and ;
VALUE_ENDS = cython.declare(cython.ulonglong, (1 << 33) - 1 | 1 << 44 | 1 << 59)
#: What a scan over parameters stops at: quote, comma, ; and <
PARAM_STOPS = cython.declare(cython.ulonglong, 1 << 34 | 1 << 44 | 1 << 59 | 1 << 60)
#: What a scan for the URI of an address stops at: also :
ADDRESS_STOPS = cython.declare(cython.ulonglong, 1 << 34 | 1 << 44 | 1 << 58 | 1 << 59 | 1 << 60)
#: Bit 0x20 of each octet of a word: folds letters.
FOLD_WORD = cython.declare(cython.ulonglong, 0x2020202020202020)

#: Numbers (Content-Length, Expires, CSeq) saturate here, one above 32 bits.
SATURATED = cython.declare(cython.Py_ssize_t, 1 << 32)
NO_EXPIRES = cython.declare(cython.Py_ssize_t, schema.NO_EXPIRES)


def view(array: Any) -> Any:
    """Give an array as a memoryview: uncompiled, its items are then Python ints, which cannot wrap."""
    return memoryview(array)


class Indexer:
    """One run over a batch, or over a buffer of datagrams. Positions are those of the buffer."""

    def __init__(self, buffer: Any) -> None:
        self.buf = buffer if cython.compiled else view(buffer).tobytes()
        self.size = memoryview(buffer).nbytes
        self.fault = 0
        self.brief = False
        self.token = view(sip_names.TOKEN)

    def bind(self, batch: Batch, table: sip_names.NameTable) -> None:
        """Take the columns of a batch and the header names to look for."""
        self.start = view(batch.start)
        self.hep_type = view(batch.hep_type)
        self.slots = view(table.slots)
        self.pool = view(table.pool)
        self.entry_at = view(table.at)
        self.entry_size = view(table.size)
        self.entry_id = view(table.id)
        self.entry_first = view(table.first)
        self.entry_last = view(table.last)
        self.masks = view(sip_names.MASKS)
        self.entry_next = view(table.next)
        self.copies = view(table.copies).cast("B").cast("i")
        self.fields = view(batch.fields).cast("B").cast("H")
        self.status = view(batch.status)
        self.contact_port = view(batch.contact_port)
        self.expires = view(batch.expires)
        self.malformed = view(batch.malformed)
        self.flags = view(batch.flags)
        self.width = batch.fields.shape[1]
        self.header_count = table.headers
        self.lo = view(np.zeros(table.headers, dtype=np.intp))
        self.hi = view(np.zeros(table.headers, dtype=np.intp))

    # ---- octets

    def _at(self, pos: cython.size_t) -> cython.int:
        """One octet. Unsigned, because then one comparison checks both bounds."""
        return self.buf[pos]

    def _range(self, lo: cython.Py_ssize_t, hi: cython.Py_ssize_t) -> cython.int:
        """Check lo..hi against the buffer, before libc gets a pointer into it."""
        if lo < 0 or lo >= hi or hi > self.buf.shape[0]:
            with cython.gil:
                raise IndexError("a slice leaves the buffer")
        return 0

    def _word(self, pos: cython.Py_ssize_t) -> cython.ulonglong:
        """Eight octets as a number, in the byte order of the machine."""
        if not cython.compiled:
            return int.from_bytes(self.buf[pos : pos + 8], sys.byteorder)
        word: cython.ulonglong = 0
        self._range(pos, pos + 8)
        memcpy(cython.address(word), cython.address(self.buf[pos]), 8)  # type: ignore[name-defined]  # noqa: F821
        return word

    def _clear(self, lo: cython.Py_ssize_t, hi: cython.Py_ssize_t) -> cython.int:
        """Set fields[lo:hi] to zero."""
        if not cython.compiled:
            self.fields[lo:hi] = memoryview(bytes(2 * (hi - lo))).cast("H")
            return 0
        if lo < 0 or lo >= hi or hi > self.fields.shape[0]:
            with cython.gil:
                raise IndexError("a row leaves the fields")
        memset(cython.address(self.fields[lo]), 0, 2 * (hi - lo))  # type: ignore[name-defined]  # noqa: F821
        return 0

    def _find(self, octet: cython.int, lo: cython.Py_ssize_t, hi: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """Where the octet stands in lo..hi, hi where it does not."""
        if lo >= hi:
            return hi
        if not cython.compiled:
            at = self.buf.find(octet, lo, hi)
            return hi if at < 0 else at
        self._range(lo, hi)
        begin: cython.pointer[cython.const[cython.uchar]] = cython.address(self.buf[lo])
        found: cython.p_void = memchr(begin, octet, hi - lo)  # type: ignore[name-defined]  # noqa: F821 (sip.pxd)
        if found == cython.NULL:
            return hi
        return lo + (cython.cast(cython.pointer[cython.const[cython.uchar]], found) - begin)

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

    def _quoted(self, pos: cython.Py_ssize_t, hi: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """The octet after the quoted string that begins at pos; hi + 1 where it does not end."""
        pos += 1
        while pos < hi:
            if self._at(pos) == QUOTE:
                return pos + 1
            pos += 2 if self._at(pos) == BACKSLASH else 1
        return hi + 1

    def _blank(self, lo: cython.Py_ssize_t, hi: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """What is before the first line: CR and LF (RFC 3261 section 7.5), also NUL and space."""
        while lo < hi and (
            self._at(lo) == CR or self._at(lo) == LF or self._at(lo) == SPACE or self._at(lo) == NUL
        ):
            lo += 1
        return lo

    def _put(self, field: cython.Py_ssize_t, lo: cython.Py_ssize_t, hi: cython.Py_ssize_t) -> cython.int:
        """Write a slice; an empty one stays null."""
        if hi > lo:
            self.fields[self.out + 2 * field] = lo - self.base
            self.fields[self.out + 2 * field + 1] = hi - lo
        return 0

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

    # ---- values

    def _parse_address(self, lo: cython.Py_ssize_t, hi: cython.Py_ssize_t) -> cython.bint:
        """Find URI and parameters of the first name-addr or addr-spec (RFC 3261 section 20.10).

        Sets uri_lo, uri_hi and params_lo; says whether brackets and quotes are closed. Without
        brackets the URI ends at the first ; or , behind its scheme: what follows is the header's.
        """
        pos: cython.Py_ssize_t = lo
        octet: cython.int
        sound: cython.bint = True
        scheme: cython.bint = False
        while pos < hi:
            octet = self._at(pos)
            if octet > QUESTION or not (ADDRESS_STOPS >> octet) & 1:
                pos += 1
                continue
            if octet == QUOTE:
                pos = self._quoted(pos, hi)
                if pos > hi:  # not closed: whatever stands in <> is the best guess
                    sound = False
                    pos = self._find(LESS, lo, hi)
                continue
            if octet == LESS:
                self.uri_lo = self._skip_space(pos + 1, hi)
                pos = self._find(GREATER, self.uri_lo, hi)
                self.uri_hi = self._trim(self.uri_lo, pos)
                self.params_lo = pos + 1 if pos < hi else hi
                return sound and pos < hi
            if octet == COLON:
                scheme = True
            elif scheme:  # ; or ,
                break
            pos += 1
        self.uri_lo = lo
        self.uri_hi = self._trim(lo, pos)
        self.params_lo = pos
        return sound

    def _scheme(self, lo: cython.Py_ssize_t, colon: cython.Py_ssize_t) -> cython.int:
        """What kind of URI it is, by its scheme."""
        size: cython.Py_ssize_t = colon - lo
        if size < 1:
            return SCHEME_WRONG
        a: cython.int = self._at(lo) | 0x20
        if size == 3 or size == 4:
            b: cython.int = self._at(lo + 1) | 0x20
            c: cython.int = self._at(lo + 2) | 0x20
            if a == 115 and b == 105 and c == 112:
                if size == 3 or (self._at(lo + 3) | 0x20) == 115:
                    return SCHEME_SIP  # sip, sips
            elif size == 3 and a == 116 and b == 101 and c == 108:
                return SCHEME_TEL  # tel, RFC 3966
            elif size == 4 and a == 112 and b == 114 and c == 101 and (self._at(lo + 3) | 0x20) == 115:
                return SCHEME_SIP  # pres, RFC 3859: user@host as well
        elif size == 2 and a == 105 and (self._at(lo + 1) | 0x20) == 109:
            return SCHEME_SIP  # im, RFC 3860
        return SCHEME_OTHER if 97 <= a <= 122 and self._is_token(lo, colon) else SCHEME_WRONG

    def _parse_uri(self, lo: cython.Py_ssize_t, hi: cython.Py_ssize_t) -> cython.bint:
        """Find user, host and port of a URI (RFC 3261 section 19.1.1); says whether it is one."""
        self.user_lo = self.user_hi = self.host_lo = self.host_hi = lo
        self.port = 0
        colon: cython.Py_ssize_t = self._find(COLON, lo, hi)
        if colon == hi:
            return False
        scheme: cython.int = self._scheme(lo, colon)
        pos: cython.Py_ssize_t = colon + 1
        at: cython.Py_ssize_t
        if scheme == SCHEME_SIP:
            at = self._find(AT, pos, hi)
            if at == hi:
                return self._parse_host(pos, hi)
            self.user_lo = pos
            self.user_hi = self._find(COLON, pos, at)  # a password may follow
            return self._parse_host(at + 1, hi) and self.user_hi > pos
        if scheme == SCHEME_TEL:
            self.user_lo = pos
            while pos < hi and self._at(pos) != SEMICOLON and self._at(pos) != QUESTION:
                pos += 1
            self.user_hi = pos
            return self.user_hi > self.user_lo
        return scheme == SCHEME_OTHER and pos < hi

    def _parse_host(self, pos: cython.Py_ssize_t, hi: cython.Py_ssize_t) -> cython.bint:
        """Find host and port (RFC 3261 section 25.1, hostport)."""
        octet: cython.int = 0
        self.host_lo = self.host_hi = pos
        if pos < hi and self._at(pos) == OPEN_BRACKET:
            pos = self._find(CLOSE_BRACKET, pos, hi)
            if pos == hi:
                return False
            pos += 1
            if pos < hi:
                octet = self._at(pos)
        else:
            while pos < hi:
                octet = self._at(pos)
                if octet <= AT and (octet == AT or (HOST_ENDS >> octet) & 1):
                    break
                pos += 1
        self.host_hi = pos
        if pos == self.host_lo:
            return False
        if pos == hi or octet == SEMICOLON or octet == QUESTION:  # noqa: SIM109
            return True
        if octet != COLON:
            return False
        lo: cython.Py_ssize_t = pos + 1
        pos = lo
        while pos < hi and self._at(pos) != SEMICOLON and self._at(pos) != QUESTION:
            pos += 1
        port: cython.Py_ssize_t = self._number(lo, pos)
        if port < 1 or port > 65535:
            return False
        self.port = cython.cast(cython.int, port)
        return True

    def _parse_params(
        self,
        pos: cython.Py_ssize_t,
        hi: cython.Py_ssize_t,
        name: cython.Py_ssize_t,
        size: cython.Py_ssize_t,
    ) -> cython.Py_ssize_t:
        """Go to the end of the value at pos (its comma, or hi), noting the first parameter of that name.

        Sets value_lo and value_hi, both 0 where it is not there. Size 0: no parameter is looked for.
        """
        octet: cython.int
        self.value_lo = self.value_hi = 0
        while pos < hi:
            octet = self._at(pos)
            if octet > QUESTION or not (PARAM_STOPS >> octet) & 1:
                pos += 1
                continue
            if octet == SEMICOLON and size > 0 and self.value_hi == 0:
                pos = self._parse_param(self._skip_space(pos + 1, hi), hi, name, size)
                continue
            if octet == QUOTE:
                pos = self._quoted(pos, hi)
                continue
            if octet == LESS:
                pos = self._find(GREATER, pos, hi)
            elif octet == COMMA:
                return pos
            pos += 1
        return hi

    def _parse_param(
        self,
        pos: cython.Py_ssize_t,
        hi: cython.Py_ssize_t,
        name: cython.Py_ssize_t,
        size: cython.Py_ssize_t,
    ) -> cython.Py_ssize_t:
        """Take the value if the parameter at pos has that name; where to go on."""
        if hi - pos <= size or not self._same(pos, name, size):
            return pos
        after: cython.Py_ssize_t = self._skip_space(pos + size, hi)
        if after >= hi or self._at(after) != EQUALS:
            return pos
        pos = self._skip_space(after + 1, hi)
        if pos >= hi:
            return hi
        self.value_lo = pos
        if self._at(pos) == QUOTE:
            after = self._quoted(pos, hi)
            self.value_lo = pos + 1
            self.value_hi = after - 1
            return after
        while pos < hi:
            octet: cython.int = self._at(pos)
            if octet <= SEMICOLON and (VALUE_ENDS >> octet) & 1:
                break
            pos += 1
        self.value_hi = pos
        return pos

    # ---- columns

    def _index_start(self, kind: cython.int) -> cython.int:
        """Fill what comes of the start line."""
        if self.line_fault:
            self._blame(START_LINE)
        if kind == RESPONSE:
            self._put(F_PHRASE, self.phrase_lo, self.phrase_hi)
            return 0
        self._put(F_METHOD, self.method_lo, self.method_hi)
        self._put(F_RURI, self.uri_lo, self.uri_hi)
        if self.brief:
            return 0
        space: cython.Py_ssize_t = self._find(SPACE, self.uri_lo, self.uri_hi)
        if not self._parse_uri(self.uri_lo, self.uri_hi) or space < self.uri_hi:
            self._blame(URI_WRONG)
        self._put(F_RURI + 1, self.user_lo, self.user_hi)
        self._put(F_RURI + 2, self.host_lo, self.host_hi)
        return 0

    def _index_party(self, header: cython.int, field: cython.Py_ssize_t, missing: cython.int) -> cython.int:
        """From or To: user, domain and tag (RFC 3261 sections 20.20, 20.39)."""
        lo: cython.Py_ssize_t = self.lo[header]
        hi: cython.Py_ssize_t = self.hi[header]
        if hi == 0:
            return self._blame(missing)
        sound: cython.bint = self._parse_address(lo, hi)
        if not self._parse_uri(self.uri_lo, self.uri_hi) or not sound:
            self._blame(URI_WRONG)
        self._put(field, self.user_lo, self.user_hi)
        self._put(field + 1, self.host_lo, self.host_hi)
        self._parse_params(self.params_lo, hi, TAG_AT, 3)
        return self._put(field + 2, self.value_lo, self.value_hi)

    def _index_via(self) -> cython.int:
        """The first value of the first Via, and its branch (RFC 3261 section 20.42)."""
        lo: cython.Py_ssize_t = self.lo[VIA]
        if self.hi[VIA] <= lo:
            return self._blame(VIA_MISSING)
        end: cython.Py_ssize_t = self._parse_params(lo, self.hi[VIA], BRANCH_AT, 6)
        self._put(F_VIA, lo, self._trim(lo, end))
        return self._put(F_VIA + 1, self.value_lo, self.value_hi)

    def _index_contact(self) -> cython.int:
        """The first Contact: user, host and port (RFC 3261 section 20.10)."""
        lo: cython.Py_ssize_t = self.lo[CONTACT]
        hi: cython.Py_ssize_t = self.hi[CONTACT]
        self.port = 0
        if lo >= hi:
            return 0
        if self._at(lo) == STAR and (hi - lo == 1 or self.token[self._at(lo + 1)] == 0):
            return self._put(F_CONTACT, lo, lo + 1)
        self._parse_address(lo, hi)
        self._parse_uri(self.uri_lo, self.uri_hi)
        self._put(F_CONTACT, self.user_lo, self.user_hi)
        lo = self.host_lo
        hi = self.host_hi
        if lo < hi and self._at(lo) == OPEN_BRACKET:
            lo += 1
            hi -= 1
        return self._put(F_CONTACT + 1, lo, hi)

    def _index_pid(self) -> cython.int:
        """The identity's user: asserted, else preferred (RFC 3325), else Remote-Party-ID."""
        header: cython.int = ASSERTED
        if self.hi[header] == 0:
            header = PREFERRED
            if self.hi[header] == 0:
                header = REMOTE_PARTY
                if self.hi[header] == 0:
                    return 0
        self._parse_address(self.lo[header], self.hi[header])
        self._parse_uri(self.uri_lo, self.uri_hi)
        return self._put(F_PID, self.user_lo, self.user_hi)

    def _index_auth(self) -> cython.int:
        """The user name of Digest credentials, up to any @ (RFC 3261 sections 20.28, 20.7)."""
        header: cython.int = PROXY_AUTHORIZATION
        if self.hi[header] == 0:
            header = AUTHORIZATION
            if self.hi[header] == 0:
                return 0
        pos: cython.Py_ssize_t = self.lo[header]
        hi: cython.Py_ssize_t = self.hi[header]
        while pos < hi and self.token[self._at(pos)] != 0:
            pos += 1  # the scheme
        self.value_lo = self.value_hi = 0
        while pos < hi:
            pos = self._parse_param(self._skip_space(pos, hi), hi, USERNAME_AT, 8)
            if self.value_hi > 0:
                return self._put(F_AUTH, self.value_lo, self._find(AT, self.value_lo, self.value_hi))
            while pos < hi and self._at(pos) != COMMA:
                pos = self._quoted(pos, hi) if self._at(pos) == QUOTE else pos + 1
            pos += 1
        return 0

    def _index_cseq(self) -> cython.int:
        """CSeq: 1*DIGIT LWS Method (RFC 3261 section 20.16); the method of a response."""
        pos: cython.Py_ssize_t = self.lo[CSEQ]
        hi: cython.Py_ssize_t = self.hi[CSEQ]
        if hi == 0:
            return self._blame(CSEQ_MISSING)
        lo: cython.Py_ssize_t = pos
        while pos < hi and self._at(pos) > SPACE:
            pos += 1
        number: cython.Py_ssize_t = self._number(lo, pos)
        pos = self._skip_space(pos, hi)
        if number < 0 or number >= SATURATED or not self._is_token(pos, hi):
            return self._blame(CSEQ_WRONG)
        if self.flag & REQUEST == 0:
            return self._put(F_METHOD, pos, hi)
        if hi - pos != self.method_hi - self.method_lo:
            return self._blame(CSEQ_WRONG)
        i: cython.Py_ssize_t
        for i in range(hi - pos):  # methods are case-sensitive (section 7.1)
            if self._at(pos + i) != self._at(self.method_lo + i):
                return self._blame(CSEQ_WRONG)
        return 0

    def _index_copies(self) -> cython.int:
        """Fill the columns that are a header's value as it stands, by the table of copies."""
        i: cython.Py_ssize_t
        header: cython.Py_ssize_t
        field: cython.Py_ssize_t
        for i in range(0, self.copies.shape[0], 2):
            header = self.copies[i + 1]
            if self.hi[header] == 0:
                continue
            field = self.copies[i]
            if self.fields[self.out + 2 * field + 1] == 0:
                self._put(field, self.lo[header], self.hi[header])
        if self.hi[DIVERSION] > 0:
            end: cython.Py_ssize_t = self._parse_params(self.lo[DIVERSION], self.hi[DIVERSION], 0, 0)
            self._put(F_DIVERSION, self.lo[DIVERSION], self._trim(self.lo[DIVERSION], end))
        return 0

    def _index_body(self, hi: cython.Py_ssize_t) -> cython.int:
        """The body: what follows the empty line, up to Content-Length (RFC 3261 section 18.3)."""
        if self.body_at < 0:
            return 0
        if self.said >= 0:
            if self.said > hi - self.body_at:
                self._blame(BODY_SHORT)
            else:
                hi = self.body_at + self.said
        return self._put(F_BODY, self.body_at, hi)

    def _mark_folded(self) -> cython.int:
        """Set FLAG_FOLDED if one of the slices (the body apart) holds a line end."""
        field: cython.Py_ssize_t
        lo: cython.Py_ssize_t
        hi: cython.Py_ssize_t
        for field in range(F_METHOD, self.width):
            lo = self.base + self.fields[self.out + 2 * field]
            hi = lo + self.fields[self.out + 2 * field + 1]
            if (
                field != F_BODY
                and field != F_TAGS
                and (self._find(LF, lo, hi) < hi or self._find(CR, lo, hi) < hi)
            ):
                self.flag |= FOLDED
                return 0
        return 0

    # ---- records

    def _reset(self, row: cython.Py_ssize_t) -> cython.int:
        """Give every output of the row its "no value"."""
        self.base = cython.cast(cython.Py_ssize_t, self.start[row])
        self.out = row * self.width * 2
        self._clear(self.out + 2 * F_METHOD, self.out + 2 * F_TAGS)
        if self.width > F_TAGS + 1:  # extra headers
            self._clear(self.out + 2 * F_TAGS + 2, self.out + 2 * self.width)
        self.fault = self.malformed[row]
        if self.fault != TRUNCATED and self.fault != OVERSIZE:
            self.fault = 0
        self.flag = 0
        self.code = 0
        self.status[row] = 0
        self.contact_port[row] = 0
        self.expires[row] = cython.cast(cython.uint, NO_EXPIRES)
        return 0

    def _not_sip(self, lo: cython.Py_ssize_t, hi: cython.Py_ssize_t) -> cython.bint:
        """Tell what keeps a SIP port open, but is not SIP, by its flag."""
        if self._blank(lo, hi) == hi:
            self.flag = KEEPALIVE
            return True
        if hi - lo < 20 or self._at(lo) >= 0x40:
            return False
        size: cython.int = (self._at(lo + 2) << 8) | self._at(lo + 3)
        if (
            self._at(lo + 4) == 0x21  # the magic cookie, RFC 8489 section 5
            and self._at(lo + 5) == 0x12
            and self._at(lo + 6) == 0xA4
            and self._at(lo + 7) == 0x42
            and size % 4 == 0
            and size + 20 <= hi - lo
        ):
            self.flag = STUN
            return True
        return False

    def _index(self, row: cython.Py_ssize_t) -> cython.int:
        """Index one record."""
        self._reset(row)
        lo: cython.Py_ssize_t = self.base + self.fields[self.out]
        hi: cython.Py_ssize_t = lo + self.fields[self.out + 1]
        if hi > self.start[row + 1] or hi - self.base > LONGEST:
            with cython.gil:
                raise IndexError("a payload slice leaves its record")
        if not self._not_sip(lo, hi):
            self._index_message(row, lo, hi)
        self.malformed[row] = cython.cast(cython.uchar, self.fault)
        self.flags[row] = cython.cast(cython.uchar, self.flag)
        return 0

    def _index_message(
        self, row: cython.Py_ssize_t, lo: cython.Py_ssize_t, hi: cython.Py_ssize_t
    ) -> cython.int:
        """Index what is neither keep-alive nor STUN."""
        at: cython.Py_ssize_t = self._blank(lo, hi)
        if self._find(NUL, lo, at) < at or self._find(SPACE, lo, at) < at:
            self._blame(START_LINE)
        kind: cython.int = self._parse_start_line(at, hi)
        if kind == NEITHER:
            self._blame(START_LINE)
            kind = self._find_start_line(at, hi)
        if kind == NEITHER:
            self.flag = NOT_SIP
            self._first_line(at, hi)
            self.next_line = at  # there may be headers all the same
        else:
            self.flag = kind
            self._index_start(kind)
            if kind == RESPONSE:
                self.status[row] = cython.cast(cython.ushort, self.code)
        self._read_headers(self.next_line, hi)
        self._index_headers(row)
        self._index_body(hi)
        if self.folded:
            self._mark_folded()
        return 0

    def _index_headers(self, row: cython.Py_ssize_t) -> cython.int:
        """Fill the columns that come of headers."""
        if self.hi[CALL_ID] == 0 or self.lo[CALL_ID] == self.hi[CALL_ID]:
            self._blame(CALL_ID_MISSING)
        self._index_cseq()
        if self.brief:
            return self._index_copies()
        self._index_party(FROM, F_FROM, FROM_MISSING)
        self._index_party(TO, F_TO, TO_MISSING)
        self._index_via()
        self._index_pid()
        self._index_auth()
        self._index_contact()  # last of those that read a URI: its port is still there
        self.contact_port[row] = cython.cast(cython.ushort, self.port)
        self._index_copies()
        if self.hi[EXPIRES] > 0:
            seconds: cython.Py_ssize_t = self._number(self.lo[EXPIRES], self.hi[EXPIRES])
            if seconds >= 0:
                seconds = seconds if seconds < NO_EXPIRES else NO_EXPIRES - 1
                self.expires[row] = cython.cast(cython.uint, seconds)
        return 0

    def run(self, first: cython.Py_ssize_t, n: cython.Py_ssize_t) -> cython.int:
        """Index the SIP rows among first..n."""
        row: cython.Py_ssize_t
        with cython.nogil:
            for row in range(first, n):
                if self.hep_type[row] == SIP:
                    self._index(row)
        return 0

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


#: Slices that index_sip(brief=True) leaves null.
BRIEF_LEAVES_OUT: Final = frozenset(
    {
        *(
            "ruri_user",
            "ruri_domain",
            "from_user",
            "from_domain",
            "from_tag",
            "to_user",
            "to_domain",
            "to_tag",
        ),
        *("via_1", "via_1_branch", "pid_user", "contact_user", "contact_ip", "auth_user"),
    }
)


def index_sip(
    batch: Batch, first: int = 0, aleg_headers: tuple[str, ...] = ("X-CID",), brief: bool = False
) -> None:
    """Index the SIP messages (hep_type 1) among the rows first..batch.n; other rows are not touched.

    batch: payload slices stand in fields[:, 0]. Filled: the slices from `method` to the extra headers
    (offsets from start[row]), status, contact_port, expires, malformed and flags, all of them in each
    SIP row. aleg_headers: headers that may hold the other leg's Call-ID, the first found wins. brief: for
    who sends messages on and reads nothing of their addresses, at half the price: BRIEF_LEAVES_OUT and
    expires stay null, and what is wrong with them is not told.
    Raises IndexError where rows or slices lie outside the batch (a bug of the caller).
    """
    if not 0 <= first <= batch.n <= batch.capacity:
        raise IndexError(f"rows {first}..{batch.n} of a batch with room for {batch.capacity}")
    if first == batch.n:
        return
    indexer = Indexer(batch.buffer)
    indexer.brief = brief
    indexer.bind(batch, sip_names.name_table(tuple(aleg_headers), tuple(batch.extra)))
    indexer.run(first, batch.n)


def sip_mask(buffer: Any, offsets: Any, lengths: Any, out_mask: Any) -> None:
    """Tell which datagrams begin with a SIP start line, whatever port they came from.

    buffer: octets. offsets, lengths: (n,) integers, each slice within the buffer. out_mask: (n,)
    uint8, set to 1 or 0. CR, LF, NUL and spaces before the start line are passed over.
    Raises ValueError where the lengths of the arrays differ, IndexError where a slice leaves the buffer.
    """
    starts = np.ascontiguousarray(offsets, dtype=np.int64)
    sizes = np.ascontiguousarray(lengths, dtype=np.int64)
    if not starts.shape == sizes.shape == out_mask.shape:
        raise ValueError("offsets, lengths and out_mask must be of one length")
    room = memoryview(buffer).nbytes
    if len(starts) and not (starts.min() >= 0 and sizes.min() >= 0 and (starts + sizes).max() <= room):
        raise IndexError(f"a datagram leaves the buffer of {room} octets")
    Indexer(buffer).mask(view(starts), view(sizes), view(out_mask))
