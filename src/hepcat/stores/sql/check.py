"""`hepcat db create|upgrade|check` for SQL databases: an Admin (stores/admin.py).

In: the settings of one database. Out: findings, each with what to do. What can go wrong: HepcatError, from
engine.explain: the database is away, wrong password, no such database, a right is missing.

create makes the tables of hepcat's settings that are not there, with their partitions, and hepcat_written;
upgrade adds what existing tables lack and makes partitions ahead; check changes nothing. No row of `version`
is written: neither the module nor kamdbctl knows one for these tables (the module does not ask for a version
at its start).
"""

import contextlib
import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.schema import CreateTable

from hepcat.config.databases import DatabaseSettings
from hepcat.errors import HepcatError
from hepcat.stores.admin import Finding, Tell
from hepcat.stores.sql import alter, ddl, progress, rights
from hepcat.stores.sql.actual import Actual, is_there, look
from hepcat.stores.sql.engine import explain, fault_of, open_engine, shown
from hepcat.stores.sql.explain import Kind
from hepcat.stores.sql.names import Name, classic_of, sip_names, tables_ahead
from hepcat.stores.sql.partitions import maintain
from hepcat.stores.sql.partitions_mysql import read_ranges
from hepcat.stores.sql.partitions_postgres import read_parts
from hepcat.stores.sql.url import parse_url

#: Seconds for one statement: adding an index to a large table takes its time.
PATIENCE: Final = 24 * 3600.0
_DAY: Final = dt.timedelta(days=1)
#: Seconds by which the clocks of hepcat and the database may differ.
_CLOCKS: Final = 2.0


def create(settings: DatabaseSettings, dry: Tell | None = None) -> list[Finding]:
    """Make what is missing; leave alone what is there."""
    findings: list[Finding] = []
    now = dt.datetime.now(dt.UTC)
    with _engine(settings, dry, make=True) as engine, _rights(engine, "CREATE"):
        for table, name in tables_ahead(settings, now):
            made = ddl.ensure_table(engine, table, settings, dry, name, now)
            findings.append(Finding("ok", f"table {table}", _made(engine, settings, name, made, dry, now)))
        with engine.connect() as connection:
            there = is_there(connection, progress.TABLE_NAME)
        if not there:
            made_once = CreateTable(progress.WRITTEN, if_not_exists=ddl.takes_if_not_exists(engine.dialect))
            ddl.run(engine, [str(made_once.compile(dialect=engine.dialect)).strip()], dry)
        found = "was there" if there else "would be made" if dry else "made"
        findings.append(Finding("ok", f"table {progress.TABLE_NAME}", found))
    return findings


def upgrade(settings: DatabaseSettings, dry: Tell | None = None, widen: bool = False) -> list[Finding]:
    """Add columns and indexes that tables lack, and partitions ahead. widen: `msg` for any message."""
    findings: list[Finding] = []
    now = dt.datetime.now(dt.UTC)
    with _engine(settings, dry) as engine, _rights(engine, "ALTER, CREATE, DROP and INDEX"):
        for table, _ in tables_ahead(settings, now):
            with engine.connect() as connection:
                if not is_there(connection, table):
                    findings.append(_missing(settings, table))
                    continue
                actual = look(connection, table)
            statements = alter.statements(engine.dialect, table, actual, widen)
            ddl.run(engine, statements, dry)
            findings += _upgraded(table, actual, widen, bool(statements), dry)
        done = maintain(engine, settings, now, dry, forced=True)
        for what, names in (("made", done.made), ("dropped", done.dropped)):
            if names:
                would = "would be " if dry else ""
                findings.append(Finding("ok", "partitions", f"{would}{what}: {', '.join(names)}"))
        if done.deleted:
            findings.append(Finding("ok", "retention", f"{done.deleted} rows deleted"))
        if done.unfinished:
            again = f"Run `hepcat db upgrade` again{_store(settings)}."
            findings.append(Finding("warn", "partitions", "not all is done: others use the tables", again))
    return findings


def check(settings: DatabaseSettings) -> list[Finding]:
    """Look, and change nothing."""
    now = dt.datetime.now(dt.UTC)
    findings: list[Finding] = []
    with _engine(settings, None) as engine, _rights(engine, "SELECT"), engine.connect() as connection:
        findings += _check_server(connection)
        for table, name in tables_ahead(settings, now):
            if is_there(connection, table):
                findings += _check_table(connection, settings, table, name, now)
            elif table == name.at(now):
                findings.append(_missing(settings, table))
            else:
                found = Finding(
                    "warn", f"table {table}", "is missing", "hepcat serve makes it ahead of time."
                )
                findings.append(found)
            connection.rollback()
        findings += _check_progress(connection, settings)
    for name in sip_names(settings):
        if settings.retention_days is not None and not name.fixed and not name.readable:
            advice = "Use %Y with %m and %d, or %j, each once, and nothing else but %H."
            text = "retention drops none of its tables: the name does not tell the day"
            findings.append(Finding("warn", f"table_name {name.text}", text, advice))
    return findings


@contextlib.contextmanager
def _engine(settings: DatabaseSettings, dry: Tell | None, make: bool = False) -> Iterator[sa.Engine]:
    """Open the database; make: an SQLite file too, of which a dry run has one in memory."""
    url = settings.read()
    target = parse_url(url)
    if make and dry is not None and target.kind == "sqlite" and not Path(str(target.url.database)).exists():
        engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    else:
        engine = open_engine(url, answer_seconds=PATIENCE, create=make)
    try:
        yield engine
    finally:
        engine.dispose()


@contextlib.contextmanager
def _rights(engine: sa.Engine, needed: str) -> Iterator[None]:
    """Tell what the database refuses, and which rights the command needs."""
    try:
        yield
    except sa.exc.DBAPIError as error:
        told = explain(error, shown(engine))
        if fault_of(error).kind is Kind.DENIED and "lacks a right" in str(told):
            owner = ", and the tables have to be its own" if ddl.is_postgres(engine.dialect) else ""
            told = HepcatError(
                str(told),
                f"Grant it {needed} on the database{owner}; or run this as an administrator, or hand him the "
                "statements: --dry-run prints them.",
            )
        raise told from None
    except sa.exc.SQLAlchemyError as error:  # of its own, such as a table that went while we looked
        raise HepcatError(f"{shown(engine)}: {error}", "Look with `hepcat db check` again.") from None


def _store(settings: DatabaseSettings) -> str:
    return "" if settings.name == "url" else f" --store {settings.name}"


def _missing(settings: DatabaseSettings, table: str) -> Finding:
    return Finding("bad", f"table {table}", "is missing", f"Make it: hepcat db create{_store(settings)}")


def _made(
    engine: sa.Engine, settings: DatabaseSettings, name: Name, made: bool, dry: Tell | None, now: dt.datetime
) -> str:
    if not made:
        return "was there"
    days = ddl.first_days(settings, engine.dialect, now)
    split = ddl.partitioned(engine.dialect) and not name.by_day
    parts = f", with daily partitions from {days[0]} to {days[-1]}" if split else ""
    return ("would be made" if dry else "made") + parts


def _upgraded(table: str, actual: Actual, widen: bool, changed: bool, dry: Tell | None) -> list[Finding]:
    """Say what was added, and what is left."""
    subject = f"table {table}"
    would = "would be " if dry else ""
    findings = []
    if actual.missing:
        names = ", ".join(column.name for column in actual.missing)
        findings.append(Finding("ok", subject, f"{would}added: columns {names}"))
    if actual.unindexed:
        findings.append(Finding("ok", subject, f"{would}added: indexes on {', '.join(actual.unindexed)}"))
    if actual.unfilled:
        findings.append(Finding("ok", subject, f"{would}given a default: {', '.join(actual.unfilled)}"))
    if actual.msg_width is not None and widen:
        findings.append(Finding("ok", subject, f"{would}widened: msg"))
    elif actual.msg_width is not None:
        findings.append(_small(subject, actual.msg_width))
    if not changed:
        findings.append(Finding("ok", subject, "has all columns and indexes"))
    return findings


def _small(subject: str, width: int) -> Finding:
    return Finding(
        "warn",
        f"{subject}, column msg",
        f"messages longer than {width} characters are cut there",
        "Widen it: hepcat db upgrade --widen (the table is written anew, which takes time and space).",
    )


def _check_table(
    connection: sa.Connection, settings: DatabaseSettings, table: str, name: Name, now: dt.datetime
) -> list[Finding]:
    """Look at one table that is there."""
    subject = f"table {table}"
    actual = look(connection, table)
    upgrade = f"Add them: hepcat db upgrade{_store(settings)}"
    findings = []
    if actual.missing:
        names = ", ".join(column.name for column in actual.missing)
        findings.append(
            Finding("warn", subject, f"has no column {names}: what belongs there is not kept", upgrade)
        )
    if actual.unfilled:
        text = f"nobody fills column {', '.join(actual.unfilled)}, and it has no default: rows may be refused"
        findings.append(Finding("bad", subject, text, f"Give it one: hepcat db upgrade{_store(settings)}"))
    if actual.msg_width is not None:
        findings.append(_small(subject, actual.msg_width))
    if actual.narrow:
        text = ", ".join(f"{column} ({width})" for column, width in actual.narrow.items())
        findings.append(Finding("warn", subject, f"longer values are cut: narrow columns {text}"))
    if actual.unindexed:
        text = f"has no index on {', '.join(actual.unindexed)}: searching there is slow"
        findings.append(Finding("warn", subject, text, upgrade))
    if actual.engine and actual.engine.lower() != "innodb":
        text = (
            f"is of engine {actual.engine}, without transactions: after a failure rows may be twice, or lost"
        )
        findings.append(Finding("warn", subject, text, f"ALTER TABLE {table} ENGINE=InnoDB"))
    denied = [] if actual.unfilled else _check_rights(connection, table, actual)
    findings += denied
    if not denied:  # else looking into the partitions is refused too
        findings += _check_partitions(connection, settings, table, name, now)
    return findings or [Finding("ok", subject, "has all columns and indexes, and takes any message")]


def _check_rights(connection: sa.Connection, table: str, actual: Actual) -> list[Finding]:
    """Try to insert no rows at all: the database checks the rights all the same."""
    subject = f"table {table}"
    quote = connection.dialect.identifier_preparer.quote
    name = quote(table)
    columns = ", ".join(quote(c.name) for c in classic_of(table).columns if c not in actual.missing)
    findings = []
    for right, statement in (
        ("SELECT", f"SELECT COUNT(*) FROM {name} WHERE 1 = 0"),
        ("INSERT", f"INSERT INTO {name} ({columns}) SELECT {columns} FROM {name} WHERE 1 = 0"),
    ):
        try:
            ddl.execute(connection, statement)
        except sa.exc.DBAPIError as error:
            fault = fault_of(error)
            if fault.kind is not Kind.DENIED:
                raise
            connection.rollback()
            findings.append(Finding("bad", subject, fault.words, rights.grant(connection, [right], table)))
        connection.rollback()
    if not findings and ddl.is_postgres(connection.dialect):
        statement = (
            "SELECT has_sequence_privilege(pg_get_serial_sequence(quote_ident(:table), 'id'), 'USAGE')"
        )
        if connection.scalar(sa.text(statement), {"table": table}) is False:
            advice = f"GRANT USAGE ON SEQUENCE {table}_id_seq TO the user."
            findings.append(Finding("bad", subject, "the user may not count its ids", advice))
    return findings


def _check_partitions(
    connection: sa.Connection, settings: DatabaseSettings, table: str, name: Name, now: dt.datetime
) -> list[Finding]:
    """Whether tomorrow has a partition, and whether rows wait in the catch-all."""
    if name.by_day or not ddl.partitioned(connection.dialect):
        return []
    subject = f"partitions of {table}"
    advice = f"hepcat serve makes them; at once: hepcat db upgrade{_store(settings)}"
    rest: str | None = None
    if ddl.is_mysql(connection.dialect):
        ranges = read_ranges(connection, table)
        last = max((bound or 0 for _, bound in ranges or []), default=0)
        tomorrow = last >= (now + _DAY).timestamp()
        there = ranges is not None
        rest = next((part for part, bound in ranges or [] if bound is None), None)
        quote = connection.dialect.identifier_preparer.quote
        source = f"{quote(table)} PARTITION ({quote(rest)})" if rest else ""
    else:
        parts = read_parts(connection, table)
        there = parts is not None
        tomorrow = any(part.meets((now + _DAY).astimezone().date()) for part in parts or [])
        rest = next((part.name for part in parts or [] if part.rest), None)
        source = connection.dialect.identifier_preparer.quote(rest) if rest else ""
    if not there:
        if settings.retention_days is None:
            return []
        text = "there are none by day of `date`: old rows are deleted one by one, which is slow"
        return [
            Finding("warn", subject, text, "Make a new table, and let it be filled for the days that count.")
        ]
    findings = []
    if not tomorrow:
        findings.append(Finding("warn", subject, "there is none for tomorrow", advice))
    if source and connection.execute(sa.text(f"SELECT 1 FROM {source} LIMIT 1")).first():
        text = f"rows wait in the catch-all {rest}, where retention does not see their day"
        findings.append(Finding("warn", subject, text, advice))
    return findings


def _check_progress(connection: sa.Connection, settings: DatabaseSettings) -> list[Finding]:
    """hepcat_written: without it a batch whose commit was lost on the way may be written twice."""
    subject = f"table {progress.TABLE_NAME}"
    if not rights.is_made(connection):
        text = f"is missing: {rights.RISK}"
        return [Finding("warn", subject, text, f"Make it: hepcat db create{_store(settings)}")]
    lacks = rights.lacking(connection)
    if lacks:
        text = f"the user lacks {' and '.join(lacks)} on it: {rights.RISK}"
        return [Finding("bad", subject, text, rights.grant(connection, lacks))]
    return [Finding("ok", subject, "is there")]


def _check_server(connection: sa.Connection) -> list[Finding]:
    """The server's clock, time zone and settings that matter."""
    now = dt.datetime.now(dt.UTC)
    findings = []
    clock: Any = None
    if ddl.is_mysql(connection.dialect):
        clock = connection.scalar(sa.text("SELECT UNIX_TIMESTAMP(NOW(6))"))
        there = connection.scalar(sa.text("SELECT TIMESTAMPDIFF(SECOND, UTC_TIMESTAMP(), NOW())"))
        here = (now.astimezone().utcoffset() or dt.timedelta()).total_seconds()
        if abs(float(there) - here) > 1:
            text = f"{_hours(float(there))} from UTC there, {_hours(here)} here: hepcat writes instants"
            findings.append(Finding("ok", "time zone", text))
        raw: Any = connection.connection.dbapi_connection
        if not raw.has_bulk and not connection.scalar(sa.text("SELECT @@GLOBAL.local_infile")):
            text = "is off: rows are written by INSERT, which is slower than LOAD DATA LOCAL"
            findings.append(
                Finding("warn", "local_infile", text, "SET GLOBAL local_infile = 1, and in my.cnf.")
            )
    elif ddl.is_postgres(connection.dialect):
        clock = connection.scalar(sa.text("SELECT EXTRACT(EPOCH FROM clock_timestamp())"))
    if clock is not None and abs(float(clock) - now.timestamp()) > _CLOCKS:
        text = f"differs by {float(clock) - now.timestamp():.0f} s from this machine's"
        findings.append(Finding("warn", "clock", text, "Let NTP set both."))
    connection.rollback()
    return findings or [Finding("ok", "server", "clock and settings are as they should be")]


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:+.4g} h"
