"""Times, text tables, output of odd octets, the tail of a lake, and that the documentation is current."""

import io
import itertools
import json
import os
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pyarrow as pa
import pytest

from hepcat.batch.schema import SIP_COLUMNS
from hepcat.config.lake import LakeSettings
from hepcat.errors import HepcatError
from hepcat.search import output, text
from hepcat.search.api import since_of, to_microseconds
from hepcat.search.calls import CALL_COLUMNS, STATES
from hepcat.search.fields import ALIASES, Kind, fields_of, find, names_of
from hepcat.search.follow import Tail
from hepcat.search.histogram import CLASSES, WIDTHS, width_for
from hepcat.search.parser import parse_query
from hepcat.search.searcher import Searcher
from hepcat.search.times import SECOND, parse_duration, parse_time
from hepcat.search.within import MAX_CLUSTERS, clusters
from hepcat.stores.lake import LakeWriter
from tests.lake.make import numbered
from tests.search.support import NOON, Row, Source, arrow_table
from tests.support import ROOT

NOW = datetime.fromtimestamp(NOON / 1e6, UTC)
EAST = timezone(timedelta(hours=2))

# -- times


@pytest.mark.parametrize(
    ("written", "start", "length"),
    [
        ("now", NOON, 1),
        ("15m", NOON - 900 * SECOND, 1),
        ("1h30m", NOON - 5400 * SECOND, 1),
        ("-2d", NOON - 172800 * SECOND, 1),
        ("1w", NOON - 604800 * SECOND, 1),
        ("1.5s", NOON - 1_500_000, 1),
        ("today", NOON - 14 * 3600 * SECOND, 86400 * SECOND),  # it is 14:00 in the east
        ("yesterday", NOON - 38 * 3600 * SECOND, 86400 * SECOND),
        ("yesterday 10:30", NOON - (24 + 3.5) * 3600 * SECOND, 60 * SECOND),
        ("10:30", NOON - 3.5 * 3600 * SECOND, 60 * SECOND),
        ("10:30Z", NOON - 1.5 * 3600 * SECOND, 60 * SECOND),
        ("2026-11-22", NOON - 14 * 3600 * SECOND, 86400 * SECOND),
        ("2026-11-22Z", NOON - 12 * 3600 * SECOND, 86400 * SECOND),
        ("2026-11-22T12:00Z", NOON, 60 * SECOND),
        ("2026-11-22t12:00:00z", NOON, SECOND),
        ("2026-11-22 12:00:00 UTC", NOON, SECOND),
        ("2026-11-22T13:00:00+01:00", NOON, SECOND),
        ("2026-11-22T07:00:00-0500", NOON, SECOND),
        ("2026-11-22T14:00:00.5", NOON + 500_000, 100_000),
        ("2026-11-22T12:00:00.123456Z", NOON + 123_456, 1),
        ("1795348800", NOON, SECOND),
        ("1795348800.25", NOON + 250_000, 1),
        ("1795348800000", NOON, 1000),
        ("1795348800000001", NOON + 1, 1),
    ],
)
def test_times_as_written(written: str, start: float, length: int) -> None:
    span = parse_time(written, NOW, EAST)
    assert (span.start, span.end - span.start) == (start, length)


@pytest.mark.parametrize(
    "written",
    ["", "soon", "25:00", "10:61", "2026-13-01", "2026-02-30", "1x", "1h30", "12", "99999999w", "2026-11-22T",
     "10:30+99:99"],
)  # fmt: skip
def test_what_is_no_time(written: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_time(written, NOW, EAST)


def test_durations() -> None:
    assert parse_duration("2h5min") == 7500 * SECOND
    with pytest.raises(ValueError, match="not a length of time"):
        parse_duration("yesterday")


def test_times_of_the_api() -> None:
    assert to_microseconds(NOW) == NOON
    assert to_microseconds(NOON) == NOON
    assert to_microseconds(None) is None
    naive = datetime.fromtimestamp(NOON / 1e6)
    assert to_microseconds(naive) == NOON
    assert since_of(None, timedelta(hours=1)) == pytest.approx(
        (datetime.now(UTC).timestamp() - 3600) * 1e6, abs=5e6
    )
    with pytest.raises(HepcatError, match="not a length"):
        since_of(None, "soon")


# -- registry and documentation


def test_every_field_is_found_documented_and_runs() -> None:
    samples = {
        Kind.NUMBER: "1", Kind.TIME: "2026-11-22", Kind.ADDRESS: "10.0.0.1", Kind.PERSON: "a@b",
        Kind.AGENT: "1",
    }  # fmt: skip
    searcher = Searcher(Source([]))
    for name, field in fields_of().items():
        assert field.doc
        for spelled in (name, *field.aliases, name.upper(), name.replace("_", "-")):
            assert find(spelled) == field
        value = samples.get(field.kind, "x")
        query = f"{name}:{value} OR {name}!={value} OR {name}:* OR -{name}:null"
        assert searcher.count(query, messages=True) == 0, query
    spelled = [n for f in fields_of().values() for n in (f.name, *f.aliases)]
    assert len(spelled) == len(set(spelled)) == len(names_of())
    assert {column.name for column in SIP_COLUMNS} - {"extra"} <= set(fields_of())
    assert set(ALIASES) <= set(fields_of())


def test_documentation_is_current() -> None:
    from hepcat.cli.reference import refresh

    page = (ROOT / "docs" / "search.md").read_text(encoding="utf-8")
    assert refresh(page) == page, "run: python -m hepcat.cli.reference docs"
    for name in (*fields_of(), *(c.name for c in CALL_COLUMNS), *(s.name for s in STATES)):
        assert name in page


def test_queries_of_the_documentation_parse() -> None:
    page = (ROOT / "docs" / "search.md").read_text(encoding="utf-8")
    table = page.split("| written | finds |")[1].split("\n\n")[0]
    queries = [q for line in table.splitlines()[2:] for q in line.split(" | ")[0].split("`")[1::2]]
    assert len(queries) > 25
    for query in queries:
        known = query.replace("field", "from").replace("\\|", "|")
        parse_query(known)


# -- output


ODD: list[Row] = [
    {"ts": NOON + 1, "payload": b"a\xff\\\x00\"\xc3\xa4\r\n", "extra": {"X-A": "1"},
     "user_agent": "\x1b[31mred\x07"},
    {"ts": NOON + 2, "payload": None},
]  # fmt: skip


def test_json_gives_the_octets_back() -> None:
    for write in (output.write_jsonl, output.write_json):
        out = io.BytesIO()
        write(arrow_table(ODD), out)
        text_ = out.getvalue().decode("utf-8")
        rows = (
            json.loads(text_) if write is output.write_json else [json.loads(x) for x in text_.splitlines()]
        )
        assert rows[0]["payload"].encode("utf-8", "surrogateescape") == ODD[0]["payload"]
        assert rows[0]["extra"] == {"X-A": "1"}
        assert rows[0]["ts"] == "2026-11-22T12:00:00.000001Z"
        assert rows[1]["payload"] is None
        assert "ä" in text_


def test_csv_of_odd_octets() -> None:
    out = io.BytesIO()
    output.write_csv(arrow_table(ODD), out)
    assert b"a\\udcff" in out.getvalue()
    assert out.getvalue().splitlines()[0].startswith(b"ts,transport,")


def test_table_shows_no_control_characters() -> None:
    lines = text.TextTable(zone=UTC).lines(arrow_table(ODD).select(["ts", "user_agent", "status"]))
    assert lines[0].split() == ["ts", "+0000", "user_agent", "status"]
    assert lines[1] == "2026-11-22 12:00:00.000  ·[31mred·        -"
    assert all(line.isprintable() for line in lines)


def test_table_fits_a_terminal() -> None:
    rows = [{"start": "x" * 23, "from": "u" * 60, "phrase": "p" * 20, "state": "busy", "call_id": "c" * 30}]
    table = pa.Table.from_pylist(rows)
    for width in (60, 80, 120, 200):
        lines = text.TextTable(width, color=False).lines(table)
        assert max(map(len, lines)) <= width
    assert "…" not in text.TextTable(200).lines(table)[1]
    assert "c" * 30 in text.TextTable(80).lines(table)[1]
    assert "phrase" not in text.TextTable(60).lines(table)[0]
    colored = text.TextTable(200, color=True).lines(table)[1]
    assert f"{text.YELLOW}busy " in colored


@pytest.mark.parametrize(
    ("value", "width"), [("日本語テキスト", 6), ("e\u0301e\u0301e\u0301", 2), ("abc", 1), ("日", 1)]
)
def test_fit_counts_cells(value: str, width: int) -> None:
    assert text.width_of(text.fit(value, width)) == width


def test_bars() -> None:
    assert text.bar(8, 8, 4) == "████"
    assert text.bar(1, 1000, 4) == "▏"
    assert text.bar(0, 8, 4) == ""
    assert text.bar(3, 8, 1) == "▍"


# -- histogram


def test_histogram_counts_like_python() -> None:
    rows: list[Row] = [
        {"ts": NOON + i * 7 * SECOND, "call_id": f"c{i // 3}", "status": [None, 200, 486, 503, 401][i % 5]}
        for i in range(300)
    ]
    searcher = Searcher(Source(rows))
    table = searcher.histogram("", messages=True, buckets=20, zone=UTC).to_pylist()
    assert len(table) <= 20
    width = (table[0]["end"] - table[0]["start"]) // timedelta(microseconds=1)
    assert width in WIDTHS
    for bucket in table:
        start = int(bucket["start"].timestamp()) * SECOND
        own = [row for row in rows if start <= row["ts"] < start + width]
        assert bucket["total"] == len(own)
        assert bucket["4xx"] == sum(400 <= (row["status"] or 0) <= 499 for row in own)
    calls = searcher.histogram("", zone=UTC)
    assert sum(calls["total"].to_pylist()) == 100
    assert sum(searcher.histogram("status:503", zone=UTC)["5xx"].to_pylist()) == 60


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([("INVITE", None), ("INVITE", 200), ("BYE", 200)], "2xx"),
        ([("INVITE", 200), ("INVITE", 488), ("BYE", 200)], "2xx"),
        ([("INVITE", 200), ("BYE", 481)], "2xx"),
        ([("INVITE", 407), ("INVITE", 503)], "5xx"),
        ([("INVITE", 302), ("INVITE", 486)], "4xx"),
        ([("INVITE", None), ("INVITE", 180), ("CANCEL", None), ("CANCEL", 200), ("INVITE", 487)], "1xx"),
        ([("INVITE", None), ("INVITE", 401)], "request"),
        ([("BYE", None), ("BYE", 200)], "2xx"),
        ([("REGISTER", 401), ("REGISTER", 200)], "2xx"),
        ([("REGISTER", 200), ("REGISTER", 403)], "4xx"),
        ([("OPTIONS", None)], "request"),
    ],
)
def test_what_a_call_counts_as(messages: list[tuple[str, int | None]], expected: str) -> None:
    rows: list[Row] = [
        {"ts": NOON + i * SECOND, "call_id": "c", "method": method, "status": status}
        for i, (method, status) in enumerate(messages)
    ]
    found = Searcher(Source(rows)).histogram("").to_pylist()
    assert [name for row in found for name in CLASSES if row[name]] == [expected]
    assert sum(row["total"] for row in found) == 1


def test_histogram_of_a_narrow_part_of_a_long_time() -> None:
    rows: list[Row] = [{"ts": NOON + i, "call_id": "x", "method": "BYE"} for i in range(5)]
    rows.append({"ts": NOON - 300 * 86400 * SECOND, "call_id": "y", "method": "ACK"})
    table = Searcher(Source(rows)).histogram("method:BYE", messages=True, buckets=10, zone=UTC)
    assert sum(table["total"].to_pylist()) == 5
    assert (table["end"][0].as_py() - table["start"][0].as_py()) <= timedelta(microseconds=100)
    assert len(Searcher(Source([])).histogram("")) == 0


def test_widths_are_multiples_of_each_other() -> None:
    assert all(wide % narrow == 0 for narrow, wide in itertools.pairwise(WIDTHS))
    assert width_for(58 * 60 * SECOND, 60) == 60 * SECOND


def test_clusters_hold_every_moment() -> None:
    moments = [1, 2, 3, 100, 101, 5000, *range(10_000, 10_200, 20)]
    ranges = clusters(moments)
    assert len(ranges) <= MAX_CLUSTERS
    assert all(sum((r.since or 0) <= m < (r.until or 0) for r in ranges) == 1 for m in moments)
    assert clusters([]) == []
    assert [(r.since, r.until) for r in clusters([7])] == [(7, 8)]


# -- tail


def ids(table: pa.Table) -> list[int]:
    return [int(i) for i in table["call_id"].to_pylist()]


def test_tail_sees_each_record_once_through_sealing_and_compaction(tmp_path: Path) -> None:
    settings = LakeSettings(journal_rows=50, compact_files=2, journal_age=0.5)
    seen: list[int] = []
    with LakeWriter(tmp_path, settings) as writer:
        writer.append(numbered(0, 70))
        with Tail(tmp_path) as tail:
            at = 70
            for size in (1, 7, 49, 60, 200, 3, 120, 80, 1):
                writer.append(numbered(at, size))
                at += size
                if size > 50:
                    writer.seal()
                seen += ids(tail.poll())
            writer.seal()
            seen += ids(tail.poll())
            seen += ids(tail.poll())
    assert sorted(seen) == list(range(70, at))


def test_tail_of_what_no_poll_saw_as_a_journal(tmp_path: Path) -> None:
    with LakeWriter(tmp_path) as writer, Tail(tmp_path) as tail:
        writer.append(numbered(0, 10))
        writer.seal()
        assert ids(tail.poll()) == list(range(10))
        assert ids(tail.poll()) == []


def test_tail_needs_a_lake(tmp_path: Path) -> None:
    with pytest.raises(HepcatError, match="no lake"):
        Tail(tmp_path / "none")


def test_startup_is_light() -> None:
    import subprocess
    import sys

    heavy = ("pyarrow", "duckdb", "lark", "sqlglot")
    code = f"import sys, hepcat.cli.search; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ))
    assert done.stdout.strip() == "[]", done.stderr
