"""The spool of a target: blocks on disk, in order, until the target has them.

In: blocks, which `append` puts behind all others and `prepend` before them. Out: the same, oldest first, by
`read`; what was delivered is told by `done`, and then not read again, not by a later process either.
What can go wrong: OSError from append and prepend (nothing of the block counts as spooled); a file that
cannot be read back is skipped, and the records in it are returned by `take_damage`.

A folder holds files NUMBER.spool, in order of number, each up to FILE_OCTETS. A file: a header (magic, how
far it has been delivered), then blocks: a header of four little-endian numbers (magic, octets, records,
CRC-32 of what follows), the end of each record, the octets. Writes go to the page cache, so a killed agent
loses nothing that was spooled; a file is fsynced when it is full and when the agent stops, so a power cut
may take the file that is being written. One agent has the folder, by flock(2).
"""

import contextlib
import fcntl
import os
import struct
import zlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from hepcat.sinks.block import Block, SpoolPlace

FILE_OCTETS: Final = 8 * 2**20
_MAGIC: Final = b"hepcat-spool-1\n\0"
#: magic, offset of the first block not delivered, messages of it that were
_HEAD: Final = struct.Struct("<16sQQ")
#: magic, octets, records, CRC-32
_BLOCK: Final = struct.Struct("<IIII")
_MARK: Final = 0x4B4C4253
_LARGEST: Final = 64 * 2**20
#: Number of the first file: there is room before it for what is older.
_FIRST: Final = 10**15


@dataclass(slots=True, eq=False)
class _File:
    path: Path
    number: int
    size: int
    read_at: int  # the next block to read
    skip: int  # messages of it that were delivered already
    records: int  # not yet read
    lent: int = 0  # blocks read and not done
    fd: int = -1  # open while it is read or written


class Spool:
    """The files of one target's spool. Not for several threads at once: the owner has a lock."""

    def __init__(self, folder: Path, limit: int) -> None:
        """Make or take over the folder. Raises OSError, also where another agent has it (EAGAIN)."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o750)
        self.folder = folder
        self.limit = limit
        self.octets = 0
        #: records that can be read
        self.records = 0
        self._damaged = self._uncounted = 0
        self._tail: _File | None = None  # being written
        self._lock = os.open(folder / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise
        self._files: deque[_File] = deque()
        for path in sorted(folder.glob("*.spool")):
            if path.stem.isdigit():
                self._take_over(path)

    def _take_over(self, path: Path) -> None:
        """Count what a file of an earlier process holds."""
        file = _File(path, int(path.stem), path.stat().st_size, _HEAD.size, 0, 0)
        self._files.append(file)
        self.octets += file.size
        try:
            file.fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            magic, read_at, skip = _HEAD.unpack(os.pread(file.fd, _HEAD.size, 0))
            if magic != _MAGIC or not _HEAD.size <= read_at <= file.size:
                raise ValueError("not a spool file")
            file.read_at = read_at
            counts = self._walk(file)
            if not counts and read_at < file.size:
                raise ValueError("nothing in it can be read")
            file.skip = skip if counts and skip < counts[0] else 0
            file.records = sum(counts) - file.skip
        except (OSError, ValueError, struct.error):
            self._set_aside(file)
        self._release(file)
        self.records += file.records
        if file in self._files:
            self._drop_if_done(file)

    def _set_aside(self, file: _File) -> None:
        """Keep a file that is no spool file under another name; at least one record was in it."""
        self._damaged += 1
        self._uncounted += 1
        self._files.remove(file)
        self.octets -= file.size
        file.records = 0
        with contextlib.suppress(OSError):
            file.path.rename(file.path.with_suffix(".damaged"))

    @staticmethod
    def _walk(file: _File) -> list[int]:
        """Return the records of each block behind read_at, by its header, up to damage (met again)."""
        at, counts = file.read_at, []
        while at < file.size:
            head = os.pread(file.fd, _BLOCK.size, at)
            if len(head) < _BLOCK.size:
                break
            mark, octets, count, _ = _BLOCK.unpack(head)
            if mark != _MARK or not 0 < count <= octets <= _LARGEST:
                break
            counts.append(count)
            at += _BLOCK.size + 4 * count + octets
        return counts

    def take_damage(self) -> tuple[int, int]:
        """Return how many records could not be read back since the last call, and how many of these had
        never been part of `records`.
        """
        found = self._damaged, self._uncounted
        self._damaged = self._uncounted = 0
        return found

    # -- writing

    def append(self, *blocks: Block) -> bool:
        """Put blocks behind all others, all of them in one write; False where the limit is reached.

        Raises OSError, with none of them written.
        """
        octets = b"".join(_pack(block) for block in blocks)
        if self.octets + len(octets) + _HEAD.size > self.limit:
            return False
        tail = self._tail
        if tail is not None and tail.size >= FILE_OCTETS:
            self._seal(tail)
            tail = None
        if tail is None:
            number = self._files[-1].number + 1 if self._files else _FIRST
            tail = self._tail = self._create(number)
            self._files.append(tail)
        self._write(tail, octets, sum(block.records for block in blocks))
        return True

    def prepend(self, blocks: Sequence[Block]) -> bool:
        """Put blocks before all others, in one file. The limit may be passed by it. Raises OSError."""
        if not blocks:
            return True
        file = self._create(self._files[0].number - 1 if self._files else _FIRST)
        self._files.appendleft(file)
        for block in blocks:
            self._write(file, _pack(block), block.records)
        os.fsync(file.fd)
        self._release(file)
        return True

    def _create(self, number: int) -> _File:
        path = self.folder / f"{number:019d}.spool"
        fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o640)
        try:
            os.pwrite(fd, _HEAD.pack(_MAGIC, _HEAD.size, 0), 0)
        except OSError:
            os.close(fd)
            with contextlib.suppress(OSError):
                path.unlink()
            raise
        self.octets += _HEAD.size
        return _File(path, number, _HEAD.size, _HEAD.size, 0, 0, fd=fd)

    def _write(self, file: _File, octets: bytes, records: int) -> None:
        """Write a block whole, or raise with nothing of it left."""
        done = 0
        try:
            while done < len(octets):
                done += os.pwrite(file.fd, octets[done:], file.size + done)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(file.fd, file.size)
            raise
        file.size += len(octets)
        file.records += records
        self.octets += len(octets)
        self.records += records

    def _seal(self, file: _File) -> None:
        with contextlib.suppress(OSError):
            os.fsync(file.fd)
        self._release(file)
        self._tail = None

    @staticmethod
    def _release(file: _File) -> None:
        """Close a file until it is read: a large spool has more files than a process may have open."""
        if file.fd >= 0:
            os.close(file.fd)
            file.fd = -1

    # -- reading

    def read(self) -> Block | None:
        """Return the oldest block not yet read, None where there is none. Counts damage."""
        for file in list(self._files):
            while file.read_at < file.size:
                block = self._read_block(file)
                if block is not None:
                    file.lent += 1
                    return block
            self._drop_if_done(file)
        return None

    def _read_block(self, file: _File) -> Block | None:
        """Return the next block of a file, None where it is damaged (and passed over)."""
        offset, skip = file.read_at, file.skip
        file.skip = 0
        head = self._pread(file, _BLOCK.size, offset)
        mark, octets, count, crc = _BLOCK.unpack(head) if len(head) == _BLOCK.size else (0, 0, 0, 0)
        end = offset + _BLOCK.size + 4 * count + octets
        if mark != _MARK or not 0 < count <= octets <= _LARGEST or end > file.size:
            self._damaged += max(file.records, 1)
            self._uncounted += file.records == 0
            self.records -= file.records
            file.records, file.read_at = 0, file.size
            return None
        body = self._pread(file, end - offset - _BLOCK.size, offset + _BLOCK.size)
        file.read_at = end
        left = count - skip
        file.records -= left
        self.records -= left
        ends = (
            np.frombuffer(body[: 4 * count], dtype="<u4").astype(np.int64) if len(body) >= 4 * count else None
        )
        if ends is None or zlib.crc32(body) != crc or int(ends[-1]) != octets:
            self._damaged += left
            return None
        block = Block(body[4 * count :], ends, SpoolPlace(file, offset, end))
        return block.rest(skip) if skip else block

    @staticmethod
    def _fd(file: _File) -> int:
        if file.fd < 0:
            file.fd = os.open(file.path, os.O_RDWR | os.O_CLOEXEC)
        return file.fd

    def _pread(self, file: _File, octets: int, at: int) -> bytes:
        try:
            return os.pread(self._fd(file), octets, at)
        except OSError:
            return b""

    def done(self, block: Block) -> None:
        """Say that a block that was read is delivered: no process reads it again."""
        place = block.place
        assert place is not None
        place.file.lent -= 1
        self._progress(place.file, place.end, 0)
        self._drop_if_done(place.file)

    def keep(self, block: Block) -> None:
        """Say how much of a block that was read is delivered; the rest stays for a later process."""
        place = block.place
        assert place is not None
        self._progress(place.file, place.offset, place.done)

    def _progress(self, file: _File, offset: int, done: int) -> None:
        with contextlib.suppress(OSError):
            os.pwrite(self._fd(file), struct.pack("<QQ", offset, done), len(_MAGIC))

    def _drop_if_done(self, file: _File) -> None:
        if file.lent or file.read_at < file.size:
            return
        if file is self._tail:  # all that was written has been delivered
            self._tail = None
        self.octets -= file.size
        self._files.remove(file)
        self._release(file)
        with contextlib.suppress(OSError):
            file.path.unlink()

    def close(self) -> None:
        """Make what is left durable, and give the folder up."""
        for file in self._files:
            if file.fd >= 0:
                with contextlib.suppress(OSError):
                    os.fsync(file.fd)
                self._release(file)
        self._files.clear()
        with contextlib.suppress(OSError):
            fd = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            os.fsync(fd)
            os.close(fd)
        os.close(self._lock)


def _pack(block: Block) -> bytes:
    body = block.ends.astype("<u4").tobytes() + block.data
    return _BLOCK.pack(_MARK, len(block.data), block.records, zlib.crc32(body)) + body
