"""Fuzz the SCTP assembler.

Invariants, for any chunks in any order:
1. feed raises nothing; chunks fed = whole + used + held + counted drops; the bounds hold.
2. A message that was put together is what consecutive numbers of one direction said, first to last.
3. The extension and the plain Python code agree in everything.

The plain code runs instrumented. An input is a row of commands, see `commands`. Run by fuzz/run.py.
"""

import itertools
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
from hepcat.wire.columns import AREA_ARENA, Arena, Datagrams  # noqa: E402

with atheris.instrument_imports(include=["hepcat"]):
    from hepcat.wire import sctp

from tests.wire.make_fragments import chunk_rows, new_drops  # noqa: E402

FAST = compiled("sctp", needs=("hep", "held"))


def commands(octets: bytes) -> list[dict[str, Any]]:
    """Five octets make a chunk: number, flags and direction, length, time, what is in it."""
    out = []
    for at in range(0, len(octets) - 4, 5):
        place, flags, size, wait, fill = octets[at : at + 5]
        length = size * (257 if flags & 32 else 1)
        out.append(
            {
                "chunk": ((place - 16 + (0x7FFF0000 if flags & 64 else 0)) & 0xFFFFFFFF, flags & 3, length),
                "fill": fill,
                "src_port": flags >> 2 & 1,
                "truncated": int(flags & 24 == 24),
                "wait": wait * (1 if flags & 4 else 500),
            }
        )
    return out


def octets_of(number: int, port: int, fill: int, length: int) -> bytes:
    """A chunk's octets tell its number, so that a message tells what it was made of."""
    return (number.to_bytes(4) + bytes([port, fill & 1]))[: max(length, 0)].ljust(length, b".")


def run(module: ModuleType, steps: list[dict[str, Any]]) -> list[Any]:
    """Feed everything in windows of seven; return what came of it."""
    box = module.SctpAssembler(max_octets=1 << 17, max_messages=4, timeout_us=30_000, seed=bytes(range(96)))
    drops, arena, results, now = new_drops(), Arena(16), [], 0
    for first in range(0, len(steps), 7):
        window = steps[first : first + 7]
        columns: dict[str, Any] = {
            name: [step[name] for step in window] for name in ("src_port", "truncated")
        }
        times, chunks = [], []
        for step in window:
            now += step["wait"]
            times.append(now)
            number, flags, length = step["chunk"]
            chunks.append((number, flags, octets_of(number, step["src_port"], step["fill"], length)))
        data, found, rows = chunk_rows(chunks, ts=times, **columns)
        out = Datagrams.empty(0)
        n = box.feed(data, found, rows, arena, out, drops)
        assert box.whole + box.used + box.held + drops.sum() == first + len(window)
        assert 0 <= box.held_octets <= 1 << 17
        for i in range(n):
            octets = arena.data if out.area[i] == AREA_ARENA else data
            message = octets[out.offset[i] :][: out.length[i]].tobytes()
            if out.area[i] == AREA_ARENA:
                check(message, int(out.src_port[i]))
            results.append(
                (message, int(out.seq[i]), int(out.packet[i]), int(out.truncated[i]), int(out.ts[i]))
            )
        results.append((box.held, box.held_octets, drops.tolist()))
    box.expire(now + 10**9, drops)
    assert box.held == box.held_octets == 0
    assert box.whole + box.used + drops.sum() == len(steps)
    return results


def check(message: bytes, port: int) -> None:
    """Where chunks have their numbers in full, these follow each other."""
    assert 0 < len(message) <= 65_535
    marks = [message[at : at + 4] for at in range(len(message)) if is_mark(message, at, port)]
    numbers = [int.from_bytes(mark) for mark in marks]
    for a, b in itertools.pairwise(numbers):
        assert 0 < (b - a) & 0xFFFFFFFF < 512


def is_mark(message: bytes, at: int, port: int) -> bool:
    """A number of ours: its high octets, the port and the fill behind it."""
    high = message[at : at + 3]
    rest = message[at + 4 : at + 6]
    known = (b"\x00\x00\x00", b"\xff\xff\xff", b"\x7f\xff\x00", b"\x7f\xfe\xff")
    return high in known and message[at + 6 : at + 7] == b"." and rest in (bytes([port, 0]), bytes([port, 1]))


def one_input(octets: bytes) -> None:
    """Run one input through both."""
    steps = commands(octets[:500])
    plain = run(sctp, steps)
    if FAST is not None:
        assert run(FAST, steps) == plain


def write_seeds(folder: Path) -> None:
    """Begin with whole messages, in order and not."""
    for name, numbers in {"order": (0, 1, 2), "mixed": (2, 0, 1, 0), "long": tuple(range(20))}.items():
        last = max(numbers)
        steps = [bytes([n, (2 if n == 0 else 0) | (1 if n == last else 0), 9, 0, n]) for n in numbers]
        (folder / f"seed-{name}").write_bytes(b"".join(steps))


if __name__ == "__main__":
    fuzz_with(one_input, write_seeds)
