"""Keeps a door from taking the processor away from capture, and from filling the log.

In: when work begins and ends; warnings. Out: a rest of so many times what the work took of the processor (a
flood of requests waits in its sender, and a single request notices nothing); now and then one warning for all
that there were.
"""

import time
from typing import Any, Final

#: Rest in units of work: a door under a flood takes a fifth of a core.
RATIO: Final = 4.0
#: Seconds of one rest at most.
LONGEST: Final = 0.25
#: Seconds between two warnings of one kind.
SELDOM: Final = 10.0


class Pace:
    """Of one thread."""

    def __init__(self) -> None:
        self._begun = 0.0

    def begin(self) -> None:
        """Work begins."""
        self._begun = time.thread_time()

    def rest(self) -> None:
        """It has ended: rest."""
        time.sleep(min((time.thread_time() - self._begun) * RATIO, LONGEST))


class Seldom:
    """Warnings that others can cause: one in SELDOM seconds, with how many were left out before it."""

    def __init__(self, log: Any) -> None:
        self._log = log
        self._next = 0.0
        self._left_out = 0

    def warning(self, event: str, **facts: Any) -> None:
        """Write the warning, or count it."""
        now = time.monotonic()
        if now < self._next:
            self._left_out += 1
            return
        more = {"others_before": self._left_out} if self._left_out else {}
        self._log.warning(event, **facts, **more)
        self._next, self._left_out = now + SELDOM, 0
