"""One connection that writes: its loader, its savepoints, its tables as they are.

In: an engine. Out: transactions. What can go wrong: the drivers' errors, as they come (writer.py explains
them).
"""

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.sql.elements import ReleaseSavepointClause, RollbackToSavepointClause, SavepointClause

from hepcat.config.databases import DatabaseSettings
from hepcat.stores.classic.plan import RowMaker
from hepcat.stores.classic.tables import is_dated
from hepcat.stores.sql import odbc
from hepcat.stores.sql.bulk import Loader
from hepcat.stores.sql.bulk_rows import RowsLoader
from hepcat.stores.sql.ddl import ensure_table
from hepcat.stores.sql.reflect import ActualTable, reflect

#: Seconds that the list of tables is trusted; tables are looked at anew as often.
NAMES_SECONDS: Final = 30.0
#: Errors that drivers raise besides their own: a socket's, and a value that no type of theirs takes.
DRIVER_ERRORS: Final = (sa.exc.SQLAlchemyError, OSError)


class Session:
    """A connection, open from the start."""

    def __init__(self, engine: sa.Engine, settings: DatabaseSettings) -> None:
        self.engine = engine
        self.settings = settings
        self._tables: dict[str, tuple[ActualTable, RowMaker] | None] = {}
        self._names: set[str] = set()
        self._names_until = 0.0
        #: what this driver's errors are
        self.errors: tuple[type[BaseException], ...] = (engine.dialect.loaded_dbapi.Error, *DRIVER_ERRORS)
        self.connection = engine.connect()
        self.raw: Any = self.connection.connection.dbapi_connection
        self._sqlite = isinstance(self.raw, sqlite3.Connection)
        try:
            self.loader = self._loader()
        except BaseException:
            self.close()
            raise
        self._savepoints = [
            str(clause("hepcat").compile(dialect=engine.dialect))
            for clause in (SavepointClause, RollbackToSavepointClause, ReleaseSavepointClause)
        ]

    def _loader(self) -> Loader:
        dialect = self.engine.dialect
        if dialect.driver == "pymysql":
            from hepcat.stores.sql.bulk_mysql import MysqlLoader

            return MysqlLoader(self.raw, several=self.settings.connections > 1)
        if dialect.driver == "psycopg":
            from hepcat.stores.sql.bulk_postgres import PostgresLoader

            return PostgresLoader(self.raw)
        if self._sqlite:
            self.raw.isolation_level = None  # transactions begin and end where we say
            cursor = self.raw.cursor()
            cursor.execute("PRAGMA journal_mode = WAL")  # readers and the writer do not wait for each other
            cursor.close()
            return RowsLoader(self.raw, text_dates=True)
        arrays = odbc.binds_arrays(getattr(dialect, "hepcat_driver", ""))
        return RowsLoader(self.raw, arrays=arrays, text_dates=dialect.name == "sqlite")

    def begin(self) -> None:
        """Begin a transaction; elsewhere than in SQLite the first statement does."""
        if self._sqlite:
            self.execute("BEGIN IMMEDIATE")  # to wait for another writer here, not in the middle

    def commit(self) -> None:
        """Commit."""
        if self._sqlite:
            self.execute("COMMIT")
        else:
            self.raw.commit()

    def rollback(self) -> None:
        """Roll back, if there is something to."""
        if not self._sqlite or self.raw.in_transaction:
            self.raw.rollback()

    def execute(self, statement: str) -> None:
        """Run a statement that has no values and no answer."""
        cursor = self.raw.cursor()
        try:
            cursor.execute(statement)
        finally:
            cursor.close()

    def save(self) -> None:
        """Set a savepoint."""
        self.execute(self._savepoints[0])

    def back(self) -> None:
        """Undo what came after the savepoint."""
        self.execute(self._savepoints[1])

    def release(self) -> None:
        """Keep what came after the savepoint."""
        if self._savepoints[2]:  # SQL Server has no such statement
            self.execute(self._savepoints[2])

    def is_alive(self) -> bool:
        """Ask the server for an answer, outside a transaction."""
        try:
            self.execute("SELECT 1")
            self.rollback()
        except self.errors:
            return False
        return True

    def table(self, name: str, make: bool) -> tuple[ActualTable, RowMaker] | None:
        """Return a table and what makes its rows; None: there is none. Not within a transaction.

        make: a table that is missing is made like the configured one (a name from strftime).
        """
        if time.monotonic() > self._names_until:
            self._read_names()
        if name not in self._tables:
            self._tables[name] = self._find(name, make)
        return self._tables[name]

    def _find(self, name: str, make: bool) -> tuple[ActualTable, RowMaker] | None:
        if name not in self._names and make:
            ensure_table(self.engine, name, self.settings)
        elif name not in self._names and is_dated(self.settings.table_name):
            return None  # a sender could think of any number of dates: the list is all that is asked for
        with self._looking():
            found = reflect(self.connection, name)
        return None if found is None else (found, self._maker(found))

    @contextlib.contextmanager
    def _looking(self) -> Iterator[None]:
        """Look at the catalog in a transaction of its own, ended whatever happens."""
        try:
            yield
        finally:
            with contextlib.suppress(*self.errors):
                self.connection.rollback()

    def forget_tables(self) -> None:
        """Look at all tables anew."""
        self._names_until = 0.0

    def _read_names(self) -> None:
        """Ask once in a while which tables there are: not once for each table that a sender can think of."""
        self._tables.clear()
        with self._looking():
            self._names = set(self._inspect_names())
        self._names_until = time.monotonic() + NAMES_SECONDS

    def _inspect_names(self) -> list[str]:
        if self.engine.dialect.name == "odbc":
            return odbc.tables_of(self.raw)
        return sa.inspect(self.connection).get_table_names()

    def _maker(self, table: ActualTable) -> RowMaker:
        return RowMaker(table.cells, self.loader.flavour, self.settings, table.classic, table.utc)

    def close(self) -> None:
        """Close the connection; what is not committed is gone."""
        try:
            self.connection.invalidate()
            self.connection.close()
        except self.errors:
            pass
        self.engine.dispose()
