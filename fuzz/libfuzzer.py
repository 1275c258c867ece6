"""How every target begins: seeds, then libFuzzer.

In: a target's function for one input, and its function that writes seeds. Out: nothing; libFuzzer ends the
process. Imported by the targets alone.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import atheris


def fuzz_with(one_input: Callable[[bytes], None], write_seeds: Callable[[Path], None]) -> None:
    """Run libFuzzer with its own arguments; the first folder among them gets the seeds."""
    for argument in sys.argv[1:]:
        if Path(argument).is_dir():
            write_seeds(Path(argument))
            break
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
