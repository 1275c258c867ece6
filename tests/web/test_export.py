"""Exports over HTTP: the same octets as `hepcat export`, refused before or broken off, never half a file."""

import asyncio
import http.client
import json
import socket
import threading
import urllib.request
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from hepcat.errors import HepcatError
from hepcat.web.streams import Seats, Streamed
from tests.support import hepcat_here, wait_for
from tests.web.search_pages import made_lake
from tests.web.support import Site


def fetch(site: Site, **parameters: Any) -> tuple[bytes, Any]:
    query = urllib.parse.urlencode(parameters, doseq=True)
    with urllib.request.urlopen(f"{site.url}/api/export?{query}", timeout=60) as answer:
        return answer.read(), answer.headers


@pytest.mark.parametrize("format", ["pcap", "pcapng", "text", "json"])
@pytest.mark.parametrize(("query", "of"), [("method:BYE status:200", "calls"), ("method:BYE", "messages")])
def test_it_is_what_the_command_writes(
    search_site: Site, tmp_path: Path, format: str, query: str, of: str
) -> None:
    octets, headers = fetch(search_site, q=query, format=format, of=of)
    written = tmp_path / "written"
    messages = ["--messages"] if of == "messages" else []
    hepcat_here(
        "export", "--data", str(search_site.data), "-o", str(written), f"--format={format}", *messages, query
    )
    assert octets == written.read_bytes()
    assert len(octets) > 100_000
    ending = "txt" if format == "text" else format
    assert headers["Content-Disposition"].startswith('attachment; filename="hepcat-')
    assert headers["Content-Disposition"].endswith(f'.{ending}"')


def test_of_call_ids(search_site: Site) -> None:
    ids = [row["call_id"] for row in search_site.get("/api/calls", limit=3)["calls"]]
    octets, _ = fetch(search_site, id=[*ids, ids[0], "not-there"], format="json")
    rows = json.loads(octets)
    assert {row["call_id"] for row in rows} == set(ids)
    times = [row["ts"] for row in rows]
    assert times == sorted(times)


def test_no_call_id_is_known(search_site: Site) -> None:
    answer = search_site.get("/api/export", id="not-there")
    assert (answer["status"], answer["type"]) == (404, "/api/docs#problem-no-call")


def test_nothing_found_is_an_empty_file(search_site: Site) -> None:
    assert json.loads(fetch(search_site, q="from:nobody-at-all", format="json")[0]) == []
    assert len(fetch(search_site, q="from:nobody-at-all")[0]) == 24


@pytest.mark.parametrize(
    "call_id", ['a"b\r\nSet-Cookie: x=1', "../../etc/passwd", "π@host", "CON", "x" * 900, "%0d%0a"]
)
def test_the_file_name_is_safe(call_id: str) -> None:
    from hepcat.web.routes.export import _name

    name = _name([call_id])
    assert name.startswith("hepcat-")
    assert len(name) <= 70
    assert name.replace("-", "").replace("_", "").isalnum()
    assert name.isascii()


@pytest.fixture(scope="module")
def small_bound(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("bound")
    few = {"HEPCAT_WEB_EXPORT_MESSAGES": "500"}
    with Site(made_lake(folder, 2_000, 100), folder, environment=few) as started:
        yield started


@pytest.mark.parametrize("parameters", [{}, {"of": "messages"}, {"q": "method:INVITE"}])
def test_too_large_is_refused_before_anything_is_sent(small_bound: Site, parameters: dict[str, str]) -> None:
    answer = small_bound.get("/api/export", **parameters)
    assert (answer["status"], answer["type"]) == (413, "/api/docs#problem-too-large")
    assert "500" in answer["detail"]


def test_what_fits_is_sent(small_bound: Site) -> None:
    octets, _ = fetch(small_bound, of="messages", q="method:BYE", format="json")
    assert 0 < len(json.loads(octets)) <= 500


# -- streams, served by the same server program


@contextmanager
def served(app: Any) -> Iterator[int]:
    """Run an ASGI application on loopback; gives its port."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        config = uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listening])))
        thread.start()
        try:
            wait_for(lambda: server.started, what="server started")
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(60)


def streaming(make: Callable[[], AsyncGenerator[bytes]], told: list[str], **options: Any) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        answer = Streamed(
            make(),
            "text/plain",
            gone=lambda: told.append("gone"),
            done=lambda: told.append("done"),
            **options,
        )
        await answer(scope, receive, send)

    return app


@pytest.mark.parametrize("error", [HepcatError("the store went away"), ValueError("a bug")])
def test_an_error_in_the_middle_breaks_the_answer_off(error: Exception) -> None:
    async def pieces() -> AsyncGenerator[bytes]:
        yield b"half a file"
        raise error

    told: list[str] = []
    with served(streaming(pieces, told)) as port:
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        client.request("GET", "/")
        answer = client.getresponse()
        assert answer.status == 200
        with pytest.raises(http.client.IncompleteRead) as raised:
            answer.read()
        assert raised.value.partial == b"half a file"
    assert told == ["done"]


def test_a_whole_answer() -> None:
    async def pieces() -> AsyncGenerator[bytes]:
        yield b"a"
        yield b"b"

    told: list[str] = []
    with served(streaming(pieces, told)) as port:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60) as answer:
            assert answer.read() == b"ab"
        wait_for(lambda: told == ["done"])


def test_a_client_that_goes_away_ends_it() -> None:
    closed = threading.Event()

    async def pieces() -> AsyncGenerator[bytes]:
        try:
            yield b"first"
            await asyncio.sleep(60)
        finally:
            closed.set()

    told: list[str] = []
    with served(streaming(pieces, told)) as port:
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            wait_for(lambda: b"first" in client.recv(4096))
        assert closed.wait(30)
        wait_for(lambda: told == ["gone", "done"])


def test_a_client_that_takes_nothing_is_dropped() -> None:
    async def pieces() -> AsyncGenerator[bytes]:
        while True:
            yield b"x" * 100_000

    told: list[str] = []
    app = streaming(pieces, told, stalled=0.3)
    with served(app) as port, socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_for(lambda: told == ["done"], what="the client dropped")


def test_seats_are_bounded_and_given_back() -> None:
    seats = Seats("exports", 3, 2)
    with seats.taken("a"), seats.taken("a"):
        with pytest.raises(HepcatError) as raised, seats.taken("a"):
            pass
        assert getattr(raised.value, "status", None) == 429
        with seats.taken("b"), pytest.raises(HepcatError), seats.taken("c"):
            pass
        assert len(seats) == 2
    assert len(seats) == 0
