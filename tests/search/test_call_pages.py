"""Calls by pages: the first page at once and all the others agree, and with a plain reading of the rule."""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from hepcat.errors import HepcatError
from hepcat.search import call_pages, searcher, statements
from hepcat.search.call_pages import Ordered, Page, first_page, order, page_of
from hepcat.search.memory import Memory
from hepcat.search.page_keys import FIRST, LAST, Key, is_behind
from hepcat.search.parser import parse_query
from hepcat.search.remote_searcher import RemoteSearcher
from hepcat.search.searcher import AROUND, Searcher
from hepcat.search.sql_remote import SqlRemote
from hepcat.search.within import Times
from hepcat.stores.lake import Lake, LakeWriter
from tests.lake.make import build
from tests.search.filled import FIRST as BEGIN
from tests.search.filled import filled_lake, until_of
from tests.search.remotes import Call, fill, lake_of
from tests.search.support import NOON, Row, arrow_table, evaluate
from tests.servers import Servers
from tests.stores.sql_support import file_database, fresh

HOUR = 3600 * 1_000_000
QUERIES = (
    "", "method:INVITE", "status:486", "method:BYE", "from:u1", "to:w*", "-method:INVITE", "status:5xx",
    "call_id:c3", "call_id:c3 OR call_id:c5", "from_user:u1 status:200", "(method:BYE OR status:486)",
)  # fmt: skip
SORTS = (
    "start",
    "-start",
    "-duration",
    "duration",
    "status",
    "-status",
    "from",
    "-messages",
    "-answered",
    "call_id",
)


def searcher_of(rows: list[Row]) -> Searcher:
    return Searcher(Memory({"sip": arrow_table(rows)}))


def world(dice: random.Random, calls: int) -> list[Row]:
    """Calls of a second and of two days, some at the very same moment; not in the order of time."""
    rows: list[Row] = []
    for number in range(calls):
        at = NOON + dice.choice((0, 0, dice.randrange(48) * HOUR, dice.randrange(60) * 60_000_000))
        length = dice.choice((0, 1_000_000, HOUR // 2, 20 * HOUR, 30 * HOUR))
        steps = dice.randint(1, 6)
        whose = {
            "call_id": dice.choice((f"c{number}", f"é{number}", f"C{number}")),
            "from_user": f"u{number % 3}",
        }
        if dice.random() < 0.05:
            whose["call_id"] = None
        for step in range(steps):
            method = "INVITE" if step < steps - 1 or steps == 1 else dice.choice(("BYE", "INVITE", "ACK"))
            status = None if step in (0, steps - 1) else dice.choice((100, 180, 200, 486, 503))
            to_user = dice.choice((None, "w1", "x"))
            ts = at + length * step // max(steps - 1, 1)
            rows.append({**whose, "ts": ts, "method": method, "status": status, "to_user": to_user})
    dice.shuffle(rows)
    return rows


def plainly(rows: list[Row], query: str, since: int | None, until: int | None) -> list[tuple[int, str]]:
    """Say the rule again: (start, Call-ID) of the calls that match, newest first."""
    node = parse_query(query, "sip")
    low, high = (since if since is not None else FIRST), (until if until is not None else LAST)
    found = {r["call_id"] for r in rows if low <= r["ts"] < high and evaluate(node, r)} - {None}
    starts: dict[str, int] = {}
    for row in rows:
        if row["call_id"] in found and low - AROUND <= row["ts"] < high + AROUND:
            starts[row["call_id"]] = min(starts.get(row["call_id"], LAST), row["ts"])
    return sorted(((s, i) for i, s in starts.items()), key=lambda c: (-c[0], c[1].encode()))


def ids(table: pa.Table) -> list[str]:
    return list(table["call_id"].to_pylist())


def walked(found: Searcher, ordered: Ordered, limit: int, first: Page | None = None) -> list[dict[str, Any]]:
    """Return the rows of all pages, each reached by the key of the one before, as an API would."""
    page = first or page_of(found, ordered, limit, None, ["call_id", "start", "messages"])
    rows = page.rows.to_pylist()
    while page.next is not None:
        key = Key.from_list(json.loads(json.dumps(page.next.as_list())))
        page = page_of(found, ordered, limit, key, ["call_id", "start", "messages"])
        assert 0 < len(page.rows) <= limit
        rows += page.rows.to_pylist()
    return rows


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows, and numbers that are few, so small that a handful of rows needs several."""
    monkeypatch.setattr(statements, "_WINDOW_ROWS", 4)
    monkeypatch.setattr(searcher, "FEW", 6)
    monkeypatch.setattr(statements, "FEW", 6)
    monkeypatch.setattr(call_pages, "FEW", 6)
    monkeypatch.setattr(call_pages, "_MORE", 1)


@pytest.mark.parametrize("seed", range(5))
def test_random_calls(seed: int, small: None) -> None:
    """The first page, the order, all pages and the plain rule agree."""
    dice = random.Random(seed)
    rows = world(dice, dice.choice((3, 20, 45)))
    lake = searcher_of(rows)
    for query in QUERIES:
        since = dice.choice((None, NOON, NOON + HOUR, NOON + 24 * HOUR))
        until = dice.choice((None, NOON + 1, NOON + 3 * HOUR, NOON + 49 * HOUR))
        wanted = plainly(rows, query, since, until)
        ordered = order(lake, query, since, until)
        assert [(ordered.key(i).start, ordered.key(i).call_id) for i in range(len(ordered))] == wanted, query
        limit = dice.choice((3, 8, 1000))
        names = ["call_id", "start", "messages"]
        first = first_page(lake, query, since, until, limit, names)
        again = page_of(lake, ordered, limit, None, names)
        assert (first.rows.to_pylist(), first.next) == (again.rows.to_pylist(), again.next), (query, limit)
        assert [row["call_id"] for row in walked(lake, ordered, limit, first)] == [i for _, i in wanted]
        starts = {call_id: start for start, call_id in wanted}
        for row in walked(lake, ordered, 2 * limit):
            assert row["start"].timestamp() * 1e6 == pytest.approx(starts[row["call_id"]])


@pytest.mark.parametrize("seed", range(3))
def test_other_orders(seed: int, small: None) -> None:
    """Every column orders as `calls` does without a limit."""
    dice = random.Random(100 + seed)
    lake = searcher_of(world(dice, 30))
    for sort in SORTS:
        query, since, until = dice.choice(QUERIES), NOON + HOUR, NOON + 30 * HOUR
        whole = lake.calls(query, since, until, None, sort, ["call_id", sort.lstrip("-")]).table
        ordered = order(lake, query, since, until, sort)
        assert ids(ordered.table) == ids(whole), (sort, query)
        for i in range(len(ordered)):
            assert ordered.behind(ordered.key(i)) == i + 1
            assert not is_behind(ordered.key(i), ordered.key(i), ordered.descending)
        assert [r["call_id"] for r in walked(lake, ordered, 11)] == ids(whole)
        cut = order(lake, query, since, until, sort, most=5)
        assert ids(cut.table) == ids(whole)[:5]
        assert cut.cut == (len(whole) > 5)
        assert bool(page_of(lake, cut, 5).notes) == cut.cut


def test_one_way_is_taken_only_where_it_is_exact(small: None) -> None:
    """Most first pages come without looking at all; else the tests above would say little."""
    rows = world(random.Random(5), 45)
    lake = searcher_of(rows)
    times = call_pages.Times(NOON, NOON + 49 * HOUR)
    taken = [call_pages._newest(lake, lake.parse(query), times, 3) is not None for query in QUERIES]
    assert taken.count(True) >= 3
    since = NOON + HOUR
    assert any(start < since for start, _ in plainly(rows, "", since, None)), "no call is longer"


def test_pages_while_messages_are_stored(tmp_path: Path) -> None:
    """With one `until`, what is stored meanwhile at later times changes no page by start."""

    def messages(numbers: range, at: int) -> None:
        with LakeWriter(tmp_path) as writer:
            record = {"payload": b"x", "method": b"INVITE"}
            writer.append(build([record | {"call_id": b"c%d" % i, "ts": at + i} for i in numbers]))

    messages(range(50), NOON)
    until = NOON + 1_000_000
    with Lake(tmp_path) as opened:
        lake = Searcher(opened)
        before = order(lake, "", None, until)
        page = first_page(lake, "", None, until, 10, ["call_id"])
        found = ids(page.rows)
        number = 0
        while page.next is not None:
            messages(range(20 * number, 20 * number + 90), until + number)  # of these calls, and of others
            number += 1
            page = page_of(lake, order(lake, "", None, until), 10, page.next, ["call_id"])
            found += ids(page.rows)
        assert number == 4
    assert found == ids(before.table) == [f"c{i}" for i in reversed(range(50))]


def test_a_lake_of_traffic() -> None:
    rows = 300_000
    with Lake(filled_lake(rows)) as opened:
        lake = Searcher(opened)
        since, until = BEGIN + 60_000_000, until_of(rows) - 60_000_000
        for query in ("", "method:INVITE", "status:486", "method:REGISTER status:200"):
            ordered = order(lake, query, since, until)
            first = first_page(lake, query, since, until, 50)
            again = page_of(lake, ordered, 50)
            assert first.rows.equals(again.rows)
            assert first.next == again.next
            assert len(ordered) == min(lake.count(query, since, until), call_pages.MOST)
            later = page_of(lake, ordered, 50, ordered.key(len(ordered) - 10), ["call_id"])
            assert (len(later.rows), later.next) == (9, None)


def test_times_that_are_no_number(small: None) -> None:
    forever = {"ts": LAST, "method": "INVITE", "call_id": "forever"}
    rows = [
        forever,
        {"ts": NOON, "method": "INVITE", "call_id": "now"},
        forever | {"ts": NOON + 5, "call_id": "b"},
    ]
    rows += [{"ts": NOON + i, "call_id": f"n{i}", "method": "INVITE"} for i in range(20, 40)]
    lake = searcher_of(rows)
    ordered = order(lake)
    assert ids(ordered.table)[0] == "forever"
    assert ids(page_of(lake, ordered, 1, None, ["call_id"]).rows) == ["forever"]
    assert ids(page_of(lake, ordered, 50, ordered.key(0), ["call_id"]).rows) == ids(ordered.table)[1:]
    assert ids(first_page(lake, "", None, None, 30, ["call_id"]).rows) == ids(ordered.table)


@pytest.mark.parametrize(
    "given",
    [None, 7, "x", [], [1, 2], [1, 2, 3], [1, "2", "x"], [[1], 2, "x"], [True, 2, "x"], [1, 2**64, "x"],
     [float("nan"), 1, "x"], ["a" * 70_000, 1, "x"], {"value": 1}],
)  # fmt: skip
def test_keys_that_are_none(given: Any) -> None:
    with pytest.raises(HepcatError, match="no place"):
        Key.from_list(given)


def test_a_key_of_another_order() -> None:
    lake = searcher_of(world(random.Random(1), 10))
    with pytest.raises(HepcatError, match="no place"):
        page_of(lake, order(lake), 5, Key("text", 1, "x"))
    with pytest.raises(HepcatError, match="no place"):
        page_of(lake, order(lake, sort="call_id"), 5, Key(7, 1, "x"))
    with pytest.raises(HepcatError, match="no column"):
        order(lake, sort="nothing")


# -- stores elsewhere


@dataclass
class Pair:
    """The same calls in a database and in the lake."""

    store: RemoteSearcher
    lake: Searcher


@pytest.fixture(scope="module", params=["sqlite", "mariadb", "postgres"])
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, servers: Servers
) -> Iterator[Pair]:
    dice = random.Random(3)
    messages = []
    for number in range(40):
        at = NOON + dice.choice((0, dice.randrange(48) * HOUR, dice.randrange(600) * 1_000_000))
        call = Call(f"{'L' * 130 if number == 7 else ''}{number}@x", at, f"u{number % 3}").ask("INVITE")
        call.say(dice.choice((200, 486)), "Said")
        if number % 2:
            call.wait(dice.choice((1, 20)) * HOUR).ask("BYE", 2)
        messages += call.messages
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp(request.param)
        if request.param == "sqlite":
            database = file_database("sqlite", folder, patch)
        else:
            database = fresh(servers, request.param)
        remote = SqlRemote(fill(database, messages))
        yield Pair(RemoteSearcher(remote), lake_of(messages, request.param))
        remote.close()


def test_a_database_gives_the_same_pages(pair: Pair) -> None:
    inner = (NOON + HOUR, NOON + 30 * HOUR)
    for query, times, limit in (
        ("", (None, None), 3),
        ("", inner, 200),
        ("status:486 method:INVITE", inner, 4),
        ("header.Via:*branch*", (None, None), 5),
    ):
        found, wanted = (first_page(s, query, *times, limit) for s in (pair.store, pair.lake))
        assert ids(found.rows) == ids(wanted.rows), (query, times)
        assert found.rows.equals(wanted.rows)
        assert (found.next, found.notes) == (wanted.next, wanted.notes)
    for query, sort in (
        ("", "start"),
        ("status:486", None),
        ("", "-duration"),
        ("method:INVITE", "-answered"),
    ):
        here, there = (order(s, query, *inner, sort) for s in (pair.lake, pair.store))
        assert ids(there.table) == ids(here.table), (query, sort)
        assert [there.key(i) for i in range(len(there))] == [here.key(i) for i in range(len(here))]


def test_a_database_says_where_it_is_not_sure(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    from hepcat.search import remote_pages

    monkeypatch.setattr(remote_pages, "_AT_MOST", 10)
    monkeypatch.setattr(remote_pages, "_A_CALL", 1)
    page = first_page(pair.store, "method:BYE", None, None, 5)
    assert len(page.rows) == 5
    assert any("narrow" in note for note in page.notes)
    monkeypatch.setattr(remote_pages, "MOST_READ", 10)
    with pytest.raises(HepcatError, match="cannot put"):
        order(pair.store, sort="-duration")


def test_an_order_that_would_be_too_large_is_cut() -> None:
    ids = [f"{n:05}@{'long.' * 100}example.org" for n in range(1000)]
    numbers = list(range(1000))
    table = pa.table({"call_id": ids, "value": numbers, "start": numbers, "end": numbers})
    whole = Ordered("start", False, table, False, Times())
    assert whole.within(table.nbytes) is whole
    cut = whole.within(100_000)
    assert cut.cut
    assert 80_000 < cut.table.nbytes <= 100_000
    assert cut.table.equals(table.slice(0, len(cut)))
    assert len(whole.within(1)) == 1
