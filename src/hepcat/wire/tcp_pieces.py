"""Kernel: octets of TCP streams that came before their turn, and the stretches that come out.

In: octets of a segment, with the flow and the sequence number that they belong to. Out: rows of
`Stretches`. What can go wrong: no block is free, then the outcome is TCP_BOUND for what had no room. The
base of tcp_flows.py's `TcpFlows`, which decides what is early, next or late.

A piece is a block of the pool that holds up to BLOCK octets in sequence; a flow's pieces are chained in the
order of the stream and do not overlap, because octets that are held already are not taken again.
"""

from typing import Any

import cython
import numpy as np

from hepcat.batch.drops import Drop
from hepcat.wire.columns import AREA_ARENA, Arena, Array, Stretches

if not cython.compiled:  # tcp_pieces.pxd cimports them
    from hepcat.wire.held import BlockPool
    from hepcat.wire.hep import copy_octets  # type: ignore[attr-defined,unused-ignore]

    BLOCK = 512

TCP_BOUND = cython.declare(cython.int, int(Drop.TCP_BOUND))
ARENA = cython.declare(cython.int, AREA_ARENA)
#: `outcome` where a segment is not counted as a drop.
KEPT = cython.declare(cython.int, -1)

#: Sequence numbers: 32 bits.
SEQ_MASK = cython.declare(cython.longlong, (1 << 32) - 1)
SEQ_HALF = cython.declare(cython.longlong, 1 << 31)


class Pieces:
    """What flows hold, and how far each was read."""

    def __init__(self, flows: int, octets: int) -> None:
        view: Any = memoryview
        self.pool = BlockPool(octets)
        self.next_seq = view(np.zeros(flows, dtype=np.int64))
        self.pending = view(np.zeros(flows, dtype=np.uint8))
        self.begun = view(np.zeros(flows, dtype=np.uint8))
        self.head = view(np.full(flows, -1, dtype=np.int32))
        self.tail = view(np.full(flows, -1, dtype=np.int32))
        self.pieces = view(np.zeros(flows, dtype=np.int32))
        self.flow_held = view(np.zeros(flows, dtype=np.int64))
        self.flow_segments = view(np.zeros(flows, dtype=np.int64))
        # streams, that is, pairs of flows
        self.fed = view(np.zeros((flows + 1) // 2, dtype=np.int64))
        # pieces: block b of the pool holds `size` octets from sequence number `seq` on
        self.piece_seq = view(np.zeros(self.pool.blocks, dtype=np.int64))
        self.piece_size = view(np.zeros(self.pool.blocks, dtype=np.int64))
        self.piece_ts = view(np.zeros(self.pool.blocks, dtype=np.int64))
        self.piece_segments = view(np.zeros(self.pool.blocks, dtype=np.int32))
        self.held = self.held_segments = self.passed = self.feeds = 0
        self.now = self.stamp = self.this_packet = self.row = self.used = 0
        self.this_area = self.outcome = 0

    def bind_data(self, data: Any) -> None:
        """Take the window's octets."""
        view: Any = memoryview
        self.data = view(data)

    def bind_output(self, arena: Arena, out: Stretches, drops: Array) -> None:
        """Take the columns of the stretches."""
        view: Any = memoryview
        self.arena = view(arena.data)
        self.arena_in = self.arena
        self.used = arena.used
        self.row, self.room = out.n, out.capacity
        self.out_flow, self.out_marks = view(out.flow), view(out.marks)
        self.out_packet, self.out_ts = view(out.packet), view(out.ts)
        self.out_area, self.out_offset, self.out_length = view(out.area), view(out.offset), view(out.length)
        self.drops = view(drops)

    def distance(self, a: cython.longlong, b: cython.longlong) -> cython.longlong:
        """How far sequence number a is ahead of b, in the 32-bit circle (RFC 9293 section 3.4)."""
        d: cython.longlong = (a - b) & SEQ_MASK
        return d if d < SEQ_HALF else d - SEQ_MASK - 1

    def emit(
        self, flow: cython.int, area: cython.int, offset: cython.longlong, length: cython.longlong
    ) -> cython.int:
        """Append a stretch."""
        n: cython.Py_ssize_t = self.row
        self.out_flow[n] = flow
        self.out_packet[n] = self.this_packet
        self.out_ts[n] = self.stamp
        self.out_area[n] = area
        self.out_offset[n] = offset
        self.out_length[n] = length
        self.out_marks[n] = self.pending[flow]
        self.pending[flow] = 0
        self.begun[flow] = 1
        self.fed[flow >> 1] = self.feeds
        self.row = n + 1
        return 0

    def hold(
        self, flow: cython.int, seq: cython.longlong, offset: cython.longlong, length: cython.longlong
    ) -> cython.int:
        """Keep the octets of seq..seq+length that are not held yet, in blocks in the order of the stream."""
        before: cython.int = -1
        after: cython.int = self.head[flow]
        last: cython.int = -1
        size: cython.longlong
        if self.tail[flow] >= 0 and self.past(self.tail[flow], seq) >= 0:
            before = self.tail[flow]
            after = -1
        while length > 0:
            if after >= 0 and self.past(after, seq) >= 0:
                before = after
                after = self.pool.next[after]
                continue
            size = length
            if after >= 0:
                size = min(length, self.distance(self.piece_seq[after], seq))
            if size <= 0:  # held already
                size = min(length, -self.past(after, seq))
            else:
                if before < 0 or self.past(before, seq) != 0 or self.piece_size[before] >= BLOCK:
                    before = self.insert_piece(flow, before, after, seq)
                    if before < 0:
                        self.outcome = TCP_BOUND
                        break
                size = min(size, BLOCK - self.piece_size[before])
                self.fill_piece(flow, before, offset, size)
                last = before
            seq = (seq + size) & SEQ_MASK
            offset += size
            length -= size
        if last >= 0:
            self.piece_segments[last] += 1
            self.flow_segments[flow] += 1
            self.held_segments += 1
            self.outcome = KEPT
        return 0

    def past(self, piece: cython.int, seq: cython.longlong) -> cython.Py_ssize_t:
        """How far seq is behind the end of a piece."""
        return self.distance(seq, self.piece_seq[piece] + self.piece_size[piece])

    def insert_piece(
        self, flow: cython.int, before: cython.int, after: cython.int, seq: cython.longlong
    ) -> cython.int:
        """Link an empty block between two pieces; -1 where no block can be had."""
        piece: cython.int = self.pool.take()
        if piece < 0:
            return -1
        self.piece_seq[piece] = seq
        self.piece_size[piece] = 0
        self.piece_segments[piece] = 0
        self.pool.next[piece] = after
        if before >= 0:
            self.pool.next[before] = piece
        else:
            self.head[flow] = piece
        if after < 0:
            self.tail[flow] = piece
        self.pieces[flow] += 1
        return piece

    def fill_piece(
        self, flow: cython.int, piece: cython.int, offset: cython.longlong, size: cython.longlong
    ) -> cython.int:
        """Append octets of the segment to a piece."""
        to: cython.longlong = cython.cast(cython.longlong, piece) * BLOCK + self.piece_size[piece]
        if self.this_area == ARENA:
            copy_octets(self.pool.octets, to, self.arena_in, offset, size)
        else:
            copy_octets(self.pool.octets, to, self.data, offset, size)
        self.piece_size[piece] += size
        self.piece_ts[piece] = self.now
        self.flow_held[flow] += size
        self.held += size
        return 0

    def drain(self, flow: cython.int, late: cython.bint) -> cython.int:
        """Pass on the pieces that are next; `late` ones keep the time at which they came."""
        start: cython.longlong = self.used
        piece: cython.int = self.head[flow]
        size: cython.longlong
        while piece >= 0 and self.piece_seq[piece] == self.next_seq[flow]:
            size = self.piece_size[piece]
            copy_octets(
                self.arena,
                self.used,
                self.pool.const_octets,
                cython.cast(cython.longlong, piece) * BLOCK,
                size,
            )
            self.used += size
            self.next_seq[flow] = (self.next_seq[flow] + size) & SEQ_MASK
            self.passed += self.piece_segments[piece]
            self.held_segments -= self.piece_segments[piece]
            self.flow_segments[flow] -= self.piece_segments[piece]
            self.flow_held[flow] -= size
            self.held -= size
            self.pieces[flow] -= 1
            if late:
                self.stamp = self.piece_ts[piece]
            self.head[flow] = self.pool.next[piece]
            self.pool.give(piece)
            piece = self.head[flow]
        if piece < 0:
            self.tail[flow] = -1
        if self.used > start:
            self.emit(flow, ARENA, start, self.used - start)
        self.stamp = self.now
        return 0
