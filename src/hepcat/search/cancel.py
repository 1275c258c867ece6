"""Cancel: a search that somebody no longer waits for, or that takes too long, ends within moments.

In: `with cancel.active():` around searches in one thread; `cancel.cancel(why)` from any other, or a number of
seconds. Out: what runs in a database is interrupted, nothing further is begun. What can go wrong:
SearchCancelled, SearchTimeout; they are what the search raises, never a part of its answer.

Whoever runs a statement says how it is stopped (`interrupting`). A stop that comes between the look at the
token and the begin of the statement finds nothing to stop: so it is repeated until the statement is gone. One
thread keeps all deadlines and repeats; stops that ask a server over the network get a thread of their own,
for they may have to wait for it.
"""

import contextlib
import heapq
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Final

from hepcat.errors import HepcatError

#: Seconds until a stop is repeated, at first and at most; each time twice as long.
_AGAIN: Final = 0.05
_AGAIN_AT_MOST: Final = 2.0


class SearchCancelled(HepcatError):
    """Nobody waits for this search any longer."""


class SearchTimeout(SearchCancelled):
    """The search took longer than it may."""


class _Stop:
    """How one running statement is stopped, for as long as it may be."""

    def __init__(self, stop: Callable[[], object], remote: bool) -> None:
        self._stop, self._remote = stop, remote
        self._lock = threading.Lock()
        self._gone = False

    def __call__(self) -> None:
        if self._remote:
            threading.Thread(target=self._run, name="search-stop", daemon=True).start()
        else:
            self._run()

    def _run(self) -> None:
        # Never two at once, and none once the connection may serve another search.
        if not self._lock.acquire(blocking=False):
            return
        try:
            if not self._gone:
                with contextlib.suppress(Exception):  # its end came first, or the server is away
                    self._stop()
        finally:
            self._lock.release()

    def leave(self) -> None:
        """Stop no more; waits for a stop that is under way."""
        with self._lock:
            self._gone = True


class Cancel:
    """A token of one request: all of its searches end when it is cancelled, or its seconds are over."""

    def __init__(self, seconds: float | None = None) -> None:
        """The clock starts now; None: there is no deadline."""
        self.seconds = seconds
        self._deadline = None if seconds is None else time.monotonic() + seconds
        self._lock = threading.Lock()
        self._stops: dict[int, _Stop] = {}
        self._numbers = itertools.count()
        self._error: SearchCancelled | None = None
        self._again = _AGAIN
        self._armed = False

    @property
    def cancelled(self) -> bool:
        """Say whether it is over."""
        if self._error is None and self._deadline is not None and time.monotonic() >= self._deadline:
            self._end(_too_long(self.seconds or 0.0))
        return self._error is not None

    def cancel(self, why: str = "nobody waits for its answer") -> None:
        """End its searches. Never waits for a server; more than once does no harm."""
        self._end(SearchCancelled(f"the search was stopped: {why}", "Ask again."))

    def check(self) -> None:
        """Raise where it is over."""
        if self.cancelled and self._error is not None:
            raise type(self._error)(str(self._error), self._error.hint)

    @contextlib.contextmanager
    def active(self) -> Iterator["Cancel"]:
        """Let the searches of this thread (this context) belong to the token for the length of the block."""
        before = _CURRENT.set(self)
        try:
            self.check()
            yield self
        finally:
            _CURRENT.reset(before)

    @contextlib.contextmanager
    def interrupting(self, stop: Callable[[], object], remote: bool = False) -> Iterator[None]:
        """Call `stop` when the token ends within the block, and raise what the token says.

        remote: `stop` may have to wait.
        """
        self.check()
        number, one = next(self._numbers), _Stop(stop, remote)
        with self._lock:
            self._stops[number] = one
            arm, self._armed = not self._armed, True
        if arm and self._deadline is not None:
            _WATCH.at(self._deadline, self)
        try:
            self.check()  # it may have ended before it knew of this stop
            yield
        except Exception:
            self.check()  # whatever a database calls it
            raise
        else:
            self.check()  # some end an answer early, without a word
        finally:
            with self._lock:
                del self._stops[number]
            one.leave()

    def _end(self, error: SearchCancelled) -> None:
        with self._lock:
            if self._error is not None:
                return
            self._error = error
        self.stop()

    def stop(self) -> None:
        """Stop what runs, and look again soon whether something still does."""
        with self._lock:
            stops = list(self._stops.values())
            again, self._again = self._again, min(2 * self._again, _AGAIN_AT_MOST)
        for one in stops:
            one()
        if stops:
            _WATCH.at(time.monotonic() + again, self)

    def due(self) -> None:
        """The watch's turn: the deadline is there, or a stop has to be repeated."""
        was_over = self._error is not None
        if self.cancelled and was_over:
            self.stop()


class _Watch:
    """One thread that keeps all tokens' times; it begins with the first."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._times: list[tuple[float, int, Cancel]] = []
        self._numbers = itertools.count()
        self._running = False

    def at(self, when: float, token: Cancel) -> None:
        """Call `token.due()` then."""
        with self._changed:
            heapq.heappush(self._times, (when, next(self._numbers), token))
            if not self._running:
                self._running = True
                threading.Thread(target=self._run, name="search-watch", daemon=True).start()
            if self._times[0][2] is token:
                self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._times or self._times[0][0] > time.monotonic():
                    wait = self._times[0][0] - time.monotonic() if self._times else None
                    self._changed.wait(wait)
                token = heapq.heappop(self._times)[2]
            token.due()


_CURRENT: ContextVar[Cancel | None] = ContextVar("hepcat_cancel", default=None)
_WATCH: Final = _Watch()


def _too_long(seconds: float) -> SearchTimeout:
    return SearchTimeout(
        f"the search took longer than {seconds:g} seconds and was stopped",
        "Narrow the time or the query, or set query_seconds higher.",
    )


def check() -> None:
    """Raise where the token of this thread's searches is over; without a token nothing happens."""
    token = _CURRENT.get()
    if token is not None:
        token.check()


@contextlib.contextmanager
def interrupting(stop: Callable[[], object], remote: bool = False) -> Iterator[None]:
    """As the token's own; without a token nothing happens."""
    token = _CURRENT.get()
    if token is None:
        yield
        return
    with token.interrupting(stop, remote):
        yield
