"""Kernel: octets of a stream to SIP messages, line by line (RFC 3261 sections 7 and 18.3), and HTTP upgrades.

In: octets of one direction of a stream, cut anywhere. Out: a row for each SIP message; a flow whose HTTP
head says `Upgrade: websocket` carries WebSocket from there on. What can go wrong is counted: KEEPALIVE a run
of CRLF between messages, STREAM_PARTIAL a message over `longest`, STREAM_SKIPPED a run that is no message,
TCP_OTHER where the first line of a flow is neither SIP nor HTTP.

The reader keeps its place in a line (`state`), so that each octet is looked at once and the way a stream was
cut changes nothing. Most of a header is one memchr to its line end; only lines that begin with c or l are
compared with Content-Length, and only the end of a request's first line with SIP/2.0.
"""

from typing import Any, Final

import cython
import numpy as np

from hepcat.batch.drops import Drop
from hepcat.wire import sip_names
from hepcat.wire.columns import (
    AREA_ARENA,
    PROTOCOL_OTHER,
    PROTOCOL_SIP,
    PROTOCOL_UNKNOWN,
    PROTOCOL_WEBSOCKET,
)
from hepcat.wire.websocket import ALONE, FRESH

if not cython.compiled:  # lines.pxd cimports them
    from hepcat.wire.websocket import WebSocketFrames

    # fmt: off
    (START, SKIP, METHOD, STATUS, FIRST_LINE, LINE, LINE_CR, REST, NAME, COLON, VALUE, VALUE_LINE, DIGITS,
     AFTER, BODY) = range(15)
    # fmt: on
    IS_SIP, IS_GET, IS_HTTP = range(3)
    IN_SYNC, SKIPPING, BEHIND_HOLE = range(3)

KEEPALIVE = cython.declare(cython.int, int(Drop.KEEPALIVE))
STREAM_PARTIAL = cython.declare(cython.int, int(Drop.STREAM_PARTIAL))
STREAM_SKIPPED = cython.declare(cython.int, int(Drop.STREAM_SKIPPED))
TCP_OTHER = cython.declare(cython.int, int(Drop.TCP_OTHER))
WEBSOCKET_CONTROL = cython.declare(cython.int, int(Drop.WEBSOCKET_CONTROL))
ARENA = cython.declare(cython.int, AREA_ARENA)
FIRST_OCTETS = cython.declare(cython.int, 2)
UNKNOWN = cython.declare(cython.int, PROTOCOL_UNKNOWN)
SIP = cython.declare(cython.int, PROTOCOL_SIP)
WEBSOCKET = cython.declare(cython.int, PROTOCOL_WEBSOCKET)
OTHER = cython.declare(cython.int, PROTOCOL_OTHER)
NOTE_FRESH = cython.declare(cython.int, FRESH)
NOTE_ALONE = cython.declare(cython.int, ALONE)

NUL = cython.declare(cython.int, 0)
TAB = cython.declare(cython.int, 9)
LF = cython.declare(cython.int, 10)
CR = cython.declare(cython.int, 13)
SPACE = cython.declare(cython.int, 32)
DOT = cython.declare(cython.int, 46)
SLASH = cython.declare(cython.int, 47)
COLON_SIGN = cython.declare(cython.int, 58)
LETTER_C = cython.declare(cython.int, 99)
LETTER_L = cython.declare(cython.int, 108)

#: `match` in a first line: octets of its last word, this bit where the word has ended; and a word that is
#: too long, or the only one.
WORD_END = cython.declare(cython.int, 64)
NOT_LAST_WORD = cython.declare(cython.int, 30)
#: Octets of a first line's end that are looked at: the version, CR, and a stray blank.
LONGEST_END = cython.declare(cython.longlong, 10)
#: Octets looked through for a start line in a stream that was joined in the middle.
SKIP_BUDGET = cython.declare(cython.longlong, 64 << 10)
#: Longest method, as in sip.py.
LONGEST_METHOD = cython.declare(cython.int, 64)
#: Content-Length saturates here.
SATURATED = cython.declare(cython.longlong, 1 << 32)
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
_CONTENT_LENGTH = np.frombuffer(b"content-length", dtype=np.uint8)
_UPGRADE = np.frombuffer(b"upgrade:", dtype=np.uint8)
_WEBSOCKET = np.frombuffer(b"websocket", dtype=np.uint8)
_EXTENSIONS = np.frombuffer(b"sec-websocket-extensions:", dtype=np.uint8)
_SERVER_ALONE = np.frombuffer(b"server_no_context_takeover", dtype=np.uint8)
_CLIENT_ALONE = np.frombuffer(b"client_no_context_takeover", dtype=np.uint8)


class LineReader(WebSocketFrames):
    """The lines of all flows. What is known of one lies in columns, and in attributes while it is read.

    state: START to BODY. kind: IS_SIP, or the two of HTTP. match: octets of what is being compared.
    recent: the last octets of the first line. content: Content-Length, -1 while there is none. number: the
    value being read; of a body, the octets that are missing. mark: where the message, as far as it lies in
    this stretch, begins. skipping_of: whether what comes belongs to a message.
    """

    def __init__(self, flows: int, octets: int, longest: int) -> None:
        super().__init__(flows, octets, longest)
        view: Any = memoryview
        self.carries = view(np.zeros(flows, dtype=np.uint8))  # PROTOCOL_*, as read here
        self.joined = view(np.zeros(flows, dtype=np.uint8))  # in the middle
        self.skipping_of = view(np.zeros(flows, dtype=np.uint8))
        self.budget = view(np.zeros(flows, dtype=np.int64))
        self.state_of = view(np.zeros(flows, dtype=np.uint8))
        self.kind_of = view(np.zeros(flows, dtype=np.uint8))
        self.match_of = view(np.zeros(flows, dtype=np.uint8))
        self.recent_of = view(np.zeros(flows, dtype=np.int64))
        self.content_of = view(np.zeros(flows, dtype=np.int64))
        self.number_of = view(np.zeros(flows, dtype=np.int64))
        self.token = view(sip_names.TOKEN)
        self.methods = view(_METHODS)
        self.content_length = view(_CONTENT_LENGTH)
        self.upgrade_name, self.websocket_word = view(_UPGRADE), view(_WEBSOCKET)
        self.extensions_name = view(_EXTENSIONS)
        self.server_alone, self.client_alone = view(_SERVER_ALONE), view(_CLIENT_ALONE)
        self.state = self.kind = self.match = self.recent = self.content = self.number = self.mark = 0
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

    # ---- the reader

    def read_lines(self, pos: cython.longlong, end: cython.longlong) -> cython.Py_ssize_t:
        """Read buf[pos:end]; return how far: less than `end` where the rows are full or HTTP was upgraded."""
        flow: cython.int = self.flow
        begun: cython.longlong = pos
        self.mark = pos
        self.state = self.state_of[flow]
        if self.state > SKIP:
            self.kind, self.match = self.kind_of[flow], self.match_of[flow]
            self.recent, self.content = self.recent_of[flow], self.content_of[flow]
            self.number = self.number_of[flow]
        while pos < end:
            if self.state == START:
                if self.area != FIRST_OCTETS and self.is_full():
                    break
                pos = self.read_start(pos, end)
            elif self.state <= FIRST_LINE:
                pos = self.read_first_line(pos, end)
            elif self.state == BODY:
                pos = self.read_body(pos, end)
            elif self.state <= REST:
                pos = self.read_headers(pos, end)
            else:
                pos = self.read_content_length(pos, end)
            if self.carries[flow] == WEBSOCKET or self.carries[flow] == OTHER:
                break
        if self.state > SKIP and self.mark < pos:
            self.keep_partial(pos)
        self.state_of[flow] = self.state
        if self.state > SKIP:
            self.kind_of[flow], self.match_of[flow] = self.kind, self.match
            self.recent_of[flow], self.content_of[flow] = self.recent, self.content
            self.number_of[flow] = self.number
        if self.skipping_of[flow] == SKIPPING and self.carries[flow] == UNKNOWN:
            self.budget[flow] -= pos - begun
            if self.budget[flow] < 0:
                self.discard(flow)
                self.state_of[flow] = START
                self.skipping_of[flow] = 0
                self.set_carries(flow, OTHER)
        return pos

    def keep_partial(self, end: cython.longlong) -> cython.int:
        """Hold the message as far as it has come; give it up where that is too much."""
        flow: cython.int = self.flow
        if self.held_of[flow] + end - self.mark > self.longest:
            self.give_up_line()
        elif not self.keep(self.mark, end):
            self.lost[flow] = 0
            self.discard(flow)
            self.state = SKIP
        return 0

    def give_up_line(self) -> cython.int:
        """A message is too long: look for the next one."""
        if self.state <= FIRST_LINE:
            self.skip(self.flow)
        else:
            self.drops[STREAM_PARTIAL] += 1
            self.skipping_of[self.flow] = SKIPPING
        self.discard(self.flow)
        self.state = SKIP
        return 0

    def read_start(self, pos: cython.longlong, end: cython.longlong) -> cython.Py_ssize_t:
        """Between messages: CRLF (RFC 5626 section 4.4.1), also NUL and spaces; then a message begins."""
        octet: cython.int = self.buf[pos]
        if octet in (CR, LF, NUL, SPACE):
            if not self.skipping_of[self.flow]:
                self.drops[KEEPALIVE] += 1
            while pos < end and self.buf[pos] in (CR, LF, NUL, SPACE):
                pos += 1
            return pos
        self.mark = pos
        self.state = METHOD
        self.kind = IS_SIP
        self.content = -1
        self.match = 0
        self.recent = 0
        return pos

    # ---- first line

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

    # ---- headers

    def read_headers(self, pos: cython.longlong, end: cython.longlong) -> cython.Py_ssize_t:
        """Lines up to the empty one, or to one that may be Content-Length."""
        octet: cython.int
        while pos < end:
            if self.state == REST:
                pos = self.find_lf(pos, end)
                if pos == end:
                    return end
                self.state = LINE
                pos += 1
                continue
            octet = self.buf[pos]
            if octet == LF:
                return self.end_headers(pos + 1)
            if self.state == LINE_CR:
                self.state = REST
            elif octet == CR:
                self.state = LINE_CR
                pos += 1
            elif octet | 0x20 == LETTER_C:
                # Counted with callgrind: comparing each of these lines was a third of the reader's
                # instructions. The ninth octet tells Content-Length from all the others at once.
                if end - pos > 8 and self.buf[pos + 8] | 0x20 != LETTER_L:
                    self.state = REST
                    continue
                self.state = NAME
                self.match = 1
                return pos + 1
            elif octet | 0x20 == LETTER_L:
                self.state = COLON
                return pos + 1
            else:
                self.state = REST
        return end

    def read_content_length(self, pos: cython.longlong, end: cython.longlong) -> cython.Py_ssize_t:
        """Content-Length, in parts as they come (RFC 3261 sections 7.3.1, 20.14). Stops where it is no such.

        NAME: within the name; COLON: behind it; VALUE: before the digits; VALUE_LINE: at the beginning
        of a line, which goes on with the value where it begins with a blank; DIGITS; AFTER: behind them.
        """
        octet: cython.int
        while pos < end:
            octet = self.buf[pos]
            if self.state == NAME:
                if octet | 0x20 != self.content_length[self.match]:
                    self.state = REST
                    return pos
                self.match += 1
                if self.match == self.content_length.shape[0]:
                    self.state = COLON
            elif self.state == VALUE_LINE:
                self.state = VALUE if octet in (SPACE, TAB) else LINE
                if self.state == LINE:
                    return pos
            elif octet in (SPACE, TAB, CR):
                if self.state == COLON and octet == CR:
                    self.state = REST
                    return pos
                if self.state == DIGITS:
                    self.state = AFTER
            elif self.state == COLON:
                self.state = VALUE if octet == COLON_SIGN else REST
                self.number = -1
                if self.state == REST:
                    return pos
            elif octet == LF:
                if self.state == VALUE:
                    self.state = VALUE_LINE
                else:
                    self.content = self.number if self.content < 0 else min(self.content, self.number)
                    self.state = LINE
                    return pos + 1
            elif 48 <= octet <= 57 and self.state != AFTER:
                self.number = min(max(self.number, 0) * 10 + octet - 48, SATURATED)
                self.state = DIGITS
            else:  # no number: the header is not there
                self.state = REST
                return pos
            pos += 1
        return end

    def end_headers(self, pos: cython.longlong) -> cython.Py_ssize_t:
        """The empty line has been read, up to pos."""
        size: cython.longlong = self.held_of[self.flow] + pos - self.mark
        if self.kind != IS_SIP:
            return self.end_http(pos)
        if self.content <= 0 and size <= self.longest:
            return self.end_sip(pos)
        if size + self.content > self.longest:
            self.give_up_line()
            self.state = START
            return pos
        self.number = self.content
        self.state = BODY
        return pos

    def read_body(self, pos: cython.longlong, end: cython.longlong) -> cython.Py_ssize_t:
        """As many octets as Content-Length said."""
        size: cython.longlong = min(self.number, end - pos)
        self.number -= size
        if self.number == 0:
            return self.end_sip(pos + size)
        return pos + size

    def end_sip(self, pos: cython.longlong) -> cython.Py_ssize_t:
        """A message is whole."""
        flow: cython.int = self.flow
        self.emit_slice(self.mark, pos)
        self.lost[flow] = 0
        self.mark = pos
        self.state = START
        self.skipping_of[flow] = 0
        return pos

    # ---- HTTP

    def end_http(self, pos: cython.longlong) -> cython.Py_ssize_t:
        """The head of a request or response is whole: does it open a WebSocket (RFC 6455 section 4)?"""
        flow: cython.int = self.flow
        area: cython.int = self.area
        lo: cython.longlong = self.mark
        hi: cython.longlong = pos
        upgrade: cython.bint
        self.mark = pos
        self.state = START
        if self.held_of[flow] > 0:
            if not self.keep(lo, hi):
                self.lost[flow] = 0
                self.set_carries(flow, OTHER)
                return pos
            lo = self.used  # not counted in `used`: room that is written over
            hi = lo + self.copy_held()
            self.read_from(ARENA)
        upgrade = self.read_upgrade(flow, lo, hi)
        self.read_from(area)
        if not upgrade:
            self.set_carries(flow, OTHER)
            return pos
        self.drops[WEBSOCKET_CONTROL] += 1
        self.skipping_of[flow] = 0
        self.set_carries(flow, WEBSOCKET)
        return pos

    def read_upgrade(self, flow: cython.int, lo: cython.longlong, hi: cython.longlong) -> cython.bint:
        """Read buf[lo:hi], a head; say whether it opens a WebSocket, and note how its messages are deflated.

        An extension that the request offers counts for nothing; the response takes it (RFC 7692 section 5).
        """
        peer: cython.int = self.peer[flow]
        upgrade: cython.bint = False
        server: cython.int = 0
        client: cython.int = 0
        lf: cython.longlong
        if self.kind == IS_HTTP and not self.says_101(lo, hi):
            return False
        while lo < hi:
            lf = self.find_lf(lo, hi)
            if self.begins_with(lo, lf, self.upgrade_name):
                upgrade = upgrade or self.has_word(lo, lf, self.websocket_word)
            elif self.begins_with(lo, lf, self.extensions_name):
                if self.has_word(lo, lf, self.server_alone):
                    server = NOTE_ALONE
                if self.has_word(lo, lf, self.client_alone):
                    client = NOTE_ALONE
            lo = lf + 1
        if upgrade:
            if self.kind == IS_HTTP:
                self.begin_frames(flow, NOTE_FRESH | server)
                if peer >= 0:
                    self.takeover[peer] |= client
            else:
                self.begin_frames(flow, NOTE_FRESH)
        return upgrade

    def says_101(self, lo: cython.longlong, hi: cython.longlong) -> cython.bint:
        """Tell whether a status line says 101 (Switching Protocols)."""
        return hi - lo > 12 and self.buf[lo + 9] == 49 and self.buf[lo + 10] == 48 and self.buf[lo + 11] == 49

    def begins_with(self, lo: cython.longlong, hi: cython.longlong, word: Any) -> cython.bint:
        """Tell whether buf[lo:hi] begins with a word, in any case."""
        i: cython.Py_ssize_t
        if hi - lo < word.shape[0]:
            return False
        for i in range(word.shape[0]):  # noqa: SIM110 (a closure would need the GIL)
            if self.buf[lo + i] | 0x20 != word[i] | 0x20:
                return False
        return True

    def has_word(self, lo: cython.longlong, hi: cython.longlong, word: Any) -> cython.bint:
        """Tell whether a word stands in buf[lo:hi], in any case."""
        while hi - lo >= word.shape[0]:
            if self.begins_with(lo, hi, word):
                return True
            lo += 1
        return False
