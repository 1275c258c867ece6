"""Fuzz the framer.

Invariants, for any octets of any flows, cut anywhere, with any marks:
1. Nothing is raised; a message lies within its area and is at most the bound long; what is held is bounded,
   and is nothing once every flow has ended.
2. A stream that begins with its first octet and has no hole gives the same messages whole, octet by octet,
   and cut as the input says, as long as it is SIP throughout.
3. The extension and the plain Python code agree in messages, drops and protocols.

The plain code runs instrumented. Octets 0 to 3 of an input choose the cuts and the marks. Run by fuzz/run.py.
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
import numpy as np  # noqa: E402

import hepcat  # noqa: E402, F401 - installs the finder of plain kernels

KERNELS = ("messages", "websocket", "start_lines", "lines", "framing")
with atheris.instrument_imports(include=[f"hepcat.wire.{name}" for name in KERNELS]):
    from hepcat.wire import framing

from chain import compiled_chain  # noqa: E402
from tests.wire.make_streams import Cutter, Piece, in_pieces, sip  # noqa: E402

from hepcat.wire.columns import FLOW_END, FLOW_GAP, FLOW_START  # noqa: E402

FAST = compiled_chain("hep", "held", *KERNELS)
MAX_MESSAGE, MAX_OCTETS = 3000, 8 << 10


def read(module: ModuleType, pieces: list[Piece]) -> tuple[Any, ...]:
    """Frame pieces, three a window; return everything that can be seen."""
    cutter = Cutter(4, max_message=MAX_MESSAGE, max_octets=MAX_OCTETS)
    cutter.framer = module.Framer(4, MAX_OCTETS, MAX_MESSAGE)
    for at in range(0, len(pieces), 3):
        cutter.feed(*pieces[at : at + 3])
        assert cutter.framer.held_octets <= MAX_OCTETS
    protocols = cutter.flows.protocol.tolist()
    cutter.feed(*(Piece(flow, b"", FLOW_END) for flow in range(4)))
    assert cutter.framer.held_octets == 0
    assert all(len(octets) <= MAX_MESSAGE for _, octets in cutter.messages)
    assert (cutter.counts >= 0).all()
    return cutter.messages, cutter.drops, protocols


def one_input(octets: bytes) -> None:
    """Run one input: cut over flows with marks, then as one stream cut in three ways."""
    if len(octets) < 5:
        return
    size, other, marks, body = 1 + octets[0] * 3, 1 + octets[1], octets[2], octets[4:]
    pieces = in_pieces(body, [size, other, 1 + octets[3]])
    wild = [
        Piece(i * marks & 3, piece.data, (i * marks >> 2) & (FLOW_START | FLOW_GAP | FLOW_END) if i else 1)
        for i, piece in enumerate(pieces[:60])
    ]
    plain = read(framing, wild)
    if FAST is not None:
        assert read(FAST, wild) == plain
    whole = read(framing, [Piece(0, body, FLOW_START)])
    parts = read(framing, pieces), read(framing, in_pieces(body, [1]) if len(body) < 600 else pieces)
    fine = not set(whole[1]) - {"KEEPALIVE"}  # nothing was lost: then cuts must change nothing
    if fine and whole[2][0] == 1:
        for part in parts:
            assert part[0] == whole[0]
            assert not set(part[1]) - {"KEEPALIVE"}


def write_seeds(folder: Path) -> None:
    """Begin with a stream of each protocol."""
    from tests.wire import test_framing, test_websocket

    for i, message in enumerate(test_framing.MESSAGES):
        (folder / f"seed-sip-{i}").write_bytes(b"\x10\x20\x00\x05" + message[:800] + sip("BYE"))
    frames = test_websocket.frame(sip(), key=b"abcd") + test_websocket.frame(b"x", 9)
    (folder / "seed-ws").write_bytes(b"\x10\x20\x00\x05" + test_websocket.GET + frames)
    deflated = test_websocket.frame(test_websocket.Deflater()(sip()), bits=4)
    (folder / "seed-deflated").write_bytes(b"\xff\x20\x00\x05" + test_websocket.SWITCHING + deflated)
    (folder / "seed-diameter").write_bytes(b"\x10\x20\x00\x05" + test_framing.diameter(60) * 2)


def main() -> None:
    """Run libFuzzer with its own arguments; the first folder among them gets the seeds."""
    np.seterr(all="raise")
    for argument in sys.argv[1:]:
        if Path(argument).is_dir():
            write_seeds(Path(argument))
            break
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
