"""The contract of a store: batches in, kept for good.

In: read-only batches, in any order of time. Out: nothing; what was appended can be found by the
store's readers within a second. What can go wrong: `StoreUnavailable`, which leaves the batch with
the caller, to be offered again.
"""

from typing import Protocol

from hepcat.batch.drops import Drop
from hepcat.batch.layout import Batch
from hepcat.errors import HepcatError


class StoreUnavailable(HepcatError):
    """The store cannot take the batch now (disk full, read-only, gone). Nothing of it was kept."""

    def __init__(self, message: str, drop: Drop, hint: str = "") -> None:
        super().__init__(message, hint)
        #: what the batch's records are counted under if the caller has to give them up
        self.drop = drop


class Store(Protocol):
    """One thread appends; the store has threads of its own for what may take long."""

    def append(self, batch: Batch) -> None:
        """Keep every record of the batch, or raise StoreUnavailable and keep none of them."""

    def close(self) -> None:
        """Make everything durable and stop the store's threads. Idempotent."""
