"""SqlWriter against real databases: every row, exactly once, whatever stands in it and whatever fails."""

import contextlib
import datetime as dt
import functools
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from hepcat.batch.drops import Drop
from hepcat.batch.layout import Batch
from hepcat.errors import HepcatError
from hepcat.stores.classic.plan import BULK, LOAD_DATA, VALUES, Flavour
from hepcat.stores.make import make_store
from hepcat.stores.spooled import SpooledStore
from hepcat.stores.sql.ddl import ensure_table
from hepcat.stores.sql.engine import open_engine
from hepcat.stores.sql.writer import SqlWriter
from hepcat.stores.store import StoreUnavailable
from hepcat.stores.writer import BatchRefused, Written
from tests.servers import Servers, new_name
from tests.stores.rows_support import call, messages, recorded
from tests.stores.sql_support import (
    KINDS,
    CuttingProxy,
    Database,
    file_database,
    original_mysql,
)
from tests.support import SHARED, wait_for
from tests.wire.make_batch import Datagram

VECTOR = SHARED / "vectors" / "siptrace-hep3-corr-auth-log.bin"
NOW = int(dt.datetime.now(dt.UTC).timestamp() * 1_000_000)
SERVERS = ("mariadb", "postgres")


@pytest.fixture
def database(
    request: pytest.FixtureRequest, servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Database]:
    kind = request.param
    if kind in SERVERS:
        running = servers.sql(kind)
        found = Database(kind, running.url, running)
        found.clear()
    else:
        found = file_database(kind, tmp_path, monkeypatch)
    yield found
    for engine in found.engines:
        engine.dispose()


every_kind = pytest.mark.parametrize("database", KINDS, indirect=True)
every_server = pytest.mark.parametrize("database", SERVERS, indirect=True)


@pytest.fixture(params=["bulk", "load", "insert"])
def way(request: pytest.FixtureRequest, database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """How rows go into MariaDB; the ways of other servers, by a client that does not know MariaDB's own."""
    assert database.server is not None
    if request.param != "bulk":
        monkeypatch.setattr("hepcat.stores.sql.mysql._BULK", 0)
    database.server.admin(f"SET GLOBAL local_infile = {int(request.param == 'load')}")
    yield request.param
    database.server.admin("SET GLOBAL local_infile = 1")


FLAVOURS = {"bulk": BULK, "load": LOAD_DATA, "insert": VALUES}


def flavour_of(writer: SqlWriter) -> Flavour:
    assert writer._session is not None
    return writer._session.loader.flavour


def some(count: int, first: int = 0, ts: int = NOW) -> Batch:
    """Messages whose Call-IDs say which record they are."""
    return messages(
        *(Datagram(call(Call_ID=f"record-{first + i}".encode()), ts=ts + i) for i in range(count))
    )


def records(database: Database) -> list[int]:
    """Which records are there, in order of their numbers."""
    return sorted(
        int(row[0].removeprefix("record-")) for row in database.rows("SELECT callid FROM sip_capture")
    )


@every_kind
def test_a_batch_is_written_and_remembered(database: Database) -> None:
    database.make_original()
    writer = database.writer()
    assert writer.open("spool") == []
    assert writer.write(some(10), 0, 0) == Written(rows=10)
    assert writer.write(some(5, 10), 10, 10) == Written(rows=5)
    assert records(database) == list(range(15))
    assert writer.open("spool") == [(10, 14)]
    assert writer.open("another spool") == []
    writer.close()
    writer.close()
    with pytest.raises(StoreUnavailable):
        writer.write(some(1), 15, 0)


@every_kind
def test_what_the_floor_covers_is_forgotten(database: Database) -> None:
    database.make_original()
    writer = database.writer()
    writer.open("spool")
    for first in range(0, 50, 10):
        writer.write(some(10, first), first, 0)
    assert writer.open("spool") == [(n, n + 9) for n in range(0, 50, 10)]
    writer.write(some(10, 50), 50, 39)
    assert writer.open("spool") == [(30, 39), (40, 49), (50, 59)]
    writer.close()


HOSTILE = (
    rb"a\b\\n\tc\N",
    rb"\N",
    b'it\'s "quoted" `here`; DROP TABLE sip_capture; --',
    b"',_binary'\\N'",
    b"a\tb",
    b"100%s %(x)s :name ? \\N",
    "Zoë €".encode(),
    b"",
)


@every_kind
def test_values_come_back_as_they_were(database: Database) -> None:
    database.make_original()
    writer = database.writer()
    writer.open("spool")
    sent = {value: call(User_Agent=value, Subject=b"next" + value) for value in HOSTILE}
    assert writer.write(messages(*(Datagram(m, ts=NOW) for m in sent.values())), 0, 0) == Written(
        rows=len(sent)
    )
    found = database.rows("SELECT user_agent, msg FROM sip_capture")
    assert {agent.encode(): msg.encode() for agent, msg in found} == sent
    writer.close()


@every_kind
def test_what_a_column_cannot_hold_never_loses_the_row(database: Database) -> None:
    """The original loses each of these rows in strict mode."""
    database.make_original()
    writer = database.writer()
    writer.open("spool")
    batch = messages(
        Datagram(call(Call_ID=b"long" + b"x" * 200) + b"y" * 3_000, ts=NOW),
        Datagram(call(User_Agent=b"\xff\xfe broken", Call_ID=b"broken"), ts=NOW),
        Datagram(call(User_Agent=b"with\0nul", Call_ID=b"nul"), ts=NOW),
        Datagram(call(User_Agent="\N{GRINNING FACE}".encode(), Call_ID=b"smile"), ts=NOW),
        Datagram(call(Call_ID=b"good"), ts=NOW),
    )
    written = writer.write(batch, 0, 0)
    assert written.rows == 5
    assert not written.drops
    found = {row[0][:6]: row for row in database.rows("SELECT callid, user_agent, msg FROM sip_capture")}
    assert len(found) == 5
    widths = {"mariadb": (120, 1500), "postgres": (120, 1500)}.get(database.kind)
    if widths:  # SQLite keeps what it is given, whatever width was declared
        assert (len(found["longxx"][0]), len(found["longxx"][2])) == widths
        assert written.cut >= 2
    assert found["broken"][1] == "?? broken"
    assert written.replaced >= 2
    assert found["smile"][1] == ("?" if database.kind == "mariadb" else "\N{GRINNING FACE}")
    assert found["nul"][1] == ("with?nul" if database.kind in ("postgres", "odbc") else "with\0nul")
    writer.close()


@pytest.mark.parametrize("database", ["mariadb"], indirect=True)
@pytest.mark.parametrize("charset", ["latin1", "utf8mb4", "ascii"])
def test_a_table_of_another_character_set(database: Database, charset: str) -> None:
    database.run(original_mysql(charset))
    writer = database.writer()
    writer.open("spool")
    batch = messages(Datagram(call(User_Agent="Zoë".encode()), ts=NOW), Datagram(call(), ts=NOW))
    assert writer.write(batch, 0, 0).rows == 2
    writer.close()


@every_kind
def test_the_recorded_proxy_as_its_own_module_stored_it(database: Database) -> None:
    """All columns but the times, over every way of loading; the oracle is the module's own table."""
    if not VECTOR.exists():
        pytest.skip("no recorded vectors")
    database.make_original()
    ensure_table(database.engine, "logs_capture", database.settings())
    writer = database.writer()
    writer.open("spool")
    batch = recorded(VECTOR).trim()
    written = writer.write(batch, 0, 0)
    assert written == Written(rows=batch.n)
    table = (SHARED / "vectors" / "siptrace-hep3-corr-auth-log.rows.tsv").read_bytes().decode()
    header, *lines = [line.split("\t") for line in table.split("\n") if line]
    places = [i for i, name in enumerate(header) if name not in ("id", "date")]
    names = [header[i] for i in places]
    wanted = sorted(tuple(_unescaped(line[i]) for i in places) for line in lines)
    found = database.rows(f"SELECT {', '.join(names)} FROM sip_capture")
    assert sorted(tuple("NULL" if v is None else str(v) for v in row) for row in found) == wanted
    assert database.count("logs_capture") == 200
    writer.close()


def _unescaped(value: str) -> str:
    return value.replace("\\n", "\n").replace("\\t", "\t").replace("\\\\", "\\")


@every_kind
def test_dates_are_the_instant_of_the_message(database: Database) -> None:
    database.make_original()
    writer = database.writer()
    writer.open("spool")
    writer.write(some(1, ts=1_795_355_205_912_507), 0, 0)
    at = {
        "mariadb": "SELECT UNIX_TIMESTAMP(date) FROM sip_capture",
        "postgres": "SELECT extract(epoch FROM date)::bigint FROM sip_capture",
    }.get(database.kind, "SELECT strftime('%s', date) FROM sip_capture")
    local = dt.datetime.fromtimestamp(1_795_355_205).astimezone()
    offset = 0 if database.kind == "mariadb" else int(local.utcoffset().total_seconds())  # type: ignore[union-attr]
    assert int(database.rows(at)[0][0]) == 1_795_355_205 + offset
    assert database.rows("SELECT micro_ts FROM sip_capture") == [(1_795_355_205_912_507,)]
    writer.close()


CHECKS = {
    "mariadb": (
        "CREATE TRIGGER picky BEFORE INSERT ON sip_capture FOR EACH ROW "
        "IF NEW.callid IN ('record-3', 'record-7') THEN "
        "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'picky'; END IF"
    ),
    "postgres": "ALTER TABLE sip_capture ADD CHECK (callid NOT IN ('record-3', 'record-7'))",
}
PICKY_SQLITE = (
    "CREATE TRIGGER picky BEFORE INSERT ON sip_capture WHEN NEW.callid IN ('record-3', 'record-7') "
    "BEGIN SELECT RAISE(ABORT, 'picky'); END"
)


@every_kind
def test_one_bad_row_never_loses_its_batch(database: Database) -> None:
    database.make_original()
    writer = database.writer()
    writer.open("spool")
    database.run(CHECKS.get(database.kind, PICKY_SQLITE))
    written = writer.write(some(20), 0, 0)
    assert written == Written(rows=18, drops={Drop.ROW_REFUSED: 2})
    assert records(database) == [n for n in range(20) if n not in (3, 7)]
    assert writer.open("spool") == [(0, 19)]
    writer.close()


@pytest.mark.parametrize("database", ["mariadb"], indirect=True)
def test_rows_that_are_left_out_are_found(database: Database, way: str) -> None:
    """No way says anything of a duplicate: it is counted, and the others are written."""
    database.make_original()
    database.run("ALTER TABLE sip_capture REMOVE PARTITIONING", "ALTER TABLE sip_capture ADD UNIQUE (callid)")
    writer = database.writer()
    writer.open("spool")
    assert flavour_of(writer) is FLAVOURS[way]
    assert writer.write(some(10), 0, 0).rows == 10
    assert writer.write(some(10, 5), 10, 0) == Written(rows=5, drops={Drop.ROW_REFUSED: 5})
    assert records(database) == list(range(15))
    writer.close()


@every_server
def test_a_table_without_a_partition_for_today_is_waited_for(database: Database) -> None:
    """Rows of today are not lost for a partition that nobody made; hostile times do not stop the rest."""
    if database.kind == "mariadb":
        database.run(original_mysql().replace("MAXVALUE", "1000000000").replace("pmax", "pold"))
    else:
        database.make_original()
        database.run(
            "ALTER TABLE sip_capture DROP CONSTRAINT sip_capture_pkey",
            "ALTER TABLE sip_capture ALTER COLUMN id DROP DEFAULT, ALTER COLUMN id DROP NOT NULL",
            "CREATE TABLE parts (LIKE sip_capture INCLUDING DEFAULTS) PARTITION BY RANGE (date)",
            "DROP TABLE sip_capture",
            "ALTER TABLE parts RENAME TO sip_capture",
        )
        old = "CREATE TABLE old PARTITION OF sip_capture FOR VALUES FROM ('1990-01-01') TO ('2001-01-01')"
        database.run(old)
    writer = database.writer()
    writer.open("spool")
    day = 86_400_000_000
    hostile = messages(
        Datagram(call(Call_ID=b"record-0"), ts=10_000 * day),
        Datagram(call(Call_ID=b"record-1"), ts=NOW + 3_000 * day),
    )
    assert writer.write(hostile, 0, 0) == Written(rows=1, drops={Drop.ROW_REFUSED: 1})
    with pytest.raises(StoreUnavailable, match="partition for today") as error:
        writer.write(some(3, 2), 2, 0)
    assert "hepcat db" in error.value.hint
    assert writer.open("spool") == [(0, 1)]
    writer.close()


@every_kind
def test_records_without_a_table_are_counted(database: Database) -> None:
    database.make_original()
    writer = database.writer(capture_bad_msgs=False)
    writer.open("spool")
    batch = some(4)
    batch.hep_type[1] = 100  # a log line; nobody made logs_capture
    batch.hep_type[2] = 34  # a type that no table is for
    assert writer.write(batch, 0, 0) == Written(rows=2, drops={Drop.NO_TABLE: 2})
    writer.close()


@every_kind
def test_several_tables_in_one_transaction(database: Database) -> None:
    settings = database.settings(table_name="sip_a|sip_b", mt_mode="hash")
    for name in ("sip_a", "sip_b"):
        ensure_table(database.engine, name, settings)
    writer = database.writer(table_name="sip_a|sip_b", mt_mode="hash")
    writer.open("spool")
    assert writer.write(some(100), 0, 0).rows == 100
    counts = database.count("sip_a"), database.count("sip_b")
    assert sum(counts) == 100
    assert min(counts) > 10
    writer.close()


@every_kind
def test_tables_by_date_are_made_for_these_days_only(database: Database) -> None:
    with database.engine.connect():  # makes the file of SQLite
        writer = database.writer(table_name="sip_%Y%m%d")
        writer.open("spool")
    today = dt.datetime.now(dt.UTC)
    yesterday = today - dt.timedelta(days=1)
    batch = messages(
        *(
            Datagram(call(), ts=int(at.timestamp() * 1e6))
            for at in (today, yesterday, yesterday, today + dt.timedelta(days=20_000))
        )
    )
    assert writer.write(batch, 0, 0) == Written(rows=3, drops={Drop.ROW_REFUSED: 1})
    assert database.count(f"sip_{today:%Y%m%d}") == 1
    assert database.count(f"sip_{yesterday:%Y%m%d}") == 2
    writer.close()


@every_kind
def test_a_table_with_fewer_and_other_columns_is_used_as_it_is(database: Database) -> None:
    key = {"mariadb": "INT AUTO_INCREMENT PRIMARY KEY", "postgres": "SERIAL"}.get(
        database.kind, "INTEGER PRIMARY KEY"
    )
    database.run(f"CREATE TABLE sip_capture (id {key}, callid VARCHAR(7), ours INT, msg TEXT, type INT)")
    writer = database.writer()
    writer.open("spool")
    assert writer.write(some(2), 0, 0).rows == 2
    found = database.rows("SELECT callid, ours, type FROM sip_capture")
    cut = "record-" if database.kind in SERVERS else "record-0"
    assert found[0] == (cut, None, 1)
    writer.close()


@every_kind
def test_large_messages_and_many_octets(database: Database) -> None:
    ensure_table(database.engine, "sip_capture", database.settings())
    writer = database.writer()
    writer.open("spool")
    body = bytes(range(256)) * 250
    batch = messages(*(Datagram(call(Call_ID=b"big") + body, ts=NOW) for _ in range(300)))
    assert writer.write(batch, 0, 0).rows == 300
    ((msg,),) = database.rows("SELECT msg FROM sip_capture LIMIT 1")
    assert bytes(msg) == call(Call_ID=b"big") + body
    writer.close()


# ---- what goes wrong


@every_kind
def test_no_table(database: Database) -> None:
    database.run("CREATE TABLE other (a INT)")
    with pytest.raises(HepcatError, match="no table sip_capture") as error:
        database.writer().open("spool")
    assert "hepcat db create --store test" in error.value.hint
    assert not isinstance(error.value, StoreUnavailable)


@every_server
def test_wrong_password_no_database_no_server(database: Database) -> None:
    running = database.server
    assert running is not None
    for url, words in (
        (running.url_of("hepcat", "wr@ng:/?#"), "user or the password"),
        (running.url_of("hepcat", "secret", "nowhere"), "no such database"),
    ):
        with pytest.raises(HepcatError, match=words) as error:
            database.writer(url=url).open("spool")
        assert not isinstance(error.value, StoreUnavailable)
        assert error.value.hint
        assert "wr@ng" not in str(error.value) + error.value.hint
        assert "secret" not in str(error.value) + error.value.hint
    with pytest.raises(StoreUnavailable, match="away"):
        database.writer(url=f"{running.scheme}://hepcat:secret@127.0.0.1:1/hepcat").open("spool")


@every_server
def test_missing_rights(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    running = database.server
    assert running is not None
    database.make_original()
    user = new_name()
    if database.kind == "mariadb":
        running.admin(f"CREATE USER {user}@'127.0.0.1' IDENTIFIED BY 'pw'")
        running.admin(f"GRANT SELECT ON hepcat.* TO {user}@'127.0.0.1'")
        more = f"GRANT INSERT ON hepcat.sip_capture TO {user}@'127.0.0.1'"
    else:
        running.admin(f"CREATE ROLE {user} LOGIN PASSWORD 'pw'")
        running.admin(f"REVOKE CREATE ON SCHEMA public FROM PUBLIC; GRANT SELECT ON sip_capture TO {user}")
        more = f"GRANT INSERT ON sip_capture TO {user}; GRANT USAGE ON SEQUENCE sip_capture_id_seq TO {user}"
    writer = database.writer(url=running.url_of(user, "pw"))
    with pytest.raises(HepcatError, match="lacks a right"):
        writer.open("spool")
    running.admin(more)
    assert writer.open("spool") == []  # without the right to make the table of progress
    assert writer.write(some(3), 0, 0).rows == 3
    assert writer.open("spool") == []
    writer.close()


@every_kind
def test_a_lock_in_the_way_is_a_refusal_and_the_connection_lives(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hepcat.stores.sql.engine.SQLITE_WAIT_SECONDS", 0.2)
    database.make_original()
    writer = database.writer()
    writer.open("spool")
    session = writer._session
    assert session is not None
    if database.kind in SERVERS:
        wait = "SET SESSION lock_wait_timeout = 1, SESSION innodb_lock_wait_timeout = 1"
        session.execute(wait if database.kind == "mariadb" else "SET lock_timeout = '300ms'")
        session.commit()
    with (
        contextlib.closing(sqlite3.connect(tmp_path / "sip.db")) as holder,
        database.engine.connect() as other,
    ):
        if database.kind == "mariadb":
            other.exec_driver_sql("INSERT INTO hepcat_written VALUES ('spool', 0, 4)")
        elif database.kind == "postgres":
            other.exec_driver_sql("LOCK TABLE sip_capture IN ACCESS EXCLUSIVE MODE")
        else:
            holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(BatchRefused):
            writer.write(some(5), 0, 0)
    assert writer.write(some(5), 0, 0).rows == 5
    assert records(database) == list(range(5))
    writer.close()


@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_a_database_of_another_encoding(database: Database) -> None:
    running = database.server
    assert running is not None
    running.admin("DROP DATABASE IF EXISTS old", database="")
    running.admin(
        "CREATE DATABASE old OWNER hepcat ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0", database=""
    )
    old = Database("postgres", running.url_of("hepcat", "secret", "old"), running)
    old.make_original()
    writer = old.writer()
    writer.open("spool")
    batch = messages(
        Datagram(call(User_Agent="Zoë €".encode()), ts=NOW), Datagram(call(User_Agent=b"\0\xff"), ts=NOW)
    )
    assert writer.write(batch, 0, 0).rows == 2
    writer.close()
    old.engine.dispose()


@every_server
def test_a_table_dropped_in_between_is_told(database: Database) -> None:
    database.make_original()
    writer = database.writer()
    writer.open("spool")
    writer.write(some(5), 0, 0)
    database.run("DROP TABLE sip_capture")
    with pytest.raises(StoreUnavailable, match="table is missing"):
        writer.write(some(5, 5), 5, 0)
    with pytest.raises(HepcatError, match="no table sip_capture"):
        writer.open("spool")
    database.make_original()
    assert writer.open("spool") == [(0, 4)]
    assert writer.write(some(5, 5), 5, 0).rows == 5
    writer.close()


# ---- exactly once


def through(database: Database, proxy: CuttingProxy) -> str:
    running = database.server
    assert running is not None
    return database.url.replace(f":{running.port}/", f":{proxy.port}/")


@every_server
@pytest.mark.parametrize("what", ["lose", "deaf"])
def test_a_commit_whose_answer_is_lost_is_asked_for(database: Database, what: str) -> None:
    database.make_original()
    proxy = CuttingProxy(database.server.port)  # type: ignore[union-attr]
    try:
        writer = database.writer(url=through(database, proxy))
        writer.open("spool")
        writer.write(some(5), 0, 0)
        proxy.at_commit = what
        with pytest.raises(StoreUnavailable):
            writer.write(some(5, 5), 5, 0)
        assert proxy.cuts == 1
        done = writer.open("spool")
        if what == "lose":
            assert done == [(0, 4)]
            writer.write(some(5, 5), 5, 0)
        else:
            assert done == [(0, 4), (5, 9)]
        assert records(database) == list(range(10))
        writer.close()
    finally:
        proxy.close()


@every_server
def test_opening_waits_for_a_transaction_that_is_still_under_way(database: Database) -> None:
    """The commit reaches the server after the writer has lost its connection and opened a new one."""
    database.make_original()
    proxy = CuttingProxy(database.server.port)  # type: ignore[union-attr]
    try:
        writer = database.writer(url=through(database, proxy))
        writer.open("spool")
        proxy.at_commit = "late"
        with pytest.raises(StoreUnavailable):
            writer.write(some(5), 0, 0)
        opened: list[Any] = []
        thread = threading.Thread(target=lambda: opened.append(writer.open("spool")))
        thread.start()
        thread.join(0.7)
        assert not opened  # it cannot know yet
        proxy.release.set()
        thread.join(60)
        assert opened == [[(0, 4)]]
        assert records(database) == list(range(5))
        writer.close()
    finally:
        proxy.close()


@every_server
def test_the_server_is_killed_while_batches_are_written(database: Database) -> None:
    running = database.server
    assert running is not None
    database.make_original()
    writer = database.writer()
    writer.open("spool")
    total, size, kills = 250, 50, 2
    batches = [some(size, first) for first in range(0, total * size, size)]
    stop = threading.Event()

    def kill_now_and_then() -> None:
        dice = np.random.default_rng(7)
        for _ in range(kills):
            if stop.wait(float(dice.uniform(0.2, 0.6))):
                return
            running.kill()
            running.start()

    killer = threading.Thread(target=kill_now_and_then)
    killer.start()
    lost = 0
    done: set[int] = set()
    try:
        number = 0
        end = time.monotonic() + 200
        while number < total:
            first = number * size
            if first in done:
                number += 1
                continue
            try:
                writer.write(batches[number], first, max(0, first - 500))
            except StoreUnavailable:
                lost += 1
                while True:
                    assert time.monotonic() < end
                    try:
                        done = {low for low, _ in writer.open("spool")}
                        break
                    except StoreUnavailable:
                        time.sleep(0.05)
                continue
            number += 1
            if number == total - 1:
                killer.join(100)
    finally:
        stop.set()
        killer.join(30)
    writer.close()
    assert lost >= 1
    assert records(database) == list(range(total * size))


@every_server
def test_a_server_that_says_nothing_is_not_waited_for_for_ever(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TCP is alive, and no answer comes: as good as away. What it was asked is not written twice."""
    soon = functools.partial(open_engine, answer_seconds=1.5)
    monkeypatch.setattr("hepcat.stores.sql.writer.open_engine", soon)
    database.make_original()
    writer = database.writer()
    writer.open("spool")
    silence = {"mariadb": "LOCK TABLES sip_capture WRITE"}.get(database.kind, "LOCK TABLE sip_capture")
    begin = time.monotonic()
    with database.engine.connect() as holder:
        holder.exec_driver_sql(silence)
        with pytest.raises(StoreUnavailable, match="away"):
            writer.write(some(5), 0, 0)
        assert time.monotonic() - begin < 40
        holder.rollback()
        if database.kind == "mariadb":
            holder.exec_driver_sql("UNLOCK TABLES")
    monkeypatch.setattr("hepcat.stores.sql.writer.open_engine", open_engine)  # nothing is late now
    wait_for(lambda: opened(writer), 60, "the database again")
    assert writer.write(some(5), 0, 0).rows == 5
    assert records(database) == list(range(5))
    writer.close()


def opened(writer: SqlWriter) -> bool:
    try:
        return writer.open("spool") == []
    except StoreUnavailable:
        return False


@every_kind
def test_a_second_writer_of_the_same_numbers_is_stopped(database: Database) -> None:
    """What is committed already is not written again, even if the ranges were asked for too early."""
    database.make_original()
    early, late = database.writer(), database.writer()
    early.open("spool")
    late.open("spool")
    late.write(some(5), 0, 0)
    with pytest.raises(StoreUnavailable, match="there already"):
        early.write(some(5), 0, 0)
    assert early.open("spool") == [(0, 4)]
    assert records(database) == list(range(5))
    early.close()
    late.close()


@pytest.mark.parametrize("database", ["mariadb"], indirect=True)
def test_values_of_any_octets(database: Database, way: str) -> None:
    database.make_original()
    writer = database.writer()
    writer.open("spool")
    assert flavour_of(writer) is FLAVOURS[way]
    batch = messages(*(Datagram(call(User_Agent=value), ts=NOW) for value in HOSTILE))
    assert writer.write(batch, 0, 0) == Written(rows=len(HOSTILE))
    found = {row[0].encode() for row in database.rows("SELECT user_agent FROM sip_capture")}
    assert found == set(HOSTILE)
    writer.close()


@pytest.mark.parametrize("database", ["mariadb"], indirect=True)
def test_a_server_that_prepares_no_statement(database: Database) -> None:
    """LOAD DATA takes over; the statement that was refused is not tried again with every batch."""
    running = database.server
    assert running is not None
    database.make_original()
    running.admin("SET GLOBAL max_prepared_stmt_count = 0")
    try:
        writer = database.writer()
        writer.open("spool")
        assert flavour_of(writer) is LOAD_DATA
        assert writer.write(some(3), 0, 0) == Written(rows=3)
        writer.close()
    finally:
        running.admin("SET GLOBAL max_prepared_stmt_count = 16382")
    writer.open("spool")
    assert flavour_of(writer) is BULK
    writer.close()


@pytest.mark.parametrize("database", ["mariadb"], indirect=True)
def test_prepared_statements_are_closed(database: Database) -> None:
    database.make_original()
    writer = database.writer()
    writer.open("spool")
    for first in range(0, 10, 2):
        writer.write(some(2, first), first, 0)
    assert database.rows("SHOW GLOBAL STATUS LIKE 'Prepared_stmt_count'") == [("Prepared_stmt_count", "0")]
    writer.close()


@pytest.mark.parametrize("database", ["mariadb"], indirect=True)
def test_the_server_cannot_ask_for_a_file(database: Database, tmp_path: Path) -> None:
    """PyMySQL hands out any file that the server names; ours hands out rows only."""
    secret = tmp_path / "secret"
    secret.write_text("top secret\n")
    database.run("CREATE TABLE stolen (a TEXT)")
    with pytest.raises(sa.exc.OperationalError, match="not offered"):
        database.run(f"LOAD DATA LOCAL INFILE '{secret}' INTO TABLE stolen")
    assert database.count("stolen") == 0


@every_server
def test_an_idle_connection_that_the_server_closed_is_opened_again(database: Database) -> None:
    """Servers close idle connections by night; nobody has to hear of it."""
    running = database.server
    assert running is not None
    database.make_original()
    writer = database.writer()
    writer.open("spool")
    writer.write(some(2), 0, 0)
    if database.kind == "mariadb":
        mine = database.rows(
            "SELECT id FROM information_schema.processlist WHERE user = 'hepcat' AND command = 'Sleep'"
        )
        for (number,) in mine:
            running.admin(f"KILL {number}")
    else:
        running.admin(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'hepcat test'"
        )
    writer._used -= 3_600
    assert writer.write(some(2, 2), 2, 0).rows == 2
    assert writer.open("spool") == [(0, 1), (2, 3)]
    writer.close()


@every_server
def test_the_whole_store_while_the_server_is_killed(database: Database, tmp_path: Path) -> None:
    """The spool, two connections, an outage: at the end exactly what was appended."""
    running = database.server
    assert running is not None
    database.make_original()
    told: list[str] = []
    settings = database.settings(connections=2, rows=100, linger=0)
    store = make_store(settings, tmp_path, lambda event, facts: told.append(event))
    assert isinstance(store, SpooledStore)
    total = 1_500
    for first in range(0, total, 50):
        store.append(some(50, first))
        if first in (300, 900):
            running.kill()
        if first in (600, 1_200):
            running.start()
    wait_for(lambda: store.counts().waiting == 0, 60, "all written")
    counts = store.counts()
    store.close()
    assert (counts.taken, counts.written, counts.drops) == (total, total, {})
    assert records(database) == list(range(total))
    assert "away" in told


@pytest.mark.parametrize("database", ["mariadb"], indirect=True)
def test_rows_are_split_where_the_server_takes_no_such_packet(database: Database, way: str) -> None:
    running = database.server
    assert running is not None
    running.admin("SET GLOBAL max_allowed_packet = 1048576")
    try:
        ensure_table(database.engine, "sip_capture", database.settings())
        writer = database.writer()
        writer.open("spool")
        body = bytes(range(256)) * 200
        batch = messages(*(Datagram(call() + body, ts=NOW) for _ in range(60)))
        assert writer.write(batch, 0, 0).rows == 60
        assert {bytes(row[0]) for row in database.rows("SELECT msg FROM sip_capture")} == {call() + body}
        writer.close()
    finally:
        running.admin("SET GLOBAL max_allowed_packet = 16777216")


@pytest.mark.parametrize("database", ["mariadb"], indirect=True)
def test_several_connections_do_not_wait_for_each_other(database: Database, way: str) -> None:
    """LOAD DATA would hold the table's counter until its end: INSERT stands in for it."""
    database.make_original()
    one, other = database.writer(connections=2), database.writer(connections=2)
    one.open("spool")
    other.open("spool")
    database.run(
        "CREATE TRIGGER slow BEFORE INSERT ON sip_capture FOR EACH ROW "
        "IF NEW.callid = 'record-2' THEN SET NEW.auth = SLEEP(4); END IF"
    )
    slow = threading.Thread(target=lambda: one.write(some(5), 0, 0))
    slow.start()
    asleep = "SELECT COUNT(*) FROM information_schema.processlist WHERE state = 'User sleep'"
    wait_for(lambda: database.rows(asleep)[0][0], what="the slow one in the middle of it")
    assert other.write(some(5, 5), 5, 0).rows == 5
    written = time.monotonic()
    slow.join(60)
    assert time.monotonic() - written > 0.5, "it had to wait"
    assert records(database) == list(range(10))
    one.close()
    other.close()
