"""Kernel: walk a block of a TPACKET_V3 ring: packets as the kernel laid them out, into `Packets`.

In: the mapped ring and where a block begins. Out: a row of `Packets` for each frame, offsets within the
ring, nothing copied. What can go wrong: nothing that traffic can cause. The headers are the kernel's, and
are checked all the same: one that points outside of its block, or back, ends the block and counts once
as FRAME_MALFORMED. Frames: what the block announces = rows + drops[OUTGOING], FRAME_MALFORMED apart.

Layout (linux/if_packet.h), all in the machine's byte order but sll_protocol: a block begins with struct
tpacket_block_desc; a packet has struct tpacket3_hdr (48 octets), struct sockaddr_ll, and the frame at
tp_mac. The loopback device shows a packet on its way out and on its way in: the outgoing one is left out.
"""

import sys
from typing import Any, Final

import cython
import numpy as np

from hepcat.batch.drops import Drop
from hepcat.wire.columns import Array, Packets

#: Octets of a block before the first packet, and of a packet before its frame, at most (with room for
#: the alignment of both).
BLOCK_OVERHEAD: Final = 48
PACKET_OVERHEAD: Final = 128
#: What the kernel aligns the headers of packets to (V3_ALIGNMENT).
ALIGNMENT: Final = 8

#: Link type of a frame whose hardware type is not read: counted further on as FRAME_LINK.
NO_LINK: Final = 0xFFFF

_OUTGOING = cython.declare(cython.int, int(Drop.OUTGOING))
_MALFORMED = cython.declare(cython.int, int(Drop.FRAME_MALFORMED))
_NO_LINK = cython.declare(cython.longlong, 0xFFFF)
_LINK_ETHERTYPE = cython.declare(cython.longlong, 1 << 16)
_NO_VLAN = cython.declare(cython.longlong, 0xFFFF)
_SWAP = cython.declare(cython.bint, sys.byteorder == "little")

# struct tpacket_block_desc, in units of four octets.
_BLOCK_STATUS = cython.declare(cython.int, 2)
_BLOCK_PACKETS = cython.declare(cython.int, 3)
_BLOCK_FIRST = cython.declare(cython.int, 4)
# struct tpacket3_hdr, in units of four octets; tp_mac in units of two.
_NEXT = cython.declare(cython.int, 0)
_SECONDS = cython.declare(cython.int, 1)
_NANOSECONDS = cython.declare(cython.int, 2)
_CAPTURED = cython.declare(cython.int, 3)
_LENGTH = cython.declare(cython.int, 4)
_STATUS = cython.declare(cython.int, 5)
_MAC = cython.declare(cython.int, 12)
_TCI = cython.declare(cython.int, 8)
# struct sockaddr_ll behind it: sll_protocol and sll_hatype in units of two octets, sll_pkttype in one.
_PROTOCOL = cython.declare(cython.int, 25)
_HATYPE = cython.declare(cython.int, 28)
_PKTTYPE = cython.declare(cython.int, 58)
_HEADERS = cython.declare(cython.int, 68)  # octets of both structures

_VLAN_VALID = cython.declare(cython.uint, 1 << 4)  # TP_STATUS_VLAN_VALID
_ETHER = cython.declare(cython.int, 1)  # ARPHRD_ETHER
_LOOPBACK = cython.declare(cython.int, 772)  # ARPHRD_LOOPBACK
_PACKET_OUTGOING = cython.declare(cython.int, 4)


class BlockWalker:
    """Walks the blocks of one ring. `left`: packets of the current block that are still to come.

    ring: uint8, the mapping, length a multiple of `block_octets`. cooked: the socket is SOCK_DGRAM: frames
    begin behind their link header, and their link is LINK_ETHERTYPE and the EtherType.
    """

    def __init__(self, ring: Array, block_octets: int, cooked: bool) -> None:
        """Take the mapping. Raises ValueError for a ring that is no whole number of blocks."""
        if block_octets < BLOCK_OVERHEAD or block_octets % ALIGNMENT or len(ring) % block_octets:
            raise ValueError(f"a ring of {len(ring)} octets in blocks of {block_octets}")
        view: Any = memoryview
        self.octets = view(ring)
        self.halves = view(ring.view(np.uint16))
        self.words = view(ring.view(np.uint32))
        self.size = len(ring)
        self.block_octets = block_octets
        self.cooked = cooked
        self.left = self.at = self.end = 0

    def is_ready(self, block: int) -> bool:
        """Whether the kernel has handed over the block that begins at octet `block` (TP_STATUS_USER)."""
        ready: cython.bint = self.words[(self.checked(block) >> 2) + _BLOCK_STATUS] & 1
        fence()
        return bool(ready)

    def release_block(self, block: int) -> None:
        """Give the block back to the kernel: what lies in it may be written over from now on."""
        at: cython.longlong = self.checked(block)
        fence()
        self.words[(at >> 2) + _BLOCK_STATUS] = 0

    def walk_block(self, block: int, packets: Packets, drops: Array, row: int = 0) -> int:
        """Begin with a block: read its packets into rows `row`, row + 1, ... until they are full.

        block: octet at which it begins. drops: int64, indexed by Drop, added to. Sets and returns packets.n,
        and sets `left`; while that is not 0, `walk_on` reads more. Raises IndexError for an offset that is no
        block's, or a row below 0.
        """
        at: cython.longlong = self.checked(block)
        first: cython.longlong = self.words[(at >> 2) + _BLOCK_FIRST]
        self.left = self.words[(at >> 2) + _BLOCK_PACKETS]
        self.at = at + first
        self.end = at + self.block_octets
        return self.walk_on(packets, drops, row)

    def walk_on(self, packets: Packets, drops: Array, row: int = 0) -> int:
        """Read the next packets of the block that walk_block began with, into rows `row`, row + 1, ..."""
        if row < 0:
            raise IndexError(f"row {row}")
        view: Any = memoryview
        self.offset = view(packets.offset)
        self.captured = view(packets.captured)
        self.original = view(packets.original)
        self.ts = view(packets.ts)
        self.link = view(packets.link)
        self.vlan = view(packets.vlan)
        self.drops = view(drops)
        self.row = row
        with cython.nogil:
            self.walk(len(self.offset))
        packets.n = int(self.row)
        return packets.n

    def checked(self, block: cython.longlong) -> cython.longlong:
        """Return the offset of a block; a bug of the caller raises."""
        if block < 0 or block > self.size - self.block_octets or block % self.block_octets != 0:
            with cython.gil:
                raise IndexError("no block of the ring")
        return block

    def walk(self, room: cython.Py_ssize_t) -> cython.int:
        """Packet after packet, until the rows are full or the block ends."""
        while self.left > 0 and self.row < room:
            at: cython.longlong = self.at
            if at & 7 or self.end - at < _HEADERS:
                return self.give_up()
            following: cython.longlong = self.words[(at >> 2) + _NEXT]
            if self.add(at) < 0:
                return self.give_up()
            self.left -= 1
            if following == 0 and self.left > 0:  # the last one has none behind it
                return self.give_up()
            self.at = at + following
        return 0

    def give_up(self) -> cython.int:
        """The headers contradict the block: what it may still hold cannot be found."""
        self.left = 0
        self.drops[_MALFORMED] += 1
        return 0

    def add(self, at: cython.longlong) -> cython.int:
        """Write the row of the packet whose header begins at `at`; -1 where it lies outside of the block."""
        word: cython.longlong = at >> 2
        half: cython.longlong = at >> 1
        captured: cython.longlong = self.words[word + _CAPTURED]
        frame: cython.longlong = at + self.halves[half + _MAC]
        hatype: cython.int = self.halves[half + _HATYPE]
        if frame < at + _HEADERS or frame > self.end or captured > self.end - frame:
            return -1
        if hatype == _LOOPBACK and self.octets[at + _PKTTYPE] == _PACKET_OUTGOING:
            self.drops[_OUTGOING] += 1
            return 0
        n: cython.Py_ssize_t = self.row
        seconds: cython.longlong = self.words[word + _SECONDS]
        nanoseconds: cython.longlong = self.words[word + _NANOSECONDS]
        self.offset[n] = frame
        self.captured[n] = captured
        self.original[n] = max(captured, cython.cast(cython.longlong, self.words[word + _LENGTH]))
        self.ts[n] = seconds * 1000000 + nanoseconds // 1000
        self.link[n] = self.link_of(at, frame, hatype)
        self.vlan[n] = self.vlan_of(word)
        self.row = n + 1
        return 0

    def link_of(self, at: cython.longlong, frame: cython.longlong, hatype: cython.int) -> cython.longlong:
        """Ethernet with its header, or cooked: the EtherType, which sockaddr_ll has in network order."""
        if not self.cooked:
            return 1 if hatype in (_ETHER, _LOOPBACK) else _NO_LINK
        kind: cython.longlong = self.halves[(at >> 1) + _PROTOCOL]
        if _SWAP:
            kind = ((kind & 0xFF) << 8) | (kind >> 8)
        if self.words[(at >> 2) + _STATUS] & _VLAN_VALID and self.is_tagged(at >> 2, frame, kind):
            kind = 0x8100
        return _LINK_ETHERTYPE | kind

    def is_tagged(self, word: cython.longlong, frame: cython.longlong, kind: cython.longlong) -> cython.bint:
        """Whether a cooked frame begins with a second VLAN tag, though its type is that of what is tagged.

        Since Linux 6.10, sll_protocol is what follows all tags, while of a packet that came with two only the
        first has been taken off. The tag then ends in that very type, and the IP version stands behind it. An
        IPv4 packet of 2048 octets (0x0800) may look like that too; its length tells.
        """
        captured: cython.longlong = self.words[word + _CAPTURED]
        length: cython.longlong = self.words[word + _LENGTH]
        end: cython.longlong
        for end in range(4, 16, 4):
            if captured <= end:
                return False
            found: cython.longlong = (self.octets[frame + end - 2] << 8) | self.octets[frame + end - 1]
            if found == kind:
                version: cython.int = self.octets[frame + end] >> 4
                if kind == 0x0800:
                    return version == 4 and (self.octets[frame] >> 4 != 4 or length != 0x0800)
                return version == 6 if kind == 0x86DD else True
            if found not in (0x8100, 0x88A8, 0x9100):
                return False
        return False

    def vlan_of(self, word: cython.longlong) -> cython.longlong:
        """The VLAN id of the tag that the kernel took off; id 0 carries a priority only (802.1Q, 9.6)."""
        if not self.words[word + _STATUS] & _VLAN_VALID:
            return _NO_VLAN
        vlan: cython.longlong = self.words[word + _TCI] & 0x0FFF
        return vlan if vlan != 0 else _NO_VLAN


def fence() -> cython.int:
    """Order what was read and written before it against what follows (the kernel runs beside us)."""
    if cython.compiled:
        synchronize()  # type: ignore[name-defined]  # noqa: F821 (tpacket.pxd)
    return 0
