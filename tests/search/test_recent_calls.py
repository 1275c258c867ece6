"""Searches that find calls in memory, against those that read files."""

import random
import threading
from pathlib import Path

import pytest

from hepcat.search import planned, searcher, statements
from hepcat.search.ast import alternatives, columns_of
from hepcat.search.call_pages import first_page, order, page_of
from hepcat.search.calls import CALL_COLUMN, DEFAULT_FIELDS, columns_read
from hepcat.search.parser import parse_query
from hepcat.search.planned import Planned, Shown
from hepcat.search.searcher import Searcher
from hepcat.stores.lake import Lake
from hepcat.stores.lake.reader import Snapshot
from hepcat.stores.lake.recent import KEPT, LOOKED_FOR
from tests.lake.test_recent import settle
from tests.search.filled import FIRST, filled_lake, until_of
from tests.search.support import NOON, evaluate
from tests.search.test_call_pages import HOUR, world
from tests.search.test_newest_calls import stored

ROWS = 300_000
QUERIES = (
    "call_id:c3", "call_id:c3 OR call_id:C4", "user:u1", "user:w1 status:200", "from_user:u1 OR to_user:x",
    "(from_user:u1 OR from_user:u2) method:BYE", "user:u1 -method:ACK", "-user:u1", "from_user:u*", "",
    "from_user:u1 OR method:BYE", "user:u0 user:x", "user:U1", "call_id:é1 user:u1", "to_user:x ruri_user:x",
    "user:nobody",
)  # fmt: skip


@pytest.fixture
def narrowed(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Note of each relation that was narrowed whether no file has to be read for it."""
    noted: list[bool] = []
    real = Snapshot.narrowed

    def noting(self: Snapshot, wanted: object) -> str | None:
        found = real(self, wanted)  # type: ignore[arg-type]
        if found is not None:
            noted.append("parquet" not in found)
        return found

    monkeypatch.setattr(Snapshot, "narrowed", noting)
    return noted


@pytest.mark.parametrize("seed", range(6))
def test_random_calls(
    seed: int, narrowed: list[bool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statements, "_WINDOW_ROWS", dice_of(seed).choice((4, 100_000)))
    monkeypatch.setattr(searcher, "FEW_MESSAGES", dice_of(seed).choice((10, 20_000)))
    dice = random.Random(seed)
    # Which of two messages of the same moment is a call's first is for DuckDB to say.
    rows = [row | {"ts": row["ts"] + i} for i, row in enumerate(world(dice, dice.choice((20, 45))))]
    steps = stored(tmp_path, rows, dice)
    next(steps)
    with Lake(tmp_path, remember=True) as lake, Lake(tmp_path) as plain:
        recent, looking = Searcher(lake), Searcher(plain)
        for _ in steps:
            if dice.random() < 0.5:
                settle(lake)
            query = dice.choice(QUERIES)
            since = dice.choice((None, NOON, NOON + HOUR, NOON + 24 * HOUR))
            until = dice.choice((None, NOON + 1, NOON + 3 * HOUR, NOON + 49 * HOUR))
            limit = dice.choice((1, 3, 1000))
            names = dice.choice((None, DEFAULT_FIELDS, ["call_id", "retransmissions"], ["state", "end"]))
            found = first_page(recent, query, since, until, limit, names)
            other = page_of(looking, order(looking, query, since, until), limit, None, names)
            assert found.rows.to_pylist() == other.rows.to_pylist(), (query, since, until, names)
            assert found.rows.schema == other.rows.schema
            assert found.next == other.next
    assert narrowed.count(True) > 3


def dice_of(seed: int) -> random.Random:
    return random.Random(f"settings {seed}")


def test_calls_of_traffic(narrowed: list[bool]) -> None:
    """Every default column of hundreds of calls; and the next pages."""
    since, until = FIRST + 60_000_000, until_of(ROWS)
    with Lake(filled_lake(ROWS), remember=True) as lake, Lake(filled_lake(ROWS)) as plain:
        settle(lake)
        recent, looking = Searcher(lake), Searcher(plain)
        page = first_page(recent, "", since, until, 300)
        users = [row["from"].partition("@")[0] for row in page.rows.to_pylist()[:20]]
        for query in ("", *(f'user:"{user}"' for user in users), 'from_user:"1" OR from_user:"2"'):
            found, other = (first_page(s, query, since, until, 300) for s in (recent, looking))
            assert found.rows.equals(other.rows), query
            assert found.next == other.next
    assert narrowed
    assert all(narrowed)


def test_the_default_columns_are_in_memory() -> None:
    """And those that the page links by; a column that is not kept is read from the files."""
    assert columns_read((*DEFAULT_FIELDS, "from_user", "to_user", "end", "duration")) <= KEPT
    assert not columns_read(("retransmissions",)) <= KEPT


@pytest.mark.parametrize("name", sorted(CALL_COLUMN))
def test_columns_that_are_read_are_all_told(name: str) -> None:
    """The statement runs on a relation that has no more than these."""
    import duckdb

    with duckdb.connect() as connection:
        columns = sorted(columns_read((name,)) | {"call_id", "ts", "status", "method"})
        connection.sql(f"CREATE TABLE m AS SELECT {', '.join(f'NULL AS {column}' for column in columns)}")
        names = ["call_id", "ts", "status", "method"]
        types = ["VARCHAR", "TIMESTAMPTZ", "USMALLINT", "VARCHAR"]
        for column, kind in zip(names, types, strict=True):
            connection.sql(f"ALTER TABLE m ALTER {column} TYPE {kind}")
        assert connection.sql(Shown((name,), "start", True).sql("m")).fetchall() == []


@pytest.mark.parametrize("seed", range(3))
def test_alternatives(seed: int) -> None:
    """A row that matches has one of the values; None only where a row without any of them may match."""
    rows = [row | {"ruri_user": row["to_user"]} for row in world(random.Random(seed), 60)]
    told = 0
    for query in QUERIES:
        node = parse_query(query, "sip")
        found = alternatives(node, LOOKED_FOR)
        if found is None:
            continue
        told += 1
        assert set(found) <= columns_of(node)
        for row in rows:
            if evaluate(node, row):
                assert any(row.get(name) in values for name, values in found.items()), (query, row)
    assert told == len(QUERIES) - 4


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("call_id:a", {"call_id": ["a"]}),
        ("user:a method:BYE call_id:b", {"call_id": ["b"]}),
        ("from_user:a OR from_user:b", {"from_user": ["a", "b"]}),
        ("from_user:a OR call_id:b", {"from_user": ["a"], "call_id": ["b"]}),
        ("from_user:a OR status:200", None),
        ("-from_user:a", None),
        ("from_user:a*", None),
        ("status:200", None),
        ("", None),
    ],
)
def test_alternatives_of(query: str, wanted: dict[str, list[str]] | None) -> None:
    assert alternatives(parse_query(query, "sip"), LOOKED_FOR) == wanted


def test_statements_are_planned_once_and_few_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    plans: list[Shown] = []
    real = Planned._plan

    def noting(self: Planned, messages: object, shown: Shown) -> object:
        plans.append(shown)
        return real(self, messages, shown)  # type: ignore[arg-type]

    monkeypatch.setattr(Planned, "_plan", noting)
    monkeypatch.setattr(planned, "_AT_MOST", 2)
    shown = [Shown((name, "call_id"), "start", True) for name in ("state", "from", "to")]
    with Lake(filled_lake(ROWS), remember=True) as lake, lake.snapshot() as snapshot:
        some = "ts < make_timestamptz($1)".replace("$1", str(FIRST + 500_000))
        names = ", ".join(sorted(KEPT))
        messages = snapshot.connection.sql(f"SELECT {names} FROM sip WHERE {some}").to_arrow_table()
        snapshot.connection.register("m", messages)
        wanted = [snapshot.connection.sql(one.sql("m")).to_arrow_table() for one in shown]
        statement = Planned()
        for which in (0, 0, 1, 0, 2, 1, 0):
            assert statement.rows(messages, shown[which]).equals(wanted[which])
            assert statement.rows(messages.slice(0, 0), shown[which]).num_rows == 0
        assert [shown.index(plan) for plan in plans] == [0, 1, 2, 1, 0]
        # Threads do not see each other's messages.
        failures: list[object] = []

        def ask(which: int) -> None:
            for _ in range(20):
                if not statement.rows(messages, shown[which]).equals(wanted[which]):
                    failures.append(which)

        threads = [threading.Thread(target=ask, args=(which,)) for which in (0, 0, 1, 2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert sum(map(len, statement._idle.values())) <= 2
