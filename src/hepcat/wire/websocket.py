"""Kernel: WebSocket frames to messages (RFC 6455, RFC 7118). No I/O, no clock.

In: octets of one direction of a stream, cut anywhere. Out: a row for each data message, unmasked, its
continuation frames put together; messages with permessage-deflate (RFC 7692) are noted for `Inflater`, which
inflates them, one zlib call a message. What can go wrong is counted: WEBSOCKET_CONTROL a control frame,
WEBSOCKET_MALFORMED a frame that breaks the protocol, WEBSOCKET_BOUND a message longer than `longest` (after
inflating, too), STREAM_PARTIAL a message whose rest did not come.

A stream has no mark to find the next frame by. So after a hole or a frame that cannot be, the flow is
`FRAME_LOST` until a stretch begins with what looks like a frame (`looks_like_frame`).
"""

import zlib
from collections import OrderedDict
from typing import Any, Final

import cython
import numpy as np

from hepcat.batch.drops import Drop
from hepcat.wire.columns import AREA_ARENA, Arena, Array, Datagrams

if not cython.compiled:  # websocket.pxd cimports them
    from hepcat.wire.messages import Messages

    PREFIX = 32
    NO, YES, MORE = range(3)
    FRAME_HEAD, FRAME_DATA, FRAME_CONTROL, FRAME_SKIP, FRAME_LOST = range(5)

WEBSOCKET_MALFORMED = cython.declare(cython.int, int(Drop.WEBSOCKET_MALFORMED))
WEBSOCKET_BOUND = cython.declare(cython.int, int(Drop.WEBSOCKET_BOUND))
WEBSOCKET_CONTROL = cython.declare(cython.int, int(Drop.WEBSOCKET_CONTROL))
STREAM_PARTIAL = cython.declare(cython.int, int(Drop.STREAM_PARTIAL))
ARENA = cython.declare(cython.int, AREA_ARENA)
FIRST_OCTETS = cython.declare(cython.int, 2)

#: A frame longer than this is no frame of a message that could be read: sync is lost, not waited for.
LONGEST_FRAME = cython.declare(cython.longlong, 1 << 24)
#: Rows that octets of a prefix can give; kept free so that they need no second look at the room.
SPARE = cython.declare(cython.Py_ssize_t, 64)

#: First four octets of SIP messages (RFC 3261 section 7; the methods registered since).
BEGINNINGS: Final = (
    *(b"SIP/", b"INVI", b"ACK ", b"BYE ", b"CANC", b"REGI", b"OPTI", b"PRAC", b"SUBS", b"NOTI", b"PUBL"),
    *(b"INFO", b"REFE", b"MESS", b"UPDA"),
)
_BEGINNINGS = np.array([int.from_bytes(word, "big") for word in BEGINNINGS], dtype=np.int64)

#: What `Messages.deflated` says of a row beside its flow.
FRESH: Final = 1  # nothing that was inflated before counts
ALONE: Final = 2  # nothing of it is needed for the next (no_context_takeover)
NOTE_FRESH = cython.declare(cython.int, FRESH)
NOTE_ALONE = cython.declare(cython.int, ALONE)

#: Bits of `message`: what is known of the message being read.
OPEN = cython.declare(cython.int, 1)  # its first frame has come
COMPRESSED = cython.declare(cython.int, 2)
DROPPED = cython.declare(cython.int, 4)  # the rest of it is passed over


class WebSocketFrames(Messages):
    """The frames of all flows. Per flow: `frame` (FRAME_*), the header in `prefix`, and what follows."""

    def __init__(self, flows: int, octets: int, longest: int) -> None:
        super().__init__(flows, octets, longest)
        view: Any = memoryview
        self.frame = view(np.zeros(flows, dtype=np.uint8))
        self.frame_left = view(np.zeros(flows, dtype=np.int64))
        self.frame_fin = view(np.zeros(flows, dtype=np.uint8))
        self.mask_phase = view(np.full(flows, -1, dtype=np.int8))
        self.message = view(np.zeros(flows, dtype=np.uint8))
        self.takeover = view(np.zeros(flows, dtype=np.uint8))
        self.beginnings = view(_BEGINNINGS)

    def begin_frames(self, flow: cython.int, marks: cython.int) -> cython.int:
        """Expect a frame's header next. marks: FRESH and ALONE bits for the flow's compression."""
        self.frame[flow] = FRAME_HEAD
        self.prefix_size[flow] = 0
        self.message[flow] = 0
        self.takeover[flow] = marks
        return 0

    def lose_frames(self, flow: cython.int) -> cython.int:
        """Octets are missing: give up the message, look for a frame, start inflating anew."""
        if self.message[flow] & OPEN and not self.message[flow] & DROPPED:
            self.drops[STREAM_PARTIAL] += 1
        self.discard(flow)
        self.message[flow] = 0
        self.frame[flow] = FRAME_LOST
        self.prefix_size[flow] = 0
        self.takeover[flow] |= NOTE_FRESH
        return 0

    # ---- is it a frame

    def looks_like_frame(self, lo: cython.longlong, hi: cython.longlong, known: cython.bint) -> cython.int:
        """Tell whether a frame begins at lo: YES, NO or MORE.

        It must be a data frame whose payload begins as SIP or a keep-alive does; where the flow is known
        to be WebSocket, a frame of any kind that ends with the octets that are there will do.
        """
        first: cython.int = self.buf[lo]
        kind: cython.int = first & 0x0F
        if first & 0x30 or kind > 10 or (3 <= kind <= 7):
            return NO
        if not known and ((kind != 1 and kind != 2) or first & 0x40):
            return NO
        if hi - lo < 2:
            return MORE
        size: cython.longlong = self.buf[lo + 1] & 0x7F
        if kind >= 8 and (size > 125 or first & 0xC0 != 0x80):
            return NO
        header: cython.longlong = self.header_size(self.buf[lo + 1])
        if hi - lo < header:
            return MORE
        size = self.payload_size(self.buf[lo + 1], lo + 2)
        if size < 0 or size > LONGEST_FRAME:
            return NO
        if known and header + size == hi - lo:
            return YES
        if (kind != 1 and kind != 2) or first & 0x40:
            return NO
        key: cython.longlong = lo + header - 4 if self.buf[lo + 1] & 0x80 else -1
        return self.looks_like_sip(lo + header, hi, size, key, first & 0x80 != 0)

    def looks_like_sip(
        self,
        lo: cython.longlong,
        hi: cython.longlong,
        size: cython.longlong,
        key: cython.longlong,
        whole: cython.bint,
    ) -> cython.int:
        """Tell whether a payload at lo of `size` octets, masked by the key at `key`, begins as SIP does."""
        word: cython.longlong = 0
        octet: cython.int
        i: cython.Py_ssize_t
        for i in range(4):
            if lo + i >= hi and i < size:
                return MORE
            octet = 0
            if i < size:
                octet = self.buf[lo + i]
                if key >= 0:
                    octet ^= self.buf[key + i]
            word = (word << 8) | octet
        if word >> 16 == 0x0D0A:  # a keep-alive, which nobody would cut in two
            return YES if whole else NO
        for i in range(self.beginnings.shape[0]):
            if self.beginnings[i] == word:
                return YES
        return NO

    def header_size(self, second: cython.int) -> cython.Py_ssize_t:
        """Octets of a header by its second octet (RFC 6455 section 5.2)."""
        size: cython.int = second & 0x7F
        return 2 + (2 if size == 126 else 8 if size == 127 else 0) + (4 if second & 0x80 else 0)

    def payload_size(self, second: cython.int, at: cython.longlong) -> cython.Py_ssize_t:
        """The payload length; at: of the extended length in buf. -1 where its top bit is set."""
        size: cython.longlong = second & 0x7F
        i: cython.Py_ssize_t
        n: cython.Py_ssize_t = 2 if size == 126 else 8
        if size < 126:
            return size
        size = 0
        if n == 8 and self.buf[at] & 0x80:
            return -1
        for i in range(n):
            size = (size << 8) | self.buf[at + i]
        return size

    def prefix_payload_size(self, at: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """As payload_size, of a whole header at prefix[at:]."""
        size: cython.longlong = self.prefix[at + 1] & 0x7F
        i: cython.Py_ssize_t
        n: cython.Py_ssize_t = 2 if size == 126 else 8
        if size < 126:
            return size
        size = 0
        if n == 8 and self.prefix[at + 2] & 0x80:
            return -1
        for i in range(n):
            size = (size << 8) | self.prefix[at + 2 + i]
        return size

    # ---- frames

    def read_frames(self, pos: cython.longlong, end: cython.longlong) -> cython.Py_ssize_t:
        """Read buf[pos:end]; return how far: less than `end` where the rows are full."""
        flow: cython.int = self.flow
        what: cython.int
        size: cython.longlong
        while pos < end:
            what = self.frame[flow]
            if what == FRAME_HEAD:
                if self.area != FIRST_OCTETS and self.is_full():
                    return pos
                pos = self.read_header(pos, end)
            elif what == FRAME_LOST:
                return end
            else:
                size = min(self.frame_left[flow], end - pos)
                if what == FRAME_DATA:
                    self.take_payload(pos, size)
                if self.frame[flow] != FRAME_LOST:
                    self.frame_left[flow] -= size
                    if self.frame_left[flow] == 0:
                        self.end_frame()
                pos += size
        return pos

    def is_full(self) -> cython.bint:
        """Tell whether the wrapper has to make room first."""
        return self.room - self.row < SPARE or self.deflated.shape[0] - 2 * self.noted < 2 * SPARE

    def read_header(self, pos: cython.longlong, end: cython.longlong) -> cython.Py_ssize_t:
        """Collect a header in `prefix`; act on it when it is whole. Return how far it was read."""
        flow: cython.int = self.flow
        at: cython.Py_ssize_t = flow * PREFIX
        n: cython.Py_ssize_t = self.prefix_size[flow]
        while pos < end:
            self.prefix[at + n] = self.buf[pos]
            pos += 1
            n += 1
            if n >= 2 and n == self.header_size(self.prefix[at + 1]):
                self.prefix_size[flow] = 0
                self.act_on_header(at, n)
                return pos
        self.prefix_size[flow] = cython.cast(cython.uchar, n)
        return pos

    def act_on_header(self, at: cython.Py_ssize_t, n: cython.Py_ssize_t) -> cython.int:
        """A whole header at prefix[at:at+n]: what is its payload for?"""
        flow: cython.int = self.flow
        first: cython.int = self.prefix[at]
        kind: cython.int = first & 0x0F
        size: cython.longlong = self.prefix_payload_size(at)
        self.frame_left[flow] = size
        self.frame_fin[flow] = first >> 7
        self.mask_phase[flow] = 0 if self.prefix[at + 1] & 0x80 else -1
        if first & 0x30 or kind > 10 or 3 <= kind <= 7 or size < 0:  # reserved (RFC 6455 section 5.2)
            return self.break_off(WEBSOCKET_MALFORMED)
        if kind >= 8:
            if size > 125 or first & 0xC0 != 0x80:  # section 5.5
                return self.break_off(WEBSOCKET_MALFORMED)
            self.drops[WEBSOCKET_CONTROL] += 1
            self.frame[flow] = FRAME_CONTROL
        elif size > LONGEST_FRAME:
            return self.break_off(WEBSOCKET_BOUND)
        else:
            self.begin_data(kind, first)
        if size == 0:
            self.end_frame()
        return 0

    def break_off(self, reason: cython.int) -> cython.int:
        """A frame that cannot be read, and nothing behind it can: look for the next one."""
        self.drops[reason] += 1
        self.message[self.flow] |= DROPPED  # counted already
        return self.lose_frames(self.flow)

    def begin_data(self, kind: cython.int, first: cython.int) -> cython.int:
        """A data frame's header: first of a message, or its continuation (RFC 6455 section 5.4)."""
        flow: cython.int = self.flow
        known: cython.int = self.message[flow]
        self.frame[flow] = FRAME_DATA
        if kind == 0 and not known & OPEN:
            self.drops[WEBSOCKET_MALFORMED] += 1
            known = OPEN | DROPPED  # also what is left of a message whose beginning was lost
        elif kind != 0:
            if known & OPEN and not known & DROPPED:
                self.drops[WEBSOCKET_MALFORMED] += 1
                self.discard(flow)
            known = OPEN | (COMPRESSED if first & 0x40 else 0)
        if not known & DROPPED and self.held_of[flow] + self.frame_left[flow] > self.longest:
            self.drops[WEBSOCKET_BOUND] += 1
            self.discard(flow)
            known |= DROPPED
            self.takeover[flow] |= NOTE_FRESH
        self.message[flow] = known
        if known & DROPPED:
            self.frame[flow] = FRAME_SKIP
        return 0

    def take_payload(self, pos: cython.longlong, size: cython.longlong) -> cython.int:
        """Payload of a data frame: a message that is whole here needs no holding."""
        flow: cython.int = self.flow
        whole: cython.bint = size == self.frame_left[flow] and self.frame_fin[flow] != 0
        phase: cython.int = self.mask_phase[flow]
        area: cython.int = self.area
        if phase >= 0:
            self.unmask(pos, size, phase)
            self.mask_phase[flow] = cython.cast(cython.schar, (phase + size) & 3)
            if whole and self.held_of[flow] == 0:
                self.used += size
                self.end_message(ARENA, self.used - size, size)
                return 0
            self.read_from(ARENA)  # not counted in `used`: room that is written over
            pos = self.used
        elif whole and self.held_of[flow] == 0 and area != FIRST_OCTETS:
            self.end_message(area, pos, size)
            return 0
        if not self.keep(pos, pos + size):
            self.message[flow] |= DROPPED
            self.lost[flow] = 0
            self.lose_frames(flow)
        self.read_from(area)
        return 0

    def unmask(self, pos: cython.longlong, size: cython.longlong, phase: cython.int) -> cython.int:
        """Write buf[pos:pos+size], unmasked (RFC 6455 section 5.3), to the arena from `used` on."""
        at: cython.Py_ssize_t = self.flow * PREFIX
        at += self.header_size(self.prefix[at + 1]) - 4
        i: cython.Py_ssize_t
        if size <= 0:
            return 0
        if pos < 0 or size > self.buf.shape[0] - pos or size > self.arena.shape[0] - self.used:
            with cython.gil:
                raise IndexError("unmask: out of range")
        if cython.compiled:  # websocket.pxd: eight octets at a time
            xor_octets(  # type: ignore[name-defined]  # noqa: F821
                cython.address(self.arena[self.used]),
                cython.address(self.buf[pos]),
                size,
                cython.address(self.prefix_in[at]),
                phase,
                self.prefix_in.shape[0] - at,
            )
        else:
            for i in range(size):
                self.arena[self.used + i] = self.buf[pos + i] ^ self.prefix[at + ((phase + i) & 3)]
        return 0

    def end_frame(self) -> cython.int:
        """A frame is over; if it is a message's last, so is the message."""
        flow: cython.int = self.flow
        known: cython.int = self.message[flow]
        what: cython.int = self.frame[flow]
        size: cython.longlong
        self.frame[flow] = FRAME_HEAD
        if what == FRAME_CONTROL or not self.frame_fin[flow]:
            return 0
        if known & OPEN and not known & DROPPED:
            size = self.copy_held()
            self.used += size
            self.end_message(ARENA, self.used - size, size)
        self.message[flow] = 0
        return 0

    def end_message(self, area: cython.int, offset: cython.longlong, length: cython.longlong) -> cython.int:
        """Write a message's row, and note that it has to be inflated."""
        flow: cython.int = self.flow
        if self.message[flow] & COMPRESSED:
            self.deflated[2 * self.noted] = self.row
            self.deflated[2 * self.noted + 1] = flow * 4 + self.takeover[flow]
            self.noted += 1
            self.takeover[flow] &= ~NOTE_FRESH
        self.message[flow] = 0
        return self.emit(area, offset, length)


class Inflater:
    """Inflates the messages that the kernel noted (RFC 7692 section 7.2.2).

    contexts: how many flows' windows (each some 40 KiB) are kept for the next message; the longest unused
    go. longest: octets of an inflated message.
    """

    def __init__(self, longest: int, contexts: int = 256) -> None:
        self._longest = longest
        self._most = contexts
        self._contexts: OrderedDict[int, Any] = OrderedDict()

    def inflate(self, noted: Array, out: Datagrams, data: Any, arena: Arena, drops: Array) -> None:
        """Replace the rows noted by what they inflate to; rows that cannot be are taken out and counted.

        noted: int64 (n, 2): row of `out`, and flow * 4 with FRESH and ALONE.
        """
        bad: list[int] = []
        window = memoryview(data)
        for row, note in noted.tolist():
            start, end = int(out.offset[row]), int(out.offset[row] + out.length[row])
            octets = bytes(arena.data[start:end]) if out.area[row] == AREA_ARENA else bytes(window[start:end])
            reason, plain = self._inflate_one(octets, note >> 2, note & 3)
            if reason is not None:
                drops[reason] += 1
                bad.append(row)
                continue
            arena.reserve(len(plain))
            arena.data[arena.used : arena.used + len(plain)] = np.frombuffer(plain, dtype=np.uint8)
            out.area[row], out.offset[row], out.length[row] = AREA_ARENA, arena.used, len(plain)
            arena.used += len(plain)
        if bad:
            take_out(out, bad)

    def _inflate_one(self, octets: bytes, flow: int, note: int) -> tuple[Drop | None, bytes]:
        context = None if note & FRESH else self._contexts.pop(flow, None)
        self._contexts.pop(flow, None)
        if context is None:
            context = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            plain = context.decompress(octets + b"\x00\x00\xff\xff", self._longest + 1)
        except zlib.error:  # also a window that began before the capture did
            return Drop.WEBSOCKET_MALFORMED, b""
        if len(plain) > self._longest:
            return Drop.WEBSOCKET_BOUND, b""
        if not note & ALONE and not context.eof:
            self._contexts[flow] = context
            if len(self._contexts) > self._most:
                self._contexts.popitem(last=False)
        return None, plain


def take_out(out: Datagrams, rows: list[int]) -> None:
    """Take rows out of the datagrams."""
    first, kept = min(rows), np.ones(out.n, dtype=bool)
    kept[rows] = False
    stay = np.flatnonzero(kept[first:]) + first
    for name in out.__slots__:
        if name != "n":
            column = getattr(out, name)
            column[first : first + len(stay)] = column[stay]
    out.n = first + len(stay)
