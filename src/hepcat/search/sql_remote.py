"""SqlRemote: the classic tables of an SQL database as a store that is searched (remote.py).

In: the settings of one database. Out: an opened store. What can go wrong: HepcatError in words for people:
the database is away, the password is wrong, there is no table, a search takes longer than it may. All
connections are for reading only, and in UTC.
"""

import contextlib
import decimal
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import sqlalchemy as sa
from sqlglot import exp

from hepcat.batch.gather import replace_invalid_utf8
from hepcat.config.databases import DatabaseSettings
from hepcat.errors import HepcatError
from hepcat.search import cancel
from hepcat.search.classic_records import COLUMNS, octets_of, records_of
from hepcat.search.dialects_classic import ClassicDialect
from hepcat.search.remote_dialect import named_as
from hepcat.search.sql_sessions import (
    as_octets,
    cancelling,
    dialect_for,
    limit_time,
    numbers_as_text,
    restart,
    told,
)
from hepcat.stores.lake.arrow import arrow_schema
from hepcat.stores.sql.engine import connecting, open_engine, shown
from hepcat.stores.sql.names import sip_names
from hepcat.stores.sql.reflect import ActualTable, reflect

if TYPE_CHECKING:
    from hepcat.search.sql_tail import SqlTail

#: Rows that a driver is asked for at a time.
_ROWS: Final = 2_000
#: Seconds after which the list of tables, and what `date` is to `micro_ts`, is looked at again.
_FRESH: Final = 300.0
#: Tables of the schema -> the classic table's name; that of sip is in the settings.
_SISTERS: Final = {"rtcp": "rtcp_capture", "log": "logs_capture", "other": "report_capture"}
#: How many rows say what `date` is to `micro_ts`.
_SAMPLES: Final = 8


class SqlRemote:
    """One database. Threads may share it: each search takes a connection of its own."""

    def __init__(self, settings: DatabaseSettings) -> None:
        """Connect and look at the tables. Raises HepcatError."""
        self.name = settings.name
        self.settings = settings
        seconds = settings.query_seconds
        self.engine = open_engine(settings.read(), answer_seconds=seconds + 10, application="hepcat search")
        limit_time(self.engine, seconds)
        # MariaDB and MySQL are told to stop a search over another connection; the pool's may all be busy.
        self._others = (
            open_engine(settings.read(), answer_seconds=10, pooled=False, application="hepcat search")
            if self.engine.dialect.name in ("mysql", "mariadb") and self.engine.dialect.driver == "pymysql"
            else None
        )
        # SQLite's ODBC driver gives 32 bits of the numbers that no column's type is known of.
        self._short_numbers = self.engine.dialect.driver == "pyodbc" and self.engine.dialect.name == "sqlite"
        self._mutex = threading.Lock()
        self._tables: dict[str, list[ActualTable]] = {}
        self._looked = 0.0
        self.dialect: ClassicDialect = dialect_for(self.engine, self.name, {}, frozenset())
        self._look()

    # -- what there is

    def tables(self, table: str) -> Sequence[exp.Expression]:
        """Return the database's tables for a table of the schema."""
        return [_relation(actual.name) for actual in self.known(table)]

    def _look(self) -> None:
        """Look at the tables, where it was long ago."""
        with self._mutex:
            if self._tables and time.monotonic() - self._looked < _FRESH:
                return
            with connecting(self.engine) as connection:
                names = self._names(connection)
                found = {
                    table: [actual for name in some if (actual := reflect(connection, name)) is not None]
                    for table, some in names.items()
                }
            if not found["sip"]:
                raise HepcatError(
                    f"store {self.name} ({shown(self.engine)}) has no table {self.settings.table_name}",
                    f"Make it with `hepcat db create --store {self.name}`, or correct table_name.",
                )
            self._check(found["sip"])
            widths, binary = _shape(found)
            self.dialect.widths, self.dialect.binary = widths, binary
            self._tables, self._looked = found, time.monotonic()
        self.dialect.lag = self._lag(found["sip"])

    def _names(self, connection: sa.Connection) -> dict[str, list[str]]:
        """Return the names of tables, those of patterns as they are there."""
        names: list[str] = []
        there: list[str] | None = None
        for pattern in sip_names(self.settings):
            if pattern.fixed:
                names.append(pattern.text)
                continue
            if there is None:
                there = sorted(sa.inspect(connection).get_table_names(), reverse=True)
            ours = {pattern.at(datetime.now(UTC))}
            names += [name for name in there if name in ours or pattern.end_of(name) is not None]
        return {"sip": list(dict.fromkeys(names)), **{table: [name] for table, name in _SISTERS.items()}}

    def _check(self, tables: list[ActualTable]) -> None:
        for actual in tables:
            lacking = {*COLUMNS, "callid", "type", "method"} - {cell.column.name for cell in actual.cells}
            if lacking:
                raise HepcatError(
                    f"table {actual.name} of store {self.name} has no column {', '.join(sorted(lacking))}",
                    f"Add what is missing with `hepcat db upgrade --store {self.name}`.",
                )

    def _lag(self, tables: list[ActualTable]) -> tuple[int, int] | None:
        """Return bounds of `date` minus `micro_ts`, by some rows; None where there are none."""
        at, day, number = (self.dialect.col(name) for name in ("micro_ts", "date", "id"))
        seen: list[int] = []
        for actual in tables[:_SAMPLES]:
            base = exp.select(at.copy(), day.copy(), number.copy()).from_(_relation(actual.name)).limit(1)
            ends = [
                self._rows(base.order_by(exp.Ordered(this=number.copy(), desc=desc)))
                for desc in (True, False)
            ]
            rows = [row for some in ends for row in some]
            if len(rows) == 2:
                last, first = int(rows[0][2]), int(rows[1][2])
                for step in range(1, _SAMPLES):
                    place = exp.Literal.number(first + (last - first) * step // _SAMPLES)
                    later = base.where(exp.GTE(this=number.copy(), expression=place))
                    rows += self._rows(later.order_by(exp.Ordered(this=number.copy())))
            seen += [lag for row in rows if (lag := _lag_of(row[0], row[1])) is not None]
        return (min(seen), max(seen)) if seen else None

    # -- questions

    def run(self, statement: exp.Expression) -> pa.Table:
        """Run one SELECT."""
        names = [column.alias_or_name for column in statement.selects]  # type: ignore[attr-defined]
        if self._short_numbers:
            statement = numbers_as_text(statement)
        columns = list(zip(*self._rows(statement), strict=True)) or [()] * len(names)
        values = dict(zip(names, columns, strict=True))
        if self._short_numbers:
            values = {n: [_int(v) for v in some] if n != "id" else some for n, some in values.items()}
        return pa.table({name: _column(some) for name, some in values.items()})

    def records(
        self,
        condition: exp.Expression,
        order: Sequence[exp.Expression],
        limit: int | None,
        table: str = "sip",
    ) -> pa.Table:
        """Return records in the lake's columns."""
        if limit is None:
            parts = list(self.stream(condition, order, table, _ROWS))
            return pa.concat_tables(parts) if parts else arrow_schema(table).empty_table()
        statement = self._statement(condition, order, table).limit(limit)
        return records_of(self._rows(statement), table)

    def stream(
        self, condition: exp.Expression, order: Sequence[exp.Expression], table: str, rows: int
    ) -> Iterator[pa.Table]:
        """Yield such records in tables of so many rows."""
        held: list[Any] = []
        with contextlib.closing(self._pieces(self._statement(condition, order, table))) as pieces:
            for piece in pieces:
                held += piece
                if len(held) >= rows:
                    yield records_of(held, table)
                    held = []
        if held:
            yield records_of(held, table)

    def _statement(
        self, condition: exp.Expression, order: Sequence[exp.Expression], table: str
    ) -> exp.Select:
        known = self.known(table)
        if not known:
            raise HepcatError(f"store {self.name} has no table for {table}")
        parts = [self._part(actual, condition) for actual in known]
        whole = parts[0] if len(parts) == 1 else self._united(parts)
        return whole.order_by(*(o.copy() for o in order)) if order else whole

    def _part(self, actual: ActualTable, condition: exp.Expression) -> exp.Select:
        selected = self._selected()
        return exp.select(*selected).from_(_relation(actual.name)).where(condition.copy())

    def _selected(self) -> list[exp.Expression]:
        dialect = self.dialect
        return [
            as_octets(dialect.col(name), dialect) if name in ("msg", "correlation_id") else dialect.col(name)
            for name in COLUMNS
        ]

    def _united(self, parts: Sequence[exp.Select]) -> exp.Select:
        """Return the rows of several SELECTs, each with its own condition: each table's indexes serve it."""
        number = self.dialect.col("id")
        columns = named_as(**dict(zip(COLUMNS, self._selected(), strict=True)))
        united: Any = parts[0].select(*columns, number, append=False)
        for part in parts[1:]:
            named = part.select(*(c.copy() for c in columns), number.copy(), append=False)
            united = exp.union(united, named, distinct=False)
        inner = exp.Subquery(this=united, alias=exp.TableAlias(this=exp.to_identifier("records")))
        return exp.select(*(self.dialect.col(name) for name in COLUMNS)).from_(inner)

    def missing(self) -> Sequence[str]:
        """Nothing: a database answers whole or not at all."""
        return ()

    def tail(self, table: str) -> "SqlTail":
        """Return what follows what is stored from now on."""
        from hepcat.search.sql_tail import SqlTail

        return SqlTail(self, table)

    def numbers(self, actual: ActualTable, after: int | None) -> list[int]:
        """Return the numbers of a table's rows behind one; None: of the last one only."""
        number = self.dialect.col("id")
        statement = exp.select(number).from_(_relation(actual.name))
        if after is None:
            last = statement.order_by(exp.Ordered(this=number.copy(), desc=True)).limit(1)
            return [int(row[0]) for row in self._rows(last)]
        behind = exp.GT(this=number.copy(), expression=exp.Literal.number(after))
        return [int(row[0]) for row in self._rows(statement.where(behind))]

    def numbered(self, actual: ActualTable, numbers: Sequence[int], table: str) -> pa.Table:
        """Return the records of these rows, in order of arrival."""
        number = self.dialect.col("id")
        chosen = exp.In(this=number, expressions=[exp.Literal.number(n) for n in numbers])
        statement = self._part(actual, chosen).order_by(exp.Ordered(this=number.copy()))
        return records_of(self._rows(statement), table)

    def known(self, table: str) -> list[ActualTable]:
        """Return the database's tables for a table of the schema."""
        self._look()
        return self._tables[table]

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    # -- how they are asked

    def _rows(self, statement: exp.Expression) -> list[Any]:
        return [row for piece in self._pieces(statement, stream=False) for row in piece]

    def _pieces(self, statement: exp.Expression, stream: bool = True) -> Generator[list[Any], None, None]:
        """Yield rows some at a time. stream: as the reader takes them; else all are fetched at once."""
        text = statement.sql(dialect=self.dialect.name, comments=False)
        seconds = self.settings.query_seconds
        with (
            connecting(self.engine) as connection,
            told(self.name, seconds),
            cancelling(connection, self._others),
        ):
            options = {"no_parameters": True, "stream_results": stream, "max_row_buffer": _ROWS}
            restart(connection, seconds)
            result = connection.execution_options(**options).exec_driver_sql(text)
            try:
                while piece := result.fetchmany(_ROWS):
                    cancel.check()
                    yield [tuple(row) for row in piece]
                    restart(connection, seconds)
            finally:
                result.close()


def _relation(name: str) -> exp.Expression:
    return exp.Table(this=exp.to_identifier(name, quoted=True))


def _shape(found: dict[str, list[ActualTable]]) -> tuple[dict[str, int], frozenset[str]]:
    """Return the widths of text columns, the least of all tables, and which columns hold octets."""
    widths: dict[str, int] = {}
    binary: set[str] = set()
    for actual in found["sip"]:
        for cell in actual.cells:
            name = cell.column.name
            if cell.column.kind == "octets" and cell.charset.name in ("OCTETS", "BYTEA"):
                binary.add(name)
            if cell.column.kind == "text" and cell.width is not None:
                widths[name] = min(cell.width, widths.get(name, cell.width))
    return widths, frozenset(binary)


def _lag_of(at: Any, date: Any) -> int | None:
    """Return how far a row's `date`, read as UTC, is from its `micro_ts`."""
    if isinstance(date, bytes):
        date = date.decode("latin-1")
    if isinstance(date, str):
        try:
            date = datetime.fromisoformat(date)
        except ValueError:
            return None
    if not isinstance(date, datetime):
        return None
    moment = date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)
    micros = int(at)
    return int(moment.timestamp()) * 1_000_000 - micros // 1_000_000 * 1_000_000


def _int(value: Any) -> int | None:
    return None if value is None else int(value)


def _column(values: Sequence[Any]) -> pa.Array:
    """Return values of one column: whole numbers as int64, anything else as text."""
    if all(value is None or isinstance(value, int | decimal.Decimal) for value in values):
        return pa.array([None if value is None else int(value) for value in values], pa.int64())
    return _strings([None if value is None else _octets(value) for value in values])


def _octets(value: Any) -> bytes:
    return (
        octets_of(value) if isinstance(value, str | bytes | bytearray | memoryview) else str(value).encode()
    )


def _strings(values: Sequence[bytes | None]) -> pa.Array:
    """Return octets as text: `?` for each octet that is none, as in the lake's columns."""
    import numpy as np

    if all(value is None or value.isascii() for value in values):
        return pa.array([None if value is None else value.decode("ascii") for value in values], pa.string())
    data = np.frombuffer(b"".join(value or b"" for value in values), dtype=np.uint8).copy()
    offsets = np.zeros(len(values) + 1, dtype=np.int32)
    np.cumsum([len(value or b"") for value in values], out=offsets[1:])
    replace_invalid_utf8(data, offsets)
    valid = pa.array([value is not None for value in values]).buffers()[1]
    return pa.Array.from_buffers(pa.string(), len(values), [valid, pa.py_buffer(offsets), pa.py_buffer(data)])
