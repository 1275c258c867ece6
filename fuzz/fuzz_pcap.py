"""Fuzz the capture file reader.

Invariants, for any octets:
1. PcapReader.parse raises nothing; each packet lies within the window; times are within 0..MAX_TS;
   position never goes back nor beyond the window; the status is one of three.
2. The same packets come out whatever windows the file is read in, and however many rows at a time.
3. The extension and the plain Python code agree in everything.

The plain code runs instrumented. Octet 0 of an input says how long the windows are. Run by fuzz/run.py.
"""

import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT), str(ROOT / "fuzz")]
os.environ["HEPCAT_PURE"] = "1"

import atheris  # noqa: E402
from both import compiled  # noqa: E402
from libfuzzer import fuzz_with  # noqa: E402

import hepcat  # noqa: E402, F401 - installs the finder of plain kernels
from hepcat.wire.columns import Packets  # noqa: E402

with atheris.instrument_imports(include=["hepcat"]):
    from hepcat.wire import pcap

FAST = compiled("pcap")
Row = tuple[bytes, int, int, int]


def read(module: ModuleType, octets: bytes, step: int, rows: int) -> tuple[list[Row], tuple[Any, ...]]:
    """Read a file in windows that grow by `step` octets; hold invariant 1."""
    reader, found, at = module.PcapReader(), [], 0
    columns = Packets.empty(rows)
    for end in range(step, len(octets) + step, step):
        window = octets[:end]
        while True:
            n = reader.parse(
                window, at, columns.offset, columns.captured, columns.original, columns.ts, columns.link
            )
            assert at <= reader.position <= len(window)
            assert reader.status in (module.MORE, module.FULL, module.DAMAGED)
            at = reader.position
            for i in range(n):
                start, size = int(columns.offset[i]), int(columns.captured[i])
                assert 0 <= start <= start + size <= len(window)
                assert 0 <= int(columns.ts[i]) <= module.MAX_TS
                row = (window[start : start + size], int(columns.original[i]))
                found.append((*row, int(columns.ts[i]), int(columns.link[i])))
            if reader.status != module.FULL:
                break
    return found, (reader.status, reader.reason, reader.position, reader.known)


def one_input(octets: bytes) -> None:
    """Run one input."""
    if len(octets) < 2:
        return
    step, octets = octets[0] + 1, octets[1:]
    whole = read(pcap, octets, len(octets), 64)
    assert read(pcap, octets, max(step, len(octets) // 16), 3) == whole
    if FAST is not None:
        assert read(FAST, octets, len(octets), 64) == whole


def write_seeds(folder: Path) -> None:
    """Begin with small files of each kind."""
    from tests.wire import test_pcap

    for name, octets in test_pcap.SMALL.items():
        (folder / f"seed-{name}").write_bytes(b"\x20" + octets)


if __name__ == "__main__":
    fuzz_with(one_input, write_seeds)
