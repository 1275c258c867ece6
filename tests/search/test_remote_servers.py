"""Searches on MariaDB and PostgreSQL: what Kamailio itself stored; indexes and partitions are used."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa
from sqlglot import exp

from hepcat.errors import HepcatError
from hepcat.search.memory import Local, Memory
from hepcat.search.remote_dialect import both, bounds
from hepcat.search.remote_searcher import RemoteSearcher
from hepcat.search.searcher import Searcher
from hepcat.search.sql_remote import SqlRemote
from hepcat.search.within import Times
from hepcat.stores.lake.arrow import to_arrow
from hepcat.stores.sql.ddl import ensure_table
from tests.servers import Servers
from tests.stores.rows_support import recorded
from tests.stores.sql_support import Database, fresh
from tests.wire.test_hep_recorded import HERE, WHOLE, oracle

#: (folder, name) of a recording with authentication keys, correlation ids and all.
RECORDING = (WHOLE if WHOLE.is_dir() else HERE, "siptrace-hep3-corr-auth-log")
QUERIES = (
    "", "method:INVITE", "method:BYE status:200", "-method:INVITE", "from:sipp", "from:SIPP", "to:49891*",
    "status:1xx", "ua:kamailio*", "-ua:*", "call_id:1-31830@127.0.0.1", "call_id:1-*", "call_id:*0.0.1",
    "port:5080", "src:127.0.0.0/8", "cseq:*ack", "via:*branch=z9hG4bK-*-1-5", '"trying -- your call"',
    "node:2001", "transport:udp", "header.Max-Forwards:69", "contact_port:5062", "domain:127.0.0.1",
)  # fmt: skip
#: What the classic table says otherwise than the lake: the server's own name, and Call-IDs for no id.
OTHERWISE = ("node_name", "correlation_id")


class Server:
    """A server with what Kamailio stored of a recording, and the lake of that recording."""

    def __init__(self, database: Database) -> None:
        self.database = database
        folder, name = RECORDING
        settings = database.settings()
        if database.kind == "mariadb":
            database.make_original()
        else:
            ensure_table(database.engine, "sip_capture", settings)
        rows = [dict(row) for row in oracle(folder / f"{name}.rows.tsv")]
        _insert(database, rows)
        self.remote = SqlRemote(settings)
        self.store = RemoteSearcher(self.remote)
        batch = recorded(folder / f"{name}.bin")
        self.lake = Searcher(Memory({"sip": pa.Table.from_batches([to_arrow(batch, "sip")])}), Local())

    def plan(self, query: str, times: Times = Times()) -> str:  # noqa: B008
        """Return what the database would do for the records of a query."""
        dialect = self.remote.dialect
        condition = both(bounds(self.store.parse(query), dialect).maybe, dialect.times(times))
        text = self.remote._statement(condition, [], "sip").sql(dialect=dialect.name)
        explain = "EXPLAIN PARTITIONS" if self.database.kind == "mariadb" else "EXPLAIN"
        with self.remote.engine.connect() as connection:
            options = {"no_parameters": True}
            found = connection.execution_options(**options).exec_driver_sql(f"{explain} {text}")
            return "\n".join(str(tuple(row)) for row in found)


def _insert(database: Database, rows: list[dict[str, Any]]) -> None:
    table = sa.table("sip_capture", *(sa.column(name) for name in rows[0]))
    octets = database.kind == "postgres"
    for row in rows:
        row["msg"] = row["msg"].encode("latin-1") if octets else row["msg"]
        for name in ("id", "micro_ts", "source_port", "destination_port", "contact_port", "originator_port"):
            if name in row:
                row[name] = int(row[name])
        row |= {name: int(row[name]) for name in ("proto", "family", "type")}
    with database.engine.begin() as connection:
        if database.kind == "mariadb":
            connection.exec_driver_sql("SET time_zone = '+00:00'")
        connection.execute(sa.insert(table), rows)


@pytest.fixture(scope="module", params=["mariadb", "postgres"])
def peer(request: pytest.FixtureRequest, servers: Servers) -> Iterator[Server]:
    made = Server(fresh(servers, request.param))
    yield made
    made.remote.close()


def test_what_kamailio_stored(peer: Server) -> None:
    """The same datagrams, stored by Kamailio's own module, are found as the lake finds them."""
    lake: Searcher = peer.lake
    names = [name for name in lake.messages("", limit=1).table.column_names if name not in OTHERWISE]
    for query in QUERIES:
        found, wanted = (s.messages(query, fields=names).table for s in (peer.store, lake))
        for name in names:
            assert found[name].to_pylist() == wanted[name].to_pylist(), (query, name)
        assert peer.store.count(query) == lake.count(query), query
    some = [name for name in ("start", "state", "status", "talk_time", "call_id")]  # noqa: C416
    assert peer.store.calls("", fields=some).table.equals(lake.calls("", fields=some).table)
    assert peer.store.histogram("").equals(lake.histogram(""))


def test_indexes_serve(peer: Server) -> None:
    if peer.database.kind == "postgres":
        peer.database.run("ANALYZE sip_capture")
    plan = peer.plan("call_id:1-31830@127.0.0.1")
    assert "callid" in plan, plan
    if peer.database.kind == "mariadb":
        assert "'ref'" in plan or "'range'" in plan, plan
        assert "'ALL'" in peer.plan("busy"), "the plan could say otherwise"
    else:
        assert "Seq Scan" in peer.plan("busy"), "the plan could say otherwise"
        assert "Index" in plan, plan


def test_partitions_are_left_out(peer: Server) -> None:
    if peer.database.kind == "postgres":
        pytest.skip("the days of PostgreSQL are made by the clock")
    peer.database.run(
        "ALTER TABLE sip_capture REORGANIZE PARTITION pmax INTO ("
        "PARTITION p1 VALUES LESS THAN (UNIX_TIMESTAMP('2026-11-20 00:00:00')), "
        "PARTITION p2 VALUES LESS THAN (UNIX_TIMESTAMP('2026-11-24 00:00:00')), "
        "PARTITION pmax VALUES LESS THAN MAXVALUE)"
    )
    at = 1_795_355_254_000_000
    plan = peer.plan("busy", Times(at, at + 60_000_000))
    assert "'p2'" in plan, plan
    assert "p1,p2,pmax" in peer.plan("busy"), "the plan could say otherwise"


def test_a_search_that_takes_too_long(peer: Server) -> None:
    remote = SqlRemote(peer.database.settings(query_seconds=0.3))
    slow = "SUM(SLEEP(0.01))" if peer.database.kind == "mariadb" else "COUNT(pg_sleep(0.01))"
    statement: Any = exp.maybe_parse(f"SELECT {slow} AS n FROM sip_capture", dialect=remote.dialect.name)
    with pytest.raises(HepcatError, match=r"longer than 0\.3 seconds"):
        remote.run(statement)
    remote.close()


def test_reading_only(peer: Server) -> None:
    with peer.remote.engine.connect() as connection, pytest.raises(sa.exc.DBAPIError, match=r"(?i)read.only"):
        connection.exec_driver_sql("DELETE FROM sip_capture")


def test_the_server_is_away(peer: Server, tmp_path: Path) -> None:
    """Wrong password, no such database, nobody there: one message each, without the password."""
    running = peer.database.server
    assert running is not None
    for url in (running.url_of("hepcat", "wr0ng"), running.url_of("hepcat", "secret", "nothing")):
        with pytest.raises(HepcatError) as error:
            SqlRemote(Database(peer.database.kind, url).settings())
        assert "wr0ng" not in f"{error.value} {error.value.hint}"
        assert error.value.hint


def test_what_a_transaction_stored_that_ended_late_is_followed(servers: Servers) -> None:
    """Rows get their numbers when they are inserted, and are seen when their transaction ends."""
    database = fresh(servers, "postgres")
    settings = database.settings(rows=5000)
    ensure_table(database.engine, "sip_capture", settings)
    folder, name = RECORDING
    row = {n: v for n, v in dict(oracle(folder / f"{name}.rows.tsv")[0]).items() if n != "id"}
    _insert(database, [dict(row)])

    def insert(connection: sa.Connection, call_id: str, rows: int) -> None:
        chosen = ", ".join(row)
        payload = f"convert_to(replace(convert_from(msg, 'UTF8'), callid, '{call_id}'), 'UTF8')"
        connection.exec_driver_sql(
            f"INSERT INTO sip_capture ({chosen}) SELECT {chosen.replace('msg', payload)} "
            f"FROM (SELECT * FROM sip_capture WHERE id = 1) AS one, generate_series(1, {rows})"
        )

    remote = SqlRemote(settings)
    tail = remote.tail("sip")
    with database.engine.connect() as late:
        insert(late, "late", 900)
        with database.engine.begin() as early:
            insert(early, "early", 7000)
        assert set(tail.poll()["call_id"].to_pylist()) == {"early"}
        late.commit()
    assert tail.poll()["call_id"].to_pylist() == ["late"] * 900
    assert len(tail.poll()) == 0
    tail.close()
    remote.close()
