"""The rooms of the architecture: imports go downwards only, and the agent's rooms stay small."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import hepcat

SRC = Path(hepcat.__file__).parent

#: Rooms from the bottom up. A module may import from its own level and from those below.
LEVELS: tuple[tuple[str, ...], ...] = (
    ("errors", "_pure"),
    ("batch",),
    ("wire",),
    ("mmsg",),
    ("config",),
    ("sources", "plans", "sinks", "stores"),
    ("search",),
    ("pipeline",),
    ("control",),
    ("bench",),
    ("cli", "web", "tui"),
)
LEVEL = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}
MODULES = sorted(SRC.rglob("*.py"))

#: What the agent's rooms may never lead to, on import.
HEAVY = (
    "pyarrow", "duckdb", "sqlglot", "lark", "fastapi", "uvicorn", "sqlalchemy", "argon2", "authlib", "httpx",
)  # fmt: skip
LIGHT_MODULES = (
    "hepcat",
    "hepcat.cli.main",
    "hepcat.wire.hep",
    "hepcat.wire.sip",
    "hepcat.sources.hep_udp",
    "hepcat.control.running",
    "hepcat.cli.agent",
)


def room_of(path: Path) -> str:
    """Return the room (first folder or module name) of a file of the package."""
    return path.relative_to(SRC).with_suffix("").parts[0]


def imports_of(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, room) for each import of a hepcat room, those within functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
            if node.module == "hepcat":
                names = [f"hepcat.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "hepcat" and len(parts) > 1 and parts[1] in LEVEL:
                yield node.lineno, parts[1]


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SRC)))
def test_imports_go_downwards(path: Path) -> None:
    room = room_of(path)
    if room in ("__init__", "__main__"):
        return  # the doors: the lazy API and `python -m hepcat`
    assert room in LEVEL, f"{room} is no room of the architecture: add it to LEVELS where it belongs"
    upwards = [(line, to) for line, to in imports_of(path) if LEVEL[to] > LEVEL[room]]
    assert not upwards, f"{path.name} imports upwards: {upwards}"


@pytest.mark.parametrize("path", [p for p in MODULES if room_of(p) == "wire"], ids=lambda p: p.name)
def test_wire_does_no_io(path: Path) -> None:
    banned = {"socket", "time", "threading", "logging", "structlog", "os", "io", "asyncio", "select"}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            assert not banned & {alias.name.split(".")[0] for alias in node.names}, f"line {node.lineno}"
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.module.split(".")[0] not in banned, f"line {node.lineno}"


@pytest.mark.parametrize("module", LIGHT_MODULES)
def test_agent_rooms_stay_small(module: str) -> None:
    code = f"import sys, {module}; print(*[m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "", f"import {module} leads to {done.stdout.strip()}"


def test_sources_of_the_stores_are_loaded_lazily() -> None:
    """The import rule can fail: the lake does lead to pyarrow."""
    code = "import sys, hepcat.stores.lake.arrow; print('pyarrow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
