"""The journal: batches as they are, appended to one Arrow IPC stream.

In: batches (write) or a journal's file (read). Out: octets on disk, or batches again. Nothing is
gathered on the way in: the columns are wrapped, not copied, so appending costs one serialising copy
and one write(2). What can go wrong: OSError from write(2), after which the file is cut back to its
last whole batch; a torn last batch, which reading stops at.

Stream: schema (metadata: version, first sequence, names of extra headers), then record batches with
the columns of `_schema`. Record i of the stream has sequence number first + i.
"""

import contextlib
import fcntl
import json
import mmap
import os
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from hepcat.batch.layout import NUMERIC, Batch
from hepcat.batch.schema import FIELD_COUNT

Array = npt.NDArray[Any]

_VERSION: Final = "1"
_ARROW_OF: Final = {
    "int64": pa.int64(),
    "uint8": pa.uint8(),
    "uint16": pa.uint16(),
    "uint32": pa.uint32(),
}
_ADDRESS: Final = pa.binary(16)


@cache
def _schema(slices: int) -> pa.Schema:
    """Return the columns of a journal whose records have `slices` slices each."""
    fields = [pa.field(name, _ARROW_OF[dtype], nullable=False) for name, dtype, _ in NUMERIC]
    fields += [pa.field(name, _ADDRESS, nullable=False) for name in ("src_ip", "dst_ip")]
    fields.append(pa.field("fields", pa.binary(4 * slices), nullable=False))
    fields.append(pa.field("octets", pa.binary(), nullable=False))
    return pa.schema(fields)


def _wrap(type_: pa.DataType, n: int, values: Array) -> pa.Array:
    return pa.Array.from_buffers(type_, n, [None, pa.py_buffer(np.ascontiguousarray(values))], 0)


def batch_message(batch: Batch) -> pa.Buffer:
    """Return a batch as one IPC message. Raises ValueError over 2 GiB of octets."""
    n = batch.n
    first, last = int(batch.start[0]), int(batch.start[n])
    if last - first > 0x7FFFFFFF:
        raise ValueError("a batch is over 2 GiB")
    schema = _schema(batch.fields.shape[1])
    arrays = [_wrap(_ARROW_OF[dtype], n, getattr(batch, name)[:n]) for name, dtype, _ in NUMERIC]
    arrays += [_wrap(_ADDRESS, n, batch.src_ip[:n]), _wrap(_ADDRESS, n, batch.dst_ip[:n])]
    arrays.append(_wrap(schema.field("fields").type, n, batch.fields[:n]))
    offsets = (batch.start[: n + 1] - first).astype(np.int32)
    octets = pa.py_buffer(np.ascontiguousarray(batch.buffer[first:last]))
    arrays.append(pa.Array.from_buffers(pa.binary(), n, [None, pa.py_buffer(offsets), octets], 0))
    return pa.RecordBatch.from_arrays(arrays, schema=schema).serialize()


class JournalWriter:
    """One open journal. One thread appends; flock(2) on it tells others that its owner lives."""

    def __init__(self, path: Path, first: int, extra: tuple[str, ...]) -> None:
        """Create the file (which must not exist) and write the schema. Raises OSError, leaving nothing."""
        self.path = path
        self.first = first
        self.extra = extra
        self.rows = 0
        self.octets = 0
        self.synced = 0
        self.broken = False  # the end could not be cut back; nothing may follow it
        self.fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            metadata = {"hepcat.journal": _VERSION, "first": str(first), "extra": json.dumps(extra)}
            schema = _schema(FIELD_COUNT + len(extra)).with_metadata(metadata)
            self._write(memoryview(schema.serialize()))
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(path)
            os.close(self.fd)
            raise

    def append(self, batch: Batch) -> None:
        """Write a batch whole, or raise OSError with nothing of it left in the file."""
        self._write(memoryview(batch_message(batch)))
        self.rows += batch.n

    def _write(self, message: memoryview) -> None:
        done, size = 0, len(message)
        try:
            while done < size:
                done += os.write(self.fd, message[done:])
        except OSError:
            self._cut_back()
            raise
        self.octets += size

    def _cut_back(self) -> None:
        try:
            os.ftruncate(self.fd, self.octets)
        except OSError:
            self.broken = True

    def is_gone(self) -> bool:
        """Tell whether the file is no longer in its folder (disk or folder vanished)."""
        try:
            return os.stat(self.path).st_ino != os.fstat(self.fd).st_ino
        except OSError:
            return True

    def sync(self) -> bool:
        """fsync what was written since last time; returns whether there was anything."""
        octets = self.octets
        if octets == self.synced:
            return False
        os.fdatasync(self.fd)
        self.synced = octets
        return True

    def close(self) -> None:
        """Close the file, which also gives up the lock."""
        os.close(self.fd)


class JournalReader:
    """Reads whole batches of a journal, from where it last stopped.

    The file is mapped, so records are not copied; the arrays of the batches point into the mapping
    and keep it alive. Nothing here trusts the file beyond what is checked: the kernels check again.
    """

    def __init__(self, path: Path) -> None:
        """Open; raises OSError. A file too short for its schema has no batches."""
        self.path = path
        self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.first = int(path.name[:19])
        self.rows = 0
        self.offset = 0  # end of the last whole message
        self._schema: pa.Schema | None = None
        self.extra: tuple[str, ...] = ()

    def read(self) -> Batch | None:
        """Return all whole batches written since the last call as one batch, None where there are none.

        Its buffer is the mapped file and its `start` has the place of each record in it (the record
        after it does not begin where it ends). A torn or damaged message ends the reading; what lies
        behind it is looked at again next time.
        """
        size = os.fstat(self.fd).st_size
        if size <= self.offset:
            return None
        mapped = mmap.mmap(self.fd, size, prot=mmap.PROT_READ)
        source = pa.BufferReader(pa.py_buffer(mapped))
        source.seek(self.offset)
        if self._schema is None and not self._read_schema(source):
            return None
        batches = []
        while True:
            batch = self._read_batch(source, size)
            if batch is None:
                break
            batches.append(batch)
            self.offset = source.tell()
        if not batches:
            return None
        whole = self._join(batches, np.frombuffer(mapped, dtype=np.uint8))
        self.rows += whole.n
        return whole

    def _read_schema(self, source: pa.BufferReader) -> bool:
        try:
            schema = pa.ipc.read_schema(source)
            extra = json.loads((schema.metadata or {}).get(b"extra", b"[]"))
        except (pa.ArrowException, OSError, ValueError):
            return False
        if not schema.equals(_schema(FIELD_COUNT + len(extra))):
            return False
        self._schema, self.extra = schema, tuple(str(name) for name in extra)
        self.offset = source.tell()
        return True

    def _read_batch(self, source: pa.BufferReader, size: int) -> pa.RecordBatch | None:
        """Return the next whole batch, None where it is torn, damaged, or there is none."""
        if size - source.tell() < 8:
            return None
        try:
            message = pa.ipc.read_message(source)
            batch = pa.ipc.read_record_batch(message, self._schema)
        except (pa.ArrowException, OSError, EOFError, ValueError):
            return None
        octets = batch.column(batch.num_columns - 1)
        _, offsets_buffer, data = octets.buffers()
        if batch.num_rows == 0 or offsets_buffer is None or offsets_buffer.size < 4 * (batch.num_rows + 1):
            return None
        # After a power cut the file may be longer than what reached the disk: then the offsets are 0.
        offsets = np.frombuffer(offsets_buffer, dtype=np.int32, count=batch.num_rows + 1)
        if (
            offsets[0] != 0
            or (np.diff(offsets) < 0).any()
            or int(offsets[batch.num_rows]) > (data.size if data else 0)
        ):
            return None
        return None if int(offsets[batch.num_rows]) == 0 and data is not None and data.size else batch

    def _join(self, batches: list[pa.RecordBatch], buffer: Array) -> Batch:
        base = buffer.ctypes.data
        starts = []
        for batch in batches:
            _, offsets, data = batch.column(batch.num_columns - 1).buffers()
            place = np.frombuffer(offsets, dtype=np.int32, count=batch.num_rows + 1).astype(np.int64)
            place += data.address - base if data is not None and data.size else 0
            starts.append(place[:-1])
        starts.append(np.array([len(buffer)], dtype=np.int64))

        def column(index: int, dtype: str, width: int = 1) -> Array:
            parts = [
                np.frombuffer(b.column(index).buffers()[1], dtype=dtype, count=b.num_rows * width)
                for b in batches
            ]
            return parts[0] if len(parts) == 1 else np.concatenate(parts)

        slices = FIELD_COUNT + len(self.extra)
        k = len(NUMERIC)
        n = sum(b.num_rows for b in batches)
        return Batch(
            n=n,
            buffer=buffer,
            start=np.concatenate(starts),
            src_ip=column(k, "uint8", 16).reshape(n, 16),
            dst_ip=column(k + 1, "uint8", 16).reshape(n, 16),
            fields=column(k + 2, "uint16", 2 * slices).reshape(n, slices, 2),
            extra=self.extra,
            **{name: column(i, dtype) for i, (name, dtype, _) in enumerate(NUMERIC)},
        )

    def close(self) -> None:
        """Close the file; batches already read stay valid."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
