"""The files of a spool: how large they become, what is known of each, and what a dead process left in one.

In: a journal. Out: how many records it has and how far it is whole. What can go wrong: OSError.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hepcat.batch.layout import Batch
from hepcat.stores.lake.journal import JournalReader, JournalWriter

#: Octets of a file, where the bound on all of them allows it.
FILE_OCTETS: Final = 32 * 2**20
#: Octets of a file that is not waited for to become full, once everything in it is done.
SMALL_OCTETS: Final = 4 * 2**20
#: Records of a file at most: far fewer than are claimed at a time (identity.py).
FILE_RECORDS: Final = 2**20
NAME: Final = re.compile(r"[0-9]{19}\.arrows")
#: What a record and a batch take in a journal beyond their octets, about.
_RECORD_OCTETS: Final = 84
_BATCH_OCTETS: Final = 4096


@dataclass(slots=True, eq=False)
class SpoolFile:
    """One journal. octets: up to the end of its last whole batch. journal: while it is written to."""

    path: Path
    first: int
    rows: int
    octets: int
    journal: JournalWriter | None = None
    damaged: bool = False

    @property
    def end(self) -> int:
        """The number behind its last record."""
        return self.first + self.rows


def count_records(path: Path) -> tuple[int, int, bool]:
    """Return how many records a file of a dead process has, how long it is, and whether it is damaged.

    A torn end is cut off. Raises OSError.
    """
    reader = JournalReader(path)
    try:
        while reader.read() is not None:
            pass
        damaged = reader.damage() > 0
        if not damaged and reader.rows and path.stat().st_size > reader.offset:
            with path.open("r+b") as file:
                file.truncate(reader.offset)
        return reader.rows, path.stat().st_size, damaged
    finally:
        reader.close()


def octets_in_journal(batch: Batch) -> int:
    """Return about how long a batch is in a journal."""
    row = _RECORD_OCTETS + 4 * int(batch.fields.shape[1])
    return int(batch.start[batch.n] - batch.start[0]) + batch.n * row + _BATCH_OCTETS


def remove(path: Path, damaged: bool) -> None:
    """Delete a file, or keep it for people where it is damaged. Raises OSError."""
    if damaged:
        path.replace(path.with_name(f"damaged-{path.name}"))
    else:
        path.unlink(missing_ok=True)
