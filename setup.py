"""Build the Cython kernels; everything else stands in pyproject.toml.

A kernel is a .py file in Cython's pure Python mode: compiled here, and still importable as
plain Python (HEPCAT_PURE=1, see hepcat._pure). The list there is the one list of kernels.
"""

import ast
import os
import pathlib

from Cython.Build import cythonize
from setuptools import Extension, setup

#: What Cython's memoryviews need, compiled once and not into each kernel: that halves the time of a build.
SHARED = "hepcat._cyutility"


def kernels() -> tuple[str, ...]:
    """Read KERNELS out of hepcat/_pure.py without importing the package."""
    tree = ast.parse(pathlib.Path("src/hepcat/_pure.py").read_text())
    for node in tree.body:
        if isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") == "KERNELS":
            assert node.value is not None
            every = tuple(ast.literal_eval(node.value))
            only = os.environ.get("HEPCAT_KERNEL")  # rebuild one while working on it; "none": as make does
            return tuple(name for name in every if only in (None, name))
    raise SystemExit("src/hepcat/_pure.py has no KERNELS")


def extension(name: str, ending: str = ".py") -> Extension:
    """The extension of one kernel."""
    return Extension(
        name,
        [f"src/{name.replace('.', '/')}{ending}"],
        extra_compile_args=["-O3", "-g0", "-fno-strict-aliasing"],
    )


def extensions() -> list[Extension]:
    """The kernels, and what they share; nothing where no kernel is wanted."""
    wanted = kernels()
    return [*map(extension, wanted), extension(SHARED, ".c")] if wanted else []


THREADS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

setup(
    ext_modules=cythonize(
        extensions(),
        language_level=3,
        quiet=True,
        nthreads=THREADS,
        shared_utility_qualified_name=SHARED,
        # Hostile octets reach these loops, so bounds checks stay on (DESIGN.md, settled decisions).
        compiler_directives={
            "boundscheck": True,
            "wraparound": False,
            "cdivision": True,
            "initializedcheck": False,
            "embedsignature": True,
            "show_performance_hints": False,  # they ask for boundscheck(False)
        },
    ),
    options={"build_ext": {"parallel": THREADS}},
)
