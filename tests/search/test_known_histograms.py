"""Histograms of calls that need no look at all messages, against those that look."""

import random
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from hepcat.search import remembered
from hepcat.search.call_pages import first_page
from hepcat.search.searcher import Searcher
from hepcat.stores.lake import Lake, LakeWriter, reader
from tests.lake.make import build
from tests.search.support import NOON
from tests.search.test_call_pages import HOUR, QUERIES, world
from tests.search.test_newest_calls import stored

SECOND = 1_000_000


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Note for each histogram whether the calls were known."""
    noted: list[bool] = []
    real = Searcher._known_calls

    def noting(self: Searcher, *arguments: object) -> object:
        found = real(self, *arguments)  # type: ignore[arg-type]
        noted.append(found is not None)
        return found

    monkeypatch.setattr(Searcher, "_known_calls", noting)
    return noted


@pytest.fixture
def lakes(tmp_path: Path) -> Iterator[tuple[Searcher, Searcher]]:
    """One lake, remembered and not."""
    with LakeWriter(tmp_path):
        pass
    with Lake(tmp_path, remember=True) as lake, Lake(tmp_path) as plain:
        yield Searcher(lake), Searcher(plain)


def both(lakes: tuple[Searcher, Searcher], query: str, since: int | None, until: int | None) -> pa.Table:
    """Return the histogram, which must be the same in both."""
    one, other = (searcher.histogram(query, since, until, buckets=40) for searcher in lakes)
    assert one.to_pylist() == other.to_pylist(), (query, since, until)
    return one


@pytest.mark.parametrize("seed", range(5))
def test_random_calls(seed: int, known: list[bool], tmp_path: Path) -> None:
    """All calls, in files and journals that lie in the range or are cut by it; and queries asked before."""
    dice = random.Random(seed)
    steps = stored(tmp_path, world(dice, dice.choice((12, 20, 45))), dice)
    next(steps)
    with Lake(tmp_path, remember=True) as lake, Lake(tmp_path) as plain:
        searcher, looking = Searcher(lake), Searcher(plain)
        for number, _ in enumerate(steps):
            query = QUERIES[number % len(QUERIES)]
            since = dice.choice((None, NOON, NOON + HOUR, NOON + 24 * HOUR))
            until = dice.choice((None, NOON + 1, NOON + 3 * HOUR, NOON + 49 * HOUR))
            both((searcher, looking), "", since, until)
            first_page(searcher, query, since, until, 1000)
            later = None if until is None else until + dice.choice((0, 1, HOUR, 24 * HOUR))
            begin = None if since is None else min(since + dice.choice((0, 1, HOUR)), later or since)
            both((searcher, looking), query, begin, later)
            searcher.remembered = remembered.Remembered()  # what is stored next is older than it may be
    assert known.count(True) > len(known) // 4


def test_an_empty_lake(lakes: tuple[Searcher, Searcher], known: list[bool]) -> None:
    assert both(lakes, "", NOON, NOON + SECOND).num_rows == 0
    assert both(lakes, "", None, None).num_rows == 0
    assert known == [True, False] * 2


def test_much_of_a_file_is_not_held(
    lakes: tuple[Searcher, Searcher], known: list[bool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LakeWriter(tmp_path) as writer:
        calls = [{"payload": b"x", "call_id": b"%d" % i, "ts": NOON + i * SECOND} for i in range(100)]
        writer.append(build(calls))
        writer.seal()
        monkeypatch.setattr(reader, "_CUT", 40)
        for seconds in (30, 60, 1000):  # the last holds all of the file
            assert sum(both(lakes, "", NOON, NOON + seconds * SECOND)["total"].to_pylist()) <= 100
    assert known[::2] == [True, False, True]


def test_what_is_captured_after_the_search_is_counted(
    lakes: tuple[Searcher, Searcher], known: list[bool], tmp_path: Path
) -> None:
    end = NOON + 60 * SECOND

    def message(call: bytes, ts: int, status: int) -> dict[str, object]:
        return {"payload": b"x", "call_id": call, "ts": ts, "status": status, "from_user": b"u"}

    with LakeWriter(tmp_path) as writer:
        writer.append(build([message(b"a", NOON + SECOND, 180), message(b"b", NOON + 2 * SECOND, 486)]))
        first_page(lakes[0], "from_user:u", NOON, end, 60)
        # One was captured shortly before the range of the search ended, and stored after it.
        writer.append(build([message(b"a", end - SECOND, 200), message(b"c", end + SECOND, 503)]))
        found = both(lakes, "from_user:u", NOON + 1, end + 2 * SECOND)
        assert [sum(found[name].to_pylist()) for name in ("2xx", "4xx", "5xx", "total")] == [1, 1, 1, 3]
    assert known == [True, False]


def test_a_call_that_matched_before_the_range_too(
    lakes: tuple[Searcher, Searcher], known: list[bool], tmp_path: Path
) -> None:
    def message(call: bytes, ts: int, status: int) -> dict[str, object]:
        return {"payload": b"x", "call_id": call, "ts": ts, "status": status, "from_user": b"u"}

    with LakeWriter(tmp_path) as writer:
        records = [message(b"a", NOON, 486), message(b"a", NOON + 9 * SECOND, 200), message(b"b", NOON, 503)]
        writer.append(build(records))
        first_page(lakes[0], "from_user:u", NOON, NOON + 60 * SECOND, 60)
        found = both(lakes, "from_user:u", NOON + SECOND, NOON + 60 * SECOND)
        assert [sum(found[name].to_pylist()) for name in ("2xx", "4xx", "total")] == [1, 0, 1]
        assert found["start"].cast(pa.int64())[0].as_py() == NOON + 9 * SECOND
    assert known == [True, False]


def test_a_shorter_range_is_looked_at(
    lakes: tuple[Searcher, Searcher], known: list[bool], tmp_path: Path
) -> None:
    with LakeWriter(tmp_path) as writer:
        calls = [
            {"payload": b"x", "call_id": b"%d" % i, "ts": NOON + i * SECOND, "from_user": b"u"}
            for i in range(9)
        ]
        writer.append(build(calls))
        first_page(lakes[0], "from_user:u", NOON, NOON + 60 * SECOND, 60)
        found = both(lakes, "from_user:u", NOON, NOON + 4 * SECOND)
        assert sum(found["total"].to_pylist()) == 4


def test_of_a_search_that_ended_early_nothing_is_remembered(
    lakes: tuple[Searcher, Searcher], known: list[bool], tmp_path: Path
) -> None:
    """Its page was full before all windows of time were looked at."""
    from hepcat.search import statements

    with pytest.MonkeyPatch.context() as patch, LakeWriter(tmp_path) as writer:
        patch.setattr(statements, "_WINDOW_ROWS", 4)
        calls = [
            {"payload": b"x", "call_id": b"%d" % i, "ts": NOON + i * SECOND, "method": b"INVITE"}
            for i in range(200)
        ]
        writer.append(build(calls))
        first_page(lakes[0], "method:INVITE", NOON, NOON + 300 * SECOND, 3)
        found = both(lakes, "method:INVITE", NOON, NOON + 300 * SECOND)
        assert sum(found["total"].to_pylist()) == 200
    assert known == [False, False]


def test_what_was_found_is_forgotten(
    lakes: tuple[Searcher, Searcher], known: list[bool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LakeWriter(tmp_path) as writer:
        writer.append(build([{"payload": b"x", "call_id": b"a", "ts": NOON, "from_user": b"u"}]))
        first_page(lakes[0], "from_user:u", NOON, NOON + SECOND, 60)
        monkeypatch.setattr(remembered, "_KEPT", -1.0)
        both(lakes, "from_user:u", NOON, NOON + SECOND)
        monkeypatch.setattr(remembered, "_KEPT", 10.0)
        both(lakes, "from_user:u", NOON, NOON + SECOND)
        for number in range(remembered._MOST):
            first_page(lakes[0], f"from_user:{number}", NOON, NOON + SECOND, 60)
        both(lakes, "from_user:u", NOON, NOON + SECOND)
    assert known == [False, False, True, False, False, False]
