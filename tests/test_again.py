"""The second try of `make test`: what gets one, and what it takes to pass."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.again import MOST, worth_a_try
from tests.support import ROOT

#: The test named `late` passes from its second run on, `wrong` never.
TESTS = """
from pathlib import Path

def test_late():
    first = not (seen := Path("seen")).exists()
    seen.touch()
    assert not first

def test_wrong():
    assert Path("right").exists()
"""


@pytest.mark.parametrize(
    ("failed", "worth"),
    [
        ([], False),
        (["tests/web/test_page.py::test_a"], True),
        ([f"tests/live/test_ring.py::test_{i}" for i in range(MOST)], True),
        ([f"tests/live/test_ring.py::test_{i}" for i in range(MOST + 1)], False),
        (["tests/web/test_page.py::test_a", "tests/wire/test_sip.py::test_b"], False),
    ],
)
def test_what_gets_a_second_try(failed: list[str], worth: bool) -> None:
    assert worth_a_try(failed) is worth


@pytest.mark.parametrize(("right", "status"), [(True, 0), (False, 1)])
def test_the_second_try(tmp_path: Path, right: bool, status: int) -> None:
    """A test that passes then is named; one that fails again fails the run."""
    (tmp_path / "test_it.py").write_text(TESTS)
    pytest_here = [sys.executable, "-m", "pytest", "-q", "--cache-clear", f"--rootdir={tmp_path}"]
    first = subprocess.run(pytest_here, cwd=tmp_path, capture_output=True, text=True)
    assert "2 failed" in first.stdout
    if right:
        (tmp_path / "right").touch()
    second = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "again.py"), str(first.returncode)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert second.returncode == status, second.stdout
    assert ("ONLY AT THE SECOND TRY, to be mended: test_it.py::test_late" in second.stdout) is right


@pytest.mark.parametrize("status", [1, 2, 5])
def test_a_run_that_names_no_failed_test_gets_none(tmp_path: Path, status: int) -> None:
    """It was stopped, or crashed, or could not begin."""
    again = [sys.executable, str(ROOT / "tests" / "again.py"), str(status)]
    done = subprocess.run(again, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (status, "", "")
