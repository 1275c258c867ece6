"""Wide results come in pages: every message once, in the order documented, and bounded."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import hepcat
from hepcat.cli.common import reading
from hepcat.cli.main import make_app
from hepcat.errors import HepcatError
from hepcat.search import pages
from hepcat.search.export import export
from hepcat.search.searcher import Searcher
from hepcat.stores.lake import Lake, LakeWriter
from tests.lake.make import numbered
from tests.search.support import NOON, Source
from tests.search.test_robust import Changing

ROWS = 10


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages.even_windows, "__defaults__", (ROWS,))


def bursts() -> list[dict[str, Any]]:
    """Nearly all within a second of a year, many at the same microsecond."""
    times = [
        NOON - 365 * 86_400_000_000,
        *(NOON + i // 3 for i in range(200)),
        *[NOON + 900] * 7,
        NOON + 10**9,
    ]
    return [
        {"ts": at, "call_id": f"c{i % 17}" if i % 5 else None, "src_port": i, "transport": "udp",
         "src_ip": "192.0.2.1", "dst_ip": "192.0.2.2", "payload": b"OPTIONS x"}
        for i, at in enumerate(times)
    ]  # fmt: skip


def keys(tables: Iterator[pa.Table]) -> tuple[list[int], list[int]]:
    found = list(tables)
    return [key for table in found for key in table["src_port"].to_pylist()], [len(table) for table in found]


@pytest.mark.parametrize("query", ["", "call_id:c3", "src_port>50", "call_id:none"])
@pytest.mark.parametrize("oldest_first", [False, True])
def test_pages_have_each_message_once_in_order(query: str, oldest_first: bool) -> None:
    searcher = Searcher(Source(bursts()))
    found, sizes = keys(searcher.pages(query, fields=["src_port", "ts"], oldest_first=oldest_first))
    whole = searcher.messages(query, fields=["src_port", "ts"], sort="ts" if oldest_first else None).table
    assert sorted(found) == sorted(whole["src_port"].to_pylist())
    at = {row["src_port"]: row["ts"] for row in bursts()}
    assert [at[key] for key in found] == [int(t.timestamp() * 10**6 + 0.5) for t in whole["ts"].to_pylist()]
    assert max(sizes) <= 2 * ROWS
    assert len(sizes) <= 2 * max(len(found), ROWS) // ROWS + 1


def test_pages_keep_to_the_range() -> None:
    searcher = Searcher(Source(bursts()))
    found, _ = keys(searcher.pages("", NOON + 2, NOON + 30, ["src_port"]))
    assert sorted(found) == [i + 1 for i in range(200) if 2 <= i // 3 < 30]


@pytest.mark.parametrize("at", [-(2**63) + 1, 2**63 - 1, -(2**55), 2**57])
def test_pages_of_any_age(at: int) -> None:
    rows = [*bursts(), {"ts": at, "src_port": 999}]
    found, _ = keys(Searcher(Source(rows)).pages(fields=["src_port"]))
    assert sorted(found) == sorted(row["src_port"] for row in rows)


def test_pages_of_calls() -> None:
    searcher = Searcher(Source(bursts()))
    found, sizes = keys(searcher.pages_of(["c1", "c2", "c3", "no"]))
    assert found == searcher.messages_of(["c1", "c2", "c3"])["src_port"].to_pylist()
    assert len(sizes) > 1
    assert max(sizes) <= 2 * ROWS


def test_pages_go_on_when_a_file_goes_away(tmp_path: Path) -> None:
    with LakeWriter(tmp_path / "data") as writer:
        writer.append(numbered(0, 60))
        writer.seal()
    with Lake(tmp_path / "data") as lake:
        changing = Changing(lake, 1)
        stream = Searcher(changing).pages(fields=["call_id"])
        found = next(stream)["call_id"].to_pylist()
        changing.times = 2
        for table in stream:
            found += table["call_id"].to_pylist()
        assert sorted(found) == sorted(hepcat.open(tmp_path / "data").messages()["call_id"].to_pylist())


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    with LakeWriter(tmp_path / "data") as writer:
        writer.append(numbered(0, 60))
        writer.seal()
    return tmp_path / "data"


@pytest.fixture
def largest(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Note how many rows a statement returned at most."""
    most = [0]
    run = Searcher._run

    def noting(self: Searcher, con: Any, statement: str) -> pa.Table:
        table = run(self, con, statement)
        most[0] = max(most[0], len(table) if "payload" in statement else 0)
        return table

    monkeypatch.setattr(Searcher, "_run", noting)
    return most


def call(*arguments: str) -> Any:
    result = CliRunner().invoke(make_app(), list(arguments))
    assert result.exit_code == 0, result.output
    return result


@pytest.mark.parametrize("format", ["json", "jsonl", "csv", "parquet", "pcap"])
def test_search_writes_wide_results_page_by_page(lake: Path, largest: list[int], format: str) -> None:
    octets = call("search", "--messages", "--format", format, "--data", str(lake)).stdout_bytes
    assert 0 < largest[0] <= 2 * ROWS
    expected = hepcat.open(lake).messages()["payload"].to_pylist()
    if format == "parquet":
        assert pq.read_table(io.BytesIO(octets))["payload"].to_pylist() == expected
    elif format == "json":
        assert [row["payload"].encode() for row in json.loads(octets)] == expected
    elif format == "jsonl":
        assert [json.loads(row)["payload"].encode() for row in octets.splitlines()] == expected
    elif format == "csv":
        assert octets.count(b"payload") == 1
        assert all(one.split(b"\r\n")[0] in octets for one in expected)
    else:
        assert [octets.count(one) for one in expected].count(0) == 0


@pytest.mark.parametrize("format", ["json", "jsonl", "csv", "parquet", "pcap"])
def test_nothing_found_is_still_a_file(lake: Path, format: str) -> None:
    assert call(
        "search", "--messages", "call_id:no", "--format", format, "--data", str(lake)
    ).stdout_bytes or (format == "jsonl")


def test_pcap_of_calls_is_written_page_by_page(lake: Path, largest: list[int]) -> None:
    call("search", "--format", "pcap", "--data", str(lake))
    assert 0 < largest[0] <= 2 * ROWS


def test_export_joins_calls_and_strays_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    data = hepcat.search.api.Data.__new__(hepcat.search.api.Data)
    data.searcher = Searcher(Source(bursts()))
    out = io.BytesIO()
    done = export(data, "", out, "json")
    rows = json.loads(out.getvalue())
    assert done.messages == len(rows) == len(bursts())
    assert done.calls == 17
    assert sorted(row["src_port"] for row in rows) == [row["src_port"] for row in bursts()]
    assert [row["ts"] for row in rows] == sorted(row["ts"] for row in rows)


def test_flow_draws_the_first_messages(lake: Path) -> None:
    call_id = hepcat.open(lake).search("")["call_id"][0].as_py()
    with LakeWriter(lake) as writer:
        for _ in range(4):
            batch = numbered(0, 60)
            writer.append(batch)
        writer.seal()
    every = hepcat.open(lake).messages_of(call_id)
    assert len(every) > 3
    result = call("flow", call_id, "--max-messages", "3", "--format", "json", "--data", str(lake))
    assert len(json.loads(result.stdout)["messages"]) == 3
    assert f"{len(every) - 3} later messages are not drawn" in result.stderr
    assert "later" not in call("flow", call_id, "--data", str(lake)).stderr


def test_every_command_that_reads_has_the_configuration(
    lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "hepcat.toml"
    config.write_text('[lake]\nquery_memory = "123MB"\n')
    assert reading(lake, config).lake.query_memory == "123MB"  # type: ignore[union-attr]
    seen: list[str] = []
    opened = Lake.__init__

    def noting(self: Lake, path: Path, settings: Any = None, **options: Any) -> None:
        seen.append(settings.query_memory)
        opened(self, path, settings, **options)

    monkeypatch.setattr(Lake, "__init__", noting)
    for words in (
        ["search"],
        ["flow", "-q", ""],
        ["export", "--format", "text"],
        ["sql", "--command", "SELECT 1"],
    ):
        call(*words, "--data", str(lake), "--config", str(config))
    assert seen == ["123MB"] * 4


@pytest.mark.parametrize(
    "options", [{"since": 2**63}, {"until": -(2**70)}, {"since": 1.5}, {"last": -5}, {"last": "-5m"}]
)
def test_times_that_are_none(lake: Path, options: Any) -> None:
    with pytest.raises(HepcatError, match=r"since|until|last"):
        hepcat.open(lake).search("", **options)


@pytest.mark.parametrize("at", [2**63 - 1, -(2**63)])
def test_times_at_the_ends_of_numbers(lake: Path, at: int) -> None:
    assert len(hepcat.open(lake).search("", since=at)) in (0, 60)
    assert len(hepcat.open(lake).messages("", until=at)) in (0, 60)
