"""Calls, messages, counts and words over HTTP, on a lake of made-up dialogs."""

import base64
import json
from itertools import pairwise
from typing import Any

import pytest

import hepcat
from hepcat.search.calls import CALL_COLUMNS
from hepcat.search.fields import fields_of
from hepcat.search.parser import MAX_LENGTH
from hepcat.web.cursor import asked_for
from hepcat.web.parameters import MAX_CURSOR, moment
from hepcat.web.problems import Problem
from hepcat.web.routes.pages import STATIC as PAGES
from hepcat.web.rows import plain
from tests.support import Server, wait_for
from tests.web.support import Site


def pages(site: Site, of: str = "calls", **parameters: Any) -> list[dict[str, Any]]:
    """Return all rows, a page after another."""
    rows: list[dict[str, Any]] = []
    cursor = None
    while True:
        answer = site.get(f"/api/{of}", cursor=cursor, **parameters)
        assert of in answer, answer
        assert len(answer[of]) <= parameters["limit"]
        rows += answer[of]
        cursor = answer["next"]
        if cursor is None:
            return rows


@pytest.mark.parametrize("sort", [None, "-start", "start", "-messages", "from", "-post_dial_delay", "state"])
def test_pages_have_every_call_once_in_order(search_site: Site, sort: str | None) -> None:
    with hepcat.open(search_site.data) as data:
        whole = plain(data.search(sort=sort, fields=["call_id", "start"]))
    paged = pages(search_site, limit=571, sort=sort, fields="call_id,start")
    assert len(whole) > 1500
    assert paged == whole
    assert len({row["call_id"] for row in paged}) == len(paged)
    if sort in (None, "-start"):
        keys = [(-row["start"], row["call_id"]) for row in paged]
        assert keys == sorted(keys)


def test_rows_have_the_columns_that_are_asked_for(search_site: Site) -> None:
    every = ",".join(column.name for column in CALL_COLUMNS)
    (row,) = search_site.get("/api/calls", limit=1, fields=every)["calls"]
    assert list(row) == [column.name for column in CALL_COLUMNS]
    assert isinstance(row["start"], int)
    assert row["start"] > 1_700_000_000_000_000
    assert isinstance(row["duration"], float | int)
    shown = search_site.get("/api/calls", limit=1)["calls"][0]
    assert list(shown) == [column.name for column in CALL_COLUMNS if column.shown]
    assert search_site.get("/api/calls", limit=1, fields="")["calls"][0] == shown


def test_no_answer_has_more_rows_than_may_be(search_site: Site) -> None:
    found = search_site.get("/api/messages", limit=100_000, fields="ts")
    assert len(found["messages"]) == 1000
    assert found["next"]


def test_pages_of_messages(search_site: Site) -> None:
    rows = pages(search_site, "messages", limit=399, q="method:BYE", fields="ts,call_id,payload")
    count = search_site.get("/api/top", by="method", q="method:BYE")["total"]
    assert len(rows) == count > 800
    assert all(later["ts"] >= earlier["ts"] for later, earlier in pairwise(rows))
    assert len({(row["ts"], row["payload"]) for row in rows}) == len(rows)
    assert rows[0]["payload"].startswith(("BYE ", "SIP/2.0 "))


def test_the_payload_is_not_sent_unless_asked_for(search_site: Site) -> None:
    (row,) = search_site.get("/api/messages", limit=1)["messages"]
    assert "payload" not in row
    assert row["call_id"]


def test_messages_in_another_order_are_one_page(search_site: Site) -> None:
    found = search_site.get("/api/messages", limit=5, sort="ts")
    assert [row["ts"] for row in found["messages"]] == sorted(row["ts"] for row in found["messages"])
    assert found["next"] is None
    assert "-ts" in found["notes"][0]


def test_the_range_stays_while_paging(search_site: Site) -> None:
    first = search_site.get("/api/calls", limit=10, since="3650d")
    again = search_site.get("/api/calls", limit=10, since="3650d", cursor=first["next"])
    assert (again["since"], again["until"]) == (first["since"], first["until"])
    exact = search_site.get(
        "/api/calls", limit=10, since=first["since"], until=first["until"], cursor=first["next"]
    )
    assert exact["calls"] == again["calls"]


def test_since_is_included_and_until_is_not(search_site: Site) -> None:
    at = search_site.get("/api/messages", limit=1, q="method:BYE")["messages"][0]["ts"]
    assert search_site.get("/api/messages", since=at, until=at)["messages"] == []
    found = search_site.get("/api/messages", since=at, until=at + 1)["messages"]
    assert found
    assert all(row["ts"] == at for row in found)


@pytest.mark.parametrize(
    "changed", [{"q": "method:BYE"}, {"sort": "start"}, {"since": 1}, {"until": 5}, {"cursor": "x"}]
)
def test_a_cursor_of_another_request_is_a_problem(search_site: Site, changed: dict[str, Any]) -> None:
    first = search_site.get("/api/calls", limit=3)
    answer = search_site.get("/api/calls", **{"limit": 3, "cursor": first["next"], **changed})
    assert (answer["status"], answer["type"]) == (400, "/api/docs#problem-cursor")


def test_a_cursor_of_calls_is_none_of_messages(search_site: Site) -> None:
    first = search_site.get("/api/calls", limit=3)
    assert search_site.get("/api/messages", limit=3, cursor=first["next"])["status"] == 400


@pytest.mark.parametrize(
    "key",
    [
        [],
        [1],
        ["x", 1, "a"],
        [None, "a", "b"],
        [True],
        [-1],
        [2**40],
        [{}, 1, "c"],
        [1e400, 1, "x"],
        [[1], 2, 3],
    ],
)
def test_made_up_keys_do_no_harm(search_site: Site, key: list[Any]) -> None:
    """Whoever changes a cursor gets rows or a problem, never a fault."""
    fields = json.loads(_decoded(search_site.get("/api/calls", limit=3)["next"]))
    fields[-1] = key
    forged = base64.urlsafe_b64encode(json.dumps(fields).encode()).decode().rstrip("=")
    answer = search_site.get("/api/calls", limit=3, cursor=forged)
    assert "calls" in answer or answer["status"] == 400


@pytest.mark.parametrize(
    "text", ["", "null", "[1]", "[" * 5000, '{"a":1}', "[1,2,3,4,5,6]", "[1,null,NaN,0,0,[]]"]
)
def test_made_up_cursors_are_problems(text: str) -> None:
    cursor = base64.urlsafe_b64encode(text.encode()).decode() or "="
    with pytest.raises(Problem) as raised:
        asked_for("calls", "", None, None, None, None, cursor)
    assert raised.value.status == 400


def test_the_cursor_of_a_long_key_is_short() -> None:
    asked = asked_for("calls", "", "from", None, None, None, None)
    cursor = asked.cursor(["x" * 60_000, 1, "y"], 100)
    assert cursor is not None
    assert len(cursor) <= MAX_CURSOR
    assert asked_for("calls", "", "from", None, None, None, cursor).row == 100


def test_a_very_long_call_id_does_not_end_paging(tmp_path: Any) -> None:
    """Hostile Call-IDs of 30,000 characters at the end of each page: every call is still reached."""
    import socket

    from tests.serve.peers import hep3, invite

    ids = [f"{name}" * 30_000 for name in "abc"] + ["short"]
    with Server(tmp_path, page=True) as server:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for call_id in ids:
                message = invite("x").replace(b"Call-ID: x", f"Call-ID: {call_id}".encode())
                sender.sendto(hep3(message), ("127.0.0.1", server.port))
        site = Site.__new__(Site)
        site.url = f"http://127.0.0.1:{server.http}"
        wait_for(lambda: len(site.get("/api/calls")["calls"]) == len(ids), what="calls stored")
        found = pages(site, limit=1, sort="call_id", fields="call_id")
        assert [row["call_id"] for row in found] == sorted(ids)


def test_histogram(search_site: Site) -> None:
    total = len(pages(search_site, limit=1000, fields="call_id"))
    found = search_site.get("/api/histogram", buckets=40)
    assert sum(found["total"]) == total
    assert 0 < len(found["start"]) <= 40
    assert all(later - earlier == found["width"] for earlier, later in pairwise(found["start"]))
    classes = ["request", "1xx", "2xx", "3xx", "4xx", "5xx", "6xx"]
    assert [sum(row) for row in zip(*(found[name] for name in classes), strict=True)] == found["total"]
    messages = search_site.get("/api/histogram", of="messages", q="method:BYE")
    assert sum(messages["total"]) == search_site.get("/api/top", by="method", q="method:BYE")["total"]


def test_an_empty_histogram(search_site: Site) -> None:
    found = search_site.get("/api/histogram", q="from:nobody-at-all")
    assert (found["start"], found["width"], found["total"]) == ([], None, [])


def test_top(search_site: Site) -> None:
    found = search_site.get("/api/top", by="method", limit=2)
    every = search_site.get("/api/top", by="method", limit=100)
    assert found["rows"] == every["rows"][:2]
    assert found["other"] == sum(row["count"] for row in every["rows"][2:])
    assert every["total"] == sum(row["count"] for row in every["rows"]) == 12_000
    states = search_site.get("/api/top", by="state", of="calls")["rows"]
    assert {"completed"} <= {row["value"] for row in states}


def test_a_top_list_that_is_none(search_site: Site) -> None:
    found = search_site.get("/api/top", by="shoe_size")
    assert found["status"] == 400
    assert "user_agent" in found["hint"]


def test_fields(search_site: Site) -> None:
    known = {field["name"]: field for field in search_site.get("/api/fields")}
    assert set(fields_of("sip")) | {"extra.", "header."} == set(known)
    assert all(field["doc"] and field["operators"] and field["examples"] for field in known.values())


def test_the_examples_of_all_fields_can_be_understood(search_site: Site) -> None:
    for field in search_site.get("/api/fields"):
        for example in field["examples"]:
            assert search_site.get("/api/parse", q=example) == {"ok": True}, example


def test_values(search_site: Site) -> None:
    methods = search_site.get("/api/values", field="method")["values"]
    assert {"INVITE", "BYE"} <= set(methods)
    assert search_site.get("/api/values", field="method", prefix="inv")["values"] == ["INVITE"]
    assert search_site.get("/api/values", field="shoe")["status"] == 400


@pytest.mark.parametrize(("query", "position"), [("fro:alice", 0), ("a AND (b", 6), ("status:abc", 7)])
def test_a_fault_in_a_query_is_pointed_at(search_site: Site, query: str, position: int) -> None:
    for path in ("parse", "calls", "messages", "histogram", "export", "live", "top"):
        answer = search_site.get(f"/api/{path}", q=query, by="method")
        assert (answer["status"], answer["type"]) == (400, "/api/docs#problem-query"), path
        assert (answer["query"], answer["position"]) == (query, position), path


@pytest.mark.parametrize(
    ("parameters", "status"),
    [
        ({"limit": 0}, 400),
        ({"limit": "many"}, 400),
        ({"since": "the dawn of time"}, 400),
        ({"since": "2026-01-02", "until": "2026-01-01"}, 400),
        ({"since": "9" * 30}, 400),
        ({"since": "--12345678901234"}, 400),
        ({"until": "\0"}, 400),
        ({"sort": "shoe_size"}, 400),
        ({"fields": "start,shoe_size"}, 400),
        ({"store": "elsewhere"}, 404),
        ({"q": "x" * (MAX_LENGTH + 1)}, 400),
    ],
)
def test_wrong_parameters(search_site: Site, parameters: dict[str, Any], status: int) -> None:
    answer = search_site.get("/api/calls", **parameters)
    kind, title = {400: ("parameter", "Wrong parameter"), 404: ("no-store", "Not found")}[status]
    assert (answer["status"], answer["type"]) == (status, f"/api/docs#problem-{kind}"), answer
    assert answer["title"] == title
    assert answer["detail"]


def test_the_longest_query_is_read_everywhere(search_site: Site) -> None:
    """One bound: what a terminal finds, the API and the pages find."""
    name = search_site.get("/api/calls", limit=1)["calls"][0]["call_id"]
    longest = f'call_id:"{name}"'.ljust(MAX_LENGTH)
    assert [row["call_id"] for row in search_site.get("/api/calls", q=longest)["calls"]] == [name]
    assert search_site.get("/api/calls", q=longest + " ")["status"] == 400
    for file, bounds in (("index.html", 1), ("js/search/state.js", 1), ("js/dashboard/main.js", 2)):
        text = (PAGES / file).read_text()
        assert text.count(str(MAX_LENGTH)) == bounds, file


def test_a_whole_number_is_microseconds() -> None:
    assert [moment("since", text) for text in ("0", "-5", "1763900000", None, " ")] == [
        0, -5, 1_763_900_000, None, None,
    ]  # fmt: skip
    assert moment("since", "15m", 10**15) == 10**15 - 900_000_000


def _decoded(cursor: str) -> bytes:
    return base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
