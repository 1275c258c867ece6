"""Kernel: copy slices from where they lie to where they go.

In: octets, and for each slice its offset, its length and its place in the output. Out: the octets there.
What can go wrong: IndexError where a range leaves either buffer (a bug of the caller).
"""

from typing import Any

import cython

from hepcat.wire.columns import Array

if not cython.compiled:  # scatter.pxd cimports it
    from hepcat.wire.hep import copy_octets  # type: ignore[attr-defined,unused-ignore]


def scatter_payloads(data: Any, offset: Array, length: Array, out: Array, to: Array) -> None:
    """Copy data[offset[i]:offset[i] + length[i]] to out[to[i]:] for every i.

    data, out: uint8. offset, length, to: int64, of one length.
    """
    if not len(offset) == len(length) == len(to):
        raise ValueError("offset, length and to must be of one length")
    view: Any = memoryview
    scatter_all(view(data), view(offset), view(length), view(out), view(to))


def scatter_all(data: Any, offset: Any, length: Any, out: Any, to: Any) -> cython.int:
    """The loop of scatter_payloads."""
    i: cython.Py_ssize_t
    for i in range(len(offset)):
        copy_octets(out, to[i], data, offset[i], length[i])
    return 0
