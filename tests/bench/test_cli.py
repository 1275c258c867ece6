"""`hepcat bench` from the command line: each option has its effect on what arrives."""

import json
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.support import hepcat


class Ear:
    """A UDP socket that keeps what it hears."""

    def __init__(self) -> None:
        self.sock = socket.socket(type=socket.SOCK_DGRAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self.sock.bind(("127.0.0.1", 0))
        self.sock.settimeout(0.5)
        self.heard: list[bytes] = []
        self.thread = threading.Thread(target=self._listen, daemon=True)
        self.ended = False

    def _listen(self) -> None:
        while True:
            try:
                self.heard.append(self.sock.recv(65535))
            except TimeoutError:
                if self.ended:
                    return

    def __enter__(self) -> "Ear":
        self.thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.ended = True
        self.thread.join()
        self.sock.close()

    @property
    def url(self) -> str:
        return f"udp://127.0.0.1:{self.sock.getsockname()[1]}"


def send(*options: str) -> tuple[dict[str, Any], list[bytes]]:
    """Run `hepcat bench hep` against an ear; return what it says and what was heard."""
    with Ear() as ear:
        done = hepcat("bench", "hep", "--to", ear.url, "--json", *options)
    return json.loads(done.stdout), ear.heard


def test_messages_key_and_node() -> None:
    said, heard = send("--messages", "300", "--rate", "3000", "--key", "s3cret", "--node-id", "77")
    assert said["messages"] == len(heard) == 300
    for octets in heard:
        assert octets[:4] == b"HEP3"
        assert b"\x00\x00\x00\x0e\x00\x0cs3cret" in octets
        assert b"\x00\x00\x00\x0c\x00\x0a\x00\x00\x00\x4d" in octets


@pytest.mark.parametrize(("version", "first"), [("1", b"\x01"), ("2", b"\x02"), ("3", b"H")])
def test_versions(version: str, first: bytes) -> None:
    _, heard = send("--messages", "50", "--hep-version", version)
    assert len(heard) == 50
    assert {octets[:1] for octets in heard} == {first}


def test_seconds_and_calls() -> None:
    said, heard = send("--seconds", "0.5", "--rate", "400", "--calls", "5")
    assert said["messages"] == len(heard)
    assert 20 <= len(heard) <= 260  # a busy machine sends fewer


def test_a_seed_is_the_same_traffic(tmp_path: Path) -> None:
    def counts(seed: str) -> tuple[dict[str, Any], bytes]:
        path = tmp_path / f"{seed}.pcap"
        options = ("--packets", "500", "--noise", "20", "--calls", "30", "--seed", seed, "--json")
        said = json.loads(hepcat("bench", "pcap", "-o", str(path), *options).stdout)
        return said, path.read_bytes()

    first, again, other = counts("7"), counts("7"), counts("8")
    assert first[0] == again[0]
    assert first[0]["packets"] == 500
    assert 380 <= first[0]["sip"] <= 420
    assert first[1] != other[1]


def test_nobody_listens_and_bad_targets() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    done = hepcat("bench", "hep", "--to", f"udp://127.0.0.1:{port}", "--messages", "200", "--rate", "2000")
    assert "nobody listens" in done.stderr
    for target in ("http://127.0.0.1:1", "udp://127.0.0.1:99999", "tcp://127.0.0.1:1"):
        done = hepcat("bench", "hep", "--to", target, "--messages", "1", check=False)
        assert done.returncode == 1
        assert done.stderr.startswith("hepcat: ")
        assert "Traceback" not in done.stderr


def test_self_writes_its_table(tmp_path: Path) -> None:
    table, figures = tmp_path / "table.md", tmp_path / "figures.json"
    options = ("--quick", "--full", "--only", "start", "--work", str(tmp_path))
    hepcat("bench", "self", *options, "--markdown", str(table), "--json", str(figures), check=False)
    assert "hepcat --help" in table.read_text()
    assert json.loads(figures.read_text())


def test_self_names_its_lines_when_asked_for_another() -> None:
    done = hepcat("bench", "self", "--only", "nothing", check=False)
    assert done.returncode != 0
    assert "ingest" in done.stderr
