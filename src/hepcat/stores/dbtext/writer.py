"""Write batches to a dbtext folder, once each, whatever fails in between.

In: batches (stores/writer.py). Out: rows at the end of the table files, in the order of the batch, numbered
on in `id`. What can go wrong: StoreUnavailable (disk full, input/output error); from `open` also HepcatError,
where waiting does not help (no such folder or table, no right, another hepcat).

A batch: the side file says how long the tables are (folder.py), the rows are appended and made durable, the
side file says that they are written. A value is cut where Kamailio's module would refuse to read the table.
Columns that a file has and the classic table has not are filled with null, or 0 where that is not allowed.
"""

import errno
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from hepcat.batch.drops import Drop
from hepcat.batch.layout import Batch
from hepcat.config.databases import DatabaseSettings
from hepcat.errors import HepcatError
from hepcat.stores.classic.plan import DBTEXT, Cell, Charset, RowMaker
from hepcat.stores.classic.schema import SIP_CAPTURE, Table
from hepcat.stores.classic.tables import Group, NearNames, TableChoice, is_dated
from hepcat.stores.dbtext.folder import (
    Memory,
    create_table,
    folder_of,
    lock_folder,
    need_folder,
    read_columns,
    replace_file,
)
from hepcat.stores.dbtext.format import LONGEST, LONGEST_LINE, fill_column, make_columns
from hepcat.stores.store import StoreUnavailable
from hepcat.stores.writer import Range, Written

#: How much of a file's end is read for the number of its last row: more than a row has.
_TAIL: Final = 2**20
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_DAY: Final = 86_400
#: Most tables of which is kept in memory how they are written.
_TABLES: Final = 64


@dataclass(slots=True)
class TableFile:
    """A table that is written to."""

    path: Path
    maker: RowMaker
    next_id: int


class DbtextWriter:
    """The BatchWriter of a folder. One thread uses it."""

    def __init__(self, settings: DatabaseSettings) -> None:
        self._settings = settings
        self._folder = folder_of(settings.read())
        self._choice = TableChoice(settings)
        self._near = NearNames(settings.table_name)
        self._writer = ""
        self._memory = Memory(self._folder)
        self._tables: dict[str, TableFile] = {}
        self._lock = -1

    def open(self, writer: str) -> list[Range]:
        """Take the folder, undo what was not finished, and return what is written."""
        self.close()
        need_folder(self._folder)
        try:
            self._lock = lock_folder(self._folder)
            self._memory = Memory.load(self._folder)
            self._memory.cut_back()
            for name in self._choice.names:
                if not is_dated(name) and not (self._folder / name).exists():
                    raise HepcatError(
                        f"{self._folder / name}: there is no such table",
                        f"Make it: hepcat db create --store {self._settings.name}",
                    )
                if not is_dated(name):
                    self._table(SIP_CAPTURE, name)
        except OSError as error:
            self.close()
            if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise HepcatError(
                    f"{error.filename or self._folder}: no right to write",
                    "Give the folder and its files to the user of hepcat.",
                ) from None
            raise self._explain(error) from None
        except HepcatError:
            self.close()
            raise
        self._writer = writer
        return list(self._memory.written.get(writer, []))

    def write(self, batch: Batch, first: int, floor: int) -> Written:
        """Append the rows of a batch."""
        if self._lock < 0:
            raise StoreUnavailable(f"{self._folder}: not open", Drop.STORE_FAILED)
        groups, drops = self._choice.groups(batch)
        written = Written(drops=drops)
        try:
            parts = list(self._parts(batch, groups, written))
            if parts:
                self._memory.pending = {file.path.name: file.path.stat().st_size for file, _ in parts}
                self._memory.save()
                for file, data in parts:
                    _append(file, data)
            self._memory.pending = {}
            self._memory.add(self._writer, (first, first + batch.n - 1), floor)
            self._memory.save()
        except OSError as error:
            self.close()
            raise self._explain(error) from None
        return written

    def maintain(self) -> None:
        """Drop rows, and tables named by date, that are older than `retention_days`."""
        if self._settings.retention_days is None or self._lock < 0:
            return
        oldest = int(time.time()) - self._settings.retention_days * _DAY
        try:
            for name in self._choice.names:
                if is_dated(name):
                    _drop_dated(self._folder, name, oldest)
            for table in self._tables.values():
                if table.path.exists():
                    _drop_old(table, oldest)
        except OSError as error:
            raise self._explain(error) from None

    def close(self) -> None:
        """Let the folder go. Idempotent."""
        self._tables = {}
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _parts(
        self, batch: Batch, groups: list[Group], written: Written
    ) -> Iterator[tuple[TableFile, memoryview]]:
        """Make the rows of each table; count them and what they lost."""
        for group in groups:
            file = self._table(group.table, group.name)
            if file is None:
                drop = Drop.ROW_REFUSED if group.table is SIP_CAPTURE else Drop.NO_TABLE
                written.drops[drop] = written.drops.get(drop, 0) + len(group.rows)
                continue
            rows = file.maker.octets(batch, group.rows, file.next_id)
            file.next_id += rows.count
            written.rows += rows.count
            written.cut += rows.cut
            written.replaced += rows.replaced
            yield file, memoryview(rows.data)  # type: ignore[arg-type]

    def _table(self, table: Table, name: str) -> TableFile | None:
        """Return a table's file, made where its name has a date of these days; None where there is none."""
        file = self._tables.get(name)
        if file is None:
            path = self._folder / name
            if table is SIP_CAPTURE and name in self._near:
                create_table(self._folder, name, make_columns(table))
            if not path.exists():  # looked for again with the next batch: somebody may make it
                return None
            if len(self._tables) >= _TABLES:  # names with a date
                self._tables.clear()
            file = self._tables[name] = self._open_table(table, path)
        return file

    def _open_table(self, table: Table, path: Path) -> TableFile:
        cells = [Cell(fill_column(column, table), LONGEST, Charset.OCTETS) for column in read_columns(path)]
        return TableFile(path, RowMaker(cells, DBTEXT, self._settings, table), _last_id(path) + 1)

    def _explain(self, error: OSError) -> StoreUnavailable:
        """Say in words what went wrong."""
        drop = Drop.STORE_FULL if error.errno in _FULL else Drop.STORE_FAILED
        where = error.filename or self._folder
        return StoreUnavailable(f"{where}: {error.strerror}", drop, "Writing goes on by itself.")


def _append(file: TableFile, data: memoryview) -> None:
    """Add rows to a file and make them durable. Raises OSError."""
    with file.path.open("r+b") as out:
        size = out.seek(0, os.SEEK_END)
        if size:
            out.seek(-1, os.SEEK_END)
            if out.read(1) != b"\n":  # somebody's last line has no end
                out.write(b"\n")
        out.seek(0, os.SEEK_END)
        out.write(data)
        out.flush()
        os.fsync(out.fileno())


def _last_id(path: Path) -> int:
    """Return the number that a file's last row begins with, 0 where there is none."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - _TAIL, 0))
        lines = file.read().rstrip(b"\n").split(b"\n")
    digits = lines[-1].partition(b":")[0]
    return int(digits) if digits.isdigit() and len(digits) < 20 else 0


def _drop_old(table: TableFile, oldest: int) -> None:
    """Write a file anew without rows from before `oldest`; nothing is done for less than a day of them."""
    columns = read_columns(table.path)
    at = next((i for i, column in enumerate(columns) if column.name == "date"), None)
    if at is None or columns[at].is_text:
        return

    def date_of(line: bytes) -> int:
        # Text may hold escaped colons, but none stands before the date in a table that hepcat made.
        value = line.split(b":", at + 1)[at : at + 1]
        return int(value[0]) if value and value[0].isdigit() else oldest

    with table.path.open("rb") as file:
        file.readline(LONGEST_LINE)
        first = file.readline(LONGEST_LINE)
        if not first or date_of(first) >= oldest - _DAY:
            return
        file.seek(0)
        kept = (line for i, line in enumerate(file) if i == 0 or date_of(line) >= oldest)
        replace_file(table.path, kept)


def _drop_dated(folder: Path, pattern: str, oldest: int) -> None:
    """Remove the tables of a dated name whose time ended before `oldest`."""
    for path in folder.iterdir():
        try:
            begin = datetime.strptime(path.name, pattern).replace(tzinfo=UTC)
        except ValueError:
            continue
        if "%d" in pattern and (begin + timedelta(days=1)).timestamp() < oldest:
            path.unlink()
