"""The HTTP door: clients that are slow, many, or ask for what there is not."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from hepcat.config.settings import HttpSettings
from hepcat.control import http
from hepcat.control.http import HttpDoor
from hepcat.pipeline.metrics import Metrics
from tests.serve.peers import running
from tests.support import free_port, wait_for

#: What would be waited for is longer than what a test waits.
LONG, WAIT = 200.0, 60.0


@contextlib.contextmanager
def opened_door(request: float = LONG, look: float = LONG) -> Iterator[tuple[HttpDoor, int]]:
    """Open a door for the length of the block; its closing must not wait for anybody."""
    port = free_port()
    with running("udp") as run, pytest.MonkeyPatch.context() as patch:
        patch.setattr(http, "REQUEST_SECONDS", request)
        patch.setattr(http, "LOOK_SECONDS", look)
        opened = HttpDoor(HttpSettings(listen=f"127.0.0.1:{port}"), run.server)
        opened.start()
        try:
            yield opened, port
        finally:
            stopping = threading.Thread(target=opened.stop, daemon=True)
            stopping.start()
            stopping.join(WAIT)
            assert not stopping.is_alive(), "the door did not close at once"


@contextlib.contextmanager
def door(request: float = LONG, look: float = LONG) -> Iterator[int]:
    """The same, by its port."""
    with opened_door(request, look) as (_, port):
        yield port


def ask(port: int, octets: bytes) -> bytes:
    """Send octets and return everything that comes until the server closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=WAIT) as sock:
        sock.sendall(octets)
        return b"".join(iter(lambda: sock.recv(65_536), b""))


def gone(sock: socket.socket) -> bool:
    """Say whether the server has closed the connection."""
    sock.setblocking(False)
    try:
        return sock.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def test_slow_clients_hold_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "SPARE_SECONDS", 0.2)
    with door() as port:
        slow = [socket.create_connection(("127.0.0.1", port)) for _ in range(3 * http.MAX_REQUESTS)]
        for sock in slow:
            with contextlib.suppress(ConnectionError):
                sock.sendall(b"G")
        wait_for(lambda: sum(map(gone, slow)) >= 2 * http.MAX_REQUESTS, 60, "what has no place is closed")
        time.sleep(0.25)
        for _ in range(3):
            assert ask(port, b"GET /healthz HTTP/1.1\r\n\r\n").endswith(b"\r\n\r\nok\n")
        for sock in slow:
            sock.close()


def test_a_request_has_so_long_and_no_longer() -> None:
    with door(0.3, 0.1) as port, socket.create_connection(("127.0.0.1", port)) as sock:
        begun = time.monotonic()
        while not gone(sock):  # never silent for long
            assert time.monotonic() - begun < WAIT, "a slow request has no end"
            with contextlib.suppress(BlockingIOError, ConnectionError):
                sock.send(b"x")
            time.sleep(0.05)
        assert time.monotonic() - begun > 0.25

        def answers() -> bool:  # on a busy machine a good request may take too long too
            with contextlib.suppress(ConnectionError):
                return ask(port, b"GET /healthz HTTP/1.0\r\n\r\n").endswith(b"ok\n")
            return False

        wait_for(answers, what="an answer to the next request")


def test_a_client_that_reads_nothing_ends_too(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = threading.Event()
    monkeypatch.setattr(Metrics, "text", lambda _: asked.set() or bytes(50 * 2**20))
    with opened_door(0.3, 0.1) as (opened, port), socket.create_connection(("127.0.0.1", port)) as sock:
        sock.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        assert asked.wait(WAIT)
        wait_for(lambda: not opened._http._begun, what="the request is cut off")
        got = 0
        with contextlib.suppress(ConnectionResetError):
            while octets := sock.recv(2**20):
                got += len(octets)
        assert got < 50 * 2**20, "the answer was not given up"


@pytest.mark.parametrize("method", [b"POST", b"PUT", b"DELETE", b"OPTIONS", b"NONSENSE"])
def test_only_reading(method: bytes) -> None:
    with door() as port:
        answer = ask(port, method + b" /metrics HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 405 ")
    assert b"Allow: GET, HEAD" in head.splitlines()
    assert body == b"only GET and HEAD are answered here\n"


def test_head_is_get_without_its_body() -> None:
    with door() as port:
        for path in (b"/healthz", b"/status", b"/none"):
            get = ask(port, b"GET " + path + b" HTTP/1.1\r\n\r\n").partition(b"\r\n\r\n")
            head = ask(port, b"HEAD " + path + b" HTTP/1.1\r\n\r\n").partition(b"\r\n\r\n")
            assert head[0].splitlines()[0] == get[0].splitlines()[0]
            assert b"Content-Length: %d" % len(get[2]) in head[0]
            assert head[2] == b""


def test_no_octets_break_the_door() -> None:
    with door() as port:
        for octets in (
            b"\x16\x03\x01\x00",
            b"GET\r\n\r\n",
            b"\r\n\r\n",
            b"GET / HTTP/9.9\r\n\r\n",
            b"x" * 70_000,
        ):
            with socket.create_connection(("127.0.0.1", port)) as sock, contextlib.suppress(ConnectionError):
                sock.sendall(octets)
        assert ask(port, b"GET /healthz HTTP/1.1\r\n\r\n").endswith(b"ok\n")


def test_a_door_that_never_began_to_answer_can_be_closed() -> None:
    """Where the start fails in between: it must not be waited for."""
    with running("udp") as run:
        stopping = threading.Thread(
            target=HttpDoor(HttpSettings(listen=f"127.0.0.1:{free_port()}"), run.server).stop, daemon=True
        )
        stopping.start()
        stopping.join(WAIT)
        assert not stopping.is_alive()
