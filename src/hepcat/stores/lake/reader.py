"""Lake: reading. A snapshot is a DuckDB connection with one view a table.

In: the lake's folder. Out: `Lake.snapshot()`. What can go wrong: HepcatError where there is no lake.
The same Lake object can be asked again and again: files do not change once they have their name, so
their footers are read once; of journals only what was added is read.
"""

import contextlib
import heapq
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hepcat.batch.schema import TABLES
from hepcat.config.lake import LakeSettings
from hepcat.errors import HepcatError
from hepcat.stores.lake.arrow import arrow_schema, to_arrow
from hepcat.stores.lake.bloom import Filter, Wanted, can_hold, filters
from hepcat.stores.lake.catalog import JOURNAL, Listing, ParquetFile, listing
from hepcat.stores.lake.journal import JournalReader
from hepcat.stores.lake.journal_calls import JournalCalls, Journals
from hepcat.stores.lake.recent import KEPT, Kept, Recent, holding
from hepcat.stores.lake.spread import Part, Spread
from hepcat.stores.lake.starts import Begun, Known, Starts, joined, read_calls, scan

_TRIES: Final = 50
_FOOTERS_AT_MOST: Final = 20_000
#: Each value asks a filter of each row group; more values than these are left to the query itself.
_VALUES_AT_MOST: Final = 8
#: Seconds that closing waits for queries which were interrupted.
_ENDING: Final = 10.0
T = TypeVar("T")
#: What calls are told by.
_OF_CALLS: Final = frozenset({"ts", "call_id", "method", "status"})
#: Of files that lie in a range in part, about so many records of it at most are read for its calls: of more
#: DuckDB makes sums in less memory than the calls would take.
_CUT: Final = 5_000_000
#: Files that are kept in memory at most: each search goes through them.
_RECENT_FILES: Final = 256
#: The relation of records that were in memory.
_RECENT: Final = "_sip_recent"
#: Column -> values, of which each record that is wanted must have one.
Holding = Mapping[str, Collection[str]]


@dataclass(slots=True)
class _OpenJournal:
    """A journal's reader and its records so far, as Arrow, with when they were."""

    reader: JournalReader
    batches: dict[str, list[pa.RecordBatch]] = field(default_factory=lambda: {t: [] for t in TABLES})
    parts: dict[str, list[Part]] = field(default_factory=lambda: {t: [] for t in TABLES})
    calls: JournalCalls = field(default_factory=JournalCalls)


@dataclass(slots=True)
class _Footer:
    """What is remembered of a file: times, records, columns it lacks, Bloom filters asked for so far."""

    low: int
    high: int
    records: int
    parts: tuple[Part, ...]
    lacks: frozenset[str]
    filters: dict[str, tuple[Filter, ...] | None] = field(default_factory=dict)

    def is_within(self, since_us: int | None, until_us: int | None) -> bool:
        """Tell whether all of the file's records are in a range."""
        return _is_within(self.low, self.high, since_us, until_us)


class Snapshot:
    """One moment of the lake. `connection` has the read-only views sip, rtcp, log and other."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        footers: Mapping[ParquetFile, _Footer],
        journal: Mapping[str, Sequence[Part]],
        journal_rows: int,
        starts: Starts | None,
        journals: Journals,
        recent: Recent | None = None,
    ) -> None:
        """Own the connection. journal: when its records are, by table."""
        self.connection = connection
        self.files = len(footers)
        self.journal_rows = journal_rows
        self._footers = footers
        self._journal = journal
        self._starts = starts
        self._journals = journals
        self._recent = recent

    def spread(self, table: str) -> Spread:
        """Return about how many records of a table there are when."""
        files = (part for f, footer in self._footers.items() if f.table == table for part in footer.parts)
        return Spread([*files, *self._journal[table]])

    def begun(self) -> Begun | None:
        """Return when the calls of this moment began; None where the lake does not keep it in memory."""
        known = self._known(self._footers)
        return None if known is None else Begun(known)

    def calls(self, since_us: int | None, until_us: int | None, condition: str) -> Known | None:
        """Return the calls with messages in a range, and what became of them; None where only SQL can tell.

        condition: SQL of the range, for files that lie in it in part.
        """
        files = {f: footer for f, footer in self._footers.items() if f.table == "sip"}
        if self._starts is None or any(_OF_CALLS & footer.lacks for footer in files.values()):
            return None
        whole = {f: footer for f, footer in files.items() if footer.is_within(since_us, until_us)}
        cut = {f: footer for f, footer in files.items() if f not in whole}
        if Spread(p for footer in cut.values() for p in footer.parts).about(since_us, until_us)[2] > _CUT:
            return None
        relations = [scan(list(cut))] if cut else []
        journal = self._journal["sip"]
        if not all(_is_within(part.low, part.high, since_us, until_us) for part in journal):
            relations.append(self._journals.relation)
        known = self._known(whole, relations, condition)
        return None if known is None else joined(known)

    def narrowed(self, wanted: Holding) -> str | None:
        """Return a relation of the columns KEPT with all records that have one of the values in one of the
        columns (of LOOKED_FOR), and with other records; None where the lake keeps nothing in memory.
        """
        if self._recent is None:
            return None
        kept: list[Kept] = []
        others = {}
        for f, footer in self._footers.items():
            if f.table == "sip":
                parts = self._recent.of(f)
                if parts is None:
                    others[f] = footer.lacks
                else:
                    kept += parts
        journal = [batch for _, batches in self._journals.calls for batch in batches]
        self.connection.register(_RECENT, holding(kept, journal, wanted))
        names = [name for name in arrow_schema("sip").names if name in KEPT]
        return f"({_union(_RECENT, others, names)})"

    def _known(
        self, footers: Mapping[ParquetFile, _Footer], relations: Sequence[str] = (), condition: str = "true"
    ) -> list[Known] | None:
        """Return the calls of files and journals, and of what meets a condition in other relations."""
        files = {f: footer.records for f, footer in footers.items() if f.table == "sip"}
        parts = None if self._starts is None else self._starts.of(files)
        if parts is None:
            return None
        if self._journals.relation not in relations:
            parts += self._journals.known(self.connection)
        parts += [read_calls(self.connection, relation, condition) for relation in relations]
        known = [part for part in parts if part is not None]
        return known if len(known) == len(parts) else None

    def interrupt(self) -> None:
        """End the query that another thread runs on it; nothing where there is none."""
        with contextlib.suppress(duckdb.Error):
            self.connection.interrupt()

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()

    def __enter__(self) -> "Snapshot":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Lake:
    """A lake for reading. Threads may share one; each snapshot belongs to one thread."""

    def __init__(
        self,
        path: Path | str,
        settings: LakeSettings | None = None,
        *,
        locked: bool = False,
        remember: bool = False,
    ) -> None:
        """Open; raises HepcatError where there is no such folder.

        locked: for SQL that a person typed: no settings can be changed and no file outside the lake
        be touched. (Inside it DuckDB's COPY could still write; `hepcat sql` lets queries through only.)
        remember: keep in memory when each call began (starts.py): for who searches again and again.
        """
        self.root = Path(path).resolve()
        self.settings = settings or LakeSettings()
        if not self.root.is_dir():
            raise HepcatError(f"no lake at {self.root}", "Start `hepcat serve` or import a capture.")
        self._mutex = threading.Lock()
        self._footers: dict[ParquetFile, _Footer] = {}
        self._journals: dict[int, _OpenJournal] = {}
        self._spill = tempfile.TemporaryDirectory(prefix="hepcat-spill-")
        self._database = self._connect()
        if locked:
            self._lock()
        self._starts = Starts(self._database.cursor) if remember else None
        self._recent = Recent() if remember else None
        self._snapshots: weakref.WeakSet[Snapshot] = weakref.WeakSet()

    def _connect(self) -> duckdb.DuckDBPyConnection:
        config: dict[str, Any] = {
            "memory_limit": self.settings.query_memory,
            "temp_directory": self._spill.name,
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "python_enable_replacements": "false",
        }
        if self.settings.query_threads is not None:
            config["threads"] = str(self.settings.query_threads)
        connection = duckdb.connect(":memory:", config=config)
        connection.execute("SET GLOBAL TimeZone = 'UTC'")  # known only once icu and parquet are loaded
        connection.execute("SET GLOBAL parquet_metadata_cache = true")
        return connection

    def _lock(self) -> None:
        folder = f"{self.root}/".replace("'", "''")
        self._database.execute(f"SET GLOBAL allowed_directories = ['{folder}']")
        self._database.execute("SET GLOBAL enable_external_access = false")
        self._database.execute("SET GLOBAL lock_configuration = true")

    def snapshot(
        self,
        since_us: int | None = None,
        until_us: int | None = None,
        holding: Holding | None = None,
        tables: Collection[str] | None = None,
    ) -> Snapshot:
        """Return the lake as it is now.

        since_us, until_us: leave out files wholly outside this time. holding: leave out files of table
        sip without any of these values in one of the columns, as far as Bloom filters can tell. Both
        only leave out files: a query still has to name its time and values. With `holding` the time to
        find a Call-ID hardly grows with the lake: a filter is asked for 32 octets, and DuckDB sees few files.
        tables: the views to make, None for all.
        """
        with self._mutex:
            for _ in range(_TRIES):
                try:
                    made = self._snapshot(
                        since_us, until_us, holding or {}, TABLES if tables is None else tables
                    )
                    self._snapshots.add(made)
                    return made
                except FileNotFoundError:
                    continue  # sealed or deleted between listing and opening: look again
        raise HepcatError(f"the lake {self.root} changes faster than it can be read", "Try again.")

    def warm(self, since_us: int) -> None:
        """Begin to read when calls of this time began; return before all of it is read."""
        with self.snapshot(since_us, None, None, ("sip",)) as snapshot:
            snapshot.begun()

    def run(
        self, read: Callable[[Snapshot], T], since_us: int | None = None, until_us: int | None = None
    ) -> T:
        """Call `read` with a snapshot and return its result; again with a new one when a file went away.

        Files go away under a snapshot when retention deletes them, or a merge replaced them more than
        `delete_after` seconds ago. `read` must fetch its result whole and keep nothing of a first try.
        """
        for attempt in range(_TRIES):
            try:
                with self.snapshot(since_us, until_us) as snapshot:
                    return read(snapshot)
            except duckdb.IOException:
                if attempt == _TRIES - 1:
                    raise
        raise AssertionError("unreachable")

    def _snapshot(
        self, since_us: int | None, until_us: int | None, holding: Holding, tables: Collection[str]
    ) -> Snapshot:
        found = listing(self.root)
        journal_rows = self._read_journals(found)
        connection = self._database.cursor()
        wanted = {
            column: [Wanted(value.encode("utf-8", "surrogatepass")) for value in values]
            for column, values in holding.items()
            if len(values) <= _VALUES_AT_MOST
        }
        files = [
            f
            for f in found.files
            if f.table in tables and self._overlaps(f, since_us, until_us) and self._holds(f, wanted)
        ]
        for table in tables:
            self._make_view(connection, table, [f for f in files if f.table == table])
        journal = {table: [p for j in self._journals.values() for p in j.parts[table]] for table in tables}
        starts = self._starts if "sip" in tables else None
        footers = {f: self._footer_of(f) for f in files}
        calls = [(j.calls, tuple(j.batches["sip"])) for j in self._journals.values()]
        journals = Journals(calls, _journal_of("sip"))
        if self._recent is not None and starts is not None:
            self._recent.keep([(f, self._footer_of(f).records) for f in _newest(found.files)])
        return Snapshot(connection, footers, journal, journal_rows, starts, journals, self._recent)

    def _make_view(self, connection: duckdb.DuckDBPyConnection, table: str, files: list[ParquetFile]) -> None:
        journal = [b for j in self._journals.values() for b in j.batches[table]]
        data = pa.Table.from_batches(journal, schema=arrow_schema(table, views=True))
        connection.register(_journal_of(table), data)
        lacks = {f: self._footer_of(f).lacks for f in files}
        query = _union(_journal_of(table), lacks, arrow_schema(table).names)
        connection.execute(f"CREATE OR REPLACE TEMP VIEW {table} AS {query}")

    def _overlaps(self, f: ParquetFile, since_us: int | None, until_us: int | None) -> bool:
        if since_us is None and until_us is None:
            return True
        footer = self._footer_of(f)
        return (until_us is None or footer.low <= until_us) and (since_us is None or footer.high >= since_us)

    def _holds(self, f: ParquetFile, wanted: Mapping[str, list[Wanted]]) -> bool:
        """Tell whether a file can have one of the values in each of the columns."""
        if f.table != "sip":
            return True
        for column, values in wanted.items():
            footer = self._footer_of(f)
            if column not in footer.filters:
                footer.filters[column] = filters(f.path, _metadata(f.path), column)
            groups = footer.filters[column]
            if groups is not None and not can_hold(f.path, groups, values):
                return False
        return True

    def _footer_of(self, f: ParquetFile) -> _Footer:
        """Return what a file's footer says; it is read once, files do not change."""
        if f not in self._footers:
            if len(self._footers) >= _FOOTERS_AT_MOST:  # of files that have long been merged or deleted
                self._footers.clear()
            metadata = _metadata(f.path)
            columns = {metadata.schema.column(i).path.partition(".")[0] for i in range(metadata.num_columns)}
            lacks = frozenset(arrow_schema(f.table).names) - columns
            parts = tuple(_parts(metadata))
            low = min((part.low for part in parts), default=2**63 - 1)
            high = max((part.high for part in parts), default=-(2**63))
            self._footers[f] = _Footer(low, high, metadata.num_rows, parts, lacks)
        return self._footers[f]

    def _read_journals(self, found: Listing) -> int:
        """Bring the cache of journals to what is on disk now; returns their records."""
        for first in [a for a in self._journals if a not in found.journals]:
            self._journals.pop(first).reader.close()
        for first in found.journals:
            if first not in self._journals:
                path = self.root / JOURNAL / f"{first:019d}.arrows"
                self._journals[first] = _OpenJournal(JournalReader(path))
            journal = self._journals[first]
            batch = journal.reader.read()
            if batch is not None:
                for table in TABLES:
                    try:
                        rows = to_arrow(batch, table, views=True)
                    except IndexError as error:
                        raise HepcatError(f"the journal {journal.reader.path} is damaged") from error
                    if rows.num_rows:
                        journal.batches[table].append(rows)
                        journal.parts[table].append(_part(rows))
        return sum(j.reader.rows for j in self._journals.values())

    def close(self) -> None:
        """Close everything; queries of other threads end with an error."""
        if self._starts is not None:
            self._starts.close()
        if self._recent is not None:
            self._recent.close()
        with self._mutex:
            for journal in self._journals.values():
                journal.reader.close()
            self._journals.clear()
            self._close_database()
        self._spill.cleanup()

    def _close_database(self) -> None:
        """Close it. DuckDB refuses while a cursor of it is at work, and an interrupt takes a moment."""
        until = time.monotonic() + _ENDING
        while True:
            for snapshot in list(self._snapshots):
                snapshot.interrupt()
            try:
                return self._database.close()
            except duckdb.ResourceInUseException:
                if time.monotonic() > until:
                    raise
                time.sleep(0.01)

    def __enter__(self) -> "Lake":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _journal_of(table: str) -> str:
    """Return the relation of a table's records in the journals."""
    return f"_{table}_journal"


def _union(relation: str, files: Mapping[ParquetFile, frozenset[str]], names: Sequence[str]) -> str:
    """Return the SELECT of columns of files and of a relation. files: with the columns that each lacks."""
    # Files of other versions may lack columns. One scan for each set of columns: reading by name
    # (union_by_name) would make DuckDB read every footer before it begins.
    alike: dict[frozenset[str], list[ParquetFile]] = {}
    for f, lacks in files.items():
        alike.setdefault(lacks, []).append(f)
    scans = []
    for lacks, some in alike.items():
        columns = ", ".join(f"NULL AS {name}" if name in lacks else name for name in names)
        scans.append(f"SELECT {columns} FROM {scan(some)}")
    return " UNION ALL ".join([*scans, f"SELECT {', '.join(names)} FROM {relation}"])


def _newest(files: Sequence[ParquetFile]) -> list[ParquetFile]:
    """Return the newest files of table sip of the last two days that there are, the newest first."""
    days = sorted({f.date for f in files if f.table == "sip"})[-2:]
    newest = (f for f in files if f.table == "sip" and f.date in days)
    return heapq.nlargest(_RECENT_FILES, newest, key=lambda f: (f.date, f.last))


def _is_within(low: int, high: int, since_us: int | None, until_us: int | None) -> bool:
    """Tell whether low to high (both included) lies in a range."""
    return (since_us is None or low >= since_us) and (until_us is None or high < until_us)


def _metadata(path: str) -> pq.FileMetaData:
    try:
        return pq.read_metadata(path)
    except pa.ArrowException as error:
        raise HepcatError(
            f"{path} is damaged: {error}", "Move it out of the lake; its records cannot be read."
        ) from error


def _parts(metadata: pq.FileMetaData) -> Iterator[Part]:
    """Yield when the records of each row group are; of all time where that is not known."""
    for i in range(metadata.num_row_groups):
        group = metadata.row_group(i)
        statistics = group.column(0).statistics
        if statistics is None or not statistics.has_min_max:
            yield Part(-(2**63), 2**63 - 1, group.num_rows)
        else:
            yield Part(statistics.min_raw, statistics.max_raw, group.num_rows)


def _part(rows: pa.RecordBatch) -> Part:
    """Return when the records of a batch are."""
    times = pc.min_max(rows.column("ts").cast(pa.int64())).as_py()
    return Part(times["min"], times["max"], rows.num_rows)
