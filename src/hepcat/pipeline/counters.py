"""Every packet accounted for, in two sums: received = carried + dropped before a message was found; messages
found = stored + forwarded + in flight + each drop. What comes as HEP is one message a packet, so that there
both make one: received = stored + forwarded + in flight + each drop.

In: the tallies, which their workers write without a lock. Out: a snapshot, summed on reading. While
traffic flows, its numbers are read one after the other and may be apart by what moved meanwhile; at rest
the sums are exact, which a test proves.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from hepcat.batch.drops import Drop
from hepcat.batch.schema import NO_NODE
from hepcat.pipeline.intake import MAX_AGENTS, HepIntake
from hepcat.pipeline.queue import Waiting
from hepcat.sources.source import Tally

if TYPE_CHECKING:  # a server without a raw mode does not read frames
    from hepcat.pipeline.frame_worker import FrameTally


@dataclass(slots=True)
class SourceCounts:
    """Counts since the start of one source, or of all.

    carried: packets that gave a message or a part of one; messages: found in them; stages: the drops apart:
    "packets" (received = carried + these), "parts" (segments, fragments, records that made no message, in
    units of their own), "messages" (messages = stored + forwarded + in flight + these).
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
        self._frames: list[tuple[FrameTally, Tally]] = []

    def register(self, tally: Tally, intake: HepIntake) -> None:
        """Include a worker's counts from now on."""
        self._tallies.append(tally)
        self._intakes.append(intake)

    def register_frames(self, frames: "FrameTally", tally: Tally) -> None:
        """Include the worker of a raw mode: what it captured, and what it handed on."""
        self._frames.append((frames, tally))

    def agents(self) -> list[dict[str, Any]]:
        """Return the agents that messages came of; see agents_seen."""
        return agents_seen(self._intakes)

    def snapshot(self) -> Snapshot:
        """Return all counts."""
        sources: dict[str, SourceCounts] = {}
        total = SourceCounts()
        for tally in self._tallies:
            for counts in (sources.setdefault(tally.source, SourceCounts()), total):
                _add(counts, tally)
        for frames, tally in self._frames:
            for counts in (sources.setdefault(frames.source, SourceCounts()), total):
                add_stored(counts, tally)
                add_frames(counts, frames)
        return Snapshot(sources, total, count_agents(self._intakes), self._queue.records, self._queue.octets)


def count_agents(intakes: list[HepIntake]) -> dict[str, int]:
    """Return messages by agent (node id; "" has none), of at most MAX_AGENTS agents and "other"."""
    counts: Counter[str] = Counter()
    for intake in intakes:
        for node, count in dict(intake.agents).items():
            name = "other" if node is None else "" if node == NO_NODE else str(node)
            counts[name if name in counts or len(counts) < MAX_AGENTS else "other"] += count.messages
    return dict(counts)


def agents_seen(intakes: list[HepIntake]) -> list[dict[str, Any]]:
    """Return the agents: node id (None: messages without one), name, messages, microseconds of the last one;
    by node id, at most MAX_AGENTS a worker.
    """
    found: dict[int, dict[str, Any]] = {}
    for intake in intakes:
        for node, seen in dict(intake.agents).items():
            if node is None:
                continue
            agent = found.setdefault(node, {"node_id": node, "node_name": "", "messages": 0, "last_seen": 0})
            agent["messages"] += seen.messages
            if int(seen.last * 1e6) >= agent["last_seen"]:
                agent["last_seen"], agent["node_name"] = int(seen.last * 1e6), seen.name
    if NO_NODE in found:
        found[NO_NODE]["node_id"] = None
    return [found[node] for node in sorted(found)]


def _add(counts: SourceCounts, tally: Tally) -> None:
    """A HEP listener's worker: what it has not dropped by itself is a message."""
    messages = add_stored(counts, tally)
    add_stages(counts, packets=tally.drops)
    counts.messages += messages
    counts.carried += messages
    counts.received += tally.received()
    counts.octets += tally.octets
    counts.connections += tally.connections


def add_stored(counts: SourceCounts, tally: Tally) -> int:
    """Add what became of the records that were, or are to be, handed on to the stores; return how many.

    In flight is counted on its own, not computed from the others: so the sum proves something. What is
    further along is read first, so that nothing shows as stored that does not show as received.
    """
    stored, lost = tally.stored, tally.store_drops.copy()
    records = tally.handed + tally.pending
    counts.stored += stored
    counts.in_flight += records - stored - int(lost.sum())
    add_stages(counts, messages=lost)
    return records


def add_frames(counts: SourceCounts, frames: "FrameTally") -> None:
    """Add what was captured, and what was found in it."""
    add_stages(counts, messages=frames.drops)
    counts.messages += frames.messages
    counts.carried += frames.carried
    packets = frames.frame_drops.copy()
    packets[Drop.KERNEL] += frames.kernel
    add_stages(counts, packets=packets, parts=frames.part_drops)
    counts.received += frames.packets + frames.kernel
    counts.octets += frames.octets


def add_stages(counts: SourceCounts, **stages: Any) -> None:
    """Add drops, each under its stage as well."""
    for name, drops in stages.items():
        add_drops(counts.drops, drops)
        add_drops(counts.stages.setdefault(name, {}), drops)


def add_drops(drops: dict[Drop, int], more: Any) -> None:
    """Add an array of counts, indexed by Drop, to those that are not 0."""
    for index in np.flatnonzero(more).tolist():
        drops[Drop(index)] = drops.get(Drop(index), 0) + int(more[index])
