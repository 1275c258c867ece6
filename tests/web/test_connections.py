"""Connections that bring no request, or never all of one, are given up; others are not."""

import asyncio
import socket
import urllib.request
from collections.abc import Callable, Coroutine
from contextlib import closing, suppress
from typing import Any

import pytest
import uvicorn

from hepcat.web import connections
from hepcat.web.bodies import BoundedBodies
from tests.support import free_port, run_async

HEAD = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\n"


async def _application(scope: Any, receive: Any, send: Any) -> None:
    """Answer a request once its body is there, and a moment has gone by."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    await asyncio.sleep(0.6 if scope["path"] == "/slow" else 0.0)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


def with_server(test: Callable[[int], Coroutine[Any, Any, None]]) -> None:
    """Run a test beside a server of its own."""

    async def run() -> None:
        port = free_port()
        config = uvicorn.Config(
            BoundedBodies(_application),
            port=port,
            http=connections.Connection,
            log_config=None,
            lifespan="off",
        )
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        try:
            await asyncio.wait_for(test(port), 20)
        finally:
            server.should_exit = True
            await serving

    run_async(run)


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
    with closing(socket.create_connection(("127.0.0.1", search_site.port), timeout=20)) as client:
        client.sendall(b"\x16\x03\x01 no HTTP\r\n\r\n")
        assert b" 400 " in client.recv(100)
    with urllib.request.urlopen(f"{search_site.url}/healthz", timeout=20) as answer:
        assert answer.status == 200
    assert search_site.log.read_text() == before


def test_descriptors_are_left_for_the_stores() -> None:
    assert 1 <= connections.most_connections() <= 2000
