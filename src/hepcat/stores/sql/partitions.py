"""Daily partitions ahead of time, and retention, in whatever form the engine has them.

In: an engine, settings, the time. Out: what was made, dropped and deleted. What can go wrong: HepcatError (a
right is missing; told after everything else was tried), StoreUnavailable (the database is away).

- MariaDB and MySQL: partitions_mysql.py. PostgreSQL: partitions_postgres.py. A table without partitions
  there, and every table elsewhere: old rows are deleted, a bounded number in each transaction.
- `table_name` with a strftime pattern: the tables until tomorrow are made, and those whose time is over
  dropped. Only names that the pattern itself makes are ever dropped, and only where a year and a day can be
  read in them.

With nothing to do it costs one look at the catalog for each table. Several hepcats may do it at once: who
changes a table's partitions holds a lock, and who does not get it leaves the work to the one who has it. Rows
of day d are dropped when d is more than `retention_days` days before today, as in the lake.
"""

import contextlib
import datetime as dt
import time
from collections.abc import Iterator
from typing import Final

import sqlalchemy as sa

from hepcat.config.databases import DatabaseSettings
from hepcat.errors import HepcatError
from hepcat.stores.admin import Tell
from hepcat.stores.sql import ddl
from hepcat.stores.sql.actual import table_names
from hepcat.stores.sql.engine import connecting, explain, fault_of, shown
from hepcat.stores.sql.explain import Kind
from hepcat.stores.sql.names import Name, sip_names, sister_names
from hepcat.stores.sql.partitions_mysql import maintain_mysql
from hepcat.stores.sql.partitions_postgres import maintain_postgres
from hepcat.stores.sql.retention import delete_before
from hepcat.stores.sql.work import Maintained, TooMany, Work
from hepcat.stores.store import StoreUnavailable

__all__ = ["Maintained", "maintain"]

#: Seconds that one call spends on deleting rows; the next call goes on.
BUDGET: Final = 60.0


class _Troubles:
    """What was refused: the rest is done all the same, and the first refusal is told at the end."""

    def __init__(self, engine: sa.Engine, done: Maintained) -> None:
        self.first: HepcatError | None = None
        self._engine = engine
        self._done = done

    @contextlib.contextmanager
    def around(self, subject: str) -> Iterator[None]:
        """Do one thing that may be refused."""
        try:
            yield
        except TooMany as error:
            self.first = self.first or HepcatError(
                f"{shown(self._engine)}: {subject}: {error}",
                "Make them at a quiet hour: `hepcat db upgrade`. Writing waits in the spool meanwhile.",
            )
        except sa.exc.DBAPIError as error:
            told = explain(error, f"{shown(self._engine)}: {subject}")
            if isinstance(told, StoreUnavailable):
                raise told from None
            fault = fault_of(error)
            if fault.kind is Kind.BUSY:
                self._done.unfinished = True
                return
            hint = told.hint
            if fault.kind is Kind.DENIED:
                hint = (
                    "Partitions and old rows need ALTER, CREATE, DROP, INSERT and DELETE (PostgreSQL: the "
                    "table's owner). Grant them, or let an administrator run `hepcat db upgrade` each day."
                )
            self.first = self.first or HepcatError(str(told), hint)


def maintain(
    engine: sa.Engine,
    settings: DatabaseSettings,
    now: dt.datetime | None = None,
    dry: Tell | None = None,
    budget: float = BUDGET,
    forced: bool = False,
) -> Maintained:
    """Make what is needed until tomorrow and `partitions_ahead` days on; drop what is too old.

    forced: also split a catch-all of so many rows that writing stops for long.
    """
    now = now or dt.datetime.now(dt.UTC)
    done = Maintained()
    until = time.monotonic() + budget
    troubles = _Troubles(engine, done)
    with connecting(engine) as connection:
        there = table_names(connection)
        connection.commit()
        for name in [*sip_names(settings), *sister_names()]:
            for table in name.ahead(now):
                with troubles.around(f"table {table}"):
                    work = Work(table, settings, now, done, until, dry, forced)
                    if table in there:
                        _maintain_table(connection, work, name)
                    elif not name.fixed:
                        _make_table(engine, work, name)
            with troubles.around(f"old tables of {name.text}"):
                _drop_tables(connection, settings, name, now, sorted(there), dry, done)
    if troubles.first is not None:
        raise troubles.first
    return done


def _maintain_table(connection: sa.Connection, work: Work, name: Name) -> None:
    """Partitions where there are some; else old rows are deleted, but of a table a day, which is dropped."""
    try:
        if ddl.is_mysql(connection.dialect) and maintain_mysql(connection, work):
            return
        if ddl.is_postgres(connection.dialect) and maintain_postgres(connection, work):
            return
        oldest = work.oldest(None)
        if oldest is not None and work.dry is None and not name.by_day:
            deleted, more = delete_before(connection, work.table, oldest, work.until)
            work.done.deleted += deleted
            work.done.unfinished |= more
    finally:
        if not connection.closed and not connection.invalidated:
            connection.rollback()


def _make_table(engine: sa.Engine, work: Work, name: Name) -> None:
    if ddl.ensure_table(engine, work.table, work.settings, work.dry, name, work.now):
        work.done.made.append(work.table)


def _drop_tables(
    connection: sa.Connection,
    settings: DatabaseSettings,
    name: Name,
    now: dt.datetime,
    there: list[str],
    dry: Tell | None,
    done: Maintained,
) -> None:
    """Drop the tables of a pattern whose time is over for more than the days that are kept."""
    if settings.retention_days is None:
        return
    today = now.astimezone(dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    limit = today - dt.timedelta(days=settings.retention_days)
    for table in there:
        end = name.end_of(table)
        if end is None or end > limit:
            continue
        statement = f"DROP TABLE IF EXISTS {connection.dialect.identifier_preparer.quote(table)}"
        if dry is not None:
            dry(statement)
        else:
            ddl.execute(connection, statement)
            connection.commit()
        done.dropped.append(table)
