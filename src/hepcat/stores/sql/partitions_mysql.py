"""Partitions of MariaDB and MySQL: RANGE (UNIX_TIMESTAMP(date)), a day each, and a catch-all.

In: a connection and one table's work. Out: partitions made and dropped. What can go wrong: SQLAlchemy's
errors (a missing right, a lock that others hold for longer than LOCK_SECONDS).

A table of the original's script is taken as it is, whatever days or hours its partitions have and whatever
their names are: only their bounds count. New ones are cut from the catch-all (REORGANIZE), which keeps its
rows.
"""

import datetime as dt
import zlib
from typing import Final

import sqlalchemy as sa

from hepcat.stores.sql import ddl
from hepcat.stores.sql.work import MOST_ROWS, TooMany, Work

#: Seconds to wait for those who use the table. MariaDB's default is a day, and all others would wait behind
#: us.
LOCK_SECONDS: Final = 30
#: Days back that rows of the catch-all get partitions of their own; what is older goes into the first of
#: them.
DAYS_BACK: Final = 100
_DAY: Final = dt.timedelta(days=1)
_RANGES: Final = """
SELECT partition_name, partition_description, partition_method, partition_expression
FROM information_schema.partitions WHERE table_schema = DATABASE() AND table_name = :table
ORDER BY partition_ordinal_position"""

#: (name, bound): seconds since the epoch that all rows are below; None: the catch-all
Range = tuple[str, int | None]


def maintain_mysql(connection: sa.Connection, work: Work) -> bool:
    """Make partitions ahead and drop old ones. Says False where the table has none that are by day."""
    ranges = read_ranges(connection, work.table)
    if ranges is None:
        return False
    if not _to_make(connection, work, ranges) and not _to_drop(work, ranges):
        return True
    lock = {"name": f"hepcat-{zlib.crc32(f'{_database(connection)}.{work.table}'.encode()):08x}"}
    if work.dry is None and connection.scalar(sa.text("SELECT GET_LOCK(:name, 0)"), lock) != 1:
        work.done.unfinished = True
        return True
    try:
        _change(connection, work)
    finally:
        if work.dry is None and not connection.invalidated:
            connection.scalar(sa.text("SELECT RELEASE_LOCK(:name)"), lock)
    return True


def read_ranges(connection: sa.Connection, table: str) -> list[Range] | None:
    """Return the partitions in order; None where there are none, or they are of something else than days."""
    rows = connection.execute(sa.text(_RANGES), {"table": table}).all()
    if not rows or any(method != "RANGE" for _, _, method, _ in rows):
        return None
    if any(
        str(text).lower().replace("`", "").replace(" ", "") != "unix_timestamp(date)" for *_, text in rows
    ):
        return None
    bounds = [None if str(bound).upper() == "MAXVALUE" else int(bound) for _, bound, _, _ in rows]
    return [(str(row[0]), bound) for row, bound in zip(rows, bounds, strict=True)]


def _database(connection: sa.Connection) -> str:
    return str(connection.scalar(sa.text("SELECT DATABASE()")))


def _change(connection: sa.Connection, work: Work) -> None:
    """Do what is to do now that nobody else does it."""
    ddl.execute(connection, f"SET SESSION lock_wait_timeout = {LOCK_SECONDS}")
    try:
        ranges = read_ranges(connection, work.table) or []
        days = _to_make(connection, work, ranges)
        if days:
            _make(connection, work, ranges, days)
        old = _to_drop(work, ranges)
        if old:
            quote = connection.dialect.identifier_preparer.quote
            names = ", ".join(quote(name) for name in old)
            _do(connection, work, f"ALTER TABLE {quote(work.table)} DROP PARTITION {names}")
            work.done.dropped += [f"{work.table}.{name}" for name in old]
    finally:
        if not connection.invalidated:
            ddl.execute(connection, "SET SESSION lock_wait_timeout = @@GLOBAL.lock_wait_timeout")
            connection.commit()


def _to_make(connection: sa.Connection, work: Work, ranges: list[Range]) -> list[dt.date]:
    """Return the days, of UTC, that lack a partition."""
    today = work.today(dt.UTC)
    last = max((bound for _, bound in ranges if bound is not None), default=0)
    final = today + work.settings.partitions_ahead * _DAY
    if _end(final) <= last:
        return []
    first = today
    for name, bound in ranges:
        if bound is None:
            held = _oldest_in(connection, work.table, name)
            if held is not None:
                first = max(min(first, held), today - DAYS_BACK * _DAY)
    oldest = work.oldest(dt.UTC)
    if oldest is not None:
        first = max(first, oldest - _DAY)  # one partition for all that is too old: it is dropped at once
    return [day for day in _days(first, final) if _end(day) > last]


def _oldest_in(connection: sa.Connection, table: str, partition: str) -> dt.date | None:
    quote = connection.dialect.identifier_preparer.quote
    found = connection.scalar(
        sa.text(f"SELECT UNIX_TIMESTAMP(MIN(date)) FROM {quote(table)} PARTITION ({quote(partition)})")
    )
    return None if found is None else dt.datetime.fromtimestamp(int(found), dt.UTC).date()


def _rows_about(connection: sa.Connection, table: str, partition: str) -> int:
    statement = (
        "SELECT table_rows FROM information_schema.partitions "
        "WHERE table_schema = DATABASE() AND table_name = :table AND partition_name = :partition"
    )
    return int(connection.scalar(sa.text(statement), {"table": table, "partition": partition}) or 0)


def _make(connection: sa.Connection, work: Work, ranges: list[Range], days: list[dt.date]) -> None:
    quote = connection.dialect.identifier_preparer.quote
    taken = {name for name, _ in ranges}
    made: list[Range] = []
    for day in days:
        name = ddl.partition_name(day)
        while name in taken:  # somebody's partition of that name ends at another time
            name += "_"
        made.append((name, _end(day)))
    rest = next((name for name, bound in ranges if bound is None), None)
    if (
        rest is not None
        and not work.forced
        and (rows := _rows_about(connection, work.table, rest)) > MOST_ROWS
    ):
        raise TooMany(rows)
    listed = [f"PARTITION {quote(name)} VALUES LESS THAN ({bound})" for name, bound in made]
    if rest is None:
        _do(connection, work, f"ALTER TABLE {quote(work.table)} ADD PARTITION ({', '.join(listed)})")
    else:
        listed.append(ddl.mysql_catch_all(quote(rest)))
        head = f"ALTER TABLE {quote(work.table)} REORGANIZE PARTITION {quote(rest)} INTO"
        _do(connection, work, f"{head} ({', '.join(listed)})")
    ranges[:] = [*(r for r in ranges if r[1] is not None), *made, *([(rest, None)] if rest else [])]
    work.done.made += [f"{work.table}.{name}" for name, _ in made]


def _to_drop(work: Work, ranges: list[Range]) -> list[str]:
    """Return the partitions of which every row is too old; never all of them."""
    oldest = work.oldest(dt.UTC)
    if oldest is None:
        return []
    limit = _end(oldest - _DAY)
    old = [name for name, bound in ranges if bound is not None and bound <= limit]
    return old if len(old) < len(ranges) else old[:-1]


def _do(connection: sa.Connection, work: Work, statement: str) -> None:
    if work.dry is not None:
        work.dry(statement)
    else:
        ddl.execute(connection, statement)


def _end(day: dt.date) -> int:
    """Return the end of a day of UTC, in seconds since the epoch."""
    return int(dt.datetime.combine(day + _DAY, dt.time(), dt.UTC).timestamp())


def _days(first: dt.date, last: dt.date) -> list[dt.date]:
    return [first + i * _DAY for i in range((last - first).days + 1)]
