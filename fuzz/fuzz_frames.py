"""Fuzz the frame decoder: links, tunnels, IP, UDP, TCP, SCTP, fragments.

Invariants, for any octets, link type and choice of kinds and tunnels:
1. decode_frames raises nothing and reads every packet; a frame gives one row or one counted drop, or of
   SCTP one a chunk; a row's payload lies within its frame, and what is marked truncated ends where the
   captured part of the frame ends, or before it where a tunnel or PPPoE ends there.
2. A frame gives the same whatever frames came before it in the window, and however often `out` was full.
3. The extension and the plain Python code agree in every column.

The plain code runs instrumented. Octets 0 to 3 of an input pick the link type, what the capture cut
off, the kinds wanted and the tunnels opened. Run by fuzz/run.py.
"""

import os
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT), str(ROOT / "fuzz")]
os.environ["HEPCAT_PURE"] = "1"

import atheris  # noqa: E402
import numpy as np  # noqa: E402
from both import compiled  # noqa: E402
from libfuzzer import fuzz_with  # noqa: E402

import hepcat  # noqa: E402, F401 - installs the finder of plain kernels
from hepcat.batch.drops import Drop  # noqa: E402
from hepcat.wire.columns import (  # noqa: E402
    DATAGRAM_COLUMNS,
    KIND_CHUNK,
    LINK_ETHERTYPE,
    MAX_ROWS_A_FRAME,
    TUNNELS_ALL,
    WANT_ALL,
    Datagrams,
    Packets,
)

with atheris.instrument_imports(include=["hepcat"]):
    from hepcat.wire import frames

FAST = compiled("frames", needs=("hep", "rows", "links", "tunnels"))
LINKS = (*sorted(frames.LINK_TYPES), 147, LINK_ETHERTYPE | 0x0800, LINK_ETHERTYPE | 0x8100)
COLUMNS = (*(name for name, _ in DATAGRAM_COLUMNS), "src_ip", "dst_ip")
#: Columns that say where in the window a frame stood; the others are the same wherever it stands.
PLACE = ("packet", "ts", "offset")


def decode(
    module: ModuleType, octets: bytes, packets: Packets, room: int, want: int, tunnels: int
) -> tuple[list[list[bytes]], bytes]:
    """Decode the packets of a window; return each packet's rows, and the counts of drops."""
    found, drops = Datagrams.empty(room), np.zeros(len(Drop), dtype=np.int64)
    rows: list[list[bytes]] = [[] for _ in range(packets.n)]
    first, chunks = 0, 0
    while first < packets.n:
        found.n = 0
        before = first
        first = module.decode_frames(octets, packets, found, drops, want, tunnels, 0, first)
        assert before < first <= packets.n
        for row in range(found.n):
            frame, start, size = (int(getattr(found, c)[row]) for c in ("packet", "offset", "length"))
            begin = int(packets.offset[frame])
            assert before <= frame < first
            assert begin <= start <= start + size <= begin + int(packets.captured[frame])
            assert want >> int(found.kind[row]) & 1
            assert found.depth[row] <= 8
            chunks += found.kind[row] == KIND_CHUNK
            columns = b"".join(
                np.asarray(getattr(found, c)[row]).tobytes() for c in COLUMNS if c not in PLACE
            )
            rows[frame].append(octets[start : start + size] + columns)
    total = sum(map(len, rows)) + int(drops.sum())
    bundled = chunks or drops[Drop.SCTP_CONTROL] or drops[Drop.SCTP_PARTIAL] or drops[Drop.FRAME_MALFORMED]
    assert total == packets.n or (total > packets.n and bundled)
    return rows, drops.tobytes()


def one_input(octets: bytes) -> None:
    """Run one input: the frame whole, its first half, and whole again."""
    if len(octets) < 4:
        return
    link, cut, want, tunnels = LINKS[octets[0] % len(LINKS)], octets[1], octets[2], octets[3]
    want, tunnels = (want ^ WANT_ALL) & WANT_ALL, tunnels ^ TUNNELS_ALL  # zeros choose everything
    octets = octets[4:]
    packets = Packets.empty(3)
    packets.n = 3
    packets.captured[:] = [len(octets), len(octets) // 2, len(octets)]
    packets.original[:] = packets.captured + cut
    packets.link[:] = link
    packets.vlan[1] = 7
    rows, counts = decode(frames, octets, packets, 4 * MAX_ROWS_A_FRAME, want, tunnels)
    assert rows[0] == rows[2]
    assert decode(frames, octets, packets, MAX_ROWS_A_FRAME, want, tunnels) == (rows, counts)
    if FAST is not None:
        assert decode(FAST, octets, packets, 4 * MAX_ROWS_A_FRAME, want, tunnels) == (rows, counts)


def write_seeds(folder: Path) -> None:
    """Begin with a frame of each link type and tunnel, a segment, chunks and fragments."""
    from tests.wire import make_capture as make
    from tests.wire import make_tunnels as tunnel
    from tests.wire import test_frames, test_tunnels

    seeds = {name: (link, frame) for name, (link, frame, _) in test_frames.LINKS.items()}
    seeds.update({name: (link, frame) for name, (link, frame, *_) in test_tunnels.ALL.items()})
    seeds["segment"] = (101, make.ipv4(tunnel.tcp(b"x", options=b"\1" * 8), protocol=6))
    seeds["chunks"] = (
        101,
        make.ipv4(
            tunnel.sctp(tunnel.data(b"x"), tunnel.chunk(3, 0, b"sack"), tunnel.idata(b"y")), protocol=132
        ),
    )
    seeds["fragment 4"] = (101, make.ipv4(b"x" * 8, fragment=0x2001))
    seeds["fragment 6"] = (101, make.ipv6(b"\x11\0\0\x09\0\0\0\1" + b"x" * 8, kind=44))
    for name, (link, frame) in seeds.items():
        if link in LINKS:
            octets = bytes([LINKS.index(link), 0, 0, 0]) + frame
            (folder / f"seed-{name.replace(' ', '-')}").write_bytes(octets)


if __name__ == "__main__":
    fuzz_with(one_input, write_seeds)
