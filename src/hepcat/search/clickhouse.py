"""ClickHouseRemote: searches over one ClickHouse server, or over all shards of a cluster from any of its
hosts.

In: the store's settings. Out: records in the lake's columns. What can go wrong: HepcatError, in words: no
host answers, the login, a missing table or right, a limit of time or memory.

A search asks for all shards first. Only where the server says that one does not answer is it asked again
without, and the answer is known to be partial: `missing` names the shards. So an answer that is not called
partial is whole.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

import pyarrow as pa
from sqlglot import exp

from hepcat.batch.schema import TABLES, columns_of
from hepcat.config.databases import DatabaseSettings
from hepcat.errors import HepcatError
from hepcat.search import cancel
from hepcat.search.clickhouse_dialect import ClickHouseDialect, sql_text
from hepcat.search.errors import StoreAway
from hepcat.search.remote_dialect import RemoteDialect
from hepcat.stores.clickhouse import client as ch
from hepcat.stores.clickhouse.address import Address, Host, parse_address
from hepcat.stores.clickhouse.tables import stored_name
from hepcat.stores.clickhouse.topology import Shard, read_shards
from hepcat.stores.lake.arrow import arrow_schema

if TYPE_CHECKING:
    from hepcat.search.clickhouse_tail import ClickHouseTail

#: Seconds for which a shard that did not answer is not asked again.
_PARTIAL_SECONDS: Final = 5.0
#: What one search may take of each server's memory; sorting and grouping go to disk from half of it.
_MEMORY: Final = 2 * 2**30
_IDLE: Final = 8
#: Seconds after which a shard that says nothing is given up.
_SILENCE: Final = 10.0

T = TypeVar("T")


class ClickHouseRemote:
    """One opened store. Threads may share one."""

    def __init__(self, settings: DatabaseSettings) -> None:
        """Prepare; nothing connects yet. Raises HepcatError for a URL that is none."""
        self.name = settings.name
        self.dialect: RemoteDialect = ClickHouseDialect()
        self.address = parse_address(settings.read())
        self._lock = threading.Lock()
        self._idle: list[ch.Connection] = []
        self._shards: tuple[Shard, ...] = ()
        self._partial_until = 0.0
        self._missing: dict[str, None] = {}
        self._there: frozenset[str] | None = None

    def tables(self, table: str) -> Sequence[exp.Expression]:
        """Return the table over all shards."""
        if table not in TABLES or table not in self._tables_there():
            return []
        return [exp.table_(table, db=self.address.database, quoted=True)]

    def run(self, statement: exp.Expression) -> pa.Table:
        """Run one SELECT; whole numbers come as int64, text as string."""
        sql = sql_text(statement)
        found = self._ask(lambda connection, limits: connection.columns(sql, limits))
        return pa.table({name: _plain(kind, values) for name, (kind, values) in found.items()})

    def records(
        self,
        condition: exp.Expression,
        order: Sequence[exp.Expression],
        limit: int | None,
        table: str = "sip",
    ) -> pa.Table:
        """Return records in the lake's columns."""
        sql = self._select(condition, order, limit, table)
        return to_records(self._ask(lambda connection, limits: connection.columns(sql, limits)), table)

    def stream(
        self, condition: exp.Expression, order: Sequence[exp.Expression], table: str, rows: int
    ) -> Iterator[pa.Table]:
        """Yield such records in tables of about `rows` each, in order through all of them."""
        sql = self._select(condition, order, None, table)

        def begin(connection: ch.Connection, limits: Mapping[str, Any]) -> tuple[Any, Generator[Any]]:
            blocks = connection.stream(sql, limits)
            return next(blocks, None), blocks

        with self._connected() as connection:
            first, blocks = self._ask_on(connection, begin)
            try:
                held: list[pa.Table] = []
                while first is not None:
                    held.append(to_records(first, table))
                    if sum(map(len, held)) >= rows:
                        yield pa.concat_tables(held)
                        held = []
                    with cancel.interrupting(lambda: connection.interrupt()):
                        first = next(blocks, None)
                if held:
                    yield pa.concat_tables(held)
            except HepcatError as error:
                raise self._explained(error) from None
            finally:
                blocks.close()

    def missing(self) -> Sequence[str]:
        """Say which shards did not answer since this was last asked."""
        with self._lock:
            names, self._missing = list(self._missing), {}
        return names

    def tail(self, table: str) -> "ClickHouseTail":
        """Return the end of a table, from now on."""
        from hepcat.search.clickhouse_tail import ClickHouseTail

        self.tables(table)
        return ClickHouseTail(self, table)

    def shards(self) -> Sequence[Shard]:
        """Return the shards; connects, if that was not done yet."""
        if not self._shards:
            with self._connected():
                pass
        return self._shards

    def stored(self, table: str) -> tuple[str, str]:
        """Return database and name of the table that holds a shard's own records."""
        return self.address.database, stored_name(table, self.address.cluster)

    def close(self) -> None:
        """Close all connections that are not in use."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    # -- statements

    def _select(
        self, condition: exp.Expression, order: Sequence[exp.Expression], limit: int | None, table: str
    ) -> str:
        """Return the SELECT of whole records."""
        relations = self.tables(table)
        if not relations:
            raise HepcatError(f"store {self.name} has no table for {table}", "Run hepcat db create.")
        statement = exp.select(*(exp.column(name, quoted=True) for name in record_columns(table)))
        statement = statement.from_(relations[0]).where(condition.copy())
        if order:
            statement = statement.order_by(*(o.copy() for o in order))
        return sql_text(statement if limit is None else statement.limit(int(limit)))

    def _limits(self) -> dict[str, Any]:
        return {
            "max_execution_time": max(int(self.address.timeout), 1),
            "max_memory_usage": _MEMORY,
            "max_bytes_before_external_sort": _MEMORY // 2,
            "max_bytes_before_external_group_by": _MEMORY // 2,
            "distributed_product_mode": "global",
            # A shard that hangs is one that does not answer; who works tells its progress all the time.
            "receive_timeout": _silence(self.address),
            "connections_with_failover_max_tries": 1,
        }

    # -- whom to ask

    def _ask(self, action: Callable[[ch.Connection, Mapping[str, Any]], T]) -> T:
        with self._connected() as connection:
            return self._ask_on(connection, action)

    def _ask_on(
        self, connection: ch.Connection, action: Callable[[ch.Connection, Mapping[str, Any]], T]
    ) -> T:
        """Ask for all shards; where one does not answer, for the others, and note that."""
        try:
            if not self.address.cluster or time.monotonic() >= self._partial_until:
                try:
                    with cancel.interrupting(lambda: connection.interrupt()):
                        return action(connection, self._limits())
                except ch.Refused as error:
                    if not self.address.cluster or error.code not in ch.REMOTE:
                        raise
            with cancel.interrupting(lambda: connection.interrupt()):
                answer = action(connection, {**self._limits(), "skip_unavailable_shards": 1})
            self._note_missing(connection)
            return answer
        except HepcatError as error:
            raise self._explained(error) from None

    @contextlib.contextmanager
    def _connected(self) -> Iterator[ch.Connection]:
        """Lend a connection to the first host that answers."""
        with self._lock:
            connection = self._idle.pop() if self._idle else None
        if connection is not None and not connection.alive():
            connection.close()
            connection = None
        connection = connection or self._connect()
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        with self._lock:
            if len(self._idle) < _IDLE:
                self._idle.append(connection)
                return
        connection.close()

    def _connect(self) -> ch.Connection:
        """Connect to a host of the URL, else to one of the cluster that was seen before."""
        known = [host for shard in self._shards for host in shard.replicas]
        reasons: list[str] = []
        for host in dict.fromkeys([*self.address.hosts, *known]):
            connection = _connection(self.address, host)
            try:
                if not self._shards:
                    self._shards = read_shards(connection, self.address)
                else:
                    _ = connection.version
                return connection
            except ch.Away as error:
                reasons.append(str(error))
            except HepcatError:
                connection.close()
                raise
        raise StoreAway(f"store {self.name}: {'; '.join(reasons)}", "Start it, or correct the URL.")

    def _tables_there(self) -> frozenset[str]:
        if self._there is None:
            name = ch.literal(self.address.database)
            sql = f"SELECT name FROM system.tables WHERE database = {name}"
            found = self._ask(lambda connection, limits: connection.columns(sql, limits))
            there = frozenset(value.decode(errors="replace") for value in found["name"][1])
            if "sip" not in there:
                raise HepcatError(
                    f'store {self.name}: database "{self.address.database}" has no table "sip"',
                    "`hepcat db create` makes the tables.",
                )
            self._there = there
        return self._there

    def _note_missing(self, asked: ch.Connection) -> None:
        """Note which shards do not answer."""
        self._partial_until = time.monotonic() + _PARTIAL_SECONDS
        names = [f"{shard} does not answer" for shard in self._silent_shards()]
        self.note_missing(names or [f"a shard that {asked.host} cannot reach"])

    def note_missing(self, names: Sequence[str]) -> None:
        """Note what `missing` says next."""
        with self._lock:
            self._missing |= dict.fromkeys(names)

    def _silent_shards(self) -> list[Shard]:
        """Find out which shards do not answer: a connection to each."""
        return [shard for shard in self._shards if not any(map(self._answers, shard.replicas))]

    def _answers(self, host: Host) -> bool:
        connection = ch.Connection(self.address, host, timeout=_silence(self.address))
        try:
            return bool(connection.version)
        except HepcatError:
            return False
        finally:
            connection.close()

    def _explained(self, error: HepcatError) -> HepcatError:
        """Return a server's refusal in words that say what to do."""
        if isinstance(error, ch.Away):
            silent = self._silent_shards() if self.address.cluster else []
            if silent:  # it takes connections, so servers wait for it in vain
                names = " and ".join(map(str, silent))
                hint = "Stop what hangs there: searches go on without a shard that is down."
                return StoreAway(f"store {self.name}: {names} does not answer, and the search waited", hint)
            return StoreAway(f"store {self.name}: {error}", "Ask again; another host is asked then.")
        if not isinstance(error, ch.Refused):
            return error
        hint = ""
        if error.code in ch.LIMIT:
            hint = (
                "Narrow the time (--last, --since) or the query; timeout=SECONDS in the URL gives it longer."
            )
        elif error.code == ch.NO_TABLE:
            self._there = None
            hint = "`hepcat db create` makes the tables on every host of the cluster."
        elif error.code in ch.NO_COLUMN:
            hint = "`hepcat db upgrade` adds columns that are missing."
        elif error.code in ch.RIGHT:
            hint = "Grant the user SELECT; a profile that is read-only has to say readonly = 2."
        return HepcatError(f"store {self.name}: {error}", hint)


def _silence(address: Address) -> int:
    """Return the seconds that a shard may say nothing."""
    return max(int(min(address.timeout, _SILENCE)), 1)


def _connection(address: Address, host: Host) -> ch.Connection:
    # Longer than the server's own limits, so that the server says why.
    return ch.Connection(address, host, timeout=address.timeout + 2 * _silence(address) + 3)


def record_columns(table: str) -> list[str]:
    """Return the columns that records of a table are made of."""
    names: list[str] = []
    for column in columns_of(table):
        names += ("extra.name", "extra.value") if column.type == "map" else (column.name,)
    return names


def _plain(kind: str, values: Sequence[Any]) -> pa.Array:
    if "Int" in kind:
        return pa.array(values, pa.int64())
    return pa.array(
        [None if v is None else v.decode("utf-8", "replace").replace("\ufffd", "?") for v in values],
        pa.string(),
    )


def to_records(found: Mapping[str, tuple[str, Sequence[Any]]], table: str) -> pa.Table:
    """Return columns of the store as the lake has them."""
    arrays = []
    for field in arrow_schema(table):
        if field.name == "extra":
            arrays.append(_extra(found["extra.name"][1], found["extra.value"][1], field.type))
            continue
        values = found[field.name][1]
        if pa.types.is_binary(field.type):
            arrays.append(pa.array([v or None for v in values], pa.binary()))
        elif pa.types.is_string(field.type):
            # What hepcat wrote is UTF-8; others may write to the table too.
            arrays.append(_text([v or None for v in values]))
        elif pa.types.is_timestamp(field.type):
            arrays.append(pa.array(values, pa.int64()).view(field.type))
        else:
            arrays.append(pa.array(values, field.type))
    return pa.Table.from_arrays(arrays, schema=arrow_schema(table))


def _text(values: Sequence[bytes | None]) -> pa.Array:
    octets = pa.array(values, pa.binary())
    try:
        return octets.cast(pa.string())
    except pa.ArrowInvalid:
        plain = [None if v is None else v.decode("utf-8", "replace").replace("\ufffd", "?") for v in values]
        return pa.array(plain, pa.string())


def _extra(names: Sequence[Any], values: Sequence[Any], type_: pa.DataType) -> pa.Array:
    """Return the map column; null where there is nothing."""
    rows = [
        [(n.decode("utf-8", "replace"), v.decode("utf-8", "replace")) for n, v in zip(a, b, strict=False)]
        or None
        for a, b in zip(names, values, strict=True)
    ]
    return pa.array(rows, type_)
