"""The thread that gives batches to the store, and outlasts the store's outages.

In: the queue. Out: `Store.append`, in order. What can go wrong: the store is away (disk full, read-only,
gone). Then the batch is kept and offered again while the queue fills to its bound; the operator is told
once a change of state; what is lost is counted under the reason the store gave. Storing resumes by itself.
Or the store raises something else, a bug of ours: after BUG_TRIES the batch is counted as lost, told with
its traceback, and the next one gets its turn.
"""

import threading
import time
from typing import Final

import structlog

from hepcat.batch.drops import Drop
from hepcat.pipeline.queue import BatchQueue, Queued
from hepcat.sources.priority import prefer_this_thread
from hepcat.stores.store import Store, StoreUnavailable

FIRST_WAIT: Final = 0.1
LONGEST_WAIT: Final = 2.0
#: How often a batch is offered that makes the store raise: waiting mends outages, and hardly ever a bug.
BUG_TRIES: Final = 4
#: Seconds without a refusal after which an outage is over: a spool at its bound gets room by and by.
SETTLED: Final = 3.0
#: Seconds between two tracebacks of batches given up.
TELL_SECONDS: Final = 10.0

log = structlog.get_logger("hepcat.store")


class Storing:
    """Moves batches from the queue into the store until the queue is closed and empty."""

    def __init__(self, queue: BatchQueue, store: Store, name: str = "lake") -> None:
        self._queue = queue
        self._store = store
        #: what the store says is wrong, None while it stores
        self.trouble: str | None = None
        self._told = ""  # of the outage that the operator knows of
        self._since = self._well_since = 0.0
        self._refused_before = 0
        self._told_losses = False
        self._give_up_at: float | None = None
        self._bug: Exception | None = None  # what the store raised last, where that is a bug
        self._told_bug = ""
        self._tell_bug_again = 0.0
        self._wake = threading.Event()
        self._log = log if name == "lake" else log.bind(store=name)
        self._thread = threading.Thread(target=self._run, name=f"store {name}", daemon=True)

    def start(self) -> None:
        """Begin to store."""
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """Store what is queued, then end; give up what the store does not take for so long."""
        self._give_up_at = time.monotonic() + seconds
        self._queue.close()
        self._wake.set()

    def join(self, seconds: float) -> bool:
        """Wait for the end, at most so long; return whether it has come."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        prefer_this_thread()
        while True:
            item = self._queue.get(timeout=1.0)
            if item is not None:
                self._queue.done(item, self._keep(item))
            self._tell_over()
            if item is None and self._queue.closed:
                self._tell_over(settled=True)
                return

    def _keep(self, item: Queued) -> Drop | None:
        """Append one batch, however long an outage takes; return None, or the reason why it is lost."""
        wait = FIRST_WAIT
        bugs = 0
        while True:
            reason = self._append(item)
            if reason is None:
                return None
            bugs = bugs + 1 if self._bug is not None else 0
            if bugs == BUG_TRIES:
                self._tell_given_up(item.batch.n)
                return reason
            if self._give_up_at is not None and time.monotonic() + wait > self._give_up_at:
                return reason
            self._tell_losses()
            if self._wake.wait(wait):
                self._wake.clear()  # `stop` ends one wait: a store that is away is not asked without a pause
            wait = min(wait * 2, LONGEST_WAIT)

    def _append(self, item: Queued) -> Drop | None:
        """Offer the batch once; return None, or the reason why the store did not take it."""
        self._bug = None
        try:
            self._store.append(item.batch)
        except StoreUnavailable as error:
            self._note_trouble(str(error), error.drop, hint=error.hint)
            return error.drop
        except Exception as error:  # a bug of ours: loud, but capture goes on and nothing is lost yet
            self._bug = error
            self._note_trouble(f"{type(error).__name__}: {error}", Drop.STORE_FAILED, bug=True)
            return Drop.STORE_FAILED
        if self.trouble is not None:
            self._well_since = time.monotonic()
            self.trouble = None
            self._queue.refusal = Drop.QUEUE_FULL
        return None

    def _tell_over(self, settled: bool = False) -> None:
        """Tell the operator, once an outage, that it is over."""
        if not self._told or self.trouble is not None:
            return
        if settled or time.monotonic() >= self._well_since + SETTLED:
            lost = self._queue.refused - self._refused_before
            self._log.info("storing again", after_seconds=round(self._well_since - self._since, 1), lost=lost)
            self._told = ""

    def _tell_losses(self) -> None:
        """Tell the operator, once an outage, that memory is full and messages are being lost."""
        if not self._told_losses and self._queue.refused > self._refused_before:
            self._told_losses = True
            self._log.error(
                "memory is full: messages are being dropped", reason=self._queue.refusal.name.lower()
            )

    def _tell_given_up(self, records: int) -> None:
        """Tell the operator that a bug has lost records; the traceback of the same bug once in a while."""
        words, now = repr(self._bug), time.monotonic()
        fresh = words != self._told_bug or now >= self._tell_bug_again
        if fresh:
            self._told_bug, self._tell_bug_again = words, now + TELL_SECONDS
        self._log.error(
            "messages cannot be stored, and are lost; please report this bug",
            messages=records,
            error=words,
            exc_info=self._bug if fresh else None,
        )

    def _note_trouble(self, message: str, drop: Drop, hint: str = "", bug: bool = False) -> None:
        """Tell the operator, once a change of what is wrong."""
        if not self._told:
            self._since = time.monotonic()
            self._refused_before = self._queue.refused
            self._told_losses = False
        if message != self._told:
            self._log.error(
                "cannot store; keeping messages in memory",
                error=message,
                room=self._queue.max_octets - self._queue.octets,
                **({"hint": hint} if hint else {}),
                exc_info=bug,
            )
        self.trouble = self._told = message
        self._queue.refusal = drop
