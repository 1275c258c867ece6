"""Registries prove themselves: each column, drop reason, command and option has its doc line and test."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

from hepcat._pure import KERNELS
from hepcat.batch.drops import DROP_DOCS, Drop
from hepcat.batch.layout import NUMERIC
from hepcat.batch.schema import COMMON_COLUMNS, FIELDS, MALFORMED, SIP_COLUMNS
from hepcat.cli.main import COMMANDS, make_app
from tests.support import ROOT

TESTS = "\n".join(
    path.read_text() for path in sorted((ROOT / "tests").rglob("*.py")) if path != Path(__file__)
)
DOCS = {path.name: path.read_text() for path in (ROOT / "docs").glob("*.md")}


def leaves(command: object, path: str = "hepcat") -> dict[str, object]:
    """Return every command that runs something, by its words."""
    children = getattr(command, "commands", None)
    if not children:
        return {path: command}
    found: dict[str, object] = {}
    for name, child in children.items():
        if not child.hidden:  # hidden commands are parts of other commands
            found |= leaves(child, f"{path} {name}")
    return found


APP = typer.main.get_command(make_app())
LEAVES = leaves(APP)


@pytest.mark.parametrize("drop", Drop, ids=lambda d: d.name)
def test_drop_reason(drop: Drop) -> None:
    assert DROP_DOCS[drop], "no doc line"
    assert drop.name.lower() in DOCS["server.md"], "not in docs/server.md"


def test_drop_values_index_an_array() -> None:
    assert [d.value for d in Drop] == list(range(len(Drop)))


@pytest.mark.parametrize("column", [*SIP_COLUMNS, *COMMON_COLUMNS], ids=lambda c: c.name)
def test_column(column: object) -> None:
    name, doc = column.name, column.doc  # type: ignore[attr-defined]
    assert len(doc) > 8
    assert f"`{name}`" in DOCS["schema.md"]
    assert f'"{name}"' in TESTS or f"{name}=" in TESTS or f"{name}:" in TESTS, "no test names this column"


def test_every_column_has_its_source() -> None:
    numeric = {name for name, _, _ in NUMERIC} | {"src_ip", "dst_ip", "transport", "extra"}
    for column in (*SIP_COLUMNS, *COMMON_COLUMNS):
        if column.field is None:
            assert column.name in numeric
        else:
            assert FIELDS[column.field] == column.name


@pytest.mark.parametrize("reason", [r for r in MALFORMED if r])
def test_malformed(reason: str) -> None:
    assert f"`{reason}`" in DOCS["schema.md"]
    assert f'"{reason}"' in TESTS, "no test makes such a message"


@pytest.mark.parametrize("name", LEAVES)
def test_command(name: str) -> None:
    command = LEAVES[name]
    assert command.help, "no help"  # type: ignore[attr-defined]
    for parameter in command.params:  # type: ignore[attr-defined]
        assert getattr(parameter, "help", None), f"{parameter.name} has no help"
    assert f"## {name}\n" in DOCS["cli.md"]


@pytest.mark.parametrize("name", LEAVES)
def test_options_are_tried(name: str) -> None:
    """Every option stands in some test."""
    missing = []
    for parameter in LEAVES[name].params:  # type: ignore[attr-defined]
        if parameter.param_type_name != "option" or parameter.name == "help":
            continue
        if not any(f'"{option}' in TESTS or f"{option}=" in TESTS for option in parameter.opts):
            missing.append(parameter.opts[-1])
    assert not missing, f"no test tries {', '.join(missing)}"


def test_command_modules_are_light() -> None:
    """`hepcat --help` imports every command module: none of them may import what is heavy at its top."""
    heavy = {"numpy", "pyarrow", "duckdb", "sqlglot", "lark", "pydantic", "structlog", "rich"}
    for name in COMMANDS:
        tree = ast.parse((ROOT / "src" / Path(*name.split("."))).with_suffix(".py").read_text())
        top = {
            alias.name.split(".")[0]
            for node in tree.body
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in ([ast.alias(node.module or "")] if isinstance(node, ast.ImportFrom) else node.names)
        }
        assert not top & heavy, f"{name} imports {top & heavy}"


def test_kernels_are_compiled_and_run_uncompiled() -> None:
    """A kernel that is not compiled is 100 times slower, and nobody would notice."""
    code = f"import importlib; print(*[importlib.import_module(m).__file__ for m in {KERNELS!r}])"
    for pure, suffix in (("0", ".so"), ("1", ".py")):
        environment = {"HEPCAT_PURE": pure, "PATH": "/usr/bin:/bin"}
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
        )
        assert all(path.endswith(suffix) for path in done.stdout.split()), done.stdout


def test_generated_documentation_is_current() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hepcat.cli.reference", "--check", "docs"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}run `make docs`"


@pytest.mark.parametrize("page", [*DOCS, "README.md", "CONTRIBUTING.md"])
def test_links_lead_somewhere(page: str) -> None:
    import re

    text = (ROOT / ("docs" if page in DOCS else ".") / page).read_text()
    base = ROOT / "docs" if page in DOCS else ROOT
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", text):
        if "://" not in target:
            assert (base / target).exists(), f"{page} links to {target}"
