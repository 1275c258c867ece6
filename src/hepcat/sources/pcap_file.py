"""Source: capture files. pcap, pcapng and either of them gzipped, in; indexed batches of SIP, out.

In: a path. Out: `Batch`es of at most `rows` messages, SIP found on any port by its start line: in UDP
datagrams whole or in fragments, TCP and WebSocket streams, SCTP, and in tunnels of every kind that
hepcat.wire.frames opens. The file is read a window at a time (hepcat.sources.pcap_windows), so memory
does not grow with it. What can go wrong: `HepcatError` where there is no such file or it is no capture;
`CaptureDamaged`, after the last batch, where the file is cut off or damaged: what could be read has been
handed out.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from hepcat.batch.drops import Drop
from hepcat.batch.layout import Array, Batch
from hepcat.sources.pcap_windows import WINDOW, CaptureDamaged, Progress, Windows, open_capture
from hepcat.wire.collect import IndexOptions, append_found, new_batch, sip_among, sort_out
from hepcat.wire.columns import Packets
from hepcat.wire.dissect import END_OF_TIME, DissectOptions, Dissector, Found

__all__ = ["WINDOW", "CaptureDamaged", "Progress", "open_capture", "read_batches"]

#: Packets a window is decoded in.
_PACKETS: Final = 8192
_ALEG: Final = ("X-CID",)


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
    every payload is a row, hep_type 0 where it is no SIP. rows: most messages in a batch. drops: int64
    array of len(Drop) counts, added to; of UDP alone, packets = messages + drops. extra, aleg: further
    headers to index, as in `hepcat.wire.sip.index_sip`. progress: kept up to date while reading.

    Raises HepcatError before the first batch where the file is no capture, and CaptureDamaged after
    the last one where it ends early; with `progress` given, the latter is left there, not raised.
    """
    state = progress if progress is not None else Progress()
    with open_capture(Path(path)) as file:
        state.size = os.fstat(file.fileno()).st_size
        windows = Windows(file, Path(path), state)
        options = IndexOptions(tuple(extra), _ALEG if aleg is None else tuple(aleg))
        counts = np.zeros(len(Drop), dtype=np.int64) if drops is None else drops
        yield from _batches(windows, state, only_sip, rows, counts, options)
    if state.problem is not None and progress is None:
        raise state.problem


def _batches(
    windows: Windows, state: Progress, only_sip: bool, rows: int, drops: Array, options: IndexOptions
) -> Iterator[Batch]:
    """Window by window: messages, those that are SIP, into batches."""
    batch = new_batch(rows, options.extra)
    for found in _found(windows, state, drops):
        mask = sip_among(found)
        keep: Any = sort_out(found, mask, drops) if only_sip else np.arange(found.datagrams.n)
        while len(keep):
            taken = append_found(batch, found, keep, mask, options)
            state.messages += taken
            keep = keep[taken:]
            if len(keep):
                yield batch.trim()
                batch = new_batch(rows, options.extra)
    if batch.n:
        yield batch.trim()


def _found(windows: Windows, state: Progress, drops: Array) -> Iterator[Found]:
    """What each window completes, and what the end of the file sets free."""
    packets, dissector = Packets.empty(_PACKETS), Dissector(DissectOptions(), drops, drops)
    while windows.next_packets(packets):
        state.packets += packets.n
        yield dissector.read(windows.data, packets)
    yield dissector.expire(END_OF_TIME)
