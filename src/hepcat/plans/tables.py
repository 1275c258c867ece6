"""Kernel: what came before: hashes that were seen a moment ago, and token buckets by key.

In: a hash and a time for each row, and a mask. Out: a new mask: where a hash is new, where a bucket had a
token. What can go wrong: nothing.

Both tables have a fixed size and forget the oldest entry when they are full: a flood can make them forget,
so that a copy or a message over its limit passes, but never makes them take more memory or hold back what
is new. Neither is for two threads at once.
"""

from typing import Any

import cython
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]

#: Places of a table that are looked at for one key.
PROBES = cython.declare(cython.int, 8)
#: Microseconds that workers may lie apart; where time goes back by more, the clock was set.
SET_BACK = cython.declare(cython.longlong, 10_000_000)


def _view(array: Array) -> Any:
    """Return what the loops index: the array, or uncompiled a view that gives plain integers."""
    array = np.ascontiguousarray(array)
    if array.dtype == np.bool_:
        array = array.view(np.uint8)
    return array if cython.compiled else memoryview(array)  # type: ignore[arg-type]


def _new_ones(
    value: Any, ts: Any, window: cython.longlong, mask: Any, seen: Any, seen_at: Any, out: Any
) -> cython.int:
    """Mark the rows whose value was not seen within the window, and remember them."""
    row: cython.Py_ssize_t
    slot: cython.Py_ssize_t
    oldest: cython.Py_ssize_t
    known: cython.Py_ssize_t
    probe: cython.int
    places: cython.Py_ssize_t = seen.shape[0] - 1
    with cython.nogil:
        for row in range(mask.shape[0]):
            out[row] = 0
            if mask[row] == 0:
                continue
            slot = cython.cast(cython.Py_ssize_t, value[row] & cython.cast(cython.ulonglong, places))
            oldest = slot
            known = -1
            for probe in range(PROBES):  # noqa: B007
                if seen[slot] == value[row]:
                    known = slot
                    break
                if seen_at[slot] < seen_at[oldest]:
                    oldest = slot
                slot = (slot + 1) & places
            if known >= 0 and -window <= ts[row] - seen_at[known] <= window:
                continue  # a copy; the window counts from the first one, so it does not move on
            if known < 0:
                known = oldest
            seen[known] = value[row]
            seen_at[known] = ts[row]
            out[row] = 1
    return 0


class Seen:
    """Hashes of records and when they were first seen. Not for two threads at once."""

    def __init__(self, places: int = 1 << 17) -> None:
        """Make a table; `places` is a power of two. It takes 16 octets a place."""
        self.value = np.zeros(places, dtype=np.uint64)
        self.at = np.full(places, -(1 << 62), dtype=np.int64)

    def new_ones(self, value: Array, ts: Array, window: int, mask: Mask) -> Mask:
        """Return where a value was not seen in the `window` microseconds before.

        value: (n,) uint64. ts: (n,) int64, capture time. Rows are taken in order.
        """
        out = np.empty(len(mask), dtype=np.bool_)
        if len(mask):
            _new_ones(
                _view(value), _view(ts), window, _view(mask), _view(self.value), _view(self.at), _view(out)
            )
        return out


def _bucket(
    value: cython.ulonglong,
    keys: Any,
    tokens: Any,
    last: Any,
    burst: cython.double,
    now: cython.longlong,
) -> cython.Py_ssize_t:
    """Find the bucket of a key; a new key takes the place of the one that was used longest ago."""
    places: cython.Py_ssize_t = keys.shape[0] - 1
    slot: cython.Py_ssize_t = cython.cast(cython.Py_ssize_t, value & cython.cast(cython.ulonglong, places))
    oldest: cython.Py_ssize_t = slot
    probe: cython.int
    for probe in range(PROBES if places + 1 >= PROBES else 1):  # noqa: B007
        if keys[slot] == value and last[slot] >= 0:
            return slot
        if last[slot] < last[oldest]:
            oldest = slot
        slot = (slot + 1) & places
    keys[oldest] = value
    tokens[oldest] = burst
    last[oldest] = now
    return oldest


def _take(
    value: Any,
    ts: Any,
    rate: cython.double,
    burst: cython.double,
    mask: Any,
    keys: Any,
    tokens: Any,
    last: Any,
    out: Any,
) -> cython.int:
    """Take a token for each row, where its bucket has one."""
    row: cython.Py_ssize_t
    slot: cython.Py_ssize_t
    with cython.nogil:
        for row in range(mask.shape[0]):
            out[row] = 0
            if mask[row] == 0:
                continue
            slot = _bucket(value[row], keys, tokens, last, burst, ts[row])
            if ts[row] > last[slot]:
                tokens[slot] = min(burst, tokens[slot] + (ts[row] - last[slot]) * rate)
                last[slot] = ts[row]
            elif last[slot] - ts[row] > SET_BACK:
                last[slot] = ts[row]
            if tokens[slot] >= 1.0:
                tokens[slot] -= 1.0
                out[row] = 1
    return 0


class Buckets:
    """Token buckets by key. Not for two threads at once."""

    def __init__(self, per_second: float, places: int = 1 << 14) -> None:
        """per_second: tokens that flow in; a bucket holds those of one second, one at least."""
        self.rate = per_second / 1e6
        self.burst = max(per_second, 1.0)
        self.keys = np.zeros(places, dtype=np.uint64)
        self.tokens = np.zeros(places, dtype=np.float64)
        self.last = np.full(places, -1, dtype=np.int64)

    def take(self, value: Array, ts: Array, mask: Mask) -> Mask:
        """Return where the bucket of a key had a token left.

        value: (n,) uint64. ts: (n,) int64, microseconds. Time that goes backwards adds nothing; a clock that
        was set back does not stop the flow of tokens either.
        """
        out = np.empty(len(mask), dtype=np.bool_)
        if len(mask):
            _take(
                _view(value),
                _view(ts),
                self.rate,
                self.burst,
                _view(mask),
                _view(self.keys),
                _view(self.tokens),
                _view(self.last),
                _view(out),
            )
        return out
