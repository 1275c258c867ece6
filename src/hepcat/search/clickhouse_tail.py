"""The end of a table in ClickHouse: what is stored from now on, on every shard.

In: the remote, a table. Out: records as they arrive. What can go wrong: a shard that does not answer is
left out until it does (`missing` says so); HepcatError where none answers at first.

An INSERT makes a part, whose name says which blocks of its partition it holds; a merge makes one of
several. So looking costs next to nothing while nothing arrives. Of a part that has older blocks too, only
records are new whose number is higher than the highest of their writer's so far in that partition. (A store
with several connections writes numbers in another order; then a record that a merge takes up within the
moment between two looks is missed.)
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import pyarrow as pa

from hepcat.search.clickhouse import ClickHouseRemote
from hepcat.search.clickhouse_records import record_columns, to_records
from hepcat.stores.clickhouse import client as ch
from hepcat.stores.clickhouse.address import Host
from hepcat.stores.clickhouse.topology import Shard
from hepcat.stores.lake.arrow import arrow_schema

#: Records of a shard that are read at once; the others come with the next look.
_ROWS: Final = 50_000


class ClickHouseTail:
    """What is there when it is made counts as seen."""

    def __init__(self, remote: ClickHouseRemote, table: str) -> None:
        """Note what there is now."""
        self._remote, self._table = remote, table
        self._ends = [_End(remote, shard, table) for shard in remote.shards()]
        for end in self._ends:
            end.begin()

    def poll(self) -> pa.Table:
        """Return what was stored since the last call, in order of arrival; may be empty."""
        parts = [arrow_schema(self._table).empty_table()]
        for end in self._ends:
            parts += end.poll()
        return pa.concat_tables(parts)

    def close(self) -> None:
        """Close the connections."""
        for end in self._ends:
            end.close()


class _End:
    """The end of a table on one shard."""

    def __init__(self, remote: ClickHouseRemote, shard: Shard, table: str) -> None:
        self._remote, self._shard, self._table = remote, shard, table
        self._stored = ".".join(map(ch.name, remote.stored(table)))
        self._connection: ch.Connection | None = None
        #: partition -> its last block; partition and writer -> the highest number; both of what was seen
        self._blocks: dict[str, int] = {}
        self._numbers: dict[tuple[str, str], int] = {}
        self._begun = False

    def begin(self) -> None:
        """Note what there is. A shard that is down is taken from when it answers."""
        self._try(self._begin)

    def poll(self) -> list[pa.Table]:
        """Return what is new."""
        return self._try(self._poll if self._begun else self._begin)

    def _try(self, action: Callable[[ch.Connection], list[pa.Table]]) -> list[pa.Table]:
        """Do something with a connection; where there is none, nothing is new. Waits for none that hangs."""
        remote, replicas = self._remote, self._shard.replicas
        hanging = remote.pulse.hanging(replicas)
        if self._connection is not None and self._connection.host in hanging:
            self.close()
        try:
            if self._connection is None:
                self._connection = self._connect([host for host in replicas if host not in hanging])
            return action(self._connection)
        except ch.Away as error:
            if isinstance(error, ch.Silent) and self._connection is not None:
                remote.pulse.note(self._connection.host, hangs=True)
            self.close()
            remote.note_missing([f"{self._shard} does not answer"])
            return []

    def _connect(self, hosts: Sequence[Host]) -> ch.Connection:
        """Return a connection to the first of these hosts that answers. Raises Away."""
        address = self._remote.address
        for host in hosts:
            # Who looks for what is new is soon done; and who counts what there is tells how far it is.
            connection = ch.Connection(address, host, timeout=address.silence)
            try:
                connection.greet()
                return connection
            except ch.Away as error:
                if isinstance(error, ch.Silent):
                    self._remote.pulse.note(host, hangs=True)
            except BaseException:
                connection.close()
                raise
        raise ch.Away(f"{self._shard} does not answer")

    def _begin(self, connection: ch.Connection) -> list[pa.Table]:
        self._blocks = self._last_blocks(connection)
        found = connection.columns(
            "SELECT toString(toYYYYMMDD(day)) AS the_day, toString(writer) AS the_writer, "
            f"max(seq) AS the_seq FROM {self._stored} GROUP BY day, writer"
        )
        self._note(found)
        self._begun = True
        return []

    def _poll(self, connection: ch.Connection) -> list[pa.Table]:
        last = self._last_blocks(connection)
        before = self._blocks
        fresh = {part: before.get(part, -1) for part in last if last[part] > before.get(part, -1)}
        if not fresh:
            return []
        records = self._read(connection, fresh)
        if len(records) < _ROWS:  # else the rest comes next time
            self._blocks |= {part: last[part] for part in fresh}
        return [records]

    def _last_blocks(self, connection: ch.Connection) -> dict[str, int]:
        """Return the last block of each partition. A part is called PARTITION_FIRST_LAST_LEVEL."""
        database, table = map(ch.literal, self._remote.stored(self._table))
        found = connection.columns(
            f"SELECT name FROM system.parts WHERE active AND database = {database} AND table = {table}"
        )
        last: dict[str, int] = {}
        for name in found["name"][1]:
            partition, _, block = name.decode().split("_")[:3]
            last[partition] = max(int(block), last.get(partition, -1))
        return last

    def _read(self, connection: ch.Connection, fresh: Mapping[str, int]) -> pa.Table:
        """Return the records of parts with blocks that were not seen. (A list of parts would soon be old.)"""
        parts = " OR ".join(self._unseen(partition, block) for partition, block in fresh.items())
        chosen = ", ".join(map(ch.name, record_columns(self._table)))
        found = connection.columns(
            f"SELECT {chosen}, toString(toYYYYMMDD(day)) AS the_day, toString(writer) AS the_writer, "
            f"seq AS the_seq FROM {self._stored} WHERE {parts} ORDER BY writer, seq LIMIT {_ROWS}"
        )
        self._note(found)
        return to_records(found, self._table)

    def _unseen(self, partition: str, block: int) -> str:
        """Return "in a part of this partition with later blocks, and not seen"."""
        seen = "".join(
            f" AND NOT (writer = toUUID({ch.literal(writer)}) AND seq <= {seq})"
            for (day, writer), seq in self._numbers.items()
            if day == partition
        )
        return (
            f"(splitByChar('_', _part)[1] = {ch.literal(partition)} "
            f"AND toInt64OrZero(splitByChar('_', _part)[3]) > {block}{seen})"
        )

    def _note(self, found: Mapping[str, tuple[str, Sequence[Any]]]) -> None:
        """Note the highest number of each writer in each partition: an INSERT fills one after the other."""
        columns = (found[name][1] for name in ("the_day", "the_writer", "the_seq"))
        for day, writer, seq in zip(*columns, strict=True):
            key = (day.decode(), writer.decode())
            self._numbers[key] = max(int(seq), self._numbers.get(key, -1))

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
