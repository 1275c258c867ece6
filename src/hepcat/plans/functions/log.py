"""clog: a line in the log for many messages, at most one a second of capture time.

In: rows. Out: env.log(level, text). A line for every message would be a second flood beside the first.
"""

import threading

import numpy as np

from hepcat.plans.plan import Mask, Work

INTERVAL_US = 1_000_000


class LogStep:
    """The step of one clog()."""

    def __init__(self, level: str, text: str) -> None:
        self.level = level
        self.text = text
        self.waiting = 0
        self.next_us = -(1 << 62)
        self.lock = threading.Lock()

    def __call__(self, work: Work, mask: Mask) -> Mask:
        """Log, or count for the next line. Time that jumps back begins anew."""
        with self.lock:
            self.waiting += int(np.count_nonzero(mask))
            due = work.now_us >= self.next_us or work.now_us < self.next_us - INTERVAL_US
            count = self.waiting
            if due:
                self.waiting = 0
                self.next_us = work.now_us + INTERVAL_US
        if due:
            work.env.log(self.level, self.text if count == 1 else f"{self.text} ({count} messages)")
        return mask
