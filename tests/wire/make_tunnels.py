"""Make tunnels, links and transports for tests: written from the standards, nothing of hepcat in it."""

import struct
from typing import Any

from tests.wire import make_capture as make

OUTER4: dict[str, Any] = {"source": "10.9.9.1", "destination": "10.9.9.2"}
OUTER6: dict[str, Any] = {"source": "2001:db8:9::1", "destination": "2001:db8:9::2"}


def outer4(body: bytes, protocol: int) -> bytes:
    """An Ethernet frame with an outer IPv4 packet."""
    return make.ethernet(0x0800, make.ipv4(body, protocol=protocol, **OUTER4))


def outer6(body: bytes, kind: int) -> bytes:
    """An Ethernet frame with an outer IPv6 packet."""
    return make.ethernet(0x86DD, make.ipv6(body, kind=kind, **OUTER6))


def over_udp(port: int, body: bytes) -> bytes:
    """An Ethernet frame with a UDP datagram to a port of a tunnel."""
    return outer4(make.udp(body, 50000, port), 17)


def gre(kind: int, body: bytes, sum_: bool = False, key: bool = False, seq: bool = False) -> bytes:
    """GRE, RFC 2784 and 2890."""
    out = struct.pack("!HH", sum_ << 15 | key << 13 | seq << 12, kind)
    return out + bytes(4 * sum_) + b"\xaa\xbb\xcc\xdd" * key + b"\0\0\0\7" * seq + body


def pptp(body: bytes, acknowledged: bool) -> bytes:
    """GRE version 1, RFC 2637."""
    flags = 0x3001 | acknowledged << 7
    return (
        struct.pack("!HHHHI", flags, 0x880B, len(body), 1, 2) + b"\0\0\0\1" * acknowledged + b"\xff\3" + body
    )


def erspan2(frame: bytes, vlan: int = 0) -> bytes:
    """GRE with a sequence number and the header of ERSPAN II."""
    return gre(0x88BE, struct.pack("!HHI", 0x1000 | vlan, 0x0065, 3) + frame, seq=True)


def erspan3(body: bytes, vlan: int = 0, kind: int = 0, platform: bool = False) -> bytes:
    """The same with ERSPAN III, and its platform specific subheader."""
    head = struct.pack("!HHIHH", 0x2000 | vlan, 0x0065, 4, 0, kind << 10 | platform)
    return gre(0x22EB, head + b"\x0c" * 8 * platform + body, seq=True)


def vxlan(frame: bytes, flags: int = 0x08000000, vni: int = 42) -> bytes:
    """RFC 7348."""
    return struct.pack("!II", flags, vni << 8) + frame


def geneve(kind: int, body: bytes, options: bytes = b"", first: int | None = None) -> bytes:
    """RFC 8926."""
    head = len(options) // 4 if first is None else first
    return struct.pack("!BBHI", head, 0, kind, 42 << 8) + options + body


def gtpu(
    body: bytes,
    flags: int = 0,
    extensions: tuple[bytes, ...] = (),
    kind: int = 255,
    length: int | None = None,
) -> bytes:
    """3GPP TS 29.281; `flags` are E (4), S (2) and PN (1); an extension is its contents."""
    types = [0xC0 + i for i in range(len(extensions))] + [0]
    optional = b"\0\5\0" + bytes([types[0]]) if flags else b""
    for contents, following in zip(extensions, types[1:], strict=True):
        optional += bytes([(len(contents) + 2) // 4]) + contents + bytes([following])
    size = len(optional) + len(body) if length is None else length
    return struct.pack("!BBHI", 0x30 | flags, kind, size, 77) + optional + body


def tzsp(frame: bytes, tags: bytes = b"", kind: int = 0, carried: int = 1) -> bytes:
    """TaZmen Sniffer Protocol, ended by tag 1."""
    return struct.pack("!BBH", 1, kind, carried) + tags + b"\1" + frame


def hperm(frame: bytes, vlan: int | None = None) -> bytes:
    """HP's encapsulated remote mirroring: VLAN tag and a bit that says there was one in octets 8 to 11."""
    tag = 0 if vlan is None else vlan << 8 | 0x80
    return b"\5" * 8 + struct.pack("!I", tag) + frame


def mpls(body: bytes, labels: int = 1) -> bytes:
    """A stack of labels, RFC 3032."""
    return (
        b"".join(struct.pack("!I", (100 + i) << 12 | (i == labels - 1) << 8 | 64) for i in range(labels))
        + body
    )


def pppoe(kind: int, body: bytes, length: int | None = None, code: int = 0) -> bytes:
    """A PPPoE session packet, RFC 2516."""
    size = 2 + len(body) if length is None else length
    return struct.pack("!BBHHH", 0x11, code, 7, size, kind) + body


def tcp(
    payload: bytes, seq: int = 0xFFFFFFF0, flags: int = 0x18, options: bytes = b"", words: int = -1
) -> bytes:
    """A TCP segment, RFC 9293."""
    offset = 5 + len(options) // 4 if words < 0 else words
    return struct.pack("!HHIIBBHHH", 5060, 5062, seq, 9, offset << 4, flags, 100, 0, 0) + options + payload


def chunk(kind: int, flags: int, body: bytes, length: int | None = None) -> bytes:
    """An SCTP chunk, padded."""
    size = 4 + len(body) if length is None else length
    return struct.pack("!BBH", kind, flags, size) + body + bytes(-len(body) % 4)


def data(payload: bytes, tsn: int = 1, flags: int = 3, user: int = 3, length: int | None = None) -> bytes:
    """An SCTP DATA chunk, RFC 9260 section 3.3.1."""
    return chunk(0, flags, struct.pack("!IHHI", tsn, 1, 2, user) + payload, length)


def idata(payload: bytes, tsn: int = 1, flags: int = 3, user: int = 3) -> bytes:
    """An SCTP I-DATA chunk, RFC 8260 section 2.1."""
    return chunk(64, flags, struct.pack("!IHHII", tsn, 1, 0, 5, user) + payload)


def sctp(*chunks: bytes) -> bytes:
    """An SCTP packet."""
    return struct.pack("!HHII", 5060, 5062, 1, 0) + b"".join(chunks)
