"""The counters as Prometheus metrics.

In: snapshots of the counters and what the store tells of itself. Out: the text that /metrics answers.
Numbers are read when asked for; nothing is counted twice, so they are those of the log and of `ctl`.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from hepcat import __version__
from hepcat.batch.drops import Drop
from hepcat.pipeline.counters import Snapshot
from hepcat.pipeline.store_metrics import store_metrics
from hepcat.pipeline.switch import CaptureSwitch


class HepcatCollector:
    """Turns a snapshot into metric families, each time it is asked."""

    def __init__(
        self,
        snapshot: Callable[[], Snapshot],
        store_ok: Callable[[], bool],
        gauges: Callable[[], Mapping[str, float]],
        targets: Callable[[], Mapping[str, Any]] | None = None,
        switch: CaptureSwitch | None = None,
        stores: Callable[[], Mapping[str, Any]] | None = None,
    ) -> None:
        self._stores = stores
        self._switch = switch or CaptureSwitch()
        self._targets = targets
        self._snapshot = snapshot
        self._store_ok = store_ok
        self._gauges = gauges

    def collect(self) -> Iterator[Metric]:
        """Yield every metric."""
        counts = self._snapshot()
        for name, what, unit in (
            (
                "received",
                "Messages (captured: packets) at a source, the kernel's drops included.",
                "received",
            ),
            ("received_octets", "Octets of messages read.", "octets"),
            ("stored", "Records in the store.", "stored"),
            ("forwarded", "Records sent on and not stored.", "forwarded"),
            ("carried", "Packets that gave a message, or a part of one.", "carried"),
            ("messages", "Messages found in packets.", "messages"),
        ):
            family = CounterMetricFamily(f"hepcat_{name}", what, labels=["source"])
            for source, numbers in counts.sources.items():
                family.add_metric([source], getattr(numbers, unit))
            yield family
        yield from self._drops(counts)
        agents = CounterMetricFamily(
            "hepcat_agent_messages", "Messages by the agent's node id (HEP chunk 0x000c).", labels=["node_id"]
        )
        for node, count in counts.agents.items():
            agents.add_metric([node], count)
        yield agents
        connections = GaugeMetricFamily("hepcat_connections", "Streams open.", labels=["source"])
        for source, numbers in counts.sources.items():
            connections.add_metric([source], numbers.connections)
        yield connections
        switches = GaugeMetricFamily(
            "hepcat_source_capture_on",
            "1 while what the source brings is taken: capture is on, and the source's own switch.",
            labels=["source"],
        )
        for source in counts.sources:
            switches.add_metric([source], int(self._switch.is_on(source)))
        yield switches
        yield from self._levels(counts)
        if self._targets is not None:
            yield from _target_metrics(self._targets())
        if self._stores is not None:
            yield from store_metrics(self._stores())

    def _drops(self, counts: Snapshot) -> Iterator[Metric]:
        """Every reason shows from the start, at 0: what can rise can be alerted on."""
        family = CounterMetricFamily(
            "hepcat_dropped",
            "Messages (captured: also packets and parts) lost or refused.",
            labels=["reason", "source"],
        )
        for source, numbers in counts.sources.items():
            for drop in Drop:
                family.add_metric([drop.name.lower(), source], numbers.drops.get(drop, 0))
        yield family

    def _levels(self, counts: Snapshot) -> Iterator[Metric]:
        for name, what, value in (
            ("in_flight", "Records read and not yet stored or dropped.", counts.total.in_flight),
            ("queue_records", "Records waiting for the store.", counts.queue_records),
            ("queue_octets", "Memory of the records waiting for the store.", counts.queue_octets),
            ("capture_on", "1 while capture is switched on.", int(self._switch.on)),
            ("store_up", "1 while the store takes records.", int(self._store_ok())),
        ):
            yield GaugeMetricFamily(f"hepcat_{name}", what, value=value)
        for name, level in self._gauges().items():
            what = f"The lake's {name.replace('_', ' ')}."
            yield GaugeMetricFamily(f"hepcat_lake_{name}", what, value=level)
        info = GaugeMetricFamily("hepcat_info", "The version running.", labels=["version"])
        info.add_metric([__version__], 1)
        yield info


def _target_metrics(targets: Mapping[str, Any]) -> Iterator[Metric]:
    """What became of the records that each target took."""
    for name, what in (
        ("taken", "Records a capture plan handed to a target."),
        ("sent", "Records sent to a target."),
        ("spooled", "Records written to a target's spool."),
        ("reconnects", "Connections made to a target."),
    ):
        family = CounterMetricFamily(f"hepcat_target_{name}", what, labels=["target"])
        for target, counts in targets.items():
            family.add_metric([target], getattr(counts, name))
        yield family
    waiting = GaugeMetricFamily("hepcat_target_waiting", "Records waiting for a target.", labels=["target"])
    dropped = CounterMetricFamily(
        "hepcat_target_dropped",
        "Records lost on the way to a target, by reason.",
        labels=["reason", "target"],
    )
    for target, counts in targets.items():
        waiting.add_metric([target], counts.waiting)
        for drop, count in counts.drops.items():
            dropped.add_metric([drop.name.lower(), target], count)
    yield waiting
    yield dropped


class Metrics:
    """A registry of our own, so that nothing of the process's default one shows up twice."""

    def __init__(self, collector: HepcatCollector) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(collector)
        ProcessCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def text(self) -> bytes:
        """Return the metrics in Prometheus's text format."""
        return generate_latest(self._registry)
