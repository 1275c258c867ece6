"""A database's writer that fails on command, and is exact: SQLite in a file, one row a record.

It is the one stand-in of these tests: no real database fails at a given statement. "Committed and not known"
is real here: the transaction is in the file when the error is raised, and the next `open` reads it there.
"""

import sqlite3
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from hepcat.batch.drops import Drop
from hepcat.batch.layout import Batch
from hepcat.errors import HepcatError
from hepcat.stores.store import StoreUnavailable
from hepcat.stores.writer import BatchRefused, Range, Written


class Faults:
    """What goes wrong from now on, for all writers of a test. `plan` says it call by call of `write`."""

    def __init__(self) -> None:
        self.away: Exception | None = None
        #: taken one a write: "away", "lost answer", "refused", "bug", "bug after commit", "ok"
        self.plan: list[str] = []
        #: refuse every batch that has one of these payloads
        self.refuse: set[bytes] = set()
        #: what was refused alone by `plan`: a row that is refused too often is given up
        self.refused_alone: set[bytes] = set()
        self.bug: set[bytes] = set()
        self.maintain: Exception | None = None
        self.maintained = 0
        self.opened = 0
        self.sizes: list[int] = []
        self.before: Callable[[], None] = lambda: None


class FaultyWriter:
    """stores/writer.py BatchWriter."""

    def __init__(self, path: Path, faults: Faults) -> None:
        self.path = path
        self.faults = faults
        self.writer = ""
        self.db: sqlite3.Connection | None = None

    def open(self, writer: str) -> list[Range]:
        self.faults.opened += 1
        if self.faults.away is not None:
            raise self.faults.away
        assert self.db is None, "opened twice"
        self.writer = writer
        self.db = sqlite3.connect(self.path, isolation_level=None, timeout=60)
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute("PRAGMA synchronous = OFF")
        self.db.execute("CREATE TABLE IF NOT EXISTS rows (id INTEGER PRIMARY KEY, seq INTEGER, payload BLOB)")
        self.db.execute("CREATE TABLE IF NOT EXISTS done (writer TEXT, first INTEGER, last INTEGER)")
        query = "SELECT first, last FROM done WHERE writer = ?"
        return list(self.db.execute(query, (writer,)).fetchall())

    def write(self, batch: Batch, first: int, floor: int) -> Written:
        assert self.db is not None, "written to while closed"
        assert floor <= first
        self.faults.before()
        records = [batch.text(row, "payload") for row in range(batch.n)]
        fault = self.faults.plan.pop(0) if self.faults.plan else "ok"
        if self.faults.away is not None or fault == "away":
            raise self.faults.away or StoreUnavailable("away", Drop.STORE_FAILED)
        if fault == "refused" or self.faults.refuse.intersection(records):
            if len(records) == 1:
                self.faults.refused_alone.update(filter(None, records))
            raise BatchRefused("deadlock")
        if fault == "bug" or self.faults.bug.intersection(records):
            raise ZeroDivisionError("a bug")
        self.faults.sizes.append(batch.n)
        self.db.execute("BEGIN IMMEDIATE")
        kept = [(first + i, record) for i, record in enumerate(records) if record is not None]
        self.db.executemany("INSERT INTO rows (seq, payload) VALUES (?, ?)", kept)
        self.db.execute("DELETE FROM done WHERE writer = ? AND last < ?", (self.writer, floor))
        self.db.execute("INSERT INTO done VALUES (?, ?, ?)", (self.writer, first, first + batch.n - 1))
        self.db.execute("COMMIT")
        if fault == "lost answer":
            raise StoreUnavailable("nobody knows", Drop.STORE_FAILED)
        if fault == "bug after commit":
            raise ZeroDivisionError("a bug, too late")
        lost = batch.n - len(kept)
        return Written(rows=len(kept), cut=1, drops={Drop.NO_TABLE: lost} if lost else {})

    def maintain(self) -> None:
        assert self.db is not None
        self.faults.maintained += 1
        if self.faults.maintain is not None:
            raise self.faults.maintain

    def close(self) -> None:
        if self.db is not None:
            self.db.close()
            self.db = None


def wrong_password() -> HepcatError:
    """Return what no waiting mends."""
    return HepcatError("wrong password", "Correct url_file.")


def written(path: Path) -> list[bytes]:
    """Return every payload in the database, in the order in which they were inserted."""
    if not path.exists():
        return []
    db = sqlite3.connect(path)
    try:
        return [row[0] for row in db.execute("SELECT payload FROM rows ORDER BY id")]
    except sqlite3.OperationalError:
        return []
    finally:
        db.close()


def assert_once(found: list[bytes]) -> None:
    """Assert that nothing is there twice."""
    twice = [payload for payload, count in Counter(found).items() if count > 1]
    assert not twice, f"{len(twice)} twice, first {twice[:3]}"
