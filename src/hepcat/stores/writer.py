"""The contract of a database's writer: batches in, once each, whatever fails in between.

In: batches of consecutive records; record number `first` is row 0 of the batch. Numbers are those of the
store's spool (spooled.py), they never repeat for one `writer` (the spool's own name, a UUID). Out: rows in
the database, and how many. What can go wrong: `StoreUnavailable`: the database is away, or it is not known
whether the transaction was committed; the caller opens again and asks. A refusal of single rows is none: they
are found, counted in `Written.drops`, and the rest of the batch is written. `BatchRefused`: the database took
the connection and refused the transaction as a whole (deadlock, lock wait, serialization): nothing of it was
kept, and the same batch may be offered again on the same connection.
"""

from dataclasses import dataclass, field
from typing import Protocol

from hepcat.batch.drops import Drop
from hepcat.batch.layout import Batch
from hepcat.errors import HepcatError

#: (first, last) of records that are done, both included
Range = tuple[int, int]


class BatchRefused(HepcatError):
    """The database refused the batch for now; nothing of it was kept, and it may be offered again."""


@dataclass(slots=True)
class Written:
    """What became of a batch. rows: in the database now. cut: values shortened to their column's width.
    replaced: values with octets that the column's character set cannot hold. rows + drops = records.
    """

    rows: int = 0
    cut: int = 0
    replaced: int = 0
    drops: dict[Drop, int] = field(default_factory=dict)


class BatchWriter(Protocol):
    """One connection. One thread uses it."""

    def open(self, writer: str) -> list[Range]:
        """Connect, and return which records of this writer are in the database already.

        Raises StoreUnavailable; HepcatError where waiting does not help (wrong password, no such table).
        """

    def write(self, batch: Batch, first: int, floor: int) -> Written:
        """Write the rows, and that they are written, in one transaction.

        Raises StoreUnavailable, after which `open` is called before anything else, and BatchRefused.
        floor: all records below it are done: what is remembered of them may be forgotten.
        """

    def maintain(self) -> None:
        """Make partitions ahead and drop old ones; called about once an hour, and after `open`."""

    def close(self) -> None:
        """Close the connection. Idempotent."""
