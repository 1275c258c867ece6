"""Export: what a query finds, written as a capture file, text or JSON, a slice of time after another.

In: an opened lake, a query, a range of time. Out: octets to a binary file. Whole calls by default:
every message of each call of which one matches, those outside the range too, and matching messages
without a Call-ID; else the matching messages alone. What can go wrong: HepcatError of the
search, OSError of the file. Memory holds one slice, and the Call-IDs of what was found.
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
#: Messages in one slice, about: what memory holds at a time.
SLICE: Final = 100_000


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
        tables = _message_slices(data, query, since, until, limit, columns)
    else:
        tables = _call_slices(data, query, since, until, limit, columns, done)
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


def _message_slices(
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
    count, low, high = _extent(data, query, since, until)
    for begin, end in _slices(low, high, count):
        yield data.messages(query, since=begin, until=end, sort="ts", fields=columns)


def _call_slices(
    data: "Data",
    query: str,
    since: int | None,
    until: int | None,
    limit: int | None,
    columns: tuple[str, ...],
    done: Exported,
) -> Iterator[pa.Table]:
    """Yield every message of the matching calls, and matching ones without a Call-ID, oldest first."""
    fields = ["call_id", "start", "end", "messages"]
    calls = data.search(query, since=since, until=until, limit=limit, fields=fields)
    done.calls = len(calls)
    ids = calls["call_id"].to_pylist()
    # A message without a Call-ID belongs to no call; with a limit on calls, that is what is wanted.
    stray = f"({query}) -call_id:*" if query.strip() else "-call_id:*"
    strays, low, high = (0, 0, -1) if limit is not None else _extent(data, stray, since, until)
    count = strays
    if ids:
        count += int(pc.sum(calls["messages"]).as_py() or 0)
        start, end = _micros(calls, "start", "min"), _micros(calls, "end", "max")
        low, high = (min(low, start), max(high, end)) if strays else (start, end)
    for begin, until_ in _slices(low, high, count):
        parts = []
        if ids:
            parts.append(data.messages_of(ids, since=begin, until=until_).select(columns))
        if strays:
            bounds = {"since": max(begin, since or begin), "until": min(until_, until or until_)}
            parts.append(data.messages(stray, fields=columns, sort="ts", **bounds))
        table = pa.concat_tables(parts)
        yield table.take(pc.sort_indices(table["ts"].cast("int64"))) if len(parts) > 1 else table


def _extent(data: "Data", query: str, since: int | None, until: int | None) -> tuple[int, int, int]:
    """Return how many messages match, and the times of the first and the last of them."""
    count = data.count(query, messages=True, since=since, until=until)
    if count == 0:
        return 0, 0, -1
    ends = [
        data.messages(query, since=since, until=until, limit=1, sort=order, fields=["ts"])
        for order in ("ts", "-ts")
    ]
    return count, _micros(ends[0], "ts", "min"), _micros(ends[1], "ts", "max")


def _slices(low: int, high: int, count: int) -> Iterator[tuple[int, int]]:
    """Cut the time from low to high (both included) into parts of about SLICE of its `count` messages."""
    parts = max(1, -(-count // SLICE))
    length = max(1, -(-(high + 1 - low) // parts))
    for begin in range(low, high + 1, length):
        yield begin, min(begin + length, high + 1)


def _micros(table: pa.Table, column: str, which: Literal["min", "max"]) -> int:
    return int(pc.min_max(table[column].cast(pa.timestamp("us", "UTC")).cast("int64"))[which].as_py())
