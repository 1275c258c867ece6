"""Parquet files of the lake: which encoding, statistics and bloom filter each column gets.

In: a RecordBatch in the shape of arrow_schema. Out: one durable file under a temporary or final name.
What can go wrong: OSError (no room, no disk); the half-written file is removed.
"""

import contextlib
import os
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from hepcat.batch.schema import columns_of
from hepcat.config.lake import LakeSettings

#: Found by equality in few row groups of many: a bloom filter lets a search skip the others.
BLOOM: Final = (
    "call_id",
    "correlation_id",
    "call_id_aleg",
    "from_tag",
    "to_tag",
    "from_user",
    "to_user",
    "session_id",
)
#: Nearly every value differs: a dictionary would only be built to be thrown away.
_UNIQUE: Final = frozenset({"ts", "via_1", "via_1_branch", "payload"})
#: Statistics of strings cost a comparison a value and prune nothing: values are spread evenly.
_STATISTICS: Final = ("timestamp", "uint8", "uint16", "uint32")
_FALSE_POSITIVES: Final = 0.01


def _options(table: str, data: pa.RecordBatch | pa.Table, settings: LakeSettings) -> dict[str, Any]:
    columns = columns_of(table)
    names = {c.name for c in columns}
    bloom = {}
    for name in BLOOM:
        if name in names:
            column = data.column(name)
            values = len(column) - column.null_count
            if values:  # a dialog has some messages, so about a quarter of the values differ
                per_group = min(values, settings.row_group_rows)
                bloom[name] = {"ndv": max(per_group // 4, 64), "fpp": _FALSE_POSITIVES}
    dictionary = [c.name for c in columns if c.name not in _UNIQUE and c.type != "map"]
    return {
        "compression": "zstd",
        "compression_level": settings.compression_level,
        "use_dictionary": dictionary,
        "column_encoding": {"ts": "DELTA_BINARY_PACKED"},
        "write_statistics": [c.name for c in columns if c.type in _STATISTICS],
        "bloom_filter_options": bloom or None,
        # Pages of 1 MiB: each page costs a zstd context, and small ones compress less well.
        "max_rows_per_page": settings.row_group_rows,
        # The Arrow schema would say binary_view and double the footer; Parquet's own types suffice.
        "store_schema": False,
    }


def write_parquet(path: str, table: str, data: pa.RecordBatch | pa.Table, settings: LakeSettings) -> int:
    """Write one file and fsync it; returns its octets. On failure nothing is left, OSError is raised."""
    if isinstance(data, pa.RecordBatch):
        data = pa.Table.from_batches([data])
    try:
        with (
            pa.OSFile(path, "wb") as sink,
            pq.ParquetWriter(sink, data.schema, **_options(table, data, settings)) as writer,
        ):
            writer.write_table(data, row_group_size=settings.row_group_rows)
        return fsync_file(path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(path)
        raise


def fsync_file(path: str) -> int:
    """Make a file durable and return its octets."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
        return os.fstat(fd).st_size
    finally:
        os.close(fd)
