"""What `hepcat serve` prints once it is up: commands that work as they stand there."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from hepcat.config.settings import Settings
from hepcat.control.serving import banner
from hepcat.pipeline.server import Server

DATABASES = [
    {"name": "db", "url": "mysql://u:secret@h/d"},
    {"name": "unused", "url_file": "/nonexistent/url"},
]


def printed(capsys: pytest.CaptureFixture[str], config: Path | None = None, **settings: Any) -> str:
    banner(Server(Settings.model_validate(settings)), config)
    return capsys.readouterr().out


def test_only_databases_in_use_are_read(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, databases=DATABASES, stores=["lake", "db"])
    assert "db (mysql://u:***@h/d)" in text
    assert "secret" not in text
    assert "unused" not in text


def test_commands_lead_to_this_server(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, data="/srv/lake", sipcapture={})
    assert "`hepcat ctl capture on --data /srv/lake`" in text
    assert "search --data /srv/lake --last 1h" in text
    assert "bench hep" not in text, "there is no listener"
    text = printed(capsys, sipcapture={}, control={"socket": "/run/hepcat.sock"})
    assert "`hepcat ctl capture on --socket /run/hepcat.sock`" in text
    text = printed(capsys, Path("/etc/hepcat.toml"), databases=DATABASES, stores=["db"])
    assert "search --config /etc/hepcat.toml --last 1h" in text
    assert "bench hep --to udp://127.0.0.1:9060" in text


def test_nobody_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as gone:
        monkeypatch.setattr(sys, "stdout", gone)
        banner(Server(Settings()), None)
        print("what comes later is no error either", flush=True)
