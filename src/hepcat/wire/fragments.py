"""Kernel: IP fragments to whole packets (RFC 791 section 3.2, RFC 8200 section 4.5, RFC 5722).

In: rows of `Datagrams` of KIND_FRAGMENT, in the order of capture. Out: for each datagram that became
whole a raw IP packet in the arena, with a header of its own (20 or 40 octets, no options, no extension
headers, IPv4's checksum right), as a row of `Packets` for decode_frames. What can go wrong is counted:
fragments fed = `used` in whole datagrams + `held` + counted drops.

- Octets are kept where they belong in their datagram, so order does not matter, and a fragment costs the
  same whatever came before it. Fragments that overlap and agree are one; where they disagree the whole
  datagram is given up and every fragment of it counted FRAGMENT_OVERLAP, later ones too, until its time is
  over: nobody can know which octets the receiver took (RFC 5722 section 3).
- A second last fragment that ends elsewhere, or octets past the last one: the same, as FRAGMENT_LENGTH.
  A fragment that is wrong by itself (empty, past 65,535 octets, more to come but no multiple of eight) is
  counted FRAGMENT_LENGTH and leaves the datagram alone (RFC 8200 section 4.5).
- A whole datagram is remembered for `REPEAT_US`, so that copies of its fragments (a mirror port that shows
  both directions) are FRAGMENT_DUPLICATE; other octets under its identification are a new datagram. Shorter
  than SIP's shortest retransmission (500 ms): senders exist that number every datagram 0.
- A fragment that the snap length cut has a hole: counted FRAME_TRUNCATED, and its datagram times out.
- Bounds: octets (in blocks of 512), datagrams; the oldest is pushed out as FRAGMENT_BOUND, remembered ones
  first and without a count. Keys are hashed with a secret, see held.py.
- Time is the packets'. A clock that jumps by more than the time-out, either way, times out what is held.
"""

import secrets
from typing import Any, Final

import cython
import numpy as np

from hepcat.batch.drops import Drop
from hepcat.wire.columns import LINKTYPE_RAW, Arena, Array, Datagrams, Packets

if not cython.compiled:  # fragments.pxd cimports them, and has the numbers as C constants
    from hepcat.wire.held import AgeList, BlockPool, KeyTable, LentRows, same_octets
    from hepcat.wire.hep import copy_octets  # type: ignore[attr-defined,unused-ignore]

    BLOCK = 512
    PAGES = 128
    OPEN = 0
    DONE = 1
    GIVEN_UP = 2

#: How long a whole datagram is remembered, microseconds.
REPEAT_US: Final = 200_000

FRAME_TRUNCATED = cython.declare(cython.int, int(Drop.FRAME_TRUNCATED))
FRAGMENT_TIMEOUT = cython.declare(cython.int, int(Drop.FRAGMENT_TIMEOUT))
FRAGMENT_BOUND = cython.declare(cython.int, int(Drop.FRAGMENT_BOUND))
FRAGMENT_OVERLAP = cython.declare(cython.int, int(Drop.FRAGMENT_OVERLAP))
FRAGMENT_LENGTH = cython.declare(cython.int, int(Drop.FRAGMENT_LENGTH))
FRAGMENT_DUPLICATE = cython.declare(cython.int, int(Drop.FRAGMENT_DUPLICATE))
LINK = cython.declare(cython.longlong, LINKTYPE_RAW)
REPEAT = cython.declare(cython.longlong, REPEAT_US)
_ALL_UNITS = cython.declare(cython.ulonglong, 0xFFFFFFFFFFFFFFFF)


def grow_packets(packets: Packets, rows: int) -> None:
    """Make room for `rows` more behind row n; what stands there stays."""
    if packets.n + rows <= len(packets.offset):
        return
    wider = Packets.empty(max(packets.n + rows, 2 * len(packets.offset)))
    for name in ("offset", "captured", "original", "ts", "link", "vlan"):
        getattr(wider, name)[: packets.n] = getattr(packets, name)[: packets.n]
        setattr(packets, name, getattr(wider, name))


class Defragmenter(LentRows):
    """Fragments held, and what becomes whole. One thread.

    max_octets: memory for octets held (64 KiB at least). max_datagrams: held at a time, those that were
    given up and those remembered included. timeout_us: from a datagram's first fragment on. seed: 96
    octets, secret; for tests.

    held, held_octets: fragments and octets that wait. used: fragments that went into whole datagrams.
    packet_of, depth_of: int64, parallel to the rows that the last `feed` appended: `packet` and `depth` of
    the completing fragment. Raises ValueError for bounds that hold no datagram.
    """

    def __init__(
        self,
        max_octets: int = 4 << 20,
        max_datagrams: int = 1024,
        timeout_us: int = 15_000_000,
        seed: bytes | None = None,
    ) -> None:
        if max_octets < PAGES * BLOCK or max_datagrams < 1:
            raise ValueError("a defragmenter needs room for one datagram: 65,536 octets")
        view: Any = memoryview
        self.table = KeyTable(max_datagrams, seed or secrets.token_bytes(96))
        self.pool = BlockPool(max_octets)
        self.open = AgeList(max_datagrams)
        self.done = AgeList(max_datagrams)
        self.timeout = timeout_us
        self.units = view(np.zeros(self.pool.blocks, dtype=np.uint64))
        self.state = view(np.zeros(max_datagrams, dtype=np.uint8))
        self.protocol = view(np.zeros(max_datagrams, dtype=np.uint8))
        self.since = view(np.zeros(max_datagrams, dtype=np.int64))
        self.total = view(np.zeros(max_datagrams, dtype=np.int32))
        self.more_end = view(np.zeros(max_datagrams, dtype=np.int32))
        self.have = view(np.zeros(max_datagrams, dtype=np.int32))
        self.top = view(np.zeros(max_datagrams, dtype=np.int32))
        self.pieces = view(np.zeros(max_datagrams, dtype=np.int32))
        self.octets = view(np.zeros(max_datagrams, dtype=np.int64))
        self.reason = view(np.zeros(max_datagrams, dtype=np.int32))
        self.pages = view(np.empty(max_datagrams * PAGES, dtype=np.int32))
        self.held = self.held_octets = self.used = 0
        self.packet_of: Array = np.zeros(0, dtype=np.int64)
        self.depth_of: Array = np.zeros(0, dtype=np.int64)
        self.forget()

    def feed(self, data: Any, found: Datagrams, rows: Array, arena: Arena, out: Packets, drops: Array) -> int:
        """Take fragments; append what they make whole to `out`; return how many packets that is.

        data: uint8 buffer of the window. rows: int64, rows of `found` of KIND_FRAGMENT, in order; their
        octets lie in `data` or in `arena` (found.area). The packets' octets lie in arena.data, which may be
        a new array afterwards, as may the columns of `out`. drops: int64 by Drop, added to.
        """
        n = len(rows)
        self.packet_of = np.empty(n, dtype=np.int64)
        self.depth_of = np.empty(n, dtype=np.int64)
        if n == 0:
            return 0
        grow_packets(out, n)
        # What may be written: every octet that is held or comes now, once, and a header for each packet.
        arena.reserve(int(self.held_octets + found.length[rows].sum()) + 40 * n)
        self.look_at(data, found, rows, arena, out, drops)
        made = self.run(n, arena.used, out.n)
        self.forget()
        out.n += made
        arena.used = int(self.arena_used)
        self.packet_of, self.depth_of = self.packet_of[:made], self.depth_of[:made]
        return int(made)

    def expire(self, now_us: int, drops: Array) -> None:
        """Count what has waited longer than the time-out (FRAGMENT_TIMEOUT), and forget it."""
        view: Any = memoryview
        self.drops = view(drops)
        self.drop_late(now_us)
        self.forget()

    def look_at(
        self, data: Any, found: Datagrams, rows: Array, arena: Arena, out: Packets, drops: Array
    ) -> None:
        """Take views of the columns for one run."""
        view: Any = memoryview
        self.bind_rows(data, found, rows, arena)
        self.row_id, self.row_bits, self.row_depth = view(found.seq), view(found.bits), view(found.depth)
        self.row_src, self.row_dst = view(found.src_ip.reshape(-1)), view(found.dst_ip.reshape(-1))
        self.out_offset = view(out.offset)
        self.out_captured = view(out.captured)
        self.out_original = view(out.original)
        self.out_ts = view(out.ts)
        self.out_link = view(out.link)
        self.out_vlan = view(out.vlan)
        self.out_packet = view(self.packet_of)
        self.out_depth = view(self.depth_of)
        self.drops = view(drops)

    def run(self, count: cython.Py_ssize_t, arena_used: cython.longlong, first: cython.Py_ssize_t) -> int:
        """Take `count` rows; return how many packets were written from row `first` on."""
        i: cython.Py_ssize_t
        self.arena_used = arena_used
        self.first = self.row = first
        with cython.nogil:
            for i in range(count):
                self.take_row(self.rows[i])
        return int(self.row - first)

    # ---- one fragment

    def take_row(self, i: cython.Py_ssize_t) -> cython.int:
        """Hold a fragment, or count it."""
        bits: cython.int = self.row_bits[i]
        more: cython.bint = (bits & 0x2000) != 0
        begin: cython.int = (bits & 0x1FFF) * 8
        length: cython.longlong = self.row_length[i]
        # Ours is the shortest header, so that every datagram that a host may send fits.
        bound: cython.longlong = 65_515 if self.row_family[i] == 2 else 65_535
        slot: cython.int
        self.drop_late(self.row_ts[i])
        if self.row_truncated[i]:
            self.drops[FRAME_TRUNCATED] += 1
        elif length <= 0 or begin + length > bound or (more and (length & 7) != 0):
            self.drops[FRAGMENT_LENGTH] += 1
        else:
            self.write_key(i)
            slot = self.find_slot(i, begin, cython.cast(cython.int, length), more)
            if slot >= 0:
                self.hold(slot, i, begin, cython.cast(cython.int, length), more)
        return 0

    def write_key(self, i: cython.Py_ssize_t) -> cython.int:
        """Write what fragments of one datagram have in common; protocol for IPv4 alone (RFC 8200, 4.5)."""
        k: cython.Py_ssize_t
        word: cython.uint = self.row_family[i] & 0xFF
        vlan: cython.uint = self.row_vlan[i]
        if word == 2:
            word |= cython.cast(cython.uint, self.row_proto[i]) << 8
        self.table.key[0] = word | (vlan << 16)
        self.table.key[1] = self.row_id[i]
        for k in range(4):
            self.table.key[2 + k] = self.row_src_words[4 * i + k]
            self.table.key[6 + k] = self.row_dst_words[4 * i + k]
        return 0

    def find_slot(
        self, i: cython.Py_ssize_t, begin: cython.int, length: cython.int, more: cython.bint
    ) -> cython.int:
        """Return the slot of the fragment's datagram, perhaps a new one; -1 where it is counted already."""
        slot: cython.int = self.table.find()
        if slot >= 0 and self.state[slot] == DONE:
            if self.repeats(slot, i, begin, length, more):
                self.drops[FRAGMENT_DUPLICATE] += 1
                return -1
            self.remove(slot)  # its identification is used again
            slot = self.table.find()
        if slot >= 0:
            if self.state[slot] == GIVEN_UP:
                self.drops[self.reason[slot]] += 1
                return -1
            return slot
        if self.table.crowded >= 0:
            self.push_out(self.table.crowded)
        while self.table.count >= self.table.slots:
            self.push_oldest()
        slot = self.table.add()
        self.open.push(slot)
        self.state[slot] = OPEN
        self.since[slot] = self.row_ts[i]
        self.protocol[slot] = self.row_proto[i]
        self.total[slot] = -1
        self.more_end[slot] = self.have[slot] = self.top[slot] = self.pieces[slot] = 0
        self.octets[slot] = 0
        return slot

    def repeats(
        self, slot: cython.int, i: cython.Py_ssize_t, begin: cython.int, length: cython.int, more: cython.bint
    ) -> cython.bint:
        """Tell whether a whole datagram has this fragment, octet for octet."""
        end: cython.int = begin + length
        total: cython.int = self.total[slot]
        if end > total or more == (end == total):
            return False
        return self.compare(slot, i, begin, length) == 1

    def hold(
        self, slot: cython.int, i: cython.Py_ssize_t, begin: cython.int, length: cython.int, more: cython.bint
    ) -> cython.int:
        """Put a fragment where it belongs; hand the datagram out when it is whole."""
        end: cython.int = begin + length
        total: cython.int = self.total[slot]
        if more:
            if total >= 0 and end >= total:
                return self.give_up(slot, FRAGMENT_LENGTH)
        elif (total >= 0 and total != end) or self.more_end[slot] >= end:
            return self.give_up(slot, FRAGMENT_LENGTH)
        alike: cython.int = self.compare(slot, i, begin, length)
        if alike < 0:
            return self.give_up(slot, FRAGMENT_OVERLAP)
        if alike == 1:
            self.drops[FRAGMENT_DUPLICATE] += 1
            return 0
        if not self.make_room(slot, begin, end):
            self.drops[FRAGMENT_BOUND] += 1
            return 0
        if more:
            self.more_end[slot] = max(self.more_end[slot], end)
        else:
            self.total[slot] = end
        if begin == 0:
            self.protocol[slot] = self.row_proto[i]
        self.write_octets(slot, i, begin, length)
        self.pieces[slot] += 1
        self.held += 1
        if self.total[slot] >= 0 and self.have[slot] == (self.total[slot] + 7) // 8:
            self.hand_out(slot, i)
        return 0

    def units_of(self, page: cython.int, begin: cython.int, end: cython.int) -> cython.ulonglong:
        """Return the units of eight octets of a page that octets begin..end touch, as bits."""
        low: cython.int = max(begin - page * BLOCK, 0) // 8
        high: cython.int = (min(end - page * BLOCK, BLOCK) + 7) // 8
        units: cython.ulonglong = _ALL_UNITS
        if high - low < 64:
            units = (cython.cast(cython.ulonglong, 1) << (high - low)) - 1
        return units << low

    def compare(
        self, slot: cython.int, i: cython.Py_ssize_t, begin: cython.int, length: cython.int
    ) -> cython.int:
        """Compare a fragment with what is held of it: -1 they disagree, 1 it is all there, 0 it is not."""
        end: cython.int = begin + length
        page: cython.int
        block: cython.int
        all_there: cython.int = 1
        for page in range(begin // BLOCK, (end - 1) // BLOCK + 1):
            block = self.pages[slot * PAGES + page] if page < self.top[slot] else -1
            if block < 0:
                all_there = 0
                continue
            wanted: cython.ulonglong = self.units_of(page, begin, end)
            there: cython.ulonglong = self.units[block] & wanted
            if there != wanted:
                all_there = 0
            if there != 0 and not self.same_units(block, page, there, i, begin, end):
                return -1
        return all_there

    def same_units(
        self,
        block: cython.int,
        page: cython.int,
        units: cython.ulonglong,
        i: cython.Py_ssize_t,
        begin: cython.int,
        end: cython.int,
    ) -> cython.bint:
        """Compare the units of a page that are held with a fragment's octets."""
        unit: cython.int = 0
        while unit < 64:
            first: cython.int = unit
            while unit < 64 and ((units >> unit) & 1) != 0:
                unit += 1
            if first == unit:
                unit += 1
                continue
            at: cython.int = page * BLOCK + first * 8  # in the datagram
            size: cython.int = min((unit - first) * 8, end - at)
            from_: cython.longlong = self.row_offset[i] + at - begin
            held: cython.Py_ssize_t = block * BLOCK + first * 8
            if self.row_area[i] == 0:
                if not same_octets(self.pool.const_octets, held, self.data, from_, size):
                    return False
            elif not same_octets(self.pool.const_octets, held, self.arena_read, from_, size):
                return False
        return True

    def make_room(self, slot: cython.int, begin: cython.int, end: cython.int) -> cython.bint:
        """Give the datagram the blocks that octets begin..end need; False where it had to go itself."""
        page: cython.int
        for page in range(begin // BLOCK, (end - 1) // BLOCK + 1):
            while self.top[slot] <= page:
                self.pages[slot * PAGES + self.top[slot]] = -1
                self.top[slot] += 1
            if self.pages[slot * PAGES + page] >= 0:
                continue
            while self.pool.left == 0:
                if self.push_oldest() == slot:
                    return False
            block: cython.int = self.pool.take()
            self.units[block] = 0
            self.pages[slot * PAGES + page] = block
        return True

    def write_octets(
        self, slot: cython.int, i: cython.Py_ssize_t, begin: cython.int, length: cython.int
    ) -> cython.int:
        """Copy a fragment into its datagram's blocks."""
        end: cython.int = begin + length
        page: cython.int
        before: cython.int = self.have[slot]
        for page in range(begin // BLOCK, (end - 1) // BLOCK + 1):
            block: cython.int = self.pages[slot * PAGES + page]
            at: cython.int = max(begin, page * BLOCK)
            size: cython.int = min(end, (page + 1) * BLOCK) - at
            from_: cython.longlong = self.row_offset[i] + at - begin
            to: cython.Py_ssize_t = block * BLOCK + at - page * BLOCK
            if self.row_area[i] == 0:
                copy_octets(self.pool.octets, to, self.data, from_, size)
            else:
                copy_octets(self.pool.octets, to, self.arena_read, from_, size)
            wanted: cython.ulonglong = self.units_of(page, begin, end)
            self.have[slot] += popcount(wanted & (self.units[block] ^ _ALL_UNITS))
            self.units[block] |= wanted
        more: cython.longlong = min((self.have[slot] - before) * 8, length)
        self.octets[slot] += more
        self.held_octets += more
        return 0

    # ---- what becomes of a datagram

    def hand_out(self, slot: cython.int, i: cython.Py_ssize_t) -> cython.int:
        """Write a whole datagram to the arena as a raw IP packet."""
        total: cython.int = self.total[slot]
        at: cython.longlong = self.arena_used
        header: cython.int = (
            self.write_ipv4(slot, i, at) if self.row_family[i] == 2 else self.write_ipv6(slot, i, at)
        )
        page: cython.int
        for page in range((total - 1) // BLOCK + 1):
            copy_octets(
                self.arena,
                at + header + page * BLOCK,
                self.pool.const_octets,
                self.pages[slot * PAGES + page] * BLOCK,
                min(BLOCK, total - page * BLOCK),
            )
        n: cython.Py_ssize_t = self.row
        self.out_offset[n] = at
        self.out_captured[n] = self.out_original[n] = header + total
        self.out_ts[n] = self.row_ts[i]
        self.out_link[n] = LINK
        self.out_vlan[n] = self.row_vlan[i]
        self.out_packet[n - self.first] = self.row_packet[i]
        self.out_depth[n - self.first] = self.row_depth[i]
        self.row = n + 1
        self.arena_used = at + header + total
        self.used += self.pieces[slot]
        self.let_go(slot)
        self.open.remove(slot)
        self.done.push(slot)
        self.state[slot] = DONE
        self.since[slot] = self.row_ts[i]
        return 0

    def put16(self, at: cython.longlong, value: cython.int) -> cython.int:
        """Write two octets in network order."""
        self.arena[at] = (value >> 8) & 0xFF
        self.arena[at + 1] = value & 0xFF
        return 0

    def write_ipv4(self, slot: cython.int, i: cython.Py_ssize_t, at: cython.longlong) -> cython.int:
        """Write an IPv4 header (RFC 791 section 3.1); return its length."""
        k: cython.Py_ssize_t
        checksum: cython.int = 0
        self.put16(at, 0x4500)
        self.put16(at + 2, 20 + self.total[slot])
        self.put16(at + 4, cython.cast(cython.int, self.row_id[i] & 0xFFFF))
        self.put16(at + 6, 0)
        self.put16(at + 8, (64 << 8) | self.protocol[slot])
        self.put16(at + 10, 0)
        copy_octets(self.arena, at + 12, self.row_src, 16 * i + 12, 4)
        copy_octets(self.arena, at + 16, self.row_dst, 16 * i + 12, 4)
        for k in range(10):
            high: cython.int = self.arena[at + 2 * k]
            low: cython.int = self.arena[at + 2 * k + 1]
            checksum += (high << 8) | low
        checksum = (checksum & 0xFFFF) + (checksum >> 16)
        checksum = (checksum & 0xFFFF) + (checksum >> 16)
        self.put16(at + 10, checksum ^ 0xFFFF)
        return 20

    def write_ipv6(self, slot: cython.int, i: cython.Py_ssize_t, at: cython.longlong) -> cython.int:
        """Write an IPv6 header (RFC 8200 section 3), its next header from the first fragment."""
        self.put16(at, 0x6000)
        self.put16(at + 2, 0)
        self.put16(at + 4, self.total[slot])
        self.put16(at + 6, (self.protocol[slot] << 8) | 64)
        copy_octets(self.arena, at + 8, self.row_src, 16 * i, 16)
        copy_octets(self.arena, at + 24, self.row_dst, 16 * i, 16)
        return 40

    def let_go(self, slot: cython.int) -> cython.int:
        """Its fragments are held no longer."""
        self.held -= self.pieces[slot]
        self.held_octets -= self.octets[slot]
        self.pieces[slot] = 0
        self.octets[slot] = 0
        return 0

    def free_blocks(self, slot: cython.int) -> cython.int:
        """Give its blocks back."""
        page: cython.int
        for page in range(self.top[slot]):
            if self.pages[slot * PAGES + page] >= 0:
                self.pool.give(self.pages[slot * PAGES + page])
        self.top[slot] = 0
        return 0

    def give_up(self, slot: cython.int, reason: cython.int) -> cython.int:
        """Its fragments contradict each other: count them, the present one too, and those to come."""
        self.drops[reason] += self.pieces[slot] + 1
        self.let_go(slot)
        self.free_blocks(slot)
        self.state[slot] = GIVEN_UP
        self.reason[slot] = reason
        return 0

    def remove(self, slot: cython.int) -> cython.int:
        """Forget a datagram; what it held has been counted."""
        self.let_go(slot)
        self.free_blocks(slot)
        if self.state[slot] == DONE:
            self.done.remove(slot)
        else:
            self.open.remove(slot)
        self.table.remove(slot)
        return 0

    def push_out(self, slot: cython.int) -> cython.int:
        """Forget a datagram for want of room."""
        self.drops[FRAGMENT_BOUND] += self.pieces[slot]
        self.remove(slot)
        return slot

    def push_oldest(self) -> cython.int:
        """Make room: the oldest of those that are only remembered, else of those that wait. Return which."""
        return self.push_out(self.done.oldest if self.done.oldest >= 0 else self.open.oldest)

    def drop_late(self, now: cython.longlong) -> cython.int:
        """Forget what is past its time."""
        while self.done.oldest >= 0 and abs(now - self.since[self.done.oldest]) > REPEAT:
            self.remove(self.done.oldest)
        while self.open.oldest >= 0 and abs(now - self.since[self.open.oldest]) > self.timeout:
            self.drops[FRAGMENT_TIMEOUT] += self.pieces[self.open.oldest]
            self.remove(self.open.oldest)
        return 0


if not cython.compiled:

    def popcount(units: int) -> int:
        """Count the bits that are set."""
        return units.bit_count()
