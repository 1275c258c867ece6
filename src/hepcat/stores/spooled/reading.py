"""Reading a spool's files back, one after the other, as numbered records.

In: files, each with how far it is whole. Out: batches of consecutive record numbers, cut as wanted; the
records of a file are joined over several readings without being copied (cut.py). What can go wrong: OSError,
after which the same can be asked again; damage, after which the file gives no more: the number of what is
behind it is not known, and a record under a wrong number could be written twice or never.
"""

from hepcat.batch.layout import Batch
from hepcat.stores.lake.journal import JournalReader
from hepcat.stores.spooled.cut import join_readings, slice_rows
from hepcat.stores.spooled.files import SpoolFile
from hepcat.stores.spooled.ranges import left
from hepcat.stores.writer import Range


class Reading:
    """Where the spool is being read. Not for several threads at once."""

    def __init__(self) -> None:
        self.file: SpoolFile | None = None
        #: number of the next record to cut off, in the batch or behind it
        self.first = 0
        #: what was read and not cut off yet
        self.batch: Batch | None = None
        self._reader: JournalReader | None = None
        self._rows = 0  # read of this file

    def open(self, file: SpoolFile) -> None:
        """Begin to read a file. Raises OSError; one that is gone has no records."""
        self.close()
        try:
            self._reader = JournalReader(file.path)
        except FileNotFoundError:
            self._reader = None
        self.file, self.first, self._rows = file, file.first, 0

    def read_on(self, octets: int) -> bool:
        """Read what the file has up to `octets` by now; False where there is nothing more."""
        reader = self._reader
        if reader is None or reader.sound is not None:
            return False
        batch = reader.read(octets)
        if batch is not None and reader.sound is not None:
            batch = slice_rows(batch, 0, reader.sound - self._rows) if reader.sound > self._rows else None
        if batch is None:
            return False
        self._rows += batch.n
        self.batch = batch if self.batch is None else join_readings(self.batch, batch)
        return True

    def cut(self, rows: int, known: list[Range]) -> tuple[int, Batch] | None:
        """Return the next records, at most `rows`, that are not known to be done, and the first's number.

        None where all that was read is known.
        """
        batch = self.batch
        if batch is None:
            return None
        end = self.first + batch.n
        wanted = left(self.first, end - 1, known)
        if not wanted:
            self.batch, self.first = None, end
            return None
        first = wanted[0][0]
        last = min(wanted[0][1], first + rows - 1)
        piece = slice_rows(batch, first - self.first, last + 1 - self.first)
        self.batch = slice_rows(batch, last + 1 - self.first, batch.n) if last + 1 < end else None
        self.first = last + 1
        return first, piece

    def close(self) -> None:
        """Let the file go; batches already cut stay valid."""
        if self._reader is not None:
            self._reader.close()
        self._reader = self.file = self.batch = None
