"""SIGKILL at any moment, again and again: nothing twice, nothing missing. Real processes, really killed."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.stores.child_spool import BATCH
from tests.stores.rig import Rig, hasten, names

ROOT = Path(__file__).resolve().parents[2]


def _run_and_kill(folder, first, often, seconds):
    """Start a store, kill it so long after it was ready; return up to which record it had stored for sure."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.stores.child_spool", str(folder), str(first), str(often)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        text=True,
    ) as child:
        try:
            assert child.stdout.readline() == "ready\n", child.stderr.read()
            said = child.stdout.readline()
            time.sleep(seconds)
        finally:
            child.send_signal(signal.SIGKILL)
        rest, errors = child.communicate()
        assert child.returncode == -signal.SIGKILL, errors
        assert not errors, errors
    numbers = [int(line) for line in (said + rest).split("\n")[:-1] if line.isdigit()]
    return numbers[-1] if numbers else first


@pytest.mark.parametrize("often", [0.0, 0.3])
def test_killed_again_and_again(tmp_path, monkeypatch, often):
    hasten(monkeypatch)
    chance = random.Random(7)
    expected, first = [], 0
    for _ in range(5):
        stored = _run_and_kill(tmp_path, first, often, chance.uniform(0.05, 0.4))
        assert stored > first
        expected.append((first, stored))
        first = stored + BATCH  # the batch it was in the middle of may be there or not
    rig = Rig(tmp_path)
    store = rig.start()
    rig.drained()
    assert store.counts().drops == {}
    rig.stop()
    found = rig.found()
    maybe = {name for _, stored in expected for name in names(stored, BATCH)}
    assert [name for name in found if name not in maybe] == [
        name for begin, end in expected for name in names(begin, end - begin)
    ]
    assert len(found) == len(set(found))
    assert not list(rig.spool.glob("*.arrows"))
