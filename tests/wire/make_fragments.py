"""Make rows of fragments and chunks for tests, as decode_frames hands them out, without it."""

import ipaddress
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hepcat.batch.drops import Drop
from hepcat.wire.columns import KIND_CHUNK, KIND_DATAGRAM, KIND_FRAGMENT, Datagrams, Packets
from hepcat.wire.pcap import PcapReader

MAPPED = bytes(10) + b"\xff\xff"
SRC4 = MAPPED + bytes([192, 0, 2, 1])
DST4 = MAPPED + bytes([198, 51, 100, 2])
SRC6 = ipaddress.ip_address("2001:db8::1").packed
DST6 = ipaddress.ip_address("2001:db8::2").packed


def new_drops() -> Any:
    """A fresh array of counts."""
    return np.zeros(len(Drop), dtype=np.int64)


def named(drops: Any) -> dict[str, int]:
    """The counts that are not 0, by name."""
    return {Drop(i).name: int(count) for i, count in enumerate(drops) if count}


def rows_of(octets: Sequence[bytes], **columns: Any) -> tuple[Any, Datagrams, Any]:
    """Lay octets one behind the other; return window, found and rows. Columns are lists or one value."""
    n = len(octets)
    data = np.frombuffer(b"\xee" * 3 + b"".join(octets) + b"\xee" * 3, dtype=np.uint8)
    found = Datagrams.empty(max(n, 1))
    found.n = n
    found.length[:n] = [len(part) for part in octets]
    found.offset[:n] = 3 + np.cumsum(found.length[:n]) - found.length[:n]
    found.packet[:n] = np.arange(n)
    found.family[:n] = 2
    for name, value in columns.items():
        if name in ("src_ip", "dst_ip"):
            values = [value] * n if isinstance(value, bytes) else value
            getattr(found, name)[:n] = np.frombuffer(b"".join(values), dtype=np.uint8).reshape(n, 16)
        else:
            getattr(found, name)[:n] = value
    if "src_ip" not in columns:
        found.src_ip[:n] = np.frombuffer(SRC4, dtype=np.uint8)
        found.dst_ip[:n] = np.frombuffer(DST4, dtype=np.uint8)
    return data, found, np.arange(n)


def fragment_rows(pieces: Sequence[tuple[int, bool, bytes]], **columns: Any) -> tuple[Any, Datagrams, Any]:
    """Rows of KIND_FRAGMENT from (offset in octets, more fragments, octets)."""
    defaults: dict[str, Any] = {"ip_proto": 17, "seq": 7}
    bits = [at // 8 | (0x2000 if more else 0) for at, more, _ in pieces]
    return rows_of(
        [octets for _, _, octets in pieces], kind=KIND_FRAGMENT, bits=bits, **{**defaults, **columns}
    )


def chunk_rows(chunks: Sequence[tuple[int, int, bytes]], **columns: Any) -> tuple[Any, Datagrams, Any]:
    """Rows of KIND_CHUNK from (TSN, flags, octets)."""
    defaults: dict[str, Any] = {"ip_proto": 132, "src_port": 5060, "dst_port": 5062, "aux": 0}
    return rows_of(
        [octets for _, _, octets in chunks],
        kind=KIND_CHUNK,
        seq=np.array([tsn for tsn, _, _ in chunks], dtype=np.uint32),
        bits=[flags for _, flags, _ in chunks],
        **{**defaults, **columns},
    )


def udp_rows(parts: Sequence[bytes], **columns: Any) -> tuple[Any, Datagrams, Any]:
    """Rows of KIND_DATAGRAM of UDP."""
    defaults: dict[str, Any] = {"ip_proto": 17, "src_port": 5060, "dst_port": 5062}
    return rows_of(parts, kind=KIND_DATAGRAM, **{**defaults, **columns})


def window_of(capture: Path) -> tuple[Any, Packets]:
    """Read a capture file into one window."""
    octets = np.frombuffer(capture.read_bytes(), dtype=np.uint8)
    p = Packets.empty(4096)
    p.n = PcapReader().parse(octets, 0, p.offset, p.captured, p.original, p.ts, p.link)
    return octets, p


def cut(octets: bytes, *sizes: int) -> list[tuple[int, bool, bytes]]:
    """Cut a datagram into fragments of these sizes (multiples of 8), the rest the last."""
    pieces, at = [], 0
    for size in sizes:
        pieces.append((at, True, octets[at : at + size]))
        at += size
    return [*pieces, (at, False, octets[at:])]


def checksum(header: bytes) -> int:
    """The Internet checksum over a header (RFC 1071); 0 where the header's own is right."""
    total = sum(struct.unpack(f"!{len(header) // 2}H", header))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF
