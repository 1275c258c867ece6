"""When each call began, kept in memory: a search for the newest calls need not look through the day before.

In: Parquet files of table sip, and the journal's records. Out: `Starts.of(files)`, which tells for hashes
of Call-IDs the time of the first message that these files hold. What can go wrong: duckdb.IOException where
a file went away; None where it cannot tell: a large file is not read yet, there are too many calls, or
times are infinite. Then who asks has to look for themselves.

A file never changes, so it is read once: the 64-bit hashes of its Call-IDs in order, and beside each the
time of its first message. 20 million messages are some 4 million such pairs, 16 octets each, and 2 to 3
seconds of CPU. Small files, as they come while messages are stored, are read when they are asked for; large
ones by a thread. That two of a million calls share a hash, and one of them is taken to have begun with the
other, is less likely than one in ten million.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import duckdb
import numpy as np
import numpy.typing as npt

from hepcat.stores.lake.catalog import ParquetFile

Hashes = npt.NDArray[np.uint64]
Times = npt.NDArray[np.int64]
#: Pairs that are kept at most: 192 MiB.
_AT_MOST: Final = 12_000_000
#: A file of more records is not waited for.
_LARGE: Final = 1_500_000
#: Of a file that was not read yet the calls are guessed.
_MESSAGES_A_CALL: Final = 4
#: No call of these is in the file.
NEVER: Final = np.iinfo(np.int64).max


class Known:
    """The calls of one file, or of the journal: hashes in order, and when each began."""

    __slots__ = ("first", "hashes")

    def __init__(self, hashes: Hashes, first: Times) -> None:
        self.hashes = hashes
        self.first = first

    def of(self, hashes: Hashes) -> Times:
        """Return the first time of each hash, NEVER where it is not there."""
        if not len(self.hashes):
            return np.full(len(hashes), NEVER)
        at = np.minimum(np.searchsorted(self.hashes, hashes), len(self.hashes) - 1)
        return np.where(self.hashes[at] == hashes, self.first[at], NEVER)


class Begun:
    """When calls began, as far as some files and the journal of one moment tell."""

    def __init__(self, parts: Sequence[Known]) -> None:
        self._parts = parts

    def of(self, hashes: Hashes) -> Times:
        """Return the time of the first message of each, NEVER where there is none."""
        order = np.argsort(hashes)  # neighbours are found near each other: several times faster
        first = np.full(len(hashes), NEVER)
        for part in self._parts:
            np.minimum(first, part.of(hashes[order]), out=first)
        found = np.empty_like(first)
        found[order] = first
        return found

    def after(self, hashes: Hashes, since: int | None) -> tuple[Times, npt.NDArray[np.bool_]]:
        """Return the first times at or after `since`, and for which of them that cannot be told from here.

        A file that holds a message before `since` does not say what it holds after it.
        """
        first = self.of(hashes)
        return first, np.zeros(len(hashes), np.bool_) if since is None else first < since


class Starts:
    """The calls of a lake's files. Threads may share one."""

    def __init__(self, connect: Callable[[], duckdb.DuckDBPyConnection]) -> None:
        """connect: gives a connection of its own to read files with."""
        self._connect = connect
        self._reader = connect()  # of the thread
        self._known: dict[ParquetFile, Known | None] = {}  # None: it has infinite times
        self._mutex = threading.Lock()
        self._wanted: set[ParquetFile] = set()
        self._reading: threading.Thread | None = None
        self._closed = False

    def of(self, files: Sequence[ParquetFile], connection: duckdb.DuckDBPyConnection) -> Begun | None:
        """Return when the calls of these files and of a snapshot's journal began; None: not known (yet)."""
        with self._mutex:
            for f in files:
                if f in self._known:
                    self._known[f] = self._known.pop(f)  # the longest unused ones stand in front
            missing = [f for f in files if f not in self._known]
            if missing and self._size(files) > _AT_MOST:
                return None
            large = [f for f in missing if f.last - f.first >= _LARGE]
            if large:
                self._read_soon(large)
                return None
            for f in missing:
                self._keep(f, _read(self._connect(), _FILE.format(f.path.replace("'", "''"))))
            parts = [self._known[f] for f in files]
        parts.append(_read(connection, "_sip_journal"))
        known = [part for part in parts if part is not None]
        return Begun(known) if len(known) == len(parts) else None

    def _size(self, files: Iterable[ParquetFile]) -> int:
        """Return how many pairs these files have; about, where they were not read yet."""
        known = ((f, self._known.get(f)) for f in files)
        return sum(len(k.hashes) if k else (f.last - f.first) // _MESSAGES_A_CALL for f, k in known)

    def _keep(self, f: ParquetFile, known: Known | None) -> None:
        """Remember a file; forget others, the longest unused first, where that is too much."""
        self._known[f] = known
        while len(self._known) > 1 and self._size(self._known) > _AT_MOST:
            del self._known[next(iter(self._known))]

    def _read_soon(self, files: Sequence[ParquetFile]) -> None:
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
                f = self._wanted.pop()
                if f in self._known:
                    continue
            try:
                found = _read(self._reader, _FILE.format(f.path.replace("'", "''")))
            except duckdb.Error:
                continue  # it went away, or cannot be read: searches will say so
            with self._mutex:
                self._keep(f, found)

    def close(self) -> None:
        """Read no more."""
        self._closed = True
        reading = self._reading
        if reading is not None:
            self._reader.interrupt()
            reading.join(10)


_FILE: Final = "read_parquet(['{}'], hive_partitioning = false)"


def _read(connection: duckdb.DuckDBPyConnection, relation: str) -> Known | None:
    """Read a file, or the journal; None where a time is no number."""
    found = connection.sql(
        "SELECT hash(call_id) AS hash, epoch_us(min(ts)) AS first, bool_and(isfinite(ts)) AS finite "
        f"FROM {relation} WHERE call_id IS NOT NULL GROUP BY hash ORDER BY hash"
    ).to_arrow_table()
    if not all(chunk.true_count == len(chunk) for chunk in found["finite"].chunks):
        return None
    return Known(found["hash"].to_numpy(), found["first"].to_numpy())
