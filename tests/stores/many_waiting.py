"""A million records wait on disk, and are written by the next store: memory stays flat throughout."""

import sys
import time
from pathlib import Path

from hepcat.batch.drops import Drop
from hepcat.batch.layout import Batch
from hepcat.config.databases import DatabaseSettings
from hepcat.stores.spooled import SpooledStore
from hepcat.stores.store import StoreUnavailable
from hepcat.stores.writer import Range, Written
from tests.lake.make import traffic

RECORDS, SIZE = 1_000_000, 1000
#: MiB: one file of the spool mapped, and the columns of its records.
ROOM = 96


class Counting:
    """A writer that only checks that the numbers follow one another."""

    away = True
    following = 0

    def open(self, writer: str) -> list[Range]:
        if Counting.away:
            raise StoreUnavailable("away", Drop.STORE_FAILED)
        return []

    def write(self, batch: Batch, first: int, floor: int) -> Written:
        assert first == Counting.following, (first, Counting.following)
        Counting.following = first + batch.n
        return Written(rows=batch.n)

    def maintain(self) -> None:
        pass

    def close(self) -> None:
        pass


def resident() -> int:
    """Return the process's memory in MiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 // 2**20


def main() -> None:
    """Append, restart, drain; print the figures."""
    settings = DatabaseSettings(name="many", url="sqlite:///x")
    folder = Path(sys.argv[1]) / "spool"
    batch = traffic(SIZE)
    store = SpooledStore("many", folder, settings, Counting, lambda event, facts: None)
    store.append(batch)
    before, cpu = resident(), time.process_time()
    for _ in range(RECORDS // SIZE - 1):
        store.append(batch)
    appended = time.process_time() - cpu
    assert resident() - before < ROOM, (before, resident())
    assert store.counts().waiting == RECORDS
    store.close(0)
    Counting.away = False
    cpu, most = time.process_time(), 0
    store = SpooledStore("many", folder, settings, Counting, lambda event, facts: None)
    assert store.counts().taken == RECORDS
    while store.counts().waiting:
        most = max(most, resident())
        time.sleep(0.01)
    drained = time.process_time() - cpu
    assert most - before < ROOM, (before, most)
    assert Counting.following == RECORDS
    store.close()
    print(f"us of CPU a record: append {1e6 * appended / RECORDS:.2f}, drain {1e6 * drained / RECORDS:.2f}")
    print(f"MiB: {before} before, {most} at most")
    # Noisy neighbours double a figure; a statement of Python a record would be ten times as much.
    assert appended + drained < 5e-6 * RECORDS


if __name__ == "__main__":
    main()
