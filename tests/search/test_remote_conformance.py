"""The same messages in the lake and in real databases: every query gives the same, or is refused in words."""

import os
import random
import re
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

from hepcat.errors import HepcatError
from hepcat.search import ladder
from hepcat.search.remote_searcher import RemoteSearcher
from hepcat.search.searcher import Searcher
from tests.search.remote_queries import QUERIES, REFUSED
from tests.search.remotes import KINDS, SECOND, hostile, lake_of, opened, usual
from tests.search.support import NOON
from tests.servers import Servers

MESSAGES = [*usual(), *hostile()]
#: Every so many queries are asked in all their forms; of the kinds whose dialect another kind has, fewer.
EVERY = {"mariadb": 24, "postgres": 24}


class Pair:
    """A store and the lake, with the same messages."""

    def __init__(self, kind: str, store: RemoteSearcher) -> None:
        self.kind, self.store, self.lake = kind, store, lake_of(MESSAGES, kind)

    def same(self, ask: Any, what: str) -> Any:
        """Ask both; the store's answer, which has to be the lake's."""
        found, wanted = ask(self.store), ask(self.lake)
        if isinstance(wanted, pa.Table) and not found.equals(wanted):
            for name in wanted.column_names:
                assert found[name].to_pylist() == wanted[name].to_pylist(), f"{self.kind}: {what}: {name}"
        assert found == wanted, f"{self.kind}: {what}"
        return found


@pytest.fixture(scope="module", params=KINDS)
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, servers: Servers
) -> Iterator[Pair]:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp(request.param)
        with opened(request.param, MESSAGES, folder, patch, servers) as store:
            yield Pair(request.param, store)


def chosen(pair: Pair) -> tuple[str, ...]:
    """Some queries for each kind: together all of them. HEPCAT_ALL_QUERIES=1: all for each kind."""
    if os.environ.get("HEPCAT_ALL_QUERIES"):
        return QUERIES
    return QUERIES[KINDS.index(pair.kind) % 3 :: 9 if pair.kind == "odbc" else 3]


def test_messages(pair: Pair) -> None:
    for query in chosen(pair):
        rows = pair.same(lambda s: s.messages(query, fields=["ts", "call_id", "payload"]).table, query)  # noqa: B023
        assert pair.store.count(query, messages=True) == len(rows), query


def test_calls(pair: Pair) -> None:
    for query in QUERIES[:: EVERY.get(pair.kind, 70)]:
        pair.same(lambda s: s.calls(query).table, query)  # noqa: B023
        pair.same(lambda s: s.calls(query, limit=5), query)  # noqa: B023
        pair.same(lambda s: s.count(query), query)  # noqa: B023
        pair.same(lambda s: s.histogram(query), query)  # noqa: B023


def test_all_columns_sorts_and_limits(pair: Pair) -> None:
    pair.same(lambda s: s.messages("").table, "all columns")
    for sort in ("-ts", "ts", "status", "-call_id", "from_user"):
        for limit in (1, 7, 500) if pair.kind in EVERY else (7,):
            pair.same(lambda s: s.messages("to:b*", limit=limit, sort=sort, fields=["ts", "call_id"]), sort)  # noqa: B023
    for sort in ("-messages", "talk_time", "-from", "start") if pair.kind in EVERY else ("talk_time",):
        pair.same(lambda s: s.calls("-from:nobody", limit=9, sort=sort), sort)  # noqa: B023
    pair.same(lambda s: s.messages("", limit=11, fields=["header.Server", "extra.X-Foo", "src"]), "headers")
    pair.same(lambda s: s.histogram("busy OR ua:sipp", messages=True, buckets=9), "histogram")


def test_ranges_of_time(pair: Pair) -> None:
    for since, until in ((NOON, NOON + 1), (NOON + 37_013, None), (None, NOON + 3600 * SECOND), (1, 2)):
        pair.same(lambda s: s.messages("", since, until).table, "range")  # noqa: B023
        pair.same(lambda s: s.calls("method:INVITE", since, until, 3), "range")  # noqa: B023
        pair.same(lambda s: s.count("", since, until, messages=True), "range")  # noqa: B023


def test_pages_and_calls_by_id(pair: Pair) -> None:
    lake: Searcher = pair.lake
    ids = [i for i in lake.calls("", fields=["call_id"]).table["call_id"].to_pylist() if i]
    # A Call-ID that the store's column cannot hold is found all the same: by what its message says.
    pair.same(lambda s: s.messages_of(ids), "messages_of")
    pair.same(lambda s: s.messages_of(ids[:9], limit=10, fields=["ts", "cseq"]), "messages_of")
    pair.same(lambda s: s.numbers_of([*ids, "nothing"]), "numbers_of")
    pair.same(lambda s: s.calls_of(ids[::3]).sort_by("call_id"), "calls_of")
    for oldest_first in (False, True):
        pair.same(lambda s: pa.concat_tables(s.pages("method:INVITE", oldest_first=oldest_first)), "pages")  # noqa: B023
    pair.same(lambda s: pa.concat_tables(s.pages_of(ids)), "pages_of")
    drawn = [ladder.build(s.messages_of(ids[:4])).text() for s in (pair.store, lake)]
    assert drawn[0] == drawn[1]
    assert "INVITE" in drawn[0]


@pytest.mark.parametrize("query", REFUSED)
def test_columns_that_are_not_kept(pair: Pair, query: str) -> None:
    with pytest.raises(HepcatError, match=r"has no column (vlan|tags|malformed)") as caught:
        pair.store.count(query, messages=True)
    assert "--store lake" in caught.value.hint


def test_made_queries(pair: Pair) -> None:
    """Queries put together at random: truth is two-valued, also under NOT and where the store is unsure."""
    made = random.Random(4)
    atoms = [q for q in QUERIES if q and not re.search(r" (AND|OR) |^NOT|^-", q)]
    for _ in range(40 if pair.kind in EVERY else 8):
        terms = [made.choice(("", "-")) + f"({made.choice(atoms)})" for _ in range(made.randint(2, 4))]
        query = made.choice((" ", " OR ", " AND ")).join(terms)
        query = f"-({query})" if made.random() < 0.3 else query
        pair.same(lambda s: s.messages(query, fields=["ts", "call_id"]).table, query)  # noqa: B023


def test_a_difference_would_show(pair: Pair) -> None:
    with pytest.raises(AssertionError):
        pair.same(lambda s: s.count("to:bob" if s is pair.lake else "to:Bob", messages=True), "never equal")
