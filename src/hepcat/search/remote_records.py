"""Small things done with tables of records.

In: Arrow tables of records. Out: others. What can go wrong: nothing.
"""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from hepcat.stores.lake.arrow import arrow_schema


def concat(tables: Sequence[pa.Table], table: str) -> pa.Table:
    """Return all rows as one table in the lake's schema of it; DuckDB's results lack its details."""
    schema = arrow_schema(table)
    return pa.concat_tables([schema.empty_table(), *(some.cast(schema) for some in tables)])


def moments(records: pa.Table) -> pa.ChunkedArray:
    """Return the times of capture as int64, microseconds since the epoch."""
    return records["ts"].cast(pa.timestamp("us", "UTC")).cast("int64")


def in_order(records: pa.Table) -> pa.Table:
    """Return records by time; those of one microsecond stay in the order they are in."""
    return records.take(pc.sort_indices(moments(records))) if len(records) else records
