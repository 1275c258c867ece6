"""Messages as a capture file, text or JSON, in pieces of octets.

In: tables of messages, oldest first; a format. Out: pieces, and in `Written` how much is in them. What can go
wrong: what the tables raise.
"""

import io
import json
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal

import pyarrow as pa

from hepcat.search.output import plain_rows
from hepcat.sinks.pcap_writer import PcapWriter, messages_of_table
from hepcat.sinks.text_writer import write_text

Format = Literal["pcap", "pcapng", "text", "json"]
FORMATS: Final[tuple[Format, ...]] = ("pcap", "pcapng", "text", "json")
#: Octets of a piece, about; messages that are written at a time.
_PIECE: Final = 256 * 1024
_ROWS: Final = 2048


@dataclass(slots=True)
class Written:
    """What was written. cut: messages longer than UDP can carry, in a capture file cut to that."""

    messages: int = 0
    cut: int = 0


def pieces(tables: Iterator[pa.Table], format: Format, written: Written) -> Generator[bytes]:
    """Yield the file."""
    return _WRITERS[format](_parts(tables), written)


def _parts(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Yield the tables a few rows at a time: what is written is several times as large as in Arrow."""
    for table in tables:
        for start in range(0, len(table), _ROWS):
            yield table.slice(start, _ROWS)


def _capture(
    format: Literal["pcap", "pcapng"], parts: Iterator[pa.Table], written: Written
) -> Generator[bytes]:
    buffer = io.BytesIO()
    writer = PcapWriter(buffer, format)
    for part in parts:
        writer.write(messages_of_table(part))
        written.messages, written.cut = writer.messages, writer.cut
        yield from _full(buffer)
    yield buffer.getvalue()


def _text(parts: Iterator[pa.Table], written: Written) -> Generator[bytes]:
    buffer = io.BytesIO()
    for part in parts:
        written.messages += write_text(part, buffer)
        yield from _full(buffer)
    yield buffer.getvalue()


def _json(parts: Iterator[pa.Table], written: Written) -> Generator[bytes]:
    """One array, one object a line, as `search --format json` has it."""
    buffer = io.BytesIO()
    buffer.write(b"[")
    for part in parts:
        for row in plain_rows(part):
            buffer.write(b",\n" if written.messages else b"\n")
            buffer.write(json.dumps(row, ensure_ascii=False).encode("utf-8", "backslashreplace"))
            written.messages += 1
        yield from _full(buffer)
    buffer.write(b"\n]\n")
    yield buffer.getvalue()


def _full(buffer: io.BytesIO) -> Iterator[bytes]:
    """Yield what is in a buffer, and empty it, once it is enough for a piece."""
    if buffer.tell() >= _PIECE:
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()


_WRITERS: Final[dict[Format, Callable[[Iterator[pa.Table], Written], Generator[bytes]]]] = {
    "pcap": partial(_capture, "pcap"),
    "pcapng": partial(_capture, "pcapng"),
    "text": _text,
    "json": _json,
}
