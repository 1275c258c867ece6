"""The other legs of a call: through a B2BUA that says so in one way or another, in the lake and elsewhere."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import hepcat
from hepcat.search.api import Data
from hepcat.search.related import ALEG, CORRELATION, CROWD, SESSION, Related, relations
from hepcat.search.related import related as find_related
from hepcat.stores.lake import LakeWriter
from tests.search.remotes import Call, Message, batch_of, opened
from tests.search.support import NOON
from tests.servers import Servers

HOUR = 3600 * 1_000_000
A, B, C, NIL = "a" * 32, "b" * 32, "c" * 32, "0" * 32


def leg(name: str, *headers: str, at: int = NOON, correlation: str = "") -> list[Message]:
    """INVITE and 200 of one leg; headers of the request and, where two are given, of the response."""
    call = Call(name, at).ask("INVITE", more=headers[0] if headers else "")
    call.say(200, "OK", more=headers[-1] if headers else "")
    messages = call.messages
    if correlation:
        messages = [
            Message(m.payload, m.ts, m.src, m.dst, correlation_id=correlation.encode()) for m in messages
        ]
    return messages


def session(*uuids: str) -> str:
    return "Session-ID: " + ";remote=".join(uuids)


def everything() -> list[Message]:
    """Calls of three switches, strangers between them."""
    messages = [
        # a switch that copies the correlation id, and an agent that puts the A leg's Call-ID there
        *leg("corr-1", correlation="x-17"),
        *leg("corr-2", correlation="x-17", at=NOON + 5),
        *leg("named-1"),
        *leg("named-2", correlation="named-1"),
        # X-CID: two B legs of one A leg, and a leg of a leg
        *leg("aleg-a"),
        *leg("aleg-b", "X-CID: aleg-a"),
        *leg("aleg-c", "X-CID: aleg-a"),
        *leg("aleg-d", "X-CID: aleg-c"),
        # Session-ID: as RFC 7989 has it, both ways round; before the other side is known; the older form
        *leg("sess-1", session(A, NIL), session(B, A)),
        *leg("sess-2", session(A, NIL), session(B, A)),
        *leg("sess-3", session(A, B)),
        *leg("old-1", session(C)),
        *leg("old-2", session(C)),
        # what looks alike and is not
        *leg("nil-1", session(NIL)),
        *leg("nil-2", session(NIL)),
        *leg("odd-1", "Session-ID: hello"),
        *leg("odd-2", "Session-ID: hello"),
        *leg("quote'-1\"", "X-CID: it's"),
        *leg("it's"),
        *leg("alone"),
    ]
    messages += leg("far", "X-CID: aleg-a", at=NOON + 30 * HOUR)
    for i in range(CROWD + 5):
        messages += leg(f"crowd-{i:03}", correlation="trunk", at=NOON + i)
    messages += leg("crowd-b", "X-CID: crowd-007", at=NOON, correlation="trunk")
    return sorted(messages, key=lambda m: m.ts)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Data]:
    folder = tmp_path_factory.mktemp("legs")
    with LakeWriter(folder) as writer:
        writer.append(batch_of(everything(), False))
    with hepcat.open(folder) as data:
        yield data


def legs(data: Data, *call_ids: str, **options: int) -> set[tuple[str, str, str]]:
    return {(r.call_id, r.why, r.of) for r in data.related(*call_ids, **options)}


def test_equal_correlation_ids(lake: Data) -> None:
    assert legs(lake, "corr-1") == {("corr-2", CORRELATION, "corr-1")}
    assert legs(lake, "corr-1", "corr-2") == set(), "what was asked for is not told"


def test_a_correlation_id_that_is_the_other_call_id(lake: Data) -> None:
    assert legs(lake, "named-1") == {("named-2", CORRELATION, "named-1")}
    assert legs(lake, "named-2") == {("named-1", CORRELATION, "named-2")}


def test_the_a_leg_header_in_both_directions_and_further(lake: Data) -> None:
    all_of = {"aleg-a", "aleg-b", "aleg-c", "aleg-d"}
    for start in sorted(all_of):
        found = lake.related(start)
        assert {r.call_id for r in found} == all_of - {start}
        assert {r.why for r in found} == {ALEG}
    assert ("aleg-d", ALEG, "aleg-c") in legs(lake, "aleg-a"), "a leg of a leg says whose"


@pytest.mark.parametrize("start", ["sess-1", "sess-2", "sess-3"])
def test_session_ids(lake: Data, start: str) -> None:
    found = lake.related(start)
    assert {r.call_id for r in found} == {"sess-1", "sess-2", "sess-3"} - {start}
    assert {r.why for r in found} == {SESSION}


def test_the_older_session_id(lake: Data) -> None:
    assert legs(lake, "old-1") == {("old-2", SESSION, "old-1")}


@pytest.mark.parametrize("call_id", ["nil-1", "odd-1", "alone", "unknown", ""])
def test_no_other_leg(lake: Data, call_id: str) -> None:
    assert legs(lake, call_id) == set()


def test_quotes_are_only_text(lake: Data) -> None:
    assert legs(lake, "it's") == {("quote'-1\"", ALEG, "it's")}
    assert legs(lake, "quote'-1\"") == {("it's", ALEG, "quote'-1\"")}


def test_hostile_ids(tmp_path: Path) -> None:
    """Ids with NUL, quotes, octets that are not UTF-8, or of 10,000 letters are only looked up."""
    odd = ["a\0b", "a' OR 1=1 --", "x" * 10_000, "\\u202e%_*?", "\ufffd", " ", ";remote="]
    messages = [m for i, text in enumerate(odd) for m in leg(f"odd-{i}", f"X-CID: {text}", correlation=text)]
    messages += leg("raw", "X-CID: \udcff\udcfe", f"Session-ID: {A};remote={'f' * 5000}")
    with LakeWriter(tmp_path) as writer:
        writer.append(batch_of(messages, False))
    with hepcat.open(tmp_path) as data:
        found = data.related(*[f"odd-{i}" for i in range(len(odd))], "raw", *odd)
    assert {r.call_id for r in found} <= {f"odd-{i}" for i in range(len(odd))}


def test_only_near_in_time(lake: Data) -> None:
    assert legs(lake, "far") == set()
    bounded = lake.related("aleg-a", until=NOON + 1)
    assert bounded == [], "the caller's own bounds hold too"


def test_what_a_crowd_shares_is_not_followed_and_said(lake: Data) -> None:
    found = relations(lake.searcher, ["crowd-007"])
    assert found.related == (Related("crowd-b", ALEG, "crowd-007"),)
    assert found.notes == (f"correlation id trunk is shared by {CROWD + 6} calls and was not followed",)


def test_the_limit_holds(lake: Data) -> None:
    found = relations(lake.searcher, ["aleg-a"], limit=1)
    assert len(found.related) == 1
    assert found.notes == ("there are more other legs than the 1 that are told",)


def test_legs_of_legs_of_legs_end_somewhere_and_that_is_said(tmp_path: Path) -> None:
    with LakeWriter(tmp_path) as writer:
        writer.append(
            batch_of([m for i in range(8) for m in leg(f"s{i}", f"X-CID: s{i - 1}" if i else "")], False)
        )
    with hepcat.open(tmp_path) as data:
        found = relations(data.searcher, ["s0"])
        assert [each.call_id for each in found.related] == ["s1", "s2", "s3", "s4"]
        assert found.notes == (
            "other legs are followed over 4 steps; there may be more: look from one of the last",
        )
        assert relations(data.searcher, ["s4"]).notes != ()
        assert relations(data.searcher, ["s3", "s6"]).notes == (), "all were found"


def test_flow_draws_them(lake: Data) -> None:
    assert [leg.call_id for leg in lake.flow("corr-1", related=True).legs] == ["corr-1", "corr-2"]
    assert [leg.call_id for leg in lake.flow("corr-1").legs] == ["corr-1"]


@pytest.mark.parametrize("kind", ["sqlite", "mariadb-original"])
def test_the_same_of_a_database(
    lake: Data,
    kind: str,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    servers: Servers,
) -> None:
    """The classic table has all of these columns but one: Session-ID is read from the message."""
    folder: Path = tmp_path_factory.mktemp(kind)
    with opened(kind, everything(), folder, monkeypatch, servers) as store:
        for start in ("named-2", "aleg-d", "sess-1", "crowd-007"):
            assert set(find_related(store, [start])) == set(find_related(lake.searcher, [start])), start
