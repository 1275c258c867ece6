"""Retention without partitions: old rows are deleted, a bounded number in each transaction.

In: a connection, a table, the first day that is kept. Out: how many rows were deleted, and whether some are
left. What can go wrong: SQLAlchemy's errors. Readers and writers of the table wait for one small transaction
at most.
"""

import datetime as dt
import time
from typing import Any, Final

import sqlalchemy as sa

from hepcat.stores.sql.ddl import is_mysql, is_postgres

#: Rows of one transaction that deletes.
CHUNK: Final = 5_000
#: The day that Julian days are counted from, as SQLite's julianday() does, and its number.
_JULIAN: Final = (dt.datetime(2000, 1, 1, 12, tzinfo=dt.UTC), 2_451_545.0)
_HOUR: Final = dt.timedelta(hours=1)


def delete_before(
    connection: sa.Connection, table: str, oldest: dt.date, until: float, chunk: int = CHUNK
) -> tuple[int, bool]:
    """Delete rows of days before `oldest`, local time. until: time.monotonic() of the end of patience.

    Returns (rows deleted, whether there may be more).
    """
    name = connection.dialect.identifier_preparer.quote(table)
    limit = dt.datetime.combine(oldest, dt.time())
    if is_mysql(connection.dialect):
        # An instant, so that the session's time zone does not matter.
        statement = f"DELETE FROM {name} WHERE date < FROM_UNIXTIME(:limit) LIMIT {chunk}"
        return _repeat(connection, statement, {"limit": int(limit.timestamp())}, until)
    if is_postgres(connection.dialect):
        chosen = f"SELECT ctid FROM {name} WHERE date < :limit LIMIT {chunk}"
        return _repeat(connection, f"DELETE FROM {name} WHERE ctid IN ({chosen})", {"limit": limit}, until)
    if connection.dialect.name == "sqlite":
        return _delete_sqlite(connection, name, limit, until, chunk)
    return _delete_by_hour(connection, name, limit, until)


def _repeat(
    connection: sa.Connection, statement: str, values: dict[str, Any], until: float
) -> tuple[int, bool]:
    deleted = 0
    while True:
        found = connection.execute(sa.text(statement), values).rowcount
        connection.commit()
        if found <= 0:
            return deleted, False
        deleted += found
        if time.monotonic() >= until:
            return deleted, True


def _delete_sqlite(
    connection: sa.Connection, name: str, limit: dt.datetime, until: float, chunk: int
) -> tuple[int, bool]:
    """SQLite has no type for dates: we write text, Kamailio's module the number of the Julian day.

    SQLite orders every number before every text, so each kind has a range of the index of its own.
    """
    begin, number = _JULIAN
    julian = number + (limit.astimezone(dt.UTC) - begin) / dt.timedelta(days=1)
    total = 0
    for condition, value in (("date < :limit", julian), ("date >= '' AND date < :limit", str(limit))):
        chosen = f"SELECT rowid FROM {name} WHERE {condition} LIMIT {chunk}"
        statement = f"DELETE FROM {name} WHERE rowid IN ({chosen})"
        deleted, more = _repeat(connection, statement, {"limit": value}, until)
        total += deleted
        if more:
            return total, True
    return total, False


def _delete_by_hour(
    connection: sa.Connection, name: str, limit: dt.datetime, until: float
) -> tuple[int, bool]:
    """Any other engine: an hour of the oldest rows in each transaction."""
    table = sa.table(name, sa.column("date", sa.DateTime()))
    deleted = 0
    while time.monotonic() < until:
        first = connection.execute(sa.select(sa.func.min(table.c.date))).scalar()
        if isinstance(first, str):
            first = dt.datetime.fromisoformat(first)
        if first is None or first >= limit:
            connection.commit()
            return deleted, False
        statement = sa.delete(table).where(table.c.date < min(first + _HOUR, limit))
        deleted += max(connection.execute(statement).rowcount, 0)
        connection.commit()
    return deleted, True
