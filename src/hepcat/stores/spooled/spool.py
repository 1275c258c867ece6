"""The spool: batches on disk in the order they came, until the database has them.

In: `append`, from one thread. Out: `take`, to any number of threads, oldest first, as batches of consecutive
record numbers; `settle` and `done` say what became of them. What can go wrong: StoreUnavailable from `append`
(the bound is reached, or the disk is full: nothing was kept); HepcatError at start-up (identity.py); OSError
from `take`; a file that was damaged or vanished, which `take_damage` tells.

A folder holds journals NUMBER.arrows (stores/lake/journal.py), named by the number of their first record, the
next file where one is FILE_OCTETS long or the extra headers change, and the files of identity.py. Records are
read back from the files, which the kernel still has in memory when the database keeps up: measured, mapping
them costs less than keeping batches and copying them together. A file all of whose records are done is
deleted; one that was damaged is kept as damaged-NUMBER.arrows.
"""

import contextlib
import errno
import threading
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hepcat.batch.drops import Drop
from hepcat.batch.layout import Batch
from hepcat.errors import HepcatError
from hepcat.stores.lake.journal import JournalWriter
from hepcat.stores.spooled.files import (
    FILE_OCTETS,
    FILE_RECORDS,
    NAME,
    SMALL_OCTETS,
    SpoolFile,
    count_records,
    octets_in_journal,
    remove,
)
from hepcat.stores.spooled.identity import Identity, sync_folder
from hepcat.stores.spooled.ranges import above, below, left, merged, size
from hepcat.stores.spooled.reading import Reading
from hepcat.stores.store import StoreUnavailable
from hepcat.stores.writer import Range

#: Seconds between two notes of the floor: what was written since has to be remembered by the database.
FLOOR_SECONDS: Final = 2.0
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


@dataclass(slots=True)
class Piece:
    """Consecutive records on their way to the database: number `first` is row 0 of the batch."""

    first: int
    batch: Batch


class Spool:
    """The folder of one store. Counts are of this process; what it found at its start is included."""

    def __init__(self, folder: Path, limit: int) -> None:
        """Take the folder over. Raises HepcatError."""
        self.folder = folder
        self.limit = limit
        self.identity = Identity(folder)
        self.octets = 0
        #: records that wait, those on their way included
        self.waiting = 0
        self._changed = threading.Condition()
        self._files: deque[SpoolFile] = deque()
        self._current: SpoolFile | None = None
        self._retired: list[JournalWriter] = []  # to be synced and closed
        self._names_changed = False
        self._floor_noted = 0.0
        self._damage: list[tuple[Path, int]] = []
        identity = self.identity
        #: records that are not to be handed out: done before this process began
        self._known = merged([(0, identity.floor - 1), *identity.done, *identity.given_up])
        self._settled: list[Range] = []  # done by this process, of pieces that are not done as a whole
        try:
            self._take_over()
        except OSError as error:
            self.identity.release()
            raise HepcatError(
                f"cannot read the spool {folder}: {error.strerror}",
                "Make its files readable and writable for the server's user.",
            ) from error
        #: records of earlier processes that wait
        self.found = self.waiting
        #: of those that wait, not handed out yet
        self.unread = self.waiting
        self._end = max(self.identity.claimed, self._files[-1].end if self._files else 0)
        self._found_end = self._end
        self._position = self._files[0].first if self._files else self._end  # of the next to hand out
        self._lent: set[int] = set()  # numbers of the first records of pieces on their way
        self._reader = Reading()
        self._reading = threading.Lock()
        self._ready = self._hurry = self._closed = False
        self._since = 0.0  # when the oldest record not handed out came
        self._wanted = 1

    def _take_over(self) -> None:
        """Find the files of an earlier process, and see how much waits."""
        for path in sorted(self.folder.glob("*.arrows")):
            if not NAME.fullmatch(path.name):
                continue
            rows, octets, damaged = count_records(path)
            if not rows:
                self._damage += [(path, 0)] if damaged else []
                remove(path, damaged)
                continue
            file = SpoolFile(path, int(path.stem), rows, octets, damaged=damaged)
            self._files.append(file)
            self.octets += octets
            self.waiting += self._count(file, self._known)

    @staticmethod
    def _count(file: SpoolFile, known: list[Range], first: int = 0) -> int:
        """Return how many records of a file are not known to be done, from number `first` on."""
        return size(left(max(file.first, first), file.end - 1, known))

    # -- in

    def append(self, batch: Batch) -> None:
        """Keep every record of the batch, or raise StoreUnavailable and keep none."""
        octets = octets_in_journal(batch)
        with self._changed:
            if self._closed:
                raise StoreUnavailable(f"the spool {self.folder} is closed", Drop.STORE_FAILED)
            if self.waiting and self.octets + octets > self.limit:
                raise StoreUnavailable(
                    f"the spool {self.folder} has reached its bound of {self.limit} octets",
                    Drop.STORE_FULL,
                    "The database is away or too slow. Give the store more room with `spool`.",
                )
            try:
                file = self._file_for(batch, octets)
                assert file.journal is not None
                file.journal.append(batch)
            except OSError as error:
                self._give_up_broken()
                raise self._unavailable(error) from error
            self.octets += file.journal.octets - file.octets
            file.octets, file.rows = file.journal.octets, file.journal.rows
            self._end += batch.n
            self.waiting += batch.n
            before, self.unread = self.unread, self.unread + batch.n
            if before == 0:
                self._since = time.monotonic()
            if before == 0 or before < self._wanted <= self.unread:
                self._changed.notify_all()

    def _file_for(self, batch: Batch, octets: int) -> SpoolFile:
        """Return the file that takes the batch, a new one where the open one cannot. Raises OSError."""
        file = self._current
        if file is not None:
            journal = file.journal
            assert journal is not None
            room = file.rows == 0 or (
                file.octets + octets <= self._file_octets() and file.rows + batch.n <= FILE_RECORDS
            )
            if room and journal.extra == batch.extra and not journal.broken:
                return file
            self._retire()
        self.identity.claim(self._end + FILE_RECORDS + batch.n)
        path = self.folder / f"{self._end:019d}.arrows"
        journal = JournalWriter(path, self._end, batch.extra)
        file = self._current = SpoolFile(path, self._end, 0, journal.octets, journal)
        self._files.append(file)
        self.octets += file.octets
        self._names_changed = True
        return file

    def _file_octets(self) -> int:
        return min(FILE_OCTETS, max(self.limit // 8, 2**16))

    def _retire(self) -> None:
        """End the open file; the syncing thread, which may be using its descriptor, closes it."""
        file, self._current = self._current, None
        if file is None or file.journal is None:
            return
        self._retired.append(file.journal)
        file.journal = None
        if file.rows == 0:  # the next one has its name
            self._files.remove(file)
            self.octets -= file.octets
            file.path.unlink(missing_ok=True)

    def _give_up_broken(self) -> None:
        file = self._current
        if file is not None and file.journal is not None and (file.journal.broken or not file.rows):
            with contextlib.suppress(OSError):
                self._retire()

    def _unavailable(self, error: OSError) -> StoreUnavailable:
        if error.errno in _FULL:
            return StoreUnavailable(
                f"no room for the spool {self.folder}", Drop.STORE_FULL, "Free disk space."
            )
        return StoreUnavailable(f"cannot write to the spool {self.folder}: {error}", Drop.STORE_FAILED)

    # -- out

    def skip(self, ranges: Iterable[Range]) -> int:
        """Say what the database had at the start; `take` begins afterwards. Returns how many of `found`."""
        with self._changed:
            if self._ready:
                return 0
            before = self.waiting
            self._known = merged([*self._known, *below(ranges, self._found_end)])
            found = [file for file in self._files if file.first < self._found_end]
            appended = sum(file.rows for file in self._files if file.first >= self._found_end)
            self.waiting = appended + sum(self._count(file, self._known) for file in found)
            self.unread = self.waiting
            self._ready = True
            self._next_with_records()
            gone = self._collect()
            self._changed.notify_all()
            already = before - self.waiting
        self._delete(gone)
        return already

    def take(self, rows: int, linger: float, timeout: float) -> Piece | None:
        """Return the next `rows` records, fewer where they have waited for `linger` seconds; None after
        `timeout` seconds, or where another thread was faster. Raises OSError.
        """
        if not self._wait(rows, linger, timeout):
            return None
        with self._reading:
            while self._fill(rows):
                found = self._reader.cut(rows, self._known)
                with self._changed:
                    self._position = self._reader.first
                    if found is not None:
                        return self._lend(*found)
                    gone = self._collect()
                self._delete(gone)
        return None

    def _wait(self, rows: int, linger: float, timeout: float) -> bool:
        """Wait until there is something to take; False where there was nothing in time."""
        until = time.monotonic() + timeout
        with self._changed:
            self._wanted = rows
            while not self._closed:
                now = time.monotonic()
                wait = until - now
                if self._ready and self.unread:
                    if self._hurry or self.unread >= rows or self._since + linger <= now:
                        return True
                    wait = min(wait, self._since + linger - now)
                elif self._ready and self._hurry:
                    return False
                if now >= until:
                    return False
                self._changed.wait(wait)
        return False

    def _lend(self, first: int, batch: Batch) -> Piece:
        self._lent.add(first)
        self.unread -= batch.n
        self._since = time.monotonic()
        if self.unread >= self._wanted:
            self._changed.notify()
        return Piece(first, batch)

    def _fill(self, rows: int) -> bool:
        """Read until `rows` records can be cut, or all there are of this file; False where there are none."""
        reader = self._reader
        while reader.batch is None or reader.batch.n < rows:
            file = reader.file
            if file is None:
                if not self._open_next():
                    return False
                continue
            with self._changed:
                ended, octets = file is not self._current, file.octets
            if reader.read_on(octets):
                continue
            if reader.batch is not None:
                return True
            if ended:
                self._end_file(file)
            elif not self._end_damaged(file, octets):
                return False
        return True

    def _open_next(self) -> bool:
        """Go to the next file that has something to read. Raises OSError."""
        with self._changed:
            file = self._next_with_records()
        if file is None:
            return False
        self._reader.open(file)
        return True

    def _next_with_records(self) -> SpoolFile | None:
        """Pass over files all of whose records are known; return the one after them."""
        for file in self._files:
            if file.end > self._position and file.rows:
                if self._count(file, self._known):
                    return file
                self._position = file.end
        return None

    def _end_file(self, file: SpoolFile) -> None:
        """Leave a file that nothing will be written to; what was not read of it is lost."""
        with self._changed:
            lost = self._count(file, self._known, self._reader.first)
            if lost:
                file.damaged = True
                self._damage.append((file.path, lost))
                self.unread -= lost
                self.waiting -= lost
            self._reader.close()
            self._position = file.end
            gone = self._collect()
        self._delete(gone)

    def _end_damaged(self, file: SpoolFile, octets: int) -> bool:
        """End the open file where it cannot be read on; whether that is so."""
        with self._changed:
            if file is not self._current or octets != file.octets or self._reader.first >= file.end:
                return False
            self._retire()
            return True

    def settle(self, first: int, last: int) -> None:
        """Say that these records of a piece are done: written, or counted as lost."""
        with self._changed:
            self.waiting -= last - first + 1
            self._settled = merged([*self._settled, (first, last)])

    def done(self, piece: Piece) -> None:
        """Say that all of a piece is settled: its records are not offered again."""
        with self._changed:
            self._lent.discard(piece.first)
            self._settled = above(self._settled, self._floor())
            gone = self._collect()
        self._delete(gone)

    @property
    def floor(self) -> int:
        """The number below which every record is done, and known to be even after a power cut.

        The database may forget what it has below it, so a floor of this moment would not do: killed now, the
        next process would offer those records of a file again that the database does not remember.
        """
        return self.identity.floor

    def _floor(self) -> int:
        # Where nothing is left to hand out, what lies behind the position was done before this process began.
        return min(self._lent, default=self._position if self.unread else self._end)

    def _collect(self) -> list[SpoolFile]:
        """Take the files off the list whose records are all done."""
        gone = []
        floor = self._floor()
        current = self._current
        if current is not None and self.waiting == 0 and current.end <= floor:
            worth_it = current.octets >= min(SMALL_OCTETS, self._file_octets() // 2)
            if worth_it:
                self._retire()
        while self._files and self._files[0] is not self._current and self._files[0].end <= floor:
            gone.append(self._files.popleft())
            self.octets -= gone[-1].octets
        return gone

    @staticmethod
    def _delete(files: list[SpoolFile]) -> None:
        for file in files:
            with contextlib.suppress(OSError):  # met again at the next start, and known to be done then
                remove(file.path, file.damaged)

    def take_damage(self) -> list[tuple[Path, int]]:
        """Return files that could not be read, and how many of the waiting records were lost with each."""
        with self._changed:
            damage, self._damage = self._damage, []
        return damage

    # -- life

    def sync(self) -> None:
        """Make durable what was appended. Only one thread at a time. Raises OSError."""
        with self._changed:
            current = self._current.journal if self._current else None
            names, self._names_changed = self._names_changed, False
        while self._retired:
            journal = self._retired.pop(0)
            try:
                if not journal.is_gone():
                    journal.sync()
            finally:
                journal.close()
        if current is not None:
            if current.is_gone():
                with self._changed:
                    if self._current is not None and self._current.journal is current:
                        self._retire()
            else:
                current.sync()
        if names:
            sync_folder(self.folder)
        if time.monotonic() - self._floor_noted >= FLOOR_SECONDS:
            self._floor_noted = time.monotonic()
            with self._changed:
                floor = self._floor()
            self.identity.note_floor(floor)

    def hurry(self) -> None:
        """Let `take` wait for nothing from now on: the end is near."""
        with self._changed:
            self._hurry = True
            self._changed.notify_all()

    def close(self) -> None:
        """Take and give no more, make all durable. The folder stays locked until `release`."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._changed.notify_all()
            with contextlib.suppress(OSError):
                self._retire()
            gone = self._collect()
        self._delete(gone)
        with contextlib.suppress(OSError):
            self.sync()
        with self._reading, self._changed, contextlib.suppress(OSError):
            self._reader.close()
            floor = self._floor()
            self.identity.save(self._end, floor, above(merged([*self._settled, *self._known]), floor))
            if self.waiting == 0:
                self.identity.forget_given_up()

    def release(self) -> None:
        """Let another process have the folder. Idempotent."""
        self.identity.release()
