"""Kernel: what begins in a stream of lines: a start line of SIP (RFC 3261 section 7), or one of HTTP.

In: octets of one direction of a stream, cut anywhere, where a message may begin. Out: `state` behind the
start line, `kind`, and what the flow carries. What can go wrong: what began is no message. That is counted,
STREAM_SKIPPED a run; in a flow of which nothing was known it is not, but makes the flow PROTOCOL_OTHER.
The base of lines.py's `LineReader`, which reads what stands between start lines and keeps the place in them.

The first word must be a token, `SIP` or `HTTP`. Of a request's line only the last octets are looked at: they
must be SIP/2.0 or, behind GET, a version of HTTP.
"""

from typing import Any, Final

import cython
import numpy as np

from hepcat.batch.drops import Drop
from hepcat.wire import sip_names
from hepcat.wire.columns import PROTOCOL_OTHER, PROTOCOL_SIP, PROTOCOL_UNKNOWN

if not cython.compiled:  # start_lines.pxd cimports the one, and has the numbers as C constants
    from hepcat.wire.websocket import WebSocketFrames

    # fmt: off
    (START, SKIP, METHOD, STATUS, FIRST_LINE, LINE, LINE_CR, REST, NAME, COLON, VALUE, VALUE_LINE, DIGITS,
     AFTER, BODY) = range(15)
    # fmt: on
    IS_SIP, IS_GET, IS_HTTP = range(3)
    IN_SYNC, SKIPPING, BEHIND_HOLE = range(3)
    TAB, LF, CR, SPACE = 9, 10, 13, 32

STREAM_SKIPPED = cython.declare(cython.int, int(Drop.STREAM_SKIPPED))
UNKNOWN = cython.declare(cython.int, PROTOCOL_UNKNOWN)
SIP = cython.declare(cython.int, PROTOCOL_SIP)
OTHER = cython.declare(cython.int, PROTOCOL_OTHER)

DOT = cython.declare(cython.int, 46)
SLASH = cython.declare(cython.int, 47)

#: `match` in a first line: octets of its last word, this bit where the word has ended; and a word that is
#: too long, or the only one.
WORD_END = cython.declare(cython.int, 64)
NOT_LAST_WORD = cython.declare(cython.int, 30)
#: Octets of a first line's end that are looked at: the version, CR, and a stray blank.
LONGEST_END = cython.declare(cython.longlong, 10)
#: Longest method, as in sip.py.
LONGEST_METHOD = cython.declare(cython.int, 64)
#: What a first line ended with, seven octets: `SIP/2.0`.
TAIL_MASK = cython.declare(cython.longlong, (1 << 56) - 1)
#: Bit 0x20 of four octets: folds letters.
FOLD = cython.declare(cython.longlong, 0x20202020)
SIP_SLASH = cython.declare(cython.longlong, int.from_bytes(b"sip/", "big"))
TTP_SLASH = cython.declare(cython.longlong, int.from_bytes(b"ttp/", "big"))
GET = cython.declare(cython.longlong, int.from_bytes(b"get", "big"))
SIP_NAME = cython.declare(cython.longlong, int.from_bytes(b"sip", "big"))
HTTP_NAME = cython.declare(cython.longlong, int.from_bytes(b"http", "big"))

#: Registered methods (RFC 3261 section 27.4 and since); below, length and last seven octets of each.
METHODS: Final = (
    *(b"INVITE", b"ACK", b"BYE", b"CANCEL", b"REGISTER", b"OPTIONS", b"PRACK", b"SUBSCRIBE", b"NOTIFY"),
    *(b"PUBLISH", b"INFO", b"REFER", b"MESSAGE", b"UPDATE", b"GET"),
)
_METHODS = np.array([len(m) << 56 | int.from_bytes(m.lower()[-7:], "big") for m in METHODS], dtype=np.int64)


class StartLines(WebSocketFrames):
    """The start lines of all flows, and what each flow carries by them.

    state: START to BODY. kind: IS_SIP, or the two of HTTP. match: octets of what is being compared.
    recent: the last octets of the first line. number: where sync is lost, its spaces. skipping_of: whether
    what comes belongs to a message.
    """

    def __init__(self, flows: int, octets: int, longest: int) -> None:
        super().__init__(flows, octets, longest)
        view: Any = memoryview
        self.carries = view(np.zeros(flows, dtype=np.uint8))  # PROTOCOL_*, as read here
        self.joined = view(np.zeros(flows, dtype=np.uint8))  # in the middle
        self.skipping_of = view(np.zeros(flows, dtype=np.uint8))
        self.token = view(sip_names.TOKEN)
        self.methods = view(_METHODS)
        self.state = self.kind = self.match = self.recent = self.number = 0
        self.opens = True  # WebSockets

    def set_carries(self, flow: cython.int, what: cython.int) -> cython.int:
        """Note what a flow carries, here and in Flows."""
        self.carries[flow] = what
        self.protocol[flow] = what
        return 0

    def skip(self, flow: cython.int) -> cython.int:
        """Count a run of octets that belong to nothing, once."""
        if self.skipping_of[flow] != SKIPPING:
            self.drops[STREAM_SKIPPED] += 1
            self.skipping_of[flow] = SKIPPING
        return 0

    def find_lf(self, lo: cython.longlong, hi: cython.longlong) -> cython.Py_ssize_t:
        """Where the line at lo ends in buf[lo:hi], hi where it does not."""
        if lo >= hi:
            return hi
        if lo < 0 or hi > self.buf.shape[0]:
            with cython.gil:
                raise IndexError("find_lf: out of range")
        if cython.compiled:  # held.pxd wraps memchr
            return lo + octet_at(cython.address(self.buf[lo]), LF, hi - lo)  # type: ignore[name-defined]  # noqa: F821
        place = bytes(self.buf[lo:hi]).find(10)
        return hi if place < 0 else lo + place

    # ---- start lines

    def read_first_line(self, pos: cython.longlong, end: cython.longlong) -> cython.Py_ssize_t:
        """METHOD: a token; STATUS: behind `SIP/`; FIRST_LINE: to its end."""
        if self.state == METHOD:
            return self.read_method(pos, end)
        if self.state == STATUS:
            return self.read_version(pos, end)
        if self.state == SKIP:
            pos = self.find_lf(pos, end)
            if pos == end:
                return end
            self.state = START
            return pos + 1
        lf: cython.longlong = self.find_lf(pos, end)
        octet: cython.int
        at: cython.longlong
        for at in range(max(pos, lf - LONGEST_END), lf):
            octet = self.buf[at]
            if octet in (CR, SPACE, TAB):
                self.match |= WORD_END
            else:
                self.match = 1 if self.match & WORD_END else min(self.match + 1, NOT_LAST_WORD)
                self.recent = ((self.recent << 8) | octet) & TAIL_MASK
        if self.skipping_of[self.flow]:
            for at in range(pos, lf):
                self.number += self.buf[at] == SPACE
        if lf == end:
            return end
        if self.kind != IS_HTTP and not self.ends_with_version():
            return self.read_no_message(lf, end)
        self.state = LINE
        self.begin_sip()
        return lf + 1

    def begin_sip(self) -> cython.int:
        """A start line of SIP has been read: that is what the flow carries."""
        if self.kind == IS_SIP and self.carries[self.flow] != SIP:
            self.set_carries(self.flow, SIP)
        return 0

    def ends_with_version(self) -> cython.bint:
        """Tell whether the last word of the first line is SIP-Version, or a GET's that of HTTP.

        Where sync is lost, no other word may stand before it but the URI: the text of a body that ends
        without a line end runs into the start line behind it.
        """
        name: cython.longlong = (self.recent >> 24) | FOLD
        if (self.recent >> 8) & 0xFF != DOT or (self.skipping_of[self.flow] and self.number != 1):
            return False
        if self.kind == IS_SIP:
            return name == SIP_SLASH and self.match & ~WORD_END == 7
        return name == TTP_SLASH

    def read_method(self, pos: cython.longlong, end: cython.longlong) -> cython.Py_ssize_t:
        """The first word: a method, `SIP` or `HTTP`."""
        octet: cython.int
        while pos < end:
            octet = self.buf[pos]
            if self.token[octet]:
                if self.match == LONGEST_METHOD:
                    return self.read_no_message(pos, end)
                self.recent = ((self.recent << 8) | (octet | 0x20)) & TAIL_MASK
                self.match += 1
                pos += 1
                continue
            if octet == SPACE and self.match > 0:
                if self.skipping_of[self.flow] == BEHIND_HOLE and not self.is_method():
                    return self.read_no_message(pos, end)
                if self.match == 3 and self.recent == GET and self.is_unknown():
                    self.kind = IS_GET
                self.state = FIRST_LINE
                self.match = NOT_LAST_WORD
                self.number = 0
                return pos + 1
            if octet == SLASH and self.match == 3 and self.recent == SIP_NAME:
                self.state = STATUS
                self.match = 0
                return pos + 1
            if octet == SLASH and self.match == 4 and self.recent == HTTP_NAME and self.is_unknown():
                self.kind = IS_HTTP
                self.state = FIRST_LINE
                return pos + 1
            return self.read_no_message(pos, end)
        return end

    def is_method(self) -> cython.bint:
        """Tell whether a registered method has been read: `S` may be what a hole left of OPTIONS."""
        i: cython.Py_ssize_t
        word: cython.longlong = self.recent | (cython.cast(cython.longlong, self.match) << 56)
        for i in range(self.methods.shape[0]):  # noqa: SIM110 (a closure would need the GIL)
            if self.methods[i] == word:
                return True
        return False

    def is_unknown(self) -> cython.bint:
        """Tell whether HTTP would be believed here."""
        return self.opens and self.carries[self.flow] == UNKNOWN

    def read_version(self, pos: cython.longlong, end: cython.longlong) -> cython.Py_ssize_t:
        """Behind `SIP/`: digit, dot, digit, space; the rest of a status line is the index's matter."""
        octet: cython.int
        while pos < end:
            octet = self.buf[pos]
            if self.match == 1:
                if octet != DOT:
                    return self.read_no_message(pos, end)
            elif self.match == 3:
                if octet != SPACE:
                    return self.read_no_message(pos, end)
                self.state = REST
                self.begin_sip()
                return pos + 1
            elif octet < 48 or octet > 57:
                return self.read_no_message(pos, end)
            self.match += 1
            pos += 1
        return end

    def read_no_message(self, pos: cython.longlong, end: cython.longlong) -> cython.Py_ssize_t:
        """What began here is no message: skip its line, or give the flow up if it is its first one."""
        flow: cython.int = self.flow
        self.discard(flow)
        if self.carries[flow] == UNKNOWN and not self.joined[flow]:
            self.state = START
            self.set_carries(flow, OTHER)
            return pos  # counted as TCP_OTHER there
        self.skip(flow)
        self.state = SKIP
        return pos
