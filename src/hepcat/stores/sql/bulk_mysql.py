"""MariaDB and MySQL: rows in bulk, as LOAD DATA LOCAL from memory, or as multi-row INSERT.

In: rows of a batch, made by classic/rows.py in the flavour of the way. Out: how many rows went in. What
can go wrong: PyMySQL's errors. Neither way refuses a batch for one value: LOAD DATA LOCAL turns errors into
warnings and leaves out rows that it cannot take, INSERT IGNORE does the same, and the caller counts.

Where the time goes (MariaDB 10.11 at its default durability, the shipped compressed table with its nine
indexes, SIP of 600 to 740 octets, 5,000 rows a transaction): mariadbd 43 to 60 us of CPU a row where nothing
else runs, 16,000 to 22,000 rows a second over one connection, and half as much again where both cores are
contended; hepcat 2.5 us. Of mariadbd's, a third is zlib on compressed pages, half is entering the row and its
index entries, a sixth is reading fields. What was tried:
- LOAD DATA against multi-row INSERT: a fifth to a quarter less CPU; parsing SQL costs more than reading
  fields.
- 1,000 rows a transaction: a tenth more; 20,000: no less. Rows sorted by Call-ID or by caller: no less.
- unique_checks = 0, foreign_key_checks = 0: no less; there is no unique secondary index and no foreign key.
- Two connections: LOAD DATA does not say how many rows come, so that it holds the lock on the table's counter
  to its end (innodb_autoinc_lock_mode = 1, MariaDB's default), and the second waits. INSERT says it and does
  not. So one connection loads, and several insert: more CPU a row, but on as many cores.
"""

import struct
from typing import Any, Final

import numpy as np
import structlog
from pymysql import err
from pymysql.connections import Connection, MySQLResult
from pymysql.constants import CR

from hepcat.batch.layout import Array, Batch
from hepcat.stores.classic.plan import LOAD_DATA, VALUES, Flavour, RowMaker, Rows
from hepcat.stores.sql.bulk import Loaded
from hepcat.stores.sql.reflect import ActualTable

#: Octets of a packet of LOAD DATA. Large ones cost fewer system calls; the server's bound is never below 1
#: MiB.
_PACKET: Final = 512 * 1024
#: What servers say that take no LOAD DATA LOCAL.
_NO_LOCAL: Final = frozenset({1148, 3948, 4166})
#: innodb_autoinc_lock_mode in which no statement keeps others waiting for a number (MySQL 8's default).
_INTERLEAVED: Final = "2"
#: What has to be known of the server; one that lacks some of it says nothing of that one.
_VARIABLES: Final = (
    "SHOW VARIABLES WHERE variable_name IN "
    "('local_infile', 'max_allowed_packet', 'log_bin', 'binlog_format', 'innodb_autoinc_lock_mode')"
)
_HEADER: Final = struct.Struct("<I")

log = structlog.get_logger("hepcat.store")


class _Result(MySQLResult):  # type: ignore[misc]
    """An answer; where the server asks for a local file, it gets the octets in memory and nothing else.

    PyMySQL would open the file that the *server* names: a hostile server could read any file of ours.
    """

    def _read_load_local_packet(self, first_packet: Any) -> None:
        connection = self.connection
        octets, connection.load_octets = connection.load_octets, None
        if octets is not None:
            connection.send_octets(octets)
        connection.write_packet(b"")  # the end of the file
        answer = connection._read_packet()
        if octets is None:
            connection._force_close()
            raise err.OperationalError(CR.CR_SERVER_LOST, "the server asked for a file that was not offered")
        if not answer.is_ok_packet():
            raise err.OperationalError(CR.CR_COMMANDS_OUT_OF_SYNC, "Commands Out of Sync")
        self._read_ok_packet(answer)


class MemoryLoadConnection(Connection):  # type: ignore[misc]
    """PyMySQL's connection; LOAD DATA LOCAL reads `load_octets`, once, and never a file."""

    def __init__(self, **arguments: Any) -> None:
        self.load_octets: Any = None
        self._next_seq_id = 0
        super().__init__(**arguments, local_infile=True)

    def _read_query_result(self, unbuffered: bool = False) -> int | None:
        if unbuffered:
            return super()._read_query_result(unbuffered=True)  # type: ignore[no-any-return]
        self._result = None
        result = _Result(self)
        result.read()
        self._result = result
        if result.server_status is not None:
            self.server_status = result.server_status
        return result.affected_rows  # type: ignore[no-any-return]

    @property
    def warning_count(self) -> int:
        """How many warnings the last statement gave."""
        return int(self._result.warning_count or 0) if self._result is not None else 0

    def send_octets(self, octets: Any) -> None:
        """Send the octets in packets."""
        view = memoryview(octets).cast("B")
        for at in range(0, len(view), _PACKET):
            part = view[at : at + _PACKET]
            self._write_bytes(_HEADER.pack(len(part) | self._next_seq_id << 24))
            self._write_bytes(part)
            self._next_seq_id = (self._next_seq_id + 1) % 256


class MysqlLoader:
    """Loads rows over one connection (bulk.py)."""

    def __init__(self, connection: MemoryLoadConnection, several: bool = False) -> None:
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
        self._most = int(server.get("max_allowed_packet", 1 << 20)) - 1024
        self._loads = server.get("local_infile") == "ON"
        if not self._loads:
            self._tell_slow()
        if several and server.get("innodb_autoinc_lock_mode") != _INTERLEAVED:
            self._loads = False  # LOAD DATA holds the table's counter to its end: the others would wait

    @property
    def flavour(self) -> Flavour:
        """LOAD DATA's, or where the server does not take that, INSERT's."""
        return LOAD_DATA if self._loads else VALUES

    @staticmethod
    def _tell_slow() -> None:
        log.warning(
            "the database takes no LOAD DATA LOCAL: rows go in by INSERT, about a quarter slower",
            hint="SET GLOBAL local_infile = ON at the server. hepcat sends rows that way, never a file.",
        )

    def load(self, table: ActualTable, maker: RowMaker, batch: Batch, rows: Array) -> Loaded:
        """Put rows into the table, as many as it takes."""
        made = maker.octets(batch, rows)
        if self._loads:
            return self._load_data(table, made)
        if len(made.data) > self._most and len(rows) > 1:
            half = len(rows) // 2
            return self.load(table, maker, batch, rows[:half]) + self.load(table, maker, batch, rows[half:])
        return self._insert(table, made)

    def try_nothing(self, table: ActualTable) -> None:
        """Load no row: the rights and the columns are looked at all the same."""
        if not self._loads:
            return
        try:
            self._load_data(table, Rows(np.empty(0, dtype=np.uint8), 0, 0, 0))
        except err.MySQLError as error:
            if error.args[0] not in _NO_LOCAL:
                raise
            self._loads = False  # a proxy in between, or the server's own rule
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
