"""Live results: what is stored from now on and matches.

In: the tail of a store, a query. Out: an endless iteration of Arrow tables, seldom more than a quarter of a
second after the messages were stored; empty ones too, so that the caller can stop. Messages come once each. A
call comes once, when the first of its messages that matches was stored, with what is known of it then.
"""

import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final, Protocol

import duckdb
import pyarrow as pa

from hepcat.search.ast import Node
from hepcat.search.searcher import Searcher

if TYPE_CHECKING:
    from hepcat.search.remote_searcher import RemoteSearcher

#: Seconds between two looks.
INTERVAL: Final = 0.2
#: Calls already shown that are remembered; the oldest are forgotten first.
_REMEMBERED: Final = 500_000


class TailLike(Protocol):
    """The end of a store's table: of the lake (follow.py), of an SQL database (sql_tail.py)."""

    def poll(self) -> pa.Table:
        """Return what was stored since the last call, in order of arrival; may be empty."""

    def close(self) -> None:
        """Let go."""


def follow_messages(
    tail: TailLike,
    searcher: "Searcher | RemoteSearcher",
    node: Node,
    fields: Sequence[str] | None = None,
    table: str = "sip",
) -> Iterator[pa.Table]:
    """Yield the messages that match, each batch in order of time; close the tail at the end."""
    with contextlib.closing(tail), contextlib.closing(duckdb.connect()) as con:
        con.execute("SET TimeZone = 'UTC'")
        while True:
            begun = time.monotonic()
            arrived = tail.poll()
            con.register(table, arrived)
            yield searcher.filter(con, node, fields, table)
            con.unregister(table)
            time.sleep(max(INTERVAL - (time.monotonic() - begun), 0.01))


def follow_calls(
    tail: TailLike, searcher: "Searcher | RemoteSearcher", node: Node, fields: Sequence[str] | None = None
) -> Iterator[pa.Table]:
    """Yield the calls of which a message matched for the first time, oldest start first."""
    shown: dict[str, None] = {}
    for messages in follow_messages(tail, searcher, node, ["ts", "call_id"]):
        ids = [i for i in dict.fromkeys(messages["call_id"].to_pylist()) if i is not None and i not in shown]
        shown.update(dict.fromkeys(ids))
        while len(shown) > _REMEMBERED:
            del shown[next(iter(shown))]
        yield searcher.calls_of(ids, None, fields) if ids else pa.table({})
