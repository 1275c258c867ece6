"""Parquet files of other versions of hepcat, and damaged ones, beside those of this version."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from hepcat.batch.schema import FIELDS
from hepcat.config.lake import LakeSettings
from hepcat.errors import HepcatError
from hepcat.search.follow import Tail
from hepcat.stores.lake import Lake, LakeWriter, journal
from tests.lake.make import NOON, build, numbered

OFF = LakeSettings(compact=False)


def _fill(root, count, rows=5):
    with LakeWriter(root, OFF) as writer:
        for k in range(count):
            writer.append(numbered(rows * k, rows))
            writer.seal()
    return sorted(root.glob("sip/*/*.parquet"))


def _without(path, *names):
    """Write a file again as a version that does not know some columns would have."""
    table = pq.read_table(path, partitioning=None)
    pq.write_table(table.drop_columns(list(names)), path, store_schema=False)


def _query(root, sql):
    with Lake(root, OFF) as lake, lake.snapshot() as snapshot:
        return snapshot.connection.execute(sql).fetchall()


@pytest.mark.parametrize("chosen", [[0], [1], [2], [0, 1, 2]])
def test_columns_that_a_file_lacks_are_null(tmp_path, chosen):
    files = _fill(tmp_path, 3)
    for i in chosen:
        _without(files[i], "session_id", "from_tag", "extra", "node_id")
    rows = _query(tmp_path, "SELECT call_id, session_id, extra, node_id FROM sip ORDER BY call_id::int")
    assert [int(row[0]) for row in rows] == list(range(15))
    assert {row[1:3] for row in rows} == {(None, None)}
    assert _query(tmp_path, "SELECT count(*) FROM sip WHERE call_id = '7'") == [(1,)]
    assert _query(tmp_path, "SELECT count(*) FROM sip WHERE node_id = 1 OR from_tag = 'a'") == [(0,)]


def test_bloom_filters_of_a_column_that_is_not_there(tmp_path):
    files = _fill(tmp_path, 2)
    _without(files[0], "session_id")
    with Lake(tmp_path, OFF) as lake, lake.snapshot(holding={"session_id": ["x"]}) as snapshot:
        assert snapshot.connection.execute("SELECT count(*) FROM sip WHERE session_id = 'x'").fetchall() == [
            (0,)
        ]


def test_following_a_lake_with_files_that_lack_columns(tmp_path):
    root = tmp_path / "lake"
    _fill(root, 1)
    with Tail(root) as tail:
        (file,) = sorted(root.glob("sip/*/*.parquet"))
        new = file.with_name("0000000009000000000-0000000009000000004.parquet")
        new.write_bytes(file.read_bytes())
        _without(new, "session_id", "extra")
        table = tail.poll()
    assert table.num_rows == 5
    assert table["session_id"].null_count == 5
    assert table["call_id"].to_pylist() == ["0", "1", "2", "3", "4"]


def _tagged(n):
    records = [{"payload": b"X", "call_id": b"%d" % i, "ts": NOON + i} for i in range(n)]
    return build([record | {"tags": b"a=%d" % i} for i, record in enumerate(records)])


def test_tags_beside_files_and_journals_from_before_there_were_any(tmp_path, monkeypatch):
    """A Parquet file and a journal without the column or slice; then a journal and a file that have it."""
    (old,) = _fill(tmp_path, 1)
    _without(old, "tags")
    untagged = numbered(5, 5)
    untagged.fields = np.delete(untagged.fields, FIELDS.index("tags"), axis=1)
    with LakeWriter(tmp_path, OFF) as writer:
        with monkeypatch.context() as patch:
            patch.setattr(journal, "FIELDS", tuple(name for name in FIELDS if name != "tags"))
            writer.append(untagged)
        assert _query(tmp_path, "SELECT count(*), count(tags) FROM sip") == [(10, 0)]
    with LakeWriter(tmp_path, OFF) as writer:
        writer.append(_tagged(3))
        assert _query(tmp_path, "SELECT count(*), count(tags) FROM sip") == [(13, 3)]
        writer.seal()
        writer.append(_tagged(3))
    found = _query(tmp_path, "SELECT tags FROM sip WHERE tags IS NOT NULL ORDER BY ALL")
    assert found == [("a=0",), ("a=0",), ("a=1",), ("a=1",), ("a=2",), ("a=2",)]
    assert _query(tmp_path, "SELECT count(*) FROM sip") == [(16,)]


@pytest.mark.parametrize("size", [0, 3, 1000])
def test_a_damaged_file_is_named(tmp_path, size):
    files = _fill(tmp_path, 2)
    files[1].write_bytes(files[1].read_bytes()[:size])
    with pytest.raises(HepcatError, match=files[1].name) as caught:
        _query(tmp_path, "SELECT count(*) FROM sip")
    assert "Move it" in caught.value.hint
