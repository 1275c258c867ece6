"""Stores by name and URL: what --store leads to, --follow, other tables, several tables, what is refused."""

import json
import re
import sqlite3
import threading
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from sqlglot import exp

import hepcat
from hepcat.config.databases import DatabaseSettings
from hepcat.errors import HepcatError
from hepcat.search.api import Data
from hepcat.search.classic_records import records_of
from hepcat.search.dbtext_source import DbtextDialect, read_dbtext
from hepcat.search.remote_searcher import RemoteSearcher
from hepcat.search.searcher import Searcher
from hepcat.search.sql_remote import SqlRemote
from hepcat.search.stores import settings_of
from hepcat.search.within import Times
from hepcat.stores.sql.ddl import ensure_table
from tests.search.remote_queries import QUERIES
from tests.search.remotes import SECOND, Call, Message, batch_of, fill, hostile, lake_of, usual
from tests.search.support import NOON
from tests.stores.sql_support import Database
from tests.support import HEPCAT, program, wait_for
from tests.support import hepcat as run

MESSAGES = usual()
LOGS = [Message(f"line {i}".encode(), NOON + i, correlation_id=b"c0", hep_type=100) for i in range(5)]
REPORTS = [Message(b"{}", NOON, correlation_id=b"c1", hep_type=5), Message(b"x", NOON + 1, hep_type=99)]


@pytest.fixture
def database(tmp_path: Path) -> Database:
    found = Database("sqlite", f"sqlite:///{tmp_path / 'sip.db'}")
    fill(found, [*MESSAGES, *LOGS, *REPORTS])
    return found


def test_by_url_in_python(database: Database) -> None:
    with hepcat.open(database.url) as data:
        assert data.count(messages=True) == len(MESSAGES)
        assert len(data.search("method:INVITE")) == lake_of(MESSAGES, "sqlite").count("method:INVITE")
        assert "BYE" in data.flow("c0-0@10.1.2.0").text()
        with pytest.raises(HepcatError, match="takes no SQL"):
            data.sql("SELECT 1")


def test_by_name_and_default(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "hepcat.toml"
    monkeypatch.chdir(tmp_path)
    table = f'[[databases]]\nname = "classic"\nurl = "{database.url}"\n'
    config.write_text(f'stores = ["classic"]\n{table}')
    by_default = run("search", "--config", str(config), "--messages", "--count")
    assert int(by_default.stdout) == len(MESSAGES), "the lake is not among the stores"
    config.write_text(f'stores = ["lake", "classic"]\n{table}')
    named = run(
        "search", "--config", str(config), "--store", "classic", "--format", "jsonl", "method:REGISTER"
    )
    assert {json.loads(line)["method"] for line in named.stdout.splitlines()} == {"REGISTER"}
    lake = run("search", "--config", str(config), check=False)
    assert lake.returncode == 1
    assert "no lake at" in lake.stderr
    other = run("search", "--config", str(config), "--store", "nope", check=False)
    assert 'there is no store "nope"' in other.stderr
    assert "lake, classic" in other.stderr


def test_flow_and_export(database: Database, tmp_path: Path) -> None:
    drawn = run("flow", "--store", database.url, "c0-0@10.1.2.0")
    assert "INVITE" in drawn.stdout
    missing = run("flow", "--store", database.url, "nothing-like-it", check=False)
    assert missing.returncode == 1
    out = tmp_path / "out.json"
    run("export", "--store", database.url, "-o", str(out), "method:INVITE")
    found = json.loads(out.read_text())
    wanted = lake_of(MESSAGES, "sqlite").messages("method:INVITE,ACK,BYE").table
    assert len(found) == len(wanted)


def test_a_password_is_not_shown(tmp_path: Path) -> None:
    done = run("search", "--store", "mysql://u:hushhush@127.0.0.1:1/db", check=False)
    assert done.returncode == 1
    assert "hushhush" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    wrong = run("search", "--store", "http://u:hushhush@x/", check=False)
    assert "hushhush" not in wrong.stderr
    both = run("search", "--store", f"sqlite:///{tmp_path}/x.db", "--data", str(tmp_path), check=False)
    assert "--data is the lake's folder" in both.stderr


def test_no_table(tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "empty.db").close()
    with pytest.raises(HepcatError, match="has no table sip_capture") as error:
        Data(store=settings_of(f"sqlite:///{tmp_path}/empty.db"))
    assert "hepcat db create" in error.value.hint


def test_other_tables(database: Database) -> None:
    with hepcat.open(database.url) as data:
        lake = lake_of([*MESSAGES, *LOGS, *REPORTS], "sqlite")
        for table in ("log", "rtcp", "other"):
            found, wanted = (s.messages("", table=table).table for s in (data.searcher, lake))
            for name in found.column_names:
                if name not in ("hep_type", "correlation_id") or table == "log":
                    assert found[name].to_pylist() == wanted[name].to_pylist(), (table, name)
        assert data.searcher.count("corr:c0 line", table="log") == 5
        with pytest.raises(HepcatError, match="hep_type"):
            data.searcher.count("hep_type:100", table="log")


def test_several_tables(tmp_path: Path) -> None:
    """table_name = "a|b" and a table a day: one store, whatever table a message is in."""
    database = Database("sqlite", f"sqlite:///{tmp_path / 'sip.db'}")
    for names, form in (("one|two", "one|two"), ("sip_%Y%m%d", r"sip_\d{8}")):
        settings = database.settings(table_name=names, capture_node="homer01", mt_mode="round_robin")
        for name in ("one", "two", "sip_20261122", "sip_20261123"):
            ensure_table(database.engine, name, settings)
        writer = database.writer(table_name=names, capture_node="homer01", mt_mode="round_robin")
        writer.open(str(uuid.uuid4()))
        writer.write(batch_of(MESSAGES, False), 1, 1)
        writer.close()
        remote = SqlRemote(settings)
        there = sqlalchemy.inspect(database.engine).get_table_names()  # and today's, which the writer made
        assert {table.name for table in remote.tables("sip")} == {n for n in there if re.fullmatch(form, n)}
        store, lake = RemoteSearcher(remote), lake_of(MESSAGES, "sqlite")
        for query in ("", "method:INVITE status:4xx", "ua:*1.0", "call_id:c1*"):
            assert store.messages(query, limit=20).table.equals(lake.messages(query, limit=20).table), query
            assert store.calls(query).table.equals(lake.calls(query).table), query
            assert store.count(query) == lake.count(query)
            assert store.histogram(query).equals(lake.histogram(query))
        remote.close()


def test_dbtext(tmp_path: Path) -> None:
    from hepcat.stores.dbtext.admin import create
    from hepcat.stores.dbtext.writer import DbtextWriter

    settings = DatabaseSettings(name="text", url=f"text://{tmp_path}", capture_node="homer01")
    create(settings)
    writer = DbtextWriter(settings)
    writer.open("00000000-0000-0000-0000-000000000000")
    sip = [*MESSAGES, *(message for message in hostile() if b"Call-ID" not in message.payload)]
    writer.write(batch_of([*sip, *LOGS], False), 1, 1)
    writer.close()
    store, lake = Searcher(read_dbtext(settings), DbtextDialect("db")), lake_of(sip, "sqlite")
    for query in ("vlan:7", "tags:x", "from:alice (to:bob OR -vlan:1)", "vlan:1..5"):
        with pytest.raises(HepcatError, match=r"has no column (vlan|tags)") as caught:
            store.count(query)
        assert "--store lake" in caught.value.hint
    assert store.count("malformed:*", messages=True) == lake.count("malformed:*", messages=True) > 0
    for query in QUERIES[::12]:
        assert store.messages(query).table.equals(lake.messages(query).table), query
    assert store.count("", table="log") == len(LOGS)
    with hepcat.open(f"text://{tmp_path}") as data, pytest.raises(HepcatError, match="cannot be followed"):
        data.tail()


def test_follow(database: Database, tmp_path: Path) -> None:
    """What is written from now on is shown, once, also where a lower number comes later."""
    log = tmp_path / "follow.jsonl"
    command = [
        *HEPCAT,
        "search",
        "--store",
        database.url,
        "--follow",
        "--messages",
        "--format",
        "jsonl",
        "to:new",
    ]

    def write(call_id: str) -> None:
        writer = database.writer(capture_node="homer01")
        writer.open(str(uuid.uuid4()))
        writer.write(batch_of(Call(call_id, NOON, callee="new").ask("INVITE").messages, False), 1, 1)
        writer.close()

    with program(command, log) as process:
        for number in range(100):  # until it listens
            write(str(number))
            if log.exists() and log.read_text().count("\n"):
                break
            time.sleep(0.3)
        database.run("UPDATE sip_capture SET id = id + 100 WHERE id = (SELECT max(id) FROM sip_capture)")
        write("last")
        wait_for(lambda: '"last"' in log.read_text() or process.poll() is not None, 60, "the last call")
    shown = [json.loads(line)["call_id"] for line in log.read_text().splitlines()]
    assert shown[-1] == "last"
    assert len(shown) - len(set(shown)) <= 1, "a row whose number changed is another row"


def test_a_search_that_takes_too_long(database: Database) -> None:
    settings = database.settings(query_seconds=0.5)
    remote = SqlRemote(settings)
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) AS n FROM n"
    begun = time.monotonic()
    with pytest.raises(HepcatError, match=r"longer than 0\.5 seconds"):
        remote.run(exp.maybe_parse(endless, dialect="sqlite"))
    assert time.monotonic() - begun < 20
    remote.close()


def test_reading_only(database: Database) -> None:
    remote = SqlRemote(database.settings())
    with remote.engine.connect() as connection, pytest.raises(Exception, match="readonly"):
        connection.exec_driver_sql("DELETE FROM sip_capture")
    remote.close()


def test_the_time_zone_of_the_writer(database: Database) -> None:
    """`date` is local time where it was captured: it narrows a search, and never loses anything."""
    database.run("UPDATE sip_capture SET date = datetime(date, '+9 hours', '+30 minutes')")
    remote = SqlRemote(database.settings())
    store, lake = RemoteSearcher(remote), lake_of(MESSAGES, "sqlite")
    assert remote.dialect.lag == (34_200 * SECOND, 34_200 * SECOND)
    for hours in range(0, 24, 3):
        since = NOON + hours * 3600 * SECOND
        times = (since, since + 3600 * SECOND)
        assert store.count("", *times, messages=True) == lake.count("", *times, messages=True)
        assert store.calls("", *times, limit=3).table.equals(lake.calls("", *times, limit=3).table)
    assert store.messages("", limit=9).table.equals(lake.messages("", limit=9).table)
    text = remote.dialect.times(Times(NOON, NOON + 1)).sql("sqlite")
    assert '"date" >= ' in text, "an index on date serves the search"
    remote.close()


def test_threads_share_a_store(database: Database) -> None:
    remote = SqlRemote(database.settings())
    store, found = RemoteSearcher(remote), []
    threads = [
        threading.Thread(target=lambda: found.append(store.count("to:bob", messages=True))) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert len(set(found)) == 1
    remote.close()


def test_many_records_to_test_are_refused(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hepcat.search.remote_matches.MAX_TESTED", 50)
    remote = SqlRemote(database.settings())
    with pytest.raises(HepcatError, match="more than 50 records") as error:
        RemoteSearcher(remote).messages("expires:null")
    assert "--last" in error.value.hint
    remote.close()


def test_a_search_of_the_newest_reads_few_records(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = SqlRemote(database.settings())
    asked: list[int] = []

    def counted(rows: Sequence[Any], table: str) -> Any:
        asked.append(len(rows))
        return records_of(rows, table)

    monkeypatch.setattr("hepcat.search.sql_remote.records_of", counted)
    assert len(RemoteSearcher(remote).messages("", limit=3).table) == 3
    assert 0 < sum(asked) < 30
    remote.close()
