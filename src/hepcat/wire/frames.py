"""Kernel: frames to transport payloads. Ethernet, IPv4, IPv6 and what they carry, tunnels opened.

In: a window of octets and `Packets` that lie in it. Out: rows of `Datagrams`, nothing copied: UDP
payloads, and where they are wanted TCP segments, SCTP data chunks and IP fragments, which later
kernels put together. What can go wrong is counted (batch/drops.py): every frame gives rows or one drop. An
SCTP packet has as many rows as it has chunks of data; what becomes of the others is counted beside that. A
payload cut by the snap length is kept as far as it goes and marked truncated.

A layer is a function that is handed where its header begins and hands on to the next layer: each
returns DONE or a drop reason, and a row is written only at the end of the way. links.py and tunnels.py
read the rarer headers, rows.py writes. Tunnels are opened up to MAX_TUNNELS within one another; no
other layer leads back to an earlier one, so that bounds the depth of calls too. Of several VLAN tags
the innermost is kept: it names the network the hosts themselves are in, the outer one a carrier's path
to it; so a tunnel that carries Ethernet frames begins without one, IP packets keep the one they came with.
"""

from typing import Any, Final

import cython

from hepcat.batch.drops import Drop
from hepcat.wire.columns import (
    KIND_CHUNK,
    KIND_DATAGRAM,
    KIND_FRAGMENT,
    KIND_SEGMENT,
    MAX_ROWS_A_FRAME,
    TUNNEL_IPIP,
    TUNNELS_ALL,
    WANT_CHUNKS,
    WANT_DATAGRAMS,
    WANT_FRAGMENTS,
    WANT_SEGMENTS,
    Array,
    Datagrams,
    Packets,
)
from hepcat.wire.rows import copy_payloads, port_mask

if not cython.compiled:  # frames.pxd cimports it
    from hepcat.wire.tunnels import TunnelHeaders

__all__ = ["LINK_TYPES", "FrameDecoder", "copy_payloads", "decode_frames", "port_mask"]

FRAME_TRUNCATED = cython.declare(cython.int, int(Drop.FRAME_TRUNCATED))
FRAME_LINK = cython.declare(cython.int, int(Drop.FRAME_LINK))
FRAME_PROTOCOL = cython.declare(cython.int, int(Drop.FRAME_PROTOCOL))
FRAME_FRAGMENT = cython.declare(cython.int, int(Drop.FRAME_FRAGMENT))
FRAME_MALFORMED = cython.declare(cython.int, int(Drop.FRAME_MALFORMED))
TUNNEL_DEPTH = cython.declare(cython.int, int(Drop.TUNNEL_DEPTH))
SCTP_CONTROL = cython.declare(cython.int, int(Drop.SCTP_CONTROL))
SCTP_PARTIAL = cython.declare(cython.int, int(Drop.SCTP_PARTIAL))
DONE = cython.declare(cython.int, 1000)  # rows were written, or a tunnel was opened; OPENED of tunnels.py

DATAGRAM = cython.declare(cython.int, KIND_DATAGRAM)
SEGMENT = cython.declare(cython.int, KIND_SEGMENT)
CHUNK = cython.declare(cython.int, KIND_CHUNK)
FRAGMENT = cython.declare(cython.int, KIND_FRAGMENT)
DATAGRAMS = cython.declare(cython.int, WANT_DATAGRAMS)
SEGMENTS = cython.declare(cython.int, WANT_SEGMENTS)
CHUNKS = cython.declare(cython.int, WANT_CHUNKS)
FRAGMENTS = cython.declare(cython.int, WANT_FRAGMENTS)
IPIP = cython.declare(cython.int, TUNNEL_IPIP)

# links.py says what they are
INNER_IP = cython.declare(cython.int, 0x10000)
INNER_ETHERNET = cython.declare(cython.int, 0x6558)
INNER_PPP = cython.declare(cython.int, 0x880B)

#: Link types that are read (values of the registry of link types, draft-ietf-opsawg-pcaplinktype).
LINK_TYPES: Final[dict[int, str]] = {
    0: "BSD loopback",
    1: "Ethernet",
    9: "PPP",
    12: "raw IP (BSD)",
    14: "raw IP (OpenBSD)",
    50: "PPP in HDLC framing",
    51: "PPPoE",
    101: "raw IP",
    104: "Cisco HDLC",
    108: "OpenBSD loopback",
    113: "Linux cooked 1",
    128: "TZSP",
    228: "raw IPv4",
    229: "raw IPv6",
    276: "Linux cooked 2",
}

# Headers within one frame: an honest one has two tags, a handful of IPv6 extension headers.
MAX_TAGS = cython.declare(cython.int, 8)
MAX_EXTENSIONS = cython.declare(cython.int, 16)
MAX_TUNNELS = cython.declare(cython.int, 8)
MAX_ROWS = cython.declare(cython.int, MAX_ROWS_A_FRAME)


def decode_frames(
    data: Any,
    packets: Packets,
    out: Datagrams,
    drops: Array,
    want: int = WANT_DATAGRAMS,
    tunnels: int = TUNNELS_ALL,
    area: int = 0,
    first: int = 0,
    chunk_drops: Array | None = None,
) -> int:
    """Find what packets[first:n] carry; append rows to `out` from row out.n on, and move out.n.

    data: uint8 buffer that the packets lie in, any octets. drops: int64 array of len(Drop) counts,
    added to. want: WANT_ bits, the kinds of rows to hand out; the others are counted FRAME_PROTOCOL or
    FRAME_FRAGMENT. tunnels: TUNNEL_ bits, those to open; others are what they are without: a UDP tunnel
    a datagram, GRE and IP in IP FRAME_PROTOCOL. area: written to the rows, AREA_WINDOW or AREA_ARENA.
    chunk_drops: like drops (which it is if left out), for SCTP's chunks; a packet is counted in `drops` only
    if it gave no row at all, for the reason of its last chunk.

    Returns the index of the first packet not read: packets.n, or less where `out` became full (a frame
    needs room for MAX_ROWS_A_FRAME rows where chunks are wanted, else for one): empty `out` and call
    again with `first`. Raises ValueError where `out` could not take a frame even when empty.
    """
    need = MAX_ROWS_A_FRAME if want & WANT_CHUNKS else 1
    if out.capacity < need:
        raise ValueError(f"room for {out.capacity} rows, a frame may give {need}")
    decoder = FrameDecoder(data, packets, out, drops, drops if chunk_drops is None else chunk_drops)
    decoder.choose(want, tunnels, area, need)
    done = decoder.run(first, packets.n)
    out.n = decoder.rows()
    return done


class FrameDecoder(TunnelHeaders):
    """One run over a window of packets. The parse functions return DONE or a drop reason."""

    def __init__(self, data: Any, packets: Packets, out: Datagrams, drops: Any, chunk_drops: Any) -> None:
        view: Any = memoryview
        self.set_columns(data, out)
        self.frame_offset = view(packets.offset)
        self.frame_captured = view(packets.captured)
        self.frame_original = view(packets.original)
        self.frame_ts = view(packets.ts)
        self.frame_link = view(packets.link)
        self.frame_tag = view(packets.vlan)
        self.drops = view(drops)
        self.chunk_drops = view(chunk_drops)

    def choose(self, want: int, tunnels: int, area: int, need: int) -> None:
        """Say what rows are wanted, which tunnels are opened, and the room that a frame needs."""
        self.want = want
        self.opened = tunnels
        self.where = area
        self.need = need

    def rows(self) -> int:
        """Return the row after the last one written."""
        return int(self.row)

    def run(self, first: int, count: int) -> int:
        """Decode packets first..count-1 while there is room; return the first one not read."""
        begin: cython.Py_ssize_t = first
        n: cython.Py_ssize_t = count
        if begin < 0:
            raise ValueError(f"first packet {first}")
        with cython.nogil:
            begin = self.parse_all(begin, n)
        return int(begin)

    def be16(self, at: cython.longlong) -> cython.int:
        """Two octets in network order; the caller has checked that they are there.

        u16 of TunnelHeaders does the same, but a method of another module is not inlined.
        """
        high: cython.int = self.data[at]
        low: cython.int = self.data[at + 1]
        return (high << 8) | low

    def be32(self, at: cython.longlong) -> cython.Py_ssize_t:
        """Four octets in network order; the caller has checked that they are there."""
        high: cython.Py_ssize_t = self.be16(at)
        return (high << 16) | self.be16(at + 2)

    def parse_all(self, first: cython.Py_ssize_t, count: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """Each packet gives rows or a count of a drop."""
        i: cython.Py_ssize_t
        for i in range(first, count):
            if self.room - self.row < self.need:
                return i
            before: cython.Py_ssize_t = self.row
            result: cython.int = self.parse_frame(i)
            if result != DONE:
                if self.row == before:
                    self.drops[result] += 1
                else:  # the last chunk of an SCTP packet that gave rows
                    self.chunk_drops[result] += 1
        return max(first, count)

    def parse_frame(self, i: cython.Py_ssize_t) -> cython.int:
        """One frame. Everything that is known of the frame before is forgotten here."""
        at: cython.longlong = self.frame_offset[i]
        captured: cython.longlong = self.frame_captured[i]
        if at < 0 or captured < 0 or captured > len(self.data) - at:
            return FRAME_MALFORMED
        self.end = at + captured
        self.wire_end = at + max(captured, self.frame_original[i])
        self.number = i
        self.time = self.frame_ts[i]
        self.frame_vlan = self.frame_tag[i] & 0xFFFF
        self.tunnels = 0
        link: cython.longlong = self.frame_link[i]
        if link == 1:
            return self.parse_ethernet(at)
        result: cython.int = self.read_tzsp(at, self.end) if link == 128 else self.read_link(link, at)
        if result != DONE:
            return result
        return self.enter(self.wire_end) if link == 128 else self.carry()

    # ---- links

    def parse_ethernet(self, at: cython.longlong) -> cython.int:
        """Ethernet: destination, source, EtherType."""
        if self.end - at < 14:
            return FRAME_TRUNCATED
        return self.parse_ethertype(self.be16(at + 12), at + 14)

    def parse_ethertype(self, kind: cython.int, at: cython.longlong) -> cython.int:
        """Walk over VLAN tags and the like to the EtherType of what is carried."""
        result: cython.int
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
            elif kind <= 1500 or kind == 0x8909:
                result = self.read_shim(kind, at)
                if result != DONE:
                    return result
                kind = self.inner_kind
                at = self.inner_at
            else:
                result = self.read_carrier(kind, at)
                return self.carry() if result == DONE else result
        return FRAME_LINK

    def carry(self) -> cython.int:
        """Go on with what the link's header that was just read carries."""
        kind: cython.int = self.inner_kind
        if kind == INNER_ETHERNET:  # a pseudowire
            return self.enter(self.wire_end)
        if kind == INNER_IP:
            return self.parse_ip(self.inner_at)
        if kind == INNER_PPP:
            result: cython.int = self.read_ppp(self.inner_at)
            return self.carry() if result == DONE else result
        return self.parse_ethertype(kind, self.inner_at)

    # ---- tunnels

    def enter(self, inner_end: cython.longlong) -> cython.int:
        """Go on with what the header that was just read carries; on the wire it ends at `inner_end`."""
        if self.tunnels >= MAX_TUNNELS:
            return TUNNEL_DEPTH
        self.tunnels += 1
        self.wire_end = inner_end
        self.end = min(self.end, inner_end)
        if self.inner_kind == INNER_ETHERNET:
            self.frame_vlan = self.inner_vlan
            return self.parse_ethernet(self.inner_at)
        return self.carry()

    def enter_ip(self, kind: cython.int, at: cython.longlong, inner_end: cython.longlong) -> cython.int:
        """IP within IP: no header between them (RFC 2003, RFC 2473, RFC 4213 section 3)."""
        if self.opened & IPIP == 0:
            return FRAME_PROTOCOL
        self.inner_kind = kind
        self.inner_at = at
        return self.enter(inner_end)

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
        first: cython.int = self.data[at]
        header: cython.int = (first & 0x0F) * 4
        total: cython.longlong = self.be16(at + 2)
        if first >> 4 != 4 or header < 20:
            return FRAME_MALFORMED
        if total == 0:  # segmentation offload: the driver had not filled it in yet
            total = self.wire_end - at
        if total < header:
            return FRAME_MALFORMED
        if self.end - at < header:
            return FRAME_TRUNCATED
        self.ip_family = 2
        self.src_at = at + 12
        self.dst_at = at + 16
        part: cython.int = self.be16(at + 6) & 0x3FFF
        if part != 0:  # more fragments, or an offset
            return self.add_fragment(self.data[at + 9], self.be16(at + 4), part, at + header, at + total)
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
            if kind == 51:
                length = (self.data[at + 1] + 2) * 4
            elif kind != 44:
                length = (self.data[at + 1] + 1) * 8
            if length > ip_end - at:
                return FRAME_MALFORMED
            if kind == 44 and self.be16(at + 2) & 0xFFF9:
                part: cython.int = self.be16(at + 2)
                part = (part >> 3) | ((part & 1) << 13)
                return self.add_fragment(self.data[at], self.be32(at + 4), part, at + 8, ip_end)
            kind = self.data[at]
            at += length
        return FRAME_MALFORMED

    def add_fragment(
        self,
        protocol: cython.int,
        identification: cython.longlong,
        part: cython.int,
        at: cython.longlong,
        ip_end: cython.longlong,
    ) -> cython.int:
        """Hand out a fragment; `part` is its offset in units of eight octets, 0x2000 if more follow."""
        if self.want & FRAGMENTS == 0:
            return FRAME_FRAGMENT
        n: cython.Py_ssize_t = self.row
        result: cython.int = self.add_row(FRAGMENT, protocol, -1, at, ip_end)
        if result == DONE:
            self.seq[n] = identification
            self.bits[n] = part
        return result

    # ---- transport

    def parse_transport(
        self, protocol: cython.int, at: cython.longlong, ip_end: cython.longlong
    ) -> cython.int:
        """Hand on by IP protocol number."""
        if protocol == 17:
            return self.parse_udp(at, ip_end)
        if protocol == 6:
            return self.parse_tcp(at, ip_end)
        if protocol == 132:
            return self.parse_sctp(at, ip_end)
        if protocol == 4:
            return self.enter_ip(0x0800, at, ip_end)
        if protocol == 41:
            return self.enter_ip(0x86DD, at, ip_end)
        if protocol == 47:
            result: cython.int = self.read_gre(at, ip_end)
            return self.enter(ip_end) if result == DONE else result
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
        end: cython.longlong = min(at + length, ip_end)
        port: cython.int = self.be16(at + 2)
        if port in (2152, 4789, 6081, 7932, 8472, 37008) and self.read_udp_tunnel(port, at + 8, end) == DONE:
            return self.enter(end)
        if self.want & DATAGRAMS == 0:
            return FRAME_PROTOCOL
        return self.add_row(DATAGRAM, 17, at, at + 8, end)

    def parse_tcp(self, at: cython.longlong, ip_end: cython.longlong) -> cython.int:
        """TCP (RFC 9293 section 3.1): every segment, one without data too."""
        if self.want & SEGMENTS == 0:
            return FRAME_PROTOCOL
        if ip_end - at < 20:
            return FRAME_MALFORMED
        if self.end - at < 20:
            return FRAME_TRUNCATED
        header: cython.int = (self.data[at + 12] >> 4) * 4
        if header < 20 or header > ip_end - at:
            return FRAME_MALFORMED
        if header > self.end - at:
            return FRAME_TRUNCATED
        n: cython.Py_ssize_t = self.row
        result: cython.int = self.add_row(SEGMENT, 6, at, at + header, ip_end)
        if result == DONE:
            self.seq[n] = self.be32(at + 4)
            self.bits[n] = self.data[at + 13]
        return result

    def parse_sctp(self, at: cython.longlong, ip_end: cython.longlong) -> cython.int:
        """SCTP (RFC 9260 section 3): the last chunk's outcome is returned, those before are counted here."""
        if self.want & CHUNKS == 0:
            return FRAME_PROTOCOL
        if ip_end - at < 16:  # a header, and no chunk
            return FRAME_MALFORMED
        if self.end - at < 12:
            return FRAME_TRUNCATED
        first: cython.Py_ssize_t = self.row
        chunk: cython.longlong = at + 12
        while True:
            if self.end - chunk < 4:
                return FRAME_TRUNCATED
            length: cython.longlong = self.be16(chunk + 2)
            if length < 4 or length > ip_end - chunk:
                return FRAME_MALFORMED
            result: cython.int = self.parse_chunk(at, chunk, chunk + length, first)
            cut: cython.bint = chunk + length > self.end
            chunk += (length + 3) & ~3
            if cut or ip_end - chunk < 4:
                return result
            if result != DONE:
                self.chunk_drops[result] += 1

    def parse_chunk(
        self, ports: cython.longlong, at: cython.longlong, end: cython.longlong, first: cython.Py_ssize_t
    ) -> cython.int:
        """A chunk: a row for DATA (RFC 9260 section 3.3.1), and for I-DATA that is a whole message."""
        kind: cython.int = self.data[at]
        flags: cython.int = self.data[at + 1]
        header: cython.int = 20 if kind == 64 else 16
        if kind not in (0, 64):
            return SCTP_CONTROL
        if end - at <= header:  # no user data: an error of the sender (section 6.2)
            return FRAME_MALFORMED
        if self.end - at < header:
            return FRAME_TRUNCATED
        # I-DATA (RFC 8260 section 2.1) numbers the parts of a message its own way; a packet of more
        # chunks than there is room for is no honest one.
        if (kind == 64 and flags & 3 != 3) or self.row - first >= MAX_ROWS:
            return SCTP_PARTIAL
        n: cython.Py_ssize_t = self.row
        result: cython.int = self.add_row(CHUNK, 132, ports, at + header, end)
        if result == DONE:
            self.seq[n] = self.be32(at + 4)
            self.bits[n] = flags
            self.aux[n] = self.be32(at + header - 4)
        return result
