"""Frames from a capture file: pcap or pcapng, gzipped or not, as fast as it goes or as it was recorded.

In: a path. Out: windows, as from an interface. What can go wrong: HepcatError from the constructor where
there is no such file or it is no capture; CaptureDamaged from `next_window`, once, after the last window of
a file that is cut off or damaged: what could be read has been handed out.

At the recorded pace, a window holds the packets that have become due since the last one; the first packet
is due at once. Pauses are kept as they are, up to `LONGEST_PAUSE`; times that go back cause none.
"""

import os
import select
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np

from hepcat.batch.drops import Drop
from hepcat.sources.frame_source import Window
from hepcat.sources.pcap_windows import Progress, Windows, open_capture
from hepcat.wire.columns import Array, Packets

#: Packets of a window.
_ROWS: Final = 8192
#: Seconds between two windows of a paced file, at least: packets due meanwhile come together.
_TICK: Final = 0.002
#: Seconds that a pause in the recording lasts at most.
LONGEST_PAUSE: Final = 3600.0


class FileSource:
    """A capture file as a FrameSource. `progress` tells how far it has been read."""

    def __init__(self, path: str | os.PathLike[str], realtime: bool = False) -> None:
        """Open it. realtime: at the recorded pace."""
        self.name = str(path)
        self.ended = False
        self.progress = Progress()
        self.drops = np.zeros(len(Drop), dtype=np.int64)
        self._file = open_capture(Path(path))
        self.progress.size = os.fstat(self._file.fileno()).st_size
        try:
            self._timeout = 0.0
            self._windows = Windows(self._file, Path(path), self.progress, self._input())
        except BaseException:
            self._file.close()
            raise
        self._packets = Packets.empty(_ROWS)
        self._latest = 0
        self._pace = _Pace() if realtime else None
        self._handed = 0  # rows of _packets that have been handed out

    def next_window(self, timeout: float) -> Window | None:
        """Return the next window; None after the end, or (paced) when no packet became due in time.

        Raises CaptureDamaged once at the end of a file that ends early.
        """
        if self.ended:
            return None
        packets = self._packets
        if self._handed >= packets.n:
            self._timeout = timeout
            if not self._windows.next_packets(packets):
                self._end()
                return None
            if not packets.n:  # a pipe, whose writer pauses
                return None
            self._handed = 0
            self.progress.packets += packets.n
            if self._pace is not None:
                self._pace.plan(packets.ts[: packets.n])
        first, end = self._handed, packets.n
        if self._pace is not None:
            end = self._pace.wait(first, timeout)
            if end == first:
                return None
        self._handed = end
        self._latest = max(self._latest, int(packets.ts[first:end].max()))
        return Window(self._windows.data, _part(packets, first, end), self._latest)

    def _input(self) -> Callable[[], bool]:
        """Return what waits for octets: a file always has some, or its end; a pipe's writer may pause."""
        if stat.S_ISREG(os.fstat(self._file.fileno()).st_mode):
            return lambda: True
        poll = select.poll()
        poll.register(self._file.fileno(), select.POLLIN)
        return lambda: bool(poll.poll(self._timeout * 1000))

    def release(self, window: Window) -> None:
        """Give a window back: the next one is written over it."""

    def kernel_drops(self) -> int:
        """Nothing is lost of a file."""
        return 0

    def close(self) -> None:
        """Close the file."""
        self.ended = True
        self._file.close()

    def _end(self) -> None:
        self.close()
        if self.progress.problem is not None:
            raise self.progress.problem


class _Pace:
    """When packets are due, by the clock that runs since the first one."""

    def __init__(self) -> None:
        self._began: float | None = None
        self._last_ts = 0
        self._last_due = 0.0
        self._due = np.zeros(0)
        self._handed_at = 0.0

    def plan(self, ts: Array) -> None:
        """Take the times of the next packets (microseconds)."""
        if self._began is None:
            self._began = time.monotonic()
            self._last_ts = int(ts[0])
        newest = np.maximum.accumulate(np.maximum(ts, self._last_ts))
        steps = np.diff(newest, prepend=self._last_ts) / 1e6
        self._due = self._last_due + np.cumsum(np.minimum(steps, LONGEST_PAUSE))
        self._last_ts, self._last_due = int(newest[-1]), float(self._due[-1])

    def wait(self, first: int, timeout: float) -> int:
        """Wait until packet `first` is due, or for so long; return the row behind those that are due."""
        began = self._began or 0.0
        deadline = time.monotonic() + timeout
        while True:
            now = time.monotonic()
            end = int(np.searchsorted(self._due, now - began, side="right"))
            if end > first and (end == len(self._due) or now - self._handed_at >= _TICK):
                self._handed_at = now
                return end
            if now >= deadline:
                return end
            time.sleep(_nap(float(self._due[first]) + began - now, deadline - now))


def _nap(due_in: float, left: float) -> float:
    """How long to sleep: until it is due, but gather what comes close behind it."""
    return max(0.0, min(max(due_in, _TICK), left))


def _part(packets: Packets, first: int, end: int) -> Packets:
    """Return rows of the columns, nothing copied."""
    rows = slice(first, end)
    return Packets(
        end - first,
        packets.offset[rows],
        packets.captured[rows],
        packets.original[rows],
        packets.ts[rows],
        packets.link[rows],
        packets.vlan[rows],
    )
