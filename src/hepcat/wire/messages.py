"""Kernel: messages of streams that are not whole yet, and the rows of those that are.

In: octets of one stretch at a time, with the flow that they belong to. Out: KIND_DATAGRAM rows: a message
that lies whole within its stretch is referred to there, any other is copied to the arena. What can go wrong:
no block is free, then the partial message that was begun first goes for it (STREAM_PARTIAL).

The base of the framer (websocket.py, framing.py). Per flow, a chain of blocks; `lost` tells the framer that
a flow's partial message is gone, so that it has to find the next one.
"""

from typing import Any

import cython
import numpy as np

from hepcat.batch.drops import Drop
from hepcat.wire.columns import AREA_ARENA, Arena, Array, Datagrams, Flows, Stretches

if not cython.compiled:  # messages.pxd cimports them
    from hepcat.wire.held import AgeList, BlockPool
    from hepcat.wire.hep import copy_octets  # type: ignore[attr-defined,unused-ignore]

    PREFIX = 32

STREAM_PARTIAL = cython.declare(cython.int, int(Drop.STREAM_PARTIAL))
WINDOW = cython.declare(cython.int, 0)
ARENA = cython.declare(cython.int, AREA_ARENA)
#: `area` while the first octets of a flow are read, which waited for more in `prefix`.
FIRST_OCTETS = cython.declare(cython.int, 2)
TCP = cython.declare(cython.int, 6)
#: `deflated` of a row: two numbers each.
NOTED = cython.declare(cython.Py_ssize_t, 2)


class Messages:
    """What flows hold, and the rows being written. `buf` is where the stretch being read lies."""

    def __init__(self, flows: int, octets: int, longest: int) -> None:
        view: Any = memoryview
        self.pool = BlockPool(octets)
        self.longest = longest
        self.holders = AgeList(flows)  # flows with a partial message, the one begun first at its old end
        self.head = view(np.full(flows, -1, dtype=np.int32))
        self.tail = view(np.full(flows, -1, dtype=np.int32))
        self.held_of = view(np.zeros(flows, dtype=np.int64))
        self.lost = view(np.zeros(flows, dtype=np.uint8))
        self.prefix = view(np.zeros(flows * PREFIX, dtype=np.uint8))
        self.prefix_in = self.prefix
        self.prefix_size = view(np.zeros(flows, dtype=np.uint8))
        self.deflated = view(np.zeros(1024 * NOTED, dtype=np.int64))
        self.noted = 0
        self.held = self.flow = self.area = self.row = self.used = self.room = 0
        self.this_packet = self.this_ts = 0

    def bind_stretches(self, data: Any, stretches: Stretches, rows: Array) -> None:
        """Take the columns of the stretches."""
        view: Any = memoryview
        self.data = view(data)
        self.rows = view(rows)
        self.in_flow, self.marks = view(stretches.flow), view(stretches.marks)
        self.packet, self.ts = view(stretches.packet), view(stretches.ts)
        self.in_area, self.offset = view(stretches.area), view(stretches.offset)
        self.length = view(stretches.length)

    def bind_flows(self, flows: Flows) -> None:
        """Take the columns of the flows."""
        view: Any = memoryview
        self.flow_family, self.flow_vlan = view(flows.family), view(flows.vlan)
        self.flow_src = view(flows.src_ip.reshape(-1).view(np.uint64))
        self.flow_dst = view(flows.dst_ip.reshape(-1).view(np.uint64))
        self.flow_src_port, self.flow_dst_port = view(flows.src_port), view(flows.dst_port)
        self.peer, self.protocol = view(flows.peer), view(flows.protocol)

    def bind_output(self, arena: Arena, out: Datagrams, drops: Array) -> None:
        """Take the columns of the messages."""
        view: Any = memoryview
        self.arena = view(arena.data)
        self.arena_in = self.arena
        self.used = arena.used
        self.row, self.room = out.n, out.capacity
        self.out_packet, self.out_ts = view(out.packet), view(out.ts)
        self.out_offset, self.out_length = view(out.offset), view(out.length)
        self.out_area, self.out_kind, self.out_depth = view(out.area), view(out.kind), view(out.depth)
        self.out_truncated, self.out_family = view(out.truncated), view(out.family)
        self.out_proto, self.out_vlan = view(out.ip_proto), view(out.vlan)
        self.out_src_port, self.out_dst_port = view(out.src_port), view(out.dst_port)
        self.out_seq, self.out_bits, self.out_aux = view(out.seq), view(out.bits), view(out.aux)
        self.out_src = view(out.src_ip.reshape(-1).view(np.uint64))
        self.out_dst = view(out.dst_ip.reshape(-1).view(np.uint64))
        self.drops = view(drops)
        self.noted = 0
        self.read_from(FIRST_OCTETS)
        self.read_from(WINDOW)

    def read_from(self, area: cython.int) -> cython.int:
        """Let `buf` be an area. Only where it changes: taking a view is an atomic count each."""
        if area != self.area:
            self.area = area
            if area == WINDOW:
                self.buf = self.data
            elif area == ARENA:
                self.buf = self.arena_in
            else:
                self.buf = self.prefix_in
        return 0

    # ---- partial messages

    def keep(self, lo: cython.longlong, hi: cython.longlong) -> cython.bint:
        """Append buf[lo:hi] to what the flow holds; False where the flow's message is lost over it."""
        flow: cython.int = self.flow
        if hi <= lo:
            return True
        while self.pool.need(self.held_of[flow], hi - lo) > self.pool.left:
            if self.holders.oldest < 0 or self.holders.oldest == flow:
                self.drop_partial(flow)
                return False
            self.drop_partial(self.holders.oldest)
        if self.held_of[flow] == 0:
            self.holders.push(flow)
        self.tail[flow] = self.pool.append(self.tail[flow], self.held_of[flow], self.buf, lo, hi - lo)
        if self.head[flow] < 0:
            self.head[flow] = self.pool.first
        self.held_of[flow] += hi - lo
        self.held += hi - lo
        return True

    def drop_partial(self, flow: cython.int) -> cython.int:
        """Lose what a flow holds for want of room."""
        self.drops[STREAM_PARTIAL] += 1
        self.discard(flow)
        self.lost[flow] = 1
        return 0

    def discard(self, flow: cython.int) -> cython.int:
        """Free what a flow holds."""
        if self.held_of[flow] > 0:
            self.holders.remove(flow)
            self.pool.give_chain(self.head[flow])
            self.head[flow] = self.tail[flow] = -1
            self.held -= self.held_of[flow]
            self.held_of[flow] = 0
        return 0

    def copy_held(self) -> cython.Py_ssize_t:
        """Copy what the flow holds to the arena, behind what is used there; free it, return its length."""
        size: cython.longlong = self.held_of[self.flow]
        self.pool.copy_out(self.head[self.flow], size, self.arena, self.used)
        self.discard(self.flow)
        return size

    # ---- whole messages

    def emit_slice(self, lo: cython.longlong, hi: cython.longlong) -> cython.int:
        """Write the row of the message buf[lo:hi], with what the flow holds before it."""
        size: cython.longlong
        if self.held_of[self.flow] > 0:
            if self.keep(lo, hi):
                size = self.copy_held()
                self.used += size
                self.emit(ARENA, self.used - size, size)
        elif self.area == FIRST_OCTETS:
            copy_octets(self.arena, self.used, self.buf, lo, hi - lo)
            self.used += hi - lo
            self.emit(ARENA, self.used - (hi - lo), hi - lo)
        else:
            self.emit(self.area, lo, hi - lo)
        return 0

    def emit(self, area: cython.int, offset: cython.longlong, length: cython.longlong) -> cython.int:
        """Write a row."""
        n: cython.Py_ssize_t = self.row
        flow: cython.int = self.flow
        self.out_packet[n] = self.this_packet
        self.out_ts[n] = self.this_ts
        self.out_offset[n] = offset
        self.out_length[n] = length
        self.out_area[n] = area
        self.out_kind[n] = self.out_depth[n] = self.out_truncated[n] = 0
        self.out_seq[n] = self.out_bits[n] = self.out_aux[n] = 0
        self.out_family[n] = self.flow_family[flow]
        self.out_proto[n] = TCP
        self.out_src_port[n] = self.flow_src_port[flow]
        self.out_dst_port[n] = self.flow_dst_port[flow]
        self.out_vlan[n] = self.flow_vlan[flow]
        self.out_src[2 * n] = self.flow_src[2 * flow]
        self.out_src[2 * n + 1] = self.flow_src[2 * flow + 1]
        self.out_dst[2 * n] = self.flow_dst[2 * flow]
        self.out_dst[2 * n + 1] = self.flow_dst[2 * flow + 1]
        self.row = n + 1
        return 0
