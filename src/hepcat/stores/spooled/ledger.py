"""The counts of a spooled store, and what the operator is told.

In: what the threads that write report. Out: numbers that add up, and events, one a change of state. `tell` is
called as tell(event, facts) from any thread and must not block. Events: `away` (nothing is written: error,
hint), `back`, `rows_refused`, `batch_set_aside` (a bug of ours: traceback), `spool_damaged`, `sync_failed`,
`maintain_failed`, `writer_miscounts`, `spool_renamed`. What can go wrong: nothing.
"""

import contextlib
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from typing import Any

from hepcat.batch.drops import Drop
from hepcat.errors import HepcatError
from hepcat.stores.writer import Written

#: Called with the name of an event and its facts.
Tell = Callable[[str, dict[str, Any]], None]


class Ledger:
    """One store's. Any thread may report."""

    def __init__(self, name: str, tell: Tell) -> None:
        self._name = name
        self._tell = tell
        self._lock = threading.Lock()
        self.taken = self.written = self.cut = self.replaced = self.unknown = 0
        self.drops: Counter[Drop] = Counter()
        self._troubles: dict[int, str] = {}
        self._told = ""
        self._since = 0.0

    def say(self, event: str, **facts: Any) -> None:
        """Tell the operator. What fails there must not make a thread write a batch again."""
        with contextlib.suppress(Exception):
            self._tell(event, {"store": self._name, **facts})

    # -- counts

    def take(self, records: int) -> None:
        """Count what was taken from the caller, or found."""
        with self._lock:
            self.taken += records

    def write(self, written: Written, records: int) -> None:
        """Count what a writer says that it did with so many records."""
        dropped = sum(written.drops.values())
        with self._lock:
            self.written += records - dropped
            self.cut += written.cut
            self.replaced += written.replaced
            self.drops.update(written.drops)
        if written.rows + dropped != records:
            self.say("writer_miscounts", records=records, rows=written.rows, dropped=dropped)

    def learn(self, records: int) -> None:
        """Count records that turn out to be in the database."""
        with self._lock:
            self.written += records
            self.unknown += records

    def drop(self, drop: Drop, records: int) -> None:
        """Count records that the database will not have."""
        with self._lock:
            self.drops[drop] += records

    # -- trouble

    @property
    def trouble(self) -> str | None:
        """Why nothing is written, None while all connections write."""
        with self._lock:
            return next(iter(self._troubles.values()), None)

    def worry(self, connection: int, error: Exception) -> None:
        """Note that a connection cannot write; told where that is news."""
        known = isinstance(error, HepcatError)
        message = str(error) if known else f"{type(error).__name__}: {error}"
        with self._lock:
            if not self._troubles:
                self._since = time.monotonic()
                self._told = ""
            self._troubles[connection] = message
            news, self._told = message != self._told, message
        if not news:
            return
        facts: dict[str, Any] = {"error": message}
        if isinstance(error, HepcatError) and error.hint:
            facts["hint"] = error.hint
        if not known:
            facts["traceback"] = "".join(traceback.format_exception(error))
        self.say("away", **facts)

    def relieve(self, connection: int) -> None:
        """Note that a connection writes; told when the last one does again."""
        with self._lock:
            if self._troubles.pop(connection, None) is None or self._troubles:
                return
            seconds = round(time.monotonic() - self._since, 1)
        self.say("back", after_seconds=seconds)
