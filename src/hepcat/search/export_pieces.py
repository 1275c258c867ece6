"""An export as pieces of octets, and how large it will be before the first of them.

In: a searcher, what is wanted (a query, or Call-IDs), a range of time, a format. Out: `Plan`: numbers, and
then the pieces. What can go wrong: TooLarge; what searches raise. Whoever takes a piece a time has one page
of messages in memory, and the Call-IDs of what was found.
"""

import io
import json
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import pyarrow as pa
import pyarrow.compute as pc

from hepcat.batch.schema import SIP_COLUMNS
from hepcat.errors import HepcatError
from hepcat.search.ast import Node, all_of
from hepcat.search.output import plain_rows
from hepcat.sinks.pcap_writer import COLUMNS, PcapWriter, messages_of_table
from hepcat.sinks.text_writer import write_text

if TYPE_CHECKING:
    from hepcat.search.remote_searcher import RemoteSearcher
    from hepcat.search.searcher import Searcher

    AnySearcher = Searcher | RemoteSearcher

Format = Literal["pcap", "pcapng", "text", "json"]
#: Octets of a piece, about; messages that are written at a time.
_PIECE: Final = 256 * 1024
_ROWS: Final = 2048


class TooLarge(HepcatError):
    """More messages than may be exported."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be exported: so many messages (of calls: None where it is single messages)."""

    messages: int
    calls: int | None
    _tables: Callable[[Sequence[str]], Iterator[pa.Table]]

    def pieces(self, format: Format) -> Generator[bytes]:
        """Yield the file, oldest message first."""
        columns = tuple(column.name for column in SIP_COLUMNS) if format == "json" else COLUMNS
        return _WRITERS[format](_parts(self._tables(columns)))


def plan_of_messages(
    searcher: "AnySearcher", node: Node, since: int | None, until: int | None, most: int
) -> Plan:
    """Plan to export the messages that match."""
    count = searcher.count(node, since, until, messages=True)
    if count > most:
        raise _too_large(count, most)

    def tables(columns: Sequence[str]) -> Iterator[pa.Table]:
        return searcher.pages(node, since, until, columns, oldest_first=True)

    return Plan(count, None, tables)


def plan_of_calls(
    searcher: "AnySearcher", node: Node, since: int | None, until: int | None, most: int
) -> Plan:
    """Plan to export all messages of the calls of which one matches, and matching ones without a Call-ID."""
    count = searcher.count(node, since, until)
    if count > most:  # each has a message at least
        raise _too_large(count, most)
    calls = searcher.calls(node, since, until, fields=["call_id", "start", "end", "messages"]).table
    stray = all_of(node, searcher.parse("-call_id:*"))
    strays = searcher.count(stray, since, until, messages=True)
    messages = strays + (pc.sum(calls["messages"]).as_py() or 0)
    if messages > most:
        raise _too_large(messages, most)

    def tables(columns: Sequence[str]) -> Iterator[pa.Table]:
        from hepcat.search.export import merged

        pages: Iterator[pa.Table] = iter(())
        if len(calls):
            start, end = _micros(calls, "start", "min"), _micros(calls, "end", "max")
            pages = searcher.pages_of(calls["call_id"].to_pylist(), start, end + 1, columns)
        if strays:
            pages = merged(pages, searcher.pages(stray, since, until, columns, oldest_first=True))
        return pages

    return Plan(messages, len(calls), tables)


def plan_of_ids(
    searcher: "AnySearcher", call_ids: Sequence[str], since: int | None, until: int | None, most: int
) -> Plan:
    """Plan to export the messages of these Call-IDs; `calls` is how many of them are known."""
    numbers = searcher.numbers_of(call_ids, since, until)
    messages = sum(numbers.values())
    if messages > most:
        raise _too_large(messages, most)
    known = list(numbers)
    return Plan(messages, len(known), lambda columns: searcher.pages_of(known, since, until, columns))


def _too_large(messages: int, most: int) -> TooLarge:
    return TooLarge(
        f"that would be {messages:,} messages or more, and an export has at most {most:,}",
        "Narrow the time or the query; `hepcat export` has no such bound.",
    )


def _micros(table: pa.Table, column: str, which: Literal["min", "max"]) -> int:
    return int(pc.min_max(table[column].cast(pa.timestamp("us", "UTC")).cast("int64"))[which].as_py())


def _parts(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Yield the tables a few rows at a time: what is written is several times as large as in Arrow."""
    for table in tables:
        for start in range(0, len(table), _ROWS):
            yield table.slice(start, _ROWS)


def _capture(format: Any) -> Callable[[Iterator[pa.Table]], Generator[bytes]]:
    def pieces(parts: Iterator[pa.Table]) -> Generator[bytes]:
        buffer = io.BytesIO()
        writer = PcapWriter(buffer, format)
        for part in parts:
            writer.write(messages_of_table(part))
            yield from _full(buffer)
        yield buffer.getvalue()

    return pieces


def _text(parts: Iterator[pa.Table]) -> Generator[bytes]:
    buffer = io.BytesIO()
    for part in parts:
        write_text(part, buffer)
        yield from _full(buffer)
    yield buffer.getvalue()


def _json(parts: Iterator[pa.Table]) -> Generator[bytes]:
    """One array, one object a line, as `search --format json` has it."""
    buffer = io.BytesIO()
    buffer.write(b"[")
    before = b"\n"
    for part in parts:
        for row in plain_rows(part):
            line = json.dumps(row, ensure_ascii=False).encode("utf-8", "backslashreplace")
            buffer.write(before + line)
            before = b",\n"
        yield from _full(buffer)
    buffer.write(b"\n]\n")
    yield buffer.getvalue()


def _full(buffer: io.BytesIO) -> Iterator[bytes]:
    """Yield what is in a buffer, and empty it, once it is enough for a piece."""
    if buffer.tell() >= _PIECE:
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()


_WRITERS: Final[dict[str, Callable[[Iterator[pa.Table]], Generator[bytes]]]] = {
    "pcap": _capture("pcap"),
    "pcapng": _capture("pcapng"),
    "text": _text,
    "json": _json,
}
