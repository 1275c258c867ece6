"""Kernel: which payloads are RTCP (RFC 3550 section 6), and where the packets in one begin. No I/O, no clock.

In: a batch whose payloads may be anything. Out: masks of its rows: RTCP, RTP or RTCP, RTCP with an extended
report (RFC 3611); and the base of rtcp.py's `Writer`, which finds the packets of a datagram by their types.
What can go wrong: a payload that is none, or whose first packet is not whole, is not in the mask; what is no
packet has no end (-1). IndexError for a mask that is too short (a bug of the caller), never for octets.
"""

from typing import Any, Final

import cython
import numpy as np
import numpy.typing as npt

from hepcat.batch.layout import Batch
from hepcat.batch.schema import MALFORMED
from hepcat.wire.json_text import payloads

if not cython.compiled:  # rtcp_packets.pxd has them as C constants
    # Packet types (RFC 3550 section 12.1, RFC 3611 section 2).
    SR, RR, SDES, BYE, APP, XR = 200, 201, 202, 203, 204, 207

Array = npt.NDArray[Any]

_TRUNCATED: Final = MALFORMED.index("truncated")


def rtcp_mask(batch: Batch, out: Array, low: int = 200, high: int = 204) -> None:
    """Tell which payloads are RTCP: version 2, packet type low..high, and lengths that add up.

    out: (n,) uint8, set to 1 or 0. The first packet has to lie within the payload (RFC 3550 appendix
    A.2), or to pass its end where the capture cut it; what follows it is not looked at, because of
    SRTCP it is cipher text. Raises IndexError where `out` is shorter than the batch.
    """
    _mask(batch, out, low, high, False)


def rtp_or_rtcp_mask(batch: Batch, out: Array) -> None:
    """Tell which payloads are RTP or RTCP: version 2, and long enough for its header.

    out: (n,) uint8, set to 1 or 0. RTCP where the second octet says so (192 to 223, RFC 5761 section 4),
    as in `rtcp_mask`; RTP else (RFC 3550 section 5.1), where header, CSRC list and extension fit.
    """
    _mask(batch, out, 192, 223, True)


def rtcp_xr_mask(batch: Batch, out: Array) -> None:
    """Tell which payloads are RTCP with an extended report in them (RFC 3611).

    out: (n,) uint8, set to 1 or 0.
    """
    if len(out) < batch.n:
        raise IndexError(f"a mask of {len(out)} for {batch.n} rows")
    offset, length = payloads(batch)
    Packets(batch.buffer).run_xr(view_of(offset), view_of(length), view_of(out))


def _mask(batch: Batch, out: Array, low: int, high: int, rtp: bool) -> None:
    if len(out) < batch.n:
        raise IndexError(f"a mask of {len(out)} for {batch.n} rows")
    offset, length = payloads(batch)
    Packets(batch.buffer).run_mask(
        view_of(offset), view_of(length), view_of(batch.malformed), view_of(out), low, high, rtp
    )


def view_of(array: Array) -> Any:
    """Give an array as a memoryview: uncompiled, its items are then Python ints, which cannot wrap."""
    return memoryview(np.ascontiguousarray(array))  # type: ignore[arg-type]


class Packets:
    """One run over a batch. Positions are those of its buffer; begin, end: of the datagram being read."""

    def __init__(self, data: Any) -> None:
        view: Any = memoryview
        self.data = view(data)
        self.begin = self.end = 0

    def run_mask(
        self,
        offset: Any,
        length: Any,
        malformed: Any,
        out: Any,
        low: cython.int,
        high: cython.int,
        rtp: cython.bint,
    ) -> cython.int:
        """The loop of the masks."""
        n: cython.Py_ssize_t = len(offset)
        i: cython.Py_ssize_t
        cut: cython.int = _TRUNCATED
        with cython.nogil:
            for i in range(n):
                out[i] = self.is_rtcp(offset[i], length[i], malformed[i] == cut, low, high, rtp)
        return 0

    def run_xr(self, offset: Any, length: Any, out: Any) -> cython.int:
        """The loop of rtcp_xr_mask."""
        n: cython.Py_ssize_t = len(offset)
        i: cython.Py_ssize_t
        with cython.nogil:
            for i in range(n):
                self.begin = offset[i]
                self.end = self.begin + length[i]
                out[i] = length[i] >= 8 and self.find(self.begin, XR, XR) >= 0
        return 0

    def is_rtcp(
        self,
        at: cython.Py_ssize_t,
        size: cython.Py_ssize_t,
        cut: cython.bint,
        low: cython.int,
        high: cython.int,
        rtp: cython.bint,
    ) -> cython.int:
        """Whether a payload begins as RTCP (or RTP)."""
        if size < 8 or self.data[at] >> 6 != 2:
            return 0
        kind: cython.int = self.data[at + 1]
        if kind < low or kind > high:
            return self.is_rtp(at, size) if rtp else 0
        packet: cython.Py_ssize_t = (self.be16(at + 2) + 1) * 4
        if packet > size and not cut:
            return 0
        return packet >= self.least(kind, self.data[at] & 0x1F)

    def is_rtp(self, at: cython.Py_ssize_t, size: cython.Py_ssize_t) -> cython.int:
        """Whether the header of RTP fits (RFC 3550 sections 5.1 and 5.3.1)."""
        header: cython.Py_ssize_t = 12 + 4 * (self.data[at] & 0x0F)
        if self.data[at] & 0x10:
            if size < header + 4:
                return 0
            header += 4 + 4 * self.be16(at + header + 2)
        return header <= size

    def least(self, kind: cython.int, count: cython.int) -> cython.Py_ssize_t:
        """The shortest packet of a type: its header, and what the count in it promises."""
        if kind == SR:
            return 28 + 24 * count
        if kind == RR:
            return 8 + 24 * count
        if kind in (SDES, BYE):
            return 4 + 4 * count
        if kind == APP:
            return 12
        return 8

    def be16(self, at: cython.Py_ssize_t) -> cython.int:
        """Two octets in network order."""
        high: cython.int = self.data[at]
        low: cython.int = self.data[at + 1]
        return (high << 8) | low

    # ---- packets

    def packet_end(self, at: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """Where the packet at `at` ends; -1 where no RTCP packet begins there.

        One that passes the end of the datagram (cut by the capture) ends with it.
        """
        if self.end - at < 4 or self.data[at] >> 6 != 2:
            return -1
        kind: cython.int = self.data[at + 1]
        if kind < 192 or kind > 223:  # RFC 5761 section 4
            return -1
        return min(self.end, at + (self.be16(at + 2) + 1) * 4)

    def find(self, at: cython.Py_ssize_t, low: cython.int, high: cython.int) -> cython.Py_ssize_t:
        """The next packet of a type low..high from the packet at `at` on; -1 where there is none."""
        end: cython.Py_ssize_t
        while True:
            end = self.packet_end(at)
            if end < 0:
                return -1
            if low <= self.data[at + 1] <= high:
                return at
            at = end

    def find_next(self, at: cython.Py_ssize_t, low: cython.int, high: cython.int) -> cython.Py_ssize_t:
        """The next packet of a type low..high behind the packet at `at`; -1 where there is none."""
        return self.find(self.packet_end(at), low, high)

    def is_encrypted(self) -> cython.bint:
        """Whether behind the packets stands what SRTCP adds: index, E bit and tag (RFC 3711 section 3.4).

        The index comes before a tag of 10 or 4 octets, or last (RFC 7714 section 9.2).
        """
        at: cython.Py_ssize_t = self.begin
        end: cython.Py_ssize_t = at
        while end >= 0:
            at = end
            end = self.packet_end(at)
        left: cython.Py_ssize_t = self.end - at
        if left % 4 == 2:  # packets are whole words, so a tag of 10 octets shows
            return left >= 14 and self.data[self.end - 14] >> 7 != 0
        if left < 8:
            return False
        return self.data[self.end - 8] >> 7 != 0 or (left > 8 and self.data[self.end - 4] >> 7 != 0)
