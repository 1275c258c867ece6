"""Every packet accounted for: received = stored + forwarded + in flight + each drop.

In: the tallies, which their workers write without a lock. Out: a snapshot, summed on reading. While
traffic flows, its numbers are read one after the other and may be apart by what moved meanwhile; at rest
the sum is exact, which a test proves.
"""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from hepcat.batch.drops import Drop
from hepcat.batch.schema import NO_NODE
from hepcat.pipeline.intake import MAX_AGENTS, HepIntake
from hepcat.pipeline.queue import Waiting
from hepcat.sources.source import Tally


@dataclass(slots=True)
class SourceCounts:
    """Counts since the start of one source, or of all.

    Of captured packets: carried: those that gave a message or a part of one; messages: found in them;
    stages: the drops apart: "packets" (received = carried + these), "parts" (segments, fragments, records
    that made no message, in units of their own), "messages" (messages = forwarded + these).
    """

    received: int = 0
    octets: int = 0
    stored: int = 0
    forwarded: int = 0
    carried: int = 0
    messages: int = 0
    in_flight: int = 0
    connections: int = 0
    drops: dict[Drop, int] = field(default_factory=dict)
    stages: dict[str, dict[Drop, int]] = field(default_factory=dict)

    @property
    def dropped(self) -> int:
        """All drops together."""
        return sum(self.drops.values())


@dataclass(slots=True)
class Snapshot:
    """All counts at one time: by source, together, and messages by agent (node id; "" has none)."""

    sources: dict[str, SourceCounts]
    total: SourceCounts
    agents: dict[str, int]
    queue_records: int
    queue_octets: int


class Counters:
    """Knows everyone who counts."""

    def __init__(self, queue: Waiting) -> None:
        self._queue = queue
        self._tallies: list[Tally] = []
        self._intakes: list[HepIntake] = []

    def register(self, tally: Tally, intake: HepIntake) -> None:
        """Include a worker's counts from now on."""
        self._tallies.append(tally)
        self._intakes.append(intake)

    def snapshot(self) -> Snapshot:
        """Return all counts."""
        sources: dict[str, SourceCounts] = {}
        for tally in self._tallies:
            _add(sources.setdefault(tally.source, SourceCounts()), tally)
        total = SourceCounts()
        for tally in self._tallies:
            _add(total, tally)
        return Snapshot(sources, total, count_agents(self._intakes), self._queue.records, self._queue.octets)


def count_agents(intakes: list[HepIntake]) -> dict[str, int]:
    """Return messages by agent (node id; "" has none), of at most MAX_AGENTS agents and "other"."""
    counts: Counter[str] = Counter()
    for intake in intakes:
        for node, count in dict(intake.agents).items():
            name = "other" if node is None else "" if node == NO_NODE else str(node)
            counts[name if name in counts or len(counts) < MAX_AGENTS else "other"] += count
    return dict(counts)


def _add(counts: SourceCounts, tally: Tally) -> None:
    # In flight is counted on its own, not computed from the others: so the sum proves something. What is
    # further along is read first, so that nothing shows as stored that does not show as received.
    stored, lost = tally.stored, tally.store_drops.copy()
    handed, pending = tally.handed, tally.pending
    drops = tally.drops + lost
    counts.stored += stored
    counts.in_flight += pending + handed - stored - int(lost.sum())
    counts.received += tally.received()
    counts.octets += tally.octets
    counts.connections += tally.connections
    for index in np.flatnonzero(drops).tolist():
        counts.drops[Drop(index)] = counts.drops.get(Drop(index), 0) + int(drops[index])
