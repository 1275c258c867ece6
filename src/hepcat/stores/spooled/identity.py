"""Who a spool is: its lock, its name in the database, the numbers it has used, the records it gave up.

In: the spool's folder. Out: a UUID by which the database remembers what it has of this spool, and record
numbers that never repeat under it. What can go wrong: HepcatError where another process has the folder or it
cannot be written; a file that was lost or damaged, after which the spool has a new name and says so.

Files: `lock` (flock(2)). `writer` (JSON; replaced whole): UUID, the first number nobody has claimed, and as
at the last clean end the number below which all is done and the ranges above it that are. `floor`
(overwritten in place): the UUID and the number below which all was done a moment ago. `given-up`: a line
"first last" for records that the database will never have. The database may forget what is below the floor
that is on disk here.
"""

import errno
import fcntl
import json
import os
import re
import uuid
from itertools import chain
from pathlib import Path
from typing import Final

from hepcat.errors import HepcatError
from hepcat.stores.spooled.files import NAME
from hepcat.stores.spooled.ranges import below, merged
from hepcat.stores.writer import Range

#: Numbers claimed at a time. After a power cut the spool's files can be behind what the database has already,
#: so numbers go on behind the claim and not behind the files.
CLAIM: Final = 2**24
_NUMBER: Final = re.compile(r"[0-9]{1,18}")


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable. Raises OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _write_whole(fd: int, octets: bytes) -> None:
    """Write all octets; a disk that becomes full in the middle takes some of them, and says no error."""
    if os.write(fd, octets) != len(octets):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Identity:
    """The files beside the journals. The owner has a lock against its own threads."""

    def __init__(self, folder: Path) -> None:
        """Take the folder, making it where it is missing. Raises HepcatError."""
        self.folder = folder
        self._lock = -1
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o750)
            self._lock = os.open(folder / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o640)
            self._take()
            self.claimed = self.floor = 0
            #: records that were done at the last clean end
            self.done: list[Range] = []
            self.writer, self.lost = str(uuid.uuid4()), False
            if not self._read():
                self._write(0)
            self.given_up = self._read_given_up()
        except OSError as error:
            self.release()
            raise HepcatError(
                f"cannot write to the spool {folder}: {error.strerror}",
                "Make the folder writable for the server's user, or choose another with --data.",
            ) from error
        except HepcatError:
            self.release()
            raise

    def _take(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.pread(self._lock, 32, 0).decode("ascii", "replace").strip()
            raise HepcatError(
                f"another hepcat server (process {pid or 'unknown'}) has the spool {self.folder}",
                "Stop it, or choose another folder with --data.",
            ) from None
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)

    def _read(self) -> bool:
        """Read who the spool is; False where that is not known, or not any more."""
        try:
            text = (self.folder / "writer").read_text()
        except FileNotFoundError:
            self.lost = any(NAME.fullmatch(path.name) for path in self.folder.iterdir())
            return False
        except UnicodeDecodeError:
            text = ""
        try:
            known = json.loads(text)
            name, claimed, floor = str(uuid.UUID(known["writer"])), known["next"], known["floor"]
            done = [(first, last) for first, last in known.get("done", [])]
            if not all(type(n) is int and 0 <= n < 2**62 for n in (claimed, floor, *chain(*done))):
                raise ValueError("no record numbers")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            self.lost = True
            return False
        self.writer, self.claimed, self.floor = name, claimed, min(floor, claimed)
        self.done = merged(below(done, claimed))
        self._read_floor()
        return True

    def _read_floor(self) -> None:
        """Read the floor noted last, where it is this spool's."""
        try:
            name, _, number = (self.folder / "floor").read_text().strip().partition(" ")
        except (FileNotFoundError, UnicodeDecodeError):
            return
        if name == self.writer and _NUMBER.fullmatch(number):
            self.floor = max(self.floor, min(int(number), self.claimed))

    def note_floor(self, floor: int) -> None:
        """Remember, durably, that all records below `floor` are done. Raises OSError."""
        if floor <= self.floor:
            return
        fd = os.open(self.folder / "floor", os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o640)
        try:
            os.pwrite(fd, f"{self.writer} {floor:018d}\n".encode(), 0)  # always as long, within one sector
            os.fdatasync(fd)
        finally:
            os.close(fd)
        self.floor = floor

    def _write(self, claimed: int) -> None:
        """Replace the file whole, durably. Raises OSError with the old one in place."""
        path = self.folder / "writer.new"
        fd = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o640)
        try:
            text = json.dumps(
                {"writer": self.writer, "next": claimed, "floor": self.floor, "done": self.done}
            )
            _write_whole(fd, text.encode())
            os.fsync(fd)
        finally:
            os.close(fd)
        os.replace(path, self.folder / "writer")
        sync_folder(self.folder)
        self.claimed = claimed

    def claim(self, end: int) -> None:
        """Make sure that numbers below `end` are claimed. Raises OSError."""
        if end > self.claimed:
            self._write(end + CLAIM)

    def save(self, following: int, floor: int, done: list[Range]) -> None:
        """Say, at a clean end, which number comes next, below which all is done, and what is above it.

        Raises OSError.
        """
        self.floor, self.done = max(floor, self.floor), done
        self._write(following)

    def _read_given_up(self) -> list[Range]:
        """Return the records given up that still matter, and forget the others."""
        path = self.folder / "given-up"
        try:
            lines = path.read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return []
        found = []
        for line in lines:
            first, _, last = line.partition(" ")
            if _NUMBER.fullmatch(first) and _NUMBER.fullmatch(last):
                found.append((int(first), int(last)))
        return merged(r for r in found if r[1] >= self.floor)

    def give_up(self, first: int, last: int) -> None:
        """Remember, durably, that these records are not to be offered again. Raises OSError."""
        fd = os.open(self.folder / "given-up", os.O_CREAT | os.O_APPEND | os.O_WRONLY | os.O_CLOEXEC, 0o640)
        try:
            _write_whole(fd, f"\n{first} {last}\n".encode())  # behind what may be half a line
            os.fdatasync(fd)
        finally:
            os.close(fd)

    def forget_given_up(self) -> None:
        """Drop what was remembered, once every record up to the floor is done. Raises OSError."""
        (self.folder / "given-up").unlink(missing_ok=True)

    def release(self) -> None:
        """Let another process have the folder. Idempotent."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
