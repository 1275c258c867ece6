"""Partitions of PostgreSQL: declarative, RANGE (date), a day each, and a DEFAULT partition.

In: a connection and one table's work. Out: partitions made and dropped. What can go wrong: SQLAlchemy's
errors (who is not the owner, a lock that others hold for longer than LOCK_SECONDS).

A new day is made in a transaction of its own: a table like the others, the rows of the day that wait in the
DEFAULT partition moved into it, and attached. Nobody ever sees a row twice or not at all, and writers wait
only while rows of the DEFAULT partition are moved. Days are those of `date`: of local time.
"""

import datetime as dt
import re
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from hepcat.stores.sql import ddl
from hepcat.stores.sql.retention import delete_before
from hepcat.stores.sql.work import MOST_ROWS, TooMany, Work

#: Seconds to wait for those who use the table: all others wait behind who waits for an exclusive lock.
LOCK_SECONDS: Final = 10
#: Days back that rows of the DEFAULT partition get partitions of their own. Times come from senders: without
#: bounds, one whose clock runs wild would have any number of tables made.
DAYS_BACK: Final = 100
_DAY: Final = dt.timedelta(days=1)
_KEY: Final = """
SELECT pg_get_partkeydef(c.oid) FROM pg_class c
WHERE c.oid = to_regclass(quote_ident(:table)) AND c.relkind = 'p'"""
_PARTS: Final = """
SELECT c.relname, pg_get_expr(c.relpartbound, c.oid) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = to_regclass(quote_ident(:table)) ORDER BY 1"""
_BOUND: Final = re.compile(r"FOR VALUES FROM \((MINVALUE|'([^']+)')\) TO \((MAXVALUE|'([^']+)')\)")


@dataclass(frozen=True, slots=True)
class Part:
    """One partition; begin and end None: unbounded there. The DEFAULT one has rest = True."""

    name: str
    begin: dt.datetime | None = None
    end: dt.datetime | None = None
    rest: bool = False

    def meets(self, day: dt.date) -> bool:
        """Whether some of a day belongs here."""
        start = dt.datetime.combine(day, dt.time())
        before = self.begin is None or self.begin < start + _DAY
        return not self.rest and before and (self.end is None or self.end > start)


def maintain_postgres(connection: sa.Connection, work: Work) -> bool:
    """Make partitions ahead and drop old ones. Says False where the table has none that are by day."""
    parts = read_parts(connection, work.table)
    connection.commit()
    if parts is None:
        return False
    for day in _to_make(connection, work, parts):
        if not _make(connection, work, day):
            work.done.unfinished = True
            break
    oldest = work.oldest(None)
    if oldest is not None:
        for part in parts:
            if not part.rest and part.end is not None and part.end <= dt.datetime.combine(oldest, dt.time()):
                _drop(connection, work, part)
            elif part.rest and work.dry is None:
                deleted, more = delete_before(connection, part.name, oldest, work.until)
                work.done.deleted += deleted
                work.done.unfinished |= more
    return True


def read_parts(connection: sa.Connection, table: str) -> list[Part] | None:
    """Return the partitions; None where there are none, or they are of something else than days."""
    key = connection.scalar(sa.text(_KEY), {"table": table})
    if key is None or str(key).replace('"', "").replace(" ", "").lower() != "range(date)":
        return None
    found = [
        _part(str(name), str(bound)) for name, bound in connection.execute(sa.text(_PARTS), {"table": table})
    ]
    return None if None in found else [part for part in found if part is not None]


def _part(name: str, bound: str) -> Part | None:
    if bound == "DEFAULT":
        return Part(name, rest=True)
    match = _BOUND.fullmatch(bound)
    if match is None:
        return None
    try:
        begin, end = (dt.datetime.fromisoformat(text) if text else None for text in (match[2], match[4]))
    except ValueError:
        return None
    if (begin and begin.tzinfo) or (end and end.tzinfo):
        return None  # a column with time zone: not a table of this kind
    return Part(name, begin, end)


def _to_make(connection: sa.Connection, work: Work, parts: list[Part]) -> list[dt.date]:
    """Return the days, local, that lack a partition: those ahead, and those with rows in the DEFAULT one."""
    today = work.today(None)
    days = {today + i * _DAY for i in range(-1, work.settings.partitions_ahead + 1)}
    first, oldest = today - DAYS_BACK * _DAY, work.oldest(None)
    if oldest is not None:
        first = max(first, oldest)
    for part in parts:
        if part.rest:
            days |= _days_in(connection, part.name, first, today)
    return sorted(day for day in days if day >= first and not any(part.meets(day) for part in parts))


def _days_in(connection: sa.Connection, table: str, first: dt.date, last: dt.date) -> set[dt.date]:
    """Return the days from first to last that a table has rows of, hopping over its index on date."""
    quote = connection.dialect.identifier_preparer.quote
    statement = sa.text(f"SELECT MIN(date) FROM {quote(table)} WHERE date >= :begin AND date < :end")
    days: set[dt.date] = set()
    begin = dt.datetime.combine(first, dt.time())
    end = dt.datetime.combine(last + _DAY, dt.time())
    while (found := connection.scalar(statement, {"begin": begin, "end": end})) is not None:
        days.add(found.date())
        begin = dt.datetime.combine(found.date() + _DAY, dt.time())
    connection.commit()
    return days


def _make(connection: sa.Connection, work: Work, day: dt.date) -> bool:
    """Make one day's partition, if it is still missing. Says False where somebody else is at it."""
    quote = connection.dialect.identifier_preparer.quote
    with connection.begin():
        if not _locked(connection, work):
            return False
        parts = read_parts(connection, work.table) or []
        if any(part.meets(day) for part in parts):
            return True
        name = ddl.postgres_partition(work.table, day)
        rest = next((part.name for part in parts if part.rest), None)
        if rest is not None and not work.forced and (rows := _rows_about(connection, rest)) > MOST_ROWS:
            raise TooMany(rows)
        columns = ", ".join(quote(c["name"]) for c in sa.inspect(connection).get_columns(work.table))
        statements = _statements(quote(work.table), quote(name), rest and quote(rest), columns, day)
        for statement in statements if work.dry is None else ["BEGIN", *statements, "COMMIT"]:
            _do(connection, work, statement)
    work.done.made.append(name)
    return True


def _rows_about(connection: sa.Connection, table: str) -> int:
    """What the last ANALYZE counted; autovacuum sees to it."""
    statement = "SELECT reltuples FROM pg_class WHERE oid = to_regclass(quote_ident(:table))"
    return int(connection.scalar(sa.text(statement), {"table": table}) or 0)


def _statements(table: str, part: str, rest: str | None, columns: str, day: dt.date) -> list[str]:
    """Return what makes a partition; names are quoted."""
    statements = [
        f"CREATE TABLE {part} (LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE)"
    ]
    if rest is not None:
        moved = f"DELETE FROM {rest} WHERE date >= '{day}' AND date < '{day + _DAY}' RETURNING {columns}"
        # The table's lock keeps writers out: one that has already chosen the DEFAULT partition for its row
        # would
        # be refused after ATTACH. The partition's own lock ATTACH takes in any case; readers may go on until
        # then.
        statements.insert(0, f"LOCK TABLE ONLY {table} IN SHARE ROW EXCLUSIVE MODE")
        statements.append(f"LOCK TABLE {rest} IN ACCESS EXCLUSIVE MODE")
        statements.append(
            f"WITH moved AS ({moved}) INSERT INTO {part} ({columns}) SELECT {columns} FROM moved"
        )
    bounds = f"FROM ('{day}') TO ('{day + _DAY}')"
    return [*statements, f"ALTER TABLE {table} ATTACH PARTITION {part} FOR VALUES {bounds}"]


def _drop(connection: sa.Connection, work: Work, part: Part) -> None:
    with connection.begin():
        if not _locked(connection, work):
            work.done.unfinished = True
            return
        _do(
            connection,
            work,
            f"DROP TABLE IF EXISTS {connection.dialect.identifier_preparer.quote(part.name)}",
        )
    work.done.dropped.append(part.name)


def _locked(connection: sa.Connection, work: Work) -> bool:
    """Take the lock of those who change tables, until the end of the transaction."""
    if work.dry is not None:
        return True
    ddl.execute(connection, f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'")
    return bool(connection.scalar(sa.text(f"SELECT pg_try_advisory_xact_lock({ddl.LOCK})")))


def _do(connection: sa.Connection, work: Work, statement: str) -> None:
    if work.dry is not None:
        work.dry(statement)
    else:
        ddl.execute(connection, statement)
