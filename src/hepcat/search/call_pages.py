"""Pages of calls in an exact order, which stays the same while messages are stored.

In: a searcher, a query, a range of time, how many. Out: rows of calls, and the key behind which the next page
begins. What can go wrong: QueryError, HepcatError as in searcher.py; HepcatError for a key that is none.

What is exact: found is each call of which a message in the range matches. What is said of it, its start among
that, comes from its messages in the range and AROUND it. The order is that of `calls` (columns.py): by a
column, nothing last, then the later start first, then by Call-ID. With one and the same `until`, what is
stored later with later times changes neither which calls are found nor their starts: pages by start neither
repeat nor miss one. An `Ordered` by another column is to be kept for its pages: made again, it differs.

The first page of the newest calls is found without looking at all: a call that starts at a moment or later
has all of its messages there. So those with a match since that moment, and none of their messages before it,
are the newest, all of them. Moments are tried from the newest on. Where the store keeps in memory when calls
began, the page comes from there (newest_calls.py).
"""

import bisect
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from hepcat.search.ast import EVERYTHING, Node, pins, required
from hepcat.search.calls import CALL_COLUMN, calls_sql
from hepcat.search.columns import call_fields, call_order, call_sort
from hepcat.search.newest_calls import newest_calls
from hepcat.search.page_keys import FIRST, LAST, Key, is_behind
from hepcat.search.remote_windows import chunks
from hepcat.search.searcher import AROUND, INDEXED, Searcher
from hepcat.search.source import fresh
from hepcat.search.statements import FEW
from hepcat.search.within import Times

if TYPE_CHECKING:
    from hepcat.search.remote_searcher import RemoteSearcher

    AnySearcher = Searcher | RemoteSearcher

#: Calls of an order at most.
MOST: Final = 100_000
#: Calls of a window that are tried for each that is wanted: some began earlier.
_TRIED: Final = 2
#: Most calls are no longer than this, microseconds; and of the others this many may be among those wanted.
_LATELY: Final = 3600 * 1_000_000
_MORE: Final = 8
#: Times that Bloom filters are asked for a part of the Call-IDs, before all are looked for without.
_LOOKUPS: Final = 3
_END: Final = '"end"'


@dataclass(frozen=True, slots=True)
class Page:
    """Rows in order; where the next page begins, None at the end; what the answer lacks, in words.

    of: the order that it is a page of, which may hold the next pages too.
    """

    rows: pa.Table
    next: Key | None
    notes: tuple[str, ...] = ()
    of: "Ordered | None" = None


@dataclass(frozen=True, slots=True)
class Ordered:
    """All calls in an order: columns call_id, value, start, end (times: microseconds), and no more.

    cut: there are more than may be in it.
    """

    column: str
    descending: bool
    table: pa.Table
    cut: bool
    span: Times
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.table)

    def key(self, row: int) -> Key:
        """Return the key of a row."""
        value, start, call_id = (self.table[name][row].as_py() for name in ("value", "start", "call_id"))
        return Key(value, start, call_id)

    def within(self, octets: int) -> "Ordered":
        """Return the first calls of it, as many as so many octets hold: Call-IDs may be long."""
        rows = len(self)
        while rows > 1 and self.table.slice(0, rows).nbytes > octets:
            rows -= rows // 8 or 1
        if rows == len(self):
            return self
        return replace(self, table=self.table.take(pa.array(range(rows))), cut=True)

    def behind(self, key: Key | None) -> int:
        """Return the number of the first row behind a key, which need not be of a row that is there."""
        if key is None:
            return 0
        rows = range(len(self.table))
        return bisect.bisect_left(rows, True, key=lambda i: is_behind(self.key(i), key, self.descending))


def first_page(
    searcher: "AnySearcher",
    query: str | Node = "",
    since: int | None = None,
    until: int | None = None,
    limit: int = 100,
    fields: Sequence[str] | None = None,
) -> Page:
    """Return the newest calls by their start: the first page of `order(...)` without a sort, sooner."""
    node = searcher.parse(query) if isinstance(query, str) else query
    names = call_fields(fields)
    times = Times(since, until).within(node)
    if not isinstance(searcher, Searcher):
        from hepcat.search.remote_pages import first_page_of_remote

        return first_page_of_remote(searcher, node, times, limit, names)
    found = _newest(searcher, node, times, limit + 1)
    if found is None:
        found = order(searcher, node, since, until, None, limit + 1)
    return page_of(searcher, found, limit, None, names)


def order(
    searcher: "AnySearcher",
    query: str | Node = "",
    since: int | None = None,
    until: int | None = None,
    sort: str | None = None,
    most: int = MOST,
) -> Ordered:
    """Return the calls that match, at most so many. sort: a column, `-` for descending; None: `-start`."""
    node = searcher.parse(query) if isinstance(query, str) else query
    column, descending = call_sort(sort)
    times = Times(since, until).within(node)
    if not isinstance(searcher, Searcher):
        from hepcat.search.remote_pages import order_of_remote

        return order_of_remote(searcher, node, times, column, descending, most)
    return _all(searcher, node, times, column, descending, most)


def page_of(
    searcher: "AnySearcher",
    ordered: Ordered,
    limit: int,
    after: Key | None = None,
    fields: Sequence[str] | None = None,
) -> Page:
    """Return the rows behind a key (None: from the first on)."""
    begin = ordered.behind(after)
    some = ordered.table.slice(begin, limit)
    end = begin + len(some)
    rows = rows_of(searcher, some["call_id"].to_pylist(), span_of(some, ordered.span), fields)
    notes = ordered.notes
    if end < len(ordered) and len(some):
        return Page(rows, ordered.key(end - 1), notes, ordered)
    if ordered.cut:
        notes += (f"more calls match than the {len(ordered):,} that are put in order: narrow the time",)
    return Page(rows, None, notes, ordered)


def rows_of(
    searcher: "AnySearcher", call_ids: Sequence[str], span: Times, fields: Sequence[str] | None = None
) -> pa.Table:
    """Return the rows of these calls in this order; `span`: where their messages are."""
    names = call_fields(fields)
    needed = tuple(dict.fromkeys((*names, "call_id")))
    found = searcher.calls_of(call_ids, span, needed)
    place = pc.index_in(pa.array(call_ids, pa.string()), value_set=found["call_id"].combine_chunks())
    # What retention deleted since then is left out.
    return found.take(place.drop_null()).select(list(names))


def span_of(calls: pa.Table, span: Times) -> Times:
    """Return the time from the first start of some calls to the last end, within the order's own."""
    if not len(calls):
        return Times(0, 0)
    low, high = pc.min(calls["start"]).as_py(), pc.max(calls["end"]).as_py()
    since = span.since if low == FIRST else low
    return Times(since, span.until if high in (None, LAST) else high + 1)


def table_of(found: pa.Table) -> pa.Table:
    """Return the columns of an Ordered, texts and numbers in the forms that keys have."""
    value = found["value"]
    if pa.types.is_integer(value.type) or pa.types.is_decimal(value.type) or pa.types.is_null(value.type):
        value = value.cast(pa.int64())
    columns = {"call_id": found["call_id"], "value": value, "start": found["start"], "end": found["end"]}
    return pa.table(columns)


def micros(value: str) -> str:
    """Return the SQL of a time in microseconds; infinity is the last (first) number."""
    return (
        f"CASE WHEN {value} IS NULL THEN NULL WHEN isfinite({value}) THEN epoch_us({value}) "
        f"WHEN {value} > make_timestamptz(0) THEN {LAST}::BIGINT ELSE {FIRST}::BIGINT END"
    )


@fresh
def _all(searcher: Searcher, node: Node, times: Times, column: str, descending: bool, most: int) -> Ordered:
    span = times.widened(AROUND)
    with searcher._snapshot(span, holding=required(node, frozenset({"call_id"}))) as con:
        ids = _few(searcher, con, node, times)
        if ids is None:
            relation = searcher._matching_calls(node, times)
        else:
            relation = f"(SELECT * FROM sip WHERE {searcher._call_id_in(con, ids)} AND {span.sql()})"
        if column == "start":
            found = _starts(searcher, con, relation, f"{'DESC' if descending else 'ASC'}", most + 1)
        else:
            if ids is not None:
                within = span_of(_starts(searcher, con, relation, "ASC", FEW), span)
                relation = searcher._messages_in(con, ids, within)
            found = _by_column(searcher, con, relation, column, descending, most + 1)
    return Ordered(column, descending, found.slice(0, most), len(found) > most, span)


def _few(searcher: Searcher, con: duckdb.DuckDBPyConnection, node: Node, times: Times) -> list[str] | None:
    """Return the Call-IDs that match where they are few; None: they are many."""
    if node == EVERYTHING:
        return None
    where = f"{searcher._where(node, times)} AND call_id IS NOT NULL"
    found = searcher._run(con, f"SELECT DISTINCT call_id FROM sip WHERE {where} LIMIT {FEW + 1}")
    ids: list[str] = found["call_id"].to_pylist()
    return ids if len(ids) <= FEW else None


def _starts(
    searcher: Searcher, con: duckdb.DuckDBPyConnection, relation: str, direction: str, rows: int
) -> pa.Table:
    """Return the calls of a relation by their start."""
    found = searcher._run(
        con,
        f'SELECT call_id, {micros("min(ts)")} AS start, {micros("max(ts)")} AS "end" FROM {relation} '
        f"WHERE call_id IS NOT NULL GROUP BY call_id ORDER BY min(ts) {direction}, call_id LIMIT {int(rows)}",
    )
    return _valued(found)


def _valued(found: pa.Table) -> pa.Table:
    """Return calls that are ordered by their start as table_of has them."""
    return table_of(found.append_column("value", found["start"]))


def _by_column(
    searcher: Searcher,
    con: duckdb.DuckDBPyConnection,
    relation: str,
    column: str,
    descending: bool,
    rows: int,
) -> pa.Table:
    sql = calls_sql(relation, tuple(dict.fromkeys((column, "start", "end", "call_id"))))
    value = f'"{column}"'
    if CALL_COLUMN[column].type == "timestamp":
        value = micros(value)
    ends = f"{micros('start')} AS start_us, {micros(_END)} AS end_us"
    by = call_order(column, descending)
    statement = f"SELECT call_id, {value} AS value, {ends} FROM ({sql}) ORDER BY {by} LIMIT {int(rows)}"
    found = searcher._run(con, statement)
    return table_of(found.rename_columns(["call_id", "value", "start", "end"]))


@fresh
def _newest(searcher: Searcher, node: Node, times: Times, wanted: int) -> Ordered | None:
    """Return the `wanted` calls with the latest starts; None where all have to be looked at for that."""
    span = times.widened(AROUND)
    with searcher._moment(span, holding=required(node, frozenset({"call_id"}))) as snapshot:
        con = snapshot.connection
        indexed = pins(node, INDEXED)
        known: Any = getattr(snapshot, "begun", lambda: None)
        begun = known()
        if indexed and begun is not None:
            windows = [times]  # its matches are few
        elif indexed:
            windows = searcher._windows_of_matches(con, node, times, wanted - 1)
        else:
            windows = searcher._windows(snapshot, times)
        if begun is not None:
            found = newest_calls(searcher, snapshot, begun, node, windows, span, wanted)
            if found is not None:
                return Ordered("start", True, _valued(found), len(found) >= wanted, span)
            if indexed:
                windows = searcher._windows_of_matches(con, node, times, wanted - 1)
        for window in windows[:-1]:
            recent = Times(window.since, times.until)
            if indexed:
                found = _begun_of_few(searcher, con, node, recent, span)
            else:
                found = _begun_in(searcher, con, node, recent, span, wanted)
            if found is None:
                break
            if len(found) >= wanted:
                return Ordered("start", True, found.slice(0, wanted), True, span)
    return None


def _begun_of_few(
    searcher: Searcher, con: duckdb.DuckDBPyConnection, node: Node, recent: Times, span: Times
) -> pa.Table | None:
    """Return the calls that match in a recent time and began in it, in order; None: they are many."""
    ids = _few(searcher, con, node, recent)
    if ids is None:
        return None
    relation = f"(SELECT call_id, ts FROM sip WHERE {searcher._call_id_in(con, ids)} AND {span.sql()})"
    found = _starts(searcher, con, relation, "DESC", FEW)
    return found.filter(pc.greater_equal(found["start"], recent.since))


def _begun_in(
    searcher: Searcher,
    con: duckdb.DuckDBPyConnection,
    node: Node,
    recent: Times,
    span: Times,
    wanted: int,
) -> pa.Table:
    """Return the newest of the calls that match in a recent time and have no message before it, in order."""
    chosen = f"{recent.sql()} AND call_id IS NOT NULL"
    if node != EVERYTHING:
        matching = f"SELECT call_id FROM sip WHERE {searcher._where(node, recent)} AND call_id IS NOT NULL"
        chosen += f" AND call_id IN ({matching})"
    seen = searcher._run(
        con,
        f'SELECT call_id, {micros("min(ts)")} AS start, NULL::BIGINT AS "end" FROM sip WHERE {chosen} '
        f"GROUP BY call_id ORDER BY min(ts) DESC, call_id LIMIT {_TRIED * wanted + 50}",
    )
    if len(seen) < wanted or recent.since is None:
        return _valued(seen.slice(0, 0))
    # Most of those that began earlier did so not long before. The rest are looked for everywhere, no more of
    # them at once than are likely to be needed.
    lately = recent.since - _LATELY
    if span.since is not None:
        lately = max(lately, span.since)
    seen = _without(searcher, con, seen, Times(lately, recent.since))
    begun = seen.slice(0, 0)
    while len(seen) and len(begun) < wanted:
        some = wanted - len(begun) + _MORE
        new = _without(searcher, con, seen.slice(0, some), Times(span.since, lately))
        begun, seen = pa.concat_tables([begun, new]), seen.slice(some)
    return _valued(begun)


def _without(searcher: Searcher, con: duckdb.DuckDBPyConnection, calls: pa.Table, times: Times) -> pa.Table:
    """Return the calls that have no message in a time."""
    ids: list[str] = calls["call_id"].to_pylist()
    # Some at a time are looked up by Bloom filters, many at once in all that there is.
    size = FEW if len(ids) <= _LOOKUPS * FEW else len(ids)
    earlier: list[str] = []
    for some in chunks(ids, size):
        condition = f"{searcher._call_id_in(con, some)} AND {times.sql()}"
        found = searcher._run(con, f"SELECT DISTINCT call_id FROM sip WHERE {condition}")
        earlier += found["call_id"].to_pylist()
    return calls.filter(pc.invert(pc.is_in(calls["call_id"], value_set=pa.array(earlier, pa.string()))))
