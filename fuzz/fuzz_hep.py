"""Fuzz HEP: decode, stream framing, and encode after decode.

Invariants, for any octets:
1. decode_hep raises nothing; consumed = appended + dropped; every slice lies within its record; the
   compiled kernel and the plain Python code give the same batch and the same counts.
2. frame_hep raises nothing and gives the same messages whatever segments the stream came in; what it
   leaves is below one message, and at most 3 octets of garbage.
3. A record that was decoded, encoded as HEP3 and decoded again is the same record; encode_hep leaves
   it out only when it is too long or its time has more than 32 bits of seconds.

The plain code runs instrumented, so that coverage guides the fuzzer; the first octet of an input picks
the invariant and its options. Run it by fuzz/run.py.
"""

import importlib.machinery
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]
os.environ["HEPCAT_PURE"] = "1"

import atheris  # noqa: E402
import numpy as np  # noqa: E402
from libfuzzer import fuzz_with  # noqa: E402

import hepcat.wire  # noqa: E402
from hepcat.batch.drops import Drop  # noqa: E402
from hepcat.batch.layout import Batch  # noqa: E402
from hepcat.batch.schema import FIELD_INDEX  # noqa: E402

with atheris.instrument_imports(include=["hepcat"]):
    from hepcat.wire import hep, hep_encode, hep_stream

KEYS = hep.AuthKeys([(b"secret", "berlin"), (b"s", "rome")])
RECEIVED = 1_795_358_810_000_000
COLUMNS = (
    "ts",
    "family",
    "ip_proto",
    "src_ip",
    "dst_ip",
    "src_port",
    "dst_port",
    "vlan",
    "hep_type",
    "node_id",
)


def compiled(name: str) -> ModuleType | None:
    """Load a kernel's extension beside its plain module; None where it was not built."""
    spec = importlib.machinery.PathFinder.find_spec(f"hepcat.wire.{name}", list(hepcat.wire.__path__))
    if spec is None or not isinstance(spec.loader, importlib.machinery.ExtensionFileLoader):
        return None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


FAST_HEP = compiled("hep")
FAST_STREAM = compiled("hep_stream")


def decode(module: Any, datagrams: list[bytes], rows: int, octets: int, keys: Any) -> tuple[int, Batch, Any]:
    """Decode and hold the sum and the slices."""
    lengths = np.array([len(d) for d in datagrams], dtype=np.int64)
    offsets = np.cumsum(lengths) - lengths
    batch, drops = Batch.empty(rows, octets), np.zeros(len(Drop), dtype=np.int64)
    consumed = module.decode_hep(
        b"".join(datagrams), offsets, lengths, len(datagrams), RECEIVED, batch, drops, keys
    )
    assert consumed == batch.n + drops.sum()
    sizes = np.diff(batch.start[: batch.n + 1])
    fields = batch.fields[: batch.n].astype(np.int64)
    assert (fields[:, :3, 1].sum(axis=1) + fields[:, FIELD_INDEX["tags"], 1] == sizes).all()
    assert (fields[:, :, 0] + fields[:, :, 1] <= sizes[:, None]).all()
    return consumed, batch, drops


def same(one: Batch, two: Batch) -> None:
    assert one.n == two.n
    for name in (*COLUMNS, "fields"):
        assert np.array_equal(getattr(one, name)[: one.n], getattr(two, name)[: two.n]), name
    assert one.buffer[: one.octets].tobytes() == two.buffer[: two.octets].tobytes()


def fuzz_decode(octets: bytes, option: int) -> None:
    """Invariant 1. The input is one datagram, and the same in three parts."""
    third = len(octets) // 3
    datagrams = [octets, octets[:third], octets[third : 2 * third], octets[2 * third :]]
    keys = KEYS if option & 1 else None
    rows, room = (2, 600) if option & 2 else (4, 300_000)
    plain = decode(hep, datagrams, rows, room, keys)
    if FAST_HEP is not None:
        fast = decode(FAST_HEP, datagrams, rows, room, keys)
        assert plain[0] == fast[0]
        assert (plain[2] == fast[2]).all()
        same(plain[1], fast[1])


def frame(module: Any, stream: bytes, segment: int) -> tuple[list[bytes], bytes]:
    """Frame a stream that comes in segments; return its messages and what is left."""
    offsets, lengths = np.zeros(3, np.int64), np.zeros(3, np.int64)
    counts = np.zeros(len(Drop), dtype=np.int64)
    messages, rest = [], b""
    for at in range(0, len(stream), segment):
        rest += stream[at : at + segment]
        while True:
            count, consumed = module.frame_hep(rest, 0, len(rest), offsets, lengths, counts)
            assert 0 <= consumed <= len(rest)
            messages += [rest[o : o + n] for o, n in zip(offsets[:count], lengths[:count], strict=True)]
            rest = rest[consumed:]
            if count < 3:
                break
        assert len(rest) < hep_stream.MAX_MESSAGE
        assert len(rest) <= 3 or rest[:4] in (b"HEP3", b"EEP1")
    return messages, rest


def fuzz_stream(octets: bytes, option: int) -> None:
    """Invariant 2, and invariant 1 for what comes out."""
    whole = frame(hep_stream, octets, max(1, len(octets)))
    assert frame(hep_stream, octets, option + 1) == whole
    if FAST_STREAM is not None:
        assert frame(FAST_STREAM, octets, option + 1) == whole
    if whole[0]:
        decode(hep, whole[0], len(whole[0]), 300_000, None)


def fuzz_again(octets: bytes, option: int) -> None:
    """Invariant 3."""
    _, batch, _ = decode(hep, [octets], 1, 300_000, None)
    if batch.n == 0:
        return
    buffer, offsets = hep_encode.encode_hep(batch, 3, b"key" if option & 1 else b"", bool(option & 2))
    message = buffer[: int(offsets[1])].tobytes()
    if not message:
        assert int(batch.ts[0]) >= 2**32 * 1_000_000 or batch.octets > 65_300
        return
    _, again, drops = decode(hep, [message], 1, 300_000, None)
    assert not drops.any()
    same(batch, again)


TARGETS = (fuzz_decode, fuzz_stream, fuzz_again)


def one_input(octets: bytes) -> None:
    """Run one input: octet 0 picks the invariant and its options."""
    if octets:
        TARGETS[octets[0] % 3](octets[1:], octets[0] // 3)


def write_seeds(folder: Path) -> None:
    """Begin with the table of vectors, once for each invariant."""
    from tests.wire.vectors_hep import BROKEN, VECTORS

    seeds = [v.octets for v in VECTORS] + [b[1] for b in BROKEN if len(b[1]) < 4000]
    for i, seed in enumerate(seeds):
        for target in range(3):
            path = folder / f"seed-{i}-{target}"
            if not path.exists():
                path.write_bytes(bytes([target + 3 * (i % 4)]) + seed)


if __name__ == "__main__":
    fuzz_with(one_input, write_seeds)
