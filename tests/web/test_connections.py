"""Connections: as many as there may be, given up where no request comes or no answer is taken; others not."""

import asyncio
import contextlib
import json
import socket
import ssl
import subprocess
import urllib.request
from collections.abc import Callable, Coroutine
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from hepcat.config.web import WebSettings
from hepcat.web import connections, door, running
from hepcat.web.bodies import BoundedBodies
from hepcat.web.door import ENDED_DOCS, Clients, Ended
from hepcat.web.proxies import Proxies
from tests.support import Server, need, run_async, wait_for

HEAD = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\n"
LARGE = b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\n"
OCTETS = 24 << 20
NOBODY = Proxies(())


async def _application(scope: Any, receive: Any, send: Any) -> None:
    """Answer a request once its body is there, and a moment has gone by."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    await asyncio.sleep(0.6 if scope["path"] == "/slow" else 0.0)
    body = bytes(OCTETS) if scope["path"] == "/large" else b"ok"
    length = str(len(body)).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
    await send({"type": "http.response.body", "body": body})


def with_server(
    test: Callable[[int], Coroutine[Any, Any, None]],
    clients: Clients | None = None,
    tls: ssl.SSLContext | None = None,
) -> None:
    """Run a test beside a server of its own."""

    async def run() -> None:
        listening = socket.create_server(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        config = uvicorn.Config(
            BoundedBodies(_application),
            log_config=None,
            lifespan="off",
            ssl_context_factory=None if tls is None else lambda *_: tls,
        )
        server = running.Running(config, listening, Clients(100, 100, NOBODY) if clients is None else clients)
        serving = asyncio.create_task(server.serve())
        while not (server.started and server.servers):
            await asyncio.sleep(0.01)
        try:
            await asyncio.wait_for(test(port), 60)
        finally:
            server.should_exit = True
            await serving

    run_async(run)


async def until(true: Callable[[], bool]) -> None:
    """Wait for something."""
    while not true():
        await asyncio.sleep(0.02)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "PATIENCE", 0.3)


@pytest.mark.parametrize(
    "sent", [b"", b"G", b"GET / HTTP/1.1\r\nHost: localhost\r\n", HEAD, HEAD + b"abc"], ids=range(5)
)
def test_what_never_becomes_a_request_is_given_up(sent: bytes) -> None:
    async def test(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        with suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.close()

    with_server(test)


def test_the_rest_of_a_next_request_is_not_waited_for_either() -> None:
    async def test(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD + b"abcd")
        assert (await reader.readuntil(b"ok")).startswith(ANSWER)
        await asyncio.sleep(0.5)  # nothing of a next one: uvicorn's own time for that is longer
        writer.write(b"GET / HT")
        with suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.close()

    with_server(test)


def test_an_answer_may_take_longer() -> None:
    async def test(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(2):
            writer.write(b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (await reader.readuntil(b"ok")).startswith(ANSWER)
        writer.close()

    with_server(test)


def test_the_page_is_served_so(search_site: Any) -> None:
    """Bytes that are no HTTP write no line of log: whoever likes could fill it."""
    before = search_site.log.read_text()
    with closing(socket.create_connection(("127.0.0.1", search_site.port), timeout=60)) as client:
        client.sendall(b"\x16\x03\x01 no HTTP\r\n\r\n")
        assert b" 400 " in client.recv(100)
    with urllib.request.urlopen(f"{search_site.url}/healthz", timeout=60) as answer:
        assert answer.status == 200
    assert search_site.log.read_text() == before


def test_descriptors_are_left_for_the_stores() -> None:
    assert 1 <= connections.most_connections(2000) <= 2000
    assert connections.most_connections(10) == 10


def test_most_of_one_address() -> None:
    clients = Clients(6, 2, Proxies.of(WebSettings(trusted_proxies=("198.51.100.0/24",))))
    for host in ("192.0.2.1", "192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2"):
        assert clients.come(host) is None
    assert clients.come("192.0.2.1") is Ended.TOO_MANY_OF_ADDRESS
    assert clients.come("2001:db8::3") is Ended.TOO_MANY_OF_ADDRESS  # all of a /64 are one
    clients.go("192.0.2.1")
    assert clients.come("192.0.2.1") is None
    clients.go("2001:db8::1")
    for host in ("192.0.2.2", "2001:db8::2"):
        clients.go(host)
    for host in ("127.0.0.1",) * 4:
        assert clients.come(host) is None, "this machine is bounded by the number of all"
    assert clients.come("127.0.0.1") is Ended.TOO_MANY
    clients.go("127.0.0.1")
    clients.go("127.0.0.1")
    for _ in range(2):
        assert clients.come("198.51.100.7") is None
    assert dict(clients.ended) == {Ended.TOO_MANY_OF_ADDRESS: 2, Ended.TOO_MANY: 1}
    assert set(ENDED_DOCS) == set(Ended)


@pytest.mark.parametrize(("most", "an_address", "status"), [(2, 9, 503), (9, 2, 429)])
def test_one_too_many_is_told_so(
    most: int, an_address: int, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "is_loopback_address", lambda _: False)
    monkeypatch.setattr(connections, "PATIENCE", 20)
    clients = Clients(most, an_address, NOBODY)

    async def test(port: int) -> None:
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        await until(lambda: clients.open == 2)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        assert head.startswith(f"HTTP/1.1 {status} ".encode())
        assert b"Retry-After: 10" in head
        assert json.loads(body)["status"] == status
        held[0][1].close()
        writer.close()
        await until(lambda: clients.open == 1)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD + b"abcd")
        assert (await reader.readuntil(b"ok")).startswith(ANSWER)
        writer.close()
        held[1][1].close()

    with_server(test, clients)
    assert clients.ended.total() == 1


@pytest.fixture
def looking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "_LOOK_TICKS", 1)
    monkeypatch.setattr(connections, "PATIENCE", 20)
    monkeypatch.setattr(connections, "STALLED", 0.5)


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    need("openssl")
    folder = tmp_path_factory.mktemp("tls")
    files = [str(folder / name) for name in ("c.pem", "k.pem")]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-out",
         files[0], "-keyout", files[1]],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    return context


def trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
def test_an_answer_that_nobody_takes_is_given_up(
    secure: bool, looking: None, request: pytest.FixtureRequest
) -> None:
    clients = Clients(100, 100, NOBODY)

    async def test(port: int) -> None:
        mine = trusting() if secure else None
        _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024, ssl=mine)
        writer.write(LARGE)
        await until(lambda: clients.ended[Ended.NOT_READ] == 1)
        await until(lambda: clients.open == 0)
        writer.transport.abort()

    with_server(test, clients, request.getfixturevalue("certified") if secure else None)


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
def test_an_answer_that_is_taken_slowly_is_sent_whole(
    secure: bool, looking: None, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """It takes longer than who takes nothing is given."""
    monkeypatch.setattr(connections, "LEAST", 1 << 20)
    clients = Clients(100, 100, NOBODY)

    async def test(port: int) -> None:
        mine = trusting() if secure else None
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=mine)
        writer.write(LARGE)
        await reader.readuntil(b"\r\n\r\n")
        for _ in range(24):
            await reader.readexactly(1 << 20)
            await asyncio.sleep(0.06)
        assert clients.ended.total() == 0
        writer.close()

    with_server(test, clients, request.getfixturevalue("certified") if secure else None)


def test_answers_that_wait_are_bounded_in_all(looking: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "STALLED", 60)
    monkeypatch.setattr(connections, "MOST_UNSENT", OCTETS * 3 // 2)
    clients = Clients(100, 100, NOBODY)

    async def test(port: int) -> None:
        held = [await asyncio.open_connection("127.0.0.1", port, limit=1024) for _ in range(3)]
        for _, writer in held:
            writer.write(LARGE)
        await until(lambda: clients.ended[Ended.NOT_READ] >= 1)
        await asyncio.sleep(0.5)
        assert (clients.ended[Ended.NOT_READ], clients.open) in {(1, 2), (2, 1)}
        for _, writer in held:
            writer.transport.abort()

    with_server(test, clients)


def test_who_never_ends_the_handshake_counts_and_is_given_up(
    certified: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "_HANDSHAKE", 0.4)
    clients = Clients(100, 100, NOBODY)

    async def test(port: int) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        await until(lambda: clients.open == 1)
        await until(lambda: clients.open == 0)
        writer.close()

    with_server(test, clients, certified)


def test_a_stop_with_pages_open_is_no_error(tmp_path: Path) -> None:
    """Live pages, a client that takes nothing and one that says nothing: all end, and nothing is wrong."""
    config = tmp_path / "hepcat.toml"
    config.write_text("[web]\nopen_metrics = true\nconnections_an_address = 1\n")
    with Server(tmp_path, "--config", str(config), page=True) as server, contextlib.ExitStack() as held:

        def connect(sent: bytes) -> socket.socket:
            made = held.enter_context(socket.create_connection(("127.0.0.1", server.http), timeout=60))
            made.sendall(sent)
            return made

        live = [connect(f"GET /api/live?of={of} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()) for of in
                ("calls", "messages")]  # fmt: skip
        for one in live:
            assert one.recv(4096).startswith(ANSWER)
        connect(b"")
        connect(b"GET /api/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n")

        def counted() -> bool:
            with urllib.request.urlopen(f"http://127.0.0.1:{server.http}/metrics", timeout=60) as answer:
                lines = answer.read().decode().splitlines()
            assert 'hepcat_web_connections_ended_total{reason="too_many_of_address"} 0' in lines
            assert "hepcat_web_searches_refused_total 0" in lines
            return {"hepcat_web_live 2", "hepcat_web_connections 5"} <= set(lines)

        wait_for(counted, 60, "the connections in /metrics")
        assert server.stop() == 0
        for one in live:
            rest = b""
            while octets := one.recv(65_536):
                rest += octets
            assert rest.endswith(b"0\r\n\r\n"), "the stream has an end"
        log = server.log.read_text().lower()
        assert not any(word in log for word in ("error", "traceback", "cancel", "warning")), log
