"""Which store a table [[databases]] of the configuration means.

In: its settings, the data folder. Out: the running store, its spool in <data>/spool/NAME. What can go wrong:
HepcatError: the URL cannot be read, another process has the spool. That the database is away is no error:
records wait for it. The drivers are imported for the kind of store that is asked for, and no other.
"""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

from hepcat.config.databases import DatabaseSettings, kind_of
from hepcat.errors import HepcatError
from hepcat.stores.spooled import SpooledStore
from hepcat.stores.spooled.ledger import Tell
from hepcat.stores.store import Store
from hepcat.stores.writer import BatchWriter

_SQL: Final = ("hepcat.stores.sql.writer", "numpy.random")
#: Kind of store -> modules that are imported when it is written to.
#: Looking a host's name up wants encodings.idna.
_DRIVERS: Final = {
    "mysql": (*_SQL, "pymysql", "hepcat.stores.sql.bulk_mysql", "hepcat.stores.sql.mysql", "encodings.idna"),
    "postgres": (*_SQL, "psycopg", "hepcat.stores.sql.bulk_postgres", "hepcat.stores.sql.postgres"),
    "sqlite": _SQL,
    "odbc": (*_SQL, "pyodbc"),
    "dbtext": ("hepcat.stores.dbtext.writer",),
    "clickhouse": ("hepcat.stores.clickhouse.store", "clickhouse_driver", "encodings.idna"),
}


def make_store(settings: DatabaseSettings, data: Path, tell: Tell) -> Store:
    """Open the store: its threads write from now on. Raises HepcatError."""
    folder = data / "spool" / settings.name
    kind = check_url(settings)
    if kind == "clickhouse":
        from hepcat.stores.clickhouse.store import make_clickhouse_store

        return make_clickhouse_store(settings, folder, tell)
    if kind == "dbtext":  # a folder has one writer
        settings = settings.model_copy(update={"connections": 1})
    return SpooledStore(settings.name, folder, settings, _writer_of(kind, settings), tell)


def check_url(settings: DatabaseSettings) -> str:
    """Return the kind of store. Raises HepcatError where the URL cannot be read: waiting would not help."""
    url = settings.read()
    kind = kind_of(url)
    if kind == "clickhouse":
        from hepcat.stores.clickhouse.address import parse_address

        parse_address(url)
    elif kind == "dbtext":
        from hepcat.stores.dbtext.folder import folder_of

        folder_of(url)
    else:
        from hepcat.stores.sql.url import parse_url

        parse_url(url)
    return kind


def import_drivers(kind: str) -> None:
    """Import what writing to this kind of store needs, which would else be imported at the first record.

    Raises HepcatError where a driver, or a library that it needs, is not installed.
    """
    for module in _DRIVERS[kind]:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise HepcatError(
                f"cannot load {module}, which writing to {kind} needs: {error}",
                "Install it with pip; for ODBC the package unixodbc of the system too.",
            ) from None


def _writer_of(kind: str, settings: DatabaseSettings) -> Callable[[], BatchWriter]:
    """Return what opens a connection's writer."""
    if kind == "dbtext":
        from hepcat.stores.dbtext.writer import DbtextWriter

        return lambda: DbtextWriter(settings)
    from hepcat.stores.sql.writer import SqlWriter

    return lambda: SqlWriter(settings)
