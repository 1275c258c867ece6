"""The table of the measurements: for the terminal, as Markdown for docs/performance.md, as JSON.

In: rows. Out: text. The machine is named by what matters for the figures.
"""

import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from hepcat.bench.measure import Row

_HEADER = ("what", "measured", "must reach", "compared", "")


def machine() -> dict[str, str]:
    """Return processor, cores, memory, kernel, and the versions that matter."""
    facts = {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }
    for name in ("hepcat", "numpy", "pyarrow", "duckdb"):
        try:
            facts[name] = version(name)
        except PackageNotFoundError:
            facts[name] = "not installed"
    return facts


def _processor() -> str:
    """Return the processor's name as Linux gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def mark(row: Row) -> str:
    """Return the verdict in a word."""
    return "" if row.passed is None else "pass" if row.passed else "FAIL"


def show(rows: Sequence[Row]) -> None:
    """Print a table on a terminal, and lines of plain text in a pipe."""
    if not sys.stdout.isatty():
        for row in rows:
            parts = [row.what, row.measured, f"must: {row.must}" if row.must else "", row.compared, mark(row)]
            print(" | ".join(part for part in parts if part))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(*_HEADER, show_lines=True)
    for row in rows:
        colour = {True: "green", False: "bold red", None: ""}[row.passed]
        table.add_row(
            row.what, row.measured, row.must, row.compared, f"[{colour}]{mark(row)}[/]" if colour else ""
        )
    Console().print(table)


def markdown(rows: Sequence[Row], command: str) -> str:
    """Return the table with the machine and the command above it."""
    facts = ", ".join(f"{name} {value}" for name, value in machine().items())
    lines = [
        f"Measured with `{command}` on: {facts}.",
        "",
        "| " + " | ".join((*_HEADER[:4], "verdict")) + " |",
    ]
    lines.append("|---|---|---|---|---|")
    for row in rows:
        cells = (row.what, row.measured, row.must, row.compared, mark(row))
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def as_json(rows: Sequence[Row], command: str) -> dict[str, Any]:
    """Return everything, the details too."""
    return {"command": command, "machine": machine(), "rows": [asdict(row) for row in rows]}
