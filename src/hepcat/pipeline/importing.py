"""Import: a capture file into the lake, once.

In: a path, the lake's folder, settings. Out: `Outcome`: what was stored, what was dropped and why.
The messages count all at once when everything has been read (stores/lake/importer.py), so an import
that dies half-way leaves nothing behind, and repeating it doubles nothing.
What can go wrong: HepcatError for a file that cannot be read or a lake that cannot be written to. A
file that is cut off or damaged is stored as far as it goes, and `progress.problem` says where it ends.
"""

import hashlib
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

import numpy as np

from hepcat.batch.drops import Drop
from hepcat.batch.layout import Batch
from hepcat.config.lake import LakeSettings
from hepcat.errors import HepcatError
from hepcat.pipeline.ledger import Imported, Ledger, now
from hepcat.sources.pcap_file import Progress, open_capture, read_batches

#: Messages in a batch: the kernels' working set stays within the processor's cache.
ROWS: Final = 8192
#: Messages in a block of the lake's import. Measured: with 131,072 fresh memory alone (580 MiB of it)
#: costs a third of the time, with these 390 MiB do.
BLOCK_ROWS: Final = 65_536
_CHUNK: Final = 1 << 20
_DAY: Final = 86_400


@dataclass(slots=True)
class Outcome:
    """What became of one file. `before`: the record of the import that stored it already.

    expired: messages of days that retention deletes as soon as a server looks. damaged: files of the lake
    that were found to be, with the reason (they are not this import's).
    """

    progress: Progress
    drops: Any = field(default_factory=lambda: np.zeros(len(Drop), dtype=np.int64))
    malformed: int = 0
    expired: int = 0
    damaged: list[str] = field(default_factory=list)
    seconds: float = 0.0
    before: Imported | None = None


def import_capture(
    path: Path,
    data: Path,
    settings: LakeSettings,
    *,
    again: bool = False,
    extra: tuple[str, ...] = (),
    aleg: tuple[str, ...] | None = None,
    on_start: Callable[[Progress], None] | None = None,
) -> Outcome:
    """Import one capture file. on_start: handed the progress that goes on while the file is read."""
    began = time.monotonic()
    outcome = Outcome(Progress())
    if path.exists() and not path.is_file() and not path.is_dir():  # opening a pipe would wait for its writer
        raise HepcatError(
            f"{path}: not a regular file",
            "A capture is read twice, to tell it again: save it to a file first.",
        )
    with open_capture(path) as file:
        info = os.fstat(file.fileno())
    outcome.progress.size = info.st_size
    if on_start is not None:
        on_start(outcome.progress)
    ledger, sha256 = Ledger(data), ""
    if not again and ledger.has_size(info.st_size):
        sha256 = _hash(path, info.st_size)
        outcome.before = ledger.find(sha256)
    if outcome.before is None:
        _store(path, data, settings, again, extra, aleg, ledger, sha256, outcome)
    outcome.seconds = time.monotonic() - began
    return outcome


def _store(
    path: Path,
    data: Path,
    settings: LakeSettings,
    again: bool,
    extra: tuple[str, ...],
    aleg: tuple[str, ...] | None,
    ledger: Ledger,
    sha256: str,
    outcome: Outcome,
) -> None:
    """Read the file into an import of the lake, then publish that."""
    from hepcat.stores.lake import ImportWriter

    progress = outcome.progress
    batches = read_batches(path, rows=ROWS, drops=outcome.drops, extra=extra, aleg=aleg, progress=progress)
    first = next(batches, None)  # before the lake is touched: it may be no capture at all
    if first is None:
        return
    hasher = _Hasher(path, progress.size, sha256)
    settings = settings.model_copy(update={"journal_rows": min(settings.journal_rows, BLOCK_ROWS)})
    kept_from = _kept_from(settings)

    def note(event: str, facts: dict[str, Any]) -> None:
        if event in ("journal_damaged", "file_damaged"):
            outcome.damaged.append(f"{facts['path']}: {facts['error']}")

    with ImportWriter(data, settings, note) as writer:
        batch: Batch | None = first
        while batch is not None:
            outcome.malformed += int(np.count_nonzero(batch.malformed))
            outcome.expired += int(np.count_nonzero(batch.ts[: batch.n] < kept_from))
            writer.append(batch)
            batch = next(batches, None)
        record = Imported(
            sha256=hasher.result(),
            size=progress.size,
            file=str(path.resolve()),
            imported=now(),
            packets=progress.packets,
            messages=progress.messages,
            first=writer.first,
            folders=writer.folders(),
        )
        with ledger.lock():
            # Somebody else may have imported the same octets while these were read.
            outcome.before = None if again else ledger.find(record.sha256)
            if outcome.before is None:
                writer.commit((record.sha256, record.encode()))


def _kept_from(settings: LakeSettings) -> int:
    """Return the time (microseconds since the epoch) from which on retention by age keeps messages."""
    if settings.retention_days is None:
        return -(2**63)
    return (int(time.time()) // _DAY - settings.retention_days) * _DAY * 1_000_000


def _hash(path: Path, size: int) -> str:
    """Return the SHA-256 of the first `size` octets of a file."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        _feed(digest, file, size)
    return digest.hexdigest()


def _feed(digest: Any, file: IO[bytes], size: int) -> None:
    buffer = bytearray(_CHUNK)
    view = memoryview(buffer)
    while size > 0:
        got = file.readinto(view[: min(size, _CHUNK)])  # type: ignore[attr-defined]
        if not got:
            return
        digest.update(view[:got])
        size -= got


class _Hasher:
    """Hashes a file in a thread of its own (OpenSSL lets go of the GIL) while it is being read."""

    def __init__(self, path: Path, size: int, known: str) -> None:
        self._sha256 = known
        self._error: OSError | None = None
        self._thread = threading.Thread(target=self._run, args=(path, size), daemon=True)
        if not known:
            self._thread.start()

    def _run(self, path: Path, size: int) -> None:
        try:
            self._sha256 = _hash(path, size)
        except OSError as error:
            self._error = error

    def result(self) -> str:
        """Wait for the hash."""
        if self._thread.ident is not None:
            self._thread.join()
        if self._error is not None:
            raise HepcatError(f"cannot read the capture again to hash it: {self._error}")
        return self._sha256
