"""Statements on a store's snapshots: what the searches of searcher.py are made of.

In: a source of snapshots; conditions, ranges of time, Call-IDs. Out: open snapshots, what a statement finds,
windows of time. What can go wrong: HepcatError where a statement needs more memory than it may take;
SearchCancelled.
"""

import contextlib
import functools
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, tzinfo
from itertools import pairwise
from typing import Any, Final

import duckdb
import pyarrow as pa

from hepcat.errors import HepcatError
from hepcat.search import cancel
from hepcat.search.ast import Node
from hepcat.search.columns import newest_first, view_of
from hepcat.search.compile import compile_query, sql_of
from hepcat.search.dialects import Dialect
from hepcat.search.parser import parse_query
from hepcat.search.planned import Planned
from hepcat.search.remembered import Remembered
from hepcat.search.source import SnapshotLike, Source
from hepcat.search.within import Times
from hepcat.stores.lake.recent import KEPT

#: Up to this many Call-IDs are written into the condition, where DuckDB asks Bloom filters for them.
FEW: Final = 256
#: Messages that a first window of time should hold, and how much larger each next one is.
_WINDOW_ROWS: Final = 100_000
_WINDOW_GROWTH: Final = 6
#: How dense messages are is asked for in these last parts of the range too: they need not come evenly.
_PARTS: Final = (256, 16)
#: A search with an index looks at the newest of its matches first: so many for each row of the result.
_MATCHES_A_ROW: Final = (6, 8, 12, 24, 96)
#: Conditions of queries that are kept.
_CONDITIONS: Final = 64


class Statements:
    """Runs statements on one source."""

    def __init__(self, source: Source, dialect: Dialect | None = None) -> None:
        """Search that source; `dialect` says how its columns are named."""
        self.source = source
        self.dialect = dialect or Dialect()
        self.remembered = Remembered()
        self.planned = Planned()
        # A search says its condition for each window of time; to write it takes as long as to find a call.
        self._condition = functools.lru_cache(_CONDITIONS)(self._compile)

    def parse(
        self, query: str, table: str = "sip", now: datetime | None = None, zone: tzinfo | None = None
    ) -> Node:
        """Return the tree of a query. Raises QueryError."""
        return parse_query(query, table, now, zone)

    def _select(
        self, chosen: str, table: str, where: str, order: str | None, limit: int | None = None
    ) -> str:
        bound = "" if limit is None else f" LIMIT {int(limit)}"
        order = order or newest_first(table)
        return f"SELECT {chosen} FROM {view_of(table)} WHERE {where} ORDER BY {order}{bound}"

    def _node(self, query: str | Node, table: str) -> Node:
        return self.parse(query, table) if isinstance(query, str) else query

    def _where(self, node: Node, times: Times) -> str:
        return f"{times.sql()} AND ({self._condition(node)})"

    def _compile(self, node: Node) -> str:
        return sql_of(compile_query(node, self.dialect), self.dialect)

    @contextlib.contextmanager
    def _snapshot(
        self, times: Times, table: str | None = "sip", holding: Mapping[str, Collection[str]] | None = None
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        with self._moment(times, table, holding) as snapshot:
            yield snapshot.connection

    @contextlib.contextmanager
    def _moment(
        self, times: Times, table: str | None = "sip", holding: Mapping[str, Collection[str]] | None = None
    ) -> Iterator[SnapshotLike]:
        tables = None if table is None else (table,)
        cancel.check()
        with (
            self.source.snapshot(times.since, times.until, holding, tables) as snapshot,
            cancel.interrupting(snapshot.connection.interrupt),
        ):
            yield snapshot

    def _run(self, con: duckdb.DuckDBPyConnection, statement: str) -> pa.Table:
        """Run one statement; memory that does not suffice is an error for people."""
        cancel.check()
        with errors_for_people():
            result: Any = con.sql(statement)
            return result.to_arrow_table()

    def _call_id_in(self, con: duckdb.DuckDBPyConnection, call_ids: Sequence[str]) -> str:
        """Return the condition on Call-IDs: written out when few, else a join with a table of them."""
        if len(call_ids) <= FEW:
            literals = ["'" + call_id.replace("'", "''") + "'" for call_id in call_ids]
            if len(literals) == 1:
                return f"call_id = {literals[0]}"
            return f"call_id IN ({', '.join(literals)})" if literals else "false"
        con.register("_picked", pa.table({"id": pa.array(call_ids, pa.string())}))
        return "call_id IN (SELECT id FROM _picked)"

    def _source(
        self,
        snapshot: SnapshotLike,
        alternatives: Mapping[str, Collection[str]] | None,
        columns: Collection[str],
    ) -> str:
        """Return where to read columns of messages that have one of the values in one of the columns.

        That is view sip, unless the store can tell them from others sooner.
        """
        if alternatives is None or not KEPT.issuperset(columns):
            return "sip"
        narrowed: Any = getattr(snapshot, "narrowed", lambda _: None)
        return narrowed(alternatives) or "sip"

    def _windows_of_matches(
        self, con: duckdb.DuckDBPyConnection, node: Node, times: Times, limit: int
    ) -> list[Times]:
        """Return neighbouring ranges that hold all matches, the newest first, by how many are in each."""
        cuts = [many * (limit + 1) for many in _MATCHES_A_ROW]
        statement = self._select("epoch_us(ts) AS at", "sip", self._where(node, times), "ts DESC", cuts[-1])
        at = self._run(con, statement)["at"].to_pylist()
        starts = [at[cut - 1] for cut in cuts if cut <= len(at)]
        starts += [times.since] if len(at) == cuts[-1] else at[-1:]
        return [Times(start, end) for start, end in zip(starts, [times.until, *starts], strict=False)]

    def _windows(self, snapshot: SnapshotLike, times: Times, table: str = "sip") -> list[Times]:
        """Return neighbouring ranges that make up the range, the newest and shortest first.

        What is wanted is mostly at the end: one look there, instead of everywhere. Each message is
        looked at once, however far back the search has to go.
        """
        low, high, rows, since = self._spread(snapshot, times, table)
        windows: list[Times] = []
        end = times.until
        if low is not None and high is not None and rows > 2 * _WINDOW_ROWS:
            ages = [(high - at, n) for at, n in since if low < at < high]
            length = _length([(0, 0), *ages, (high - low, rows)], _WINDOW_ROWS)
            while high - length > low:
                windows.append(Times(high + 1 - length, end))
                end = high + 1 - length
                length *= _WINDOW_GROWTH
        return [*windows, Times(times.since, end)]

    def _extent(
        self, con: duckdb.DuckDBPyConnection, times: Times, table: str
    ) -> tuple[int | None, int | None, int]:
        """Return (first, last, how many) of the messages in the range, whatever they are."""
        return self._counted(con, times, table, [])[:3]

    def _spread(
        self, snapshot: SnapshotLike, times: Times, table: str
    ) -> tuple[int | None, int | None, int, list[tuple[int, int]]]:
        """Return the same, and (time, how many since then) for parts at the end of a range with two ends.

        About: the lake tells from what it knows of its files, where the bounds may be too wide.
        """
        starts: list[int] = []
        if times.since is not None and times.until is not None:
            starts = [times.until - (times.until - times.since) // part for part in _PARTS]
        spread = getattr(snapshot, "spread", None)
        if spread is None:
            return self._counted(snapshot.connection, times, table, starts)
        about = spread(table).about
        low, high, rows = about(times.since, times.until)
        return low, high, rows, [(at, about(at, times.until)[2]) for at in starts]

    def _counted(
        self, con: duckdb.DuckDBPyConnection, times: Times, table: str, starts: list[int]
    ) -> tuple[int | None, int | None, int, list[tuple[int, int]]]:
        parts = [f", count(*) FILTER (WHERE {Times(start, None).sql()})" for start in starts]
        found = self._run(
            con,
            f"SELECT epoch_us(min(ts)), epoch_us(max(ts)), count(*){''.join(parts)} "
            f"FROM {view_of(table)} WHERE {times.sql()}",
        )
        low, high, rows, *since = (column[0].as_py() for column in found.columns)
        return low, high, int(rows), [(at, int(n)) for at, n in zip(starts, since, strict=True)]


@contextlib.contextmanager
def errors_for_people() -> Iterator[None]:
    """Raise HepcatError where a statement needs more memory than it may take, or cannot be run."""
    try:
        yield
    except duckdb.OutOfMemoryException as error:
        raise HepcatError(
            "the search needs more memory than it may take",
            "Narrow the time (--last, --since) or the query, or set lake.query_memory higher. "
            f"({str(error).splitlines()[0]})",
        ) from None
    except duckdb.InvalidInputException as error:
        raise HepcatError(f"the query cannot be run: {str(error).splitlines()[0]}") from None


def _length(ages: list[tuple[int, int]], wanted: int) -> int:
    """Return how long before the end the last `wanted` messages begin. ages: (how long before, how many)."""
    for (short, few), (long, many) in pairwise(ages):
        if many >= wanted:
            return short + (long - short) * (wanted - few) // max(many - few, 1) + 1
    return ages[-1][0] + 1
