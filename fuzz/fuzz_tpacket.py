"""Fuzz the walker of a packet ring's blocks.

Invariants, for any octets in a block between two others:
1. Nothing is raised; each packet lies within the block; rows + OUTGOING is at most what was announced, and
   less only where FRAME_MALFORMED counts once.
2. The same packets come out however many rows there is room for.
3. The extension and the plain Python code agree in everything.

The plain code runs instrumented. Octet 0 of an input: rows at a time, and whether the socket is
cooked. Run by fuzz/run.py.
"""

import os
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT), str(ROOT / "fuzz")]
os.environ["HEPCAT_PURE"] = "1"

import atheris  # noqa: E402
from both import compiled  # noqa: E402
from libfuzzer import fuzz_with  # noqa: E402

import hepcat  # noqa: E402, F401 - installs the finder of plain kernels

with atheris.instrument_imports(include=["hepcat"]):
    import numpy as np

    from hepcat.batch.drops import Drop
    from hepcat.wire import tpacket
    from hepcat.wire.columns import Packets

FAST = compiled("tpacket")
BLOCK = 1024
COLUMNS = ("offset", "captured", "original", "ts", "link", "vlan")


def read(module: ModuleType, octets: bytes, rows: int, cooked: bool) -> tuple[list[list[int]], list[int]]:
    """Walk the middle block; hold invariant 1."""
    data = np.frombuffer(
        bytearray(bytes(BLOCK) + octets[:BLOCK].ljust(BLOCK, b"\0") + bytes(BLOCK)), np.uint8
    )
    packets, drops, found = Packets.empty(rows), np.zeros(len(Drop), dtype=np.int64), []
    walker = module.BlockWalker(data, BLOCK, cooked)
    announced = int(data.view(np.uint32)[BLOCK // 4 + 3])
    n = walker.walk_block(BLOCK, packets, drops)
    while True:
        for i in range(n):
            begin, size = int(packets.offset[i]), int(packets.captured[i])
            assert BLOCK < begin <= begin + size <= 2 * BLOCK
            found.append([int(getattr(packets, name)[i]) for name in COLUMNS])
        if not walker.left:
            break
        n = walker.walk_on(packets, drops)
    malformed, outgoing = int(drops[Drop.FRAME_MALFORMED]), int(drops[Drop.OUTGOING])
    assert int(drops.sum()) == malformed + outgoing
    seen = len(found) + outgoing
    assert malformed <= 1
    assert seen == announced if not malformed else seen <= announced
    return found, drops.tolist()


def one_input(octets: bytes) -> None:
    """Run one input."""
    if len(octets) < 2:
        return
    rows, cooked = (octets[0] & 0x7F) + 1, octets[0] >= 0x80
    whole = read(tpacket, octets[1:], 64, cooked)
    assert read(tpacket, octets[1:], rows, cooked) == whole
    if FAST is not None:
        assert read(FAST, octets[1:], rows, cooked) == whole


def write_seeds(folder: Path) -> None:
    """Begin with blocks of a few packets."""
    from tests.wire.test_tpacket import block, packet

    made = {
        "one": [packet(b"x" * 60, last=True)],
        "vlan": [packet(b"x" * 60, tci=100), packet(b"y" * 9, original=1500, last=True)],
        "loopback": [packet(b"z", hatype=772, kind=4), packet(b"z", hatype=772, last=True)],
    }
    for name, packets in made.items():
        (folder / f"seed-{name}").write_bytes(b"\x01" + block(packets)[:BLOCK])


if __name__ == "__main__":
    fuzz_with(one_input, write_seeds)
