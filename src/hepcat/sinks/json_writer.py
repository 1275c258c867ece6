"""Sink: messages as JSON, one array, one object a line, the columns of the schema as names.

In: an Arrow table. Out: UTF-8 to a binary file; null where a message has no such value, times as
ISO 8601 in UTC, the payload as text (octets that are no UTF-8 as \\x.. escapes). What can go wrong:
the file's own OSError.
"""

import json
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa


def write_json(table: "pa.Table", fileobj: IO[bytes]) -> int:
    """Write a table as one JSON array, in the table's order; return how many rows."""
    count = 0
    fileobj.write(b"[")
    for batch in table.to_batches(max_chunksize=8192):
        lines = []
        for row in batch.to_pylist():
            lines.append((",\n" if count else "\n") + json.dumps(row, default=_plain, ensure_ascii=False))
            count += 1
        fileobj.write("".join(lines).encode("utf-8", "backslashreplace"))
    fileobj.write(b"\n]\n")
    return count


def _plain(value: Any) -> Any:
    """Return what JSON has no type of its own for."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    raise TypeError(f"no JSON for {type(value).__name__}")
