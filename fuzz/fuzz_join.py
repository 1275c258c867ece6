"""Fuzz the joiner of SIP over several UDP datagrams.

Invariants, for any datagrams in any order:
1. feed and expire raise nothing; no octet is lost or made up: what comes out has, sender by sender, the
   octets that went in, in order, but for datagrams that passed by between the parts of a message.
2. Datagrams fed = rows + joined, when nothing is held; the bounds hold.
3. The extension and the plain Python code agree in everything.

The plain code runs instrumented. An input is lines: the first octet picks the sender and the time that
passed, the rest is a datagram. Run by fuzz/run.py.
"""

import os
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT), str(ROOT / "fuzz")]
os.environ["HEPCAT_PURE"] = "1"

import atheris  # noqa: E402
import numpy as np  # noqa: E402
from both import compiled  # noqa: E402
from libfuzzer import fuzz_with  # noqa: E402

import hepcat  # noqa: E402, F401 - installs the finder of plain kernels
from hepcat.wire.columns import AREA_ARENA, Arena, Datagrams  # noqa: E402

with atheris.instrument_imports(include=["hepcat"]):
    from hepcat.wire import join

from tests.wire.make_fragments import new_drops, udp_rows  # noqa: E402

FAST = compiled("join", needs=("hep", "held"))


def rows_out(out: Datagrams, data: Any, arena: Arena) -> list[tuple[int, bytes]]:
    """Return sender and octets of each row."""
    return [
        (
            int(out.src_port[i]),
            (arena.data if out.area[i] == AREA_ARENA else data)[out.offset[i] :][: out.length[i]].tobytes(),
        )
        for i in range(out.n)
    ]


def run(module: ModuleType, datagrams: list[tuple[int, int, bytes]]) -> list[Any]:
    """Feed everything in windows of three; return what came of it."""
    box = module.DatagramJoiner(max_octets=1 << 17, max_messages=2, timeout_us=1000, seed=bytes(range(96)))
    arena, results, now, drops = Arena(16), [], 0, new_drops()
    for first in range(0, len(datagrams), 3):
        window = datagrams[first : first + 3]
        times = []
        for _, wait, _ in window:
            now += wait
            times.append(now)
        ports = [sender for sender, _, _ in window]
        data, found, rows = udp_rows([octets for _, _, octets in window], ts=times, src_port=ports)
        out = Datagrams.empty(0)
        box.feed(data, found, rows, arena, out, drops)
        results += rows_out(out, data, arena)
        assert 0 <= box.held <= 2
        assert 0 <= box.held_octets <= 1 << 17
    out = Datagrams.empty(0)
    box.expire(now + 10**9, arena, out, drops)
    results += rows_out(out, np.zeros(0, dtype=np.uint8), arena)
    assert box.held == box.held_octets == drops.sum() == 0
    assert len(results) + box.joined == len(datagrams)
    for sender in range(4):
        before = Counter(b"".join(octets for port, _, octets in datagrams if port == sender))
        assert before == Counter(b"".join(octets for port, octets in results if port == sender))
    return [*results, box.joined, box.partial]


def one_input(octets: bytes) -> None:
    """Run one input through both."""
    datagrams = []
    for line in octets.split(b"\xff"):
        if line:
            repeat = 200 if line[0] & 8 else 1
            datagrams.append((line[0] & 3, (line[0] >> 4) * 90, line[1:] * repeat))
    plain = run(join, datagrams)
    if FAST is not None:
        assert run(FAST, datagrams) == plain


def write_seeds(folder: Path) -> None:
    """Begin with messages in parts."""
    head = b"INVITE sip:a SIP/2.0\r\nContent-Length: 10\r\n\r\n"
    (folder / "seed-parts").write_bytes(
        b"0" + head + b"hello\xff0there\xff1OPTIONS sip:b SIP/2.0\r\nl: 0\r\n\r\n"
    )
    (folder / "seed-head").write_bytes(b"0" + head[:30] + b"\xff0" + head[30:] + b"\xff0hello you!\xff1x")


if __name__ == "__main__":
    fuzz_with(one_input, write_seeds)
