"""Kernel: TCP segments to stretches of their streams, in order (RFC 9293). No I/O, no clock.

In: SEGMENT rows of `Datagrams`, as captured. Out: `Stretches`: the octets of each direction of each stream,
every one once; those that came in order are referred to where they lie, those that came early are held and
then lie in the arena. What can go wrong is counted (batch/drops.py), in segments, so that always
    segments fed = passed on + held + TCP_CONTROL + TCP_DUPLICATE + TCP_BOUND.
STREAM_GAP counts holes, beside that sum. A segment of which a part was new counts as passed on or held.

- The octets seen first win: a later copy that differs is not looked at.
- A stream is a pair of flows, one a direction. It begins with a SYN, or with the first data that is seen
  (FLOW_START | FLOW_GAP). A SYN with another initial number begins it anew, a late or repeated one does not.
- A hole is given up when neither it nor anything before it came for `gap_us` of packet time, or when
  `ahead` octets (or AHEAD_PIECES runs of them) wait behind it. Then they come out with FLOW_GAP.
- A segment further than `far` from what is expected is no late one but a jump: the stream goes on there.
  So a forged segment costs one message, never the rest of the stream.
- What must go when there is no room: streams that ended, then those that were opened but never
  carried data (a flood of SYN pushes out nothing else), then the longest idle.
- A flow id is not given to other addresses within one call, because earlier stretches refer to it.
- Time is the packets'. A clock that is set, either way, by more than a bound ends what the bound is for: else
  one stream whose time lies ahead would keep all behind it in the lists.
"""

import secrets
from typing import Any, Final

import cython
import numpy as np

from hepcat.batch.drops import Drop
from hepcat.wire.columns import FLOW_END, FLOW_GAP, FLOW_START, Arena, Array, Datagrams, Flows, Stretches

if not cython.compiled:  # tcp.pxd cimports them, and has the numbers as C constants
    from hepcat.wire.held import AgeList, KeyTable
    from hepcat.wire.tcp_pieces import Pieces

    BLOCK = 512
    NONE, OPENED, DATA, CLOSED = range(4)
    ENDED_LIST, OPENED_LIST, DATA_LIST = range(3)

TCP_CONTROL = cython.declare(cython.int, int(Drop.TCP_CONTROL))
TCP_DUPLICATE = cython.declare(cython.int, int(Drop.TCP_DUPLICATE))
TCP_BOUND = cython.declare(cython.int, int(Drop.TCP_BOUND))
STREAM_GAP = cython.declare(cython.int, int(Drop.STREAM_GAP))
START = cython.declare(cython.int, FLOW_START)
GAP = cython.declare(cython.int, FLOW_GAP)
END = cython.declare(cython.int, FLOW_END)
#: `outcome` where a segment is not counted as a drop.
KEPT = cython.declare(cython.int, -1)

#: Flags (RFC 9293 section 3.1).
FIN = cython.declare(cython.int, 1)
SYN = cython.declare(cython.int, 2)
RST = cython.declare(cython.int, 4)
PSH = cython.declare(cython.int, 8)

#: Sequence numbers: 32 bits.
SEQ_MASK = cython.declare(cython.longlong, (1 << 32) - 1)

#: Runs of octets that wait behind one flow's holes; walking over them is what a segment can cost.
AHEAD_PIECES = cython.declare(cython.int, 1024)
#: The most stretches one segment can set free: two flows' pieces, and a hole given up a block it takes.
MOST_STRETCHES: Final = 8192
ROOM = cython.declare(cython.Py_ssize_t, MOST_STRETCHES)

#: Octets of the key table's secret.
SEED_OCTETS: Final = 96


class TcpReassembler:
    """Puts the streams of one source in order. Not shared between threads.

    max_streams: streams (pairs of flows) known at a time. max_octets: octets held behind holes, all
    together. idle_us: a stream without a segment for so long is forgotten. gap_us, ahead: when a hole is
    given up. seed: 96 octets, for tests; random otherwise. `flows` keeps its arrays for good.
    """

    def __init__(
        self,
        max_streams: int = 10_000,
        max_octets: int = 16 << 20,
        idle_us: int = 600_000_000,
        gap_us: int = 2_000_000,
        ahead: int = 256 << 10,
        seed: bytes | None = None,
    ) -> None:
        self.flows = Flows.empty(2 * max_streams)
        self._kernel = Streams(
            self.flows,
            max_streams,
            max_octets,
            (idle_us, gap_us, ahead),
            seed or secrets.token_bytes(SEED_OCTETS),
        )

    @property
    def streams(self) -> int:
        """Streams known, those that ended and are kept for their late copies included."""
        return int(self._kernel.table.count)

    @property
    def held_octets(self) -> int:
        """Octets that wait behind holes."""
        return int(self._kernel.held)

    @property
    def held_segments(self) -> int:
        """Segments of which octets wait behind holes, and none was passed on."""
        return int(self._kernel.held_segments)

    @property
    def passed(self) -> int:
        """Segments passed on, wholly or in part, since the beginning."""
        return int(self._kernel.passed)

    def feed(
        self, data: Any, found: Datagrams, rows: Array, arena: Arena, out: Stretches, drops: Array
    ) -> None:
        """Read segments; append to `out` what they make available.

        data: uint8 buffer, the window. rows: int64, the SEGMENT rows of `found`, in the order of capture.
        drops: int64, indexed by Drop, added to. Raises IndexError where a row lies outside its area (a bug
        of the caller).
        """
        rows = np.ascontiguousarray(rows, dtype=np.int64)
        arena.reserve(self.held_octets + int(found.length[rows].sum()))
        kernel, done = self._kernel, 0
        kernel.bind_input(data, found, rows)
        kernel.feeds += 1
        while True:
            out.grow(MOST_STRETCHES + len(rows) - done)
            kernel.bind_output(arena, out, drops)
            done = kernel.run(done, len(rows))
            out.n, arena.used = kernel.row, kernel.used
            if done == len(rows):
                return

    def expire(self, now_us: int, arena: Arena, out: Stretches, drops: Array) -> None:
        """Give up holes older than gap_us and forget streams idle for idle_us.

        now_us: packet time. A stretch that this sets free has the time at which its octets came, and
        packet 0, since no packet of a window made it available.
        """
        kernel = self._kernel
        arena.reserve(self.held_octets)
        done = False
        while not done:
            out.grow(MOST_STRETCHES)
            kernel.bind_output(arena, out, drops)
            done = bool(kernel.run_expire(now_us))
            out.n, arena.used = kernel.row, kernel.used


class Streams(Pieces):
    """The streams: slot s has the flows 2s (from the lower end) and 2s + 1 (from the higher one)."""

    def __init__(
        self, flows: Flows, streams: int, octets: int, limits: tuple[int, int, int], seed: bytes
    ) -> None:
        super().__init__(2 * streams, octets)
        view: Any = memoryview
        self.table = KeyTable(streams, seed)
        self.idle_us, self.gap_us, self.ahead = limits
        self.far = max(4 * self.ahead, 1 << 20)
        # streams
        self.ended, self.opened, self.carrying = AgeList(streams), AgeList(streams), AgeList(streams)
        self.list_of = view(np.zeros(streams, dtype=np.uint8))
        self.last = view(np.zeros(streams, dtype=np.int64))
        # flows
        n = 2 * streams
        self.waiting = AgeList(n)  # flows with a hole, by the time of their last progress
        self.is_waiting = view(np.zeros(n, dtype=np.uint8))
        self.since = view(np.zeros(n, dtype=np.int64))
        self.state = view(np.zeros(n, dtype=np.uint8))
        self.isn = view(np.zeros(n, dtype=np.int64))
        self.fin_at = view(np.full(n, -1, dtype=np.int64))
        # the addresses of each flow, as the framer reads them
        self.flow_family = view(flows.family)
        self.flow_src = view(flows.src_ip.reshape(-1).view(np.uint32))
        self.flow_dst = view(flows.dst_ip.reshape(-1).view(np.uint32))
        self.flow_src_port = view(flows.src_port)
        self.flow_dst_port = view(flows.dst_port)
        self.flow_vlan = view(flows.vlan)
        self.flow_peer = view(flows.peer)
        self.way = 0

    def bind_input(self, data: Any, found: Datagrams, rows: Array) -> None:
        """Take the columns of the segments."""
        view: Any = memoryview
        self.bind_data(data)
        self.rows = view(rows)
        self.packet, self.ts = view(found.packet), view(found.ts)
        self.offset, self.length, self.area = view(found.offset), view(found.length), view(found.area)
        self.family, self.vlan = view(found.family), view(found.vlan)
        self.src_port, self.dst_port = view(found.src_port), view(found.dst_port)
        self.seq, self.bits = view(found.seq), view(found.bits)
        self.src_ip = view(found.src_ip.reshape(-1).view(np.uint32))
        self.dst_ip = view(found.dst_ip.reshape(-1).view(np.uint32))

    def run(self, first: cython.Py_ssize_t, n: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """Read rows first..n as far as there is room; return the row after the last that was read."""
        i: cython.Py_ssize_t = first
        with cython.nogil:
            while i < n and self.room - self.row >= ROOM:
                self.add_segment(self.rows[i])
                i += 1
        return i

    def run_expire(self, now_us: cython.longlong) -> cython.bint:
        """Forget what is older than its bound; return whether that is all done."""
        done: cython.bint
        with cython.nogil:
            self.now = self.stamp = now_us
            self.this_packet = 0
            self.give_up_overdue()
            done = self.expire_list(self.ended)
            done = self.expire_list(self.opened) and done
            done = self.expire_list(self.carrying) and done
            done = done and self.room - self.row >= ROOM
        return done

    # ---- streams

    def add_segment(self, row: cython.longlong) -> cython.int:
        """One segment: find its stream, let its flags act, take its data."""
        flags: cython.int = self.bits[row]
        length: cython.longlong = self.length[row]
        self.now = self.stamp = self.ts[row]
        self.this_packet = self.packet[row]
        self.this_area = self.area[row]
        self.outcome = TCP_CONTROL
        if self.waiting.oldest >= 0:
            self.give_up_overdue()
        slot: cython.int = self.find_stream(row)
        if slot < 0:
            # A lone octet without PSH is a keep-alive probe, whose octet is not the stream's.
            if not flags & SYN and (length <= 0 or flags & RST or (length == 1 and not flags & PSH)):
                self.drops[TCP_CONTROL] += 1
                return 0
            slot = self.admit(row)
            if slot < 0:
                self.drops[TCP_BOUND] += 1
                return 0
        self.last[slot] = self.now
        flow: cython.int = 2 * slot + self.way
        if flags & RST:
            self.reset(flow, self.seq[row])
        else:
            self.take_segment(flow, flags, self.seq[row], self.offset[row], length)
        self.sort_stream(slot)
        if self.outcome != KEPT:
            self.drops[self.outcome] += 1
        return 0

    def find_stream(self, row: cython.longlong) -> cython.int:
        """The stream of a segment, -1 if it is new; sets `way`, 1 where it comes from the higher end."""
        i: cython.Py_ssize_t
        at: cython.Py_ssize_t = 4 * row
        source: cython.longlong = self.src_port[row]
        target: cython.longlong = self.dst_port[row]
        order: cython.longlong = 0
        for i in range(4):
            order = cython.cast(cython.longlong, self.src_ip[at + i]) - self.dst_ip[at + i]
            if order != 0:
                break
        if order == 0:
            order = source - target
        self.way = order > 0
        if self.way:
            for i in range(4):
                self.table.key[i] = self.dst_ip[at + i]
                self.table.key[4 + i] = self.src_ip[at + i]
            source, target = target, source
        else:
            for i in range(4):
                self.table.key[i] = self.src_ip[at + i]
                self.table.key[4 + i] = self.dst_ip[at + i]
        self.table.key[8] = cython.cast(cython.uint, (source << 16) | target)
        vlan: cython.longlong = self.vlan[row]
        family: cython.longlong = self.family[row]
        self.table.key[9] = cython.cast(cython.uint, (family << 16) | vlan)
        return self.table.find()

    def admit(self, row: cython.longlong) -> cython.int:
        """Make room for the stream of the key that was not found; -1 where nothing may go for it."""
        victim: cython.int = self.table.crowded
        if victim < 0 and self.table.count >= self.table.slots:
            victim = self.ended.oldest
            if victim < 0 or self.fed[victim] == self.feeds:
                victim = self.opened.oldest
            if victim < 0 or self.fed[victim] == self.feeds:
                victim = self.carrying.oldest
        if victim >= 0:
            if self.fed[victim] == self.feeds:
                return -1
            self.evict(victim)
        slot: cython.int = self.table.add()
        self.list_of[slot] = OPENED_LIST
        self.opened.push(slot)
        self.fed[slot] = 0
        self.write_addresses(2 * slot + self.way, row, False)
        self.write_addresses(2 * slot + 1 - self.way, row, True)
        return slot

    def write_addresses(self, flow: cython.int, row: cython.longlong, turned: cython.bint) -> cython.int:
        """Write a row of Flows; `turned` for the direction against the segment's."""
        i: cython.Py_ssize_t
        at: cython.Py_ssize_t = 4 * row
        to: cython.Py_ssize_t = 4 * flow
        for i in range(4):
            self.flow_src[to + i] = self.dst_ip[at + i] if turned else self.src_ip[at + i]
            self.flow_dst[to + i] = self.src_ip[at + i] if turned else self.dst_ip[at + i]
        self.flow_src_port[flow] = self.dst_port[row] if turned else self.src_port[row]
        self.flow_dst_port[flow] = self.src_port[row] if turned else self.dst_port[row]
        self.flow_family[flow] = self.family[row]
        self.flow_vlan[flow] = self.vlan[row]
        self.flow_peer[flow] = -1
        self.state[flow] = NONE
        return 0

    def sort_stream(self, slot: cython.int) -> cython.int:
        """Put a stream at the new end of the list that it belongs to."""
        a: cython.int = self.state[2 * slot]
        b: cython.int = self.state[2 * slot + 1]
        which: cython.int = OPENED_LIST
        if a == DATA or b == DATA:
            which = DATA_LIST
        elif (a == CLOSED or b == CLOSED) and a != OPENED and b != OPENED:
            which = ENDED_LIST
        if which == DATA_LIST and self.list_of[slot] == DATA_LIST and self.carrying.newest == slot:
            return 0
        self.unlist(slot)
        self.list_of[slot] = which
        if which == DATA_LIST:
            self.carrying.push(slot)
        elif which == OPENED_LIST:
            self.opened.push(slot)
        else:
            self.ended.push(slot)
        return 0

    def unlist(self, slot: cython.int) -> cython.int:
        """Take a stream out of its list."""
        if self.list_of[slot] == DATA_LIST:
            self.carrying.remove(slot)
        elif self.list_of[slot] == OPENED_LIST:
            self.opened.remove(slot)
        else:
            self.ended.remove(slot)
        return 0

    def evict(self, slot: cython.int) -> cython.int:
        """Forget a stream; what it held is lost (TCP_BOUND)."""
        flow: cython.int
        for flow in range(2 * slot, 2 * slot + 2):
            self.drops[TCP_BOUND] += self.flow_segments[flow]
            self.held_segments -= self.flow_segments[flow]
            self.held -= self.flow_held[flow]
            self.flow_segments[flow] = self.flow_held[flow] = 0
            self.pool.give_chain(self.head[flow])
            self.head[flow] = self.tail[flow] = -1
            self.pieces[flow] = 0
            self.close(flow)
            self.state[flow] = NONE
        self.unlist(slot)
        self.table.remove(slot)
        return 0

    def expire_list(self, streams: AgeList) -> cython.bint:
        """Forget the idle streams of a list; return whether that is all of them."""
        slot: cython.int
        while streams.oldest >= 0 and abs(self.now - self.last[streams.oldest]) > self.idle_us:
            if self.room - self.row < ROOM:
                return False
            slot = streams.oldest
            self.end_flow(2 * slot)
            self.end_flow(2 * slot + 1)
            self.evict(slot)
        return True

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
        while flow >= 0 and abs(self.now - self.since[flow]) > self.gap_us and self.room - self.row >= ROOM:
            self.give_up(flow, True)
            flow = self.waiting.oldest
        return 0
