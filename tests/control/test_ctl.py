"""`hepcat ctl` against a running `hepcat serve` and `hepcat agent`, with traffic."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hepcat.cli.ctl_tables import agents_lines, stats_lines
from hepcat.config.control import ControlSettings
from hepcat.control.doors import Doors
from hepcat.control.fifo import Owner
from hepcat.control.socket_door import SocketDoor
from hepcat.errors import HepcatError
from tests.control.peers import Asked, answers, open_folder, write
from tests.serve.peers import hep3, invite
from tests.support import HEPCAT, Server, free_port, hepcat, hepcat_here, program, wait_for


def run(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return hepcat_here("ctl", *arguments, check=check)


def ctl(server: Server, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return run(*arguments, "--data", str(server.data), check=check)


def send(port: int, *names: object) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        for name in names:
            sock.sendto(hep3(invite(name)), ("127.0.0.1", port))


def received(server: Server, count: int) -> None:
    wait_for(lambda: server.total("hepcat_received_total") == count, 60, f"{count} received")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a configuration and every door."""
    folder = tmp_path_factory.mktemp("ctl")
    (folder / "hepcat.toml").write_text(
        f'[control]\nmi_fifo = "{folder}/mi"\nmi_reply_dir = "{folder}"\nrpc_fifo = "{folder}/rpc"\n'
    )
    with Server(folder, "--config", str(folder / "hepcat.toml")).start() as server:
        yield server
        assert server.stop() == 0
        left = [
            path for path in (folder / "mi", folder / "rpc", server.data / "hepcat.sock") if path.exists()
        ]
        assert not left, "a clean stop removes its doors"


def test_off_and_on_and_off_through_a_reload(server: Server) -> None:
    before = server.total("hepcat_received_total")
    assert hepcat("ctl", "capture", "status", "--data", str(server.data)).stdout == "on\n"
    send(server.port, "stored-1")
    received(server, before + 1)
    assert ctl(server, "capture", "off").stdout == "off\n"
    send(server.port, *[f"lost-{i}" for i in range(20)])
    received(server, before + 21)
    assert ctl(server, "reload").stdout == "the configuration is in force\n"
    assert ctl(server, "capture", "status").stdout == "off\n", "a reload leaves it off"
    assert server.process is not None
    server.process.send_signal(signal.SIGHUP)
    wait_for(lambda: server.log.read_text().count("configuration reloaded") == 2)
    with answers(server.data.parent) as reply:  # another door tells the same
        write(server.data.parent / "mi", b":sip_capture:answer\n\n")
        assert reply.read() == b"200 OK\noff\n\n"
    send(server.port, "lost-again")
    received(server, before + 22)
    metrics = server.metrics()
    udp = f"udp://127.0.0.1:{server.port}"
    assert metrics["hepcat_capture_on"] == 0
    assert metrics[f'hepcat_source_capture_on{{source="{udp}"}}'] == 0
    assert metrics[f'hepcat_dropped_total{{reason="capture_off",source="{udp}"}}'] == 21
    assert ctl(server, "capture", "on").stdout == "on\n"
    send(server.port, "stored-2")
    received(server, before + 23)
    wait_for(lambda: server.total("hepcat_stored_total") == before + 2)
    found = {row["call_id"] for row in server.rows()}
    assert {"stored-1", "stored-2"} <= found
    assert not [name for name in found if name.startswith("lost")]


def test_one_source(server: Server) -> None:
    tcp = f"tcp://127.0.0.1:{server.port}"
    assert ctl(server, "capture", "off", "--source", tcp).stdout == "off\n"
    assert ctl(server, "capture", "status").stdout == f"on\nbut {tcp} is off\n"
    assert ctl(server, "capture", "status", f"--source={tcp}").stdout == "off\n"
    ctl(server, "capture", "off")
    said = ctl(server, "capture", "on", f"--source={tcp}").stdout
    assert said == "off\ncapture as a whole is off: `hepcat ctl capture on` switches it on\n"
    ctl(server, "capture", "on")
    assert ctl(server, "capture", "status").stdout == "on\n"
    said = ctl(server, "capture", "off", "--source", "udp://none", check=False).stderr
    assert said.startswith("hepcat: no source udp://none\n  There is udp://127.0.0.1:")


def test_stats_and_status(server: Server) -> None:
    send(server.port, *range(10))
    text = ctl(server, "stats").stdout
    assert f"process {server.process and server.process.pid}: capture is on" in text
    assert f"udp://127.0.0.1:{server.port}" in text
    assert "\nstore  " in text
    assert "carried" not in text, "that is for packets"
    counts = json.loads(ctl(server, "stats", "--json").stdout)
    assert counts["capture"] is True
    assert counts["total"]["received"] == server.total("hepcat_received_total")
    assert counts["stores"]["lake"]["trouble"] is None
    text = ctl(server, "status").stdout
    assert f"listening  udp://127.0.0.1:{server.port}\n           tcp://127.0.0.1:{server.port}\n" in text


def test_watching(server: Server) -> None:
    """Rates are those of the traffic; --json gives a line each time."""
    stop = threading.Event()

    def flow() -> None:
        while not stop.wait(0.01):
            send(server.port, "a", "b")

    thread = threading.Thread(target=flow)
    thread.start()
    try:
        log = server.data.parent / "watch.log"
        for options, mark in ((["--watch", "0.3", "--json"], '"total"'), (["-w", "0.3"], "\nreceived ")):
            log.unlink(missing_ok=True)
            with program([*HEPCAT, "ctl", "stats", "--data", str(server.data), *options], log):
                wait_for(lambda mark=mark: log.exists() and log.read_text().count(mark) > 3)
            if "--json" in options:
                totals = [json.loads(line)["total"]["received"] for line in log.read_text().splitlines()[:-1]]
                assert totals == sorted(totals)
                assert len(set(totals)) > 1
            else:
                shown = [
                    line.split() for line in log.read_text().splitlines() if line.startswith("received ")
                ]
                rates = [words[2] for words in shown if len(words) == 3]
                assert any(20 < float(rate.removesuffix("/s")) < 400 for rate in rates), rates
    finally:
        stop.set()
        thread.join()


def test_a_configuration_leads_to_its_socket(tmp_path: Path) -> None:
    config = tmp_path / "hepcat.toml"
    config.write_text(f'[control]\nsocket = "{tmp_path}/own.sock"\nsocket_mode = 0o600\n')
    with Server(tmp_path, "--config", str(config)).start() as server:
        assert (tmp_path / "own.sock").stat().st_mode & 0o777 == 0o600
        assert not (server.data / "hepcat.sock").exists()
        assert run("capture", "status", "--config", str(config)).stdout == "on\n"
        assert run("capture", "status", "--socket", f"{tmp_path}/own.sock").stdout == "on\n"
        # What is wrong is told, and what was there stays in force.
        config.write_text("[hep]\nworkers = 0\n")
        done = run("reload", f"--socket={tmp_path}/own.sock", check=False)
        assert done.returncode == 1
        assert f"hepcat: {config}:2: hep.workers" in done.stderr
        assert "stays in force" in done.stderr
        config.write_text("[hep]\nworkers = 2\n")
        said = run("reload", f"--socket={tmp_path}/own.sock").stdout
        assert "but hep.workers changes only with a restart\n" in said
        server.stop(signal.SIGKILL)
        done = run("status", f"--socket={tmp_path}/own.sock", check=False)
        assert f"nobody answers at {tmp_path}/own.sock" in done.stderr
    SocketDoor(tmp_path / "own.sock", 0o600, Owner(), Asked().control()).stop()  # it is made anew, removed
    assert not (tmp_path / "own.sock").exists()


def test_errors(tmp_path: Path) -> None:
    """Each a line that says what is wrong and one that says what to do."""
    (tmp_path / "file").write_text("x")
    for arguments, message in (
        (["--data", str(tmp_path)], f"no hepcat is running there: there is no {tmp_path}/hepcat.sock"),
        (["--socket", str(tmp_path / "file")], f"{tmp_path}/file is not a socket"),
    ):
        done = run("stats", *arguments, check=False)
        assert done.returncode == 1
        assert done.stderr.startswith(f"hepcat: {message}\n  ")
        assert len(done.stderr.splitlines()) == 2
    assert "SECONDS goes with --watch" in run("stats", "3", check=False).stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to become another user")
def test_doors_of_a_server_that_gives_up_root() -> None:
    """They belong to whom it becomes: made by root in a folder of that user's, and removed at the end."""
    with open_folder() as folder:
        doors_of_nobody(folder)


def doors_of_nobody(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    os.chown(folder, 65534, 65534)
    (tmp_path / "hepcat.toml").write_text(
        f'user = "nobody"\n[control]\nmi_fifo = "{folder}/mi"\nmi_reply_dir = "{folder}"\n'
        f'socket = "{folder}/sock"\n'
    )
    with Server(tmp_path, "--config", str(tmp_path / "hepcat.toml")).start() as server:
        for name in ("mi", "sock"):
            facts = (folder / name).stat()
            assert (facts.st_uid, facts.st_mode & 0o777) == (65534, 0o660)
        with answers(folder) as reply:
            reply.path.chmod(0o666)
            write(folder / "mi", b":sip_capture:answer\noff\n\n")
            assert reply.read() == b"200 OK\n\n"
        assert run("capture", "on", "--socket", f"{folder}/sock").stdout == "on\n"
        code = (
            "import os, pathlib, sys; from hepcat.control.client import Client\n"
            "os.setgroups([]); os.setgid(1); os.setuid(1); Client(pathlib.Path(sys.argv[1]))"
        )
        refused = subprocess.run(
            [sys.executable, "-c", code, f"{folder}/sock"], capture_output=True, text=True, timeout=60
        )
        assert f"HepcatError: no right to open {folder}/sock" in refused.stderr
        assert server.stop() == 0
    assert not list(folder.iterdir())


def test_agents(server: Server) -> None:
    before = len(json.loads(ctl(server, "agents", "--json").stdout))
    count = server.total("hepcat_received_total")
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        for node, name in ((4001, b"old"), (4001, b"proxy\x1b[1m"), (4002, b"")):
            sock.sendto(hep3(invite("agents"), node=node, name=name), ("127.0.0.1", server.port))
            count += 1
            received(server, count)

    def seen() -> bool:
        return len(json.loads(ctl(server, "agents", "--json").stdout)) == before + 2

    wait_for(seen, 60, "both agents seen")
    agents = {agent["node_id"]: agent for agent in json.loads(ctl(server, "agents", "--json").stdout)}
    assert (agents[4001]["messages"], agents[4001]["node_name"]) == (2, "proxy\x1b[1m")
    assert agents[4002]["messages"] == 1
    assert abs(agents[4002]["last_seen"] / 1e6 - time.time()) < 60
    lines = ctl(server, "agents").stdout.splitlines()
    assert lines[0].split() == ["node", "id", "name", "messages", "last", "seen"]
    assert "\x1b" not in "".join(lines)
    assert any(line.split()[0] == "4002" and line.endswith(" ago") for line in lines)


def test_no_agents() -> None:
    assert agents_lines([], 0.0) == ["no agent was seen"]
    agent = {"node_id": None, "node_name": "", "messages": 3, "last_seen": 0}
    assert agents_lines([agent], 7300.0)[1].split() == ["3", "2", "h", "ago"]


def test_a_start_that_fails_leaves_no_door(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("x")
    environment = {
        **os.environ,
        "HEPCAT_CONTROL_MI_FIFO": str(tmp_path / "mi"),
        "HEPCAT_CONTROL_RPC_FIFO": str(tmp_path / "there"),
    }
    done = subprocess.run(
        [*HEPCAT, "serve", "--data", str(tmp_path / "d"), f"--hep=udp://127.0.0.1:{free_port()}"],
        capture_output=True, text=True, timeout=60, env=environment,
    )  # fmt: skip
    assert done.returncode == 1
    assert "it is not a FIFO" in done.stderr
    assert not (tmp_path / "mi").exists()
    settings = ControlSettings(mi_fifo=tmp_path / "mi", socket=tmp_path / "none" / "sock")
    with pytest.raises(HepcatError, match="cannot make the control socket"):
        Doors(settings, Asked().control(), None).open()
    assert not (tmp_path / "mi").exists()


def test_the_agent_has_doors_where_it_is_given_some(tmp_path: Path) -> None:
    """Off, it forwards nothing of what it receives, and counts it; on again, it does."""
    port, collector = free_port(), socket.socket(type=socket.SOCK_DGRAM)
    collector.bind(("127.0.0.1", 0))
    collector.settimeout(60)
    config = tmp_path / "agent.toml"
    config.write_text(
        f'[control]\nsocket = "{tmp_path}/sock"\nmi_fifo = "{tmp_path}/mi"\n[agent]\n'
        f'[[agent.targets]]\nname = "here"\nurls = ["udp://127.0.0.1:{collector.getsockname()[1]}"]\n'
        f'[[agent.profiles]]\nname = "relay"\nhep = ["udp://127.0.0.1:{port}"]\n'
    )
    sock = ("--socket", str(tmp_path / "sock"))

    def totals() -> dict[str, int]:
        found: dict[str, int] = json.loads(run("stats", "--json", *sock).stdout)["total"]
        return found

    with program([*HEPCAT, "agent", "--config", str(config)], tmp_path / "agent.log"):
        wait_for(lambda: (tmp_path / "sock").exists(), 60, "the agent's socket")
        wait_for(lambda: run("status", *sock, check=False).returncode == 0)
        send(port, "first")
        assert b"first" in collector.recv(65_536)
        source = f"relay:udp://127.0.0.1:{port}"
        for received_then, options in ((11, []), (22, ["--source", source])):
            assert run("capture", "off", *options, *sock).stdout == "off\n"
            send(port, *["lost"] * 10)
            wait_for(lambda n=received_then: totals()["received"] == n, what="all read while it is off")
            assert run("reload", *sock).stdout == "the configuration is in force\n"
            assert run("capture", "on", *options, *sock).stdout == "on\n"
            send(port, "next")
            assert b"next" in collector.recv(65_536), "nothing came while it was off"
        counts = json.loads(run("stats", "--json", *sock).stdout)
        assert counts["sources"][source]["dropped"] == {"capture_off": 20}
        assert counts["total"]["received"] == 23
        assert counts["total"]["messages"] == counts["total"]["forwarded"] + 20
        assert "here" in run("stats", *sock).stdout
    assert not (tmp_path / "sock").exists()
    assert not (tmp_path / "mi").exists()
    collector.close()


def test_tables_under_pressure() -> None:
    """Rates, drops with what they mean, stores with what waits; what another version lacks is left out."""
    before = {"total": {"received": 1000, "stored": 900, "dropped": {"queue_full": 50}}}
    now = {
        "capture": False,
        "total": {
            "received": 3000, "stored": 1900, "in_flight": 7, "dropped": {"queue_full": 850, "auth": 3},
        },
        "sources": {"udp://\x1b[2J": {"received": 3000, "dropped": {"queue_full": 850}}},
        "stores": {
            "lake": {"stored": 1900, "queued": 7, "dropped": {}, "trouble": None},
            "db": {
                "stored": 1900, "queued": 0, "dropped": {}, "trouble": None,
                "database": {
                    "written": 1000, "waiting": 900, "cut": 2, "replaced": 0, "spool_octets": 5 << 20,
                    "trouble": "away", "dropped": {"row_refused": 4},
                },
            },
        },
        "agents": {},
        "queue": {"octets": 3 << 20},
    }  # fmt: skip
    lines = stats_lines(now, before, 2.0, "hepcat")
    text = "\n".join(lines)
    assert lines[0] == "hepcat: capture is off"
    assert ["received", "3,000", "1,000/s"] in [line.split() for line in lines]
    assert ["queue_full", "850", "400/s"] in [line.split()[:3] for line in lines]
    assert "a queue inside hepcat was full" in text
    assert "\x1b" not in text
    assert ["db", "1,000", "500/s", "900", "5.0", "MiB", "4", "2", "0"] in [line.split() for line in lines]
    assert "! db: away" in lines
    assert "db: the database refused the row" in text
    assert stats_lines({}, None, 0, "hepcat")[0] == "hepcat: capture is on"
