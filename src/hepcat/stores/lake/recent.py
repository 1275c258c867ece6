"""The newest records in memory, as far as tables of calls show them: a call is found without its file.

In: Parquet files of table sip, the newest first; values of columns. Out: of each file the records that have
one of the values, as Arrow. What can go wrong: nothing; a file that is not in memory (yet), cannot be read or
has other columns is for who asks to read.

In a file each call lies in a row group of its own, so that for the sixty calls of a page DuckDB decodes sixty
row groups. Here it is a comparison of numbers: a column is the number of each record's value in a list of the
values that occur, in as few octets as it takes, 50 octets a record for all of them with their lists. A file
never changes, so it is read once, by a thread; what was read of small files serves for the file that they are
merged into.
"""

import functools
import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hepcat.stores.lake.arrow import arrow_schema
from hepcat.stores.lake.catalog import ParquetFile

Rows = npt.NDArray[np.int64]

#: Columns that records are looked for by: Call-IDs, and users in every role.
LOOKED_FOR: Final = (
    "call_id",
    "from_user",
    "to_user",
    "ruri_user",
    "contact_user",
    "pid_user",
    "auth_user",
)
#: Columns that are kept beside these: the rest of what the table of calls shows unless told otherwise.
KEPT: Final = frozenset(
    {
        *LOOKED_FOR,
        "ts",
        "method",
        "status",
        "reason_phrase",
        "expires",
        "src_ip",
        "src_port",
        "dst_ip",
        "dst_port",
        "from_domain",
        "to_domain",
    }
)
_COLUMNS: Final = tuple(f for f in arrow_schema("sip") if f.name in KEPT)
_SCHEMA: Final = pa.schema([pa.field(f.name, f.type) for f in _COLUMNS])
_CODED: Final = tuple(f for f in _COLUMNS if f.name != "ts")
#: Octets of all that is kept, at most: some 4 million records.
_AT_MOST: Final = 200_000_000
#: Octets of a record without the lists of values, about.
_A_RECORD: Final = 40


@dataclass(frozen=True, slots=True)
class _Column:
    """A column: for each record the place of its value in a list; the last of the list is null."""

    codes: npt.NDArray[Any]
    values: pa.Array

    @classmethod
    def of(cls, data: pa.ChunkedArray) -> "_Column":
        """Make it of a column; dictionaries of its parts become one."""
        if not pa.types.is_dictionary(data.type):
            data = data.dictionary_encode()
        whole = data.unify_dictionaries().combine_chunks()
        if isinstance(whole, pa.ChunkedArray):  # without records
            whole = pa.array([], data.type)
        null = len(whole.dictionary)
        codes = whole.indices.fill_null(null).to_numpy(zero_copy_only=False)
        values = pa.concat_arrays([whole.dictionary, pa.nulls(1, whole.dictionary.type)])
        return cls(codes.astype(np.min_scalar_type(null)), values)

    @property
    def octets(self) -> int:
        return int(self.codes.nbytes + self.values.nbytes)

    def rows(self, wanted: pa.Array) -> Rows:
        """Return the numbers of the records with one of these values, in order."""
        places = np.flatnonzero(pc.is_in(self.values, value_set=wanted).to_numpy(zero_copy_only=False))
        if not len(places):
            return np.empty(0, np.int64)
        if len(places) == 1:
            return np.flatnonzero(self.codes == places[0])
        is_wanted = np.zeros(len(self.values), np.bool_)
        is_wanted[places] = True
        return np.flatnonzero(is_wanted[self.codes])

    def take(self, rows: Rows) -> pa.Array:
        return self.values.take(pa.array(self.codes[rows]))


@dataclass(frozen=True, slots=True)
class Kept:
    """The kept columns of one file."""

    times: npt.NDArray[np.int64]
    columns: Mapping[str, _Column]

    @classmethod
    def of(cls, data: pa.Table) -> "Kept":
        """Make it of the columns of KEPT."""
        times = data["ts"].cast(pa.int64()).to_numpy()
        return cls(times, {field.name: _Column.of(data[field.name]) for field in _CODED})

    @property
    def octets(self) -> int:
        """How much memory it takes."""
        return self.times.nbytes + sum(column.octets for column in self.columns.values())

    def holding(self, wanted: Mapping[str, pa.Array]) -> pa.RecordBatch:
        """Return the records with one of the values in one of the columns, in order."""
        found = [self.columns[name].rows(values) for name, values in wanted.items()]
        rows = np.unique(np.concatenate(found)) if found else np.empty(0, np.int64)
        times = pa.array(self.times[rows]).cast(pa.timestamp("us", tz="UTC"))
        arrays = [times if f.name == "ts" else self.columns[f.name].take(rows) for f in _COLUMNS]
        return pa.RecordBatch.from_arrays(arrays, schema=_SCHEMA)


class Recent:
    """The newest records of a lake. Threads may share one."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._kept: dict[ParquetFile, tuple[Kept, ...]] = {}
        self._records: dict[ParquetFile, int] = {}  # of those
        self._octets: dict[ParquetFile, int] = {}  # of files that were read, kept or not
        self._missing: list[tuple[ParquetFile, int]] = []  # to be read, the newest last
        self._reading: threading.Thread | None = None
        self._closed = False

    def keep(self, files: Sequence[tuple[ParquetFile, int]]) -> None:
        """Keep these files, the newest first, as far as there is room, and no others; return at once.

        With each file comes how many records it has.
        """
        with self._mutex:
            if self._closed:
                return
            for f, records in files:
                if f not in self._kept:
                    self._merge(f, records)
            room = _AT_MOST
            missing, wanted = [], set()
            for f, records in files:
                octets = self._octets.get(f, records * _A_RECORD)
                if octets > room:
                    continue
                room -= octets
                wanted.add(f)
                if f not in self._kept:
                    missing.append((f, records))
            for f in [f for f in self._kept if f not in wanted]:
                del self._kept[f], self._records[f]
            listed = {f for f, _ in files}
            self._octets = {f: octets for f, octets in self._octets.items() if f in listed}
            self._missing = missing[::-1]
            if missing and self._reading is None:
                self._reading = threading.Thread(target=self._read_missing, name="recent", daemon=True)
                self._reading.start()

    def _merge(self, f: ParquetFile, records: int) -> None:
        """Keep a file that others were merged into, where these are here and are all of it."""
        within = [g for g in self._kept if g.date == f.date and f.first <= g.first and g.last <= f.last]
        if not within or sum(self._records[g] for g in within) != records:
            return
        self._kept[f] = tuple(part for g in sorted(within) for part in self._kept[g])
        self._records[f] = records
        self._octets[f] = sum(self._octets[g] for g in within)

    def of(self, f: ParquetFile) -> tuple[Kept, ...] | None:
        """Return what is kept of a file; None where it has to be read."""
        with self._mutex:
            return self._kept.get(f)

    def _read_missing(self) -> None:
        while True:
            with self._mutex:
                if not self._missing or self._closed:
                    self._reading = None
                    return
                f, records = self._missing.pop()
            part = _read(f.path)
            with self._mutex:
                self._octets[f] = _AT_MOST + 1 if part is None else part.octets  # else: not again
                if part is not None and not self._closed:
                    self._kept[f] = (part,)
                    self._records[f] = records

    def close(self) -> None:
        """Keep no more, forget all; what is being read is waited for."""
        with self._mutex:
            self._closed = True
            self._kept.clear()
            reading = self._reading
        if reading is not None:
            reading.join(10)


def holding(
    parts: Iterable[Kept], journal: Sequence[pa.RecordBatch], wanted: Mapping[str, Collection[str]]
) -> pa.Table:
    """Return the records of files and journals with one of the values in one of the columns of LOOKED_FOR."""
    values = {name: _texts(some) for name, some in wanted.items()}
    batches = [part.holding(values) for part in parts]
    found = pa.Table.from_batches(batches, schema=_SCHEMA)
    return pa.concat_tables([found, _among(journal, values)])


def _texts(values: Collection[str]) -> pa.Array:
    """Return values as Arrow without those that no record can have: half of a surrogate pair is no text."""
    octets = [value.encode("utf-8", "ignore") for value in values]
    kept = [o for o, value in zip(octets, values, strict=True) if o.decode() == value]
    return pa.array(kept, pa.binary()).cast(pa.string())


def _among(journal: Sequence[pa.RecordBatch], wanted: Mapping[str, pa.Array]) -> pa.Table:
    """Return the records of journals that hold one: they are few, so each is looked at."""
    records = pa.Table.from_batches(journal, schema=arrow_schema("sip", views=True)).select(_SCHEMA.names)
    found = [pc.is_in(records[name], value_set=values) for name, values in wanted.items()]
    return records.filter(functools.reduce(pc.or_, found)).cast(_SCHEMA) if found else _SCHEMA.empty_table()


def _read(path: str) -> Kept | None:
    """Read a file; None where it is too large, has other columns, cannot be read or went away."""
    texts = [f.name for f in _CODED if f.type == pa.string()]
    try:
        metadata = pq.read_metadata(path)
        types = {f.name: f.type for f in metadata.schema.to_arrow_schema()}
        if any(types.get(f.name) != f.type for f in _COLUMNS) or _size(metadata) > _AT_MOST:
            return None
        with pq.ParquetFile(path, metadata=metadata, read_dictionary=texts) as file:
            return Kept.of(file.read(_SCHEMA.names, use_threads=False))
    except (OSError, pa.ArrowException):
        return None


def _size(metadata: pq.FileMetaData) -> int:
    """Return about how much memory the kept columns take."""
    groups = (metadata.row_group(i) for i in range(metadata.num_row_groups))
    columns = (group.column(i) for group in groups for i in range(group.num_columns))
    lists = sum(c.total_uncompressed_size for c in columns if c.path_in_schema in KEPT)
    return int(lists + _A_RECORD * metadata.num_rows)
