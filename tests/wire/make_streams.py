"""Read streams to messages in tests: stretches made by hand, or segments through the reassembler."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hepcat.batch.drops import Drop
from hepcat.wire.columns import Arena, Datagrams, Flows, Stretches
from hepcat.wire.framing import Framer
from hepcat.wire.tcp import TcpReassembler
from tests.wire.make_tcp import Segment, rows_of


@dataclass(frozen=True)
class Piece:
    """One stretch."""

    flow: int
    data: bytes
    marks: int = 0


class Cutter:
    """A Framer with everything that it writes to; `messages` is (flow's ports, octets) in order."""

    def __init__(self, flows: int = 64, **bounds: Any) -> None:
        self.framer = Framer(flows, **bounds)
        self.flows = Flows.empty(flows)
        self.flows.family[:] = 2
        self.flows.src_port[:] = np.arange(flows)
        self.flows.dst_port[:] = 5060
        self.flows.peer[:] = np.arange(flows) ^ 1
        self.counts = np.zeros(len(Drop), dtype=np.int64)
        self.arena = Arena()
        self.out = Datagrams.empty(4)
        self.messages: list[tuple[int, bytes]] = []

    @property
    def drops(self) -> dict[str, int]:
        """The counts that are not 0."""
        return {Drop(i).name: int(count) for i, count in enumerate(self.counts) if count}

    def feed(self, *pieces: Piece) -> list[bytes]:
        """Feed stretches as one window, every third from the arena; return the messages they complete."""
        window, stretches = bytearray(b"\xee" * 5), Stretches.empty(max(1, len(pieces)))
        self.arena.reset()
        for i, piece in enumerate(pieces):
            stretches.flow[i], stretches.marks[i] = piece.flow, piece.marks
            stretches.length[i], stretches.packet[i], stretches.ts[i] = len(piece.data), i, 1000 + i
            if i % 3 == 2:
                self.arena.reserve(len(piece.data))
                at = self.arena.used
                self.arena.data[at : at + len(piece.data)] = np.frombuffer(piece.data, dtype=np.uint8)
                self.arena.used += len(piece.data)
                stretches.area[i], stretches.offset[i] = 1, at
            else:
                stretches.offset[i] = len(window)
                window += piece.data
        stretches.n = len(pieces)
        return self.read(np.frombuffer(bytes(window), dtype=np.uint8), stretches)

    def read(self, window: Any, stretches: Stretches) -> list[bytes]:
        """Classify and feed all stretches."""
        rows = np.arange(stretches.n, dtype=np.int64)
        self.out.n = 0
        self.framer.classify(stretches, rows, window, self.arena, self.flows)
        self.framer.feed(stretches, rows, window, self.arena, self.flows, self.out, self.counts)
        fresh = []
        out = self.out
        for i in range(out.n):
            start, length = int(out.offset[i]), int(out.length[i])
            octets = (self.arena.data[: self.arena.used] if out.area[i] else window)[start : start + length]
            assert len(octets) == length
            assert (out.ip_proto[i], out.kind[i], out.truncated[i]) == (6, 0, 0)
            self.messages.append((int(out.src_port[i]), octets.tobytes()))
            fresh.append(octets.tobytes())
        return fresh


class Tap(Cutter):
    """Segments to messages: reassembler and framer."""

    def __init__(self, max_streams: int = 64, **bounds: Any) -> None:
        super().__init__(2 * max_streams, **bounds)
        self.tcp = TcpReassembler(max_streams)
        self.flows = self.tcp.flows
        self.stretches = Stretches.empty(8)

    def feed_segments(self, segments: Sequence[Segment]) -> list[bytes]:
        """Feed segments as one window."""
        self.arena.reset()
        self.stretches.n = 0
        window, found = rows_of(segments)
        rows = np.arange(found.n, dtype=np.int64)
        self.tcp.feed(window, found, rows, self.arena, self.stretches, self.counts)
        return self.read(window, self.stretches)

    def expire(self, now: int) -> list[bytes]:
        """Let time pass."""
        self.arena.reset()
        self.stretches.n = 0
        self.tcp.expire(now, self.arena, self.stretches, self.counts)
        return self.read(np.zeros(0, dtype=np.uint8), self.stretches)


def sip(method: str = "OPTIONS", call_id: str = "a@b", body: bytes = b"", lines: Iterable[str] = ()) -> bytes:
    """A request with a Content-Length, or a response where the method is a status."""
    first = f"SIP/2.0 {method} Fine" if method.isdigit() else f"{method} sip:bob@example.com SIP/2.0"
    head = [
        first,
        "Via: SIP/2.0/TCP 192.0.2.1;branch=z9hG4bKx",
        "From: <sip:a@b>;tag=1",
        "To: <sip:b@c>",
        f"Call-ID: {call_id}",
        "CSeq: 1 OPTIONS",
        *lines,
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def in_pieces(octets: bytes, sizes: Sequence[int], flow: int = 0, marks: int = 1) -> list[Piece]:
    """Stretches of these sizes, again and again; marks of the first."""
    pieces, at, i = [], 0, 0
    while at < len(octets):
        size = sizes[i % len(sizes)]
        pieces.append(Piece(flow, octets[at : at + size], marks if at == 0 else 0))
        at, i = at + size, i + 1
    return pieces
