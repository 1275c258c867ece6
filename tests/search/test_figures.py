"""Figures: each of a hand-made hour by hand; of random ones against the rows of the calls."""

import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from hepcat.search.api import Data
from hepcat.search.errors import QueryError
from hepcat.search.figure_table import FIGURES, MOST_BUCKETS
from hepcat.search.figures import Figures, figures
from hepcat.search.figures_sql import BEFORE, GIVEN_UP
from hepcat.search.searcher import Searcher
from tests.search.remotes import lake_of, opened, usual
from tests.search.support import NOON, Row, Source
from tests.search.test_calls import SUCCESS, scenario
from tests.servers import Servers
from tests.support import ROOT
from tests.web.dashboard_lake import hour_of_calls

MINUTE = 60_000_000
HOUR = 60 * MINUTE
RANG = SUCCESS[:3]
OPTIONS = [(0, "OPTIONS"), (20, (200, "OPTIONS"))]
REGISTER = [(0, "REGISTER"), (10, (401, "REGISTER")), (40, "REGISTER"), (65, (200, "REGISTER"))]
CHALLENGED = [
    (0, "INVITE"), (4, (407, "INVITE")), (8, "ACK"), (20, "INVITE"), (30, (100, "INVITE")),
    (920, (180, "INVITE")), (4000, (200, "INVITE")), (4010, "ACK"),
]  # fmt: skip


def failing(status: int, ringing: bool = False) -> list[Any]:
    """Return an attempt that ends with a status after a second."""
    return [*(RANG if ringing else SUCCESS[:2]), (1000, (status, "INVITE")), (1010, "ACK")]


def of(rows: Sequence[Row], query: str = "", **options: Any) -> Figures:
    """Return the figures of the hour before NOON."""
    options = {"since": NOON - HOUR, "until": NOON, **options}
    return figures(Searcher(Source(rows)), query, **options)


def calls(*each: tuple[list[Any], int], **common: Any) -> list[Row]:
    """Make calls of (steps, microseconds after the hour's begin); `common` columns."""
    rows: list[Row] = []
    for number, (steps, at) in enumerate(each):
        rows += scenario(f"c{number}", steps, NOON - HOUR + at, **common)
    return rows


def end() -> list[Row]:
    """A last message at the end of the hour: then nobody answers old attempts any more."""
    return scenario("end", OPTIONS[:1], NOON - 1)


# -- by hand


def test_an_hour_by_hand() -> None:
    rows = calls(
        (SUCCESS, 0),
        (SUCCESS, MINUTE),
        (CHALLENGED, 2 * MINUTE),
        (failing(486), 3 * MINUTE),
        (failing(503), 4 * MINUTE),
        (failing(404), 5 * MINUTE),
        (REGISTER, 6 * MINUTE),
        ([(0, "REGISTER"), (8, (403, "REGISTER"))], 7 * MINUTE),
        (OPTIONS, 8 * MINUTE),
    )
    rows += end()
    found = of(rows)
    totals = found.totals
    assert (totals["attempts"], totals["seizures"], totals["answered"], totals["open"]) == (6, 6, 3, 0)
    assert totals["calls_a_second"] == pytest.approx(6 / 3600)
    assert totals["asr"] == 3 / 6
    assert totals["ner"] == 4 / 6
    assert totals["seer"] == 4 / 6
    assert totals["isa"] == 1 / 6
    assert (totals["ended"], totals["acd"]) == (2, 60.0)
    assert (totals["pdd_p50"], totals["pdd_p95"]) == (0.5, 0.92)
    assert (totals["registrations"], totals["registered"], totals["registration_failures"]) == (2, 1, 1)
    assert totals["registration_ratio"] == 0.5
    assert (totals["rrd_p50"], totals["rrd_p95"]) == (0.025, 0.025)
    assert totals["messages"] == len(rows)
    assert totals["retransmissions"] == 0
    assert sum(found.methods["INVITE"]) == 7
    assert sum(found.methods["REGISTER"]) == 3
    assert dict(found.codes)[200] == 7
    assert sum(found.statuses["4xx"]) == 5  # 407, 486, 404, 401, 403
    assert set(totals) == set(found.series) == {figure.name for figure in FIGURES}


@pytest.mark.parametrize(
    ("steps", "seizure", "network", "seer", "isa"),
    [
        (SUCCESS, True, True, True, False),
        (SUCCESS[:5], True, True, True, False),
        *((failing(status), True, True, True, False) for status in (480, 486, 600, 603)),
        *((failing(status), True, True, False, False) for status in (487, 607)),
        (failing(408, ringing=True), True, True, False, True),
        (failing(408), True, False, False, True),
        *((failing(status), True, False, False, True) for status in (500, 503, 504)),
        *((failing(status), True, False, False, False) for status in (400, 403, 404, 484, 488, 502, 604)),
        ([*RANG, (4500, "CANCEL")], True, True, False, False),
        (SUCCESS[:1], True, False, False, False),  # nobody answered at all
        (RANG, True, False, False, False),
        (failing(302), False, None, None, None),
        ([(0, "INVITE"), (4, (407, "INVITE")), (8, "ACK")], False, None, None, None),
    ],
)
def test_which_outcomes_count(
    steps: list[Any], seizure: bool, network: bool | None, seer: bool | None, isa: bool | None
) -> None:
    totals = of(calls((steps, MINUTE)) + end()).totals
    assert (totals["attempts"], totals["seizures"], totals["open"]) == (1, int(seizure), 0)
    if not seizure:
        assert totals["asr"] is totals["ner"] is totals["seer"] is None
        return
    answered = steps in (SUCCESS, SUCCESS[:5])
    assert (totals["asr"], totals["ner"], totals["seer"]) == (
        int(answered),
        int(bool(network)),
        int(bool(seer)),
    )
    assert totals["isa"] == int(bool(isa))


def test_what_is_open_is_not_judged() -> None:
    late = HOUR - GIVEN_UP + 1_000_000
    found = of(calls((RANG, late), (SUCCESS[:2], late)) + end())
    assert (found.totals["attempts"], found.totals["open"], found.totals["seizures"]) == (2, 2, 0)
    assert found.totals["asr"] is None
    registering = of(calls(([(0, "REGISTER")], HOUR - MINUTE // 3), ([(0, "REGISTER")], MINUTE)) + end())
    assert (registering.totals["registrations"], registering.totals["registration_failures"]) == (1, 1)


def test_calls_across_the_bounds() -> None:
    rows = calls((SUCCESS, -30_000_000))  # answered before the range, ended in it
    found = of(rows)
    assert (found.totals["attempts"], found.totals["ended"], found.totals["acd"]) == (0, 1, 60.0)
    again = calls(([*SUCCESS[:2], (400, "INVITE", {"again": True}), *SUCCESS[2:]], -200_000))
    assert of(again).totals["attempts"] == 0  # its INVITE was repeated in the range: no new attempt
    refreshed = calls(([*SUCCESS[:5], (BEFORE // 1000 * 3, "INVITE", {"to_tag": "tt"})], -2 * HOUR))
    assert of(refreshed).totals["attempts"] == 0  # a re-INVITE, long after
    after = of(calls((SUCCESS, HOUR)))
    assert (after.totals["attempts"], after.totals["messages"]) == (0, 0)


def test_phones_keep_their_call_id() -> None:
    rows = []
    for number in range(5):
        rows += scenario("phone", REGISTER, NOON - HOUR + number * 10 * MINUTE)
    for number, row in enumerate(rows):
        if row["method"] == "REGISTER":
            row["cseq"] = f"{100 + number // 2} REGISTER"
    assert of(rows).totals["registered"] == 5


def test_retransmissions() -> None:
    once = SUCCESS[:2]
    rows = calls(([*once, (500, "INVITE", {"again": True}), (1500, "INVITE", {"again": True})], 0))
    assert of(rows).totals["retransmissions"] == 2 / 4


def test_buckets() -> None:
    found = of(
        calls((SUCCESS, MINUTE), (failing(486), 31 * MINUTE)), buckets=7, since=NOON - HOUR + 30_000_000
    )
    assert found.width == 10 * MINUTE
    assert found.start == [NOON - HOUR + n * 10 * MINUTE for n in range(6)]
    assert found.seconds == [570.0, 600.0, 600.0, 600.0, 600.0, 600.0]
    assert found.series["asr"] == [1, None, None, 0, None, None]
    assert found.series["attempts"] == [1, 0, 0, 1, 0, 0]
    assert found.series["calls_a_second"][0] == 1 / 570
    assert found.series["acd"] == [60, None, None, None, None, None]
    assert len(of(calls((SUCCESS, 0)), buckets=10**6).start) <= MOST_BUCKETS


def test_a_query() -> None:
    rows = calls((SUCCESS, 0), (failing(486), MINUTE)) + scenario(
        "carol", SUCCESS, NOON - HOUR + 2 * MINUTE, from_user="carol"
    )
    assert of(rows, "from_user:carol").totals["attempts"] == 1
    busy = of(rows, "status:486")
    assert (busy.totals["attempts"], busy.totals["messages"], busy.totals["ner"]) == (1, 1, 1)
    assert of(rows, "from_user:nobody").totals["attempts"] == 0
    with pytest.raises(QueryError):
        of(rows, "from_user:(")


def test_nothing_and_everything() -> None:
    empty = of([])
    assert (empty.totals["attempts"], empty.totals["asr"], empty.totals["acd"]) == (0, None, None)
    nothing = figures(Searcher(Source([])))
    assert (nothing.start, nothing.totals) == ([], {})
    whole = figures(Searcher(Source(calls((SUCCESS, 0)))))
    assert (whole.since, whole.totals["attempts"]) == (NOON - HOUR, 1)
    assert of(calls((SUCCESS, 0)), since=NOON, until=NOON).start == []


@pytest.mark.parametrize("at", [-(2**62), 0, 2**62, 2**63 - 1, -(2**63)])
def test_times_that_are_none(at: int) -> None:
    rows = calls((SUCCESS, 0))
    rows.append({**rows[0], "ts": at, "call_id": "far"})
    assert of(rows).totals["attempts"] == 1
    assert figures(Searcher(Source(rows))).totals["answered"] == 1
    assert figures(Searcher(Source(rows)), "", at, at).totals.get("attempts", 0) == 0


def test_hostile_messages() -> None:
    rows = calls((SUCCESS, 0))
    rows += [
        {**rows[0], "method": f"M{number}'; --", "status": status, "cseq": None, "call_id": f"h{number}"}
        for number, status in enumerate([None, 0, 99, 700, 65535, None, None])
    ]
    rows.append({"ts": NOON - HOUR})
    found = of(rows)
    assert found.totals["attempts"] == 1
    assert sum(found.methods["other"]) == 4
    assert set(found.methods) == {"INVITE", "ACK", "BYE", "other"}
    assert all(100 <= code <= 699 for code, _ in found.codes)


# -- against the rows of the calls


def plain(searcher: Searcher, since: int, until: int) -> dict[str, Any]:
    """Compute figures in plain Python from rows of calls and of messages, over all that there is."""
    begun: dict[str, int] = {}
    messages = searcher.messages(fields=["ts", "call_id", "method", "status", "to_tag"]).table
    for row in messages.to_pylist():
        if row["method"] == "INVITE" and row["status"] is None and row["to_tag"] is None:
            at = int(row["ts"].timestamp() * 1e6)
            begun[row["call_id"]] = min(begun.get(row["call_id"], at), at)
    rows = searcher.calls(
        "", fields=["call_id", "state", "status", "post_dial_delay", "talk_time", "answered"]
    )
    attempts = [row for row in rows.table.to_pylist() if since <= begun.get(row["call_id"], 0) < until]
    states = Counter(row["state"] for row in attempts)
    answered = states["completed"] + states["in call"]
    waiting = ("ringing", "trying", "no reply")
    seizures = len(attempts) - sum(states[name] for name in ("redirected", "auth required", *waiting))
    delays = sorted(row["post_dial_delay"] for row in attempts if row["post_dial_delay"] is not None)
    effective = answered + states["busy"] + states["cancelled"] + sum(
        row["status"] in (480, 603, 607) for row in attempts if row["state"] in ("no answer", "rejected")
    )  # fmt: skip
    talks = [
        row["talk_time"]
        for row in rows.table.to_pylist()
        if row["talk_time"] is not None
        and since <= row["answered"].timestamp() * 1e6 + row["talk_time"] * 1e6 < until
    ]
    return {
        "attempts": len(attempts),
        "answered": answered,
        "seizures_or_open": seizures + sum(states[name] for name in waiting),
        "effective": effective,
        "p50": delays[(len(delays) - 1) // 2] if delays else None,
        "p95": delays[-(-len(delays) * 19 // 20) - 1] if delays else None,
        "acd": sum(talks) / len(talks) if talks else None,
        "ended": len(talks),
    }


@pytest.mark.parametrize("seed", range(3))
def test_as_the_rows_say(tmp_path: Path, seed: int) -> None:
    low, high = hour_of_calls(tmp_path / "lake", NOON + seed * 777_777, 800, seed)
    rng = random.Random(seed)
    with Data(tmp_path / "lake") as data:
        assert isinstance(data.searcher, Searcher)
        for since, until in ((low, high), sorted(rng.sample(range(low, high), 2))):
            # Rows of calls see what follows the range: it is left out here, by looking up to its end.
            cut = Source([row for row in rows_of(data.searcher) if row["ts"].timestamp() * 1e6 < until])
            expected = plain(Searcher(cut), since, until)
            totals = figures(data.searcher, "", since, until).totals
            assert totals["attempts"] == expected["attempts"]
            assert totals["answered"] == expected["answered"]
            assert totals["seizures"] + totals["open"] == expected["seizures_or_open"]  # type: ignore[operator]
            assert round(totals["ner"] * totals["seizures"]) == expected["effective"]  # type: ignore[operator]
            assert totals["pdd_p50"] == pytest.approx(expected["p50"], rel=0.006, abs=0.0006)
            assert totals["pdd_p95"] == pytest.approx(expected["p95"], rel=0.006, abs=0.0006)
            assert totals["ended"] == expected["ended"]
            assert totals["acd"] == pytest.approx(expected["acd"], rel=1e-6)


def rows_of(searcher: Searcher) -> list[Row]:
    return searcher.messages().table.to_pylist()  # type: ignore[no-any-return]


def test_series_add_up_to_totals(tmp_path: Path) -> None:
    low, high = hour_of_calls(tmp_path / "lake", NOON, 600)
    with Data(tmp_path / "lake") as data:
        found = figures(data.searcher, "", low, high)
        histogram = data.histogram(messages=True, since=low, until=high)
        retransmitted = data.search(fields=["messages", "retransmissions"])
    for figure in FIGURES:
        if figure.unit == "number":
            assert sum(found.series[figure.name]) == found.totals[figure.name]  # type: ignore[arg-type]
    assert found.totals["messages"] == sum(histogram["total"].to_pylist())
    for name in ("1xx", "2xx", "4xx", "5xx", "6xx"):
        assert sum(found.statuses[name]) == sum(histogram[name].to_pylist())
    assert sum(map(sum, found.methods.values())) == sum(histogram["request"].to_pylist())
    again, messages = (sum(retransmitted[name].to_pylist()) for name in ("retransmissions", "messages"))
    assert found.totals["retransmissions"] == pytest.approx(again / messages)
    assert again > 0


# -- other stores


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_database_gives_the_same(kind: str, tmp_path: Path, servers: Servers) -> None:
    messages = usual()
    low, high = min(m.ts for m in messages), max(m.ts for m in messages)
    with pytest.MonkeyPatch.context() as patch, opened(kind, messages, tmp_path, patch, servers) as store:
        lake = lake_of(messages, kind)
        for query in ("", "status:200..699"):
            for since, until in ((low, high + 1), (low + (high - low) // 3, high - HOUR), (None, None)):
                found, wanted = (figures(one, query, since, until, 24) for one in (store, lake))
                if since is not None:
                    assert (found.start, found.series) == (wanted.start, wanted.series), (query, since)
                    assert found.totals == wanted.totals, (query, since)
                # A range that is open begins with the first match, in the lake with the first message.
                for name in ("attempts", "seizures", "ner", "acd", "pdd_p95", "registered"):
                    assert found.totals.get(name) == wanted.totals.get(name), (query, since, name)
                assert found.notes == []


def test_a_database_with_more_than_is_read(tmp_path: Path, servers: Servers) -> None:
    messages = usual()
    low, high = min(m.ts for m in messages), max(m.ts for m in messages)
    with pytest.MonkeyPatch.context() as patch, opened("sqlite", messages, tmp_path, patch, servers) as store:
        patch.setattr("hepcat.search.figures.MOST", 20)
        found = figures(store, "", low, high + 1)
        assert found.totals["messages"] == 20
        assert found.since > low
        assert "newest 20 messages, from 2026-11-2" in found.notes[0]
        patch.setattr("hepcat.search.figures._MOST_CALLS", 2)
        assert "newest 2 calls" in figures(store, "from:*", low, high + 1).notes[1]


# -- the documentation


def test_the_page_says_what_the_code_says() -> None:
    page = (ROOT / "docs" / "dashboard.md").read_text()
    for figure in FIGURES:
        standard = f" *{figure.standard}*" if figure.standard else ""
        assert f"| {figure.title} | `{figure.name}` | {figure.unit} | {figure.doc}{standard} |\n" in page
