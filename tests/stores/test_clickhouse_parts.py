"""ClickHouse's parts: URLs, kernel, administration, and what today's version takes."""

import os
import subprocess
import sys
import uuid
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hepcat.bench.clickhouse import two_shards
from hepcat.bench.measure import Skipped
from hepcat.bench.traffic import Traffic
from hepcat.errors import HepcatError
from hepcat.stores.clickhouse import admin, tables
from hepcat.stores.clickhouse.address import Host, parse_address
from hepcat.stores.clickhouse.blocks import block_of, call_hashes
from hepcat.stores.clickhouse.packing import crc32_of, pack_strings
from tests.lake.make import build
from tests.servers import clickhouse
from tests.stores.clickhouse_support import NOON, settings_of, traffic_batch
from tests.support import hepcat

ROOT = Path(__file__).resolve().parents[2]


# -- URLs


def test_urls():
    address = parse_address(
        "clickhouse://me:p%40ss:w@a:9001,[2001:db8::1],b/calls?cluster=one&connect_timeout=2"
    )
    assert address.hosts == (Host("a", 9001), Host("2001:db8::1", 9000), Host("b", 9000))
    assert (address.user, address.password, address.database, address.cluster) == (
        "me",
        "p@ss:w",
        "calls",
        "one",
    )
    assert "p@ss" not in repr(address)
    assert str(address.hosts[1]) == "[2001:db8::1]:9000"
    assert parse_address("clickhouse://h/d?secure=1").hosts == (Host("h", 9440),)
    assert parse_address("clickhouse://h/d").user == "default"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("clickhouse://u:geheim@h", "names no database"),
        ("clickhouse://u:geheim@/d", "names no host"),
        ("clickhouse://u:geheim@h:99999/d", 'a port "99999"'),
        ("clickhouse://u:geheim@h:x/d", 'a port "x"'),
        ("clickhouse://u:geheim@2001:db8::1/d", "without brackets"),
        ("clickhouse://u:geheim@[::1/d", "brackets"),
        ("clickhouse://u:geheim@h,,i/d", "names no host"),
        ("clickhouse://u:geheim@h/d?clutser=x", 'an option "clutser"'),
        ("clickhouse://u:geheim@h/d?secure=maybe", "secure is neither"),
        ("clickhouse://u:geheim@h/d?timeout=-1", "timeout is not"),
        ("clickhouse://u:geheim@h/d?silence=0", "silence is not"),
    ],
)
def test_urls_that_are_none(url, words):
    with pytest.raises(HepcatError) as caught:
        parse_address(url)
    assert words in str(caught.value)
    assert "geheim" not in str(caught.value) + caught.value.hint


# -- the kernel


def _varint(n):
    octets = b""
    while n >= 128:
        octets += bytes([n & 127 | 128])
        n >>= 7
    return octets + bytes([n])


def _column(values):
    offsets = np.zeros(len(values) + 1, dtype=np.int32)
    np.cumsum([len(v) for v in values], out=offsets[1:])
    return offsets, np.frombuffer(b"".join(values), dtype=np.uint8)


@given(st.lists(st.one_of(st.binary(max_size=5), st.integers(0, 17_000).map(lambda n: b"z" * n)), max_size=8))
def test_packing_is_what_plain_python_makes_of_it(values):
    column = _column(values)
    assert pack_strings(*column).tobytes() == b"".join(_varint(len(v)) + v for v in values)
    assert crc32_of(*column).tolist() == [zlib.crc32(v) for v in values]


def test_a_value_of_three_megabytes():
    values = [b"a", b"x" * 3_000_000, b""]
    assert pack_strings(*_column(values)).tobytes() == b"".join(_varint(len(v)) + v for v in values)


@pytest.mark.parametrize("offsets", [[0, 9], [5, 2], [-4, 2], [0, 2, 1]])
def test_offsets_that_lie(offsets):
    with pytest.raises((IndexError, ValueError)):
        pack_strings(np.array(offsets, dtype=np.int32), np.zeros(3, dtype=np.uint8))


def test_uncompiled():
    script = (
        "import numpy as np, zlib; from hepcat.stores.clickhouse import packing as p;"
        "assert p.__file__.endswith('.py');"
        "o = np.array([0, 3, 203], dtype=np.int32); d = np.arange(203).astype(np.uint8);"
        "assert p.crc32_of(o, d).tolist() == [zlib.crc32(d[:3]), zlib.crc32(d[3:])];"
        "assert len(p.pack_strings(o, d)) == 206"
    )
    subprocess.run(
        [sys.executable, "-c", script], check=True, env={**os.environ, "HEPCAT_PURE": "1"}, cwd=ROOT
    )


def test_a_call_is_spread_by_its_call_id():
    batch = build(
        [
            {"payload": b"1", "call_id": b"abc", "correlation_id": b"other", "ts": NOON},
            {"payload": b"2", "correlation_id": b"abc", "hep_type": 5, "ts": NOON},
            {"payload": b"3", "call_id": b"a\xff", "ts": NOON},
            {"payload": b"4", "ts": NOON},
        ]
    )
    abc, unreadable = zlib.crc32(b"abc"), zlib.crc32(b"a?")
    assert call_hashes(batch).tolist() == [abc, abc, unreadable, NOON // 1_000_000]


# -- administration


@pytest.fixture(scope="module")
def servers():
    try:
        with clickhouse() as running:
            yield running
    except Skipped as reason:
        pytest.skip(str(reason))


def test_create_check_upgrade(servers, tmp_path):
    settings = settings_of(servers)
    shown: list[str] = []
    assert admin.create(settings, shown.append) == []
    assert len(shown) == 16
    assert "cluster" not in shown[0]
    assert servers[0].admin("SHOW TABLES") == ""
    assert any(f.level == "bad" and f.advice == "Run hepcat db create." for f in admin.check(settings))
    assert {f.found for f in admin.create(settings)} == {"made"}
    assert {f.found for f in admin.create(settings)} == {"was there already"}
    assert {f.level for f in admin.check(settings)} == {"ok"}
    for table in ("sip_local", "sip"):
        servers[1].admin(f"ALTER TABLE {table} DROP COLUMN session_id")
    (finding,) = [f for f in admin.check(settings) if f.level == "bad" and "sip_local" in f.subject][:1]
    assert "session_id" in finding.found
    assert finding.advice == "Run hepcat db upgrade."
    assert any("session_id" in f.found for f in admin.upgrade(settings))
    assert {f.level for f in admin.check(settings)} == {"ok"}
    servers[1].kill()
    try:
        found = admin.check(settings)
        assert [f.level for f in found if str(servers[1].port) in f.subject] == ["bad"]
    finally:
        servers[1].start()


def test_the_commands(servers, tmp_path):
    file = tmp_path / "url"
    file.write_text(settings_of(servers).read())
    said = hepcat("db", "create", "--url-file", str(file), "--dry-run").stdout
    assert "-- on 127.0.0.1" in said or "CREATE" not in said
    assert "secret" not in said
    hepcat("db", "create", "--url-file", str(file))
    assert "shard 2 of weight 1" in hepcat("db", "check", "--url-file", str(file)).stdout
    file.write_text(settings_of(servers).read().replace("hepcat?", "none?"))
    failed = hepcat("db", "check", "--url-file", str(file), check=False)
    assert failed.returncode == 1
    assert 'no database "none"' in failed.stdout


def test_replicas_need_a_coordinator(tmp_path):
    from hepcat.stores.clickhouse.topology import Shard

    sql = tables.create_local("d", "sip", "sip_local", tables.Features(False, replicated=True), None)
    assert "ENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/d/sip_local', '{replica}')" in sql
    try:
        with two_shards(tmp_path) as servers:
            from hepcat.stores.clickhouse.client import Connection

            address = parse_address(settings_of(servers).read())
            connection = Connection(address, address.hosts[0])
            with pytest.raises(HepcatError, match="no ZooKeeper or Keeper") as caught:
                admin._features(connection, Shard(1, 1, address.hosts), address)
            connection.close()
            assert "one replica a shard" in caught.value.hint
    except Skipped as reason:
        pytest.skip(str(reason))


# -- today's ClickHouse, in the process


@pytest.fixture(scope="module")
def today(tmp_path_factory):
    session = pytest.importorskip("chdb.session")
    opened = session.Session(str(tmp_path_factory.mktemp("chdb")))
    opened.query("CREATE DATABASE hepcat")
    yield opened
    opened.close()


def _ask(session, sql):
    return str(session.query(sql, "TSV")).rstrip("\n")


def native_file(block, rows):
    """Return a block as a file of the format Native."""
    octets = _varint(len(block)) + _varint(rows)
    for name, kind, parts in block:
        octets += _varint(len(name)) + name.encode() + _varint(len(kind)) + kind.encode()
        octets += b"".join(bytes(part) for part in parts)
    return octets


def test_tables_and_blocks_of_today(today, tmp_path):
    modern = tables.Features.of((25, 1, 1))
    for table in tables.ALL:
        today.query(tables.create_local("hepcat", table, table, modern, 36_500))
    text = _ask(today, "SHOW CREATE TABLE hepcat.sip")
    for part in (
        "LowCardinality(String)",
        "bloom_filter",
        "TTL day + toIntervalDay(36500)",
        "CODEC(Delta(8), ZSTD(1))",
    ):
        assert part in text
    assert admin._has_ttl(text, 36_500)
    assert not admin._has_ttl(text, 365)
    batch = traffic_batch(500, Traffic())
    rows = np.arange(500)
    block = block_of(batch, "sip", rows, rows.astype(np.uint64) + 7, uuid.UUID(int=2**100 + 5), NOON)
    (tmp_path / "sip.native").write_bytes(native_file(block, 500))
    today.query(f"INSERT INTO hepcat.sip SELECT * FROM file('{tmp_path}/sip.native', 'Native')")
    assert _ask(
        today,
        "SELECT count(), min(seq), max(seq), any(writer), sum(call_hash = CRC32(call_id)) FROM hepcat.sip",
    ) == (f"500\t7\t506\t{uuid.UUID(int=2**100 + 5)}\t500")
    found = today.query(
        "SELECT call_id, payload, status, src_ip FROM hepcat.sip ORDER BY seq", "ArrowTable"
    ).to_pylist()
    for i, row in enumerate(found):
        assert row["call_id"].encode() == batch.text(i, "call_id")
        assert (row["payload"].encode() if isinstance(row["payload"], str) else row["payload"]) == batch.text(
            i, "payload"
        )
        assert (row["status"] or 0) == int(batch.status[i])
        assert row["src_ip"] == batch.address(i)
