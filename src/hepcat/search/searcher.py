"""Searcher: finds messages and calls in a store's snapshots.

In: a source of snapshots (the lake), a query, a time range in microseconds since the epoch (since is
included, until is not). Out: Arrow tables. What can go wrong: QueryError for the query, HepcatError
where a field is unknown or the search needs more memory than it may take.

Which rows, when there is a limit: the newest. Messages come newest first (`ts`, then responses before
requests, then Call-ID). Of calls those are taken whose matching messages are the newest, and they come
newest start first (then by Call-ID). Another `sort` looks at every call that matches, takes longer, and
is exact too; ties are broken by start and Call-ID.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any, Final

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from hepcat.errors import HepcatError
from hepcat.search import cancel
from hepcat.search.ast import EVERYTHING, Node, named, pins, required
from hepcat.search.calls import calls_sql, columns_read
from hepcat.search.columns import (
    call_fields,
    call_order,
    call_sort,
    message_columns,
    message_order,
    view_of,
)
from hepcat.search.histogram import build, count_calls, counts_sql
from hepcat.search.pages import even_windows
from hepcat.search.planned import FEW_MESSAGES, Shown
from hepcat.search.source import SnapshotLike, fresh
from hepcat.search.statements import FEW, Statements, errors_for_people
from hepcat.search.within import Times, any_of_times, clusters, spanning
from hepcat.stores.lake.readonly import queries
from hepcat.stores.lake.starts import Known, joined, read_calls

#: A call's messages are looked for this long before and after its matching messages, also where the
#: search itself ends earlier. Microseconds.
AROUND: Final = 24 * 3600 * 1_000_000
#: Columns that the lake finds without reading everything: such a search needs no windows of time.
INDEXED: Final = frozenset(
    {"call_id", "correlation_id", "call_id_aleg", "from_tag", "to_tag", "from_user", "to_user", "session_id"}
)
#: Calls of more time than this are spread: they are hardly found in one place. Microseconds.
_SPREAD: Final = 3600 * 1_000_000
#: All columns of few calls are read at once from so short a time. Microseconds.
_SHORT: Final = 3 * 3600 * 1_000_000


@dataclass(frozen=True, slots=True)
class Found:
    """Rows, and whether there are more that the limit cut off."""

    table: pa.Table
    cut: bool = False


class Searcher(Statements):
    """Searches of one source. Threads may share one as far as they may share its source."""

    def notes(self) -> list[str]:
        """Say what the answers lack: nothing, the lake answers whole."""
        return []

    # -- messages

    @fresh
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
        chosen = message_columns(fields, table, self.dialect)
        order = message_order(sort, table)
        with self._moment(times, table, required(node, INDEXED)) as snapshot:
            con = snapshot.connection
            if limit is None:
                return Found(self._run(con, self._select(chosen, table, self._where(node, times), order)))
            # When the wanted ones were, from few columns; then all columns, which are most of the work,
            # of these moments only.
            at = self._moments(snapshot, node, times, limit + 1, order, table)
            where = f"{any_of_times(clusters(at))} AND {self._where(node, times)}"
            return _cut(self._run(con, self._select(chosen, table, where, order, limit + 1)), limit)

    def _moments(
        self,
        snapshot: SnapshotLike,
        node: Node,
        times: Times,
        wanted: int,
        order: str | None,
        table: str,
    ) -> list[int]:
        """Return the times of the first `wanted` matches in an order; None is newest first."""
        windows = [times]
        if order is None and not pins(node, INDEXED):
            windows = self._windows(snapshot, times, table)
        found: list[int] = []
        for window in windows:
            if len(found) >= wanted:
                break
            statement = self._select(
                "epoch_us(ts) AS at",
                table,
                self._where(node, window),
                order or "ts DESC",
                wanted - len(found),
            )
            found += self._run(snapshot.connection, statement)["at"].to_pylist()
        return found

    def pages(
        self,
        query: str | Node = "",
        since: int | None = None,
        until: int | None = None,
        fields: Sequence[str] | None = None,
        table: str = "sip",
        oldest_first: bool = False,
    ) -> Iterator[pa.Table]:
        """Yield what `messages` would return without a limit, in bounded tables: newest (oldest) first.

        Each table is of a range of time and has its own snapshot: a file that goes away in between costs
        nothing. There is at least one table, perhaps without rows.
        """
        node = self._node(query, table)
        message_columns(fields, table, self.dialect)  # a wrong name shows before anything is written
        windows = self._pages_of(node, Times(since, until).within(node), table)
        order = "ts" if oldest_first else None
        for window in windows if oldest_first else reversed(windows):
            yield self.messages(node, window.since, window.until, None, order, fields, table).table

    @fresh
    def _pages_of(self, node: Node, times: Times, table: str) -> list[Times]:
        with self._snapshot(times, table, required(node, INDEXED)) as con:

            def run(select: str, part: Times, tail: str = "") -> pa.Table:
                return self._run(con, f"{select} FROM {view_of(table)} WHERE {self._where(node, part)}{tail}")

            return even_windows(run, times)

    def filter(
        self, con: duckdb.DuckDBPyConnection, node: Node, fields: Sequence[str] | None, table: str = "sip"
    ) -> pa.Table:
        """Return the matches among the rows of a connection's own table, oldest first."""
        chosen = message_columns(fields, table, self.dialect)
        order = message_order("ts", table)
        statement = f"SELECT {chosen} FROM {view_of(table)} WHERE {self._where(node, Times())}"
        return self._run(con, f"{statement} ORDER BY {order}")

    @fresh
    def messages_of(
        self,
        call_ids: Sequence[str],
        since: int | None = None,
        until: int | None = None,
        fields: Sequence[str] | None = None,
        limit: int | None = None,
    ) -> pa.Table:
        """Return the messages of these Call-IDs, the oldest `limit`, by time, then in order of arrival."""
        chosen = message_columns(fields, "sip", self.dialect)
        times = Times(since, until)
        with self._snapshot(times, holding={"call_id": call_ids}) as con:
            condition = f"FROM sip WHERE {self._call_id_in(con, call_ids)} AND {times.sql()}"
            if limit is not None:
                first = self._run(con, f"SELECT epoch_us(ts) {condition} ORDER BY ts LIMIT {int(limit)}")
                last = first[0][-1].as_py() if len(first) else None
                condition += "" if last is None else f" AND {Times(None, last + 1).sql()}"
            table = self._run(con, f"SELECT ts AS _at, {chosen} {condition}")
        # Without ORDER BY rows come in the store's order, and this sort is stable.
        if len(table):
            table = table.take(pc.sort_indices(table["_at"].cast("int64")))
        return table.drop_columns(["_at"]).slice(0, limit)

    def pages_of(
        self,
        call_ids: Sequence[str],
        since: int | None = None,
        until: int | None = None,
        fields: Sequence[str] | None = None,
    ) -> Iterator[pa.Table]:
        """Yield what `messages_of` would return, in bounded tables of neighbouring ranges of time."""
        for window in self._pages_of_calls(call_ids, Times(since, until)):
            yield self.messages_of(call_ids, window.since, window.until, fields)

    @fresh
    def _pages_of_calls(self, call_ids: Sequence[str], times: Times) -> list[Times]:
        with self._snapshot(times, holding={"call_id": call_ids}) as con:
            condition = self._call_id_in(con, call_ids)

            def run(select: str, part: Times, tail: str = "") -> pa.Table:
                return self._run(con, f"{select} FROM sip WHERE {condition} AND {part.sql()}{tail}")

            return even_windows(run, times)

    @fresh
    def numbers_of(
        self, call_ids: Sequence[str], since: int | None = None, until: int | None = None
    ) -> dict[str, int]:
        """Return how many messages there are of each of these Call-IDs; one without any is left out."""
        times = Times(since, until)
        with self._snapshot(times, holding={"call_id": call_ids}) as con:
            condition = f"{self._call_id_in(con, call_ids)} AND {times.sql()}"
            found = self._run(con, f"SELECT call_id, count(*) FROM sip WHERE {condition} GROUP BY call_id")
        return dict(zip(found[0].to_pylist(), found[1].to_pylist(), strict=True))

    # -- calls

    @fresh
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
        newest = column == "start" and descending
        # Other messages of a call need not have the query's values, but all have its Call-ID.
        holding = required(node, frozenset({"call_id"}))
        with self._moment(times.widened(AROUND), holding=holding) as snapshot:
            con = snapshot.connection
            asked = named(node, "call_id") if times == Times() else None
            if asked is not None and newest and (limit is None or len(asked) <= limit):
                # Nothing to look up: the query names its calls.
                return Found(self._rows_of(snapshot, asked, times, names, column, descending))
            if limit is not None and newest:
                ids, span = self._newest_calls(snapshot, node, times, limit)
            elif limit is not None:
                ids, span = self._sorted_calls(con, node, times, limit, column, descending)
            else:
                return Found(self._all_calls(con, node, times, names, column, descending))
            table = self._rows_of(snapshot, ids[:limit], span, names, column, descending)
        return Found(table, len(ids) > limit)

    @fresh
    def calls_of(
        self, call_ids: Sequence[str], times: Times | None = None, fields: Sequence[str] | None = None
    ) -> pa.Table:
        """Return the rows of these calls, oldest start first."""
        span = times or Times()
        with self._moment(span, holding={"call_id": call_ids}) as snapshot:
            return self._rows_of(snapshot, list(call_ids), span, call_fields(fields), "start", False)

    def _newest_calls(
        self, snapshot: SnapshotLike, node: Node, times: Times, limit: int
    ) -> tuple[list[str], Times]:
        """Return up to limit + 1 Call-IDs, newest matching message first, and the time they match in."""
        con = snapshot.connection
        if pins(node, INDEXED):
            windows = self._windows_of_matches(con, node, times, limit)
        else:
            windows = self._windows(snapshot, times)
        found: dict[str, tuple[int | None, int | None]] = {}
        for window in windows:
            table = self._run(
                con,
                "SELECT call_id, epoch_us(min(ts)) AS low, epoch_us(max(ts)) AS high FROM sip WHERE "
                f"{self._where(node, window)} AND call_id IS NOT NULL "
                f"GROUP BY call_id ORDER BY high DESC, call_id LIMIT {int(limit) + 1 + len(found)}",
            )
            for row in table.to_pylist():
                if row["call_id"] not in found and len(found) <= limit:
                    found[row["call_id"]] = (row["low"], row["high"])
            if len(found) > limit:
                break
        if not found:
            return [], Times()
        return list(found), spanning(found.values()).widened(AROUND)

    def _sorted_calls(
        self,
        con: duckdb.DuckDBPyConnection,
        node: Node,
        times: Times,
        limit: int,
        column: str,
        descending: bool,
    ) -> tuple[list[str], Times]:
        """Return up to limit + 1 Call-IDs in order of any column; computes that column of every match."""
        names = tuple(dict.fromkeys((column, "start", "end", "call_id")))
        sql = calls_sql(self._matching_calls(node, times), names)
        table = self._run(
            con,
            f'SELECT call_id, epoch_us(start) AS low, epoch_us("end") AS high FROM ({sql}) '
            f"ORDER BY {call_order(column, descending)} LIMIT {int(limit) + 1}",
        )
        rows = table.to_pylist()
        if not rows:
            return [], Times()
        return [r["call_id"] for r in rows], spanning((r["low"], r["high"]) for r in rows)

    def _all_calls(
        self,
        con: duckdb.DuckDBPyConnection,
        node: Node,
        times: Times,
        names: tuple[str, ...],
        column: str,
        descending: bool,
    ) -> pa.Table:
        return self._run(con, Shown(names, column, descending).sql(self._matching_calls(node, times)))

    def _rows_of(
        self,
        snapshot: SnapshotLike,
        ids: Sequence[str],
        span: Times,
        names: tuple[str, ...],
        column: str,
        descending: bool,
    ) -> pa.Table:
        shown = Shown(names, column, descending)
        con = snapshot.connection
        source = self._source(snapshot, {"call_id": ids}, columns_read(shown.needed))
        relation = self._messages_in(con, ids, span, source)
        if source == "sip":
            return self._run(con, shown.sql(relation))
        messages = self._run(con, f"SELECT * FROM {relation}")
        if len(messages) > FEW_MESSAGES:
            con.register("_messages", messages)
            return self._run(con, shown.sql("_messages"))
        with errors_for_people():
            return self.planned.rows(messages, shown)

    def _messages_in(
        self, con: duckdb.DuckDBPyConnection, ids: Sequence[str], span: Times, source: str = "sip"
    ) -> str:
        """Return the relation of these calls' messages, which `source` has.

        A Bloom filter that wrongly says "perhaps" costs the decoding of a column, so two columns are read
        first, to learn when the calls' messages were, and all columns only of these times. Where few
        calls are spread over a long time that saves less than it costs, and so it does where all the time is
        short.
        """
        condition = self._call_id_in(con, ids)
        short = span.is_longer(0) and not span.is_longer(_SHORT)
        if len(ids) <= 1 or (len(ids) <= FEW and (short or span.is_longer(2 * AROUND + _SPREAD))):
            return f"(SELECT * FROM {source} WHERE {condition} AND {span.sql()})"
        found = self._run(con, f"SELECT epoch_us(ts) AS at FROM {source} WHERE {condition} AND {span.sql()}")
        when = any_of_times(clusters(found["at"].to_pylist()))
        return f"(SELECT * FROM {source} WHERE {condition} AND {when})"

    def _matching_calls(self, node: Node, times: Times) -> str:
        """Return the relation of all messages of the calls that match."""
        around = times.widened(AROUND).sql()
        if node == EVERYTHING and times == Times():
            return "sip"
        chosen = f"SELECT call_id FROM sip WHERE {self._where(node, times)} AND call_id IS NOT NULL"
        return f"(SELECT * FROM sip WHERE {around} AND call_id IN ({chosen}))"

    # -- numbers

    @fresh
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
        with self._snapshot(times, table, required(node, INDEXED)) as con:
            matches = f"FROM {view_of(table)} WHERE {self._where(node, times)}"
            if not messages:
                matches = f"FROM (SELECT 1 {matches} AND call_id IS NOT NULL GROUP BY call_id)"
            found = self._run(con, f"SELECT count(*) {matches}")
        return int(found[0][0].as_py())

    @fresh
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
        with self._moment(times, holding=required(node, INDEXED)) as snapshot:
            low, high, *_ = self._spread(snapshot, times, "sip")
            calls = None
            if not messages:
                with errors_for_people():
                    calls = self._known_calls(snapshot, node, times)

            def count(part: Times, width: int) -> pa.Table:
                if calls is not None:
                    return count_calls(calls, width)
                statement = counts_sql(self._where(node, part), width, messages)
                return self._run(snapshot.connection, statement)

            return build(count, times, low, high, buckets, zone)

    def _known_calls(self, snapshot: SnapshotLike, node: Node, times: Times) -> Known | None:
        """Return the calls that match in a range, without looking at all of it; None where that is needed."""
        if node == EVERYTHING:
            cancel.check()
            known: Any = getattr(snapshot, "calls", lambda *_: None)
            all_calls: Known | None = known(times.since, times.until, times.sql())
            return all_calls
        found = self.remembered.of(node, times)
        if found is None or times.since is None:
            return None
        # Of a call that matched before the range it is not known what matches within.
        before = found.begun_before(times.since)
        if len(before) > FEW:
            return None
        parts = [(f" AND {self._call_id_in(snapshot.connection, before)}", times)] if before else []
        parts.append(("", Times(max(found.looked_until, times.since), times.until)))
        calls = [found.since(times.since)]
        for condition, part in parts:
            cancel.check()
            more = read_calls(snapshot.connection, "sip", f"{self._where(node, part)}{condition}")
            if more is None:
                return None
            calls.append(more)
        return joined(calls)

    @fresh
    def sql(self, statement: str) -> pa.Table:
        """Run one query on the views sip, rtcp, log and other; for local use, never for what others send.

        Raises HepcatError for SQL that is wrong, or that is no query.
        """
        with self._snapshot(Times(), None) as con:
            try:
                queries(con, statement)
                return self._run(con, statement)
            except (duckdb.ProgrammingError, duckdb.PermissionException) as error:
                raise HepcatError(str(error)) from None


def _cut(table: pa.Table, limit: int | None) -> Found:
    if limit is None or len(table) <= limit:
        return Found(table)
    return Found(table.slice(0, limit), True)
