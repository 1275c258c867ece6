"""A capture plan's changes, applied: rows of a batch and `Edits` in, a new batch of these rows out.

In: a read-only batch, which of its rows, and what a plan changed in them. Out: a compact batch of its own
memory; every octet is copied once. What can go wrong: a record that would pass MAX_RECORD is left out,
so `len(rows) - result.n` are the rows that the caller counts as Drop.OVERSIZE (it is not sent as it was
before: the change may have been there to hide something). IndexError for rows or patches that leave
their batch: a bug of the caller.

A row whose payload was replaced loses its SIP slices (`method` to `body`, and the extra headers), its
status, expires, contact_port and flags: they spoke of the payload before. Where they are wanted, the caller
indexes the result again (hepcat.wire.sip). `malformed` stays, since the index reads it. In all other rows
the old record stays as it is, and a new correlation id or new tags stand behind it.
"""

from dataclasses import replace
from typing import Any, Final

import cython
import numpy as np
import numpy.typing as npt

from hepcat.batch.edits import Edits, Patch
from hepcat.batch.layout import NUMERIC, Batch
from hepcat.batch.schema import FIELD_INDEX, MAX_RECORD

if not cython.compiled:  # compiled, edit.pxd cimports it
    from hepcat.batch.gather import _copy  # type: ignore[attr-defined,unused-ignore]

Array = npt.NDArray[Any]

_PAYLOAD: Final = FIELD_INDEX["payload"]
_NAME: Final = FIELD_INDEX["node_name"]
#: Slices that a plan can change beside the payload, by their names in Edits.
_BESIDE: Final = (("correlation_id", FIELD_INDEX["correlation_id"]), ("tags", FIELD_INDEX["tags"]))
_COLUMNS: Final = ("hep_type", "src_ip", "dst_ip", "src_port", "dst_port")
#: Columns that speak of the payload, and their "no value".
_OF_PAYLOAD: Final = tuple(
    (name, fill) for name, _, fill in NUMERIC if name in ("status", "contact_port", "expires", "flags")
)


def _scatter(source: Any, at: Any, length: Any, target: Any, to: Any) -> cython.int:
    """Copy source[at[i]:at[i] + length[i]] to target[to[i]:] for every i."""
    i: cython.Py_ssize_t
    with cython.nogil:
        for i in range(at.shape[0]):
            _copy(source, at[i], target, to[i], length[i])
    return 0


def overlay(batch: Batch, edits: Edits) -> Batch:
    """Return the batch with the plan's columns in place of its own; its octets are shared, not copied.

    Payload, correlation id and tags stay as they are: apply_edits changes those.
    """
    columns = {name: getattr(edits, name) for name in _COLUMNS if getattr(edits, name) is not None}
    return replace(batch, **columns) if columns else batch


def changes_octets(edits: Edits) -> bool:
    """Tell whether payloads, correlation ids or tags changed, for which the rows have to be copied."""
    return edits.payload is not None or edits.correlation_id is not None or edits.tags is not None


class _Parts:
    """What the new records are made of: (source, offset in it, length), one entry a row each."""

    def __init__(self, rows: int) -> None:
        self.size = np.zeros(rows, dtype=np.int64)
        self.parts: list[tuple[Array, Array, Array, Array]] = []

    def add(self, source: Array, at: Array, length: Array) -> Array:
        """Append a part to every record; return where it begins in each."""
        place = self.size.copy()
        self.parts.append((source, at, length, place))
        self.size += length
        return place


def _patched(patch: Patch | None, rows: Array) -> Array:
    return np.zeros(len(rows), dtype=np.bool_) if patch is None else patch.offset[rows] >= 0


def _put(fields: Array, index: int, which: Array, place: Array, length: Array) -> None:
    """Set a slice of some rows; one without octets is (0, 0). A long one is left out with its row."""
    some = which & (length > 0)
    fields[which, index] = 0
    fields[some, index, 0] = place[some] & 0xFFFF
    fields[some, index, 1] = length[some] & 0xFFFF


def _layout(batch: Batch, rows: Array, edits: Edits) -> tuple[_Parts, Array, Array]:
    """Return the parts of the new records, their slices, and which rows have a new payload."""
    fields: Array = batch.fields[rows]
    before = fields.astype(np.int64)
    base = batch.start[rows]
    anew = _patched(edits.payload, rows)
    parts = _Parts(len(rows))
    parts.add(batch.buffer, base, np.where(anew, 0, batch.start[rows + 1] - base))
    if edits.payload is not None:
        fields[anew] = 0
        length = np.where(anew, edits.payload.length[rows], 0)
        _put(
            fields, _PAYLOAD, anew, parts.add(edits.payload.data, edits.payload.offset[rows], length), length
        )
        length = np.where(anew, before[:, _NAME, 1], 0)
        _put(fields, _NAME, anew, parts.add(batch.buffer, base + before[:, _NAME, 0], length), length)
    for name, index in _BESIDE:
        patch: Patch | None = getattr(edits, name)
        changed = _patched(patch, rows)
        if patch is not None:
            length = np.where(changed, patch.length[rows], 0)
            _put(fields, index, changed, parts.add(patch.data, patch.offset[rows], length), length)
        if edits.payload is not None:  # the record before is gone, and with it the value that stays
            stays = anew & ~changed
            length = np.where(stays, before[:, index, 1], 0)
            _put(fields, index, stays, parts.add(batch.buffer, base + before[:, index, 0], length), length)
    return parts, fields, anew


def apply_edits(batch: Batch, rows: Array, edits: Edits) -> Batch:
    """Return a new batch of these rows with the plan's changes.

    rows: int64 row numbers, in the order wanted. Rows whose record would be longer than MAX_RECORD are left
    out. Raises IndexError for a row that the batch has not, or a patch that leaves its data.
    """
    rows = np.ascontiguousarray(rows, dtype=np.int64)
    if len(rows) and (int(rows.min()) < 0 or int(rows.max()) >= batch.n):
        raise IndexError("row outside the batch")
    parts, fields, anew = _layout(batch, rows, edits)
    fits = parts.size <= MAX_RECORD
    if not fits.all():
        return apply_edits(batch, rows[fits], edits)
    start = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum(parts.size, out=start[1:])
    buffer = np.empty(int(start[len(rows)]), dtype=np.uint8)
    view: Any = memoryview
    for source, at, length, place in parts.parts:
        source, at = np.ascontiguousarray(source), np.ascontiguousarray(at, dtype=np.int64)
        _scatter(view(source), view(at), view(length), view(buffer), view(place + start[: len(rows)]))
    base = overlay(batch, edits)
    columns = {name: getattr(base, name)[rows] for name, _, _ in NUMERIC}
    for name, fill in _OF_PAYLOAD:
        columns[name][anew] = fill
    return Batch(
        n=len(rows),
        buffer=buffer,
        start=start,
        src_ip=base.src_ip[rows],
        dst_ip=base.dst_ip[rows],
        fields=fields,
        extra=batch.extra,
        **columns,
    )
