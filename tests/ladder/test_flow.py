"""`hepcat flow`: what to draw, in which form, where to, and what is said where that cannot be done."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from hepcat.cli.common import Reading
from hepcat.cli.main import make_app
from hepcat.errors import HepcatError
from hepcat.search import api
from hepcat.search.searcher import Searcher
from tests.ladder.make import message
from tests.ladder.test_model import A, B, answered
from tests.search.support import Source
from tests.support import HEPCAT, SHARED


class Data(api.Data):
    """A lake of a few rows."""

    def __init__(self, rows: list[dict]) -> None:
        self.searcher = Searcher(Source(rows))  # type: ignore[arg-type]

    def close(self) -> None:
        pass


def many_calls(count: int) -> list[dict]:
    return [message(i, f"{A}>{B}", "INVITE", call_id=f"busy-{i:02}", branch=f"b{i}") for i in range(count)]


@pytest.fixture(autouse=True)
def lake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("HEPCAT_") and name != "HEPCAT_SHARED"]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("COLUMNS", "100")
    rows = answered() + many_calls(25)
    monkeypatch.setattr(Reading, "open", lambda self: Data(rows))


def flow(*arguments: str) -> Result:
    return CliRunner().invoke(make_app(), ["flow", "--utc", *arguments], catch_exceptions=True)


def test_one_call() -> None:
    result = flow("call-1")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("call-1  INVITE alice → bob  200 OK, completed")
    assert "INVITE ─" in result.stdout
    assert "\x1b" not in result.stdout, "plain in a pipe"


def test_forms() -> None:
    assert flow("call-1", "--format", "svg").stdout.startswith("<svg ")
    assert flow("call-1", "--format", "mermaid").stdout.startswith("sequenceDiagram\n")
    value = json.loads(flow("call-1", "--format", "json", "--raw").stdout)
    assert len(value["messages"]) == 7
    assert "payload" in value["messages"][0]


def test_raw_adds_the_messages() -> None:
    text = flow("call-1", "--raw").stdout
    assert "\nm=audio 4000 RTP/AVP 0 8 101\n" in text
    assert "\n#7  13:46:55.100  10.0.0.1:5060 → 10.0.0.2:5060  udp 185 octets\n" in text


def test_colour() -> None:
    assert "\x1b[" in flow("call-1", "--color", "always").stdout
    assert "\x1b[" not in flow("call-1", "--color", "never").stdout


def test_a_file(tmp_path: Path) -> None:
    result = flow("call-1", "--format", "svg", "-o", str(tmp_path / "call.svg"))
    assert (result.exit_code, result.stdout) == (0, "")
    assert (tmp_path / "call.svg").read_text(encoding="utf-8").startswith("<svg ")
    result = flow("call-1", "-o", str(tmp_path / "no" / "file"))
    assert isinstance(result.exception, HepcatError)
    assert str(result.exception).endswith("No such file or directory")


def test_aliases_of_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "hepcat.toml").write_text('[aliases]\n"10.0.0.2" = "sbc"\n')
    text = flow("call-1", "--config", str(tmp_path / "hepcat.toml")).stdout
    assert " sbc" in text
    assert "10.0.0.2" not in text.split("PCMU")[0]


def test_several_calls_and_wildcards() -> None:
    result = flow("call-1", "busy-01", "call-1")
    assert result.stdout.count("● ") == 2
    result = flow("busy-1*")
    assert result.exit_code == 0, result.output
    assert result.stdout.count("● ") == 10


def test_a_query_is_limited_and_says_so() -> None:
    result = flow("--query", "call_id:busy-*")
    assert result.exit_code == 0, result.output
    assert result.stdout.count("● ") == 20
    assert "more than 20 calls match; these are the newest 20" in result.stderr
    result = flow("--query", "call_id:busy-*", "--limit", "1")
    assert "more than one call matches; this is the newest" in result.stderr
    assert "● " not in result.stdout, "one call needs no marks"
    assert "busy-24" in result.stdout
    assert "busy-04" not in result.stdout


def test_times() -> None:
    assert flow("--query", "call_id:busy-*", "--since", "2026-11-22T13:47:08Z").stdout.count("● ") == 2
    result = flow("call-1", "--until", "2026-11-22T13:46:46.5Z")
    assert "180 Ringing, ringing" in result.stdout
    assert flow("call-1", "--since", "soon").exit_code == 2
    assert flow("call-1", "--since", "1h", "--last", "1h").exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "said", "hint"),
    [
        (("busy-0",), "no message with Call-ID busy-0", "Similar: busy-"),
        (("call-1 ",), "no message with Call-ID call-1 ", "Similar: call-1"),
        (("\x1b[2J",), "no message with Call-ID \\x1b[2J", "`hepcat search` lists calls"),
        (("--query", "from:nobody"), "no call matches from:nobody", "Try `hepcat search`"),
        (("zzz*",), "no call matches call_id:zzz*", "Try"),
    ],
)
def test_nothing_found(arguments: tuple[str, ...], said: str, hint: str) -> None:
    result = flow(*arguments)
    assert isinstance(result.exception, HepcatError), result.output
    assert str(result.exception) == said
    assert result.exception.hint.startswith(hint)


def test_one_of_several_is_unknown() -> None:
    result = flow("call-1", "call-none")
    assert result.exit_code == 0
    assert "hepcat: no message with Call-ID call-none" in result.stderr
    assert "INVITE" in result.stdout


@pytest.mark.parametrize(
    "arguments",
    [(), ("call-1", "--query", "x"), ("call-1", "--format", "png"), ("call-1", "--raw", "--format", "svg")],
)
def test_wrong_use(arguments: tuple[str, ...]) -> None:
    assert flow(*arguments).exit_code == 2


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"no recorded traffic at {SHARED}")
def test_from_capture_to_picture(tmp_path: Path) -> None:
    """The real lake: imported, drawn by the real command, an unknown call refused with exit code 1."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "COLUMNS": "100"}
        return subprocess.run([*HEPCAT, *arguments], capture_output=True, text=True, env=environment)

    data = ("--data", str(tmp_path / "lake"))
    done = run("import", *data, str(SHARED / "captures" / "zeek-wireshark.pcap"))
    assert done.returncode == 0, done.stderr
    done = run("flow", *data, "105090259-446faf7a@192.168.1.2", "--utc")
    assert done.returncode == 0, done.stderr
    assert "CANCEL (retransmission 10)" in done.stdout
    assert "09:40:49.188" in done.stdout
    done = run("flow", *data, "105090259")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "hepcat: no message with Call-ID 105090259\n  Similar: 105090259-446faf7a@192.168.1.2\n"
    )
