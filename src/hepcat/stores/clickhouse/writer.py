"""ClickHouseWriter: batches into the tables of one shard, once each, though ClickHouse has no transactions.

In: batches of consecutive records (stores/writer.py). Out: rows, in one INSERT a table. What can go wrong:
StoreUnavailable (away, too busy, read-only, no ZooKeeper); BatchRefused; HepcatError where waiting does not
help.

An INSERT whose answer was lost may have been carried out, in part (it is atomic for one partition), or
still be running. So every row carries (writer, seq). Before a batch is written of which that could be, the
writer waits until the server runs no INSERT of its any more, asks which of the rows are there (their times
are known, so the primary key finds them), and inserts the others. Which batches those are: whatever was
sent without an answer, and after a start all up to the highest number that the tables have of this writer.
"""

import threading
import time
import uuid
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hepcat.batch.drops import Drop
from hepcat.batch.layout import Batch
from hepcat.batch.schema import TABLES
from hepcat.config.databases import DatabaseSettings
from hepcat.errors import HepcatError
from hepcat.stores.clickhouse import client as ch
from hepcat.stores.clickhouse.address import Address
from hepcat.stores.clickhouse.blocks import block_of
from hepcat.stores.clickhouse.tables import Features, columns, stored_name
from hepcat.stores.clickhouse.topology import Shard, connect_any
from hepcat.stores.lake.arrow import table_codes
from hepcat.stores.store import StoreUnavailable
from hepcat.stores.writer import BatchRefused, Range, Written

Array = npt.NDArray[Any]

#: Seconds to wait for an INSERT of an earlier connection to end on the server.
_PATIENCE: Final = 20.0


class Sent:
    """What the writers of one shard in this process know together. Threads share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: set[Range] = set()
        #: connections in use: their INSERTs are no leftovers
        self.living: set[str] = set()
        self._before: int | None = None

    def known(self) -> bool:
        """Say whether it is known what earlier processes wrote."""
        return self._before is not None

    def found(self, highest: int) -> None:
        """Note the highest number that earlier processes wrote, -1 for none."""
        with self._lock:
            if self._before is None:
                self._before = highest

    def doubtful(self, first: int, last: int) -> bool:
        """Say whether some of these records may be there already."""
        with self._lock:
            before = self._before if self._before is not None else last
            return first <= before or any(a <= last and first <= b for a, b in self._open)

    def begin(self, first: int, last: int, floor: int) -> None:
        """Note that these records are being sent, and that all below `floor` are done."""
        with self._lock:
            self._open = {(a, b) for a, b in self._open if b >= floor}
            self._open.add((first, last))

    def end(self, first: int, last: int) -> None:
        """Note that these records are all there."""
        with self._lock:
            left = set()
            for a, b in self._open:
                left |= {
                    (low, high)
                    for low, high in ((a, min(b, first - 1)), (max(a, last + 1), b))
                    if low <= high
                }
            self._open = left


class ClickHouseWriter:
    """One connection to a replica of a shard. One thread uses it."""

    def __init__(self, settings: DatabaseSettings, address: Address, shard: Shard, sent: Sent) -> None:
        """Prepare; nothing connects yet. sent: shared by all writers of the shard."""
        self._settings = settings
        self._address = address
        self._shard = shard
        self._sent = sent
        self._writer = uuid.UUID(int=0)
        self._connection: ch.Connection | None = None
        self._token = ""
        self._replica = 0

    def open(self, writer: str) -> list[Range]:
        """Connect to a replica that answers. Always nothing: `write` itself finds out what is there."""
        self.close()
        self._writer = uuid.UUID(writer)
        hosts = self._shard.replicas[self._replica :] + self._shard.replicas[: self._replica]
        try:
            self._connection = connect_any(self._address, hosts)
            self._token = uuid.uuid4().hex
            self._sent.living.add(self._token)
            self._check_tables()
            self._wait_for_inserts()
            self._catch_up()
            if not self._sent.known():
                self._sent.found(self._highest())
        except HepcatError as error:
            raise self._opening_error(error) from None
        return []

    def write(self, batch: Batch, first: int, floor: int) -> Written:
        """Insert the rows that are not there yet."""
        return self.write_rows(batch, None, first, floor)

    def write_rows(self, batch: Batch, chosen: Array | None, first: int, floor: int) -> Written:
        """Insert those of some rows of the batch that are not there yet; None: all rows."""
        last = first + batch.n - 1
        numbers = np.arange(first, first + batch.n, dtype=np.uint64)
        codes = table_codes(batch)
        doubtful = self._sent.doubtful(first, last)
        self._sent.begin(first, last, floor)
        now_us = time.time_ns() // 1000
        chosen = np.arange(batch.n) if chosen is None else chosen
        try:
            for code in np.unique(codes[chosen]).tolist():
                rows = chosen[codes[chosen] == code]
                if doubtful:
                    rows = self._missing(batch, TABLES[code], rows, numbers)
                if len(rows):
                    self._insert(batch, TABLES[code], rows, numbers[rows], now_us)
        except HepcatError as error:
            raise self._writing_error(error) from None
        self._sent.end(first, last)
        return Written(rows=len(chosen))

    def maintain(self) -> None:
        """Drop the days that are over, where the server does not do so by itself (TTL)."""
        days = self._settings.retention_days
        if days is None or self._connection is None:
            return
        try:
            if Features.of(self._connection.version).modern:
                return
            for table in TABLES:
                drop_old_days(self._connection, self._address, table, days)
        except HepcatError as error:
            raise self._writing_error(error) from None

    def close(self) -> None:
        """Close the connection. Idempotent."""
        self._sent.living.discard(self._token)
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    # -- parts

    def _open_connection(self) -> ch.Connection:
        if self._connection is None:
            raise ch.Away(f"ClickHouse {self._shard} is not connected")
        return self._connection

    def _stored(self, table: str) -> str:
        database, stored = self._address.database, stored_name(table, self._address.cluster)
        return f"{ch.name(database)}.{ch.name(stored)}"

    def _check_tables(self) -> None:
        """Raise HepcatError where a table or a column is missing: waiting would not help."""
        found = self._open_connection().columns(
            f"SELECT table, name FROM system.columns WHERE database = {ch.literal(self._address.database)}"
        )
        there: dict[bytes, set[str]] = {}
        for table, column in zip(found["table"][1], found["name"][1], strict=True):
            there.setdefault(table, set()).add(column.decode(errors="replace"))
        for table in TABLES:
            stored = stored_name(table, self._address.cluster)
            has = there.get(stored.encode())
            if has is None:
                raise HepcatError(
                    f'ClickHouse {self._open_connection().host} has no table "{stored}" '
                    f'in database "{self._address.database}"',
                    "`hepcat db create` makes the tables on every host of the cluster.",
                )
            lacking = [made.name for made in columns(table) if made.name not in has]
            if lacking:
                raise HepcatError(
                    f'ClickHouse {self._open_connection().host}: table "{stored}" has no column {lacking[0]}',
                    "`hepcat db upgrade` adds what is missing.",
                )

    def _wait_for_inserts(self) -> None:
        """Wait until no INSERT of an earlier connection runs: it would be finished after we have asked."""
        if self._sent.known() and not self._sent.doubtful(0, 2**63):
            return
        mark = ch.literal(self._mark)
        query = f"SELECT query_id FROM system.processes WHERE startsWith(query_id, {mark})"
        end = time.monotonic() + _PATIENCE
        while True:
            running = [i.decode() for i in self._open_connection().columns(query)["query_id"][1]]
            tokens = {name[len(self._mark) :].partition("-")[0] for name in running}
            if tokens <= self._sent.living:
                return
            if time.monotonic() > end:
                raise ch.Away(f"ClickHouse {self._open_connection().host} is busy with an earlier INSERT")
            time.sleep(0.1)

    def _catch_up(self) -> None:
        """Let a replica take over what the others had when they answered last."""
        if len(self._shard.replicas) < 2 or (self._sent.known() and not self._sent.doubtful(0, 2**63)):
            return
        for table in TABLES:
            self._open_connection().run(f"SYSTEM SYNC REPLICA {self._stored(table)}")

    def _highest(self) -> int:
        """Return the highest number that the tables have of this writer, -1 where they have none."""
        highest = -1
        for table in TABLES:
            found = self._open_connection().columns(
                f"SELECT count() AS n, max(seq) AS seq FROM {self._stored(table)} "
                f"WHERE writer = toUUID({ch.literal(str(self._writer))})"
            )
            if int(found["n"][1][0]):
                highest = max(highest, int(found["seq"][1][0]))
        return highest

    def _missing(self, batch: Batch, table: str, rows: Array, numbers: Array) -> Array:
        """Return those of the rows that are not in the table."""
        ts, wanted = batch.ts[rows], numbers[rows]
        found = self._open_connection().columns(
            f"SELECT seq FROM {self._stored(table)} WHERE writer = toUUID({ch.literal(str(self._writer))}) "
            f"AND ts BETWEEN {int(ts.min())} AND {int(ts.max())} "
            f"AND seq BETWEEN {int(wanted.min())} AND {int(wanted.max())}"
        )
        there = np.array(found["seq"][1], dtype=np.uint64)
        return rows[~np.isin(wanted, there)]

    def _insert(self, batch: Batch, table: str, rows: Array, numbers: Array, now_us: int) -> None:
        block = block_of(batch, table, rows, numbers, self._writer, now_us)
        names = ", ".join(ch.name(column) for column, _, _ in block)
        self._open_connection().insert(
            f"INSERT INTO {self._stored(table)} ({names}) VALUES",
            len(rows),
            block,
            f"{self._mark}{self._token}-{int(numbers[0])}-{uuid.uuid4().hex[:8]}",
        )

    @property
    def _mark(self) -> str:
        """What the query ids of this writer begin with."""
        return f"hepcat-{self._writer}-"

    def _opening_error(self, error: HepcatError) -> HepcatError:
        """Return an error of `open` as the spool understands it: what waiting helps against, or not."""
        self.close()
        if isinstance(error, ch.Away):
            self._replica = (self._replica + 1) % len(self._shard.replicas)
        if isinstance(error, ch.Away) or (isinstance(error, ch.Refused) and error.code in ch.PASSING):
            return StoreUnavailable(f"{self._where()}{error}", Drop.STORE_FAILED)
        if isinstance(error, ch.Refused) and error.code in ch.RIGHT:
            return HepcatError(str(error), "Grant the user SELECT and INSERT on the tables.")
        return HepcatError(f"{self._where()}{error}", error.hint)

    def _writing_error(self, error: HepcatError) -> HepcatError:
        """Return an error of `write` as the spool understands it: open again, or offer less at once.

        What only people can mend is found, and told, when it is opened again.
        """
        mended_elsewhere = ch.PASSING | ch.RIGHT | ch.NO_COLUMN | {ch.NO_TABLE, ch.NO_DATABASE}
        if isinstance(error, ch.Refused) and error.code not in mended_elsewhere:
            return BatchRefused(f"{self._where()}{error}")
        if isinstance(error, ch.Away):
            self._replica = (self._replica + 1) % len(self._shard.replicas)
        self.close()
        return StoreUnavailable(f"{self._where()}{error}", Drop.STORE_FAILED)

    def _where(self) -> str:
        return f"shard {self._shard.number}: " if self._address.cluster else ""


def drop_old_days(
    connection: ch.Connection, address: Address, table: str, days: int, now: float | None = None
) -> Sequence[str]:
    """Drop the partitions of one server that are older; return their days."""
    database, stored = address.database, stored_name(table, address.cluster)
    oldest = time.strftime("%Y-%m-%d", time.gmtime((time.time() if now is None else now) - days * 86_400))
    found = connection.columns(
        f"SELECT DISTINCT partition FROM system.parts WHERE active AND database = {ch.literal(database)} "
        f"AND table = {ch.literal(stored)} AND partition < {ch.literal(oldest)} ORDER BY partition"
    )
    dropped = [part.decode() for part in found["partition"][1]]
    for day in dropped:
        connection.run(f"ALTER TABLE {ch.name(database)}.{ch.name(stored)} DROP PARTITION {ch.literal(day)}")
    return dropped
