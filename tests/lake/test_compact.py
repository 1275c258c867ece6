"""Merging: what is merged, what must not be, and that every record and filter survives it."""

import os
import time
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from hepcat.config.lake import LakeSettings
from hepcat.stores.lake import ImportWriter, Lake, LakeWriter
from hepcat.stores.lake.catalog import ParquetFile, folder_files
from hepcat.stores.lake.compact import Compactor, Info, plan
from hepcat.stores.lake.footer import DifferentSchemas, join_files
from tests.lake.count import assert_exactly, payloads
from tests.lake.make import NOON, build, numbered, traffic
from tests.support import wait_for

OFF = LakeSettings(compact=False)
FEW = LakeSettings(compact_files=3, delete_after=0, row_group_rows=1024)


def _info(first, last, rows=None, groups=1, encoded=1000):
    return Info(ParquetFile("sip", "2026-11-23", first, last, ""), rows or last - first + 1, groups, encoded)


def _event(name, facts):
    pass


def _names(infos):
    return [(i.file.first, i.file.last) for i in infos]


def test_neighbours_of_one_size_are_merged():
    infos = [_info(10 * k, 10 * k + 9) for k in range(5)]
    assert _names(plan(infos, [], FEW, False)) == _names(infos)
    assert plan(infos[:2], [], FEW, False) == []
    assert _names(plan(infos[:2], [], FEW, True)) == [(0, 9), (10, 19)]


def test_no_merged_range_contains_a_living_writer():
    infos = [_info(10 * k, 10 * k + 9) for k in (0, 1, 3, 4, 5)]
    assert _names(plan(infos, [20], FEW, False)) == [(30, 39), (40, 49), (50, 59)]
    infos[3] = _info(41, 49)
    assert plan(infos, [20, 40], FEW, False) == []
    assert _names(plan(infos, [60], FEW, False)) == _names(infos)


def test_a_large_file_is_not_written_again_for_small_neighbours():
    infos = [_info(0, 999_999, groups=8), *[_info(10**6 + 10 * k, 10**6 + 10 * k + 9) for k in range(3)]]
    assert _names(plan(infos, [], LakeSettings(compact_files=3), False)) == _names(infos[1:])


def test_bounds_on_records_and_on_decoded_octets():
    full = [_info(10**6 * k, 10**6 * k + 10**6 - 1, groups=8) for k in range(9)]
    assert len(plan(full, [], LakeSettings(), False)) == 4  # compact_rows: four million
    heavy = [_info(10 * k, 10 * k + 9, encoded=40 * 2**20) for k in range(9)]
    assert len(plan(heavy, [], LakeSettings(), False)) == 2


def test_files_of_other_columns_are_left_apart():
    infos = [_info(10 * k, 10 * k + 9) for k in range(4)]
    infos[3] = Info(infos[3].file, 10, 1, 1000, "other")
    assert _names(plan(infos, [], FEW, True)) == _names(infos[:3])


def _sealed(path, batches):
    with LakeWriter(path, OFF) as writer:
        for batch in batches:
            writer.append(batch)
            assert writer.seal()
    return folder_files(path, "sip", "2026-11-23")


def test_joined_files_are_the_same_records_filters_and_statistics(tmp_path):
    files = _sealed(tmp_path, [traffic(400, seed=k, ts=NOON + k * 10**8) for k in range(5)])
    joined = tmp_path / "joined.parquet"
    fd = os.open(joined, os.O_CREAT | os.O_WRONLY)
    assert join_files([f.path for f in files], fd) == 2000
    os.close(fd)
    metadata = pq.read_metadata(joined)
    assert (metadata.num_rows, metadata.num_row_groups) == (2000, 5)
    parts = [pq.read_metadata(f.path).row_group(0) for f in files]
    for i, part in enumerate(parts):
        group = metadata.row_group(i)
        assert group.column(0).statistics.min_raw == part.column(0).statistics.min_raw
    names = ", ".join(f"'{f.path}'" for f in files)
    connection = duckdb.connect()
    one, many = f"SELECT * FROM '{joined}'", f"SELECT * FROM read_parquet([{names}], hive_partitioning=false)"
    assert connection.sql(f"SELECT count(*) FROM ({one} EXCEPT ALL {many})").fetchall() == [(0,)]
    assert connection.sql(f"SELECT count(*) FROM ({many} EXCEPT ALL {one})").fetchall() == [(0,)]
    call_id = connection.sql(f"SELECT call_id FROM '{files[3].path}' LIMIT 1").fetchall()[0][0]
    probe = f"SELECT count(*) FROM parquet_bloom_probe('{joined}', 'call_id', '{call_id}')"
    probe += " WHERE NOT bloom_filter_excludes"
    assert connection.sql(probe).fetchall() == [(1,)]
    assert pq.read_table(joined).num_rows == 2000


def test_files_of_different_columns_are_not_joined(tmp_path):
    paths = []
    for k, table in enumerate((numbered(0, 3), numbered(3, 3, hep_type=100))):
        _sealed(tmp_path / str(k), [table])
        paths += [str(p) for p in (tmp_path / str(k)).glob("*/date=*/*.parquet")]
    with (tmp_path / "out").open("wb") as out, pytest.raises(DifferentSchemas):
        join_files(paths, out.fileno())


@pytest.mark.parametrize(
    "octets", [b"", b"PAR1", b"PAR1\xff\xff\xff\x7fPAR1", b"PAR1" + b"\x19\xfc" * 3 + b"\x06\0\0\0PAR1"]
)
def test_a_file_that_is_not_parquet_is_refused(tmp_path, octets):
    (tmp_path / "x").write_bytes(octets)
    with (tmp_path / "out").open("wb") as out, pytest.raises(ValueError, match="Parquet"):
        join_files([str(tmp_path / "x")], out.fileno())


def test_small_files_become_one_row_group_sorted_by_time(tmp_path):
    late = build([{"payload": b"X %d" % i, "call_id": b"%d" % i, "ts": NOON - i} for i in range(30, 60)])
    _sealed(tmp_path, [numbered(0, 30), late, numbered(60, 30)])
    compactor = Compactor(tmp_path, FEW, _event)
    while compactor.step():
        pass
    files = folder_files(tmp_path, "sip", "2026-11-23")
    assert len(files) == 1
    table = pq.read_table(files[0].path)
    assert pq.read_metadata(files[0].path).num_row_groups == 1
    ts = table.column("ts").to_pylist()
    assert ts == sorted(ts)
    assert_exactly(tmp_path, 90)


def test_replaced_files_stay_a_while_and_do_not_count(tmp_path):
    _sealed(tmp_path, [numbered(10 * k, 10) for k in range(3)])
    keep = LakeSettings(compact_files=3, delete_after=3600)
    compactor = Compactor(tmp_path, keep, _event)
    assert compactor.step()
    assert not compactor.step()
    assert len(folder_files(tmp_path, "sip", "2026-11-23")) == 4
    assert_exactly(tmp_path, 30)
    merged = folder_files(tmp_path, "sip", "2026-11-23")[0]
    os.utime(merged.path, (time.time() - 3601,) * 2)
    assert not compactor.step()
    assert [f.path for f in folder_files(tmp_path, "sip", "2026-11-23")] == [merged.path]
    assert_exactly(tmp_path, 30)


def test_merging_beside_an_import_that_began_earlier(tmp_path):
    """The import's numbers lie between the server's: no merged range may swallow them."""
    with LakeWriter(tmp_path, FEW) as writer:
        writer.append(numbered(0, 10))
        writer.seal()
        with ImportWriter(tmp_path, FEW) as importer:
            importer.append(numbered(50, 10))
            for k in range(1, 5):
                writer.append(numbered(10 * k, 10))
                writer.seal()
            wait_for(lambda: writer.stats()["merges"] >= 1)
            assert_exactly(tmp_path, 50)
            importer.commit()
        assert_exactly(tmp_path, 60)
    with Lake(tmp_path) as lake, lake.snapshot() as snapshot:
        assert snapshot.connection.execute("SELECT count(*) FROM sip WHERE call_id = '55'").fetchall() == [
            (1,)
        ]


def test_a_merged_row_group_has_the_messages_of_a_call_together(tmp_path):
    def records(first):
        return build(
            [
                {"payload": b"X %d" % i, "ts": NOON + i}
                | ({"call_id": b"call %d" % (i % 4)} if i % 4 else {})  # each fourth without Call-ID
                for i in range(first, first + 20)
            ]
        )

    _sealed(tmp_path, [records(0), records(20), records(40)])
    compactor = Compactor(tmp_path, FEW, _event)
    while compactor.step():
        pass
    (file,) = folder_files(tmp_path, "sip", "2026-11-23")
    table = pq.read_table(file.path)
    expected = [None] * 15 + ["call 1"] * 15 + ["call 2"] * 15 + ["call 3"] * 15
    assert table["call_id"].to_pylist() == expected
    ts = table["ts"].to_pylist()
    assert all(ts[at : at + 15] == sorted(ts[at : at + 15]) for at in range(0, 60, 15))
    assert_exactly(tmp_path, 60)


def _cut_footer(path):
    path.write_bytes(path.read_bytes()[:100])


def _empty(path):
    path.write_bytes(b"")


def _zero_pages(path):
    octets = bytearray(path.read_bytes())
    octets[4:400] = bytes(396)
    path.write_bytes(octets)


@pytest.mark.parametrize("damage", [_cut_footer, _empty, _zero_pages])
def test_a_damaged_file_is_told_once_and_the_others_are_merged(tmp_path, damage):
    batches = [numbered(10 * k, 10) for k in range(7)]
    other = [numbered(70 + 10 * k, 10, ts=NOON + 86_400_000_000) for k in range(3)]
    _sealed(tmp_path, batches + other)
    files = folder_files(tmp_path, "sip", "2026-11-23")
    bad = Path(files[3].path)
    damage(bad)
    events = []
    compactor = Compactor(tmp_path, FEW, lambda *e: events.append(e))
    for _ in range(20):
        if not compactor.step():
            break
    else:
        pytest.fail("merges for ever")
    assert [facts["path"] for name, facts in events if name == "file_damaged"] == [str(bad)]
    left = [f.path for f in folder_files(tmp_path, "sip", "2026-11-23")]
    assert str(bad) in left
    assert len(left) == 3, "what is before it and what is behind it, merged"
    assert len(folder_files(tmp_path, "sip", "2026-11-24")) == 1
    bad.unlink()
    with Lake(tmp_path) as lake:
        assert sum(payloads(lake).values()) == 90


def test_what_a_damaged_merged_file_was_made_of_stays(tmp_path):
    _sealed(tmp_path, [numbered(10 * k, 10) for k in range(3)])
    compactor = Compactor(tmp_path, LakeSettings(compact_files=3, delete_after=3600), _event)
    assert compactor.step()
    merged = Path(folder_files(tmp_path, "sip", "2026-11-23")[0].path)
    _empty(merged)
    again = Compactor(tmp_path, LakeSettings(compact_files=3, delete_after=0), _event)
    assert not again.step()
    merged.unlink()
    assert_exactly(tmp_path, 30)
