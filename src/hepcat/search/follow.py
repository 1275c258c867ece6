"""Follow: what is stored from now on, each message once.

In: the lake's folder. Out: Arrow tables of table sip's columns, as they arrive. The journals are read
as they grow; what went past them (an import, a journal that came and was sealed between two looks) is
read from its Parquet file. Sequence numbers say what was seen already, so sealing and compaction show
nothing twice.
"""

import contextlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from hepcat.errors import HepcatError
from hepcat.stores.lake.arrow import arrow_schema, to_arrow
from hepcat.stores.lake.catalog import JOURNAL, Listing, listing
from hepcat.stores.lake.journal import JournalReader


class Tail:
    """The end of a lake. What is stored when it is made counts as seen."""

    def __init__(self, root: Path, table: str = "sip") -> None:
        """Note what there is now. Raises HepcatError where there is no lake."""
        if not root.is_dir():
            raise HepcatError(f"no lake at {root}", "Start `hepcat serve` or import a capture.")
        self.root, self.table = root, table
        self._readers: dict[int, JournalReader] = {}
        self._seen: list[tuple[int, int]] = []  # ranges of sequence numbers, disjoint and in order
        found = listing(root)
        self._read_journals(found)
        for file in found.files:
            self._mark(file.first, file.last)

    def poll(self) -> pa.Table:
        """Return what was stored since the last call, in order of arrival; may be empty."""
        found = listing(self.root)
        parts = self._read_journals(found) + self._read_files(found)
        return pa.Table.from_batches(parts, schema=arrow_schema(self.table, views=True))

    def close(self) -> None:
        """Close the journals."""
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()

    def __enter__(self) -> "Tail":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read_journals(self, found: Listing) -> list[pa.RecordBatch]:
        """Read what was added; also to journals that are gone from the folder but open here."""
        for first in found.journals:
            if first not in self._readers and not self._overlaps(first, first):
                with contextlib.suppress(FileNotFoundError):  # sealed meanwhile: its file comes next time
                    self._readers[first] = JournalReader(self.root / JOURNAL / f"{first:019d}.arrows")
        parts = []
        for first, reader in sorted(self._readers.items()):
            batch = reader.read()
            if batch is not None:
                rows = to_arrow(batch, self.table, views=True)
                if rows.num_rows:
                    parts.append(rows)
                self._mark(first, first + reader.rows - 1)
            if first not in found.journals:
                reader.close()
                del self._readers[first]
        return parts

    def _read_files(self, found: Listing) -> list[pa.RecordBatch]:
        """Read Parquet files with nothing in them that was seen; a merged file has only what was."""
        schema = arrow_schema(self.table, views=True)
        parts: list[pa.RecordBatch] = []
        new = [file for file in found.files if not self._overlaps(file.first, file.last)]
        for file in sorted(new, key=lambda f: f.first):
            if file.table == self.table:
                with contextlib.suppress(FileNotFoundError):  # merged meanwhile: cannot be told apart now
                    table = pq.read_table(file.path, partitioning=None)
                    for name in set(schema.names).difference(table.schema.names):  # of another version
                        nulls = pa.nulls(table.num_rows, schema.field(name).type)
                        table = table.append_column(schema.field(name), nulls)
                    parts += table.select(schema.names).cast(schema).to_batches()
        for file in new:
            self._mark(file.first, file.last)
        return parts

    def _overlaps(self, first: int, last: int) -> bool:
        return any(low <= last and first <= high for low, high in self._seen)

    def _mark(self, first: int, last: int) -> None:
        """Add a range, joined with what it touches, so that the list stays short."""
        kept = []
        for low, high in self._seen:
            if low <= last + 1 and first <= high + 1:
                first, last = min(first, low), max(last, high)
            else:
                kept.append((low, high))
        self._seen = sorted([*kept, (first, last)])
