"""Kernel: which call a media packet belongs to. A bounded table from addresses to Call-IDs.

In: SIP messages with SDP (`learn`), then RTP and RTCP packets (`find`), rows of batches; the time is that
of the packets. Out: the Call-IDs of those packets as correlation ids. What can go wrong: nothing; SDP that
cannot be read, addresses that are none and Call-IDs over 512 octets are passed over.

Of every media section with a port other than 0 (RFC 8866 section 5.14, RFC 3264 section 6) are learnt:
- its address (c= of the section or else the session) with its RTP port, on which rtcp-mux puts RTCP, too
  (RFC 5761), and with the port of a=rtcp (RFC 3605), whose own address wins where it has one;
- without a=rtcp the port after it (RFC 3550 section 11); not in an answer with rtcp-mux;
- where `nat` is on, the address that the message itself came from with the same ports: behind NAT the
  SDP names a private one; and as soon as one end of a packet is known, the other end as it is seen.

The first kind is as the call said; it takes an address over from any call. What is only concluded never
takes one from a call that still uses it, nor is anything concluded from what was only seen.

The table is open-addressed: a key may stand in one of PROBES places behind its hash, so a look-up costs
a bounded time, and where all are taken the one that was used longest ago is pushed out. Call-IDs lie in a
ring; the one that is overwritten counts as gone, one in use is written again in time. The hash is seeded.

Several threads may share a table: each call runs in one go under the interpreter's lock, which it never
releases on its way (uncompiled it does not hold: debugging has one thread).
"""

from typing import Any, Final

import cython
import numpy as np
import numpy.typing as npt

from hepcat.batch.edits import Patch
from hepcat.batch.layout import Batch
from hepcat.batch.schema import FIELD_INDEX, FLAG_RESPONSE, HEP_SIP

if not cython.compiled:  # media.pxd cimports them
    from hepcat.wire.hep import copy_octets  # type: ignore[attr-defined,unused-ignore]
    from hepcat.wire.media_sdp import SdpReader

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]

#: Call-IDs longer than this are not learnt (a part of one could be another's).
MAX_CALL_ID: Final = 512
#: Octets of the ring for each entry: a call has four and more of them, and one or two copies of its id.
RING_PER_ENTRY: Final = 64

PROBES = cython.declare(cython.Py_ssize_t, 16)
LONGEST = cython.declare(cython.Py_ssize_t, MAX_CALL_ID)
#: Odd constants that spread bits (the fractions of the golden ratio and of the square root of 3).
SPREAD = cython.declare(cython.ulonglong, 0x9E3779B97F4A7C15)
MIX = cython.declare(cython.ulonglong, 0xBB67AE8584CAA73B)
MAPPED = cython.declare(cython.ulonglong, 0x0000FFFF00000000)  # ::ffff:0:0 (RFC 4291 section 2.5.5.2)

# How an entry came to be; the smaller, the surer.
NEVER = cython.declare(cython.int, 0)
SAID = cython.declare(cython.int, 1)
CONCLUDED = cython.declare(cython.int, 2)
SEEN = cython.declare(cython.int, 3)

_CALL_ID: Final = FIELD_INDEX["call_id"]
_BODY: Final = FIELD_INDEX["body"]
_TYPE: Final = FIELD_INDEX["content_type"]


def _view(array: Array) -> Any:
    """Give an array as a memoryview: uncompiled, its items are then Python ints, which cannot wrap."""
    return memoryview(np.ascontiguousarray(array))  # type: ignore[arg-type]


def _slices(batch: Batch, rows: Array, field: int) -> tuple[Any, Any]:
    """Where a field of the rows begins in the buffer, and its lengths; int64."""
    fields = batch.fields[rows, field].astype(np.int64)
    return _view(batch.start[: batch.n][rows] + fields[:, 0]), _view(fields[:, 1])


class MediaTable:
    """Addresses of media and the calls they belong to.

    max_entries: places for addresses, rounded up to a power of two (a call takes four to eight); 64 octets
    and about 38 more are held for each. timeout_us: an entry that nothing used for so long is gone.
    nat: learn addresses as they are seen, too. seed: of the hash; None: different in each process.
    """

    def __init__(
        self,
        max_entries: int = 100_000,
        timeout_us: int = 80_000_000,
        nat: bool = True,
        seed: int | None = None,
    ) -> None:
        slots = 1 << max(4, (max_entries - 1).bit_length())
        self.mask = slots - 1
        self.timeout = timeout_us
        self.nat = nat
        self.seed = (hash(b"hepcat media") if seed is None else seed) & 0xFFFFFFFFFFFFFFFF
        self.hi = _view(np.zeros(slots, dtype=np.uint64))
        self.lo = _view(np.zeros(slots, dtype=np.uint64))
        self.port = _view(np.zeros(slots, dtype=np.uint16))
        self.kind = _view(np.zeros(slots, dtype=np.uint8))
        self.used = _view(np.zeros(slots, dtype=np.int64))
        self.where = _view(np.zeros(slots, dtype=np.int64))
        self.size = _view(np.zeros(slots, dtype=np.uint16))
        self.span = max(slots * RING_PER_ENTRY, 16 * MAX_CALL_ID)
        self.ring = _view(np.zeros(self.span, dtype=np.uint8))
        self.head = 0
        self.now = 0
        self.data = self.ring
        self.sdp = SdpReader()
        self.call_at = self.call_size = 0
        self.copy_at = -1
        self.word_hi = self.word_lo = 0

    def learn(self, batch: Batch, rows: Array, now_us: int) -> Mask:
        """Learn the media addresses of the SIP messages in `rows`; tell which of them had any.

        rows: int64. now_us: capture time, microseconds. Returns (len(rows),) bool: true where the message
        has SDP with a media section that is in use and a Call-ID to tie it to.
        """
        rows = np.ascontiguousarray(rows, dtype=np.int64)
        out = np.zeros(len(rows), dtype=np.uint8)
        if len(rows):
            sip = (batch.hep_type[rows] == HEP_SIP).astype(np.uint8)
            call_at, call_size = _slices(batch, rows, _CALL_ID)
            body_at, body_size = _slices(batch, rows, _BODY)
            type_at, type_size = _slices(batch, rows, _TYPE)
            self.learn_rows(  # the batch's octets and the time go with it: no other call may come between
                _view(batch.buffer),
                now_us,
                _view(sip),
                _view(batch.flags[rows] & np.uint8(FLAG_RESPONSE)),
                _view(batch.src_ip[rows].reshape(-1)),
                call_at,
                call_size,
                body_at,
                body_size,
                type_at,
                type_size,
                _view(out),
            )
        return out.astype(np.bool_)

    def find(self, batch: Batch, rows: Array, now_us: int) -> Patch:
        """Find the calls of the media packets in `rows`, by their source or their destination.

        rows: int64, each at most once. Returns a patch of batch.n rows with the Call-IDs; offset -1 where
        neither end is known. What is found counts as used.
        """
        patch = Patch.empty(batch.n)
        rows = np.ascontiguousarray(rows, dtype=np.int64)
        if len(rows):
            out = np.empty(len(rows) * MAX_CALL_ID, dtype=np.uint8)
            offset, length = np.full(len(rows), -1, dtype=np.int64), np.zeros(len(rows), dtype=np.int64)
            used = self.find_rows(
                now_us,
                _view(batch.src_ip[rows].reshape(-1)),
                _view(batch.dst_ip[rows].reshape(-1)),
                _view(batch.src_port[rows]),
                _view(batch.dst_port[rows]),
                _view(out),
                _view(offset),
                _view(length),
            )
            patch.data = out[: int(used)]
            patch.offset[rows], patch.length[rows] = offset, length
        return patch

    def live(self, now_us: int) -> int:
        """Count the entries that are in use at a time."""
        used, where = np.asarray(self.used), np.asarray(self.where)
        fresh = (used + self.timeout >= now_us) & (self.head <= where + self.span)
        return int((fresh & (np.asarray(self.kind) != NEVER)).sum())

    # ---- the table

    def slot_of(self, port: cython.int) -> cython.Py_ssize_t:
        """Where the search for (word_hi, word_lo, port) begins."""
        value: cython.ulonglong = self.seed ^ cython.cast(cython.ulonglong, port)
        value = (value ^ self.word_hi) * SPREAD
        if not cython.compiled:
            value &= 0xFFFFFFFFFFFFFFFF
        value = ((value ^ (value >> 29)) ^ self.word_lo) * MIX
        if not cython.compiled:
            value &= 0xFFFFFFFFFFFFFFFF
        value = (value ^ (value >> 32)) * SPREAD
        if not cython.compiled:
            value &= 0xFFFFFFFFFFFFFFFF
        return cython.cast(cython.Py_ssize_t, (value >> 20) & self.mask)

    def is_live(self, slot: cython.Py_ssize_t) -> cython.bint:
        """Whether an entry is neither too old nor has lost its Call-ID."""
        return self.used[slot] + self.timeout >= self.now and self.head <= self.where[slot] + self.span

    def is_key(self, slot: cython.Py_ssize_t, port: cython.int) -> cython.bint:
        """Whether the entry is that of (word_hi, word_lo, port)."""
        return self.lo[slot] == self.word_lo and self.port[slot] == port and self.hi[slot] == self.word_hi

    def look_up(self, port: cython.int) -> cython.Py_ssize_t:
        """The live entry of (word_hi, word_lo, port); -1 where there is none."""
        slot: cython.Py_ssize_t = self.slot_of(port)
        i: cython.Py_ssize_t
        for i in range(PROBES):  # noqa: B007
            if self.kind[slot] == NEVER:  # places are taken in order and never given back
                return -1
            if self.is_key(slot, port):
                return slot if self.is_live(slot) else -1
            slot = (slot + 1) & self.mask
        return -1

    def place_for(self, port: cython.int) -> cython.Py_ssize_t:
        """The entry of (word_hi, word_lo, port), live or not, or else the place that it shall take."""
        slot: cython.Py_ssize_t = self.slot_of(port)
        best: cython.Py_ssize_t = slot
        i: cython.Py_ssize_t
        for i in range(PROBES):  # noqa: B007
            if self.kind[slot] == NEVER:
                return slot if self.is_live(best) or self.kind[best] == NEVER else best
            if self.is_key(slot, port):
                return slot
            if self.is_live(best) and (not self.is_live(slot) or self.used[slot] < self.used[best]):
                best = slot
            slot = (slot + 1) & self.mask
        return best

    def is_usable(self, port: cython.int) -> cython.bint:
        """Whether (word_hi, word_lo, port) can be media's: a port, and not the unspecified address."""
        if port < 1 or port > 65535:
            return False
        return self.word_hi != 0 or (self.word_lo != 0 and self.word_lo != MAPPED)

    def is_same_call(self, slot: cython.Py_ssize_t) -> cython.bint:
        """Whether the entry's Call-ID is the one at hand."""
        size: cython.Py_ssize_t = self.size[slot]
        at: cython.Py_ssize_t = self.where[slot] % self.span
        i: cython.Py_ssize_t
        if size != self.call_size:
            return False
        for i in range(size):  # noqa: SIM110 - it is a kernel
            if self.ring[at + i] != self.data[self.call_at + i]:
                return False
        return True

    def add(self, port: cython.int, kind: cython.int) -> cython.int:
        """Enter (word_hi, word_lo, port) for the call at hand, unless a surer entry is in the way."""
        if not self.is_usable(port):
            return 0
        slot: cython.Py_ssize_t = self.place_for(port)
        if self.kind[slot] != NEVER and self.is_key(slot, port) and self.is_live(slot):
            if self.is_same_call(slot):
                kind = min(kind, self.kind[slot])
                if self.copy_at < 0 and self.head - self.where[slot] < self.span // 2:
                    self.copy_at = self.where[slot]
            elif self.kind[slot] < kind:
                return 0
        if self.copy_at < 0:
            self.copy_at = self.append(self.data, self.call_at, self.call_size)
        return self.write(slot, port, kind, self.copy_at, self.call_size)

    def write(
        self,
        slot: cython.Py_ssize_t,
        port: cython.int,
        kind: cython.int,
        where: cython.Py_ssize_t,
        size: cython.Py_ssize_t,
    ) -> cython.int:
        """Write an entry."""
        self.hi[slot] = self.word_hi
        self.lo[slot] = self.word_lo
        self.port[slot] = port
        self.kind[slot] = kind
        self.where[slot] = where
        self.size[slot] = size
        self.used[slot] = self.now
        return 0

    def append(self, data: Any, at: cython.Py_ssize_t, size: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """Write a Call-ID into the ring, in one piece; return where, counted from the ring's first turn."""
        place: cython.Py_ssize_t = self.head % self.span
        if place + size > self.span:
            self.head += self.span - place
            place = 0
        where: cython.Py_ssize_t = self.head
        copy_octets(self.ring, place, data, at, size)
        self.head += size
        return where

    def use(self, slot: cython.Py_ssize_t) -> cython.int:
        """An entry was used: it lives on, and so does its Call-ID."""
        age: cython.Py_ssize_t = self.head - self.where[slot]
        self.used[slot] = self.now
        if self.span // 2 < age < self.span - 4 * LONGEST:  # far enough from being overwritten to copy
            self.where[slot] = self.append(self.ring, self.where[slot] % self.span, self.size[slot])
        return 0

    # ---- packets

    def read_words(self, address: Any, at: cython.Py_ssize_t) -> cython.int:
        """Take 16 octets of an address as the two words of a key."""
        i: cython.Py_ssize_t
        octet: cython.ulonglong
        hi: cython.ulonglong = 0
        lo: cython.ulonglong = 0
        for i in range(8):
            octet = address[at + i]
            hi = (hi << 8) | octet
            octet = address[at + 8 + i]
            lo = (lo << 8) | octet
        self.word_hi = hi
        self.word_lo = lo
        return 0

    def find_rows(
        self,
        now: cython.Py_ssize_t,
        src: Any,
        dst: Any,
        src_port: Any,
        dst_port: Any,
        out: Any,
        offset: Any,
        length: Any,
    ) -> cython.Py_ssize_t:
        """The loop of find; return how much of `out` is used."""
        self.now = now
        at: cython.Py_ssize_t = 0
        slot: cython.Py_ssize_t
        i: cython.Py_ssize_t
        for i in range(len(offset)):
            slot = self.find_row(src, dst, src_port[i], dst_port[i], 16 * i)
            if slot >= 0:
                copy_octets(out, at, self.ring, self.where[slot] % self.span, self.size[slot])
                offset[i] = at
                length[i] = self.size[slot]
                at += self.size[slot]
        return at

    def find_row(
        self, src: Any, dst: Any, src_port: cython.int, dst_port: cython.int, at: cython.Py_ssize_t
    ) -> cython.Py_ssize_t:
        """The entry of one packet, the surer one of its two ends; -1 where neither is known."""
        self.read_words(src, at)
        ours: cython.Py_ssize_t = self.look_up(src_port)
        self.read_words(dst, at)
        theirs: cython.Py_ssize_t = self.look_up(dst_port)
        if ours < 0 and theirs < 0:
            return -1
        if theirs >= 0:
            self.use(theirs)
        if ours >= 0:
            self.use(ours)
        if ours >= 0 and theirs >= 0:
            return theirs if self.kind[theirs] < self.kind[ours] else ours
        found: cython.Py_ssize_t = ours if ours >= 0 else theirs
        if self.nat and self.kind[found] != SEEN:
            if ours < 0:
                self.read_words(src, at)
            port: cython.int = dst_port if ours >= 0 else src_port
            place: cython.Py_ssize_t = self.place_for(port)
            if place != found and self.is_usable(port):
                self.write(place, port, SEEN, self.where[found], self.size[found])
        return found

    # ---- SIP messages

    def learn_rows(
        self,
        data: Any,
        now: cython.Py_ssize_t,
        sip: Any,
        response: Any,
        src: Any,
        call_at: Any,
        call_size: Any,
        body_at: Any,
        body_size: Any,
        type_at: Any,
        type_size: Any,
        out: Any,
    ) -> cython.int:
        """The loop of learn."""
        self.now = now
        self.data = data
        self.sdp.data = data
        i: cython.Py_ssize_t
        for i in range(len(out)):
            if not sip[i] or body_size[i] < 8 or call_size[i] < 1 or call_size[i] > LONGEST:
                continue
            if not self.sdp.may_hold_sdp(type_at[i], type_size[i]):
                continue
            if not self.sdp.read_sdp(body_at[i], body_at[i] + body_size[i], response[i] != 0):
                continue
            self.call_at = call_at[i]
            self.call_size = call_size[i]
            self.copy_at = -1
            self.learn_places(src, 16 * i)
            out[i] = 1
        self.data = self.ring  # the batch may go
        self.sdp.data = self.ring
        return 0

    def learn_places(self, src: Any, at: cython.Py_ssize_t) -> cython.int:
        """Enter the places of a message, and its own source address with their ports."""
        i: cython.Py_ssize_t
        for i in range(self.sdp.count):
            if self.sdp.has_address[i]:
                self.word_hi = self.sdp.hi[i]
                self.word_lo = self.sdp.lo[i]
                self.add(self.sdp.port[i], SAID if self.sdp.said[i] else CONCLUDED)
        if self.nat:
            self.read_words(src, at)
            for i in range(self.sdp.count):
                # Mostly no NAT is in the way, and the place has just been entered.
                if (
                    not self.sdp.has_address[i]
                    or self.sdp.hi[i] != self.word_hi
                    or self.sdp.lo[i] != self.word_lo
                ):
                    self.add(self.sdp.port[i], CONCLUDED)
        return 0
