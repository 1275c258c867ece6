"""Fuzz the SIP index.

Invariant: whatever octets a record holds, index_sip and sip_mask return; every slice lies within the
payload, `malformed` is a known code, and a record is exactly one of request, response, keep-alive,
STUN and not SIP. The record's neighbours do not change what is found in it. The compiled kernel finds
the same as its source does uncompiled, which is what guides the fuzzer (it sees Python's branches only).

    python fuzz/fuzz_sip.py -max_total_time=60
"""

import importlib
import sys
import tempfile
from pathlib import Path
from typing import Any

import atheris
import numpy as np

from hepcat._pure import PureFinder
from hepcat.batch.layout import Batch
from hepcat.batch.schema import HEP_SIP, MALFORMED, MAX_RECORD
from hepcat.wire import sip as compiled

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.wire.vectors_sip import VECTORS

KERNELS = [f"hepcat.wire.{name}" for name in ("sip_headers", "sip_values", "sip")]
for name in KERNELS:
    del sys.modules[name]
sys.meta_path.insert(0, PureFinder)
with atheris.instrument_imports(include=KERNELS):
    pure = importlib.import_module("hepcat.wire.sip")

EXTRA = ("Subject", "X-Trace")
ONE_KIND = 1 | 2 | 8 | 16 | 32


def index(kernel: Any, octets: bytes, start: int, size: int) -> tuple[Any, ...]:
    """Index one record of `octets`; return its outputs."""
    batch = Batch.empty(1, len(octets), EXTRA)
    batch.buffer[:] = np.frombuffer(octets, dtype=np.uint8)
    batch.start[:] = (start, start + size)
    batch.fields[0, 0] = (0, size)
    batch.hep_type[0] = HEP_SIP
    batch.n = 1
    kernel.index_sip(batch)
    numbers = [int(column[0]) for column in (batch.status, batch.contact_port, batch.expires)]
    return batch.fields[0].tolist(), numbers, int(batch.malformed[0]), int(batch.flags[0])


def test_one_input(data: bytes) -> None:
    """Check the invariant on one input."""
    payload = data[:MAX_RECORD]
    found = index(pure, payload, 0, len(payload))
    slices, _, malformed, flags = found
    assert all(offset + size <= len(payload) for offset, size in slices)
    assert malformed < len(MALFORMED)
    assert bin(flags & ONE_KIND).count("1") == 1
    assert index(compiled, payload, 0, len(payload)) == found
    assert index(compiled, b"SIP/2.0 " + payload + b"\r\nVia: x", 8, len(payload)) == found
    mask = np.zeros(1, dtype=np.uint8)
    compiled.sip_mask(payload, np.array([0]), np.array([len(payload)]), mask)
    assert mask[0] == 0 or flags & 3


def seed(folder: str) -> None:
    """Write the vectors of the tests as the corpus to begin with."""
    for i, (_, payload, _) in enumerate(VECTORS):
        if len(payload) < 2000:
            Path(folder, f"vector-{i:03}").write_bytes(payload)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as corpus:
        seed(corpus)
        atheris.Setup([*sys.argv, corpus], test_one_input)
        atheris.Fuzz()
