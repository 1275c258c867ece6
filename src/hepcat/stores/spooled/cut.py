"""Batches of a journal, cut and joined without touching the records.

In: batches as JournalReader gives them, whose buffer is the mapped file. Out: views, or a join that copies
the columns only. Nothing can go wrong: the owner asks for rows that are there.
"""

import numpy as np

from hepcat.batch.layout import NUMERIC, Batch


def slice_rows(batch: Batch, begin: int, end: int) -> Batch:
    """Return rows begin..end-1 as views: the buffer is shared."""
    return Batch(
        n=end - begin,
        buffer=batch.buffer,
        start=batch.start[begin : end + 1],
        src_ip=batch.src_ip[begin:end],
        dst_ip=batch.dst_ip[begin:end],
        fields=batch.fields[begin:end],
        extra=batch.extra,
        **{name: getattr(batch, name)[begin:end] for name, _, _ in NUMERIC},
    )


def join_readings(earlier: Batch, later: Batch) -> Batch:
    """Return what two readings of one file gave, one after the other, as one batch.

    The later reading mapped at least as much of the file, so its buffer holds the records of both.
    """
    parts = (earlier, later)
    return Batch(
        n=earlier.n + later.n,
        buffer=later.buffer,
        start=np.concatenate((earlier.start[: earlier.n], later.start[: later.n + 1])),
        src_ip=np.concatenate([part.src_ip[: part.n] for part in parts]),
        dst_ip=np.concatenate([part.dst_ip[: part.n] for part in parts]),
        fields=np.concatenate([part.fields[: part.n] for part in parts]),
        extra=later.extra,
        **{name: np.concatenate([getattr(part, name)[: part.n] for part in parts]) for name, _, _ in NUMERIC},
    )
