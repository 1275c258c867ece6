"""What somebody did wrong: each time a clear message that says what to do, and nothing received is lost."""

import os
import re
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hepcat.bench import databases
from hepcat.config.databases import DatabaseSettings
from hepcat.stores.sql import check
from hepcat.stores.sql.rights import RISK
from tests.support import HEPCAT, free_port, hepcat, need, wait_for
from tests.whole.backends import Backend, ServerBackend, Servers, make_backend
from tests.whole.sender import INVITE, NumberedSender, hep3
from tests.whole.serving import Whole, config_text, refused, send

MESSAGES = 200
SECRET = "pass-word-4711"


@dataclass
class Mistake:
    """A store that cannot be written to: words of what is told, of what to do, and how it is mended."""

    backend: ServerBackend
    words: str
    hint: str
    mend: Callable[[], Any]


def user(backend: ServerBackend, *rights: str, table: bool = True) -> None:
    """Make a user of its own for the database, with these rights on its tables, and name it in the URL."""
    name, server = f"u_{backend.name}", backend.server
    if backend.kind == "mysql":
        server.admin(f"CREATE USER {name}@'127.0.0.1' IDENTIFIED BY '{SECRET}'", "")
    else:
        server.admin(f"CREATE ROLE {name} LOGIN PASSWORD '{SECRET}'", "")
    if table:
        create(backend)
    grant(backend, *rights)
    backend.url = server.url_of(name, SECRET, backend.name)


def create(backend: ServerBackend) -> None:
    """Make the tables, without waiting for a command to start."""
    check.create(DatabaseSettings.model_validate({"name": "db", "url": backend.url}))


def grant(backend: ServerBackend, *rights: str) -> None:
    """Give the user rights on all tables."""
    name = f"u_{backend.name}"
    if backend.kind == "mysql":
        if rights:
            backend.run(f"GRANT {', '.join(rights)} ON {backend.name}.* TO {name}@'127.0.0.1'")
        return
    backend.run(f"GRANT ALL ON SCHEMA public TO {name}")
    backend.run(f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {name}")
    if rights:
        backend.run(f"GRANT {', '.join(rights)} ON ALL TABLES IN SCHEMA public TO {name}")


def wrong_password(backend: ServerBackend) -> Mistake:
    user(backend, "ALL")
    right, backend.url = backend.url, backend.url.replace(SECRET, f"wrong{SECRET}")
    name = f"u_{backend.name}"
    command = f"ALTER ROLE {name} PASSWORD 'wrong{SECRET}'"
    if backend.kind == "mysql":
        command = f"SET PASSWORD FOR {name}@'127.0.0.1' = PASSWORD('wrong{SECRET}')"
    assert right != backend.url
    words = "refuses the user or the password"
    return Mistake(backend, words, "Correct the URL", lambda: backend.server.admin(command, ""))


def missing_database(backend: ServerBackend) -> Mistake:
    backend.server.admin(f"DROP DATABASE {backend.name}", "")

    def mend() -> None:
        if backend.kind == "mysql":
            backend.server.admin(f"CREATE DATABASE {backend.name}", "")
        else:
            backend.server.admin(f"CREATE DATABASE {backend.name} OWNER hepcat", "")
        create(backend)

    return Mistake(backend, "there is no such database", "Create it at the server", mend)


def missing_table(backend: ServerBackend) -> Mistake:
    words = "a table is missing|there is no such table|has no table|no table"
    return Mistake(backend, words, "hepcat db create --store", lambda: hepcat("db", "create", backend.url))


def select_only(backend: ServerBackend) -> Mistake:
    user(backend, "SELECT")
    return Mistake(backend, "lacks a right", "INSERT", lambda: grant(backend, "ALL"))


MISTAKES = (wrong_password, missing_database, missing_table, select_only)


def test_databases_that_refuse(servers: Servers, tmp_path: Path) -> None:
    """All of them at once: capture goes on, each says what to do, and is written to once that is done."""
    found: dict[str, Mistake] = {}
    for server in (servers.mariadb(), servers.postgres()):
        for make in MISTAKES:
            mistake = make(ServerBackend(server))
            found[f"{mistake.backend.kind}-{make.__name__}"] = mistake
    backends: dict[str, Backend] = {name: mistake.backend for name, mistake in found.items()}
    whole = Whole(tmp_path, backends, ["lake", *found])
    with whole.start():
        send(whole.port, *(hep3(INVITE.format(n).encode()) for n in range(MESSAGES)))
        wait_for(lambda: whole.store("lake")["stored"] == MESSAGES)
        for name, mistake in found.items():
            (first, *more) = wait_for(lambda name=name: whole.told(f"{name}: away"), 60, f"{name} is away")
            assert not more, f"{name}: told more than once: {more}"
            assert re.search(mistake.words, first["error"]), (name, first)
            assert mistake.hint in first["hint"], (name, first)
            wait_for(
                lambda name=name: whole.database(name)["waiting"] == MESSAGES, what=f"all in {name}'s spool"
            )
        assert whole.get("/healthz") == "ok\n"
        for mistake in found.values():
            mistake.mend()
        for name, mistake in found.items():
            whole.has_written(name, MESSAGES)
            assert mistake.backend.numbers() == list(range(MESSAGES)), name
        assert whole.stop() == 0
    said = whole.log.read_text()
    assert "Traceback" not in said
    assert SECRET not in said
    assert databases.PASSWORD not in said


@pytest.mark.parametrize("kind", ["mysql", "postgres"])
def test_the_right_to_insert_alone(servers: Servers, tmp_path: Path, kind: str) -> None:
    """All is written, and what cannot be promised without other rights is told once."""
    backend = make_backend(kind, servers, tmp_path)
    assert isinstance(backend, ServerBackend)
    user(backend, "INSERT")
    whole = Whole(tmp_path, {"db": backend}, ["db"])
    with whole.start():
        send(whole.port, *(hep3(INVITE.format(n).encode()) for n in range(MESSAGES)))
        whole.has_written("db", MESSAGES)
        (told,) = whole.told(
            "no right to keep table hepcat_written: after a lost connection a batch may be written twice"
        )
        assert told["lacks"] == "SELECT, DELETE"
        assert not whole.told("db: away")
        assert whole.stop() == 0
    assert backend.numbers() == list(range(MESSAGES))
    assert SECRET not in whole.log.read_text()
    settings = DatabaseSettings.model_validate({"name": "db", "url": backend.url})
    grant(backend, "SELECT")  # without it nothing can be checked
    for words in (f"the user lacks DELETE on it: {RISK}", "is there"):
        found = next(f for f in check.check(settings) if f.subject == "table hepcat_written")
        assert found.found == words
        backend.run(told["hint"])  # what it says is what has to be typed


def test_a_spool_that_is_full(servers: Servers, tmp_path: Path) -> None:
    """At its bound messages wait in memory, then they are dropped, counted, and told; all else is written."""
    backend = ServerBackend(servers.postgres())
    memory = "[queue]\nmemory = 1048576\n"
    whole = Whole(tmp_path, {"db": backend}, ["db"], more=memory, spool=2**20)
    sender = NumberedSender(whole.port, 5_000)
    with whole.start():
        try:
            sender.start()
            wait_for(lambda: sum(whole.stats()["total"]["dropped"].values()) > 1000, 60, "drops")
            assert whole.stats()["total"]["dropped"].keys() <= {"store_full", "kernel"}
            assert whole.get("/status").count("has reached its bound of 1048576 octets") == 1
        finally:
            sender.stop()
        (told,) = whole.told("cannot store; keeping messages in memory")
        assert "Give the store more room with `spool`" in told["hint"]
        wait_for(lambda: whole.told("memory is full: messages are being dropped"), 60, "told of the losses")
        assert len(whole.told("memory is full: messages are being dropped")) == 1
        create(backend)
        whole.read_empty()
        whole.drained("db")
        wait_for(lambda: whole.told("storing again"), 60, "told that it is over")
        assert len(whole.told("storing again")) == len(whole.told("cannot store; keeping messages in memory"))
        total = whole.stats()["total"]
        numbers = backend.numbers()
        assert len(set(numbers)) == len(numbers) == total["stored"]
        assert total["received"] == total["stored"] + sum(total["dropped"].values())
        assert numbers == sorted(numbers)
        assert whole.stop() == 0


def serve(tmp_path: Path, text: str, *arguments: str, **environment: str) -> str:
    """Start a server that cannot start; return what it says, in lines for people."""
    config = tmp_path / "hepcat.toml"
    config.write_text(text)
    hep = f"udp://127.0.0.1:{free_port()}"
    flags = ("--config", str(config), "--data", str(tmp_path / "data"), "--hep", hep)
    said = refused("serve", *flags, *arguments, environment=environment)
    lines = [line for line in said.splitlines() if " receive buffer " not in line and line[0] != "{"]
    assert lines[0].startswith("hepcat: ")
    assert len(lines) <= 3, said
    return "\n".join(lines)


CLASSIC = "[sipcapture]\ncapture_on = 1\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (CLASSIC + "raw_sock_childs = 2\n", ["raw_sock_childs", "raw_sock_children"]),
        (CLASSIC + "hash_source = 'via'\n", ["hash_source", "call_id"]),
        (CLASSIC + f'db_url = "oracle://u:{SECRET}@h/db"\n', ["oracle://", "mysql://"]),
        (CLASSIC + f'db_url = "u:{SECRET}@h/db"\n', ["no URL of a database", "mysql://"]),
        (f'stores = ["db"]\n[[databases]]\nname = "db"\nurl = "mysql://u:{SECRET}@h:x/db"\n', ["HOST:PORT"]),
        ('stores = ["db"]\n', ["db", "databases"]),
        ('stores = ["a"]\n[[databases]]\nname = "a"\nurl_file = "/no/such"\n', ["/no/such", "first line"]),
        (CLASSIC + 'raw_moni_capture_on = 1\nraw_interface = "nosuch0"\nraw_socket_listen = ":5060"\n',
         ["there is no interface nosuch0"]),
        (CLASSIC + 'raw_moni_capture_on = 1\nraw_ipip_capture_on = 1\nraw_socket_listen = ":5060"\n',
         ["exclude each other", "second hepcat"]),
        (CLASSIC + "raw_moni_capture_on = 1\n", ["needs a port", "raw_socket_listen"]),
    ],
)  # fmt: skip
def test_settings_that_cannot_be(tmp_path: Path, text: str, words: list[str]) -> None:
    said = serve(tmp_path, text)
    assert all(word in said for word in words), said
    assert SECRET not in said


def test_a_driver_that_is_not_installed(tmp_path: Path) -> None:
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "pyodbc.py").write_text("raise ImportError('no libodbc.so.2 here')")
    text = 'stores = ["db"]\n[[databases]]\nname = "db"\nurl = "unixodbc:///sip"\n'
    said = serve(tmp_path, text, PYTHONPATH=str(tmp_path / "without"))
    assert "no libodbc.so.2 here" in said
    assert "unixodbc" in said


def test_a_parameter_of_kamailio_that_is_none(tmp_path: Path) -> None:
    config = tmp_path / "kamailio.cfg"
    config.write_text('loadmodule "sipcapture.so"\nmodparam("sipcapture", "capture_no", 1)\n')
    said = refused("serve", "--kamailio-cfg", str(config), "--data", str(tmp_path / "data"))
    assert f"{config}:2" in said
    assert "capture_no" in said


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give up a right")
def test_without_the_right_to_a_raw_socket(tmp_path: Path) -> None:
    need("setpriv")
    config = tmp_path / "hepcat.toml"
    for mode in ("raw_ipip_capture_on", "raw_moni_capture_on"):
        config.write_text(CLASSIC + f'{mode} = 1\nraw_interface = "lo"\nraw_socket_listen = ":5060"\n')
        done = subprocess.run(
            ["setpriv", "--bounding-set=-net_raw", *HEPCAT, "serve", "--config", str(config),
             "--data", str(tmp_path / "data")],
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 1
        assert "CAP_NET_RAW" in done.stderr
        assert "root" in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_spool_of_somebody_else() -> None:
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are root's alone
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "data").mkdir()
        os.chown(folder / "data", 65534, 65534)
        (folder / "data" / "spool").mkdir(mode=0o700)
        text = f'stores = ["db"]\n[[databases]]\nname = "db"\nurl = "sqlite:///{folder}/x.db"\n'
        said = serve(folder, text, HEPCAT_USER="nobody")
    assert f"cannot write to the spool {folder}/data/spool/db: Permission denied" in said
    assert "writable for the server's user" in said


def test_a_spool_that_is_no_folder(servers: Servers, tmp_path: Path) -> None:
    backend = make_backend("sqlite", servers, tmp_path)
    (tmp_path / "data" / "spool").mkdir(parents=True)
    (tmp_path / "data" / "spool" / "db").write_text("no folder")
    said = serve(tmp_path, config_text({"db": backend}, ["db"]))
    assert f"cannot write to the spool {tmp_path}/data/spool/db" in said
    assert "--data" in said
