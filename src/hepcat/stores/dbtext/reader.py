"""Rows of a dbtext table, read back.

In: a folder and a table's name. Out: dicts column -> value, in the order of the file. What can go wrong:
HepcatError: no such table, or a line that is no row, with its number. A last line without its end, and what
stands behind the length that hepcat remembers while it appends, are not there yet and not read.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from hepcat.errors import HepcatError
from hepcat.stores.dbtext.folder import Memory, read_columns
from hepcat.stores.dbtext.format import LONGEST_LINE, Malformed, TextColumn, Value, parse_row


class DbtextReader:
    """A folder of tables. Threads may share one: nothing is kept open."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def tables(self) -> list[str]:
        """Return the files that may be tables, by name."""
        try:
            return sorted(p.name for p in self.folder.iterdir() if p.is_file() and not p.name.startswith("."))
        except OSError as error:
            raise _unreadable(self.folder, error) from None

    def columns(self, table: str) -> list[TextColumn]:
        """Return the columns of a table. Raises HepcatError."""
        try:
            return read_columns(self._path(table))
        except OSError as error:
            raise _unreadable(self._path(table), error) from None

    def rows(self, table: str) -> Iterator[dict[str, Value]]:
        """Read the rows of a table. Raises HepcatError."""
        path = self._path(table)
        try:
            columns = read_columns(path)
            end = Memory.load(self.folder).pending.get(table)
            with path.open("rb") as file:
                yield from _rows(file, path, columns, end)
        except OSError as error:
            raise _unreadable(path, error) from None

    def _path(self, table: str) -> Path:
        if not table or table.startswith(".") or "/" in table or "\0" in table:
            raise HepcatError(f'"{table}" is no name of a table', "A table is a file of the folder.")
        return self.folder / table


def read_rows(folder: Path, table: str) -> Iterator[dict[str, Value]]:
    """Read the rows of a table. Raises HepcatError."""
    return DbtextReader(folder).rows(table)


def _rows(
    file: BinaryIO, path: Path, columns: list[TextColumn], end: int | None
) -> Iterator[dict[str, Value]]:
    at = len(file.readline(LONGEST_LINE))
    number = 1
    while line := file.readline(LONGEST_LINE):
        at += len(line)
        number += 1
        if end is not None and at > end:
            return
        if not line.endswith(b"\n"):
            if len(line) >= LONGEST_LINE:
                raise _no_row(path, number, f"it is longer than {LONGEST_LINE} octets")
            return
        if line == b"\n":
            continue
        try:
            row = parse_row(line[:-1], columns)
        except Malformed as error:
            raise _no_row(path, number, str(error)) from None
        yield row


def _no_row(path: Path, number: int, reason: str) -> HepcatError:
    return HepcatError(
        f"{path}: line {number} is no row: {reason}",
        "Kamailio refuses the whole table then, too. Correct or remove the line.",
    )


def _unreadable(path: Path, error: OSError) -> HepcatError:
    if isinstance(error, FileNotFoundError):
        return HepcatError(f"{path}: there is no such table", "hepcat db create makes it.")
    return HepcatError(f"{path}: cannot be read: {error.strerror}", "Look at its owner and its rights.")
