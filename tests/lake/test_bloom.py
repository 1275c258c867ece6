"""Bloom filters asked one value at a time: nothing that is stored is ever denied, little else is kept."""

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hepcat.config.lake import LakeSettings
from hepcat.stores.lake import Lake, LakeWriter
from hepcat.stores.lake.bloom import Filter, Wanted, can_hold, filters, xxh64
from hepcat.stores.lake.catalog import listing
from hepcat.stores.lake.compact import Compactor
from tests.lake.make import numbered


@pytest.mark.parametrize(
    ("data", "expected"),
    [  # from the specification's reference implementation
        (b"", 0xEF46DB3751D8E999),
        (b"a", 0xD24EC4F1A98C6E5B),
        (b"abc", 0x44BC2CF5AD770999),
    ],
)
def test_hash(data: bytes, expected: int) -> None:
    assert xxh64(data) == expected


def write(path: Path, column: pa.Array, rows: int, **options: object) -> None:
    table = pa.table({"n": pa.array(range(len(column))), "call_id": column})
    bloom = {"call_id": {"ndv": rows, "fpp": 0.01}}
    pq.write_table(table, path, row_group_size=rows, bloom_filter_options=bloom, **options)


def test_what_another_program_wrote_is_found_and_nearly_nothing_else(tmp_path: Path) -> None:
    # Lengths 0 to 80: every way through the hash, 32 octets at once, 8, 4 and 1.
    values = ["ü" * (i % 3) + "x" * (i % 81) + str(i) * (i > 80) for i in range(1000)]
    path = str(tmp_path / "a.parquet")
    write(tmp_path / "a.parquet", pa.array(values), 250)
    groups = filters(path, pq.read_metadata(path), "call_id")
    assert groups is not None
    assert len(groups) == 4
    for i, value in enumerate(values):
        assert can_hold(path, groups[i // 250 : i // 250 + 1], [Wanted(value.encode())]), value
    wrong = sum(can_hold(path, groups, [Wanted(f"not there {i}".encode())]) for i in range(2000))
    assert wrong < 200  # 1 in 100 for each of four filters, with room for chance


def test_no_filter_means_perhaps(tmp_path: Path) -> None:
    path = str(tmp_path / "a.parquet")
    write(tmp_path / "a.parquet", pa.array(["a"]), 10)
    metadata = pq.read_metadata(path)
    assert filters(path, metadata, "n") is None
    assert filters(path, metadata, "nothing") is None
    assert can_hold(path, [Filter(os.path.getsize(path) - 5, 1)], [Wanted(b"a")])  # the file ends there


@pytest.mark.parametrize("merged", [False, True])
def test_a_snapshot_leaves_out_files_without_the_value(tmp_path: Path, merged: bool) -> None:
    settings = LakeSettings(compact=False, row_group_rows=1024, compact_files=2, delete_after=0)
    with LakeWriter(tmp_path, settings) as writer:
        for i in range(4):
            writer.append(numbered(i * 100, 100))
            writer.seal()
        writer.append(numbered(400, 5))
        with Lake(tmp_path, settings) as lake:
            with lake.snapshot() as every:
                found = (
                    every.connection.sql("SELECT call_id FROM sip").to_arrow_table()["call_id"].to_pylist()
                )
                assert every.files == 4
            if merged:
                assert Compactor(tmp_path, settings, lambda *_: None).step()
            count = len(listing(tmp_path).files)
            for wanted in (found[0], found[150], found[399], found[-1]):
                with lake.snapshot(holding={"call_id": [wanted]}, tables=("sip",)) as snapshot:
                    assert snapshot.files < count or merged
                    there = snapshot.connection.sql(f"SELECT count(*) FROM sip WHERE call_id = '{wanted}'")
                    assert there.to_arrow_table()[0][0].as_py() == 1
            with lake.snapshot(holding={"call_id": ["nowhere"]}) as snapshot:
                assert snapshot.files == 0
                assert snapshot.journal_rows == 5
            many = [f"nowhere {i}" for i in range(100)]
            with lake.snapshot(holding={"call_id": many}) as snapshot:
                assert snapshot.files == count
