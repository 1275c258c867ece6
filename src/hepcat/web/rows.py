"""Rows of Arrow tables as plain values for JSON: times are integer microseconds, octets are text.

In: a table. Out: dicts; JSON. Octets that are not UTF-8 come as \\xNN: text is shown, never turned back. A
time beyond 64 bits of nanoseconds is infinity in a store, and null here.
"""

import json
from typing import Any, Final

import pyarrow as pa
from fastapi.responses import JSONResponse

#: What stores call infinity; no number of microseconds that JSON's readers could hold.
_INFINITY: Final = 2**63 - 1


def plain(table: pa.Table) -> list[dict[str, Any]]:
    """Return the rows."""
    names: list[str] = table.schema.names
    columns = [_column(table.column(i)) for i in range(len(names))]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def times(column: pa.ChunkedArray) -> list[int | None]:
    """Return a column of timestamps as microseconds."""
    moments = column.cast(pa.timestamp("us", tz=column.type.tz)).cast(pa.int64()).to_pylist()
    return [None if at is None or abs(at) >= _INFINITY else at for at in moments]


def _column(column: pa.ChunkedArray) -> list[Any]:
    kind = column.type
    if pa.types.is_timestamp(kind):
        return times(column)
    values: list[Any] = column.to_pylist()
    if pa.types.is_map(kind):
        return [None if value is None else dict(value) for value in values]
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        return [None if value is None else value.decode("utf-8", "backslashreplace") for value in values]
    return values


def encode(answer: Any) -> bytes:
    """Return an answer as JSON; called in the search's thread, for a large one takes its time."""
    text = json.dumps(answer, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace")


class Encoded(JSONResponse):
    """JSON that is octets already: nothing looks at each of a thousand rows again."""

    def render(self, content: Any) -> bytes:
        """Return the octets."""
        octets: bytes = content
        return octets
