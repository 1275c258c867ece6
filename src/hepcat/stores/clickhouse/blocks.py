"""Batches as native blocks of ClickHouse: the columns of tables.py, as the octets that go into the socket.

In: a Batch, rows of it, whose they are and their numbers. Out: name, type and octets of each column.
Nothing is done record by record: the lake's Arrow columns are gathered, and text gets its lengths between
the values. What can go wrong: nothing that traffic can cause.
"""

import uuid
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from hepcat.batch.gather import gather, replace_invalid_utf8
from hepcat.batch.layout import Batch
from hepcat.batch.schema import FIELD_INDEX
from hepcat.stores.clickhouse.packing import crc32_of, pack_strings
from hepcat.stores.clickhouse.tables import NULLABLE, columns
from hepcat.stores.lake.arrow import to_arrow

Array = npt.NDArray[Any]
#: name, type, octets of a column
Block = Sequence[tuple[str, str, Sequence[Any]]]

_KEYS: Final = np.array([FIELD_INDEX["call_id"], FIELD_INDEX["correlation_id"]], dtype=np.int32)
_DAY: Final = 86_400_000_000
#: Days of an INSERT that get partitions of their own; ClickHouse refuses more than 100.
_DAYS: Final = 60
#: Seconds before and after now of what a clock may say: a sender must not make partitions at will.
_PAST: Final = 20 * 366
_FUTURE: Final = 2


def call_hashes(batch: Batch, rows: Array | None = None) -> Array:
    """Return what records are spread over the shards by (uint32): crc32 of the Call-ID as it is stored.

    Where there is none, of the correlation id, which for reports on a call is its Call-ID; else of the time.
    """
    rows = np.arange(batch.n, dtype=np.int64) if rows is None else rows
    offsets, _, base, data = gather(batch, _KEYS, rows)
    sums = []
    for i in range(len(_KEYS)):
        text = data[base[i] : base[i + 1]]
        if len(text) and int(text.max()) >= 0x80:
            replace_invalid_utf8(text, offsets[i])
        sums.append(crc32_of(offsets[i], text))
    by_time = (batch.ts[rows] // 1_000_000).astype(np.uint32)
    has_call, has_correlation = np.diff(offsets, axis=1) > 0
    chosen: Array = np.where(has_call, sums[0], np.where(has_correlation, sums[1], by_time))
    return chosen


def days_of(ts: Array, now_us: int) -> Array:
    """Return the partition of each record: days since the epoch (uint16)."""
    today = now_us // _DAY
    days = ts // _DAY
    days = np.where((days < max(today - _PAST, 0)) | (days > today + _FUTURE), today, days)
    values, counts = np.unique(days, return_counts=True)
    if len(values) > _DAYS:
        keep = values[np.argsort(-counts, kind="stable")][:_DAYS]
        days = np.where(np.isin(days, keep), days, today)
    return days.astype(np.uint16)


def block_of(batch: Batch, table: str, rows: Array, numbers: Array, writer: uuid.UUID, now_us: int) -> Block:
    """Return the block of these rows. numbers: what each is called among the writer's records (uint64)."""
    found = to_arrow(batch, table, rows)
    octets: dict[str, Sequence[Any]] = {}
    for name, column in zip(found.schema.names, found.columns, strict=True):
        if name == "extra":
            octets["extra.name"], octets["extra.value"] = _arrays(column)
        elif pa.types.is_string(column.type) or pa.types.is_binary(column.type):
            octets[name] = (_strings(column),)
        elif name in NULLABLE:
            octets[name] = _nullable(column)
        else:
            octets[name] = (_numbers(column),)
    octets["day"] = (days_of(batch.ts[rows], now_us),)
    octets["call_hash"] = (call_hashes(batch, rows),)
    octets["writer"] = (_uuid(writer) * len(rows),)
    octets["seq"] = (np.ascontiguousarray(numbers, dtype=np.uint64),)
    octets["payload_text"] = (_as_text(found.column("payload")),)
    return [
        (made.name, made.wire, [memoryview(p).cast("B") for p in octets[made.name]])
        for made in columns(table)
    ]


def _buffers(column: pa.Array) -> tuple[Array, Array]:
    """Return offsets and octets of a text column."""
    _, offsets, data = column.buffers()
    if len(column) == 0 or offsets is None:
        return np.zeros(len(column) + 1, dtype=np.int32), np.zeros(0, dtype=np.uint8)
    places = np.frombuffer(offsets, dtype=np.int32, count=len(column) + 1 + column.offset)[column.offset :]
    octets = (
        np.frombuffer(data, dtype=np.uint8) if data is not None and data.size else np.zeros(0, dtype=np.uint8)
    )
    return places, octets


def _strings(column: pa.Array) -> Array:
    return pack_strings(*_buffers(column))


def _numbers(column: pa.Array) -> Array:
    values: Array = (column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column).to_numpy()
    return np.ascontiguousarray(values)


def _nullable(column: pa.Array) -> list[Array]:
    """Return which values are missing, an octet each, and the values."""
    missing = column.is_null().to_numpy(zero_copy_only=False).astype(np.uint8)
    return [missing, np.ascontiguousarray(column.fill_null(0).to_numpy())]


def _arrays(column: pa.Array) -> tuple[Sequence[Any], Sequence[Any]]:
    """Return names and values of the map column: where each row's end, then all of them."""
    ends = np.ascontiguousarray(column.offsets.to_numpy()[1:]).astype(np.uint64)
    return (ends, _strings(column.keys)), (ends, _strings(column.items))


def _uuid(value: uuid.UUID) -> bytes:
    """Return a UUID as the server holds it: two numbers of 64 bits, the higher first, each little-endian."""
    return value.bytes[7::-1] + value.bytes[:7:-1]


def _as_text(payload: pa.Array) -> Array:
    """Return column payload_text: empty for each payload that is UTF-8."""
    nothing = np.zeros(len(payload), dtype=np.uint8)
    try:
        payload.view(pa.string()).validate(full=True)
        return nothing
    except pa.ArrowInvalid:
        offsets, data = _buffers(payload)
    copy = data.copy()
    if not replace_invalid_utf8(copy, offsets):
        return nothing
    changed = np.flatnonzero(copy != data)
    which = np.unique(np.searchsorted(offsets, changed, side="right") - 1)
    texts = [b""] * len(payload)
    for i in which.tolist():  # hostile or binary payloads only
        texts[i] = copy[offsets[i] : offsets[i + 1]].tobytes()
    return _strings(pa.array(texts, pa.binary()))
