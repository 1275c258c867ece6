"""Sessions of SQL databases for searches: for reading only, in UTC, and no longer than they may take.

In: an engine. Out: the same, whose connections are so; the dialect of the query language that fits it. What
can go wrong: HepcatError where a statement took longer than it may.
"""

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import sqlalchemy as sa
from sqlglot import exp

from hepcat.errors import HepcatError
from hepcat.search import cancel
from hepcat.search.dialects_classic import ClassicDialect
from hepcat.search.dialects_mysql import MySqlDialect
from hepcat.search.dialects_odbc import GenericDialect
from hepcat.search.dialects_postgres import PostgresDialect
from hepcat.search.dialects_sqlite import SqliteDialect

#: SQLite asks after so many instructions of its machine whether the time is over.
_STEPS: Final = 100_000
#: What databases say when a statement's time is over.
_OVER: Final = (
    "max_statement_time", "maximum statement execution time", "statement timeout", "interrupted",
    "timeout expired",
)  # fmt: skip
#: Seconds that a server has for being told to stop a statement.
_STOP_SECONDS: Final = 5.0
_DEADLINE: Final = "hepcat_deadline"
_GENERIC: Final = {"mssql": "tsql", "oracle": "oracle"}


def dialect_for(
    engine: sa.Engine, store: str, widths: Mapping[str, int], binary: frozenset[str]
) -> ClassicDialect:
    """Return the query language's dialect for an engine."""
    name = engine.dialect.name
    known: dict[str, type[ClassicDialect]] = {
        "mysql": MySqlDialect,
        "mariadb": MySqlDialect,
        "postgresql": PostgresDialect,
        "sqlite": SqliteDialect,
    }
    if name in known:
        return known[name](store, widths, binary)
    return GenericDialect(store, widths, binary, name=_GENERIC.get(name, ""))


def as_octets(value: exp.Expression, dialect: ClassicDialect) -> exp.Expression:
    """Return a text column's octets as they are stored, so that no driver has to read them as text."""
    if isinstance(dialect, MySqlDialect | SqliteDialect):
        return dialect.octets(value)
    return value


def numbers_as_text(statement: exp.Expression) -> exp.Expression:
    """Return a SELECT whose numbers come as text; `id` is the one text that the searcher selects."""
    changed = statement.copy()
    for column in changed.selects:  # type: ignore[attr-defined]
        if isinstance(column, exp.Alias) and column.alias != "id":
            column.set("this", exp.Cast(this=column.this, to=exp.DataType.build("text")))
    return changed


def limit_time(engine: sa.Engine, seconds: float) -> None:
    """Let every new connection of the engine be for reading only, in UTC, each statement for so long."""
    sessions = {"mysql": _mysql, "mariadb": _mysql, "postgresql": _postgres, "sqlite": _sqlite}
    begin = sessions.get(engine.dialect.name)

    def connected(connection: Any, record: Any) -> None:
        if isinstance(connection, sqlite3.Connection):
            _limit_sqlite(connection, record)
        if begin is not None:
            begin(connection, seconds)

    sa.event.listen(engine, "connect", connected)


def _run(connection: Any, *statements: str) -> None:
    cursor = connection.cursor()
    for statement in statements:
        cursor.execute(statement)
    cursor.close()


def _mysql(connection: Any, seconds: float) -> None:
    """Backslashes escape in literals; what a session's mode or the server's changes of that is undone."""
    _run(
        connection,
        "SET SESSION sql_mode = 'STRICT_TRANS_TABLES'",
        "SET SESSION time_zone = '+00:00', net_write_timeout = 3600",
        "SET SESSION TRANSACTION READ ONLY",
    )
    try:
        _run(connection, f"SET SESSION max_statement_time = {float(seconds)}")
    except Exception:  # MySQL has it in milliseconds
        _run(connection, f"SET SESSION max_execution_time = {int(seconds * 1000)}")


def _postgres(connection: Any, seconds: float) -> None:
    _run(
        connection,
        "SET standard_conforming_strings = on",
        "SET TIME ZONE 'UTC'",
        "SET default_transaction_read_only = on",
        f"SET statement_timeout = {int(seconds * 1000)}",
    )
    connection.commit()


def _sqlite(connection: Any, _seconds: float) -> None:
    _run(connection, "PRAGMA query_only = 1")


def _limit_sqlite(connection: sqlite3.Connection, record: Any) -> None:
    """Ask now and then whether the time is over."""
    deadline = record.info[_DEADLINE] = [float("inf")]
    connection.set_progress_handler(lambda: int(time.monotonic() > deadline[0]), _STEPS)


def restart(connection: sa.Connection, seconds: float) -> None:
    """Let a connection to SQLite, whose reader was busy with something else, have its time anew."""
    if _DEADLINE in connection.info:
        connection.info[_DEADLINE][0] = time.monotonic() + seconds


@contextlib.contextmanager
def told(store: str, seconds: float) -> Iterator[None]:
    """Say in words that a search took longer than it may; other faults pass."""
    try:
        yield
    except HepcatError:
        raise
    except Exception as error:
        said = str(getattr(error, "orig", error)).lower()
        if not any(words in said for words in _OVER):
            raise
        raise cancel.SearchTimeout(
            f"store {store}: the search took longer than {seconds:g} seconds and was stopped",
            "Narrow the time (--last, --since) or the query, or set query_seconds higher.",
        ) from None


@contextlib.contextmanager
def cancelling(connection: sa.Connection, others: sa.Engine | None) -> Iterator[None]:
    """End what the connection runs within the block when its search is cancelled.

    others: opens further connections to a server that has to be told over one of these. A connection that was
    stopped is not used again: the stop may come after its statement's end, and would be another's. Over ODBC
    the statement in progress ends by itself, after query_seconds at the latest.
    """
    raw: Any = connection.connection.dbapi_connection
    is_file = isinstance(raw, sqlite3.Connection)
    try:
        with cancel.interrupting(_stop_of(raw, others), remote=not is_file):
            yield
    except cancel.SearchCancelled:
        connection.invalidate()
        raise


def _stop_of(raw: Any, others: sa.Engine | None) -> Callable[[], object]:
    if isinstance(raw, sqlite3.Connection):
        return raw.interrupt
    if hasattr(raw, "cancel_safe"):  # psycopg
        return lambda: raw.cancel_safe(timeout=_STOP_SECONDS)
    if others is not None:
        return lambda: _kill(others, int(raw.thread_id()))
    return lambda: None


def _kill(others: sa.Engine, thread: int) -> None:
    """End the statement of another connection of MariaDB or MySQL; a user may do that to his own."""
    with others.connect() as connection:
        connection.exec_driver_sql(f"KILL QUERY {thread}")
