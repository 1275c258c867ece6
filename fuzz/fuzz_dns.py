"""Fuzz DNS to JSON.

Invariants, for any octets: dns_mask and dns_to_json raise nothing, and end; a JSON object is UTF-8, has no
key twice, and keeps its bound; what the mask takes is told. Run by fuzz/run.py.
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
    from hepcat.wire import dns

from tests.wire.make_batch import Datagram, make_batch, octets_in, read_json  # noqa: E402


def one_input(octets: bytes) -> None:
    """Run one input."""
    batch = make_batch(Datagram(octets, src_port=53))
    mask = np.zeros(1, dtype=np.uint8)
    dns.dns_mask(batch, mask)
    (found,) = octets_in(dns.dns_to_json(batch, np.arange(1)), 1)
    read_json(found)
    assert found is not None or not mask[0]


def write_seeds(folder: Path) -> None:
    """Begin with a record of each type."""
    from tests.wire.test_dns import DATA, message, question, record

    for i, (kind, data, _) in enumerate(DATA):
        octets = message(question("example.com"), record(kind, data), counts=(1, 1, 0, 0), flags=0x8180)
        (folder / f"seed-{i}").write_bytes(octets)


if __name__ == "__main__":
    fuzz_with(one_input, write_seeds)
