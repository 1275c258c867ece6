"""What can be asked of a running server or agent: one table of methods, whatever the door.

In: what runs. Out: plain values (what JSON can carry); secrets never. A door (HTTP, later a socket and a
FIFO) looks the name up in METHODS and hands the answer out.
"""

import os
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from hepcat import __version__
from hepcat.batch.drops import Drop
from hepcat.pipeline.counters import Snapshot, SourceCounts


class Counting(Protocol):
    """Has all the counts."""

    def snapshot(self) -> Snapshot:
        """Return all counts."""


class Running(Protocol):
    """What a door needs of a server or an agent."""

    @property
    def counters(self) -> Counting:
        """Its counters."""

    def store_ok(self) -> bool:
        """Whether records get where they are to go, just now."""

    def store_gauges(self) -> Mapping[str, float]:
        """What its store tells of itself."""

    def about(self) -> dict[str, Any]:
        """What it does: listeners, folders, targets."""


def status(running: Running) -> dict[str, Any]:
    """Version, process, and what it does."""
    return {"version": __version__, "pid": os.getpid(), **running.about()}


def stats(running: Running) -> dict[str, Any]:
    """Return the counters: total, by source, by agent, by target; the numbers of /metrics and of the log."""
    counts = running.counters.snapshot()
    targets: Any = getattr(running.counters, "targets", None)
    return {
        **({"targets": {name: _target(numbers) for name, numbers in targets().items()}} if targets else {}),
        "total": _plain(counts.total),
        "sources": {url: _plain(numbers) for url, numbers in counts.sources.items()},
        "agents": counts.agents,
        "queue": {"records": counts.queue_records, "octets": counts.queue_octets},
    }


def _plain(counts: SourceCounts) -> dict[str, Any]:
    return {
        "received": counts.received,
        "octets": counts.octets,
        "stored": counts.stored,
        "forwarded": counts.forwarded,
        "carried": counts.carried,
        "messages": counts.messages,
        "in_flight": counts.in_flight,
        "connections": counts.connections,
        "dropped": _named(counts.drops),
        **(
            {"stages": {stage: _named(drops) for stage, drops in counts.stages.items()}}
            if counts.stages
            else {}
        ),
    }


def _named(drops: Mapping[Drop, int]) -> dict[str, int]:
    return {drop.name.lower(): count for drop, count in drops.items()}


def _target(counts: Any) -> dict[str, Any]:
    plain = {name: getattr(counts, name) for name in counts.__slots__ if name != "drops"}
    return {**plain, "dropped": _named(counts.drops)}


#: name -> method
METHODS: Final[dict[str, Callable[[Running], dict[str, Any]]]] = {"status": status, "stats": stats}
