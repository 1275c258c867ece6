"""What the agent's measurements time in the process they run in: frames to messages, without a target.

In: an interface, a file, or nothing (made-up frames). Out: `Timed`: how many, and CPU seconds of this
process. What can go wrong: HepcatError as the sources have it; RuntimeError where what was read is not what
was written.
"""

import itertools
import struct
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from hepcat.batch.drops import Drop
from hepcat.batch.layout import Batch
from hepcat.bench.calls import (
    CALLEE,
    CALLER,
    MESSAGES_A_CALL,
    Frames,
    call_frames,
    ip_frame,
    message,
    packets_of,
)
from hepcat.sources.capture_file import FileSource
from hepcat.wire.collect import IndexOptions, append_found, clear, new_batch, sip_among
from hepcat.wire.columns import (
    AREA_WINDOW,
    LINK_ETHERTYPE,
    MAX_ROWS_A_FRAME,
    TUNNELS_ALL,
    WANT_ALL,
    Datagrams,
    Packets,
)
from hepcat.wire.dissect import DissectOptions, Dissector, Found
from hepcat.wire.frames import LINK_TYPES, decode_frames, port_mask

_ROWS: Final = 2048
#: Octets of the messages over TCP, in the order of a call.
_SIZES: Final = (1022, 591, 958, 614, 640, 597)
_SIP_PORTS: Final = np.array([5060, 5061], dtype=np.uint16)


@dataclass(frozen=True, slots=True)
class Timed:
    """packets read, messages found in them, CPU seconds of the process."""

    packets: int
    messages: int
    cpu_seconds: float

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def per_packet(self) -> float:
        """Microseconds of CPU a packet."""
        return self.cpu_seconds / max(1, self.packets) * 1e6

    def per_message(self) -> float:
        """Microseconds of CPU a message."""
        return self.cpu_seconds / max(1, self.messages) * 1e6


def time_ring(dev: str, packets: int, ready: Callable[[], None], seconds: float = 20.0) -> Timed:
    """Read packets from an interface's ring until so many came: ring, frames, the mask of a port filter.

    messages: rows that the filter takes. ready: called when the ring is open. The kernel filters nothing.
    """
    from hepcat.sources.af_packet import RingSource

    source = RingSource(dev, ring_octets=64 << 20, snap_len=2048)
    rows, drops = Datagrams.empty(_ROWS + MAX_ROWS_A_FRAME), np.zeros(len(Drop), dtype=np.int64)
    mask = np.zeros(_ROWS + MAX_ROWS_A_FRAME, dtype=np.uint8)
    seen = taken = 0
    ready()
    deadline = time.monotonic() + seconds
    before = time.process_time()
    while seen < packets and time.monotonic() < deadline:
        window = source.next_window(0.5)
        if window is None:
            continue
        rows.n = 0
        decode_frames(window.data, window.packets, rows, drops, WANT_ALL, TUNNELS_ALL)
        port_mask(rows, _SIP_PORTS, mask)
        taken += int(np.count_nonzero(mask[: rows.n]))
        seen += window.packets.n
        source.release(window)
    spent = time.process_time() - before
    source.close()
    return Timed(seen, taken, spent)


class Reading:
    """The wire's part of an agent: windows in, messages found (and indexed, where asked) out."""

    def __init__(self, index: bool) -> None:
        self.frame_drops = np.zeros(len(Drop), dtype=np.int64)
        self.drops = np.zeros(len(Drop), dtype=np.int64)
        self.messages = 0
        self._dissector = Dissector(DissectOptions(), self.drops, self.frame_drops)
        self._batch = new_batch(_ROWS, ()) if index else None
        self._options = IndexOptions()

    def read(self, data: Any, packets: Packets) -> None:
        """Find the SIP in a window."""
        found = self._dissector.read(data, packets)
        mask = sip_among(found)
        self.messages += int(np.count_nonzero(mask))
        if self._batch is not None:
            self._index(found, mask)

    def _index(self, found: Found, mask: Any) -> None:
        batch = self._batch
        assert batch is not None
        keep = np.flatnonzero(mask)
        while len(keep):
            done = append_found(batch, found, keep, mask, self._options)
            keep = keep[done:]
            clear(batch)


def time_file(path: Path, index: bool = False) -> Timed:
    """Read a capture file, find the SIP in it; index: also copy and index it."""
    reading, packets = Reading(index), 0
    before = time.process_time()
    source = FileSource(path)
    while not source.ended:
        window = source.next_window(0.5)
        if window is not None:
            packets += window.packets.n
            reading.read(window.data, window.packets)
            source.release(window)
    return Timed(packets, reading.messages, time.process_time() - before)


def stream_frames(streams: int, messages: int) -> Frames:
    """Return TCP segments: so many streams at once, so many messages on each; one in four in two parts."""
    sequence = [1000 * n for n in range(streams)]
    made = [
        message(n // MESSAGES_A_CALL, n % MESSAGES_A_CALL, _SIZES[n % MESSAGES_A_CALL], "TCP")
        for n in range(600)
    ]
    frames = [_segment(n, sequence[n] - 1, 0x02, b"") for n in range(streams)]
    for turn in range(messages):
        for n in range(streams):
            octets = made[(turn * 7 + n) % len(made)]
            cuts = (0, 400, len(octets)) if (turn + n) % 4 == 0 else (0, len(octets))
            for begin, end in itertools.pairwise(cuts):
                frames.append(_segment(n, sequence[n], 0x18, octets[begin:end]))
                sequence[n] += end - begin
    return Frames.of(frames)


def _segment(stream: int, sequence: int, flags: int, octets: bytes) -> bytes:
    head = struct.pack(
        "!HHIIBBHHH", 10_000 + stream, 5060, sequence & 0xFFFFFFFF, 1, 5 << 4, flags, 65535, 0, 0
    )
    return ip_frame(CALLER, CALLEE, 6, head + octets)


def time_streams(streams: int, messages: int) -> Timed:
    """Put streams together, cut messages from them, index these; the best of three."""
    frames = stream_frames(streams, messages)
    packets = packets_of(frames)
    runs = []
    for _ in range(3):
        reading = Reading(index=True)
        before = time.process_time()
        for first in range(0, packets.n, _ROWS):
            reading.read(frames.data, _part(packets, first, min(first + _ROWS, packets.n)))
        runs.append(Timed(packets.n, reading.messages, time.process_time() - before))
        if reading.messages != streams * messages:
            raise RuntimeError(f"{reading.messages} of {streams * messages} messages found")
    return min(runs, key=lambda run: run.cpu_seconds)


def _part(packets: Packets, first: int, end: int) -> Packets:
    columns = ("offset", "captured", "original", "ts", "link", "vlan")
    return Packets(end - first, *(getattr(packets, name)[first:end] for name in columns))


def read_random(count: int, seed: int = 1) -> Timed:
    """Decode so many frames of random octets; messages: rows that came of them.

    Half of them begin like Ethernet with IP, so that chance gets further. Raises RuntimeError where a frame
    gives neither a row nor a counted drop.
    """
    dice = np.random.default_rng(seed)
    rows, drops = Datagrams.empty(8192 + MAX_ROWS_A_FRAME), np.zeros(len(Drop), dtype=np.int64)
    packets, links = Packets.empty(8192), np.array([*LINK_TYPES, 147, LINK_ETHERTYPE | 0x0800])
    done = found = 0
    before = time.process_time()
    while done < count:
        data = dice.integers(0, 256, 1 << 20, dtype=np.uint8)
        n = packets.n = min(8192, count - done)
        packets.offset[:n] = dice.integers(0, len(data) - 200, n)
        packets.captured[:n] = dice.integers(0, 200, n)
        packets.original[:n] = packets.captured[:n] + dice.integers(0, 20, n)
        packets.link[:n] = np.where(dice.random(n) < 0.5, 1, dice.choice(links, n))
        _shape(dice, data, packets.offset[: n // 2])
        first = 0
        while first < n:
            rows.n = 0
            lost, at = int(drops.sum()), first
            first = decode_frames(data, packets, rows, drops, WANT_ALL, TUNNELS_ALL, AREA_WINDOW, first)
            there = len(np.unique(rows.packet[: rows.n]))
            found += rows.n
            if there + int(drops.sum()) - lost < first - at:
                raise RuntimeError("a frame gave neither a row nor a counted drop")
        done += n
    return Timed(done, found, time.process_time() - before)


def _shape(dice: Any, data: Any, offsets: Any) -> None:
    """Write the EtherType and the first octets of IPv4 or IPv6 where frames begin."""
    for at in (12, 13, 14, 23):
        data[offsets + at] = {12: 8, 13: 0, 14: 0x45}.get(at, 0)
    data[offsets + 20] = 0  # no fragment
    data[offsets + 23] = dice.choice(np.array([4, 6, 17, 41, 47, 132], dtype=np.uint8), len(offsets))
    six = offsets[::3]
    data[six + 12], data[six + 13], data[six + 14] = 0x86, 0xDD, 0x60
    data[six + 20] = data[six + 23]


def indexed_calls(calls: int) -> Batch:
    """Return the messages of so many calls as an indexed batch."""
    frames = call_frames(calls)
    packets = packets_of(frames)
    found = Dissector(
        DissectOptions(), np.zeros(len(Drop), dtype=np.int64), np.zeros(len(Drop), dtype=np.int64)
    ).read(frames.data, packets)
    batch, mask = new_batch(packets.n, ()), sip_among(found)
    append_found(batch, found, np.flatnonzero(mask), mask, IndexOptions())
    return batch
