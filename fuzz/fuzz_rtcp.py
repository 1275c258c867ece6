"""Fuzz RTCP to JSON.

Invariants, for any octets:
1. The masks and rtcp_to_json raise nothing; a JSON object is UTF-8, has no key twice, and keeps its bound.
2. A row gives the same whatever rows stand beside it.
3. The extension and the plain Python code agree in everything.

The plain code runs instrumented. Run by fuzz/run.py.
"""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT), str(ROOT / "fuzz")]
os.environ["HEPCAT_PURE"] = "1"

import atheris  # noqa: E402
import numpy as np  # noqa: E402
from both import compiled  # noqa: E402
from libfuzzer import fuzz_with  # noqa: E402

import hepcat  # noqa: E402, F401 - installs the finder of plain kernels

with atheris.instrument_imports(include=["hepcat"]):
    from hepcat.wire import rtcp

from tests.wire.make_batch import make_batch, octets_in, read_json  # noqa: E402

FAST = compiled("rtcp", needs=("hep", "rtcp_packets"))


def told(module: object, payloads: list[bytes]) -> list[object]:
    """JSON and masks of each payload."""
    batch = make_batch(*payloads)
    masks = np.zeros((3, batch.n), dtype=np.uint8)
    module.rtcp_mask(batch, masks[0])  # type: ignore[attr-defined]
    module.rtp_or_rtcp_mask(batch, masks[1])  # type: ignore[attr-defined]
    module.rtcp_xr_mask(batch, masks[2])  # type: ignore[attr-defined]
    patch = module.rtcp_to_json(batch, np.arange(batch.n))  # type: ignore[attr-defined]
    found = octets_in(patch, batch.n)
    for octets in found:
        read_json(octets)
    return list(zip(found, *masks.tolist(), strict=True))


def one_input(octets: bytes) -> None:
    """Run one input: whole, its first half, and whole again."""
    payloads = [octets, octets[: len(octets) // 2], octets]
    plain = told(rtcp, payloads)
    assert plain[0] == plain[2] == told(rtcp, [octets])[0]
    if FAST is not None:
        assert told(FAST, payloads) == plain


def write_seeds(folder: Path) -> None:
    """Begin with the table of vectors."""
    from tests.wire.test_rtcp import VECTORS

    for name, (octets, _) in VECTORS.items():
        (folder / f"seed-{name.replace(' ', '-')}").write_bytes(octets)


if __name__ == "__main__":
    fuzz_with(one_input, write_seeds)
