"""Kernel: the headers of links. Where one stands in; what it carries and where that begins out.

In: the octets of a frame, and where a header begins. Out: OPENED, with `inner_at` and `inner_kind` (an
EtherType or an INNER_ value); or a drop reason (batch/drops.py). Nothing is counted here. Ethernet and
its VLAN tags are the frame decoder's own, since nearly every frame has them; here is the rest: Linux
cooked, raw IP, BSD loopback, PPP, PPPoE, MPLS, SNAP. PPPoE says where the frame ends, and moves the end.
"""

import cython

from hepcat.batch.drops import Drop

if not cython.compiled:  # links.pxd cimports it
    from hepcat.wire.rows import RowWriter

FRAME_TRUNCATED = cython.declare(cython.int, int(Drop.FRAME_TRUNCATED))
FRAME_LINK = cython.declare(cython.int, int(Drop.FRAME_LINK))
OPENED = cython.declare(cython.int, 1000)

#: `inner_kind` beside EtherTypes: tunnels.py and frames.py repeat these.
INNER_IP = cython.declare(cython.int, 0x10000)  # IPv4 or IPv6, the version nibble tells
INNER_ETHERNET = cython.declare(cython.int, 0x6558)  # transparent Ethernet bridging (RFC 1701)
INNER_PPP = cython.declare(cython.int, 0x880B)  # RFC 2637 section 4.1

NO_VLAN = cython.declare(cython.int, 0xFFFF)
MAX_LABELS = cython.declare(cython.int, 16)  # an honest frame has four


class LinkHeaders(RowWriter):
    """Reads one header at a time; the `read_` functions return OPENED or a drop reason."""

    wire_end: int

    def u16(self, at: cython.longlong) -> cython.int:
        """Two octets in network order; the caller has checked that they are there."""
        high: cython.int = self.data[at]
        low: cython.int = self.data[at + 1]
        return (high << 8) | low

    def found(self, kind: cython.int, at: cython.longlong, vlan: cython.int) -> cython.int:
        """What the header carries; `vlan` where the header names one, else 0."""
        self.inner_kind = kind
        self.inner_at = at
        self.inner_vlan = vlan if vlan != 0 else NO_VLAN
        return OPENED

    def is_carried(self, at: cython.longlong) -> cython.bint:
        """Tell whether the octets at `at` are captured and the EtherType of something that is read."""
        if self.end - at < 2:
            return False
        kind: cython.int = self.u16(at)
        return kind in (0x0800, 0x86DD, 0x8100, 0x88A8, 0x9100, 0x8847, 0x8848, 0x8864, 0x8909)

    def read_link(self, link: cython.longlong, at: cython.longlong) -> cython.int:
        """The link type says where the EtherType stands and how long the header is."""
        left: cython.longlong = self.end - at
        if link >> 16 == 1:  # LINK_ETHERTYPE: the frame begins behind it
            return self.found(link & 0xFFFF, at, 0)
        if link == 113:  # Linux cooked 1: type, device, address length, address, EtherType
            return self.found(self.u16(at + 14), at + 16, 0) if left >= 16 else FRAME_TRUNCATED
        if link == 276:  # Linux cooked 2: EtherType comes first
            return self.found(self.u16(at), at + 20, 0) if left >= 20 else FRAME_TRUNCATED
        if link in (12, 14, 101, 228, 229):
            return self.found(INNER_IP, at, 0)
        if link in (0, 108):
            return self.read_loopback(at)
        if link == 51:
            return self.read_pppoe(at)
        if link in (9, 50, 104):
            if left < 4:
                return FRAME_TRUNCATED
            # Cisco's HDLC: unicast or multicast, 0, EtherType. Links said to be PPP carry it too.
            if self.u16(at) in (0x0F00, 0x8F00):
                return self.found(self.u16(at + 2), at + 4, 0)
            return self.read_ppp(at)
        return FRAME_LINK

    def read_loopback(self, at: cython.longlong) -> cython.int:
        """BSD loopback: the address family in the byte order of the machine that captured."""
        if self.end - at < 4:
            return FRAME_TRUNCATED
        low: cython.int = self.u16(at + 2)
        family: cython.int = low if self.u16(at) == 0 else self.data[at] | (self.data[at + 1] << 8)
        if family == 2:
            return self.found(0x0800, at + 4, 0)
        if family in (10, 23, 24, 28, 30):  # AF_INET6 of Linux, Windows, the BSDs, macOS
            return self.found(0x86DD, at + 4, 0)
        return FRAME_LINK

    def read_shim(self, kind: cython.int, at: cython.longlong) -> cython.int:
        """What stands between an EtherType and the next one, beside VLAN tags."""
        if self.end - at < 8:
            return FRAME_TRUNCATED
        if kind == 0x8909:  # Cisco metadata: version 1, length 1, options, group tag, EtherType
            return self.found(self.u16(at + 6), at + 8, 0) if self.u16(at) == 0x0101 else FRAME_LINK
        # IEEE 802.3: a length, then LLC; SNAP with organisation 0 has an EtherType (RFC 1042)
        if self.u16(at) != 0xAAAA or self.u16(at + 2) != 0x0300 or self.u16(at + 4) > 0xFF:
            return FRAME_LINK
        if self.data[at + 5] != 0:
            return FRAME_LINK
        return self.found(self.u16(at + 6), at + 8, 0)

    def read_carrier(self, kind: cython.int, at: cython.longlong) -> cython.int:
        """An EtherType that is neither IP nor a tag."""
        if kind in (0x8847, 0x8848):
            return self.read_mpls(at)
        if kind == 0x8864:
            return self.read_pppoe(at)
        return FRAME_LINK

    def read_mpls(self, at: cython.longlong) -> cython.int:
        """MPLS (RFC 3032 section 2.1): labels up to the one that is the stack's bottom."""
        n: cython.int
        for n in range(MAX_LABELS):  # noqa: B007
            if self.end - at < 5:
                return FRAME_TRUNCATED
            at += 4
            if self.data[at - 2] & 1:
                nibble: cython.int = self.data[at] >> 4  # nothing else tells (RFC 4928 section 3)
                if nibble in (4, 6):
                    return self.found(INNER_IP, at, 0)
                return self.read_pseudowire(at)
        return FRAME_LINK

    def read_pseudowire(self, at: cython.longlong) -> cython.int:
        """Ethernet behind MPLS labels (RFC 4448 section 4.6), its control word first or left out.

        Nothing in the packet tells which: the place where an EtherType stands does. Without control word
        is tried first, since a tagged frame has a second EtherType where the other way has its first.
        """
        if self.is_carried(at + 12):
            return self.found(INNER_ETHERNET, at, 0)
        if self.is_carried(at + 16) and self.data[at] >> 4 == 0:
            return self.found(INNER_ETHERNET, at + 4, 0)
        return FRAME_LINK

    def read_pppoe(self, at: cython.longlong) -> cython.int:
        """A PPPoE session (RFC 2516 section 4): version and type 1, code 0, session, length, PPP."""
        if self.end - at < 6:
            return FRAME_TRUNCATED
        if self.u16(at) != 0x1100:
            return FRAME_LINK
        end: cython.longlong = at + 6 + self.u16(at + 4)
        self.end = min(self.end, end)
        self.wire_end = min(self.wire_end, end)
        return self.read_ppp(at + 6)

    def read_ppp(self, at: cython.longlong) -> cython.int:
        """PPP (RFC 1661 section 2): the protocol, one octet where that is compressed (section 6.5)."""
        if self.end - at < 2:
            return FRAME_TRUNCATED
        if self.u16(at) == 0xFF03:  # address and control of RFC 1662 section 3.1
            at += 2
            if self.end - at < 2:
                return FRAME_TRUNCATED
        kind: cython.int = self.data[at]
        if kind & 1 == 0:
            kind = self.u16(at)
            at += 1
        at += 1
        if kind == 0x0021:
            return self.found(0x0800, at, 0)
        if kind == 0x0057:
            return self.found(0x86DD, at, 0)
        if kind in (0x0281, 0x0283):
            return self.read_mpls(at)
        return FRAME_LINK
