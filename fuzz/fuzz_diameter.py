"""Fuzz Diameter to JSON.

Invariants, for any octets: diameter_mask, diameter_to_json and diameter_correlation raise nothing; a JSON
object is UTF-8, has no key twice, and keeps its bound; what the mask takes is told. Run by fuzz/run.py.
"""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT), str(ROOT / "fuzz")]
os.environ["HEPCAT_PURE"] = "1"

import atheris  # noqa: E402
import numpy as np  # noqa: E402
from libfuzzer import fuzz_with  # noqa: E402

import hepcat  # noqa: E402, F401 - installs the finder of plain kernels

with atheris.instrument_imports(include=["hepcat"]):
    from hepcat.wire import diameter

from tests.wire.make_batch import make_batch, octets_in, read_json  # noqa: E402


def one_input(octets: bytes) -> None:
    """Run one input."""
    batch = make_batch(octets)
    mask = np.zeros(1, dtype=np.uint8)
    diameter.diameter_mask(batch, mask)
    (found,) = octets_in(diameter.diameter_to_json(batch, np.arange(1)), 1)
    octets_in(diameter.diameter_correlation(batch, np.arange(1)), 1)
    read_json(found)
    assert found is not None or not mask[0]


def write_seeds(folder: Path) -> None:
    """Begin with an AVP of each type."""
    from tests.wire.test_diameter import VALUES, avp, message

    for i, (code, vendor, octets, _) in enumerate(VALUES):
        (folder / f"seed-{i}").write_bytes(message(avp(443, avp(code, octets, vendor)), avp(263, b"a;1;2")))


if __name__ == "__main__":
    fuzz_with(one_input, write_seeds)
