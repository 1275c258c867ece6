"""Database servers that all tests share, and that may be killed and started again; see tests/conftest.py.

In: nothing. Out: a server of each kind, started when it is first asked for. Who takes one away gives it back;
each test has a database of its own. A server of this machine that is not installed skips the test.
"""

import contextlib
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from hepcat.bench import databases
from hepcat.bench.clickhouse import ClickHouse, shards
from hepcat.bench.measure import Skipped

#: No test takes the power away; what a killed server had written is in the kernel.
MARIADB_OPTIONS = ("--innodb-flush-method=nosync", "--debug-no-sync", "--innodb-log-file-size=16M")
#: Where their data is, if it has room: half of the tests' time on a disk is waiting for it.
_MEMORY: Final = Path("/dev/shm")
_ROOM: Final = 3 * 2**30
_NUMBERS = itertools.count(1)


def place() -> Path | None:
    """Return the folder in memory for data of servers; None: there is none, or it is small."""
    try:
        usable = os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free >= _ROOM
    except OSError:
        return None
    return _MEMORY if usable else None


def new_name() -> str:
    """Return the name of a database that nobody has."""
    return f"db{next(_NUMBERS)}"


@contextlib.contextmanager
def folder_for_data() -> Iterator[Path]:
    """Make a folder for a server's data; it is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="hepcat-", dir=place(), ignore_cleanup_errors=True) as path:
        yield Path(path)


class Servers:
    """Servers, each started when it is first asked for."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._stack = stack
        self._running: dict[str, object] = {}

    def _server(self, name: str, make: Callable[[], contextlib.AbstractContextManager[object]]) -> object:
        if name not in self._running:
            try:
                self._running[name] = self._stack.enter_context(make())
            except Skipped as reason:
                pytest.skip(str(reason))
        return self._running[name]

    def sql(self, kind: str) -> databases.DatabaseServer:
        """MariaDB or PostgreSQL, started again where a test that failed has left it behind stopped."""
        server = self.mariadb() if kind == "mariadb" else self.postgres()
        if not server.is_running:
            server.start()
        return server

    def mariadb(self) -> databases.MariaDb:
        """MariaDB."""
        server = self._server("mariadb", lambda: databases.mariadb(MARIADB_OPTIONS, place()))
        assert isinstance(server, databases.MariaDb)
        return server

    def postgres(self) -> databases.Postgres:
        """PostgreSQL."""
        new = "postgres" not in self._running
        server = self._server("postgres", lambda: databases.postgres(place()))
        assert isinstance(server, databases.Postgres)
        if new:
            server.admin("ALTER SYSTEM SET fsync = off", "")
            server.admin("SELECT pg_reload_conf()", "")
        return server

    def clickhouse(self) -> list[ClickHouse]:
        """ClickHouse in two shards."""
        servers = self._server("clickhouse", clickhouse)
        assert isinstance(servers, list)
        return servers


@contextlib.contextmanager
def clickhouse() -> Iterator[list[ClickHouse]]:
    """Run two shards for those who need them for themselves. Raises Skipped."""
    with folder_for_data() as folder, shards(folder, 2) as servers:
        yield servers


@contextlib.contextmanager
def open_servers() -> Iterator[Servers]:
    """Servers for the length of the block."""
    with contextlib.ExitStack() as stack:
        yield Servers(stack)
