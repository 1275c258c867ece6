"""Calls: the row that each scenario gives, which calls match, and in which order they come."""

import random
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest

from hepcat.errors import HepcatError
from hepcat.search.calls import CALL_COLUMNS, STATES
from hepcat.search.columns import call_fields, call_sort
from hepcat.search.memory import Memory
from hepcat.search.searcher import AROUND, Searcher
from hepcat.search.within import Times
from hepcat.stores.lake.arrow import to_arrow
from tests.search.remotes import SECOND, Call, batch_of, hostile, usual
from tests.search.support import NOON, Row, Source

A, B = ("10.0.0.1", 5060), ("10.0.0.2", 5080)
PHRASES = {
    100: "Trying", 180: "Ringing", 183: "Session Progress", 200: "OK", 302: "Moved Temporarily",
    401: "Unauthorized", 403: "Forbidden", 407: "Proxy Authentication Required", 408: "Request Timeout",
    480: "Temporarily Unavailable", 486: "Busy Here", 487: "Request Terminated", 500: "Server Error",
    603: "Decline",
}  # fmt: skip


def scenario(call_id: str, steps: Sequence[Any], start: int = NOON, **common: Any) -> list[Row]:
    """Make messages of steps (milliseconds, "METHOD" or (status, "METHOD"), more columns)."""
    rows: list[Row] = []
    cseq = 0
    for at, what, *more in steps:
        extra = more[0] if more else {}
        status, method = what if isinstance(what, tuple) else (None, what)
        back = bool(extra.pop("back", False)) if extra else False
        if status is None and method not in ("ACK", "CANCEL") and not extra.pop("again", False):
            cseq += 1
        src, dst = (A, B) if (status is None) != back else (B, A)
        row: Row = {
            "ts": start + round(at * 1000), "transport": "udp", "method": method, "status": status,
            "reason_phrase": PHRASES.get(status) if status else None, "call_id": call_id,
            "src_ip": src[0], "src_port": src[1], "dst_ip": dst[0], "dst_port": dst[1],
            "from_user": "alice", "from_domain": "example.com", "from_tag": "ft", "to_user": "bob",
            "to_domain": "example.org", "to_tag": "tt" if status and status > 100 else None,
            "cseq": f"{cseq} {method}", "via_1_branch": f"z9hG4bK-{cseq}-{method}",
            "user_agent": "Phone" if status is None else "Gateway",
            "payload": f"{method} {status or ''}".encode(),
            "ruri": "sip:bob@example.org" if status is None else None,
            **common, **extra,
        }  # fmt: skip
        rows.append(row)
    return rows


SUCCESS = [
    (0, "INVITE"), (10, (100, "INVITE")), (500, (180, "INVITE")), (3500, (200, "INVITE")), (3510, "ACK"),
    (63500, "BYE", {"reason": "Q.850;cause=16"}), (63520, (200, "BYE")),
]  # fmt: skip

SCENARIOS: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "success": (
        SUCCESS,
        {"state": "completed", "status": 200, "phrase": "OK", "post_dial_delay": 0.5, "ring_time": 3.0,
         "talk_time": 60.0, "messages": 7, "method": "INVITE", "source": "10.0.0.1:5060",
         "destination": "10.0.0.2:5080", "from": "alice@example.com", "to": "bob@example.org",
         "duration": 63.52, "user_agent": "Phone", "server": "Gateway", "reason": "Q.850;cause=16",
         "retransmissions": 0, "to_tag": "tt", "malformed": 0},
    ),
    "in call": (SUCCESS[:5], {"state": "in call", "status": 200, "talk_time": None, "ring_time": 3.0}),
    "ringing": (SUCCESS[:3], {"state": "ringing", "status": 180, "phrase": "Ringing", "ring_time": None,
                              "post_dial_delay": 0.5}),
    "trying": (SUCCESS[:2], {"state": "trying", "status": 100, "post_dial_delay": None}),
    "no reply": (SUCCESS[:1], {"state": "no reply", "status": None, "phrase": None}),
    "answered at once": ([(0, "INVITE"), (200, (200, "INVITE")), (5200, "BYE", {"back": True})],
                         {"state": "completed", "post_dial_delay": 0.2, "ring_time": None, "talk_time": 5.0}),
    "busy": ([*SUCCESS[:2], (700, (486, "INVITE")), (710, "ACK")],
             {"state": "busy", "status": 486, "phrase": "Busy Here", "post_dial_delay": None}),
    "busy after ringing": ([*SUCCESS[:3], (2500, (486, "INVITE"))], {"state": "busy", "ring_time": 2.0}),
    "cancelled": ([*SUCCESS[:3], (4500, "CANCEL"), (4510, (200, "CANCEL")), (4520, (487, "INVITE")),
                   (4530, "ACK")],
                  {"state": "cancelled", "status": 487, "ring_time": 4.0, "talk_time": None}),
    "cancelled, 487 not seen": ([*SUCCESS[:3], (4500, "CANCEL")],
                                {"state": "cancelled", "status": 180, "ring_time": 4.0}),
    "cancel too late": ([*SUCCESS[:5], (3511, "CANCEL"), (3512, (481, "CANCEL"))],
                        {"state": "in call", "status": 200}),
    "no answer": ([*SUCCESS[:3], (30500, (408, "INVITE"))], {"state": "no answer", "ring_time": 30.0}),
    "unavailable": ([*SUCCESS[:2], (50, (480, "INVITE"))], {"state": "no answer"}),
    "forbidden": ([(0, "INVITE"), (5, (403, "INVITE"))], {"state": "rejected", "status": 403}),
    "declined": ([(0, "INVITE"), (5, (603, "INVITE"))], {"state": "rejected"}),
    "server error": ([(0, "INVITE"), (5, (500, "INVITE"))], {"state": "failed"}),
    "redirected": ([(0, "INVITE"), (5, (302, "INVITE"))], {"state": "redirected"}),
    "auth then success": (
        [(0, "INVITE"), (5, (407, "INVITE")), (6, "ACK"), (10, "INVITE"), (20, (180, "INVITE")),
         (1020, (200, "INVITE")), (1021, "ACK"), (2020, "BYE"), (2030, (200, "BYE"))],
        {"state": "completed", "status": 200, "post_dial_delay": 0.02, "ring_time": 1.0, "talk_time": 1.0},
    ),
    "auth asked": ([(0, "INVITE"), (5, (407, "INVITE")), (6, "ACK")],
                   {"state": "auth required", "status": 407, "phrase": "Proxy Authentication Required"}),
    "auth under way": ([(0, "INVITE"), (5, (407, "INVITE")), (6, "ACK"), (10, "INVITE")],
                       {"state": "trying"}),
    "auth then forbidden": ([(0, "INVITE"), (5, (407, "INVITE")), (10, "INVITE"), (15, (403, "INVITE"))],
                            {"state": "rejected", "status": 403}),
    "failed re-INVITE": ([*SUCCESS[:5], (5000, "INVITE"), (5010, (488, "INVITE")), *SUCCESS[5:]],
                         {"state": "completed", "status": 200, "talk_time": 60.0}),
    "retransmission": ([(0, "INVITE"), (500, "INVITE", {"again": True}), (510, (100, "INVITE")),
                        (600, (180, "INVITE")), (700, (180, "INVITE"))],
                       {"state": "ringing", "messages": 5, "retransmissions": 2, "post_dial_delay": 0.6}),
    "begins with a response": ([(0, (180, "INVITE")), (100, (200, "INVITE"))],
                               {"state": "in call", "source": "10.0.0.1:5060", "destination": "10.0.0.2:5080",
                                "post_dial_delay": None, "ring_time": 0.1}),
    "only the end": ([(0, "BYE"), (10, (200, "BYE"))],
                     {"state": "succeeded", "method": "BYE", "talk_time": None}),
    "only an ACK": ([(0, "ACK")], {"state": None, "method": "ACK"}),
    "no method": ([(0, None, {"malformed": "start_line"})], {"state": None, "malformed": 1}),
    "registered": (
        [(0, "REGISTER"), (5, (401, "REGISTER")), (10, "REGISTER", {"expires": 600, "auth_user": "al"}),
         (15, (200, "REGISTER"))],
        {"state": "registered", "status": 200, "auth_user": "al"},
    ),
    "unregistered": ([(0, "REGISTER", {"expires": 0}), (5, (200, "REGISTER"))], {"state": "unregistered"}),
    "registration challenged": ([(0, "REGISTER"), (5, (401, "REGISTER"))], {"state": "auth required"}),
    "registration refused": ([(0, "REGISTER"), (5, (401, "REGISTER")), (10, "REGISTER"),
                              (15, (403, "REGISTER"))], {"state": "rejected"}),
    "registration broken": ([(0, "REGISTER"), (5, (500, "REGISTER"))], {"state": "failed"}),
    "registration unheard": ([(0, "REGISTER")], {"state": "no reply"}),
    "options": ([(0, "OPTIONS"), (5, (200, "OPTIONS"))], {"state": "succeeded", "method": "OPTIONS"}),
    "options refused": ([(0, "OPTIONS"), (5, (404, "OPTIONS"))], {"state": "failed", "status": 404}),
    "options unheard": ([(0, "OPTIONS")], {"state": "no reply"}),
    "subscribe challenged": ([(0, "SUBSCRIBE"), (5, (401, "SUBSCRIBE"))], {"state": "auth required"}),
    "message pending": ([(0, "MESSAGE"), (5, (100, "MESSAGE"))], {"state": "trying"}),
    "request and response in one microsecond": ([(0, "OPTIONS"), (0, (200, "OPTIONS"))],
                                                {"state": "succeeded", "source": "10.0.0.1:5060"}),
}  # fmt: skip


@pytest.mark.parametrize("name", SCENARIOS)
def test_row_of_a_scenario(name: str) -> None:
    steps, expected = SCENARIOS[name]
    rows = scenario("c1", [(s[0], s[1], dict(s[2])) if len(s) > 2 else s for s in steps])
    random.Random(1).shuffle(rows)
    found = Searcher(Source(rows)).calls("", fields=[c.name for c in CALL_COLUMNS]).table.to_pylist()
    assert len(found) == 1
    assert {key: found[0][key] for key in expected} == expected


def test_every_state_has_a_scenario() -> None:
    shown = {expected.get("state") for _, expected in SCENARIOS.values()}
    assert {state.name for state in STATES} <= shown
    assert len({(s.kind, s.sql) for s in STATES}) == len(STATES)


def test_every_column_of_calls_runs_alone_and_sorts() -> None:
    searcher = Searcher(Source(scenario("c1", [(s[0], s[1]) for s in SUCCESS])))
    for column in CALL_COLUMNS:
        table = searcher.calls("", fields=[column.name], sort=f"-{column.name}").table
        assert table.column_names == [column.name]
        assert len(table) == 1
        assert column.doc


def test_a_column_alone_says_what_it_says_among_all() -> None:
    """Only what the wanted columns need is computed: nothing that they need may be missing."""
    rows = [
        row
        for name, (steps, _) in SCENARIOS.items()
        for row in scenario(name, [(s[0], s[1], dict(s[2])) if len(s) > 2 else s for s in steps])
    ]
    searcher = Searcher(Source(rows))
    every = searcher.calls("", fields=[c.name for c in CALL_COLUMNS]).table
    assert len(every) == len(SCENARIOS)
    for column in CALL_COLUMNS:
        assert searcher.calls("", fields=[column.name]).table[column.name] == every[column.name]


def calls_at(starts: Sequence[int], name: str = "c") -> list[Row]:
    rows = [
        row
        for i, at in enumerate(starts)
        for row in scenario(f"{name}{i}", [(s[0], s[1]) for s in SUCCESS], at)
    ]
    random.Random(2).shuffle(rows)
    return rows


def ids(table: Any) -> list[str]:
    return list(table["call_id"].to_pylist())


def test_newest_first_and_cut() -> None:
    searcher = Searcher(Source(calls_at([NOON + i * 1_000_000 for i in range(10)])))
    found = searcher.calls("", limit=3)
    assert ids(found.table) == ["c9", "c8", "c7"]
    assert found.cut
    assert ids(searcher.calls("").table) == [f"c{i}" for i in range(9, -1, -1)]
    assert not searcher.calls("", limit=10).cut
    assert ids(searcher.calls("", limit=2, sort="start").table) == ["c0", "c1"]
    assert ids(searcher.calls("", sort="start").table) == [f"c{i}" for i in range(10)]


def test_windows_do_not_change_what_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from hepcat.search import statements as module

    rng = random.Random(3)
    rows = calls_at([NOON + rng.randrange(3_600_000_000) for _ in range(60)])
    rows += scenario("late", [(s[0], s[1]) for s in SUCCESS], NOON - 7_200_000_000, user_agent="Rare")
    searcher = Searcher(Source(rows))
    for query in ("", "method:BYE", "ua:Rare", "ua:none"):
        monkeypatch.setattr(module, "_WINDOW_ROWS", 10_000_000)
        plain = [searcher.calls(query, limit=n).table for n in (5, 500)]
        plain += [searcher.messages(query, limit=n).table for n in (7, 2000)]
        monkeypatch.setattr(module, "_WINDOW_ROWS", 20)
        windows = [searcher.calls(query, limit=n).table for n in (5, 500)]
        windows += [searcher.messages(query, limit=n).table for n in (7, 2000)]
        for a, b in zip(plain, windows, strict=True):
            assert a.to_pylist() == b.to_pylist(), query


def test_a_first_window_is_small_where_messages_came_in_a_burst(monkeypatch: pytest.MonkeyPatch) -> None:
    from hepcat.search import statements as module

    monkeypatch.setattr(module, "_WINDOW_ROWS", 50)
    hour = 3_600_000_000
    at = [NOON + i * hour // 300 for i in range(300)]
    at += [NOON + hour - 20_000_000 + i * 20_000 for i in range(1000)]
    one = calls_at([NOON])[0]
    rows = [{**one, "call_id": f"c{i}", "ts": ts} for i, ts in enumerate(at)]
    searcher = Searcher(Source(rows))
    for times in (Times(NOON, NOON + hour), Times(NOON, NOON + 2 * hour), Times(NOON, None), Times()):
        with searcher._moment(times) as snapshot:
            windows = searcher._windows(snapshot, times)
        sizes = [searcher.count("", w.since, w.until, messages=True) for w in windows]
        assert sum(sizes) == len(rows)
        if times.until == NOON + hour:
            assert 30 <= sizes[0] <= 100


def test_looking_at_the_newest_matches_first_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from hepcat.search import statements as module

    rng = random.Random(4)
    rows = calls_at([NOON + rng.randrange(100) * 1_000_000 for _ in range(60)])
    for row in rows:
        row["from_user"] = rng.choice(["alice", "alice", "bob"])
    searcher = Searcher(Source(rows))
    newest = sorted(rows, key=lambda r: (-r["ts"], -(r["status"] or 0), r["call_id"]))
    for query, users in (("from_user:alice", ["alice"]), ("from_user:(alice OR bob)", ["alice", "bob"])):
        wanted = [r for r in newest if r["from_user"] in users]
        order = list(
            dict.fromkeys(r["call_id"] for r in sorted(wanted, key=lambda r: (-r["ts"], r["call_id"])))
        )
        for limit in (3, 59, 100):
            for growth in ((1, 2), (8, 32, 128)):
                monkeypatch.setattr(module, "_MATCHES_A_ROW", growth)
                found = searcher.calls(query, limit=limit)
                assert sorted(ids(found.table)) == sorted(order[:limit])
                assert found.cut == (len(order) > limit)
                assert {r["messages"] for r in found.table.to_pylist()} == {7}
            messages = searcher.messages(query, limit=limit)
            assert messages.table["call_id"].to_pylist() == [r["call_id"] for r in wanted[:limit]]
            assert messages.cut == (len(wanted) > limit)


def test_what_a_query_requires_is_told_to_the_store() -> None:
    source = Source(calls_at([NOON]))
    searcher = Searcher(source)
    searcher.messages("call_id:(c0 OR c1) method:BYE")
    assert source.holding == {"call_id": ["c0", "c1"]}
    searcher.messages("from_user:alice (call_id:c0 OR to_user:bob)", limit=3)
    assert source.holding == {"from_user": ["alice"]}
    for query in ("-call_id:c0", "call_id:c*", "call_id:c0 OR method:BYE", "user:alice"):
        searcher.messages(query)
        assert source.holding == {}
    searcher.calls("from_user:alice", limit=3)  # of its calls there may be messages without her
    assert source.holding == {}
    searcher.calls("call_id:c0 from_user:alice", limit=3)
    assert source.holding == {"call_id": ["c0"]}


@pytest.mark.parametrize("at", [2**63 - 1, 2**63 - 2, 1 - 2**63, -(2**63), -1, 0])
def test_any_time_that_64_bits_can_say_is_searched(at: int) -> None:
    rows = [*calls_at([NOON]), {"ts": at, "call_id": "odd", "method": "INVITE", "from_user": "alice"}]
    searcher = Searcher(Source(rows))
    for query in ("from_user:alice", ""):
        assert len(searcher.messages(query, limit=50).table) == 8
        assert len(searcher.messages(query, limit=1).table) == 1
        assert sorted(ids(searcher.calls(query, limit=5, fields=["call_id"]).table)) == ["c0", "odd"]
        for sort in ("start", "-messages"):
            found = searcher.calls(query, limit=5, sort=sort, fields=["call_id", "messages"]).table
            assert sorted(found["messages"].to_pylist()) == [1, 7]


def test_a_call_matches_by_one_message_and_shows_all_of_them() -> None:
    rows = calls_at([NOON, NOON + 1000]) + scenario("busy", [(0, "INVITE"), (9, (486, "INVITE"))])
    searcher = Searcher(Source(rows))
    found = searcher.calls("method:INVITE status:>=400").table.to_pylist()
    assert [(r["call_id"], r["messages"], r["state"]) for r in found] == [("busy", 2, "busy")]
    # Both terms have to be true of one message: no BYE has the status 486.
    assert len(searcher.calls("method:BYE status:486").table) == 0
    assert ids(searcher.calls("-method:BYE", sort="call_id").table) == ["busy", "c0", "c1"]


def test_messages_outside_the_time_still_belong_to_the_call() -> None:
    searcher = Searcher(Source(calls_at([NOON])))
    for limit in (None, 10):
        found = searcher.calls(
            "", since=NOON + 60_000_000, until=NOON + 70_000_000, limit=limit
        ).table.to_pylist()
        assert [(r["messages"], r["state"]) for r in found] == [(7, "completed")]
    assert len(searcher.calls("", since=NOON + 70_000_000).table) == 0
    assert len(searcher.calls("", until=NOON).table) == 0
    assert len(searcher.calls("", until=NOON + 1).table) == 1


def test_time_of_the_query_bounds_the_snapshot() -> None:
    source = Source(calls_at([NOON]))
    Searcher(source).messages("ts>=1795348800 ts<1795348801", since=NOON - 5)
    Searcher(source).calls("ts>=1795348800 ts<1795348801")
    assert source.asked == [(NOON, NOON + 1_000_000), (NOON - AROUND, NOON + 1_000_000 + AROUND)]


def test_messages_without_a_call_id_are_no_calls() -> None:
    searcher = Searcher(Source([{"ts": NOON, "payload": b"x", "malformed": "start_line"}, *calls_at([NOON])]))
    assert searcher.count() == 1
    assert len(searcher.calls().table) == 1
    assert searcher.count(messages=True) == 8
    assert len(searcher.messages("malformed:*").table) == 1


def test_sort_by_any_column_breaks_ties_by_start() -> None:
    rows = calls_at([NOON, NOON + 5_000_000, NOON + 9_000_000])
    rows += scenario("b", [(0, "INVITE"), (9, (486, "INVITE"))])
    searcher = Searcher(Source(rows))
    assert ids(searcher.calls("", sort="-messages").table) == ["c2", "c1", "c0", "b"]
    assert ids(searcher.calls("", sort="-messages", limit=2).table) == ["c2", "c1"]
    assert ids(searcher.calls("", sort="messages", limit=2).table) == ["b", "c2"]
    assert ids(searcher.calls("", sort="talk_time", limit=9).table)[-1] == "b"


def test_headings_of_the_table_may_be_typed() -> None:
    assert call_fields(["msgs", "pdd", "call_id"]) == ("messages", "post_dial_delay", "call_id")
    assert call_sort("-talk") == ("talk_time", True)


def test_messages_sort_fields_and_limit() -> None:
    searcher = Searcher(Source(calls_at([NOON])))
    table = searcher.messages("", fields=["time", "method", "status", "header.X-Foo"], sort="ts").table
    assert table.column_names == ["ts", "method", "status", "header.X-Foo"]
    assert table["status"].to_pylist() == [None, 100, 180, 200, None, None, 200]
    newest = searcher.messages("", limit=2)
    assert newest.cut
    assert newest.table["method"].to_pylist() == ["BYE", "BYE"]
    assert newest.table["status"].to_pylist() == [200, None]
    assert searcher.messages("", sort="-status", limit=1).table["status"].to_pylist() == [200]


def test_messages_of_many_calls_by_time_then_arrival() -> None:
    rows = [{"ts": NOON + i // 3, "call_id": f"c{i % 40}", "cseq": str(i)} for i in range(400)]
    searcher = Searcher(Source(rows))
    table = searcher.messages_of([f"c{i}" for i in range(39)])
    expected = [row["cseq"] for row in rows if row["call_id"] != "c39"]
    assert table["cseq"].to_pylist() == expected
    assert searcher.messages_of(["c1"])["call_id"].to_pylist() == ["c1"] * 10
    assert len(searcher.messages_of(["it's"])) == 0
    assert len(searcher.messages_of([])) == 0


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda s: s.calls("", fields=["strat"]), "did you mean .*start"),
        (lambda s: s.calls("", sort="-talktime"), "did you mean talk_time"),
        (lambda s: s.messages("", fields=["metod"]), "did you mean method"),
        (lambda s: s.messages("", sort="x; DROP TABLE sip"), "no column"),
    ],
)
def test_unknown_columns_are_errors(call: Any, said: str) -> None:
    with pytest.raises(HepcatError, match=said):
        call(Searcher(Source([])))


def test_empty_store() -> None:
    searcher = Searcher(Source([]))
    assert searcher.count() == 0
    assert len(searcher.calls("", limit=5).table) == 0
    assert len(searcher.calls("", limit=5, sort="state").table) == 0
    assert len(searcher.messages("", limit=5).table) == 0


def test_other_tables() -> None:
    searcher = Searcher(
        Source([], {"log": [{"ts": NOON, "hep_type": 100, "payload": b"it works", "node_id": 3}]})
    )
    assert searcher.count("works node:3", table="log") == 1
    assert searcher.messages("hep_type:100", table="log").table["payload"].to_pylist() == [b"it works"]


def test_a_column_is_the_same_whatever_is_asked_for_with_it() -> None:
    """What nobody asks for is not computed, and some is had in another way then."""
    before_1970 = Call("old@x", -10 * SECOND).ask("INVITE").say(180, "Ringing").say(486, "Busy Here").messages
    batch = batch_of([*usual(), *hostile(), *before_1970], True)
    searcher = Searcher(Memory({"sip": pa.Table.from_batches([to_arrow(batch, "sip")])}))
    names = tuple(column.name for column in CALL_COLUMNS)
    whole = searcher.calls("", sort="call_id", fields=names).table
    assert len(set(whole["state"].to_pylist())) > 5
    for name in names:
        alone = searcher.calls("", sort="call_id", fields=("call_id", name)).table
        assert alone[name].to_pylist() == whole[name].to_pylist(), name
        assert alone.schema.field(name).type == whole.schema.field(name).type, name
