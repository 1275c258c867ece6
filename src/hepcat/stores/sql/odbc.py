"""ODBC: which engine is behind a data source, and SQLAlchemy's dialect for it.

In: a connection string. Out: the name of a dialect that works over pyodbc. SQLAlchemy has them for MariaDB,
MySQL and SQL Server; those of SQLite and PostgreSQL, and one for engines that nobody knows, are made here
of its own parts. What can go wrong: HepcatError where pyodbc or unixODBC is not installed; pyodbc's own
errors.
"""

import contextlib
import math
from typing import Any, Final

from sqlalchemy.connectors.pyodbc import PyODBCConnector
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.dialects.sqlite.base import SQLiteDialect
from sqlalchemy.engine.default import DefaultDialect

from hepcat.errors import HepcatError

#: SQL_DBMS_NAME in lower case begins with -> dialect over pyodbc.
_ENGINES: Final[tuple[tuple[str, str], ...]] = (
    ("sqlite", "sqlite+pyodbc"),
    ("mariadb", "mariadb+pyodbc"),
    ("mysql", "mysql+pyodbc"),
    ("postgres", "postgresql+pyodbc"),
    ("microsoft sql server", "mssql+pyodbc"),
)
#: Drivers known to bind arrays of parameters right: Microsoft's. (SQLite's driver crashes the process.)
_ARRAYS: Final = ("libmsodbcsql",)


class SqliteOdbc(PyODBCConnector, SQLiteDialect):
    """SQLite through libsqliteodbc."""

    supports_statement_cache = True

    default_paramstyle = "qmark"

    def __init__(self, dbapi: Any = None, **options: Any) -> None:
        """Set up without the driver at hand: its version would be taken for SQLite's."""
        super().__init__(**options)
        self.dbapi = dbapi
        self.insert_returning = False


class PostgresOdbc(PyODBCConnector, PGDialect):
    """PostgreSQL through psqlodbc."""

    supports_statement_cache = True


class GenericOdbc(PyODBCConnector, DefaultDialect):
    """An engine of which no more is known than that it speaks SQL."""

    name = "odbc"
    supports_statement_cache = True


registry.register("sqlite.pyodbc", __name__, "SqliteOdbc")
registry.register("postgresql.pyodbc", __name__, "PostgresOdbc")
registry.register("odbc.pyodbc", __name__, "GenericOdbc")


def import_pyodbc() -> Any:
    """Return the module pyodbc, or say what is missing."""
    try:
        import pyodbc
    except ImportError as error:
        raise HepcatError(
            f"ODBC cannot be used: {error}", "Install pyodbc and unixODBC (Debian: unixodbc)."
        ) from None
    return pyodbc


def connect_odbc(text: str, timeout: float, answer_seconds: float = 0) -> Any:
    """Open a pyodbc connection; text goes as UTF-8 in both directions.

    answer_seconds: how long a statement may take, 0 for ever. It is for the driver to see to that.
    """
    pyodbc = import_pyodbc()
    connection = pyodbc.connect(text, timeout=max(1, int(timeout)), autocommit=False)
    connection.setdecoding(pyodbc.SQL_CHAR, encoding="utf-8")
    try:
        connection.timeout = math.ceil(answer_seconds)
        connection.cursor().close()
    except pyodbc.Error:  # a driver that knows no such bound
        with contextlib.suppress(pyodbc.Error):
            connection.timeout = 0
    return connection


def dialect_of(text: str, timeout: float) -> tuple[str, str]:
    """Ask the data source: return (dialect, driver's file name)."""
    pyodbc = import_pyodbc()
    connection = connect_odbc(text, timeout)
    try:
        engine = str(connection.getinfo(pyodbc.SQL_DBMS_NAME)).lower()
        driver = str(connection.getinfo(pyodbc.SQL_DRIVER_NAME)).lower()
    finally:
        connection.close()
    found = next((dialect for begin, dialect in _ENGINES if engine.startswith(begin)), "odbc+pyodbc")
    return found, driver


def binds_arrays(driver: str) -> bool:
    """Say whether pyodbc's fast_executemany is safe with this driver."""
    return driver.startswith(_ARRAYS)


def columns_of(connection: Any, table: str) -> dict[str, tuple[str, int | None]]:
    """Ask the driver's catalog: column -> (type's name in lower case, width in characters if it has one)."""
    rows = connection.cursor().columns(table=table).fetchall()
    return {str(row[3]): (str(row[5]).lower(), int(row[6]) if row[6] else None) for row in rows}


def tables_of(connection: Any) -> list[str]:
    """Ask the driver's catalog which tables there are."""
    return [str(row[2]) for row in connection.cursor().tables().fetchall()]
