"""The contract of a measurement: a module of hepcat.bench.lines with NAME and `measure(context)`.

In: a Context. Out: Rows, each with what was measured, what must be reached and what it is compared to.
What can go wrong: Skipped, where something that the measurement needs is not there; any other error
becomes a failed row, so that the rest is still measured.
"""

import importlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from hepcat.errors import HepcatError


class Skipped(Exception):
    """Why a measurement cannot be made here."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `passed`: None where nothing is demanded. `value`: the bare number."""

    what: str
    measured: str
    must: str = ""
    compared: str = ""
    passed: bool | None = None
    value: float | None = None
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Context:
    """What a measurement is given. `results`: what earlier lines left for later ones."""

    work: Path
    quick: bool = False
    full: bool = False
    say: Callable[[str], None] = lambda text: None
    results: dict[str, Any] = field(default_factory=dict)


class Line(Protocol):
    """A module of hepcat.bench.lines."""

    NAME: str

    def measure(self, context: Context) -> list[Row]:
        """Measure."""


#: The measurements, in the order of the table: modules of hepcat.bench.lines.
LINES: Final[tuple[str, ...]] = (
    "start",
    "decode",
    "ingest",
    "importing",
    "searching",
    "web",
    "agent",
    "mirror",
    "databases",
    "clickhouse",
    "reading",
)


def run_lines(context: Context, only: Sequence[str] = ()) -> list[Row]:
    """Make the measurements; raises HepcatError for a name that is none."""
    unknown = [name for name in only if name not in LINES]
    if unknown:
        raise HepcatError(f"no measurement is called {unknown[0]!r}", "Those are: " + ", ".join(LINES))
    rows: list[Row] = []
    for name in only or LINES:
        module: Any = importlib.import_module(f"hepcat.bench.lines.{name}")
        line: Line = module
        begin = time.perf_counter()
        context.say(f"{name}: {line.NAME}")
        try:
            rows += line.measure(context)
        except Skipped as reason:
            rows.append(Row(line.NAME, f"skipped: {reason}"))
        except Exception as error:
            rows.append(Row(line.NAME, f"failed: {type(error).__name__}: {error}", passed=False))
        context.say(f"{name}: done in {time.perf_counter() - begin:.0f} s")
    return rows
