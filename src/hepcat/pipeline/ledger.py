"""Which captures have been imported into a lake: one small JSON file each under <data>/imports/.

In: the hash of a capture's octets. Out: whether, when and as how many messages it was imported.
What can go wrong: OSError of the disk; a record that cannot be read counts as none, and so does one
whose messages are all gone (retention).

    <data>/imports/<sha256>.json    imported

The lake publishes an import and its record by the same rename (stores/lake/importer.py), so whatever is
killed and whenever, there are both or neither. Until the record is moved to its place it is looked for
where the rename puts it: in a folder <data>/journal/*.done.
"""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from hepcat.stores.lake.catalog import IMPORTS, JOURNAL, folder_files, record_name

_ENDING: Final = ".json"


@dataclass(frozen=True, slots=True)
class Imported:
    """One capture that was imported. sha256: of the file as it is. first: sequence number in the lake."""

    sha256: str
    size: int
    file: str
    imported: str  # time, ISO 8601, UTC
    packets: int
    messages: int
    first: int
    folders: list[str] = field(default_factory=list)  # of the lake, <table>/date=<date>

    def encode(self) -> bytes:
        """Return the record as it is written."""
        return json.dumps(asdict(self), indent=1).encode()


def now() -> str:
    """Return the time as it stands in a record."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class Ledger:
    """The records of one lake. Make one for each command; nothing is kept open."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._folder = data / IMPORTS

    def find(self, sha256: str) -> Imported | None:
        """Return the record of a capture, None where it is not in the lake (any more)."""
        for path in (self._data / JOURNAL).glob(f"*.done/{record_name(sha256)}"):
            record = _read(path)
            if record is not None:
                return record
        record = _read(self._folder / (sha256 + _ENDING))
        return record if record is not None and self._is_there(record) else None

    def has_size(self, size: int) -> bool:
        """Whether some imported capture has this size: only then is it worth hashing before reading."""
        with contextlib.suppress(FileNotFoundError):
            for name in os.listdir(self._folder):
                record = _read(self._folder / name) if name.endswith(_ENDING) else None
                if record is not None and record.size == size:
                    return True
        return False

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Be the only one to publish an import; waits for others. Dies with the process."""
        self._folder.mkdir(parents=True, exist_ok=True)
        fd = os.open(self._folder / ".lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def _is_there(self, record: Imported) -> bool:
        """Whether the lake still has any of its messages: retention deletes, and so do people.

        A merge joins only files of one folder, and retention takes the lowest numbers of a folder first:
        no merged file's range spans what was deleted there.
        """
        last = record.first + record.messages - 1
        for name in record.folders:
            table, _, date = name.partition("/date=")
            files = folder_files(self._data, table, date)
            if any(f.first <= last and record.first <= f.last for f in files):
                return True
        return not record.folders


def _read(path: Path) -> Imported | None:
    try:
        return Imported(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None
