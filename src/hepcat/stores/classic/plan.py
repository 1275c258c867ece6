"""Rows of a classic table: which columns, in which flavour; octets for a bulk load, or Python tuples.

In: the columns that the actual table has (`Cell`: a column of schema.py with the width and character set that
it has there), a `Flavour`, and the database's settings. Out: `RowMaker`, which turns batches into rows. What
can go wrong: nothing; a value that does not fit its column is cut or gets `?`, and is counted.

    maker = RowMaker(original_cells(SIP_CAPTURE, Charset.UTF8MB4), LOAD_DATA, settings)
    rows = maker.octets(batch, numbers)      # rows.data is what the database reads
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from functools import lru_cache
from typing import Any, Final

import numpy as np

from hepcat.batch.layout import Array, Batch
from hepcat.batch.schema import FIELD_INDEX
from hepcat.config.databases import DatabaseSettings
from hepcat.stores.classic.rows import RowKernel
from hepcat.stores.classic.schema import (
    PROTO_OF,
    SIP_CAPTURE,
    TYPE_OF,
    Column,
    Source,
    Table,
    header_of,
    header_slice,
)


class Charset(IntEnum):
    """What a column can hold. The kernel goes by these numbers (values.pxd has them too)."""

    OCTETS = 0  #: any octets: blob, varbinary
    LATIN1 = 1  #: one octet a character, and any octet is one
    UTF8MB3 = 2  #: UTF-8 without the characters of four octets
    UTF8MB4 = 3  #: UTF-8
    NO_NUL = 4  #: UTF-8 without NUL: text of PostgreSQL
    BYTEA = 5  #: any octets, written so that COPY takes them for a bytea


@dataclass(frozen=True, slots=True)
class Cell:
    """A column of the actual table. width: in characters (octets where charset has no characters)."""

    column: Column
    width: int | None
    charset: Charset


@dataclass(frozen=True, slots=True)
class Flavour:
    """How rows are written: what stands before, between and behind values, and what is escaped.

    escapes: octet -> letter behind a backslash. also: an octet from 32 to 127 among them, besides the
    backslash. growth: how many octets one octet becomes at most. dates: (first, last) second of a date.
    measured: the length stands before each value instead of something between them.
    """

    separator: bytes
    closing: bytes
    escapes: dict[int, int]
    missing: bytes
    opening: bytes = b""
    quoted: bool = False
    measured: bool = False
    also: int = 0x5C
    growth: int = 2
    dates: tuple[int, int] = (0, 253_402_214_399)


_SLASHES: Final = {0x09: ord("t"), 0x0A: ord("n"), 0x5C: 0x5C}
#: What a timestamp of MariaDB and MySQL holds, a day inside: 1970-01-01 to 2038-01-19 in any time zone.
_MYSQL_DATES: Final = (86_400, 2_147_397_247)
#: LOAD DATA ... CHARACTER SET binary FIELDS TERMINATED BY '\t' ESCAPED BY '\\' LINES TERMINATED BY '\n'
LOAD_DATA: Final = Flavour(b"\t", b"\n", {**_SLASHES, 0x00: ord("0")}, rb"\N", dates=_MYSQL_DATES)
#: COPY ... FROM STDIN in text format
COPY: Final = Flavour(b"\t", b"\n", {**_SLASHES, 0x0D: ord("r")}, rb"\N", growth=5)
#: INSERT ... VALUES of MariaDB and MySQL: rows with a comma behind each, the last one included; not for
#: a session with NO_BACKSLASH_ESCAPES.
VALUES: Final = Flavour(
    b",",
    b"),",
    {0x00: ord("0"), 0x27: 0x27, 0x5C: 0x5C},
    b"NULL",
    opening=b"(",
    quoted=True,
    also=0x27,
    dates=_MYSQL_DATES,
)
#: Rows of COM_STMT_BULK_EXECUTE of MariaDB: nothing is escaped.
BULK: Final = Flavour(b"", b"", {}, b"", measured=True, growth=1, dates=_MYSQL_DATES)
#: Kamailio's dbtext
DBTEXT: Final = Flavour(b":", b"\n", {**_SLASHES, 0x00: ord("0"), 0x0D: ord("r"), 0x3A: 0x3A}, b"", also=0x3A)
#: The values alone; their ends are known
PLAIN: Final = Flavour(b"", b"", {}, b"", growth=1)


@dataclass(slots=True)
class Rows:
    """Octets for a bulk load. cut, replaced: how many values were changed."""

    data: Array
    count: int
    cut: int
    replaced: int


@dataclass(slots=True)
class Tuples:
    """The same as Python values, a tuple a row: str or bytes (by charset), int, datetime, None."""

    values: list[tuple[Any, ...]]
    cut: int
    replaced: int


def original_cells(table: Table, charset: Charset, names: Iterable[str] | None = None) -> list[Cell]:
    """Return the cells of a table as the original script makes it; names: only those columns."""
    wanted = None if names is None else {name.lower() for name in names}
    return [Cell(c, c.width, charset) for c in table.columns if wanted is None or c.name in wanted]


@dataclass(slots=True)
class Plan:
    """What the kernel reads: the plan of a maker as arrays."""

    source: Array
    width: Array
    charset: Array
    escape: Array
    opening: Array
    separator: Array
    closing: Array
    missing: Array
    node: Array
    quoted: bool
    measured: bool
    also: int
    growth: int
    proto_of: Array = field(default_factory=lambda: _table_of(PROTO_OF))
    type_of: Array = field(default_factory=lambda: _table_of(TYPE_OF))
    binary: Array = field(default_factory=lambda: _octets(b"_binary"))


class RowMaker:
    """Makes rows of one table's columns. One thread uses it."""

    def __init__(
        self,
        cells: Sequence[Cell],
        flavour: Flavour,
        settings: DatabaseSettings,
        table: Table = SIP_CAPTURE,
        utc: bool = False,
    ) -> None:
        """utc: dates are written as UTC, for a session whose time zone is; else as local time."""
        self.cells = tuple(cells)
        self._flavour = flavour
        self._utc = utc
        self._headers = [header_of(cell.column, settings) for cell in self.cells]
        self._is_sip = table is SIP_CAPTURE
        self._fields: dict[tuple[str, ...], tuple[Array, Array]] = {}
        self._kernel = RowKernel(_plan(self.cells, flavour, settings.capture_node))
        self._plain = RowKernel(_plan(self.cells, PLAIN, settings.capture_node))

    def octets(self, batch: Batch, rows: Array, sequence: int = 0) -> Rows:
        """Make the octets of a bulk load. sequence: the number of the first row, for Source.SEQUENCE."""
        data = self._run(self._kernel, batch, rows, sequence, None)
        return Rows(data, len(rows), self._kernel.values.cut, self._kernel.values.replaced)

    def tuples(self, batch: Batch, rows: Array, sequence: int = 0) -> Tuples:
        """Make Python values. Dates are naive, in the time zone that the maker was made for."""
        ends = np.zeros(len(rows) * len(self.cells), dtype=np.int64)
        text = self._run(self._plain, batch, rows, sequence, ends).tobytes()
        begins = np.concatenate((np.zeros(1, dtype=np.int64), ends[:-1])) if len(ends) else ends
        shape = (len(rows), len(self.cells))
        first, last = begins.reshape(shape).T.tolist(), ends.reshape(shape).T.tolist()
        columns = [
            [make(text[a:b]) for a, b in zip(first[c], last[c], strict=True)]
            for c, make in enumerate(map(_value_of, self.cells))
        ]
        values = list(zip(*columns, strict=True)) if columns else [()] * len(rows)
        return Tuples(values, self._plain.values.cut, self._plain.values.replaced)

    def _run(self, kernel: RowKernel, batch: Batch, rows: Array, sequence: int, ends: Array | None) -> Array:
        rows = np.ascontiguousarray(rows, dtype=np.int64)
        if len(rows) and (int(rows.min()) < 0 or int(rows.max()) >= batch.n):
            raise IndexError("row outside the batch")
        names, others = self._slices(batch.extra)
        seconds = np.clip(batch.ts[rows] // 1_000_000, *self._flavour.dates)
        local = seconds if self._utc else seconds + local_offsets(seconds)
        kernel.take(batch, names, others, rows, local, sequence)
        values = kernel.values
        out = np.empty(batch.octets * 3 // 2 + 600 * len(rows) + 4_096, dtype=np.uint8)
        done = 0
        while True:
            kernel.give(out, ends)
            done = kernel.run(done)
            if done == len(rows):
                return out[: values.to]
            # The bound that the kernel keeps is far above what a row takes: a row of 64 KiB asks for much.
            more = np.empty(2 * len(out) + 1_000_000, dtype=np.uint8)
            more[: values.to] = out[: values.to]
            out = more

    def _slices(self, extra: tuple[str, ...]) -> tuple[Array, Array]:
        """Return for each cell its slice of a batch with these extra headers, and a second choice."""
        if extra not in self._fields:
            names = np.full(len(self.cells), -1, dtype=np.int32)
            others = np.full(len(self.cells), -1, dtype=np.int32)
            for i, (cell, header) in enumerate(zip(self.cells, self._headers, strict=True)):
                if header:
                    names[i] = header_slice(header, extra)
                elif cell.column.field is not None:
                    names[i] = cell.column.field
                if cell.column.source is Source.CORRELATION and self._is_sip:
                    others[i] = FIELD_INDEX["call_id"]
                if cell.column.source is Source.LINE:
                    others[i] = FIELD_INDEX["payload"]  # no longer than this
            self._fields = {extra: (names, others)}
        return self._fields[extra]


def local_offsets(seconds: Array) -> Array:
    """Return how many seconds local time is ahead of UTC at each time.

    Offsets change at quarters of an hour, so each quarter is asked about once.
    """
    quarters = seconds // 900
    if len(quarters) == 0 or int(quarters.min()) == int(quarters.max()):
        return np.full(len(quarters), _local_offset(int(quarters[0])) if len(quarters) else 0, dtype=np.int64)
    distinct, which = np.unique(quarters, return_inverse=True)
    return np.array([_local_offset(quarter) for quarter in distinct.tolist()], dtype=np.int64)[which]


@lru_cache(maxsize=4_096)
def _local_offset(quarter: int) -> int:
    return time.localtime(quarter * 900).tm_gmtoff


def _plan(cells: Sequence[Cell], flavour: Flavour, node: str) -> Plan:
    escape = np.zeros(128, dtype=np.uint8)
    for octet, letter in flavour.escapes.items():
        escape[octet] = letter
    return Plan(
        source=np.array([cell.column.source for cell in cells], dtype=np.int32),
        width=np.array([-1 if cell.width is None else cell.width for cell in cells], dtype=np.int64),
        charset=np.array([_charset(cell, flavour) for cell in cells], dtype=np.int32),
        escape=escape,
        opening=_octets(flavour.opening),
        separator=_octets(flavour.separator),
        closing=_octets(flavour.closing),
        missing=_octets(flavour.missing),
        node=_octets(node.encode()),
        quoted=flavour.quoted,
        measured=flavour.measured,
        also=flavour.also,
        growth=flavour.growth,
    )


def _charset(cell: Cell, flavour: Flavour) -> Charset:
    """Return the cell's set; only COPY writes the octets of a bytea in another way."""
    return Charset.OCTETS if cell.charset is Charset.BYTEA and flavour is not COPY else cell.charset


def _octets(text: bytes) -> Array:
    return np.frombuffer(text, dtype=np.uint8)


def _table_of(numbers: dict[int, int]) -> Array:
    table = np.zeros(256, dtype=np.uint8)
    for number, value in numbers.items():
        table[number] = value
    return table


def _value_of(cell: Cell) -> Callable[[bytes], Any]:
    """Return what makes the Python value of a cell out of its octets."""
    if cell.column.kind == "timestamp":
        return _date_of
    if cell.column.kind in ("int", "bigint"):
        return _number_of
    return bytes if cell.charset in (Charset.OCTETS, Charset.LATIN1, Charset.BYTEA) else bytes.decode


def _number_of(octets: bytes) -> int | None:
    return int(octets) if octets else None


def _date_of(octets: bytes) -> datetime:
    return datetime.fromisoformat(octets.decode())
