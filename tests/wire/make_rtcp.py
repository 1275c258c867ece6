"""Make RTCP for tests: written from RFC 3550, RFC 3611 and RFC 3711, nothing of hepcat in it."""

import struct
from collections.abc import Sequence


def packet(kind: int, count: int, body: bytes, length: int | None = None) -> bytes:
    """A packet (RFC 3550 section 6.4): version 2, no padding."""
    assert len(body) % 4 == 0
    words = len(body) // 4 if length is None else length
    return struct.pack("!BBH", 0x80 | count, kind, words) + body


def block(
    ssrc: int,
    fraction: int = 0,
    lost: int = 0,
    highest: int = 0,
    jitter: int = 0,
    lsr: int = 0,
    dlsr: int = 0,
) -> bytes:
    """A report block."""
    return struct.pack("!IIIIII", ssrc, fraction << 24 | (lost & 0xFFFFFF), highest, jitter, lsr, dlsr)


def sr(ssrc: int, ntp: int, rtp: int, packets: int, octets: int, *blocks: bytes) -> bytes:
    """A sender report."""
    body = struct.pack("!IQIII", ssrc, ntp, rtp, packets, octets) + b"".join(blocks)
    return packet(200, len(blocks), body)


def rr(ssrc: int, *blocks: bytes) -> bytes:
    """A receiver report."""
    return packet(201, len(blocks), struct.pack("!I", ssrc) + b"".join(blocks))


def sdes(*chunks: tuple[int, Sequence[tuple[int, bytes]]]) -> bytes:
    """A source description: (SSRC, items)."""
    body = b""
    for ssrc, items in chunks:
        chunk = struct.pack("!I", ssrc)
        chunk += b"".join(bytes([kind, len(text)]) + text for kind, text in items) + b"\0"
        body += chunk + bytes(-len(chunk) % 4)
    return packet(202, len(chunks), body)


def bye(*ssrcs: int, reason: bytes = b"") -> bytes:
    """Goodbye."""
    text = bytes([len(reason)]) + reason if reason else b""
    return packet(203, len(ssrcs), struct.pack(f"!{len(ssrcs)}I", *ssrcs) + text + bytes(-len(text) % 4))


def app(ssrc: int, name: bytes, subtype: int, data: bytes = b"") -> bytes:
    """An application's own."""
    return packet(204, subtype, struct.pack("!I", ssrc) + name + data)


def voip_metrics(ssrc: int, values: Sequence[int]) -> bytes:
    """A VoIP metrics report block (RFC 3611 section 4.7); values in the order of the section's figure."""
    return struct.pack("!BBHI4B4HbB6BBB3H", 7, 0, 8, ssrc, *values)


def xr(ssrc: int, *blocks: bytes) -> bytes:
    """An extended report."""
    return packet(207, 0, struct.pack("!I", ssrc) + b"".join(blocks))
