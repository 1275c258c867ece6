"""A lake of made-up traffic, as large as a test needs it: whole dialogs, a message every 4.32 ms."""

import functools
import tempfile
from pathlib import Path

from hepcat.bench.growing import Growing

#: Time of the first message.
FIRST = 1_750_000_000_000_000
_KEPT: list[tempfile.TemporaryDirectory[str]] = []


@functools.cache
def filled_lake(rows: int) -> Path:
    """Return a lake's folder with so many messages; it is there until the tests end, not to be changed."""
    _KEPT.append(tempfile.TemporaryDirectory(prefix="hepcat-lake-"))
    folder = Path(_KEPT[-1].name) / "data"
    Growing(folder).grow(rows)
    return folder


def until_of(rows: int) -> int:
    """Return the time after the last of so many messages."""
    return FIRST + rows * 4_320
