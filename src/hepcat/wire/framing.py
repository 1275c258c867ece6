"""Kernel: streams to messages: SIP (RFC 3261 section 18.3), WebSocket (websocket.py), Diameter (RFC 6733).

In: `Stretches`: octets of streams in order, cut anywhere. Out: KIND_DATAGRAM rows, one a message. What can
go wrong is counted (batch/drops.py). Every octet of a stretch is in a message that comes out or is held, or
is counted: KEEPALIVE (CRLF between messages, a run in a stretch), STREAM_PARTIAL (a message cut off by a
hole, a bound or the end), STREAM_SKIPPED (a run that belongs to no message), TCP_OTHER (a stretch of a flow
that carries nothing that is read, TLS that nobody took away included), WEBSOCKET_*.

What a flow carries is decided by its first octets, and again behind a hole while it is not known:
- a TLS record's header, Diameter's first eight octets, a WebSocket frame that begins as SIP does;
- otherwise lines are read. A start line of SIP makes it SIP; `GET` or a status line of HTTP whose headers
  say `Upgrade: websocket` make it WebSocket. Another first line makes it PROTOCOL_OTHER, unless the stream
  was joined in the middle: then SKIP_BUDGET octets are looked through for a start line.

SIP: one reader, which keeps its place in a line, so that the way a stream was cut changes nothing. It reads
no header but Content-Length: absent, it is 0; of several the smallest counts, because too small a value
loses a body and too large a one the message behind it. What follows that is no start line is skipped line
by line; the start of a stretch counts as that of a line there.
"""

from typing import Any

import cython
import numpy as np

from hepcat.batch.drops import Drop
from hepcat.wire.columns import (
    FLOW_END,
    FLOW_GAP,
    FLOW_START,
    PROTOCOL_DIAMETER,
    PROTOCOL_OTHER,
    PROTOCOL_SIP,
    PROTOCOL_TLS,
    PROTOCOL_UNKNOWN,
    PROTOCOL_WEBSOCKET,
    Arena,
    Array,
    Datagrams,
    Flows,
    Stretches,
)
from hepcat.wire.websocket import FRESH, Inflater

if not cython.compiled:  # framing.pxd cimports them
    from hepcat.wire.lines import LineReader

    PREFIX = 32
    NO, YES, MORE = range(3)
    FRAME_LOST = 4
    START, SKIP, FIRST_LINE = 0, 1, 4
    BEHIND_HOLE = 2
    DIAMETER_HEAD, DIAMETER_BODY, DIAMETER_SKIP, DIAMETER_LOST = range(4)

STREAM_PARTIAL = cython.declare(cython.int, int(Drop.STREAM_PARTIAL))
TCP_OTHER = cython.declare(cython.int, int(Drop.TCP_OTHER))
FIRST_OCTETS = cython.declare(cython.int, 2)
STARTS = cython.declare(cython.int, FLOW_START)
GAP = cython.declare(cython.int, FLOW_GAP)
END = cython.declare(cython.int, FLOW_END)
UNKNOWN = cython.declare(cython.int, PROTOCOL_UNKNOWN)
SIP = cython.declare(cython.int, PROTOCOL_SIP)
WEBSOCKET = cython.declare(cython.int, PROTOCOL_WEBSOCKET)
TLS = cython.declare(cython.int, PROTOCOL_TLS)
DIAMETER = cython.declare(cython.int, PROTOCOL_DIAMETER)
OTHER = cython.declare(cython.int, PROTOCOL_OTHER)
NOTE_FRESH = cython.declare(cython.int, FRESH)

#: Octets looked through for a start line in a stream that was joined in the middle.
SKIP_BUDGET = cython.declare(cython.longlong, 64 << 10)
#: Longest Diameter message of which the header is believed.
LONGEST_DIAMETER = cython.declare(cython.longlong, 1 << 20)


class Framer:
    """Cuts messages out of flows. Not shared between threads.

    max_flows: rows of the `Flows` that are handed in. max_octets: octets of partial messages held, all
    together; the one begun first goes for a new one. max_message: octets of the longest message. websocket:
    read it; else a stream of it is PROTOCOL_OTHER.
    """

    def __init__(
        self, max_flows: int, max_octets: int = 8 << 20, max_message: int = 65_535, websocket: bool = True
    ) -> None:
        self._kernel = FlowReader(max_flows, max_octets, max_message)
        self._kernel.opens = websocket
        self._inflater = Inflater(max_message)

    @property
    def held_octets(self) -> int:
        """Octets of partial messages that are held."""
        return int(self._kernel.held)

    def classify(self, stretches: Stretches, rows: Array, data: Any, arena: Arena, flows: Flows) -> None:
        """Set flows.protocol to PROTOCOL_TLS where the first octets of a flow say so.

        TLS shows in one octet; every other protocol is set by `feed`. A flow begins anew with FLOW_START,
        and is looked at again behind FLOW_GAP while it is unknown or other. Parameters as in `feed`.
        """
        rows = np.ascontiguousarray(rows, dtype=np.int64)
        kernel = self._kernel
        kernel.bind_stretches(data, stretches, rows)
        kernel.bind_flows(flows)
        kernel.bind_areas(arena)
        kernel.classify_all(len(rows))

    def feed(
        self,
        stretches: Stretches,
        rows: Array,
        data: Any,
        arena: Arena,
        flows: Flows,
        out: Datagrams,
        drops: Array,
    ) -> None:
        """Read stretches; append to `out` the messages that they complete.

        rows: int64, rows of `stretches`, in order within each flow. data: uint8 buffer, the window. flows:
        the same in every call; protocol is written. drops: int64, indexed by Drop, added to. Raises
        IndexError where a stretch lies outside its area (a bug of the caller).
        """
        rows = np.ascontiguousarray(rows, dtype=np.int64)
        kernel, done = self._kernel, 0
        arena.reserve(self.held_octets + int(stretches.length[rows].sum()))
        kernel.bind_stretches(data, stretches, rows)
        kernel.bind_flows(flows)
        kernel.resume = -1
        while True:
            out.grow(256 + len(rows) - done)
            kernel.bind_output(arena, out, drops)
            done = kernel.run(done, len(rows))
            out.n, arena.used = kernel.row, kernel.used
            if kernel.noted:
                noted = np.array(kernel.deflated[: 2 * kernel.noted], dtype=np.int64).reshape(-1, 2)
                self._inflater.inflate(noted, out, data, arena, drops)
            if done == len(rows):
                return
            arena.reserve(self.held_octets + int(stretches.length[rows[done:]].sum()))


class FlowReader(LineReader):
    """The flows: which protocol each carries, and Diameter."""

    def __init__(self, flows: int, octets: int, longest: int) -> None:
        super().__init__(flows, octets, longest)
        view: Any = memoryview
        self.fresh = view(np.zeros(flows, dtype=np.uint8))  # classify: no octet was seen yet
        self.diameter = view(np.zeros(flows, dtype=np.uint8))
        self.resume = -1
        self.found = 0

    def bind_areas(self, arena: Arena) -> None:
        """Take the areas only, to look at them."""
        view: Any = memoryview
        self.arena = view(arena.data)
        self.arena_in = self.arena
        self.read_from(FIRST_OCTETS)
        self.read_from(0)

    def classify_all(self, n: cython.Py_ssize_t) -> cython.int:
        """Look at n stretches for TLS."""
        i: cython.Py_ssize_t
        with cython.nogil:
            for i in range(n):
                self.classify_one(self.rows[i])
        return 0

    def classify_one(self, row: cython.longlong) -> cython.int:
        """Look at one stretch for TLS."""
        flow: cython.int = self.in_flow[row]
        marks: cython.int = self.marks[row]
        known: cython.int = self.protocol[flow]
        if marks & STARTS:
            self.protocol[flow] = UNKNOWN
            self.fresh[flow] = 1
        elif marks & GAP and known in (UNKNOWN, OTHER):
            self.fresh[flow] = 1
        if self.fresh[flow] and self.length[row] > 0:
            self.fresh[flow] = 0
            self.read_from(self.in_area[row])
            if self.looks_like_tls(self.offset[row], self.offset[row] + self.length[row]):
                self.protocol[flow] = TLS
        return 0

    def run(self, first: cython.Py_ssize_t, n: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """Read rows first..n as far as there is room; return the row to go on with."""
        i: cython.Py_ssize_t = first
        with cython.nogil:
            while i < n and not self.is_full():
                self.resume = self.read_stretch(self.rows[i], self.resume)
                if self.resume >= 0:
                    break
                i += 1
        return i

    def read_stretch(self, row: cython.longlong, resume: cython.longlong) -> cython.Py_ssize_t:
        """Read one stretch, from `resume` on where it was begun; return where the rows were full, or -1."""
        flow: cython.int = self.in_flow[row]
        marks: cython.int = self.marks[row]
        pos: cython.longlong = self.offset[row]
        end: cython.longlong = pos + self.length[row]
        self.flow = flow
        self.this_packet = self.packet[row]
        self.this_ts = self.ts[row]
        self.read_from(self.in_area[row])
        if resume >= 0:
            pos = resume
        else:
            if marks & STARTS:
                self.end_flow(flow)
            if marks & GAP or self.lost[flow]:
                self.find_again(flow)
            if pos < end and self.is_open(flow):
                pos = self.decide(flow, pos, end)
        if pos < end:
            pos = self.read_octets(flow, pos, end)
            if pos < end:
                return pos
        if marks & END:
            self.end_flow(flow)
        return -1

    def read_octets(self, flow: cython.int, pos: cython.longlong, end: cython.longlong) -> cython.Py_ssize_t:
        """Hand octets to what the flow carries, which may change on the way (HTTP to WebSocket)."""
        carries: cython.int
        while pos < end:
            carries = self.carries[flow]
            if carries in (SIP, UNKNOWN):
                pos = self.read_lines(pos, end)
            elif carries == WEBSOCKET:
                pos = self.read_frames(pos, end)
            elif carries == DIAMETER:
                pos = self.read_diameter(pos, end)
            else:
                self.drops[TCP_OTHER] += 1
                return end
            if self.carries[flow] == carries:
                return pos
        if self.carries[flow] == OTHER:
            self.drops[TCP_OTHER] += 1
        return pos

    # ---- what a flow carries

    def is_open(self, flow: cython.int) -> cython.bint:
        """Tell whether the start of a stretch decides what the flow carries, or where it goes on."""
        carries: cython.int = self.carries[flow]
        if carries == UNKNOWN:
            return self.state_of[flow] == START or self.state_of[flow] == SKIP
        if carries == WEBSOCKET:
            return self.frame[flow] == FRAME_LOST
        return carries == DIAMETER and self.diameter[flow] == DIAMETER_LOST

    def decide(self, flow: cython.int, pos: cython.longlong, end: cython.longlong) -> cython.Py_ssize_t:
        """Decide by the octets at pos, and by those that waited for them; return how far they were read."""
        at: cython.longlong = cython.cast(cython.longlong, flow) * PREFIX
        waiting: cython.longlong = self.prefix_size[flow]
        area: cython.int = self.area
        size: cython.longlong = min(PREFIX - waiting, end - pos)
        verdict: cython.int
        i: cython.Py_ssize_t
        if waiting == 0:
            verdict = self.look(flow, pos, end)
            if verdict != MORE:
                return self.act_on_look(flow, verdict, pos, end)
        for i in range(size):
            self.prefix[at + waiting + i] = self.buf[pos + i]
        pos += size
        waiting += size
        self.read_from(FIRST_OCTETS)
        verdict = self.look(flow, at, at + waiting)
        if verdict == MORE and waiting < PREFIX:
            self.prefix_size[flow] = cython.cast(cython.uchar, waiting)
            self.read_from(area)
            return end
        self.prefix_size[flow] = 0
        at = self.act_on_look(flow, NO if verdict == MORE else verdict, at, at + waiting)
        self.read_octets(flow, at, cython.cast(cython.longlong, flow) * PREFIX + waiting)
        self.read_from(area)
        return pos

    def look(self, flow: cython.int, lo: cython.longlong, hi: cython.longlong) -> cython.int:
        """Tell what begins at lo: NO, MORE, or YES with `found`."""
        first: cython.int = self.buf[lo]
        verdict: cython.int
        carries: cython.int = self.carries[flow]
        self.found = carries
        if carries == WEBSOCKET:
            return self.looks_like_frame(lo, hi, True)
        if carries == DIAMETER:
            return self.looks_like_diameter(lo, hi)
        if self.looks_like_tls(lo, hi):
            self.found = TLS
            return YES
        if first == 1:
            self.found = DIAMETER
            verdict = self.looks_like_diameter(lo, hi)
            if verdict != NO:
                return verdict
        if self.opens and (first == 1 or first == 2 or first & 0x80):
            self.found = WEBSOCKET
            return self.looks_like_frame(lo, hi, False)
        self.found = UNKNOWN  # lines will tell
        return YES

    def act_on_look(
        self, flow: cython.int, verdict: cython.int, pos: cython.longlong, end: cython.longlong
    ) -> cython.Py_ssize_t:
        """Begin to read what was found; return from where, `end` where it is nothing to read."""
        if verdict == YES:
            if self.found == UNKNOWN:
                if self.skipping_of[flow]:
                    self.state_of[flow] = START
                return pos
            self.skipping_of[flow] = 0
            self.set_carries(flow, self.found)
            if self.found == WEBSOCKET:
                self.begin_frames(flow, self.takeover[flow] | NOTE_FRESH)
            elif self.found == DIAMETER:
                self.diameter[flow] = DIAMETER_HEAD
            return pos
        if self.carries[flow] == UNKNOWN:
            if not self.joined[flow]:
                self.set_carries(flow, OTHER)
                return pos
            self.state_of[flow] = START  # whose first octet will be none of a start line
            return pos
        self.skip(flow)
        return end

    def looks_like_tls(self, lo: cython.longlong, hi: cython.longlong) -> cython.bint:
        """A record's header (RFC 8446 section 5.1), as far as it is there; no other protocol begins so."""
        first: cython.int = self.buf[lo]
        if first < 0x14 or first > 0x17:
            return False
        if hi - lo > 1 and self.buf[lo + 1] != 3:
            return False
        return not (hi - lo > 2 and self.buf[lo + 2] > 4)

    def looks_like_diameter(self, lo: cython.longlong, hi: cython.longlong) -> cython.int:
        """A Diameter header (RFC 6733 section 3): version 1, a length in words, reserved flags 0."""
        if self.buf[lo] != 1:
            return NO
        if hi - lo < 8:
            return MORE
        size: cython.longlong = self.diameter_size(lo)
        if size < 20 or size > LONGEST_DIAMETER or size & 3 or self.buf[lo + 4] & 0x0F:
            return NO
        return YES

    def diameter_size(self, at: cython.longlong) -> cython.Py_ssize_t:
        """Message length of a header at buf[at]."""
        high: cython.longlong = self.buf[at + 1]
        return (high << 16) | (self.buf[at + 2] << 8) | self.buf[at + 3]

    def find_again(self, flow: cython.int) -> cython.int:
        """Octets are missing: what was begun is over, and what the flow carries may be unknown."""
        carries: cython.int = self.carries[flow]
        self.give_up(flow)
        self.skipping_of[flow] = BEHIND_HOLE
        self.prefix_size[flow] = 0
        if carries == WEBSOCKET:
            self.frame[flow] = FRAME_LOST
            self.takeover[flow] |= NOTE_FRESH
        elif carries == DIAMETER:
            self.diameter[flow] = DIAMETER_LOST
        elif carries != SIP and carries != TLS:
            self.set_carries(flow, UNKNOWN)
            self.joined[flow] = 1
            self.budget[flow] = SKIP_BUDGET
        return 0

    def give_up(self, flow: cython.int) -> cython.int:
        """Count and free the message that a flow has begun."""
        carries: cython.int = self.carries[flow]
        state: cython.int = self.state_of[flow]
        if self.lost[flow]:  # counted when its room was taken
            self.lost[flow] = 0
            self.message[flow] = 0
        elif carries == WEBSOCKET:
            self.lose_frames(flow)
        elif self.held_of[flow] > 0 and not (self.skipping_of[flow] and state <= FIRST_LINE):
            self.drops[STREAM_PARTIAL] += 1
        self.discard(flow)
        self.state_of[flow] = START
        self.skipping_of[flow] = 0
        return 0

    def end_flow(self, flow: cython.int) -> cython.int:
        """The flow is over, or begins anew: nothing that is known of it holds any more."""
        self.give_up(flow)
        self.set_carries(flow, UNKNOWN)
        self.joined[flow] = 0
        self.prefix_size[flow] = 0
        self.takeover[flow] = NOTE_FRESH
        return 0

    # ---- Diameter

    def read_diameter(self, pos: cython.longlong, end: cython.longlong) -> cython.Py_ssize_t:
        """Cut Diameter messages by their length."""
        flow: cython.int = self.flow
        size: cython.longlong
        while pos < end:
            if self.diameter[flow] == DIAMETER_LOST:
                self.skip(flow)
                return end
            if self.diameter[flow] == DIAMETER_HEAD:
                if self.area != FIRST_OCTETS and self.is_full():
                    return pos
                pos = self.read_diameter_head(flow, pos, end)
                continue
            size = min(self.frame_left[flow], end - pos)
            self.frame_left[flow] -= size
            if self.diameter[flow] == DIAMETER_BODY:
                if self.frame_left[flow] == 0:
                    self.emit_slice(pos, pos + size)
                else:
                    self.keep(pos, pos + size)
                if self.lost[flow]:
                    self.lost[flow] = 0
                    self.diameter[flow] = DIAMETER_SKIP
            if self.frame_left[flow] == 0:
                self.diameter[flow] = DIAMETER_HEAD
            pos += size
        return pos

    def read_diameter_head(
        self, flow: cython.int, pos: cython.longlong, end: cython.longlong
    ) -> cython.Py_ssize_t:
        """Read the octets that tell the length; they are held where they come in parts."""
        at: cython.longlong = cython.cast(cython.longlong, flow) * PREFIX
        n: cython.longlong = self.prefix_size[flow]
        area: cython.int = self.area
        verdict: cython.int
        size: cython.longlong
        i: cython.Py_ssize_t
        if n == 0 and end - pos >= 8:
            verdict = self.looks_like_diameter(pos, end)
            size = self.diameter_size(pos)
            self.frame_left[flow] = size
        else:
            size = min(8 - n, end - pos)
            for i in range(size):
                self.prefix[at + n + i] = self.buf[pos + i]
            self.keep(pos, pos + size)
            pos += size
            n += size
            self.prefix_size[flow] = cython.cast(cython.uchar, n)
            if self.lost[flow]:
                self.lost[flow] = 0
                self.diameter[flow] = DIAMETER_LOST
                return pos
            if n < 8:
                return pos
            self.prefix_size[flow] = 0
            self.read_from(FIRST_OCTETS)
            verdict = self.looks_like_diameter(at, at + 8)
            size = self.diameter_size(at)
            self.read_from(area)
            self.frame_left[flow] = size - 8
        self.diameter[flow] = DIAMETER_BODY
        if verdict != YES:
            self.discard(flow)
            self.diameter[flow] = DIAMETER_LOST
        elif size > self.longest:
            self.drops[STREAM_PARTIAL] += 1
            self.discard(flow)
            self.diameter[flow] = DIAMETER_SKIP
        return pos
