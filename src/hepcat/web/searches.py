"""Searches of many people at once, within bounds.

In: a request, who asks, and a function that searches. Out: its result, computed in a worker thread. What can
go wrong: Problem 429 where too many wait already, SearchTimeout, SearchCancelled where the client went away.

Places are given in turns: of those who wait, whoever has the fewest searches running goes first, so that one
person's ten open pages do not hold up another's first search.
"""

import asyncio
import contextlib
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from starlette.requests import Request

from hepcat.config.web import WebSettings
from hepcat.search.cancel import Cancel
from hepcat.web.problems import Problem

T = TypeVar("T")
#: Seconds between looks at whether a client is still there.
_LOOK: Final = 0.25
#: Of those who wait, most of one user.
_WAITING_A_USER: Final = 32


class Searches:
    """Gives out places."""

    def __init__(self, settings: WebSettings) -> None:
        self._settings = settings
        self._pool = ThreadPoolExecutor(settings.searches, thread_name_prefix="search")
        self._running: Counter[str] = Counter()
        self._waiting: dict[int, tuple[str, asyncio.Future[None]]] = {}
        self._numbers = itertools.count()
        self.done = 0
        self.refused = 0
        self.cancelled = 0

    @property
    def running(self) -> int:
        """How many run just now."""
        return sum(self._running.values())

    @property
    def waiting(self) -> int:
        """How many wait for a place."""
        return len(self._waiting)

    async def run(
        self, request: Request, user: str, function: Callable[[], T], seconds: float | None = None
    ) -> T:
        """Run a function that searches; end it when its time is over or its client goes away."""
        cancel = Cancel(seconds or self._settings.query_seconds)

        def run() -> T:
            with cancel.active():
                return function()

        watching = asyncio.create_task(_watch(request, cancel))
        try:
            async with self._place(user, cancel):
                return await asyncio.get_running_loop().run_in_executor(self._pool, run)
        finally:
            watching.cancel()
            self.cancelled += cancel.cancelled
            self.done += 1

    def close(self) -> None:
        """Let no more begin."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    @contextlib.asynccontextmanager
    async def _place(self, user: str, cancel: Cancel) -> AsyncIterator[None]:
        if self.running >= self._settings.searches or self._running[user] >= self._settings.searches_a_user:
            await self._wait(user, cancel)
        else:
            self._running[user] += 1
        try:
            yield
        finally:
            self._leave(user)

    async def _wait(self, user: str, cancel: Cancel) -> None:
        """Wait for a place; it is counted as taken by whoever gives it."""
        mine = sum(1 for other, _ in self._waiting.values() if other == user)
        if len(self._waiting) >= self._settings.waiting or mine >= _WAITING_A_USER:
            self.refused += 1
            raise Problem(
                429,
                "too many searches wait already",
                "Try again in some seconds, or narrow the range of time.",
                kind="busy",
                headers={"Retry-After": "2"},
            )
        number = next(self._numbers)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[number] = (user, turn)
        try:
            while not turn.done():
                await asyncio.wait({turn}, timeout=_LOOK)
                cancel.check()
        except BaseException:
            if turn.done():  # the place came too late
                self._leave(user)
            raise
        finally:
            self._waiting.pop(number, None)

    def _leave(self, user: str) -> None:
        self._running[user] -= 1
        if not self._running[user]:
            del self._running[user]
        self._wake()

    def _wake(self) -> None:
        """Give free places to those who wait: to whom runs the fewest, then who came first."""
        while self.running < self._settings.searches:
            fitting = [
                (self._running[user], number)
                for number, (user, turn) in self._waiting.items()
                if self._running[user] < self._settings.searches_a_user and not turn.done()
            ]
            if not fitting:
                return
            user, turn = self._waiting.pop(min(fitting)[1])
            self._running[user] += 1
            turn.set_result(None)


async def _watch(request: Request, cancel: Cancel) -> None:
    """Cancel once the client has gone away."""
    while not cancel.cancelled:
        if await request.is_disconnected():
            cancel.cancel("the client went away")
            return
        await asyncio.sleep(_LOOK)
