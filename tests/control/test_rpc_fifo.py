"""The JSON-RPC FIFO, with the real kamctl of Debian's kamailio, and by hand."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hepcat.control.fifo import Fifo, Owner
from hepcat.control.rpc_fifo import answer, rpc_door
from tests.control.peers import Asked, answers, write
from tests.support import PROGRAM_PATH, Server, need, wait_for


def kamctl(root: Path, *arguments: str) -> dict[str, Any]:
    """Run `kamctl rpc`, its replies in `root`/tmp, and return what it prints."""
    environment = {
        **os.environ, "PATH": PROGRAM_PATH, "HOME": str(root), "CHROOT_DIR": str(root),
        "RPCFIFOPATH": str(root / "rpc.fifo"),
    }  # fmt: skip
    done = subprocess.run(
        ["kamctl", "rpc", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
        check=True,
    )
    printed: dict[str, Any] = json.loads(done.stdout)
    return printed


def test_the_real_kamctl_switches_a_running_server(tmp_path: Path) -> None:
    need("kamctl")
    (tmp_path / "tmp").mkdir()
    environment = {
        "HEPCAT_CONTROL_RPC_FIFO": str(tmp_path / "rpc.fifo"),
        "HEPCAT_CONTROL_RPC_REPLY_DIR": str(tmp_path / "tmp"),
    }
    with Server(tmp_path, environment=environment).start() as server:
        for arguments, result in (
            (["check"], "Enabled"), (["off"], "Disabled"), (["check"], "Disabled"), (["OFF"], "Disabled"),
        ):  # fmt: skip
            assert kamctl(tmp_path, "sipcapture.status", *arguments)["result"] == result
        assert server.metrics()["hepcat_capture_on"] == 0
        assert kamctl(tmp_path, "sipcapture.status", "on")["result"] == "Enabled"
        assert server.metrics()["hepcat_capture_on"] == 1
        # Word for word what Kamailio 5.6.3 answers.
        wanted = "on, off or check"
        for arguments, message in (
            (["sipcapture.status", "maybe"], f"Bad parameter ({wanted})"),
            (["sipcapture.status"], f"Not enough parameters ({wanted})"),
            (["sipcapture.status", "1"], f"Not enough parameters ({wanted})"),
            (["no.such"], "Method Not Found"),
        ):
            assert kamctl(tmp_path, *arguments)["error"] == {"code": 500, "message": message}
        assert kamctl(tmp_path, "stats")["result"]["total"]["received"] == 0
        assert kamctl(tmp_path, "reload")["result"]["reloaded"] is True
        assert server.stop() == 0
    assert not (tmp_path / "rpc.fifo").exists()
    assert not list((tmp_path / "tmp").iterdir())


def test_against_the_answers_of_kamailio() -> None:
    """With and without an id; text as id."""
    control = Asked().control()
    base = {"jsonrpc": "2.0", "method": "sipcapture.status", "params": ["check"]}
    assert json.loads(answer({**base, "id": 5}, control) or b"") == {
        "jsonrpc": "2.0", "result": "Enabled", "id": 5,
    }  # fmt: skip
    assert json.loads(answer({**base, "id": "a\nb"}, control) or b"")["id"] == "a\nb"
    assert json.loads(answer(base, control) or b"") == {"jsonrpc": "2.0", "result": "Enabled"}


@pytest.fixture
def asked() -> Asked:
    return Asked()


@pytest.fixture
def path(tmp_path: Path, asked: Asked) -> Iterator[Path]:
    """A running door; its FIFO's path. Answers go to FIFOs in the same folder."""
    door = rpc_door(Fifo(tmp_path / "rpc", 0o660, Owner()), tmp_path, asked.control())
    door.start()
    yield tmp_path / "rpc"
    door.stop()


def status(path: Path, *params: Any, reply: Any = "answer", seconds: float = 60.0) -> bytes:
    document = {
        "jsonrpc": "2.0", "method": "sipcapture.status", "params": params, "reply_name": reply, "id": 1,
    }  # fmt: skip
    with answers(path.parent) as fifo:
        write(path, json.dumps(document, indent=1).encode())
        return fifo.read(seconds)


def test_what_cannot_be_read_is_passed_over(path: Path, asked: Asked) -> None:
    for octets in (
        b"\0\xff" * 5000,
        b"}{][",
        b'{"a": tru}',
        b"{" * 100_000,
        b"[" * 100_000,
        b'{"reply_name": []}',
    ):
        write(path, octets)
    wait_for(lambda: status(path, "off", seconds=3), 60, "an answer once half a document is forgotten")
    assert not asked.switch.on


@pytest.mark.parametrize("name", ["../answer", "a.b", "", 1, ["answer"], "missing", "x" * 1000, "rpc"])
def test_without_an_answer_nothing_is_carried_out(path: Path, asked: Asked, name: Any) -> None:
    assert status(path, "off", reply=name, seconds=0.3) == b""
    assert json.loads(status(path, "check"))["result"] == "Enabled"
    assert asked.switch.on


def test_a_source_alone(path: Path, asked: Asked) -> None:
    (source,) = asked.sources
    assert json.loads(status(path, "off", source))["result"] == "Disabled"
    assert json.loads(status(path, "check"))["result"] == "Enabled"
    assert json.loads(status(path, "check", source))["result"] == "Disabled"
