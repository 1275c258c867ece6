"""RemoteSearcher: the searches of searcher.py on a store whose SQL runs elsewhere (remote.py).

In: a `Remote`, a query, a range of time in microseconds since the epoch. Out: the same Arrow tables as those
of Searcher. What can go wrong: QueryError for the query; HepcatError where a column is unknown to the store,
the database is away, or the answer is larger than a bound.

The database filters, counts and limits as far as it can say the query (remote_dialect.py). What it cannot
say exactly is tested on the records, by the lake's own code (memory.py). Calls are computed by that code too:
the database says which Call-IDs, then their messages are read.
"""

import contextlib
from collections.abc import Iterator, Sequence
from datetime import datetime, tzinfo
from typing import Any, Final

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from sqlglot import exp

from hepcat.errors import HepcatError
from hepcat.search.ast import EVERYTHING, Node, named
from hepcat.search.columns import call_fields, call_order, call_sort, message_columns, message_order
from hepcat.search.histogram import build
from hepcat.search.memory import Memory, database
from hepcat.search.parser import parse_query
from hepcat.search.remote import Remote
from hepcat.search.remote_dialect import both, bounds, named_as
from hepcat.search.remote_matches import Matches, descending
from hepcat.search.remote_records import concat, in_order, moments
from hepcat.search.remote_windows import CHUNK, PAGE_ROWS, Counter, chunks, windows_of
from hepcat.search.searcher import AROUND, Found, Searcher
from hepcat.search.within import Times, spanning
from hepcat.stores.lake.arrow import arrow_schema

COUNT: Final = exp.Count(this=exp.Star())
#: What a histogram of tested records, and the calls among them, need of each.
_SLIM: Final = ("ts", "status", "method", "call_id")


class RemoteSearcher:
    """Searches of one store. Threads may share one as far as they may share its `Remote`."""

    def __init__(self, remote: Remote) -> None:
        """Search that store."""
        self.remote = remote
        self.dialect = remote.dialect
        self.matches = Matches(remote)
        self._filter = Searcher(Memory({}), self.dialect.local)

    def parse(
        self, query: str, table: str = "sip", now: datetime | None = None, zone: tzinfo | None = None
    ) -> Node:
        """Return the tree of a query. Raises QueryError."""
        return parse_query(query, table, now, zone)

    def notes(self) -> list[str]:
        """Say what the answers since this was last asked lack: parts of the store that did not answer."""
        return list(self.remote.missing())

    def sql(self, statement: str) -> pa.Table:
        """Refuse: SQL that a person typed runs on the lake only."""
        raise HepcatError(
            f"store {self.remote.name} takes no SQL from here",
            "Use the database's own client; `hepcat sql` is for the lake.",
        )

    def filter(
        self, con: duckdb.DuckDBPyConnection, node: Node, fields: Sequence[str] | None, table: str = "sip"
    ) -> pa.Table:
        """Return the matches among the rows of a connection's own table, oldest first."""
        return self._filter.filter(con, node, fields, table)

    # -- messages

    def messages(
        self,
        query: str | Node = "",
        since: int | None = None,
        until: int | None = None,
        limit: int | None = None,
        sort: str | None = None,
        fields: Sequence[str] | None = None,
        table: str = "sip",
    ) -> Found:
        """Return single messages, newest first. `fields`: columns, default all; `sort`: a column, -column."""
        node = self._node(query, table)
        times = Times(since, until).within(node)
        message_columns(fields, table, self.dialect.local)
        if limit is None:
            whole = concat(list(self.matches.matching(node, times, table)), table)
            return self.matches.local(whole, table).messages(
                EVERYTHING, sort=sort, fields=fields, table=table
            )
        if message_order(sort, table) is None:
            parts, rows = [], 0
            for page in self.matches.newest(node, times, table, limit + 1):
                parts.append(page)
                rows += len(page)
                if rows > limit:
                    break
            best = concat(parts, table)
        else:
            best = arrow_schema(table).empty_table()
            for page in self.matches.matching(node, times, table):
                both_of = self.matches.local(concat([best, page], table), table)
                best = both_of.messages(EVERYTHING, None, None, limit + 1, sort, None, table).table
        return self.matches.local(best, table).messages(EVERYTHING, None, None, limit, sort, fields, table)

    def pages(
        self,
        query: str | Node = "",
        since: int | None = None,
        until: int | None = None,
        fields: Sequence[str] | None = None,
        table: str = "sip",
        oldest_first: bool = False,
    ) -> Iterator[pa.Table]:
        """Yield what `messages` would return without a limit, in bounded tables: newest (oldest) first."""
        node = self._node(query, table)
        message_columns(fields, table, self.dialect.local)
        times = Times(since, until).within(node)
        sort = "ts" if oldest_first else None
        some = False
        for page in self.matches.matching(node, times, table, oldest_first):
            if len(page) or not some:
                yield (
                    self.matches.local(page, table)
                    .messages(EVERYTHING, None, None, None, sort, fields, table)
                    .table
                )
            some = True

    def messages_of(
        self,
        call_ids: Sequence[str],
        since: int | None = None,
        until: int | None = None,
        fields: Sequence[str] | None = None,
        limit: int | None = None,
    ) -> pa.Table:
        """Return the messages of these Call-IDs, the oldest `limit`, by time, then in order of arrival."""
        message_columns(fields, "sip", self.dialect.local)
        found = self.matches.of_calls(call_ids, Times(since, until), limit)
        return self._project(in_order(found).slice(0, limit), fields)

    def pages_of(
        self,
        call_ids: Sequence[str],
        since: int | None = None,
        until: int | None = None,
        fields: Sequence[str] | None = None,
    ) -> Iterator[pa.Table]:
        """Yield what `messages_of` would return, in bounded tables of neighbouring ranges of time."""
        times = Times(since, until)
        parts: list[tuple[Sequence[str], list[int]]] = []
        for some in chunks(call_ids):
            condition = both(self.dialect.of_calls(some), self.dialect.times(times))
            at = self.matches.run(named_as(at=self.dialect.micros()), condition)["at"]
            parts.append((some, sorted(at.to_pylist())))
        for window in windows_of(parts, times):
            there = [some for some, at in parts if at and window.overlaps(at[0], at[-1])]
            ids = [call_id for some in there for call_id in some]
            found = self.matches.of_calls(ids, window.times)
            yield self._project(in_order(found), fields)

    def numbers_of(
        self, call_ids: Sequence[str], since: int | None = None, until: int | None = None
    ) -> dict[str, int]:
        """Return how many messages there are of each of these Call-IDs; one without any is left out."""
        times = Times(since, until)
        numbers: dict[str, int] = {}
        plain = [i for i in call_ids if not self.dialect.blurred_id(i)]
        for some in chunks(plain):
            key = self.dialect.call_key()
            selected = named_as(id=key, n=COUNT)
            found = self.matches.run(
                selected, both(self.dialect.of_calls(some), self.dialect.times(times)), [key]
            )
            wanted = set(some)
            numbers.update(
                (i, n)
                for i, n in zip(found["id"].to_pylist(), found["n"].to_pylist(), strict=True)
                if i in wanted
            )
        blurred = [i for i in call_ids if self.dialect.blurred_id(i)]
        for i in self.matches.of_calls(blurred, times)["call_id"].to_pylist() if blurred else ():
            numbers[i] = numbers.get(i, 0) + 1
        return numbers

    # -- calls

    def calls(
        self,
        query: str | Node = "",
        since: int | None = None,
        until: int | None = None,
        limit: int | None = None,
        sort: str | None = None,
        fields: Sequence[str] | None = None,
    ) -> Found:
        """Return calls, one row a Call-ID: those of which at least one message matches the whole query."""
        node = self._node(query, "sip")
        times = Times(since, until).within(node)
        names = call_fields(fields)
        column, descending = call_sort(sort)
        if limit is not None and column == "start" and descending:
            asked = named(node, "call_id") if times == Times() else None
            if asked is not None and len(asked) <= limit:
                return Found(self._rows_of(asked, times, names, column, descending))
            found = self._newest_calls(node, times, limit)
            span = spanning(found.values()).widened(AROUND) if found else Times()
            rows = self._rows_of(list(found)[:limit], span, names, column, descending)
            return Found(rows, len(found) > limit)
        rows = self._all_calls(node, times, limit, names, column, descending)
        return Found(rows.slice(0, limit), limit is not None and len(rows) > limit)

    def calls_of(
        self, call_ids: Sequence[str], times: Times | None = None, fields: Sequence[str] | None = None
    ) -> pa.Table:
        """Return the rows of these calls, oldest start first."""
        return self._rows_of(call_ids, times or Times(), call_fields(fields), "start", False)

    def _newest_calls(self, node: Node, times: Times, limit: int) -> dict[str, tuple[int | None, int | None]]:
        """Return up to limit + 1 Call-IDs, newest matching message first, and when each matches."""
        found: dict[str, tuple[int | None, int | None]] = {}
        condition = self.matches.settled(node, times, calls=True)
        if condition is None:
            for page in self.matches.newest(node, times, "sip", limit + 1):
                _note_calls(page, found)
                if len(found) > limit:
                    break
            return dict(list(found.items())[: limit + 1])
        key, at = self.dialect.call_key(), self.dialect.micros()
        selected = named_as(id=key, low=exp.Min(this=at), high=exp.Max(this=at.copy()))
        order = [descending(exp.Max(this=at.copy())), exp.Ordered(this=key.copy())]
        for window in self.matches.windows(node, times, "sip"):
            where = both(condition, self.dialect.has_call(), self.dialect.times(window))
            rows = self.matches.run(selected, where, [key], order, limit + 1 + len(found)).to_pylist()
            for row in rows:
                if row["id"] not in found and len(found) <= limit:
                    found[row["id"]] = (row["low"], row["high"])
            if len(found) > limit:
                break
        return found

    def _all_calls(
        self,
        node: Node,
        times: Times,
        limit: int | None,
        names: tuple[str, ...],
        column: str,
        descending: bool,
    ) -> pa.Table:
        """Return the calls in an order, up to limit + 1; all that match are computed, some at a time."""
        needed = tuple(dict.fromkeys((*names, column, "start", "call_id")))
        best: pa.Table | None = None
        for some in chunks(self._call_ids(node, times), CHUNK):
            rows = self._rows_of(some, times.widened(AROUND), needed, column, descending)
            best = rows if best is None else pa.concat_tables([best, rows])
            if limit is not None and len(best) > limit + PAGE_ROWS:
                best = _ordered(best, column, descending).slice(0, limit + 1)
        if best is None:
            best = self._rows_of([], Times(), needed, column, descending)
        return (
            _ordered(best, column, descending)
            .slice(0, None if limit is None else limit + 1)
            .select(list(names))
        )

    def _call_ids(self, node: Node, times: Times) -> list[str]:
        """Return the Call-IDs of which a message matches, those of the oldest matches first."""
        condition = self.matches.settled(node, times, calls=True)
        if condition is None:
            found: dict[str, Any] = {}
            for page in self.matches.matching(node, times, "sip", oldest_first=True):
                _note_calls(page, found)
            return list(found)
        key, at = self.dialect.call_key(), self.dialect.micros()
        where = both(condition, self.dialect.has_call(), self.dialect.times(times))
        order = [exp.Ordered(this=exp.Min(this=at))]
        ids: list[str] = self.matches.run(named_as(id=key), where, [key], order)["id"].to_pylist()
        return ids

    def _rows_of(
        self, ids: Sequence[str], span: Times, names: tuple[str, ...], column: str, descending: bool
    ) -> pa.Table:
        """Return the rows of these calls, in an order."""
        needed = tuple(dict.fromkeys((*names, column, "start", "call_id")))
        sort = f"{'-' if descending else ''}{column}"
        parts = []
        for some in list(chunks(ids, CHUNK)) or [[]]:
            local = self.matches.local(self.matches.of_calls(some, span), "sip")
            parts.append(local.calls(EVERYTHING, None, None, None, sort, needed).table)
        return _ordered(pa.concat_tables(parts), column, descending).select(list(names))

    # -- numbers

    def count(
        self,
        query: str | Node = "",
        since: int | None = None,
        until: int | None = None,
        messages: bool = False,
        table: str = "sip",
    ) -> int:
        """Return how many calls, or messages, match."""
        node = self._node(query, table)
        times = Times(since, until).within(node)
        messages = messages or table != "sip"
        condition = self.matches.settled(node, times, not messages, table)
        if condition is not None:
            return self._count(both(condition, self.dialect.times(times)), messages, table)
        if messages:
            sure = both(bounds(node, self.dialect).sure, self.dialect.times(times))
            tested = self.matches.doubtful(node, times, table)
            return self._count(sure, True, table) + sum(len(page) for page in tested)
        return len(self._call_ids(node, times))

    def _count(self, condition: exp.Expression, messages: bool, table: str) -> int:
        if messages:
            found = self.matches.run(named_as(n=COUNT), condition, table=table)
        else:
            where = both(condition, self.dialect.has_call())
            distinct = exp.Distinct(expressions=[self.dialect.call_key()])
            found = self.matches.run(named_as(n=exp.Count(this=distinct)), where, table=table)
        return sum(found["n"].to_pylist())

    def histogram(
        self,
        query: str | Node = "",
        since: int | None = None,
        until: int | None = None,
        messages: bool = False,
        buckets: int = 60,
        zone: tzinfo | None = None,
    ) -> pa.Table:
        """Return how many calls, or messages, there are by time and class of status; see histogram.py."""
        node = self._node(query, "sip")
        times = Times(since, until).within(node)
        condition = self.matches.settled(node, times, not messages)
        if condition is None:
            slim = [page.select(list(_SLIM)) for page in self.matches.matching(node, times, "sip")]
            local = self.matches.local(pa.concat_tables(slim), "sip")
            return local.histogram(EVERYTHING, None, None, messages, buckets, zone)
        counter = Counter(self.dialect, self.matches.select, self.remote.run, condition, messages)
        low, high = counter.extent(times)
        return build(counter.count, times, low, high, buckets, zone)

    # -- parts

    def _node(self, query: str | Node, table: str) -> Node:
        return self.parse(query, table) if isinstance(query, str) else query

    def _project(self, records: pa.Table, fields: Sequence[str] | None) -> pa.Table:
        """Return the columns of records, in the order they are in."""
        chosen = message_columns(fields, "sip", self.dialect.local)
        with Memory({"sip": records}).snapshot(tables=["sip"]) as opened:
            return opened.connection.sql(f"SELECT {chosen} FROM sip").to_arrow_table()


def _note_calls(page: pa.Table, found: dict[str, tuple[int | None, int | None]]) -> None:
    """Add the calls of a page of matches, which is in order of time, to those found so far."""
    known = page.filter(pc.is_valid(page["call_id"]))
    grouped = (
        known.append_column("at", moments(known))
        .group_by("call_id")
        .aggregate([("at", "min"), ("at", "max")])
    )
    rows = sorted(grouped.to_pylist(), key=lambda row: (-row["at_max"], row["call_id"].encode()))
    for row in rows:
        before = found.get(row["call_id"])
        lows = [row["at_min"], *([before[0]] if before and before[0] is not None else [])]
        highs = [row["at_max"], *([before[1]] if before and before[1] is not None else [])]
        found[row["call_id"]] = (min(lows), max(highs))


def _ordered(calls: pa.Table, column: str, descending: bool) -> pa.Table:
    """Return rows of calls in an order, as Searcher has it."""
    with contextlib.closing(database().cursor()) as con:
        con.register("calls", calls)
        return con.sql(f"SELECT * FROM calls ORDER BY {call_order(column, descending)}").to_arrow_table()
