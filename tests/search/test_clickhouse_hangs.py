"""A ClickHouse server that hangs (it is stopped, so it takes connections and says nothing): searches answer
without it and say so, live mode goes on, and writing to the others too."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from sqlglot import exp

from hepcat.bench.clickhouse import ClickHouse, cluster_url
from hepcat.bench.measure import Skipped
from hepcat.bench.traffic import Traffic
from hepcat.errors import HepcatError
from hepcat.search.clickhouse import ClickHouseRemote
from hepcat.search.remote_searcher import RemoteSearcher
from hepcat.search.top import top
from hepcat.stores.clickhouse import admin
from hepcat.stores.clickhouse.address import Host
from hepcat.stores.clickhouse.topology import shards_of
from tests.servers import clickhouse
from tests.stores.clickhouse_support import drained, numbered, open_store, settings_of, traffic_batch

ROWS = 3000
#: Seconds of silence after which a server counts as one that hangs, here.
SILENCE = 1.5
#: No search may take longer: the shortest time-out of anything that does not know of hanging is 10 s.
BOUND = 9.0


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[ClickHouse]]:
    try:
        with clickhouse() as running:
            admin.create(settings_of(running))
            store = open_store(running, tmp_path_factory.mktemp("spool"))
            store.append(traffic_batch(ROWS, Traffic()))
            drained(store)
            store.close()
            yield running
    except Skipped as reason:
        pytest.skip(str(reason))


@pytest.fixture
def searcher(servers: list[ClickHouse]) -> Iterator[RemoteSearcher]:
    remote = remote_of(servers)
    yield RemoteSearcher(remote)
    remote.close()


def remote_of(servers: list[ClickHouse]) -> ClickHouseRemote:
    return ClickHouseRemote(settings_of(servers, url=f"{cluster_url(servers)}&silence={SILENCE}"))


@contextlib.contextmanager
def stopped(server: ClickHouse) -> Iterator[None]:
    os.kill(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


def within_bound(ask: Callable[[], Any]) -> Any:
    began = time.monotonic()
    answer = ask()
    assert time.monotonic() - began < BOUND
    return answer


def seen(searcher: RemoteSearcher) -> dict[str, Any]:
    """Return answers of every kind."""
    pages = list(searcher.pages("", fields=("ts", "call_id", "payload"), oldest_first=True))
    newest = list(searcher.pages("", fields=("ts", "call_id")))
    ids = sorted(set(pa.concat_tables(pages)["call_id"].to_pylist()))
    return {
        "messages": searcher.count("", messages=True),
        "calls": searcher.count(""),
        "of one shard": searcher.count(f"call_id:{ids[0]}", messages=True),
        "numbers": searcher.numbers_of(ids[:50]),
        "histogram": searcher.histogram("").to_pylist(),
        "messages over time": searcher.histogram("", messages=True).to_pylist(),
        "newest calls": searcher.calls(
            "", limit=7, fields=("call_id", "start", "messages")
        ).table.to_pylist(),
        "by duration": searcher.calls("", limit=7, sort="-duration", fields=("call_id",)).table.to_pylist(),
        "newest": searcher.messages("", limit=9, fields=("ts", "call_id")).table["call_id"].to_pylist(),
        "pages": sorted(map(str, pa.concat_tables(pages).to_pylist())),
        "in order": [at for page in pages for at in page["ts"].to_pylist()],
        "newest first": [at for page in newest for at in page["ts"].to_pylist()],
        "methods": top(searcher, "method", limit=3),
        "nothing": [searcher.count("method:NONE"), searcher.histogram("method:NONE").to_pylist()],
    }


def test_shards_that_are_asked_one_by_one_answer_as_one(
    servers: list[ClickHouse], searcher: RemoteSearcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = seen(searcher)
    remote = searcher.remote
    assert isinstance(remote, ClickHouseRemote)
    away = Host("of no shard", 9)
    monkeypatch.setattr(remote.connections, "hosts", lambda: [away])
    monkeypatch.setattr(remote.pulse, "hanging", lambda hosts: frozenset({away}) & frozenset(hosts))
    one_by_one = seen(searcher)
    for name, answer in together.items():
        assert one_by_one[name] == answer, name
    assert searcher.notes() == []
    assert together["messages"] == ROWS
    assert one_by_one["in order"] == sorted(one_by_one["in order"])
    assert one_by_one["newest first"] == sorted(one_by_one["in order"], reverse=True)


@pytest.mark.parametrize("which", [0, 1])  # the host that is asked first, and the other
def test_a_shard_that_hangs_is_left_out_and_named(
    servers: list[ClickHouse], searcher: RemoteSearcher, which: int
) -> None:
    assert searcher.count("", messages=True) == ROWS
    there = int(servers[1 - which].admin("SELECT count() FROM sip_local"))
    name = f"shard {which + 1} (127.0.0.1:{servers[which].port}) does not answer"
    with stopped(servers[which]):
        assert within_bound(lambda: searcher.count("", messages=True)) == there
        assert searcher.notes() == [name]
        # It is known by now: nobody waits for it any more.
        began = time.monotonic()
        for _ in range(3):
            assert len(searcher.messages("", fields=("ts",)).table) == there
            assert searcher.notes() == [name]
        assert time.monotonic() - began < 3 * SILENCE
        fresh = RemoteSearcher(remote_of(servers))
        assert sum(len(page) for page in within_bound(lambda: list(fresh.pages("")))) == there
        assert fresh.notes() == [name]
        fresh.remote.close()
    wait_for_whole(searcher)


def wait_for_whole(searcher: RemoteSearcher) -> None:
    """Wait until a host that goes on is asked again: some seconds later it is greeted."""
    end = time.monotonic() + 60
    while searcher.count("", messages=True) != ROWS:
        assert time.monotonic() < end
        time.sleep(0.2)
    searcher.notes()
    assert searcher.count("", messages=True) == ROWS
    assert searcher.notes() == []


def test_all_hang(servers: list[ClickHouse], searcher: RemoteSearcher) -> None:
    assert searcher.count("", messages=True) == ROWS
    with stopped(servers[0]), stopped(servers[1]):

        def ask() -> None:
            with pytest.raises(HepcatError, match=r"no shard answers|does not answer") as caught:
                searcher.count("")
            assert caught.value.hint

        within_bound(ask)
        within_bound(ask)
    wait_for_whole(searcher)


def test_a_shard_that_hangs_in_the_middle_of_an_export(
    servers: list[ClickHouse], searcher: RemoteSearcher
) -> None:
    """What was not known to be partial when it began ends with an error, not as if it were all."""
    remote = searcher.remote
    assert isinstance(remote, ClickHouseRemote)
    everything, in_order = exp.true(), [exp.Ordered(this=searcher.dialect.micros())]
    pages = remote.stream(everything, in_order, "sip", 1)
    first = next(pages)
    assert len(first)
    with stopped(servers[0]), stopped(servers[1]), contextlib.suppress(HepcatError):
        rest = sum(len(page) for page in within_bound(lambda: list(pages)))
        assert rest + len(first) == ROWS  # it was under way already


def test_live_mode_goes_on(servers: list[ClickHouse], tmp_path: Path) -> None:
    remote = remote_of(servers)
    tail = remote.tail("sip")
    while remote.missing():  # a busy machine: a shard is followed from when it answers
        tail.close()
        tail = remote.tail("sip")
    store = open_store(servers, tmp_path, rows=100, linger=0.0)
    batch = numbered(10**6, 200)
    sip = int((batch.hep_type == 1).sum())
    with stopped(servers[1]):
        assert len(within_bound(tail.poll)) == 0
        assert "shard 2" in remote.missing()[0]
        store.append(batch)
        found, end = 0, time.monotonic() + 60
        while time.monotonic() < end and not found:
            found += len(within_bound(tail.poll))
        assert found
        began = time.monotonic()
        for _ in range(5):  # what an INSERT brings comes by and by, a day after another
            found += len(tail.poll())
        assert time.monotonic() - began < 5 * SILENCE
    end = time.monotonic() + 60
    while found < sip and time.monotonic() < end:
        found += len(tail.poll())
        time.sleep(0.1)
    drained(store, 60)
    found += len(tail.poll())
    assert found == sip
    store.close()
    tail.close()
    remote.close()


def test_writing_to_the_others_goes_on(servers: list[ClickHouse], tmp_path: Path) -> None:
    from hepcat.stores.clickhouse.blocks import call_hashes

    url = f"{cluster_url(servers)}&silence=1&timeout=2"
    batch = numbered(2 * 10**6, 1000)
    before = [int(server.admin("SELECT count() FROM sip_local")) for server in servers]
    with stopped(servers[1]):
        began = time.monotonic()
        store = open_store(servers, tmp_path, url=url)  # and it starts
        store.append(batch)
        assert time.monotonic() - began < BOUND
        shards = ClickHouseRemote(settings_of(servers, url=url)).shards()
        on_second = int((shards_of(call_hashes(batch), shards) == 1).sum())
        end = time.monotonic() + 60
        while not (counts := store.counts()).trouble and time.monotonic() < end:
            time.sleep(0.1)
        assert counts.waiting == on_second
        assert int(servers[0].admin("SELECT count() FROM sip_local")) > before[0]
        assert "does not answer" in str(counts.trouble)
        closing = threading.Thread(target=store.close, args=(1.0,))
        closing.start()
        closing.join(BOUND + 5)
        assert not closing.is_alive()
    store = open_store(servers, tmp_path, url=url)
    drained(store, 60)
    store.close()
    written = sum(
        int(server.admin("SELECT count() FROM sip_local"))
        + int(server.admin("SELECT count() FROM log_local"))
        for server in servers
    )

    assert written >= sum(before) + 1000


def test_check_says_which_host_hangs(servers: list[ClickHouse]) -> None:
    settings = settings_of(servers, url=f"{cluster_url(servers)}&silence=1")
    with stopped(servers[1]):
        found = within_bound(lambda: admin.check(settings))
    bad = [finding for finding in found if finding.level == "bad"]
    assert [str(servers[1].port) in finding.subject for finding in bad] == [True]
