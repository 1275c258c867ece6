"""The bounded queue between the sources and the store.

In: batches, each with the tally of the worker that made it. Out: the same, in order. What can go wrong:
it is full; `put` then refuses at once, with the drop reason that holds just now. The bound is in octets
of memory, what the store has in hand included, so it is also the memory of an outage of the store.
"""

import threading
from collections import deque
from dataclasses import dataclass
from typing import Final

import numpy as np

from hepcat.batch.drops import Drop
from hepcat.batch.layout import Array, Batch
from hepcat.sources.source import Tally

#: What a batch costs beyond its arrays: the objects themselves.
BATCH_OVERHEAD: Final = 8192


@dataclass(slots=True)
class Queued:
    """A batch on its way, whose it is, and what it costs in octets of memory."""

    batch: Batch
    tally: Tally
    octets: int


def memory_of(batch: Batch) -> int:
    """Return the octets of memory that a batch holds, its unused room included."""
    row = int(batch.fields.shape[1]) * 4 + 80  # the slices, and all numeric columns with the addresses
    return _whole(batch.buffer).nbytes + len(_whole(batch.ts)) * row + BATCH_OVERHEAD


def _whole(array: Array) -> Array:
    """Return the array that a view keeps alive."""
    return array.base if isinstance(array.base, np.ndarray) else array


class BatchQueue:
    """Many sources put, one store gets. `get` lends the item: its memory counts until `done`."""

    def __init__(self, max_octets: int) -> None:
        self.max_octets = max_octets
        #: why `put` refuses, as the store sets it: full because it is slow, or because it is away
        self.refusal = Drop.QUEUE_FULL
        #: records refused so far
        self.refused = 0
        self.octets = 0
        self.records = 0
        self.batches = 0
        self._items: deque[Queued] = deque()
        self._closed = False
        self._changed = threading.Condition()

    def put(self, batch: Batch, tally: Tally) -> Drop | None:
        """Take the batch, or return the reason why its records are lost. Never waits."""
        octets = memory_of(batch)
        with self._changed:
            if self.octets and self.octets + octets > self.max_octets:
                self.refused += batch.n
                return self.refusal
            self.octets += octets
            self.records += batch.n
            self.batches += 1
            self._items.append(Queued(batch, tally, octets))
            self._changed.notify()
        return None

    def get(self, timeout: float) -> Queued | None:
        """Return the next batch, None when none came in time or the queue is closed and empty."""
        with self._changed:
            if not self._items and not self._closed:
                self._changed.wait(timeout)
            return self._items.popleft() if self._items else None

    def done(self, item: Queued) -> None:
        """Say that the store has it, or that it is given up."""
        with self._changed:
            self.octets -= item.octets
            self.records -= item.batch.n
            self.batches -= 1

    def close(self) -> None:
        """Say that nothing more will be put."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def closed(self) -> bool:
        """Whether `close` was called; there may still be batches to get."""
        return self._closed
