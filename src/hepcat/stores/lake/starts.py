"""When each call began and ended, and how, in memory: the newest calls need no look through the day before.

In: Parquet files of table sip with how many records each has. Out: of each file the hashes of its Call-IDs,
the times of the first and the last message of each, and what became of it (outcome.py). `Begun` tells the
times in several files for hashes.
What can go wrong: duckdb.IOException where a file went away; None where it cannot tell: a large file is not
read yet, there are too many calls, or times are infinite. Then who asks has to look for themselves.

A file never changes, so it is read once: the 64-bit hashes of its Call-IDs in order, and beside each the time
of its first message. 20 million messages are some 4 million such entries, 22 octets each, and 2 to 3 seconds
of CPU. Small files, as they come while messages are stored, are read when they are asked for; large ones by a
thread. A file that others were merged into holds the calls of those: it is not read. That two of a million
calls share a hash, and one of them is taken to have begun with the other, is less likely than one in ten
million.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import duckdb
import numpy as np
import numpy.typing as npt

from hepcat.stores.lake.catalog import ParquetFile
from hepcat.stores.lake.outcome import HIGHEST

Hashes = npt.NDArray[np.uint64]
Times = npt.NDArray[np.int64]
Outcomes = npt.NDArray[np.uint16]
#: Files, and how many records each has.
Files = Mapping[ParquetFile, int]
#: Calls that are kept at most: 220 MB.
_AT_MOST: Final = 10_000_000
#: A file of more records is not waited for.
_LARGE: Final = 1_500_000
#: Of a file that was not read yet the calls are guessed.
_MESSAGES_A_CALL: Final = 4
#: No call of these is in the file.
NEVER: Final = np.iinfo(np.int64).max
#: Milliseconds: of a longer call the end is not known.
_LONGEST: Final = 2**32 - 1


class Known:
    """The calls of one file, or of the journal: hashes in order, when each began and ended, and how."""

    __slots__ = ("first", "hashes", "lengths", "outcomes", "records")

    def __init__(
        self, hashes: Hashes, first: Times, last: Times, outcomes: Outcomes, records: int = 0
    ) -> None:
        """Keep lengths as milliseconds, rounded up: half as large. records: of the file."""
        self.hashes = hashes
        self.first = first
        self.lengths = np.minimum((last - first + 999) // 1000, _LONGEST).astype(np.uint32)
        self.outcomes = outcomes
        self.records = records

    @property
    def last(self) -> Times:
        """When each had ended, if not later."""
        last: Times = self.first + 1000 * self.lengths.astype(np.int64)
        return last

    def where(self, wanted: npt.NDArray[np.bool_]) -> "Known":
        """Return some of the calls."""
        last = self.last[wanted]
        return Known(self.hashes[wanted], self.first[wanted], last, self.outcomes[wanted])

    def within(self, hashes: Hashes, first: Times, last: Times) -> None:
        """Take the times of these hashes, as far as they are here, into those known so far."""
        if not len(self.hashes):
            return
        at = np.minimum(np.searchsorted(self.hashes, hashes), len(self.hashes) - 1)
        here = self.hashes[at] == hashes
        begun, lengths = self.first[at], self.lengths[at].astype(np.int64)
        ended = np.where(lengths < _LONGEST, begun + 1000 * lengths, NEVER)
        np.minimum(first, begun, out=first, where=here)
        np.maximum(last, ended, out=last, where=here)


class Begun:
    """When calls began, as far as some files and the journal of one moment tell."""

    def __init__(self, parts: Sequence[Known]) -> None:
        self._parts = parts

    def of(self, hashes: Hashes) -> tuple[Times, Times]:
        """Return when each began, NEVER where it is not there, and until when it surely had ended."""
        order = np.argsort(hashes)  # neighbours are found near each other: several times faster
        first, last = np.full(len(hashes), NEVER), np.full(len(hashes), -NEVER)
        for part in self._parts:
            part.within(hashes[order], first, last)
        begun, ended = np.empty_like(first), np.empty_like(last)
        begun[order], ended[order] = first, last
        return begun, ended


class Starts:
    """The calls of a lake's files. Threads may share one."""

    def __init__(self, connect: Callable[[], duckdb.DuckDBPyConnection]) -> None:
        """connect: gives a connection of its own to read files with."""
        self._connect = connect
        self._reader = connect()  # of the thread
        self._known: dict[ParquetFile, Known | None] = {}  # None: it has infinite times
        self._mutex = threading.Lock()
        self._wanted: dict[ParquetFile, int] = {}
        self._reading: threading.Thread | None = None
        self._closed = False

    def of(self, files: Files) -> list[Known | None] | None:
        """Return what is known of each file; None where one is not known (yet)."""
        with self._mutex:
            if self._closed:
                return None
            for f in files:
                if f in self._known:
                    self._known[f] = self._known.pop(f)  # the longest unused ones stand in front
            for f in files:
                if f not in self._known:
                    self._merge(f, files[f])
            missing = {f: records for f, records in files.items() if f not in self._known}
            if missing and self._size(files) > _AT_MOST:
                return None
            large = {f: records for f, records in missing.items() if records >= _LARGE}
            if large:
                self._read_soon(large)
                return None
            for f, records in missing.items():
                self._keep(f, read_calls(self._connect(), scan([f]), records=records))
            return [self._known[f] for f in files]

    def _size(self, files: Files) -> int:
        """Return how many calls these files have; about, where they were not read yet."""
        known = ((self._known.get(f), records) for f, records in files.items())
        return sum(len(k.hashes) if k else records // _MESSAGES_A_CALL for k, records in known)

    def _merge(self, f: ParquetFile, records: int) -> None:
        """Remember a file that others were merged into, where these are known and are all of it."""
        within = [g for g in self._known if g.date == f.date and f.first <= g.first and g.last <= f.last]
        parts: list[Known] = []
        end = -1
        for g in sorted(within, key=lambda g: (g.first, -g.last)):
            known = self._known[g]
            if g.first > end and known is not None:  # else it was merged into the one before
                parts.append(known)
                end = g.last
        if parts and sum(part.records for part in parts) == records:
            self._keep(f, joined(parts, records))
            for g in within:
                del self._known[g]

    def _keep(self, f: ParquetFile, known: Known | None) -> None:
        """Remember a file; forget others, the longest unused first, where that is too much."""
        self._known[f] = known
        while len(self._known) > 1 and sum(len(k.hashes) for k in self._known.values() if k) > _AT_MOST:
            del self._known[next(iter(self._known))]

    def _read_soon(self, files: Files) -> None:
        self._wanted.update(files)
        if self._reading is None and not self._closed:
            self._reading = threading.Thread(target=self._read_wanted, name="starts", daemon=True)
            self._reading.start()

    def _read_wanted(self) -> None:
        while True:
            with self._mutex:
                if not self._wanted or self._closed:
                    self._reading = None
                    return
                f, records = self._wanted.popitem()
                if f in self._known:
                    continue
            try:
                found = read_calls(self._reader, scan([f]), records=records)
            except duckdb.Error:
                continue  # it went away, or cannot be read: searches will say so
            with self._mutex:
                self._keep(f, found)

    def close(self) -> None:
        """Read no more; what is being read is waited for."""
        with self._mutex:
            self._closed = True
            reading = self._reading
        if reading is not None:
            self._reader.interrupt()
            reading.join(10)


_NONE: Final = Known(
    np.empty(0, np.uint64), np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.uint16)
)


def scan(files: Sequence[ParquetFile]) -> str:
    """Return the relation of the records of some files."""
    paths = ", ".join("'" + f.path.replace("'", "''") + "'" for f in files)
    return f"read_parquet([{paths}], hive_partitioning = false)"


def joined(parts: Sequence[Known], records: int = 0) -> Known:
    """Return the calls of all parts; there may be none."""
    parts = parts or [_NONE]
    hashes = np.concatenate([part.hashes for part in parts])
    order = np.argsort(hashes)
    hashes = hashes[order]
    begins = np.flatnonzero(np.concatenate(([True], hashes[1:] != hashes[:-1]))[: len(hashes)])
    first = np.minimum.reduceat(np.concatenate([part.first for part in parts])[order], begins)
    last = np.maximum.reduceat(np.concatenate([part.last for part in parts])[order], begins)
    outcomes = np.maximum.reduceat(np.concatenate([part.outcomes for part in parts])[order], begins)
    return Known(hashes[begins], first, last, outcomes, records)


def read_calls(
    connection: duckdb.DuckDBPyConnection, relation: str, condition: str = "true", records: int = 0
) -> Known | None:
    """Read a file, or the journal, or what meets a condition; None where a time is no number."""
    found = connection.sql(
        "SELECT hash(call_id) AS hash, epoch_us(min(ts)) AS first, epoch_us(max(ts)) AS last, "
        f"{HIGHEST} AS outcome, bool_and(isfinite(ts)) AS finite "
        f"FROM {relation} WHERE call_id IS NOT NULL AND {condition} GROUP BY hash ORDER BY hash"
    ).to_arrow_table()
    if not all(chunk.true_count == len(chunk) for chunk in found["finite"].chunks):
        return None
    hashes, first, last, outcomes = (found[name].to_numpy() for name in ("hash", "first", "last", "outcome"))
    return Known(hashes, first, last, outcomes, records)
