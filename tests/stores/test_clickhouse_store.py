"""The ClickHouse store against two real shards: where records go, and outages of every kind, once each."""

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from hepcat.batch.drops import Drop
from hepcat.bench.clickhouse import cluster_url, shards
from hepcat.bench.measure import Skipped
from hepcat.bench.traffic import Traffic
from hepcat.config.databases import DatabaseSettings
from hepcat.errors import HepcatError
from hepcat.stores.clickhouse import admin, client, topology
from hepcat.stores.clickhouse.address import Host
from hepcat.stores.clickhouse.store import ClickHouseStore, make_clickhouse_store
from hepcat.stores.clickhouse.topology import Shard, shards_of
from hepcat.stores.clickhouse.writer import drop_old_days
from hepcat.stores.spooled.identity import Identity
from hepcat.stores.store import StoreUnavailable
from tests.servers import clickhouse
from tests.stores.child_clickhouse import BATCH
from tests.stores.clickhouse_support import (
    NOON,
    Told,
    drained,
    emptied,
    numbered,
    open_store,
    payloads,
    settings_of,
    traffic_batch,
)
from tests.support import wait_for

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.peer


@pytest.fixture(scope="module")
def cluster():
    try:
        with clickhouse() as servers:
            admin.create(settings_of(servers))
            yield servers
    except Skipped as reason:
        pytest.skip(str(reason))


@pytest.fixture
def servers(cluster):
    emptied(cluster)
    yield cluster
    for server in cluster:
        if not server._answers():
            server.kill()
            server.start()


def _expected(first, last):
    return sorted(f"X {i}" for i in range(first, last))


def test_each_call_is_on_one_shard(servers, tmp_path):
    traffic, told = Traffic(), Told()
    store = open_store(servers, tmp_path, told)
    for i in range(10):
        store.append(traffic_batch(3000, traffic, NOON + 3_000_000 * i))
    drained(store)
    counts = store.counts()
    assert (counts.taken, counts.written, counts.drops) == (30_000, 30_000, {})
    store.close()
    here = [set(s.admin("SELECT DISTINCT call_id FROM sip_local").splitlines()) for s in servers]
    assert all(len(ids) > 1000 for ids in here)
    assert not here[0] & here[1]
    for server in servers:  # any host sees everything
        assert server.admin("SELECT count(), uniqExact(call_id) FROM sip").split() == [
            "30000",
            str(len(here[0] | here[1])),
        ]
    assert not told.events


def test_shards_are_those_of_a_distributed_table(tmp_path):
    """Rows that ClickHouse itself spreads lie where hepcat would have put them, with weights too."""
    try:
        with shards(tmp_path, 2, weights=[1, 3]) as servers:
            admin.create(settings_of(servers))
            hashes = np.random.default_rng(1).integers(0, 2**32, 500, dtype=np.uint32)
            rows = " UNION ALL ".join(f"SELECT toUInt32({h}) AS call_hash" for h in hashes)
            client_ = client.Connection(_address(servers), _address(servers).hosts[0])
            client_.run(f"INSERT INTO sip (call_hash) {rows}", {"insert_distributed_sync": 1})
            client_.close()
            expected = Counter(shards_of(hashes, [Shard(1, 1, ()), Shard(2, 3, ())]).tolist())
            assert 50 < expected[0] < 250
            for place, server in enumerate(servers):
                found = {int(h) for h in server.admin("SELECT call_hash FROM sip_local").split()}
                chosen = shards_of(hashes, [Shard(1, 1, ()), Shard(2, 3, ())]) == place
                assert found == set(hashes[chosen].tolist())
    except Skipped as reason:
        pytest.skip(str(reason))


def _address(servers):
    from hepcat.stores.clickhouse.address import parse_address

    return parse_address(cluster_url(servers))


def test_a_shard_that_is_killed_keeps_nothing_waiting_and_loses_nothing(servers, tmp_path):
    told = Told()
    store = open_store(servers, tmp_path, told)
    at = 0
    for step in range(60):
        store.append(numbered(at, 500))
        at += 500
        if step == 15:
            servers[1].kill()
        time.sleep(0.01)
    wait_for(lambda: store.counts().trouble, 60, "the trouble to show")
    assert "shard 2" in store.counts().trouble
    assert "shard 1" not in store.counts().trouble
    (first,) = {facts["shard"] for facts in told.about("away")}
    assert first == 2
    healthy = store._parts[0]
    wait_for(lambda: healthy.counts().waiting == 0, 60, "the other shard to go on")
    assert healthy.counts().written > 10_000
    assert store.counts().waiting > 1000
    servers[1].start()
    drained(store)
    assert store.counts().trouble is None
    assert store.counts().written == at
    store.close()
    assert sorted(payloads(servers)) == _expected(0, at)


def test_answers_that_are_lost(servers, tmp_path, monkeypatch):
    """The server carries an INSERT out, and nobody hears of it: the rows are not written twice."""
    chance = random.Random(5)
    real = client.Connection.insert

    def insert(self, *arguments):
        fate = chance.random()
        if fate < 0.2:
            raise client.Away("cut off before")
        real(self, *arguments)
        if fate < 0.5:
            self.close()
            raise client.Away("cut off after")

    monkeypatch.setattr(client.Connection, "insert", insert)
    monkeypatch.setattr("hepcat.stores.spooled.drain.LONGEST_WAIT", 0.05)
    store = open_store(servers, tmp_path, rows=300, linger=0.0, connections=2)
    for i in range(20):
        store.append(numbered(i * 250, 250))
    drained(store, 60)
    store.close()
    assert sorted(payloads(servers)) == _expected(0, 5_000)


def test_an_insert_that_goes_on_after_nobody_waits_for_it(servers, tmp_path):
    """The answer takes longer than the time-out: the rows come later, and must not be written again."""
    for server in servers:
        server.admin("ALTER TABLE sip_local ADD COLUMN slow UInt8 MATERIALIZED sleepEachRow(0.05)")
    told = Told()
    store = open_store(servers, tmp_path, told, url=cluster_url(servers) + "&timeout=1", rows=200)
    store.append(numbered(0, 100))
    time.sleep(1.5)  # given up by now, and still running
    drained(store)
    store.close()
    assert sorted(payloads(servers)) == _expected(0, 100)


def test_hepcat_is_killed_in_the_middle(servers, tmp_path):
    chance = random.Random(3)
    done: list[tuple[int, int]] = []
    first = 0
    for _ in range(4):
        with subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.stores.child_clickhouse",
                tmp_path,
                cluster_url(servers),
                str(first),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            text=True,
        ) as child:
            try:
                assert child.stdout.readline() == "ready\n", child.stderr.read()
                said = child.stdout.readline()
                time.sleep(chance.uniform(0.1, 0.6))
            finally:
                child.send_signal(signal.SIGKILL)
            rest, errors = child.communicate()
        assert not errors, errors
        stored = [int(line) for line in (said + rest).split("\n")[:-1]][-1]
        done.append((first, stored))
        first = stored + BATCH  # the batch it was in the middle of may be there or not
    store = open_store(servers, tmp_path)
    drained(store)
    store.close()
    found = Counter(payloads(servers))
    assert set(found.values()) == {1}
    sure = [name for begin, end in done for name in _expected(begin, end)]
    perhaps = [name for _, end in done for name in _expected(end, end + BATCH)]
    assert sorted(set(found) - set(perhaps)) == sorted(sure)


def test_a_row_that_is_refused_costs_only_itself(servers, tmp_path, monkeypatch):
    monkeypatch.setattr("hepcat.stores.spooled.drain.FIRST_WAIT", 0.001)
    told = Told()
    for server in servers:
        server.admin("ALTER TABLE sip_local ADD COLUMN guard UInt8 MATERIALIZED throwIf(payload = 'X 78')")
    try:
        store = open_store(servers, tmp_path, told)
        store.append(numbered(0, 400))
        drained(store)
        counts = store.counts()
        assert counts.drops == {Drop.ROW_REFUSED: 1}
        assert (counts.taken, counts.written) == (400, 399)
        store.close()
        assert "throwIf" in told.about("rows_refused")[0]["error"]
    finally:
        for server in servers:
            server.admin("ALTER TABLE sip_local DROP COLUMN guard")
    assert sorted(payloads(servers)) == sorted(set(_expected(0, 400)) - {"X 78"})


def test_records_wait_until_the_first_server_answers(servers, tmp_path):
    told = Told()
    for server in servers:
        server.kill()
    store = open_store(servers, tmp_path, told)
    store.append(numbered(0, 300))
    wait_for(lambda: told.about("away"), 60, "the operator to be told")
    assert "127.0.0.1" in told.about("away")[0]["error"]
    store.close(0)
    store = open_store(servers, tmp_path, told)  # not even a restart needs them
    store.append(numbered(300, 300))
    for server in servers:
        server.start()
    wait_for(lambda: store._parts, 60, "the shards to be known")
    store.append(numbered(600, 300))
    drained(store)
    store.close()
    assert sorted(payloads(servers)) == _expected(0, 900)
    for server in servers:
        server.kill()
    again = open_store(servers, tmp_path, told)  # the shards are remembered
    assert len(again._parts) == 2
    again.close(0)


def test_what_a_shard_that_is_no_more_had_waiting_goes_to_the_others(servers, tmp_path):
    for server in servers:
        server.kill()
    from hepcat.stores.spooled import SpooledStore

    class Never:
        def open(self, writer):
            raise StoreUnavailable("away", Drop.STORE_FAILED)

        def close(self):
            pass

    old = SpooledStore("click", tmp_path / "shard-9", settings_of(servers), Never, Told())
    old.append(numbered(0, 500))
    old.close(0)
    for server in servers:
        server.start()
    store = open_store(servers, tmp_path)
    assert store.counts().taken == 500
    drained(store)
    store.close()
    assert sorted(payloads(servers)) == _expected(0, 500)


def test_a_full_spool_of_one_shard_costs_only_its_own_records(servers, tmp_path):
    store: ClickHouseStore = open_store(servers, tmp_path, spool=8 * 2**20)
    servers[1].kill()
    batch = traffic_batch(2000, Traffic())
    for _ in range(10):
        store.append(batch)
        wait_for(lambda: store._parts[0].counts().waiting == 0, 60, "the first shard")
    counts = store.counts()
    assert counts.taken == 20_000
    assert counts.drops[Drop.STORE_FULL] > 1000
    servers[1].start()
    drained(store)
    counts = store.counts()
    assert counts.written == 20_000 - counts.drops[Drop.STORE_FULL]
    store.close()
    assert int(servers[0].admin("SELECT count() FROM sip")) == counts.written


def test_old_days_are_dropped(servers, tmp_path):
    store = open_store(servers, tmp_path)
    store.append(numbered(0, 100))
    drained(store)
    store.close()
    now = NOON / 1_000_000
    days = {day for s in servers for day in s.admin("SELECT DISTINCT toString(day) FROM sip_local").split()}
    assert days == {"2026-11-21", "2026-11-22"}
    for server in servers:
        address = _address([server])
        connection = client.Connection(address, address.hosts[0])
        assert drop_old_days(connection, address, "sip", 1, now + 86_400) == ["2026-11-21"]
        assert drop_old_days(connection, address, "sip", 1, now + 86_400) == []
        connection.close()
    assert {s.admin("SELECT DISTINCT toString(day) FROM sip_local").strip() for s in servers} == {
        "2026-11-22"
    }


def test_clocks_that_are_far_off_make_no_partitions_of_their_own(servers, tmp_path):
    from tests.lake.make import build

    day = 86_400_000_000
    wild = [NOON + day * 10_000, -5, 2**62, 0, -(2**62)]
    records = [{"payload": b"X %d" % i, "ts": ts, "call_id": b"a"} for i, ts in enumerate(wild)]
    records += [{"payload": b"X %d" % i, "ts": NOON - day * i, "call_id": b"a"} for i in range(5, 105)]
    store = open_store(servers, tmp_path)
    store.append(build(records))
    drained(store)
    assert store.counts().drops == {}
    store.close()
    assert sorted(payloads(servers)) == _expected(0, 105)
    server = next(s for s in servers if s.admin("SELECT count() FROM sip_local").strip() != "0")
    assert int(server.admin("SELECT uniqExact(day) FROM sip_local")) <= 62
    assert int(server.admin(f"SELECT count() FROM sip_local WHERE ts = {2**62}")) == 1


# -- trouble that only people can mend: one clear message, nothing lost


@pytest.mark.parametrize(
    ("change", "words", "advice"),
    [
        (("secret", "wrong-one"), "does not let user", "password"),
        (("/hepcat?", "/elsewhere?"), 'no database "elsewhere"', "db create"),
        (("cluster=hepcat", "cluster=other"), 'no cluster "other"', "It knows: hepcat"),
    ],
)
def test_settings_that_are_wrong(servers, tmp_path, change, words, advice):
    url = cluster_url(servers).replace(*change)
    told = Told()
    store = open_store(servers, tmp_path, told, url=url)
    store.append(numbered(0, 50))
    wait_for(lambda: told.about("away"), 60, "the operator to be told")
    time.sleep(0.5)
    store.close(0)
    about = told.about("away")
    assert len(about) == len({facts.get("shard") for facts in about}) <= 2
    assert words in about[0]["error"]
    assert advice in about[0]["hint"]
    assert "secret" not in str(told.events)
    assert "wrong-one" not in str(told.events)
    store = open_store(servers, tmp_path)  # corrected
    drained(store)
    store.close()
    assert sorted(payloads(servers)) == _expected(0, 50)


def test_tables_that_are_missing(servers, tmp_path):
    told = Told()
    for server in servers:
        server.admin("DROP TABLE log_local")
    store = open_store(servers, tmp_path, told)
    store.append(numbered(0, 50))
    wait_for(lambda: told.about("away"), 60, "the operator to be told")
    assert 'no table "log_local"' in told.about("away")[0]["error"]
    assert "hepcat db create" in told.about("away")[0]["hint"]
    findings = admin.check(settings_of(servers))
    assert any(f.level == "bad" and "log_local" in f.subject for f in findings)
    made = admin.create(settings_of(servers))
    assert [f.subject.split()[-1] for f in made if f.found == "made"] == ["log_local", "log_local"]
    drained(store)
    store.close()
    assert sorted(payloads(servers)) == _expected(0, 50)


# -- no server needed


def _nobody(folder, shards_known):
    """Settings of servers that are away, and what was learnt of their shards once."""
    url = "clickhouse://127.0.0.1:1,127.0.0.1:2/hepcat?cluster=hepcat&connect_timeout=0.2"
    if shards_known:
        shards_ = [Shard(1, 1, (Host("127.0.0.1", 1),)), Shard(2, 1, (Host("127.0.0.1", 2),))]
        topology._save(folder / "shards.json", "hepcat", shards_)
    return DatabaseSettings(name="click", url=url)


def test_a_spool_that_another_process_has_is_told_and_no_other_is_held(tmp_path):
    settings = _nobody(tmp_path, shards_known=True)
    other = Identity(tmp_path / "shard-2")
    with pytest.raises(HepcatError, match=r"another hepcat server .* has the spool .*shard-2"):
        make_clickhouse_store(settings, tmp_path, Told())
    Identity(tmp_path / "shard-1").release()
    other.release()
    store = make_clickhouse_store(settings, tmp_path, Told())
    assert len(store._parts) == 2
    store.close(0)


def test_two_connections_that_learn_the_shards_at_once_open_their_spools_once(tmp_path):
    told = Told()
    store = make_clickhouse_store(_nobody(tmp_path, shards_known=False), tmp_path, told)
    known = (Shard(1, 1, (Host("127.0.0.1", 1),)), Shard(2, 1, (Host("127.0.0.1", 2),)))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: store._found(known), range(4)))
    assert len(store._parts) == 2
    store.close(0)
    late = make_clickhouse_store(_nobody(tmp_path, shards_known=False), tmp_path, told)
    late.close(0)
    late._found(known)  # by a thread that hung in a call
    assert not late._parts
    Identity(tmp_path / "shard-1").release()
