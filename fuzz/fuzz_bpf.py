"""Fuzz the BPF machine.

Invariants, for any instructions and any packet:
1. A program is refused with HepcatError, or gives 0 or 1 for every packet, in at most as many steps as it has
   instructions; nothing else is raised.
2. A packet's verdict does not depend on the packets before it, nor on octets outside of it.
3. The extension and the plain Python code agree.

The plain code runs instrumented. An input is instructions of six octets, 0xff, and the packet. Run by
fuzz/run.py.
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
from hepcat.errors import HepcatError  # noqa: E402
from hepcat.wire.columns import LINK_ETHERTYPE, Packets  # noqa: E402

with atheris.instrument_imports(include=["hepcat"]):
    from hepcat.wire import bpf

FAST = compiled("bpf")
CODES = (
    *sorted(bpf.LOADS | bpf.BRANCHES | bpf.MEMORY | bpf.DIVISIONS | bpf.OTHERS | bpf.RETURNS | {bpf.JUMP}),
    0xFF,
    0x100,
)
PLACES = (0xFFFFF000, 0xFFFFF02C, 0xFFFFF030, 0xFFFFF03C, 0xFFFFF004, 0xFFFFFFFF, 0x80000000, 0x7FFFFFFF)
LINKS = (1, 101, 113, 276, LINK_ETHERTYPE | 0x0800)


def program_of(octets: bytes) -> list[tuple[int, int, int, int]]:
    """Six octets make an instruction."""
    out = []
    for at in range(0, len(octets) - 5, 6):
        code, jt, jf, kind, high, low = octets[at : at + 6]
        k = PLACES[low % len(PLACES)] if kind & 7 == 7 else (high << 8 | low) if kind & 1 else low & 31
        out.append((CODES[code % len(CODES)], jt & 7, jf & 7, k))
    return out


def judge(
    module: ModuleType, program: list[tuple[int, int, int, int]], packet: bytes, link: int
) -> list[int] | None:
    """Return the verdicts on the packet among others; None where the program is refused."""
    try:
        ours = module.BpfProgram(program)
    except HepcatError:
        return None
    verdicts = []
    for around in (b"\x00" * 8, b"\xff" * 8):
        data = np.frombuffer(around + packet + around, dtype=np.uint8)
        packets, out = Packets.empty(3), np.full(3, 9, dtype=np.uint8)
        packets.n = 3
        packets.offset[:] = [8, 0, 8]
        packets.captured[:] = [len(packet), 8, len(packet)]
        packets.original[:] = packets.captured + 3
        packets.link[:] = link
        packets.vlan[:2] = [5, 6]
        packets.vlan[2] = 5
        assert ours.mask(data, packets, out) == out.sum()
        assert out[0] == out[2]
        verdicts.append(int(out[0]))
    assert verdicts[0] == verdicts[1]
    return verdicts


def one_input(octets: bytes) -> None:
    """Run one input through both."""
    code, _, packet = octets.partition(b"\xff")
    program = program_of(code)
    link = LINKS[len(packet) % len(LINKS)]
    plain = judge(bpf, program, packet, link)
    if FAST is not None:
        assert judge(FAST, program, packet, link) == plain


def write_seeds(folder: Path) -> None:
    """Begin with a few programs."""
    places = {code: i for i, code in enumerate(CODES)}
    steps = [(0x30, 0, 0, 9), (0x15, 0, 1, 17), (0x06, 0, 0, 1), (0x06, 0, 0, 0)]
    coded = b"".join(bytes([places[code], jt, jf, 0, 0, k]) for code, jt, jf, k in steps)
    (folder / "seed-udp").write_bytes(coded + b"\xff" + bytes(9) + b"\x11" + bytes(10))


if __name__ == "__main__":
    fuzz_with(one_input, write_seeds)
