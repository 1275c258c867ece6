"""Fuzz the frame decoder.

Invariants, for any octets and link type:
1. decode_frames raises nothing; a frame gives one datagram or one counted drop; a payload lies within
   its frame; what is marked truncated ends where the frame does.
2. A frame gives the same whatever frames came before it in the window.
3. The extension and the plain Python code agree in everything.

The plain code runs instrumented. Octets 0 and 1 of an input pick the link type and what the capture
cut off. Run by fuzz/run.py.
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

import hepcat  # noqa: E402, F401 - installs the finder of plain kernels
from hepcat.batch.drops import Drop  # noqa: E402
from hepcat.wire.columns import Datagrams, Packets  # noqa: E402

with atheris.instrument_imports(include=["hepcat"]):
    from hepcat.wire import frames

FAST = compiled("frames", needs=("hep",))
LINKS = (*sorted(frames.LINK_TYPES), 147)
COLUMNS = ("length", "truncated", "family", "ip_proto", "src_ip", "dst_ip", "src_port", "dst_port", "vlan")


def decode(
    module: ModuleType, octets: bytes, parts: list[tuple[int, int]], link: int, cut: int
) -> list[bytes]:
    """Decode frames of a window; return for each what came of it."""
    packets, found = Packets.empty(len(parts)), Datagrams.empty(len(parts))
    drops = np.zeros(len(Drop), dtype=np.int64)
    packets.offset[:] = [start for start, _ in parts]
    packets.captured[:] = [size for _, size in parts]
    packets.original[:] = packets.captured + cut
    packets.link[:] = link
    outcomes = []
    for i in range(len(parts)):  # one after the other, to know which drop belongs to which
        before = drops.copy()
        one = Packets(1, *(getattr(packets, c)[i:] for c in ("offset", "captured", "original", "ts", "link")))
        n = module.decode_frames(octets, one, found, drops)
        changed = drops - before
        assert n + changed.sum() == 1
        if n == 0:
            outcomes.append(changed.tobytes())
            continue
        row = found.n - 1
        start, size = int(found.offset[row]), int(found.length[row])
        begin, end = parts[i][0], sum(parts[i])
        assert begin <= start <= start + size <= end
        assert not found.truncated[row] or start + size == end
        columns = b"".join(np.asarray(getattr(found, name)[row]).tobytes() for name in COLUMNS)
        outcomes.append(octets[start : start + size] + columns)
    all_at_once = Datagrams.empty(len(parts))
    packets.n = len(parts)
    counts = np.zeros(len(Drop), dtype=np.int64)
    assert module.decode_frames(octets, packets, all_at_once, counts) == found.n
    assert (counts == drops).all()
    for name in COLUMNS:
        assert np.array_equal(getattr(all_at_once, name)[: found.n], getattr(found, name)[: found.n]), name
    return outcomes


def one_input(octets: bytes) -> None:
    """Run one input: the frame whole, its first half, and whole again."""
    if len(octets) < 2:
        return
    link, cut, octets = LINKS[octets[0] % len(LINKS)], octets[1], octets[2:]
    parts = [(0, len(octets)), (0, len(octets) // 2), (0, len(octets))]
    plain = decode(frames, octets, parts, link, cut)
    assert plain[0] == plain[2]
    if FAST is not None:
        assert decode(FAST, octets, parts, link, cut) == plain


def write_seeds(folder: Path) -> None:
    """Begin with a frame of each link type."""
    from tests.wire import test_frames

    for name, (link, frame, _) in test_frames.LINKS.items():
        (folder / f"seed-{name.replace(' ', '-')}").write_bytes(bytes([LINKS.index(link), 0]) + frame)


def main() -> None:
    """Run libFuzzer with its own arguments; the first folder among them gets the seeds."""
    for argument in sys.argv[1:]:
        if Path(argument).is_dir():
            write_seeds(Path(argument))
            break
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
