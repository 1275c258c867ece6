"""The keeper: one background thread that seals, deletes what is too old, and merges small files.

In: closed journals. Out: Parquet files, counters, events. What can go wrong: no room or no disk;
then the journal stays, is searchable as before, and is tried again with growing pauses. Journals
that wait are on disk, not in memory: one is sealed at a time.
"""

import contextlib
import dataclasses
import datetime as dt
import os
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol

import pyarrow as pa

from hepcat.config.lake import LakeSettings
from hepcat.stores.lake.catalog import JOURNAL, Entry
from hepcat.stores.lake.compact import Compactor
from hepcat.stores.lake.fault import fault
from hepcat.stores.lake.journal import JournalReader
from hepcat.stores.lake.retention import retain
from hepcat.stores.lake.seal import discard, finish, publish, write_parts

_DAY: Final = 86_400
_LONGEST_PAUSE: Final = 30.0
_NICE: Final = 5
_RETENTION_EVERY: Final = 60.0
_MERGE_EVERY: Final = 5.0
_MERGE_AFTER_SEAL: Final = 0.5
_SEALS_BEFORE_TIDY: Final = 8


OnEvent = Callable[[str, dict[str, Any]], None]


class Journal(Protocol):
    """A closed journal; closing it gives up its lock."""

    path: Path
    first: int

    def close(self) -> None:
        """Give up the lock."""


def be_nice(steps: int) -> None:
    """Let threads that read sockets go first. Linux keeps the nice value a thread, not a process."""
    with contextlib.suppress(OSError):
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + steps)


def seal_journal(root: Path, path: Path, settings: LakeSettings, event: OnEvent) -> tuple[int, int]:
    """Seal one journal; returns (rows, octets written). Raises OSError, MemoryError with the journal kept.

    What of it cannot be read is told by an event, and the file is kept under the name *.damaged.
    """
    first = int(path.name[:19])
    reader = JournalReader(path)
    try:
        rows, octets = _seal(root, path, reader, settings, event)
    except (OSError, MemoryError):
        discard(root, Entry(first, "seal"))  # its room may be what is missing
        raise
    except Exception as error:  # damaged octets: set it aside, loudly, rather than stop sealing
        discard(root, Entry(first, "seal"))
        os.rename(path, _damaged(path))
        event("journal_damaged", {"path": str(_damaged(path)), "error": repr(error)})
        return 0, 0
    finally:
        reader.close()
    return rows, octets


def _seal(
    root: Path, path: Path, reader: JournalReader, settings: LakeSettings, event: OnEvent
) -> tuple[int, int]:
    batch = reader.read()
    entry = Entry(reader.first, "seal")
    discard(root, entry)
    folder = root / JOURNAL / entry.name
    folder.mkdir()
    fault("seal")
    octets = 0
    if batch is not None:
        octets = write_parts(batch, reader.first, folder, int(time.time()) // _DAY, settings)
    lost = reader.damage()
    if lost:
        _keep(path)
    publish(root, entry)
    finish(root, reader.first)
    rows = 0 if batch is None else batch.n
    if lost:
        error = f"{lost} octets of it cannot be read"
        facts = {"path": str(_damaged(path)), "error": error, "octets_lost": lost, "rows_sealed": rows}
        event("journal_damaged", facts)
    return rows, octets


def _damaged(path: Path) -> Path:
    return path.with_name(f"{path.name}.damaged")


def _keep(path: Path) -> None:
    """Keep a damaged journal under a name that nobody reads, also when its own name is removed."""
    with contextlib.suppress(FileExistsError):  # from a sealing that did not get to its end
        try:
            os.link(path, _damaged(path))
        except FileExistsError:
            raise
        except OSError:  # a file system without links
            shutil.copyfile(path, _damaged(path))


class Keeper:
    """Owns the thread. `add` and `wait` may be called from any thread."""

    def __init__(self, root: Path, settings: LakeSettings, event: OnEvent) -> None:
        """Prepare; `start` starts the thread."""
        self._root, self._settings, self._event = root, settings, event
        self._queue: deque[Journal] = deque()
        self._wake = threading.Condition()
        self._busy = False
        self._stopping = False
        self._deadline = 0.0
        self._pause = 0.0
        self._thread = threading.Thread(target=self._run, name="lake-keeper", daemon=True)
        self.counters: dict[str, int | float] = {
            "sealed_rows": 0,
            "sealed_octets": 0,
            "seals": 0,
            "seal_failures": 0,
            "seal_seconds": 0.0,
            "retention_files": 0,
            "retention_rows": 0,
            "retention_octets": 0,
        }
        self._compactor = Compactor(root, settings, event)
        self.counters.update(self._compactor.counters)
        self._next_retention = self._next_merge = 0.0
        self._since_tidy = 0

    def reconfigure(self, settings: LakeSettings) -> None:
        """Take over changed settings; what retention now says is looked at soon."""
        self._settings = settings
        self._compactor.reconfigure(settings)
        self._next_retention = 0.0

    @property
    def waiting(self) -> int:
        """Closed journals that are not sealed yet."""
        return len(self._queue)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def add(self, journal: Journal) -> None:
        """Hand over a closed journal."""
        with self._wake:
            self._queue.append(journal)
            self._wake.notify_all()

    def wait(self, timeout: float) -> bool:
        """Wait until nothing is left to seal; False after `timeout` seconds."""
        with self._wake:
            return self._wake.wait_for(lambda: not self._queue, timeout)

    def stop(self, timeout: float) -> None:
        """Seal what `timeout` seconds allow, stop the thread; what is left is sealed at the next start."""
        with self._wake:
            self._stopping = True
            self._deadline = time.monotonic() + timeout
            self._wake.notify_all()
        self._thread.join()
        while self._queue:
            self._queue.popleft().close()

    def _run(self) -> None:
        be_nice(_NICE)
        while True:
            with self._wake:
                if not self._queue and not self._stopping:
                    self._wake.wait(1.0)
                elif self._pause:
                    self._wake.wait(self._pause)
                if self._stopping and (not self._queue or time.monotonic() > self._deadline or self._pause):
                    return
            if self._queue:
                self._seal(self._queue[0])
            # Also when journals keep coming: else files would pile up as long as the load lasts.
            if not self._queue or self._since_tidy >= _SEALS_BEFORE_TIDY:
                self._since_tidy = 0
                self._tidy()

    def _seal(self, journal: Journal) -> None:
        began = time.monotonic()
        try:
            rows, octets = seal_journal(self._root, journal.path, self._settings, self._event)
        except FileNotFoundError as error:
            if journal.path.exists():
                self._seal_failed(journal, error)
                return
            self._event("journal_lost", {"path": str(journal.path)})
            rows = octets = 0
        except (OSError, MemoryError) as error:
            self._seal_failed(journal, error)
            return
        self._pause = 0.0
        journal.close()
        seconds = time.monotonic() - began
        for name, value in (("rows", rows), ("octets", octets), ("seconds", seconds)):
            key = "seal_seconds" if name == "seconds" else f"sealed_{name}"
            self.counters[key] += value
        self.counters["seals"] += 1
        self._since_tidy += 1
        self._next_merge = min(self._next_merge, time.monotonic() + _MERGE_AFTER_SEAL)
        self._event("sealed", {"first": journal.first, "rows": rows, "octets": octets, "seconds": seconds})
        with self._wake:
            self._queue.popleft()
            self._wake.notify_all()

    def _seal_failed(self, journal: Journal, error: OSError | MemoryError) -> None:
        self.counters["seal_failures"] += 1
        if not self._pause:
            self._event("seal_failed", {"path": str(journal.path), "error": str(error) or repr(error)})
        self._pause = min(max(2 * self._pause, 0.5), _LONGEST_PAUSE)

    def _tidy(self) -> None:
        """Do what has time: retention and one merge. More of it at the next turn."""
        now = time.monotonic()
        try:
            if now >= self._next_retention:
                self._next_retention = now + _RETENTION_EVERY
                deleted = retain(self._root, self._settings, dt.datetime.now(dt.UTC).date())
                if deleted.files:
                    for name in ("files", "rows", "octets"):
                        self.counters[f"retention_{name}"] += getattr(deleted, name)
                    self._event("retention", dataclasses.asdict(deleted))
            if self._settings.compact and now >= self._next_merge and not self._compactor.step():
                self._next_merge = now + _MERGE_EVERY
        except (OSError, ValueError, pa.ArrowException) as error:
            self._next_merge = now + _LONGEST_PAUSE
            self._event("tidy_failed", {"path": str(self._root), "error": str(error)})
        self.counters.update(self._compactor.counters)
