"""Freed memory is kept: the settings of the allocators, each in a process of its own."""

import subprocess
import sys

import pytest

CODE = """
import os
from hepcat.pipeline.memory import keep_freed_memory
print(keep_freed_memory(), os.environ["MIMALLOC_PURGE_DELAY"], "pyarrow" in __import__("sys").modules)
"""

FAULTS = """
import resource, sys
import numpy as np
from hepcat.pipeline.memory import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
np.ones(40_000_000, dtype=np.uint8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    np.ones(40_000_000, dtype=np.uint8)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def run(code: str, *arguments: str, **environment: str) -> str:
    """Run code in a new interpreter, with no settings of malloc but these; return what it printed."""
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True, timeout=60)
    return done.stdout.strip()


def test_sets_both_allocators_before_pyarrow():
    assert run(CODE) in ("True 2000 False", "False 2000 False")


def test_what_the_user_has_set_stays():
    assert run(CODE, MALLOC_TRIM_THRESHOLD_="1000000", MIMALLOC_PURGE_DELAY="7") == "False 7 False"


def test_arrays_made_again_do_not_fault_again():
    if run(CODE).startswith("False"):
        pytest.skip("this C library has no mallopt")
    assert int(run(FAULTS, "keep", NUMPY_MADVISE_HUGEPAGE="0")) < 1_000
    assert int(run(FAULTS, "plain", NUMPY_MADVISE_HUGEPAGE="0")) > 10_000
