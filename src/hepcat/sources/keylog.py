"""A key log file, followed as programs append to it: the lines that are new since the last look.

In: a path, which may not exist yet. Out: octets of whole lines, for `Secrets.add_keylog`. What can go wrong:
HepcatError from the constructor where the path is no file or cannot be read; later `poll` never raises, and
`error` says what stands in the way (None when nothing does).

The file may grow, be cut off and begun anew, or be renamed away and made again: what was still appended to
the old one is read before the new one. A look at an unchanged file costs one system call. A secret counts
once its line is whole; the half-written last line is kept until it is.
"""

import os
import stat
from pathlib import Path
from typing import Final

from hepcat.errors import HepcatError

#: Octets read in one look at most, so that a large old log does not stop the capture; the rest comes next.
_MOST = 16 << 20
#: A line of a key log has some 200 octets; what is longer is none.
_LONGEST_LINE: Final = 1 << 16
#: Octets before the position that tell a file that grew from one that was written anew.
_TAIL: Final = 64


class KeyLogFollower:
    """Follows one path. error: why it cannot be read just now, else None (a missing file is no error)."""

    def __init__(self, path: Path) -> None:
        """Look at the path for the first time. Raises HepcatError where it can never be followed."""
        self.path = path
        self.error: str | None = None
        self._file: int | None = None
        self._inode = (0, 0)
        self._seen = (0, 0)  # size and mtime at the last look
        self._position = 0
        self._tail = b""
        self._partial = b""
        try:
            found = os.stat(path)
            if not stat.S_ISREG(found.st_mode):
                raise HepcatError(
                    f"the key log {path} is not a file",
                    "Name the file that programs write their TLS secrets to (SSLKEYLOGFILE).",
                )
            self._open(found)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise HepcatError(
                f"the key log {path} cannot be read: {error.strerror}",
                "Let the user that hepcat runs as read it.",
            ) from None

    def poll(self) -> bytes:
        """Return the whole lines that were written since the last call, oldest first; mostly b""."""
        try:
            return self._poll()
        except OSError as error:
            self.error = f"the key log {self.path} cannot be read: {error.strerror}"
            return b""

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _poll(self) -> bytes:
        try:
            found: os.stat_result | None = os.stat(self.path)
        except FileNotFoundError:
            found = None
        lines = b""
        if self._file is not None:
            same = found is not None and (found.st_dev, found.st_ino) == self._inode
            now = found if same and found is not None else os.fstat(self._file)
            if self._changed(now):
                lines = self._read(self._file, now)
            if same or found is None or self._position < self._seen[0]:
                self.error = None
                return lines
        if found is None or not stat.S_ISREG(found.st_mode):
            return lines
        self._open(found)
        assert self._file is not None
        self.error = None
        return lines + self._read(self._file, os.fstat(self._file))

    def _open(self, found: os.stat_result) -> None:
        """Begin with the file that stands at the path now."""
        file = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
        self.close()
        self._file, self._inode = file, (found.st_dev, found.st_ino)
        self._seen = (-1, -1)
        self._restart()

    def _restart(self) -> None:
        self._position, self._tail, self._partial = 0, b"", b""

    def _changed(self, now: os.stat_result) -> bool:
        return self._seen != (now.st_size, now.st_mtime_ns) or self._position < now.st_size

    def _read(self, file: int, now: os.stat_result) -> bytes:
        """Read on from the position, from the beginning where the file was written anew."""
        before = os.pread(file, len(self._tail), self._position - len(self._tail))
        if now.st_size < self._position or before != self._tail:
            self._restart()
        octets = os.pread(file, _MOST, self._position)
        self._seen = (now.st_size, now.st_mtime_ns)
        if not octets:
            return b""
        self._position += len(octets)
        self._tail = (self._tail + octets)[-_TAIL:]
        lines, newline, rest = (self._partial + octets).rpartition(b"\n")
        self._partial = rest if len(rest) <= _LONGEST_LINE else b""
        return lines + newline
