"""The control socket: who may what, and clients that are slow, many, or malicious."""

import contextlib
import json
import os
import resource
import select
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hepcat.control import client as client_module
from hepcat.control import socket_door
from hepcat.control.client import Client
from hepcat.control.fifo import Fifo, Owner
from hepcat.control.methods import Control
from hepcat.control.socket_door import MAX_CONNECTIONS, SocketDoor
from hepcat.errors import HepcatError
from tests.control.peers import Asked, ask, connected, open_folder, read_line
from tests.support import wait_for

STATUS = {"jsonrpc": "2.0", "method": "sip_capture", "id": 1}
OFF = {**STATUS, "params": ["off"]}


@pytest.fixture
def asked() -> Asked:
    return Asked()


@pytest.fixture
def path(tmp_path: Path, asked: Asked) -> Iterator[Path]:
    """A running door; its socket's path."""
    door = SocketDoor(tmp_path / "sock", 0o660, Owner(), asked.control())
    door.start()
    yield tmp_path / "sock"
    stopping = threading.Thread(target=door.stop, daemon=True)
    stopping.start()
    stopping.join(60)  # one that is not woken waits for ever, or for IDLE_SECONDS
    assert not stopping.is_alive(), "the door did not close at once"
    assert not (tmp_path / "sock").exists()


def test_requests_on_one_connection(path: Path, asked: Asked) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    with connected(path) as sock:
        assert ask(sock, STATUS)["result"]["on"] is True
        assert ask(sock, OFF)["result"]["on"] is False
        assert not asked.switch.on
        assert ask(sock, b"\r\n\n" + json.dumps({**STATUS, "method": "reload"}).encode())["result"][
            "reloaded"
        ]
        assert ask(sock, b"nonsense")["error"]["code"] == -32700
        assert ask(sock, b"\0\xff")["error"]["code"] == -32700
        assert len(ask(sock, [STATUS, STATUS])) == 2


def test_many_lines_at_once_are_answered_in_order(path: Path) -> None:
    count = 3000
    with connected(path) as sock:
        lines = b"".join(json.dumps({**STATUS, "id": i}).encode() + b"\n" for i in range(count))
        threading.Thread(target=sock.sendall, args=(lines,), daemon=True).start()
        got = b""
        while got.count(b"\n") < count:
            got += sock.recv(65_536)
    assert [json.loads(line)["id"] for line in got.splitlines()] == list(range(count))


def test_a_client_that_reads_nothing_is_cut_off(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket_door, "LINE_SECONDS", 0.4)
    with connected(path) as sock:
        sock.settimeout(0.2)
        line = json.dumps({**STATUS, "method": "stats"}).encode() + b"\n"
        with contextlib.suppress(TimeoutError, ConnectionError):
            while True:
                sock.sendall(line * 1000)
        assert answered(path)
        cut_off = select.poll()
        cut_off.register(sock, 0)  # nothing but its being hung up
        assert cut_off.poll(60_000)
        sock.settimeout(60)
        with contextlib.suppress(ConnectionResetError):
            while sock.recv(2**20):
                pass


def test_a_line_has_so_long_and_no_longer(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket_door, "LINE_SECONDS", 0.3)
    with connected(path) as sock:
        begun = time.monotonic()
        with contextlib.suppress(ConnectionError):
            while time.monotonic() - begun < 30:  # never silent for long
                sock.send(b"x")
                time.sleep(0.05)
        assert 0.25 < time.monotonic() - begun < 30, "a slow line has no end"


def test_silence_between_lines_may_be_longer(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket_door, "LINE_SECONDS", 0.2)
    with connected(path) as sock:
        for _ in range(3):
            assert ask(sock, STATUS)["result"]
            time.sleep(0.4)
    monkeypatch.setattr(socket_door, "IDLE_SECONDS", 0.2)
    with connected(path) as sock:
        assert sock.recv(1) == b"", "silence has an end too"


def test_an_endless_line_ends_the_connection(path: Path) -> None:
    with connected(path) as sock:
        with contextlib.suppress(ConnectionError):
            for _ in range(200):
                sock.sendall(b"[" * 65_536)
            raise AssertionError("an endless line is taken")
        assert answered(path)


def test_what_ends_in_a_line_is_not_carried_out(path: Path, asked: Asked) -> None:
    with connected(path) as sock:
        sock.sendall(json.dumps(OFF).encode())
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(1) == b""
    assert asked.switch.on
    with connected(path) as sock:  # whole lines are, though
        sock.sendall(json.dumps(OFF).encode() + b"\n")
        sock.shutdown(socket.SHUT_WR)
        assert json.loads(read_line(sock))["result"]["on"] is False


def test_thousands_of_connections(path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, hard), hard))
    held: list[socket.socket] = []
    try:
        for _ in range(2000):
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(str(path))
            held.append(sock)
        with Client(path) as client:
            assert client.call("sip_capture")["on"] is True
        alive = wait_for(lambda: sum(not gone(sock) for sock in held) <= MAX_CONNECTIONS, 60)
        assert alive
    finally:
        for sock in held:
            sock.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert answered(path)


def test_a_reload_holds_nobody_up(tmp_path: Path, asked: Asked) -> None:
    slow = threading.Event()
    door = SocketDoor(tmp_path / "slow", 0o600, Owner(), slow_control(asked, slow))
    door.start()
    try:
        with connected(door.path) as first, connected(door.path) as second, connected(door.path) as third:
            first.sendall(
                json.dumps({**STATUS, "method": "reload"}).encode() + b"\n" + json.dumps(OFF).encode() + b"\n"
            )
            third.sendall(json.dumps({**STATUS, "method": "reload"}).encode() + b"\n")
            assert ask(second, STATUS)["result"]["on"] is True
            third.close()  # gone before its answer
            slow.set()
            assert json.loads(read_line(first))["result"]["reloaded"] is True
            assert json.loads(read_line(first))["result"]["on"] is False
    finally:
        door.stop()


def slow_control(asked: Asked, slow: threading.Event) -> Control:
    def reload() -> list[str]:
        assert slow.wait(60)
        return []

    return Control(asked, reload)


def test_a_bug_in_a_method_does_not_end_the_door(
    path: Path, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asked, "about", lambda: 1 / 0)
    with connected(path) as sock:
        sock.sendall(b'{"jsonrpc": "2.0", "method": "status", "id": 1}\n')
        assert sock.recv(1) == b""
    assert answered(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to become another user")
def test_others_may_only_look(asked: Asked) -> None:
    """Another user who may open the socket (socket_mode) reads, and changes nothing."""
    with open_folder() as folder:
        others_only_look(folder, asked)


def others_only_look(folder: Path, asked: Asked) -> None:
    door = SocketDoor(folder / "sock", 0o666, Owner(), asked.control())
    door.start()
    code = (
        "import os, socket, sys; os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "sock = socket.socket(socket.AF_UNIX); sock.connect(sys.argv[1])\n"
        "sock.sendall(sys.argv[2].encode() + b'\\n'); print(sock.makefile().readline())"
    )

    def as_nobody(document: object) -> dict[str, object]:
        arguments = [sys.executable, "-c", code, str(door.path), json.dumps(document)]
        done = subprocess.run(arguments, capture_output=True, text=True, check=True, timeout=120)
        answer: dict[str, object] = json.loads(done.stdout)
        return answer

    try:
        assert as_nobody(STATUS)["result"]
        assert as_nobody({**STATUS, "method": "stats"})["result"]
        for document in (OFF, {**STATUS, "method": "reload"}):
            assert as_nobody(document)["error"]["code"] == -32001  # type: ignore[index]
        assert asked.switch.on
        assert asked.reloads == 0
        door.path.chmod(0o660)
        with pytest.raises(subprocess.CalledProcessError):
            as_nobody(STATUS)
    finally:
        door.stop()


# -- making it


def test_a_socket_of_the_dead_is_replaced_and_one_of_the_living_is_not(path: Path, asked: Asked) -> None:
    with pytest.raises(HepcatError) as told:
        SocketDoor(path, 0o660, Owner(), asked.control())
    assert f"(process {os.getpid()}) answers at the control socket {path}" in str(told.value)
    assert answered(path), "it was left alone"
    stale = path.with_name("stale")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(stale))
    door = SocketDoor(stale, 0o600, Owner(), asked.control())
    door.start()
    assert answered(stale)
    door.stop()


def test_what_is_in_the_way(tmp_path: Path, asked: Asked) -> None:
    (tmp_path / "file").write_text("precious")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    for name in ("file", "link"):
        with pytest.raises(HepcatError, match="something else is there, and it is not a socket"):
            SocketDoor(tmp_path / name, 0o660, Owner(), asked.control())
    assert (tmp_path / "file").read_text() == "precious"
    with pytest.raises(HepcatError, match="No such file or directory"):
        SocketDoor(tmp_path / "none" / "sock", 0o660, Owner(), asked.control())


def test_a_path_longer_than_an_address(tmp_path: Path, asked: Asked) -> None:
    folder = tmp_path / ("x" * 200)
    folder.mkdir()
    door = SocketDoor(folder / "sock", 0o660, Owner(), asked.control())
    door.start()
    with Client(folder / "sock") as client:
        assert client.call("sip_capture")["on"] is True
    with pytest.raises(HepcatError, match="another hepcat server"):
        SocketDoor(folder / "sock", 0o660, Owner(), asked.control())
    door.stop()
    assert not list(folder.iterdir())


# -- the client


def stand_in(path: Path, octets: bytes) -> threading.Thread:
    """Something that is no hepcat: it says these octets to one client, and closes when that does; no octets:
    at once."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def serve() -> None:
        with listener, listener.accept()[0] as sock:
            sock.recv(65_536)
            with contextlib.suppress(ConnectionError):
                sock.sendall(octets)
                if octets:  # the client has to find its end in what it was told, or in its own time
                    sock.recv(1)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize(
    ("octets", "message"),
    [
        (b"220 mail.example.com ESMTP\r\n", "what answers there is not a hepcat"),
        (b'{"jsonrpc": "2.0", "result": 1, "id": 77}\n', "what answers there is not a hepcat"),
        (b"[[[[[" * 100_000 + b"\n", "what answers there is not a hepcat"),
        (b'{"id": 1}\n', "what answers there is not a hepcat"),
        (b"", "closed the connection"),
        (b'{"jsonrpc": "2.0", "error": {"message": "\\u001b[2Jx"}, "id": 1}\n', r"\\x1b\[2Jx"),
    ],
)
def test_what_is_not_a_hepcat(tmp_path: Path, octets: bytes, message: str) -> None:
    thread = stand_in(tmp_path / "sock", octets)
    with Client(tmp_path / "sock") as client, pytest.raises(HepcatError, match=message):
        client.call("stats")
    thread.join()


def test_no_answer_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "ANSWER_SECONDS", 0.2)
    thread = stand_in(tmp_path / "sock", b"{")
    with Client(tmp_path / "sock") as client, pytest.raises(HepcatError, match="no answer in time"):
        client.call("stats")
    thread.join()


def answered(path: Path) -> bool:
    """Say whether the door answers."""
    with connected(path) as sock:
        return "result" in ask(sock, STATUS)


def gone(sock: socket.socket) -> bool:
    """Say whether the door has closed the connection."""
    sock.setblocking(False)
    try:
        return sock.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def test_nothing_is_given_away_where_nobody_is_to_become_somebody(
    tmp_path: Path, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The unit's filter of system calls ends a process that calls chown."""

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("chown")

    monkeypatch.setattr(os, "chown", forbidden)
    monkeypatch.setattr(os, "fchown", forbidden)
    Fifo(tmp_path / "fifo", 0o660, Owner()).remove()
    SocketDoor(tmp_path / "sock", 0o660, Owner(), asked.control()).stop()
