"""Kernel: read pcap and pcapng, a window of the file at a time, into columns of packets.

In: octets of the file from some position on (the whole file mapped, or a decompressed window), and
the state of the file so far, which a `PcapReader` keeps. Out: for each packet the offset of its
octets in the window, captured and original length, time (microseconds, UTC) and link type.
What can go wrong: the octets end within a record (`MORE`: give a longer window, or it is the end of
a file that was cut), or contradict the format (`DAMAGED`, with the position and a reason). Never an
exception: what could be read before stays read.

Formats: draft-ietf-opsawg-pcap (pcap) and draft-ietf-opsawg-pcapng (pcapng).
"""

from typing import Any, Final

import cython
import numpy as np

#: `status`: why the last `parse` stopped.
MORE: Final = 0  # the window ends at a record's border or within a record
FULL: Final = 1  # the columns are full
DAMAGED: Final = 2  # `reason` says what is wrong with the record at `position`

#: `reason`, by code.
REASONS: Final[tuple[str, ...]] = (
    "",
    "neither pcap nor pcapng",
    "a packet's length is over the bound of 16 MiB",
    "a block's length is below its header or over the bound of 16 MiB",
    "a block's two lengths differ",
    "a block is too short for what it must hold",
    "a section's byte-order magic is unknown",
    "version of the format is not supported",
)
_NO_FORMAT = cython.declare(cython.int, 1)
_PACKET_BOUND = cython.declare(cython.int, 2)
_BLOCK_BOUND = cython.declare(cython.int, 3)
_BLOCK_TAIL = cython.declare(cython.int, 4)
_BLOCK_SHORT = cython.declare(cython.int, 5)
_NO_MAGIC = cython.declare(cython.int, 6)
_NO_VERSION = cython.declare(cython.int, 7)

#: Longest packet or block: what other readers of pcapng refuse too. A window never needs to be longer
#: than this and one header.
MAX_BLOCK: Final = 1 << 24
#: Interfaces a section may describe; packets of further ones have link type `NO_LINK`.
MAX_INTERFACES: Final = 8192
#: Link type of a packet whose interface was not described.
NO_LINK: Final = 0xFFFF
#: Times are kept within years 1970 to 9999, which everything that shows them can show.
MAX_TS: Final = 253_402_300_799_999_999

_MAX_BLOCK = cython.declare(cython.longlong, 1 << 24)
_MAX_INTERFACES = cython.declare(cython.longlong, 8192)
_MAX_TS = cython.declare(cython.longlong, 253_402_300_799_999_999)
_MAX_SECONDS = cython.declare(cython.ulonglong, 253_402_300_799)
_MAX_31 = cython.declare(cython.longlong, 0x7FFF_FFFF)
_TWO_32 = cython.declare(cython.longlong, 0x1_0000_0000)

# First four octets of pcap, read little-endian: microseconds, nanoseconds, the "modified" format;
# and the same of a big-endian file.
_MAGIC_US = cython.declare(cython.longlong, 0xA1B2C3D4)
_MAGIC_NS = cython.declare(cython.longlong, 0xA1B23C4D)
_MAGIC_MOD = cython.declare(cython.longlong, 0xA1B2CD34)
_MAGIC_US_BE = cython.declare(cython.longlong, 0xD4C3B2A1)
_MAGIC_NS_BE = cython.declare(cython.longlong, 0x4D3CB2A1)
_MAGIC_MOD_BE = cython.declare(cython.longlong, 0x34CDB2A1)

#: Format of the file, once known.
_UNKNOWN = cython.declare(cython.int, 0)
_PCAP = cython.declare(cython.int, 1)
_PCAPNG = cython.declare(cython.int, 2)

# Columns of the table of interfaces.
_IF_LINK = cython.declare(cython.int, 0)
_IF_SNAP = cython.declare(cython.int, 1)
_IF_RESOLUTION = cython.declare(cython.int, 2)  # the octet if_tsresol as it stands
_IF_OFFSET = cython.declare(cython.int, 3)  # if_tsoffset, seconds
_IF_WIDTH = cython.declare(cython.int, 4)


class PcapReader:
    """State of one capture file. Call `parse` again and again, from `position` on.

    `status` is MORE, FULL or DAMAGED; `position` is where in the window the next record begins;
    `reason` indexes REASONS; `known` says whether the file's own header has been read.
    """

    def __init__(self) -> None:
        """Make a reader that has read nothing."""
        self.status = 0
        self.reason = 0
        self.position = 0
        self.kind = 0
        self.swapped = False
        self.nano = False
        self.header = 16
        self.link = 0
        self.interfaces = 0
        table: Any = np.zeros(_MAX_INTERFACES * _IF_WIDTH, dtype=np.int64)
        self.table = memoryview(table)

    @property
    def known(self) -> bool:
        """Whether the file's header has been read and was that of a capture."""
        return bool(self.kind != 0)

    def parse(
        self, data: Any, at: int, offset: Any, captured: Any, original: Any, ts: Any, links: Any
    ) -> int:
        """Read packets from data[at:] until the columns are full; return how many.

        data: uint8 buffer, any octets; at: where the next record begins (0 <= at). offset, captured,
        original, ts, links: int64 arrays of one length, written from 0 on. offset counts from the
        start of `data`. Sets `status`, `position` and `reason`. After DAMAGED, nothing more is read.
        """
        self.data = memoryview(data)
        self.size = len(data)
        self.room = min(len(offset), len(captured), len(original), len(ts), len(links))
        self.offset = memoryview(offset)
        self.captured = memoryview(captured)
        self.original = memoryview(original)
        self.ts = memoryview(ts)
        self.links = memoryview(links)
        self.count = 0
        if self.status == 2:
            return 0
        self.status = 0
        self.position = max(0, at)
        with cython.nogil:
            self.parse_records()
        return int(self.count)

    def parse_records(self) -> cython.int:
        """Read the file's header where it is still to come, then records."""
        if self.kind == _UNKNOWN and self.parse_magic() == 0:
            return 0
        if self.kind == _PCAP:
            return self.parse_pcap()
        return self.parse_pcapng()

    def damaged(self, reason: cython.int) -> cython.int:
        self.status = 2
        self.reason = reason
        return 0

    def u32(self, at: cython.longlong) -> cython.longlong:
        """Four octets at `at` in the file's byte order; the caller has checked that they are there."""
        a: cython.uint = self.data[at]
        b: cython.uint = self.data[at + 1]
        c: cython.uint = self.data[at + 2]
        d: cython.uint = self.data[at + 3]
        if self.swapped:
            return (a << 24) | (b << 16) | (c << 8) | d
        return (d << 24) | (c << 16) | (b << 8) | a

    def u16(self, at: cython.longlong) -> cython.longlong:
        """Two octets at `at` in the file's byte order."""
        a: cython.uint = self.data[at]
        b: cython.uint = self.data[at + 1]
        if self.swapped:
            return (a << 8) | b
        return (b << 8) | a

    def parse_magic(self) -> cython.int:
        """Tell the format by its first four octets; 1 when the records follow at `position`."""
        at: cython.longlong = self.position
        if self.size - at < 4:
            return 0
        self.swapped = False
        magic: cython.longlong = self.u32(at)
        if magic == 0x0A0D0D0A:  # a pcapng section header reads the same in both orders
            self.kind = _PCAPNG
            return 1
        # "swapped" means big-endian here: the four octets that were read little-endian stand reversed.
        if magic in (_MAGIC_US_BE, _MAGIC_NS_BE, _MAGIC_MOD_BE):
            self.swapped = True
            magic = self.u32(at)
        if magic not in (_MAGIC_US, _MAGIC_NS, _MAGIC_MOD):
            return self.damaged(_NO_FORMAT)
        if self.size - at < 24:
            return 0
        if self.u16(at + 4) != 2:
            return self.damaged(_NO_VERSION)
        self.nano = magic == _MAGIC_NS
        # The "modified" format of old Linux patches: eight more octets in each record header.
        self.header = 24 if magic == _MAGIC_MOD else 16
        self.link = self.u32(at + 20) & 0xFFFF  # the bits above tell of the frame check sequence
        self.kind = _PCAP
        self.position = at + 24
        return 1

    def parse_pcap(self) -> cython.int:
        """Records of pcap: seconds, fraction, captured length, original length, octets."""
        at: cython.longlong = self.position
        while True:
            self.position = at
            if self.count >= self.room:
                self.status = 1
                return 0
            if self.size - at < self.header:
                return 0
            captured: cython.longlong = self.u32(at + 8)
            if captured > _MAX_BLOCK:
                return self.damaged(_PACKET_BOUND)
            if self.size - at - self.header < captured:
                return 0
            fraction: cython.longlong = self.u32(at + 4)
            if self.nano:
                fraction = fraction // 1000
            self.add(
                at + self.header, captured, self.u32(at + 12), self.u32(at) * 1000000 + fraction, self.link
            )
            at += self.header + captured

    def add(
        self,
        offset: cython.longlong,
        captured: cython.longlong,
        original: cython.longlong,
        ts: cython.longlong,
        link: cython.longlong,
    ) -> cython.int:
        """Write a packet's row."""
        n: cython.longlong = self.count
        self.offset[n] = offset
        self.captured[n] = captured
        self.original[n] = original
        self.ts[n] = ts
        self.links[n] = link
        self.count = n + 1
        return 0

    def parse_pcapng(self) -> cython.int:
        """Blocks of pcapng: type, length, body padded to four octets, length again."""
        at: cython.longlong = self.position
        while True:
            self.position = at
            if self.count >= self.room:
                self.status = 1
                return 0
            if self.size - at < 12:
                return 0
            kind: cython.longlong = self.u32(at)
            if kind == 0x0A0D0D0A and self.section_order(at) == 0:
                return 0
            length: cython.longlong = self.u32(at + 4)
            if length < 12 or length > _MAX_BLOCK:
                return self.damaged(_BLOCK_BOUND)
            length = (length + 3) & ~3  # some writers leave the padding out of the length
            if self.size - at < length:
                return 0
            if (self.u32(at + length - 4) + 3) & ~3 != length:
                return self.damaged(_BLOCK_TAIL)
            if self.parse_block(kind, at, length) == 0:
                return 0
            at += length

    def section_order(self, at: cython.longlong) -> cython.int:
        """Take the byte order of the section that begins at `at`; 0 where it has none."""
        self.swapped = False
        magic: cython.longlong = self.u32(at + 8)
        if magic == 0x4D3C2B1A:
            self.swapped = True
        elif magic != 0x1A2B3C4D:
            return self.damaged(_NO_MAGIC)
        return 1

    def parse_block(self, kind: cython.longlong, at: cython.longlong, length: cython.longlong) -> cython.int:
        """Read one whole block; 0 when it is damaged. Blocks of other kinds are skipped."""
        if kind == 6:  # Enhanced Packet Block
            return self.parse_packet(at, length, self.u32(at + 8) if length >= 32 else 0)
        if kind == 3:  # Simple Packet Block
            return self.parse_simple(at, length)
        if kind == 2:  # Packet Block (obsolete): a 16-bit interface number and a count of drops
            return self.parse_packet(at, length, self.u16(at + 8) if length >= 32 else 0)
        if kind == 1:  # Interface Description Block
            return self.parse_interface(at, length)
        if kind == 0x0A0D0D0A:  # Section Header Block
            if length < 28:
                return self.damaged(_BLOCK_SHORT)
            if self.u16(at + 12) != 1:
                return self.damaged(_NO_VERSION)
            self.interfaces = 0
        return 1

    def parse_packet(self, at: cython.longlong, length: cython.longlong, row: cython.longlong) -> cython.int:
        """Enhanced Packet Block and Packet Block: both have time and lengths in the same places."""
        if length < 32:
            return self.damaged(_BLOCK_SHORT)
        captured: cython.longlong = self.u32(at + 20)
        if captured > length - 32:
            return self.damaged(_BLOCK_SHORT)
        ts: cython.longlong = 0
        link: cython.longlong = 0xFFFF
        if row < self.interfaces:
            ts = self.time_of(self.u32(at + 12), self.u32(at + 16), row * _IF_WIDTH)
            link = self.table[row * _IF_WIDTH + _IF_LINK]
        self.add(at + 28, captured, self.u32(at + 24), ts, link)
        return 1

    def parse_simple(self, at: cython.longlong, length: cython.longlong) -> cython.int:
        """Simple Packet Block: of interface 0, without a time (0 stands in)."""
        if length < 16:
            return self.damaged(_BLOCK_SHORT)
        original: cython.longlong = self.u32(at + 8)
        captured: cython.longlong = min(original, length - 16)
        link: cython.longlong = 0xFFFF
        if self.interfaces > 0:
            link = self.table[_IF_LINK]
            if self.table[_IF_SNAP] > 0:
                captured = min(captured, self.table[_IF_SNAP])
        self.add(at + 12, captured, original, 0, link)
        return 1

    def parse_interface(self, at: cython.longlong, length: cython.longlong) -> cython.int:
        """Interface Description Block: link type, snap length, resolution and offset of its times."""
        if length < 20:
            return self.damaged(_BLOCK_SHORT)
        if self.interfaces >= _MAX_INTERFACES:
            return 1
        row: cython.longlong = self.interfaces * _IF_WIDTH
        self.table[row + _IF_LINK] = self.u16(at + 8)
        self.table[row + _IF_SNAP] = self.u32(at + 12)
        self.table[row + _IF_RESOLUTION] = 6  # the default: microseconds
        self.table[row + _IF_OFFSET] = 0
        self.interfaces += 1
        self.parse_options(at + 16, at + length - 4, row)
        return 1

    def parse_options(self, at: cython.longlong, end: cython.longlong, row: cython.longlong) -> cython.int:
        """Options of an interface: code, length, value padded to four octets. Stops where they break off."""
        while end - at >= 4:
            code: cython.longlong = self.u16(at)
            length: cython.longlong = self.u16(at + 2)
            at += 4
            if code == 0 or length > end - at:
                return 0
            if code == 9 and length == 1:  # if_tsresol
                self.table[row + _IF_RESOLUTION] = self.data[at]
            elif code == 14 and length == 8:  # if_tsoffset, signed 64 bits
                low: cython.longlong = self.u32(at + 4 if self.swapped else at)
                high: cython.longlong = self.u32(at if self.swapped else at + 4)
                if high > _MAX_31:
                    high -= _TWO_32
                # Beyond some 8,900 years either way the time is clamped anyway; no product overflows.
                high = max(-64, min(high, 64))
                self.table[row + _IF_OFFSET] = (high << 32) + low
            at += (length + 3) & ~3
        return 0

    def time_of(self, high: cython.longlong, low: cython.longlong, row: cython.longlong) -> cython.longlong:
        """Microseconds of a 64-bit time in the units of an interface (if_tsresol), 0 to MAX_TS."""
        ticks: cython.ulonglong = (cython.cast(cython.ulonglong, high) << 32) | cython.cast(
            cython.ulonglong, low
        )
        bound: cython.ulonglong = cython.cast(cython.ulonglong, _MAX_TS)
        exponent: cython.longlong = self.table[row + _IF_RESOLUTION]
        us: cython.ulonglong
        step: cython.ulonglong = 1
        if exponent >= 0x80:  # a power of two
            us = self.time_of_binary(ticks, exponent - 0x80)
        else:
            i: cython.longlong
            for i in range(min(19, exponent - 6 if exponent > 6 else 6 - exponent)):  # noqa: B007
                step = step * 10
            if exponent > 25:
                us = 0  # finer than 10^-25 s: less than a microsecond, all of it
            elif exponent > 6:
                us = ticks // step
            else:
                us = bound if ticks > bound // step else ticks * step
        shift: cython.longlong = self.table[row + _IF_OFFSET] * 1000000
        whole: cython.longlong = cython.cast(cython.longlong, min(us, bound)) + shift
        return max(0, min(whole, _MAX_TS))

    def time_of_binary(self, ticks: cython.ulonglong, exponent: cython.longlong) -> cython.ulonglong:
        """Microseconds of a time in units of 2^-exponent seconds."""
        if exponent > 63:
            return 0  # under a second; what is left of it is not worth a 128-bit product
        seconds: cython.ulonglong = ticks >> exponent
        rest: cython.ulonglong = ticks - (seconds << exponent)
        if exponent > 40:  # keep rest * 10^6 within 64 bits; 2^-40 s is still far below a microsecond
            rest = rest >> (exponent - 40)
            exponent = 40
        if seconds > _MAX_SECONDS:
            return cython.cast(cython.ulonglong, _MAX_TS)
        return seconds * 1000000 + ((rest * 1000000) >> exponent)
