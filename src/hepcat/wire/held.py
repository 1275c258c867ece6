"""Kernel parts: what reassembly holds between windows: keys in a table, ages in a list, octets in blocks.
And what it reads within one: `LentRows`.

In: keys of `WORDS` words, octets. Out: slot and block numbers, which the owner's own columns are indexed
by. What can go wrong: nothing that hostile octets could do; a slot or block that does not exist is an
IndexError (a bug of ours). Everything has a fixed size from the start and no Python object an entry.

Used by fragments.py, sctp.py and join.py. The hash is multilinear with secret random factors, so nobody
outside can make keys collide on purpose (Lemire and Kaser, "Strongly universal string hashing is fast"),
and a chain is bounded all the same: its owner pushes out the last entry of one that is `crowded`.
"""

import sys
from typing import Any, Final

import cython
import numpy as np

from hepcat.wire.columns import DATAGRAM_COLUMNS, Arena, Array, Datagrams

if not cython.compiled:  # held.pxd cimports it, and has the numbers as C constants
    from hepcat.wire.hep import copy_octets  # type: ignore[attr-defined,unused-ignore]

    WORDS = 11
    PROBES = 32
    BLOCK = 512

#: Every column of Datagrams.
ROW_COLUMNS: Final = (*(name for name, _ in DATAGRAM_COLUMNS), "src_ip", "dst_ip")
#: An odd constant that spreads bits (the fraction of the golden ratio).
SPREAD = cython.declare(cython.ulonglong, 0x9E3779B97F4A7C15)
#: Octets of the secret that a table is made with.
SEED_OCTETS: Final = 96
#: Octets in a block, for owners' arithmetic and for tests.
BLOCK_OCTETS: Final = 512

_EMPTY: Final = np.zeros(0, dtype=np.uint8)


def same_octets(
    a: Any, at: cython.Py_ssize_t, b: Any, bt: cython.Py_ssize_t, n: cython.Py_ssize_t
) -> cython.int:
    """Tell whether a[at:at+n] and b[bt:bt+n] are alike; checks both ranges."""
    if n <= 0:
        return 1
    if at < 0 or bt < 0 or n > len(a) - at or n > len(b) - bt:
        with cython.gil:
            raise IndexError("same_octets: out of range")
    if cython.compiled:  # held.pxd imports memcmp
        return memcmp(cython.address(a[at]), cython.address(b[bt]), n) == 0  # type: ignore[name-defined]  # noqa: F821
    return int(bytes(a[at : at + n]) == bytes(b[bt : bt + n]))


def find_octet(a: Any, at: cython.Py_ssize_t, end: cython.Py_ssize_t, octet: cython.int) -> cython.Py_ssize_t:
    """Return where the octet first stands in a[at:end], `end` where it does not; checks the range."""
    if at >= end:
        return end
    if at < 0 or end > len(a):
        with cython.gil:
            raise IndexError("find_octet: out of range")
    if cython.compiled:  # held.pxd wraps memchr
        return at + octet_at(cython.address(a[at]), octet, end - at)  # type: ignore[name-defined]  # noqa: F821
    place = bytes(a[at:end]).find(octet)
    return end if place < 0 else at + place


def hash_octets(a: Any, at: cython.Py_ssize_t, n: cython.Py_ssize_t, seed: cython.ulonglong) -> cython.uint:
    """Hash a[at:at+n] to 32 bits, eight octets at a time; checks the range."""
    value: cython.ulonglong = seed ^ cython.cast(cython.ulonglong, n)
    word: cython.ulonglong
    size: cython.Py_ssize_t
    if at < 0 or n < 0 or n > len(a) - at:
        with cython.gil:
            raise IndexError("hash_octets: out of range")
    while n > 0:
        size = 8 if n > 8 else n
        if cython.compiled:
            word = 0
            memcpy(cython.address(word), cython.address(a[at]), size)  # type: ignore[name-defined]  # noqa: F821
        else:
            word = int.from_bytes(bytes(a[at : at + size]).ljust(8, b"\0"), sys.byteorder)
        value = (value ^ word) * SPREAD
        if not cython.compiled:
            value &= 0xFFFFFFFFFFFFFFFF
        value ^= value >> 29
        at += size
        n -= size
    value ^= value >> 32
    if not cython.compiled:
        value &= 0xFFFFFFFF
    return cython.cast(cython.uint, value)


def append_rows(found: Datagrams, source: Array, out: Datagrams) -> int:
    """Append rows of `found` to `out`, every column; return the row of the first. source: int64."""
    first, last = out.n, out.n + len(source)
    out.grow(len(source))
    if len(source):
        for name in ROW_COLUMNS:
            # "clip" writes to `out` without a copy; the rows exist.
            np.take(getattr(found, name), source, axis=0, out=getattr(out, name)[first:last], mode="clip")
    out.n = last
    return first


class LentRows:
    """What one run of a reassembler reads: the columns of `Datagrams`, and where the octets lie.

    All of it is lent by the caller: `forget` lets go of it, so that window and arena may be used anew.
    """

    def bind_rows(self, data: Any, found: Datagrams, rows: Array, arena: Arena) -> None:
        """Take views. data: uint8 buffer of the window. rows: int64, rows of `found`, in order."""
        view: Any = memoryview
        self.data = view(data)
        self.arena = view(arena.data)
        self.arena_read = self.arena
        self.rows = view(np.ascontiguousarray(rows, dtype=np.int64))
        self.row_packet, self.row_ts = view(found.packet), view(found.ts)
        self.row_offset, self.row_length = view(found.offset), view(found.length)
        self.row_area, self.row_truncated = view(found.area), view(found.truncated)
        self.row_family, self.row_proto = view(found.family), view(found.ip_proto)
        self.row_src_port, self.row_dst_port = view(found.src_port), view(found.dst_port)
        self.row_vlan = view(found.vlan)
        self.row_src_words = view(found.src_ip.reshape(-1).view(np.uint32))
        self.row_dst_words = view(found.dst_ip.reshape(-1).view(np.uint32))

    def forget(self) -> None:
        """Let go of the window and the arena."""
        view: Any = memoryview
        self.data = self.arena_read = view(_EMPTY)
        self.arena = view(_EMPTY)

    def write_direction(self, table: "KeyTable", i: cython.Py_ssize_t) -> cython.int:
        """Write addresses, ports and VLAN of row i as the key of a table; its word 2 is left to the owner."""
        k: cython.Py_ssize_t
        ports: cython.uint = self.row_src_port[i]
        vlan: cython.uint = self.row_vlan[i]
        table.key[0] = (self.row_family[i] & 0xFF) | (vlan << 16)
        table.key[1] = (ports << 16) | self.row_dst_port[i]
        table.key[2] = 0
        for k in range(4):
            table.key[3 + k] = self.row_src_words[4 * i + k]
            table.key[7 + k] = self.row_dst_words[4 * i + k]
        return 0


class AgeList:
    """Slots from the oldest to the newest; -1 is none."""

    def __init__(self, slots: int) -> None:
        view: Any = memoryview
        self.older = view(np.full(slots, -1, dtype=np.int32))
        self.newer = view(np.full(slots, -1, dtype=np.int32))
        self.oldest = self.newest = -1

    def push(self, slot: cython.int) -> cython.int:
        """Put a slot that is not in the list at its new end."""
        self.older[slot] = self.newest
        self.newer[slot] = -1
        if self.newest >= 0:
            self.newer[self.newest] = slot
        else:
            self.oldest = slot
        self.newest = slot
        return 0

    def remove(self, slot: cython.int) -> cython.int:
        """Take a slot out of the list, which must hold it."""
        older: cython.int = self.older[slot]
        newer: cython.int = self.newer[slot]
        if older >= 0:
            self.newer[older] = newer
        else:
            self.oldest = newer
        if newer >= 0:
            self.older[newer] = older
        else:
            self.newest = older
        return 0


class KeyTable:
    """Slots by key. The owner writes `key` (WORDS words), then calls `find`, then perhaps `add`.

    crowded: set by a `find` that found nothing: the slot that the owner must `remove` before it adds
    (the bucket's chain is at its bound), -1 where there is none. bucket: the bucket of the last `find`.
    """

    def __init__(self, slots: int, seed: bytes) -> None:
        view: Any = memoryview
        if len(seed) != SEED_OCTETS:
            raise ValueError(f"the seed must have {SEED_OCTETS} octets, it has {len(seed)}")
        self.slots = slots
        self.factor = view(np.frombuffer(seed, dtype=np.uint64))
        self.key = view(np.zeros(WORDS, dtype=np.uint32))
        self.keys = view(np.zeros(slots * WORDS, dtype=np.uint32))
        buckets = 1 << (2 * slots - 1).bit_length()
        self.mask = buckets - 1
        self.heads = view(np.full(buckets, -1, dtype=np.int32))
        self.chain = view(np.full(slots, -1, dtype=np.int32))
        self.bucket_of = view(np.zeros(slots, dtype=np.int64))
        self.count = self.fresh = self.bucket = 0
        self.free = self.crowded = -1

    def hash_key(self) -> cython.longlong:
        """Return the bucket of `key`."""
        i: cython.Py_ssize_t
        value: cython.ulonglong = self.factor[WORDS]
        for i in range(WORDS):
            value += self.factor[i] * self.key[i]
        if not cython.compiled:
            value &= 0xFFFFFFFFFFFFFFFF
        return cython.cast(cython.longlong, value >> 32) & self.mask

    def same_key(self, slot: cython.int) -> cython.bint:
        """Tell whether a slot has `key`."""
        i: cython.Py_ssize_t
        at: cython.Py_ssize_t = slot * WORDS
        for i in range(WORDS):  # noqa: SIM110 - compiled, without a generator
            if self.keys[at + i] != self.key[i]:
                return False
        return True

    def find(self) -> cython.int:
        """Return the slot of `key`, -1 where there is none."""
        steps: cython.int = 0
        last: cython.int = -1
        self.bucket = self.hash_key()
        slot: cython.int = self.heads[self.bucket]
        while slot >= 0:
            if self.same_key(slot):
                return slot
            steps += 1
            last = slot
            slot = self.chain[slot]
        self.crowded = last if steps >= PROBES else -1
        return -1

    def add(self) -> cython.int:
        """Give `key` a slot: after a `find` that found none, with `count` below `slots`."""
        slot: cython.int = self.free
        if slot >= 0:
            self.free = self.chain[slot]
        else:
            slot = self.fresh
            if slot >= self.slots:
                with cython.gil:
                    raise IndexError("KeyTable.add: full")
            self.fresh += 1
        i: cython.Py_ssize_t
        at: cython.Py_ssize_t = slot * WORDS
        for i in range(WORDS):
            self.keys[at + i] = self.key[i]
        self.bucket_of[slot] = self.bucket
        self.chain[slot] = self.heads[self.bucket]
        self.heads[self.bucket] = slot
        self.count += 1
        return slot

    def remove(self, slot: cython.int) -> cython.int:
        """Free a slot that is in use."""
        bucket: cython.longlong = self.bucket_of[slot]
        at: cython.int = self.heads[bucket]
        if at == slot:
            self.heads[bucket] = self.chain[slot]
        else:
            while self.chain[at] != slot:  # an IndexError at -1 tells of a slot that was not in use
                at = self.chain[at]
            self.chain[at] = self.chain[slot]
        self.chain[slot] = self.free
        self.free = slot
        self.count -= 1
        return 0


class BlockPool:
    """Blocks of BLOCK octets: `octets` of them all together. Pages that were never used take no memory."""

    def __init__(self, octets: int) -> None:
        view: Any = memoryview
        self.blocks = max(1, octets // BLOCK)
        self.octets = view(np.empty(self.blocks * BLOCK, dtype=np.uint8))
        self.const_octets = self.octets
        self.next = view(np.full(self.blocks, -1, dtype=np.int32))
        self.free = -1
        self.fresh = 0
        self.left = self.blocks

    def take(self) -> cython.int:
        """Return a free block, -1 where there is none."""
        block: cython.int = self.free
        if block >= 0:
            self.free = self.next[block]
        elif self.fresh < self.blocks:
            block = self.fresh
            self.fresh += 1
        else:
            return -1
        self.next[block] = -1
        self.left -= 1
        return block

    def give(self, block: cython.int) -> cython.int:
        """Free one block."""
        self.next[block] = self.free
        self.free = block
        self.left += 1
        return 0

    def give_chain(self, block: cython.int) -> cython.int:
        """Free a chain of blocks; -1 is an empty one."""
        while block >= 0:
            following: cython.int = self.next[block]
            self.give(block)
            block = following
        return 0

    def append(
        self,
        last: cython.int,
        used: cython.Py_ssize_t,
        data: Any,
        at: cython.Py_ssize_t,
        n: cython.Py_ssize_t,
    ) -> cython.int:
        """Append data[at:at+n] to a chain; the caller made sure of room with `need`. Return its last block.

        last: the chain's last block, -1 for a new chain, whose first block is then in `first`. used:
        octets that the chain holds.
        """
        block: cython.int
        size: cython.Py_ssize_t
        while n > 0:
            if used % BLOCK == 0:
                block = self.take()
                if last >= 0:
                    self.next[last] = block
                else:
                    self.first = block
                last = block
            size = min(n, BLOCK - used % BLOCK)
            copy_octets(self.octets, last * BLOCK + used % BLOCK, data, at, size)
            at += size
            used += size
            n -= size
        return last

    def need(self, used: cython.Py_ssize_t, n: cython.Py_ssize_t) -> cython.longlong:
        """Return how many more blocks a chain of `used` octets needs for n more."""
        return (used + n + BLOCK - 1) // BLOCK - (used + BLOCK - 1) // BLOCK

    def copy_out(
        self, block: cython.int, n: cython.Py_ssize_t, out: Any, at: cython.Py_ssize_t
    ) -> cython.int:
        """Copy the first n octets of a chain to out[at:]."""
        size: cython.Py_ssize_t
        while n > 0:
            size = min(n, BLOCK)
            copy_octets(out, at, self.const_octets, block * BLOCK, size)
            block = self.next[block]
            at += size
            n -= size
        return 0
