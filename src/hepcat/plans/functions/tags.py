"""Tags of records: `key=value;key=value`, HEP chunk 0x26.

In: a text for some rows. Out: `edits.tags`, with the text behind what was there: tags that the plan gave, or
those that the record came with (HEP in).
"""

import numpy as np

from hepcat.batch.edits import Patch
from hepcat.batch.schema import FIELD_INDEX
from hepcat.plans import match
from hepcat.plans.plan import Mask, Work

_TAGS = FIELD_INDEX["tags"]


def add_tag(work: Work, mask: Mask, text: bytes) -> Mask:
    """Add a tag to the rows of the mask. Rows with the same tags before share their octets afterwards."""
    before = _tags_of(work, mask)
    patch = Patch(
        np.frombuffer(text, dtype=np.uint8),
        np.where(mask, 0, -1).astype(np.int64),
        np.where(mask, len(text), 0).astype(np.int64),
    )
    if before is not None and np.count_nonzero(mask & (before.offset >= 0)):
        patch = _behind(before, patch, mask, text)
    work.edits.put("tags", patch)
    return mask


def _tags_of(work: Work, mask: Mask) -> Patch | None:
    """Return the tags that there are; None for none."""
    before = work.edits.tags
    own = mask & (work.batch.fields[: work.batch.n, _TAGS, 1] > 0)
    if before is not None:
        own &= before.offset < 0
    if not np.count_nonzero(own):
        return before
    at, size = match.spans_of(work.batch, _TAGS)
    came = Patch(work.batch.buffer, np.where(own, at, -1), size)
    return came if before is None else came.merge(before)


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
