"""Fuzz the TCP reassembler.

Invariants, for any segments:
1. Nothing is raised; segments fed = passed on + held + counted drops; the bounds on streams and octets hold.
2. A stretch lies within its area; FLOW_START comes before anything of a flow, FLOW_END after it.
3. Segments fed one window each give the same octets as all in one window.
4. Of a stream's own octets, cut and repeated as the input says but with none missing, every one comes out
   once and in order.
5. The extension and the plain Python code agree.

The plain code runs instrumented. Eight octets of an input are one segment. Run by fuzz/run.py.
"""

import os
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT), str(ROOT / "fuzz")]
os.environ["HEPCAT_PURE"] = "1"

import atheris  # noqa: E402
import numpy as np  # noqa: E402

import hepcat  # noqa: E402, F401 - installs the finder of plain kernels

KERNELS = ("held", "tcp_pieces", "tcp_flows", "tcp")
with atheris.instrument_imports(include=[f"hepcat.wire.{name}" for name in KERNELS]):
    from hepcat.wire import tcp

from chain import compiled_chain  # noqa: E402
from libfuzzer import fuzz_with  # noqa: E402
from tests.wire.make_tcp import Segment, rows_of  # noqa: E402

from hepcat.batch.drops import Drop  # noqa: E402
from hepcat.wire.columns import FLOW_END, FLOW_START, Arena, Stretches  # noqa: E402

FAST = compiled_chain("hep", *KERNELS)
SEED = bytes(range(96))
COUNTED = [Drop.TCP_CONTROL, Drop.TCP_DUPLICATE, Drop.TCP_BOUND]
OCTETS = bytes(i * 7 & 255 for i in range(4096))
A, B = ("192.0.2.1", 1), ("192.0.2.2", 2)


def read(module: ModuleType, segments: list[Segment], each: int) -> list[tuple[int, int, bytes]]:
    """Reassemble, `each` segments a window; return what came out, in order."""
    reader = module.TcpReassembler(3, 8 << 10, 5000, 900, 3000, SEED)
    counts, arena, out, came = np.zeros(len(Drop), dtype=np.int64), Arena(64), Stretches.empty(4), []
    begun: set[int] = set()
    for start in [*range(0, len(segments), each), -1]:
        arena.reset()
        out.n = 0
        window, found = rows_of(segments[start : start + each] if start >= 0 else [])
        if start >= 0:
            reader.feed(window, found, np.arange(found.n), arena, out, counts)
        else:
            reader.expire(1 << 40, arena, out, counts)
        fed = len(segments) if start < 0 else min(start + each, len(segments))
        assert fed == reader.passed + reader.held_segments + counts[COUNTED].sum()
        assert reader.streams <= 3
        assert reader.held_octets <= 8 << 10
        for i in range(out.n):
            flow, marks, at, size = (int(c[i]) for c in (out.flow, out.marks, out.offset, out.length))
            area = arena.data[: arena.used] if out.area[i] else window
            assert 0 <= at <= at + size <= len(area)
            assert (flow in begun) != bool(marks & FLOW_START)
            begun.add(flow)
            if marks & FLOW_END:
                begun.discard(flow)
            came.append((flow, marks, area[at : at + size].tobytes()))
    assert reader.streams == reader.held_octets == 0
    assert not begun
    return came


def streams(came: list[tuple[int, int, bytes]]) -> dict[int, bytes]:
    """The octets of each flow."""
    flows: dict[int, bytes] = {}
    for flow, _, octets in came:
        flows[flow] = flows.get(flow, b"") + octets
    return flows


def wild(octets: bytes) -> list[Segment]:
    """Segments of a few streams, at any place."""
    segments, now = [], 0
    for at in range(0, len(octets) - 7, 8):
        who, flags, size, step, seq, far = (
            octets[at],
            octets[at + 1],
            octets[at + 2],
            octets[at + 3],
            *octets[at + 4 : at + 6],
        )
        ends = ("192.0.2.1", 1 + (who & 3)), ("192.0.2.2", 1)
        source, target = ends if who & 4 else ends[::-1]
        now += step * step
        place = seq * 40 + (int.from_bytes(octets[at + 6 : at + 8], "big") << 16 if far > 250 else 0)
        segments.append(
            Segment(source, target, place, bytes([who]) * (size * (1 + (who & 8))), flags & 31, now)
        )
    return segments


def tame(octets: bytes) -> list[Segment]:
    """One stream whose every octet is there: pieces as the input says, then all of it."""
    isn = int.from_bytes(octets[:4], "big")
    segments = [Segment(A, B, isn, flags=2)]
    for at in range(4, len(octets) - 2, 3):
        start = octets[at] * 11
        segments.append(
            Segment(A, B, isn + 1 + start, OCTETS[start : start + octets[at + 1] * (octets[at + 2] & 7)])
        )
    return [*segments, *(Segment(A, B, isn + 1 + at, OCTETS[at : at + 1000]) for at in range(0, 4096, 1000))]


def one_input(octets: bytes) -> None:
    """Run one input as segments of any kind, and as cuts of one stream."""
    segments = wild(octets[:800])
    one = read(tcp, segments, 1)
    if (
        len({frozenset((segment.source, segment.target)) for segment in segments}) <= 3
    ):  # else ids may be short within one window
        assert streams(read(tcp, segments, 1000)) == streams(one)
    whole = tame(octets[:200])
    reader = tcp.TcpReassembler(3, 1 << 20, 1 << 50, 1 << 50, 1 << 20, SEED)
    counts, arena, out = np.zeros(len(Drop), dtype=np.int64), Arena(64), Stretches.empty(4)
    window, found = rows_of(whole)
    reader.feed(window, found, np.arange(found.n), arena, out, counts)
    came = b"".join(
        (arena.data if out.area[i] else window)[out.offset[i] : out.offset[i] + out.length[i]].tobytes()
        for i in range(out.n)
    )
    assert came == OCTETS
    if FAST is not None:
        assert read(FAST, segments, 1) == one


def write_seeds(folder: Path) -> None:
    """Begin with a few shapes."""
    (folder / "seed-a").write_bytes(b"\x04\x02\0\0\0\0\0\0" + bytes(range(200)))
    (folder / "seed-b").write_bytes(
        b"".join(bytes([4, 24, 40, 1, i, 0, 0, 0]) for i in (1, 3, 2, 5, 9, 7, 4))
    )


if __name__ == "__main__":
    fuzz_with(one_input, write_seeds)
