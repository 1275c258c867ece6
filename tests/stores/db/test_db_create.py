"""`hepcat db create`: the classic tables in real databases, compared with the original's."""

import datetime as dt
import re
import threading
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from hepcat.config.databases import DatabaseSettings
from hepcat.errors import HepcatError
from hepcat.stores.sql import check, ddl
from hepcat.stores.sql.engine import open_engine
from hepcat.stores.sql.names import Name
from tests.stores.db.conftest import Database
from tests.stores.db.original import COLUMNS, INDEXES, NAMES_OF_SISTERS, SISTER, original

OCTETS = bytes(range(256)) * 255 + bytes(255)


def settings_of(url: str, **more: Any) -> DatabaseSettings:
    return DatabaseSettings.model_validate({"name": "db", "url": url, "partitions_ahead": 2, **more})


def described(db: Database, table: str) -> dict[str, tuple[str, str, str]]:
    """Return MariaDB's columns: type without its display width, null, default."""
    rows = db.run(f"SHOW COLUMNS FROM {table}")
    return {row[0]: (re.sub(r"(int)\(\d+\)", r"\1", row[1]), row[2], row[4]) for row in rows}


def indexes(db: Database, table: str) -> dict[str, str]:
    return {row[2]: row[4] for row in db.run(f"SHOW INDEX FROM {table}") if row[2] != "PRIMARY"}


def test_mariadb_has_the_columns_of_the_original(maria_db: Database) -> None:
    check.create(settings_of(maria_db.url))
    maria_db.run(original("theirs"))
    ours, theirs = described(maria_db, "sip_capture"), described(maria_db, "theirs")
    assert list(ours) == ["id", *COLUMNS]
    assert ours.pop("msg") == ("mediumblob", "NO", "NULL")
    assert theirs.pop("msg")[0] == "varchar(1500)"
    assert ours == theirs
    assert indexes(maria_db, "sip_capture") == indexes(maria_db, "theirs") == {n: n for n in INDEXES}
    made = maria_db.one("SHOW CREATE TABLE sip_capture").replace("\\n", " ") + " ".join(
        maria_db.run("SHOW CREATE TABLE sip_capture")[0]
    )
    assert "PRIMARY KEY (`id`,`date`)" in made
    for option in ("ENGINE=InnoDB", "ROW_FORMAT=COMPRESSED", "KEY_BLOCK_SIZE=8", "CHARSET=utf8mb4"):
        assert option in made
    for sister in NAMES_OF_SISTERS:
        assert list(described(maria_db, sister)) == ["id", *SISTER]
        assert indexes(maria_db, sister) == {"date": "date", "correlationid": "correlation_id"}


def widths(inspector: sa.Inspector, table: str) -> dict[str, int | None]:
    return {c["name"]: getattr(c["type"], "length", None) for c in inspector.get_columns(table)}


@pytest.mark.parametrize("kind", ["postgresql", "sqlite"])
def test_other_engines_have_the_same_columns(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/sip.db"
    if kind == "postgresql":
        url = request.getfixturevalue("postgres_db").url
    check.create(settings_of(url))
    engine = open_engine(url)
    inspector = sa.inspect(engine)
    for table, columns in (("sip_capture", tuple(COLUMNS)), *((name, SISTER) for name in NAMES_OF_SISTERS)):
        expected: dict[str, int | None] = {"id": None}
        for column in columns:
            match = re.fullmatch(r"varchar\((\d+)\)", COLUMNS[column])
            expected[column] = int(match[1]) if match and column != "msg" else None
        assert widths(inspector, table) == expected
        found = {index["column_names"][0] for index in inspector.get_indexes(table)}
        assert found == (set(INDEXES) if table == "sip_capture" else {"date", "correlation_id"})
        nullable = {c["name"] for c in inspector.get_columns(table) if c["nullable"]}
        assert nullable == {"family"}
    engine.dispose()


@pytest.mark.parametrize("kind", ["mariadb", "postgresql", "sqlite"])
def test_msg_takes_any_message_and_the_rest_has_defaults(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/sip.db"
    if kind != "sqlite":
        url = request.getfixturevalue("maria_db" if kind == "mariadb" else "postgres_db").url
    check.create(settings_of(url))
    engine = open_engine(url)
    with engine.begin() as connection:
        for table in ("sip_capture", *NAMES_OF_SISTERS):
            connection.execute(sa.text(f"INSERT INTO {table} (msg) VALUES (:msg)"), {"msg": OCTETS})
            row = connection.execute(sa.text(f"SELECT * FROM {table}")).mappings().one()
            assert bytes(row["msg"]) == OCTETS
            assert len(OCTETS) == 65_535
            assert row["id"] == 1
            assert row["family"] is None
            others = {row[c] for c in row if c not in ("id", "msg", "family", "date")}
            assert others == {"", 0}
    engine.dispose()


@pytest.mark.parametrize("kind", ["mariadb", "postgresql", "sqlite"])
def test_create_again_changes_nothing_and_says_so(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/sip.db"
    if kind != "sqlite":
        url = request.getfixturevalue("maria_db" if kind == "mariadb" else "postgres_db").url
    first = check.create(settings_of(url))
    assert [f.subject for f in first] == [
        f"table {name}" for name in ("sip_capture", *NAMES_OF_SISTERS, "hepcat_written")
    ]
    assert all(f.found.startswith("made") for f in first)
    assert ("daily partitions" in first[0].found) == (kind != "sqlite")
    assert all(f.found == "was there" for f in check.create(settings_of(url)))
    assert all(f.level == "ok" for f in check.check(settings_of(url)))


def test_two_create_at_once(server_db: Database) -> None:
    settings = settings_of(server_db.url)
    failed: list[BaseException] = []

    def run() -> None:
        try:
            check.create(settings)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert all(f.level == "ok" for f in check.check(settings))


def test_the_original_table_is_accepted_as_it_is(maria_db: Database) -> None:
    maria_db.run(original())
    before = maria_db.run("SHOW CREATE TABLE sip_capture")
    made = check.create(settings_of(maria_db.url))
    assert made[0].found == "was there"
    assert maria_db.run("SHOW CREATE TABLE sip_capture") == before
    findings = check.check(settings_of(maria_db.url))
    assert not [f for f in findings if f.level == "bad"]
    warned = {f.subject: f for f in findings if f.level == "warn"}
    assert set(warned) == {"table sip_capture, column msg", "partitions of sip_capture"}
    assert "1500" in warned["table sip_capture, column msg"].found
    assert "--widen" in warned["table sip_capture, column msg"].advice


def test_a_dry_run_prints_what_the_real_server_takes(server_db: Database) -> None:
    settings = settings_of(server_db.url, table_name="sip_capture|daily_%Y%m%d")
    printed: list[str] = []
    findings = check.create(settings, printed.append)
    assert all("would be made" in f.found for f in findings)
    assert all("is missing" in f.found for f in check.check(settings) if f.subject.startswith("table "))
    server_db.run_script(printed)
    assert all(f.found == "was there" for f in check.create(settings))
    assert all(f.level == "ok" for f in check.check(settings))


def test_a_dry_run_makes_no_sqlite_file(tmp_path: Path) -> None:
    printed: list[str] = []
    check.create(settings_of(f"sqlite:///{tmp_path}/new.db"), printed.append)
    assert not list(tmp_path.iterdir())
    memory = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    ddl.run(memory, printed)
    assert "sip_capture" in sa.inspect(memory).get_table_names()


def test_an_engine_that_nobody_knows(odbc_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite behind ODBC once more, and SQLAlchemy is not told what it is: all but the making of tables."""
    from hepcat.stores.sql import odbc
    from hepcat.stores.sql.partitions import maintain

    settings = settings_of(odbc_url, retention_days=2)
    check.create(settings)
    monkeypatch.setattr(odbc, "_ENGINES", ())
    engine = open_engine(odbc_url)
    assert engine.dialect.name == "odbc"
    (table, *_) = ddl.create_statements(engine.dialect, "sip_capture", settings, dt.datetime.now(dt.UTC))
    assert "id BIGINT GENERATED BY DEFAULT AS IDENTITY NOT NULL" in table
    assert table.count("IDENTITY") == 1
    with engine.begin() as connection:
        for day in (9, 3, 1):
            when = (dt.datetime.now() - dt.timedelta(days=day)).replace(microsecond=0)
            statement = sa.text("INSERT INTO sip_capture (date, micro_ts, msg) VALUES (:when, :day, '')")
            connection.execute(statement, {"when": when, "day": day})
    assert all(f.found == "was there" for f in check.create(settings))
    assert {f.level for f in check.check(settings)} == {"ok"}
    assert maintain(engine, settings).deleted == 2
    with engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT micro_ts FROM sip_capture")) == 1
    engine.dispose()


@pytest.mark.parametrize("name", ["x" * 48, "a b", "", "sip;drop", "sip|"])
def test_names_that_are_none(name: str, tmp_path: Path) -> None:
    settings = settings_of(f"sqlite:///{tmp_path}/sip.db", table_name=name)
    with pytest.raises(HepcatError):
        check.create(settings)


def test_names_of_tables() -> None:
    day = Name("sip_%Y%m%d")
    now = dt.datetime(2026, 2, 28, 23, 30, tzinfo=dt.UTC)
    assert day.ahead(now) == ["sip_20260228", "sip_20260301"]
    assert day.by_day
    assert not day.fixed
    assert day.end_of("sip_20260228") == dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
    for other in (
        "sip_2026022",
        "sip_20260231",
        "sip_20260228x",
        "xsip_20260228",
        "sip_capture",
        "sip_２0260228",
    ):
        assert day.end_of(other) is None
    hour = Name("sip_%Y%m%d%H")
    assert len(hour.ahead(now)) == 25
    assert hour.end_of("sip_2026022823") == dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
    month = Name("sip_%Y_%m")
    assert not month.by_day
    assert month.end_of("sip_2026_12") == dt.datetime(2027, 1, 1, tzinfo=dt.UTC)
    assert Name("sip_%y%j").end_of("sip_26059") == dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
    assert not Name("sip_%m%d").readable  # of any year
    assert Name("sip_%m%d").end_of("sip_0228") is None
    assert not Name("sip_%a").readable
    assert Name("sip_capture").fixed
