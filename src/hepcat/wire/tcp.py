"""Kernel: TCP segments to stretches of their streams, in order (RFC 9293). No I/O, no clock.

In: SEGMENT rows of `Datagrams`, as captured. Out: `Stretches`: the octets of each direction of each stream,
every one once; those that came in order are referred to where they lie, those that came early are held and
then lie in the arena. What can go wrong is counted (batch/drops.py), in segments, so that always
    segments fed = passed on + held + TCP_CONTROL + TCP_DUPLICATE + TCP_BOUND.
STREAM_GAP counts holes, beside that sum. A segment of which a part was new counts as passed on or held.

- A stream is a pair of flows, one a direction; tcp_flows.py puts each in order.
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
from hepcat.wire.columns import Arena, Array, Datagrams, Flows, Stretches

if not cython.compiled:  # tcp.pxd cimports them, and has the numbers of the lists as C constants
    # fmt: off
    from hepcat.wire.held import AgeList, KeyTable  # noqa: I001
    from hepcat.wire.tcp_flows import (
        CLOSED, DATA, KEPT, MOST_STRETCHES, NONE, OPENED, PSH, RST, SYN, TcpFlows,
    )
    # fmt: on

    ENDED_LIST, OPENED_LIST, DATA_LIST = range(3)

TCP_CONTROL = cython.declare(cython.int, int(Drop.TCP_CONTROL))
TCP_BOUND = cython.declare(cython.int, int(Drop.TCP_BOUND))

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


class Streams(TcpFlows):
    """The streams: slot s has the flows 2s (from the lower end) and 2s + 1 (from the higher one)."""

    def __init__(
        self, flows: Flows, streams: int, octets: int, limits: tuple[int, int, int], seed: bytes
    ) -> None:
        self.idle_us, gap_us, ahead = limits
        super().__init__(flows, streams, octets, gap_us, ahead)
        view: Any = memoryview
        self.table = KeyTable(streams, seed)
        self.ended, self.opened, self.carrying = AgeList(streams), AgeList(streams), AgeList(streams)
        self.list_of = view(np.zeros(streams, dtype=np.uint8))
        self.last = view(np.zeros(streams, dtype=np.int64))
        # the addresses of each flow, as the framer reads them
        self.flow_family = view(flows.family)
        self.flow_src = view(flows.src_ip.reshape(-1).view(np.uint32))
        self.flow_dst = view(flows.dst_ip.reshape(-1).view(np.uint32))
        self.flow_src_port = view(flows.src_port)
        self.flow_dst_port = view(flows.dst_port)
        self.flow_vlan = view(flows.vlan)
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
            while i < n and self.room - self.row >= MOST_STRETCHES:
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
            done = done and self.room - self.row >= MOST_STRETCHES
        return done

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
        """Forget a stream and what it held."""
        flow: cython.int
        for flow in range(2 * slot, 2 * slot + 2):
            self.forget(flow)
        self.unlist(slot)
        self.table.remove(slot)
        return 0

    def expire_list(self, streams: AgeList) -> cython.bint:
        """Forget the idle streams of a list; return whether that is all of them."""
        slot: cython.int
        while streams.oldest >= 0 and abs(self.now - self.last[streams.oldest]) > self.idle_us:
            if self.room - self.row < MOST_STRETCHES:
                return False
            slot = streams.oldest
            self.end_flow(2 * slot)
            self.end_flow(2 * slot + 1)
            self.evict(slot)
        return True
