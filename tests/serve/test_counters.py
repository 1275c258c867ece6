"""received = stored + in flight + each drop, whatever the store does."""

import queue
import socket
import threading
import time

import pytest
from structlog.testing import capture_logs

from hepcat.batch.drops import Drop
from hepcat.batch.layout import Batch
from hepcat.control import broken, serving
from hepcat.pipeline import storing
from hepcat.stores.store import StoreUnavailable
from tests.serve.peers import Running, hep3, invite, recorded, running
from tests.support import wait_for


def send(run: Running, *datagrams: bytes) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        for datagram in datagrams:
            sock.sendto(datagram, ("127.0.0.1", run.port))


def test_each_kind_of_datagram_is_counted_once() -> None:
    with running("udp") as run:
        good = [hep3(invite(i)) for i in range(50)]
        short, magic, keepalive, stun = (
            b"H",
            b"GET / HTTP/1.1\r\n\r\n",
            hep3(b"\r\n\r\n"),
            hep3(b"\x00\x01\x00\x00\x21\x12\xa4\x42" + bytes(12)),
        )
        send(run, *good, short, magic, keepalive, stun, hep3(invite("x"))[:-1], hep3(b""), b"")
        run.settle(57)
        total = run.server.counters.snapshot().total
        assert total.received == 57
        assert total.stored == 50
        assert run.drops() == {
            "HEP_SHORT": 2,
            "HEP_MAGIC": 1,
            "KEEPALIVE": 1,
            "STUN": 1,
            "HEP_LENGTH": 1,
            "HEP_PAYLOAD": 1,
        }
        assert sorted(run.store.call_ids) == sorted(str(i).encode() for i in range(50))


def test_what_was_dropped_is_counted_by_stage() -> None:
    """received = carried + what never became a message; messages = stored + what the store lost."""
    with running("udp", queue__memory=2**20) as run:
        run.store.trouble = StoreUnavailable("the disk is gone", Drop.STORE_FAILED)
        send(run, hep3(invite("kept")), b"H", hep3(b"\r\n\r\n"))
        wait_for(lambda: run.server.counters.snapshot().total.received == 3)
        run.stop(0.1)
        snapshot = run.server.counters.snapshot()
        for counts in (snapshot.total, *snapshot.sources.values()):
            assert counts.stages == {
                "packets": {Drop.HEP_SHORT: 1, Drop.KEEPALIVE: 1},
                "messages": {Drop.STORE_FAILED: 1},
            }
            assert (counts.received, counts.carried, counts.messages, counts.stored) == (3, 1, 1, 0)
            assert counts.dropped == 3


def test_what_is_not_sip_is_stored_all_the_same() -> None:
    with running("udp") as run:
        send(run, hep3(b"this is no SIP at all"), hep3(b"a log line", kind=100))
        run.settle(2)
        assert sorted(run.store.payloads, key=str) == [b"a log line", b"this is no SIP at all"]


@pytest.mark.parametrize(
    "name", ["siptrace-hep1.bin", "siptrace-hep2.bin", "siptrace-hep3.bin", "siptrace-hep3-corr-auth-log.bin"]
)
def test_recorded_vectors_are_stored_whole(name: str) -> None:
    datagrams = recorded(name)
    if not datagrams:
        pytest.skip("no recorded vectors here")
    with running("udp") as run:
        send(run, *datagrams)
        run.settle(len(datagrams))
        assert run.drops() == {}
        assert len(run.store.payloads) == len(datagrams)
        for datagram, payload in zip(datagrams, run.store.payloads, strict=True):
            assert payload is not None
            assert payload in datagram


def test_agents_are_counted_and_bounded() -> None:
    with running("udp") as run:
        send(run, *(hep3(invite(i), node=i) for i in range(400)), hep3(invite("y"), node=3))
        run.settle(401)
        agents = run.server.counters.snapshot().agents
        assert agents["3"] == 2
        assert len(agents) <= 257
        assert sum(agents.values()) == 401


@pytest.mark.parametrize("drop", [Drop.STORE_FULL, Drop.STORE_FAILED])
def test_outage_is_outlasted_in_memory_and_then_counted(drop: Drop) -> None:
    with running("udp", queue__memory=2**20) as run:
        run.store.trouble = StoreUnavailable("the disk is gone", drop)
        first = [hep3(invite(i) + bytes(1000)) for i in range(100)]
        send(run, *first)
        wait_for(lambda: run.server.counters.snapshot().total.received == 100)
        wait_for(lambda: not run.server.store_ok())
        run.balance()
        assert run.drops() == {}, "all of it fits into memory"
        sent = 100
        while not run.drops():
            assert sent < 20_000, "memory is not bounded"
            send(run, *first)
            sent += 100
            wait_for(lambda sent=sent: run.server.counters.snapshot().total.received == sent)
        assert set(run.drops()) == {drop.name}
        assert run.server.queue.octets <= 2**20
        run.balance()
        run.store.trouble = None
        wait_for(run.server.store_ok)
        run.settle(sent)
        assert len(run.store.call_ids) == sent - run.drops()[drop.name]
        send(run, hep3(invite("after")))
        run.settle(sent + 1)
        assert run.store.call_ids[-1] == b"after"


def test_a_slow_store_is_told_from_one_that_is_away() -> None:
    with running("udp", queue__memory=2**20) as run:
        run.store.gate.clear()
        sent = 0
        while not run.drops():
            assert sent < 20_000
            send(run, *(hep3(invite(i) + bytes(1000)) for i in range(100)))
            sent += 100
            wait_for(lambda sent=sent: run.server.counters.snapshot().total.received == sent)
        assert set(run.drops()) == {"QUEUE_FULL"}
        run.store.gate.set()
        run.settle(sent)


def test_a_bug_in_the_store_loses_nothing_while_memory_lasts() -> None:
    with running("udp") as run:
        run.store.trouble = ZeroDivisionError("a bug")
        send(run, *(hep3(invite(i)) for i in range(10)))
        wait_for(lambda: not run.server.store_ok())
        run.store.trouble = None
        run.settle(10)
        assert len(run.store.call_ids) == 10


def test_a_batch_that_the_store_cannot_take_is_given_up_for_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(storing, "FIRST_WAIT", 0.02)
    with capture_logs() as said, running("udp") as run:
        append = run.store.append

        def fails_on_some(batch: Batch) -> None:
            if batch.text(0, "call_id") == b"bad":
                raise ZeroDivisionError("a bug of ours")
            append(batch)

        run.store.append = fails_on_some  # type: ignore[method-assign]
        for received, name in enumerate(("bad", "good", "bad", "better"), 1):
            send(run, hep3(invite(name)))
            run.settle(received)
        assert run.store.call_ids == [b"good", b"better"]
        assert run.drops() == {"STORE_FAILED": 2}
        assert run.server.store_ok()
    lost = [line for line in said if "are lost" in line["event"]]
    assert [line["messages"] for line in lost] == [1, 1]
    assert isinstance(lost[0]["exc_info"], ZeroDivisionError), "the traceback, once"
    assert not lost[1]["exc_info"]


def test_an_outage_is_not_given_up_as_a_bug_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storing, "FIRST_WAIT", 0.001)
    monkeypatch.setattr(storing, "LONGEST_WAIT", 0.01)
    with running("udp") as run:
        run.store.trouble = StoreUnavailable("away", Drop.STORE_FAILED)
        send(run, hep3(invite("kept")))
        wait_for(lambda: not run.server.store_ok())
        time.sleep(0.3)
        run.store.trouble = None
        run.settle(1)
        assert run.drops() == {}


def test_stop_gives_up_on_a_store_that_stays_away_and_counts_it() -> None:
    with running("udp") as run:
        run.store.trouble = StoreUnavailable("away", Drop.STORE_FULL)
        send(run, *(hep3(invite(i)) for i in range(10)))
        wait_for(lambda: run.server.counters.snapshot().total.received == 10)
        run.stop(0.2)
        assert run.drops() == {"STORE_FULL": 10}
        run.balance()


def test_a_bug_ends_the_server_and_loses_nothing_stored(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    events: queue.SimpleQueue[int] = queue.SimpleQueue()
    monkeypatch.setattr(threading, "excepthook", lambda args: broken._broken(args, events))
    with running("udp") as run:
        send(run, hep3(invite("good")))
        run.settle(1)

        def raise_bug(*_: object) -> None:
            raise ZeroDivisionError("a bug of ours")

        monkeypatch.setattr(run.server.sources[0]._intake, "add", raise_bug)  # type: ignore[attr-defined]
        send(run, hep3(invite("bad")))
        why = events.get(timeout=60)
        assert why == broken.BROKEN
        assert serving._stop(run.server, {"lake": run.store}, events, why) == 1
        assert run.store.call_ids == [b"good"]
    said = capsys.readouterr()
    assert "a bug of ours" in said.out + said.err


def test_several_workers_share_one_port() -> None:
    with running("udp", hep__workers=3) as run:
        for i in range(30):  # each sending socket hashes to one of the workers
            send(run, *(hep3(invite(f"{i}-{j}")) for j in range(10)))
        run.settle(300)
        assert len(set(run.store.call_ids)) == 300
        used = [tally.read for source in run.server.sources for tally in source.tallies]
        assert len(used) == 3
        assert sum(count > 0 for count in used) > 1


def test_the_kernels_drops_are_counted() -> None:
    with running("udp", hep__receive_buffer=4096, hep__slots=16) as run:
        worker = run.server.sources[0]
        with socket.socket(type=socket.SOCK_DGRAM) as sock:
            sock.connect(("127.0.0.1", run.port))
            for _ in range(40):
                for _ in range(50):
                    sock.send(hep3(bytes(3000)))
                if worker.tallies[0].drops[Drop.KERNEL]:
                    break

        def seen() -> bool:
            send(run, b"tells of the drops before it")
            return bool(worker.tallies[0].drops[Drop.KERNEL] > 0)

        wait_for(seen, 60, "kernel drops seen")
        wait_for(lambda: run.server.counters.snapshot().total.in_flight == 0)
        run.balance()


def test_datagrams_of_the_largest_size() -> None:
    with running("udp") as run:
        payload = invite("jumbo") + bytes(64_000)
        for _ in range(50):
            send(run, hep3(payload))
        run.settle(50)
        assert run.store.payloads.count(payload) == 50


def test_extra_headers_and_the_other_legs_call_id() -> None:
    with running("udp", extra_headers=["X-Room"], callid_aleg_header=["X-Other"]) as run:
        rows: list[tuple[bytes | None, bytes | None]] = []
        append = run.store.append
        run.store.append = lambda batch: (  # type: ignore[method-assign]
            rows.extend((batch.text(i, "X-Room"), batch.text(i, "call_id_aleg")) for i in range(batch.n)),
            append(batch),
        )[1]
        send(run, hep3(invite("a").replace(b"CSeq", b"X-Room: blue\r\nX-Other: leg-a\r\nCSeq")))
        run.settle(1)
        assert rows == [(b"blue", b"leg-a")]
