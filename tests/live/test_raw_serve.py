"""`hepcat serve` with a raw mode, whole: opened as root, served as another user, switched, searched."""

import contextlib
import json
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.agent.hep import until
from tests.agent.traffic import frame, sip
from tests.live import net
from tests.live.net import Namespace, ipv4, udp
from tests.live.test_raw_ipip import send
from tests.serve.peers import hep3, invite
from tests.support import HEPCAT, ROOT, hepcat_here, program

Pair = tuple[Namespace, Namespace]
MONI = (
    'raw_moni_capture_on = 1\nraw_interface = "vb"\nraw_socket_listen = ":5060-5090"\nraw_moni_bpf_on = 1\n'
)
IPIP = 'raw_ipip_capture_on = 1\nraw_socket_listen = "10.9.0.2:5060"\n'


@pytest.fixture
def pair() -> Iterator[Pair]:
    net.need()
    with net.pair() as made:
        yield made


class Serving:
    """A `hepcat serve` within a namespace; asked over its Unix socket."""

    def __init__(self, folder: Path, where: Namespace, classic: str, more: str = "") -> None:
        self.data, self.log = folder / "data", folder / "serve.log"
        self.config = folder / "hepcat.toml"
        self.config.write_text(
            f'data = "{self.data}"\n{more}[log]\nformat = "json"\n[sipcapture]\ncapture_on = 1\n{classic}'
        )
        self.words = ["ip", "netns", "exec", where.name, *HEPCAT, "serve", "--config", str(self.config)]

    def ask(self, method: str, **params: str) -> dict[str, Any]:
        """Call a method over the Unix socket; {} where nobody answers."""
        document = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        with socket.socket(socket.AF_UNIX) as sock, contextlib.suppress(OSError):
            sock.connect(str(self.data / "hepcat.sock"))
            sock.sendall(json.dumps(document).encode() + b"\n")
            with sock.makefile() as answer:
                return dict(json.loads(answer.readline())["result"])
        return {}

    def source(self) -> tuple[str, dict[str, Any]]:
        """Name and counts of the only source there is."""
        ((url, counts),) = self.ask("stats")["sources"].items()
        return url, counts

    def settle(self, received: int) -> dict[str, Any]:
        """Wait for so many packets; the two sums hold."""

        def at_rest() -> bool:
            counts = self.source()[1]
            return counts["received"] >= received and counts["in_flight"] == 0

        assert until(at_rest), self.source()
        counts = self.source()[1]
        stages = {stage: sum(drops.values()) for stage, drops in counts["stages"].items()}
        assert counts["received"] == counts["carried"] + stages["packets"], counts
        assert counts["messages"] == counts["stored"] + stages["messages"], counts
        return counts

    def found(self) -> set[str]:
        words = ("search", "--data", str(self.data), "--messages", "--format", "jsonl", "")
        return {json.loads(line)["call_id"] for line in hepcat_here(*words).stdout.splitlines()}


@contextlib.contextmanager
def serving(folder: Path, where: Namespace, classic: str, more: str = "") -> Iterator[Serving]:
    made = Serving(folder, where, classic, more)
    with program(made.words, made.log, cwd=ROOT) as process:
        assert until(lambda: process.poll() is not None or bool(made.ask("status")))
        assert process.poll() is None, made.log.read_text()[-2000:]
        yield made
    assert process.returncode == 0
    assert "Traceback" not in made.log.read_text()


def test_a_monitoring_port_is_switched_and_searched(pair: Pair, tmp_path: Path) -> None:
    a, b = pair
    with serving(tmp_path, b, MONI + "promiscuous_on = 1\n") as run:
        assert b.promiscuity() == 1
        url, _ = run.source()
        assert url == "moni://vb:5060-5090"
        assert url in run.ask("status")["listening"]
        net.send_frames(a, [frame(sip("before")), frame(b"\r\n\r\n")])
        run.settle(2)
        hepcat_here("ctl", "capture", "off", "--source", url, "--data", str(run.data))
        net.send_frames(a, [frame(sip("off"))] * 3)
        run.settle(5)
        run.ask("sip_capture", mode="on", source=url)
        net.send_frames(a, [frame(sip("after"))])
        counts = run.settle(6)
        assert counts["dropped"] == {"keepalive": 1, "capture_off": 3}
        assert run.found() == {"before", "after"}
    assert b.promiscuity() == 0


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can get into (pytest's own are closed)."""
    with tempfile.TemporaryDirectory(prefix="hepcat-test-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_another_user_stores_what_root_opened(pair: Pair, open_folder: Path) -> None:
    """After the sockets are open the process keeps no right; an interface may come back all the same."""
    a, b = pair
    with serving(open_folder, b, IPIP + 'raw_interface = "vb"\n', 'user = "nobody"\n') as run:
        packets = [ipv4(udp(sip(f"u-{i}"), 5060, 5060), ident=i) for i in range(6)]
        send(a, packets[:3])
        run.settle(3)
        b.ip("link delete vb")
        assert until(lambda: "interface vanished" in run.log.read_text(), 60)
        a_mac = "02:00:00:00:00:0a"
        net.run(
            *("ip", "link", "add", "va", "netns", a.name, "address", a_mac, "type", "veth"),
            *("peer", "name", "vb", "netns", b.name),
        )
        for end, number in ((a, 1), (b, 2)):
            end.ip(f"address add 10.9.0.{number}/24 dev {end.dev}")
            end.ip(f"link set {end.dev} up")
        assert until(lambda: "interface is back" in run.log.read_text(), 60)
        a.ip(f"neighbour replace 10.9.0.2 lladdr {net.mac(b)} dev va nud permanent")
        send(a, packets[3:])
        run.settle(6)
        assert run.found() == {f"u-{i}" for i in range(6)}


def test_hep_beside_a_raw_mode(pair: Pair, tmp_path: Path) -> None:
    a, b = pair
    more = '[hep]\nlisten = ["udp://127.0.0.1:9060"]\n'
    with serving(tmp_path, b, MONI + "hep_capture_on = 1\n", more) as run:
        with b.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for i in range(200):
                sock.sendto(hep3(invite(f"h-{i}")), ("127.0.0.1", 9060))
        net.send_frames(a, [frame(sip(f"m-{i}")) for i in range(50)])

        def total() -> dict[str, Any]:
            return dict(run.ask("stats")["total"])

        assert until(lambda: total()["stored"] >= 250), total()
        counts = total()
        stages = {stage: sum(drops.values()) for stage, drops in counts["stages"].items()}
        assert counts["received"] == counts["carried"] + stages["packets"] == 250
        assert counts["messages"] == counts["stored"] + counts["in_flight"] + stages["messages"] == 250
        assert set(run.ask("stats")["sources"]) == {"udp://127.0.0.1:9060", "moni://vb:5060-5090"}


@pytest.mark.parametrize(
    ("classic", "words"),
    [
        (MONI.replace('"vb"', '"nosuch0"'), "there is no interface nosuch0"),
        (MONI + "raw_ipip_capture_on = 1\n", "exclude each other"),
    ],
)
def test_what_cannot_be_is_told_at_the_start(pair: Pair, tmp_path: Path, classic: str, words: str) -> None:
    made = Serving(tmp_path, pair[1], classic)
    done = subprocess.run(made.words, capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr
