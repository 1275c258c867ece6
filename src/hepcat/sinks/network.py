"""The sinks that send over the network: which target URL gets which record, and by what way.

In: rows of batches. Out: messages on each URL's path (UDP straight from the worker, streams and HTTP by a
backlog and a thread). What can go wrong: see the paths. A record whose HEP version cannot express it is
counted once as HEP_INEXPRESSIBLE, one that a plan made too long as OVERSIZE.

Several URLs, by mode. all: each gets everything. failover: the first that is alive. balance: by a hash of the
Call-ID (RTCP by the correlation id that a plan gave it), so that a call stays together; the share of a target
that is away goes to the others, by the same hash. What already waits for a URL stays there, but for fail-over
among tcp:// and tls:// alone: these have one backlog, and it goes to whoever answers.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, Protocol

import numpy as np
import structlog

from hepcat.batch.drops import Drop
from hepcat.batch.edits import Edits
from hepcat.batch.layout import Array, Batch
from hepcat.batch.schema import FIELD_INDEX
from hepcat.plans.match import hash_field, hash_patch
from hepcat.sinks.edited import edited
from hepcat.sinks.sink import SinkTally

Mode = Literal["all", "failover", "balance"]
#: Rows of a batch as (buffer, offsets) of messages.
Encode = Callable[[Batch, Array], tuple[Array, Array]]

_CALL_ID: Final = FIELD_INDEX["call_id"]
_CORRELATION: Final = FIELD_INDEX["correlation_id"]
#: Seed of the hash that chooses a target: not that of sampling, which would leave some targets without calls.
_SEED: Final = 0x7A
_TELL_EVERY: Final = 1000

log = structlog.get_logger("hepcat.sink")


class Path(Protocol):
    """A way to one URL (or to several that stand in for each other)."""

    @property
    def alive(self) -> bool:
        """Whether the target is believed to be there."""

    def send(self, buffer: Array, offsets: Array) -> None:
        """Take messages; copies what it keeps, never raises for what the target does."""


def spread(batch: Batch, edits: Edits | None) -> Array:
    """Return a hash of each row's call, uint64: Call-ID, else correlation id, else the time."""
    n = batch.n
    found = np.zeros(n, dtype=np.uint64)
    hash_field(batch, _CALL_ID, np.ones(n, dtype=np.bool_), found, _SEED)
    if edits is not None and edits.correlation_id is not None:
        hash_patch(edits.correlation_id, found == 0, found, _SEED)
    hash_field(batch, _CORRELATION, found == 0, found, _SEED)
    return np.where(found == 0, batch.ts[:n].astype(np.uint64), found)


class NetworkOutlet:
    """One worker's way to all URLs of a target."""

    def __init__(self, name: str, paths: Sequence[Any], encode: Encode, mode: Mode) -> None:
        self.tally = SinkTally(name)
        self.paths = tuple(paths)
        self._encode = encode
        self._mode: Mode = mode if len(self.paths) > 1 else "all"
        self._reads_sip: bool = getattr(encode, "reads_sip", False)
        self._bugs = 0

    def send(self, batch: Batch, rows: Array, edits: Edits | None = None) -> None:
        """Take rows (int64, ascending) of a batch with the plan's changes."""
        if len(rows) == 0:
            return
        try:
            self._route(batch, rows, edits)
        except Exception:  # a bug of ours: loud, but capture goes on
            self._bugs += 1
            self._lose(Drop.SINK_FAILED, len(rows))
            if self._bugs % _TELL_EVERY == 1:
                log.exception("records cannot be sent; please report this bug", target=self.tally.name)

    def _lose(self, reason: Drop, records: int) -> None:
        self.tally.taken += records
        self.tally.drops[reason] += records

    def _route(self, batch: Batch, rows: Array, edits: Edits | None) -> None:
        if self._mode == "balance":
            alive = [path.alive for path in self.paths]
            choice = choose(spread(batch, edits)[rows], alive)
            for i, path in enumerate(self.paths):
                some = rows[choice == i]
                if len(some):
                    self._send([path], batch, some, edits)
                if not alive[i]:
                    self._probe(path, batch, rows, edits)
            return
        paths = self.paths
        if self._mode == "failover":
            alive = [path.alive for path in paths]
            first = alive.index(True) if True in alive else 0
            for path in paths[:first]:
                self._probe(path, batch, rows, edits)
            paths = paths[first : first + 1]
        self._send(paths, batch, rows, edits)

    def _probe(self, path: Any, batch: Batch, rows: Array, edits: Edits | None) -> None:
        """Find out, with one record more than its share, whether a target is back that gives no other
        sign."""
        if hasattr(path, "probe"):
            path.probe(*self._encode(*edited(batch, rows[:1], edits)))

    def _send(self, paths: Sequence[Any], batch: Batch, rows: Array, edits: Edits | None) -> None:
        """Encode rows once, for all these paths."""
        changed, chosen = edited(batch, rows, edits, self._reads_sip)
        if len(chosen) < len(rows):
            self._lose(Drop.OVERSIZE, len(rows) - len(chosen))
        buffer, offsets = self._encode(changed, chosen)
        empty = int(np.count_nonzero(offsets[1:] == offsets[:-1]))
        if empty:
            self._lose(Drop.HEP_INEXPRESSIBLE, empty)
        for path in paths:
            path.send(buffer, offsets)


def choose(hashes: Array, alive: Sequence[bool]) -> Array:
    """Return for each hash the index of its target; of those that are alive, where any is."""
    n = np.uint64(len(alive))
    choice = (hashes % n).astype(np.int64)
    there = np.flatnonzero(alive)
    if 0 < len(there) < len(alive):
        away = ~np.asarray(alive)[choice]
        again = hashes // n % np.uint64(len(there))
        choice = np.where(away, there[again.astype(np.int64)], choice)
    return choice


class NetworkSink:
    """A named target of one or more URLs."""

    def __init__(
        self,
        name: str,
        encode: Encode,
        mode: Mode,
        shared: Sequence[Any],
        writers: Sequence[Any],
        targets: Sequence[Any],
    ) -> None:
        """shared: for each URL a path for all workers, or a function that makes one for each.

        writers, targets: what has threads, to be started and stopped.
        """
        self.name = name
        self._encode = encode
        self._mode: Mode = mode
        self._shared = tuple(shared)
        self._writers = tuple(writers)
        self._targets = tuple(targets)
        self._outlets: list[NetworkOutlet] = []

    def open_outlet(self) -> NetworkOutlet:
        """Return a new outlet for one worker's thread."""
        paths = [path() if callable(path) else path for path in self._shared]
        outlet = NetworkOutlet(self.name, paths, self._encode, self._mode)
        self._outlets.append(outlet)
        return outlet

    def start(self) -> None:
        """Begin to send; called once, after privileges were dropped."""
        for part in (*self._targets, *self._writers):
            part.start()

    def stop(self, drain_seconds: float) -> None:
        """Send what waits for at most so long, spool the rest where a spool is set, and close."""
        for writer in self._writers:
            writer.stop(drain_seconds)
        for writer in self._writers:
            writer.join()
        for target in self._targets:
            target.stop()
        for outlet in self._outlets:
            for path in outlet.paths:
                if hasattr(path, "close"):
                    path.close()

    def tallies(self) -> list[SinkTally]:
        """Return the counts, one or more entries."""
        own = [path.tally for outlet in self._outlets for path in outlet.paths if hasattr(path, "tally")]
        return [
            *(outlet.tally for outlet in self._outlets if outlet.tally.taken),
            *own,
            *(writer.backlog.counts() for writer in self._writers),
        ]
