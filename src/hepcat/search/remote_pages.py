"""Pages of calls of a store elsewhere, as call_pages.py has them.

In: its searcher, the tree of a query, a range of time. Out: an Ordered, or the first page of it. What can go
wrong: HepcatError, where so many calls match that they cannot be put in order.

The newest calls are found from the newest matches: the store says when their calls began, by the index of
Call-IDs. Those that began since the oldest of the matches that were looked at are the newest of all. Where
that takes more matches than may be looked at, the page has the newest of those calls, and a note says that
others may be missing among them.
"""

from collections.abc import Sequence
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
from sqlglot import exp

from hepcat.errors import HepcatError
from hepcat.search import cancel
from hepcat.search.ast import Node
from hepcat.search.call_pages import Ordered, Page, page_of, table_of
from hepcat.search.calls import CALL_COLUMN
from hepcat.search.page_keys import FIRST, LAST
from hepcat.search.remote_dialect import both, named_as
from hepcat.search.remote_records import moments
from hepcat.search.remote_searcher import RemoteSearcher
from hepcat.search.remote_windows import chunks
from hepcat.search.searcher import AROUND
from hepcat.search.within import Times

#: Calls of which all messages are read for an order.
MOST_READ: Final = 20_000
#: Matches that are looked at for each call of a first page, at first; then so many times as many; at most.
_A_CALL: Final = 8
_GROWTH: Final = 4
_AT_MOST: Final = 50_000

#: Call-ID -> first and last message, microseconds.
Ends = dict[str, tuple[int, int]]


def first_page_of_remote(
    searcher: RemoteSearcher, node: Node, times: Times, limit: int, names: Sequence[str]
) -> Page:
    """Return the newest calls by their start."""
    span = times.widened(AROUND)
    wanted = limit + 1
    ends, looked, sure = _newest(searcher, node, times, span, wanted)
    page = page_of(searcher, _ordered(ends, wanted, span), limit, None, names)
    if sure:
        return page
    note = f"the newest of the calls with the newest {looked:,} matches: narrow the time or the query"
    return Page(page.rows, page.next, (*page.notes, note))


def _newest(
    searcher: RemoteSearcher, node: Node, times: Times, span: Times, wanted: int
) -> tuple[Ends, int, bool]:
    """Return calls, the newest `wanted` of all among them; how many matches were looked at; is that sure?"""
    known: Ends = {}
    new: dict[str, None] = {}
    looked, enough, low = 0, _A_CALL * wanted, LAST
    for page in searcher.matches.newest(node, times, "sip", enough):
        looked += len(page)
        low = min(low, pc.min(moments(page)).as_py() if len(page) else low)
        new |= dict.fromkeys(i for i in page["call_id"].to_pylist() if i is not None and i not in known)
        if looked < enough:
            continue
        known |= _ends(searcher, list(new), span)
        new.clear()
        begun = {i: ends for i, ends in known.items() if ends[0] >= low}
        if len(begun) >= wanted:
            return begun, looked, True
        if looked >= _AT_MOST:
            return known, looked, False
        enough = looked * _GROWTH
    return known | _ends(searcher, list(new), span), looked, True


def order_of_remote(
    searcher: RemoteSearcher, node: Node, times: Times, column: str, descending: bool, most: int
) -> Ordered:
    """Return all calls that match, in order."""
    span = times.widened(AROUND)
    ids = searcher._call_ids(node, times)
    if column == "start":
        found = _ordered(_ends(searcher, ids, span), most + 1, span, descending).table
    elif len(ids) <= MOST_READ:
        found = _by_column(searcher, ids, span, column, descending)
    else:
        raise HepcatError(
            f"store {searcher.remote.name} cannot put {len(ids):,} calls in order of {column}: "
            f"more than {MOST_READ:,}",
            "Narrow the time or the query, or let the newest come first.",
        )
    return Ordered(column, descending, found.slice(0, most), len(found) > most, span)


def _by_column(
    searcher: RemoteSearcher, ids: Sequence[str], span: Times, column: str, descending: bool
) -> pa.Table:
    """Return these calls in order; all of their messages are read, some at a time."""
    names = tuple(dict.fromkeys((column, "start", "end", "call_id")))
    rows = searcher._rows_of(ids, span, names, column, descending)
    value = _micros(rows[column]) if CALL_COLUMN[column].type == "timestamp" else rows[column]
    start, end = _micros(rows["start"]), _micros(rows["end"])
    return table_of(pa.table({"call_id": rows["call_id"], "value": value, "start": start, "end": end}))


def _ends(searcher: RemoteSearcher, ids: Sequence[str], span: Times) -> Ends:
    """Return the first and last message of each of these calls."""
    dialect, found = searcher.dialect, {}
    key, at = dialect.call_key(), dialect.micros()
    selected = named_as(id=key, low=exp.Min(this=at), high=exp.Max(this=at.copy()))
    for some in chunks([i for i in ids if not dialect.blurred_id(i)]):
        cancel.check()
        where = both(dialect.of_calls(some), dialect.times(span))
        wanted = set(some)
        for row in searcher.matches.run(selected, where, [key]).to_pylist():
            if row["id"] in wanted:
                found[row["id"]] = (int(row["low"]), int(row["high"]))
    blurred = [i for i in ids if dialect.blurred_id(i)]
    if blurred:
        records = searcher.matches.of_calls(blurred, span)
        for i, ts in zip(records["call_id"].to_pylist(), moments(records).to_pylist(), strict=True):
            low, high = found.get(i, (ts, ts))
            found[i] = (min(low, ts), max(high, ts))
    return found


def _ordered(ends: Ends, rows: int, span: Times, descending: bool = True) -> Ordered:
    """Return these calls by start, up to so many."""
    sign = -1 if descending else 1
    best = sorted(ends.items(), key=lambda item: (sign * item[1][0], item[0].encode("utf-8", "replace")))
    ids = [i for i, _ in best[:rows]]
    starts = pa.array([low for _, (low, _) in best[:rows]], pa.int64())
    columns = {
        "call_id": pa.array(ids, pa.string()),
        "value": starts,
        "start": starts,
        "end": pa.array([high for _, (_, high) in best[:rows]], pa.int64()),
    }
    return Ordered("start", descending, pa.table(columns), len(best) > rows, span)


def _micros(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return times as numbers, none of them less than what stands for infinity."""
    return pc.max_element_wise(
        column.cast(pa.timestamp("us", "UTC")).cast(pa.int64()), FIRST, skip_nulls=False
    )
