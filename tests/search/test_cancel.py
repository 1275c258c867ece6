"""Searches that are cancelled, or that take too long, end; what was interrupted can be used again."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlglot import exp

from hepcat.bench.measure import Skipped
from hepcat.errors import HepcatError
from hepcat.search import cancel
from hepcat.search.cancel import Cancel, SearchCancelled, SearchTimeout
from hepcat.search.clickhouse import ClickHouseRemote
from hepcat.search.memory import Memory
from hepcat.search.remote_searcher import RemoteSearcher
from hepcat.search.searcher import Searcher
from hepcat.search.sql_remote import SqlRemote
from hepcat.stores.clickhouse import admin
from hepcat.stores.lake import Lake
from tests.search.filled import FIRST, filled_lake
from tests.search.remotes import fill, usual
from tests.servers import Servers
from tests.stores.clickhouse_support import settings_of
from tests.stores.sql_support import file_database, fresh
from tests.support import wait_for

ROWS = 300_000
#: Takes minutes: each term looks through all of the messages.
SLOW = " OR ".join(f"~q{i:02d}[a-z]*(x|y)+z{i}[0-9]+(w|{i})+end~" for i in range(99))


class Asked:
    """A search in a thread of its own."""

    def __init__(self, token: Cancel, search: Callable[[], Any]) -> None:
        self.token, self.search = token, search
        self.error: BaseException | None = None
        self.found: Any = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            with self.token.active():
                self.found = self.search()
        except BaseException as error:
            self.error = error

    def end(self) -> BaseException | None:
        self.thread.join(60)
        assert not self.thread.is_alive(), "the search goes on"
        return self.error


def running(token: Cancel) -> bool:
    return bool(token._stops)


@pytest.fixture(scope="module")
def lake() -> Iterator[Searcher]:
    with Lake(filled_lake(ROWS)) as opened:
        yield Searcher(opened)


@pytest.mark.parametrize(
    "ask",
    [
        lambda s: s.count(SLOW, messages=True),
        lambda s: s.calls(SLOW, limit=100),
        lambda s: s.histogram(SLOW),
        lambda s: list(s.pages(SLOW)),
    ],
)
def test_a_search_of_the_lake_is_cancelled(lake: Searcher, ask: Callable[[Searcher], Any]) -> None:
    token = Cancel()
    asked = Asked(token, lambda: ask(lake))
    wait_for(lambda: running(token), what="a statement")
    time.sleep(0.2)
    assert asked.thread.is_alive(), "the search is too short for this test"
    token.cancel("the client went away")
    error = asked.end()
    assert type(error) is SearchCancelled
    assert "the client went away" in str(error)
    assert not running(token)
    assert lake.count("", messages=True) == ROWS


def test_a_deadline(lake: Searcher) -> None:
    error = Asked(Cancel(seconds=0.3), lambda: lake.count(SLOW, messages=True)).end()
    assert type(error) is SearchTimeout
    assert "longer than 0.3 seconds" in str(error)
    assert error.hint
    quick = Asked(Cancel(seconds=60), lambda: lake.count("", messages=True))
    assert (quick.end(), quick.found) == (None, ROWS)


def test_only_its_own_searches_end(lake: Searcher) -> None:
    """Two at once on one lake: one is cancelled, the other is answered."""
    token, other = Cancel(), Cancel()
    asked = Asked(token, lambda: lake.count(SLOW, messages=True))
    wait_for(lambda: running(token), what="a statement")
    beside = Asked(other, lambda: [lake.count("method:INVITE") for _ in range(3)])
    token.cancel()
    assert type(asked.end()) is SearchCancelled
    assert beside.end() is None
    assert beside.found[0] > 1_000


def test_nothing_begins_afterwards(lake: Searcher) -> None:
    token = Cancel()
    token.cancel("once")
    token.cancel("twice")
    with pytest.raises(SearchCancelled, match="once"), token.active():
        raise AssertionError("the block is not entered")
    token, late = Cancel(), Cancel(seconds=0)
    with token.active():
        assert lake.count("", messages=True, since=FIRST) == ROWS
        token.cancel()
        with pytest.raises(SearchCancelled):
            lake.count("", messages=True)
    with pytest.raises(SearchTimeout), late.active():
        pass
    assert lake.count("", messages=True) == ROWS, "without a token all is as before"


def test_between_two_pages(lake: Searcher) -> None:
    token = Cancel()
    pages = lake.pages("", fields=["ts"])
    with token.active():
        assert len(next(pages))
        token.cancel()
        with pytest.raises(SearchCancelled):
            next(pages)


def test_a_stop_that_comes_too_early_is_repeated() -> None:
    """The statement begins a moment after it was told to end: it is told again."""
    begun, stops = threading.Event(), []
    token = Cancel()

    def stop() -> None:
        stops.append(begun.is_set())

    def search() -> None:
        with cancel.interrupting(stop):
            wait_for(lambda: stops)
            begun.set()
            wait_for(lambda: any(stops))
            raise RuntimeError("interrupted, in some database's words")

    asked = Asked(token, search)
    wait_for(lambda: running(token))
    token.cancel()
    assert type(asked.end()) is SearchCancelled
    assert stops[0] is False
    assert stops[-1] is True


def test_an_answer_that_was_cut_is_none() -> None:
    """A database may end an answer early without an error: it is not taken for the whole."""
    token = Cancel()
    with token.active(), pytest.raises(SearchCancelled), cancel.interrupting(lambda: None):
        token.cancel()


def test_other_errors_stay_what_they_are() -> None:
    token = Cancel(seconds=60)
    with token.active():
        with pytest.raises(HepcatError, match="no column"):
            Searcher(Memory({})).calls("", fields=["nothing"])
        with pytest.raises(ValueError, match="mine"), cancel.interrupting(lambda: None):
            raise ValueError("mine")


@pytest.mark.parametrize("kind", ["mariadb", "postgres", "sqlite"])
def test_the_database_stops_too(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, servers: Servers
) -> None:
    database = file_database(kind, tmp_path, monkeypatch) if kind == "sqlite" else fresh(servers, kind)
    settings = fill(database, usual())
    remote = SqlRemote(settings)
    slow = {
        "mariadb": "SELECT SUM(SLEEP(3)) AS n FROM sip_capture",
        "postgres": "SELECT COUNT(pg_sleep(3)) AS n FROM sip_capture",
        "sqlite": "WITH RECURSIVE c AS (SELECT 1 AS x UNION ALL SELECT x FROM c) SELECT SUM(x) AS n FROM c",
    }[kind]
    statement: Any = exp.maybe_parse(slow, dialect=remote.dialect.name)
    still = {
        "mariadb": "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE '%%SUM(SLEEP(%%' "
        "AND info NOT LIKE '%%processlist%%'",
        "postgres": "SELECT COUNT(*) FROM pg_stat_activity WHERE state = 'active' AND "
        "query LIKE '%%COUNT(PG_SLEEP(%%' AND query NOT LIKE '%%pg_stat_activity%%'",
    }
    token = Cancel()
    asked = Asked(token, lambda: remote.run(statement))
    if kind in still:
        wait_for(lambda: asked.error or database.rows(still[kind])[0][0] == 1, what="the statement")
        assert asked.error is None
    else:
        wait_for(lambda: running(token), what="the statement")
    token.cancel()
    assert type(asked.end()) is SearchCancelled
    if kind in still:
        wait_for(lambda: database.rows(still[kind])[0][0] == 0, what="the statement's end")
    searcher = RemoteSearcher(remote)
    total = searcher.count("", messages=True)
    assert total == len([m for m in usual() if m.hep_type == 1])
    assert type(Asked(Cancel(seconds=0.3), lambda: remote.run(statement)).end()) is SearchTimeout
    assert searcher.count("", messages=True) == total
    remote.close()


def test_clickhouse_stops_too(servers: Servers) -> None:
    try:
        hosts = servers.clickhouse()
    except Skipped as reason:
        pytest.skip(str(reason))
    settings = settings_of(hosts)
    admin.create(settings)
    remote = ClickHouseRemote(settings)
    assert list(remote.tables("sip"))
    slow: Any = exp.maybe_parse(
        "SELECT SUM(cityHash64(number)) AS n FROM system.numbers", dialect="clickhouse"
    )
    listed: Any = exp.maybe_parse("SELECT query AS q FROM system.processes", dialect="clickhouse")

    def goes_on() -> bool:
        return any("system.numbers" in q for q in remote.run(listed)["q"].to_pylist())

    token = Cancel()
    asked = Asked(token, lambda: remote.run(slow))
    wait_for(lambda: asked.error or goes_on(), what="the statement")
    assert asked.error is None
    token.cancel()
    assert type(asked.end()) is SearchCancelled
    wait_for(lambda: not goes_on(), what="the statement's end")
    assert remote.missing() == []
    remote.close()


@pytest.mark.parametrize("remember", [False, True])
def test_closing_a_lake_ends_the_query_of_another_thread(remember: bool) -> None:
    lake, token = Lake(filled_lake(ROWS), remember=remember), Cancel()
    asked = Asked(token, lambda: Searcher(lake).count(SLOW, messages=True))
    wait_for(lambda: running(token), what="a statement")
    lake.close()
    assert asked.end() is not None
