"""The thread that reads one frame source, window by window; the agent's and the server's.

In: windows of a frame source. Out: the same, handed to a reader, which is also told when time has passed; and
the counts of what the kernel dropped. What can go wrong: nothing that ends it but the source's own end.
"""

import threading
import time
from typing import Any, Final, Protocol

import numpy as np
import structlog

from hepcat.batch.drops import Drop
from hepcat.batch.layout import Array
from hepcat.sources.frame_source import FrameSource, Window
from hepcat.sources.priority import prefer_this_thread
from hepcat.wire.dissect import END_OF_TIME

#: Seconds a worker waits for packets before it looks at what it holds.
IDLE_SECONDS: Final = 0.5
#: Seconds a worker that was told to stop goes on reading what had arrived.
DRAIN_SECONDS: Final = 5.0

log = structlog.get_logger("hepcat.capture")


class FrameTally:
    """Counts of one worker; one thread writes, others read whenever they like.

    packets: read from the source; octets of those; kernel: dropped by the kernel. carried: packets that gave
    a message, a part of one, or a part of a stream. messages: found.
    int64, indexed by Drop: frame_drops: packets dropped while frames were read; part_drops: what was lost
    while parts were put together, in the unit of the stage that counts it; drops: messages.
    """

    __slots__ = (
        "carried",
        "drops",
        "frame_drops",
        "kernel",
        "messages",
        "octets",
        "packets",
        "part_drops",
        "source",
    )

    def __init__(self, source: str) -> None:
        self.source = source
        self.packets = self.octets = self.kernel = 0
        self.carried = self.messages = 0
        self.frame_drops: Array = np.zeros(len(Drop), dtype=np.int64)
        self.part_drops: Array = np.zeros(len(Drop), dtype=np.int64)
        self.drops: Array = np.zeros(len(Drop), dtype=np.int64)


class WindowReader(Protocol):
    """Makes messages of windows. stats_interval: seconds between log lines of kernel drops, 0: none."""

    stats_interval: float

    @property
    def tally(self) -> FrameTally:
        """Where the worker counts what the source has not handed out."""

    def take(self, window: Window) -> None:
        """Read a window; its octets are void afterwards."""

    def expire(self, now_us: int) -> None:
        """Give up what was waited for too long."""


class CaptureWorker:
    """A thread that reads one live source until it is stopped."""

    def __init__(
        self, source: FrameSource, reader: WindowReader, clock: Any, writer: Any = None, first: bool = False
    ) -> None:
        """clock: () -> microseconds since the epoch. writer: keeps the frames in a file (`-w`), or None.
        first: this thread goes before those that store, where the system allows it.
        """
        self.reader = reader
        self.source = source
        self._clock = clock
        self._writer = writer
        self._first = first
        self._drain_seconds = DRAIN_SECONDS
        self._skipped: Array = np.zeros(len(Drop), dtype=np.int64)
        self._stats = StatsLog(source.name, reader.tally, reader.stats_interval)
        self._ends_itself = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"capture {source.name}", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self, drain_seconds: float = DRAIN_SECONDS) -> None:
        """Ask to end; what has arrived already is still read, for at most so long."""
        self._drain_seconds = drain_seconds
        self._stop.set()

    def join(self) -> None:
        """Wait for the end."""
        self._thread.join()

    def _run(self) -> None:
        if self._first:
            prefer_this_thread()
        source, reader = self.source, self.reader
        looked, give_up = time.monotonic(), float("inf")
        while not source.ended and time.monotonic() < give_up:
            stopping = self._stop.is_set()
            if stopping and give_up == float("inf"):
                give_up = time.monotonic() + self._drain_seconds
                self._finish()
            window = source.next_window(0.0 if stopping and not self._ends_itself else IDLE_SECONDS)
            if window is not None:
                if self._writer is not None:
                    self._writer.write(window.data, window.packets)
                reader.take(window)
                source.release(window)
            elif stopping and not self._ends_itself:
                break
            # Also where packets never cease: what waits may be of another kind than what comes. Then time is
            # that of the packets: a worker that is late would give up what lies unread in its ring.
            if window is None or time.monotonic() - looked >= IDLE_SECONDS:
                looked = time.monotonic()
                if window is None:
                    reader.expire(self._clock())
                elif window.packets.n:  # else it tells no time
                    reader.expire(window.now_us)
                self._stats.look(looked)
            self._count_skipped()
        reader.expire(END_OF_TIME)
        source.close()
        self._count_skipped()

    def _finish(self) -> None:
        """Let a ring take nothing more but hand out the block that is being filled, then end by itself."""
        finish: Any = getattr(self.source, "finish", None)
        if finish is not None:
            finish()
            self._ends_itself = True

    def _count_skipped(self) -> None:
        """Count what the kernel dropped, and what the source passed over (loopback's second sight)."""
        self.reader.tally.kernel += self.source.kernel_drops()
        drops: Any = getattr(self.source, "drops", None)
        if drops is not None:
            tally, fresh = self.reader.tally, drops - self._skipped
            tally.packets += int(fresh.sum())
            tally.frame_drops += fresh
            self._skipped = drops.copy()


class StatsLog:
    """`stats_interval`: what the kernel dropped since the line before, in the log."""

    def __init__(self, source: str, tally: FrameTally, interval: float) -> None:
        self._source, self._tally, self._interval = source, tally, interval
        self._at = time.monotonic()
        self._packets = self._kernel = 0

    def look(self, now: float) -> None:
        """Write a line where it is time to. now: of the monotonic clock, seconds."""
        if not self._interval or now - self._at < self._interval:
            return
        tally = self._tally
        packets, kernel = tally.packets - self._packets, tally.kernel - self._kernel
        level = log.warning if kernel else log.info
        level("kernel drops", source=self._source, packets=packets, dropped=kernel)
        self._at, self._packets, self._kernel = now, tally.packets, tally.kernel
