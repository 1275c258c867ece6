"""Fuzz the defragmenter.

Invariants, for any fragments in any order:
1. feed raises nothing; fragments fed = used + held + counted drops; the bounds hold.
2. A packet handed out has a right header, and each octet of it was in a fragment that said so.
3. The extension and the plain Python code agree in everything.

The plain code runs instrumented. An input is a row of commands, see `commands`. Run by fuzz/run.py.
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
from hepcat.wire.columns import Arena, Packets  # noqa: E402

with atheris.instrument_imports(include=["hepcat"]):
    from hepcat.wire import fragments

from tests.wire.make_fragments import checksum, fragment_rows, new_drops  # noqa: E402

FAST = compiled("fragments", needs=("hep", "held"))
COLUMNS = ("captured", "ts", "link", "vlan")


def commands(octets: bytes) -> list[dict[str, Any]]:
    """Six octets make a fragment: offset, length and flags, identification, time, what is in it."""
    out = []
    for at in range(0, len(octets) - 5, 6):
        place, size, flags, number, wait, fill = octets[at : at + 6]
        offset = place * 8 if flags & 8 == 0 else place * 257
        out.append(
            {
                "piece": (
                    offset & ~7,
                    bool(flags & 1),
                    bytes([fill & 3]) * (size * (9 if flags & 16 else 1)),
                ),
                "seq": number & 7,
                "family": 10 if flags & 2 else 2,
                "truncated": int(flags & 0xE0 == 0xE0),
                "wait": wait * (1 if flags & 4 else 5000),
            }
        )
    return out


def run(module: ModuleType, steps: list[dict[str, Any]]) -> list[Any]:
    """Feed everything in windows of seven; return what came of it."""
    box = module.Defragmenter(max_octets=1 << 16, max_datagrams=5, timeout_us=300_000, seed=bytes(range(96)))
    drops, arena, out, results, now = new_drops(), Arena(16), Packets.empty(0), [], 0
    said: dict[tuple[int, int, int], set[int]] = {}
    for first in range(0, len(steps), 7):
        window = steps[first : first + 7]
        columns: dict[str, Any] = {
            name: [step[name] for step in window] for name in ("seq", "family", "truncated")
        }
        times = []
        for step in window:
            now += step["wait"]
            times.append(now)
            offset, _, octets = step["piece"]
            for i, octet in enumerate(octets):
                said.setdefault((step["family"], step["seq"], offset + i), set()).add(octet)
        data, found, rows = fragment_rows([step["piece"] for step in window], ts=times, **columns)
        out.n = 0
        n = box.feed(data, found, rows, arena, out, drops)
        assert box.used + box.held + drops.sum() == first + len(window)
        assert 0 <= box.held_octets <= 1 << 16
        for i in range(n):
            packet = arena.data[out.offset[i] :][: out.captured[i]].tobytes()
            check(packet, int(found.seq[box.packet_of[i]]), said)
            results.append((packet, *(int(getattr(out, name)[i]) for name in COLUMNS), int(box.packet_of[i])))
        results.append((box.held, box.held_octets, drops.tolist()))
    box.expire(now + 10**9, drops)
    assert box.held == box.held_octets == 0
    assert box.used + drops.sum() == len(steps)
    return results


def check(packet: bytes, number: int, said: dict[tuple[int, int, int], set[int]]) -> None:
    """The header is right, and every octet was said."""
    family = 2 if packet[0] >> 4 == 4 else 10
    header = 20 if family == 2 else 40
    if family == 2:
        assert checksum(packet[:20]) == 0
        assert int.from_bytes(packet[2:4]) == len(packet)
        assert int.from_bytes(packet[4:6]) == number
    else:
        assert int.from_bytes(packet[4:6]) == len(packet) - 40
    for i, octet in enumerate(packet[header:]):
        assert octet in said[family, number, i]


def one_input(octets: bytes) -> None:
    """Run one input through both."""
    steps = commands(octets[:600])
    plain = run(fragments, steps)
    if FAST is not None:
        assert run(FAST, steps) == plain


def write_seeds(folder: Path) -> None:
    """Begin with whole datagrams, in order and not."""
    for name, places in {"order": (0, 1, 2), "mixed": (2, 0, 1, 0), "long": tuple(range(20))}.items():
        last = max(places)
        steps = [bytes([place, 8 if place < last else 5, int(place < last), 1, 0, place]) for place in places]
        (folder / f"seed-{name}").write_bytes(b"".join(steps))


if __name__ == "__main__":
    fuzz_with(one_input, write_seeds)
