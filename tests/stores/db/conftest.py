"""A database of its own for each test, on the servers that all tests share (tests/servers.py)."""

import glob
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from hepcat.bench import databases
from tests.servers import Servers, new_name

NewDatabase = Callable[[], str]


@pytest.fixture
def maria(servers: Servers) -> databases.DatabaseServer:
    """A MariaDB server."""
    return servers.sql("mariadb")


@pytest.fixture
def postgresql(servers: Servers) -> databases.DatabaseServer:
    """A PostgreSQL server."""
    return servers.sql("postgres")


class Database:
    """An empty database on a server, of which user `hepcat` has all rights."""

    def __init__(self, server: databases.DatabaseServer) -> None:
        self.server = server
        self.name = new_name()
        self.url = server.make_database(self.name)

    def run(self, sql: str) -> list[list[str]]:
        """Run SQL as the administrator; rows of text."""
        text = self.server.admin(sql, self.name)
        return [line.split("\t") for line in text.splitlines()]

    def run_script(self, statements: list[str]) -> None:
        """Let the server's own client run what a dry run printed, as the user whose tables they become."""
        if isinstance(self.server, databases.MariaDb):
            self.run(";\n".join(statements))
            return
        command = ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", str(self.server.folder)]
        command += ["-p", str(self.server.port), "-U", "admin", self.name]
        script = ";\n".join(["SET ROLE hepcat", *statements, ""])
        done = subprocess.run(command, input=script, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    def one(self, sql: str) -> str:
        """Return the first value."""
        return self.run(sql)[0][0]


@pytest.fixture
def maria_db(maria: databases.DatabaseServer) -> Database:
    return Database(maria)


@pytest.fixture
def postgres_db(postgresql: databases.DatabaseServer) -> Database:
    return Database(postgresql)


@pytest.fixture(params=["mariadb", "postgresql"])
def server_db(request: pytest.FixtureRequest) -> Database:
    """Both, one after the other."""
    return Database(request.getfixturevalue("maria" if request.param == "mariadb" else "postgresql"))


@pytest.fixture
def odbc_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An SQLite file behind ODBC, in a data source of its own."""
    drivers = sorted(glob.glob("/usr/lib/*/odbc/libsqlite3odbc.so"))
    if not drivers:
        pytest.skip("libsqliteodbc is not installed")
    name = f"hepcat{new_name()}"  # unixODBC remembers sources by their name for a while
    ini = tmp_path / "odbc.ini"
    ini.write_text(f"[{name}]\nDriver={drivers[-1]}\nDatabase={tmp_path}/odbc.db\n")
    monkeypatch.setenv("ODBCINI", str(ini))
    return f"unixodbc:///{name}"
