"""Kernel: RTCP to JSON, in the fields that HOMER's tools read. No I/O, no clock, no log.

In: a batch and rows of it whose payload is an RTCP datagram (RFC 3550 section 6, RFC 3611), one packet
or several in it. Out: a `Patch` with one JSON object a datagram, everything that its packets say put
together: SR, RR, SDES, BYE, APP and the VoIP metrics of XR. What can go wrong: a row that does not begin
with RTCP, or in which not one packet is whole, stays as it is (offset -1); never an exception.

    {"sender_information": {"ntp_timestamp_sec", "ntp_timestamp_usec", "octets", "rtp_timestamp", "packets"},
     "ssrc", "type",                      of the first SR or RR, else of the first packet
     "report_blocks": [{"source_ssrc", "highest_seq_no", "fraction_lost", "ia_jitter", "packets_lost",
                        "lsr", "dlsr"}], "report_count",
     "report_blocks_xr": {"type", "id", "fraction_lost", ...}, "report_blocks_xr_more": [{...}],
     "sdes_ssrc", "sdes_report_count", "sdes_information": [{"type", "text"}],
     "bye_ssrc": [...], "bye_reason", "app_ssrc", "app_name", "app_subtype", "encrypted": true}

Choices: keys that have nothing to say are left out, but for ssrc, type, report_count and report_blocks.
ntp_timestamp_usec is the fraction of NTP's time in units of 2^-32 s, in spite of its name: the agents
that use this format send it so. packets_lost is signed, as RFC 3550 section 6.4.1 has it. Of SRTCP (RFC
3711 section 3.4: what is behind the SSRC is cipher text, and an index with the E bit comes behind it) only
ssrc and type are told, and "encrypted". Text is UTF-8 (RFC 3550 section 6.5); octets that are not come out
as the characters of Latin-1. Lists end early where the JSON would grow over 60,000 octets.
"""

from typing import Any, Final

import cython
import numpy as np

from hepcat.batch.edits import Patch
from hepcat.batch.layout import Batch
from hepcat.wire.json_text import MAX_JSON, payloads
from hepcat.wire.rtcp_packets import Array, rtcp_mask, rtcp_xr_mask, rtp_or_rtcp_mask, view_of
from hepcat.wire.rtcp_pieces import PIECES

if not cython.compiled:  # rtcp.pxd cimports the first two, and has the pieces as an enum
    # fmt: off
    from hepcat.wire.hep import copy_octets  # type: ignore[attr-defined,unused-ignore]  # noqa: I001
    from hepcat.wire.rtcp_packets import APP, BYE, RR, SDES, SR, XR, Packets
    from hepcat.wire.rtcp_pieces import (
        P_APP, P_APP_NAME, P_APP_SUBTYPE, P_BEGIN, P_BLOCKS, P_BURST_TIME, P_BYE, P_BYE_REASON, P_COMMA,
        P_COUNT, P_DISCARD, P_DLSR, P_ENCRYPTED, P_END, P_ESCAPE, P_FRACTION, P_HIGHEST, P_ID,
        P_ITEM_SSRC, P_ITEM_TYPE, P_JB_NOMINAL, P_JITTER, P_LIST_END, P_LOST, P_LSR, P_NTP_LOW,
        P_OCTETS, P_PACKETS, P_QUOTE, P_RERL, P_RTP, P_SDES_COUNT, P_SDES_ITEMS, P_SDES_SSRC, P_SENDER,
        P_SENDER_END, P_SIGNAL, P_SOURCE, P_SSRC, P_TEXT, P_TEXT_END, P_TYPE, P_XR, P_XR_MORE,
    )
    # fmt: on

#: What is to be had of RTCP: the masks stand in rtcp_packets.py.
__all__ = ["rtcp_mask", "rtcp_to_json", "rtcp_xr_mask", "rtp_or_rtcp_mask"]

_TEXT: Final = np.frombuffer(b"".join(PIECES), dtype=np.uint8)
_ENDS: Final = np.cumsum([0] + [len(piece) for piece in PIECES]).astype(np.int64)

VOIP_METRICS = cython.declare(cython.int, 7)  # block type (RFC 3611 section 4.7)

# Room that the JSON of any datagram needs beside its lists, and that of one element of a list (an SDES
# text is at most 255 octets, six characters for each at the worst).
FRAME = cython.declare(cython.Py_ssize_t, 1024)
ELEMENT = cython.declare(cython.Py_ssize_t, 1700)


def rtcp_to_json(batch: Batch, rows: Array) -> Patch:
    """Write the RTCP datagrams of `rows` as JSON objects.

    rows: int64, each at most once. Returns a patch of batch.n rows; rows that are not in `rows`, or are
    no RTCP, keep offset -1. Every JSON is valid UTF-8 of at most 60,000 octets.
    """
    patch = Patch.empty(batch.n)
    rows = np.ascontiguousarray(rows, dtype=np.int64)
    if not len(rows):
        return patch
    offset, length = payloads(batch, rows)
    # An item of two octets can become 23 characters (SDES without text): twelve for one covers all.
    room = np.minimum(length * 12 + 2 * FRAME + ELEMENT, MAX_JSON)
    out = np.empty(int(room.sum()), dtype=np.uint8)
    begin, size = np.full(len(rows), -1, dtype=np.int64), np.zeros(len(rows), dtype=np.int64)
    writer = Writer(batch.buffer, out)
    used = writer.run_json(view_of(offset), view_of(length), view_of(room), view_of(begin), view_of(size))
    patch.data = out[: int(used)]
    patch.offset[rows] = begin
    patch.length[rows] = size
    return patch


class Writer(Packets):
    """One run over a batch. `at` is where the JSON grows in `out`."""

    def __init__(self, data: Any, out: Any) -> None:
        super().__init__(data)
        view: Any = memoryview
        self.out = view(out)
        self.text = view(_TEXT)
        self.ends = view(_ENDS)
        self.at = 0
        self.limit = 0
        self.first = 0

    def run_json(self, offset: Any, length: Any, room: Any, begin: Any, size: Any) -> cython.Py_ssize_t:
        """The loop of rtcp_to_json; return how much of `out` is used."""
        n: cython.Py_ssize_t = len(offset)
        i: cython.Py_ssize_t
        before: cython.Py_ssize_t
        with cython.nogil:
            for i in range(n):
                before = self.at
                self.limit = before + room[i]
                if self.write_datagram(offset[i], length[i]):
                    begin[i] = before
                    size[i] = self.at - before
                else:
                    self.at = before
        return self.at

    # ---- octets

    def be32(self, at: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """Four octets in network order."""
        high: cython.Py_ssize_t = self.data[at]
        return (high << 24) | (self.data[at + 1] << 16) | (self.data[at + 2] << 8) | self.data[at + 3]

    def put(self, piece: cython.int) -> cython.int:
        """Append a piece of PIECES."""
        start: cython.Py_ssize_t = self.ends[piece]
        length: cython.Py_ssize_t = self.ends[piece + 1] - start
        copy_octets(self.out, self.at, self.text, start, length)
        self.at += length
        return 0

    def octet(self, value: cython.int) -> cython.int:
        """Append one octet."""
        self.out[self.at] = value
        self.at += 1
        return 0

    def number(self, value: cython.Py_ssize_t) -> cython.int:
        """Append a number in digits."""
        if value < 0:
            self.octet(45)  # -
            value = -value
        digits: cython.int = 1
        rest: cython.Py_ssize_t = value // 10
        while rest > 0:
            digits += 1
            rest = rest // 10
        pos: cython.Py_ssize_t = self.at + digits
        self.at = pos
        while digits > 0:
            pos -= 1
            self.out[pos] = 48 + value % 10
            value = value // 10
            digits -= 1
        return 0

    def pair(self, piece: cython.int, value: cython.Py_ssize_t) -> cython.int:
        """Append a key and its number."""
        self.put(piece)
        return self.number(value)

    def has_room(self) -> cython.bint:
        """Whether another element of a list fits, with what has to come behind it."""
        return self.limit - self.at >= ELEMENT + FRAME

    def string(self, at: cython.Py_ssize_t, size: cython.Py_ssize_t) -> cython.int:
        """Append text between quotes that the caller writes (RFC 8259 section 7)."""
        end: cython.Py_ssize_t = at + size
        length: cython.Py_ssize_t
        octet: cython.int
        while at < end:
            octet = self.data[at]
            if octet >= 0x80:
                length = self.utf8(at, end)
                if length > 0:
                    copy_octets(self.out, self.at, self.data, at, length)
                    self.at += length
                    at += length
                    continue
            if octet < 0x20 or octet >= 0x7F:
                self.put(P_ESCAPE)
                self.hex_digit(octet >> 4)
                self.hex_digit(octet & 15)
            else:
                if octet == 34 or octet == 92:  # " and \
                    self.octet(92)
                self.octet(octet)
            at += 1
        return 0

    def hex_digit(self, value: cython.int) -> cython.int:
        """Append 0..9 or a..f."""
        return self.octet(48 + value if value < 10 else 87 + value)

    def utf8(self, at: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """The length of the UTF-8 sequence at `at` (RFC 3629 section 4), 0 where there is none."""
        lead: cython.int = self.data[at]
        more: cython.Py_ssize_t = 1 if lead < 0xE0 else (2 if lead < 0xF0 else 3)
        if lead < 0xC2 or lead > 0xF4 or end - at <= more:
            return 0
        second: cython.int = self.data[at + 1]
        low: cython.int = 0xA0 if lead == 0xE0 else (0x90 if lead == 0xF0 else 0x80)
        high: cython.int = 0x9F if lead == 0xED else (0x8F if lead == 0xF4 else 0xBF)
        if second < low or second > high:
            return 0
        i: cython.Py_ssize_t
        for i in range(2, more + 1):
            if self.data[at + i] >> 6 != 2:
                return 0
        return more + 1

    # ---- packets

    def write_datagram(self, at: cython.Py_ssize_t, size: cython.Py_ssize_t) -> cython.bint:
        """One datagram; False where it is no RTCP."""
        self.begin = at
        self.end = at + size
        if size < 8 or self.packet_end(at) < 0:
            return False
        head: cython.Py_ssize_t = self.find(at, SR, RR)
        if head < 0 or self.end - head < 8:
            head = at
        if self.is_encrypted():
            self.put(P_BEGIN)
            self.write_head(at)
            self.put(P_ENCRYPTED)
            self.put(P_END)
            return True
        self.write_sender()
        self.write_head(head)
        self.write_blocks()
        self.write_metrics()
        self.write_descriptions()
        self.write_bye()
        self.write_app()
        self.put(P_END)
        return True

    def write_head(self, at: cython.Py_ssize_t) -> cython.int:
        """Who sent it, and the type of the packet."""
        self.pair(P_SSRC, self.be32(at + 4))
        return self.pair(P_TYPE, self.data[at + 1])

    def write_sender(self) -> cython.int:
        """The sender information of the first SR (RFC 3550 section 6.4.1); the opening brace."""
        at: cython.Py_ssize_t = self.find(self.begin, SR, SR)
        if at < 0 or self.packet_end(at) - at < 28:
            return self.put(P_BEGIN)
        self.pair(P_SENDER, self.be32(at + 8))
        self.pair(P_NTP_LOW, self.be32(at + 12))
        self.pair(P_OCTETS, self.be32(at + 24))
        self.pair(P_RTP, self.be32(at + 16))
        self.pair(P_PACKETS, self.be32(at + 20))
        return self.put(P_SENDER_END)

    def write_blocks(self) -> cython.int:
        """The report blocks of all SR and RR (RFC 3550 sections 6.4.1 and 6.4.2)."""
        at: cython.Py_ssize_t = self.find(self.begin, SR, RR)
        block: cython.Py_ssize_t
        end: cython.Py_ssize_t
        left: cython.int
        count: cython.int = 0
        self.put(P_BLOCKS)
        while at >= 0:
            end = self.packet_end(at)
            block = at + (28 if self.data[at + 1] == SR else 8)
            left = self.data[at] & 0x1F
            while left > 0 and end - block >= 24 and self.has_room():
                if count > 0:
                    self.put(P_COMMA)
                self.write_block(block)
                block += 24
                left -= 1
                count += 1
            at = self.find_next(at, SR, RR)
        return self.pair(P_COUNT, count)

    def write_block(self, at: cython.Py_ssize_t) -> cython.int:
        """One report block."""
        lost: cython.Py_ssize_t = self.be32(at + 4) & 0xFFFFFF
        if lost >= 0x800000:  # signed 24 bits: duplicates can make it negative
            lost -= 0x1000000
        self.pair(P_SOURCE, self.be32(at))
        self.pair(P_HIGHEST, self.be32(at + 8))
        self.pair(P_FRACTION, self.data[at + 4])
        self.pair(P_JITTER, self.be32(at + 12))
        self.pair(P_LOST, lost)
        self.pair(P_LSR, self.be32(at + 16))
        self.pair(P_DLSR, self.be32(at + 20))
        return self.put(P_END)

    def write_metrics(self) -> cython.int:
        """The VoIP metrics of all XR packets: an object for the first, a list for the others."""
        at: cython.Py_ssize_t = self.find(self.begin, XR, XR)
        block: cython.Py_ssize_t
        end: cython.Py_ssize_t
        size: cython.Py_ssize_t
        count: cython.int = 0
        while at >= 0:
            end = self.packet_end(at)
            block = at + 8
            while end - block >= 4:
                size = (self.be16(block + 2) + 1) * 4  # RFC 3611 section 3
                if self.data[block] == VOIP_METRICS and size >= 36 and end - block >= 36 and self.has_room():
                    self.put(P_XR if count == 0 else (P_XR_MORE if count == 1 else P_COMMA))
                    self.write_voip(block)
                    count += 1
                block += size
            at = self.find_next(at, XR, XR)
        return self.put(P_LIST_END) if count > 1 else 0

    def write_voip(self, at: cython.Py_ssize_t) -> cython.int:
        """A VoIP metrics report block (RFC 3611 section 4.7)."""
        i: cython.int
        self.pair(P_ITEM_TYPE, VOIP_METRICS)
        self.pair(P_ID, self.be32(at + 4))
        self.pair(P_FRACTION, self.data[at + 8])
        for i in range(3):  # discard rate, burst density, gap density
            self.pair(P_DISCARD + i, self.data[at + 9 + i])
        for i in range(4):  # burst and gap duration, round trip and end system delay
            self.pair(P_BURST_TIME + i, self.be16(at + 12 + 2 * i))
        for i in range(2):  # signal and noise level in dBm, signed
            value: cython.int = self.data[at + 20 + i]
            self.pair(P_SIGNAL + i, value - 256 if value > 127 else value)
        for i in range(7):  # RERL, Gmin, R factors, MOS, receiver configuration
            self.pair(P_RERL + i, self.data[at + 22 + i])
        for i in range(3):  # jitter buffer; an octet before it is reserved
            self.pair(P_JB_NOMINAL + i, self.be16(at + 30 + 2 * i))
        return self.put(P_END)

    def write_descriptions(self) -> cython.int:
        """The items of all SDES chunks (RFC 3550 section 6.5); those of a second source name it."""
        at: cython.Py_ssize_t = self.find(self.begin, SDES, SDES)
        chunks: cython.int = 0
        left: cython.int
        if at < 0:
            return 0
        if (self.data[at] & 0x1F) == 0 or self.packet_end(at) - at < 8:
            return 0
        self.pair(P_SDES_SSRC, self.be32(at + 4))
        self.pair(P_SDES_COUNT, self.data[at] & 0x1F)
        self.put(P_SDES_ITEMS)
        self.first = 1
        while at >= 0:
            end: cython.Py_ssize_t = self.packet_end(at)
            chunk: cython.Py_ssize_t = at + 4
            left = self.data[at] & 0x1F
            while left > 0 and end - chunk >= 4:
                chunk = self.write_chunk(chunk, end, chunks > 0)
                chunks += 1
                left -= 1
            at = self.find_next(at, SDES, SDES)
        return self.put(P_LIST_END)

    def write_chunk(
        self, at: cython.Py_ssize_t, end: cython.Py_ssize_t, named: cython.bint
    ) -> cython.Py_ssize_t:
        """One chunk; return where the next one begins: a zero, and padding to 32 bits, end the items."""
        begin: cython.Py_ssize_t = at
        length: cython.Py_ssize_t
        at += 4
        while end - at >= 2 and self.data[at] != 0:
            length = self.data[at + 1]
            if length > end - at - 2:
                return end
            if self.has_room():
                if not self.first:
                    self.put(P_COMMA)
                self.first = 0
                self.pair(P_ITEM_TYPE, self.data[at])
                if named:
                    self.pair(P_ITEM_SSRC, self.be32(begin))
                self.put(P_TEXT)
                self.string(at + 2, length)
                self.put(P_TEXT_END)
            at += 2 + length
        return begin + ((at - begin) // 4 + 1) * 4

    def write_bye(self) -> cython.int:
        """Who leaves, and why (RFC 3550 section 6.6), of the first BYE."""
        at: cython.Py_ssize_t = self.find(self.begin, BYE, BYE)
        if at < 0:
            return 0
        end: cython.Py_ssize_t = self.packet_end(at)
        count: cython.Py_ssize_t = self.data[at] & 0x1F
        i: cython.Py_ssize_t
        self.put(P_BYE)
        at += 4
        for i in range(count):
            if end - at < 4:
                break
            if i > 0:
                self.put(P_COMMA)
            self.number(self.be32(at))
            at += 4
        self.put(P_LIST_END)
        if end - at >= 1 and self.data[at] > 0 and self.data[at] < end - at and self.has_room():
            self.put(P_BYE_REASON)
            self.string(at + 1, self.data[at])
            self.put(P_QUOTE)
        return 0

    def write_app(self) -> cython.int:
        """Name and subtype of the first APP packet (RFC 3550 section 6.7)."""
        at: cython.Py_ssize_t = self.find(self.begin, APP, APP)
        if at < 0 or self.packet_end(at) - at < 12:
            return 0
        self.pair(P_APP, self.be32(at + 4))
        self.put(P_APP_NAME)
        self.string(at + 8, 4)
        return self.pair(P_APP_SUBTYPE, self.data[at] & 0x1F)
