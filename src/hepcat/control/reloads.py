"""Reloads that somebody waits for: a door asks, the main thread carries it out, the door has the outcome.

In: the queue of events of whoever runs. Out: the event RELOAD in it. What can go wrong: HepcatError with
every problem of the configuration (the old one stays in force), or that nobody carried it out in time.
"""

import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

import structlog

from hepcat.errors import HepcatError

log = structlog.get_logger("hepcat")

#: An event beside the signals: a door asks for a reload.
RELOAD: Final = -2
#: Seconds that a door waits for the outcome.
WAIT_SECONDS: Final = 30.0


class _Asked:
    """One reload that somebody waits for."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.notes: list[str] = []
        self.error: HepcatError | None = None


class Reloads:
    """Any number of doors ask, one thread carries out."""

    def __init__(self, events: "queue.SimpleQueue[int]") -> None:
        self._events = events
        self._asked: deque[_Asked] = deque()
        self._closed = False

    def ask(self) -> list[str]:
        """Have the configuration put in force; return what there is to say about it. Raises HepcatError."""
        asked = _Asked()
        self._asked.append(asked)
        if self._closed:
            raise HepcatError("not reloaded: it is stopping")
        self._events.put(RELOAD)
        if not asked.done.wait(WAIT_SECONDS):
            raise HepcatError(
                f"no word of the reload within {WAIT_SECONDS:g} seconds", "Its log tells what became of it."
            )
        if asked.error is not None:
            raise asked.error
        return asked.notes

    def carry_out(self, reload: Callable[[], list[str]]) -> None:
        """Reload once, for all who have asked by now. reload: returns notes, or raises HepcatError."""
        waiting = [self._asked.popleft() for _ in range(len(self._asked))]
        if not waiting:
            return  # an earlier event was for these too
        try:
            notes, error = reload(), None
        except HepcatError as problem:
            notes, error = [], problem
        for asked in waiting:
            asked.notes, asked.error = notes, error
            asked.done.set()

    def close(self) -> None:
        """Tell everybody who waits that it is too late."""
        self._closed = True

        def refuse() -> list[str]:
            raise HepcatError("not reloaded: it is stopping")

        self.carry_out(refuse)


def not_reloaded(error: Exception) -> HepcatError:
    """Log a bug of ours that a reload ran into, and return what to tell: capture goes on all the same."""
    log.error("a bug in hepcat stopped a reload; please report it", exc_info=error)
    return HepcatError("not reloaded: a bug in hepcat", "Its log has the traceback; please report it.")
