"""About how many records there are in a time, told without reading them.

In: parts of a table (row groups, batches of a journal), each with its first and last time and how many
records it has. Out: bounds that hold all records of a range, and about how many they are: within a part they
are taken to come evenly. What can go wrong: nothing.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Part(NamedTuple):
    """Records of the times low to high (both included), in microseconds."""

    low: int
    high: int
    rows: int


class Spread:
    """The parts of one moment."""

    def __init__(self, parts: Iterable[Part]) -> None:
        table = np.array([part for part in parts if part.rows], dtype=np.int64).reshape(-1, 3)
        self._low, self._high, self._rows = table.T

    def about(self, since: int | None, until: int | None) -> tuple[int | None, int | None, int]:
        """Return (first, last, how many) in a range, of which each may be too wide and none too narrow.

        (None, None, 0): there are surely none. How many is at least 1 otherwise, and only an estimate.
        """
        begin = self._low if since is None else np.maximum(self._low, _bounded(since))
        end = self._high if until is None else np.minimum(self._high, _bounded(until - 1))
        there = end >= begin
        if not there.any():
            return None, None, 0
        share = _length(begin[there], end[there]) / _length(self._low[there], self._high[there])
        low, high = int(begin[there].min()), int(end[there].max())
        return low, high, max(int((self._rows[there] * share).sum()), 1)


def _bounded(at: int) -> int:
    return min(max(at, -(2**63)), 2**63 - 1)


def _length(low: npt.NDArray[np.int64], high: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return how long ranges are. Both ends of 64 bits are further apart than 64 bits can say."""
    length: npt.NDArray[np.float64] = high.astype(np.float64) - low + 1
    return length
