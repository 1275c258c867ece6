"""Kernel: frames to datagrams. Link layer, IPv4, IPv6 and UDP headers, a window of packets at a time.

In: a window of octets and `Packets` that lie in it. Out: a row of `Datagrams` for each UDP payload,
nothing copied; `copy_payloads` then takes the octets of those rows that somebody wants. What can go
wrong is counted, one drop reason a frame (batch/drops.py): frames = datagrams + counted drops. A
payload cut by the snap length is kept as far as it goes and marked truncated.

A layer is a function that is handed where its header begins and hands on to the next layer: each
returns DONE or a drop reason. Links: Ethernet (also IEEE 802.3 with SNAP), IEEE 802.1Q and 802.1ad
tags in any number, Linux cooked 1 and 2, raw IP, BSD loopback. Of several VLAN tags the innermost
is kept: it names the network the hosts themselves are in, the outer one a carrier's path to it.
"""

from typing import Any, Final

import cython

from hepcat.batch.drops import Drop
from hepcat.wire.columns import Array, Datagrams, Packets

if not cython.compiled:  # frames.pxd cimports it
    from hepcat.wire.hep import copy_octets  # type: ignore[attr-defined,unused-ignore]

FRAME_TRUNCATED = cython.declare(cython.int, int(Drop.FRAME_TRUNCATED))
FRAME_LINK = cython.declare(cython.int, int(Drop.FRAME_LINK))
FRAME_PROTOCOL = cython.declare(cython.int, int(Drop.FRAME_PROTOCOL))
FRAME_FRAGMENT = cython.declare(cython.int, int(Drop.FRAME_FRAGMENT))
FRAME_MALFORMED = cython.declare(cython.int, int(Drop.FRAME_MALFORMED))
DONE = cython.declare(cython.int, 1000)  # the frame gave a datagram

#: Link types that are read (values of the registry of link types, draft-ietf-opsawg-pcaplinktype).
LINK_TYPES: Final[dict[int, str]] = {
    0: "BSD loopback",
    1: "Ethernet",
    12: "raw IP (BSD)",
    14: "raw IP (OpenBSD)",
    101: "raw IP",
    108: "OpenBSD loopback",
    113: "Linux cooked 1",
    228: "raw IPv4",
    229: "raw IPv6",
    276: "Linux cooked 2",
}

# Headers within one frame: an honest one has two tags, and a handful of IPv6 extension headers.
MAX_TAGS = cython.declare(cython.int, 8)
MAX_EXTENSIONS = cython.declare(cython.int, 16)


def decode_frames(data: Any, packets: Packets, out: Datagrams, drops: Array) -> int:
    """Find the UDP datagrams in packets[:n]; append them to `out` from row out.n on.

    data: uint8 buffer that the packets lie in, any octets. drops: int64 array of len(Drop) counts,
    added to. Returns the number of datagrams appended. Raises ValueError when `out` has less room
    than there are packets.
    """
    if len(out.packet) - out.n < packets.n:
        raise ValueError(f"room for {len(out.packet) - out.n} datagrams, {packets.n} packets")
    decoder = FrameDecoder(data, packets, out, drops)
    before = out.n
    out.n = decoder.run(packets.n)
    return out.n - before


class FrameDecoder:
    """One run over a window of packets. The parse functions return DONE or a drop reason."""

    def __init__(self, data: Any, packets: Packets, out: Datagrams, drops: Any) -> None:
        view: Any = memoryview
        self.data = view(data)
        self.frame_offset = view(packets.offset)
        self.frame_captured = view(packets.captured)
        self.frame_original = view(packets.original)
        self.frame_link = view(packets.link)
        self.row = out.n
        self.room = len(out.packet)
        self.packet = view(out.packet)
        self.offset = view(out.offset)
        self.length = view(out.length)
        self.truncated = view(out.truncated)
        self.family = view(out.family)
        self.ip_proto = view(out.ip_proto)
        self.src_ip = view(out.src_ip.reshape(-1))
        self.dst_ip = view(out.dst_ip.reshape(-1))
        self.src_port = view(out.src_port)
        self.dst_port = view(out.dst_port)
        self.vlan = view(out.vlan)
        self.drops = view(drops)
        self.end = self.wire_end = self.src_at = self.dst_at = 0
        self.frame_vlan = self.ip_family = 0

    def run(self, count: int) -> int:
        """Decode `count` packets; return the row after the last datagram."""
        n: cython.Py_ssize_t = count
        with cython.nogil:
            self.parse_all(n)
        return int(self.row)

    def be16(self, at: cython.longlong) -> cython.int:
        """Two octets in network order; the caller has checked that they are there."""
        high: cython.int = self.data[at]
        low: cython.int = self.data[at + 1]
        return (high << 8) | low

    def parse_all(self, count: cython.Py_ssize_t) -> cython.int:
        """Each packet gives a datagram or one count of a drop."""
        i: cython.Py_ssize_t
        for i in range(count):
            result: cython.int = self.parse_frame(i)
            if result != DONE:
                self.drops[result] += 1
        return 0

    def parse_frame(self, i: cython.Py_ssize_t) -> cython.int:
        """One frame. Everything that is known of the frame before is forgotten here."""
        at: cython.longlong = self.frame_offset[i]
        captured: cython.longlong = self.frame_captured[i]
        if at < 0 or captured < 0 or captured > len(self.data) - at:
            return FRAME_MALFORMED
        self.end = at + captured
        self.wire_end = at + max(captured, self.frame_original[i])
        self.frame_vlan = 0xFFFF
        self.packet[self.row] = i
        return self.parse_link(self.frame_link[i], at)

    # ---- links

    def parse_link(self, link: cython.longlong, at: cython.longlong) -> cython.int:
        """The link type says where the EtherType stands and how long the header is."""
        left: cython.longlong = self.end - at
        if link == 1:  # Ethernet: destination, source, EtherType
            return self.parse_ethertype(self.be16(at + 12), at + 14) if left >= 14 else FRAME_TRUNCATED
        if link == 113:  # Linux cooked 1: type, device, address length, address, EtherType
            return self.parse_ethertype(self.be16(at + 14), at + 16) if left >= 16 else FRAME_TRUNCATED
        if link == 276:  # Linux cooked 2: EtherType comes first
            return self.parse_ethertype(self.be16(at), at + 20) if left >= 20 else FRAME_TRUNCATED
        if link in (12, 14, 101, 228, 229):
            return self.parse_ip(at)
        if link in (0, 108):
            return self.parse_loopback(at)
        return FRAME_LINK

    def parse_ethertype(self, kind: cython.int, at: cython.longlong) -> cython.int:
        """Walk over VLAN tags to the EtherType of what is carried."""
        tags: cython.int
        for tags in range(MAX_TAGS):  # noqa: B007
            if kind == 0x0800:
                return self.parse_ipv4(at)
            if kind == 0x86DD:
                return self.parse_ipv6(at)
            if kind in (0x8100, 0x88A8, 0x9100):  # 802.1Q, 802.1ad, and what came before it
                if self.end - at < 4:
                    return FRAME_TRUNCATED
                vlan: cython.int = self.be16(at) & 0x0FFF
                if vlan != 0:  # id 0 carries a priority only (802.1Q, 9.6)
                    self.frame_vlan = vlan
                kind = self.be16(at + 2)
                at += 4
            elif kind <= 1500:  # IEEE 802.3: a length, then LLC; SNAP with organisation 0 has an EtherType
                if self.end - at < 8:
                    return FRAME_TRUNCATED
                if self.be16(at) != 0xAAAA or self.be16(at + 2) != 0x0300 or self.be16(at + 4) > 0xFF:
                    return FRAME_LINK
                if self.data[at + 5] != 0:
                    return FRAME_LINK
                kind = self.be16(at + 6)
                at += 8
            else:
                return FRAME_LINK
        return FRAME_LINK

    def parse_loopback(self, at: cython.longlong) -> cython.int:
        """BSD loopback: the address family in the byte order of the machine that captured."""
        if self.end - at < 4:
            return FRAME_TRUNCATED
        low: cython.int = self.be16(at + 2)
        family: cython.int = low if self.be16(at) == 0 else self.data[at] | (self.data[at + 1] << 8)
        if family == 2:
            return self.parse_ipv4(at + 4)
        if family in (10, 23, 24, 28, 30):  # AF_INET6 of Linux, Windows, the BSDs, macOS
            return self.parse_ipv6(at + 4)
        return FRAME_LINK

    # ---- IP

    def parse_ip(self, at: cython.longlong) -> cython.int:
        """The version nibble tells (RFC 791 section 3.1, RFC 8200 section 3)."""
        if self.end - at < 1:
            return FRAME_TRUNCATED
        version: cython.int = self.data[at] >> 4
        if version == 4:
            return self.parse_ipv4(at)
        if version == 6:
            return self.parse_ipv6(at)
        return FRAME_MALFORMED

    def parse_ipv4(self, at: cython.longlong) -> cython.int:
        """IPv4 (RFC 791 section 3.1). What follows the total length is padding of the link."""
        if self.end - at < 20:
            return FRAME_TRUNCATED
        header: cython.int = (self.data[at] & 0x0F) * 4
        total: cython.longlong = self.be16(at + 2)
        if self.data[at] >> 4 != 4 or header < 20:
            return FRAME_MALFORMED
        if total == 0:  # segmentation offload: the driver had not filled it in yet
            total = self.wire_end - at
        if total < header:
            return FRAME_MALFORMED
        if self.end - at < header:
            return FRAME_TRUNCATED
        if self.be16(at + 6) & 0x3FFF:  # more fragments, or an offset
            return FRAME_FRAGMENT
        self.ip_family = 2
        self.src_at = at + 12
        self.dst_at = at + 16
        return self.parse_transport(self.data[at + 9], at + header, at + total)

    def parse_ipv6(self, at: cython.longlong) -> cython.int:
        """IPv6 (RFC 8200 section 3)."""
        if self.end - at < 40:
            return FRAME_TRUNCATED
        if self.data[at] >> 4 != 6:
            return FRAME_MALFORMED
        length: cython.longlong = self.be16(at + 4)
        ip_end: cython.longlong = at + 40 + length
        if length == 0:  # a jumbogram (RFC 2675), or segmentation offload
            ip_end = self.wire_end
        self.ip_family = 10
        self.src_at = at + 8
        self.dst_at = at + 24
        return self.parse_extensions(self.data[at + 6], at + 40, ip_end)

    def parse_extensions(self, kind: cython.int, at: cython.longlong, ip_end: cython.longlong) -> cython.int:
        """Walk over IPv6 extension headers (RFC 8200 section 4) to the transport."""
        length: cython.longlong
        n: cython.int
        for n in range(MAX_EXTENSIONS):  # noqa: B007
            if kind == 44:  # fragment (4.5); one with neither offset nor successor is whole (RFC 6946)
                length = 8
            elif kind == 51:  # authentication header, in units of four octets (RFC 4302 section 2.2)
                length = 12
            elif kind in (0, 43, 60, 135, 139, 140):  # hop-by-hop, routing, destination, mobility, HIP, shim6
                length = 8
            else:
                return self.parse_transport(kind, at, ip_end)
            if self.end - at < length:
                return FRAME_TRUNCATED
            if kind == 44:
                if self.be16(at + 2) & 0xFFF9:
                    return FRAME_FRAGMENT
            elif kind == 51:
                length = (self.data[at + 1] + 2) * 4
            else:
                length = (self.data[at + 1] + 1) * 8
            if length > ip_end - at:
                return FRAME_MALFORMED
            kind = self.data[at]
            at += length
        return FRAME_MALFORMED

    # ---- transport

    def parse_transport(
        self, protocol: cython.int, at: cython.longlong, ip_end: cython.longlong
    ) -> cython.int:
        """Hand on by IP protocol number."""
        if protocol == 17:
            return self.parse_udp(at, ip_end)
        return FRAME_PROTOCOL

    def parse_udp(self, at: cython.longlong, ip_end: cython.longlong) -> cython.int:
        """UDP (RFC 768). A length past IP's end is cut there: what was on the wire is kept."""
        if ip_end - at < 8:
            return FRAME_MALFORMED
        if self.end - at < 8:
            return FRAME_TRUNCATED
        length: cython.longlong = self.be16(at + 4)
        if length == 0:  # a jumbogram (RFC 2675 section 4), or segmentation offload
            length = ip_end - at
        if length < 8:
            return FRAME_MALFORMED
        return self.add_datagram(17, at, at + 8, min(at + length, ip_end))

    def add_datagram(
        self,
        protocol: cython.int,
        at: cython.longlong,
        payload: cython.longlong,
        payload_end: cython.longlong,
    ) -> cython.int:
        """Write a row: ports at `at`, the payload from `payload` on, as far as it was captured."""
        n: cython.Py_ssize_t = self.row
        if payload_end > payload and payload >= self.end:
            return FRAME_TRUNCATED  # not an octet of it is there
        self.truncated[n] = payload_end > self.end
        self.offset[n] = payload
        self.length[n] = min(payload_end, self.end) - payload
        self.family[n] = self.ip_family
        self.ip_proto[n] = protocol
        self.src_port[n] = self.be16(at)
        self.dst_port[n] = self.be16(at + 2)
        self.vlan[n] = self.frame_vlan
        self.write_address(self.src_ip, self.src_at)
        self.write_address(self.dst_ip, self.dst_at)
        self.row = n + 1
        return DONE

    def write_address(self, out: Any, at: cython.longlong) -> cython.int:
        """Write an address as 16 octets, IPv4 mapped (RFC 4291 section 2.5.5.2)."""
        to: cython.Py_ssize_t = self.row * 16
        i: cython.Py_ssize_t
        if self.ip_family == 10:
            copy_octets(out, to, self.data, at, 16)
            return 0
        for i in range(10):
            out[to + i] = 0
        out[to + 10] = 0xFF
        out[to + 11] = 0xFF
        copy_octets(out, to + 12, self.data, at, 4)
        return 0


def copy_payloads(data: Any, offset: Array, length: Array, out: Array, start: Array) -> None:
    """Copy payloads out of a window, one behind the other.

    data: uint8 buffer. offset, length: int64, n rows within it. start: int64, n + 1: start[0] is where
    in `out` the first one goes; start[1:] is written. Raises IndexError where a range does not fit.
    """
    view: Any = memoryview
    copy_all(view(data), view(offset), view(length), view(out), view(start))


def copy_all(data: Any, offset: Any, length: Any, out: Any, start: Any) -> cython.int:
    """The loop of copy_payloads."""
    at: cython.longlong = start[0]
    i: cython.Py_ssize_t
    for i in range(len(offset)):
        copy_octets(out, at, data, offset[i], length[i])
        at += length[i]
        start[i + 1] = at
    return 0
