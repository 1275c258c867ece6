"""Rows of Arrow tables as plain values for JSON: times are integer microseconds, octets are text.

In: a table. Out: dicts. Octets that are not UTF-8 come as \\xNN: text is shown, never turned back.
"""

from typing import Any

import pyarrow as pa


def plain(table: pa.Table) -> list[dict[str, Any]]:
    """Return the rows."""
    names: list[str] = table.schema.names
    columns = [_column(table.column(i)) for i in range(len(names))]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def _column(column: pa.ChunkedArray) -> list[Any]:
    kind = column.type
    if pa.types.is_timestamp(kind):
        column = column.cast(pa.timestamp("us", tz=kind.tz)).cast(pa.int64())
    values: list[Any] = column.to_pylist()
    if pa.types.is_map(kind):
        return [None if value is None else dict(value) for value in values]
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        return [None if value is None else value.decode("utf-8", "backslashreplace") for value in values]
    return values
