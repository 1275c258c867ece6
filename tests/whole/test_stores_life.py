"""The life of every kind of store: made, written, searched, drawn; killed under load, and hepcat too.

At the end the table holds exactly what was received, each record once, in order where one connection writes.
"""

import json
import signal
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from tests.support import SHARED, wait_for
from tests.whole.backends import KINDS, Backend, Servers, make_backend
from tests.whole.sender import NumberedSender
from tests.whole.serving import Whole, send
from tests.wire.test_hep_recorded import read

RATE = 3_000
#: What a killed hepcat may not have read yet, on a busy machine.
GRACE = 1.0
VECTORS = SHARED / "vectors" / "siptrace-hep3-corr-auth-log.bin"
#: What the lake answers.
LAKE: list[tuple[list[str], str, str]] = []


@pytest.fixture(params=KINDS)
def whole(request: pytest.FixtureRequest, servers: Servers, tmp_path: Path) -> Whole:
    """A server with the lake and one database, made with `hepcat db create`, not started yet."""
    backend = make_backend(request.param, servers, tmp_path)
    made = Whole(tmp_path, {"db": backend}, ["lake", "db"])
    assert "bad" not in made.run("db", "create", "--store", "db").stdout
    made.run("db", "check", "--store", "db")
    request.node.backend = backend
    return made


@pytest.fixture
def backend(whole: Whole, request: pytest.FixtureRequest) -> Backend:
    """Its database."""
    found = request.node.backend
    assert isinstance(found, Backend)
    return found


@pytest.mark.slow
def test_recorded_calls_are_found_and_drawn_as_in_the_lake(whole: Whole, backend: Backend) -> None:
    if not VECTORS.exists():
        pytest.skip("no recorded vectors here")
    datagrams = list(read(VECTORS))
    with whole.start():
        for at in range(0, len(datagrams), 100):
            send(whole.port, *datagrams[at : at + 100])
            time.sleep(0.02)
        wait_for(lambda: whole.store("db")["stored"] == len(datagrams), 20, "all received")
        whole.drained("db")
        assert len(backend.call_ids()) == 1199
        if not LAKE:  # the datagrams say when it was: the lake of every kind's test answers the same
            LAKE.append(answers(whole, "--data", str(whole.data)))
        assert answers(whole, "--store", "db") == LAKE[0]
        assert whole.stop() == 0
    assert "Traceback" not in whole.log.read_text()


def answers(whole: Whole, *place: str) -> tuple[list[str], str, str]:
    """Return what search and flow find: messages as JSON, the number of calls, a ladder."""
    fields = ("--messages", "--format", "jsonl", "--fields", "ts,src_ip,dst_port,method,call_id")
    lines = whole.run("search", *place, *fields, "--sort", "ts", "method:INVITE").stdout.splitlines()
    picture = whole.run("flow", *place, "--utc", json.loads(lines[0])["call_id"]).stdout
    assert len(lines) >= 100
    assert "INVITE" in picture
    return sorted(lines), whole.run("search", *place, "--count", "").stdout, picture


@pytest.mark.slow
def test_killed_under_load_nothing_is_lost_or_doubled(whole: Whole, backend: Backend) -> None:
    sender = NumberedSender(whole.port, RATE)
    try:
        whole.start()
        up = time.time()
        sender.start()
        wait_for(lambda: whole.database("db")["written"] > RATE // 2, 20, "writing")
        outage(whole, backend, kill=True)
        wait_for(lambda: whole.database("db")["waiting"] < RATE, 30, "catching up")
        seen = killed(whole, backend, sender, up)
        wait_for(lambda: whole.database("db")["written"] > RATE // 2, 20, "writing again")
        outage(whole, backend, kill=False)
        sender.stop()
        whole.read_empty()
        whole.drained("db")
        total, own = whole.stats()["total"], whole.database("db")
        numbers = backend.numbers()
        assert max(Counter(numbers).values()) == 1, "a record is there twice"
        of_this_process = [number for number in numbers if number >= seen]
        assert len(of_this_process) == total["received"] - sum(total["dropped"].values())
        assert own["dropped"] == {}
        assert total["dropped"].keys() <= {"kernel"}
        if backend.ordered:
            assert all(a < b for a, b in pairwise(numbers)), "not in the order in which they came"
        assert whole.stop() == 0
        assert sorted(backend.numbers()) == sorted(numbers)
    finally:
        sender.stop()
        whole.__exit__()
    assert not list((whole.data / "spool").rglob("refused-*"))
    assert "Traceback" not in whole.log.read_text()


def outage(whole: Whole, backend: Backend, kill: bool) -> None:
    """Take the database away for a while: everything is received, waits, and shows."""
    told = len(whole.told("db: away")), len(whole.told("db: back"))
    (backend.kill if kill else backend.stop)()
    before = whole.database("db")["written"]
    try:
        wait_for(lambda: whole.database("db")["waiting"] > RATE // 3, 30, "waiting")
        time.sleep(0.5)
        own, lake = whole.store("db"), whole.store("lake")
        assert own["dropped"] == {}
        assert own["database"]["spool_octets"] > 0
        assert own["trouble"] is None, "what is in the spool is stored"
        assert whole.get("/healthz") == "ok\n"
        assert lake["stored"] >= own["stored"] - RATE
        assert "waiting" in whole.run("ctl", "stats", "--data", str(whole.data)).stdout
        if backend.refuses:
            assert whole.database("db")["trouble"]
    finally:
        backend.start()
    wait_for(lambda: whole.database("db")["written"] > before + RATE // 2, 30, "written again")
    if backend.refuses:
        wait_for(lambda: len(whole.told("db: back")) == told[1] + 1, 10, "said that it is back")
        assert 1 <= len(whole.told("db: away")) - told[0] <= 2, (
            "told once, and again where the reason changes"
        )


def killed(whole: Whole, backend: Backend, sender: NumberedSender, up: float) -> int:
    """Kill hepcat and start it again; return the number that its successor begins with."""
    whole.stop(signal.SIGKILL)
    moment = time.time()
    time.sleep(0.2)
    silent = sender.log[-1][1]
    whole.start()
    found = whole.database("db")["taken"]
    wait_for(lambda: whole.database("db")["taken"] > found, 20, "receiving")
    # What the first has received it has written, or its successor writes it.
    expected = set(sender.between(up + 0.2, moment - GRACE))
    assert len(expected) > RATE
    wait_for(lambda: not expected - set(backend.numbers()), 30, "what was read before the kill")
    return silent
