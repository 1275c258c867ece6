"""Kernel: hashes of the slices of records, by which a table is picked (hash_source of tables.py).

In: a batch, a slice and row numbers. Out: a CRC-32 for each row. What can go wrong: nothing that hostile
traffic can do. An IndexError is a bug of ours or a damaged file (a slice outside its record).
"""

from typing import Any

import cython
import numpy as np

from hepcat.batch.layout import Array, Batch
from hepcat.stores.classic.values import view


def hash_slices(batch: Batch, field: int, rows: Array) -> Array:
    """Return the crc32 of one slice of each of the rows, as uint32; of an empty one it is 0."""
    out = np.zeros(len(rows), dtype=np.uint32)
    _hash_all(
        view(batch.buffer),
        view(batch.start),
        view(batch.fields),
        field,
        view(rows),
        view(CRC_TABLE),
        view(out),
    )
    return out


def _hash_all(
    buffer: Any, start: Any, fields: Any, field: cython.Py_ssize_t, rows: Any, table: Any, out: Any
) -> cython.int:
    """The loop of hash_slices."""
    i: cython.Py_ssize_t
    k: cython.longlong
    at: cython.longlong
    crc: cython.uint
    for i in range(len(rows)):
        at = start[rows[i]] + fields[rows[i], field, 0]
        crc = 0xFFFFFFFF
        for k in range(fields[rows[i], field, 1]):
            crc = table[(crc ^ buffer[at + k]) & 255] ^ (crc >> 8)
        out[i] = crc ^ 0xFFFFFFFF
    return 0


def _crc_table() -> Array:
    """Make the table of CRC-32 (ISO 3309, reflected polynomial 0xEDB88320)."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, np.uint32(0xEDB88320) ^ (table >> 1), table >> 1).astype(np.uint32)
    return table


CRC_TABLE = _crc_table()
