"""Fuzz the spool's files.

Invariant: whatever a spool file holds, taking it over raises nothing; every record that was counted is read
or counted as damaged, exactly once; a block that is read has its last message's end at its end; and when all
is read, no file is left but those set aside.

    python fuzz/fuzz_spool.py -max_total_time=60
"""

import sys
import tempfile
from pathlib import Path

import atheris
import numpy as np

with atheris.instrument_imports(include=["hepcat.sinks.spool"]):
    from hepcat.sinks import spool
    from hepcat.sinks.block import Block


def good() -> bytes:
    """Return a file of two blocks as the spool writes it."""
    with tempfile.TemporaryDirectory() as folder:
        made = spool.Spool(Path(folder), 1 << 20)
        for data in (b"abcdef", b"xyz"):
            made.append(Block(data, np.array([1, len(data)])))
        made.close()
        (path,) = Path(folder).glob("*.spool")
        return path.read_bytes()


GOOD = good()


def check(octets: bytes) -> None:
    """Check the invariant on one file."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        (Path(folder) / "0000000000000000007.spool").write_bytes(octets)
        made = spool.Spool(Path(folder), 1 << 20)
        counted, found = made.records, 0
        while (block := made.read()) is not None:
            assert int(block.ends[-1]) == len(block.data)
            found += block.records
            made.done(block)
        damaged, uncounted = made.take_damage()
        assert found + damaged == counted + uncounted
        assert made.records == 0
        made.close()
        assert not list(Path(folder).glob("*.spool"))


def test_one_input(data: bytes) -> None:
    """The input as it is, behind a good header, and laid over a good file."""
    check(data)
    check(GOOD[:32] + data)
    if len(data) > 1:
        at = data[0] % len(GOOD)
        check(GOOD[:at] + data[1:] + GOOD[at + len(data) - 1 :])


if __name__ == "__main__":
    atheris.Setup(sys.argv, test_one_input)
    atheris.Fuzz()
