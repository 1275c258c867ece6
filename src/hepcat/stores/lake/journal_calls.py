"""The calls of a journal, told batch by batch while it grows: each record is looked at once.

In: a journal's records as Arrow batches, more from time to time. Out: what starts.py knows of a file, in
several parts: a new one that is half as large as the one before is joined to it, so they are few. What can
go wrong: None where somebody asks for an earlier moment than others did.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from hepcat.stores.lake.starts import Known, joined, read_calls


class JournalCalls:
    """The calls of one journal. Threads may share it."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._batches = 0  # looked at
        self._parts: list[Known | None] = []  # None: it has infinite times

    def upto(
        self, batches: Sequence[pa.RecordBatch], connection: duckdb.DuckDBPyConnection
    ) -> list[Known | None] | None:
        """Return the calls of these batches: those that were asked for before, and maybe new ones."""
        with self._mutex:
            if len(batches) < self._batches:
                return None
            new = batches[self._batches :]
            if new:
                connection.register("_new", pa.Table.from_batches(new))
                self._parts.append(read_calls(connection, "_new"))
                connection.unregister("_new")
                self._batches = len(batches)
                self._join()
            return list(self._parts)

    def _join(self) -> None:
        while len(self._parts) > 1:
            before, last = self._parts[-2:]
            if before is None or last is None or len(last.hashes) * 2 < len(before.hashes):
                return
            self._parts[-2:] = [joined([before, last])]


@dataclass(frozen=True, slots=True)
class Journals:
    """The open journals of one moment, and the relation of all their records."""

    calls: Sequence[tuple[JournalCalls, Sequence[pa.RecordBatch]]]
    relation: str

    def known(self, connection: duckdb.DuckDBPyConnection) -> list[Known | None]:
        """Return their calls."""
        found = [calls.upto(batches, connection) for calls, batches in self.calls]
        if None in found:
            return [read_calls(connection, self.relation)]
        return [part for parts in found if parts is not None for part in parts]
