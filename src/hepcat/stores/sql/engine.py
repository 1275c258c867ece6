"""Open an SQL database: one door for the writer, the search and `hepcat db`.

In: a classic db_url. Out: a sqlalchemy.Engine whose connections are in the state that all of hepcat counts on
(UTF-8, bounded waiting, no local files read at the server's will). What can go wrong: HepcatError and its
kinds, from `explain` (explain.py): every refusal of a database in words, with what to do, never with the
password.
"""

import contextlib
import functools
import sqlite3
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import pool as pools
from sqlalchemy.engine import Connection, Engine

from hepcat.errors import HepcatError
from hepcat.stores.sql.explain import explain, fault_of
from hepcat.stores.sql.url import Target, parse_url

__all__ = ["connecting", "explain", "fault_of", "open_engine", "shown"]

#: Seconds for a connection to come up.
CONNECT_SECONDS: Final = 10.0
#: Seconds for a single answer; a server that is alive answers sooner, even with a full batch to commit.
ANSWER_SECONDS: Final = 120.0
#: Seconds that SQLite waits for another process's transaction.
SQLITE_WAIT_SECONDS: Final = 30.0


def open_engine(
    url_text: str,
    *,
    answer_seconds: float = ANSWER_SECONDS,
    create: bool = False,
    pooled: bool = True,
    application: str = "hepcat",
) -> Engine:
    """Return an engine. Nothing is connected yet, but for ODBC, whose engine has to be asked for.

    create: an SQLite file that does not exist is made at the first connection. pooled: connections are kept
    for the next user. Raises HepcatError, StoreUnavailable.
    """
    target = parse_url(url_text)
    makers = {"mysql": _mysql, "postgres": _postgres, "sqlite": _sqlite, "odbc": _odbc}
    options: dict[str, Any] = {"poolclass": pools.QueuePool if pooled else pools.NullPool}
    if pooled:
        options |= {"pool_pre_ping": True, "pool_size": 4, "max_overflow": 4}
    engine = makers[target.kind](target, answer_seconds, create, application, options)
    engine.dialect.hepcat_shown = target.shown  # type: ignore[attr-defined]
    return engine


def shown(engine: Engine) -> str:
    """Return the engine's URL for people, without the password."""
    return str(getattr(engine.dialect, "hepcat_shown", engine.dialect.name))


@contextlib.contextmanager
def connecting(engine: Engine) -> Iterator[Connection]:
    """Connect for the length of the block; what the database refuses comes as HepcatError with its hint."""
    try:
        with engine.connect() as connection:
            yield connection
    except HepcatError:
        raise
    except (sa.exc.DBAPIError, OSError) as error:
        raise explain(error, shown(engine)) from None
    except sa.exc.SQLAlchemyError as error:
        raise HepcatError(f"{shown(engine)}: {error}") from None
    except engine.dialect.loaded_dbapi.Error as error:  # from a raw cursor
        raise explain(error, shown(engine)) from None


def _mysql(target: Target, seconds: float, create: bool, application: str, options: dict[str, Any]) -> Engine:
    from hepcat.stores.sql.mysql import MemoryConnection

    arguments = {
        "charset": "utf8mb4",
        "connect_timeout": int(CONNECT_SECONDS),
        "read_timeout": seconds,
        "write_timeout": seconds,
        "program_name": application,
        **target.options,
    }
    url = target.url
    arguments |= {"host": url.host or "localhost", "port": url.port or 3306, "database": url.database}
    arguments |= {"user": url.username or "", "password": url.password or ""}
    return sa.create_engine(url, creator=lambda: MemoryConnection(**arguments), **options)


def _postgres(
    target: Target, seconds: float, create: bool, application: str, options: dict[str, Any]
) -> Engine:
    arguments = {
        "connect_timeout": int(CONNECT_SECONDS),
        "application_name": application,
        "client_encoding": "utf8",
        # A server that vanished without a word is noticed by TCP within about half a minute.
        "keepalives_idle": 15,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": int(seconds * 1000),
        "prepare_threshold": None,  # PgBouncer hands each transaction to another process
        **target.options,
    }
    engine = sa.create_engine(target.url, connect_args=arguments, **options)

    def connect(dialect: Any, record: Any, words: list[Any], named: dict[str, Any]) -> Any:
        from hepcat.stores.sql.postgres import PatientConnection

        return PatientConnection.connect_within(seconds, *words, **named)

    sa.event.listen(engine, "do_connect", connect)
    return engine


def _sqlite(
    target: Target, seconds: float, create: bool, application: str, options: dict[str, Any]
) -> Engine:
    path = Path(str(target.url.database)).absolute()
    uri = f"file://{urllib.parse.quote(str(path))}?mode={'rwc' if create else 'rw'}"
    connect = functools.partial(
        sqlite3.connect, uri, uri=True, timeout=SQLITE_WAIT_SECONDS, check_same_thread=False
    )

    def opened() -> sqlite3.Connection:
        try:
            return connect()
        except sqlite3.OperationalError as error:
            raise HepcatError(
                f"{target.shown}: cannot open {path}: {error}",
                "Make it with `hepcat db create`. An absolute path has four slashes: sqlite:////folder/file.",
            ) from None

    return sa.create_engine(target.url, creator=opened, **options)


def _odbc(target: Target, seconds: float, create: bool, application: str, options: dict[str, Any]) -> Engine:
    from hepcat.stores.sql import odbc

    text = str(target.options["odbc_connect"])
    pyodbc = odbc.import_pyodbc()
    try:
        dialect, driver = odbc.dialect_of(text, CONNECT_SECONDS)
    except pyodbc.Error as error:
        raise explain(error, target.shown) from None
    engine = sa.create_engine(
        sa.URL.create(dialect), creator=lambda: odbc.connect_odbc(text, CONNECT_SECONDS, seconds), **options
    )
    engine.dialect.hepcat_driver = driver  # type: ignore[attr-defined]
    return engine
