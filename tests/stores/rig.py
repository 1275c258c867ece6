"""A spooled store on a faulty database, started and stopped as a test wants."""

import time
from pathlib import Path
from typing import Any

from hepcat.config.databases import DatabaseSettings
from hepcat.stores.counts import StoreCounts
from hepcat.stores.spooled import SpooledStore, drain
from tests.stores.faulty import Faults, FaultyWriter, written


def hasten(monkeypatch: Any) -> None:
    """Make the waits between tries short."""
    monkeypatch.setattr(drain, "FIRST_WAIT", 0.002)
    monkeypatch.setattr(drain, "LONGEST_WAIT", 0.02)


class Rig:
    """One spool and one database in a folder, over any number of stores one after the other."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        self.spool = folder / "spool"
        self.database = folder / "database"
        self.faults = Faults()
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.settings = DatabaseSettings(
            **{"name": "test", "url": "sqlite:///x", "linger": 0, "rows": 50, **settings}
        )
        self.store: SpooledStore | None = None

    def start(self) -> SpooledStore:
        self.store = SpooledStore(
            "test",
            self.spool,
            self.settings,
            lambda: FaultyWriter(self.database, self.faults),
            lambda event, facts: self.events.append((event, facts)),
        )
        return self.store

    def stop(self, seconds: float = 60) -> StoreCounts:
        """Close the store; return its counts at rest, which add up."""
        assert self.store is not None
        self.store.close(seconds)
        counts, self.store = self.store.counts(), None
        assert_sum(counts)
        return counts

    def drained(self, seconds: float = 60, waiting: int = 0) -> StoreCounts:
        """Wait until no more than `waiting` records wait."""
        assert self.store is not None
        end = time.monotonic() + seconds
        while (counts := self.store.counts()).waiting > waiting:
            assert time.monotonic() < end, f"not within {seconds} s: {counts}, {self.events[-3:]}"
            time.sleep(0.002)
        if waiting == 0:
            assert_sum(counts)
        return counts

    def found(self) -> list[bytes]:
        """Return the payloads in the database."""
        return written(self.database)

    def told(self, event: str) -> list[dict[str, Any]]:
        """Return the facts of each event of that name."""
        return [facts for name, facts in self.events if name == event]

    def wait_for(self, event: str, seconds: float = 60) -> dict[str, Any]:
        """Wait until it is told; return the facts of the last."""
        end = time.monotonic() + seconds
        while not self.told(event):
            assert time.monotonic() < end, f"{event} not told within {seconds} s; {self.events}"
            time.sleep(0.002)
        return self.told(event)[-1]


def assert_sum(counts: StoreCounts) -> None:
    """Assert that every record is accounted for."""
    assert counts.taken == counts.written + counts.waiting + sum(counts.drops.values()), counts


def names(first: int, n: int) -> list[bytes]:
    """Return the payloads of tests.lake.make.numbered."""
    return [b"X %d" % i for i in range(first, first + n)]
