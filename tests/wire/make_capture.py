"""Make capture files and frames for tests: written from the formats' texts, nothing of hepcat in it."""

import ipaddress
import struct
from collections.abc import Sequence

#: seconds, microseconds, link-layer octets, original length (None: as captured)
Record = tuple[int, int, bytes, int | None]


def make_pcap(
    records: Sequence[Record], order: str = "<", nano: bool = False, link: int = 1, modified: bool = False
) -> bytes:
    """A pcap file in byte order `order` ("<" or ">")."""
    magic = 0xA1B23C4D if nano else 0xA1B2CD34 if modified else 0xA1B2C3D4
    out = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, link)
    for seconds, micros, frame, original in records:
        fraction = micros * 1000 + 999 if nano else micros
        length = len(frame) if original is None else original
        out += struct.pack(order + "IIII", seconds, fraction, len(frame), length)
        if modified:
            out += struct.pack(order + "IHBB", 3, 0x0800, 0, 0)
        out += frame
    return out


def block(order: str, kind: int, body: bytes) -> bytes:
    """A pcapng block."""
    body += bytes(-len(body) % 4)
    return struct.pack(order + "II", kind, len(body) + 12) + body + struct.pack(order + "I", len(body) + 12)


def option(order: str, code: int, value: bytes) -> bytes:
    """A pcapng option."""
    return struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)


def section(order: str = "<") -> bytes:
    """A section header."""
    return block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))


def interface(
    order: str = "<", link: int = 1, resolution: int | None = None, offset: int | None = None, snap: int = 0
) -> bytes:
    """An interface description; resolution is the octet if_tsresol."""
    options = b""
    if resolution is not None:
        options += option(order, 9, bytes([resolution]))
    if offset is not None:
        options += option(order, 14, struct.pack(order + "q", offset))
    return block(order, 1, struct.pack(order + "HHI", link, 0, snap) + options + bytes(4 if options else 0))


def enhanced(order: str, number: int, ticks: int, frame: bytes, original: int | None = None) -> bytes:
    """An enhanced packet block."""
    length = len(frame) if original is None else original
    head = struct.pack(order + "IIIII", number, ticks >> 32, ticks & 0xFFFFFFFF, len(frame), length)
    return block(order, 6, head + frame + bytes(-len(frame) % 4))


def obsolete(order: str, number: int, ticks: int, frame: bytes) -> bytes:
    """An (obsolete) packet block."""
    head = struct.pack(order + "HHIIII", number, 7, ticks >> 32, ticks & 0xFFFFFFFF, len(frame), len(frame))
    return block(order, 2, head + frame + bytes(-len(frame) % 4))


def simple(order: str, frame: bytes, original: int | None = None) -> bytes:
    """A simple packet block."""
    return block(order, 3, struct.pack(order + "I", len(frame) if original is None else original) + frame)


def udp(payload: bytes, source: int = 5060, destination: int = 5062, length: int | None = None) -> bytes:
    """A UDP datagram (checksum 0)."""
    return (
        struct.pack("!HHHH", source, destination, 8 + len(payload) if length is None else length, 0) + payload
    )


def ipv4(
    body: bytes,
    source: str = "192.0.2.1",
    destination: str = "198.51.100.2",
    protocol: int = 17,
    options: bytes = b"",
    fragment: int = 0,
    total: int | None = None,
) -> bytes:
    """An IPv4 packet (header checksum 0)."""
    words = 5 + len(options) // 4
    length = words * 4 + len(body) if total is None else total
    head = struct.pack("!BBHHHBBH", 0x40 | words, 0, length, 1, fragment, 64, protocol, 0)
    addresses = ipaddress.ip_address(source).packed + ipaddress.ip_address(destination).packed
    return head + addresses + options + body


def ipv6(
    body: bytes,
    source: str = "2001:db8::1",
    destination: str = "2001:db8::2",
    kind: int = 17,
    length: int | None = None,
) -> bytes:
    """An IPv6 packet; `kind` is the next header."""
    head = struct.pack("!IHBB", 6 << 28, len(body) if length is None else length, kind, 64)
    return head + ipaddress.ip_address(source).packed + ipaddress.ip_address(destination).packed + body


def ethernet(kind: int, body: bytes, *tags: tuple[int, int]) -> bytes:
    """An Ethernet frame; tags are (EtherType of the tag, tag control information), outermost first."""
    out = bytes(12)
    for tag, control in tags:
        out += struct.pack("!HH", tag, control)
    return out + struct.pack("!H", kind) + body


def message(method: str = "OPTIONS", call_id: str = "a@b", body: bytes = b"") -> bytes:
    """A small request."""
    lines = (
        f"{method} sip:bob@example.com SIP/2.0",
        "Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1",
        "From: <sip:alice@example.com>;tag=1",
        "To: <sip:bob@example.com>",
        f"Call-ID: {call_id}",
        f"CSeq: 1 {method}",
        f"Content-Length: {len(body)}",
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
