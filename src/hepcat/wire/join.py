"""Kernel: SIP that a broken sender spreads over several unmarked UDP datagrams, put together.

In: rows of `Datagrams` of UDP payloads, in the order of capture. Out: the same rows, but for messages that
were joined: one row each, in the arena. Nothing is lost, so nothing is a drop: datagrams fed = rows out of
`feed` and `expire` + `joined` (those that are now part of another's row) + `waiting`.

A datagram that begins with a whole SIP start line (RFC 3261 sections 7.1 and 7.2), and whose headers have
not ended or whose Content-Length says more than is there, is held. Datagrams that follow between the same
addresses and ports, and begin with no start line, are appended until the message is whole. What is held goes
out as it is, counted in `partial`, when one does begin with a start line, when the time-out is over, when
the bound of octets or messages is reached (oldest first), or when it would pass 65,535 octets.

Passed by, unchanged: what is not UDP, truncated rows, a message of over 65,535 octets by its own account
(no record can hold it), and STUN between the parts (RFC 8489: a magic cookie tells it).

Headers are read by a machine that may stop at any octet, so no octet is looked at twice.
"""

import secrets
from typing import Any, Final

import cython
import numpy as np

from hepcat.batch.schema import MAX_RECORD
from hepcat.wire.columns import AREA_ARENA, Arena, Array, Datagrams
from hepcat.wire.held import ROW_COLUMNS, append_rows

if not cython.compiled:  # join.pxd cimports them, and has the numbers as C constants
    from hepcat.wire.held import AgeList, BlockPool, KeyTable, LentRows, find_octet

    BLOCK = 512
    LINE = 0
    SKIP = 1
    NAME = 2
    COLON = 3
    VALUE = 4
    BLANK = 5
    BODY = 6

LONGEST = cython.declare(cython.longlong, MAX_RECORD)
#: The octets compared with.
_LENGTH: Final = np.frombuffer(b"content-length", dtype=np.uint8)
_VERSION: Final = np.frombuffer(b"SIP/2.0", dtype=np.uint8)


class DatagramJoiner(LentRows):
    """Messages held, and what becomes whole. One thread.

    max_octets: memory for octets held, in blocks of 512. max_messages: held at a time. timeout_us: from a
    message's last part on. seed: 96 octets, secret; for tests. held, waiting, held_octets: messages, their
    datagrams and their octets that wait. joined: datagrams that went into the row of another. partial:
    messages that went out unfinished. changed: whether the last `feed` did anything but hand its rows on.
    """

    def __init__(
        self,
        max_octets: int = 1 << 20,
        max_messages: int = 256,
        timeout_us: int = 500_000,
        seed: bytes | None = None,
    ) -> None:
        if max_octets < LONGEST + BLOCK or max_messages < 1:
            raise ValueError("a joiner needs room for one message: 65,536 octets and some")
        view: Any = memoryview
        self.table = KeyTable(max_messages, seed or secrets.token_bytes(96))
        self.pool = BlockPool(max_octets)
        self.ages = AgeList(max_messages)
        self.timeout = timeout_us
        self.name = view(_LENGTH)
        self.version = view(_VERSION)
        self.kept = Datagrams.empty(max_messages)
        self.row_of_array = np.full(max_messages, -1, dtype=np.int64)
        self.row_of = view(self.row_of_array)
        self.since = view(np.zeros(max_messages, dtype=np.int64))
        self.first = view(np.zeros(max_messages, dtype=np.int32))
        self.last = view(np.zeros(max_messages, dtype=np.int32))
        self.size = view(np.zeros(max_messages, dtype=np.int64))
        self.parts = view(np.zeros(max_messages, dtype=np.int32))
        self.step = view(np.zeros(max_messages, dtype=np.int32))
        self.matched = view(np.zeros(max_messages, dtype=np.int32))
        self.header = view(np.zeros(max_messages, dtype=np.int64))
        self.content = view(np.zeros(max_messages, dtype=np.int64))
        self.held = self.waiting = self.held_octets = self.joined = self.partial = 0
        self.changed = False
        self.forget()

    def feed(
        self, data: Any, found: Datagrams, rows: Array, arena: Arena, out: Datagrams, drops: Array
    ) -> int:
        """Take datagrams; append what they come to to `out`; return how many rows.

        data: uint8 buffer of the window. rows: int64, rows of `found` of KIND_DATAGRAM, in order; their
        octets lie in `data` or in `arena` (found.area). A joined row is its completing datagram's, but for
        offset, length and area; an unfinished one is its last part's, but for `packet`, which is that of the
        datagram that came when it went. drops is not written: nothing is lost here.
        """
        n = len(rows)
        self.changed = False
        if n == 0:
            return 0
        arena.reserve(int(self.held_octets + found.length[rows].sum()))
        room = n + self.held
        source, packet = np.empty(room, dtype=np.int64), np.empty(room, dtype=np.int64)
        offset, length = np.empty(room, dtype=np.int64), np.empty(room, dtype=np.int64)
        self.bind_rows(data, found, rows, arena)
        self.look_at_results(source, packet, offset, length)
        self.rows_fed = found.n
        made = int(self.run(n, arena.used))
        self.forget()
        arena.used = int(self.arena_used)
        self.write_rows(found, out, source[:made], packet[:made], offset[:made], length[:made])
        self.keep_rows(found)
        return made

    def expire(
        self, now_us: int, arena: Arena, out: Datagrams, drops: Array | None = None, packet: int = 0
    ) -> int:
        """Append to `out` what has waited longer than the time-out, as it is; return how many rows.

        packet: what `packet` says in these rows (theirs lie in windows that are gone).
        """
        if self.held == 0:
            return 0
        arena.reserve(int(self.held_octets))
        room = int(self.held)
        source, packets = np.empty(room, dtype=np.int64), np.full(room, packet, dtype=np.int64)
        offset, length = np.empty(room, dtype=np.int64), np.empty(room, dtype=np.int64)
        view: Any = memoryview
        self.arena = view(arena.data)
        self.look_at_results(source, packets, offset, length)
        self.rows_fed = 0
        self.arena_used = arena.used
        self.made = 0
        self.packet_now = packet
        self.drop_late(now_us)
        self.forget()
        arena.used = int(self.arena_used)
        made = int(self.made)
        nothing = Datagrams.empty(0)
        self.write_rows(nothing, out, source[:made], packets[:made], offset[:made], length[:made])
        return made

    def write_rows(
        self, found: Datagrams, out: Datagrams, source: Array, packet: Array, offset: Array, length: Array
    ) -> None:
        """Append rows to `out`. source: a row of `found`, or behind those a message held from before."""
        before = np.flatnonzero(source >= found.n)
        slots = source[before] - found.n
        source[before] = 0
        # Where nothing came, all of them are from before.
        first = append_rows(found, source, out) if found.n else append_rows(self.kept, slots, out)
        if len(before):
            for name in ROW_COLUMNS:
                getattr(out, name)[first + before] = getattr(self.kept, name)[slots]
        moved = np.flatnonzero(offset >= 0)
        out.packet[first + moved] = packet[moved]
        out.offset[first + moved] = offset[moved]
        out.length[first + moved] = length[moved]
        out.area[first + moved] = AREA_ARENA

    def keep_rows(self, found: Datagrams) -> None:
        """Remember the rows of what is held now: the next window has others."""
        slots = np.flatnonzero(self.row_of_array >= 0)
        if len(slots):
            rows = self.row_of_array[slots]
            for name in ROW_COLUMNS:
                getattr(self.kept, name)[slots] = getattr(found, name)[rows]
            self.row_of_array[slots] = -1

    def look_at_results(self, source: Array, packet: Array, offset: Array, length: Array) -> None:
        """Take views of what one run writes."""
        view: Any = memoryview
        self.out_source = view(source)
        self.out_packet = view(packet)
        self.out_offset = view(offset)
        self.out_length = view(length)

    def run(self, count: cython.Py_ssize_t, arena_used: cython.longlong) -> cython.Py_ssize_t:
        """Take `count` rows; return how many were written."""
        i: cython.Py_ssize_t
        self.arena_used = arena_used
        self.made = 0
        with cython.nogil:
            for i in range(count):
                self.take_row(self.rows[i])
        return self.made

    # ---- one datagram

    def take_row(self, i: cython.Py_ssize_t) -> cython.int:
        """Hand a datagram on, hold it, or append it to what is held."""
        if self.held > 0:
            self.packet_now = self.row_packet[i]
            self.drop_late(self.row_ts[i])
        if self.row_proto[i] != 17 or self.row_length[i] <= 0:
            return self.pass_by(i)
        if self.row_area[i] == 0:
            return self.take_octets(self.data, i)
        return self.take_octets(self.arena_read, i)

    def take_octets(self, octets: Any, i: cython.Py_ssize_t) -> cython.int:
        """The same, knowing where the octets are."""
        at: cython.Py_ssize_t = self.row_offset[i]
        end: cython.Py_ssize_t = at + self.row_length[i]
        slot: cython.int
        if self.begins_sip(octets, at, end):
            if self.held > 0:
                slot = self.find_slot(i)
                if slot >= 0:
                    self.hand_out(slot, -1)
            if self.row_truncated[i]:
                return self.pass_by(i)
            self.start_reading()
            self.read_headers(octets, at, end)
            if not self.wants_more(end - at):
                return self.pass_by(i)
            return self.hold(octets, i)
        if self.held == 0 or self.is_stun(octets, at, end):
            return self.pass_by(i)
        slot = self.find_slot(i)
        if slot < 0:
            return self.pass_by(i)
        if self.row_truncated[i] or self.size[slot] + end - at > LONGEST:
            self.hand_out(slot, -1)
            return self.pass_by(i)
        return self.append(slot, octets, i)

    def pass_by(self, i: cython.Py_ssize_t) -> cython.int:
        """Hand a row on as it is."""
        self.out_source[self.made] = i
        self.out_offset[self.made] = -1
        self.made += 1
        return 0

    def find_slot(self, i: cython.Py_ssize_t) -> cython.int:
        """Return the message held between the row's addresses and ports, -1 where there is none."""
        self.write_direction(self.table, i)
        return self.table.find()

    def begins_sip(self, octets: Any, at: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.bint:
        """Tell whether a SIP start line stands here: its first line begins or ends with SIP/2.0."""
        first: cython.int = octets[at]
        if not (0x41 <= first <= 0x5A or 0x61 <= first <= 0x7A):
            return False  # methods of letters: every one there is
        stop: cython.Py_ssize_t = find_octet(octets, at, end, 0x0A)
        if stop == end or stop - at < 12:
            return False
        if self.is_version(octets, at):
            return octets[at + 7] == 0x20
        if octets[stop - 1] == 0x0D:
            stop -= 1
        if octets[stop - 8] != 0x20 or not self.is_version(octets, stop - 7):
            return False
        space: cython.Py_ssize_t = find_octet(octets, at, stop, 0x20)
        return space - at <= 32 and space < stop - 8

    def is_version(self, octets: Any, at: cython.Py_ssize_t) -> cython.bint:
        """Compare seven octets, which are there, with SIP/2.0."""
        k: cython.Py_ssize_t
        for k in range(7):
            if octets[at + k] != self.version[k] and octets[at + k] != (self.version[k] | 0x20):
                return False
        return True

    def is_stun(self, octets: Any, at: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.bint:
        """Tell STUN by its magic cookie (RFC 8489 section 5)."""
        if end - at < 20 or octets[at] > 3:
            return False
        return (
            octets[at + 4] == 0x21
            and octets[at + 5] == 0x12
            and octets[at + 6] == 0xA4
            and octets[at + 7] == 0x42
        )

    # ---- headers, read as far as they have come

    def start_reading(self) -> cython.int:
        """Begin with a start line."""
        self.now_step = SKIP
        self.now_matched = 0
        self.now_header = 0
        self.now_content = -1
        return 0

    def read_headers(self, octets: Any, at: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.int:
        """Read on to the end of the headers or of the octets. now_header counts octets of the headers."""
        start: cython.Py_ssize_t = at
        while at < end and self.now_step != BODY:
            if self.now_step == SKIP:
                at = find_octet(octets, at, end, 0x0A)
                if at < end:
                    self.now_step = LINE
                    at += 1
            else:
                self.read_octet(octets[at])
                at += 1
        self.now_header += at - start
        return 0

    def read_octet(self, octet: cython.int) -> cython.int:
        """One octet of a line's beginning, or of a Content-Length."""
        letter: cython.int = octet | 0x20
        if octet == 0x0A:
            self.now_step = BODY if self.now_step == BLANK or self.now_step == LINE else LINE
            self.now_matched = 0
        elif self.now_step == LINE:
            self.now_matched = 1
            self.now_step = SKIP
            if octet == 0x0D:
                self.now_step = BLANK
            elif letter == 0x63:  # "c"
                self.now_step = NAME
            elif letter == 0x6C:  # "l", the short form (RFC 3261 section 20.14)
                self.now_step = COLON
        elif self.now_step == NAME:
            if letter != self.name[self.now_matched]:
                self.now_step = SKIP
            self.now_matched += 1
            if self.now_step == NAME and self.now_matched == 14:
                self.now_step = COLON
        elif self.now_step == COLON:
            if octet == 0x3A:
                self.now_step = VALUE if self.now_content < 0 else SKIP
            elif octet != 0x20 and octet != 0x09:
                self.now_step = SKIP
        elif self.now_step == VALUE:
            if 0x30 <= octet <= 0x39:
                self.now_content = min(max(self.now_content, 0) * 10 + octet - 0x30, 1_000_000)
            elif self.now_content >= 0 or (octet != 0x20 and octet != 0x09):
                self.now_step = SKIP
        else:
            self.now_step = SKIP
        return 0

    def wants_more(self, size: cython.longlong) -> cython.bint:
        """Tell whether a message of this many octets lacks some that may come."""
        if self.now_step != BODY:
            return size < LONGEST
        total: cython.longlong = self.now_header + self.now_content
        return self.now_content > 0 and size < total and total <= LONGEST

    # ---- what is held

    def hold(self, octets: Any, i: cython.Py_ssize_t) -> cython.int:
        """Hold the first part of a message."""
        slot: cython.int = self.find_slot(i)  # none: what stood there has been handed out
        if slot < 0 and self.table.crowded >= 0:
            self.push_out(self.table.crowded, i)
        while self.table.count >= self.table.slots:
            self.push_out(self.ages.oldest, i)
        slot = self.table.add()
        self.ages.push(slot)
        self.first[slot] = self.last[slot] = -1
        self.size[slot] = 0
        self.parts[slot] = 0
        self.held += 1
        return self.write_octets(slot, octets, i)

    def append(self, slot: cython.int, octets: Any, i: cython.Py_ssize_t) -> cython.int:
        """Append a part; hand the message out when it is whole."""
        at: cython.Py_ssize_t = self.row_offset[i]
        end: cython.Py_ssize_t = at + self.row_length[i]
        self.now_step = self.step[slot]
        self.now_matched = self.matched[slot]
        self.now_header = self.header[slot]
        self.now_content = self.content[slot]
        self.read_headers(octets, at, end)
        self.ages.remove(slot)
        self.ages.push(slot)
        self.write_octets(slot, octets, i)
        if not self.wants_more(self.size[slot]):
            self.hand_out(slot, i)
        return 0

    def write_octets(self, slot: cython.int, octets: Any, i: cython.Py_ssize_t) -> cython.int:
        """Add a datagram's octets to a message, and what has been read of its headers."""
        length: cython.Py_ssize_t = self.row_length[i]
        while self.pool.left < self.pool.need(self.size[slot], length):
            self.push_out(self.ages.oldest, i)  # never this one: it is the newest, and a pool holds one
        self.last[slot] = self.pool.append(
            self.last[slot], self.size[slot], octets, self.row_offset[i], length
        )
        if self.size[slot] == 0:
            self.first[slot] = self.pool.first
        self.size[slot] += length
        self.held_octets += length
        self.parts[slot] += 1
        self.waiting += 1
        self.row_of[slot] = i
        self.since[slot] = self.row_ts[i]
        self.step[slot] = self.now_step
        self.matched[slot] = self.now_matched
        self.header[slot] = self.now_header
        self.content[slot] = self.now_content
        self.changed = True
        return 0

    def hand_out(self, slot: cython.int, i: cython.Py_ssize_t) -> cython.int:
        """Write what is held to the arena. i: the row that made it whole, -1 where it is not."""
        n: cython.Py_ssize_t = self.made
        self.out_source[n] = self.row_of[slot] if self.row_of[slot] >= 0 else self.rows_fed + slot
        self.out_packet[n] = self.row_packet[i] if i >= 0 else self.packet_now
        self.out_offset[n] = self.arena_used
        self.out_length[n] = self.size[slot]
        self.made = n + 1
        self.pool.copy_out(self.first[slot], self.size[slot], self.arena, self.arena_used)
        self.arena_used += self.size[slot]
        self.pool.give_chain(self.first[slot])
        self.ages.remove(slot)
        self.table.remove(slot)
        self.row_of[slot] = -1
        self.held -= 1
        self.held_octets -= self.size[slot]
        self.waiting -= self.parts[slot]
        self.joined += self.parts[slot] - 1
        if i < 0:
            self.partial += 1
        self.changed = True
        return 0

    def push_out(self, slot: cython.int, i: cython.Py_ssize_t) -> cython.int:
        """Hand out the oldest for want of room; row i is what came."""
        self.packet_now = self.row_packet[i]
        return self.hand_out(slot, -1)

    def drop_late(self, now: cython.longlong) -> cython.int:
        """Hand out what is past its time."""
        while self.ages.oldest >= 0 and abs(now - self.since[self.ages.oldest]) > self.timeout:
            self.hand_out(self.ages.oldest, -1)
        return 0
