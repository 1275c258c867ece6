"""The contract of a sink: rows of batches in, on their way to a target.

In: a batch, which of its rows, and what the plan changed. Out: datagrams, stream octets, files or stored
records, and counts: taken = sent + waiting + drops. What can go wrong: the target is away (the sink
keeps to its memory and spool bounds, counts what is lost, and goes on), never an exception to the caller.

A sink is shared by all capture workers; each worker opens an outlet of its own, which only that worker's
thread calls, so that the hot path takes no lock that another worker holds for long.
"""

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from hepcat.batch.drops import Drop
from hepcat.batch.edits import Edits
from hepcat.batch.layout import Batch

Array = npt.NDArray[Any]


class SinkTally:
    """Counts of one outlet or one target; one thread writes each, others read whenever they like.

    taken: records handed over by plans. sent: handed to the kernel (a file, a store). waiting: in memory
    or in the spool just now. spooled: written to the spool so far. drops: int64, indexed by `Drop`.
    """

    __slots__ = ("drops", "name", "octets", "reconnects", "sent", "spooled", "taken", "waiting")

    def __init__(self, name: str) -> None:
        self.name = name
        self.taken = 0
        self.sent = 0
        self.octets = 0
        self.waiting = 0
        self.spooled = 0
        self.reconnects = 0
        self.drops: npt.NDArray[np.int64] = np.zeros(len(Drop), dtype=np.int64)

    def copy(self) -> "SinkTally":
        """Return the counts of this moment."""
        copy = SinkTally(self.name)
        for name in self.__slots__:
            setattr(copy, name, getattr(self, name))
        copy.drops = self.drops.copy()
        return copy


class Outlet(Protocol):
    """One worker's way into a sink."""

    def send(self, batch: Batch, rows: Array, edits: Edits | None = None) -> None:
        """Take rows (int64, ascending) of a batch with the plan's changes. Copies what it keeps.

        Never raises for what the target does; blocks at most as long as the kernel takes a datagram.
        """


class Sink(Protocol):
    """A named target that plans send to."""

    name: str

    def open_outlet(self) -> Outlet:
        """Return a new outlet for one worker's thread."""

    def start(self) -> None:
        """Begin to send; called once, after privileges were dropped."""

    def stop(self, drain_seconds: float) -> None:
        """Send what waits for at most so long, spool the rest where a spool is set, and close."""

    def tallies(self) -> list[SinkTally]:
        """Return the counts, one or more entries."""
