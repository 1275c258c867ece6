"""From messages that were found to an indexed batch: the octets are copied once, the SIP among them indexed.

In: `Found` (hepcat.wire.dissect) and which of its rows. Out: rows appended to a `Batch`. What can go
wrong: nothing; a message longer than MAX_RECORD is cut there and marked.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from hepcat.batch.drops import Drop
from hepcat.batch.layout import NUMERIC, Array, Batch
from hepcat.batch.schema import FIELD_INDEX, HEP_SIP, MALFORMED, MAX_RECORD
from hepcat.wire.columns import AREA_ARENA, AREA_WINDOW
from hepcat.wire.dissect import Found
from hepcat.wire.frames import copy_payloads
from hepcat.wire.scatter import scatter_payloads
from hepcat.wire.sip import index_sip, sip_mask

_PAYLOAD: Final = FIELD_INDEX["payload"]
_TRUNCATED: Final = MALFORMED.index("truncated")
_OVERSIZE: Final = MALFORMED.index("oversize")
_COPIED: Final = ("ts", "family", "ip_proto", "src_ip", "dst_ip", "src_port", "dst_port", "vlan")


@dataclass(frozen=True, slots=True)
class IndexOptions:
    """extra: further headers to index, aleg: those that may hold the other leg's Call-ID; as in index_sip.
    other_type: HEP protocol type of what is not SIP. brief: as in index_sip.
    """

    extra: tuple[str, ...] = ()
    aleg: tuple[str, ...] = ("X-CID",)
    other_type: int = 0
    brief: bool = False


def sip_among(found: Found) -> Array:
    """Return a uint8 mask of the rows that begin with a SIP start line, whatever their port."""
    rows = found.datagrams
    mask = np.zeros(rows.n, dtype=np.uint8)
    for area, chosen in _areas(rows.area[: rows.n]):
        part = mask if chosen is None else np.zeros(len(chosen), dtype=np.uint8)
        sip_mask(found.octets(area), *_slices(found, chosen), part)
        if chosen is not None:
            mask[chosen] = part
    return mask


def first_octets(found: Found, count: int) -> Array:
    """Return the first `count` octets of every row as (n, count) uint8, 0 where a row is shorter."""
    rows = found.datagrams
    out = np.zeros((rows.n, count), dtype=np.uint8)
    for area, chosen in _areas(rows.area[: rows.n]):
        offset, length = _slices(found, chosen)
        octets = found.octets(area)
        for i in range(count):
            there = length > i
            values = octets[np.where(there, offset + i, 0)] * there if len(octets) else np.uint8(0)
            out[slice(None) if chosen is None else chosen, i] = values
    return out


def sort_out(found: Found, mask: Array, drops: Array) -> Array:
    """Return the rows that are SIP (by `mask`); count the others by what they are.

    Told apart: CRLF keep-alives (RFC 5626 section 4.4.1), STUN (RFC 8489 section 5), and what is not SIP.
    """
    kept = np.flatnonzero(mask)
    others = found.datagrams.n - len(kept)
    if others:
        rows = np.flatnonzero(mask == 0)
        head = first_octets(found, 8)[rows]
        length = found.datagrams.length[rows]
        blank = (head[:, :4] == 0x0D) | (head[:, :4] == 0x0A) | (np.arange(4) >= length[:, None])
        keepalives = int(np.count_nonzero(blank.all(axis=1) & (length > 0) & (length <= 4)))
        stun = (length >= 20) & (head[:, 0] < 4) & (head[:, 4:8] == (0x21, 0x12, 0xA4, 0x42)).all(axis=1)
        stuns = int(np.count_nonzero(stun))
        drops[Drop.KEEPALIVE] += keepalives
        drops[Drop.STUN] += stuns
        drops[Drop.NOT_SIP] += others - keepalives - stuns
    return kept


def append_found(batch: Batch, found: Found, keep: Array, mask: Array, options: IndexOptions) -> int:
    """Append as many of the rows `keep` as the batch has room for, and index them; return how many.

    mask: uint8, 1 where a row is SIP; the others get `other_type`.
    """
    rows = found.datagrams
    length = np.minimum(rows.length[keep], MAX_RECORD)
    left = len(batch.buffer) - batch.octets
    fit = min(batch.capacity - batch.n, int(np.searchsorted(np.cumsum(length), left, side="right")))
    if fit == 0:
        return 0
    chosen, length = keep[:fit], length[:fit]
    first, end = batch.n, batch.n + fit
    _copy(batch, first, found, chosen, length)
    # All rows, the common case, are a slice: numpy copies it several times as fast as rows picked by number.
    picked: Array | slice = slice(0, fit) if fit == rows.n else chosen
    for name in _COPIED:
        getattr(batch, name)[first:end] = getattr(rows, name)[picked]
    sip = mask[chosen] != 0
    batch.hep_type[first:end] = np.where(sip, np.uint8(HEP_SIP), np.uint8(options.other_type))
    batch.fields[first:end, _PAYLOAD, 1] = length
    batch.n = end
    index_sip(batch, first, options.aleg, options.brief)
    # What the capture cut is the reason for what the index may have found missing.
    batch.malformed[first:end][rows.truncated[chosen] != 0] = _TRUNCATED
    batch.malformed[first:end][rows.length[chosen] > MAX_RECORD] = _OVERSIZE
    return fit


def clear(batch: Batch) -> None:
    """Make a batch empty again, its columns their "no value", so that its memory is used anew."""
    n = batch.n
    for name, _, fill in NUMERIC:
        getattr(batch, name)[:n] = fill
    batch.fields[:n] = 0
    batch.n = 0


def new_batch(rows: int, extra: Sequence[str]) -> Batch:
    """A batch with room for `rows` messages of the common length; at least for one of any length."""
    return Batch.empty(rows, max(rows * 1024, MAX_RECORD), tuple(extra))


def _copy(batch: Batch, first: int, found: Found, chosen: Array, length: Array) -> None:
    rows = found.datagrams
    start = batch.start[first : first + len(chosen) + 1]
    area = rows.area[chosen]
    if not area.any():
        copy_payloads(found.window, rows.offset[chosen], length, batch.buffer, start)
        return
    np.cumsum(length, out=start[1:])
    start[1:] += start[0]
    for which in (AREA_WINDOW, AREA_ARENA):
        here = np.flatnonzero(area == which)
        scatter_payloads(
            found.octets(which), rows.offset[chosen[here]], length[here], batch.buffer, start[here]
        )


def _areas(area: Array) -> list[tuple[int, Array | None]]:
    """Return each area with its rows; None stands for all of them."""
    if not area.any():
        return [(AREA_WINDOW, None)] if len(area) else []
    return [(which, np.flatnonzero(area == which)) for which in (AREA_WINDOW, AREA_ARENA)]


def _slices(found: Found, chosen: Array | None) -> tuple[Array, Array]:
    rows = found.datagrams
    if chosen is None:
        return rows.offset[: rows.n], rows.length[: rows.n]
    return rows.offset[chosen], rows.length[chosen]
