"""Fuzz the agent's way from frames to targets: every kernel of the room in order, and the built-in plan.

Invariants, for any frames at any time: reading and expiring raise nothing; packets read = packets carried +
packets dropped; messages found = messages forwarded + messages dropped (tests' Profile checks both with
each window). The plain code runs instrumented. An input is records: link type,
step of time, length in two octets, and so many octets. Run by fuzz/run.py.
"""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT), str(ROOT / "fuzz")]
os.environ["HEPCAT_PURE"] = "1"

import atheris  # noqa: E402
from libfuzzer import fuzz_with  # noqa: E402

import hepcat  # noqa: E402, F401 - installs the finder of plain kernels

with atheris.instrument_imports(include=["hepcat.wire", "hepcat.pipeline", "hepcat.plans"]):
    from tests.agent.test_captagent_defects import SIP, Profile, framed, parts4, tcp, websocket

LINKS = (1, 113, 276, 101, 0, 12, 51, 9, 128, 228)
#: Microseconds that the octet of a record stands for; the rarest are clocks that were set.
STEPS = (*(10**n for n in range(10)), -(10**6), -(10**10), 10**14, -(10**17))


def one_input(octets: bytes) -> None:
    """Run one input: a record a window."""
    profile = Profile(join_datagrams=bool(octets[:1] and octets[0] & 1))
    at = 1
    while len(octets) - at >= 4:
        size = int.from_bytes(octets[at + 2 : at + 4], "big")
        profile.now += STEPS[octets[at + 1] % len(STEPS)]
        profile.read(octets[at + 4 : at + 4 + size], link=LINKS[octets[at] % len(LINKS)])
        at += 4 + size
    profile.expire()


def write_seeds(folder: Path) -> None:
    """Begin with a message in each of its ways."""
    ways = (
        [framed(SIP)],
        parts4(SIP),
        [tcp(SIP[:200], 1), tcp(SIP[200:], 201), tcp(b"", 1 + len(SIP), flags=1)],
        [tcp(websocket(SIP), 1)],
    )
    for i, frames in enumerate(ways):
        records = b"".join(bytes([0, 1]) + len(frame).to_bytes(2, "big") + frame for frame in frames)
        (folder / f"seed-{i}").write_bytes(b"\0" + records)


if __name__ == "__main__":
    fuzz_with(one_input, write_seeds)
