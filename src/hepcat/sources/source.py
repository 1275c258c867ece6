"""The contract of a source: sockets in, datagrams handed to an intake, batch by batch.

In: an open socket, an intake, a tally. Out: calls of `Intake.add` from the source's own thread, and
counts. What can go wrong: an error of the socket ends in the log and in a retry, never in a traceback;
what the peer does wrong ends in a counted drop. A source never waits for the store: the intake takes
or drops, at once.
"""

from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from hepcat.batch.drops import Drop

#: Drops of what never became a datagram in a slot: counted as received too, so that the sum holds.
BEFORE_READING: Final = (Drop.KERNEL, Drop.STREAM_GARBAGE, Drop.STREAM_HALF, Drop.STREAM_LIMIT)


class Tally:
    """Counts of one worker; one thread writes each, others read whenever they like (no lock).

    read: datagrams (messages of a stream) taken from the kernel. octets: of those. handed: records put
    into the queue. drops: int64, indexed by `Drop`. Of what was handed on, the store's thread counts
    `stored` and `store_drops`.
    """

    __slots__ = (
        "connections",
        "drops",
        "handed",
        "octets",
        "pending",
        "read",
        "source",
        "store_drops",
        "stored",
    )

    def __init__(self, source: str) -> None:
        self.source = source
        self.read = 0
        self.octets = 0
        self.handed = 0
        #: read, and not yet in the queue or dropped
        self.pending = 0
        #: streams open just now
        self.connections = 0
        self.drops: npt.NDArray[np.int64] = np.zeros(len(Drop), dtype=np.int64)
        self.stored = 0
        self.store_drops: npt.NDArray[np.int64] = np.zeros(len(Drop), dtype=np.int64)

    def received(self) -> int:
        """Everything that reached the source: what was read, and what was lost before it could be."""
        return self.read + int(self.drops[list(BEFORE_READING)].sum())


class Intake(Protocol):
    """Takes what one source's thread has read. Never blocks, never raises for what a peer sent."""

    def add(
        self,
        data: Any,
        offsets: npt.NDArray[np.int64],
        lengths: npt.NDArray[np.integer[Any]],
        count: int,
        received_us: int,
    ) -> None:
        """Take `count` HEP messages: number i is data[offsets[i]:offsets[i] + lengths[i]].

        received_us: wall clock in microseconds since the epoch, for HEP 1, which carries no time.
        Everything needed is copied: `data` may be written over after the call.
        """

    def flush(self) -> None:
        """Hand on what `add` has gathered."""


class Source(Protocol):
    """Something that receives in threads of its own."""

    url: str
    tallies: list[Tally]

    def start(self) -> None:
        """Begin to read."""

    def stop(self, drain_seconds: float) -> None:
        """Ask to end: read what has arrived already, for at most so long, then close the sockets."""

    def join(self) -> None:
        """Wait for the end."""

    def close(self) -> None:
        """Close the sockets of a source that was never started."""
