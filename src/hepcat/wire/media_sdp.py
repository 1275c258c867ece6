"""Kernel: the places of media that SDP names: addresses and ports of RTP and RTCP. No I/O, no state.

In: the body of a SIP message, SDP or a multipart with SDP in it. Out: `count` places in the columns of
`SdpReader`. What can go wrong: nothing; lines that cannot be read are passed over. What is learnt of each
media section stands in wire/media.py.
"""

from typing import Any, Final

import cython
import numpy as np

MAX_MEDIA: Final = 32  # sections of one message
MAX_PORTS: Final = 4  # of `m=audio 49170/2`
#: Places of one message at most: RTP and RTCP of each port, and RTCP at an address of its own.
MAX_PLACES: Final = MAX_MEDIA * (2 * MAX_PORTS + 1)

SECTIONS = cython.declare(cython.int, MAX_MEDIA)
PORTS = cython.declare(cython.int, MAX_PORTS)
MAPPED = cython.declare(cython.ulonglong, 0x0000FFFF00000000)  # ::ffff:0:0 (RFC 4291 section 2.5.5.2)


class SdpReader:
    """The places of one message. Positions are those of `data`.

    hi, lo: the address, 16 octets as two numbers in network order; has_address: 0 where it is none that
    can be read (a name, say). port: 1 to 65,535. said: 1 where SDP names the port, 0 where it follows from
    it (RTCP on the port after RTP's).
    """

    def __init__(self) -> None:
        view: Any = memoryview
        self.data = view(b"")
        self.hi = view(np.zeros(MAX_PLACES, dtype=np.uint64))
        self.lo = view(np.zeros(MAX_PLACES, dtype=np.uint64))
        self.has_address = view(np.zeros(MAX_PLACES, dtype=np.uint8))
        self.port = view(np.zeros(MAX_PLACES, dtype=np.int32))
        self.said = view(np.zeros(MAX_PLACES, dtype=np.uint8))
        self.count = 0
        self.word_hi = self.word_lo = 0
        self.media = 0
        self.in_sdp = False
        self.sections = 0
        self.number_end = 0
        self.answer = False

    def may_hold_sdp(self, at: cython.Py_ssize_t, size: cython.Py_ssize_t) -> cython.bint:
        """Whether a Content-Type is application/sdp, multipart/... or missing."""
        if size == 0:
            return True
        if size >= 9 and self.data[at] | 0x20 == 109:  # m of multipart
            return True
        return size >= 15 and (self.data[at + 12] | 0x20 == 115 and self.data[at + 13] | 0x20 == 100)  # sd

    def read_sdp(self, at: cython.Py_ssize_t, end: cython.Py_ssize_t, answer: cython.bint) -> cython.int:
        """Read the lines of a body; tell whether media was found. answer: it is that of a response."""
        line: cython.Py_ssize_t
        found: cython.int = 0
        octet: cython.int
        self.answer = answer
        self.count = 0
        self.media = 0
        self.in_sdp = False
        self.sections = 0
        while at < end:
            line = at
            while at < end:
                octet = self.data[at]  # read once: this loop sees every octet of the body
                if octet == 10 or octet == 13:
                    break
                at += 1
            if at - line >= 2:
                octet = self.data[line]
                if octet == 45 and self.data[line + 1] == 45:  # -- of a boundary (RFC 2046 section 5.1.1)
                    found |= self.end_media()
                    self.in_sdp = False
                elif self.data[line + 1] == 61:  # =
                    found |= self.read_line(octet, line + 2, at)
            at += 1
        return found | self.end_media()

    def read_line(self, kind: cython.int, at: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.int:
        """One line of SDP; tell whether it ended a media section that is in use."""
        found: cython.int = 0
        if kind == 118:  # v: a session description begins
            found = self.end_media()
            self.in_sdp = True
            self.session_ok = False
            self.session_hi = 0
            self.session_lo = 0
        elif not self.in_sdp:
            return 0
        elif kind == 109:  # m
            found = self.end_media()
            self.begin_media(at, end)
        elif kind == 99:  # c=IN IP4 address
            at = self.skip_word(self.skip_word(at, end), end)
            if self.read_address(at, end):
                if self.media:
                    self.media_ok = True
                    self.media_hi = self.word_hi
                    self.media_lo = self.word_lo
                else:
                    self.session_ok = True
                    self.session_hi = self.word_hi
                    self.session_lo = self.word_lo
        elif kind == 97 and self.media:  # a
            self.read_attribute(at, end)
        return found

    def begin_media(self, at: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.int:
        """m=audio 49170/2 RTP/AVP 0"""
        self.sections += 1
        self.media = 0
        if self.sections > SECTIONS:
            return 0
        self.number_end = self.skip_word(at, end)
        self.media = self.read_number(self.number_end, end)
        self.ports = 1
        if self.number_end < end and self.data[self.number_end] == 47:  # /
            self.ports = max(1, min(PORTS, self.read_number(self.number_end + 1, end)))
        self.mux = False
        self.rtcp_port = 0
        self.rtcp_ok = False
        self.media_ok = self.session_ok
        self.media_hi = self.session_hi
        self.media_lo = self.session_lo
        return 0

    def read_attribute(self, at: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.int:
        """a=rtcp:53020 [IN IP4 address] and a=rtcp-mux."""
        if end - at < 6 or self.data[at] != 114 or self.data[at + 1] != 116:  # rtcp
            return 0
        if self.data[at + 2] != 99 or self.data[at + 3] != 112:
            return 0
        if self.data[at + 4] == 45:  # -: rtcp-mux, rtcp-mux-only (RFC 8858); not rtcp-fb, rtcp-xr
            if end - at >= 8 and self.data[at + 5] == 109 and self.data[at + 6] == 117:
                self.mux = True
            return 0
        if self.data[at + 4] != 58:
            return 0
        self.rtcp_port = self.read_number(at + 5, end)
        at = self.skip_word(self.skip_word(self.skip_word(at, end), end), end)
        if self.rtcp_port and self.read_address(at, end):
            self.rtcp_ok = True
            self.rtcp_hi = self.word_hi
            self.rtcp_lo = self.word_lo
        return 0

    def end_media(self) -> cython.int:
        """A media section is read: enter its places. Tell whether it is in use."""
        i: cython.int
        if self.media == 0:
            return 0
        for i in range(self.ports):
            port: cython.int = self.media + 2 * i
            self.add(port, True)
            if self.rtcp_port == 0 and not (self.mux and self.answer):
                self.add(port + 1, False)
        if self.rtcp_port:
            if self.rtcp_ok:
                self.media_ok = True
                self.media_hi = self.rtcp_hi
                self.media_lo = self.rtcp_lo
            self.add(self.rtcp_port, True)
        self.media = 0
        return 1

    def add(self, port: cython.int, said: cython.bint) -> cython.int:
        """Add a place at the address of the section."""
        n: cython.Py_ssize_t = self.count
        if port > 65535 or n >= len(self.port):
            return 0
        self.hi[n] = self.media_hi
        self.lo[n] = self.media_lo
        self.has_address[n] = self.media_ok
        self.port[n] = port
        self.said[n] = said
        self.count = n + 1
        return 0

    # ---- text

    def skip_word(self, at: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """Where the next word begins."""
        while at < end and self.data[at] != 32 and self.data[at] != 9:
            at += 1
        while at < end and (self.data[at] == 32 or self.data[at] == 9):
            at += 1
        return at

    def read_number(self, at: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.int:
        """A decimal number up to 65,535; 0 where there is none. number_end: where it ends."""
        value: cython.int = 0
        while at < end and 48 <= self.data[at] <= 57:
            if value <= 65535:
                value = value * 10 + (self.data[at] - 48)
            at += 1
        self.number_end = at
        return value if value <= 65535 else 0

    def read_address(self, at: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.bint:
        """Read an IP address into word_hi and word_lo; False where it is none (a name, say)."""
        stop: cython.Py_ssize_t = at
        colon: cython.bint = False
        while stop < end and self.data[stop] > 32 and self.data[stop] != 47:  # / of a multicast's TTL
            if self.data[stop] == 58:
                colon = True
            if stop - at > 45:  # the longest text of an address (RFC 4291 section 2.2)
                return False
            stop += 1
        if colon:
            return self.read_ipv6(at, stop)
        self.word_hi = 0
        self.word_lo = 0
        if not self.read_ipv4(at, stop):
            return False
        self.word_lo = self.word_lo | MAPPED
        return True

    def read_ipv4(self, at: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.bint:
        """Four decimal numbers; shifted into word_lo."""
        part: cython.int
        value: cython.ulonglong
        lo: cython.ulonglong = self.word_lo
        for part in range(4):
            if part > 0:
                if at >= end or self.data[at] != 46:
                    return False
                at += 1
            begin: cython.Py_ssize_t = at
            value = self.read_number(at, min(end, at + 3))
            at = self.number_end
            if at == begin or value > 255:
                return False
            lo = (lo << 8) | value
            if not cython.compiled:
                lo &= 0xFFFFFFFFFFFFFFFF
        self.word_lo = lo
        return at == end

    def read_ipv6(self, at: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.bint:
        """Groups of hexadecimal digits, one gap `::`, an IPv4 address last (RFC 4291 section 2.2)."""
        hi: cython.ulonglong = 0
        lo: cython.ulonglong = 0
        head_hi: cython.ulonglong = 0
        head_lo: cython.ulonglong = 0
        groups: cython.int = 0
        gap: cython.int = -1
        value: cython.int
        begin: cython.Py_ssize_t
        while at < end:
            if self.data[at] == 58:
                if at + 1 < end and self.data[at + 1] == 58:
                    if gap >= 0:
                        return False
                    gap = groups
                    head_hi = hi
                    head_lo = lo
                    hi = 0
                    lo = 0
                    at += 2
                    continue
                if groups == 0 or at + 1 == end:
                    return False
                at += 1
            begin = at
            value = 0
            while at < end and at - begin < 5 and self.hex_value(self.data[at]) >= 0:
                value = value * 16 + self.hex_value(self.data[at])
                at += 1
            if at < end and self.data[at] == 46:  # the last 32 bits as IPv4
                self.word_lo = lo
                if not self.read_ipv4(begin, end):
                    return False
                hi = (hi << 32) | (lo >> 32)
                lo = self.word_lo
                groups += 2
                at = end
                break
            if at == begin or at - begin > 4 or groups >= 8:
                return False
            hi = (hi << 16) | (lo >> 48)
            lo = (lo << 16) | cython.cast(cython.ulonglong, value)
            if not cython.compiled:
                hi &= 0xFFFFFFFFFFFFFFFF
                lo &= 0xFFFFFFFFFFFFFFFF
            groups += 1
            if at < end and self.data[at] != 58:
                return False
        if groups > 8 or (gap < 0) == (groups != 8):
            return False
        if gap > 0:  # what stood before the gap belongs to the top
            i: cython.int
            for i in range(8 - gap):  # noqa: B007
                head_hi = (head_hi << 16) | (head_lo >> 48)
                head_lo = head_lo << 16
                if not cython.compiled:
                    head_hi &= 0xFFFFFFFFFFFFFFFF
                    head_lo &= 0xFFFFFFFFFFFFFFFF
        self.word_hi = hi | head_hi
        self.word_lo = lo | head_lo
        return True

    def hex_value(self, octet: cython.int) -> cython.int:
        """The value of a hexadecimal digit; -1 where it is none."""
        if 48 <= octet <= 57:
            return octet - 48
        octet |= 0x20
        return octet - 87 if 97 <= octet <= 102 else -1
