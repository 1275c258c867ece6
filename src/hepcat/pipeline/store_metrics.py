"""What each store did with the records, as Prometheus metrics.

In: the stores' numbers by name (StoreFan.stats). Out: metric families; of a database also what waits in its
spool, and what was cut or replaced to fit its columns.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric


def store_metrics(stores: Mapping[str, Mapping[str, Any]]) -> Iterator[Metric]:
    """Yield the metrics of all stores."""
    yield from _counters(
        stores,
        ("taken", "Records handed to a store."),
        ("stored", "Records that a store keeps: in the lake's journal, or in the database's spool."),
    )
    databases = {name: numbers["database"] for name, numbers in stores.items() if "database" in numbers}
    yield from _counters(
        databases,
        ("written", "Records written to a database."),
        ("cut", "Values cut to the width of their column."),
        ("replaced", "Values with octets that their column's character set cannot hold."),
    )
    for name, what in (
        ("waiting", "Records in a database's spool."),
        ("spool_octets", "Octets of a database's spool."),
    ):
        gauge = GaugeMetricFamily(f"hepcat_store_{name}", what, labels=["store"])
        for store, numbers in databases.items():
            gauge.add_metric([store], numbers[name])
        yield gauge
    up = GaugeMetricFamily("hepcat_store_trouble", "1 while a store cannot take or write.", labels=["store"])
    dropped = CounterMetricFamily(
        "hepcat_store_dropped", "Records that a store lost or refused, by reason.", labels=["reason", "store"]
    )
    for store, numbers in stores.items():
        database = numbers.get("database", {})
        up.add_metric([store], int(bool(numbers["trouble"] or database.get("trouble"))))
        reasons = dict(numbers["dropped"])
        for reason, count in database.get("dropped", {}).items():
            reasons[reason] = reasons.get(reason, 0) + count
        for reason, count in reasons.items():
            dropped.add_metric([reason, store], count)
    yield up
    yield dropped


def _counters(stores: Mapping[str, Mapping[str, Any]], *which: tuple[str, str]) -> Iterator[Metric]:
    for name, what in which:
        family = CounterMetricFamily(f"hepcat_store_{name}", what, labels=["store"])
        for store, numbers in stores.items():
            family.add_metric([store], numbers[name])
        yield family
