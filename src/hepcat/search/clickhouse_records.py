"""What ClickHouse answers, as Arrow: records in the lake's columns, and columns of any other SELECT.

In: columns by name, each with its type and values (client.py). Out: tables and arrays. What can go wrong:
nothing; octets that are no UTF-8 are replaced, since others may write to the table too.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from hepcat.batch.schema import columns_of
from hepcat.stores.lake.arrow import arrow_schema

#: name -> type, values
Columns = Mapping[str, tuple[str, Sequence[Any]]]


def record_columns(table: str) -> list[str]:
    """Return the columns that records of a table are made of."""
    names: list[str] = []
    for column in columns_of(table):
        names += ("extra.name", "extra.value") if column.type == "map" else (column.name,)
    return names


def to_array(kind: str, values: Sequence[Any]) -> pa.Array:
    """Return one column of an answer: whole numbers as int64, all others as string."""
    if "Int" in kind:
        return pa.array(values, pa.int64())
    return pa.array(
        [None if v is None else v.decode("utf-8", "replace").replace("\ufffd", "?") for v in values],
        pa.string(),
    )


def to_records(found: Columns, table: str) -> pa.Table:
    """Return columns of the store as the lake has them."""
    arrays = []
    for field in arrow_schema(table):
        if field.name == "extra":
            arrays.append(_extra(found["extra.name"][1], found["extra.value"][1], field.type))
            continue
        values = found[field.name][1]
        if pa.types.is_binary(field.type):
            arrays.append(pa.array([v or None for v in values], pa.binary()))
        elif pa.types.is_string(field.type):
            # What hepcat wrote is UTF-8; others may write to the table too.
            arrays.append(_text([v or None for v in values]))
        elif pa.types.is_timestamp(field.type):
            arrays.append(pa.array(values, pa.int64()).view(field.type))
        else:
            arrays.append(pa.array(values, field.type))
    return pa.Table.from_arrays(arrays, schema=arrow_schema(table))


def _text(values: Sequence[bytes | None]) -> pa.Array:
    octets = pa.array(values, pa.binary())
    try:
        return octets.cast(pa.string())
    except pa.ArrowInvalid:
        plain = [None if v is None else v.decode("utf-8", "replace").replace("\ufffd", "?") for v in values]
        return pa.array(plain, pa.string())


def _extra(names: Sequence[Any], values: Sequence[Any], type_: pa.DataType) -> pa.Array:
    """Return the map column; null where there is nothing."""
    rows = [
        [(n.decode("utf-8", "replace"), v.decode("utf-8", "replace")) for n, v in zip(a, b, strict=False)]
        or None
        for a, b in zip(names, values, strict=True)
    ]
    return pa.array(rows, type_)
