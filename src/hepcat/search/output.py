"""Results as files and streams: json, jsonl, csv, parquet, pcap.

In: an Arrow table of messages, calls or counts. Out: octets. Times are ISO 8601 in UTC with
microseconds. The payload is text: what is UTF-8 as it is, any other octet XX as the lone surrogate
U+DCXX (in JSON \\udcXX), so that `payload.encode("utf-8", "surrogateescape")` gives the octets back;
csv cannot hold those and has the text \\udcXX. parquet and pcap have the octets themselves.
"""

import contextlib
import csv
import io
import json
from collections.abc import Iterable, Iterator
from typing import IO, Any, Final

import pyarrow as pa
import pyarrow.compute as pc

#: Formats that are octets, not lines of text: never written to a terminal.
BINARY: Final = frozenset({"parquet", "pcap"})
_ROWS: Final = 4096


def iso_times(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column of timestamps as text, such as 2026-11-22T13:46:45.912507Z."""
    naive = pc.local_timestamp(column.cast(pa.timestamp("us", tz="UTC")))
    return pc.strftime(naive, format="%Y-%m-%dT%H:%M:%SZ")


def payload_text(octets: bytes | None) -> str | None:
    """Return octets as text that can be turned back: see the module's contract."""
    return None if octets is None else octets.decode("utf-8", "surrogateescape")


def plain_rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    """Yield rows of plain values: text, numbers, null; maps as dicts."""
    for part in table.to_batches(max_chunksize=_ROWS):
        chunk = pa.Table.from_batches([part])
        for i, column in enumerate(chunk.schema):
            if pa.types.is_timestamp(column.type):
                chunk = chunk.set_column(i, column.name, iso_times(chunk.column(i)))
        convert = {
            column.name: payload_text if not pa.types.is_map(column.type) else _map
            for column in chunk.schema
            if pa.types.is_map(column.type) or _is_binary(column.type)
        }
        for row in chunk.to_pylist():
            for name, function in convert.items():
                row[name] = function(row[name])
            yield row


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))


def _map(pairs: list[tuple[str, str]] | None) -> dict[str, str] | None:
    return dict(pairs) if pairs else None


def _json(row: dict[str, Any]) -> bytes:
    # A lone surrogate cannot be UTF-8; backslashreplace writes it as the escape that JSON has for it.
    return json.dumps(row, ensure_ascii=False).encode("utf-8", "backslashreplace")


def write_jsonl(table: pa.Table, out: IO[bytes]) -> None:
    """Write one JSON object a line."""
    for row in plain_rows(table):
        out.write(_json(row) + b"\n")


def write_json(table: pa.Table, out: IO[bytes]) -> None:
    """Write one JSON array of objects."""
    _write_json([table], out)


def _write_json(tables: Iterable[pa.Table], out: IO[bytes]) -> None:
    out.write(b"[")
    for i, row in enumerate(row for table in tables for row in plain_rows(table)):
        out.write((b",\n " if i else b"\n ") + _json(row))
    out.write(b"\n]\n")


def write_csv(table: pa.Table, out: IO[bytes], header: bool = True) -> None:
    """Write CSV (RFC 4180) with a header line; null is nothing."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    if header:
        writer.writerow(table.column_names)
    for row in plain_rows(table):
        writer.writerow([json.dumps(v) if isinstance(v, dict) else v for v in row.values()])
        if text.tell() > 1 << 20:
            out.write(text.getvalue().encode("utf-8", "backslashreplace"))
            text.seek(0)
            text.truncate()
    out.write(text.getvalue().encode("utf-8", "backslashreplace"))


def _write_parquet(tables: Iterable[pa.Table], out: IO[bytes]) -> None:
    """Write Parquet, zstd; a table is a row group, or several."""
    import pyarrow.parquet as pq

    with contextlib.ExitStack() as stack:
        writer: Any = None
        for table in tables:
            if writer is None:
                writer = stack.enter_context(pq.ParquetWriter(out, table.schema, compression="zstd"))
            if len(table):
                writer.write_table(table)


def write_table(table: pa.Table, out: IO[bytes], format: str) -> None:
    """Write in one of json, jsonl, csv, parquet, pcap (messages with all columns). Raises KeyError."""
    write_tables([table], out, format)


def write_tables(tables: Iterable[pa.Table], out: IO[bytes], format: str) -> None:
    """Write tables of the same columns as one, each when it comes; for pcap they come by time."""
    match format:
        case "json":
            _write_json(tables, out)
        case "jsonl":
            for table in tables:
                write_jsonl(table, out)
        case "csv":
            for i, table in enumerate(tables):
                write_csv(table, out, header=i == 0)
        case "parquet":
            _write_parquet(tables, out)
        case "pcap":
            from hepcat.sinks.pcap_writer import PcapWriter, messages_of_table

            writer = PcapWriter(out)
            for table in tables:
                writer.write(messages_of_table(table))
        case _:
            raise KeyError(format)
