"""Fuzz the media table.

Invariants, for any body of a SIP message and any Content-Type:
1. learn and find raise nothing; what find gives is a Call-ID that was learnt, whole.
2. The extension and the plain Python code agree in everything.

The plain code runs instrumented. Octet 0 of an input picks the Content-Type and the options. Run by
fuzz/run.py.
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
    from hepcat.wire import media

from tests.wire.make_batch import Datagram, make_batch, octets_in  # noqa: E402

FAST = compiled("media", needs=("hep", "media_sdp"))
KINDS = ("application/sdp", "multipart/mixed;boundary=b", "", "text/plain")
PORTS = (1, 9, 4000, 4001, 4002, 4777, 49170, 65535)
ADDRESSES = ("203.0.113.10", "192.0.2.1", "2001:db8::1")


def told(module: object, body: bytes, option: int) -> list[bytes | None]:
    """Learn a body for two calls, and look at some addresses."""
    from tests.wire.test_media import invite

    table = module.MediaTable(64, nat=bool(option & 4), seed=1)  # type: ignore[attr-defined]
    kind = KINDS[option % 4]
    messages = make_batch(invite(body, "one", kind), invite(body[1:], "x" * 500, kind, status=200))
    found = [table.learn(messages, np.array([row]), row) for row in (0, 1)]
    packets = [Datagram(b"", a, p, ADDRESSES[0], PORTS[option % 8]) for a in ADDRESSES for p in PORTS]
    batch = make_batch(*packets)
    ids = octets_in(table.find(batch, np.arange(batch.n), 2), batch.n)
    assert all(i in (None, b"one", b"x" * 500) for i in ids)
    return [*ids, repr(found).encode(), b"%d" % table.live(2)]


def one_input(octets: bytes) -> None:
    """Run one input."""
    if octets:
        plain = told(media, octets[1:], octets[0])
        assert FAST is None or told(FAST, octets[1:], octets[0]) == plain


def write_seeds(folder: Path) -> None:
    """Begin with the descriptions of the tests."""
    from tests.wire.test_media import SDPS, sdp

    for i, (name, (lines, _)) in enumerate(SDPS.items()):
        (folder / f"seed-{name.replace(' ', '-')}").write_bytes(bytes([i]) + sdp(*lines))


if __name__ == "__main__":
    fuzz_with(one_input, write_seeds)
