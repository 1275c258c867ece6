"""Kernel: SIP messages with a header taken out, or set.

In: octets of messages, the rows to change, a header's name, and the line to put there. Out: new octets of the
rows that changed. What can go wrong: nothing; a message whose headers do not end stays as it is. IndexError
for a message outside the buffer is a bug of ours.
"""

from typing import Any

import cython
import numpy as np
import numpy.typing as npt

if not cython.compiled:  # compiled, header_edit.pxd cimports them
    from hepcat.plans.match import _find, _named

Array = npt.NDArray[Any]


def _view(array: Array) -> Any:
    """Return what the loops index: the array, or uncompiled a view that gives plain integers."""
    array = np.ascontiguousarray(array)
    if array.dtype == np.bool_:
        array = array.view(np.uint8)
    return array if cython.compiled else memoryview(array)  # type: ignore[arg-type]


def _octets(text: bytes) -> Any:
    return _view(np.frombuffer(text, dtype=np.uint8))


class HeaderEditor:
    """One run over messages: takes out a header, or sets it."""

    def __init__(self, data: Any, name: Any, compact: Any, line: Any, out: Any) -> None:
        self.data = data
        self.name = name
        self.compact = compact
        self.line = line
        self.out = out
        self.used = 0
        self.placed = self.found = False

    def run(self, at: Any, size: Any, mask: Any, out_at: Any, out_size: Any) -> cython.int:
        """Edit the messages; out_at stays -1 where a message has nothing to edit."""
        row: cython.Py_ssize_t
        before: cython.Py_ssize_t
        lo: cython.Py_ssize_t
        with cython.nogil:
            for row in range(mask.shape[0]):
                if mask[row] == 0:
                    continue
                before = self.used
                lo = cython.cast(cython.Py_ssize_t, at[row])
                self.edit(lo, lo + cython.cast(cython.Py_ssize_t, size[row]))
                if self.found or self.placed:
                    out_at[row] = before
                    out_size[row] = self.used - before
                else:
                    self.used = before
        return 0

    def copy(self, source: Any, lo: cython.Py_ssize_t, hi: cython.Py_ssize_t) -> cython.int:
        """Append octets, after checking both ranges."""
        if hi <= lo:
            return 0
        if lo < 0 or hi > source.shape[0] or self.used + (hi - lo) > self.out.shape[0]:
            with cython.gil:
                raise IndexError("slice outside its buffer")
        if cython.compiled:
            memcpy(  # type: ignore[name-defined]  # noqa: F821 (header_edit.pxd)
                cython.address(self.out[self.used]),
                cython.address(source[lo]),
                cython.cast(cython.size_t, hi - lo),
            )
        else:
            self.out[self.used : self.used + hi - lo] = bytes(source[lo:hi])
        self.used += hi - lo
        return 0

    def edit(self, lo: cython.Py_ssize_t, hi: cython.Py_ssize_t) -> cython.int:
        """Copy a message without the header; the new line goes where it stood first, else at the end."""
        pos: cython.Py_ssize_t = min(_find(self.data, 10, lo, hi) + 1, hi)  # behind the start line
        end: cython.Py_ssize_t
        named: cython.bint
        self.placed = self.found = False
        self.copy(self.data, lo, pos)
        while pos < hi:
            end = min(_find(self.data, 10, pos, hi) + 1, hi)
            if self.data[pos] == 10 or (self.data[pos] == 13 and end == pos + 2):
                if not self.placed and self.line.shape[0] > 0:
                    self.copy(self.line, 0, self.line.shape[0])
                    self.placed = True
                self.copy(self.data, pos, hi)
                return 0
            while end < hi and (self.data[end] == 32 or self.data[end] == 9):  # folded lines
                end = min(_find(self.data, 10, end, hi) + 1, hi)
            named = _named(self.data, pos, end, self.name) > 0
            if not named:
                named = _named(self.data, pos, end, self.compact) > 0
            if not named:
                self.copy(self.data, pos, end)
            else:
                self.found = True
                if not self.placed and self.line.shape[0] > 0:
                    self.copy(self.line, 0, self.line.shape[0])
                    self.placed = True
            pos = end
        return 0


def edit_headers(
    data: Array, at: Array, size: Array, mask: Array, name: str, compact: str, line: bytes
) -> tuple[Array, Array, Array]:
    """Take a header out of messages, every line of it; or, with `line` (its CRLF included), set it.

    data[at:at + size]: messages, int64. name, compact: the header's long and one-letter form. Returns
    (octets, offset, length); offset -1 where nothing changed: the header was not there to be taken out, or
    the message's headers do not end.
    """
    out_at = np.full(len(mask), -1, dtype=np.int64)
    out_size = np.zeros(len(mask), dtype=np.int64)
    count = int(np.count_nonzero(mask))
    if not count:
        return np.empty(0, dtype=np.uint8), out_at, out_size
    out = np.empty(int(size[mask].sum()) + count * len(line), dtype=np.uint8)
    editor = HeaderEditor(
        _view(data),
        _octets(name.lower().encode()),
        _octets(compact.lower().encode()),
        _octets(line),
        _view(out),
    )
    editor.run(_view(at), _view(size), _view(mask), _view(out_at), _view(out_size))
    return out, out_at, out_size
