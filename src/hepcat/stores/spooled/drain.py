"""A connection's thread: pieces of the spool go into the database, once each, however often it fails.

In: a spool, and a way to open writers (stores/writer.py). Out: rows in the database, counts in the ledger.
What can go wrong, and what is done:
- the database is away, or nobody knows whether it has committed: wait, open again, ask it what it has of the
  piece, write what is missing (StoreUnavailable; a HepcatError of any kind, for people can mend that);
- it refuses the batch for now (BatchRefused): the same again, `insert_retries` times within
  `insert_retry_timeout` seconds of the first refusal; then in halves, down to single rows, which are tried as
  often; a row that is refused alone is given up and counted. Where row after row is refused and none taken,
  the database is at fault: each is then tried for all of `insert_retry_timeout`;
- anything else is a bug of ours: BUG_TRIES times, then the batch is set aside in a file, counted and told.
"""

import contextlib
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from hepcat.batch.drops import Drop
from hepcat.batch.layout import Batch
from hepcat.config.databases import DatabaseSettings
from hepcat.errors import HepcatError
from hepcat.stores.lake.journal import JournalWriter
from hepcat.stores.spooled.cut import slice_rows
from hepcat.stores.spooled.ledger import Ledger
from hepcat.stores.spooled.ranges import left, merged, size, within
from hepcat.stores.spooled.spool import Piece, Spool
from hepcat.stores.writer import BatchRefused, BatchWriter

FIRST_WAIT: Final = 0.1
LONGEST_WAIT: Final = 10.0
#: Tries of a batch that makes the writer raise what it should not.
BUG_TRIES: Final = 4
#: Retries of a refused batch where `insert_retries` is 0, with which the classic server loses the row: what
#: databases refuse so (deadlock, lock wait, serialization) is meant to be tried again.
TRANSIENT_RETRIES: Final = 4
MAINTAIN_SECONDS: Final = 3600.0
#: Not sooner after the last time, however often the connection is opened.
MAINTAIN_PAUSE: Final = 60.0


#: Rows refused one after the other, none taken in between, after which the rows are not to blame.
SUSPICIOUS: Final = 3


def wait_after(tries: int) -> float:
    """Return how long to wait after so many tries. An outage can have any number of them."""
    return float(min(FIRST_WAIT * 2 ** min(tries - 1, 30), LONGEST_WAIT))


@dataclass(slots=True, eq=False)
class Part:
    """Records of a piece that are written in one transaction, and how that went so far."""

    first: int
    batch: Batch
    bug: Exception | None = None
    bugs: int = 0
    refusals: int = 0
    refused_at: float = 0.0
    half: bool = False  # of a batch that was refused too often

    @property
    def last(self) -> int:
        """The number of its last record."""
        return self.first + self.batch.n - 1


class Closing(threading.Event):
    """Set when the store closes; pieces may be written until `deadline`."""

    deadline: float = 0.0

    def is_over(self) -> bool:
        """Whether there is no time left."""
        return self.is_set() and time.monotonic() >= self.deadline


class Stopped(Exception):
    """The store closes: what is not written stays in the spool."""


class Maintenance:
    """When the tables were looked after last, by whichever connection; the others wait for it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.last = -MAINTAIN_SECONDS

    def is_due(self, opened: bool) -> bool:
        """Whether it is time: once an hour, and sooner where the connection was opened just now."""
        return time.monotonic() - self.last >= (MAINTAIN_PAUSE if opened else MAINTAIN_SECONDS)


class Drain:
    """One connection. `settings` returns the current ones."""

    def __init__(
        self,
        number: int,
        spool: Spool,
        ledger: Ledger,
        open_writer: Callable[[], BatchWriter],
        settings: Callable[[], DatabaseSettings],
        closing: Closing,
        maintenance: Maintenance,
    ) -> None:
        self._number = number
        self._spool = spool
        self._ledger = ledger
        self._open_writer = open_writer
        self._settings = settings
        self._closing = closing
        self._maintenance = maintenance
        self._writer: BatchWriter | None = None
        self._open = False
        self._failures = 0  # since something was written
        self._given_up = 0  # rows of the piece in hand
        self._last_refusal = ""
        self._refused_in_a_row = 0
        self.thread = threading.Thread(
            target=self._run, name=f"store-{settings().name}-{number}", daemon=True
        )

    def _run(self) -> None:
        with contextlib.suppress(Stopped):
            while not self._closing.is_over():
                try:
                    self._step()
                except Stopped:
                    break
                except Exception as error:  # the spool cannot be read, or a bug of ours
                    self._fail(error)
        self._close()

    def _step(self) -> None:
        """Write one piece, if there is one within a second."""
        if not self._open:
            self._connect(deque())
            return
        if self._maintenance.is_due(opened=False):
            self._maintain(opened=False)
            return
        settings = self._settings()
        piece = self._spool.take(settings.rows, settings.linger, timeout=1.0)
        if piece is not None:
            self._write_piece(piece)
        elif self._closing.wait(0.01) and self._spool.unread == 0:
            raise Stopped

    def _write_piece(self, piece: Piece) -> None:
        """Write until every record of the piece is settled. Raises Stopped, which leaves the rest."""
        parts = deque([Part(piece.first, piece.batch)])
        while parts:
            if self._closing.is_over():
                raise Stopped
            try:
                if self._open:
                    self._write(parts)
                else:
                    self._connect(parts)
            except Stopped:
                raise
            except Exception as error:  # what was given up cannot be noted: the disk, or a bug of ours
                self._fail(error)
        self._spool.done(piece)
        if self._given_up:
            self._ledger.say("rows_refused", rows=self._given_up, error=self._last_refusal)
            self._given_up = 0

    def _write(self, parts: deque[Part]) -> None:
        """Try the first part once, and decide what becomes of it."""
        part = parts[0]
        if part.bugs >= BUG_TRIES:  # and the database, asked again meanwhile, does not have it
            self._set_aside(part)
            parts.popleft()
            return
        assert self._writer is not None
        try:
            written = self._writer.write(part.batch, part.first, self._spool.floor)
        except BatchRefused as error:
            self._refused(parts, error)
        except HepcatError as error:
            self._close()
            self._fail(error, quietly=True)
        except Exception as error:
            self._close()
            part.bug, part.bugs = error, part.bugs + 1
            if part.bugs < BUG_TRIES:
                self._ledger.worry(self._number, error)
                self._pause(wait_after(part.bugs))
        else:
            self._ledger.write(written, part.batch.n)
            self._spool.settle(part.first, part.last)
            parts.popleft()
            self._failures = self._refused_in_a_row = 0
            self._ledger.relieve(self._number)

    # -- the connection

    def _connect(self, parts: deque[Part]) -> None:
        """Open the writer, and leave out of the parts what the database has. Raises Stopped."""
        try:
            if self._writer is None:
                self._writer = self._open_writer()
            ranges = merged(self._writer.open(self._spool.identity.writer))
        except Exception as error:
            self._close()
            self._fail(error)
            return
        self._open = True
        self._maintain(opened=True)
        self._ledger.learn(self._spool.skip(ranges))
        for part in [parts.popleft() for _ in range(len(parts))]:
            rest = left(part.first, part.last, ranges)
            if rest == [(part.first, part.last)]:
                parts.append(part)
                continue
            for first, last in rest:
                batch = slice_rows(part.batch, first - part.first, last + 1 - part.first)
                parts.append(replace(part, first=first, batch=batch))
            known = within(part.first, part.last, ranges)
            self._ledger.learn(size(known))
            for first, last in known:
                self._spool.settle(first, last)
        if not parts:
            self._failures = 0
            self._ledger.relieve(self._number)

    def _close(self) -> None:
        self._open = False
        if self._writer is not None:
            with contextlib.suppress(Exception):  # it failed already; what matters is told elsewhere
                self._writer.close()

    def _fail(self, error: Exception, quietly: bool = False) -> None:
        """Wait longer from failure to failure. quietly: the first may only be a connection grown old."""
        self._failures += 1
        if quietly and self._failures == 1:
            return
        self._ledger.worry(self._number, error)
        self._pause(wait_after(self._failures))

    def _pause(self, seconds: float) -> None:
        """Wait, unless the store closes: then there is no time for it."""
        if self._closing.wait(seconds):
            raise Stopped

    # -- batches that are not taken

    def _refused(self, parts: deque[Part], error: BatchRefused) -> None:
        """Try the part again, halve it, or give its only row up."""
        part, settings = parts[0], self._settings()
        part.refusals += 1
        now = time.monotonic()
        part.refused_at = part.refused_at or now
        retries = settings.insert_retries or TRANSIENT_RETRIES
        single = part.batch.n == 1
        patient = single and self._refused_in_a_row >= SUSPICIOUS
        wait = wait_after(part.refusals)
        in_time = now + wait <= part.refused_at + settings.insert_retry_timeout
        if in_time and (patient or (part.refusals <= retries and (single or not part.half))):
            if part.refusals > 1:
                self._ledger.worry(self._number, error)
            self._pause(wait)
            return
        if single:
            self._refused_in_a_row += 1
            self._spool.identity.give_up(part.first, part.last)
            self._ledger.drop(Drop.ROW_REFUSED, 1)
            self._spool.settle(part.first, part.last)
            self._given_up, self._last_refusal = self._given_up + 1, str(error)
        parts.popleft()
        if single:
            if not patient:
                self._ledger.relieve(self._number)
            return
        middle = part.batch.n // 2
        for begin, end in ((middle, part.batch.n), (0, middle)):
            parts.appendleft(Part(part.first + begin, slice_rows(part.batch, begin, end), half=True))

    def _set_aside(self, part: Part) -> None:
        """Keep records that meet a bug of ours in a file of their own. Raises OSError."""
        path = self._spool.folder / f"refused-{part.first:019d}.arrows"
        path.unlink(missing_ok=True)
        journal = JournalWriter(path, part.first, part.batch.extra)
        try:
            journal.append(part.batch)
            journal.sync()
        finally:
            journal.close()
        self._spool.identity.give_up(part.first, part.last)
        self._ledger.drop(Drop.STORE_FAILED, part.batch.n)
        self._spool.settle(part.first, part.last)
        self._ledger.say(
            "batch_set_aside",
            path=str(path),
            records=part.batch.n,
            error=repr(part.bug),
            traceback="".join(traceback.format_exception(part.bug)) if part.bug else "",
        )
        self._ledger.relieve(self._number)

    def _maintain(self, opened: bool) -> None:
        """Look after the tables where it is time to; errors are told, and writing goes on."""
        with self._maintenance.lock:
            if self._writer is None or not self._maintenance.is_due(opened):
                return
            self._maintenance.last = time.monotonic()
            try:
                self._writer.maintain()
            except Exception as error:
                self._close()
                facts = {"hint": error.hint} if isinstance(error, HepcatError) and error.hint else {}
                if not isinstance(error, HepcatError):
                    facts["traceback"] = "".join(traceback.format_exception(error))
                self._ledger.say("maintain_failed", error=str(error) or repr(error), **facts)
