"""Kernel: the SIP index. The records of a batch in, the columns of table sip out. No I/O, no clock, no log.

In: rows of HEP type 1 whose payload slice stands in `fields`. Out: their slices from `method` on,
status, contact_port, expires, malformed, flags and the extra headers. What can go wrong: hostile
octets end in a `malformed` code or a flag (schema.py), never in an exception; whatever could be
read is filled in all the same. An IndexError is a bug of ours (a batch that contradicts itself).

Choices that RFC 3261 leaves open, or that a capture system makes otherwise than a proxy:
- Slices of folded values keep the line ends within them, and FLAG_FOLDED says so (section 7.3.1).
- `malformed` of truncated or oversize, set by the kernel that filled the row, stays where nothing
  that comes earlier in the order is wrong.
- Domains keep the brackets of an IPv6 reference, contact_ip does not.
What is a header is chosen in sip_headers.py, what is a user or a domain in sip_values.py.
"""

from typing import Any, Final

import cython
import numpy as np

from hepcat.batch import schema
from hepcat.batch.layout import Batch
from hepcat.wire import sip_names
from hepcat.wire.sip_headers import SipHeaders, view

if not cython.compiled:  # sip.pxd cimports them
    # fmt: off
    from hepcat.wire.sip_codes import (  # noqa: I001
        ASSERTED, AT, AUTHORIZATION, BODY_SHORT, BRANCH_AT, CALL_ID, CALL_ID_MISSING, COMMA, CONTACT, CR,
        CSEQ, CSEQ_MISSING, CSEQ_WRONG, DIVERSION, EXPIRES, FOLDED, FROM, FROM_MISSING, F_AUTH, F_BODY,
        F_CONTACT, F_DIVERSION, F_FROM, F_METHOD, F_PHRASE, F_PID, F_RURI, F_TAGS, F_TO, F_VIA, KEEPALIVE,
        LF, LONGEST, NEITHER, NOT_SIP, NUL, OPEN_BRACKET, OVERSIZE, PREFERRED, PROXY_AUTHORIZATION, QUOTE,
        REMOTE_PARTY, REQUEST, RESPONSE, SIP, SPACE, STAR, START_LINE, STUN, TAG_AT, TO, TO_MISSING,
        TRUNCATED, URI_WRONG, USERNAME_AT, VIA, VIA_MISSING,
    )
    # fmt: on
    from hepcat.wire.sip_values import SipValues

#: A CSeq has 32 bits (RFC 3261 section 20.16).
SEQUENCES = cython.declare(cython.Py_ssize_t, 1 << 32)
NO_EXPIRES = cython.declare(cython.Py_ssize_t, schema.NO_EXPIRES)


class Indexer(SipValues):
    """One run over a batch. Positions are those of its buffer."""

    def __init__(self, batch: Batch, table: sip_names.NameTable, brief: bool) -> None:
        super().__init__(batch.buffer)
        self.bind_names(table)
        self.brief = brief
        self.start = view(batch.start)
        self.hep_type = view(batch.hep_type)
        self.copies = view(table.copies).cast("B").cast("i")
        self.fields = view(batch.fields).cast("B").cast("H")
        self.status = view(batch.status)
        self.contact_port = view(batch.contact_port)
        self.expires = view(batch.expires)
        self.malformed = view(batch.malformed)
        self.flags = view(batch.flags)
        self.width = batch.fields.shape[1]

    # ---- slices

    def _put(self, field: cython.Py_ssize_t, lo: cython.Py_ssize_t, hi: cython.Py_ssize_t) -> cython.int:
        """Write a slice; an empty one stays null."""
        if hi > lo:
            self.fields[self.out + 2 * field] = lo - self.base
            self.fields[self.out + 2 * field + 1] = hi - lo
        return 0

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
        if number < 0 or number >= SEQUENCES or not self._is_token(pos, hi):
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
    table = sip_names.name_table(tuple(aleg_headers), tuple(batch.extra))
    Indexer(batch, table, brief).run(first, batch.n)


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
    SipHeaders(buffer).mask(view(starts), view(sizes), view(out_mask))
