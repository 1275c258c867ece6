"""Rows of datagrams: picked by port, payloads copied; ranges that do not fit raise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepcat.wire.columns import Datagrams
from hepcat.wire.frames import copy_payloads, port_mask


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 65535), st.integers(0, 65535)), max_size=30),
    st.lists(st.tuples(st.integers(0, 65535), st.integers(0, 65535)), max_size=4),
)
def test_port_mask(ports: list[tuple[int, int]], ranges: list[tuple[int, int]]) -> None:
    found = Datagrams.empty(40)
    found.n = len(ports)
    for i, (source, destination) in enumerate(ports):
        found.src_port[i], found.dst_port[i] = source, destination
    ranges += [(source, destination) for source, destination in ports[:1]]
    out = np.full(40, 7, dtype=np.uint8)
    port_mask(found, np.array(ranges, dtype=np.uint16).reshape(-1, 2), out)
    want = [any(low <= port <= high for port in pair for low, high in ranges) for pair in ports]
    assert out[: found.n].astype(bool).tolist() == want
    assert (out[found.n :] == 7).all()


def test_port_mask_checks_what_it_is_given() -> None:
    found = Datagrams.empty(3)
    found.n = 3
    with pytest.raises(IndexError):
        port_mask(found, np.array([[1, 2]], dtype=np.uint16), np.zeros(2, dtype=np.uint8))
    with pytest.raises(ValueError, match="no pairs"):
        port_mask(found, np.array([1, 2, 3], dtype=np.uint16), np.zeros(3, dtype=np.uint8))


def test_copy_payloads() -> None:
    data = np.frombuffer(b"0123456789", dtype=np.uint8)
    out, start = np.zeros(7, dtype=np.uint8), np.array([2, 0, 0, 0], dtype=np.int64)
    copy_payloads(data, np.array([8, 0, 3]), np.array([2, 0, 3]), out, start)
    assert (out.tobytes(), start.tolist()) == (b"\0\0" + b"89345", [2, 4, 4, 7])


@pytest.mark.parametrize(("offset", "length"), [(-1, 1), (9, 2), (0, 11), (2**62, 2**62), (0, 9)])
def test_copy_payloads_checks_both_ranges(offset: int, length: int) -> None:
    out, start = np.zeros(8, dtype=np.uint8), np.zeros(2, dtype=np.int64)
    with pytest.raises(IndexError):
        copy_payloads(np.zeros(10, np.uint8), np.array([offset]), np.array([length]), out, start)
