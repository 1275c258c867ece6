"""Searches of many people at once, within bounds.

In: a request, who asks, and a function that searches. Out: its result, computed in a worker thread. What can
go wrong: Problem 429 where too many wait already, or no place came free in time; SearchTimeout;
SearchCancelled where the client went away or the site closes.

Places are given in turns: of those who wait, whoever has the fewest searches running goes first, so that one
person's ten open pages do not hold up another's first search. What stands beside rows, such as a histogram,
lets rows go first, for some seconds. A place is given back when the search has
ended, not when somebody ceased to wait for it: what still runs still takes its share of the machine.
"""

import asyncio
import contextlib
import itertools
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import Request

from hepcat.config.web import WebSettings
from hepcat.search.cancel import Cancel, SearchCancelled, SearchTimeout
from hepcat.web.problems import Problem

T = TypeVar("T")
#: Of those who wait, most of one user.
_WAITING_A_USER: Final = 32
#: Seconds for which what stands beside rows lets others go first. 50 people at once wait 7 s for histograms:
#: where these went first after 5 s, everybody's rows waited as long.
_YIELDING: Final = 12.0
#: Seconds after which who was refused may ask again.
_RETRY_AFTER: Final = 2


class Searches:
    """Gives out places. Belongs to one event loop; only the searches themselves run in threads."""

    def __init__(self, settings: WebSettings) -> None:
        self._settings = settings
        self._places, self._places_a_user = _places(settings)
        self._pool = ThreadPoolExecutor(self._places, thread_name_prefix="search")
        self._running: Counter[str] = Counter()
        self._waiting: dict[int, _Client] = {}
        self._clients: set[_Client] = set()
        self._numbers = itertools.count()
        self._closed = False
        self.done = 0
        self.refused = 0
        self.cancelled = 0
        self.timeouts = 0

    @property
    def running(self) -> int:
        """How many run just now."""
        return sum(self._running.values())

    @property
    def waiting(self) -> int:
        """How many wait for a place."""
        return len(self._waiting)

    async def run(
        self,
        request: Request,
        user: str,
        function: Callable[[], T],
        seconds: float | None = None,
        patient: bool = False,
        beside: bool = False,
    ) -> T:
        """Run a function that searches; end it when its time is over or its client goes away.

        The time, query_seconds unless given, begins with the search; as long again it may wait for its
        place. patient: it is part of an answer that has begun, and waits as long as it has to. beside: it
        stands beside rows, which matter more.
        """
        with self._client(user) as client:
            client.yields_until = time.monotonic() + _YIELDING if beside else 0.0
            watching = asyncio.create_task(_watch(request, client))
            try:
                await self._take_place(client, patient)
                return await self._search(client, function, seconds or self._settings.query_seconds)
            except SearchCancelled:
                if client.refused is not None:
                    raise client.refused from None
                raise
            finally:
                watching.cancel()

    def close(self) -> None:
        """End what runs, let no more begin."""
        self._closed = True
        for client in tuple(self._clients):
            client.leave("the server is stopping")
        self._pool.shutdown(wait=False, cancel_futures=True)

    @contextlib.contextmanager
    def _client(self, user: str) -> Iterator["_Client"]:
        """Know who is there, and count how it ended."""
        if self._closed:
            raise _stopping()
        client = _Client(user)
        self._clients.add(client)
        try:
            yield client
        except SearchTimeout:
            self.timeouts += 1
            raise
        finally:
            self._clients.discard(client)
            self.cancelled += client.why is not None

    async def _search(self, client: "_Client", function: Callable[[], T], seconds: float) -> T:
        """Run in a thread, having a place, which the thread gives back at its end."""
        if client.why is not None:
            self._leave(client.user)
            raise _did_not_begin(client.why)
        loop = asyncio.get_running_loop()
        client.search = token = Cancel(seconds)

        def search() -> T:
            try:
                with token.active():
                    return function()
            finally:
                with contextlib.suppress(RuntimeError):  # the loop has ended before
                    loop.call_soon_threadsafe(self._end, client.user)

        try:
            running = loop.run_in_executor(self._pool, search)
        except RuntimeError:  # the pool is closed
            self._leave(client.user)
            raise _stopping() from None
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            client.leave("nobody waits for its answer")
            running.add_done_callback(_forget)
            raise

    def _end(self, user: str) -> None:
        self.done += 1
        self._leave(user)

    async def _take_place(self, client: "_Client", patient: bool) -> None:
        """Return having a place, which `_leave` gives back."""
        user = client.user
        if self.running < self._places and self._running[user] < self._places_a_user:
            self._running[user] += 1
            return
        mine = sum(1 for other in self._waiting.values() if other.user == user)
        if not patient and (len(self._waiting) >= self._settings.waiting or mine >= _WAITING_A_USER):
            raise self._busy("too many searches wait already")
        number = next(self._numbers)
        self._waiting[number] = client
        client.turn = turn = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(None if patient else self._settings.query_seconds):
                await turn
        except BaseException as error:
            self._waiting.pop(number, None)
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._leave(user)  # the place came in the moment in which nobody waited any more
            if isinstance(error, TimeoutError):
                raise self._busy("no place for the search came free in time") from None
            raise

    def _busy(self, why: str) -> Problem:
        self.refused += 1
        return Problem(
            429,
            why,
            "Try again in some seconds, or narrow the range of time.",
            kind="busy",
            headers={"Retry-After": str(_RETRY_AFTER)},
        )

    def _leave(self, user: str) -> None:
        self._running[user] -= 1
        if self._running[user] <= 0:
            del self._running[user]
        self._wake()

    def _wake(self) -> None:
        """Give free places to those who wait: to whom runs the fewest, then who came first."""
        while self.running < self._places:
            now = time.monotonic()
            fitting = [
                (client.yields_until > now, self._running[client.user], number)
                for number, client in self._waiting.items()
                if self._running[client.user] < self._places_a_user and client.waits
            ]
            if not fitting:
                return
            client = self._waiting.pop(min(fitting)[-1])
            assert client.turn is not None
            self._running[client.user] += 1
            client.turn.set_result(None)


def _places(settings: WebSettings) -> tuple[int, int]:
    """Return how many places there are, and of these for one user.

    A search uses every processor by itself. Eight at once on two processors took twice as much of them each.
    One place is left to others, whatever one user's searches cost.
    """
    if settings.searches:
        return settings.searches, settings.searches_a_user
    places = (os.cpu_count() or 1) + 1
    return places, min(settings.searches_a_user, places - 1)


class _Client:
    """Who waits for an answer: for a place, then for the search. Lives in the event loop."""

    def __init__(self, user: str) -> None:
        self.user = user
        self.turn: asyncio.Future[None] | None = None
        self.search: Cancel | None = None
        #: on time.monotonic()'s clock; rows of others go first until then
        self.yields_until = 0.0
        #: why nobody waits any more; what to answer, where somebody does
        self.why: str | None = None
        self.refused: HTTPException | None = None

    @property
    def waits(self) -> bool:
        """Whether a place can be given."""
        return self.turn is not None and not self.turn.done()

    def leave(self, why: str) -> None:
        """End the search, or the wait for its place."""
        self.why = why
        if self.search is not None:
            self.search.cancel(why)
        elif self.turn is not None and not self.turn.done():
            self.turn.set_exception(_did_not_begin(why))


def _did_not_begin(why: str) -> SearchCancelled:
    return SearchCancelled(f"the search did not begin: {why}", "Ask again.")


def _stopping() -> Problem:
    return Problem(503, "the server is stopping", "Ask again.", kind="cancelled")


def _forget(running: "asyncio.Future[T]") -> None:
    """Take an error that nobody waits for, so that it is not reported as one that was overlooked."""
    if not running.cancelled():
        running.exception()


async def _watch(request: Request, client: _Client) -> None:
    """Tell once the client has gone away, or sends more than a request may bring."""
    try:
        while (await request.receive())["type"] != "http.disconnect":
            pass
    except HTTPException as error:
        client.refused = error
    client.leave("the client went away")
