"""The measurements: each is listed and documented, an error of one leaves the others, the table is whole."""

import importlib
import json
import pkgutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hepcat.bench import lines, measure, report
from hepcat.bench.lines import ingest
from hepcat.bench.lines.decode import invite
from hepcat.bench.lines.ingest import Trial, highest
from hepcat.bench.measure import Context, Row, Skipped, run_lines
from hepcat.bench.processes import Memory
from hepcat.cli.main import make_app
from hepcat.errors import HepcatError


def test_every_measurement_is_listed() -> None:
    there = {module.name for module in pkgutil.iter_modules(lines.__path__)}
    assert there == set(measure.LINES)
    for name in there:
        module = importlib.import_module(f"hepcat.bench.lines.{name}")
        assert module.__doc__
        assert module.NAME
        assert module.measure.__doc__


def test_unknown_measurement_is_explained(tmp_path: Path) -> None:
    with pytest.raises(HepcatError, match="decod"):
        run_lines(Context(tmp_path), ["decod"])


def test_one_that_fails_leaves_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(context: Context) -> list[Row]:
        raise ValueError("broken")

    def skips(context: Context) -> list[Row]:
        raise Skipped("not here")

    monkeypatch.setattr("hepcat.bench.lines.start.measure", fails)
    monkeypatch.setattr("hepcat.bench.lines.decode.measure", skips)
    first, second = run_lines(Context(tmp_path), ["start", "decode"])
    assert (first.passed, first.measured) == (False, "failed: ValueError: broken")
    assert (second.passed, second.measured) == (None, "skipped: not here")


def test_table_in_every_form(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [Row("a | b", "1", "at most 2", "", True, 1.0), Row("c", "3", "at most 2", "x", False)]
    report.show(rows)
    plain = capsys.readouterr().out
    assert "must: at most 2 | pass" in plain
    assert "FAIL" in plain
    text = report.markdown(rows, "hepcat bench self")
    assert "a \\| b" in text
    assert "cores" in text
    assert text.count("\n|") == 4
    assert json.loads(json.dumps(report.as_json(rows, "x")))["rows"][0]["value"] == 1.0


def test_the_measured_invite_is_that_of_the_issue() -> None:
    sizes = {len(invite(i)) for i in range(100)}
    assert sizes == {630}
    head, _, body = invite(1).partition(b"\r\n\r\n")
    assert b"Content-Length: %d" % len(body) in head


@pytest.mark.parametrize(
    ("capacity", "fastest"), [(100_000, 300_000), (400_000, 300_000), (290_000, 300_000)]
)
def test_highest_rate_is_found(capacity: float, fastest: float) -> None:
    """A receiver that loses above its capacity: what is found lies below it, by a tenth at most."""

    def trial(rate: float, seconds: float) -> Trial:
        reached = min(rate or fastest, fastest)
        sent = int(reached * seconds)
        return Trial(rate, reached, sent, max(0, int((reached - capacity) * seconds)), 1.0)

    best = highest(trial, 1.0, lambda text: None)
    assert best.lost == 0
    assert 0.9 * min(capacity, fastest) <= best.reached <= capacity


def test_memory_that_grows_is_not_flat() -> None:
    flat = Memory([(t / 2, 300 << 20) for t in range(120)])
    grows = Memory([(t / 2, (200 + 3 * t) << 20) for t in range(120)])
    assert ingest._memory(flat, 60).passed
    assert ingest._memory(grows, 60).passed is False
    assert ingest._memory(grows, 10).passed, "a short run is not judged"
    assert grows.most() == 557 << 20


def test_what_is_lost_anywhere_fails() -> None:
    sink = Trial(0, 1000.0, 1000, 0, 1.0)
    sent = {"rate": 700.0, "messages": 700}
    good = {"received": 700, "stored": 700, "dropped": 0}
    assert ingest._stored(sink, sent, good, 700, 700, 1).passed
    assert ingest._stored(sink, sent, good, 699, 700, 1).passed is False
    assert ingest._stored(sink, sent, good | {"stored": 699}, 700, 700, 1).passed is False


def test_commands(tmp_path: Path) -> None:
    run = CliRunner()
    done = run.invoke(
        make_app(), ["bench", "pcap", "--packets", "200", "-o", str(tmp_path / "a.pcap"), "--json"]
    )
    assert done.exit_code == 0, done.output
    assert json.loads(done.output)["sip"] == 200
    done = run.invoke(
        make_app(),
        ["bench", "hep", "--to", "udp://127.0.0.1:9", "--rate", "0", "--messages", "300", "--json"],
    )
    assert json.loads(done.output)["messages"] == 300
    done = run.invoke(make_app(), ["bench", "self", "--quick", "--only", "decode"])
    assert done.exit_code == 0, done.output
    assert "at most 1.0 us" in done.output
