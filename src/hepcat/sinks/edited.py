"""What a sink sends for rows of a batch: the rows as the plan changed them.

In: a batch, rows, edits or None. Out: a batch and rows of it that hold what the plan wants; the batch itself
where it changed nothing of them. What can go wrong: records that a change made too long are left out;
the caller counts len(rows before) - len(rows after).
"""

import numpy as np

from hepcat.batch.edit import apply_edits, changes_octets, overlay
from hepcat.batch.edits import Edits
from hepcat.batch.layout import Array, Batch
from hepcat.wire.sip import index_sip


def edited(batch: Batch, rows: Array, edits: Edits | None, index: bool = False) -> tuple[Batch, Array]:
    """Return (batch, rows) with the plan's changes; octets are copied where some of them changed.

    index: read the SIP fields of payloads that the plan replaced.
    """
    if edits is None:
        return batch, rows
    if not changes_octets(edits):
        return overlay(batch, edits), rows
    changed = edited_copy(batch, rows, edits) if index else apply_edits(batch, rows, edits)
    return changed, np.arange(changed.n, dtype=np.int64)


def edited_copy(batch: Batch, rows: Array, edits: Edits | None) -> Batch:
    """Return a batch of its own memory, its SIP fields those of the payloads it has now."""
    copy = apply_edits(batch, rows, Edits() if edits is None else edits)
    if edits is not None and edits.payload is not None:
        index_sip(copy, 0)
    return copy
