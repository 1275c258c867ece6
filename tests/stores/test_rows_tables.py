"""Which records go to which table: HEP types, bad messages, several tables, names that change with time."""

import zlib
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest

from hepcat.batch.drops import Drop
from hepcat.stores.classic.schema import LOGS_CAPTURE, REPORT_CAPTURE, RTCP_CAPTURE, SIP_CAPTURE
from hepcat.stores.classic.tables import Group, TableChoice, names_at, split_names

from .rows_support import Datagram, call, database, messages


def named(groups: list[Group]) -> dict[str, list[int]]:
    return {group.name: group.rows.tolist() for group in groups}


def test_hep_types() -> None:
    batch = messages(*[call()] * 9)
    batch.hep_type[:] = [1, 100, 5, 32, 99, 1, 0, 255, 4]
    groups, drops = TableChoice(database()).groups(batch)
    assert named(groups) == {
        "sip_capture": [0, 5],
        "logs_capture": [1],
        "report_capture": [3, 4],
        "rtcp_capture": [2],
    }
    assert [g.table for g in groups] == [SIP_CAPTURE, LOGS_CAPTURE, REPORT_CAPTURE, RTCP_CAPTURE]
    assert drops == {Drop.NO_TABLE: 3}
    assert TableChoice(database()).groups(messages()) == ([], {})


@pytest.mark.parametrize("keep", [True, False])
def test_bad_messages(keep: bool) -> None:
    payloads = [
        call(),
        call(From=b"<>;tag=1"),
        call(To=b"<sip:>"),
        call(b"OPTIONS sip: SIP/2.0"),
        call(Call_ID=b""),
        b"no SIP",
    ]
    batch = messages(*payloads)
    groups, drops = TableChoice(database(capture_bad_msgs=keep)).groups(batch)
    assert named(groups) == {"sip_capture": [0, 1, 2, 3, 4, 5] if keep else [0, 4, 5]}
    assert drops == ({} if keep else {Drop.BAD_MESSAGE: 3})


def test_round_robin_goes_on() -> None:
    choice = TableChoice(database(table_name="a|b|c", mt_mode="round_robin"))
    assert named(choice.groups(messages(*[call()] * 4))[0]) == {"a": [0, 3], "b": [1], "c": [2]}
    assert named(choice.groups(messages(*[call()] * 2))[0]) == {"b": [0], "c": [1]}


def test_rand_uses_all() -> None:
    choice = TableChoice(database(table_name="a|b", mt_mode="rand"), seed=1)
    groups = named(choice.groups(messages(*[call()] * 400))[0])
    assert sorted(groups["a"] + groups["b"]) == list(range(400))
    assert 120 < len(groups["a"]) < 280


@pytest.mark.parametrize(
    ("source", "values"),
    [
        ("call_id", lambda i: {"Call_ID": b"%d@h" % i}),
        ("from_user", lambda i: {"From": b"<sip:%d@h>;tag=1" % i}),
        ("to_user", lambda i: {"To": b"<sip:%d@h>" % i}),
    ],
)
def test_hash_is_crc32(source: str, values: object) -> None:
    batch = messages(*[call(**values(i)) for i in range(60)], b"SIP/2.0 200 OK\r\n\r\n")  # type: ignore[operator]
    choice = TableChoice(database(table_name="a|b|c", mt_mode="hash", hash_source=source))
    want: dict[str, list[int]] = {}
    for i in range(61):
        text = b"" if i == 60 else b"%d@h" % i if source == "call_id" else b"%d" % i
        want.setdefault("abc"[zlib.crc32(text) % 3], []).append(i)
    assert named(choice.groups(batch)[0]) == want


def test_names_change_with_the_message_s_day_in_utc() -> None:
    midnight = int(datetime(2026, 3, 29, tzinfo=UTC).timestamp()) * 10**6
    batch = messages(*[Datagram(call(), ts=midnight + d) for d in (-1, 0, 1, 86_400 * 10**6, 5)])
    choice = TableChoice(database(table_name="sip_%Y%m%d"))
    assert named(choice.groups(batch)[0]) == {
        "sip_20260328": [0],
        "sip_20260329": [1, 2, 4],
        "sip_20260330": [3],
    }
    hourly = TableChoice(database(table_name="x%H%M"))
    assert named(hourly.groups(batch)[0]) == {"x2359": [0], "x0000": [1, 2, 3, 4]}
    both = TableChoice(database(table_name="a%Y|a2026", mt_mode="round_robin"))
    assert named(both.groups(batch)[0]) == {"a2026": [0, 1, 2, 3, 4]}
    there = datetime(2026, 3, 29, 1, tzinfo=timezone(timedelta(hours=2)))
    assert names_at("sip_%Y%m%d | b", there) == ["sip_20260328", "b"]


def test_times_that_no_calendar_has() -> None:
    batch = messages(call(), call())
    batch.ts[:] = np.array([-(2**62), 2**62])
    assert named(TableChoice(database(table_name="t%Y")).groups(batch)[0]) == {"t1970": [0], "t9999": [1]}


@pytest.mark.parametrize("name", ["", "a||b", "a b", "a;drop", 'a"', "a%", "é", "a%1"])
def test_no_names(name: str) -> None:
    with pytest.raises(ValueError, match="table_name"):
        split_names(name)
