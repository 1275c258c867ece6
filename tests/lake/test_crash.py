"""SIGKILL at every step: nothing twice, nothing missing. Real processes, really killed."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hepcat.stores.lake import Lake, LakeWriter
from hepcat.stores.lake.catalog import entries
from tests.lake.child import BATCH, SETTINGS
from tests.lake.count import assert_exactly, payloads

ROOT = Path(__file__).resolve().parents[2]


def _start(folder, first, fault=""):
    return subprocess.Popen(
        [sys.executable, "-m", "tests.lake.child", str(folder), str(first)],
        stdout=subprocess.PIPE,
        env={**os.environ, "HEPCAT_FAULT": fault},
        cwd=ROOT,
        text=True,
    )


def _stored(child, first):
    """Read what the dead child said; the last whole line is what it had stored for sure."""
    numbers = [int(line) for line in child.stdout.read().split("\n")[:-1] if line.isdigit()]
    return numbers[-1] if numbers else first


@pytest.mark.parametrize(
    "fault",
    [
        "seal:1", "part:3", "published:1", "move:3", "moved:2", "unlinked:1",
        "merge:1", "merged:1", "replaced:1",
    ],
)  # fmt: skip
def test_killed_at_a_step_of_sealing_or_merging(tmp_path, fault):
    child = _start(tmp_path, 0, fault)
    try:
        child.wait(120)
    finally:
        child.kill()
    assert child.returncode == -signal.SIGKILL
    stored = _stored(child, 0)
    # a reader that starts before any writer has repaired the lake
    n = assert_exactly(tmp_path, stored, stored + BATCH)
    with LakeWriter(tmp_path, SETTINGS) as writer:
        assert_exactly(tmp_path, n)
        assert writer.seal()
        assert_exactly(tmp_path, n)
    assert_exactly(tmp_path, n)
    assert not entries(tmp_path)  # every journal sealed, every folder of parts gone


def test_killed_again_and_again_at_random_moments_beside_a_reader(tmp_path):
    rng = random.Random(11)
    n = 0
    with Lake(_made(tmp_path)) as reader:
        for _ in range(4):
            child = _start(tmp_path, n)
            try:
                assert child.stdout.readline() == "ready\n"
                end = time.monotonic() + rng.uniform(0.1, 0.7)
                before = n
                while time.monotonic() < end:
                    found = payloads(reader)
                    assert max(found.values(), default=1) == 1
                    assert len(found) >= before
                    before = len(found)
            finally:
                child.kill()
                child.wait()
            stored = max(_stored(child, n), before)
            n = assert_exactly(tmp_path, stored, stored + BATCH)
        assert n > 0
        found = payloads(reader)
        assert len(found) == n
        assert max(found.values()) == 1


def _made(path):
    LakeWriter(path, SETTINGS).close()
    return path


def test_torn_last_batch_is_cut_off_at_start(tmp_path):
    child = _start(tmp_path, 0)
    try:
        for _ in range(4):  # "ready", then three batches
            child.stdout.readline()
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    journals = sorted((tmp_path / "journal").glob("*.arrows"))
    if not journals:
        pytest.skip("it was sealed just then")
    with journals[-1].open("ab") as f:
        f.write(b"\xff\xff\xff\xff\x10\x02\x00\x00 half a batch")
    n = assert_exactly(tmp_path, 3 * BATCH, 100 * BATCH)
    with LakeWriter(tmp_path, SETTINGS):
        pass
    assert_exactly(tmp_path, n)
