"""Import: stored once, all or nothing, beside a server, with errors for people."""

import datetime as dt
import json
import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from hepcat.config.lake import LakeSettings
from hepcat.errors import HepcatError
from hepcat.pipeline import importing
from hepcat.pipeline.importing import Outcome, import_capture
from hepcat.pipeline.ledger import Ledger
from hepcat.search import api
from hepcat.stores.lake import ImportWriter, LakeWriter
from hepcat.stores.lake.compact import Compactor
from hepcat.stores.lake.retention import retain
from tests.import_export.support import command
from tests.lake.make import numbered
from tests.support import HEPCAT
from tests.wire import make_capture as make

SETTINGS = LakeSettings()


def capture(path: Path, count: int = 20, name: str = "c", tail: bytes = b"") -> Path:
    frames = [
        make.ethernet(0x0800, make.ipv4(make.udp(make.message("INVITE", f"{name}{i}")))) for i in range(count)
    ]
    records: list[make.Record] = [(1_700_000_000, i, frame, None) for i, frame in enumerate(frames)]
    path.write_bytes(make.make_pcap(records) + tail)
    return path


def run(path: Path, data: Path, again: bool = False) -> Outcome:
    return import_capture(path, data, SETTINGS, again=again)


def stored(data: Path) -> int:
    with api.open(data) as lake:
        return lake.count(messages=True)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def test_an_import_is_found_and_repeating_it_changes_nothing(tmp_path: Path, data: Path) -> None:
    path = capture(tmp_path / "a.pcap")
    assert run(path, data).before is None
    assert stored(data) == 20
    again = run(path, data)
    assert again.before is not None
    assert (again.before.messages, again.before.file) == (20, str(path))
    assert again.progress.packets == 0, "told by its hash, before it is read"
    assert stored(data) == 20


def test_the_same_octets_under_another_name_are_the_same_capture(tmp_path: Path, data: Path) -> None:
    run(capture(tmp_path / "a.pcap"), data)
    assert run(capture(tmp_path / "b.pcap"), data).before is not None
    other = run(capture(tmp_path / "c.pcap", name="d"), data)  # as long, not the same
    assert other.before is None
    assert stored(data) == 40


def test_again_stores_once_more(tmp_path: Path, data: Path) -> None:
    path = capture(tmp_path / "a.pcap")
    run(path, data)
    assert run(path, data, again=True).before is None
    assert stored(data) == 40
    assert run(path, data).before is not None


def test_beside_a_running_server(tmp_path: Path, data: Path) -> None:
    with LakeWriter(data, SETTINGS):
        run(capture(tmp_path / "a.pcap"), data)
        assert stored(data) == 20


def test_two_imports_of_the_same_octets_at_once_store_them_once(tmp_path: Path, data: Path) -> None:
    paths = [capture(tmp_path / f"{i}.pcap", 300) for i in range(4)]
    outcomes: list[Outcome] = []
    threads = [threading.Thread(target=lambda p=p: outcomes.append(run(p, data))) for p in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcome.before is None for outcome in outcomes) == [False, False, False, True]
    assert stored(data) == 300


def test_a_cut_capture_is_stored_as_far_as_it_goes(tmp_path: Path, data: Path) -> None:
    outcome = run(capture(tmp_path / "a.pcap", tail=bytes(8) + b"\x40\0\0\0" * 2), data)
    assert "ends within a record" in str(outcome.progress.problem)
    assert stored(data) == 20


def test_a_capture_without_sip_leaves_no_lake_and_no_record(tmp_path: Path, data: Path) -> None:
    path = tmp_path / "a.pcap"
    path.write_bytes(make.make_pcap([(0, 0, bytes(60), None)]))
    outcome = run(path, data)
    assert (outcome.progress.packets, outcome.progress.messages) == (1, 0)
    assert not data.exists()


@pytest.mark.parametrize("octets", [b"", b"no capture"])
def test_what_is_no_capture_touches_nothing(tmp_path: Path, data: Path, octets: bytes) -> None:
    path = tmp_path / "a.pcap"
    path.write_bytes(octets)
    with pytest.raises(HepcatError):
        run(path, data)
    assert not data.exists()


def test_an_import_broken_off_half_way_leaves_nothing(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = capture(tmp_path / "a.pcap", 30)
    monkeypatch.setattr(importing, "ROWS", 10)
    appended: list[int] = []

    def append_twice(self: ImportWriter, batch: object) -> None:
        appended.append(1)
        if len(appended) == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ImportWriter, "append", append_twice)
        with pytest.raises(KeyboardInterrupt):
            run(path, data)
    assert stored(data) == 0
    assert run(path, data).before is None
    assert stored(data) == 30


@pytest.mark.parametrize("passage", ["part", "publish", "published", "moved"])
def test_killed_anywhere_then_repeated_stores_once(tmp_path: Path, data: Path, passage: str) -> None:
    """SIGKILL at each passage of the lake's commit: the next run completes or repeats, never doubles."""
    path = capture(tmp_path / "a.pcap")
    environment = {**os.environ, "HEPCAT_FAULT": f"{passage}:1"}
    arguments = [*HEPCAT, "import", str(path), "--data", str(data)]
    killed = subprocess.run(arguments, env=environment, capture_output=True, timeout=120)
    assert killed.returncode == -signal.SIGKILL
    assert stored(data) in (0, 20)
    run(path, data)
    assert stored(data) == 20
    assert run(path, data).before is not None


@pytest.mark.parametrize("passage", ["part", "publish"])
def test_a_killed_import_is_none_though_a_merge_spans_its_numbers(
    tmp_path: Path, data: Path, passage: str
) -> None:
    """What was said of it before it counted must not make it count."""
    settings = LakeSettings(compact_files=2, delete_after=0)
    with LakeWriter(data, LakeSettings(compact=False)) as server:
        server.append(numbered(0, 10, ts=1_700_000_000_000_000))
    path = capture(tmp_path / "a.pcap")
    environment = {**os.environ, "HEPCAT_FAULT": f"{passage}:1", "HEPCAT_LAKE__COMPACT": "false"}
    killed = subprocess.run(
        [*HEPCAT, "import", str(path), "--data", str(data)], env=environment, capture_output=True, timeout=120
    )
    assert killed.returncode == -signal.SIGKILL
    with LakeWriter(data, LakeSettings(compact=False)) as server:  # removes what is left of it
        server.append(numbered(10, 10, ts=1_700_000_000_000_000))
    while Compactor(data, settings, lambda *_: None).step():
        pass
    assert len(list(data.glob("sip/*/*.parquet"))) == 1
    assert stored(data) == 20
    assert run(path, data).before is None
    assert stored(data) == 40
    assert run(path, data).before is not None


def test_killed_between_the_lakes_rename_and_the_records(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = capture(tmp_path / "a.pcap")

    def die(*_: object) -> None:
        raise OSError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr("hepcat.stores.lake.importer.finish", die)
        with pytest.raises(HepcatError, match="power cut"):
            run(path, data)
    assert not list(data.glob("imports/*.json"))
    assert stored(data) == 20
    (record,) = data.glob("journal/*.done/imported.*.json")
    assert Ledger(data).find(record.name.split(".")[1]) is not None
    assert run(path, data).before is not None
    assert stored(data) == 20
    assert list(data.glob("imports/*.json"))


def test_what_retention_deleted_can_be_imported_again(tmp_path: Path, data: Path) -> None:
    """Messages of 2023, and a lake that keeps 30 days; another capture of the same day stays."""
    path = capture(tmp_path / "a.pcap")
    keep = LakeSettings(retention_days=30)
    outcome = import_capture(path, data, keep)
    assert outcome.expired == 20
    assert run(path, data).before is not None
    assert retain(data, keep, dt.datetime.now(dt.UTC).date()).rows == 20
    assert stored(data) == 0
    assert run(path, data).before is None
    assert stored(data) == 20
    assert run(path, data).before is not None


def test_messages_older_than_the_retention_are_told(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    path = capture(tmp_path / "a.pcap", 3)
    config = tmp_path / "hepcat.toml"
    config.write_text("[lake]\nretention_days = 7\n")
    arguments = ("import", str(path), "--data", str(data))
    assert command(monkeypatch, *arguments, "--config", str(config)) == 0
    assert "3 messages are older than retention_days = 7" in capfd.readouterr().err
    assert command(monkeypatch, *arguments, "--again") == 0
    assert "retention" not in capfd.readouterr().err


def test_what_is_stored_is_not_for_everybody(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = os.umask(0o022)
    try:
        assert command(monkeypatch, "import", str(capture(tmp_path / "a.pcap")), "--data", str(data)) == 0
    finally:
        os.umask(before)
    assert [p for p in (data, *data.rglob("*")) if p.stat().st_mode & 0o007] == []


def test_damage_found_on_the_way_is_told(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A dead server's journal is sealed by an import, which has no log."""
    (data / "journal").mkdir(parents=True)
    journal = data / "journal" / f"{0:019d}.arrows"
    journal.write_bytes(b"no journal at all")
    path = capture(tmp_path / "a.pcap", 3)
    assert command(monkeypatch, "import", str(path), "--data", str(data)) == 0
    assert f"damaged file in the lake: {journal}.damaged: 17 octets" in capfd.readouterr().err
    assert stored(data) == 3


def test_a_pipe_is_refused_at_once(tmp_path: Path, data: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    refused: list[BaseException] = []

    def try_it() -> None:
        try:
            run(tmp_path / "pipe", data)
        except HepcatError as error:
            refused.append(error)

    thread = threading.Thread(target=try_it, daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    assert "not a regular file" in str(refused[0])
    assert not data.exists()


def test_a_record_that_cannot_be_read_is_none(tmp_path: Path, data: Path) -> None:
    path = capture(tmp_path / "a.pcap")
    run(path, data)
    (record,) = (data / "imports").glob("*.json")
    assert json.loads(record.read_text())["messages"] == 20
    record.write_text("{")
    assert run(path, data).before is None


def test_the_command_says_what_it_did(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    good = capture(tmp_path / "a.pcap", 3, tail=bytes(3))
    odd = tmp_path / "odd.pcap"
    odd.write_bytes(b"odd")
    bad = (str(tmp_path / "none.pcap"), str(odd), str(tmp_path))
    assert command(monkeypatch, "import", *bad, str(good), "--data", str(data)) == 1
    said = capfd.readouterr()
    assert f"{good}: 3 packets, 3 SIP messages stored in" in said.out
    for problem in ("none.pcap: no such file", "odd.pcap: ends within the header", "a folder, not a capture"):
        assert problem in said.err
    assert "a.pcap: the file ends within a record, at octet" in said.err
    assert command(monkeypatch, "import", str(good), "--data", str(data)) == 0
    said = capfd.readouterr()
    assert "already imported on 20" in said.out
    assert "3 messages; --again to store it once more" in said.out
    assert command(monkeypatch, "import", str(good), "--data", str(data), "--again") == 0
    assert "3 SIP messages stored" in capfd.readouterr().out
