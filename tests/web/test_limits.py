"""Bounds on searches: places, turns, deadlines, clients that go away."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from starlette.requests import Request

from hepcat.config.web import WebSettings
from hepcat.search import cancel
from hepcat.search.cancel import SearchCancelled, SearchTimeout
from hepcat.web.kept import Kept
from hepcat.web.problems import Problem
from hepcat.web.searches import Searches
from tests.search.filled import filled_lake
from tests.support import run_async, wait_for
from tests.web.support import Site


class Client:
    """Somebody who asks, and may go away."""

    def __init__(self) -> None:
        self._gone = asyncio.Event()
        self.request = Request({"type": "http", "headers": []}, self._receive)

    async def _receive(self) -> dict[str, Any]:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    def go(self) -> None:
        self._gone.set()


class Work:
    """A search that runs until it is let go, or its token ends."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.released = threading.Event()

    def __call__(self) -> str:
        self.begun.set()
        while not self.released.wait(0.005):
            cancel.check()
        return "found"


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.005)


def settings(**values: Any) -> WebSettings:
    return WebSettings(**{"searches": 2, "searches_a_user": 2, "waiting": 10, "query_seconds": 20, **values})


def start(searches: Searches, user: str, work: Callable[[], Any], client: Client | None = None) -> Any:
    return asyncio.create_task(searches.run((client or Client()).request, user, work))


def test_more_than_the_places_wait() -> None:
    async def test() -> None:
        searches = Searches(settings())
        works = [Work() for _ in range(4)]
        tasks = [start(searches, f"user{i}", work) for i, work in enumerate(works)]
        await until(lambda: searches.waiting == 2)
        assert searches.running == 2
        assert [work.begun.is_set() for work in works] == [True, True, False, False]
        works[0].released.set()
        await until(works[2].begun.is_set)
        assert not works[3].begun.is_set()
        for work in works:
            work.released.set()
        assert await asyncio.gather(*tasks) == ["found"] * 4
        assert (searches.done, searches.running, searches.waiting) == (4, 0, 0)
        searches.close()

    run_async(test)


def test_one_user_does_not_hold_up_another() -> None:
    async def test() -> None:
        searches = Searches(settings(searches=3))
        greedy = [Work() for _ in range(4)]
        tasks = [start(searches, "greedy", work) for work in greedy]
        await until(lambda: searches.waiting == 2)
        assert searches.running == 2, "no more than searches_a_user"
        other = Work()
        other.released.set()
        assert await start(searches, "other", other) == "found"
        for work in greedy:
            work.released.set()
        await asyncio.gather(*tasks)
        searches.close()

    run_async(test)


def test_who_has_the_fewest_goes_first() -> None:
    async def test() -> None:
        searches = Searches(settings(searches=2))
        first, second, third, late = Work(), Work(), Work(), Work()
        tasks = [start(searches, "a", work) for work in (first, second, third)]
        await until(lambda: searches.waiting == 1)
        tasks.append(start(searches, "b", late))
        await until(lambda: searches.waiting == 2)
        first.released.set()
        await until(late.begun.is_set)
        assert not third.begun.is_set()
        for work in (second, third, late):
            work.released.set()
        await asyncio.gather(*tasks)
        searches.close()

    run_async(test)


@pytest.mark.parametrize("patience", [60.0, 0.0])
def test_what_stands_beside_rows_lets_them_go_first(monkeypatch: pytest.MonkeyPatch, patience: float) -> None:
    monkeypatch.setattr("hepcat.web.searches._YIELDING", patience)

    async def test() -> None:
        searches = Searches(settings(searches=1))
        running, histogram, rows = Work(), Work(), Work()
        tasks = [start(searches, "a", running)]
        await until(running.begun.is_set)
        beside = searches.run(Client().request, "b", histogram, beside=True)
        tasks.append(asyncio.create_task(beside))
        await until(lambda: searches.waiting == 1)
        tasks.append(start(searches, "c", rows))
        await until(lambda: searches.waiting == 2)
        running.released.set()
        first, second = (rows, histogram) if patience else (histogram, rows)
        await until(first.begun.is_set)
        assert not second.begun.is_set()
        for work in (rows, histogram):
            work.released.set()
        await asyncio.gather(*tasks)
        searches.close()

    run_async(test)


def test_too_many_that_wait_are_refused() -> None:
    async def test() -> None:
        searches = Searches(settings(searches=1, waiting=1))
        works = [Work(), Work()]
        tasks = [start(searches, "a", work) for work in works]
        await until(lambda: searches.waiting == 1)
        with pytest.raises(Problem) as raised:
            await searches.run(Client().request, "b", Work())
        assert raised.value.status == 429
        assert raised.value.headers["Retry-After"]
        assert searches.refused == 1
        patient = asyncio.create_task(searches.run(Client().request, "b", Work(), patient=True))
        await until(lambda: searches.waiting == 2)
        patient.cancel()
        for work in works:
            work.released.set()
        await asyncio.gather(*tasks, patient, return_exceptions=True)
        assert (searches.running, searches.waiting) == (0, 0)
        searches.close()

    run_async(test)


def test_who_waits_too_long_is_refused() -> None:
    async def test() -> None:
        searches = Searches(settings(searches=1, query_seconds=0.1))
        work = Work()
        task = asyncio.create_task(searches.run(Client().request, "a", work, seconds=20))
        await until(work.begun.is_set)
        with pytest.raises(Problem) as raised:
            await searches.run(Client().request, "b", Work())
        assert raised.value.status == 429
        work.released.set()
        assert await task == "found"
        assert searches.waiting == 0
        searches.close()

    run_async(test)


def test_a_deadline_ends_a_search_and_gives_its_place_back() -> None:
    async def test() -> None:
        searches = Searches(settings(searches=1, query_seconds=0.1))
        with pytest.raises(SearchTimeout):
            await searches.run(Client().request, "a", Work())
        await until(lambda: searches.running == 0)
        assert (searches.timeouts, searches.cancelled, searches.done) == (1, 0, 1)
        searches.close()

    run_async(test)


def test_a_client_that_goes_away_ends_its_search() -> None:
    async def test() -> None:
        searches, client, work = Searches(settings()), Client(), Work()
        task = start(searches, "a", work, client)
        await until(work.begun.is_set)
        client.go()
        with pytest.raises(SearchCancelled):
            await task
        await until(lambda: searches.running == 0)
        assert searches.cancelled == 1
        searches.close()

    run_async(test)


def test_a_client_that_goes_away_while_it_waits_leaves_its_turn_to_others() -> None:
    async def test() -> None:
        searches = Searches(settings(searches=1))
        first, gone, last = Work(), Work(), Work()
        client = Client()
        tasks = [start(searches, "a", first), start(searches, "b", gone, client), start(searches, "c", last)]
        await until(lambda: searches.waiting == 2)
        client.go()
        with pytest.raises(SearchCancelled):
            await tasks[1]
        assert searches.waiting == 1
        first.released.set()
        await until(last.begun.is_set)
        last.released.set()
        await asyncio.gather(tasks[0], tasks[2])
        assert not gone.begun.is_set()
        searches.close()

    run_async(test)


def test_a_place_that_comes_as_its_client_goes_is_not_lost() -> None:
    async def test() -> None:
        searches = Searches(settings(searches=1))
        for _ in range(50):
            first, second, client = Work(), Work(), Client()
            tasks = [start(searches, "a", first), start(searches, "b", second, client)]
            await until(lambda: searches.waiting == 1)
            first.released.set()
            client.go()
            second.released.set()
            await asyncio.gather(*tasks, return_exceptions=True)
            await until(lambda: searches.running == 0)
            assert searches.waiting == 0
        searches.close()

    run_async(test)


def test_a_place_is_held_until_the_search_has_ended() -> None:
    """Who ceases to wait does not make room for a further search while the first still runs."""

    async def test() -> None:
        searches = Searches(settings(searches=1))
        begun, end = threading.Event(), threading.Event()

        def stubborn() -> None:
            begun.set()
            end.wait(60)  # looks at no token

        task = start(searches, "a", stubborn)
        await until(begun.is_set)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert searches.running == 1
        other = Work()
        waiting = start(searches, "b", other)
        await until(lambda: searches.waiting == 1)
        end.set()
        await until(other.begun.is_set)
        other.released.set()
        assert await waiting == "found"
        searches.close()

    run_async(test)


def test_an_error_gives_the_place_back() -> None:
    async def test() -> None:
        searches = Searches(settings(searches=1))

        def broken() -> None:
            raise ValueError("a bug")

        for _ in range(3):
            with pytest.raises(ValueError, match="a bug"):
                await searches.run(Client().request, "a", broken)
        await until(lambda: searches.running == 0)
        searches.close()

    run_async(test)


def test_closing_ends_all() -> None:
    async def test() -> None:
        searches = Searches(settings(searches=1))
        running, waiting = Work(), Work()
        tasks = [start(searches, "a", running), start(searches, "b", waiting)]
        await until(lambda: searches.waiting == 1)
        searches.close()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(error, SearchCancelled | Problem) for error in ended), ended
        with pytest.raises(Problem) as raised:
            await searches.run(Client().request, "a", Work())
        assert raised.value.status == 503

    run_async(test)


# -- results that are kept


def test_equal_requests_make_a_result_once() -> None:
    kept: Kept[str] = Kept(len)
    made: list[int] = []
    begin, release = threading.Event(), threading.Event()

    def make() -> str:
        made.append(1)
        begin.set()
        release.wait(60)
        return "rows"

    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(kept.get("key", make))) for _ in range(4)]
    for thread in threads:
        thread.start()
    begin.wait(60)
    release.set()
    for thread in threads:
        thread.join(60)
    assert (made, found) == ([1], ["rows"] * 4)


def test_where_the_maker_is_stopped_another_one_makes_it() -> None:
    kept: Kept[str] = Kept(len)
    begin, release = threading.Event(), threading.Event()

    def stopped() -> str:
        begin.set()
        release.wait(60)
        raise SearchCancelled("its client went away")

    errors: list[Exception] = []

    def first() -> None:
        try:
            kept.get("key", stopped)
        except SearchCancelled as error:
            errors.append(error)

    found: list[str] = []
    threads = [threading.Thread(target=first)]
    threads[0].start()
    begin.wait(60)
    threads.append(threading.Thread(target=lambda: found.append(kept.get("key", lambda: "rows"))))
    threads[1].start()
    release.set()
    for thread in threads:
        thread.join(60)
    assert len(errors) == 1
    assert found == ["rows"]


def test_who_waits_for_anothers_result_can_be_stopped() -> None:
    kept: Kept[str] = Kept(len)
    begin, release = threading.Event(), threading.Event()

    def make() -> str:
        begin.set()
        release.wait(60)
        return "rows"

    maker = threading.Thread(target=lambda: kept.get("key", make))
    maker.start()
    begin.wait(60)
    token = cancel.Cancel(0.05)
    with token.active(), pytest.raises(SearchTimeout):
        kept.get("key", make)
    release.set()
    maker.join(60)


def test_what_is_kept_is_bounded() -> None:
    kept: Kept[str] = Kept(len, number=3, octets=10, seconds=1000)
    for name in "abcd":
        kept.get(name, lambda: "xx")
    assert kept.peek("a") is None
    assert [kept.peek(name) for name in "bcd"] == ["xx"] * 3
    assert kept.peek("b") == "xx"  # used last
    kept.get("large", lambda: "x" * 8)
    assert kept.peek("b") == "xx"
    assert kept.peek("c") is None
    assert kept.octets <= 10
    assert kept.get("too large", lambda: "x" * 11) == "x" * 11
    assert kept.peek("too large") is None


def test_what_is_kept_ends() -> None:
    kept: Kept[str] = Kept(len, seconds=-1)
    kept.get("a", lambda: "x")
    assert kept.peek("a") is None


# -- the whole program

#: Takes seconds: each is tried on every message.
SLOW = " OR ".join(f"~a.*b.*c.*{i}~" for i in range(220))


@pytest.fixture(scope="module")
def slow_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Return the page on a larger lake, one search at once."""
    few = {"HEPCAT_WEB_SEARCHES": "1", "HEPCAT_WEB_WAITING": "1"}
    folder = tmp_path_factory.mktemp("slow")
    with Site(filled_lake(50_000), folder, environment=few) as started:
        yield started


def begin(site: Site, path: str) -> socket.socket:
    """Send a request, and do not wait for its answer."""
    client = socket.create_connection(("127.0.0.1", site.port))
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    return client


def asked(path: str) -> str:
    from urllib.parse import quote

    return f"/api/{path}?of=messages&by=method&q={quote(SLOW)}"


@pytest.mark.parametrize("path", ["calls", "messages", "histogram", "top", "export"])
def test_the_search_of_a_client_that_went_away_is_stopped(slow_site: Site, path: str) -> None:
    def searches() -> dict[str, int]:
        found: dict[str, int] = slow_site.get("/api/status")["searches"]
        return found

    before = searches()
    with begin(slow_site, asked(path)):
        wait_for(lambda: searches()["running"] == 1, what="the search runs")
    wait_for(lambda: searches()["running"] == 0, 60, what="the search was stopped")
    assert searches()["cancelled"] == before["cancelled"] + 1
    assert slow_site.get("/api/calls", limit=1)["calls"]


def test_too_many_searches_are_a_problem(slow_site: Site) -> None:
    with begin(slow_site, asked("top")), begin(slow_site, asked("top")):
        wait_for(lambda: slow_site.get("/api/status")["searches"]["waiting"] == 1, what="one waits")
        answer = slow_site.get("/api/calls", limit=1)
        assert (answer["status"], answer["type"]) == (429, "/api/docs#problem-busy")
    wait_for(lambda: slow_site.get("/api/status")["searches"]["running"] == 0)


def test_a_search_that_takes_too_long_is_a_problem(tmp_path: Any) -> None:
    short = {"HEPCAT_WEB_QUERY_SECONDS": "0.001"}
    with Site(filled_lake(50_000), tmp_path, environment=short) as site:
        for path in ("calls", "messages", "histogram", "top", "export"):
            answer = site.get(f"/api/{path}", q="~a.*b~", by="method")
            assert (answer["status"], answer["type"]) == (504, "/api/docs#problem-timeout"), path


@pytest.mark.parametrize(
    "url", ["postgresql://u:secret@127.0.0.1:9/x", "clickhouse://u:secret@127.0.0.1:9/x"]
)
def test_a_store_that_is_away_is_a_problem(tmp_path: Any, url: str) -> None:
    with Site(tmp_path / "data", tmp_path, f"--store={url}") as site:
        for path in ("calls", "live", "export"):
            answer = site.get(f"/api/{path}")
            assert (answer["status"], answer["type"]) == (502, "/api/docs#problem-store-away"), path
            assert "secret" not in str(answer)


def test_places_for_searches(monkeypatch: pytest.MonkeyPatch) -> None:
    """One more than processors, and one user never has all of them; else what the settings say."""
    for processors, places, mine in ((1, 2, 1), (2, 3, 2), (16, 17, 4)):
        monkeypatch.setattr("os.cpu_count", lambda processors=processors: processors)
        searches = Searches(WebSettings())
        assert (searches._places, searches._places_a_user) == (places, mine)
        searches.close()
    searches = Searches(WebSettings(searches=8, searches_a_user=8))
    assert (searches._places, searches._places_a_user) == (8, 8)
    searches.close()
