"""Which captures have been imported into a lake: one small JSON file each under <data>/imports/.

In: the hash of a capture's octets. Out: whether, when and as how many messages it was imported.
What can go wrong: OSError of the disk; a record that cannot be read counts as none.

    <data>/imports/<sha256>.json            imported; written when its messages are durable
    <data>/imports/<sha256>.pending.json    about to be: it names the import's first sequence number

The lake publishes an import by one rename, so a crash leaves all of it or nothing. `pending` closes
the gap between that rename and the record: whoever comes next asks the lake whether the number counts.
"""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

FOLDER: Final = "imports"
_DONE: Final = ".json"
_PENDING: Final = ".pending.json"


@dataclass(frozen=True, slots=True)
class Imported:
    """One capture that was imported. sha256: of the file as it is. first: see above."""

    sha256: str
    size: int
    file: str
    imported: str  # time, ISO 8601, UTC
    packets: int
    messages: int
    first: int


def now() -> str:
    """Return the time as it stands in a record."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class Ledger:
    """The records of one lake. Make one for each command; nothing is kept open."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._folder = data / FOLDER

    def find(self, sha256: str) -> Imported | None:
        """Return the record of a capture, None where it was never imported whole."""
        self._settle(sha256)
        return _read(self._folder / (sha256 + _DONE))

    def has_size(self, size: int) -> bool:
        """Whether some imported capture has this size: only then is it worth hashing before reading."""
        with contextlib.suppress(FileNotFoundError):
            for name in os.listdir(self._folder):
                record = _read(self._folder / name) if name.endswith(_DONE) else None
                if record is not None and record.size == size:
                    return True
        return False

    def begin(self, record: Imported) -> None:
        """Say that an import is about to be published. Durable on return."""
        self._write(record, _PENDING)

    def finish(self, record: Imported) -> None:
        """Say that an import has been published. Durable on return."""
        self._write(record, _DONE)
        self._remove(record.sha256)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Be the only one to begin and finish an import; waits for others. Dies with the process."""
        self._folder.mkdir(parents=True, exist_ok=True)
        fd = os.open(self._folder / ".lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def _settle(self, sha256: str) -> None:
        """Decide what became of an import that was about to be published when its process died.

        Call it with the lock held, or for information only: a living import's record looks the same.
        """
        record = _read(self._folder / (sha256 + _PENDING))
        if record is not None and self._counts(record.first):
            self._write(record, _DONE)

    def _counts(self, first: int) -> bool:
        """Whether the lake has published the import that begins at sequence number `first`."""
        from hepcat.stores.lake.catalog import listing

        return any(f.first <= first <= f.last for f in listing(self._data).files)

    def _remove(self, sha256: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._folder / (sha256 + _PENDING))

    def _write(self, record: Imported, suffix: str) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / (record.sha256 + suffix)
        draft = path.with_suffix(f".{os.getpid()}.tmp")
        with draft.open("w") as file:
            json.dump(asdict(record), file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        os.rename(draft, path)
        fd = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def _read(path: Path) -> Imported | None:
    try:
        return Imported(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None
