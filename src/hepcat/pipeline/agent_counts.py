"""The agent's counters, put together on reading: two sums that hold.

Packets: received = kernel drops + carried + dropped while frames were read. Messages: found = forwarded +
each drop reason. In: the tallies of workers, relays and sinks. Out: the same `Snapshot` as the server's, so
that the log, /metrics and /stats show one kind of numbers.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hepcat.batch.drops import Drop
from hepcat.pipeline.capture import AgentTally
from hepcat.pipeline.counters import (
    Snapshot,
    SourceCounts,
    add_drops,
    add_frames,
    add_stages,
    agents_seen,
    count_agents,
)
from hepcat.sinks.sink import Sink
from hepcat.sources.source import Tally

if TYPE_CHECKING:
    from hepcat.pipeline.intake import HepIntake


@dataclass(slots=True)
class TargetCounts:
    """What became of the records a target took: taken = sent + waiting + dropped."""

    taken: int
    sent: int
    octets: int
    waiting: int
    spooled: int
    reconnects: int
    drops: dict[Drop, int]


class AgentCounters:
    """Knows everyone in the agent who counts."""

    def __init__(self, sinks: list[Sink]) -> None:
        self._sinks = sinks
        self._tallies: list[AgentTally] = []
        self._relays: list[tuple[Tally, AgentTally, HepIntake]] = []

    def add(self, tally: AgentTally) -> None:
        """Include a worker."""
        self._tallies.append(tally)

    def add_relay(self, tally: Tally, after: AgentTally, intake: "HepIntake") -> None:
        """Include a HEP listener's worker and what its plan did."""
        self._relays.append((tally, after, intake))

    def agents(self) -> list[dict[str, Any]]:
        """Return the agents that this one relays for; see agents_seen."""
        return agents_seen([relay[2] for relay in self._relays])

    def snapshot(self) -> Snapshot:
        """Return all counts."""
        sources: dict[str, SourceCounts] = {}
        total = SourceCounts()
        for tally in self._tallies:
            for counts in (sources.setdefault(tally.source, SourceCounts()), total):
                _add_worker(counts, tally)
        for relay, after, _ in self._relays:
            for counts in (sources.setdefault(after.source, SourceCounts()), total):
                _add_relay(counts, relay, after)
        return Snapshot(sources, total, count_agents([relay[2] for relay in self._relays]), 0, 0)

    def targets(self) -> dict[str, TargetCounts]:
        """Return the counts of each target, by name."""
        found: dict[str, TargetCounts] = {}
        for sink in self._sinks:
            for tally in sink.tallies():
                counts = found.setdefault(tally.name, TargetCounts(0, 0, 0, 0, 0, 0, {}))
                for name in ("taken", "sent", "octets", "waiting", "spooled", "reconnects"):
                    setattr(counts, name, getattr(counts, name) + getattr(tally, name))
                add_drops(counts.drops, tally.drops)
        return found


def _add_worker(counts: SourceCounts, tally: AgentTally) -> None:
    add_frames(counts, tally)
    counts.forwarded += tally.forwarded


def _add_relay(counts: SourceCounts, tally: Tally, after: AgentTally) -> None:
    counts.received += tally.received()
    counts.octets += tally.octets
    counts.connections += tally.connections
    counts.messages += after.messages
    counts.carried += after.messages
    counts.forwarded += after.forwarded
    counts.in_flight += tally.pending
    add_stages(counts, packets=tally.drops, messages=after.drops)
