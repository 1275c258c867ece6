"""ImportWriter: many records at once into the lake, beside a running server, all or nothing.

In: batches. Out: after `commit`, Parquet files; before it, nothing that a reader sees. No journal:
a file can be read again, so records go from memory to Parquet. What can go wrong: HepcatError (no
room, no permission); then nothing of the import is kept. A writer that starts later removes what an
import that died left behind.
"""

import contextlib
import os
import threading
import time
from pathlib import Path
from queue import Queue
from typing import Any, Final

import numpy as np
import pyarrow as pa

from hepcat.batch.layout import NUMERIC, Batch
from hepcat.config.lake import LakeSettings
from hepcat.errors import HepcatError
from hepcat.stores.lake.catalog import JOURNAL, Entry, entry_parts, record_name
from hepcat.stores.lake.claim import IMPORT_RANGE, claim, try_lock
from hepcat.stores.lake.compact import Compactor
from hepcat.stores.lake.keeper import OnEvent, seal_journal
from hepcat.stores.lake.recover import recover
from hepcat.stores.lake.seal import discard, finish, publish, write_parts
from hepcat.stores.lake.writer import open_lake_folder

_DAY: Final = 86_400
#: Octets of records a block holds: with journal_rows records of an ordinary size it is full first.
_BLOCK_OCTETS: Final = 96 * 2**20
#: Threads that seal, and blocks: one is filled while the others are written.
_SEALERS: Final = 2


def _ignore(event: str, facts: dict[str, Any]) -> None:
    """Do nothing with an event."""


class ImportWriter:
    """A Store (stores/store.py) with `commit` and `abort`. Closing without commit aborts."""

    def __init__(
        self, path: Path | str, settings: LakeSettings | None = None, on_event: OnEvent = _ignore
    ) -> None:
        """Claim a range of sequence numbers, take over what dead writers left. Raises HepcatError."""
        self._event = on_event
        self.root = Path(path)
        self.settings = settings or LakeSettings()
        open_lake_folder(self.root)
        try:
            for journal in recover(self.root, on_event):
                seal_journal(self.root, journal.path, self.settings, on_event)
                journal.close()
            with claim(self.root, IMPORT_RANGE) as first:
                self._entry = Entry(first, "import")
                self._folder = self.root / JOURNAL / self._entry.name
                self._folder.mkdir()
                self._lock = try_lock(self._folder)
        except OSError as error:
            raise HepcatError(f"cannot import into the lake {self.root}: {error}") from error
        self._next = first
        self.rows = 0
        self.sealed_octets = 0
        self._block: Batch | None = None
        self._free: Queue[Batch | None] = Queue()
        for _ in range(_SEALERS + 1):
            self._free.put(None)  # blocks are made when they are first needed
        self._full: Queue[tuple[Batch, int] | None] = Queue()
        self._error: BaseException | None = None
        self._threads = [threading.Thread(target=self._seal_loop, daemon=True) for _ in range(_SEALERS)]
        for thread in self._threads:
            thread.start()
        self._closed = False

    @property
    def first(self) -> int:
        """Sequence number of the first record: by it one can tell later whether this import counts."""
        return self._entry.first

    def append(self, batch: Batch) -> None:
        """Copy the records into the current block. Raises HepcatError when the import has failed."""
        at = 0
        while at < batch.n:
            block = self._room(batch, at)
            at += _copy_rows(batch, at, block)
        self.rows += batch.n

    def _room(self, batch: Batch, at: int) -> Batch:
        """Return a block with room for at least one record."""
        block = self._block
        if block is not None:
            size = int(batch.start[at + 1] - batch.start[at])
            if (
                block.extra == batch.extra
                and block.n < block.capacity
                and block.octets + size <= len(block.buffer)
            ):
                return block
            self._hand_over()
        self._check()
        block = self._free.get()
        if block is None or block.extra != batch.extra:
            block = Batch.empty(self.settings.journal_rows, _BLOCK_OCTETS, batch.extra)
        block.n = 0
        self._block = block
        return block

    def _hand_over(self) -> None:
        block, self._block = self._block, None
        if block is not None and block.n:
            self._full.put((block, self._next))
            self._next += block.n

    def _seal_loop(self) -> None:
        while (work := self._full.get()) is not None:
            block, first = work
            try:
                if self._error is None:
                    today = int(time.time()) // _DAY
                    self.sealed_octets += write_parts(block.trim(), first, self._folder, today, self.settings)
            except Exception as error:
                self._error = error
            finally:
                self._free.put(block)

    def _check(self) -> None:
        error = self._error
        if error is not None:
            self.abort()
            raise HepcatError(
                f"cannot import into the lake {self.root}: {error}", "Nothing of the import was kept."
            ) from error

    def _stop(self) -> None:
        for _ in self._threads:
            self._full.put(None)
        for thread in self._threads:
            thread.join()
        self._free = Queue()
        self._block = None

    def folders(self) -> list[str]:
        """Write what was appended and return the folders it goes to. Only `commit` may follow."""
        self._hand_over()
        self._stop()
        self._check()
        return sorted({f"{f.table}/date={f.date}" for f in entry_parts(self.root, self._entry)})

    def commit(self, record: tuple[str, bytes] | None = None) -> None:
        """Make everything appended count, in one step, durably. Raises HepcatError, keeping nothing.

        record: SHA-256 of what is imported and what to write about it; it counts in the same step.
        """
        self._hand_over()
        self._stop()
        self._check()
        try:
            if record is not None:
                with (self._folder / record_name(record[0])).open("wb") as file:
                    file.write(record[1])
                    file.flush()
                    os.fsync(file.fileno())
            publish(self.root, self._entry)
            finish(self.root, self._entry.first)
            self._release()
        except OSError as error:
            raise HepcatError(f"cannot import into the lake {self.root}: {error}") from error
        if self.settings.compact:
            self._merge()

    def _merge(self) -> None:
        """Merge what is small. The import counts already: what fails here is left to the server."""
        with contextlib.suppress(OSError, ValueError, MemoryError, pa.ArrowException):
            compactor = Compactor(self.root, self.settings, self._event)
            while compactor.step():
                pass

    def abort(self) -> None:
        """Remove everything appended. Idempotent."""
        if not self._closed:
            if threading.current_thread() not in self._threads:
                self._stop()
            discard(self.root, self._entry)
            self._release()

    def _release(self) -> None:
        self._closed = True
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def close(self) -> None:
        """End; what was not committed is removed. Idempotent."""
        self.abort()

    def __enter__(self) -> "ImportWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _copy_rows(batch: Batch, at: int, block: Batch) -> int:
    """Copy as many rows from `at` on as the block has room for; returns how many."""
    n = block.n
    base = int(batch.start[at])
    room = base + len(block.buffer) - block.octets
    end = min(batch.n, at + block.capacity - n)
    end = min(end, int(np.searchsorted(batch.start[: end + 1], room, side="right")) - 1)
    count = end - at
    size = int(batch.start[end]) - base
    to = block.octets
    block.buffer[to : to + size] = batch.buffer[base : base + size]
    block.start[n + 1 : n + count + 1] = batch.start[at + 1 : end + 1] - base + to
    for name, _, _ in NUMERIC:
        getattr(block, name)[n : n + count] = getattr(batch, name)[at:end]
    for name in ("src_ip", "dst_ip", "fields"):
        getattr(block, name)[n : n + count] = getattr(batch, name)[at:end]
    block.n = n + count
    return count
