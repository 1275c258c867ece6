"""Kernel: the headers of tunnels. Where a header stands in, what it carries and where that begins out.

In: the octets of a frame, and where a tunnel's header begins. Out: OPENED, with `inner_at`, `inner_kind`
(an EtherType or an INNER_ value) and `inner_vlan` where the header names the VLAN that the frame in it
came from; or a drop reason (batch/drops.py). Nothing is counted and nothing that is known of the frame
changes here, so that the frame decoder, which inherits from `TunnelHeaders` and bounds how many
tunnels lie in one another, may still take what is no tunnel for an ordinary datagram.
"""

import cython

from hepcat.batch.drops import Drop
from hepcat.wire.columns import (
    TUNNEL_ERSPAN,
    TUNNEL_GENEVE,
    TUNNEL_GRE,
    TUNNEL_GTPU,
    TUNNEL_HPERM,
    TUNNEL_TZSP,
    TUNNEL_VXLAN,
)

if not cython.compiled:  # tunnels.pxd cimports it
    from hepcat.wire.links import LinkHeaders

FRAME_TRUNCATED = cython.declare(cython.int, int(Drop.FRAME_TRUNCATED))
FRAME_LINK = cython.declare(cython.int, int(Drop.FRAME_LINK))
FRAME_PROTOCOL = cython.declare(cython.int, int(Drop.FRAME_PROTOCOL))
TUNNEL_MALFORMED = cython.declare(cython.int, int(Drop.TUNNEL_MALFORMED))
OPENED = cython.declare(cython.int, 1000)

GRE = cython.declare(cython.int, TUNNEL_GRE)
ERSPAN = cython.declare(cython.int, TUNNEL_ERSPAN)
VXLAN = cython.declare(cython.int, TUNNEL_VXLAN)
GENEVE = cython.declare(cython.int, TUNNEL_GENEVE)
GTPU = cython.declare(cython.int, TUNNEL_GTPU)
TZSP = cython.declare(cython.int, TUNNEL_TZSP)
HPERM = cython.declare(cython.int, TUNNEL_HPERM)

# links.py says what they are
INNER_IP = cython.declare(cython.int, 0x10000)
INNER_ETHERNET = cython.declare(cython.int, 0x6558)
INNER_PPP = cython.declare(cython.int, 0x880B)


class TunnelHeaders(LinkHeaders):
    """Reads one header at a time; the `read_` functions return OPENED or a drop reason."""

    opened: int  # TUNNEL_ bits

    # ---- behind IP

    def read_gre(self, at: cython.longlong, ip_end: cython.longlong) -> cython.int:
        """GRE (RFC 2784 section 2.1, RFC 2890), version 1 of PPTP (RFC 2637 section 4.1)."""
        if ip_end - at < 4:
            return TUNNEL_MALFORMED
        if self.end - at < 4:
            return FRAME_TRUNCATED
        flags: cython.int = self.u16(at)
        kind: cython.int = self.u16(at + 2)
        version: cython.int = flags & 7
        if flags & 0x4000:  # source routes (RFC 1701), which RFC 2784 took out
            return FRAME_PROTOCOL
        if version > 1 or (version == 1 and (kind != INNER_PPP or flags & 0x8000)):
            return FRAME_PROTOCOL
        length: cython.int = 4
        if flags & 0x8000:  # checksum, and two octets reserved
            length += 4
        if flags & 0x2000:  # key
            length += 4
        if flags & 0x1000:  # sequence number
            length += 4
        if version == 1 and flags & 0x0080:  # acknowledgment number
            length += 4
        if length > ip_end - at:
            return TUNNEL_MALFORMED
        if length > self.end - at:
            return FRAME_TRUNCATED
        erspan: cython.bint = kind in (0x88BE, 0x22EB)
        if self.opened & (ERSPAN if erspan else GRE) == 0:
            return FRAME_PROTOCOL
        at += length
        if kind == 0x88BE:
            return self.read_erspan2(at, flags & 0x1000 != 0)
        if kind == 0x22EB:
            return self.read_erspan3(at)
        if kind == 0x8909:  # Cisco metadata, here with its EtherType first and then version 1, length 1
            if self.end - at < 8:
                return FRAME_TRUNCATED
            return self.found(self.u16(at), at + 8, 0) if self.u16(at + 2) == 0x0101 else FRAME_LINK
        if kind < 0x0600:  # 0 is the keep-alive of some routers; OSI and the like
            return FRAME_LINK
        return self.found(kind, at, 0)

    def read_erspan2(self, at: cython.longlong, sequence: cython.bint) -> cython.int:
        """ERSPAN I, without a header, or II (draft-foschiano-erspan-03, sections 4.1 and 4.2).

        GRE's sequence number tells them apart, but some senders leave it out before a header, or have it
        without one: what stands where an EtherType would be has the last word.
        """
        if self.end - at < 14:
            return FRAME_TRUNCATED
        plain: cython.bint = self.is_carried(at + 12)
        headed: cython.bint = self.data[at] >> 4 == 1 and (
            self.is_carried(at + 8 + 12) or (sequence and not plain)
        )
        if headed and (sequence or not plain):
            return self.found(INNER_ETHERNET, at + 8, self.u16(at) & 0x0FFF)
        if sequence and not plain:
            return TUNNEL_MALFORMED
        return self.found(INNER_ETHERNET, at, 0)

    def read_erspan3(self, at: cython.longlong) -> cython.int:
        """ERSPAN III (the same draft, section 4.3): the frame type, then a platform's subheader."""
        if self.end - at < 14:
            return FRAME_TRUNCATED
        if self.data[at] >> 4 != 2:  # some senders leave the header out
            return self.found(INNER_ETHERNET, at, 0) if self.is_carried(at + 12) else TUNNEL_MALFORMED
        vlan: cython.int = self.u16(at) & 0x0FFF
        kind: cython.int = (self.data[at + 10] >> 2) & 0x1F
        inner: cython.longlong = at + 12
        if self.data[at + 11] & 1:  # O: eight octets of the platform's own
            inner += 8
        elif kind == 7 and self.is_carried(inner + 20):
            inner += 8  # undocumented: some switches send it so, with O clear
        if kind == 2:
            return self.found(INNER_IP, inner, vlan)
        if kind == 0 or self.is_carried(inner + 12):
            return self.found(INNER_ETHERNET, inner, vlan)
        return FRAME_LINK

    # ---- behind UDP

    def read_udp_tunnel(
        self, port: cython.int, at: cython.longlong, payload_end: cython.longlong
    ) -> cython.int:
        """The tunnel that a destination port is registered for, or used for by those who send it."""
        left: cython.longlong = min(payload_end, self.end) - at
        if port in (4789, 8472) and self.opened & VXLAN:  # 8472: Linux before there was a registered port
            return self.read_vxlan(at, left)
        if port == 6081 and self.opened & GENEVE:
            return self.read_geneve(at, left)
        if port == 2152 and self.opened & GTPU:
            return self.read_gtpu(at, payload_end)
        if port == 37008 and self.opened & TZSP:
            return self.read_tzsp(at, at + left)
        if port == 7932 and self.opened & HPERM:
            return self.read_hperm(at, left)
        return FRAME_PROTOCOL

    def read_vxlan(self, at: cython.longlong, left: cython.longlong) -> cython.int:
        """VXLAN (RFC 7348 section 5), and its group policy extension, which uses reserved bits."""
        if left < 8 + 14:
            return TUNNEL_MALFORMED
        flags: cython.int = self.u16(at)
        if self.data[at + 7] != 0 or not (flags == 0x0800 or (flags & 0xFFB7) == 0x8800):
            return TUNNEL_MALFORMED
        if flags == 0x0800 and self.u16(at + 2) != 0:
            return TUNNEL_MALFORMED
        return self.found(INNER_ETHERNET, at + 8, 0)

    def read_geneve(self, at: cython.longlong, left: cython.longlong) -> cython.int:
        """GENEVE (RFC 8926 section 3.4): version 0, options in units of four octets, an EtherType."""
        if left < 8:
            return TUNNEL_MALFORMED
        flags: cython.int = self.u16(at)
        kind: cython.int = self.u16(at + 2)
        length: cython.int = 8 + ((flags >> 8) & 0x3F) * 4
        if flags & 0xC03F or self.data[at + 7] != 0 or length > left:
            return TUNNEL_MALFORMED
        if kind not in (INNER_ETHERNET, 0x0800, 0x86DD):
            return FRAME_LINK
        return self.found(kind, at + length, 0)

    def read_gtpu(self, at: cython.longlong, payload_end: cython.longlong) -> cython.int:
        """GTP-U (3GPP TS 29.281 section 5.1): a T-PDU that is an IP packet."""
        end: cython.longlong = min(payload_end, self.end)
        if end - at < 8:
            return TUNNEL_MALFORMED
        flags: cython.int = self.data[at]
        # Version 1, protocol type GTP; the length counts what follows the first eight octets.
        if flags & 0xF0 != 0x30 or self.data[at + 1] != 255 or at + 8 + self.u16(at + 2) != payload_end:
            return TUNNEL_MALFORMED
        following: cython.int = 0
        at += 8
        if flags & 0x07:  # any of them brings sequence number, N-PDU number and next extension
            if end - at < 4:
                return TUNNEL_MALFORMED
            following = self.data[at + 3] if flags & 0x04 else 0
            at += 4
        while following != 0:  # section 5.2.1: length in units of four octets, the next type in the last
            if end - at < 4:
                return TUNNEL_MALFORMED
            length: cython.int = self.data[at] * 4
            if length == 0 or length > end - at:
                return TUNNEL_MALFORMED
            at += length
            following = self.data[at - 1]
        if end - at < 1 or self.data[at] >> 4 not in (4, 6):
            return FRAME_LINK  # a user's Ethernet or unstructured data
        return self.found(INNER_IP, at, 0)

    def read_hperm(self, at: cython.longlong, left: cython.longlong) -> cython.int:
        """HP's encapsulated remote mirroring: twelve octets, in the last four a VLAN tag; an Ethernet frame.

        There is no document and no magic number, so the frame must carry something that is read.
        """
        if left < 12 + 14 or not self.is_carried(at + 24):
            return TUNNEL_MALFORMED
        tag: cython.int = (self.u16(at + 9) & 0x0FFF) if self.data[at + 11] & 0x80 else 0
        return self.found(INNER_ETHERNET, at + 12, tag)

    def read_tzsp(self, at: cython.longlong, end: cython.longlong) -> cython.int:
        """TZSP: version 1, type, encapsulation, then tags (kind, length, octets) up to the end tag."""
        if end - at < 4:
            return FRAME_TRUNCATED
        if self.data[at] != 1:
            return TUNNEL_MALFORMED
        if self.data[at + 1] > 1 or self.u16(at + 2) != 1:  # no packet, or none of Ethernet
            return FRAME_LINK
        at += 4
        while at < end:
            tag: cython.int = self.data[at]
            at += 1
            if tag == 1:
                return self.found(INNER_ETHERNET, at, 0)
            if tag == 0:  # padding
                continue
            if at >= end:
                break
            at += 1 + self.data[at]
        return FRAME_TRUNCATED
