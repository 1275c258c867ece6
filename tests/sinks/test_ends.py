"""Targets that close, are silent or answer for ever, and the end of the agent; URLs that cannot be."""

import contextlib
import json
import socket
import threading
import time
from typing import Any

import pytest
from structlog.testing import capture_logs

from hepcat.batch.drops import Drop
from hepcat.config.agent import TargetSettings
from hepcat.errors import HepcatError
from hepcat.sinks import batch_sink, stream_writer
from hepcat.sinks.make import make_sink
from hepcat.sinks.target_url import parse_place
from tests.sinks.peers import AGENT, balanced, numbered, rows, sink
from tests.support import wait_for


class Server:
    """A TCP server that gives each connection to a function."""

    def __init__(self, serve: Any) -> None:
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.port = self.sock.getsockname()[1]
        self._serve = serve
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=(self.sock.accept()[0],), daemon=True).start()


def post_of(sock: socket.socket) -> bytes:
    octets = b""
    while b"\r\n\r\n" not in octets:
        octets += sock.recv(65536)
    head, _, body = octets.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
    while len(body) < length:
        body += sock.recv(65536)
    return body


def test_a_server_that_closes_idle_connections_is_not_away() -> None:
    bodies: list[bytes] = []
    closed = threading.Semaphore(0)

    def serve(sock: socket.socket) -> None:
        with sock:
            bodies.append(post_of(sock))
            sock.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
        closed.release()

    out = sink(f"http://127.0.0.1:{Server(serve).port}", kind="json")
    with capture_logs() as logs:
        out.start()
        outlet = out.open_outlet()
        for first in range(3):
            outlet.send(numbered(first, 1), rows(numbered(first, 1)))
            wait_for(lambda first=first: balanced(out)["sent"] == first + 1, 60, "sent")
            assert closed.acquire(timeout=60)  # its FIN is there
        out.stop(1)
    assert [json.loads(body)["payload"][:9] for body in bodies] == [f"{i:09d}" for i in range(3)]
    assert not [line for line in logs if line["log_level"] == "error"]


def test_an_answer_that_never_ends_does_not_hold_the_end() -> None:
    answering = threading.Event()

    def serve(sock: socket.socket) -> None:
        post_of(sock)
        answering.set()
        with contextlib.suppress(OSError):
            while True:
                sock.sendall(b"x")
                time.sleep(0.1)

    out = sink(f"http://127.0.0.1:{Server(serve).port}", kind="json")
    out.start()
    out.open_outlet().send(numbered(0, 1), rows(numbered(0, 1)))
    assert answering.wait(60)
    before = time.monotonic()
    out.stop(0.3)
    assert time.monotonic() - before < 60
    assert balanced(out)["SINK_FAILED"] == 1


@pytest.mark.parametrize("spool", [False, True])
def test_a_name_that_is_looked_up_for_long_does_not_hold_the_end(
    spool: bool, tmp_path: Any, monkeypatch: Any
) -> None:
    begun, ended = threading.Event(), threading.Event()

    def looks_up(*_: Any) -> None:
        begun.set()
        ended.wait(120)
        raise OSError("no such name")

    monkeypatch.setattr(stream_writer, "open_connection", looks_up)
    out = sink("tcp://h:1", **({"spool": tmp_path} if spool else {}))
    out.start()
    out.open_outlet().send(numbered(0, 7), rows(numbered(0, 7)))
    assert begun.wait(60)
    before = time.monotonic()
    out.stop(0.3)
    assert time.monotonic() - before < 60
    counts = balanced(out)
    ended.set()
    out._writers[0]._thread.join(60)
    assert counts == balanced(out)
    assert counts["waiting" if spool else "SINK_FAILED"] == 7


def test_the_end_of_the_last_tls_record_is_not_left_behind() -> None:
    """The kernel had no room for it, and nothing more comes that would take it along."""

    class Full:
        held = 1

        def is_open(self) -> bool:
            return True

        def flush(self) -> None:
            self.held = 0

        def acknowledged(self) -> int:
            return 0

    out = sink("tcp://127.0.0.1:9")
    connection: Any = Full()
    out._writers[0]._step(connection)
    assert connection.held == 0


def test_what_the_end_waits_for_is_told() -> None:
    silent = socket.create_server(("127.0.0.1", 0), backlog=0)
    fillers = [socket.socket() for _ in range(3)]
    for filler in fillers:  # the backlog is full: nothing answers any more
        filler.setblocking(False)
        filler.connect_ex(silent.getsockname())
    out = sink(f"tcp://127.0.0.1:{silent.getsockname()[1]}")
    with capture_logs() as logs:
        out.start()
        out.open_outlet().send(numbered(0, 7), rows(numbered(0, 7)))
        time.sleep(0.1)
        out.stop(0.3)
    told = [line for line in logs if line["event"] == "waiting for target"]
    assert [line["records"] for line in told] == [7]


@pytest.mark.parametrize(
    "url", ["tcp://a..b:9060", "tcp://" + "a" * 70 + ":9060", "udp://127.0.0.1:0", "tcp://h:70000"]
)
def test_hosts_that_cannot_be(url: str) -> None:
    with pytest.raises(HepcatError, match="no host, or no port"):
        parse_place(url, "t")


@pytest.mark.parametrize(
    "url", ["http://user:secret@h/", "tcp://h:1/path", "udp://h:1?x=1", "http://h/#part"]
)
def test_parts_of_a_url_without_effect_are_refused(url: str) -> None:
    with pytest.raises(HepcatError) as told:
        parse_place(url, "t")
    assert "secret" not in str(told.value)


def test_a_path_is_sent_as_http_wants_it() -> None:
    assert parse_place("http://h/ä b?x=ü%20", "t").path == "/%C3%A4%20b?x=%C3%BC%20"
    assert str(parse_place("tcp://h/", "t")) == "tcp://h:9060"


def test_the_same_url_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        TargetSettings(name="t", urls=("udp://h:1", "udp://h:2", "udp://h:1"))


def test_a_bug_in_copying_does_not_end_the_worker(tmp_path: Any, monkeypatch: Any) -> None:
    def broken(*_: Any) -> None:
        raise IndexError("bug")

    monkeypatch.setattr(batch_sink, "edited_copy", broken)
    out = make_sink(TargetSettings(name="t", kind="pcap", path=tmp_path / "x.pcap"), AGENT)
    with capture_logs() as logs:
        out.open_outlet().send(numbered(0, 3), rows(numbered(0, 3)))
    (tally,) = out.tallies()
    assert (tally.taken, tally.drops[Drop.SINK_FAILED]) == (3, 3)
    assert logs[0]["log_level"] == "error"
