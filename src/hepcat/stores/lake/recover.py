"""Start-up: what a writer that died left behind.

In: the lake's folder. Out: journals to be sealed, locked; everything else is finished or removed.
Idempotent, and safe beside living writers: their journals and imports are locked.
"""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hepcat.stores.lake.catalog import JOURNAL, Entry, entries, listing
from hepcat.stores.lake.claim import claim, try_lock
from hepcat.stores.lake.compact import remove_leftovers
from hepcat.stores.lake.seal import discard, finish


class ClosedJournal:
    """A journal nobody appends to any more, locked by us until it is closed."""

    def __init__(self, path: Path, fd: int) -> None:
        """Own the descriptor that holds the lock."""
        self.path = path
        self.first = int(path.name[:19])
        self._fd = fd

    def close(self) -> None:
        """Give up the lock."""
        os.close(self._fd)


def recover(root: Path, event: Callable[[str, dict[str, Any]], None]) -> list[ClosedJournal]:
    """Finish what was published, drop what was not, return the journals of dead writers."""
    remove_leftovers(root)
    found = sorted(entries(root))
    journals = {e.first for e in found if e.kind == "arrows"}
    for entry in found:
        if entry.kind == "done":
            finish(root, entry.first)
            event("seal_finished", {"first": entry.first})
        elif entry.kind == "import":
            _drop_import(root, entry, event)
        elif entry.kind == "seal" and entry.first not in journals:
            discard(root, entry)
    return _take_over(root, event)


def _drop_import(root: Path, entry: Entry, event: Callable[[str, dict[str, Any]], None]) -> None:
    fd = _lock_of_dead(root, root / JOURNAL / entry.name)
    if fd is not None:
        discard(root, entry)
        os.close(fd)
        event("import_dropped", {"first": entry.first})


def _lock_of_dead(root: Path, path: Path) -> int | None:
    """Lock what a dead writer left; None where its writer lives.

    A writer makes its journal or folder and locks it within its claim, so nobody gets in between.
    """
    with claim(root, 0):
        return try_lock(path)


def _take_over(root: Path, event: Callable[[str, dict[str, Any]], None]) -> list[ClosedJournal]:
    taken = []
    sealed = set(_journals(root)).difference(listing(root).journals)
    for first in _journals(root):
        path = root / JOURNAL / f"{first:019d}.arrows"
        fd = _lock_of_dead(root, path)
        if fd is None:
            continue
        discard(root, Entry(first, "seal"))
        if first in sealed:  # a Parquet file covers it: done, only not yet removed
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            os.close(fd)
            continue
        event("journal_replayed", {"path": str(path), "octets": os.fstat(fd).st_size})
        taken.append(ClosedJournal(path, fd))
    return taken


def _journals(root: Path) -> list[int]:
    return sorted(e.first for e in entries(root) if e.kind == "arrows")
