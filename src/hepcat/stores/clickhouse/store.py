"""ClickHouseStore: a spool and a writer of its own for each shard, and every record to the shard of its call.

In: batches. Out: what SpooledStore makes of them, a shard at a time: a shard that is down keeps no other one
waiting. What can go wrong: StoreUnavailable from append where no shard's spool takes its part; where some do,
the part of the others is dropped and counted, because it cannot be offered again alone.

hepcat writes to the shards itself, by the same rule as a Distributed table does (call_hash modulo the
weights). While no server has ever said which shards there are, records wait in a spool `unsorted`, from
which they go to all shards; so do those that are left in the spool of a shard that is no more.
"""

import contextlib
import re
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from hepcat.batch.gather import take_rows
from hepcat.batch.layout import Batch
from hepcat.config.databases import DatabaseSettings
from hepcat.errors import HepcatError
from hepcat.stores.clickhouse.address import Address, parse_address
from hepcat.stores.clickhouse.blocks import call_hashes
from hepcat.stores.clickhouse.topology import Shard, learn_shards, shards_of
from hepcat.stores.clickhouse.writer import ClickHouseWriter, Sent
from hepcat.stores.counts import StoreCounts, sum_counts
from hepcat.stores.spooled import SpooledStore
from hepcat.stores.spooled.ledger import Tell
from hepcat.stores.store import StoreUnavailable
from hepcat.stores.writer import BatchWriter, Range, Written

#: An INSERT makes a part that has to be merged later, so fewer and larger ones than elsewhere are better.
ROWS: Final = 25_000
LINGER: Final = 1.0
_UNSORTED: Final = "unsorted"
_SHARD_FOLDER: Final = re.compile(r"shard-\d{1,6}")


def make_clickhouse_store(settings: DatabaseSettings, folder: Path, tell: Tell) -> "ClickHouseStore":
    """Open the store; its threads write from now on. HepcatError: the URL, another process has the spool."""
    return ClickHouseStore(settings, folder, tell)


class ClickHouseStore:
    """The shards of one cluster, or one server. One thread appends."""

    def __init__(self, settings: DatabaseSettings, folder: Path, tell: Tell) -> None:
        self.name = settings.name
        self.settings = settings
        self._address = parse_address(settings.read())
        self._folder = folder
        self._tell = tell
        self._lock = threading.Lock()
        self._beginning = threading.Lock()  # spools are opened once, and not while the store closes
        self._shards: tuple[Shard, ...] = ()
        self._parts: list[SpooledStore] = []
        self._others: list[SpooledStore] = []
        self._refused = StoreCounts()
        self._closed = False
        try:
            shards: tuple[Shard, ...] = ()
            with contextlib.suppress(HepcatError):  # told by the writer of `unsorted`, which meets it again
                shards = learn_shards(self._address, self._learnt)
            if shards:
                self._begin(shards)
            self._take_over()
            if not self._parts:
                self._others.append(self._scattered(_UNSORTED))
        except BaseException:
            self.close(0)
            raise

    def append(self, batch: Batch) -> None:
        """Keep every record of the batch, or raise StoreUnavailable and keep none of them."""
        if batch.n == 0:
            return
        with self._lock:
            shards, parts = self._shards, self._parts
        if len(parts) < 2:
            (parts or self._others[-1:])[0].append(batch)
            return
        chosen = shards_of(call_hashes(batch), shards)
        refusals: list[tuple[int, StoreUnavailable]] = []
        kept = 0
        for place in np.unique(chosen).tolist():
            rows = np.flatnonzero(chosen == place)
            try:
                parts[place].append(take_rows(batch, rows))
                kept += len(rows)
            except StoreUnavailable as error:
                refusals.append((len(rows), error))
        if refusals and not kept:
            raise refusals[0][1]
        with self._lock:
            for rows_lost, refusal in refusals:
                self._refused.taken += rows_lost
                self._refused.drops[refusal.drop] = self._refused.drops.get(refusal.drop, 0) + rows_lost

    def counts(self) -> StoreCounts:
        """Return the counts of all shards together; `trouble` names the shard."""
        with self._lock:
            parts = [*self._parts, *self._others]
            refused = replace(self._refused, drops=dict(self._refused.drops))
        return sum_counts([*(part.counts() for part in parts), refused])

    def reconfigure(self, settings: DatabaseSettings) -> None:
        """Take over rows, linger, retries and the bound of the spool; the rest needs a restart."""
        self.settings = settings
        with self._lock:
            for part in (*self._parts, *self._others):
                part.reconfigure(_for_shard(settings, max(len(self._shards), 1)))

    def close(self, seconds: float = 20.0) -> None:
        """Write what can be written in so many seconds, and stop; the rest stays in the spools."""
        with self._beginning, self._lock:
            self._closed = True
            parts = [*self._parts, *self._others]
        threads = [threading.Thread(target=part.close, args=(seconds,)) for part in parts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    # -- parts

    @property
    def _learnt(self) -> Path:
        return self._folder / "shards.json"

    def _begin(self, shards: tuple[Shard, ...]) -> None:
        """Open the spools of the shards: all, or none. Raises HepcatError."""
        parts: list[SpooledStore] = []
        try:
            for shard in shards:
                parts.append(self._spool_of(shard, len(shards)))
        except BaseException:
            for part in parts:
                part.close(0)
            raise
        with self._lock:
            self._shards, self._parts = shards, parts

    def _spool_of(self, shard: Shard, shards: int) -> SpooledStore:
        return SpooledStore(
            self.name,
            self._folder / f"shard-{shard.number}",
            _for_shard(self.settings, shards),
            _writer_of(self.settings, self._address, shard),
            _naming(self._tell, shard if self._address.cluster else None),
        )

    def _take_over(self) -> None:
        """Open the spools that earlier processes left and that are none of a shard's now."""
        mine = {f"shard-{shard.number}" for shard in self._shards}
        left = sorted(path.name for path in self._folder.glob("*") if path.is_dir())
        for name in left:
            old = name == _UNSORTED or (_SHARD_FOLDER.fullmatch(name) and name not in mine)
            if old and self._parts and any((self._folder / name).glob("*.arrows")):
                self._others.append(self._scattered(name))

    def _scattered(self, name: str) -> SpooledStore:
        settings = _for_shard(self.settings, 1)
        writer = _Scattering(self.settings, self._address, self._learnt, self._found)
        return SpooledStore(self.name, self._folder / name, settings, lambda: writer.another(), self._tell)

    def _found(self, shards: tuple[Shard, ...]) -> None:
        """Go over to the shards' own spools, once a server has said which there are."""
        with self._beginning:
            if not (self._parts or self._closed):
                self._begin(shards)


class _Scattering:
    """Writes to all shards at once: for records that were spooled before their shard was known.

    It is done with a batch when all shards have their part, so it waits for each of them.
    """

    def __init__(
        self,
        settings: DatabaseSettings,
        address: Address,
        learnt: Path,
        found: Callable[[tuple[Shard, ...]], None],
        sent: dict[int, Sent] | None = None,
    ) -> None:
        self._settings = settings
        self._address = address
        self._learnt = learnt
        self._found = found
        self._sent: dict[int, Sent] = {} if sent is None else sent
        self._shards: tuple[Shard, ...] = ()
        self._writers: list[ClickHouseWriter] = []

    def another(self) -> BatchWriter:
        """Return a writer for another thread, which knows what this one has sent."""
        return _Scattering(self._settings, self._address, self._learnt, self._found, self._sent)

    def open(self, writer: str) -> list[Range]:
        """Learn the shards and connect to all of them."""
        self.close()
        self._shards = learn_shards(self._address, self._learnt)
        self._writers = [
            ClickHouseWriter(
                self._settings, self._address, shard, self._sent.setdefault(shard.number, Sent())
            )
            for shard in self._shards
        ]
        self._found(self._shards)
        for one in self._writers:
            one.open(writer)
        return []

    def write(self, batch: Batch, first: int, floor: int) -> Written:
        """Give each shard its records."""
        chosen = shards_of(call_hashes(batch), self._shards)
        for place, one in enumerate(self._writers):
            one.write_rows(batch, np.flatnonzero(chosen == place), first, floor)
        return Written(rows=batch.n)

    def maintain(self) -> None:
        """Look after the tables of all shards."""
        for one in self._writers:
            one.maintain()

    def close(self) -> None:
        """Close all connections. Idempotent."""
        for one in self._writers:
            one.close()
        self._writers = []


def _writer_of(settings: DatabaseSettings, address: Address, shard: Shard) -> Callable[[], BatchWriter]:
    sent = Sent()
    return lambda: ClickHouseWriter(settings, address, shard, sent)


def _for_shard(settings: DatabaseSettings, shards: int) -> DatabaseSettings:
    """Return the settings of one shard's spool: its share of the octets, and the INSERTs' own sizes."""
    changed: dict[str, object] = {"spool": max(settings.spool // shards, 2**20)}
    if "rows" not in settings.model_fields_set:
        changed["rows"] = ROWS
    if "linger" not in settings.model_fields_set:
        changed["linger"] = LINGER
    return settings.model_copy(update=changed)


def _naming(tell: Tell, shard: Shard | None) -> Tell:
    """Return what tells the same, with the shard's number."""
    if shard is None:
        return tell
    return lambda event, facts: tell(event, {"shard": shard.number, **facts})
