"""MariaDB and MySQL: rows in bulk, as LOAD DATA LOCAL from memory, or as multi-row INSERT.

In: rows as LOAD DATA's text (classic/rows.py: tab, newline, backslash). Out: how many rows went in. What
can go wrong: PyMySQL's errors. Neither way refuses a batch for one value: LOAD DATA LOCAL turns errors into
warnings and leaves out rows that it cannot take, INSERT IGNORE does the same, and the caller counts.

Measured with MariaDB 10.11 at its default durability, the shipped compressed table with its nine indexes,
SIP of 740 octets: LOAD DATA LOCAL 16,000 to 22,000 rows a second at 43 to 60 us of mariadbd's CPU a row,
multi-row INSERT a quarter less (parsing SQL costs more than reading fields). 1,000 rows a transaction give
a tenth less than 5,000, and 30,000 no more. unique_checks and foreign_key_checks change nothing: there is
no unique secondary index and no foreign key. A third of mariadbd's time is zlib on its compressed pages, a
fifth is reading fields.
"""

import struct
from typing import Any, Final

from pymysql import err
from pymysql.connections import Connection, MySQLResult
from pymysql.constants import CR

#: Octets of a packet of LOAD DATA. Large ones cost fewer system calls; the server's bound is never below 1
#: MiB.
_PACKET: Final = 512 * 1024
_HEADER: Final = struct.Struct("<I")


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


class MysqlBulk:
    """Loads rows over one connection."""

    def __init__(self, connection: MemoryLoadConnection) -> None:
        self._connection = connection
        with connection.cursor() as cursor:
            cursor.execute("SET SESSION sql_mode = '', time_zone = '+00:00'")
            cursor.execute("SELECT @@local_infile, @@max_allowed_packet")
            local, packet = cursor.fetchone()
        #: whether the server takes LOAD DATA LOCAL
        self.loads = bool(int(local))
        self._most = int(packet) // 2

    def load(self, table: str, columns: str, octets: Any) -> tuple[int, int]:
        """Put rows into a table (names quoted already). Returns (rows that went in, warnings)."""
        if self.loads:
            return self._load_data(table, columns, octets)
        return self._insert(table, columns, bytes(octets))

    def _load_data(self, table: str, columns: str, octets: Any) -> tuple[int, int]:
        connection = self._connection
        connection.load_octets = octets
        try:
            rows = connection.query(
                f"LOAD DATA LOCAL INFILE 'hepcat' INTO TABLE {table} CHARACTER SET binary "
                rf"FIELDS TERMINATED BY '\t' ESCAPED BY '\\' LINES TERMINATED BY '\n' ({columns})"
            )
        finally:
            connection.load_octets = None
        return int(rows or 0), connection.warning_count

    def _insert(self, table: str, columns: str, octets: bytes) -> tuple[int, int]:
        """Turn LOAD DATA's text into VALUES: both know the same escapes, but for \\N and the quote."""
        start = f"INSERT IGNORE INTO {table} ({columns}) VALUES ".encode()
        rows, warnings, at = 0, 0, 0
        while at < len(octets):
            end = len(octets)
            if end - at > self._most:
                end = octets.rfind(b"\n", at, at + self._most) + 1 or octets.index(b"\n", at) + 1
            rows += int(self._connection.query(start + _values(octets[at : end - 1])) or 0)
            warnings += self._connection.warning_count
            at = end
        return rows, warnings

    def warnings(self) -> str:
        """Return the words of the last statement's first warning."""
        with self._connection.cursor() as cursor:
            cursor.execute("SHOW WARNINGS LIMIT 1")
            row = cursor.fetchone()
        return f"{row[2]} ({row[1]})" if row else ""


def _values(octets: bytes) -> bytes:
    r"""Return `(_binary'a',_binary'b'),(...)` of rows in LOAD DATA's text, the last newline cut off.

    A field that is \N alone becomes NULL; nothing else can read `_binary'\N'`, because a backslash of a
    value is written twice.
    """
    quoted = octets.replace(b"'", b"\\'").replace(b"\t", b"',_binary'").replace(b"\n", b"'),(_binary'")
    return (b"(_binary'" + quoted + b"')").replace(b"_binary'\\N'", b"NULL")
