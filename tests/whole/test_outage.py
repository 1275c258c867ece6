"""The disk is full, or read-only, under a running server: capture goes on, drops count, storing resumes."""

import contextlib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import Server, need, wait_for
from tests.whole.sender import NumberedSender

CONFIG = """
[queue]
memory = 1048576
[lake]
journal_age = 2.0
"""


def mount(*arguments: str) -> None:
    """Call mount(8); skip the test where that is not allowed."""
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"cannot mount a tmpfs: {done.stderr.strip()}")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Give the server's data folder a disk of 24 MiB of its own."""
    need("mount", "umount")
    disk = tmp_path / "data"
    disk.mkdir()
    mount("-t", "tmpfs", "-o", "size=24m", "tmpfs", str(disk))
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def fill(path: Path) -> None:
    """Write a file until the disk is full."""
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(65_536))


def dropped(server: Server, reason: str) -> int:
    """Return how many were dropped for a reason."""
    metrics = server.metrics()
    return int(sum(v for k, v in metrics.items() if "dropped_total" in k and f'reason="{reason}"' in k))


@pytest.mark.parametrize(
    ("full", "reason"), [(True, "store_full"), (False, "store_failed")], ids=["full", "read-only"]
)
def test_storing_resumes_by_itself(tmp_path: Path, small_disk: Path, full: bool, reason: str) -> None:
    (tmp_path / "hepcat.toml").write_text(CONFIG)
    with Server(tmp_path, "--config", str(tmp_path / "hepcat.toml")).start() as server:
        sender = NumberedSender(server.port, 8_000)
        sender.start()
        wait_for(lambda: server.total("hepcat_stored_total") > 1_000, 60, "storing")
        filler = small_disk / "filler"
        if full:
            fill(filler)
        else:  # a disk with open files cannot become read-only, but another can come to lie over it
            mount("-t", "tmpfs", "-o", "ro", "tmpfs", str(small_disk))
        wait_for(lambda: dropped(server, reason) > 1_000, 60, f"drops counted as {reason}")
        before = server.total("hepcat_received_total")
        time.sleep(0.5)
        assert server.total("hepcat_received_total") > before, "capture stopped"
        assert server.metrics()["hepcat_store_up"] == 0

        if full:
            mount("-o", "remount,size=400m", str(small_disk))
            filler.unlink()
        else:
            subprocess.run(["umount", str(small_disk)], check=True)
            mount("-o", "remount,size=400m", str(small_disk))
        stored = server.total("hepcat_stored_total")
        wait_for(lambda: server.total("hepcat_stored_total") > stored + 2_000, 60, "storing again")
        sent = sender.stop()
        wait_for(lambda: server.total("hepcat_received_total") == sent, 60, "all received")

        def even() -> bool:
            metrics = ("hepcat_stored_total", "hepcat_dropped_total")
            return server.total("hepcat_received_total") == sum(map(server.total, metrics))

        wait_for(even, 60, "received = stored + dropped")
        total = server.total("hepcat_stored_total")
        wait_for(lambda: server.count() == total, 60, "found = stored")
        assert server.stop() == 0
        said = server.log.read_text()
        assert said.count("cannot store") <= 3, "the operator is told once a change, not once a try"
        assert "storing again" in said
        assert "Traceback" not in said
        assert server.count() == total
