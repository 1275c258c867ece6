"""Kernel: octets of a stream to SIP messages, line by line (RFC 3261 sections 7 and 18.3), and HTTP upgrades.

In: octets of one direction of a stream, cut anywhere. Out: a row for each SIP message; a flow whose HTTP
head says `Upgrade: websocket` carries WebSocket from there on. What can go wrong is counted: KEEPALIVE a run
of CRLF between messages, STREAM_PARTIAL a message over `longest`, STREAM_SKIPPED a run that is no message,
TCP_OTHER where the first line of a flow is neither SIP nor HTTP (start_lines.py tells).

The reader keeps its place in a line (`state`), so that each octet is looked at once and the way a stream was
cut changes nothing. Most of a header is one memchr to its line end; only lines that begin with c or l are
compared with Content-Length.
"""

from typing import Any

import cython
import numpy as np

from hepcat.batch.drops import Drop
from hepcat.wire.columns import AREA_ARENA, PROTOCOL_OTHER, PROTOCOL_UNKNOWN, PROTOCOL_WEBSOCKET
from hepcat.wire.websocket import ALONE, FRESH

if not cython.compiled:  # lines.pxd cimports them
    # fmt: off
    from hepcat.wire.start_lines import (  # noqa: I001
        AFTER, BODY, COLON, CR, DIGITS, FIRST_LINE, IS_HTTP, IS_SIP, LF, LINE, LINE_CR, METHOD, NAME, REST,
        SKIP, SKIPPING, SPACE, START, TAB, VALUE, VALUE_LINE, StartLines,
    )
    # fmt: on

KEEPALIVE = cython.declare(cython.int, int(Drop.KEEPALIVE))
STREAM_PARTIAL = cython.declare(cython.int, int(Drop.STREAM_PARTIAL))
WEBSOCKET_CONTROL = cython.declare(cython.int, int(Drop.WEBSOCKET_CONTROL))
ARENA = cython.declare(cython.int, AREA_ARENA)
FIRST_OCTETS = cython.declare(cython.int, 2)
UNKNOWN = cython.declare(cython.int, PROTOCOL_UNKNOWN)
WEBSOCKET = cython.declare(cython.int, PROTOCOL_WEBSOCKET)
OTHER = cython.declare(cython.int, PROTOCOL_OTHER)
NOTE_FRESH = cython.declare(cython.int, FRESH)
NOTE_ALONE = cython.declare(cython.int, ALONE)

NUL = cython.declare(cython.int, 0)
COLON_SIGN = cython.declare(cython.int, 58)
LETTER_C = cython.declare(cython.int, 99)
LETTER_L = cython.declare(cython.int, 108)

#: Octets looked through for a start line in a stream that was joined in the middle.
SKIP_BUDGET = cython.declare(cython.longlong, 64 << 10)
#: Content-Length saturates here.
SATURATED = cython.declare(cython.longlong, 1 << 32)

_CONTENT_LENGTH = np.frombuffer(b"content-length", dtype=np.uint8)
_UPGRADE = np.frombuffer(b"upgrade:", dtype=np.uint8)
_WEBSOCKET = np.frombuffer(b"websocket", dtype=np.uint8)
_EXTENSIONS = np.frombuffer(b"sec-websocket-extensions:", dtype=np.uint8)
_SERVER_ALONE = np.frombuffer(b"server_no_context_takeover", dtype=np.uint8)
_CLIENT_ALONE = np.frombuffer(b"client_no_context_takeover", dtype=np.uint8)


class LineReader(StartLines):
    """The lines of all flows. What is known of one lies in columns, and in attributes while it is read.

    content: Content-Length, -1 while there is none. number: behind the start line, the value being read; of
    a body, the octets that are missing. mark: where the message, as far as it lies in this stretch, begins.
    The other attributes are described in start_lines.py.
    """

    def __init__(self, flows: int, octets: int, longest: int) -> None:
        super().__init__(flows, octets, longest)
        view: Any = memoryview
        self.budget = view(np.zeros(flows, dtype=np.int64))
        self.state_of = view(np.zeros(flows, dtype=np.uint8))
        self.kind_of = view(np.zeros(flows, dtype=np.uint8))
        self.match_of = view(np.zeros(flows, dtype=np.uint8))
        self.recent_of = view(np.zeros(flows, dtype=np.int64))
        self.content_of = view(np.zeros(flows, dtype=np.int64))
        self.number_of = view(np.zeros(flows, dtype=np.int64))
        self.content_length = view(_CONTENT_LENGTH)
        self.upgrade_name, self.websocket_word = view(_UPGRADE), view(_WEBSOCKET)
        self.extensions_name = view(_EXTENSIONS)
        self.server_alone, self.client_alone = view(_SERVER_ALONE), view(_CLIENT_ALONE)
        self.content = self.mark = 0

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
