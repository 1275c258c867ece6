"""What several plan functions share: rows of a mask, octets as they stand now, steps that are a mask.

In: `Work`. Out: arrays. The octets of a record may have been changed by a function before: `payload_spans`
says where they stand now.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from hepcat.batch.edits import Patch
from hepcat.batch.schema import FIELD_INDEX, FLAG_REQUEST, FLAG_RESPONSE, HEP_SIP
from hepcat.plans import match
from hepcat.plans.plan import Mask, Work

Array = npt.NDArray[Any]

PAYLOAD = FIELD_INDEX["payload"]
CALL_ID = FIELD_INDEX["call_id"]
CORRELATION_ID = FIELD_INDEX["correlation_id"]
BODY = FIELD_INDEX["body"]
METHOD = FIELD_INDEX["method"]
CONTENT_TYPE = FIELD_INDEX["content_type"]


def rows_of(mask: Mask) -> npt.NDArray[np.int64]:
    """Return the row numbers of a mask, ascending."""
    return np.flatnonzero(mask).astype(np.int64, copy=False)


def nothing(mask: Mask) -> Mask:
    """Return a mask that is false everywhere."""
    return np.zeros_like(mask)


def is_sip(work: Work, mask: Mask) -> Mask:
    """Return where a row of the mask is a SIP message."""
    batch = work.batch
    sip: Mask = (batch.flags & (FLAG_REQUEST | FLAG_RESPONSE) != 0) & (batch.hep_type == HEP_SIP)
    return mask & sip


def payload_spans(work: Work, mask: Mask) -> tuple[Array, Array, Array]:
    """Return (data, at, size): the payloads of the rows as they stand now; of other rows nothing is said.

    Without an edit they stand in the batch's buffer. Where some were edited, those of the mask are copied
    behind one another.
    """
    batch, patch = work.batch, work.edits.payload
    at, size = match.spans_of(batch, PAYLOAD)
    if patch is None:
        return batch.buffer, at, size
    changed = patch.offset >= 0
    if not np.count_nonzero(changed & mask):
        return batch.buffer, at, size
    copied = copy_payloads(work, mask)
    return copied.data, np.maximum(copied.offset, 0), copied.length


def copy_payloads(work: Work, mask: Mask) -> Patch:
    """Return a patch that holds a copy of each row's payload as it stands now: to be changed in place."""
    from hepcat.batch.gather import gather

    batch = work.batch
    rows = rows_of(mask)
    offsets, _, _, data = gather(batch, np.array([PAYLOAD], dtype=np.int32), rows)
    copied = Patch(data, np.full(batch.n, -1, dtype=np.int64), np.zeros(batch.n, dtype=np.int64))
    copied.offset[rows] = offsets[0, :-1]
    copied.length[rows] = np.diff(offsets[0])
    before = work.edits.payload
    if before is not None:
        take = mask & (before.offset >= 0)
        if np.count_nonzero(take):
            newer = Patch(before.data, np.where(take, before.offset, -1), before.length)
            copied = copied.merge(newer)
    return copied


def set_type(work: Work, mask: Mask, hep_type: int) -> None:
    """Set the HEP protocol type of these rows."""
    if work.edits.hep_type is None:
        work.edits.hep_type = work.batch.hep_type[: work.batch.n].copy()
    work.edits.hep_type[mask] = hep_type


def only(patch: Patch, mask: Mask) -> Patch:
    """Return a patch that leaves rows outside the mask alone."""
    return Patch(patch.data, np.where(mask, patch.offset, -1), patch.length)


def to_mask(work: Work, rows: Array, true: Array) -> Mask:
    """Return the mask of the whole batch for a mask over `rows`."""
    mask = np.zeros(work.batch.n, dtype=np.bool_)
    mask[rows] = true
    return mask


def leave_out(work: Work, mask: Mask, kept: Mask, reason: int) -> Mask:
    """Note why rows were left out, in case nobody sends them; return those that were kept."""
    work.reason[mask & ~kept] = reason
    return kept


def call_hash(work: Work, mask: Mask, seed: int = 0) -> Array:
    """Return a hash of the call of each row: of its Call-ID, else its correlation id, else its addresses.

    RTCP whose call is known has the hash of that call. Without a seed the hash is alike on all agents.
    """
    batch = work.batch
    out = np.zeros(batch.n, dtype=np.uint64)
    correlation = work.edits.correlation_id
    if correlation is not None:
        match.hash_patch(correlation, mask & ~_has(work, CALL_ID), out, seed)
    match.hash_field(batch, CALL_ID, mask, out, seed)
    match.hash_field(batch, CORRELATION_ID, mask & (out == 0), out, seed)
    rest = mask & (out == 0)
    if np.count_nonzero(rest):
        both = np.zeros(batch.n, dtype=np.uint64)
        other = np.zeros(batch.n, dtype=np.uint64)
        match.hash_columns((batch.src_ip, batch.src_port), rest, both, seed)
        match.hash_columns((batch.dst_ip, batch.dst_port), rest, other, seed)
        out[rest] = (both ^ other)[rest]  # both directions alike
    return out


def _has(work: Work, field: int) -> Mask:
    return np.asarray(work.batch.fields[: work.batch.n, field, 1] > 0)
