"""The agent stays small: what it imports, and what it gives back after the start."""

import subprocess
import sys

import pytest

from hepcat.pipeline import memory


def run(code: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_the_agent_imports_neither_rich_nor_ssl() -> None:
    heavy = (
        "rich",
        "pygments",
        "asyncio",
        "ssl",
        "pyarrow",
        "duckdb",
        "prometheus_client",
        "typer.rich_utils",
    )
    there = run(
        "import hepcat.cli.main, hepcat.cli.agent, sys\n"
        "from hepcat.pipeline.lean import import_structlog\n"
        "import_structlog()\n"
        "import hepcat.control.running\n"
        f"print(*(m for m in {heavy!r} if m in sys.modules))"
    )
    assert there == []


def test_structlog_still_finds_what_it_was_imported_without() -> None:
    there = run(
        "import sys\n"
        "before = sys.modules.get('rich')\n"
        "from hepcat.pipeline.lean import import_structlog\n"
        "import_structlog()\n"
        "import structlog, io, rich, asyncio\n"
        "out = io.StringIO()\n"
        "structlog.configure(logger_factory=structlog.PrintLoggerFactory(out))\n"
        "async def say(): await structlog.get_logger().ainfo('said')\n"
        "asyncio.run(say())\n"
        "print(before is None, 'said' in out.getvalue(), rich.__name__)"
    )
    assert there == ["True", "True", "rich"]


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's /proc")
def test_giving_back_leaves_everything_in_working_order() -> None:
    before = memory._untouched_files()
    assert before, "no file is mapped?"
    given = memory.give_back()
    assert given > 2**20
    import numpy as np

    # code and constants of shared libraries come back as they were
    assert (np.arange(1000.0) @ np.arange(1000.0)) == pytest.approx(332833500.0)
    assert sum(resident for _, _, resident in memory._untouched_files()) < given
