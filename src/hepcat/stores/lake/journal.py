"""The journal: batches as they are, appended to one Arrow IPC stream.

In: batches (write) or a journal's file (read). Out: octets on disk, or batches again. Nothing is
gathered on the way in: the columns are wrapped, not copied, so appending costs one serialising copy
and one write(2). What can go wrong: OSError from write(2), after which the file is cut back to its
last whole batch; a torn last batch, which reading stops at; damage, which reading goes around.

Stream: schema (metadata: version, first sequence, names of slices and of extra headers), then record
batches with the columns of `_schema`. Record i of the stream has sequence number first + i. Columns
and slices are found by name, so other versions of hepcat can read a journal: what the file lacks has
its "no value", what this version does not know is left out.
"""

import contextlib
import fcntl
import json
import mmap
import os
import struct
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from hepcat.batch.layout import NUMERIC, Batch
from hepcat.batch.schema import FIELDS

Array = npt.NDArray[Any]

_VERSION: Final = "1"
_ARROW_OF: Final = {
    "int64": pa.int64(),
    "uint8": pa.uint8(),
    "uint16": pa.uint16(),
    "uint32": pa.uint32(),
}
_ADDRESS: Final = pa.binary(16)
_MARK: Final = (
    0xFFFFFFFF  # begins each message of a stream (Arrow columnar format, "Encapsulated message format")
)
_HEAD: Final = struct.Struct("<II")  # mark, octets of metadata
_METADATA_AT_MOST: Final = 2**16
_BODY_AT_MOST: Final = 2**32
#: Places looked at behind damage; records that imitate messages must not keep a reader busy.
_PLACES_AT_MOST: Final = 10_000


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
            metadata = {
                "hepcat.journal": _VERSION,
                "first": str(first),
                "slices": json.dumps(FIELDS),
                "extra": json.dumps(extra),
            }
            schema = _schema(len(FIELDS) + len(extra)).with_metadata(metadata)
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
        self.skipped = 0  # octets of damage that batches were found behind
        self.sound: int | None = None  # records before the first damage, None while there is none
        self.extra: tuple[str, ...] = ()
        self._schema: pa.Schema | None = None
        self._slices: tuple[str, ...] = ()
        self._tried = 0  # size of the file when nothing (more) could be read

    def read(self, limit: int | None = None) -> Batch | None:
        """Return all whole batches written since the last call as one batch, None where there are none.

        limit: octets of the file to look at, for who knows how far it is whole. The batch's buffer is the
        mapped file and its `start` has the place of each record in it (the record after it does not begin
        where it ends). A torn message ends the reading; damage does where no
        batch is behind it. What was not read is looked at again when the file has grown.
        """
        size = os.fstat(self.fd).st_size
        if limit is not None:
            size = min(size, limit)
        if size <= max(self.offset, self._tried):
            return None
        mapped = mmap.mmap(self.fd, size, prot=mmap.PROT_READ)
        octets = np.frombuffer(mapped, dtype=np.uint8)
        source = pa.BufferReader(pa.py_buffer(mapped))
        self._tried = size
        if self._schema is None and not self._read_schema(source):
            return None
        batches: list[pa.RecordBatch] = []
        while found := self._next_batch(source, octets):
            batch, at = found
            if at > self.offset and self.sound is None:
                self.sound = self.rows + sum(b.num_rows for b in batches)
            batches.append(batch)
            self.skipped += at - self.offset
            self.offset = source.tell()
        if not batches:
            return None
        whole = self._join(batches, octets)
        self.rows += whole.n
        return whole

    def damage(self) -> int:
        """Return how many octets could not be read, a torn end not counted. Call it after `read`."""
        size = os.fstat(self.fd).st_size
        if size <= self.offset:
            return self.skipped
        octets = np.frombuffer(mmap.mmap(self.fd, size, prot=mmap.PROT_READ), dtype=np.uint8)
        end = _message_end(octets, self.offset)
        # After a power cut the file may be longer than what reached the disk.
        torn = not octets[self.offset :].any()
        if end is not None and end > size:  # or its length is damaged: then messages are behind it
            places = _places(octets, self.offset)
            torn = all((_message_end(octets, place) or size + 1) > size for place in places)
        return self.skipped + (0 if torn else size - self.offset)

    def _read_schema(self, source: pa.BufferReader) -> bool:
        """Read what columns and slices there are; False where that is not a journal's."""
        try:
            schema = pa.ipc.read_schema(source)
            metadata = schema.metadata or {}
            extra = tuple(str(name) for name in json.loads(metadata.get(b"extra", b"[]")))
            width = schema.field("fields").type.byte_width // 4
            # Journals without the names have the first slices: until then they were only appended.
            names = json.loads(metadata.get(b"slices", b"null")) or FIELDS[: width - len(extra)]
            slices = (*(str(name) for name in names), *extra)
            types = {field.name: field.type for field in schema}  # names may be damaged, or twice the same
        except (pa.ArrowException, OSError, ValueError, KeyError, TypeError):
            return False
        for field in _schema(len(slices)):
            if field.name in ("fields", "octets") and field.name not in types:
                return False
            if types.get(field.name, field.type) != field.type or len(types) < len(schema):
                return False
        self._schema, self._slices, self.extra = schema, slices, extra
        self.offset = source.tell()
        return True

    def _next_batch(self, source: pa.BufferReader, octets: Array) -> tuple[pa.RecordBatch, int] | None:
        """Return the next whole batch and where it begins, None where there is none (yet)."""
        at: int | None = self.offset
        places = None
        while at is not None:
            end = _message_end(octets, at)
            if end is not None and end > len(octets):
                if places is None:
                    return None  # torn, or being written: nothing can be behind it
                end = None
            if end is not None:
                source.seek(at)
                batch = self._read_batch(source)
                if batch is not None:
                    return batch, at
                at = end  # its length is right, and only what is in it is not
                continue
            if places is None:
                places = iter(_places(octets, at))
            at = next((place for place in places if place > at), None)
        return None

    def _read_batch(self, source: pa.BufferReader) -> pa.RecordBatch | None:
        """Return the batch that the message holds, None where it is damaged."""
        try:
            message = pa.ipc.read_message(source)
            batch = pa.ipc.read_record_batch(message, self._schema)
            batch.validate()
        except (pa.ArrowException, OSError, EOFError, ValueError):
            return None
        _, offsets_buffer, data = batch.column("octets").buffers()
        if batch.num_rows < 1 or offsets_buffer is None or offsets_buffer.size < 4 * (batch.num_rows + 1):
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
            _, offsets, data = batch.column("octets").buffers()
            place = np.frombuffer(offsets, dtype=np.int32, count=batch.num_rows + 1).astype(np.int64)
            place += data.address - base if data is not None and data.size else 0
            starts.append(place[:-1])
        starts.append(np.array([len(buffer)], dtype=np.int64))
        n = sum(b.num_rows for b in batches)

        def column(name: str, dtype: str, fill: int = 0, width: int = 1) -> Array:
            if name not in batches[0].schema.names:
                return np.full(n * width, fill, dtype=dtype)
            parts = [
                np.frombuffer(b.column(name).buffers()[1], dtype=dtype, count=b.num_rows * width)
                for b in batches
            ]
            return parts[0] if len(parts) == 1 else np.concatenate(parts)

        slices = len(self._slices)
        return Batch(
            n=n,
            buffer=buffer,
            start=np.concatenate(starts),
            src_ip=column("src_ip", "uint8", width=16).reshape(n, 16),
            dst_ip=column("dst_ip", "uint8", width=16).reshape(n, 16),
            fields=self._ordered(column("fields", "uint16", width=2 * slices).reshape(n, slices, 2)),
            extra=self.extra,
            **{name: column(name, dtype, fill) for name, dtype, fill in NUMERIC},
        )

    def _ordered(self, slices: Array) -> Array:
        """Return the slices in the order of FIELDS and the extra headers; as they are where they have it."""
        wanted = (*FIELDS, *self.extra)
        if wanted == self._slices:
            return slices
        ordered = np.zeros((len(slices), len(wanted), 2), dtype=np.uint16)
        there = len(self._slices) - len(self.extra)
        for i, name in enumerate(FIELDS):
            if name in self._slices[:there]:
                ordered[:, i] = slices[:, self._slices.index(name)]
        ordered[:, len(FIELDS) :] = slices[:, there:]
        return ordered

    def close(self) -> None:
        """Close the file; batches already read stay valid."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def _message_end(octets: Array, at: int) -> int | None:
    """Return where the message at `at` ends, maybe beyond what there is; None where there is none."""
    size = len(octets)
    if at + _HEAD.size > size:
        return size + 1
    mark, length = (int(number) for number in _HEAD.unpack(octets[at : at + _HEAD.size].tobytes()))
    if mark != _MARK or not 0 < length <= _METADATA_AT_MOST:
        return None
    begin = at + _HEAD.size
    if begin + length > size:
        return begin + length
    body = _body_length(octets[begin : begin + length].tobytes())
    return None if body is None else begin + length + body


def _body_length(metadata: bytes) -> int | None:
    """Return `bodyLength` of a Message (Arrow's Message.fbs: field 3 of a FlatBuffers table)."""
    try:
        (root,) = struct.unpack_from("<I", metadata)
        (back,) = struct.unpack_from("<i", metadata, root)
        table = root - back
        (size,) = struct.unpack_from("<H", metadata, table) if table >= 0 else (0,)
        if size < 6:
            return None
        (offset,) = struct.unpack_from("<H", metadata, table + 10) if size >= 12 else (0,)
        (length,) = struct.unpack_from("<q", metadata, root + offset) if offset else (0,)
    except struct.error:
        return None
    return int(length) if 0 <= length <= _BODY_AT_MOST else None


def _places(octets: Array, at: int) -> list[int]:
    """Return where behind `at` messages may begin: marks at multiples of 8 with a length that can be."""
    at = at // 8 * 8 + 8
    words = octets[at : len(octets) // 8 * 8].view("<u4").reshape(-1, 2)
    found = np.flatnonzero((words[:, 0] == _MARK) & (words[:, 1] > 0) & (words[:, 1] <= _METADATA_AT_MOST))
    return [at + 8 * int(i) for i in found[:_PLACES_AT_MOST]]
