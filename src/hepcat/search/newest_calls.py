"""The newest calls by their start, where the store knows when calls began.

In: a searcher, a snapshot and what it knows of starts, a query, windows of time. Out: the
newest of the calls that match, in order, as `call_pages.order` has them. What can go wrong: what
searcher.py says; None where too many calls match for this way.

Calls that match are looked for in a window after another, the newest first. When the calls of the windows
so far that began in them are as many as wanted, they are the newest: whatever matches only before began
before.
"""

from typing import TYPE_CHECKING, Final

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hepcat.search.ast import EVERYTHING, Node, alternatives, columns_of
from hepcat.search.page_keys import FIRST
from hepcat.search.source import SnapshotLike
from hepcat.search.within import Times
from hepcat.stores.lake.outcome import HIGHEST
from hepcat.stores.lake.recent import LOOKED_FOR

if TYPE_CHECKING:
    from hepcat.search.searcher import Searcher
    from hepcat.stores.lake.starts import Begun

#: Calls that match, at most: from there on DuckDB puts them in order sooner than they are handed over.
_MATCHING: Final = 250_000
#: Calls that are handed over where so many are known: the next pages will be asked for.
_FOLLOWING: Final = 1400
#: Calls whose start has to be looked for after all, at most.
_DOUBTFUL: Final = 256


def newest_calls(
    searcher: "Searcher",
    snapshot: SnapshotLike,
    begun: "Begun",
    node: Node,
    windows: list[Times],
    span: Times,
    wanted: int,
) -> pa.Table | None:
    """Return call_id, start and end of the `wanted` newest, or of all where they are fewer; or of some more.

    end: no message within the span is later.
    """
    calls = pa.schema([("call_id", pa.string()), ("start", pa.int64()), ("end", pa.int64())]).empty_table()
    matches = []
    con = snapshot.connection
    source = searcher._source(snapshot, alternatives(node, LOOKED_FOR), columns_of(node))
    for window in windows:
        new = _matching(searcher, con, source, node, window)
        if len(new) > _MATCHING:
            return None
        matches.append(new)
        new = new.filter(pc.invert(pc.is_in(new["call_id"], value_set=calls["call_id"].combine_chunks())))
        timed = _timed(searcher, con, begun, new, span)
        if timed is None:
            return None
        calls = pa.concat_tables([calls, timed])
        if len(calls) > _MATCHING:
            return None
        since = window.since
        if window is not windows[-1] and since is not None:
            settled = calls.filter(pc.greater_equal(calls["start"], since))
            if len(settled) >= wanted:
                return _newest(settled, wanted)
    if node != EVERYTHING:
        searcher.remembered.put(node, Times(windows[-1].since, windows[0].until), pa.concat_tables(matches))
    return _newest(calls, wanted)


def _matching(
    searcher: "Searcher", con: duckdb.DuckDBPyConnection, source: str, node: Node, window: Times
) -> pa.Table:
    """Return the Call-IDs that match in a window, with the hash that starts are known by.

    Of a query also `first` and `outcome` (stores/lake/outcome.py) of what matches: its histogram needs them.
    """
    where = f"{searcher._where(node, window)} AND call_id IS NOT NULL"
    if node == EVERYTHING:
        calls = f"SELECT DISTINCT call_id FROM {source} WHERE {where} LIMIT {_MATCHING + 1}"
    else:
        calls = (
            f"SELECT call_id, epoch_us(min(ts)) AS first, {HIGHEST} AS outcome FROM {source} WHERE {where} "
            f"GROUP BY call_id LIMIT {_MATCHING + 1}"
        )
    found = searcher._run(con, f"SELECT *, hash(call_id) AS hash FROM ({calls})")
    return found.set_column(0, "call_id", found["call_id"].cast(pa.string()))


def _timed(
    searcher: "Searcher", con: duckdb.DuckDBPyConnection, begun: "Begun", calls: pa.Table, span: Times
) -> pa.Table | None:
    """Return calls with when they began within the span, and ended; None where too many are in doubt."""
    start, end = begun.of(calls["hash"].to_numpy())
    # A file that holds a message before the span does not say what it holds after it.
    doubtful = np.flatnonzero(start < (FIRST if span.since is None else span.since))
    if len(doubtful) > _DOUBTFUL:
        return None
    if len(doubtful):
        ids = calls["call_id"].take(pa.array(doubtful)).to_pylist()
        condition = f"{searcher._call_id_in(con, ids)} AND {span.sql()}"
        found = searcher._run(
            con, f"SELECT call_id, epoch_us(min(ts)) FROM sip WHERE {condition} GROUP BY call_id"
        )
        later = dict(zip(found[0].to_pylist(), found[1].to_pylist(), strict=True))
        start[doubtful] = [later[call_id] for call_id in ids]
    if span.until is not None:
        end = np.minimum(end, span.until - 1)
    return pa.table({"call_id": calls["call_id"], "start": pa.array(start), "end": pa.array(end)})


def _newest(calls: pa.Table, wanted: int) -> pa.Table:
    order = pc.sort_indices(calls, [("start", "descending"), ("call_id", "ascending")])
    return calls.take(order.slice(0, max(wanted, _FOLLOWING)))
