"""Batches as Arrow: every column, its type, its nulls, its documentation."""

import numpy as np
import pyarrow as pa
import pytest

from hepcat.batch.schema import MALFORMED, TABLES, columns_of
from hepcat.stores.lake.arrow import arrow_schema, day_name, folder_days, to_arrow
from tests.lake.make import NOON, build, traffic


@pytest.mark.parametrize("table", TABLES)
def test_schema_has_every_column_with_its_doc(table):
    schema = arrow_schema(table)
    assert schema.names == [c.name for c in columns_of(table)]
    for column, field in zip(columns_of(table), schema, strict=True):
        assert field.metadata[b"doc"].decode() == column.doc != ""
    assert schema.field("ts").type == pa.timestamp("us", tz="UTC")
    assert schema.field("payload").type == pa.binary()


@pytest.mark.parametrize("views", [False, True])
def test_every_value_arrives(views):
    batch = traffic(50)
    table = to_arrow(batch, "sip", views=views)
    table.validate(full=True)
    assert table.num_rows == 50
    for column in columns_of("sip"):
        values = table.column(column.name).to_pylist()
        if column.field is not None:
            want = [batch.text(i, column.name) for i in range(50)]
            assert [v.encode() if isinstance(v, str) else v for v in values] == want
    assert table.column("src_ip").to_pylist() == [batch.address(i) for i in range(50)]
    assert [int(v.timestamp() * 1e6 + 0.5) for v in table.column("ts").to_pylist()] == batch.ts[:50].tolist()


def test_nulls_and_codes():
    batch = build(
        [
            {"payload": b"A", "ip_proto": 6, "malformed": 5, "status": 200, "vlan": 7, "expires": 0, "ts": 1},
            {"payload": b"B" * 13, "ip_proto": 99, "src_ip": "2001:db8::1", "contact_port": 5061, "ts": 2},
        ]
    )
    rows = to_arrow(batch, "sip", views=True).to_pylist()
    assert [r["transport"] for r in rows] == ["tcp", "99"]
    assert [r["malformed"] for r in rows] == [MALFORMED[5], None]
    assert [(r["status"], r["vlan"], r["expires"], r["node_id"]) for r in rows] == [
        (200, 7, 0, None),
        (None,) * 4,
    ]
    assert [r["contact_port"] for r in rows] == [None, 5061]
    assert [r["src_ip"] for r in rows] == ["127.0.0.1", "2001:db8::1"]
    assert [r["payload"] for r in rows] == [b"A", b"B" * 13]
    assert rows[0]["method"] is None
    assert rows[0]["extra"] is None


def test_octets_that_are_no_text():
    batch = build(
        [{"payload": b"\xff\x00", "from_user": b"a\xffb\xc3\xa9"}, {"payload": b"x", "from_user": b"ok"}]
    )
    table = to_arrow(batch, "sip")
    table.validate(full=True)
    assert table.column("from_user").to_pylist() == ["a?bé", "ok"]
    assert table.column("payload").to_pylist() == [b"\xff\x00", b"x"]


def test_extra_headers_are_a_map():
    records = [{"payload": b"p", "X-A": b"1", "X-B": b"2"}, {"payload": b"p"}, {"payload": b"p", "X-B": b"3"}]
    table = to_arrow(build(records, extra=("X-A", "X-B")), "sip", np.array([2, 1, 0]))
    table.validate(full=True)
    assert table.column("extra").to_pylist() == [[("X-B", "3")], None, [("X-A", "1"), ("X-B", "2")]]


def test_rows_go_to_the_table_of_their_type():
    batch = build([{"payload": b"%d" % t, "hep_type": t} for t in (1, 5, 100, 4, 60)])
    assert [to_arrow(batch, t).column("payload").to_pylist() for t in TABLES] == [
        [b"1"],
        [b"5"],
        [b"100"],
        [b"4", b"60"],
    ]
    assert to_arrow(batch, "other").column("hep_type").to_pylist() == [4, 60]


def test_folders_are_bounded_whatever_times_are_sent():
    day = 86_400_000_000
    ts = np.array([NOON] * 5 + [k * day for k in range(100)] + [-1, 2**62, -(2**62)])
    days = folder_days(ts, today=20_000, limit=3)
    assert len(set(days.tolist())) == 4  # three of the senders' and today
    assert days[0] == NOON // day
    assert day_name(int(days[0])) == "2026-11-23"
    assert set(days[-3:].tolist()) == {20_000}
    assert folder_days(np.array([2**62, 2**62]), today=5, limit=3).tolist() == [5, 5]
