"""`hepcat db upgrade` and `check`: older tables get what they lack, and keep every row."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from hepcat.errors import HepcatError
from hepcat.stores.admin import Finding
from hepcat.stores.sql import check
from hepcat.stores.sql.engine import open_engine
from tests.servers import new_name
from tests.stores.db.conftest import Database
from tests.stores.db.original import COLUMNS, INDEXES, OLD_LACKS, old, original, original_postgres
from tests.stores.db.test_db_create import OCTETS, described, indexes, settings_of

ROWS = 300


def found_about(findings: list[Finding], subject: str) -> list[tuple[str, str]]:
    return [(f.level, f.found) for f in findings if f.subject == subject]


def fill(engine: sa.Engine) -> list[tuple[object, ...]]:
    """Some rows; return them as they are read back."""
    with engine.begin() as connection:
        extra = ", authorization" if "authorization" in columns(engine) else ""
        values = ", ''" if extra else ""
        statement = (
            f"INSERT INTO sip_capture (micro_ts, method, reply_reason, callid, msg, node{extra}) "
            f"VALUES (:i, 'INVITE', 'é', :callid, :msg, 'homer01'{values})"
        )
        text = "INVITE sip:ünï@example.com SIP/2.0\r\n\r\n" * 5
        rows = [{"i": i, "callid": f"{i}@host", "msg": text + "x" * i} for i in range(ROWS)]
        connection.execute(sa.text(statement), rows)
    return rows_of(engine)


def columns(engine: sa.Engine) -> list[str]:
    return [str(column["name"]) for column in sa.inspect(engine).get_columns("sip_capture")]


def rows_of(engine: sa.Engine) -> list[tuple[object, ...]]:
    statement = (
        "SELECT micro_ts, method, reply_reason, callid, node, date, msg FROM sip_capture ORDER BY micro_ts"
    )
    with engine.connect() as connection:
        rows = connection.execute(sa.text(statement)).all()
    return [(*row[:6], row[6].encode() if isinstance(row[6], str) else bytes(row[6])) for row in rows]


def test_an_older_table_is_upgraded_without_losing_a_row(maria_db: Database) -> None:
    maria_db.run(old())
    settings = settings_of(maria_db.url)
    findings = check.check(settings)
    text = str(found_about(findings, "table sip_capture"))
    assert "custom_field3" in text
    assert "ruri_domain" in text
    assert "no index on ruri_user, from_user" in text
    assert (
        "bad",
        "nobody fills column authorization, and it has no default: rows may be refused",
    ) in found_about(findings, "table sip_capture")
    maria_db.run("INSERT INTO sip_capture (authorization, msg) VALUES ('', 'one')")
    maria_db.run("DELETE FROM sip_capture")
    engine = open_engine(maria_db.url)
    before = fill(engine)
    assert len(before) == ROWS
    check.create(settings)
    upgraded = check.upgrade(settings)
    assert not [f for f in upgraded if f.level == "bad"]
    assert rows_of(engine) == before
    now = described(maria_db, "sip_capture")
    assert set(now) == {"id", "authorization", *COLUMNS}
    assert now["custom_field1"] == ("varchar(120)", "NO", "")
    assert now["msg"][0] == "varchar(1500)"
    assert set(indexes(maria_db, "sip_capture")) == set(INDEXES)
    with engine.begin() as connection:
        connection.execute(sa.text("INSERT INTO sip_capture (msg) VALUES ('nothing else')"))
    levels = {(f.level, f.subject) for f in check.check(settings)}
    assert not [subject for level, subject in levels if level == "bad"]
    assert ("warn", "table sip_capture, column msg") in levels
    check.upgrade(settings, widen=True)
    assert rows_of(engine)[: ROWS + 1] != []
    assert [row for row in rows_of(engine) if row[3] != ""] == before
    with engine.begin() as connection:
        connection.execute(sa.text("INSERT INTO sip_capture (msg) VALUES (:msg)"), {"msg": OCTETS})
    engine.dispose()


def test_upgrade_of_the_original_partitions_it_and_keeps_all(maria_db: Database) -> None:
    maria_db.run(original())
    engine = open_engine(maria_db.url)
    before = fill(engine)
    settings = settings_of(maria_db.url)
    check.create(settings)
    findings = check.upgrade(settings, widen=True)
    assert ("ok", "widened: msg") in found_about(findings, "table sip_capture")
    assert rows_of(engine) == before
    assert {f.level for f in check.check(settings)} == {"ok"}
    again = check.upgrade(settings, widen=True)
    assert ("ok", "has all columns and indexes") in found_about(again, "table sip_capture")
    engine.dispose()


def test_a_table_of_postgresql_is_widened(postgres_db: Database) -> None:
    engine = open_engine(postgres_db.url)
    with engine.begin() as connection:
        connection.exec_driver_sql(original_postgres())
    with engine.begin() as connection:
        # As Kamailio's module leaves it in a column of text.
        statement = "INSERT INTO sip_capture (micro_ts, callid, msg, {}) VALUES (-1, 'k', '\\x494e56', {})"
        others = [c for c, kind in COLUMNS.items() if kind.startswith("varchar") and c in columns(engine)]
        others = [c for c in others if c not in ("callid", "msg")]
        connection.exec_driver_sql(statement.format(", ".join(others), ", ".join("''" for _ in others)))
    settings = settings_of(postgres_db.url)
    findings = check.check(settings)
    assert any("1500" in f.found for f in findings)
    check.create(settings)
    dry: list[str] = []
    check.upgrade(settings, dry.append, widen=True)
    assert len(columns(engine)) < len(COLUMNS)
    postgres_db.run_script(dry)
    check.upgrade(settings, widen=True)
    assert set(columns(engine)) == {"id", *COLUMNS}
    (row,) = rows_of(engine)
    assert row[6] == b"INV"
    assert not [f for f in check.check(settings) if f.level == "bad"]
    with engine.begin() as connection:
        names = ", ".join(f"{c}" for c in others)
        empty = ", ".join("''" for _ in others)
        statement = f"INSERT INTO sip_capture (callid, msg, {names}) VALUES ('', :msg, {empty})"
        connection.execute(sa.text(statement), {"msg": OCTETS})
    engine.dispose()


@pytest.mark.parametrize("kind", ["sqlite", "odbc"])
def test_an_older_sqlite_file_is_upgraded(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/sip.db" if kind == "sqlite" else request.getfixturevalue("odbc_url")
    engine = open_engine(url, create=True)
    kinds = {c: k if "char" in k else k.partition("(")[0] for c, k in COLUMNS.items() if c not in OLD_LACKS}
    kept = [f"{c} {k} NOT NULL DEFAULT ''" for c, k in kinds.items()]
    with engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE TABLE sip_capture (id INTEGER PRIMARY KEY, {', '.join(kept)})")
    before = fill(engine)
    settings = settings_of(url)
    check.create(settings)
    assert any("custom_field1" in f.found for f in check.check(settings))
    check.upgrade(settings)
    assert set(columns(engine)) == {"id", *COLUMNS}
    assert rows_of(engine) == before
    assert {f.level for f in check.check(settings)} == {"ok"}
    engine.dispose()


def test_missing_tables_and_rights_are_told(maria_db: Database) -> None:
    settings = settings_of(maria_db.url)
    findings = check.check(settings)
    assert {f.found for f in findings if f.level == "bad"} == {"is missing"}
    assert all("hepcat db create --store db" in f.advice for f in findings if f.level == "bad")
    assert any(f.subject == "table hepcat_written" and f.level == "warn" for f in findings)
    check.create(settings)
    user = new_name()
    maria_db.run(f"CREATE USER {user}@'127.0.0.1' IDENTIFIED BY 'secret'")
    maria_db.run(f"GRANT SELECT ON {maria_db.name}.* TO {user}@'127.0.0.1'")
    reader = settings_of(maria_db.url.replace("hepcat:", f"{user}:"))
    bad = [f for f in check.check(reader) if f.level == "bad"]
    assert {f.subject for f in bad} >= {"table sip_capture", "table hepcat_written"}
    assert any(
        f.advice == f"GRANT INSERT ON {maria_db.name}.sip_capture TO '{user}'@'127.0.0.1';" for f in bad
    )
    for act in (check.create, check.upgrade):
        maria_db.run("DROP TABLE IF EXISTS rtcp_capture; ALTER TABLE sip_capture DROP KEY callid")
        with pytest.raises(HepcatError) as told:
            act(reader)
        maria_db.run("ALTER TABLE sip_capture ADD KEY callid (callid)")
        assert "--dry-run" in told.value.hint
        assert "secret" not in f"{told.value}{told.value.hint}"


def test_rights_of_postgresql(postgres_db: Database) -> None:
    check.create(settings_of(postgres_db.url))
    user = new_name()
    postgres_db.run(f"CREATE ROLE {user} LOGIN PASSWORD 'secret'")
    postgres_db.run(f"GRANT SELECT, INSERT, DELETE ON ALL TABLES IN SCHEMA public TO {user}")
    writer = settings_of(postgres_db.url.replace("hepcat:", f"{user}:"))
    findings = check.check(writer)
    bad = [f for f in findings if f.level == "bad"]
    assert {f.found for f in bad} == {"the user may not count its ids"}
    postgres_db.run(f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {user}")
    findings = check.check(writer)
    assert not [f for f in findings if f.level == "bad"]


def test_a_read_only_sqlite_file(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/sip.db"
    check.create(settings_of(url))
    engine = open_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE logs_capture")
    engine.dispose()
    assert [f.subject for f in check.check(settings_of(url)) if f.level == "bad"] == ["table logs_capture"]
    with pytest.raises(HepcatError, match=r"none/sip\.db"):
        check.check(settings_of(f"sqlite:///{tmp_path}/none/sip.db"))


def test_settings_of_the_server_that_matter(maria_db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(maria_db.url, table_name="s_%a", retention_days=3)
    check.create(settings)
    maria_db.server.admin("SET GLOBAL local_infile = 0", "")
    try:
        assert "local_infile" not in {f.subject for f in check.check(settings)}  # bulk execution is not asked
        monkeypatch.setattr("hepcat.stores.sql.mysql._BULK", 0)
        findings = check.check(settings)
    finally:
        maria_db.server.admin("SET GLOBAL local_infile = 1", "")
    assert any(f.subject == "local_infile" and "slower" in f.found for f in findings)
    assert any(f.subject == "table_name s_%a" and "retention" in f.found for f in findings)
