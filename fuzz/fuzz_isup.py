"""Fuzz ISUP to JSON.

Invariants, for any octets: isup_mask and isup_to_json raise nothing; a JSON object is UTF-8, has no key
twice, and keeps its bound; what is told has a correlation id, and the mask takes it. Octet 0 of an input
picks what carries the rest, or nothing. Run by fuzz/run.py.
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
    from hepcat.wire import isup

from tests.wire.make_batch import make_batch, octets_in, read_json  # noqa: E402


def one_input(octets: bytes) -> None:
    """Run one input."""
    from tests.wire.test_isup import CARRIERS

    carriers = [*CARRIERS.values(), bytes]
    if octets:
        octets = carriers[octets[0] % len(carriers)](octets[1:])
    batch = make_batch(octets)
    mask = np.zeros(1, dtype=np.uint8)
    isup.isup_mask(batch, mask)
    payload, correlation = isup.isup_to_json(batch, np.arange(1), True)
    (found,) = octets_in(payload, 1)
    read_json(found)
    assert correlation is not None
    assert (octets_in(correlation, 1)[0] is None) == (found is None)
    assert found is None or mask[0]


def write_seeds(folder: Path) -> None:
    """Begin with the messages of the tests, in each carrier."""
    from tests.wire.test_isup import CARRIERS, IAM, REL, RLC

    for carrier in range(len(CARRIERS)):
        for i, octets in enumerate((IAM, REL, RLC)):
            (folder / f"seed-{carrier}-{i}").write_bytes(bytes([carrier]) + octets)


if __name__ == "__main__":
    fuzz_with(one_input, write_seeds)
