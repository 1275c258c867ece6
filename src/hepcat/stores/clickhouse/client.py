"""One connection to one ClickHouse server: statements in, columns out; and native blocks in.

In: SQL text and blocks that hepcat made (blocks.py). Out: columns. What can go wrong: `Away` (no answer: it
is not known whether a statement ran; `Silent` where the server hangs), `Refused` (the server's own error,
with its code), HepcatError where waiting does not help (wrong password, no such database, a certificate that
is not trusted). One thread uses a connection.

The driver speaks the protocol; a block goes past its columns of Python objects straight into the socket.
"""

import contextlib
import logging
import re
import ssl
import time
from collections.abc import Generator, Mapping, Sequence
from socket import SHUT_RDWR
from typing import Any, Final

import clickhouse_driver
import clickhouse_driver.errors as driver_errors
from clickhouse_driver.block import BlockInfo, RowOrientedBlock
from clickhouse_driver.protocol import ClientPacketTypes
from clickhouse_driver.varint import write_varint
from clickhouse_driver.writer import write_binary_str

from hepcat.errors import HepcatError
from hepcat.stores.clickhouse.address import SECURE_PORT, Address, Host

# It tells every refused connection with a traceback; what matters of that is raised here.
logging.getLogger("clickhouse_driver").setLevel(logging.CRITICAL)

#: Server's error codes, by what they mean to us (ClickHouse, ErrorCodes.cpp).
NO_DATABASE: Final = 81
NO_TABLE: Final = 60
NO_CLUSTER: Final = frozenset({170, 701})
LOGIN: Final = frozenset({192, 193, 194, 516})
RIGHT: Final = frozenset({164, 497, 291})
NO_COLUMN: Final = frozenset({8, 10, 16, 47})
#: Over a limit of time, rows or memory.
LIMIT: Final = frozenset({158, 159, 160, 241, 307, 396})
#: A remote server that was asked by this one did not answer.
REMOTE: Final = frozenset({3, 32, 209, 210, 279})
#: Pass by themselves: too busy, too many parts, read-only for now, no space, ZooKeeper away.
PASSING: Final = frozenset(
    {
        3,
        23,
        32,
        74,
        75,
        76,
        159,
        160,
        202,
        203,
        209,
        210,
        225,
        236,
        241,
        242,
        243,
        252,
        254,
        279,
        285,
        286,
        319,
        999,
    }
)
#: OpenSSL's codes for a certificate of another host: X509_V_ERR_HOSTNAME_MISMATCH, _IP_ADDRESS_MISMATCH.
_OTHER_NAME: Final = (62, 64)
#: What TLS calls an answer that is none of its own.
_NO_TLS: Final = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE")
#: Revision from which a block says of each column whether it is serialized in another way (a 0 octet: no).
_CUSTOM_SERIALIZATION: Final = 54454


class Away(HepcatError):
    """The server does not answer, or ceased to in the middle: whether a statement ran is not known."""


class Silent(Away):
    """The server took the connection, and then said nothing for too long: it hangs, or is gone."""


class Refused(HepcatError):
    """The server said no. `code`: its number of the error."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class Connection:
    """A connection that is made when it is first needed, and not made again by itself."""

    def __init__(
        self, address: Address, host: Host, *, database: str | None = None, timeout: float | None = None
    ) -> None:
        """Prepare it. database: another one than the address's.

        timeout: seconds for which the server may say nothing while it works; when it is greeted, it may for
        `address.silence` only.
        """
        self.host = host
        self.address = address
        options: dict[str, Any] = {}
        if address.secure:
            options = {"secure": True, "verify": address.verify}
            if address.ca_certs and address.verify:
                options["ca_certs"] = address.ca_certs
        self._client = clickhouse_driver.Client(
            host.name,
            host.port,
            address.database if database is None else database,
            address.user,
            address.password,
            client_name="hepcat",
            connect_timeout=address.connect_timeout,
            send_receive_timeout=address.timeout if timeout is None else timeout,
            sync_request_timeout=address.silence,
            tcp_keepalive=True,
            settings={"strings_as_bytes": True},
            **options,
        )
        # The driver's own would wait for a greeting as long as for an answer, and connect again unasked.
        self._client.connection.force_connect = self.greet
        self._version: tuple[int, int, int] | None = None

    @property
    def version(self) -> tuple[int, int, int]:
        """The server's version; connects."""
        if self._version is None:
            self.greet()
            info = self._client.connection.server_info
            self._version = (int(info.version_major), int(info.version_minor), int(info.version_patch))
        return self._version

    def greet(self) -> None:
        """Connect, or see whether the connection still lives. Raises Silent where nobody greets back."""
        connection = self._client.connection
        if connection.connected:
            began = time.monotonic()
            if self.alive():
                return
            self.close()
            kind = Silent if time.monotonic() - began >= self.address.silence else Away
            raise kind(f"ClickHouse {self.host} does not answer any more")
        self._check_authority()
        patience, connection.send_receive_timeout = connection.send_receive_timeout, self.address.silence
        try:
            connection._init_connection(*connection.hosts[0])
            connection.socket.settimeout(patience)
        except BaseException as error:
            taken = connection.connected
            connection.disconnect()
            if isinstance(error, TimeoutError) and not taken:
                raise Away(f"ClickHouse {self.host} does not answer: {_reason(error)}") from None
            if taken and not self.address.secure and isinstance(error, (EOFError, ConnectionResetError)):
                words = "closed the connection when it was greeted; if that port is for TLS, say secure=1"
                raise Away(f"ClickHouse {self.host} {words}") from None
            if isinstance(error, (driver_errors.Error, OSError, EOFError)):
                raise self._as_ours(error) from None
            raise
        finally:
            connection.send_receive_timeout = patience

    def run(self, sql: str, settings: Mapping[str, Any] | None = None) -> None:
        """Run a statement that has no result."""
        self._guard(lambda: self._client.execute(sql, settings=dict(settings or {})))

    def columns(
        self, sql: str, settings: Mapping[str, Any] | None = None, query_id: str | None = None
    ) -> dict[str, tuple[str, Sequence[Any]]]:
        """Run a SELECT; return name -> (type, values), text as bytes."""
        data, kinds = self._guard(
            lambda: self._client.execute(
                sql, settings=dict(settings or {}), columnar=True, with_column_types=True, query_id=query_id
            )
        )
        values = data or [()] * len(kinds)
        return {name: (kind, column) for (name, kind), column in zip(kinds, values, strict=True)}

    def stream(
        self, sql: str, settings: Mapping[str, Any] | None = None
    ) -> Generator[dict[str, tuple[str, Sequence[Any]]]]:
        """Run a SELECT and yield its blocks, none of them empty. Closing it early costs the connection."""
        client = self._client
        begun, ended = False, False
        try:
            with client.disconnect_on_error(sql, dict(settings or {})):
                client.connection.send_query(sql)
                client.connection.send_external_tables(None)
                begun = True
            packets = client.packet_generator()
            while True:
                packet = self._guard(lambda: next(packets, None))
                if packet is None:
                    ended = True
                    return
                block = getattr(packet, "block", None)
                if block is not None and block.num_rows:
                    yield {
                        name: (kind, block.get_column_by_index(i))
                        for i, (name, kind) in enumerate(block.columns_with_types)
                    }
        except (driver_errors.Error, OSError, EOFError) as error:
            raise self._as_ours(error) from None
        finally:
            if begun and not ended:
                self.close()

    def alive(self) -> bool:
        """Say whether the connection still answers."""
        connection = getattr(self._client, "connection", None)
        try:
            return connection is not None and connection.connected and bool(connection.ping())
        except (driver_errors.Error, OSError, EOFError):
            return False

    def insert(
        self, sql: str, rows: int, columns: Sequence[tuple[str, str, Sequence[Any]]], query_id: str
    ) -> None:
        """Run an INSERT with one native block: name, type and octets of each column.

        Raises Away, after which nobody knows whether the rows are there.
        """
        self._guard(lambda: self._insert(sql, rows, columns, query_id))

    def _insert(
        self, sql: str, rows: int, columns: Sequence[tuple[str, str, Sequence[Any]]], query_id: str
    ) -> None:
        client = self._client
        with client.disconnect_on_error(sql, {}):
            connection = client.connection
            connection.send_query(sql, query_id=query_id)
            connection.send_external_tables(None)
            client.receive_sample_block()
            out = connection.fout
            write_varint(ClientPacketTypes.DATA, out)
            write_binary_str("", out)
            BlockInfo().write(out)
            write_varint(len(columns), out)
            write_varint(rows, out)
            custom = connection.server_info.used_revision >= _CUSTOM_SERIALIZATION
            for name, kind, parts in columns:
                write_binary_str(name, out)
                write_binary_str(kind, out)
                if custom:
                    out.write(b"\0")
                out.flush()
                for part in parts:
                    connection.socket.sendall(part)
            connection.send_data(RowOrientedBlock())
            client.receive_end_of_query()

    def _guard(self, action: Any) -> Any:
        """Run an action; every error of driver, network and server becomes one of ours."""
        try:
            return action()
        except (driver_errors.Error, OSError, EOFError) as error:
            raise self._as_ours(error) from None

    def _as_ours(self, error: BaseException) -> HepcatError:
        if isinstance(error, driver_errors.ServerException):
            return self._refused(error)
        self.close()
        if isinstance(error, ssl.SSLCertVerificationError):
            return HepcatError(
                f"ClickHouse {self.host}: its certificate cannot be trusted: {error.verify_message}",
                "Write the host in the URL as its certificate names it, or say verify=0."
                if error.verify_code in _OTHER_NAME
                else "Name its authority with ca_certs=FILE in the URL, or say verify=0.",
            )
        if isinstance(error, ssl.SSLError) and error.reason in _NO_TLS:
            return HepcatError(
                f"ClickHouse {self.host} speaks no TLS at this port",
                f"Name its port for TLS (tcp_port_secure, mostly {SECURE_PORT}), or leave out secure=1.",
            )
        silent = isinstance(error, (TimeoutError, driver_errors.SocketTimeoutError))
        return (Silent if silent else Away)(f"ClickHouse {self.host} does not answer: {_reason(error)}")

    def _check_authority(self) -> None:
        """Raise HepcatError where the file of `ca_certs` is of no use; the driver would not name it."""
        path = self.address.ca_certs
        if not (self.address.secure and self.address.verify and path):
            return
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
        except OSError as error:
            why = "holds no certificate" if isinstance(error, ssl.SSLError) else error.strerror
            raise HepcatError(
                f"ClickHouse {self.host}: {path} (ca_certs of the URL): {why}",
                "ca_certs names a PEM file with the certificate of whoever vouches for the server.",
            ) from None

    def _refused(self, error: Any) -> HepcatError:
        code, words = int(error.code), first_line(str(error.message))
        if code in LOGIN:
            return HepcatError(
                f'ClickHouse {self.host} does not let user "{self.address.user}" in',
                "Correct user and password in the URL (url_file and url_env keep them out of the settings).",
            )
        if code == NO_DATABASE and self.address.database in words:
            return HepcatError(
                f'ClickHouse {self.host} has no database "{self.address.database}"',
                "`hepcat db create` makes it, and the tables.",
            )
        return Refused(f"ClickHouse {self.host}: {words} (code {code})", code)

    def interrupt(self) -> None:
        """End what another thread waits for here: it gets Away, and the server gives the statement up."""
        connection = getattr(self._client, "connection", None)
        socket = getattr(connection, "socket", None)
        if connection is not None and socket is not None:
            with contextlib.suppress(OSError, driver_errors.Error):
                connection.send_cancel()  # old servers go on where the client only hangs up
            with contextlib.suppress(OSError):
                socket.shutdown(SHUT_RDWR)

    def close(self) -> None:
        """Close it. Idempotent."""
        self._client.disconnect()


def first_line(message: str) -> str:
    """Return what a server's message says, without its stack trace."""
    text = message.partition("Stack trace:")[0].strip()
    lines = re.sub(r"^DB::Exception: ", "", text).splitlines()
    return (lines[0] if lines else "")[:400].rstrip(". ")


def _reason(error: BaseException) -> str:
    if isinstance(error, EOFError):
        return "it closed the connection"
    text = getattr(error, "message", None) or getattr(error, "strerror", None) or str(error)
    return str(text).partition("\n")[0].partition(" (")[0].strip().lower() or type(error).__name__


def literal(value: str | int) -> str:
    """Return a value as SQL."""
    if isinstance(value, int):
        return str(value)
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def name(identifier: str) -> str:
    """Return a name as SQL."""
    return "`" + identifier.replace("\\", "\\\\").replace("`", "\\`") + "`"
