"""What an export will hold, known before the first octet of it.

In: a searcher, what is wanted (a query, or Call-IDs), a range of time, how much at most. Out: `Plan`, and
then its pieces. What can go wrong: TooLarge; what searches raise. Who takes a piece a time has one page of
messages in memory, and the Call-IDs of what was found.

Whole calls are every message of each call of which one matches, those outside the range too, and matching
messages without a Call-ID.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import pyarrow as pa
import pyarrow.compute as pc

from hepcat.batch.schema import SIP_COLUMNS
from hepcat.errors import HepcatError
from hepcat.search.ast import Node, all_of
from hepcat.search.export_pieces import Format, Written, pieces
from hepcat.search.merged import merged
from hepcat.sinks.pcap_writer import COLUMNS

if TYPE_CHECKING:
    from hepcat.search.remote_searcher import RemoteSearcher
    from hepcat.search.searcher import Searcher

    AnySearcher = Searcher | RemoteSearcher


class TooLarge(HepcatError):
    """More messages than may be exported."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be exported; of so many calls, None where it is single messages."""

    calls: int | None
    _tables: Callable[[Sequence[str]], Iterator[pa.Table]]

    def pieces(self, format: Format, written: Written | None = None) -> Generator[bytes]:
        """Yield the file, oldest message first. written: counts what is in it."""
        columns = tuple(column.name for column in SIP_COLUMNS) if format == "json" else COLUMNS
        return pieces(self._tables(columns), format, written or Written())


def plan_of_messages(
    searcher: "AnySearcher",
    node: Node,
    since: int | None,
    until: int | None,
    most: int | None = None,
    limit: int | None = None,
) -> Plan:
    """Plan to export the messages that match; limit: only so many, the newest."""

    def tables(columns: Sequence[str]) -> Iterator[pa.Table]:
        if limit is None:
            return searcher.pages(node, since, until, columns, oldest_first=True)
        newest = searcher.messages(node, since, until, limit, fields=columns).table
        return iter([newest.take(pc.sort_indices(newest["ts"].cast("int64")))])

    if most is not None:
        _check(searcher.count(node, since, until, messages=True), most)
    return Plan(None, tables)


def plan_of_calls(
    searcher: "AnySearcher",
    node: Node,
    since: int | None,
    until: int | None,
    most: int | None = None,
    limit: int | None = None,
) -> Plan:
    """Plan to export whole calls; limit: only so many, the newest, and nothing without a Call-ID."""
    if most is not None:  # each call has a message at least
        _check(searcher.count(node, since, until), most)
    calls = searcher.calls(node, since, until, limit, fields=["call_id", "start", "end", "messages"]).table
    stray = all_of(node, searcher.parse("-call_id:*"))
    strays = searcher.count(stray, since, until, messages=True) if limit is None else 0
    if most is not None:
        _check(strays + (pc.sum(calls["messages"]).as_py() or 0), most)

    def tables(columns: Sequence[str]) -> Iterator[pa.Table]:
        pages: Iterator[pa.Table] = iter(())
        if len(calls):
            start, end = _micros(calls, "start", "min"), _micros(calls, "end", "max")
            pages = searcher.pages_of(calls["call_id"].to_pylist(), start, end + 1, columns)
        if strays:
            pages = merged(pages, searcher.pages(stray, since, until, columns, oldest_first=True))
        return pages

    return Plan(len(calls), tables)


def plan_of_ids(
    searcher: "AnySearcher", call_ids: Sequence[str], since: int | None, until: int | None, most: int
) -> Plan:
    """Plan to export the messages of these Call-IDs; `calls` is how many of them are known."""
    numbers = searcher.numbers_of(call_ids, since, until)
    _check(sum(numbers.values()), most)
    known = list(numbers)
    return Plan(len(known), lambda columns: searcher.pages_of(known, since, until, columns))


def _check(messages: int, most: int) -> None:
    if messages > most:
        raise TooLarge(
            f"that would be {messages:,} messages or more, and an export has at most {most:,}",
            "Narrow the time or the query; `hepcat export` has no such bound.",
        )


def _micros(table: pa.Table, column: str, which: Literal["min", "max"]) -> int:
    return int(pc.min_max(table[column].cast(pa.timestamp("us", "UTC")).cast("int64"))[which].as_py())
