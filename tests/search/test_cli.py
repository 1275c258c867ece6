"""`hepcat search` on a lake of the recorded proxy traffic: formats, words with a dash, --follow."""

import csv
import io
import json
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import hepcat
from hepcat.batch.drops import Drop
from hepcat.batch.layout import Batch
from hepcat.batch.schema import SIP_COLUMNS
from hepcat.cli.main import make_app
from hepcat.cli.search import _until_interrupted
from hepcat.cli.words import split_words
from hepcat.errors import HepcatError
from hepcat.stores.lake import LakeWriter
from hepcat.wire.hep import decode_hep
from hepcat.wire.sip import index_sip
from tests.support import SHARED

RECORDED = SHARED / "vectors" / "siptrace-hep3.bin"


def batch_of(datagrams: list[bytes]) -> Batch:
    """Decode and index HEP datagrams."""
    data = np.frombuffer(b"".join(datagrams), dtype=np.uint8)
    lengths = np.array([len(d) for d in datagrams], dtype=np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)
    batch = Batch.empty(len(datagrams), len(data))
    drops = np.zeros(len(Drop), dtype=np.int64)
    assert decode_hep(data, offsets, lengths, len(datagrams), 0, batch, drops) == len(datagrams)
    assert not drops.any()
    index_sip(batch)
    return batch


def recorded() -> list[bytes]:
    if not RECORDED.is_file():
        pytest.skip(f"{RECORDED} is not here")
    octets, datagrams, at = RECORDED.read_bytes(), [], 0
    while at < len(octets):
        (size,) = struct.unpack_from(">I", octets, at)
        datagrams.append(octets[at + 4 : at + 4 + size])
        at += 4 + size
    return datagrams


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A lake half of Parquet, half of journal, as beside a running server."""
    path = tmp_path_factory.mktemp("lake")
    datagrams = recorded()
    with LakeWriter(path) as writer:
        writer.append(batch_of(datagrams[:700]))
        assert writer.seal()
        writer.append(batch_of(datagrams[700:]))
        yield path


def rows_of_the_proxy() -> list[dict[str, str]]:
    """What the proxy's own capture module stored of the same datagrams."""
    text = RECORDED.with_suffix(".rows.tsv").read_bytes().decode()  # carriage returns stay
    heading, *rows = text.rstrip("\n").split("\n")
    return [dict(zip(heading.split("\t"), row.split("\t"), strict=True)) for row in rows]


def run(*arguments: str, code: int = 0) -> Any:
    result = CliRunner().invoke(make_app(), ["search", *arguments])
    if isinstance(result.exception, HepcatError):
        raise result.exception
    assert result.exit_code == code, (result.output, result.exception)
    return result


def lines(result: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_calls_agree_with_the_proxy(lake: Path) -> None:
    rows = rows_of_the_proxy()
    calls = lines(run("--data", str(lake), "--format", "jsonl"))
    assert len(calls) == 100 == len({row["callid"] for row in rows})
    for call in calls:
        own = [row for row in rows if row["callid"] == call["call_id"]]
        assert call["messages"] == len(own) == 13
        assert (call["state"], call["status"], call["method"]) == ("completed", 200, "INVITE")
        invites = [int(r["micro_ts"]) for r in own if r["method"] == "INVITE"]
        ok = [int(r["micro_ts"]) for r in own if r["method"] == "200" and r["cseq"].endswith("INVITE")]
        bye = [int(r["micro_ts"]) for r in own if r["method"] == "BYE"]
        assert call["talk_time"] == pytest.approx((min(bye) - min(ok)) / 1e6)
        ringing = [int(r["micro_ts"]) for r in own if r["method"] in ("180", "183")]
        delay = (min(ringing or ok) - min(invites)) / 1e6
        assert call["post_dial_delay"] == pytest.approx(delay)
        assert (call["source"], call["destination"]) == ("127.0.0.1:5062", "127.0.0.1:5070")
    starts = [call["start"] for call in calls]
    assert starts == sorted(starts, reverse=True)


@pytest.mark.parametrize(
    ("query", "keeps"),
    [
        ("", lambda r: True),
        ("method:INVITE", lambda r: r["cseq"].endswith("INVITE")),
        ("status:2xx", lambda r: r["method"].startswith("2")),
        ("-status:*", lambda r: not r["method"].isdigit()),
        ("src_port:5062 method:BYE", lambda r: r["source_port"] == "5062" and r["cseq"].endswith("BYE")),
        ("from:sipp@127.0.0.1", lambda r: (r["from_user"], r["from_domain"]) == ("sipp", "127.0.0.1")),
        ('"performance test"', lambda r: "performance test" in r["msg"].lower()),
        ("kamailio OR trying", lambda r: "kamailio" in r["msg"].lower() or "trying" in r["msg"].lower()),
        ("call_id:1-31396@127.0.0.1", lambda r: r["callid"] == "1-31396@127.0.0.1"),
        ("call_id:1?-31396@*", lambda r: len(r["callid"].split("-")[0]) == 2 and r["callid"][0] == "1"),
        ("header.Max-Forwards:69", lambda r: "\\nMax-Forwards: 69\r\\n" in r["msg"]),
        ("ip:127.0.0.0/8 port:5080", lambda r: "5080" in (r["source_port"], r["destination_port"])),
    ],
)
def test_messages_agree_with_the_proxy(lake: Path, query: str, keeps: Any) -> None:
    expected = sorted((int(r["micro_ts"]), r["callid"]) for r in rows_of_the_proxy() if keeps(r))
    with hepcat.open(lake) as data:
        table = data.messages(query, sort="ts")
        found = list(zip(table["ts"].cast("int64").to_pylist(), table["call_id"].to_pylist(), strict=True))
        assert sorted(found) == expected
        assert data.count(query, messages=True) == len(expected)
        assert data.count(query) == len({call_id for _, call_id in expected})
    assert run("--data", str(lake), "--messages", "--count", query).stdout == f"{len(expected)}\n"


def test_jsonl_of_messages_has_the_schema(lake: Path) -> None:
    rows = lines(run("--data", str(lake), "--messages", "--format", "jsonl", "--limit", "3", "--sort", "ts"))
    assert [list(row) for row in rows] == [[column.name for column in SIP_COLUMNS]] * 3
    assert rows[0]["ts"].endswith("Z")
    assert rows[0]["payload"].startswith("INVITE sip:")
    assert rows[0]["status"] is None
    assert rows[0]["extra"] is None


def test_other_formats(lake: Path, tmp_path: Path) -> None:
    options = ["--data", str(lake), "call_id:1-31396@127.0.0.1"]
    assert len(json.loads(run(*options, "--format", "json", "--messages").stdout)) == 13
    table = list(csv.DictReader(io.StringIO(run(*options, "--format", "csv").stdout)))
    assert [(row["state"], row["messages"]) for row in table] == [("completed", "13")]
    run(*options, "--messages", "-o", str(tmp_path / "m.parquet"))
    assert pq.read_table(tmp_path / "m.parquet").num_rows == 13
    run(*options, "-o", str(tmp_path / "c.pcap"))
    with (tmp_path / "c.pcap").open("rb") as file:
        assert file.read(4) in (b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\xc3\xd4", b"\x4d\x3c\xb2\xa1")
    batches = list(hepcat.read_pcap(tmp_path / "c.pcap"))
    assert sum(batch.n for batch in batches) == 13


def test_table_says_when_it_is_cut(lake: Path) -> None:
    result = run("--data", str(lake), "--limit", "5")
    assert len(result.stdout.splitlines()) == 6
    assert "there are more" in result.stderr
    assert "\x1b" not in result.stdout
    assert len(run("--data", str(lake), "--messages").stdout.splitlines()) == 101
    assert len(run("--data", str(lake), "--messages", "--limit", "0").stdout.splitlines()) == 1301
    nothing = run("--data", str(lake), "ua:nonesuch")
    assert nothing.stdout == ""
    assert "no calls match" in nothing.stderr


def test_query_may_begin_with_a_dash_and_have_several_words(lake: Path) -> None:
    assert run("--data", str(lake), "-method:OPTIONS", "--count").stdout == "100\n"
    assert (
        run("-method:INVITE", "-method:BYE", "--messages", "--count", "--data", str(lake)).stdout == "200\n"
    )
    assert run("--data", str(lake), "method:INVITE", "from:sipp", "status:100", "--count").stdout == "100\n"
    assert run("--data", str(lake), "--count", "--", "-method:INVITE", "--messages").stdout == "0\n"


def test_words_are_told_from_options() -> None:
    known = {"--limit": True, "--count": False, "-o": True, "-h": False}
    assert split_words(["-method:x", "--limit", "-5", "a", "--count"], known) == (
        ["--limit", "-5", "--count"],
        ["-method:x", "a"],
    )
    assert split_words(["--limit=5", "-o", "f", "-ok", "--", "--count"], known) == (
        ["--limit=5", "-o", "f"],
        ["-ok", "--count"],
    )
    assert split_words(["--frobnicate"], known) == (["--frobnicate"], [])


def test_times(lake: Path) -> None:
    first = "2026-11-22T13:46:45.912507Z"
    counted = ["--data", str(lake), "--messages", "--count"]
    assert run(*counted, "--since", first).stdout == "1300\n"
    assert run(*counted, "--until", first).stdout == "0\n"
    assert run(*counted, "--until", "2026-11-22T13:46:45.912508Z").stdout == "1\n"
    assert run(*counted, f"ts<={first}").stdout == "1\n"
    assert run(*counted, "--last", "1s").stdout == "0\n"
    with pytest.raises(HepcatError, match="since: 'soon' is not a time"):
        run(*counted, "--since", "soon")


def test_histogram(lake: Path) -> None:
    drawn = run("--data", str(lake), "--histogram").stdout
    assert "100 in all" in drawn
    assert "█" in drawn
    numbers = lines(run("--data", str(lake), "--histogram", "--messages", "--format", "jsonl"))
    assert sum(row["total"] for row in numbers) == 1300
    assert all(
        row["total"] == sum(row[k] for k in row if k.endswith("xx") or k == "request") for row in numbers
    )
    assert sum(row["2xx"] for row in numbers) == sum(r["method"][0] == "2" for r in rows_of_the_proxy())
    assert run("--data", str(lake), "--histogram", "ua:none").stdout == "no calls\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["metod:x"], "did you mean method"),
        (["--fields", "strat"], "no column 'strat'"),
        (["--sort", "nope"], "no column 'nope'"),
        (["--count", "--follow"], "exclude each other"),
        (["--follow", "--last", "1h"], "from now on"),
        (["--follow", "--format", "parquet"], "cannot write parquet"),
        (["--since", "1h", "--last", "1h"], "where the time begins"),
        (["-o", "/nonexistent/x.json"], "cannot write"),
    ],
)
def test_mistakes_are_told(lake: Path, arguments: list[str], said: str) -> None:
    with pytest.raises(HepcatError, match=said):
        run("--data", str(lake), *arguments)


def test_no_lake(tmp_path: Path) -> None:
    with pytest.raises(HepcatError, match="no lake at"):
        run("--data", str(tmp_path / "none"))


def test_flow_of_a_query(lake: Path) -> None:
    with hepcat.open(lake) as data:
        assert "<svg" in data.flow(query="call_id:1-31396@127.0.0.1")._repr_svg_()
        assert len(data.messages_of("1-31396@127.0.0.1")) == 13
        with pytest.raises(HepcatError, match="Call-IDs or a query"):
            data.flow()


def follow(path: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "hepcat", "search", "--follow", "--data", str(path), *arguments]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


def test_follow_shows_each_message_once_and_soon(tmp_path: Path) -> None:
    datagrams = recorded()
    with LakeWriter(tmp_path) as writer:
        writer.append(batch_of(datagrams[:100]))  # before: not shown
        process = follow(tmp_path, "--messages", "--format", "jsonl", "method:INVITE")
        try:
            assert process.stdout is not None
            invite = next(d for d in datagrams[100:200] if b"INVITE sip:" in d)
            wait_until_it_follows(writer, process, [invite] * 150)
            shown: list[float] = []
            sent = 0
            for begin in range(200, 1300, 100):
                part = datagrams[begin : begin + 100]
                expected = sum(b"INVITE\r\n" in d.split(b"CSeq:")[1][:20] for d in part)
                appended = time.monotonic()
                writer.append(batch_of(part))
                if begin in (500, 900):
                    writer.seal()  # what was read from the journal must not come again from Parquet
                rows = [json.loads(process.stdout.readline()) for _ in range(expected)]
                shown.append(time.monotonic() - appended)
                assert [row["ts"] for row in rows] == sorted(row["ts"] for row in rows)
                sent += expected
            assert sorted(shown)[len(shown) // 2] < 10.0
            time.sleep(0.6)
            process.send_signal(signal.SIGINT)
            rest, errors = process.communicate(timeout=60)
            assert rest == ""
            assert process.returncode == 0, errors
        finally:
            if process.poll() is None:
                process.kill()


def wait_until_it_follows(writer: LakeWriter, process: subprocess.Popen[str], marks: list[bytes]) -> None:
    """Append marks until one of them is shown, then pass over those on their way."""
    assert process.stdout is not None
    os.set_blocking(process.stdout.fileno(), False)
    seen = 0
    for mark in marks:
        writer.append(batch_of([mark]))
        time.sleep(0.4)
        seen += len(_drain(process))
        if seen:
            break
    assert seen, "nothing was shown"
    quiet = time.monotonic()
    while time.monotonic() - quiet < 3:
        time.sleep(0.1)
        if _drain(process):
            quiet = time.monotonic()
    os.set_blocking(process.stdout.fileno(), True)


def _drain(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout is not None
    try:
        return os.read(process.stdout.fileno(), 1 << 20).decode().splitlines()
    except BlockingIOError:
        return []


def test_follow_calls_ends_at_the_limit(tmp_path: Path) -> None:
    datagrams = recorded()
    with LakeWriter(tmp_path) as writer:
        process = follow(tmp_path, "--format", "jsonl", "--limit", "3", "--fields", "call_id,method")
        try:
            for at in range(0, 1300, 26):
                writer.append(batch_of(datagrams[at : at + 26]))
                if process.poll() is not None:
                    break
                time.sleep(0.3)
            output, errors = process.communicate(timeout=60)
        finally:
            if process.poll() is None:
                process.kill()
    assert process.returncode == 0, errors
    rows = [json.loads(line) for line in output.splitlines()]
    assert len({row["call_id"] for row in rows}) == len(rows) == 3


def test_ctrl_c_within_a_query_is_no_error() -> None:
    """DuckDB makes an error of its own of a signal that comes while it is at work."""
    before = signal.getsignal(signal.SIGINT)
    with _until_interrupted():
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise RuntimeError("Query interrupted") from None
    with _until_interrupted():
        signal.raise_signal(signal.SIGINT)
    with pytest.raises(RuntimeError), _until_interrupted():
        raise RuntimeError("a fault")
    assert signal.getsignal(signal.SIGINT) is before
