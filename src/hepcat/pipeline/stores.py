"""The fan: each batch to every store, each store with a queue and a thread of its own.

In: batches of the sources. Out: `Store.append` of every store, in order. A slow store, or one that is away,
fills its own queue alone. What can go wrong: a queue is full; that store loses the batch, which is counted
for it. A record counts as stored once every store has decided on it and at least one has kept it; as lost,
under the reason of the last one, where none has.
"""

import threading
from collections.abc import Mapping
from typing import Any, Final

from hepcat.batch.drops import Drop
from hepcat.batch.layout import Batch
from hepcat.pipeline.queue import BatchQueue
from hepcat.pipeline.storing import Storing
from hepcat.sources.source import Tally
from hepcat.stores.store import Store

#: Deliveries end seldom (once a batch and store), and in few threads: one lock for all.
_SETTLING: Final = threading.Lock()


class Delivery:
    """A batch that is under way to some stores, and whose it is."""

    __slots__ = ("batch", "kept", "left", "tally")

    def __init__(self, batch: Batch, tally: Tally, stores: int) -> None:
        self.batch = batch
        self.tally = tally
        self.left = stores
        self.kept = False

    def settle(self, reason: Drop | None) -> None:
        """Say that one store has kept the batch (None), or for what reason it has not."""
        with _SETTLING:
            self.left -= 1
            self.kept = self.kept or reason is None
            if self.left:
                return
            if self.kept:
                self.tally.stored += self.batch.n
            elif reason is not None:
                self.tally.store_drops[reason] += self.batch.n


def count_lost(tally: Tally, reason: Drop, records: int) -> None:
    """Count records that were handed on, and that no store gets: those threads count beside this one."""
    with _SETTLING:
        tally.store_drops[reason] += records


class Lane:
    """One store with its queue and its thread."""

    def __init__(self, name: str, memory: int) -> None:
        self.name = name
        self.queue = BatchQueue(memory)
        self.store: Store | None = None
        self.storing: Storing | None = None

    def start(self, store: Store) -> None:
        """Begin to store."""
        self.store = store
        self.storing = Storing(self.queue, store, self.name)
        self.storing.start()

    @property
    def trouble(self) -> str | None:
        """What keeps the store from taking records, None while it takes them."""
        return self.storing.trouble if self.storing is not None else None

    def stats(self) -> dict[str, Any]:
        """Return what became of the records, in plain values; a store's own counts beside them."""
        own: Any = getattr(self.store, "counts", None)
        drops = dict(self.queue.drops)  # other threads may add a reason
        return {
            "taken": self.queue.stored + self.queue.records + sum(drops.values()),
            "stored": self.queue.stored,
            "queued": self.queue.records,
            "dropped": {drop.name.lower(): count for drop, count in drops.items()},
            "trouble": self.trouble,
            **({"database": _plain(own())} if callable(own) else {}),
        }


class StoreFan:
    """All stores; it stands where the sources have their queue."""

    def __init__(self, names: tuple[str, ...], memory: int) -> None:
        """memory: octets that each store's queue may hold. A batch that waits for several is there once."""
        self.lanes = [Lane(name, memory) for name in names]

    def put(self, batch: Batch, tally: Tally) -> Drop | None:
        """Queue the batch for every store, or return the reason why no store gets it. Never waits."""
        delivery = Delivery(batch, tally, len(self.lanes))
        refusals = [lane.queue.put(delivery) for lane in self.lanes]
        if all(refusal is not None for refusal in refusals):
            return refusals[-1]
        for refusal in refusals:
            if refusal is not None:
                delivery.settle(refusal)
        return None

    def start(self, stores: Mapping[str, Store]) -> None:
        """Begin to store; `stores` by the names of the lanes."""
        for lane in self.lanes:
            lane.start(stores[lane.name])

    def stop(self, seconds: float) -> None:
        """Ask all to store what is queued, within so long. May be called again with less time."""
        for lane in self.lanes:
            if lane.storing is not None:
                lane.storing.stop(seconds)

    def join(self, seconds: float) -> bool:
        """Wait for the end of all, at most so long for each; return whether it has come."""
        return all(lane.storing is None or lane.storing.join(seconds) for lane in self.lanes)

    def resize(self, memory: int) -> None:
        """Take over another bound of the queues."""
        for lane in self.lanes:
            lane.queue.max_octets = memory

    @property
    def octets(self) -> int:
        """Octets in the fullest queue: batches that wait in several are the same memory."""
        return max(lane.queue.octets for lane in self.lanes)

    @property
    def records(self) -> int:
        """Records in the fullest queue."""
        return max(lane.queue.records for lane in self.lanes)

    @property
    def trouble(self) -> str | None:
        """What is wrong with the stores, None where nothing is."""
        said = [(lane.name, lane.trouble) for lane in self.lanes if lane.trouble is not None]
        if len(self.lanes) == 1:
            return said[0][1] if said else None
        return "; ".join(f"{name}: {trouble}" for name, trouble in said) or None

    def stats(self) -> dict[str, dict[str, Any]]:
        """Return the numbers of every store, by name."""
        return {lane.name: lane.stats() for lane in self.lanes}


def _plain(counts: Any) -> dict[str, Any]:
    """Return a store's own counts as plain values."""
    plain = {name: getattr(counts, name) for name in counts.__slots__ if name != "drops"}
    return {**plain, "dropped": {drop.name.lower(): count for drop, count in counts.drops.items()}}
