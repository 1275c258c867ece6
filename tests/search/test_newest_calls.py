"""The newest calls of a lake that keeps in memory when calls began, against the rule said plainly."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hepcat.config.lake import LakeSettings
from hepcat.search import call_pages, newest_calls, statements
from hepcat.search.call_pages import first_page, order, page_of
from hepcat.search.searcher import Searcher
from hepcat.stores.lake import Lake, LakeWriter, starts
from hepcat.stores.lake.compact import Compactor
from tests.lake.make import build
from tests.search.filled import FIRST, filled_lake, until_of
from tests.search.support import NOON, Row
from tests.search.test_call_pages import HOUR, QUERIES, plainly, world
from tests.support import wait_for


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Note for each first page whether it came from memory."""
    noted: list[bool] = []
    real: Callable[..., object] = newest_calls.newest_calls

    def noting(*arguments: object) -> object:
        found = real(*arguments)
        noted.append(found is not None)
        return found

    monkeypatch.setattr(call_pages, "newest_calls", noting)
    return noted


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows so small that a handful of rows needs several."""
    monkeypatch.setattr(statements, "_WINDOW_ROWS", 4)


def stored(folder: Path, rows: list[Row], dice: random.Random) -> Iterator[None]:
    """Store rows as a server does: sealed files, some of them merged, and a journal that is still written."""
    settings = LakeSettings(journal_rows=dice.choice((4, 9, 1000)), compact_files=3)
    records = [
        {"payload": b"x"}
        | {k: v.encode() if isinstance(v, str) else v for k, v in row.items() if v is not None}
        for row in rows
    ]
    with LakeWriter(folder, settings) as writer:
        while records:
            size = dice.randint(1, 12)
            writer.append(build(records[:size]))
            records = records[size:]
            yield


@pytest.mark.parametrize("seed", range(4))
def test_random_calls(seed: int, small: None, taken: list[bool], tmp_path: Path) -> None:
    """What is found in memory is what the rule says, also while more is stored."""
    dice = random.Random(seed)
    rows = world(dice, dice.choice((3, 20, 45)))
    steps = stored(tmp_path, rows, dice)
    next(steps)
    with Lake(tmp_path, remember=True) as lake, Lake(tmp_path) as plain:
        for _ in steps:
            first_page(Searcher(lake), "", limit=3)
            if dice.random() < 0.9:
                continue
            compare(lake, plain, dice, None)
        compare(lake, plain, dice, rows)
    assert taken.count(True) > 0.9 * len(taken)


def compare(lake: Lake, plain: Lake, dice: random.Random, rows: list[Row] | None) -> None:
    for query in QUERIES:
        since = dice.choice((None, NOON, NOON + HOUR, NOON + 24 * HOUR))
        until = dice.choice((None, NOON + 1, NOON + 3 * HOUR, NOON + 49 * HOUR))
        limit = dice.choice((1, 3, 8, 1000))
        names = ["call_id", "start", "messages"]
        found = first_page(Searcher(lake), query, since, until, limit, names)
        other = page_of(Searcher(plain), order(Searcher(plain), query, since, until), limit, None, names)
        assert (found.rows.to_pylist(), found.next) == (other.rows.to_pylist(), other.next), (query, limit)
        if rows is not None:
            wanted = [call_id for _, call_id in plainly(rows, query, since, until)][:limit]
            assert found.rows["call_id"].to_pylist() == wanted, query


def test_a_call_that_began_more_than_a_day_before(taken: list[bool], tmp_path: Path) -> None:
    """Its start is that of its first message within a day before the range, as without memory."""
    at = [NOON - 40 * HOUR, NOON - 20 * HOUR, NOON + HOUR]
    rows = [{"call_id": b"long", "ts": ts, "method": b"REGISTER", "payload": b"x"} for ts in at]
    rows.append({"call_id": b"short", "ts": NOON + HOUR - 1, "method": b"INVITE", "payload": b"x"})
    with LakeWriter(tmp_path) as writer:
        writer.append(build(rows))
    with Lake(tmp_path, remember=True) as lake:
        found = first_page(Searcher(lake), "", NOON, None, 10, ["call_id", "start"]).rows.to_pylist()
    assert [(row["call_id"], row["start"].timestamp() * 1e6) for row in found] == [
        ("short", NOON + HOUR - 1),
        ("long", NOON - 20 * HOUR),
    ]
    assert taken == [True]


def test_times_that_are_no_number_are_left_to_others(taken: list[bool], tmp_path: Path) -> None:
    with LakeWriter(tmp_path) as writer:
        message = {"method": b"INVITE", "payload": b"x"}
        writer.append(
            build([message | {"call_id": b"now", "ts": NOON}, message | {"call_id": b"z", "ts": 2**63 - 1}])
        )
    with Lake(tmp_path, remember=True) as lake:
        found = first_page(Searcher(lake), "", None, None, 10, ["call_id"])
    assert found.rows["call_id"].to_pylist() == ["z", "now"]
    assert taken == []  # it was not even asked


def test_the_next_pages_come_with_the_first(taken: list[bool]) -> None:
    rows = 300_000
    with Lake(filled_lake(rows), remember=True) as lake:
        found, until = Searcher(lake), until_of(rows)
        page = first_page(found, "method:INVITE", None, until, 60)
        whole = order(found, "method:INVITE", None, until)
        assert page.of is not None
        assert page.next is not None
        assert 1000 < len(page.of) < len(whole)
        assert page.of.table["call_id"].to_pylist() == whole.table["call_id"].to_pylist()[: len(page.of)]
        second, same = (page_of(found, ordered, 240, page.next) for ordered in (page.of, whole))
        assert second.rows.equals(same.rows)
        assert second.next == same.next
    assert taken == [True]


def test_large_files_are_read_behind_the_search(taken: list[bool], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starts, "_LARGE", 1000)
    rows = 300_000
    since, until = FIRST + 60_000_000, until_of(rows) - 60_000_000
    with Lake(filled_lake(rows), remember=True) as lake:
        found = Searcher(lake)
        wanted = first_page(found, "method:INVITE", since, until, 50)
        assert taken == []

        def ready() -> bool:
            again = first_page(found, "method:INVITE", since, until, 50)
            assert again.rows.equals(wanted.rows)
            assert again.next == wanted.next
            return bool(taken)

        wait_for(ready, 60, "the starts of all files")
        for query in ("", "status:486", "method:REGISTER status:200", "from_user:nobody"):
            some = first_page(found, query, until - 5_000_000, until, 50)
            assert some.rows.equals(page_of(found, order(found, query, until - 5_000_000, until), 50).rows)


def test_more_calls_than_may_be_kept(taken: list[bool], monkeypatch: pytest.MonkeyPatch) -> None:
    """Then nothing is read for nothing, and what is found is the same."""
    monkeypatch.setattr(starts, "_AT_MOST", 1000)
    rows = 300_000
    with Lake(filled_lake(rows), remember=True) as lake, Lake(filled_lake(rows)) as plain:
        found = first_page(Searcher(lake), "", None, until_of(rows), 50)
        assert found.rows.equals(first_page(Searcher(plain), "", None, until_of(rows), 50).rows)
        assert lake._starts is not None
        assert not lake._starts._known
    assert taken == []


def test_merged_files_are_not_read_again(taken: list[bool], tmp_path: Path) -> None:
    """Not even where numbers of a merged file's records are far apart, as after an import."""
    read: list[str] = []
    real = starts.read_calls

    def reading(connection: object, relation: str, **options: object) -> object:
        read.append(relation)
        return real(connection, relation, **options)  # type: ignore[arg-type]

    dice = random.Random(3)
    settings = LakeSettings(journal_rows=10, compact=False)
    calls = [b"%d" % dice.randrange(30) for _ in range(95)]
    with LakeWriter(tmp_path, settings) as writer:
        for i, call in enumerate(calls):
            writer.append(build([{"payload": b"x", "call_id": call, "ts": NOON + 1_000_000 * i}]))
    (tmp_path / "journal" / ".sequence").write_text(f"{2**41:020d}")
    with LakeWriter(tmp_path, settings) as writer:
        writer.append(build([{"payload": b"x", "call_id": b"7", "ts": NOON + 200_000_000}] * 11))
    with Lake(tmp_path, remember=True) as lake, pytest.MonkeyPatch.context() as patch:
        before = first_page(Searcher(lake), "", NOON, None, 50)
        assert lake._starts is not None
        assert len(lake._starts._known) > 5
        compactor = Compactor(tmp_path, LakeSettings(compact_files=2, delete_after=0), lambda *_: None)
        while compactor.step():
            pass
        patch.setattr(starts, "read_calls", reading)
        after = first_page(Searcher(lake), "", NOON, None, 50)
        assert after.rows.equals(before.rows)
        assert read == []  # not even the journal, which is empty
        assert len(lake._starts._known) == 1
        (known,) = lake._starts._known
        assert known.last - known.first > 2**40
    assert taken == [True, True]


def test_the_longest_unused_file_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with LakeWriter(tmp_path, LakeSettings(journal_rows=20, compact=False)) as writer:
        for hour in range(6):
            calls = [b"%d-%d" % (hour, i) for i in range(20)]
            at = NOON + 30 * hour * HOUR
            writer.append(build([{"payload": b"x", "call_id": call, "ts": at} for call in calls]))
    monkeypatch.setattr(starts, "_AT_MOST", 45)
    with Lake(tmp_path, remember=True) as lake:
        for hour in range(6):
            at = NOON + 30 * hour * HOUR
            found = first_page(Searcher(lake), "", at, at + HOUR, 50, ["call_id"])
            assert sorted(found.rows["call_id"].to_pylist()) == sorted(f"{hour}-{i}" for i in range(20))
        assert lake._starts is not None
        assert 1 <= len(lake._starts._known) <= 2


def test_read_ahead(taken: list[bool], monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has warmed a lake finds from memory at once."""
    monkeypatch.setattr(starts, "_LARGE", 1000)
    rows = 300_000
    with Lake(filled_lake(rows), remember=True) as lake:
        lake.warm(FIRST)
        assert lake._starts is not None
        if reading := lake._starts._reading:
            reading.join()
        first_page(Searcher(lake), "", None, until_of(rows), 50)
    assert taken == [True]
