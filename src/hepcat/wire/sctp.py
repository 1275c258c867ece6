"""Kernel: SCTP DATA chunks to messages (RFC 9260 sections 3.3.1 and 6.9).

In: rows of `Datagrams` of KIND_CHUNK, in the order of capture. Out: a row of KIND_DATAGRAM for each user
message: where it stood when one chunk held it all, in the arena when it was put together. What can go wrong
is counted: chunks fed = `whole` + `used` in messages put together + `held` + counted drops.

- The chunks of one message have consecutive transmission numbers (TSN) in one direction of an association
  (addresses, ports, VLAN); the first has bit B, the last bit E. Order does not matter: neighbours are looked
  up by number and joined to runs, whose ends know how long they are, so a chunk costs the same whatever
  came before it. (Stream numbers are not needed for that, and the rows do not have them.)
- A chunk seen twice (a retransmission) is SCTP_DUPLICATE: same number, same octets, same flags, among the
  last 256 numbers of its direction, unless nothing came there for longer than the time-out. Octets are
  compared by hash, because an association that begins anew may count from the same number.
- A message not whole in time, longer than a record may be (65,535 octets), or pushed out because the bounds
  on octets, messages or chunks are reached (oldest first): its chunks are SCTP_PARTIAL.
- A chunk that the snap length cut ends its message there; the row is marked truncated.
"""

import secrets
from typing import Any, Final

import cython
import numpy as np

from hepcat.batch.drops import Drop
from hepcat.batch.schema import MAX_RECORD
from hepcat.wire.columns import AREA_ARENA, KIND_DATAGRAM, Arena, Array, Datagrams
from hepcat.wire.held import append_rows

if not cython.compiled:  # sctp.pxd cimports them, and has the numbers as C constants
    from hepcat.wire.held import AgeList, BlockPool, KeyTable, LentRows, hash_octets

    BLOCK = 512
    WINDOW = 256

#: Directions of associations whose last TSNs are remembered.
DIRECTIONS: Final = 1024

SCTP_DUPLICATE = cython.declare(cython.int, int(Drop.SCTP_DUPLICATE))
SCTP_PARTIAL = cython.declare(cython.int, int(Drop.SCTP_PARTIAL))
LONGEST = cython.declare(cython.longlong, MAX_RECORD)
HALF = cython.declare(cython.longlong, 1 << 31)
ENDS = cython.declare(cython.int, 1)
BEGINS = cython.declare(cython.int, 2)


class SctpAssembler(LentRows):
    """Chunks held, and what becomes whole. One thread.

    max_octets: memory for octets held, in blocks of 512. max_messages: messages begun at a time. timeout_us:
    from a chunk's own time on. seed: 96 octets, secret; for tests. held, held_octets: chunks and octets that
    wait. used: chunks that went into messages of several. whole: chunks that were a message by themselves.
    """

    def __init__(
        self,
        max_octets: int = 2 << 20,
        max_messages: int = 1024,
        timeout_us: int = 10_000_000,
        seed: bytes | None = None,
    ) -> None:
        if max_octets < LONGEST + BLOCK or max_messages < 1:
            raise ValueError("an SCTP assembler needs room for one message: 65,536 octets and some")
        view: Any = memoryview
        seed = seed or secrets.token_bytes(96)
        self.pool = BlockPool(max_octets)
        chunks = self.pool.blocks  # a chunk has an octet at least, so a block
        self.table = KeyTable(chunks, seed)
        self.ages = AgeList(chunks)
        self.max_messages = max_messages
        self.timeout = timeout_us
        self.since = view(np.zeros(chunks, dtype=np.int64))
        self.size = view(np.zeros(chunks, dtype=np.int32))
        self.block = view(np.zeros(chunks, dtype=np.int32))
        self.flags = view(np.zeros(chunks, dtype=np.uint8))
        self.cut = view(np.zeros(chunks, dtype=np.uint8))
        self.run_length = view(np.zeros(chunks, dtype=np.int32))
        self.run_octets = view(np.zeros(chunks, dtype=np.int64))
        self.directions = KeyTable(DIRECTIONS, seed)
        self.direction_ages = AgeList(DIRECTIONS)
        self.top = view(np.zeros(DIRECTIONS, dtype=np.uint32))
        self.touched = view(np.zeros(DIRECTIONS, dtype=np.int64))
        self.prints = view(np.zeros(DIRECTIONS * WINDOW, dtype=np.uint32))
        self.print_seed = int.from_bytes(seed[:8], "little")
        self.held = self.held_octets = self.used = self.whole = self.runs = 0
        self.forget()

    def feed(
        self, data: Any, found: Datagrams, rows: Array, arena: Arena, out: Datagrams, drops: Array
    ) -> int:
        """Take chunks; append the messages they complete to `out`; return how many.

        data: uint8 buffer of the window. rows: int64, rows of `found` of KIND_CHUNK, in order; their octets
        lie in `data` or in `arena` (found.area). A row of `out` is its completing chunk's, but for offset,
        length, area and truncated, with `aux` the payload protocol identifier. drops: int64 by Drop.
        """
        n = len(rows)
        if n == 0:
            return 0
        arena.reserve(int(self.held_octets + found.length[rows].sum()))
        source, offset = np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64)
        length, cut = np.empty(n, dtype=np.int64), np.empty(n, dtype=np.uint8)
        self.look_at(data, found, rows, arena, drops)
        self.look_at_results(source, offset, length, cut)
        made = int(self.run(n, arena.used))
        self.forget()
        arena.used = int(self.arena_used)
        self.write_rows(found, out, source[:made], offset[:made], length[:made], cut[:made])
        return made

    def expire(self, now_us: int, drops: Array) -> None:
        """Count what has waited longer than the time-out (SCTP_PARTIAL), and forget it."""
        view: Any = memoryview
        self.drops = view(drops)
        self.drop_late(now_us)

    @staticmethod
    def write_rows(
        found: Datagrams, out: Datagrams, source: Array, offset: Array, length: Array, cut: Array
    ) -> None:
        """Append rows of `found` to `out`; those with an offset lie in the arena."""
        first = append_rows(found, source, out)
        out.kind[first : out.n] = KIND_DATAGRAM
        moved = np.flatnonzero(offset >= 0)
        out.offset[first + moved] = offset[moved]
        out.length[first + moved] = length[moved]
        out.truncated[first + moved] = cut[moved]
        out.area[first + moved] = AREA_ARENA

    def look_at(self, data: Any, found: Datagrams, rows: Array, arena: Arena, drops: Array) -> None:
        """Take views of the columns for one run."""
        view: Any = memoryview
        self.bind_rows(data, found, rows, arena)
        self.row_tsn, self.row_flags, self.row_ppid = view(found.seq), view(found.bits), view(found.aux)
        self.drops = view(drops)

    def look_at_results(self, source: Array, offset: Array, length: Array, cut: Array) -> None:
        """Take views of what one run writes."""
        view: Any = memoryview
        self.out_source = view(source)
        self.out_offset = view(offset)
        self.out_length = view(length)
        self.out_cut = view(cut)

    def run(self, count: cython.Py_ssize_t, arena_used: cython.longlong) -> cython.Py_ssize_t:
        """Take `count` rows; return how many messages came of them."""
        i: cython.Py_ssize_t
        self.arena_used = arena_used
        self.made = 0
        with cython.nogil:
            for i in range(count):
                self.take_row(self.rows[i])
        return self.made

    # ---- one chunk

    def take_row(self, i: cython.Py_ssize_t) -> cython.int:
        """Hand a chunk on, hold it, or count it."""
        flags: cython.int = self.row_flags[i] & 3
        self.drop_late(self.row_ts[i])
        if self.seen_before(i):
            self.drops[SCTP_DUPLICATE] += 1
        elif flags == (BEGINS | ENDS):
            self.whole += 1
            self.out_source[self.made] = i
            self.out_offset[self.made] = -1
            self.made += 1
        elif self.row_length[i] <= 0 or self.row_length[i] > LONGEST:
            self.drops[SCTP_PARTIAL] += 1
        else:
            self.hold(i, flags)
        return 0

    def write_key(self, i: cython.Py_ssize_t) -> cython.int:
        """Write the direction of a chunk's association as the key of both tables; the TSN is word 2."""
        self.write_direction(self.table, i)
        self.write_direction(self.directions, i)
        return 0

    def seen_before(self, i: cython.Py_ssize_t) -> cython.bint:
        """Tell whether a direction had this very chunk; remember it."""
        self.write_key(i)
        slot: cython.int = self.directions.find()
        if slot < 0:
            slot = self.new_direction(i)
        else:
            self.direction_ages.remove(slot)
        self.direction_ages.push(slot)
        tsn: cython.uint = self.row_tsn[i]
        at: cython.Py_ssize_t = slot * WINDOW
        # Serial number arithmetic (RFC 9260 section 1.6): how far ahead of the highest number it is.
        ahead: cython.longlong = cython.cast(cython.longlong, tsn) - self.top[slot]
        if ahead >= HALF:
            ahead -= 2 * HALF
        elif ahead < -HALF:
            ahead += 2 * HALF
        if abs(self.row_ts[i] - self.touched[slot]) > self.timeout or abs(ahead) >= WINDOW:
            self.fill_prints(slot, tsn, WINDOW)  # as good as a new association
            self.top[slot] = tsn
        elif ahead > 0:
            self.fill_prints(slot, tsn, cython.cast(cython.int, ahead))
            self.top[slot] = tsn
        self.touched[slot] = self.row_ts[i]
        mark: cython.uint = self.fingerprint(i)
        place: cython.Py_ssize_t = at + (tsn & (WINDOW - 1))
        if self.prints[place] == mark:
            return True
        self.prints[place] = mark
        return False

    def fill_prints(self, slot: cython.int, tsn: cython.uint, count: cython.int) -> cython.int:
        """Note that the last `count` numbers up to `tsn` have not been seen."""
        k: cython.int
        for k in range(count):
            self.prints[slot * WINDOW + ((tsn - k) & (WINDOW - 1))] = 0
        return 0

    def new_direction(self, i: cython.Py_ssize_t) -> cython.int:
        """Give a direction a slot, in the place of the one that was silent longest."""
        slot: cython.int = self.directions.crowded
        if slot < 0 and self.directions.count >= self.directions.slots:
            slot = self.direction_ages.oldest
        if slot >= 0:
            self.direction_ages.remove(slot)
            self.directions.remove(slot)
        slot = self.directions.add()
        self.fill_prints(slot, 0, WINDOW)
        self.top[slot] = self.row_tsn[i]
        self.touched[slot] = self.row_ts[i]
        return slot

    def fingerprint(self, i: cython.Py_ssize_t) -> cython.uint:
        """Hash what a chunk says; never 0, which stands for nothing seen."""
        seed: cython.ulonglong = self.print_seed ^ self.row_ppid[i]
        mark: cython.uint
        seed ^= cython.cast(cython.ulonglong, self.row_flags[i] & 3) << 40
        if self.row_area[i] == 0:
            mark = hash_octets(self.data, self.row_offset[i], self.row_length[i], seed)
        else:
            mark = hash_octets(self.arena_read, self.row_offset[i], self.row_length[i], seed)
        return mark if mark != 0 else 1

    def neighbour(self, tsn: cython.uint) -> cython.int:
        """Return the slot of another chunk of the same direction, -1 where it is not held."""
        if not cython.compiled:
            tsn &= 0xFFFFFFFF
        self.table.key[2] = tsn
        return self.table.find()

    def hold(self, i: cython.Py_ssize_t, flags: cython.int) -> cython.int:
        """Hold a part of a message; hand the message out when it is whole."""
        tsn: cython.uint = self.row_tsn[i]
        length: cython.Py_ssize_t = self.row_length[i]
        slot: cython.int = self.neighbour(tsn)
        if slot >= 0:  # other octets under a number that is held: the first ones stay
            self.drops[SCTP_DUPLICATE] += 1
            return 0
        if self.table.crowded >= 0:
            self.push_out(self.table.crowded)
        while self.pool.left < self.pool.need(0, length) or self.table.count >= self.table.slots:
            self.push_out(self.ages.oldest)
        self.write_key(i)
        self.neighbour(tsn)
        slot = self.table.add()
        self.ages.push(slot)
        self.since[slot] = self.row_ts[i]
        self.size[slot] = cython.cast(cython.int, length)
        self.flags[slot] = flags
        self.cut[slot] = self.row_truncated[i]
        self.write_octets(slot, i, length)
        self.held += 1
        self.held_octets += length
        self.runs += 1
        self.join(slot, tsn, i)
        if self.runs > self.max_messages:
            self.push_out(self.ages.oldest)
        return 0

    def write_octets(self, slot: cython.int, i: cython.Py_ssize_t, length: cython.Py_ssize_t) -> cython.int:
        """Copy a chunk into blocks."""
        if self.row_area[i] == 0:
            self.pool.append(-1, 0, self.data, self.row_offset[i], length)
        else:
            self.pool.append(-1, 0, self.arena_read, self.row_offset[i], length)
        self.block[slot] = self.pool.first
        return 0

    def join(self, slot: cython.int, tsn: cython.uint, i: cython.Py_ssize_t) -> cython.int:
        """Join a chunk to the runs beside it. Both ends of a run know its length."""
        first: cython.int = slot
        last: cython.int = slot
        before: cython.uint = 0
        after: cython.uint = 0
        octets: cython.longlong = self.size[slot]
        other: cython.int
        if not self.flags[slot] & BEGINS:
            other = self.neighbour(tsn - 1)
            if other >= 0 and not self.flags[other] & ENDS:
                before = self.run_length[other]
                octets += self.run_octets[other]
                first = self.neighbour(tsn - before)
                self.runs -= 1
        if not self.flags[slot] & ENDS:
            other = self.neighbour(tsn + 1)
            if other >= 0 and not self.flags[other] & BEGINS:
                after = self.run_length[other]
                octets += self.run_octets[other]
                last = self.neighbour(tsn + after)
                self.runs -= 1
        self.run_length[first] = self.run_length[last] = cython.cast(cython.int, before + 1 + after)
        self.run_octets[first] = self.run_octets[last] = octets
        if octets > LONGEST:
            self.push_out(first)
        elif self.flags[first] & BEGINS and self.flags[last] & ENDS:
            self.hand_out(tsn - before, first, i)
        return 0

    # ---- what becomes of a message

    def hand_out(self, tsn: cython.uint, first: cython.int, i: cython.Py_ssize_t) -> cython.int:
        """Write a whole message to the arena; its chunks are held no longer."""
        n: cython.int
        count: cython.int = self.run_length[first]
        cut: cython.bint = False
        start: cython.longlong = self.arena_used
        for n in range(count):
            slot: cython.int = self.neighbour(tsn + n)
            if not cut:
                self.pool.copy_out(self.block[slot], self.size[slot], self.arena, self.arena_used)
                self.arena_used += self.size[slot]
                cut = self.cut[slot] != 0
            self.remove(slot)
        self.used += count
        self.runs -= 1
        self.out_source[self.made] = i
        self.out_offset[self.made] = start
        self.out_length[self.made] = self.arena_used - start
        self.out_cut[self.made] = cut
        self.made += 1
        return 0

    def remove(self, slot: cython.int) -> cython.int:
        """Forget one chunk."""
        self.held -= 1
        self.held_octets -= self.size[slot]
        self.pool.give_chain(self.block[slot])
        self.ages.remove(slot)
        self.table.remove(slot)
        return 0

    def push_out(self, slot: cython.int) -> cython.int:
        """Give up the run that a chunk is in."""
        k: cython.Py_ssize_t
        for k in range(11):
            self.table.key[k] = self.table.keys[slot * 11 + k]
        tsn: cython.uint = self.table.key[2]
        at: cython.uint = tsn
        other: cython.int
        begins: cython.bint = (self.flags[slot] & BEGINS) != 0
        ends: cython.bint = (self.flags[slot] & ENDS) != 0
        self.give_up(slot)
        while not begins:
            at -= 1
            other = self.neighbour(at)
            if other < 0 or self.flags[other] & ENDS:
                break
            begins = (self.flags[other] & BEGINS) != 0
            self.give_up(other)
        at = tsn
        while not ends:
            at += 1
            other = self.neighbour(at)
            if other < 0 or self.flags[other] & BEGINS:
                break
            ends = (self.flags[other] & ENDS) != 0
            self.give_up(other)
        self.runs -= 1
        return 0

    def give_up(self, slot: cython.int) -> cython.int:
        """Count one chunk whose message will not become whole."""
        self.drops[SCTP_PARTIAL] += 1
        self.remove(slot)
        return 0

    def drop_late(self, now: cython.longlong) -> cython.int:
        """Give up what is past its time."""
        while self.ages.oldest >= 0 and abs(now - self.since[self.ages.oldest]) > self.timeout:
            self.push_out(self.ages.oldest)
        return 0
