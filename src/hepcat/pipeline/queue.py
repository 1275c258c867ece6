"""The bounded queue between the sources and a store.

In: deliveries: batches, each with the tally of the worker that made it. Out: the same, in order. What can go
wrong: it is full; `put` then refuses at once, with the drop reason that holds just now. The bound is in
octets of memory, what the store has in hand included, so it is also the memory of an outage of the store.
"""

import threading
from collections import Counter, deque
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from hepcat.batch.drops import Drop
from hepcat.batch.layout import Array, Batch
from hepcat.sources.source import Tally

#: What a batch costs beyond its arrays: the objects themselves.
BATCH_OVERHEAD: Final = 8192


class BatchTaker(Protocol):
    """Where sources put batches: the fan over all stores, or a plan."""

    def put(self, batch: Batch, tally: Tally) -> Drop | None:
        """Take the batch, or return the reason why its records are lost. Never waits."""


class Waiting(Protocol):
    """What waits, for the counters."""

    @property
    def records(self) -> int:
        """How many records."""

    @property
    def octets(self) -> int:
        """How much memory."""


class Delivery(Protocol):
    """A batch on its way; `settle` is told what became of it: None, it was kept, or why it was not."""

    batch: Batch

    def settle(self, reason: Drop | None) -> None:
        """Take the store's word."""


@dataclass(slots=True)
class Queued:
    """A delivery, and what its batch costs in octets of memory."""

    delivery: Delivery
    octets: int

    @property
    def batch(self) -> Batch:
        """What is delivered."""
        return self.delivery.batch


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
        #: records that the store has kept, and those that it has not, the refused ones included
        self.stored = 0
        self.drops: Counter[Drop] = Counter()
        self.octets = 0
        self.records = 0
        self.batches = 0
        self._items: deque[Queued] = deque()
        self._closed = False
        self._changed = threading.Condition()

    def put(self, delivery: Delivery) -> Drop | None:
        """Take the batch, or return the reason why its records are lost. Never waits."""
        batch = delivery.batch
        octets = memory_of(batch)
        with self._changed:
            if self.octets and self.octets + octets > self.max_octets:
                self.refused += batch.n
                self.drops[self.refusal] += batch.n
                return self.refusal
            self.octets += octets
            self.records += batch.n
            self.batches += 1
            self._items.append(Queued(delivery, octets))
            self._changed.notify()
        return None

    def get(self, timeout: float) -> Queued | None:
        """Return the next batch, None when none came in time or the queue is closed and empty."""
        with self._changed:
            if not self._items and not self._closed:
                self._changed.wait(timeout)
            return self._items.popleft() if self._items else None

    def done(self, item: Queued, reason: Drop | None) -> None:
        """Say that the store has it (None), or for what reason it is given up."""
        item.delivery.settle(reason)
        with self._changed:
            if reason is None:
                self.stored += item.batch.n
            else:
                self.drops[reason] += item.batch.n
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
