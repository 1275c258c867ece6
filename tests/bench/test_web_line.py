"""The page's measurement: a real server on a small lake, people who search, a browser that looks."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import hepcat
from hepcat.batch.drops import Drop
from hepcat.batch.layout import Batch
from hepcat.bench.browser import Chromium
from hepcat.bench.growing import STEP, Growing
from hepcat.bench.lines import web
from hepcat.bench.long_call import long_call
from hepcat.bench.measure import Context, Skipped
from hepcat.bench.people import KINDS, Connection, let_people_search, query_of
from hepcat.bench.server import Server, forget_files
from hepcat.wire.hep import decode_hep
from tests.support import wait_for

ROWS = 12_000


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Growing:
    """A lake that ends now, with a long call at its end."""
    made = Growing(tmp_path_factory.mktemp("bench") / "data", time.time_ns() // 1000 - ROWS * STEP)
    made.grow(ROWS)
    made.add(long_call("long@bench", made.until - 20_000_000, 500))
    return made


@pytest.fixture(scope="module")
def server(lake: Growing) -> Iterator[Server]:
    """A server on it, which leaves it."""
    with Server(lake.data.parent, "[web]\nopen_metrics = true\n", keep=True) as server:
        yield server
    assert (lake.data / "sip").is_dir()


def test_the_long_call_is_one_call_of_so_many_messages(lake: Growing) -> None:
    forget_files(lake.data)  # which costs time and nothing else
    with hepcat.open(lake.data) as data:
        (call,) = data.search("call_id:long@bench", fields=["messages", "state", "from_user"]).to_pylist()
        assert data.count("", messages=True) == ROWS + 500
    assert (call["messages"], call["from_user"]) == (500, "alice")


def test_each_datagram_of_a_long_call_is_a_message() -> None:
    datagrams = long_call("x@y", 1_000_000, 31)
    buffer = np.frombuffer(b"".join(datagrams), dtype=np.uint8).copy()
    offsets = np.concatenate(([0], np.cumsum([len(octets) for octets in datagrams]))).astype(np.int64)
    batch, drops = Batch.empty(64, len(buffer)), np.zeros(len(Drop), dtype=np.int64)
    assert decode_hep(buffer, offsets[:-1], np.diff(offsets), 31, 0, batch, drops) == 31
    assert batch.n == 31
    assert not drops.any()


def test_a_browser_sees_rows_and_a_ladder(server: Server, lake: Growing) -> None:
    url = web._url(server)
    hour = web._Hour(lake.until)
    assert hour.address() != hour.address()  # or the server would share one answer
    try:
        with Chromium() as chromium:
            page, seconds = chromium.first(f"{url}/?{hour.address()}")
            assert 0.02 < seconds < 60
            assert page.locator(".grid .body [role=row]:visible").count() > 10
            typed = chromium.search(page, "call_id:long@bench")
            assert 0.005 < typed < 60
            assert page.locator(".grid .body [role=row]:visible").count() == 1
            assert chromium.asked["/api/calls"]["q"] == "call_id:long@bench"
            page, whole = chromium.first(f"{url}/call?id=long@bench")
            drawn, script = chromium.drawing(page)
            assert 0.001 < script < drawn < whole < 60
            assert page.locator("#ladder [role=option]").count() == 500
    except Skipped as reason:
        pytest.skip(str(reason))


def test_people_search_with_accounts_of_their_own(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "_PEOPLE", 3)
    who = web._accounts(server)
    url = web._url(server)
    wait_for(lambda: Connection(url).get("/api/calls", {})[0] == 401, 60, "accounts are needed")
    begun: list[bool] = []
    told = let_people_search(url, who, 2.5, (0, 0.05), "call_id,start", lambda: begun.append(True)).as_dict()
    assert begun == [True]
    assert (told["failed"], told["empty"]) == ({}, 0)
    assert told["searches"] == told["calls"]["n"] == told["histogram"]["n"] >= 1
    assert told["searches"] == sum(kind["n"] for kind in told["kinds"].values())
    assert 0 < told["calls"]["p50"] <= told["calls"]["p95"] <= told["calls"]["max"]
    with pytest.raises(RuntimeError, match="person0 cannot log in: 401"):
        let_people_search(url, [("person0", "wrong")], 1, (0, 0), "call_id")


def test_what_people_ask_finds_the_call_it_was_drawn_from(lake: Growing) -> None:
    with hepcat.open(lake.data) as data:
        found = data.search("method:INVITE", limit=40, fields=["call_id", "from_user", "to_user"]).to_pylist()
        call = next(call for call in found if call["from_user"] and call["to_user"])
        for kind in KINDS:
            ids = data.search(query_of(kind, call), fields=["call_id"])["call_id"].to_pylist()
            assert kind == "status" or call["call_id"] in ids, kind


def test_without_a_browser_the_rest_is_measured(
    lake: Growing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hepcat.bench.browser._CHROMIUM", ())
    monkeypatch.delenv("HEPCAT_CHROMIUM", raising=False)
    (row,), fields = web._look(Context(tmp_path), lake)
    assert row.measured.startswith("skipped: ")
    assert (row.passed, fields) == (None, "")
