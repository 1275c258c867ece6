"""What the tests of SQL databases share: the original's tables, servers, a proxy that cuts connections."""

import contextlib
import socket
import threading
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from hepcat.bench import databases
from hepcat.config.databases import DatabaseSettings
from hepcat.stores.classic.schema import SIP_CAPTURE
from hepcat.stores.sql.engine import open_engine
from hepcat.stores.sql.writer import SqlWriter
from tests.servers import Servers, new_name

KINDS = ("mariadb", "postgres", "sqlite", "odbc")
#: Debian's SQLite driver for unixODBC.
ODBC_DRIVER = Path("/usr/lib/x86_64-linux-gnu/odbc/libsqlite3odbc.so")
_NUMBERS = {"int": "int(10) NOT NULL DEFAULT 0", "bigint": "bigint(18) NOT NULL DEFAULT 0"}


def original_mysql(charset: str = "utf8") -> str:
    """The table as the original script makes it (reference/sipcapture.md)."""
    lines = ["`id` bigint(20) unsigned NOT NULL AUTO_INCREMENT"]
    for column in SIP_CAPTURE.columns:
        kind = _NUMBERS.get(column.kind, f"varchar({column.width}) NOT NULL DEFAULT ''")
        if column.kind == "timestamp":
            kind = "timestamp NOT NULL DEFAULT '0000-00-00 00:00:00'"
        if column.name == "family":
            kind = "int(1) DEFAULT NULL"
        lines.append(f"`{column.name}` {kind}")
    lines.append("PRIMARY KEY (`id`,`date`)")
    lines += [f"KEY `{name}` (`{name}`)" for name in SIP_CAPTURE.indexes]
    return (
        f"CREATE TABLE sip_capture ({', '.join(lines)}) ENGINE=InnoDB DEFAULT CHARSET={charset} "
        "ROW_FORMAT=COMPRESSED KEY_BLOCK_SIZE=8 "
        "PARTITION BY RANGE (UNIX_TIMESTAMP(`date`)) (PARTITION pmax VALUES LESS THAN (MAXVALUE))"
    )


def original_other(serial: str) -> str:
    """The same columns for PostgreSQL and SQLite, `msg` of 1,500 characters as in the original."""
    lines = [f"id {serial}"]
    for column in SIP_CAPTURE.columns:
        kind = "BIGINT NOT NULL DEFAULT 0" if column.kind in ("int", "bigint") else ""
        kind = kind or f"VARCHAR({column.width}) NOT NULL DEFAULT ''"
        if column.kind == "timestamp":
            kind = "TIMESTAMP WITHOUT TIME ZONE DEFAULT '1970-01-01 00:00:00' NOT NULL"
        lines.append(f"{column.name} {'INTEGER' if column.name == 'family' else kind}")
    return f"CREATE TABLE sip_capture ({', '.join(lines)})"


@dataclass
class Database:
    """A database with nothing in it, for one test."""

    kind: str
    url: str
    server: databases.DatabaseServer | None = None
    engines: list[sa.Engine] = field(default_factory=list)

    @property
    def engine(self) -> sa.Engine:
        if not self.engines:
            self.engines.append(open_engine(self.url, create=True, pooled=False))
        return self.engines[0]

    def run(self, *statements: str) -> None:
        with self.engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.exec_driver_sql(statement)]

    def count(self, table: str = "sip_capture") -> int:
        return int(self.rows(f"SELECT count(*) FROM {table}")[0][0])

    def clear(self) -> None:
        """Drop all tables."""
        with self.engine.begin() as connection:
            for name in sa.inspect(connection).get_table_names():
                connection.exec_driver_sql(f"DROP TABLE IF EXISTS {name} CASCADE")

    def make_original(self) -> None:
        """Make the original's table."""
        if self.kind == "mariadb":
            self.run(original_mysql())
        else:
            postgres = self.kind == "postgres"
            self.run(original_other("BIGSERIAL PRIMARY KEY" if postgres else "INTEGER PRIMARY KEY"))

    def settings(self, **values: Any) -> DatabaseSettings:
        return DatabaseSettings(**({"name": "test", "url": self.url} | values))

    def writer(self, **values: Any) -> SqlWriter:
        return SqlWriter(self.settings(**values))


def fresh(servers: Servers, kind: str) -> Database:
    """Make an empty database on the server of that kind."""
    running = servers.sql(kind)
    return Database(kind, running.make_database(new_name()), running)


def file_database(kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Database:
    """Make an SQLite file, reached directly or through ODBC."""
    path = folder / "sip.db"
    if kind == "sqlite":
        return Database(kind, f"sqlite:///{path}")
    pytest.importorskip("pyodbc", exc_type=ImportError)
    if not ODBC_DRIVER.exists():
        pytest.skip("libsqliteodbc is not installed")
    ini = folder / "odbc.ini"
    name = f"sip{zlib.crc32(str(folder).encode())}"  # unixODBC remembers what it has read, by name
    ini.write_text(f"[{name}]\nDriver={ODBC_DRIVER}\nDatabase={path}\nTimeout=200\n")
    monkeypatch.setenv("ODBCINI", str(ini))
    return Database(kind, f"unixodbc://{name}")


class CuttingProxy:
    """A TCP proxy in front of a server that does as it is told when a commit comes by.

    at_commit: None passes it on; "lose" cuts without passing it on; "deaf" passes it on and cuts before the
    answer; "late" cuts, and passes it on once `release` is set.
    """

    def __init__(self, port: int) -> None:
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.at_commit: str | None = None
        self.release = threading.Event()
        self.cuts = 0
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                upstream = socket.create_connection(("127.0.0.1", self._to))
            except OSError:
                client.close()
                continue
            self._open += [client, upstream]
            for work in (self._up, self._down):
                threading.Thread(target=work, args=(client, upstream), daemon=True).start()

    def _up(self, client: socket.socket, upstream: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(65_536):
                if self.at_commit and b"COMMIT" in data:
                    self._cut(client, upstream, data)
                    return
                upstream.sendall(data)
        _shut(upstream)

    def _cut(self, client: socket.socket, upstream: socket.socket, data: bytes) -> None:
        what, self.at_commit = self.at_commit, None
        self.cuts += 1
        if what == "deaf":
            _shut(client, both=True)
            upstream.sendall(data)
            self.release.wait(0.3)
        elif what == "late":
            _shut(client, both=True)
            self.release.wait(120)
            upstream.sendall(data)
            self.release.wait(0.3)
        _shut(client, both=True)
        _shut(upstream, both=True)

    def _down(self, client: socket.socket, upstream: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := upstream.recv(65_536):
                client.sendall(data)
        _shut(client)

    def close(self) -> None:
        self.release.set()
        _shut(self._listener, both=True)
        self._listener.close()
        for each in self._open:
            _shut(each, both=True)
            each.close()


def _shut(sock: socket.socket, both: bool = False) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR if both else socket.SHUT_WR)
