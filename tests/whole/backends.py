"""Every kind of database as the tests of the whole use it: made, read without hepcat, killed, started again.

A server of each kind is shared by all tests; each test has a database of its own, which is empty.
"""

import contextlib
import glob
import os
import re
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from hepcat.bench import databases
from hepcat.bench.clickhouse import ClickHouse, cluster_url
from tests.servers import Servers as Servers
from tests.servers import new_name

KINDS = ("mysql", "postgres", "sqlite", "odbc", "dbtext", "clickhouse")


class Backend:
    """One database with nothing in it. `table`: where the SIP messages are."""

    kind = ""
    url = ""
    #: rows are in the order in which they came
    ordered = True
    #: being away is an error at once, rather than waiting for a lock
    refuses = True

    def __init__(self) -> None:
        self.environment: dict[str, str] = {}

    def call_ids(self) -> list[str]:
        """Return the Call-ID of every row of sip_capture, as it was stored."""
        raise NotImplementedError

    def kill(self) -> None:
        """Let it die in the middle of what it does."""
        raise NotImplementedError

    def stop(self) -> None:
        """End it in order."""
        raise NotImplementedError

    def start(self) -> None:
        """Let it come back."""
        raise NotImplementedError

    def numbers(self) -> list[int]:
        """Return the numbers of what a NumberedSender sent, as they are stored."""
        return [int(call_id) for call_id in self.call_ids() if call_id.isdecimal()]


class ServerBackend(Backend):
    """MariaDB or PostgreSQL."""

    def __init__(self, server: databases.DatabaseServer) -> None:
        super().__init__()
        self.server = server
        self.name = new_name()
        self.kind = "mysql" if isinstance(server, databases.MariaDb) else "postgres"
        self.url = server.make_database(self.name)

    def run(self, sql: str) -> list[list[str]]:
        """Run SQL as the administrator, with the server's own client; rows of text."""
        return [line.split("\t") for line in self.server.admin(sql, self.name).splitlines()]

    def call_ids(self) -> list[str]:
        return [row[0] for row in self.run("SELECT callid FROM sip_capture ORDER BY id")]

    def kill(self) -> None:
        self.server.kill()

    def stop(self) -> None:
        self.server.stop()

    def start(self) -> None:
        self.server.start()


_HOLD = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], timeout=20, isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
connection.execute("CREATE TABLE half_done (n)")
connection.executemany("INSERT INTO half_done VALUES (?)", ([i] for i in range(50000)))
print("held", flush=True)
sys.stdin.readline()
connection.rollback()
"""


class FileBackend(Backend):
    """An SQLite file, reached directly or through ODBC. Away: another process has it locked.

    That process either gives its transaction up, or is killed in it.
    """

    refuses = False

    def __init__(self, kind: str, folder: Path) -> None:
        super().__init__()
        self.kind, self.path = kind, folder / "sip.db"
        self._holder: subprocess.Popen[str] | None = None
        self.url = f"sqlite:///{self.path}"
        if kind == "odbc":
            pytest.importorskip("pyodbc", exc_type=ImportError)
            drivers = sorted(glob.glob("/usr/lib/*/odbc/libsqlite3odbc.so"))
            if not drivers:
                pytest.skip("libsqliteodbc is not installed")
            ini = folder / "odbc.ini"
            ini.write_text(f"[sip]\nDriver={drivers[-1]}\nDatabase={self.path}\nTimeout=20000\n")
            self.environment = {"ODBCINI": str(ini)}
            self.url = "unixodbc:///sip"

    def call_ids(self) -> list[str]:
        with contextlib.closing(sqlite3.connect(self.path, timeout=60)) as connection:
            return [str(row[0]) for row in connection.execute("SELECT callid FROM sip_capture ORDER BY id")]

    def _hold(self) -> None:
        self._holder = subprocess.Popen(
            [sys.executable, "-c", _HOLD, str(self.path)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == "held\n"

    stop = kill = _hold

    def start(self) -> None:
        assert self._holder is not None
        self._holder.send_signal(signal.SIGKILL)
        self._holder.communicate()


class FolderBackend(Backend):
    """A dbtext folder. Away: the folder is not there, as when its disk is not mounted."""

    kind = "dbtext"

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.path = folder / "dbtext"
        self.url = f"text://{self.path}"

    def call_ids(self) -> list[str]:
        head, *lines = (self.path / "sip_capture").read_text(errors="replace").splitlines()
        at = [column.partition("(")[0] for column in head.split()].index("callid")
        # A colon within a value has a backslash before it.
        return [re.split(r"(?<!\\):", line)[at] for line in lines if line]

    def _away(self) -> None:
        self.path.rename(self.path.with_name("elsewhere"))

    stop = kill = _away

    def start(self) -> None:
        self.path.with_name("elsewhere").rename(self.path)


class ClusterBackend(Backend):
    """ClickHouse in two shards. Killed: the first; stopped: the second."""

    kind = "clickhouse"
    ordered = False

    def __init__(self, servers: list[ClickHouse]) -> None:
        super().__init__()
        self.servers = servers
        self.name = new_name()
        for server in servers:
            server.admin(f"CREATE DATABASE {self.name}", "")
        self.url = cluster_url(servers).replace("/hepcat?", f"/{self.name}?")
        self._away: list[ClickHouse] = []

    def call_ids(self) -> list[str]:
        sql = "SELECT call_id FROM sip_local"
        return [line for server in self.servers for line in server.admin(sql, self.name).splitlines()]

    def kill(self) -> None:
        self._away.append(self.servers[0])
        self.servers[0].kill()

    def stop(self) -> None:
        self._away.append(self.servers[1])
        self.servers[1].stop()

    def start(self) -> None:
        while self._away:
            self._away.pop().start()


def make_backend(kind: str, servers: Servers, folder: Path) -> Backend:
    """Return an empty database of a kind; skip the test where its program is missing."""
    if kind == "mysql":
        return ServerBackend(servers.mariadb())
    if kind == "postgres":
        return ServerBackend(servers.postgres())
    if kind == "clickhouse":
        pytest.importorskip("clickhouse_driver")
        return ClusterBackend(servers.clickhouse())
    if kind == "dbtext":
        return FolderBackend(folder)
    return FileBackend(kind, folder)


def environment(backend: Backend) -> dict[str, str]:
    """Return the environment for commands that reach the database."""
    return {**os.environ, **backend.environment}
