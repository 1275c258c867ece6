"""HEP over TCP: many agents, cut anywhere, garbage, half messages, peers that stall or vanish."""

import os
import socket
import struct
import threading
import time
from typing import Any

import numpy as np
import pytest

from hepcat.sources import hep_stream_source
from tests.serve.peers import Running, hep3, invite, running
from tests.support import wait_for


def connect(run: Running) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", run.port), timeout=60)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def connections(run: Running) -> int:
    return run.server.counters.snapshot().total.connections


def closed_by_server(sock: socket.socket) -> bool:
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True


def stream(count: int, name: str = "") -> bytes:
    return b"".join(hep3(invite(f"{name}{i}")) for i in range(count))


def test_octet_by_octet() -> None:
    with running("tcp") as run, connect(run) as sock:
        for octet in stream(3):
            sock.send(bytes([octet]))
        run.settle(3)
        assert run.store.call_ids == [b"0", b"1", b"2"]
        assert run.drops() == {}


@pytest.mark.parametrize("size", [1, 7, 100, 1460, 70_000, 400_000])
def test_any_segmentation_gives_the_same_messages(size: int) -> None:
    octets = stream(2000 if size > 100 else 20)
    expected = [str(i).encode() for i in range(2000 if size > 100 else 20)]
    with running("tcp") as run, connect(run) as sock:
        for at in range(0, len(octets), size):
            sock.sendall(octets[at : at + size])
        run.settle(len(expected))
        assert run.store.call_ids == expected


def test_the_largest_messages_one_behind_the_other() -> None:
    payload = invite("big").ljust(65_000, b"x")
    with running("tcp") as run, connect(run) as sock:
        sock.sendall(hep3(payload) * 40)
        run.settle(40)
        assert run.store.payloads == [payload] * 40


def test_many_connections_at_once() -> None:
    with running("tcp") as run:
        socks = [connect(run) for _ in range(300)]
        wait_for(lambda: connections(run) == 300)
        for i, sock in enumerate(socks):
            half = hep3(invite(f"{i}-a"))
            sock.sendall(half[: len(half) // 2])
        for i, sock in enumerate(socks):
            half = hep3(invite(f"{i}-a"))
            sock.sendall(half[len(half) // 2 :] + stream(3, f"{i}-"))
        run.settle(1200)
        assert len(set(run.store.call_ids)) == 1200
        for sock in socks:
            sock.close()
        wait_for(lambda: connections(run) == 0)
        assert run.drops() == {}


def test_garbage_then_good_messages() -> None:
    with running("tcp") as run, connect(run) as sock:
        sock.sendall(
            b"GET / HTTP/1.1\r\nHost: HEP\r\n\r\n" + stream(1, "a") + b"\x00" * 5000 + stream(2, "b")
        )
        run.settle(3)
        assert [i for i in run.store.call_ids if i] == [b"a0", b"b0", b"b1"]
        assert set(run.drops()) == {"STREAM_GARBAGE"}


def test_peers_that_vanish_within_a_message_are_counted() -> None:
    with running("tcp") as run:
        for linger in (False, True):
            sock = connect(run)
            sock.sendall(stream(1) + hep3(invite("half"))[:-5])
            wait_for(lambda linger=linger: run.server.counters.snapshot().total.stored > linger)
            if linger:  # RST in place of FIN
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()
        run.settle(4)
        assert run.drops() == {"STREAM_HALF": 2}
        assert connections(run) == 0


def test_a_half_message_may_not_stay_for_ever() -> None:
    with running("tcp", hep__half_message_timeout=0.6) as run, connect(run) as sock, connect(run) as idle:
        sock.sendall(hep3(invite("a"))[:-1])
        assert closed_by_server(sock)
        run.settle(1)
        assert run.drops() == {"STREAM_HALF": 1}
        idle.sendall(stream(1))
        run.settle(2)


def test_a_slow_peer_is_no_half_message(monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock:
        """Goes as the test says: a busy machine makes no peer slow."""

        now = 1000.0
        time_ns = staticmethod(time.time_ns)

        def monotonic(self) -> float:
            return self.now

    clock = Clock()
    monkeypatch.setattr(hep_stream_source, "time", clock)
    monkeypatch.setattr(hep_stream_source, "LOOK_SECONDS", 0.05)
    with running("tcp", hep__half_message_timeout=1.0) as run, connect(run) as sock:
        octets = stream(6)
        (tally,) = run.server.sources[0].tallies
        sent = 0
        while sent < len(octets):  # always some message half sent, none for long
            part = octets[sent : sent + len(octets) // 20]
            sock.sendall(part)
            sent += len(part)
            wait_for(lambda came=sent: tally.octets == came)
            clock.now += 0.08
        run.settle(6)
        assert run.drops() == {}
        sock.sendall(octets[:10])
        wait_for(lambda: tally.octets == len(octets) + 10)
        clock.now += 1.2
        assert closed_by_server(sock), "that is how long a half one may take"
        clock.now += 100  # whatever waits for an end by this clock


def test_idle_connections_are_closed_only_when_asked() -> None:
    with running("tcp", hep__idle_timeout=0.3) as run, connect(run) as sock:
        assert closed_by_server(sock)
        assert run.drops() == {}


def test_too_many_connections_are_refused_and_counted() -> None:
    with running("tcp", hep__max_connections=3) as run:
        kept = [connect(run) for _ in range(3)]
        wait_for(lambda: connections(run) == 3)
        refused = connect(run)
        assert closed_by_server(refused)
        kept[0].sendall(stream(2))
        run.settle(3)
        assert run.drops() == {"STREAM_LIMIT": 1}
        kept.pop().close()
        wait_for(lambda: connections(run) == 2)
        with connect(run) as another:
            another.sendall(stream(1, "again"))
            run.settle(4)


def test_a_place_is_made_by_the_longest_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hep_stream_source, "SPARE_SECONDS", 0.2)
    with running("tcp", hep__max_connections=2) as run:
        old, busy = connect(run), connect(run)
        wait_for(lambda: connections(run) == 2)
        time.sleep(0.3)
        busy.sendall(stream(1))
        run.settle(1)
        with connect(run) as new:
            assert closed_by_server(old)
            new.sendall(stream(1, "new"))
            busy.sendall(stream(1, "busy"))
            run.settle(3)
        assert run.drops() == {}


def test_no_file_descriptor_left_is_outlasted(monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing:
        def __init__(self, sock: socket.socket) -> None:
            self.sock, self.failures = sock, 3

        def accept(self) -> Any:
            if self.failures:
                self.failures -= 1
                raise OSError(24, "Too many open files")
            return self.sock.accept()

        def __getattr__(self, name: str) -> Any:
            return getattr(self.sock, name)

    monkeypatch.setattr(hep_stream_source, "PAUSE_SECONDS", 0.1)
    monkeypatch.setattr(hep_stream_source, "LOOK_SECONDS", 0.05)
    with running("udp") as run:
        from hepcat.sources.listen import open_tcp
        from hepcat.sources.source import Tally

        class Sink:
            count = 0

            def add(self, data: Any, offsets: Any, lengths: Any, count: int, received_us: int) -> None:
                self.count += count

            def flush(self) -> None: ...

        sink, failing = Sink(), Failing(open_tcp("127.0.0.1", run.port, "tcp"))
        limits = hep_stream_source.StreamLimits()
        listener = hep_stream_source.HepStreamListener(failing, "tcp://test", sink, Tally("t"), limits)  # type: ignore[arg-type]
        listener.start()
        with connect(run) as sock:
            sock.sendall(stream(2))
            wait_for(lambda: sink.count == 2)
        assert failing.failures == 0
        listener.stop(1.0)
        listener.join()


def test_what_has_arrived_is_read_before_the_stop() -> None:
    with running("tcp") as run:
        socks = [connect(run) for _ in range(20)]
        wait_for(lambda: connections(run) == 20)
        for sock in socks:
            sock.sendall(stream(500))
        run.stop()
        assert len(run.store.call_ids) == 10_000
        run.balance()


def test_random_octets_leave_the_counters_whole() -> None:
    rng = np.random.default_rng(1)
    good = stream(50)
    with running("tcp") as run:
        for _ in range(20):
            octets = bytearray(good)
            for at in rng.integers(0, len(octets), 30):
                octets[at] = rng.integers(0, 256)
            with connect(run) as sock:
                sock.sendall(octets)
        wait_for(lambda: run.server.counters.snapshot().total.received >= 500)
        wait_for(lambda: connections(run) == 0)
        run.settle(0)


def test_memory_of_a_connection_is_its_half_message() -> None:
    with running("tcp") as run:
        socks = [connect(run) for _ in range(100)]
        wait_for(lambda: connections(run) == 100)
        for sock in socks:
            sock.sendall(hep3(invite("x").ljust(60_000, b"x"))[:-1])
        listener: Any = run.server.sources[0]
        wait_for(lambda: sum(len(c.rest) for c in listener._connections) > 100 * 60_000)
        assert max(len(c.rest) for c in listener._connections) <= 65_535
        for sock in socks:
            sock.close()


def test_threads_and_descriptors_end_with_the_server() -> None:
    before = len(os.listdir("/proc/self/fd")), threading.active_count()
    with running("udp", "tcp") as run:
        connect(run).close()
        run.stop()
    wait_for(
        lambda: (len(os.listdir("/proc/self/fd")), threading.active_count()) <= before, 60, "all given back"
    )
