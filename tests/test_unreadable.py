"""Files and folders that may not be read: told in a sentence with advice, as every other fault.

Typer would check paths itself, and tell it with the command's usage.
"""

import os
import subprocess
from pathlib import Path

import pytest
import typer.main

from hepcat.cli.main import make_app
from tests.support import HEPCAT, need

#: Root without the right to pass over the modes of files.
WITHOUT_RIGHTS = ["setpriv", "--inh-caps=-all", "--bounding-set=-dac_override,-dac_read_search"]


def fails(*arguments: str) -> str:
    """Run the command line as one who may read only what is theirs; return what it says."""
    before: list[str] = []
    if os.geteuid() == 0:
        need("setpriv")
        before = WITHOUT_RIGHTS
    done = subprocess.run([*before, *HEPCAT, *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1, done
    assert "Usage" not in done.stderr
    return done.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A lake's folder of somebody else."""
    made = tmp_path / "lake"
    made.mkdir(mode=0o700)
    if os.geteuid() == 0:
        os.chown(made, 65_534, 65_534)
    else:
        made.chmod(0)
    return made


@pytest.mark.parametrize("words", [["search"], ["import", "x.pcap"], ["user", "list"]])
def test_the_lake(folder: Path, words: list[str]) -> None:
    path = folder / "below" if words[0] == "user" else folder
    said = fails(*words, "--data", str(path))
    assert said.startswith(f"hepcat: cannot read the folder {path}: Permission denied\n  Become root")


def test_a_configuration(tmp_path: Path) -> None:
    config = tmp_path / "hepcat.toml"
    config.touch(mode=0)
    assert f"hepcat: {config}: cannot be read: Permission denied" in fails("check-config", str(config))


def test_every_path_is_checked_by_us() -> None:
    checked = []

    def walk(command: object, name: str) -> None:
        for parameter in command.params:  # type: ignore[attr-defined]
            kind = getattr(parameter, "type_descriptor", None)
            if kind is not None and "Path" in str(kind.annotation) and kind.parameter_info.readable:
                checked.append(f"{name} {parameter.opts[0]}")
        for inner, one in getattr(command, "commands", {}).items():
            walk(one, f"{name} {inner}")

    walk(typer.main.get_command(make_app()), "hepcat")
    assert [each for each in checked if not each.startswith("hepcat bench ")] == []
    assert checked, "the bench's tools, which only developers use: the walk finds something"
