"""Durability: SIGKILL at random moments under load, while journals are sealed and files compacted."""

import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

import hepcat
from tests.support import Server
from tests.whole.sender import NumberedSender

KILLS = 20
RATE = 4_000
#: Journals of a second and files of a few: sealing and compaction never rest.
CONFIG = """
[lake]
journal_rows = 2000
journal_age = 1.0
compact_rows = 40000
compact_files = 2
delete_after = 1.0
"""
#: "kill -9 loses nothing that was read from a socket more than one batch interval ago"; a loaded
#: machine may need this long.
GRACE = 1.0


def numbers(data: Path) -> Counter[int]:
    """Return how often each number is in the lake, as a reader in another process sees it."""
    table = hepcat.open(data).messages("", fields=["call_id"])
    return Counter(int(value) for value in table["call_id"].to_pylist())


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_twenty_kills_lose_and_double_nothing(tmp_path: Path) -> None:
    config = tmp_path / "hepcat.toml"
    config.write_text(CONFIG)
    server = Server(tmp_path, "--config", str(config))
    sender = NumberedSender(server.port, RATE)
    sender.start()
    chance = random.Random(20)
    before: Counter[int] = Counter()
    survived = 0
    try:
        for _ in range(KILLS):
            server.start()
            time.sleep(chance.uniform(0.0, 1.5))
            dropped = server.total("hepcat_dropped_total")  # by the kernel, if any
            read = server.total("hepcat_received_total") - dropped
            time.sleep(GRACE)
            server.stop(signal.SIGKILL)
            seen = numbers(server.data)
            new = sorted(seen.keys() - before.keys())  # they come in order
            assert len(new) >= read, f"{read - len(new)} of {read} read before the kill are gone"
            missing = set(range(new[0], new[0] + read)) - seen.keys() if read else set()
            assert len(missing) <= dropped, (
                f"{len(missing)} read before the kill are gone: {sorted(missing)[:5]}"
            )
            survived += read
            assert max(seen.values(), default=0) <= 1, "a message is there twice"
            lost = before.keys() - seen.keys()
            assert not lost, f"{len(lost)} that were stored are gone: {sorted(lost)[:5]}"
            before = seen
        server.start()
        after = numbers(server.data)
        assert not before.keys() - after.keys()
    finally:
        sender.stop()
        if server.process and server.process.poll() is None:
            server.process.send_signal(signal.SIGTERM)
            server.process.wait(120)
    final = numbers(server.data)
    assert survived > 10_000
    assert max(final.values()) == 1
    assert not after.keys() - final.keys()
    sealed = list(server.data.glob("sip/date=*/*.parquet"))
    assert sealed, "nothing was sealed: the test did not test sealing"
    assert max(p.stat().st_size for p in sealed) > 3 * min(p.stat().st_size for p in sealed), (
        "nothing compacted"
    )
