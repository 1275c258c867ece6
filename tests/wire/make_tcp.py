"""Make rows of TCP segments for tests, and a slow reading of streams to compare with."""

import ipaddress
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hepcat.batch.drops import Drop
from hepcat.wire.columns import KIND_SEGMENT, Arena, Datagrams, Stretches
from hepcat.wire.tcp import TcpReassembler

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16


@dataclass(frozen=True)
class Segment:
    """One segment; ends are (address, port)."""

    source: tuple[str, int]
    target: tuple[str, int]
    seq: int
    data: bytes = b""
    flags: int = ACK | PSH
    ts: int = 0
    vlan: int = 0xFFFF


def packed(address: str) -> bytes:
    """16 octets, IPv4 mapped."""
    octets = ipaddress.ip_address(address).packed
    return octets if len(octets) == 16 else bytes(10) + b"\xff\xff" + octets


def rows_of(segments: Sequence[Segment]) -> tuple[Any, Datagrams]:
    """A window and its SEGMENT rows."""
    found = Datagrams.empty(max(1, len(segments)))
    window, at = bytearray(b"\xee" * 7), 7
    for i, segment in enumerate(segments):
        window += segment.data
        found.packet[i], found.ts[i] = i, segment.ts
        found.offset[i], found.length[i] = at, len(segment.data)
        at += len(segment.data)
        found.kind[i], found.ip_proto[i] = KIND_SEGMENT, 6
        found.family[i] = 10 if ":" in segment.source[0] else 2
        found.src_ip[i] = np.frombuffer(packed(segment.source[0]), dtype=np.uint8)
        found.dst_ip[i] = np.frombuffer(packed(segment.target[0]), dtype=np.uint8)
        found.src_port[i], found.dst_port[i] = segment.source[1], segment.target[1]
        found.vlan[i], found.seq[i], found.bits[i] = segment.vlan, segment.seq & 0xFFFFFFFF, segment.flags
    found.n = len(segments)
    return np.frombuffer(bytes(window), dtype=np.uint8), found


class Reader:
    """A TcpReassembler with everything that it writes to; keeps what came out, a list a flow."""

    def __init__(self, **bounds: Any) -> None:
        self.tcp = TcpReassembler(**bounds)
        self.arena = Arena()
        self.out = Stretches.empty(16)
        self.counts = np.zeros(len(Drop), dtype=np.int64)
        self.fed = 0
        self.streams: dict[tuple[Any, ...], list[tuple[bytes, int]]] = {}
        self.window: Any = np.zeros(0, dtype=np.uint8)

    @property
    def drops(self) -> dict[str, int]:
        """The counts that are not 0."""
        return {Drop(i).name: int(count) for i, count in enumerate(self.counts) if count}

    def feed(self, *segments: Segment) -> Stretches:
        """Feed segments as one window; check the sum; return the stretches."""
        self.arena.reset()
        self.out.n = 0
        self.window, found = rows_of(segments)
        rows = np.arange(found.n, dtype=np.int64)
        self.tcp.feed(self.window, found, rows, self.arena, self.out, self.counts)
        self.fed += len(segments)
        self.take()
        return self.out

    def expire(self, now: int) -> Stretches:
        """Let time pass."""
        self.arena.reset()
        self.out.n = 0
        self.tcp.expire(now, self.arena, self.out, self.counts)
        self.take()
        return self.out

    def take(self) -> None:
        """Note what came out, by the flow's addresses."""
        tcp, out, flows = self.tcp, self.out, self.tcp.flows
        counted = [Drop.TCP_CONTROL, Drop.TCP_DUPLICATE, Drop.TCP_BOUND]
        assert self.fed == tcp.passed + tcp.held_segments + self.counts[counted].sum()
        for i in range(out.n):
            flow = int(out.flow[i])
            ends = (
                flows.src_ip[flow].tobytes(),
                int(flows.src_port[flow]),
                flows.dst_ip[flow].tobytes(),
                int(flows.dst_port[flow]),
            )
            start, length = int(out.offset[i]), int(out.length[i])
            octets = (self.arena.data[: self.arena.used] if out.area[i] else self.window)[
                start : start + length
            ]
            assert len(octets) == length
            self.streams.setdefault(ends, []).append((octets.tobytes(), int(out.marks[i])))

    def octets(self, source: tuple[str, int], target: tuple[str, int]) -> bytes:
        """All octets of one direction."""
        ends = (packed(source[0]), source[1], packed(target[0]), target[1])
        return b"".join(octets for octets, _ in self.streams.get(ends, []))

    def marks(self, source: tuple[str, int], target: tuple[str, int]) -> list[int]:
        """The marks of one direction's stretches."""
        ends = (packed(source[0]), source[1], packed(target[0]), target[1])
        return [marks for _, marks in self.streams.get(ends, [])]


def cut(
    source: tuple[str, int], target: tuple[str, int], isn: int, octets: bytes, sizes: Sequence[int]
) -> list[Segment]:
    """SYN, the octets in pieces of these sizes (again and again), FIN."""
    segments = [Segment(source, target, isn, flags=SYN)]
    at, i = 0, 0
    while at < len(octets):
        size = sizes[i % len(sizes)]
        segments.append(Segment(source, target, isn + 1 + at, octets[at : at + size]))
        at += size
        i += 1
    return [*segments, Segment(source, target, isn + 1 + len(octets), flags=FIN | ACK)]


def at_times(segments: Sequence[Segment], step: int = 100, first: int = 1_000_000) -> list[Segment]:
    """The segments, `step` microseconds apart."""
    return [replace(segment, ts=first + i * step) for i, segment in enumerate(segments)]


def read_capture(octets: bytes) -> list[Segment]:
    """TCP segments of a pcap file with Ethernet, IPv4 or IPv6, no more than tests need."""
    order = "<" if octets[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1") else ">"
    at, segments = 24, []
    while at + 16 <= len(octets):
        seconds, micros, captured, _ = struct.unpack_from(order + "IIII", octets, at)
        frame = octets[at + 16 : at + 16 + captured]
        at += 16 + captured
        kind, ip = int.from_bytes(frame[12:14], "big"), frame[14:]
        if kind == 0x8100:
            kind, ip = int.from_bytes(frame[16:18], "big"), frame[18:]
        if kind == 0x0800 and ip[9] == 6:
            total, header = int.from_bytes(ip[2:4], "big"), 4 * (ip[0] & 15)
            ends, tcp = (ip[12:16], ip[16:20]), ip[header:total]
        elif kind == 0x86DD and ip[6] == 6:
            ends, tcp = (ip[8:24], ip[24:40]), ip[40 : 40 + int.from_bytes(ip[4:6], "big")]
        else:
            continue
        source, target, seq = struct.unpack_from("!HHI", tcp)
        a, b = (str(ipaddress.ip_address(end)) for end in ends)
        data = tcp[4 * (tcp[12] >> 4) :]
        segments.append(Segment((a, source), (b, target), seq, data, tcp[13], seconds * 1_000_000 + micros))
    return segments
