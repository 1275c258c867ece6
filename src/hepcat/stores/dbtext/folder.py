"""A dbtext folder: where it is, its files, and what hepcat remembers of what it appended to them.

In: the URL of a database. Out: paths, the table files, and `Memory`, the side file. What can go wrong:
HepcatError with what to do (no such folder, no right, not a table, another hepcat writes to it).

The side file makes appending idempotent. Before rows are appended, it says how long the files were; when they
are on disk, it says instead which records are written. So whoever finds lengths in it cuts the files back.
"""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from hepcat.errors import HepcatError
from hepcat.stores.dbtext.format import LONGEST_LINE, Malformed, TextColumn, make_header, parse_header
from hepcat.stores.writer import Range

MEMORY: Final = ".hepcat_written.json"
LOCK: Final = ".hepcat_lock"
#: The file of versions that Kamailio's modules ask; the capture module itself does not.
VERSION_COLUMNS: Final = [
    TextColumn("id", "int", auto=True),
    TextColumn("table_name", "string"),
    TextColumn("table_version", "int"),
]


def folder_of(url: str) -> Path:
    """Return the folder of text:///FOLDER. Raises HepcatError where it names none."""
    path = unquote(url.partition("://")[2])
    if not path:
        raise HepcatError(
            "the URL of a dbtext store names no folder", "Write it like text:///var/lib/dbtext."
        )
    return Path(path)


def need_folder(folder: Path) -> None:
    """Raise HepcatError where the folder is not there."""
    if not folder.is_dir():
        raise HepcatError(
            f"{folder}: there is no such folder", f"Make it and its tables: hepcat db create text://{folder}"
        )


def read_columns(path: Path) -> list[TextColumn]:
    """Read a file's first line. Raises HepcatError where the file is no table, OSError."""
    with path.open("rb") as file:
        line = file.readline(LONGEST_LINE)
    try:
        if not line.endswith(b"\n"):
            raise Malformed("its first line has no end")
        return parse_header(line)
    except Malformed as error:
        raise HepcatError(
            f"{path} is no table of dbtext: {error}", "Move the file away; hepcat db create makes a new one."
        ) from None


def create_table(folder: Path, name: str, columns: list[TextColumn], rows: bytes = b"") -> bool:
    """Make a table's file unless it is there, whole or not at all; say whether it was made."""
    path = folder / name
    if path.exists():
        return False
    replace_file(path, [make_header(columns), rows])
    return True


def replace_file(path: Path, parts: Iterable[bytes]) -> None:
    """Write a file under another name, make it durable, and give it its name."""
    draft = path.with_name(f".{path.name}.new")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640)
    try:
        with os.fdopen(handle, "wb") as file:
            if path.exists():  # whoever could read it can read it then
                os.fchmod(handle, path.stat().st_mode & 0o777)
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)
    except BaseException:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def lock_folder(folder: Path) -> int:
    """Take the folder for this process; return a handle that holds it until it is closed.

    Raises HepcatError where another hepcat has it, OSError.
    """
    handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise HepcatError(
            f"{folder}: another hepcat writes to it", "Stop it, or give each a folder of its own."
        ) from None
    except BaseException:
        os.close(handle)
        raise
    return handle


@dataclass(slots=True)
class Memory:
    """The side file. pending: table -> length before what is being appended. written: writer -> ranges."""

    folder: Path
    pending: dict[str, int] = field(default_factory=dict)
    written: dict[str, list[Range]] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path) -> "Memory":
        """Read it; nothing is remembered where there is none. Raises HepcatError, OSError."""
        try:
            document = json.loads((folder / MEMORY).read_bytes())
            return cls(
                folder,
                {str(name): int(size) for name, size in document["pending"].items()},
                {
                    str(name): [(int(a), int(b)) for a, b in found]
                    for name, found in document["written"].items()
                },
            )
        except FileNotFoundError:
            return cls(folder)
        except (ValueError, TypeError, KeyError, AttributeError):
            raise HepcatError(
                f"{folder / MEMORY} cannot be read: it is not what hepcat wrote",
                "Without it, rows of the last batch may be there twice. Remove it to go on.",
            ) from None

    def save(self) -> None:
        """Write it, durable. Raises OSError."""
        document: dict[str, Any] = {"pending": self.pending, "written": self.written}
        replace_file(self.folder / MEMORY, [json.dumps(document, indent=1).encode() + b"\n"])

    def cut_back(self) -> None:
        """Undo an append that was not finished. Raises OSError."""
        if not self.pending:
            return
        for name, size in self.pending.items():
            path = self.folder / name
            if path.exists() and path.stat().st_size > size:
                os.truncate(path, size)
                with path.open("rb") as file:
                    os.fsync(file.fileno())
        self.pending = {}
        self.save()

    def add(self, writer: str, done: Range, floor: int) -> None:
        """Remember a range as written; forget what lies below `floor`, and join what touches."""
        ranges: list[Range] = []
        for first, last in sorted([*self.written.get(writer, []), done]):
            if ranges and first <= ranges[-1][1] + 1:
                ranges[-1] = (ranges[-1][0], max(last, ranges[-1][1]))
            else:
                ranges.append((first, last))
        self.written[writer] = [found for found in ranges if found[1] >= floor]
