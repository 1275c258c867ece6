"""Kernel: a batch -> rows of a classic table, as the octets of a bulk load, in one pass.

In: a batch, the numbers of its rows wanted, and a plan (plan.py): what each column of the actual table is
filled from, how wide it is, which characters it holds, and how the load separates and escapes. Out: octets in
`out`, and how many values were cut to their width or had octets replaced. What can go wrong: nothing that
hostile traffic can do. An IndexError is a bug of ours or a damaged file (a slice outside its record).

The loop is here; cells.py finds the value of each column in the record, values.py writes it.
"""

from typing import Any

import cython
import numpy as np

from hepcat.batch.layout import Array, Batch
from hepcat.stores.classic.values import view

if not cython.compiled:  # rows.pxd cimports them
    from hepcat.stores.classic.cells import FAMILY, Cells
    from hepcat.stores.classic.values import Values


class RowKernel:
    """One plan's loop over batches. `values` says what is written, and counts."""

    def __init__(self, plan: Any) -> None:
        self.values = Values(plan)
        self.cells = Cells(plan, self.values)
        self.columns = len(plan.source)
        self.measured = plan.measured

    def take(
        self, batch: Batch, field: Array, other: Array, rows: Array, local: Array, sequence: int
    ) -> None:
        """Take the columns of a batch, and the rows wanted.

        local: local[i] is the second of rows[i] that its date shows. sequence: the number of the first row.
        """
        self.cells.bind_batch(batch, field, other, local, sequence)
        self.values.begin(batch.buffer)
        self.rows = view(rows)

    def give(self, out: Array, ends: Array | None = None) -> None:
        """Take where to write; what stands in `out` up to `to` must be what stood there before.

        ends: where each cell ends, row by row, if it is asked for.
        """
        self.values.bind_output(out)
        self.wants_ends = ends is not None
        self.ends = view(np.zeros(0, dtype=np.int64) if ends is None else ends)

    def _measured(
        self, i: cython.Py_ssize_t, row: cython.Py_ssize_t, column: cython.Py_ssize_t
    ) -> cython.int:
        """Write one value, and before it how long it is.

        Only what `missing` stands for has no octets where it is no text: that is NULL.
        """
        at: cython.longlong = self.values.to
        self.values.to += 4
        self.cells.write_cell(i, row, column)
        if self.values.to == at + 4 and self.cells.source[column] == FAMILY:
            return self.values.write_null(at)
        return self.values.measure(at)

    def _row(self, i: cython.Py_ssize_t, row: cython.Py_ssize_t) -> cython.int:
        column: cython.Py_ssize_t
        self.values.begin_row()
        for column in range(self.columns):
            if self.measured:
                self._measured(i, row, column)
            else:
                if column > 0:
                    self.values.separate()
                self.cells.write_cell(i, row, column)
            if self.wants_ends:
                self.ends[i * self.columns + column] = self.values.to
        self.cells.sequence += 1
        return self.values.end_row()

    def run(self, first: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """Write rows from the first-th wanted on; return how many are done: fewer than all, `out` is full."""
        i: cython.Py_ssize_t = first
        with cython.nogil:
            while i < len(self.rows):
                if self.values.to + self.cells.bound(self.rows[i]) > len(self.values.out):
                    break
                self._row(i, self.rows[i])
                i += 1
        return i
