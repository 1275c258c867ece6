"""What `make build` does: each kernel is compiled once, by it and not by pip too."""

import os
import subprocess
import sys

from tests.support import ROOT, need


def test_pip_compiles_no_kernel_for_make() -> None:
    need("make")
    done = subprocess.run(
        ["make", "--dry-run", "--always-make", "build"], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    lines = done.stdout.splitlines()
    (installs,) = (line for line in lines if " install " in line and " -e " in line)
    assert installs.startswith("HEPCAT_KERNEL=none ")
    assert len([line for line in lines if line.endswith("setup.py -q build_ext --inplace")]) == 1
    assert [line for line in lines if line.startswith("echo 'compiling")], "minutes without a word"


def test_no_kernel_at_all() -> None:
    """What pip does for make; anywhere else it compiles all of them."""
    code = "import sys, setuptools; setuptools.setup = lambda **given: print(len(given['ext_modules'])); "
    code += "sys.argv = ['setup.py']; exec(open('setup.py').read())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "HEPCAT_KERNEL": "none"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout.strip() == "0", done.stderr
