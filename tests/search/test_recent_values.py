"""Values for completion: distinct, by their beginning, the newest and most frequent first."""

import pytest

from hepcat.errors import HepcatError
from hepcat.search import recent_values, statements
from hepcat.search.fields import Kind, fields_of
from hepcat.search.memory import Memory
from hepcat.search.recent_values import values
from hepcat.search.searcher import Searcher
from tests.search.remotes import lake_of, opened, usual
from tests.search.support import NOON, Row, arrow_table
from tests.servers import Servers


def lake_with(rows: list[Row]) -> Searcher:
    return Searcher(Memory({"sip": arrow_table(rows)}))


ROWS: list[Row] = [
    {"ts": NOON, "from_user": "Alice", "from_domain": "a.org", "to_user": "bob", "to_domain": "b.org"},
    {"ts": NOON + 1, "from_user": "alice", "from_domain": "A.org", "src_ip": "10.0.0.1", "status": 486},
    {"ts": NOON + 2, "from_user": "alice", "dst_ip": "2001:db8::1", "dst_port": 5061, "node_id": 7},
    {"ts": NOON + 3, "contact_user": "al'ice%", "user_agent": "sip", "node_name": "here", "method": "INVITE"},
    {"ts": NOON + 4, "ruri_user": "", "user_agent": "x" * 500, "extra": {"X-Foo": "Bar"},
     "payload": b"OPTIONS sip:x SIP/2.0\r\nX-Two: Words here\r\n\r\n"},
]  # fmt: skip


@pytest.mark.parametrize(
    ("field", "prefix", "wanted"),
    [
        ("user", "", ["alice", "Alice", "al'ice%", "bob"]),
        ("user", "AL", ["alice", "Alice", "al'ice%"]),
        ("number", "al'ice%", ["al'ice%"]),
        ("from", "b", []),
        ("user", "alice@", ["Alice@a.org", "alice@A.org"]),
        ("user", "@B", ["@b.org"]),
        ("from", "@", ["@A.org", "@a.org"]),
        ("domain", "", ["A.org", "a.org", "b.org"]),
        ("ip", "", ["10.0.0.1", "2001:db8::1"]),
        ("port", "50", ["5061"]),
        ("status", "4", ["486"]),
        ("node", "", ["7", "here"]),
        ("ua", "", ["sip"]),
        ("Method", "i", ["INVITE"]),
        ("extra.x-foo", "b", ["Bar"]),
        ("header.X-Two", "w", ["Words here"]),
        ("ts", "", []),
        ("payload", "", []),
        ("user", "x" * 10_000, []),
        ("user", "' OR 1=1 --", []),
    ],
)
def test_values(field: str, prefix: str, wanted: list[str]) -> None:
    found = values(lake_with(ROWS), field, prefix)
    assert found == wanted


def test_every_field_has_an_answer() -> None:
    lake = lake_with(ROWS)
    for field in fields_of().values():
        found = values(lake, field.name)
        assert found == list(dict.fromkeys(found))
        if field.kind in (Kind.TIME, Kind.PAYLOAD):
            assert found == []
    with pytest.raises(HepcatError, match="no field 'usr'") as error:
        values(lake, "usr")
    assert "user" in error.value.hint


def test_the_newest_first_and_no_further_than_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statements, "_WINDOW_ROWS", 10)
    rows = [{"ts": NOON + i, "from_user": f"u{i // 10:02d}"} for i in range(1000)]
    lake = lake_with(rows)
    assert values(lake, "from_user", limit=1) == ["u99"]
    found = values(lake, "from_user", limit=3)
    assert found[0] == "u99"
    assert len(found) == 3
    assert values(lake, "from_user", "u00") == [], "only recent messages are looked at"
    assert values(lake, "from_user", "u00", until=NOON + 20) == ["u00"]
    assert len(values(lake, "from_user", limit=10**9)) <= recent_values.MOST


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_of_a_database(
    kind: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, servers: Servers
) -> None:
    lake = lake_of(usual(), kind)
    with opened(kind, usual(), tmp_path_factory.mktemp(kind), monkeypatch, servers) as store:
        for field, prefix in (("user", "+49"), ("domain", ""), ("method", ""), ("ip", "2001"), ("ua", "T")):
            found = values(store, field, prefix)
            assert found == values(lake, field, prefix)
            assert found
