"""ClickHouseRemote: searches over one ClickHouse server, or over all shards of a cluster from any of its
hosts.

In: the store's settings. Out: records in the lake's columns. What can go wrong: HepcatError, in words: no
host answers, the login, a missing table or right, a limit of time or memory.

A search asks for all shards first. Only where the server says that one does not answer is it asked again
without, and where a host hangs (clickhouse_pulse.py) the other shards are asked one by one
(clickhouse_apart.py). Then the answer is known to be partial: `missing` names the shards. So an answer that
is not called partial is whole.
"""

import contextlib
import contextvars
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, TypeVar

import pyarrow as pa
from sqlglot import exp

from hepcat.batch.schema import TABLES
from hepcat.config.databases import DatabaseSettings
from hepcat.errors import HepcatError
from hepcat.search import cancel
from hepcat.search.clickhouse_apart import apart, in_order, local, merged
from hepcat.search.clickhouse_connections import Connections
from hepcat.search.clickhouse_dialect import ClickHouseDialect, sql_text
from hepcat.search.clickhouse_pulse import Hanging
from hepcat.search.clickhouse_records import Columns, record_columns, to_array, to_records
from hepcat.search.errors import StoreAway
from hepcat.search.remote_dialect import RemoteDialect
from hepcat.stores.clickhouse import client as ch
from hepcat.stores.clickhouse.address import Host, parse_address
from hepcat.stores.clickhouse.tables import stored_name
from hepcat.stores.clickhouse.topology import Shard

if TYPE_CHECKING:
    from hepcat.search.clickhouse_tail import ClickHouseTail

#: Seconds for which a shard that did not answer is not asked again.
_PARTIAL_SECONDS: Final = 5.0
#: What one search may take of each server's memory; sorting and grouping go to disk from half of it.
_MEMORY: Final = 2 * 2**30
#: Shards that are asked at once, at most.
_AT_ONCE: Final = 32

T = TypeVar("T")
Limits = Mapping[str, Any]

#: What asks a connection, within limits, this SQL; the stack is closed when the answer has been read.
Asked = Callable[[ch.Connection, Limits, str, contextlib.ExitStack], T]


class ClickHouseRemote:
    """One opened store. Threads may share one."""

    def __init__(self, settings: DatabaseSettings) -> None:
        """Prepare; nothing connects yet. Raises HepcatError for a URL that is none."""
        self.name = settings.name
        self.dialect: RemoteDialect = ClickHouseDialect()
        self.address = parse_address(settings.read())
        self.connections = Connections(self.name, self.address)
        self.pulse = self.connections.pulse
        self._lock = threading.Lock()
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

        def asked(connection: ch.Connection, limits: Limits, sql: str, _: object) -> pa.Table:
            found = connection.columns(sql, limits)
            return pa.table({name: to_array(kind, values) for name, (kind, values) in found.items()})

        def of_each() -> pa.Table:
            split = apart(statement, self.dialect.call_key(), self.stored)
            return split.joined(self._each(split.of_shard, asked))

        return self._whole_or(statement, asked, of_each)

    def records(
        self,
        condition: exp.Expression,
        order: Sequence[exp.Expression],
        limit: int | None,
        table: str = "sip",
    ) -> pa.Table:
        """Return records in the lake's columns."""
        statement = self._select(condition, order, limit, table)

        def asked(connection: ch.Connection, limits: Limits, sql: str, _: object) -> pa.Table:
            return to_records(connection.columns(sql, limits), table)

        def of_each() -> pa.Table:
            parts = self._each(local(statement, self.stored), asked)
            return in_order(parts, _descending(order) if order else None, limit)

        return self._whole_or(statement, asked, of_each)

    def stream(
        self, condition: exp.Expression, order: Sequence[exp.Expression], table: str, rows: int
    ) -> Iterator[pa.Table]:
        """Yield such records in tables of about `rows` each, in order through all of them."""
        statement = self._select(condition, order, None, table)
        with contextlib.ExitStack() as opened:

            def asked(
                connection: ch.Connection, limits: Limits, sql: str, kept: contextlib.ExitStack
            ) -> Iterator[pa.Table]:
                blocks = connection.stream(sql, limits)
                kept.callback(blocks.close)
                first = next(blocks, None)  # the wait for it is the longest
                return self._pages(connection, first, blocks, table, rows)

            def of_each() -> Iterator[pa.Table]:
                streams = self._each(local(statement, self.stored), asked, opened)
                return merged(streams, _descending(order))

            yield from self._whole_or(statement, asked, of_each, opened)

    def _pages(
        self,
        connection: ch.Connection,
        first: Columns | None,
        blocks: Iterator[Columns],
        table: str,
        rows: int,
    ) -> Iterator[pa.Table]:
        """Yield the records of blocks in larger tables."""
        held: list[pa.Table] = []
        try:
            while first is not None:
                held.append(to_records(first, table))
                if sum(map(len, held)) >= rows:
                    yield pa.concat_tables(held)
                    held = []
                with self._waiting(connection):
                    first = next(blocks, None)
        except HepcatError as error:
            raise self._explained(error) from None
        if held:
            yield pa.concat_tables(held)

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
        if not self.connections.shards:
            with self.connections.lent():
                pass
        return self.connections.shards

    def close(self) -> None:
        """Close all connections that are not in use."""
        self.connections.close()

    def stored(self, table: str) -> tuple[str, str]:
        """Return database and name of the table that holds a shard's own records."""
        return self.address.database, stored_name(table, self.address.cluster)

    # -- statements

    def _select(
        self, condition: exp.Expression, order: Sequence[exp.Expression], limit: int | None, table: str
    ) -> exp.Select:
        """Return the SELECT of whole records."""
        relations = self.tables(table)
        if not relations:
            raise HepcatError(f"store {self.name} has no table for {table}", "Run hepcat db create.")
        statement = exp.select(*(exp.column(name, quoted=True) for name in record_columns(table)))
        statement = statement.from_(relations[0]).where(condition.copy())
        if order:
            statement = statement.order_by(*(o.copy() for o in order))
        return statement if limit is None else statement.limit(int(limit))

    def _limits(self) -> dict[str, Any]:
        return {
            "max_execution_time": max(int(self.address.timeout), 1),
            "max_memory_usage": _MEMORY,
            "max_bytes_before_external_sort": _MEMORY // 2,
            "max_bytes_before_external_group_by": _MEMORY // 2,
            "distributed_product_mode": "global",
            "connections_with_failover_max_tries": 1,
        }

    # -- whom to ask

    def _whole_or(
        self,
        statement: exp.Expression,
        asked: Asked[T],
        of_each: Callable[[], T],
        opened: contextlib.ExitStack | None = None,
    ) -> T:
        """Ask one server for all shards; where a host hangs, each shard by itself.

        opened: keeps the connections, for an answer that is read later.
        """
        sql = sql_text(statement)
        try:
            if not self.pulse.hanging(self.connections.hosts()):
                with contextlib.suppress(Hanging), contextlib.ExitStack() as own:
                    kept = opened or own
                    connection = kept.enter_context(self.connections.lent())
                    # It may have been found out just now.
                    if not self.pulse.hanging(self.connections.hosts()):
                        return self._ask_on(connection, lambda c, limits: asked(c, limits, sql, kept))
            return of_each()
        except HepcatError as error:
            raise self._explained(error) from None

    def _each(
        self,
        statement: exp.Expression,
        asked: Asked[T],
        opened: contextlib.ExitStack | None = None,
    ) -> list[T]:
        """Ask each shard for its own; those that do not answer are noted. Raises Away where none does."""
        sql = sql_text(statement)
        hosts = self.connections.hosts()
        if self.pulse.hanging(hosts) == set(hosts):  # then waiting for them keeps nobody from an answer
            self.pulse.greet(hosts)

        def of_shard(shard: Shard) -> T | None:
            hanging = self.pulse.hanging(shard.replicas)
            for host in shard.replicas:
                if host in hanging:
                    continue
                with contextlib.suppress(ch.Away, StoreAway), contextlib.ExitStack() as kept:
                    connection = kept.enter_context(self.connections.lent((host,)))
                    with self._waiting(connection, (host,)):
                        answer = asked(connection, self._limits(), sql, kept)
                    if opened is not None:
                        opened.push(kept.pop_all())
                    return answer
            return None

        shards = self.connections.shards
        contexts = [contextvars.copy_context() for _ in shards]
        with ThreadPoolExecutor(_AT_ONCE, "shard") as pool:
            answers = list(pool.map(lambda c, shard: c.run(of_shard, shard), contexts, shards))
        silent = [shard for shard, answer in zip(shards, answers, strict=True) if answer is None]
        if len(silent) == len(shards):
            raise ch.Away(f"no shard answers: {', '.join(map(str, silent))}")
        self.note_missing([f"{shard} does not answer" for shard in silent])
        return [answer for answer in answers if answer is not None]

    @contextlib.contextmanager
    def _waiting(self, connection: ch.Connection, hosts: Sequence[Host] = ()) -> Iterator[None]:
        """Wait for an answer: until the search is cancelled, or a host hangs that has a part in it."""
        watched = hosts or self.connections.hosts()
        with contextlib.ExitStack() as around:
            around.enter_context(cancel.interrupting(lambda: connection.interrupt()))
            if len(self.connections.hosts()) > 1:  # else nobody else can be asked
                around.enter_context(self.pulse.watched(watched, lambda: connection.interrupt()))
            try:
                yield
            except ch.Silent as error:  # it has begun to hang since it was greeted
                self.pulse.note(connection.host, hangs=True)
                raise Hanging(str(error)) from None

    def _ask_on(self, connection: ch.Connection, action: Callable[[ch.Connection, Limits], T]) -> T:
        """Ask for all shards; where one does not answer, for the others, and note that. Raises Hanging."""
        if not self.address.cluster or time.monotonic() >= self._partial_until:
            try:
                with self._waiting(connection):
                    return action(connection, self._limits())
            except ch.Refused as error:
                if not self.address.cluster or error.code not in ch.REMOTE:
                    raise
        with self._waiting(connection):
            answer = action(connection, {**self._limits(), "skip_unavailable_shards": 1})
        self._note_missing(connection)
        return answer

    def _tables_there(self) -> frozenset[str]:
        if self._there is None:
            name = ch.literal(self.address.database)
            sql = f"SELECT name FROM system.tables WHERE database = {name}"
            try:
                try:
                    found = self._of_any(sql)
                except Hanging:  # known now, so another host is asked
                    found = self._of_any(sql)
            except HepcatError as error:
                raise self._explained(error) from None
            there = frozenset(value.decode(errors="replace") for value in found["name"][1])
            if "sip" not in there:
                raise HepcatError(
                    f'store {self.name}: database "{self.address.database}" has no table "sip"',
                    "`hepcat db create` makes the tables.",
                )
            self._there = there
        return self._there

    def _of_any(self, sql: str) -> Columns:
        """Ask any one host."""
        with self.connections.lent() as connection, self._waiting(connection, (connection.host,)):
            return connection.columns(sql, self._limits())

    def _note_missing(self, asked: ch.Connection) -> None:
        """Note which shards do not answer."""
        self._partial_until = time.monotonic() + _PARTIAL_SECONDS
        names = [f"{shard} does not answer" for shard in self.connections.silent_shards()]
        self.note_missing(names or [f"a shard that {asked.host} cannot reach"])

    def note_missing(self, names: Sequence[str]) -> None:
        """Note what `missing` says next."""
        with self._lock:
            self._missing |= dict.fromkeys(names)

    def _explained(self, error: HepcatError) -> HepcatError:
        """Return a server's refusal in words that say what to do."""
        if isinstance(error, ch.Away):
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


def _descending(order: Sequence[exp.Expression]) -> bool:
    """Say whether records come newest first; by time is what searchers order them by."""
    return bool(order[0].args.get("desc"))
