"""hepcat_written: which records of a spool are in the database, in the same transaction as the records.

In: the writer's name (a UUID), ranges of record numbers. Out: SQL statements with values bound, and the
ranges found at opening. What can go wrong: the drivers' errors. Where the table cannot be made, writing
goes on without it, and a batch whose commit was lost on the way may be written twice: told once.

A lost connection can leave a transaction behind that the server has yet to end, one way or the other. Asking
for the ranges has to wait for it, or its batch would be written again: MariaDB's locking read waits for rows
that are not committed yet; in PostgreSQL every batch holds a shared advisory lock that opening takes alone;
SQLite has one writer at a time.
"""

import zlib
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from hepcat.stores.writer import Range

TABLE_NAME: Final = "hepcat_written"
#: First key of PostgreSQL's advisory locks of ours: "hep" and a number.
_LOCK: Final = 0x68657001

_metadata: Final = sa.MetaData()
WRITTEN: Final = sa.Table(
    TABLE_NAME,
    _metadata,
    sa.Column("writer", sa.String(64).with_variant(mysql.VARCHAR(64, charset="ascii"), "mysql", "mariadb")),
    sa.Column("first_record", sa.BigInteger, autoincrement=False),
    sa.Column("last_record", sa.BigInteger, nullable=False),
    sa.PrimaryKeyConstraint("writer", "first_record"),
    mysql_engine="InnoDB",
)


def make(connection: sa.Connection) -> None:
    """Make the table where it is missing. Raises the driver's error where there is no right to."""
    try:
        _metadata.create_all(connection, checkfirst=True)
        connection.commit()
    except sa.exc.DBAPIError:
        connection.rollback()
        if not sa.inspect(connection).has_table(TABLE_NAME):  # else another connection was faster
            raise
    finally:
        connection.rollback()


class Progress:
    """The ranges of one writer over one connection (DB-API), which may be in a transaction."""

    def __init__(self, dialect: sa.Dialect, writer: str) -> None:
        self._writer = writer
        self._mysql = dialect.name in ("mysql", "mariadb")
        self._postgres = dialect.name == "postgresql" and dialect.driver == "psycopg"
        table, first, last = WRITTEN, WRITTEN.c.first_record, WRITTEN.c.last_record
        found = sa.select(first, last).where(table.c.writer == sa.bindparam("w")).order_by(first)
        self._select = _Statement(found.with_for_update() if self._mysql else found, dialect)
        self._insert = _Statement(
            sa.insert(table).values(
                writer=sa.bindparam("w"), first_record=sa.bindparam("f"), last_record=sa.bindparam("l")
            ),
            dialect,
        )
        self._delete = _Statement(
            sa.delete(table).where(table.c.writer == sa.bindparam("w"), first == sa.bindparam("f")), dialect
        )
        #: ranges that the table is known to hold
        self.known: list[Range] = []

    def try_rights(self, connection: Any) -> None:
        """Try what is needed on the table; the caller rolls back."""
        cursor = connection.cursor()
        self._insert.run(cursor, {"w": self._writer, "f": -1, "l": -1})
        self._delete.run(cursor, {"w": self._writer, "f": -1})

    def read(self, connection: Any) -> list[Range]:
        """Return the ranges, after every transaction of this writer has ended."""
        cursor = connection.cursor()
        if self._postgres:
            cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", (_LOCK, self._key()))
        self._select.run(cursor, {"w": self._writer})
        self.known = [(int(first), int(last)) for first, last in cursor.fetchall()]
        return list(self.known)

    def add(self, connection: Any, first: int, last: int) -> None:
        """Say that a range is written: the transaction's first statement, so that it holds the row's lock."""
        cursor = connection.cursor()
        if self._postgres:
            cursor.execute("SELECT pg_advisory_xact_lock_shared(%s, %s)", (_LOCK, self._key()))
        self._insert.run(cursor, {"w": self._writer, "f": first, "l": last})

    def forget(self, connection: Any, floor: int) -> list[Range]:
        """Delete the ranges below the floor, by their key: no range of keys is locked. Returns them."""
        cursor = connection.cursor()
        gone = [span for span in self.known if span[1] < floor]
        for first, _ in gone:
            self._delete.run(cursor, {"w": self._writer, "f": first})
        return gone

    def committed(self, added: Range, gone: list[Range]) -> None:
        """Remember what the table holds after a commit."""
        self.known = [span for span in self.known if span not in gone]
        self.known.append(added)

    def _key(self) -> int:
        key = zlib.crc32(self._writer.encode())
        return key - (1 << 32) if key >= 1 << 31 else key


class _Statement:
    """A Core statement compiled once, run on a cursor of the driver."""

    def __init__(self, statement: Any, dialect: sa.Dialect) -> None:
        compiled = statement.compile(dialect=dialect)
        self._text = str(compiled)
        self._order = compiled.positiontup

    def run(self, cursor: Any, values: dict[str, Any]) -> None:
        cursor.execute(self._text, [values[name] for name in self._order] if self._order else values)
