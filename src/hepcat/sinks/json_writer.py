"""Sink: messages as JSON, one array, one object a line, the columns of the schema as names.

In: Arrow tables. Out: UTF-8 to a binary file; null where a message has no such value, times as ISO
8601 in UTC, the payload as text (octets that are no UTF-8 as \\x.. escapes). What can go wrong: the
file's own OSError.
"""

import json
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa


class JsonWriter:
    """Writes one JSON array to a file that it does not close. `messages` counts its objects."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.messages = 0
        file.write(b"[")

    def write(self, table: "pa.Table") -> None:
        """Write the rows of a table, in its order."""
        for batch in table.to_batches(max_chunksize=8192):
            lines = []
            for row in batch.to_pylist():
                lines.append(",\n" if self.messages else "\n")
                lines.append(json.dumps(row, default=_plain, ensure_ascii=False))
                self.messages += 1
            self._file.write("".join(lines).encode("utf-8", "backslashreplace"))

    def close(self) -> None:
        """End the array."""
        self._file.write(b"\n]\n")


def _plain(value: Any) -> Any:
    """Return what JSON has no type of its own for."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    raise TypeError(f"no JSON for {type(value).__name__}")
