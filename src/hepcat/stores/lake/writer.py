"""LakeWriter: batches in, journalled at once, sealed behind the back of the caller.

In: batches. Out: journals and Parquet files that readers in any process find. One thread appends;
a sync thread makes journals durable, a keeper thread seals, compacts and deletes what is too old.
What can go wrong: StoreUnavailable from append (nothing of that batch was kept; storing resumes by
itself), HepcatError at start-up. Sealing that fails keeps the journal and is tried again.
"""

import errno
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from hepcat.batch.drops import Drop
from hepcat.batch.layout import Batch
from hepcat.config.lake import LakeSettings
from hepcat.errors import HepcatError
from hepcat.stores.lake.catalog import JOURNAL
from hepcat.stores.lake.claim import claim, lock_lake
from hepcat.stores.lake.journal import JournalWriter
from hepcat.stores.lake.keeper import Keeper
from hepcat.stores.lake.recover import recover
from hepcat.stores.store import StoreUnavailable

#: Called with the name of an event and its facts, from any thread; must not block.
OnEvent = Callable[[str, dict[str, Any]], None]

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


def _ignore(event: str, facts: dict[str, Any]) -> None:
    """Do nothing with an event."""


def open_lake_folder(root: Path) -> None:
    """Make the lake's folder ready for a writer, or say why that is impossible."""
    try:
        (root / JOURNAL).mkdir(parents=True, exist_ok=True)
        with claim(root, 0, check=True):
            pass
    except OSError as error:
        raise HepcatError(
            f"cannot write to the lake {root}: {error.strerror}", "Make the folder writable or name another."
        ) from error


class LakeWriter:
    """The server's store (stores/store.py). Imports use ImportWriter, beside a running server."""

    def __init__(
        self, path: Path | str, settings: LakeSettings | None = None, on_event: OnEvent | None = None
    ) -> None:
        """Lock the lake, take over what a crash left, start the threads. Raises HepcatError."""
        self.root = Path(path)
        self.settings = settings or LakeSettings()
        self._event = on_event or _ignore
        open_lake_folder(self.root)
        self._lock_fd = lock_lake(self.root)
        self._mutex = threading.Lock()  # current journal and what was closed but not yet synced
        self._syncing = threading.Lock()  # one at a time fsyncs and hands journals to the keeper
        self._current: JournalWriter | None = None
        self._opened = 0.0
        self._end = 0  # first sequence number beyond the current journal's claim
        self._unsynced: deque[JournalWriter] = deque()
        self._failing = False
        self.rows = 0
        self.octets = 0
        self.syncs = 0
        self._keeper = Keeper(self.root, self.settings, self._event)
        for journal in recover(self.root, self._event):
            self._keeper.add(journal)
        self._stop = threading.Event()
        self._sync_thread = threading.Thread(target=self._sync_loop, name="lake-sync", daemon=True)
        self._sync_thread.start()
        self._keeper.start()
        self._closed = False

    def append(self, batch: Batch) -> None:
        """Write every record of the batch to the journal, or raise StoreUnavailable and keep none."""
        if batch.n == 0:
            return
        with self._mutex:
            try:
                journal = self._journal_for(batch)
                journal.append(batch)
            except OSError as error:
                self._failed(error)
                raise self._unavailable(error) from error
            self.rows += batch.n
            if self._failing:
                self._failing = False
                self._event("storing_resumed", {"path": str(self.root)})
            if journal.rows >= self.settings.journal_rows or journal.octets >= self.settings.journal_octets:
                self._rotate()

    def _journal_for(self, batch: Batch) -> JournalWriter:
        """Return the journal that takes the batch, a new one where the open one cannot."""
        journal = self._current
        if (
            journal is not None
            and journal.extra == batch.extra
            and journal.first + journal.rows + batch.n <= self._end
        ):
            return journal
        self._rotate()
        if self.root.is_dir():  # an unmounted disk must not be mistaken for an empty lake
            (self.root / JOURNAL).mkdir(exist_ok=True)
        count = max(self.settings.journal_rows, batch.n)
        with claim(self.root, count) as first:
            journal = JournalWriter(self.root / JOURNAL / f"{first:019d}.arrows", first, batch.extra)
        self._current, self._opened, self._end = journal, time.monotonic(), first + count
        return journal

    def _rotate(self) -> None:
        """Hand the open journal over for sealing (the sync thread may be using its descriptor now)."""
        journal, self._current = self._current, None
        if journal is None:
            return
        self.octets += journal.octets
        self._unsynced.append(journal)

    def _failed(self, error: OSError) -> None:
        """Give up a journal that could not be cut back to whole batches; readers skip its torn end."""
        if self._current is not None and self._current.broken:
            self._rotate()
        if not self._failing:
            self._failing = True
            self._event("storing_failed", {"path": str(self.root), "error": str(error)})

    def _unavailable(self, error: OSError) -> StoreUnavailable:
        if error.errno in _FULL:
            return StoreUnavailable(
                f"no room for the lake {self.root}", Drop.STORE_FULL, "Free disk space or set a retention."
            )
        return StoreUnavailable(f"cannot write to the lake {self.root}: {error}", Drop.STORE_FAILED)

    def _sync_loop(self) -> None:
        while not self._stop.wait(self.settings.sync_interval):
            self._sync()

    def _sync(self, rotate: bool = False) -> None:
        """Make journals durable; rotate one that is old enough, or gone from its folder."""
        with self._syncing:
            with self._mutex:
                journal = self._current
                if journal is not None and (rotate or self._is_due(journal)):
                    self._rotate()
                    journal = None
            while self._unsynced:
                closed = self._unsynced[0]
                self._fsync(closed)
                self._unsynced.popleft()
                self._keeper.add(closed)
            if journal is not None:
                self._fsync(journal)

    def _is_due(self, journal: JournalWriter) -> bool:
        if journal.is_gone():
            self._event("journal_vanished", {"path": str(journal.path), "rows": journal.rows})
            return True
        return journal.rows > 0 and time.monotonic() - self._opened >= self.settings.journal_age

    def _fsync(self, journal: JournalWriter) -> None:
        try:
            if journal.sync():
                self.syncs += 1
        except OSError as error:
            self._event("sync_failed", {"path": str(journal.path), "error": str(error)})

    def seal(self, timeout: float = 60.0) -> bool:
        """Seal everything appended so far; returns whether that was done within `timeout` seconds."""
        self._sync(rotate=True)
        return self._keeper.wait(timeout)

    def reconfigure(self, settings: LakeSettings) -> None:
        """Take over changed settings while running; each is read when it is next needed."""
        self.settings = settings
        self._keeper.reconfigure(settings)

    def stats(self) -> dict[str, int | float]:
        """Return counters and gauges: rows, octets, syncs, and the keeper's."""
        return {
            "rows": self.rows,
            "journal_octets": self.octets + (self._current.octets if self._current else 0),
            "syncs": self.syncs,
            "journals_waiting": len(self._unsynced) + self._keeper.waiting,
            **self._keeper.counters,
        }

    def close(self, timeout: float = 20.0) -> None:
        """Make everything durable, seal what `timeout` seconds allow, stop the threads. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._stop.set()
        self._sync_thread.join()
        self._sync(rotate=True)
        self._keeper.stop(timeout)
        os.close(self._lock_fd)

    def __enter__(self) -> "LakeWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
