"""Searches of lakes that change or hold odd things: files that go away, times of another age, misuse."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

import hepcat
from hepcat.errors import HepcatError
from hepcat.search.searcher import Searcher
from hepcat.stores.lake import Lake, LakeWriter
from tests.lake.make import numbered


@pytest.fixture
def data(tmp_path: Path) -> Path:
    with LakeWriter(tmp_path / "data") as writer:
        writer.append(numbered(0, 20))
        writer.seal()
    return tmp_path / "data"


class Changing:
    """A lake whose files go away under the first searches."""

    def __init__(self, lake: Lake, times: int) -> None:
        self.lake, self.times = lake, times

    @contextlib.contextmanager
    def snapshot(self, *arguments: Any) -> Iterator[Any]:
        with self.lake.snapshot(*arguments) as snapshot:
            if self.times:
                self.times -= 1
                raise duckdb.IOException('IO Error: Cannot open file "gone.parquet"\nmore')
            yield snapshot


@pytest.mark.parametrize("times", [0, 1, 3])
def test_a_search_begins_again_when_a_file_goes_away(data: Path, times: int) -> None:
    with Lake(data) as lake:
        for search in ("messages", "calls"):
            found = getattr(Searcher(Changing(lake, times)), search)("")
            assert found.table.num_rows == 20
        assert Searcher(Changing(lake, times)).count("") == 20
        assert Searcher(Changing(lake, times)).messages_of(["c-3", "no"]).num_rows in (0, 1)


def test_a_lake_that_cannot_be_read_is_an_error_for_people(data: Path) -> None:
    with Lake(data) as lake, pytest.raises(HepcatError, match=r'Cannot open file "gone.parquet"$'):
        Searcher(Changing(lake, 99)).calls("")


@pytest.mark.parametrize("year", [1700, 1969, 2300, 250_000])
def test_times_of_another_age(tmp_path: Path, year: int) -> None:
    batch = numbered(0, 4)
    batch.ts[2] = (year - 1970) * 31_556_952_000_000
    with LakeWriter(tmp_path / "data") as writer:
        writer.append(batch)
    lake = hepcat.open(tmp_path / "data")
    assert lake.search("").num_rows == 4
    assert lake.search("", sort="-messages").num_rows == 4
    assert lake.messages("").num_rows == 4
    assert lake.histogram("").num_rows > 0


@pytest.mark.parametrize("messages", [True, False])
def test_no_field_at_all(data: Path, messages: bool) -> None:
    with pytest.raises(HepcatError, match="no column is named"):
        hepcat.open(data).search("", messages=messages, fields=[])


@pytest.mark.parametrize(
    "statement",
    ["COPY (SELECT 1) TO '{data}/x.csv'", "EXPLAIN ANALYZE COPY (SELECT 1) TO '{data}/x'", "SELEC"],
)
def test_sql_only_queries(data: Path, statement: str) -> None:
    before = sorted(data.rglob("*"))
    with pytest.raises(HepcatError):
        hepcat.open(data).sql(statement.format(data=data))
    assert sorted(data.rglob("*")) == before
    assert hepcat.open(data).sql("SELECT count(*) AS n FROM sip")["n"].to_pylist() == [20]
