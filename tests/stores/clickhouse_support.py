"""ClickHouse for tests: settings, made-up traffic as batches, and what is in the tables."""

from pathlib import Path
from typing import Any

import numpy as np
from pydantic import SecretStr

from hepcat.batch.drops import Drop
from hepcat.batch.layout import Batch
from hepcat.bench.clickhouse import ClickHouse, cluster_url
from hepcat.bench.traffic import Traffic
from hepcat.config.databases import DatabaseSettings
from hepcat.stores.clickhouse import admin
from hepcat.stores.clickhouse.store import ClickHouseStore, make_clickhouse_store
from hepcat.wire.hep import decode_hep
from hepcat.wire.sip import index_sip
from tests.lake.make import build
from tests.support import wait_for

#: 2026-11-22T12:00:00Z
NOON = 1_795_348_800_000_000


def traffic_batch(rows: int, traffic: Traffic, start: int = NOON, step: int = 1000) -> Batch:
    """Return the next messages of made-up dialogs, as the server would have indexed them."""
    block = traffic.block(start + step * np.arange(rows, dtype=np.int64))
    batch = Batch.empty(rows, len(block.buffer) + 65_536)
    drops = np.zeros(len(Drop), dtype=np.int64)
    lengths = np.diff(block.offsets)
    offsets = np.ascontiguousarray(block.offsets[:-1])
    assert decode_hep(block.buffer, offsets, lengths, rows, start, batch, drops) == rows == batch.n
    index_sip(batch)
    return batch.trim()


def numbered(first: int, rows: int) -> Batch:
    """Return records that can be told apart: of two tables and two days, five a call."""
    day = 86_400_000_000
    records = [
        {
            "payload": b"X %d" % i,
            "call_id": b"c%d" % (i // 5),
            "ts": NOON + i - day * (i % 2),
            "hep_type": 100 if i % 7 == 0 else 1,
            "correlation_id": b"c%d" % (i // 5),
        }
        for i in range(first, first + rows)
    ]
    return build(records)


def settings_of(servers: list[ClickHouse], **others: Any) -> DatabaseSettings:
    """Return the settings of a store on these servers."""
    given = {"name": "click", "url": SecretStr(cluster_url(servers)), "linger": 0.05, "rows": 5000}
    return DatabaseSettings.model_validate(given | others)


class Told:
    """What the operator was told."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, event: str, facts: dict[str, Any]) -> None:
        self.events.append((event, facts))

    def about(self, event: str) -> list[dict[str, Any]]:
        """Return the facts of one kind of event."""
        return [facts for name, facts in self.events if name == event]


def open_store(
    servers: list[ClickHouse], folder: Path, told: Told | None = None, **others: Any
) -> ClickHouseStore:
    """Open a store whose spool is in the folder."""
    return make_clickhouse_store(settings_of(servers, **others), folder, told or Told())


def drained(store: ClickHouseStore, seconds: float = 60) -> None:
    """Wait until nothing waits in the spools."""
    wait_for(lambda: store.counts().waiting == 0, seconds, f"an empty spool ({store.counts()})")


def payloads(servers: list[ClickHouse]) -> list[str]:
    """Return the payloads of all tables on all servers, in no order."""
    found: list[str] = []
    for server in servers:
        for table in ("sip", "log"):
            found += server.admin(f"SELECT payload FROM {table}_local").splitlines()
    return found


def emptied(servers: list[ClickHouse]) -> None:
    """Make the tables anew. (A dropped partition comes back where the server is killed soon after.)"""
    for server in servers:
        for table in ("sip", "rtcp", "log", "other"):
            server.admin(f"DROP TABLE IF EXISTS {table}_local")
            server.admin(f"DROP TABLE IF EXISTS {table}")
    admin.create(settings_of(servers))
