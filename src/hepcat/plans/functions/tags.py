"""Tags of records: `key=value;key=value`, HEP chunk 0x26.

In: a text for some rows. Out: `edits.tags`, with the text behind what was there.
"""

import numpy as np

from hepcat.batch.edits import Patch
from hepcat.plans.plan import Mask, Work


def add_tag(work: Work, mask: Mask, text: bytes) -> Mask:
    """Add a tag to the rows of the mask. Rows with the same tags before share their octets afterwards."""
    before = work.edits.tags
    patch = Patch(
        np.frombuffer(text, dtype=np.uint8),
        np.where(mask, 0, -1).astype(np.int64),
        np.where(mask, len(text), 0).astype(np.int64),
    )
    if before is not None and np.count_nonzero(mask & (before.offset >= 0)):
        patch = _behind(before, patch, mask, text)
    work.edits.put("tags", patch)
    return mask


def _behind(before: Patch, patch: Patch, mask: Mask, text: bytes) -> Patch:
    """Let the text follow each different value that there is: as many as the plan has paths, not rows."""
    tagged = mask & (before.offset >= 0)
    # a value stands at one place, so its offset tells it
    different, first, which = np.unique(before.offset[tagged], return_index=True, return_inverse=True)
    parts = [text]
    offsets, lengths, at = [], [], len(text)
    for offset, length in zip(different.tolist(), before.length[tagged][first].tolist(), strict=True):
        value = before.data[offset : offset + length].tobytes() + b";" + text
        parts.append(value)
        offsets.append(at)
        lengths.append(len(value))
        at += len(value)
    patch.data = np.frombuffer(b"".join(parts), dtype=np.uint8)
    patch.offset[tagged] = np.array(offsets, dtype=np.int64)[which]
    patch.length[tagged] = np.array(lengths, dtype=np.int64)[which]
    return patch
