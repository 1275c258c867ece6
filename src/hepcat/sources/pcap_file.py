"""Source: capture files. pcap, pcapng and either of them gzipped, in; indexed batches of SIP, out.

In: a path. Out: `Batch`es of at most `rows` messages, SIP found on any port by its start line. The
file is read a window at a time (hepcat.sources.pcap_windows), so memory does not grow with it.
What can go wrong: `HepcatError` where there is no such file or it is no capture; `CaptureDamaged`,
after the last batch, where the file is cut off or damaged: what could be read has been handed out.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from hepcat.batch.drops import Drop
from hepcat.batch.layout import Array, Batch
from hepcat.batch.schema import FIELD_INDEX, HEP_SIP, MALFORMED, MAX_RECORD
from hepcat.sources.pcap_windows import WINDOW, CaptureDamaged, Progress, Windows, open_capture
from hepcat.wire.columns import Datagrams, Packets
from hepcat.wire.frames import copy_payloads, decode_frames
from hepcat.wire.sip import index_sip, sip_mask

__all__ = ["WINDOW", "CaptureDamaged", "Progress", "open_capture", "read_batches"]

#: Packets a window is decoded in.
_PACKETS: Final = 8192
_PAYLOAD: Final = FIELD_INDEX["payload"]
_TRUNCATED: Final = MALFORMED.index("truncated")
_OVERSIZE: Final = MALFORMED.index("oversize")


def read_batches(
    path: str | os.PathLike[str],
    *,
    only_sip: bool = True,
    rows: int = 8192,
    drops: Array | None = None,
    extra: Sequence[str] = (),
    aleg: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> Iterator[Batch]:
    """Read the SIP messages of a capture file, a batch at a time.

    path: pcap or pcapng, plain or gzipped. only_sip: skip and count what does not look like SIP; else
    every UDP payload is a row, hep_type 0 where it is no SIP. rows: most messages in a batch. drops:
    int64 array of len(Drop) counts, added to: packets = messages + drops. extra, aleg: further headers
    to index, as in `hepcat.wire.sip.index_sip`. progress: kept up to date while reading.

    Raises HepcatError before the first batch where the file is no capture, and CaptureDamaged after
    the last one where it ends early; with `progress` given, the latter is left there, not raised.
    """
    state = progress if progress is not None else Progress()
    with open_capture(Path(path)) as file:
        state.size = os.fstat(file.fileno()).st_size
        windows = Windows(file, Path(path), state)
        yield from _batches(windows, state, only_sip, rows, _counts(drops), tuple(extra), aleg)
    if state.problem is not None and progress is None:
        raise state.problem


def _counts(drops: Array | None) -> Array:
    return np.zeros(len(Drop), dtype=np.int64) if drops is None else drops


def _batches(
    windows: Windows,
    state: Progress,
    only_sip: bool,
    rows: int,
    drops: Array,
    extra: tuple[str, ...],
    aleg: Sequence[str] | None,
) -> Iterator[Batch]:
    """Window by window: packets, datagrams, those that are SIP, into batches."""
    packets, datagrams = Packets.empty(_PACKETS), Datagrams.empty(_PACKETS)
    batch = _new_batch(rows, extra)
    while windows.next_packets(packets):
        state.packets += packets.n
        datagrams.n = 0
        decode_frames(windows.data, packets, datagrams, drops)
        keep, mask = _choose(windows.data, datagrams, only_sip, drops)
        while len(keep):
            taken = _append(batch, windows.data, packets, datagrams, keep, mask, aleg)
            state.messages += taken
            keep = keep[taken:]
            if len(keep):
                yield batch.trim()
                batch = _new_batch(rows, extra)
    if batch.n:
        yield batch.trim()


def _new_batch(rows: int, extra: tuple[str, ...]) -> Batch:
    """A batch with room for `rows` messages of the common length; at least for one of any length."""
    return Batch.empty(rows, max(rows * 1024, MAX_RECORD), extra)


def _choose(data: Array, found: Datagrams, only_sip: bool, drops: Array) -> tuple[Array, Array]:
    """Return the rows to keep, and for every row whether it is SIP; count the others by what they are."""
    n = found.n
    mask = np.zeros(n, dtype=np.uint8)
    sip_mask(data, found.offset[:n], found.length[:n], mask)
    if not only_sip:
        return np.arange(n), mask
    keep = np.flatnonzero(mask)
    if len(keep) < n:
        _count_others(data, found, np.flatnonzero(mask == 0), drops)
    return keep, mask


def _count_others(data: Array, found: Datagrams, rows: Array, drops: Array) -> None:
    """Tell keep-alives (RFC 5626 section 4.4.1) and STUN (RFC 8489 section 5) from what is not SIP."""
    offset, length = found.offset[rows], found.length[rows]
    short = np.flatnonzero((length > 0) & (length <= 4))
    keepalive = np.ones(len(short), dtype=bool)
    for i in range(4):
        there = length[short] > i
        octet = data[np.where(there, offset[short] + i, 0)]
        keepalive &= ~there | (octet == 0x0D) | (octet == 0x0A)
    keepalives = int(keepalive.sum())
    long = offset[length >= 20]
    long = long[data[long] < 4]  # the two top bits of STUN are zero; RTP begins with 0x80
    stun = np.ones(len(long), dtype=bool)
    for i, cookie in enumerate((0x21, 0x12, 0xA4, 0x42), start=4):
        stun &= data[long + i] == cookie
    drops[Drop.KEEPALIVE] += keepalives
    drops[Drop.STUN] += int(stun.sum())
    drops[Drop.NOT_SIP] += len(rows) - keepalives - int(stun.sum())


def _append(
    batch: Batch,
    data: Array,
    packets: Packets,
    found: Datagrams,
    keep: Array,
    mask: Array,
    aleg: Sequence[str] | None,
) -> int:
    """Append as many of the rows `keep` as the batch has room for, and index them; return how many."""
    length = np.minimum(found.length[keep], MAX_RECORD)
    left = len(batch.buffer) - batch.octets
    fit = min(batch.capacity - batch.n, int(np.searchsorted(np.cumsum(length), left, side="right")))
    if fit == 0:
        return 0
    rows, length = keep[:fit], length[:fit]
    first, end = batch.n, batch.n + fit
    copy_payloads(data, found.offset[rows], length, batch.buffer, batch.start[first : end + 1])
    for name in ("family", "ip_proto", "src_ip", "dst_ip", "src_port", "dst_port", "vlan"):
        getattr(batch, name)[first:end] = getattr(found, name)[rows]
    batch.ts[first:end] = packets.ts[found.packet[rows]]
    batch.hep_type[first:end] = mask[rows] * np.uint8(HEP_SIP)
    batch.fields[first:end, _PAYLOAD, 1] = length
    batch.n = end
    if aleg is None:
        index_sip(batch, first)
    else:
        index_sip(batch, first, tuple(aleg))
    # What the capture cut is the reason for what the index may have found missing.
    batch.malformed[first:end][found.truncated[rows] != 0] = _TRUNCATED
    batch.malformed[first:end][found.length[rows] > MAX_RECORD] = _OVERSIZE
    return fit
