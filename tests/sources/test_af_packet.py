"""What of the ring needs no interface: its shape, and what is said when it cannot be had."""

import errno
import mmap
import os

import pytest

from hepcat.sources.packet_socket import Geometry, open_error


@pytest.mark.parametrize("ring", [2**16, 2**18, 2**20, 12 * 2**20, 2**28])
@pytest.mark.parametrize("snap_len", [64, 1500, 3200, 65535, 262144])
def test_geometry(ring: int, snap_len: int) -> None:
    shape = Geometry.of(ring, snap_len)
    assert shape.block_octets % mmap.PAGESIZE == 0
    assert shape.block_octets & (shape.block_octets - 1) == 0, "the kernel takes pages by powers of two"
    assert shape.block_octets >= snap_len + 176, "any packet fits into a block"
    assert shape.blocks >= 4
    assert shape.octets <= max(ring, 4 * shape.block_octets)
    assert shape.octets > ring // 2


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENODEV, "there is no interface eth9"),
        (errno.EPERM, "no right to capture on eth9"),
        (errno.ENOMEM, "no memory for a ring of 12 MiB on eth9"),
        (errno.EAFNOSUPPORT, "no packet sockets"),
        (errno.EIO, "cannot capture on eth9: Input/output error"),
    ],
)
def test_errors_say_what_to_do(code: int, words: str) -> None:
    error = open_error("eth9", OSError(code, os.strerror(code)), Geometry.of(12 * 2**20, 65535))
    assert words in str(error)
    assert error.hint
