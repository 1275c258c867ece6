"""Live results for many clients: what is stored is read once, and matched once for each distinct query.

In: a store, what somebody wants to see of it. Out: events for each client, as long as it listens. What can go
wrong: HepcatError where a store cannot be followed, or the query is wrong; trouble later is told in an event.

A thread a store follows its tail, from the first client's coming until a while after the last one's leaving:
who comes back after a broken connection finds what was told meanwhile. A client that saw a call is told of it
again when more of its messages come, at most every second.
"""

import asyncio
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from hepcat.search.errors import NoTail
from hepcat.web.channel import Channel, Wish
from hepcat.web.events import Listener
from hepcat.web.follower import Follower
from hepcat.web.problems import Problem

if TYPE_CHECKING:
    from hepcat.search.api import Data


class Hub:
    """The followers of all stores. `join` is called in a worker thread: opening a tail may take a while."""

    def __init__(self, seconds: float, most_idle: int) -> None:
        """seconds: that looking a call up may take. most_idle: queries that are kept without a client."""
        self._seconds, self._most_idle = seconds, most_idle
        self._followers: dict[str, Follower] = {}
        self._mutex = threading.Lock()
        self._closed = False

    def join(
        self, store: str, data: "Data", wish: Wish, listener: Listener, loop: asyncio.AbstractEventLoop
    ) -> Channel:
        """Let a listener hear of what is wished for, from now on."""
        wish.check(data)
        with self._mutex:
            if self._closed:
                raise Problem(503, "the server is stopping", kind="cancelled")
            follower = self._followers.get(store)
            channel = None if follower is None else follower.join(wish, listener, loop)
            if channel is None:  # it has ended, perhaps just now
                follower = Follower(store, data, _tail_of(data), self._seconds, self._most_idle)
                channel = follower.join(wish, listener, loop)
                assert channel is not None
                self._followers[store] = follower
                if self._closed:
                    follower.stop()
            return channel

    @property
    def following(self) -> list[str]:
        """The stores that are followed just now."""
        return [name for name, follower in tuple(self._followers.items()) if not follower.ended]

    def close(self) -> None:
        """End all."""
        self._closed = True  # who opens a tail just now, with the mutex, sees it
        for follower in tuple(self._followers.values()):
            follower.stop()


def _tail_of(data: "Data") -> "Callable[[], object]":
    """Return what opens the tail; open it once, so that who asks learns at once that it cannot be."""
    try:
        first = data.tail()
    except NoTail as error:
        raise Problem(501, str(error), error.hint, kind="no-tail") from None
    kept = [first]
    return lambda: kept.pop() if kept else data.tail()
