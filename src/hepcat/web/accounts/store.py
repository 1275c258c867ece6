"""The file of the accounts: an SQLite database that several processes share.

In: a path. Out: connections, for reading or within a transaction. The page and `hepcat user` may use the file
at once: it is in WAL mode, so that readers never wait, and one writes at a time. The file and its neighbours
(-wal, -shm) are for their owner only. What can go wrong: AccountsUnavailable, where the file cannot be made
or read, is no database, comes from a later version, or can be read by others.

The file may appear, and be replaced, while a server runs: `hepcat user add` makes the first account so.
"""

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from hepcat.errors import HepcatError

#: Of the file (PRAGMA user_version).
VERSION: Final = 1
#: Seconds that a writer waits for another.
BUSY_SECONDS: Final = 10.0
#: Connections kept for the next who reads.
KEPT: Final = 8

#: Names are ASCII (users.py), so that SQLite's NOCASE is all the case there is.
_SCHEMA: Final = """
CREATE TABLE users (
    name TEXT PRIMARY KEY COLLATE NOCASE, role TEXT NOT NULL, hash TEXT NOT NULL,
    disabled INTEGER NOT NULL DEFAULT 0, created REAL NOT NULL, changed REAL NOT NULL
) STRICT;
CREATE TABLE sessions (
    id BLOB PRIMARY KEY, user TEXT COLLATE NOCASE REFERENCES users ON DELETE CASCADE ON UPDATE CASCADE,
    name TEXT NOT NULL, role TEXT NOT NULL, created REAL NOT NULL, used REAL NOT NULL, expires REAL NOT NULL
) STRICT;
CREATE INDEX sessions_user ON sessions (user);
CREATE INDEX sessions_expires ON sessions (expires);
CREATE TABLE tokens (
    id INTEGER PRIMARY KEY AUTOINCREMENT, hash BLOB NOT NULL UNIQUE,
    user TEXT NOT NULL COLLATE NOCASE REFERENCES users ON DELETE CASCADE ON UPDATE CASCADE,
    name TEXT NOT NULL, role TEXT NOT NULL, created REAL NOT NULL, used REAL, expires REAL NOT NULL
) STRICT;
CREATE INDEX tokens_user ON tokens (user);
"""


class AccountsUnavailable(HepcatError):
    """The file cannot be used: nobody can be known, so nobody is let in."""


class Database:
    """The file, and connections to it. All methods may be called from any thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._mutex = threading.Lock()
        self._idle: list[sqlite3.Connection] = []
        self._file: tuple[int, int] | None = None  # which file the idle connections lead to

    def exists(self) -> bool:
        """Whether there is a file; without one there are no accounts."""
        return self._identity() is not None

    @contextlib.contextmanager
    def read(self) -> Iterator[sqlite3.Connection | None]:
        """Give a connection that reads; None where there is no file, which is not made then."""
        if not self.exists():
            yield None
            return
        with self._connection() as connection:
            yield connection

    @contextlib.contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """Give a connection within a transaction, committed at the end unless something is raised."""
        self._make()
        with self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def close(self) -> None:
        """Close what is kept open."""
        with self._mutex:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    @contextlib.contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        with self._told():
            connection, file = self._take()
            try:
                yield connection
            except BaseException:
                connection.close()
                raise
            with self._mutex:
                if file == self._file and len(self._idle) < KEPT:
                    self._idle.append(connection)
                    return
            connection.close()

    def _take(self) -> tuple[sqlite3.Connection, tuple[int, int] | None]:
        """Return a connection, and which file it leads to."""
        identity = self._identity()
        with self._mutex:
            if (
                identity != self._file
            ):  # another file has its place: connections to the old one would not see it
                stale, self._idle, self._file = self._idle, [], identity
            elif self._idle:
                return self._idle.pop(), identity
            else:
                stale = []
        for connection in stale:
            connection.close()
        return self._connect(), identity

    def _connect(self) -> sqlite3.Connection:
        self._guarded()
        connection = sqlite3.connect(
            f"{self.path.absolute().as_uri()}?mode=rw",
            uri=True,
            timeout=BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,  # one thread at a time: whoever took it from the idle ones
        )
        try:
            connection.execute("PRAGMA foreign_keys = ON")
            version = int(connection.execute("PRAGMA user_version").fetchone()[0])
            if version == 0:
                _create(connection)
            elif version != VERSION:
                raise AccountsUnavailable(
                    f"{self.path}: accounts of version {version}, this hepcat knows {VERSION}",
                    "Use the hepcat that wrote it, or a later one.",
                )
        except BaseException:
            connection.close()
            raise
        return connection

    def _identity(self) -> tuple[int, int] | None:
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._failed(error.strerror or str(error)) from None
        return found.st_dev, found.st_ino

    def _guarded(self) -> None:
        """Raise where others may read or write the file: it holds what stands for passwords."""
        mode = self.path.stat().st_mode
        if mode & 0o077:
            raise AccountsUnavailable(
                f"{self.path} can be read or changed by others (mode {mode & 0o777:04o})",
                f"It holds the accounts: chmod 600 {self.path}",
            )

    def _make(self) -> None:
        """Make the file, empty and for its owner only, unless it is there."""
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(self.path, flags, 0o600)
        except FileExistsError:
            return
        except OSError as error:
            raise self._failed(error.strerror or str(error)) from None
        try:
            os.fchmod(descriptor, 0o600)
            if os.geteuid() == 0:  # root made it; whoever serves is the one who has the folder
                folder = self.path.absolute().parent.stat()
                os.fchown(descriptor, folder.st_uid, folder.st_gid)
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Turn SQLite's errors into ours."""
        try:
            yield
        except sqlite3.Error as error:
            raise self._failed(str(error)) from error
        except OSError as error:
            raise self._failed(error.strerror or str(error)) from error

    def _failed(self, why: str) -> AccountsUnavailable:
        return AccountsUnavailable(
            f"cannot use the accounts in {self.path}: {why}",
            "Look at the file and its folder: their owner has to be the user that hepcat runs as. "
            "[web] accounts in the configuration names another place.",
        )


def _create(connection: sqlite3.Connection) -> None:
    """Make the tables; another process may just do the same."""
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("BEGIN IMMEDIATE")
    try:
        if connection.execute("PRAGMA user_version").fetchone()[0] == 0:
            for statement in _SCHEMA.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {VERSION}")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
