"""Batches as Arrow: what a table of the lake looks like, and how records get into that shape.

In: a Batch and rows of it. Out: a RecordBatch with exactly the columns of batch/schema.py, in order.
What can go wrong: nothing that traffic can cause; octets that are not UTF-8 become '?' in string
columns (payload keeps them). IndexError for a batch whose slices leave its buffer.
"""

import datetime as dt
from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from hepcat.batch.gather import gather, gather_views, replace_invalid_utf8, write_addresses
from hepcat.batch.layout import Batch
from hepcat.batch.schema import (
    FIELD_COUNT,
    FIELD_INDEX,
    MALFORMED,
    NO_EXPIRES,
    NO_NODE,
    NO_PORT,
    NO_STATUS,
    NO_VLAN,
    OTHER_TABLE,
    TABLE_OF_HEP_TYPE,
    TABLES,
    TRANSPORTS,
    Column,
    columns_of,
)

Array = npt.NDArray[Any]

_TYPES: Final = {
    "timestamp": pa.timestamp("us", tz="UTC"),
    "string": pa.string(),
    "binary": pa.binary(),
    "uint8": pa.uint8(),
    "uint16": pa.uint16(),
    "uint32": pa.uint32(),
    "map": pa.map_(pa.string(), pa.string()),
}
#: Numeric columns that hold a "no value", which Arrow shows as null.
_NULL_OF: Final = {
    "vlan": NO_VLAN,
    "node_id": NO_NODE,
    "expires": NO_EXPIRES,
    "status": NO_STATUS,
    "contact_port": NO_PORT,
}
_TRANSPORT_TEXT: Final = pa.array([TRANSPORTS.get(i, str(i)) for i in range(256)])
# A code that a newer version wrote to a journal still shows as something.
_MALFORMED_TEXT: Final = pa.array([MALFORMED[i] if i < len(MALFORMED) else f"code {i}" for i in range(256)])
_TABLE_OF: Final = np.array([TABLE_OF_HEP_TYPE.get(i, OTHER_TABLE) for i in range(256)], dtype=np.uint8)
_PAYLOAD: Final = FIELD_INDEX["payload"]


@cache
def arrow_schema(table: str, views: bool = False) -> pa.Schema:
    """Return the schema of a table: the columns of columns_of(table), with their doc as metadata.

    views: payload as binary_view, which points into the batch's buffer and is not copied. Raises
    KeyError for an unknown table.
    """
    return pa.schema(
        [
            pa.field(
                c.name,
                pa.binary_view() if views and c.type == "binary" else _TYPES[c.type],
                nullable=c.name != "ts",
                metadata={"doc": c.doc},
            )
            for c in columns_of(table)
        ]
    )


def table_codes(batch: Batch) -> Array:
    """Return for each record the index in TABLES of the table it belongs to (uint8)."""
    codes: Array = _TABLE_OF[batch.hep_type[: batch.n]]
    return codes


def to_arrow(batch: Batch, table: str, rows: Array | None = None, *, views: bool = False) -> pa.RecordBatch:
    """Return records of a batch as the columns of a table, in the order of `rows`.

    rows: int64 row numbers; None takes the records that belong to this table, in their order.
    views: see arrow_schema; the result then keeps the batch's buffer alive.
    """
    if rows is None:
        rows = np.flatnonzero(table_codes(batch) == TABLES.index(table))
    rows = np.ascontiguousarray(rows, dtype=np.int64)
    gathered = _gather_strings(batch, table, rows, views)
    arrays = []
    for column in columns_of(table):
        if column.name == "payload" and views:
            arrays.append(_payload_views(batch, rows))
        elif column.field is not None:
            arrays.append(gathered[column.field])
        else:
            arrays.append(_numeric(batch, column, rows))
    return pa.RecordBatch.from_arrays(arrays, schema=arrow_schema(table, views))


def _numeric(batch: Batch, column: Column, rows: Array) -> pa.Array:
    """Return a column that is not a slice."""
    name = column.name
    if name in ("src_ip", "dst_ip"):
        return _addresses(getattr(batch, name), batch.family, rows)
    if name == "transport":
        return _TRANSPORT_TEXT.take(pa.array(batch.ip_proto[rows]))
    if name == "malformed":
        codes = batch.malformed[rows]
        return _MALFORMED_TEXT.take(pa.array(codes)) if codes.any() else pa.nulls(len(rows), pa.string())
    if name == "extra":
        return _extra(batch, rows)
    values = getattr(batch, name)[rows]
    if name == "ts":
        return pa.array(values).view(_TYPES["timestamp"])
    mask = values == _NULL_OF[name] if name in _NULL_OF else None
    return pa.array(values, mask=mask)


def _addresses(address: Array, family: Array, rows: Array) -> pa.Array:
    offsets, octets = write_addresses(address, family, rows)
    known = np.diff(offsets) > 0
    valid = None if known.all() else pa.py_buffer(np.packbits(known, bitorder="little"))
    return pa.Array.from_buffers(pa.string(), len(rows), [valid, pa.py_buffer(offsets), pa.py_buffer(octets)])


def _strings(offsets: Array, valid: Array, data: Array, type_: pa.DataType) -> pa.Array:
    """Return one gathered column; invalid UTF-8 is replaced in place, in columns that have any."""
    # numpy's max runs at memory speed, so columns that are all ASCII cost next to nothing
    if type_ == pa.string() and len(data) and int(data.max()) >= 0x80:
        replace_invalid_utf8(data, offsets)
    k = len(offsets) - 1
    return pa.Array.from_buffers(type_, k, [pa.py_buffer(valid), pa.py_buffer(offsets), pa.py_buffer(data)])


def _gather_strings(batch: Batch, table: str, rows: Array, views: bool) -> dict[int, pa.Array]:
    """Gather every slice column of a table; payload too unless views stand for it."""
    wanted = [c for c in columns_of(table) if c.field is not None and not (views and c.name == "payload")]
    indices = np.array([c.field for c in wanted], dtype=np.int32)
    offsets, valid, base, data = gather(batch, indices, rows)
    return {
        int(indices[i]): _strings(offsets[i], valid[i], data[base[i] : base[i + 1]], _TYPES[c.type])
        for i, c in enumerate(wanted)
    }


def _payload_views(batch: Batch, rows: Array) -> pa.Array:
    views, valid = gather_views(batch, _PAYLOAD, rows)
    buffers = [pa.py_buffer(valid), pa.py_buffer(views), pa.py_buffer(batch.buffer)]
    return pa.Array.from_buffers(pa.binary_view(), len(rows), buffers)


def _extra(batch: Batch, rows: Array) -> pa.Array:
    """Return the map column: for each record the extra headers it has, null where it has none."""
    k, count = len(rows), len(batch.extra)
    if count == 0 or k == 0:
        return pa.nulls(k, _TYPES["map"])
    indices = np.arange(FIELD_COUNT, FIELD_COUNT + count, dtype=np.int32)
    offsets, valid, base, data = gather(batch, indices, rows)
    values = pa.concat_arrays(
        [_strings(offsets[i], valid[i], data[base[i] : base[i + 1]], pa.string()) for i in range(count)]
    )
    present = np.diff(offsets, axis=1).T > 0  # (k, count): row by row, header by header
    row, header = np.nonzero(present)
    per_row = np.zeros(k + 1, dtype=np.int32)
    np.cumsum(present.sum(axis=1), out=per_row[1:])
    keys = pa.array(batch.extra).take(pa.array(header))
    items = values.take(pa.array(header * k + row))
    entries = pa.StructArray.from_arrays(
        [keys, items],
        fields=[pa.field("key", pa.string(), nullable=False), pa.field("value", pa.string())],
    )
    bits = pa.py_buffer(np.packbits(present.any(axis=1), bitorder="little"))
    return pa.Array.from_buffers(_TYPES["map"], k, [bits, pa.py_buffer(per_row)], children=[entries])


def folder_days(ts: Array, today: int, limit: int) -> Array:
    """Return the day (since the epoch) of the folder each record is sealed into.

    A sender chooses ts, so it could ask for any number of folders. The `limit` days with most
    records get theirs; all others, and days that no calendar has, go to `today`. Readers choose
    files by their footer and take the folder as a hint only, so nothing is lost to them.
    """
    days = ts // 86_400_000_000
    if len(days) == 0:
        return days
    if int(days[0]) == int(days.min()) == int(days.max()) and _calendar(int(days[0])):
        return days
    values, counts = np.unique(days, return_counts=True)
    good = (values >= _FIRST_DAY) & (values <= _LAST_DAY)
    keep = values[good][np.argsort(-counts[good], kind="stable")][:limit]
    return np.where(np.isin(days, keep), days, today)


_FIRST_DAY: Final = (dt.date(1970, 1, 1) - dt.date(1970, 1, 1)).days
_LAST_DAY: Final = (dt.date(9999, 12, 31) - dt.date(1970, 1, 1)).days


def _calendar(day: int) -> bool:
    return _FIRST_DAY <= day <= _LAST_DAY


def day_name(day: int) -> str:
    """Return YYYY-MM-DD of a day since the epoch."""
    return (dt.date(1970, 1, 1) + dt.timedelta(days=day)).isoformat()
