"""clog: a line in the log for many messages, at most one a second of capture time.

In: rows. Out: env.log(level, text). A line for every message would be a second flood beside the first. What
is counted when the agent ends, or takes over another plan, is written by `flush`.
"""

import threading

import numpy as np

from hepcat.plans.plan import Environment, Mask, Work

INTERVAL_US = 1_000_000


class LogStep:
    """The step of one clog()."""

    def __init__(self, level: str, text: str) -> None:
        self.level = level
        self.text = text
        self.waiting = 0
        self.next_us = -(1 << 62)
        self.lock = threading.Lock()
        self.env: Environment | None = None  # of the worker that came here first

    def __call__(self, work: Work, mask: Mask) -> Mask:
        """Log, or count for the next line. Time that jumps back begins anew."""
        with self.lock:
            self.waiting += int(np.count_nonzero(mask))
            due = work.now_us >= self.next_us or work.now_us < self.next_us - INTERVAL_US
            count = self.waiting
            if due:
                self.waiting = 0
                self.next_us = work.now_us + INTERVAL_US
        if self.env is None:
            self.env = work.env
            work.env.at_end.append(self.flush)
        if due:
            self._write(count)
        return mask

    def flush(self) -> None:
        """Write what was counted since the last line."""
        with self.lock:
            count, self.waiting = self.waiting, 0
        if count:
            self._write(count)

    def _write(self, count: int) -> None:
        assert self.env is not None
        self.env.log(self.level, self.text if count == 1 else f"{self.text} ({count} messages)")
