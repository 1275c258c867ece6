"""Private database servers on loopback, for benches and tests: MariaDB and PostgreSQL of this machine.

In: nothing. Out: a server with an empty database `hepcat` and its classic db_url; it can be stopped, killed
and started again on the same port, and is gone with its data at the end of the block. What can go wrong:
Skipped where the programs are not installed. The durability is the servers' default.
"""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, TypeVar

from hepcat.bench.measure import Skipped
from hepcat.bench.processes import free_port

#: Seconds for a server to come up or to end.
PATIENCE: Final = 60.0
PASSWORD: Final = "secret"

Server = TypeVar("Server", bound="ServerProcess")


class ServerProcess(ABC):
    """A database server. `url`: the classic db_url of user `hepcat` with all rights on database `hepcat`."""

    scheme = ""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.log = folder / "server.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its db_url."""
        return self.url_of("hepcat", PASSWORD)

    def url_of(self, user: str, password: str, database: str = "hepcat") -> str:
        """Return the db_url of somebody else, or of another database."""
        return f"{self.scheme}://{user}:{password}@127.0.0.1:{self.port}/{database}"

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether its process is there."""
        return self._process is not None and self._process.poll() is None

    @abstractmethod
    def prepare(self) -> None:
        """Make the data folder, and start the server with its database."""

    @abstractmethod
    def admin(self, sql: str, database: str = "hepcat") -> str:
        """Run SQL as the server's administrator; return what its client prints, tabs between columns."""

    @abstractmethod
    def _command(self) -> Sequence[str]:
        """Return the program and its arguments."""

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command(), stdout=log, stderr=log, user=self._user(), start_new_session=True
            )
        end = time.monotonic() + PATIENCE
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > end:
                self.kill()
                tail = self.log.read_text(errors="replace").splitlines()[-5:]
                raise RuntimeError("the server did not come up: " + "\n".join(tail))
            time.sleep(0.05)

    def stop(self) -> None:
        """End it in order."""
        self._end(self._stop_signal())

    def kill(self) -> None:
        """End it as a power cut would end its process: SIGKILL."""
        self._end(signal.SIGKILL)

    def give_up(self) -> None:
        """End it for good, at once: nobody will ask for its data."""
        self.kill()

    def _end(self, number: int) -> None:
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(number)
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _answers(self) -> bool:
        try:
            self.admin("SELECT 1", database="")
        except RuntimeError:
            return False
        return True

    def _user(self) -> str | None:
        return None

    def _stop_signal(self) -> int:
        return signal.SIGTERM


class DatabaseServer(ServerProcess):
    """A server that more databases can be made on."""

    @abstractmethod
    def make_database(self, name: str) -> str:
        """Make one more empty database, of which user `hepcat` has all rights; return its db_url."""


class MariaDb(DatabaseServer):
    """MariaDB of Debian, as it comes: innodb_flush_log_at_trx_commit = 1."""

    scheme = "mysql"

    def __init__(self, folder: Path, options: Sequence[str] = ()) -> None:
        super().__init__(folder)
        self.socket = folder / "m.sock"
        self._options = tuple(options)

    def prepare(self) -> None:
        """Make the data folder."""
        _run(
            "mariadb-install-db", "--no-defaults", f"--datadir={self.folder / 'data'}",
            "--auth-root-authentication-method=normal", "--skip-test-db", *self._as_root(), *self._options,
        )  # fmt: skip
        self.start()
        self.admin(f"CREATE USER hepcat@'127.0.0.1' IDENTIFIED BY '{PASSWORD}'", database="")
        self.make_database("hepcat")

    def make_database(self, name: str) -> str:
        """Make a database."""
        self.admin(f"CREATE DATABASE {name}; GRANT ALL ON {name}.* TO hepcat@'127.0.0.1'", database="")
        return self.url_of("hepcat", PASSWORD, name)

    def admin(self, sql: str, database: str = "hepcat") -> str:
        """Run SQL as root."""
        return _run(
            "mariadb", "--no-defaults", f"--socket={self.socket}", "-uroot", "-N", "-B", "-e", sql,
            database or "mysql",
        )  # fmt: skip

    def _as_root(self) -> list[str]:
        return ["--user=root"] if os.geteuid() == 0 else []

    def _command(self) -> Sequence[str]:
        return (
            find_program("mariadbd"), "--no-defaults", f"--datadir={self.folder / 'data'}",
            f"--socket={self.socket}", f"--port={self.port}", "--bind-address=127.0.0.1",
            f"--pid-file={self.folder / 'm.pid'}",
            "--innodb-buffer-pool-size=512M", *self._as_root(), *self._options,
        )  # fmt: skip


class Postgres(DatabaseServer):
    """PostgreSQL of Debian, as it comes: synchronous_commit = on."""

    scheme = "postgres"

    def prepare(self) -> None:
        """Make the data folder."""
        user = self._user()
        if user is not None:
            entry = pwd.getpwnam(user)
            os.chown(self.folder, entry.pw_uid, entry.pw_gid)
        data = str(self.folder / "data")
        _run(
            find_program("initdb"),
            "-D",
            data,
            "-U",
            "admin",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--no-sync",
            user=user,
        )
        hba = self.folder / "data" / "pg_hba.conf"
        hba.write_text("local all admin trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
        self.start()
        self.admin(f"CREATE ROLE hepcat LOGIN PASSWORD '{PASSWORD}'", database="")
        self.make_database("hepcat")

    def make_database(self, name: str) -> str:
        """Make a database."""
        self.admin(f"CREATE DATABASE {name} OWNER hepcat", database="")
        return self.url_of("hepcat", PASSWORD, name)

    def admin(self, sql: str, database: str = "hepcat") -> str:
        """Run SQL as the superuser."""
        return _run(
            "psql", "-X", "-q", "-A", "-t", "-F", "\t", "-v", "ON_ERROR_STOP=1", "-h", str(self.folder),
            "-p", str(self.port), "-U", "admin", "-c", sql, database or "postgres",
        )  # fmt: skip

    def _user(self) -> str | None:
        return "postgres" if os.geteuid() == 0 else None

    def _stop_signal(self) -> int:
        return signal.SIGINT  # fast: does not wait for clients

    def _command(self) -> Sequence[str]:
        return (
            find_program("postgres"), "-D", str(self.folder / "data"), "-k", str(self.folder),
            "-p", str(self.port), "-c", "listen_addresses=127.0.0.1",
            # In its own folder: of a server that is killed, nothing is left in /dev/shm.
            "-c", "dynamic_shared_memory_type=mmap",
        )  # fmt: skip

    def give_up(self) -> None:
        """End it for good: at once, but in a way that it gives its shared memory back."""
        self._end(signal.SIGQUIT)

    def kill(self) -> None:
        """End the server with all its processes, which would else hold its shared memory for a while."""
        process = self._process
        children: list[str] = []
        if process is not None and process.poll() is None:
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        super().kill()
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGKILL)


@contextlib.contextmanager
def mariadb(options: Sequence[str] = (), place: Path | None = None) -> Iterator[MariaDb]:
    """Run a MariaDB of our own. options: further ones of mariadbd. place: of its folder, else /tmp.

    Raises Skipped where there is none.
    """
    with _folder(place) as folder, _running(MariaDb(folder, options)) as server:
        yield server


@contextlib.contextmanager
def postgres(place: Path | None = None) -> Iterator[Postgres]:
    """Run a PostgreSQL of our own. place: of its folder, else /tmp. Raises Skipped where there is none."""
    with _folder(place) as folder, _running(Postgres(folder)) as server:
        yield server


@contextlib.contextmanager
def _running(server: Server) -> Iterator[Server]:
    try:
        server.prepare()
        yield server
    finally:
        server.give_up()


@contextlib.contextmanager
def _folder(place: Path | None) -> Iterator[Path]:
    # Not within a folder that only root may enter: PostgreSQL runs as another user.
    path = Path(tempfile.mkdtemp(prefix="hepcat-db-", dir=place))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def find_program(program: str) -> str:
    """Return a program's path. Debian keeps those of PostgreSQL in folders by version."""
    places = [os.environ.get("PATH", ""), "/usr/sbin", "/sbin"]
    places += sorted((str(p) for p in Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)
    found = shutil.which(program, path=":".join(places))
    if found is None:
        raise Skipped(f"no program {program}")
    return found


def _run(program: str, *words: str, user: str | None = None) -> str:
    done = subprocess.run(
        [find_program(program), *words], capture_output=True, text=True, check=False, user=user, cwd="/"
    )
    if done.returncode != 0:
        raise RuntimeError(f"{program}: {(done.stderr or done.stdout).strip()}")
    return done.stdout
