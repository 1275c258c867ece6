"""Live results: events as messages are stored, for many clients, and what a broken connection missed."""

import asyncio
import contextlib
import http.client
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import hepcat
from hepcat.config.databases import DatabaseSettings
from hepcat.stores.dbtext import admin
from hepcat.web import follower as following
from hepcat.web.channel import MOST_ROWS, MOST_WATCHED, Channel, Wish
from hepcat.web.events import MOST_EVENTS, Listener
from hepcat.web.hub import Hub
from tests.serve.peers import hep3, invite
from tests.support import Server, hepcat_here, run_async, wait_for
from tests.web.support import Site, import_lake


class Stream:
    """A client of /api/live: events as (identity, name, value)."""

    def __init__(self, port: int, path: str = "/api/live", **headers: str) -> None:
        self.events: list[tuple[str, str, Any]] = []
        self.octets = b""
        self._client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._client.request("GET", path, headers=headers)
        self.answer = self._client.getresponse()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        identity, name = "", ""
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError, AttributeError):
            for line in self.answer:
                self.octets += line
                key, _, value = line.decode().rstrip("\n").partition(": ")
                if key == "id":
                    identity = value
                elif key == "event":
                    name = value
                elif key == "data":
                    self.events.append((identity, name, json.loads(value)))

    def rows(self, name: str = "calls") -> list[dict[str, Any]]:
        """Return the rows so far."""
        return [row for _, kind, value in list(self.events) if kind == name for row in value]

    def seen(self, call_id: str, name: str = "calls") -> list[dict[str, Any]]:
        """Wait for rows of a call; return them."""
        wait_for(lambda: any(r["call_id"] == call_id for r in self.rows(name)), what=f"{call_id} told of")
        return [row for row in self.rows(name) if row["call_id"] == call_id]

    def ready(self) -> "Stream":
        """Wait for the beginning."""
        wait_for(lambda: self.octets.startswith(b"retry:"), what="the stream begins")
        return self

    def close(self) -> None:
        """Go away."""
        if self._client.sock is not None:
            with contextlib.suppress(OSError):
                self._client.sock.shutdown(socket.SHUT_RDWR)
        self.answer.close()
        self._client.close()

    def __enter__(self) -> "Stream":
        return self.ready()

    def __exit__(self, *_: object) -> None:
        self.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    environment = {"HEPCAT_WEB_LIVE_CLIENTS": "4"}
    with Server(tmp_path_factory.mktemp("live"), page=True, environment=environment) as started:
        yield started


def store(server: Server, *messages: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for message in messages:
            sender.sendto(hep3(message), ("127.0.0.1", server.port))


def test_calls_come_as_they_happen_and_again_as_they_go_on(server: Server) -> None:
    with Stream(server.http) as stream:
        assert stream.answer.getheader("Content-Type", "").startswith("text/event-stream")
        assert stream.answer.getheader("Cache-Control") == "no-store"
        store(server, invite("happens"))
        (first,) = stream.seen("happens")
        assert (first["messages"], first["state"], first["from"]) == (1, "no reply", "alice@example.com")
        assert set(first) == set(site_of(server).get("/api/calls", limit=1)["calls"][0])
        busy = invite("happens").replace(b"INVITE sip:bob@example.com SIP/2.0", b"SIP/2.0 486 Busy Here")
        store(server, busy)
        wait_for(lambda: len(stream.seen("happens")) > 1, what="the call told of again")
        last = stream.seen("happens")[-1]
        assert (last["messages"], last["state"], last["status"]) == (2, "busy", 486)


def test_messages_that_match(server: Server) -> None:
    with Stream(
        server.http, "/api/live?of=messages&q=call_id:wanted&fields=call_id,method,payload"
    ) as stream:
        store(server, invite("other"), invite("wanted"))
        (row,) = stream.seen("wanted", "messages")
        assert row == {"call_id": "wanted", "method": "INVITE", "payload": invite("wanted").decode()}
        assert [r["call_id"] for r in stream.rows("messages")] == ["wanted"]


def test_who_comes_back_is_told_what_was_missed(server: Server) -> None:
    with Stream(server.http) as stream:
        store(server, invite("before"))
        stream.seen("before")
        last = stream.events[-1][0]
    store(server, invite("between"))
    wait_for(lambda: site_of(server).get("/api/calls", q="call_id:between")["calls"], what="stored")
    with Stream(server.http, **{"Last-Event-ID": last}) as again:
        again.seen("between")
        assert not [row for row in again.rows() if row["call_id"] == "before"]


def test_since_and_identities_of_another_server_are_answered_by_a_search(server: Server) -> None:
    store(server, invite("earlier"))
    found = wait_for(lambda: site_of(server).get("/api/calls", q="call_id:earlier")["calls"], what="stored")
    start = found[0]["start"]
    for path, headers in (
        (f"/api/live?since={start}", {}),
        ("/api/live", {"Last-Event-ID": f"00000000-7-{start}"}),
        (f"/api/live?of=messages&since={start}", {}),
    ):
        with Stream(server.http, path, **headers) as stream:
            stream.seen("earlier", "messages" if "messages" in path else "calls")


def test_nothing_is_told_of_what_was_there_before(server: Server) -> None:
    with Stream(server.http) as first:
        store(server, invite("old"))
        first.seen("old")
    with Stream(server.http) as stream:
        store(server, invite("new"))
        stream.seen("new")
        assert "old" not in {row["call_id"] for row in stream.rows()}


def test_clients_are_bounded_and_leave_their_places(server: Server) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(Stream(server.http))
        answer = site_of(server).get("/api/live")
        assert (answer["status"], answer["type"]) == (429, "/api/docs#problem-busy")
    wait_for(lambda: _opens(server), what="a place after the others left")


def _opens(server: Server) -> bool:
    stream = Stream(server.http)
    try:
        return stream.answer.status == 200
    finally:
        stream.close()


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("q=fro:x", 400),
        ("fields=shoe_size", 400),
        ("of=messages&fields=shoe", 400),
        ("of=hats", 400),
        ("store=x", 404),
    ],
)
def test_wrong_requests(server: Server, query: str, status: int) -> None:
    client = http.client.HTTPConnection("127.0.0.1", server.http, timeout=60)
    client.request("GET", f"/api/live?{query}")
    answer = client.getresponse()
    assert answer.status == status
    assert json.loads(answer.read())["status"] == status


def test_a_store_that_cannot_be_followed(tmp_path: Path) -> None:
    url = f"text://{tmp_path / 'tables'}"
    admin.create(DatabaseSettings(name="old", url=url))
    with Site(tmp_path / "data", tmp_path, f"--store={url}") as site:
        assert site.get("/api/calls")["calls"] == []
        answer = site.get("/api/live")
        assert (answer["status"], answer["type"]) == (501, "/api/docs#problem-no-tail")


def _capture(folder: Path) -> Path:
    hepcat_here("bench", "pcap", "--out", str(folder / "made.pcap"), "--packets=300", "--calls=20")
    return folder / "made.pcap"


# -- parts


def test_equal_wishes_share_a_channel_and_a_thread(tmp_path: Path) -> None:
    lake = import_lake(tmp_path / "data", [_capture(tmp_path)])

    async def test() -> None:
        loop = asyncio.get_running_loop()
        hub = Hub(10, 8)
        with hepcat.open(lake) as data:

            def wish(q: str) -> Wish:
                return Wish("calls", q, data.searcher.parse(q), ("call_id",))

            listeners = [Listener() for _ in range(3)]
            joined = [
                hub.join("lake", data, wish(q), one, loop) for q, one in zip("aab", listeners, strict=True)
            ]
            assert joined[0] is joined[1]
            assert joined[2] is not joined[0]
            threads = [thread for thread in threading.enumerate() if thread.name == "live-lake"]
            assert len(threads) == 1
            for channel, listener in zip(joined, listeners, strict=True):
                channel.leave(listener)
            hub.close()
            await asyncio.to_thread(threads[0].join, 10)
            assert hub.following == []

    run_async(test)


def test_a_follower_ends_once_nobody_has_listened_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "LINGER", 0.1)
    lake = import_lake(tmp_path / "data", [_capture(tmp_path)])

    async def test() -> None:
        hub, listener = Hub(10, 8), Listener()
        with hepcat.open(lake) as data:
            wish = Wish("calls", "", data.searcher.parse(""), ("call_id",))
            loop = asyncio.get_running_loop()
            channel = hub.join("lake", data, wish, listener, loop)
            assert hub.following == ["lake"]
            channel.leave(listener)
            await asyncio.to_thread(wait_for, lambda: not hub.following)
            again = hub.join("lake", data, wish, listener, loop)
            assert again is not channel
            assert hub.following == ["lake"]
            hub.close()

    run_async(test)


def test_a_slow_client_is_dropped_and_told() -> None:
    async def test() -> None:
        listener = Listener()
        for number in range(MOST_EVENTS + 5):
            listener.offer(b"event %d\n\n" % number)
        assert listener.slow
        told = [octets async for octets in listener.stream(_there)]
        assert told[0].startswith(b"retry:")
        assert told[-1].startswith(b"event: slow\n")
        assert len(told) == 2

    run_async(test)


def test_who_is_logged_out_hears_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hepcat.web.events.KEEP_ALIVE", 0.01)
    answers = iter([True, False])

    async def still_there() -> bool:
        return next(answers)

    async def test() -> None:
        told = [octets async for octets in Listener().stream(still_there)]
        assert told[1] == b": still here\n\n"
        assert b"log in again" in told[2]
        assert len(told) == 3

    run_async(test)


def test_who_is_logged_out_hears_no_more_though_there_is_never_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("hepcat.web.events.KEEP_ALIVE", 0.2)

    async def gone() -> bool:
        return False

    async def test() -> None:
        listener, told = Listener(), b""
        listener.offer(b"row")
        async for octets in listener.stream(gone):
            told += octets
            listener.offer(b"row")
            await asyncio.sleep(0.01)
        assert told.count(b"row") > 1
        assert b"log in again" in told

    run_async(test, 60)


async def _there() -> bool:
    return True


def _channel() -> Channel:
    from hepcat.search.ast import EVERYTHING

    return Channel(Wish("calls", "", EVERYTHING, ("call_id",)))


def test_rows_of_an_event_are_bounded_and_the_newest() -> None:
    channel = _channel()
    ids = [f"c{number}" for number in range(MOST_ROWS + 30)]
    channel.note_calls(ids, ids)
    assert channel.take_fresh() == (ids[30:], 30)
    assert channel.take_fresh() == ([], 0)


def test_calls_that_are_watched_are_bounded() -> None:
    channel = _channel()
    for begin in range(0, MOST_WATCHED + 500, 100):
        ids = [f"c{number}" for number in range(begin, begin + 100)]
        channel.note_calls(ids, ids)
        channel.take_fresh()
    channel.note_calls([], ["c0", f"c{MOST_WATCHED + 499}"])
    assert channel.take_changed() == [f"c{MOST_WATCHED + 499}"]


def test_what_is_kept_for_who_comes_back() -> None:
    async def test() -> None:
        channel, listener = _channel(), Listener()
        channel.join(listener, asyncio.get_running_loop())
        for number in range(3):
            channel.tell("calls", [{"call_id": str(number)}])
        await asyncio.sleep(0)
        stream = listener.stream(_there)
        await anext(stream)
        octets = await anext(stream)
        ids = [line[4:].decode() for line in octets.split(b"\n") if line.startswith(b"id: ")]
        assert len(ids) == 3
        missed = channel.missed(ids[0])
        assert missed is not None
        assert b"".join(missed) == octets[octets.index(b"id: " + ids[1].encode()) :]
        assert channel.missed(ids[2]) == []
        for other in (
            "",
            "-",
            "00000000-1-5",
            f"{ids[0].partition('-')[0]}-99-5",
            f"{ids[0][:8]}-x-1",
            "\u0663",
        ):
            assert channel.missed(other) is None, other

    run_async(test)


def site_of(server: Server) -> Site:
    """Return what asks a server's API."""
    site = Site.__new__(Site)
    site.url = f"http://127.0.0.1:{server.http}"
    return site
