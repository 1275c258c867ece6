"""Kernel: the two directions of TCP streams, each put in order (RFC 9293). No I/O, no clock.

In: flags, sequence number and octets of a segment, with the flow that it belongs to. Out: rows of
`Stretches`, and the segment's `outcome`. What can go wrong: the outcome is the drop reason of a segment of
which nothing was new or had room; STREAM_GAP counts holes, TCP_BOUND what was held and is lost. The base of
tcp.py's `Streams`, which knows whose flows they are and has the sum over all segments.

- The octets seen first win: a later copy that differs is not looked at.
- A flow begins with a SYN, or with the first data that is seen (FLOW_START | FLOW_GAP). A SYN with another
  initial number begins it anew, a late or repeated one does not.
- A hole is given up when neither it nor anything before it came for `gap_us` of packet time, or when
  `ahead` octets (or AHEAD_PIECES runs of them) wait behind it. Then they come out with FLOW_GAP.
- A segment further than `far` from what is expected is no late one but a jump: the flow goes on there.
  So a forged segment costs one message, never the rest of the stream.
"""

from typing import Any

import cython
import numpy as np

from hepcat.batch.drops import Drop
from hepcat.wire.columns import FLOW_END, FLOW_GAP, FLOW_START, Flows

if not cython.compiled:  # tcp_flows.pxd cimports them, and has the numbers as C constants
    from hepcat.wire.held import AgeList
    from hepcat.wire.tcp_pieces import Pieces

    BLOCK = 512
    NONE, OPENED, DATA, CLOSED = range(4)
    #: Flags (RFC 9293 section 3.1).
    FIN, SYN, RST, PSH = 1, 2, 4, 8
    #: `outcome` where a segment is not counted as a drop.
    KEPT = -1
    #: The most stretches one segment can set free: two flows' pieces, and a hole given up a block it takes.
    MOST_STRETCHES = 8192

TCP_CONTROL = cython.declare(cython.int, int(Drop.TCP_CONTROL))
TCP_DUPLICATE = cython.declare(cython.int, int(Drop.TCP_DUPLICATE))
TCP_BOUND = cython.declare(cython.int, int(Drop.TCP_BOUND))
STREAM_GAP = cython.declare(cython.int, int(Drop.STREAM_GAP))
START = cython.declare(cython.int, FLOW_START)
GAP = cython.declare(cython.int, FLOW_GAP)
END = cython.declare(cython.int, FLOW_END)

#: Sequence numbers: 32 bits.
SEQ_MASK = cython.declare(cython.longlong, (1 << 32) - 1)
#: Runs of octets that wait behind one flow's holes; walking over them is what a segment can cost.
AHEAD_PIECES = cython.declare(cython.int, 1024)


class TcpFlows(Pieces):
    """The flows: how each began, whether it waits for a hole, where it ends. The other direction is flow ^ 1.

    state: NONE, OPENED by a SYN, DATA, CLOSED. isn: its initial number. fin_at: the number of its FIN, -1
    while there is none. since: when it began to wait for a hole.
    """

    def __init__(self, flows: Flows, streams: int, octets: int, gap_us: int, ahead: int) -> None:
        n = 2 * streams
        super().__init__(n, octets)
        view: Any = memoryview
        self.gap_us, self.ahead = gap_us, ahead
        self.far = max(4 * self.ahead, 1 << 20)
        self.waiting = AgeList(n)  # flows with a hole, by the time of their last progress
        self.is_waiting = view(np.zeros(n, dtype=np.uint8))
        self.since = view(np.zeros(n, dtype=np.int64))
        self.state = view(np.zeros(n, dtype=np.uint8))
        self.isn = view(np.zeros(n, dtype=np.int64))
        self.fin_at = view(np.full(n, -1, dtype=np.int64))
        self.flow_peer = view(flows.peer)

    # ---- flows

    def take_segment(
        self,
        flow: cython.int,
        flags: cython.int,
        seq: cython.longlong,
        offset: cython.longlong,
        length: cython.longlong,
    ) -> cython.int:
        """SYN, data and FIN of a segment, in this order (RFC 9293 section 3.4: SYN and FIN take a number)."""
        ahead: cython.longlong
        if flags & SYN:
            self.open_flow(flow, seq)
            seq = (seq + 1) & SEQ_MASK
        if length > 0:
            if self.may_take(flow, seq, length):
                self.add_data(flow, seq, offset, length)
        elif self.state[flow] == NONE or self.state[flow] == CLOSED:
            return 0
        if flags & FIN:
            seq = (seq + length) & SEQ_MASK
            ahead = self.distance(seq, self.next_seq[flow])
            if self.state[flow] != CLOSED and self.fin_at[flow] < 0 and 0 <= ahead <= self.far:
                self.fin_at[flow] = seq
                self.settle(flow)
        return 0

    def open_flow(self, flow: cython.int, isn: cython.longlong) -> cython.int:
        """A SYN: begin the flow, unless it is a copy of the one that began it."""
        other: cython.int = flow ^ 1
        if self.state[flow] != NONE:
            if self.isn[flow] == isn:
                return 0
            self.end_flow(flow)  # the ports are used again
            if self.state[other] == DATA:
                self.end_flow(other)
                self.state[other] = NONE
        self.begin(flow, isn, START)
        self.state[flow] = OPENED
        return 0

    def begin(self, flow: cython.int, isn: cython.longlong, marks: cython.int) -> cython.int:
        """Expect the octet after isn; the first stretch will have these marks."""
        self.isn[flow] = isn
        self.next_seq[flow] = (isn + 1) & SEQ_MASK
        self.fin_at[flow] = -1
        self.since[flow] = self.now
        self.pending[flow] = marks
        self.state[flow] = DATA
        if self.state[flow ^ 1] != NONE:
            self.flow_peer[flow] = flow ^ 1
            self.flow_peer[flow ^ 1] = flow
        return 0

    def may_take(self, flow: cython.int, seq: cython.longlong, length: cython.longlong) -> cython.bint:
        """Begin the flow at this data or jump to it, where it does not follow; False for a late copy."""
        ahead: cython.longlong = self.distance(seq, self.next_seq[flow])
        near: cython.bint = -self.far <= ahead <= self.far
        if self.state[flow] == NONE:
            self.begin(flow, (seq - 1) & SEQ_MASK, START | GAP)
        elif self.state[flow] == CLOSED:
            if near and ahead + length <= 0:
                self.outcome = TCP_DUPLICATE
                return False
            self.begin(flow, (seq - 1) & SEQ_MASK, START | GAP)
        elif not near:
            self.release(flow)
            self.drops[STREAM_GAP] += 1
            if self.state[flow] == CLOSED:  # its end was among what was waited for
                self.begin(flow, (seq - 1) & SEQ_MASK, START | GAP)
            self.next_seq[flow] = seq
            self.pending[flow] |= GAP
        self.state[flow] = DATA
        return True

    def reset(self, flow: cython.int, seq: cython.longlong) -> cython.int:
        """RST: both directions end. One that is far from the stream is forged (RFC 5961 section 3)."""
        ahead: cython.longlong = self.distance(seq, self.next_seq[flow])
        if (self.state[flow] == OPENED or self.state[flow] == DATA) and not -self.far <= ahead <= self.far:
            return 0
        self.end_flow(flow)
        self.end_flow(flow ^ 1)
        return 0

    def end_flow(self, flow: cython.int) -> cython.int:
        """Set free what waits, and end the flow."""
        if self.state[flow] == NONE or self.state[flow] == CLOSED:
            return 0
        self.release(flow)
        self.close(flow)
        return 0

    def close(self, flow: cython.int) -> cython.int:
        """Say that nothing more comes on this flow."""
        if self.is_waiting[flow]:
            self.waiting.remove(flow)
            self.is_waiting[flow] = 0
        self.fin_at[flow] = -1
        if self.begun[flow]:
            self.pending[flow] = END
            self.emit(flow, 0, 0, 0)
            self.begun[flow] = 0
        self.pending[flow] = 0
        self.state[flow] = CLOSED
        return 0

    def forget(self, flow: cython.int) -> cython.int:
        """Nothing is known of the flow any more; what it held is lost (TCP_BOUND)."""
        self.drops[TCP_BOUND] += self.flow_segments[flow]
        self.held_segments -= self.flow_segments[flow]
        self.held -= self.flow_held[flow]
        self.flow_segments[flow] = self.flow_held[flow] = 0
        self.pool.give_chain(self.head[flow])
        self.head[flow] = self.tail[flow] = -1
        self.pieces[flow] = 0
        self.close(flow)
        self.state[flow] = NONE
        return 0

    def settle(self, flow: cython.int) -> cython.int:
        """After progress or a new piece: end the flow at its FIN, and note whether it waits for a hole."""
        if self.fin_at[flow] >= 0 and self.distance(self.fin_at[flow], self.next_seq[flow]) <= 0:
            self.end_flow(flow)
            return 0
        if self.head[flow] >= 0 or self.fin_at[flow] >= 0:
            if not self.is_waiting[flow]:
                self.is_waiting[flow] = 1
                self.since[flow] = self.now
                self.waiting.push(flow)
        elif self.is_waiting[flow]:
            self.waiting.remove(flow)
            self.is_waiting[flow] = 0
        return 0

    # ---- data

    def add_data(
        self, flow: cython.int, seq: cython.longlong, offset: cython.longlong, length: cython.longlong
    ) -> cython.int:
        """Pass on what is next, hold what is early, leave what was seen."""
        ahead: cython.longlong
        size: cython.longlong
        progress: cython.bint = False
        self.outcome = TCP_DUPLICATE
        if length == 1 and self.distance(seq, self.next_seq[flow]) == -1:
            self.outcome = TCP_CONTROL  # a keep-alive probe (RFC 9293 section 3.8.4)
        while length > 0:
            ahead = self.distance(seq, self.next_seq[flow])
            if ahead > 0:
                self.make_room(flow, length)
                self.hold(flow, seq, offset, length)
                break
            if ahead < 0:
                size = min(-ahead, length)
            else:
                size = length
                if self.head[flow] >= 0:
                    size = min(size, self.distance(self.piece_seq[self.head[flow]], seq))
                self.emit(flow, self.this_area, offset, size)
                self.next_seq[flow] = (seq + size) & SEQ_MASK
                progress = True
                if self.head[flow] >= 0:
                    self.drain(flow, False)
            seq = (seq + size) & SEQ_MASK
            offset += size
            length -= size
        if progress:
            self.outcome = KEPT
            self.passed += 1
            if self.is_waiting[flow]:
                self.waiting.remove(flow)  # the time of a hole counts from the last progress
                self.is_waiting[flow] = 0
        if self.head[flow] >= 0 or self.is_waiting[flow] or self.fin_at[flow] >= 0:
            self.settle(flow)
            while self.flow_held[flow] > self.ahead or self.pieces[flow] > AHEAD_PIECES:
                self.give_up(flow, False)
        return 0

    # ---- holes

    def make_room(self, flow: cython.int, length: cython.longlong) -> cython.int:
        """See to free blocks for a segment: the holes waited for longest are given up for it."""
        while self.pool.left < length // BLOCK + 2:
            if self.waiting.oldest < 0 or self.waiting.oldest == flow:
                break
            self.give_up(self.waiting.oldest, False)
        return 0

    def skip_hole(self, flow: cython.int) -> cython.int:
        """Do without the octets before the next piece, or before the FIN."""
        self.drops[STREAM_GAP] += 1
        if self.head[flow] >= 0:
            self.next_seq[flow] = self.piece_seq[self.head[flow]]
            self.pending[flow] |= GAP
            self.drain(flow, True)
        elif self.fin_at[flow] >= 0:
            self.next_seq[flow] = self.fin_at[flow]
        return 0

    def release(self, flow: cython.int) -> cython.int:
        """Pass on all that waits, holes or not."""
        while self.head[flow] >= 0:
            self.skip_hole(flow)
        return 0

    def give_up(self, flow: cython.int, old: cython.bint) -> cython.int:
        """Give up the first hole of a flow, with `old` all that are as old; a later one gets its own time."""
        self.skip_hole(flow)
        while old and self.head[flow] >= 0 and abs(self.now - self.piece_ts[self.head[flow]]) > self.gap_us:
            self.skip_hole(flow)
        if self.is_waiting[flow]:
            self.waiting.remove(flow)
            self.is_waiting[flow] = 0
        return self.settle(flow)

    def give_up_overdue(self) -> cython.int:
        """Give up the holes that nothing came for in gap_us."""
        flow: cython.int = self.waiting.oldest
        while (
            flow >= 0
            and abs(self.now - self.since[flow]) > self.gap_us
            and self.room - self.row >= MOST_STRETCHES
        ):
            self.give_up(flow, True)
            flow = self.waiting.oldest
        return 0
