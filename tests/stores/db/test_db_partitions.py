"""Partitions ahead and retention: real MariaDB, PostgreSQL, SQLite. No row is lost on the way."""

import datetime as dt
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from hepcat.errors import HepcatError
from hepcat.stores.sql import check, ddl
from hepcat.stores.sql.engine import open_engine
from hepcat.stores.sql.partitions import maintain
from hepcat.stores.sql.partitions_mysql import read_ranges
from hepcat.stores.sql.partitions_postgres import read_parts
from hepcat.stores.sql.retention import delete_before
from hepcat.stores.store import StoreUnavailable
from tests.servers import new_name
from tests.stores.db.conftest import Database
from tests.stores.db.original import original
from tests.stores.db.test_db_create import settings_of

DAY = dt.timedelta(days=1)
NOW = dt.datetime.now(dt.UTC).replace(hour=12, minute=0, second=0, microsecond=0)


@pytest.fixture(autouse=True)
def today(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let NOW be of the day of the test: midnight may come between reading this file and running it."""
    now = dt.datetime.now(dt.UTC).replace(hour=12, minute=0, second=0, microsecond=0)
    monkeypatch.setitem(globals(), "NOW", now)


def insert(engine: sa.Engine, days: list[int], table: str = "sip_capture") -> None:
    """One row for each day from now."""
    local = NOW.astimezone().replace(tzinfo=None)
    rows = [{"date": local + day * DAY, "ts": day, "msg": b"x"} for day in days]
    with engine.begin() as connection:
        statement = f"INSERT INTO {table} (date, micro_ts, msg) VALUES (:date, :ts, :msg)"
        connection.execute(sa.text(statement), rows)


def days_in(engine: sa.Engine, table: str = "sip_capture") -> list[int]:
    """The rows that are there, by their day from now."""
    with engine.connect() as connection:
        found = connection.execute(sa.text(f"SELECT micro_ts FROM {table} ORDER BY micro_ts")).scalars()
        return [int(day) for day in found]


def days_by_partition(engine: sa.Engine, table: str = "sip_capture") -> dict[str, list[int]]:
    """Partition -> the rows in it, by their day; the catch-all is called "rest"."""
    found = {}
    quote = engine.dialect.identifier_preparer.quote
    with engine.connect() as connection:
        if ddl.is_mysql(engine.dialect):
            ranges = read_ranges(connection, table)
            sources = {
                name if end else "rest": f"{quote(table)} PARTITION ({quote(name)})"
                for name, end in ranges or []
            }
        else:
            parts = read_parts(connection, table)
            sources = {"rest" if part.rest else part.name[-9:]: quote(part.name) for part in parts or []}
        for name, source in sources.items():
            rows = connection.execute(sa.text(f"SELECT micro_ts FROM {source} ORDER BY micro_ts")).scalars()
            found[name] = [int(row) for row in rows]
    return found


def part(day: int) -> str:
    return ddl.partition_name((NOW + day * DAY).date())


def test_days_ahead_are_made_and_rows_that_wait_move_there(server_db: Database) -> None:
    settings = settings_of(server_db.url)
    engine = open_engine(server_db.url)
    ddl.ensure_table(engine, "sip_capture", settings, now=NOW)
    insert(engine, [0, 1, 2, 3, 4, 5, 9])  # partitions reach to day 2
    assert days_by_partition(engine)["rest"] == [3, 4, 5, 9]
    done = maintain(engine, settings, NOW + 2 * DAY)
    assert done.made
    found = days_by_partition(engine)
    for day in range(5):
        assert found[part(day)] == [day]
    assert found["rest"] == [5, 9]
    assert days_in(engine) == [0, 1, 2, 3, 4, 5, 9]
    assert not maintain(engine, settings, NOW + 2 * DAY).made
    engine.dispose()


def test_retention_drops_whole_days_and_nothing_else(server_db: Database) -> None:
    settings = settings_of(server_db.url, retention_days=3)
    engine = open_engine(server_db.url)
    ddl.ensure_table(engine, "sip_capture", settings, now=NOW - 6 * DAY)
    for day in range(-6, 1):
        maintain(engine, settings_of(server_db.url), NOW + day * DAY)
    insert(engine, list(range(-8, 3)))
    done = maintain(engine, settings, NOW)
    assert done.dropped
    assert days_in(engine) == [-3, -2, -1, 0, 1, 2]
    assert not maintain(engine, settings, NOW).dropped
    maintain(engine, settings, NOW + 300 * DAY)  # hepcat was not there for a year
    assert days_in(engine) == []
    insert(engine, [300])
    assert days_in(engine) == [300]
    engine.dispose()


def test_the_catch_all_of_an_original_table_becomes_days(maria_db: Database) -> None:
    maria_db.run(original())
    engine = open_engine(maria_db.url)
    insert(engine, [-200, -5, -1, 0, 1])
    settings = settings_of(maria_db.url)
    maintain(engine, settings, NOW)
    found = days_by_partition(engine)
    assert found[part(-100)] == [-200]  # older than 100 days: together in the first
    assert [found[part(day)] for day in (-5, -3, -1, 0, 1, 2)] == [[-5], [], [-1], [0], [1], []]
    assert found["rest"] == []
    engine.dispose()


def test_the_catch_all_with_retention(maria_db: Database) -> None:
    maria_db.run(original())
    engine = open_engine(maria_db.url)
    insert(engine, [-200, -5, -3, 0])
    maintain(engine, settings_of(maria_db.url, retention_days=4), NOW)
    assert days_in(engine) == [-3, 0]
    assert part(-4) in days_by_partition(engine)
    engine.dispose()


def test_hourly_partitions_of_the_original_are_taken_as_they_are(maria_db: Database) -> None:
    midnight = int(NOW.timestamp()) - 12 * 3600
    hours = [
        f"PARTITION p{NOW:%Y%m%d}{h:02} VALUES LESS THAN ({midnight + h * 3600 + 3600})" for h in (0, 20)
    ]
    taken = f"PARTITION {part(1)} VALUES LESS THAN ({midnight + 26 * 3600})"  # a day's name, another end
    maria_db.run(original(partitions=", ".join([*hours, taken, "PARTITION later VALUES LESS THAN MAXVALUE"])))
    engine = open_engine(maria_db.url)
    insert(engine, [-3, 0, 1, 2, 3])
    maintain(engine, settings_of(maria_db.url), NOW)
    found = days_by_partition(engine)
    assert found[f"p{NOW:%Y%m%d}00"] == [-3]
    assert found[f"p{NOW:%Y%m%d}20"] == [0]
    assert found[part(1)] == []
    assert found[part(1) + "_"] == [1]
    assert found[part(2)] == [2]
    assert found["rest"] == [3]
    maintain(engine, settings_of(maria_db.url, retention_days=1), NOW + 2 * DAY)
    assert days_in(engine) == [1, 2, 3]
    engine.dispose()


def test_other_partitions_are_left_alone(server_db: Database) -> None:
    settings = settings_of(server_db.url, retention_days=1)
    engine = open_engine(server_db.url)
    if ddl.is_mysql(engine.dialect):
        create = ddl.create_statements(engine.dialect, "sip_capture", settings, NOW)[0]
        strange = create.partition(" PARTITION BY")[0] + " PARTITION BY HASH (id) PARTITIONS 3"
        server_db.run(strange)
    else:
        create = ddl.create_statements(engine.dialect, "sip_capture", settings, NOW)[0]
        create = create.replace("PRIMARY KEY (id, date)", "PRIMARY KEY (id)").replace(
            "RANGE (date)", "HASH (id)"
        )
        all_rows = "CREATE TABLE everything PARTITION OF sip_capture FOR VALUES WITH (MODULUS 1, REMAINDER 0)"
        with engine.begin() as connection:
            ddl.execute(connection, create)
            ddl.execute(connection, all_rows)
    insert(engine, [-5, -2, -1, 0])
    if ddl.is_mysql(engine.dialect):
        done = maintain(engine, settings, NOW)
        assert not done.made
        assert not done.dropped
        assert done.deleted == 2  # row by row
        assert days_in(engine) == [-1, 0]
    engine.dispose()


@pytest.mark.parametrize("kind", ["mariadb", "postgresql", "sqlite", "odbc"])
def test_tables_without_partitions_are_cleared_in_chunks(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path}/sip.db"
    if kind == "odbc":
        url = request.getfixturevalue("odbc_url")
    elif kind != "sqlite":
        url = request.getfixturevalue("maria_db" if kind == "mariadb" else "postgres_db").url
    engine = open_engine(url, create=True)
    statements = ddl.create_statements(engine.dialect, "sip_capture", settings_of(url), NOW)[:1]
    plain = statements[0].partition(" PARTITION BY")[0]
    with engine.begin() as connection:
        ddl.execute(connection, plain)
    insert(engine, [*range(-40, 1)])
    with engine.connect() as connection:
        assert delete_before(connection, "sip_capture", (NOW - 30 * DAY).date(), 0.0, chunk=4) == (4, True)
    assert len(days_in(engine)) == 37
    done = maintain(engine, settings_of(url, retention_days=3), NOW)
    assert done.deleted == 33
    assert not done.unfinished
    assert days_in(engine) == [-3, -2, -1, 0]
    engine.dispose()


def test_rows_that_kamailio_wrote_into_sqlite_have_julian_days(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/sip.db"
    settings = settings_of(url, retention_days=3)
    check.create(settings)
    engine = open_engine(url)
    with engine.begin() as connection:
        for day in (-5, -4, -1, 0):
            when = f"{(NOW + day * DAY):%Y-%m-%d %H:%M:%S}"
            statement = "INSERT INTO sip_capture (date, micro_ts, msg) VALUES (julianday(:when), :day, 'x')"
            connection.execute(sa.text(statement), {"when": when, "day": day})
    insert(engine, [-6, -2])
    maintain(engine, settings, NOW)
    assert days_in(engine) == [-2, -1, 0]
    engine.dispose()


def test_times_from_a_clock_that_runs_wild_make_no_partitions(postgres_db: Database) -> None:
    settings = settings_of(postgres_db.url)
    check.create(settings)
    engine = open_engine(postgres_db.url)
    days = [-20_000, -101, 30, 300, 3000]
    insert(engine, days)
    assert not maintain(engine, settings, NOW).made
    assert days_by_partition(engine)["rest"] == days
    engine.dispose()


def test_very_many_rows_are_split_only_when_asked_for(
    server_db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hepcat.stores.sql import partitions_mysql, partitions_postgres

    monkeypatch.setattr(partitions_mysql, "MOST_ROWS", 50)
    monkeypatch.setattr(partitions_postgres, "MOST_ROWS", 50)
    settings = settings_of(server_db.url)
    check.create(settings)
    engine = open_engine(server_db.url)
    insert(engine, [3] * 200)
    server_db.run(
        "ANALYZE TABLE sip_capture" if server_db.server.scheme == "mysql" else "ANALYZE sip_capture_pmax"
    )
    with pytest.raises(HepcatError) as told:
        maintain(engine, settings, NOW + DAY)
    assert "200 rows" in str(told.value)
    assert "hepcat db upgrade" in told.value.hint
    assert len(days_by_partition(engine)["rest"]) == 200
    with engine.connect() as connection:
        there = ddl.is_mysql(engine.dialect)
        logs = read_ranges(connection, "logs_capture") if there else read_parts(connection, "logs_capture")
    assert part(3) in str(logs)  # the other tables are done all the same
    maintain(engine, settings, NOW + DAY, forced=True)
    assert len(days_by_partition(engine)[part(3)]) == 200
    engine.dispose()


@pytest.mark.parametrize("zone", ["Pacific/Auckland", "America/Los_Angeles"])
def test_days_where_local_time_is_not_utc(
    zone: str, server_db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL's days are local, MariaDB's are UTC's; what is kept is never less than was asked for."""
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        settings = settings_of(server_db.url, retention_days=2)
        engine = open_engine(server_db.url)
        local_days = not ddl.is_mysql(engine.dialect)
        ddl.ensure_table(engine, "sip_capture", settings_of(server_db.url), now=NOW - 5 * DAY)
        hours = range(-120, 25, 6)
        with engine.begin() as connection:
            for hour in hours:
                when = NOW + dt.timedelta(hours=hour)
                date = (
                    f"'{when.astimezone():%Y-%m-%d %H:%M:%S}'"
                    if local_days
                    else f"FROM_UNIXTIME({when.timestamp()})"
                )
                ddl.execute(
                    connection, f"INSERT INTO sip_capture (date, micro_ts, msg) VALUES ({date}, {hour}, '')"
                )
        maintain(engine, settings, NOW)
        found = days_by_partition(engine)
        left = days_in(engine)
        assert left == [hour for hour in hours if hour >= left[0]]
        assert -72 <= left[0] <= -48
        for hour in left:
            when = (NOW + dt.timedelta(hours=hour)).astimezone(None if local_days else dt.UTC)
            assert hour in found[ddl.partition_name(when.date())]
        assert found["rest"] == []
        assert not [f for f in check.check(settings) if f.subject == "partitions of sip_capture"]
        engine.dispose()
    finally:
        monkeypatch.undo()
        time.tzset()


def test_check_tells_what_the_catch_all_holds(server_db: Database) -> None:
    settings = settings_of(server_db.url)
    engine = open_engine(server_db.url)
    check.create(settings)
    assert {f.level for f in check.check(settings)} == {"ok"}
    insert(engine, [9])
    (found,) = [f for f in check.check(settings) if f.level != "ok"]
    assert found.subject == "partitions of sip_capture"
    assert "rows wait in the catch-all" in found.found
    server_db.run("DROP TABLE sip_capture")
    ddl.ensure_table(engine, "sip_capture", settings, now=NOW - 9 * DAY)
    texts = [f.found for f in check.check(settings) if f.subject == "partitions of sip_capture"]
    assert texts == ["there is none for tomorrow"]
    check.upgrade(settings)
    assert {f.level for f in check.check(settings)} == {"ok"}
    engine.dispose()


def test_a_table_a_day(server_db: Database) -> None:
    settings = settings_of(server_db.url, table_name="cap_%Y%m%d | cap_%Y_%m", retention_days=2)
    engine = open_engine(server_db.url)
    for day in (0, 1, 4):
        maintain(engine, settings, NOW + day * DAY)
    tables = sa.inspect(engine).get_table_names()
    days = {name for name in tables if len(name) == 12 and name.startswith("cap_")}
    # Each time: the day's table and the next one's. Of two days before day 4 nothing is left.
    assert days == {f"cap_{NOW + day * DAY:%Y%m%d}" for day in (2, 4, 5)}
    assert f"cap_{NOW + 5 * DAY:%Y_%m}" in tables
    assert days_by_partition(engine, f"cap_{NOW + 4 * DAY:%Y_%m}")  # a month has daily partitions
    server_db.run("CREATE TABLE cap_19990101x (id int); CREATE TABLE cap_1999010 (id int)")
    maintain(engine, settings, NOW + 4 * DAY)
    assert {"cap_19990101x", "cap_1999010"} <= set(sa.inspect(engine).get_table_names())
    engine.dispose()


def test_several_at_once_while_rows_come(server_db: Database) -> None:
    """Three maintainers and a writer whose rows go into the catch-all: every row is there once."""
    settings = settings_of(server_db.url)
    engine = open_engine(server_db.url)
    check.create(settings)
    stop = threading.Event()
    written: list[int] = []
    failed: list[BaseException] = []

    def write() -> None:
        own = open_engine(server_db.url)
        try:
            while not stop.is_set():
                insert(own, [3, 4, 5, 6])
                written.extend([3, 4, 5, 6])
        except BaseException as error:
            failed.append(error)
        own.dispose()

    def keep() -> None:
        own = open_engine(server_db.url)
        try:
            for day in range(4):
                maintain(own, settings, NOW + day * DAY)
        except BaseException as error:
            failed.append(error)
        own.dispose()

    writer = threading.Thread(target=write)
    keepers = [threading.Thread(target=keep) for _ in range(3)]
    for thread in (writer, *keepers):
        thread.start()
    for thread in keepers:
        thread.join()
    stop.set()
    writer.join()
    assert not failed
    assert days_in(engine) == sorted(written)
    while maintain(engine, settings, NOW + 4 * DAY).unfinished:
        pass
    found = days_by_partition(engine)
    for day in (3, 4, 5, 6):
        assert found[part(day)] == [day] * written.count(day)
    engine.dispose()


def test_a_missing_right_is_told_and_the_rest_is_done(server_db: Database) -> None:
    settings = settings_of(server_db.url)
    check.create(settings)
    user = new_name()
    poor = server_db.url.replace("hepcat:", f"{user}:")
    if server_db.server.scheme == "mysql":
        server_db.run(f"CREATE USER {user}@'127.0.0.1' IDENTIFIED BY 'secret'")
        server_db.run(f"GRANT SELECT, INSERT ON {server_db.name}.* TO {user}@'127.0.0.1'")
    else:
        server_db.run(f"CREATE ROLE {user} LOGIN PASSWORD 'secret'")
        server_db.run(f"GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA public TO {user}")
    engine = open_engine(poor)
    assert not maintain(engine, settings_of(poor), NOW).made  # nothing to do: no right is needed
    with pytest.raises(HepcatError) as told:
        maintain(engine, settings_of(poor), NOW + 3 * DAY)
    assert "secret" not in f"{told.value}{told.value.hint}"
    assert "sip_capture" in str(told.value)
    assert "ALTER" in told.value.hint
    engine.dispose()


def test_a_server_that_is_away_is_unavailable(maria_db: Database) -> None:
    url = maria_db.url.replace(str(maria_db.server.port), "1")
    engine = open_engine(url)
    with pytest.raises(StoreUnavailable):
        maintain(engine, settings_of(url), NOW)


def test_a_dry_run_changes_nothing(server_db: Database) -> None:
    settings = settings_of(server_db.url, retention_days=2)
    check.create(settings)
    engine = open_engine(server_db.url)
    insert(engine, [0, 3])
    before = days_by_partition(engine)
    printed: list[str] = []
    maintain(engine, settings, NOW + 9 * DAY, printed.append)
    assert days_by_partition(engine) == before
    assert any("sip_capture" in statement for statement in printed)
    server_db.run_script(printed)
    assert part(11) in days_by_partition(engine)
    assert 0 not in days_in(engine)
    engine.dispose()


def test_a_lock_of_others_is_waited_for_only_a_while(
    maria_db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hepcat.stores.sql import partitions_mysql

    monkeypatch.setattr(partitions_mysql, "LOCK_SECONDS", 1)
    settings: Any = settings_of(maria_db.url)
    check.create(settings)
    engine = open_engine(maria_db.url)
    insert(engine, [0])
    with engine.connect() as other:
        other.execute(sa.text("SELECT * FROM sip_capture")).all()  # an open transaction holds the table
        done = maintain(engine, settings, NOW + 3 * DAY)
        assert done.unfinished
        assert not any(name.startswith("sip_capture") for name in done.made)
        assert any(name.startswith("logs_capture") for name in done.made)
    assert any(name.startswith("sip_capture") for name in maintain(engine, settings, NOW + 3 * DAY).made)
    engine.dispose()
