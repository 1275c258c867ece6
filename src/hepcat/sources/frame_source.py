"""The contract of a frame source: windows of frames as they were captured, one after the other.

In: an interface, a file. Out: `Window`s: octets, and `Packets` that lie in them. A window is lent: its
octets may be written over after `release` (a ring gives the block back to the kernel). One thread reads
one source. What can go wrong: HepcatError from the constructor, with what to do; later errors of the
device are logged, counted and survived; a file's end is `ended`.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy.typing as npt

from hepcat.wire.columns import Packets


@dataclass(slots=True)
class Window:
    """`data`: uint8, contiguous. `packets`: rows 0..packets.n - 1 refer to it. now_us: time of the last."""

    data: npt.NDArray[Any]
    packets: Packets
    now_us: int


class FrameSource(Protocol):
    """Something that hands out frames."""

    name: str
    ended: bool

    def next_window(self, timeout: float) -> Window | None:
        """Return the next window, None when none came within `timeout` seconds or after the end."""

    def release(self, window: Window) -> None:
        """Give a window back; it must not be used afterwards."""

    def kernel_drops(self) -> int:
        """Return how many packets the kernel dropped for want of room since the last call."""

    def close(self) -> None:
        """Close, and put back what was changed (promiscuous mode)."""
