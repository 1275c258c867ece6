"""Top lists: what they count, against a plain count; on databases as in the lake."""

import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from hepcat.errors import HepcatError
from hepcat.search import top as tops
from hepcat.search.memory import Memory
from hepcat.search.parser import parse_query
from hepcat.search.remote_searcher import RemoteSearcher
from hepcat.search.searcher import Searcher
from hepcat.search.top import BY, Top, top
from hepcat.stores.lake import Lake
from tests.search.filled import FIRST, filled_lake
from tests.search.remotes import lake_of, opened, usual
from tests.search.support import NOON, Row, arrow_table, evaluate
from tests.servers import Servers

COLUMNS = {"source": "src_ip", "destination": "dst_ip", "node": "node_name", "reason_phrase": "reason_phrase"}


def world() -> list[Row]:
    dice = random.Random(8)
    return [
        {
            "ts": NOON + i,
            "call_id": f"c{i // 4}",
            "method": dice.choice(("INVITE", "BYE", "Übung", None)),
            "status": dice.choice((None, None, 200, 486)),
            "src_ip": dice.choice(("10.0.0.1", "2001:db8::1", "10.0.0.2")),
            "src_port": 5060,
            "dst_ip": "10.9.9.9",
            "user_agent": dice.choice(("a'; DROP TABLE sip --", "<b>", None, "")),
            "from_domain": f"d{dice.randrange(30)}.example",
            "node_name": dice.choice(("here", "there")),
            "malformed": dice.choice((None, "no Call-ID")),
        }
        for i in range(300)
    ]


@pytest.mark.parametrize("by", [by for by in BY if by.messages], ids=lambda by: by.name)
def test_messages_by_everything(by: tops.By) -> None:
    rows = world()
    lake = Searcher(Memory({"sip": arrow_table(rows)}))
    for query, since in (("", None), ("method:INVITE", NOON + 100), ("nothing_of_this", None)):
        node = parse_query(query, "sip")
        matching = [r for r in rows if evaluate(node, r) and (since is None or r["ts"] >= since)]
        column = COLUMNS.get(by.name, by.name)
        counted = Counter(r[column] for r in matching if r.get(column) is not None)
        wanted = sorted(counted.items(), key=lambda item: (-item[1], str(item[0]).encode()))
        for limit in (3, 1000):
            found = top(lake, by.name, query, since, None, limit)
            assert list(found.rows) == wanted[:limit]
            assert found.total == counted.total()
            assert found.other == counted.total() - sum(n for _, n in wanted[:limit])


@pytest.mark.parametrize("by", [by for by in BY if by.calls], ids=lambda by: by.name)
def test_calls_by_everything(by: tops.By) -> None:
    """Each call counts once, by what its row says."""
    with Lake(filled_lake(300_000)) as opened_lake:
        lake = Searcher(opened_lake)
        since, until = FIRST + 10_000_000, FIRST + 20_000_000
        found = top(lake, by.name, "method:INVITE", since, until, 1000, "calls")
        columns = {"reason_phrase": "phrase", "node": "node_id"}
        column = columns.get(by.name, by.name)
        rows: list[Any] = lake.calls("method:INVITE", since, until, fields=[column]).table[column].to_pylist()
        if by.name in ("source", "destination"):
            rows = [value.rpartition(":")[0].strip("[]") for value in rows]
        if by.name == "node":
            rows = [str(value) for value in rows]
        counted = Counter(value for value in rows if value is not None)
        assert dict(found.rows) == dict(counted.most_common(1000)) or len(counted) > 1000
        assert found.total == counted.total()
        assert [n for _, n in found.rows] == [n for _, n in counted.most_common(1000)]


def test_what_is_none() -> None:
    lake = Searcher(Memory({}))
    assert top(lake, "method") == Top("method", (), 0, 0)
    with pytest.raises(HepcatError, match="no list by 'ts'") as error:
        top(lake, "ts")
    assert "user_agent" in error.value.hint
    with pytest.raises(HepcatError, match="no list of messages by state"):
        top(lake, "state")
    with pytest.raises(HepcatError, match="no list of calls by malformed"):
        top(lake, "malformed", of="calls")
    assert all(by.doc for by in BY)
    assert len({by.name for by in BY}) == len(BY)


@pytest.fixture(scope="module", params=["mariadb", "postgres"])
def store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, servers: Servers
) -> Iterator[RemoteSearcher]:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp(request.param)
        with opened(request.param, usual(), folder, patch, servers) as found:
            yield found


def test_a_database_counts_the_same(store: RemoteSearcher, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = lake_of(usual(), "mariadb")
    for by in BY:
        if by.name == "malformed":
            continue
        for query in ("", "header.Expires:3600"):
            if by.messages:
                found, wanted = (top(s, by.name, query, NOON, None, 4) for s in (store, lake))
                assert _written(found) == _written(wanted), (by.name, query)
            if by.calls and query:
                assert top(store, by.name, query, of="calls") == top(lake, by.name, query, of="calls"), (
                    by.name
                )
    monkeypatch.setattr(tops, "MOST_READ", 20)
    assert top(store, "from_domain").total == top(lake, "from_domain").total, (
        "the database can do this itself"
    )
    with pytest.raises(HepcatError, match="cannot count messages by method"):
        top(store, "method")
    with pytest.raises(HepcatError, match="cannot count calls by state"):
        top(store, "state", of="calls")


def _written(found: Top) -> tuple[list[int], int, int]:
    """Of as many the lake and a collation may order otherwise; what is compared does not depend on that."""
    return [n for _, n in found.rows], found.total, found.other
