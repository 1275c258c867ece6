"""TZSP over UDP: one packet a datagram, as it came."""

import socket
import time

import numpy as np
import pytest

from hepcat.batch.schema import NO_VLAN
from hepcat.errors import HepcatError
from hepcat.sources.tzsp import TzspSource
from hepcat.wire.columns import LINKTYPE_TZSP
from tests.support import free_port


def address() -> str:
    """An address nobody listens on."""
    return f"127.0.0.1:{free_port()}"


def send(source: TzspSource, messages: list[bytes]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for message in messages:
            sock.sendto(message, source.address)


def read(source: TzspSource, count: int) -> list[bytes]:
    found: list[bytes] = []
    while len(found) < count:
        window = source.next_window(60.0)
        assert window is not None, f"{len(found)} of {count}"
        packets, n = window.packets, window.packets.n
        assert (packets.link[:n] == LINKTYPE_TZSP).all()
        assert (packets.vlan[:n] == NO_VLAN).all()
        assert np.array_equal(packets.captured, packets.original)
        assert (packets.ts[:n] == window.now_us).all()
        assert abs(window.now_us - time.time() * 1e6) < 60e6
        for i in range(n):
            found.append(window.data[packets.offset[i] : packets.offset[i] + packets.captured[i]].tobytes())
        source.release(window)
    return found


def test_datagrams_are_packets() -> None:
    source = TzspSource(address())
    messages = [bytes.fromhex("0100000101") + bytes([i % 256]) * (i % 1400) for i in range(700)]
    for begin in range(0, 700, 100):
        send(source, messages[begin : begin + 100])
        assert read(source, 100) == messages[begin : begin + 100]
    assert source.packets == 700
    assert source.kernel_drops() == 0
    source.close()
    assert source.ended
    assert source.next_window(0) is None


def test_the_longest_and_the_empty() -> None:
    source = TzspSource(address())
    send(source, [b"", b"x" * 65507])
    assert read(source, 2) == [b"", b"x" * 65507]
    source.close()


def test_nothing_comes() -> None:
    source = TzspSource(address())
    began, cpu = time.monotonic(), time.thread_time()
    assert source.next_window(0.5) is None
    assert 0.49 < time.monotonic() - began < 30
    assert time.thread_time() - cpu < 0.05  # it sleeps
    source.close()


def test_what_does_not_fit_is_counted() -> None:
    source = TzspSource(address(), buffer_octets=4096)
    send(source, [b"x" * 1000] * 200)
    count = 0
    while (window := source.next_window(0.1)) is not None:
        count += window.packets.n
    drops = source.kernel_drops()
    assert 0 < count < 200
    assert count + drops == 200
    assert source.kernel_drops() == 0
    source.close()


def test_the_port_is_taken() -> None:
    source = TzspSource(address())
    with pytest.raises(HepcatError, match="cannot listen"):
        TzspSource(f"127.0.0.1:{source.address[1]}")
    source.close()


@pytest.mark.parametrize("text", ["127.0.0.1:0", "nowhere:37008", "::1:5"])
def test_no_address(text: str) -> None:
    with pytest.raises(HepcatError, match="tzsp: ") as caught:
        TzspSource(text)
    assert "37008" in caught.value.hint
