"""Write made-up traffic as a pcap file: Ethernet, IPv4, UDP, with RTP as noise where asked for.

In: how many packets, the share of noise, the time of the first packet. Out: the file, and what is in it.
What can go wrong: HepcatError where the file cannot be written.
"""

import io
from collections import Counter
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from hepcat.bench.traffic import Traffic
from hepcat.errors import HepcatError

#: File header: microseconds, little-endian, version 2.4, snap length 65,535, link type Ethernet.
_HEADER: Final = bytes.fromhex("d4c3b2a1 0200 0400 00000000 00000000 ffff0000 01000000")
_AT_ONCE: Final = 8192


def write_pcap(
    path: Path,
    packets: int,
    noise: float = 0.0,
    seed: int = 1,
    calls: int = 1000,
    start: int = 1_750_000_000_000_000,
    step: int = 200,
) -> Counter[tuple[str, int]]:
    """Write `packets` frames, `step` microseconds apart; return how many of each kind of message."""
    traffic = Traffic(seed=seed, calls=calls, wrap="pcap", noise=noise)
    out = np.empty(traffic.widest * _AT_ONCE, dtype=np.uint8)
    counts = np.zeros(len(traffic.kinds), dtype=np.int64)
    try:
        with open(path, "wb", buffering=0) as file:
            _write(file, traffic, packets, start, step, out, counts)
    except OSError as error:
        raise HepcatError(f"cannot write {path}: {error.strerror}") from None
    return traffic.count(counts)


def _write(
    file: io.FileIO,
    traffic: Traffic,
    packets: int,
    start: int,
    step: int,
    out: npt.NDArray[np.uint8],
    counts: npt.NDArray[np.int64],
) -> None:
    file.write(_HEADER)
    done = 0
    while done < packets:
        count = min(_AT_ONCE, packets - done)
        template, dialog = traffic.events(count)
        ts = start + (done + np.arange(count, dtype=np.int64)) * step
        block = traffic.write(template, dialog, ts, out)
        view = memoryview(block.buffer.data)[: int(block.offsets[-1])]
        while len(view):
            view = view[file.write(view) :]
        counts += np.bincount(template, minlength=len(counts))
        done += count
