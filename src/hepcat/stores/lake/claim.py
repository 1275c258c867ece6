"""Who may write: locks that die with their process, and sequence numbers no two writers share.

In: the lake's folder. Out: an open, locked file descriptor; the first number of a claimed range.
What can go wrong: HepcatError where another server has the lake; OSError of the disk.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from hepcat.batch.schema import TABLES
from hepcat.errors import HepcatError
from hepcat.stores.lake.catalog import JOURNAL, date_folders, entries, folder_files

#: Room that a journal or import found on disk gets when the counter is missing or was lost.
_JOURNAL_ROOM: Final = 2**32
#: Sequence numbers of one import: more than can be written in a month, so ranges stay whole.
IMPORT_RANGE: Final = 2**40
_COUNTER: Final = ".sequence"


def try_lock(path: Path, flags: int = os.O_RDONLY) -> int | None:
    """Open and lock a file or folder; None where it is gone or a living process holds it."""
    try:
        fd = os.open(path, flags | os.O_CLOEXEC, 0o640)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.stat(path).st_ino == os.fstat(fd).st_ino:
            return fd
    except OSError:
        pass
    os.close(fd)
    return None


def lock_lake(root: Path) -> int:
    """Take the lake for one server; returns the descriptor that holds the lock."""
    path = root / JOURNAL / ".lock"
    fd = try_lock(path, os.O_CREAT | os.O_RDWR)
    if fd is None:
        pid = ""
        with contextlib.suppress(OSError):
            pid = path.read_text().strip()
        raise HepcatError(
            f"another hepcat server (process {pid or 'unknown'}) writes to the lake {root}",
            "Stop it, or choose another folder with --data.",
        )
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    return fd


@contextlib.contextmanager
def claim(root: Path, count: int, *, check: bool = False) -> Iterator[int]:
    """Claim `count` sequence numbers; the block gets the first. Waits for other writers.

    The block has to create the journal or folder of that name: other writers cannot claim before it
    ends, so whoever sees a later number in use also sees that name. check: look at the whole folder
    too (at start-up), because after a power cut the counter may be behind what is on disk.
    """
    fd = os.open(root / JOURNAL / _COUNTER, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        text = os.pread(fd, 32, 0).strip()
        following = int(text) if text.isdigit() else 0
        if check or not text.isdigit():
            following = max(following, _beyond(root, following))
        os.pwrite(fd, b"%019d\n" % (following + count), 0)
        yield following
    finally:
        os.close(fd)


def unclaimed(root: Path) -> int:
    """Return the first sequence number that nobody had claimed at this moment."""
    try:
        fd = os.open(root / JOURNAL / _COUNTER, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0
    try:
        fcntl.flock(fd, fcntl.LOCK_SH)
        text = os.pread(fd, 32, 0).strip()
        return int(text) if text.isdigit() else 0
    finally:
        os.close(fd)


def _beyond(root: Path, following: int) -> int:
    """Return a number beyond every range that is on disk."""
    for entry in entries(root):
        if entry.first >= following:
            room = IMPORT_RANGE if entry.kind in ("import", "done") else _JOURNAL_ROOM
            following = max(following, entry.first + room)
    for table in TABLES:
        for date in date_folders(root, table):
            for f in folder_files(root, table, date):
                following = max(following, f.last + 1)
    return following
