"""Searches on ClickHouse: the lake's answers, on two old shards and on today's version; partial ones."""

import contextlib
import dataclasses
import uuid
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from pydantic import SecretStr
from sqlglot import exp

from hepcat.batch.layout import Batch
from hepcat.bench.clickhouse import cluster_url
from hepcat.bench.measure import Skipped
from hepcat.config.databases import DatabaseSettings
from hepcat.errors import HepcatError
from hepcat.search.ast import EVERYTHING, And, Match, Node, Not, Or, Range
from hepcat.search.clickhouse import ClickHouseRemote
from hepcat.search.clickhouse_connections import Connections
from hepcat.search.clickhouse_dialect import ClickHouseDialect, quoted, sql_text
from hepcat.search.memory import Memory
from hepcat.search.parser import parse_query
from hepcat.search.remote_searcher import RemoteSearcher
from hepcat.search.searcher import Searcher
from hepcat.search.within import Times
from hepcat.stores.clickhouse import admin, tables
from hepcat.stores.clickhouse.blocks import block_of
from hepcat.stores.lake.arrow import to_arrow
from tests.lake.make import build
from tests.search.remote_queries import QUERIES, REFUSED
from tests.search.remotes import batch_of, hostile, usual
from tests.search.support import NOON, Row, evaluate
from tests.search.test_language import ADDRESSES, TEXTS, trees
from tests.servers import clickhouse
from tests.stores.clickhouse_support import drained, numbered, open_store, settings_of
from tests.stores.test_clickhouse_parts import native_file

#: Besides those of every store: columns that only the lake and ClickHouse have, and octets that are no UTF-8.
MORE = (
    *REFUSED[:4], "-vlan:7", "vlan:null", "tags:a,b", "tags:*b", "extra.x-foo:*baz", "-extra.X-Foo:*",
    "header.X-Two:*", "node_name:homer01 -tags:*", "payload:~\\xff~", "~n.l~", "~(?s)two.*words~", "~b$~",
    "~two\\r\\n words~", "~(?-i)needle$~", "~\\Q)\\Einvite~", "~[(]x|busy~", "header.X-Bad:a?z", "ua:~^.$~",
)  # fmt: skip


def _marked() -> Batch:
    """Return records with values that no SIP message brings along."""
    foo = {"X-Foo": b"bar baz"}
    records: list[dict[str, Any]] = [
        {"payload": b"BYE sip:x SIP/2.0\r\n\r\n", "vlan": 7, "tags": b"a,b", "call_id": b"m1", **foo},
        {"payload": b"\xff\xfe", "vlan": 0, "ts": NOON + 5, "user_agent": b"\xff"},
        {"payload": b"X-Bad: a\xffz\r\nX-Two: q\r\n", "X-Two": b"w", "call_id": b"m2", "from_user": b"\xff"},
    ]
    return build([{"ts": NOON + 9, "method": b"BYE"} | record for record in records], ("X-Foo", "X-Two"))


@pytest.fixture(scope="module")
def batches() -> list[Batch]:
    return [batch_of([*usual(), *hostile()], True), _marked(), _random_rows()]


@pytest.fixture(scope="module")
def lake(batches: list[Batch]) -> Searcher:
    names = ("sip", "rtcp", "log", "other")
    return Searcher(
        Memory(
            {
                t: pa.concat_tables([pa.Table.from_batches([to_arrow(b, t)]) for b in batches[:2]])
                for t in names
            }
        )
    )


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory, batches: list[Batch]) -> Iterator[Any]:
    try:
        with clickhouse() as running:
            admin.create(settings_of(running))
            store = open_store(running, tmp_path_factory.mktemp("spool"))
            for batch in batches:
                store.append(batch)
            drained(store)
            store.close()
            yield running
    except Skipped as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def old(servers: Any) -> Iterator[RemoteSearcher]:
    remote = ClickHouseRemote(settings_of(servers))
    yield RemoteSearcher(remote)
    remote.close()


class _InProcess:
    """Today's ClickHouse as a connection."""

    host = "chdb"

    def interrupt(self) -> None:
        """Nobody does."""

    def __init__(self, session: Any) -> None:
        self.session = session

    def columns(self, sql: str, settings: Any = None) -> dict[str, tuple[str, list[Any]]]:
        found = self.session.query(f"{sql} SETTINGS output_format_arrow_string_as_string = 0", "ArrowTable")
        return {
            name: ("Int64" if pa.types.is_integer(column.type) else "String", column.to_pylist())
            for name, column in zip(found.column_names, found.columns, strict=True)
        }

    def stream(self, sql: str, settings: Any = None) -> Iterator[dict[str, tuple[str, list[Any]]]]:
        found = self.columns(sql)
        if any(values for _, values in found.values()):
            yield found


class _Lent(Connections):
    session: Any = None

    @contextlib.contextmanager
    def lent(self, hosts: Any = ()) -> Iterator[Any]:
        yield _InProcess(self.session)


@pytest.fixture(scope="module")
def today(tmp_path_factory: pytest.TempPathFactory, batches: list[Batch]) -> Iterator[RemoteSearcher]:
    chdb = pytest.importorskip("chdb.session")
    folder = tmp_path_factory.mktemp("chdb")
    session = chdb.Session(str(folder / "db"))
    session.query("CREATE DATABASE hepcat")
    for table in tables.ALL:
        session.query(tables.create_local("hepcat", table, table, tables.Features(True), None))
    for i, batch in enumerate(batches):
        rows = np.arange(batch.n)
        block = block_of(batch, "sip", rows, rows.astype(np.uint64) + 10_000 * i, uuid.UUID(int=1), NOON)
        (folder / "rows.native").write_bytes(native_file(block, batch.n))
        session.query(f"INSERT INTO hepcat.sip SELECT * FROM file('{folder}/rows.native', 'Native')")
    remote = ClickHouseRemote(DatabaseSettings(name="today", url=SecretStr("clickhouse://h/hepcat")))
    remote.connections = lent = _Lent(remote.name, remote.address)
    lent.session = session
    yield RemoteSearcher(remote)
    session.close()


def _plain(table: pa.Table) -> list[dict[str, Any]]:
    columns = [c.cast("int64") if pa.types.is_timestamp(c.type) else c for c in table.columns]
    return pa.Table.from_arrays(columns, names=table.column_names).to_pylist()


def _differences(searcher: RemoteSearcher, lake: Searcher, queries: Any, every: int) -> list[str]:
    """Return what differs; the first and each `every`-th query is asked in all ways."""
    wrong: list[str] = []
    for i, query in enumerate(queries):
        ways: dict[str, Any] = {
            "messages": lambda s, q=query: _plain(s.messages(q, until=NOON + 10**12).table),
            "numbers": lambda s, q=query: (s.count(q, until=NOON + 10**12), s.count(q, messages=True)),
        }
        if i % every == 0:
            ways |= {
                "first messages": lambda s, q=query: _plain(s.messages(q, limit=3).table),
                "calls": lambda s, q=query: _plain(s.calls(q).table),
                "first calls": lambda s, q=query: _plain(s.calls(q, limit=3).table),
                "by duration": lambda s, q=query: _plain(s.calls(q, limit=3, sort="-duration").table),
                "histogram": lambda s, q=query: _plain(s.histogram(q)),
                "calls over time": lambda s, q=query: _plain(s.histogram(q, messages=True)),
                "pages": lambda s, q=query: _plain(pa.concat_tables(list(s.pages(q, oldest_first=True)))),
            }
        for name, way in ways.items():
            expected = way(lake)
            if way(searcher) != expected:
                wrong.append(f"{name} of {query}")
    return wrong


# The random rows have times of their own, so that they stand beside the others.
_BEFORE = NOON - 10**12


def _random_rows() -> Batch:
    """Return rows of every combination that trees ask for, as far as a batch can have them."""
    return build([_record(i, row) for i, row in enumerate(ROWS)], ("X-Foo",))


def _row(i: int) -> Row:
    row: Row = {"ts": NOON + i % 6}
    if i % 5:
        row["from_user"] = TEXTS[1 + i % (len(TEXTS) - 1)]
    if i % 3:
        row["method"] = ("INVITE", "invite", "BYE")[i % 4 % 3]
    if i % 7 > 2:
        row["status"] = (100, 180, 200, 399, 400, 486, 500)[i % 7]
    row["src_ip"] = ADDRESSES[i % len(ADDRESSES)]
    if i % 4 == 0:
        row["extra"] = {"X-Foo": "Bar"}
    text = TEXTS[i % len(TEXTS)].encode()
    row["payload"] = text + (b"", b" ", b"\xff", b"\r\n")[i % 4] + text or b"-"
    return row


ROWS = [_row(i) for i in range(157)]


def _record(i: int, row: Row) -> dict[str, Any]:
    record: dict[str, Any] = {
        "payload": row["payload"],
        "ts": row["ts"] - NOON + _BEFORE,
        "src_ip": row["src_ip"],
    }
    record |= {name: row[name].encode() for name in ("from_user", "method") if name in row}
    record |= {"status": row["status"]} if "status" in row else {}
    record |= {"X-Foo": b"Bar"} if "extra" in row else {}
    return record | {"node_id": i}


# -- the same answers


def _without_random(queries: Any) -> tuple[str, ...]:
    """Leave out the random rows, which the lake of these tests has not."""
    return tuple(f"({query}) time>=2026-11-22" if query else "time>=2026-11-22" for query in queries)


def test_two_shards_answer_as_the_lake_does(old: RemoteSearcher, lake: Searcher) -> None:
    assert not _differences(old, lake, _without_random(QUERIES[::8] + MORE), 12)


def test_today_s_version_answers_as_the_lake_does(today: RemoteSearcher, lake: Searcher) -> None:
    assert not _differences(today, lake, _without_random(QUERIES[1::8] + MORE), 12)


def _check(searcher: RemoteSearcher, node: Node) -> None:
    expected = sorted(i for i, row in enumerate(ROWS) if evaluate(node, row))
    condition = searcher.matches.settled(_moved(node), _times())
    assert condition is not None
    found = searcher.matches.run(
        [exp.column("node_id", quoted=True)], exp.and_(condition, _in_random(searcher))
    )
    assert sorted(found["node_id"].to_pylist()) == expected, sql_text(condition)


def _times() -> Times:
    return Times(_BEFORE, _BEFORE + 10)


def _in_random(searcher: RemoteSearcher) -> exp.Expression:
    return searcher.dialect.times(_times())


def _moved(node: Node) -> Node:
    """Return the tree with its times moved to where the random rows are."""
    if isinstance(node, Match):
        if node.column == "ts" and isinstance(node.test, Range) and node.test.low is not None:
            return dataclasses.replace(node, test=Range(node.test.low - NOON + _BEFORE, None))
        return node
    if isinstance(node, Not):
        return Not(_moved(node.term))
    moved = tuple(_moved(term) for term in node.terms)
    return And(moved) if isinstance(node, And) else Or(moved)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(node=trees)
def test_any_query_means_on_old_servers_what_it_means_in_plain_python(
    old: RemoteSearcher, node: Node
) -> None:
    _check(old, node)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(node=trees)
def test_any_query_means_today_what_it_means_in_plain_python(today: RemoteSearcher, node: Node) -> None:
    _check(today, node)


def test_messages_of_calls_and_other_tables(old: RemoteSearcher, lake: Searcher) -> None:
    ids = ["c0-0@10.1.2.0", "quote'\"`;--@x", "nul-?@x", "umlaut-ä@x", "none", "m1", "same@x"]
    assert _plain(old.messages_of(ids)) == _plain(lake.messages_of(ids))
    assert _plain(old.messages_of(ids, limit=5)) == _plain(lake.messages_of(ids, limit=5))
    assert old.numbers_of(ids) == lake.numbers_of(ids)
    assert _plain(old.calls_of(ids)) == _plain(lake.calls_of(ids))
    for table in ("rtcp", "log", "other"):
        assert _plain(old.messages("", table=table).table) == _plain(lake.messages("", table=table).table)


# -- SQL


@pytest.mark.parametrize(
    "value", ["a'b", "a\\'b", "\\", "''", "\0", "%", "\n", "é😀", "\udcff", "\\n", "a\\\\'; DROP TABLE x"]
)
def test_literals(old: RemoteSearcher, value: str) -> None:
    statement = exp.select(exp.alias_(exp.Literal.string(value), "v", quoted=True))
    assert old.remote.run(statement)["v"].to_pylist() == [value.replace("\udcff", "?")]
    assert "\0" not in quoted(value)


def test_a_call_is_found_by_the_hash_of_its_call_id() -> None:
    dialect = ClickHouseDialect()
    node = parse_query("call_id:abc")
    assert isinstance(node, Match)
    sql = sql_text(dialect.match(node).sure)
    assert f"IN ({zlib.crc32(b'abc')})" in sql


# -- partial answers, limits, errors


def test_a_shard_that_is_down_makes_the_answer_partial(servers: Any, batches: list[Batch]) -> None:
    remote = ClickHouseRemote(settings_of(servers))
    searcher = RemoteSearcher(remote)
    whole = searcher.count("", messages=True)
    assert whole == sum(batch.n for batch in batches)
    assert searcher.notes() == []
    on_first = int(servers[0].admin("SELECT count() FROM sip_local"))
    servers[1].kill()
    try:
        assert searcher.count("", messages=True) == on_first
        assert searcher.notes() == [f"shard 2 (127.0.0.1:{servers[1].port}) does not answer"]
        assert searcher.notes() == []
        assert len(searcher.messages("").table) == on_first  # known by now, and said again
        assert len(searcher.notes()) == 1
        assert sum(len(page) for page in searcher.pages("")) == on_first
        assert len(searcher.notes()) == 1
        other = RemoteSearcher(ClickHouseRemote(settings_of(servers[::-1])))  # the first of the URL is down
        assert other.count("", messages=True) == on_first
        assert len(other.notes()) == 1
    finally:
        servers[1].start()
    remote._partial_until = 0.0
    assert searcher.count("", messages=True) == whole
    assert searcher.notes() == []


def test_the_host_that_is_asked_goes_away(servers: Any) -> None:
    searcher = RemoteSearcher(ClickHouseRemote(settings_of(servers)))
    whole = searcher.count("", messages=True)
    servers[0].kill()
    try:
        partial = searcher.count("", messages=True)  # the other host answers, for itself
        assert 0 < partial < whole
        assert "shard 1" in searcher.notes()[0]
        servers[1].kill()
        with pytest.raises(HepcatError, match="connection refused"):
            searcher.count("")
    finally:
        for server in servers:
            server.kill()
            server.start()


def test_trouble_in_words(servers: Any) -> None:
    def ask(old: str, new: str, query: str = "") -> HepcatError:
        url = cluster_url(servers).replace(old, new)
        searcher = RemoteSearcher(ClickHouseRemote(settings_of(servers, url=url)))
        with pytest.raises(HepcatError) as caught:
            searcher.messages(query)
        assert "secret" not in str(caught.value) + caught.value.hint
        return caught.value

    assert "does not let user" in str(ask("secret", "wrong"))
    assert 'no database "none"' in str(ask("/hepcat?", "/none?"))
    assert 'no cluster "none"' in str(ask("cluster=hepcat", "cluster=none"))
    servers[0].admin("CREATE DATABASE IF NOT EXISTS bare")
    assert "db create" in ask("/hepcat?", "/bare?").hint


def test_limits(servers: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    searcher = RemoteSearcher(ClickHouseRemote(settings_of(servers)))
    monkeypatch.setattr("hepcat.search.clickhouse._MEMORY", 2000)
    with pytest.raises(HepcatError, match="emory") as caught:
        searcher.messages(EVERYTHING)
    assert "Narrow" in caught.value.hint


# -- what arrives


def test_what_arrives_is_shown_once(servers: Any, tmp_path: Path) -> None:
    remote = ClickHouseRemote(settings_of(servers))
    tail, logs = remote.tail("sip"), remote.tail("log")
    assert len(tail.poll()) == 0
    store = open_store(servers, tmp_path, rows=100, linger=0.0)
    seen: list[bytes] = []
    for i in range(20):
        store.append(numbered(i * 50, 50))
        if i == 10:
            drained(store)
            for server in servers:
                server.admin("OPTIMIZE TABLE sip_local FINAL")  # old and new blocks in one part
        seen += tail.poll()["payload"].to_pylist()
    drained(store)
    store.close()
    seen += tail.poll()["payload"].to_pylist() + logs.poll()["payload"].to_pylist()
    assert sorted(seen) == sorted(b"X %d" % i for i in range(1000))
    assert len(tail.poll()) == len(logs.poll()) == 0
    servers[1].kill()
    try:
        assert len(tail.poll()) == 0
        assert "shard 2" in remote.missing()[0]
    finally:
        servers[1].start()
    assert len(tail.poll()) == 0
    tail.close()
    logs.close()
