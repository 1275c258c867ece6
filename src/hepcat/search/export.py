"""Export: what a query finds, written as a capture file, text or JSON, a page after another.

In: an opened lake, a query, a range of time. Out: octets to a binary file. Whole calls by default:
every message of each call of which one matches, those outside the range too, and matching messages
without a Call-ID; else the matching messages alone. What can go wrong: HepcatError of the
search, OSError of the file. Memory holds one page, and the Call-IDs of what was found.
"""

import json
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Final, Literal

import pyarrow as pa
import pyarrow.compute as pc

from hepcat.batch.schema import SIP_COLUMNS
from hepcat.errors import HepcatError
from hepcat.search.output import plain_rows
from hepcat.sinks.pcap_writer import COLUMNS, PcapWriter, messages_of_table
from hepcat.sinks.text_writer import write_text

if TYPE_CHECKING:
    from hepcat.search.api import Data

Format = Literal["pcap", "pcapng", "text", "json"]
FORMATS: Final[tuple[Format, ...]] = ("pcap", "pcapng", "text", "json")


class Exported:
    """What was written. cut: messages longer than UDP can carry, in a capture file cut to that."""

    def __init__(self) -> None:
        self.messages = 0
        self.calls: int | None = None
        self.cut = 0


def export(
    data: "Data",
    query: str,
    file: IO[bytes],
    format: Format = "pcap",
    *,
    since: int | None = None,
    until: int | None = None,
    messages: bool = False,
    limit: int | None = None,
) -> Exported:
    """Write what a query finds. since, until: microseconds. limit: calls (messages) at most, newest first."""
    if format not in FORMATS:
        raise HepcatError(f"unknown format {format!r}", f"One of: {', '.join(FORMATS)}.")
    done = Exported()
    columns = tuple(column.name for column in SIP_COLUMNS) if format == "json" else COLUMNS
    if messages:
        tables = _message_pages(data, query, since, until, limit, columns)
    else:
        tables = _call_pages(data, query, since, until, limit, columns, done)
    _write(tables, file, format, done)
    return done


def _write(tables: Iterator[pa.Table], file: IO[bytes], format: Format, done: Exported) -> None:
    if format == "json":
        done.messages = _write_json(tables, file)
    elif format == "text":
        done.messages = sum(write_text(table, file) for table in tables)
    else:
        writer = PcapWriter(file, format)
        for table in tables:
            writer.write(messages_of_table(table))
        done.messages, done.cut = writer.messages, writer.cut


def _write_json(tables: Iterator[pa.Table], file: IO[bytes]) -> int:
    """Write one array, one object a line, as `search --format json` does; return how many."""
    count = 0
    file.write(b"[")
    for table in tables:
        for row in plain_rows(table):
            line = (",\n" if count else "\n") + json.dumps(row, ensure_ascii=False)
            file.write(line.encode("utf-8", "backslashreplace"))
            count += 1
    file.write(b"\n]\n")
    return count


def _message_pages(
    data: "Data",
    query: str,
    since: int | None,
    until: int | None,
    limit: int | None,
    columns: tuple[str, ...],
) -> Iterator[pa.Table]:
    """Yield the matching messages, oldest first."""
    if limit is not None:
        newest = data.messages(query, since=since, until=until, limit=limit, fields=columns)
        yield newest.take(pc.sort_indices(newest["ts"].cast("int64")))
        return
    yield from data.searcher.pages(query, since, until, columns, oldest_first=True)


def _call_pages(
    data: "Data",
    query: str,
    since: int | None,
    until: int | None,
    limit: int | None,
    columns: tuple[str, ...],
    done: Exported,
) -> Iterator[pa.Table]:
    """Yield every message of the matching calls, and matching ones without a Call-ID, oldest first."""
    fields = ["call_id", "start", "end"]
    calls = data.search(query, since=since, until=until, limit=limit, fields=fields)
    done.calls = len(calls)
    pages: Iterator[pa.Table] = iter(())
    if len(calls):
        start, end = _micros(calls, "start", "min"), _micros(calls, "end", "max")
        pages = data.searcher.pages_of(calls["call_id"].to_pylist(), start, end + 1, columns)
    # A message without a Call-ID belongs to no call; with a limit on calls, that is what is wanted.
    stray = f"({query}) -call_id:*" if query.strip() else "-call_id:*"
    if limit is None and data.count(stray, messages=True, since=since, until=until):
        strays = data.searcher.pages(stray, since, until, columns, oldest_first=True)
        pages = merged(pages, strays)
    yield from pages


def merged(one: Iterator[pa.Table], other: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Yield the rows of two streams of tables, each by time, as one by time; holds a table of each."""
    streams = [one, other]
    heads: list[pa.Table | None] = [_next(one), _next(other)]
    while heads[0] is not None and heads[1] is not None:
        # Up to where the first of both ends, nothing is to come any more.
        lasts = [_times(heads[0])[-1].as_py(), _times(heads[1])[-1].as_py()]
        first = 0 if lasts[0] <= lasts[1] else 1
        whole, partial = (heads[0], heads[1]) if first == 0 else (heads[1], heads[0])
        many = pc.sum(pc.less_equal(_times(partial), lasts[first])).as_py() or 0
        both = pa.concat_tables([whole, partial.slice(0, many)])
        yield both.take(pc.sort_indices(_times(both)))
        rest = partial.slice(many)
        heads[first] = _next(streams[first])
        heads[1 - first] = rest if len(rest) else _next(streams[1 - first])
    for head, stream in zip(heads, streams, strict=True):
        if head is not None:
            yield head
            yield from stream


def _next(stream: Iterator[pa.Table]) -> pa.Table | None:
    """Return the next table that has rows."""
    return next((table for table in stream if len(table)), None)


def _times(table: pa.Table) -> pa.ChunkedArray:
    return table["ts"].cast(pa.timestamp("us", "UTC")).cast("int64")


def _micros(table: pa.Table, column: str, which: Literal["min", "max"]) -> int:
    return int(pc.min_max(table[column].cast(pa.timestamp("us", "UTC")).cast("int64"))[which].as_py())
