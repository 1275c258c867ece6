"""Several stores at once; settings changed while hepcat runs; a store that is not named any more."""

import signal
import time
from pathlib import Path

import pytest

from tests.support import free_port, hepcat, wait_for
from tests.whole.backends import ServerBackend, Servers, make_backend
from tests.whole.sender import INVITE, NumberedSender, hep3
from tests.whole.serving import Whole, config_text, refused, send

RATE = 3_000


def messages(first: int, count: int) -> list[bytes]:
    """Return numbered messages."""
    return [hep3(INVITE.format(number).encode()) for number in range(first, first + count)]


@pytest.mark.slow
def test_the_others_take_everything_at_once_while_one_is_away(servers: Servers, tmp_path: Path) -> None:
    """And hepcat is stopped and started while it is away: what waits is written when it is back."""
    mysql, postgres = ServerBackend(servers.mariadb()), ServerBackend(servers.postgres())
    whole = Whole(tmp_path, {"mysql": mysql, "pg": postgres}, ["lake", "mysql", "pg"])
    said = whole.run("db", "create").stdout
    assert "-- mysql: mysql://hepcat:***@" in said
    assert "-- pg: postgres://hepcat:***@" in said
    sender = NumberedSender(whole.port, RATE)
    try:
        whole.start()
        mysql.kill()
        sender.start()
        wait_for(lambda: whole.database("mysql")["waiting"] > 2 * RATE, 60, "waiting for MariaDB")
        wait_for(lambda: whole.database("pg")["written"] > RATE, what="PostgreSQL, held up by MariaDB")
        assert whole.database("mysql")["written"] == 0
        assert whole.get("/healthz") == "ok\n"
        sender.stop()
        received = whole.read_empty()
        whole.drained("pg")
        assert whole.store("lake")["stored"] == received
        begun = time.monotonic()
        assert whole.stop() == 0
        assert time.monotonic() - begun < 18, "a database that is away holds up the end"
        expected = sorted(postgres.numbers())
        assert len(set(expected)) == len(expected) == received

        whole.start()
        assert whole.database("mysql")["waiting"] == received
        send(whole.port, *messages(10**6, 10))
        mysql.start()
        wait_for(
            lambda: whole.database("mysql")["written"] == received + 10, 60, "what had waited is written"
        )
        assert mysql.numbers() == [*expected, *range(10**6, 10**6 + 10)]
        assert whole.stop() == 0
    finally:
        sender.stop()
        if not mysql.server._answers():
            mysql.start()
        whole.__exit__()
    assert "Traceback" not in whole.log.read_text()


def test_a_store_that_is_not_named_any_more_keeps_what_waits(servers: Servers, tmp_path: Path) -> None:
    backend = ServerBackend(servers.postgres())
    whole = Whole(tmp_path, {"pg": backend}, ["lake", "pg"])
    with whole.start():  # there is no table yet: all waits
        send(whole.port, *messages(0, 100))
        wait_for(lambda: whole.database("pg")["waiting"] == 100)
        wait_for(lambda: whole.database("pg")["trouble"])
        assert whole.stop() == 0
    whole.config.write_text(config_text({"pg": backend}, ["lake"]))
    with whole.start():
        (told,) = whole.told("messages wait for pg, which is not among `stores`")
        assert told["level"] == "warning"
        assert told["folder"] == str(whole.data / "spool" / "pg")
        assert told["octets"] > 100 * len(INVITE)
        assert "Name pg in `stores` again" in told["hint"]
        send(whole.port, *messages(100, 1))
        wait_for(lambda: whole.store("lake")["stored"] == 1)
        assert whole.stop() == 0
    hepcat("db", "create", "--config", str(whole.config))
    whole.config.write_text(config_text({"pg": backend}, ["lake", "pg"]))
    with whole.start():
        wait_for(lambda: whole.database("pg")["written"] == 100, 60, "what had waited is written")
        assert whole.stop() == 0
    assert backend.numbers() == list(range(100))
    assert not list(whole.data.glob("spool/pg/0*.arrows"))


def test_reload_takes_over_what_can_change(servers: Servers, tmp_path: Path) -> None:
    """rows, linger, retries and the bound of the spool change at once, the rest with a restart."""
    backend = make_backend("sqlite", servers, tmp_path)
    whole = Whole(tmp_path, {"db": backend}, ["db"], linger=60.0)
    whole.run("db", "create")
    with whole.start():
        send(whole.port, *messages(0, 10))
        wait_for(lambda: whole.database("db")["waiting"] == 10)
        time.sleep(0.5)
        assert whole.database("db")["written"] == 0, "it lingers for a minute"
        whole.config.write_text(config_text({"db": backend}, ["db"], linger=0.0, spool=2**21))
        whole.hang_up()
        wait_for(lambda: whole.told("configuration reloaded"))
        wait_for(lambda: whole.database("db")["written"] == 10, 60, "linger changes while running")
        assert not whole.told("these settings change only with a restart")
        whole.config.write_text(config_text({"db": backend}, ["db"], linger=0.0, table_name="calls"))
        whole.hang_up()
        (told,) = wait_for(lambda: whole.told("these settings change only with a restart"))
        assert told["settings"] == ["databases.db.table_name"]
        send(whole.port, *messages(10, 10))
        wait_for(lambda: whole.database("db")["written"] == 20)
        whole.config.write_text(config_text({"db": backend}, ["db"]).replace("sqlite:", "oracle:"))
        whole.hang_up()
        (told,) = wait_for(lambda: whole.told("configuration not reloaded; the old one stays in force"))
        assert "oracle" in told["problem"]
        assert whole.stop() == 0
    assert backend.numbers() == list(range(20))


def test_two_on_one_spool(servers: Servers, tmp_path: Path) -> None:
    """The spool of a store has one owner, whose process is named; so has the lake's folder."""
    backend = make_backend("sqlite", servers, tmp_path)
    whole = Whole(tmp_path, {"db": backend}, ["db"])
    whole.run("db", "create")
    with whole.start():
        assert whole.process is not None
        hep = f"udp://127.0.0.1:{free_port()}"
        arguments = ("--hep", hep, "--data", str(whole.data), "--config", str(whole.config))
        said = refused("serve", *arguments)
        assert "another hepcat" in said
        assert str(whole.process.pid) in said
        assert "--data" in said
        send(whole.port, *messages(0, 10))
        wait_for(lambda: whole.database("db")["written"] == 10)
        assert whole.stop(signal.SIGINT) == 0
    assert backend.numbers() == list(range(10))
