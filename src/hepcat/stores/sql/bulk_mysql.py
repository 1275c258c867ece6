"""MariaDB and MySQL: rows in bulk, by MariaDB's bulk execution, as LOAD DATA LOCAL from memory, or by INSERT.

In: rows of a batch, made by classic/rows.py in the flavour of the way. Out: how many rows went in. What
can go wrong: PyMySQL's errors. No way refuses a batch for one value: LOAD DATA LOCAL turns errors into
warnings and leaves out rows that it cannot take, INSERT IGNORE does the same, and the caller counts.

MariaDB runs one prepared INSERT for all rows of a packet: no SQL to parse, no fields to search for. MySQL has
no such thing and gets LOAD DATA, and who takes neither (a proxy, local_infile = 0) a multi-row INSERT.

Where the time goes (MariaDB 10.11 at its default durability, the shipped compressed table with its nine
indexes, SIP of 600 to 740 octets, 5,000 rows a transaction): mariadbd 50 to 60 us of CPU a row, hepcat 2.5.
Of mariadbd's, two fifths are zlib on compressed pages: one compression for 3.5 rows, of which four fifths are
pages of the primary key, however the rows are ordered. What was tried:
- Bulk execution against LOAD DATA: 8 to 14 % less CPU; against multi-row INSERT: two fifths.
- Values in binary (numbers, dates) instead of as text: no less. Packets of 200 or 1,000 rows: no less.
- 1,000 rows a transaction: a tenth more; 20,000: no less. Rows sorted by Call-ID or by caller: no less.
- unique_checks = 0, foreign_key_checks = 0: no less; there is no unique secondary index and no foreign key.
- Two connections: LOAD DATA does not say how many rows come, so that it holds the lock on the table's counter
  to its end (innodb_autoinc_lock_mode = 1, MariaDB's default), and the second waits. Bulk execution is INSERT
  for the server, and does not hold it; but two connections cost a third more CPU a row, and on two cores that
  the generator and hepcat share they store no more than one.
"""

from typing import Final

import numpy as np
import structlog
from pymysql import err

from hepcat.batch.layout import Array, Batch
from hepcat.stores.classic.plan import BULK, LOAD_DATA, VALUES, Flavour, RowMaker, Rows
from hepcat.stores.sql.bulk import Loaded
from hepcat.stores.sql.mysql import MOST_OCTETS, MemoryConnection
from hepcat.stores.sql.reflect import ActualTable

#: What servers say that take no LOAD DATA LOCAL.
_NO_LOCAL: Final = frozenset({1148, 3948, 4166})
#: What servers, and proxies before them, say that prepare no (further) statement.
_NO_PREPARED: Final = frozenset({1047, 1295, 1461})
#: innodb_autoinc_lock_mode in which no statement keeps others waiting for a number (MySQL 8's default).
_INTERLEAVED: Final = "2"
#: What has to be known of the server; one that lacks some of it says nothing of that one.
_VARIABLES: Final = (
    "SHOW VARIABLES WHERE variable_name IN "
    "('local_infile', 'max_allowed_packet', 'log_bin', 'binlog_format', 'innodb_autoinc_lock_mode')"
)

log = structlog.get_logger("hepcat.store")


class MysqlLoader:
    """Loads rows over one connection (bulk.py)."""

    def __init__(self, connection: MemoryConnection, several: bool = False) -> None:
        """several: other connections write to the same table at the same time."""
        self._connection = connection
        with connection.cursor() as cursor:
            cursor.execute(_VARIABLES)
            server = {str(name).lower(): str(value).upper() for name, value in cursor.fetchall()}
            # One zone for the session: dates of timestamp columns come as UTC, wherever the server is.
            cursor.execute("SET SESSION sql_mode = '', time_zone = '+00:00'")
            if server.get("log_bin") != "ON" or server.get("binlog_format") != "STATEMENT":
                # Writers then lock no gaps between rows. (A log of statements would refuse it.)
                cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
            if "MariaDB" in connection.get_server_info():
                # Should we vanish without a word: hepcat_written must not stay locked.
                cursor.execute("SET SESSION idle_transaction_timeout = 60")
        self._most = min(int(server.get("max_allowed_packet", 1 << 20)), MOST_OCTETS) - 1024
        self._bulk = connection.has_bulk
        self._local = server.get("local_infile") == "ON"
        # LOAD DATA holds the table's counter to its end: the others would wait.
        self._waits = several and server.get("innodb_autoinc_lock_mode") != _INTERLEAVED
        if not self._bulk and not self._local:
            self._tell_slow()

    @property
    def _loads(self) -> bool:
        return self._local and not self._waits

    @property
    def flavour(self) -> Flavour:
        """Bulk execution's, LOAD DATA's, or where the server takes neither, INSERT's."""
        return BULK if self._bulk else LOAD_DATA if self._loads else VALUES

    @staticmethod
    def _tell_slow() -> None:
        log.warning(
            "the database takes no LOAD DATA LOCAL: rows go in by INSERT, about a quarter slower",
            hint="SET GLOBAL local_infile = ON at the server. hepcat sends rows that way, never a file.",
        )

    def load(self, table: ActualTable, maker: RowMaker, batch: Batch, rows: Array) -> Loaded:
        """Put rows into the table, as many as it takes."""
        made = maker.octets(batch, rows)
        if self.flavour is LOAD_DATA:
            return self._load_data(table, made)
        if len(made.data) > self._most and len(rows) > 1:
            half = len(rows) // 2
            return self.load(table, maker, batch, rows[:half]) + self.load(table, maker, batch, rows[half:])
        return self._execute(table, made) if self.flavour is BULK else self._insert(table, made)

    def try_nothing(self, table: ActualTable) -> None:
        """Load no row: the rights and the columns are looked at all the same."""
        if self._bulk:
            try:
                self._connection.forget(self._connection.prepare(_insert_of(table)))
                return
            except err.MySQLError as error:
                if error.args[0] not in _NO_PREPARED:
                    raise
                self._bulk = False
                if not self._local:
                    self._tell_slow()
        if not self._loads:
            return
        try:
            self._load_data(table, Rows(np.empty(0, dtype=np.uint8), 0, 0, 0))
        except err.MySQLError as error:
            if error.args[0] not in _NO_LOCAL:
                raise
            self._local = False  # a proxy in between, or the server's own rule
            self._tell_slow()

    def _load_data(self, table: ActualTable, made: Rows) -> Loaded:
        connection = self._connection
        connection.load_octets = made.data
        try:
            rows = connection.query(
                f"LOAD DATA LOCAL INFILE 'hepcat' INTO TABLE {table.quoted} CHARACTER SET binary "
                r"FIELDS TERMINATED BY '\t' ESCAPED BY '\\' LINES TERMINATED BY '\n' "
                f"({table.column_list})"
            )
        finally:
            connection.load_octets = None
        return self._loaded(rows, made)

    def _execute(self, table: ActualTable, made: Rows) -> Loaded:
        connection = self._connection
        number = connection.prepare(_insert_of(table))
        try:
            rows = connection.execute_bulk(number, len(table.columns), made.data)
        finally:
            connection.forget(number)
        return self._loaded(rows, made)

    def _insert(self, table: ActualTable, made: Rows) -> Loaded:
        start = f"INSERT IGNORE INTO {table.quoted} ({table.column_list}) VALUES ".encode()
        return self._loaded(self._connection.query(start + made.data[:-1].tobytes()), made)

    def _loaded(self, rows: int | None, made: Rows) -> Loaded:
        """Count; a value that the server had to change though we made it fit is counted as replaced."""
        went_in = int(rows or 0)
        warnings = self._connection.warning_count
        why = self._first_warning() if warnings and went_in < made.count else ""
        changed = warnings if went_in == made.count else 0
        return Loaded(went_in, made.cut, made.replaced + changed, why)

    def _first_warning(self) -> str:
        with self._connection.cursor() as cursor:
            cursor.execute("SHOW WARNINGS LIMIT 1")
            row = cursor.fetchone()
        return f"{row[2]} ({row[1]})" if row else ""


def _insert_of(table: ActualTable) -> str:
    """Return the INSERT that is run for each row."""
    marks = ", ".join("?" * len(table.columns))
    return f"INSERT IGNORE INTO {table.quoted} ({table.column_list}) VALUES ({marks})"
