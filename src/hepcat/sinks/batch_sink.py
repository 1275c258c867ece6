"""A sink that keeps records on this machine: a bounded queue of batches, and one thread that keeps them.

In: rows of batches. Out: batches of their own memory, one after the other, to a Keeper. What can go wrong:
the keeper is slow or cannot keep (disk full): its batch is offered again and again while the queue fills to
its bound, then records are counted as SINK_FULL; the operator is told once a change of state. A batch
that makes the keeper raise anything else than what it may is a bug: counted as SINK_FAILED, and told.
"""

import threading
import time
from collections import deque
from typing import Final, Protocol

import numpy as np
import structlog

from hepcat.batch.drops import Drop
from hepcat.batch.edits import Edits
from hepcat.batch.layout import Array, Batch
from hepcat.errors import HepcatError
from hepcat.sinks.edited import edited_copy
from hepcat.sinks.sink import SinkTally

_PAUSES: Final = (0.1, 2.0)
#: What a row costs beside its octets and slices.
_ROW: Final = 80
_BATCH: Final = 8192

log = structlog.get_logger("hepcat.sink")


class Keeper(Protocol):
    """What keeps the batches. One thread calls keep and tend; open comes before, close after."""

    def open(self) -> None:
        """Open what is written to. Raises HepcatError."""

    def keep(self, batch: Batch) -> None:
        """Keep every record. Raises OSError or HepcatError where that has to be tried again."""

    def tend(self) -> None:
        """Do what time asks for; called a few times a second."""

    def close(self) -> None:
        """Close it. Raises nothing."""


class _Outlet:
    """One worker's way in."""

    def __init__(self, sink: "BatchSink") -> None:
        self._sink = sink

    def send(self, batch: Batch, rows: Array, edits: Edits | None = None) -> None:
        """Take rows (int64, ascending) of a batch with the plan's changes."""
        if len(rows) == 0:
            return
        try:
            copy = edited_copy(batch, rows, edits)
        except Exception:  # a bug of ours: loud, but capture goes on
            self._sink.lose(len(rows))
            log.exception("records cannot be kept; please report this bug", target=self._sink.name)
            return
        self._sink.put(copy, len(rows))


class BatchSink:
    """The queue and the thread before a keeper."""

    def __init__(self, name: str, keeper: Keeper, memory: int) -> None:
        self.name = name
        self.tally = SinkTally(name)
        self._keeper = keeper
        self._memory = memory
        self._queue: deque[tuple[Batch, int]] = deque()
        self._octets = 0
        self._changed = threading.Condition()
        self._deadline: float | None = None
        self._trouble = ""
        self._thread = threading.Thread(target=self._run, name="sink", daemon=True)

    def open_outlet(self) -> _Outlet:
        """Return a new outlet for one worker's thread."""
        return _Outlet(self)

    def put(self, batch: Batch, taken: int) -> None:
        """Queue a batch of our own memory, made of `taken` records. Never waits."""
        octets = batch.octets + batch.n * (4 * batch.fields.shape[1] + _ROW) + _BATCH
        with self._changed:
            self.tally.taken += taken
            self.tally.drops[Drop.OVERSIZE] += taken - batch.n
            if self._deadline is not None:
                self.tally.drops[Drop.SINK_FAILED] += batch.n
            elif self._octets and self._octets + octets > self._memory:
                self.tally.drops[Drop.SINK_FULL] += batch.n
            else:
                self._octets += octets
                self._queue.append((batch, octets))
                self.tally.waiting += batch.n
                self._changed.notify()

    def lose(self, records: int) -> None:
        """Count records that could not be copied."""
        with self._changed:
            self.tally.taken += records
            self.tally.drops[Drop.SINK_FAILED] += records

    def start(self) -> None:
        """Open and begin to keep. Raises HepcatError."""
        self._keeper.open()
        self._thread.start()

    def stop(self, drain_seconds: float) -> None:
        """Keep what waits, for at most so long where that fails, and close."""
        with self._changed:
            self._deadline = time.monotonic() + drain_seconds
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join()
            self._keeper.close()

    def tallies(self) -> list[SinkTally]:
        """Return the counts."""
        with self._changed:
            return [self.tally.copy()]

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._queue and self._deadline is None:
                    self._changed.wait(0.5)
                item = self._queue.popleft() if self._queue else None
            if item is not None:
                self._keep(*item)
            elif self._deadline is not None:
                return
            try:
                self._keeper.tend()
            except (OSError, HepcatError) as error:
                self._tell(error)

    def _keep(self, batch: Batch, octets: int) -> None:
        """Offer a batch until it is kept, or the end has come."""
        pause = _PAUSES[0]
        lost: Drop | None = None
        while True:
            try:
                self._keeper.keep(batch)
                if self._trouble:
                    log.info("keeping records again", target=self.name)
                self._trouble = ""
                break
            except (OSError, HepcatError) as error:
                self._tell(error)
            except Exception:  # a bug of ours: loud, but the next batch gets its turn
                log.exception("records cannot be kept; please report this bug", target=self.name)
                lost = Drop.SINK_FAILED
                break
            if self._deadline is not None and time.monotonic() + pause > self._deadline:
                lost = Drop.SINK_FAILED
                break
            time.sleep(pause)
            pause = min(2 * pause, _PAUSES[1])
        with self._changed:
            self._octets -= octets
            self.tally.waiting -= batch.n
            if lost is None:
                self.tally.sent += batch.n
                self.tally.octets += int(np.sum(batch.fields[:, 0, 1], dtype=np.int64))
            else:
                self.tally.drops[lost] += batch.n

    def _tell(self, error: OSError | HepcatError) -> None:
        words = (error.strerror if isinstance(error, OSError) else None) or str(error)
        if words != self._trouble:
            log.error("cannot keep records; they wait in memory", target=self.name, error=words)
        self._trouble = words
