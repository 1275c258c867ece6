"""Pages of single messages, the newest first.

In: a searcher, a query, a range of time, how many, the key of the page before. Out: rows, and the next key.
What can go wrong: QueryError, HepcatError as in searcher.py.

Messages of one microsecond come in an order that depends on nothing but themselves; a key counts those of its
microsecond that were shown. With one and the same `until` pages neither repeat nor miss a message while later
ones are stored.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc

from hepcat.errors import HepcatError
from hepcat.search.ast import EVERYTHING, Node, required
from hepcat.search.columns import message_columns, newest_first
from hepcat.search.page_keys import MessageKey
from hepcat.search.remote_records import concat
from hepcat.search.searcher import INDEXED, Searcher
from hepcat.search.source import fresh
from hepcat.search.within import Times, any_of_times, clusters

if TYPE_CHECKING:
    from hepcat.search.remote_searcher import RemoteSearcher

#: What tells messages of one microsecond, status and Call-ID apart.
_TIES: Final = "src_ip, src_port, dst_ip, dst_port, method, cseq, node_id, node_name, payload"
#: Messages of one microsecond that pages can go through: each page reads them again.
MOST_AT_ONCE: Final = 200_000


@dataclass(frozen=True, slots=True)
class MessagePage:
    """Rows, the newest first; where the next page begins, None at the end."""

    rows: pa.Table
    next: MessageKey | None


def message_page(
    searcher: "Searcher | RemoteSearcher",
    query: str | Node = "",
    since: int | None = None,
    until: int | None = None,
    limit: int = 100,
    fields: Sequence[str] | None = None,
    after: MessageKey | None = None,
) -> MessagePage:
    """Return the messages that match behind a key (None: the newest)."""
    node = searcher.parse(query) if isinstance(query, str) else query
    times, skip = Times(since, until).within(node), 0
    if after is not None:
        skip = after.skip
        times = Times(times.since, after.ts + 1 if times.until is None else min(times.until, after.ts + 1))
        if skip > MOST_AT_ONCE:
            raise HepcatError(
                f"more than {MOST_AT_ONCE:,} messages have the same time, and pages cannot go through them",
                "Narrow the query, or export the messages.",
            )
    if isinstance(searcher, Searcher):
        found = _behind(searcher, node, times, skip, limit + 1, fields)
    else:
        found = _behind_of_remote(searcher, node, times, skip, limit + 1, fields)
    rows, following = found.slice(0, limit), None
    if len(found) > limit and len(rows):
        at = rows["_at"]
        last = at[-1].as_py()
        seen = pc.sum(pc.equal(at, last)).as_py()
        # All of the page may be of the microsecond in which the page before ended.
        following = MessageKey(last, seen + (skip if after is not None and last == after.ts else 0))
    return MessagePage(rows.drop_columns(["_at"]), following)


@fresh
def _behind(
    searcher: Searcher, node: Node, times: Times, skip: int, wanted: int, fields: Sequence[str] | None
) -> pa.Table:
    """Return the messages with their time as `_at`, without the first `skip`."""
    chosen = message_columns(fields, "sip", searcher.dialect)
    with searcher._moment(times, holding=required(node, INDEXED)) as snapshot:
        at = searcher._moments(snapshot, node, times, skip + wanted, None, "sip")
        where = f"{any_of_times(clusters(at))} AND {searcher._where(node, times)}"
        found = searcher._run(
            snapshot.connection,
            f"SELECT ts AS _at, {chosen} FROM sip WHERE {where} ORDER BY {newest_first('sip')}, {_TIES} "
            f"LIMIT {int(wanted)} OFFSET {int(skip)}",
        )
    return found.set_column(0, "_at", found["_at"].cast(pa.int64()))


def _behind_of_remote(
    searcher: "RemoteSearcher",
    node: Node,
    times: Times,
    skip: int,
    wanted: int,
    fields: Sequence[str] | None,
) -> pa.Table:
    message_columns(fields, "sip", searcher.dialect.local)
    parts, rows = [], 0
    for page in searcher.matches.newest(node, times, "sip", skip + wanted):
        parts.append(page)
        rows += len(page)
        if rows >= skip + wanted:
            break
    local = searcher.matches.local(concat(parts, "sip"))
    return _behind(local, EVERYTHING, Times(), skip, wanted, fields)
