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

from tests.servers import Servers
from tests.support import wait_for
from tests.whole.backends import KINDS, Backend, make_backend
from tests.whole.sender import NumberedSender
from tests.whole.serving import Whole, send
from tests.wire.test_hep_recorded import HERE, WHOLE, oracle, read

RATE = 3_000
#: What was read so long before hepcat was killed is not lost, on a busy machine.
GRACE = 1.0
NAME = "siptrace-hep3-corr-auth-log"
#: Recorded calls: all of them, or the one that stands beside the tests.
VECTORS = next(folder / f"{NAME}.bin" for folder in (WHOLE, HERE) if (folder / f"{NAME}.bin").exists())
#: What the lake answers about them: the datagrams say when it was, so it is the same for every kind.
LAKE: list[tuple[list[str], str, str]] = []


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_life_of_a_store(kind: str, servers: Servers, tmp_path: Path) -> None:
    backend = make_backend(kind, servers, tmp_path)
    whole = Whole(tmp_path, {"db": backend}, ["lake", "db"])
    assert "bad" not in whole.run("db", "create", "--store", "db").stdout
    whole.run("db", "check", "--store", "db")
    sender = NumberedSender(whole.port, RATE)
    try:
        whole.start()
        recorded_calls(whole, backend)
        sender.start()
        wait_for(lambda: whole.database("db")["written"] > RATE // 2, 60, "writing")
        outage(whole, backend, kill=True)
        seen = killed(whole, backend, sender)
        outage(whole, backend, kill=False)
        sender.stop()
        nothing_lost_or_doubled(whole, backend, seen)
    finally:
        sender.stop()
        whole.__exit__()
    assert not list((whole.data / "spool").rglob("refused-*"))
    assert "Traceback" not in whole.log.read_text()


def recorded_calls(whole: Whole, backend: Backend) -> None:
    """Search and flow find in the database what they find in the lake."""
    datagrams = read(VECTORS)
    for at in range(0, len(datagrams), 100):
        send(whole.port, *datagrams[at : at + 100])
        time.sleep(0.02)
    wait_for(lambda: whole.store("db")["stored"] == len(datagrams), 60, "all received")
    whole.drained("db")
    assert len(backend.call_ids()) == len(oracle(VECTORS.with_suffix(".rows.tsv")))
    if not LAKE:
        LAKE.append(answers(whole, "--data", str(whole.data)))
    assert answers(whole, "--store", "db") == LAKE[0]


def answers(whole: Whole, *place: str) -> tuple[list[str], str, str]:
    """Return what search and flow find: messages as JSON, the number of calls, a ladder."""
    fields = ("--messages", "--format", "jsonl", "--fields", "ts,src_ip,dst_port,method,call_id")
    lines = whole.run("search", *place, *fields, "--sort", "ts", "method:INVITE").stdout.splitlines()
    picture = whole.run("flow", *place, "--utc", json.loads(lines[0])["call_id"]).stdout
    assert lines
    assert "INVITE" in picture
    return sorted(lines), whole.run("search", *place, "--count", "").stdout, picture


def outage(whole: Whole, backend: Backend, kill: bool) -> None:
    """Take the database away for a while: everything is received, waits, and shows."""
    told = len(whole.told("db: away")), len(whole.told("db: back"))
    (backend.kill if kill else backend.stop)()
    before = whole.database("db")["written"]
    try:
        wait_for(lambda: whole.database("db")["waiting"] > RATE // 3, 60, "waiting")
        time.sleep(0.5)
        own, lake = whole.store("db"), whole.store("lake")
        assert own["dropped"] == {}
        assert own["database"]["spool_octets"] > 0
        assert own["trouble"] is None, "what is in the spool is stored"
        assert whole.get("/healthz") == "ok\n"
        assert lake["stored"] >= own["stored"] - RATE
        if kill:
            assert "waiting" in whole.run("ctl", "stats", "--data", str(whole.data)).stdout
        if backend.refuses:
            wait_for(lambda: whole.database("db")["trouble"], what="its trouble")
    finally:
        backend.start()
    wait_for(lambda: whole.database("db")["written"] > before + RATE // 2, 60, "written again")
    if backend.refuses:
        wait_for(lambda: len(whole.told("db: back")) > told[1], 60, "said that it is back")
        # PostgreSQL alone may give three: it ends the connection, nothing listens, it is starting up.
        reasons = [line["error"] for line in whole.told("db: away")[told[0] :]]
        assert reasons
        assert all(a != b for a, b in pairwise(reasons)), "told again though the reason is the same"
        assert len(reasons) <= 4, reasons


def killed(whole: Whole, backend: Backend, sender: NumberedSender) -> int:
    """Kill hepcat and start it again; return the number that its successor begins with."""

    def numbered() -> tuple[int, int]:
        """How many of the sender's came to it, and how many of them the kernel dropped, if any."""
        total = whole.stats()["total"]
        return int(total["received"]) - len(read(VECTORS)), sum(total["dropped"].values())

    wait_for(lambda: numbered()[0] > RATE // 2, what="a load")
    before, dropped = numbered()
    time.sleep(GRACE)
    whole.stop(signal.SIGKILL)
    time.sleep(0.2)
    silent = sender.log[-1][1]
    whole.start()
    found = whole.database("db")["taken"]
    wait_for(lambda: whole.database("db")["taken"] > found, 60, "receiving")
    # What the first has received it has written, or its successor writes it.
    expected = set(range(before))
    wait_for(lambda: len(expected - set(backend.numbers())) <= dropped, 60, "what was read before the kill")
    return silent


def nothing_lost_or_doubled(whole: Whole, backend: Backend, seen: int) -> None:
    """Everything that this process has received is in the table, once and in order. seen: the first of it."""
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
