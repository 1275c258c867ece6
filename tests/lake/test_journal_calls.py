"""The calls of a growing journal: batch by batch the same as all at once."""

import random
from collections.abc import Iterator

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from hepcat.stores.lake import journal_calls
from hepcat.stores.lake.arrow import to_arrow
from hepcat.stores.lake.journal_calls import JournalCalls, Journals
from hepcat.stores.lake.starts import Known, joined, read_calls
from tests.lake.make import build

INFINITE = 2**63 - 1


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as made:
        yield made


def batches_of(dice: random.Random, n: int) -> list[pa.RecordBatch]:
    made = []
    for _ in range(n):
        records = [
            {
                "payload": b"x",
                "call_id": b"%d" % dice.randrange(40),
                "ts": dice.randrange(10**9),
                "status": dice.choice((100, 180, 200, 401, 486, 503)),
                "method": dice.choice((b"INVITE", b"BYE")),
            }
            for _ in range(dice.randint(1, 30))
        ]
        made.append(to_arrow(build(records), "sip", views=True))
    return made


def at_once(connection: duckdb.DuckDBPyConnection, batches: list[pa.RecordBatch]) -> Known:
    connection.register("whole", pa.Table.from_batches(batches))
    known = read_calls(connection, "whole")
    assert known is not None
    return known


def assert_equal(one: Known, other: Known) -> None:
    for name in ("hashes", "first", "outcomes"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name
    later = one.last - other.last  # rounded up to a millisecond, where a joint changed the first again
    assert ((later >= 0) & (later < 6_000)).all()


@pytest.mark.parametrize("seed", range(3))
def test_batch_by_batch(seed: int, connection: duckdb.DuckDBPyConnection) -> None:
    dice = random.Random(seed)
    batches = batches_of(dice, 40)
    calls = JournalCalls()
    assert calls.upto([], connection) == []
    n = 0
    while n < len(batches):
        n = min(n + dice.randint(0, 5), len(batches))
        parts = calls.upto(batches[:n], connection)
        assert parts is not None
        known = [part for part in parts if part is not None]
        assert len(known) == len(parts) <= 6
        if n:
            assert_equal(joined(known), at_once(connection, batches[:n]))


def test_each_record_is_read_once(
    connection: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []

    def reading(connection: duckdb.DuckDBPyConnection, relation: str) -> Known | None:
        read.append(connection.sql(f"SELECT count(*) FROM {relation}").fetchall()[0][0])
        return read_calls(connection, relation)

    monkeypatch.setattr(journal_calls, "read_calls", reading)
    batches = batches_of(random.Random(4), 10)
    calls = JournalCalls()
    for n in (3, 3, 7, 10):
        calls.upto(batches[:n], connection)
    assert read == [sum(b.num_rows for b in batches[a:b]) for a, b in ((0, 3), (3, 7), (7, 10))]


def test_an_earlier_moment_is_looked_at(connection: duckdb.DuckDBPyConnection) -> None:
    """Another search was faster, and saw more of the journal."""
    batches = batches_of(random.Random(5), 10)
    calls = JournalCalls()
    calls.upto(batches, connection)
    assert calls.upto(batches[:4], connection) is None
    connection.register("four", pa.Table.from_batches(batches[:4]))
    (known,) = Journals([(calls, batches[:4])], "four").known(connection)
    assert known is not None
    assert_equal(known, at_once(connection, batches[:4]))


def test_an_infinite_time_is_not_known(connection: duckdb.DuckDBPyConnection) -> None:
    batches = batches_of(random.Random(6), 3)
    endless = to_arrow(build([{"payload": b"x", "call_id": b"a", "ts": INFINITE}]), "sip", views=True)
    calls = JournalCalls()
    calls.upto(batches, connection)
    for n in (4, 7):
        parts = calls.upto([*batches, endless, *batches][:n], connection)
        assert parts is not None
        assert None in parts
