"""Octets that no browser would send, to a real server: each gets an answer that is no 5xx, and none writes a
line of log, which anybody could fill."""

import contextlib
import re
import socket
import struct
import time
from collections.abc import Iterator
from typing import Final

import pytest

from tests.support import wait_for
from tests.web.search_pages import made_lake
from tests.web.support import Site

HOST: Final = b"Host: localhost\r\n"
CLOSE: Final = b"Connection: close\r\n"
JSON: Final = b"Content-Type: application/json\r\n"
CHUNKED: Final = b"Transfer-Encoding: chunked\r\n"
#: A chunk that is longer than any body may be, and the end of the body.
LARGE: Final = b"11170\r\n" + b"a" * 0x11170 + b"\r\n0\r\n\r\n"


def request(target: bytes, more: bytes = b"", body: bytes = b"", method: bytes = b"GET") -> bytes:
    length = b"Content-Length: %d\r\n" % len(body) if body and CHUNKED not in more else b""
    return b"%b %b HTTP/1.1\r\n%b%b%b\r\n%b" % (method, target, HOST + CLOSE, more, length, body)


def post(body: bytes, more: bytes = JSON, target: bytes = b"/api/session") -> bytes:
    return request(target, more, body, b"POST")


#: What is sent -> the status of the answer.
REQUESTS: Final[dict[str, tuple[bytes, int]]] = {
    "HTTP/1.0": (b"GET /api/calls?limit=1 HTTP/1.0\r\nHost: localhost\r\n\r\n", 200),
    "HTTP/1.0 without a host": (b"GET /healthz HTTP/1.0\r\n\r\n", 200),
    "HTTP/0.9": (b"GET /\r\n\r\n", 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 404),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two hosts": (request(b"/", HOST), 400),
    "no address": (b"GET /api/calls HTTP/1.1\r\nHost: [::1\r\nConnection: close\r\n\r\n", 421),
    "proxy's form": (request(b"http://evil.example/healthz"), 404),
    "CONNECT": (request(b"localhost:80", method=b"CONNECT"), 404),
    "OPTIONS *": (request(b"*", method=b"OPTIONS"), 404),
    "HEAD": (request(b"/", method=b"HEAD"), 200),
    "HEAD of what has none": (request(b"/api/calls", method=b"HEAD"), 405),
    "OPTIONS": (request(b"/api/calls", method=b"OPTIONS"), 405),
    "TRACE": (request(b"/", method=b"TRACE"), 405),
    "a long method": (request(b"/", method=b"A" * 5000), 405),
    "octets in a path": (request(b"/\xff"), 400),
    "null in a path": (request(b"/static/%00"), 404),
    "UTF-8 that is none": (request(b"/static/%ff%fe"), 404),
    "up": (request(b"/static/../../../../etc/passwd"), 404),
    "up, encoded": (request(b"/static/..%2f..%2f..%2fetc/passwd"), 404),
    "up, wholly encoded": (request(b"/static/%2e%2e%2f%2e%2e%2fetc%2fpasswd"), 404),
    "root": (request(b"/static//etc/passwd"), 404),
    "backslashes": (request(b"/static/..%5c..%5cetc"), 404),
    "a folder": (request(b"/static/js"), 404),
    "another host": (request(b"//evil.example/"), 404),
    "range": (request(b"/static/js/api.js", b"Range: bytes=99999999999999999999-,a\r\n"), 200),
    "range of an export": (request(b"/api/export?q=call_id:none", b"Range: bytes=0-9\r\n"), 200),
    "ETag": (request(b"/static/js/api.js", b'If-None-Match: "\xff"\r\n'), 200),
    "cookie": (request(b"/api/session", b'Cookie: hepcat=\xff; =; hepcat; "\\000\r\n'), 200),
    "many cookies": (request(b"/api/session", b"Cookie: " + b"hepcat=x;" * 5000 + b"\r\n"), 200),
    "token": (request(b"/api/calls", b"Authorization: Bearer \xff\r\n"), 401),
    "two tokens": (request(b"/api/calls", b"Authorization: Bearer\r\nAuthorization: Bearer b\r\n"), 401),
    "origin": (request(b"/api/session", b"Origin: http://[::1\r\n", method=b"DELETE"), 403),
    "query null": (request(b"/api/calls?q=%00"), 400),
    "query of octets": (request(b"/api/calls?q=%ff%fe%ed%a0%80"), 200),
    "long query": (request(b"/api/calls?q=" + b"a" * 60_000), 400),
    "deep query": (request(b"/api/calls?q=" + b"(" * 2000), 400),
    "many parameters": (request(b"/api/calls?" + b"&".join([b"q=a"] * 5000)), 200),
    "expression": (request(b"/api/calls?q=ua:~((((a{100}){100}){100}){100})~"), 400),
    "digits": (request(b"/api/calls?limit=" + b"1" * 5000), 400),
    "all times": (request(b"/api/figures?since=-4611686018427387904&until=4611686018427387904"), 200),
    "cursor": (request(b"/api/calls?cursor=" + b"W1tb" * 2000), 400),
    "store": (request(b"/api/calls?store=../../etc"), 404),
    "column": (request(b"/api/messages?fields=header.%00"), 200),
    "Call-ID with slashes": (request(b"/api/call?id=a%2Fb%2F..%2F"), 404),
    "Call-ID with line ends": (request(b"/api/export?id=%0d%0aSet-Cookie:x"), 404),
    "Call-ID of a surrogate": (request(b"/api/call?id=%ed%b3%bf"), 404),
    "slash in a route": (request(b"/api/call%2Fladder.svg?id=1"), 404),
    "last event": (request(b"/api/calls", b"Last-Event-ID: \xff\r\n"), 200),
    "no JSON": (post(b"{\xff}"), 400),
    "deep JSON": (post(b"[" * 60_000), 400),
    "long number": (post(b'{"user":' + b"1" * 50_000 + b"}"), 400),
    "surrogates": (post(b'{"user":"\\ud800","password":"\\u0000"}'), 400),
    "a form": (post(b"user=a", b"Content-Type: multipart/form-data; boundary=x\r\n"), 415),
    "type of octets": (post(b"{}", b"Content-Type: \xff/\xff\r\n"), 415),
    "no length": (post(b"", JSON + b"Content-Length: -1\r\n"), 400),
    "large length": (post(b"", JSON + b"Content-Length: 99999999999999999999\r\n"), 413),
    "both lengths": (post(b"0\r\n\r\n", JSON + CHUNKED + b"Content-Length: 4\r\n"), 400),
    "two lengths": (post(b"", JSON + b"Content-Length: 1\r\nContent-Length: 2\r\n"), 400),
    "encoding": (post(b"", JSON + b"Transfer-Encoding: gzip\r\n"), 400),
    "no chunk": (post(b"zz\r\n", JSON + CHUNKED), 400),
    "too many chunks": (post(LARGE, JSON + CHUNKED), 413),
    "body of a search": (request(b"/api/histogram", CHUNKED, LARGE), 413),
    "long body of a search": (request(b"/api/calls", b"", b"a" * 70_000), 413),
    "many headers": (request(b"/healthz", b"X: y\r\n" * 60_000), 400),
    "long header": (request(b"/healthz", b"X: " + b"a" * 300_000 + b"\r\n"), 400),
    "header without a name": (request(b"/healthz", b": a\r\n"), 400),
    "null in a header": (request(b"/healthz", b"X: a\x00b\r\n"), 400),
    "WebSocket": (request(b"/healthz", b"Connection: Upgrade\r\nUpgrade: websocket\r\n"), 200),
    "pipeline": ((b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n") * 200 + request(b"/healthz"), 200),
    "rubbish behind a request": (b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\nrubbish\r\n\r\n", 200),
}
#: Which of these a wrong request gets is the routes' business.
WRONG: Final = {400, 415}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("raw")
    with Site(made_lake(folder, 400, 20), folder) as started:
        started.get("/api/calls")
        yield started
        assert "Traceback" not in started.log.read_text()


@pytest.fixture(autouse=True)
def silent(site: Site) -> Iterator[None]:
    before = site.log.read_text()
    yield
    assert site.log.read_text() == before


def connect(site: Site) -> socket.socket:
    return socket.create_connection(("127.0.0.1", site.port), timeout=60)


def answer(client: socket.socket) -> bytes:
    """Return all that comes until the server closes."""
    got = b""
    try:
        while octets := client.recv(65_536):
            got += octets
    except ConnectionResetError:
        pass
    return got


@pytest.mark.parametrize("name", REQUESTS)
def test_each_has_its_answer(site: Site, name: str) -> None:
    sent, status = REQUESTS[name]
    with connect(site) as client:
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):  # refused before all was sent
            client.sendall(sent)
        got = answer(client)
    head, _, body = got.partition(b"\r\n\r\n")
    found = int(head[9:12] or 0)
    assert found == status or {found, status} <= WRONG, got[:600]
    assert b"\nset-cookie:x" not in got.lower()
    assert b"root:" not in got
    if status >= 400 and not sent.startswith(b"HEAD"):
        assert b"application/problem+json" in head
        assert b'"status":%d' % found in body
    counts = [int(code) for code in re.findall(rb"HTTP/1\.1 (\d{3}) ", got)]
    assert len(counts) == {"pipeline": 201, "rubbish behind a request": 2, "HTTP/2": 2}.get(name, 1)


#: Routes that answer at once, after a search, as they go, and never to the end.
ROUTES: Final = (
    b"/healthz",
    b"/static/js/api.js",
    b"/nowhere",
    b"/api/histogram",
    b"/api/export",
    b"/api/live",
)


@pytest.mark.parametrize("path", ROUTES, ids=bytes.decode)
@pytest.mark.parametrize("body", [b"zz\r\n\r\n", LARGE], ids=["no chunk", "too many chunks"])
@pytest.mark.parametrize("wait", [0.0, 0.3])
def test_a_body_that_goes_wrong_during_the_answer(site: Site, path: bytes, body: bytes, wait: float) -> None:
    with connect(site) as client:
        client.sendall(request(path, CHUNKED))
        time.sleep(wait)
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            client.sendall(body)
        got = answer(client)
    found = re.findall(rb"HTTP/1\.1 (\d{3}) ", got)
    assert len(found) <= 1
    assert not got or found[0] in (b"200", b"400", b"404", b"413"), got[:300]
    wait_for(lambda: _idle(site), 60, "all of it ended")


def test_clients_that_break_off(site: Site) -> None:
    for path in (*ROUTES, b"/api/export?format=json", b"/api/messages?fields=payload"):
        for wait in (0.0, 0.1):
            with connect(site) as client:
                client.sendall(request(path))
                time.sleep(wait)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wait_for(lambda: _idle(site), 60, "all of it ended")


def _idle(site: Site) -> bool:
    web = site.get("/api/status")["web"]
    names = ("searches_running", "searches_waiting", "live", "exports")
    return web["connections"] == 1 and not any(web[name] for name in names)
