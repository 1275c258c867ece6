"""The order of rows in a sealed file: row groups by time, within one the messages of a call together."""

import itertools

import pyarrow.parquet as pq

from hepcat.config.lake import LakeSettings
from hepcat.stores.lake import LakeWriter
from tests.lake.make import traffic

SETTINGS = LakeSettings(row_group_rows=1024, compact=False)


def test_row_groups_follow_each_other_and_calls_stand_together(tmp_path):
    batch = traffic(3000, step=400)
    with LakeWriter(tmp_path, SETTINGS) as writer:
        writer.append(batch)
        assert writer.seal()
    (path,) = tmp_path.glob("sip/*/*.parquet")
    file = pq.ParquetFile(path)
    assert file.num_row_groups == 3
    before = None
    for number in range(3):
        group = file.read_row_group(number, columns=["ts", "call_id"])
        ts, calls = group["ts"].cast("int64").to_pylist(), group["call_id"].to_pylist()
        assert before is None or before <= min(ts)
        before = max(ts)
        changes = sum(a != b for a, b in itertools.pairwise(calls))
        assert changes + 1 == len(set(calls)) < len(calls)
        for one, two, call, following in zip(ts, ts[1:], calls, calls[1:], strict=False):
            assert call != following or one <= two
        first = {call: t for t, call in reversed(list(zip(ts, calls, strict=True)))}
        assert list(first.values())[::-1] == sorted(first.values())
