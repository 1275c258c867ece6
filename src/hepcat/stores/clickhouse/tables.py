"""The tables in ClickHouse: the lake's columns, and four of hepcat's own.

In: batch/schema.py, what the server's version can, retention. Out: SQL text, and the native type of each
column.

Text is String, and empty where the lake has null (a value is never empty). Numbers that can be missing are
Nullable. `ts` is microseconds since the epoch, as in the lake. The map of extra headers is two arrays, which
the oldest servers have too. Hepcat's own columns:
  day           what the table is partitioned by: the UTC day of ts, or the day of writing where a sender's
                clock is so far off that it would scatter the table over thousands of partitions
  call_hash     crc32 of the Call-ID (else of the correlation id): the shard
  writer, seq   whose record it is and which: what makes writing idempotent
  payload_text  the payload with a question mark for each octet that is not UTF-8; empty where it is all UTF-8
"""

from dataclasses import dataclass
from typing import Final

from hepcat.batch.schema import TABLES, Column, columns_of
from hepcat.stores.clickhouse.client import literal, name

#: Columns that may be missing in a record.
NULLABLE: Final = frozenset({"vlan", "node_id", "status", "contact_port", "expires"})
_TYPES: Final = {
    "timestamp": "Int64",
    "string": "String",
    "binary": "String",
    "uint8": "UInt8",
    "uint16": "UInt16",
    "uint32": "UInt32",
}
#: Few values, many rows.
_LOW: Final = frozenset({"transport", "node_name", "method", "reason_phrase", "malformed", "content_type"})
#: Looked up one by one.
_INDEXED: Final = ("call_id", "correlation_id", "call_id_aleg", "from_user", "to_user", "from_tag", "to_tag")
#: Names that a table of a cluster has on each server, beside the Distributed one over all.
LOCAL: Final = "_local"


@dataclass(frozen=True, slots=True)
class Features:
    """What a server's version can."""

    modern: bool
    #: ReplicatedMergeTree: the cluster has replicas and the server a coordinator (ZooKeeper, Keeper)
    replicated: bool = False

    @classmethod
    def of(cls, version: tuple[int, int, int], replicated: bool = False) -> "Features":
        """Codecs, LowCardinality, TTL and Bloom filters have all left their trial by 20.3."""
        return cls(version >= (20, 3, 0), replicated)


@dataclass(frozen=True, slots=True)
class Made:
    """A column as it is made: `wire` is the type that blocks carry, `declared` the one of the table."""

    name: str
    wire: str
    declared: str
    codec: str
    comment: str


_OWN: Final[tuple[Made, ...]] = (
    Made("day", "Date", "Date", "Delta, ZSTD(1)", "partition: the day of ts, UTC"),
    Made(
        "call_hash",
        "UInt32",
        "UInt32",
        "ZSTD(1)",
        "crc32 of the Call-ID, else of the correlation id: the shard",
    ),
    Made("writer", "UUID", "UUID", "ZSTD(1)", "the hepcat that wrote the record"),
    Made("seq", "UInt64", "UInt64", "Delta, ZSTD(1)", "the number of the record among those of its writer"),
    Made(
        "payload_text",
        "String",
        "String",
        "ZSTD(1)",
        "payload with ? for what is no UTF-8; empty where all is",
    ),
)


def columns(table: str) -> tuple[Made, ...]:
    """Return the columns of a table, hepcat's own last."""
    made: list[Made] = []
    for column in columns_of(table):
        made += _made(column)
    return (*made, *_OWN)


def _made(column: Column) -> list[Made]:
    if column.type == "map":
        kind = "Array(String)"
        return [
            Made("extra.name", kind, kind, "ZSTD(1)", "names of the further headers"),
            Made("extra.value", kind, kind, "ZSTD(1)", column.doc),
        ]
    wire = _TYPES[column.type]
    if column.name in NULLABLE:
        wire = f"Nullable({wire})"
    declared = f"LowCardinality({wire})" if column.name in _LOW else wire
    codec = "Delta, ZSTD(1)" if column.name == "ts" else "ZSTD(1)"
    return [Made(column.name, wire, declared, codec, column.doc)]


def column_sql(column: Made, features: Features) -> str:
    """Return a column's line of CREATE TABLE."""
    if not features.modern:
        return f"{name(column.name)} {column.wire}"
    return f"{name(column.name)} {column.declared} COMMENT {literal(column.comment)} CODEC({column.codec})"


def indexes(table: str) -> tuple[str, ...]:
    """Return the columns of a table that have a Bloom filter, where the version has it."""
    return tuple(c.name for c in columns_of(table) if c.name in _INDEXED)


def index_sql(column: str) -> str:
    """Return the Bloom filter of a column, as in CREATE TABLE and after ADD."""
    return f"INDEX {name(f'by_{column}')} {name(column)} TYPE bloom_filter(0.01) GRANULARITY 1"


def ttl_sql(days: int) -> str:
    """Return what removes old days."""
    return f"day + INTERVAL {int(days)} DAY DELETE"


def create_local(database: str, table: str, stored: str, features: Features, retention: int | None) -> str:
    """Return CREATE TABLE of the table that holds the rows of one server. stored: its name."""
    lines = [column_sql(column, features) for column in columns(table)]
    if features.modern:
        lines += [index_sql(column) for column in indexes(table)]
    engine = "MergeTree()"
    if features.replicated:
        path = f"/clickhouse/tables/{{shard}}/{database}/{stored}"
        engine = f"ReplicatedMergeTree({literal(path)}, '{{replica}}')"
    body = ",\n  ".join(lines)
    text = (
        f"CREATE TABLE {name(database)}.{name(stored)} (\n  {body}\n) ENGINE = {engine}\n"
        "PARTITION BY day ORDER BY (ts, call_hash, seq)"
    )
    if not features.modern:
        return text
    if retention is not None:
        text += f" TTL {ttl_sql(retention)}"
    return f"{text}\nSETTINGS index_granularity = 8192, ttl_only_drop_parts = 1"


def create_distributed(database: str, table: str, cluster: str) -> str:
    """Return CREATE TABLE of the table over all shards. A call's rows are together on one."""
    return (
        f"CREATE TABLE {name(database)}.{name(table)} AS {name(database)}.{name(table + LOCAL)}\n"
        f"ENGINE = Distributed({name(cluster)}, {name(database)}, {name(table + LOCAL)}, call_hash)"
    )


def stored_name(table: str, cluster: str) -> str:
    """Return the name of the table that holds rows."""
    return table + LOCAL if cluster else table


ALL: Final = TABLES
