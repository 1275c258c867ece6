"""PyMySQL's connection, with what bulk_mysql.py needs: LOAD DATA LOCAL from memory, MariaDB's bulk execution.

In: octets that are rows already (classic/plan.py: LOAD_DATA, BULK). Out: how many rows went in. What can go
wrong: PyMySQL's errors.

Bulk execution is MariaDB's own: one prepared INSERT runs for each row of one packet, without a word of SQL to
parse. A server that has it says so in the greeting, and wants to hear that the client has it too. PyMySQL
knows nothing of either, so the greeting is read twice here, and the answer amended on its way out.
"""

import struct
from typing import Any, Final

from pymysql import err
from pymysql.connections import Connection, MySQLResult
from pymysql.constants import CLIENT, COMMAND, CR

#: Octets of a packet of LOAD DATA. Large ones cost fewer system calls; the server's bound is never below 1
#: MiB.
_PACKET: Final = 512 * 1024
#: Octets of the largest packet that is one piece.
MOST_OCTETS: Final = 0xFF_FFFF
_HEADER: Final = struct.Struct("<I")
#: Where in the greeting, behind the server's version, its capabilities stand, and MariaDB's further ones.
_CAPABILITIES_AT: Final = 13
_EXTENDED_AT: Final = _CAPABILITIES_AT + 14
#: Where in the answer the further capabilities stand, and the octets that are zero else.
_ANSWER_EXTENDED_AT: Final = 28
_ANSWER_RESERVED: Final = slice(9, 32)
#: MARIADB_CLIENT_STMT_BULK_OPERATIONS, among the further capabilities.
_BULK: Final = 1 << 2
_COM_STMT_CLOSE: Final = 0x19
_COM_STMT_BULK_EXECUTE: Final = 0xFA
#: STMT_BULK_FLAG_CLIENT_SEND_TYPES
_SEND_TYPES: Final = 128
#: MYSQL_TYPE_BLOB, signed: octets, of which the column makes what it holds.
_BLOB: Final = b"\xfc\x00"


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


class MemoryConnection(Connection):  # type: ignore[misc]
    """PyMySQL's connection; LOAD DATA LOCAL reads `load_octets`, once, and never a file."""

    def __init__(self, **arguments: Any) -> None:
        self.load_octets: Any = None
        self._next_seq_id = 0
        self._greeting = b""
        self._introducing = False
        #: whether the server takes `execute_bulk`
        self.has_bulk = False
        super().__init__(**arguments, local_infile=True)

    # -- the greeting

    def _read_packet(self, *words: Any) -> Any:
        packet = super()._read_packet(*words)
        if not self._greeting:
            self._greeting = packet.get_all_data()
        return packet

    def _get_server_information(self) -> None:
        self._greeting = b""
        super()._get_server_information()
        after = self._greeting.index(b"\0", 1) + 1
        fixed = self._greeting[after : after + _EXTENDED_AT + 4]
        # A server that is not MariaDB has the flag, and zeros where MariaDB has more.
        extended = len(fixed) == _EXTENDED_AT + 4 and not fixed[_CAPABILITIES_AT] & CLIENT.LONG_PASSWORD
        self.has_bulk = extended and bool(_HEADER.unpack_from(fixed, _EXTENDED_AT)[0] & _BULK)

    def _request_authentication(self) -> None:
        self._introducing = self.has_bulk
        try:
            super()._request_authentication()
        finally:
            self._introducing = False

    def write_packet(self, payload: bytes) -> None:
        """Write a packet; ours of the greeting say that we know bulk execution."""
        if self._introducing and payload[_ANSWER_RESERVED] == bytes(23):
            flags = _HEADER.pack(_HEADER.unpack_from(payload)[0] & ~CLIENT.LONG_PASSWORD)
            rest = payload[len(flags) : _ANSWER_EXTENDED_AT]
            payload = flags + rest + _HEADER.pack(_BULK) + payload[_ANSWER_RESERVED.stop :]
        super().write_packet(payload)

    # -- rows

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

    def prepare(self, statement: str) -> int:
        """Prepare a statement; return its number. It says what rights, tables and columns are missing."""
        self._execute_command(COMMAND.COM_STMT_PREPARE, statement)
        number, columns, parameters = struct.unpack_from("<xIHH", self._read_packet().get_all_data())
        for count in (parameters, columns):
            for _ in range(count + 1 if count else 0):  # what is known of each, and the end of it
                self._read_packet()
        return int(number)

    def execute_bulk(self, number: int, columns: int, rows: Any) -> int:
        """Run a prepared statement with a `?` for each column, once for each row; return how many went in.

        rows: octets in the flavour BULK, at most MOST_OCTETS less 1,024.
        """
        head = struct.pack("<BIH", _COM_STMT_BULK_EXECUTE, number, _SEND_TYPES) + _BLOB * columns
        self._write_bytes(_HEADER.pack(len(head) + len(rows)) + head)
        self._write_bytes(memoryview(rows).cast("B"))
        self._next_seq_id = 1
        return int(self._read_query_result() or 0)

    def forget(self, number: int) -> None:
        """Close a prepared statement, if the connection is there yet. What the last one gave stays known."""
        if self.open:
            self._write_bytes(struct.pack("<IBI", 5, _COM_STMT_CLOSE, number))  # has no answer
