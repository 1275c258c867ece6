"""Counting exactly: which numbered records (make.numbered) a lake shows, and how often."""

from collections import Counter
from pathlib import Path

from hepcat.batch.schema import TABLES
from hepcat.stores.lake import Lake


def payloads(lake: Lake) -> Counter[bytes]:
    """Return every payload of every table with how often it is there."""
    query = " UNION ALL ".join(f"SELECT payload FROM {table}" for table in TABLES)
    sql = f"SELECT payload, count(*) FROM ({query}) GROUP BY 1"
    return Counter(lake.run(lambda s: dict(s.connection.execute(sql).fetchall())))


def assert_exactly(path: Path, count: int, maximum: int | None = None) -> int:
    """Assert that records 0..n-1 are there once each, count <= n <= maximum; return n."""
    with Lake(path) as lake:
        found = payloads(lake)
    doubled = [p for p, times in found.items() if times != 1]
    assert not doubled, f"{len(doubled)} doubled, first {doubled[:3]}"
    n = len(found)
    missing = [i for i in range(n) if b"X %d" % i not in found]
    assert not missing, f"{len(missing)} missing of {n}, first {missing[:3]}"
    assert count <= n <= (count if maximum is None else maximum)
    return n
