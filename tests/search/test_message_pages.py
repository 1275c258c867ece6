"""Messages by pages: each once, in one order, whatever is stored at the same microsecond."""

import json
import random
from pathlib import Path

import pytest

from hepcat.errors import HepcatError
from hepcat.search import message_pages, statements
from hepcat.search.memory import Memory
from hepcat.search.message_pages import message_page
from hepcat.search.page_keys import LAST, MessageKey
from hepcat.search.remote_searcher import RemoteSearcher
from hepcat.search.searcher import Searcher
from hepcat.stores.lake import Lake, LakeWriter
from tests.lake.make import build
from tests.search.remotes import Message, lake_of, opened, usual
from tests.search.support import NOON, Row, arrow_table
from tests.servers import Servers

FIELDS = ["ts", "call_id", "status", "src_ip"]


def walk(
    found: "Searcher | RemoteSearcher",
    query: str,
    limit: int,
    since: int | None = None,
    until: int | None = None,
) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    key = None
    while True:
        page = message_page(found, query, since, until, limit, FIELDS, key)
        assert page.rows.column_names == FIELDS
        rows += page.rows.to_pylist()
        if page.next is None:
            return rows
        assert len(page.rows) == limit
        key = MessageKey.from_list(json.loads(json.dumps(page.next.as_list())))


def world(seed: int) -> list[Row]:
    dice = random.Random(seed)
    rows: list[Row] = []
    for i in range(60):
        status, call_id = dice.choice((None, 200, 486)), dice.choice((None, "a", f"c{i}"))
        rows.append(
            {"ts": NOON + dice.choice((0, 0, dice.randrange(50))), "status": status, "call_id": call_id,
             "src_ip": f"10.0.0.{dice.randrange(3)}", "method": "INVITE", "payload": b"x"}
        )  # fmt: skip
    return rows


@pytest.mark.parametrize("seed", range(3))
def test_every_message_once(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statements, "_WINDOW_ROWS", 7)
    rows = world(seed)
    lake = Searcher(Memory({"sip": arrow_table(rows)}))
    backwards = Searcher(Memory({"sip": arrow_table(rows[::-1])}))
    for query, since, until in (
        ("", None, None),
        ("status:200", NOON, NOON + 30),
        ("status:5xx", None, None),
    ):
        whole = lake.messages(query, since, until, fields=FIELDS).table.to_pylist()
        for limit in (5, 500):
            found = walk(lake, query, limit, since, until)
            assert found == walk(backwards, query, limit, since, until), "the order is the messages' own"
            assert [row["ts"] for row in found] == [row["ts"] for row in whole]
            assert sorted(map(str, found)) == sorted(map(str, whole))


def test_while_messages_are_stored(tmp_path: Path) -> None:
    def store(at: int, rows: int) -> None:
        with LakeWriter(tmp_path) as writer:
            writer.append(
                build([{"payload": b"x", "call_id": b"c%d" % i, "ts": at + i // 3} for i in range(rows)])
            )

    store(NOON, 60)
    until, key, found = NOON + 1000, None, []
    with Lake(tmp_path) as opened_lake:
        lake = Searcher(opened_lake)
        while True:
            page = message_page(lake, "", None, until, 7, FIELDS, key)
            found += page.rows["call_id"].to_pylist()
            store(until, 20)
            key = page.next
            if key is None:
                break
    assert sorted(found) == sorted(f"c{i}" for i in range(60))


def test_times_that_are_no_number() -> None:
    rows = [{"ts": LAST, "call_id": f"f{i}"} for i in range(5)] + [{"ts": NOON, "call_id": "now"}]
    lake = Searcher(Memory({"sip": arrow_table(rows)}))
    found, key = [], None
    for _ in range(3):
        page = message_page(lake, "", None, None, 2, ["call_id"], key)
        found += page.rows["call_id"].to_pylist()
        key = page.next
    assert key is None
    assert found == ["f0", "f1", "f2", "f3", "f4", "now"]


@pytest.mark.parametrize(
    "given", [None, [], [1], [1, 2, 3], [1, -1], ["1", 2], [1, True], [2**70, 0], [1, 2**40]]
)
def test_keys_that_are_none(given: object) -> None:
    with pytest.raises(HepcatError, match="no place"):
        MessageKey.from_list(given)


def test_too_many_of_one_time() -> None:
    with pytest.raises(HepcatError, match="have the same time"):
        message_page(Searcher(Memory({})), "", after=MessageKey(1, message_pages.MOST_AT_ONCE + 1))


@pytest.mark.parametrize("kind", ["sqlite", "mariadb"])
def test_of_a_database(
    kind: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, servers: Servers
) -> None:
    same = [Message(m.payload, NOON + 7) for m in usual()[:30]]
    messages = [*usual(), *same]
    lake = lake_of(messages, kind)
    with opened(kind, messages, tmp_path_factory.mktemp(kind), monkeypatch, servers) as store:
        for query in ("", "method:INVITE", "header.Expires:3600"):
            assert walk(store, query, 11) == walk(lake, query, 11)
