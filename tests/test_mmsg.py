"""recvmmsg and sendmmsg on loopback: what is sent arrives whole, in order, and is accounted for."""

import contextlib
import ctypes
import errno
import socket
import sys
import time
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest

from hepcat import mmsg
from tests.support import wait_for


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sink,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as source,
    ):
        sink.bind(("127.0.0.1", 0))
        sink.settimeout(5)
        source.connect(sink.getsockname())
        yield sink, source


def datagrams(sizes: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Octets of datagrams of these sizes, each filled with its own number."""
    offsets = np.zeros(len(sizes) + 1, dtype=np.int64)
    np.cumsum(sizes, out=offsets[1:])
    return np.repeat(np.arange(len(sizes)), sizes).astype(np.uint8), offsets


def test_nothing_there_is_zero(pair: tuple[socket.socket, socket.socket]) -> None:
    assert mmsg.Receiver(pair[0], slots=4).receive() == 0


@pytest.mark.parametrize("portable", [False, True])
def test_what_is_sent_arrives(
    pair: tuple[socket.socket, socket.socket], portable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if portable:
        monkeypatch.setattr(mmsg, "_recvmmsg", None)
        monkeypatch.setattr(mmsg, "_sendmmsg", None)
    sizes = [1, 0, 700, 65_000, 2, 1400]
    buffer, offsets = datagrams(sizes)
    receiver, sender = mmsg.Receiver(pair[0], slots=16), mmsg.Sender(pair[1], batch=4)
    assert mmsg.set_receive_buffer(pair[0], 1 << 20) > 0
    assert sender.send(buffer, offsets, 0, len(sizes)) == len(sizes)
    got = 0
    while got < len(sizes):
        got += receiver.receive(start_slot=got)
    assert receiver.lengths[:got].tolist() == sizes
    for slot, size in enumerate(sizes):
        at = int(receiver.offsets[slot])
        assert receiver.data[at : at + size].tolist() == [slot] * size


def test_a_part_of_the_datagrams(pair: tuple[socket.socket, socket.socket]) -> None:
    buffer, offsets = datagrams([3, 4, 5, 6])
    receiver = mmsg.Receiver(pair[0], slots=8)
    assert mmsg.Sender(pair[1]).send(buffer, offsets, 1, 2) == 2
    assert receiver.receive() == 2
    assert receiver.lengths[:2].tolist() == [4, 5]


def test_more_than_one_call_takes(pair: tuple[socket.socket, socket.socket]) -> None:
    """3,000 datagrams pass through calls of at most 1,024, none twice, none missing."""
    mmsg.set_receive_buffer(pair[0], 8 << 20)
    sizes = [10] * 100
    buffer, offsets = datagrams(sizes)
    receiver, sender = mmsg.Receiver(pair[0], slots=2048, slot_octets=2048), mmsg.Sender(pair[1])
    total = 0
    for _ in range(30):
        sender.send(buffer, offsets, 0, 100)
        total += receiver.receive()
    assert total == 3000
    assert mmsg.socket_drops(pair[0]) == 0


@pytest.mark.skipif(not mmsg.AVAILABLE, reason="counters are Linux's")
def test_drops_and_cut_datagrams_are_counted(pair: tuple[socket.socket, socket.socket]) -> None:
    pair[0].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    buffer, offsets = datagrams([1000] * 200)
    mmsg.Sender(pair[1]).send(buffer, offsets, 0, 200)
    receiver = mmsg.Receiver(pair[0], slots=256, slot_octets=100)
    kept = receiver.receive()
    assert 0 < kept < 200
    assert receiver.truncated == kept
    assert set(receiver.lengths[:kept].tolist()) == {100}
    assert mmsg.socket_drops(pair[0]) == 200 - kept


def test_a_peer_that_is_not_there_is_no_error(pair: tuple[socket.socket, socket.socket]) -> None:
    sink, source = pair
    sink.close()
    buffer, offsets = datagrams([5] * 10)
    sender = mmsg.Sender(source, batch=1)
    assert sender.send(buffer, offsets, 0, 10) == 10
    assert mmsg.Receiver(source, slots=2).receive() == 0


def test_block_waits_no_longer_than_the_socket_allows(pair: tuple[socket.socket, socket.socket]) -> None:
    assert mmsg.Receiver(pair[0], slots=2).receive(block=True) == 0


@pytest.mark.parametrize(("first", "count"), [(-1, 1), (0, 3), (2, 1)])
def test_offsets_outside_are_refused(
    pair: tuple[socket.socket, socket.socket], first: int, count: int
) -> None:
    buffer, offsets = datagrams([5, 5])
    with pytest.raises(ValueError, match="outside"):
        mmsg.Sender(pair[1]).send(buffer, offsets, first, count)
    with pytest.raises(ValueError, match="outside"):
        mmsg.Sender(pair[1]).send(buffer, offsets + 1, 0, 2)


def test_a_slot_outside_is_refused(pair: tuple[socket.socket, socket.socket]) -> None:
    with pytest.raises(ValueError, match="slot"):
        mmsg.Receiver(pair[0], slots=2).receive(start_slot=2)


def test_a_sender_tells_what_the_kernel_took_and_where_it_stopped():
    """Nobody listens: each datagram's refusal stops the kernel at the next one, but all are sent."""
    with socket.socket(type=socket.SOCK_DGRAM) as nobody, socket.socket(type=socket.SOCK_DGRAM) as sock:
        nobody.bind(("127.0.0.1", 0))
        sock.connect(nobody.getsockname())
        nobody.close()
        sender = mmsg.Sender(sock)
        assert sender.send(np.zeros(50, dtype=np.uint8), np.arange(51), 0, 50) == 50
        assert sender.done == 50
        assert sender.stops + sender.icmp_errors == 49
        sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        with pytest.raises(OSError, match="long"):
            sender.send(np.zeros(70_002, dtype=np.uint8), np.array([0, 1, 2, 70_002]), 0, 3)
        assert sender.done == 2


def test_an_error_that_stays_ends_the_sending():
    """No route, or a firewall that always refuses: not a loop without end."""
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", 9))
        sender = mmsg.Sender(sock)

        def refuse(*_):
            ctypes.set_errno(errno.ENETUNREACH)
            return -1

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("hepcat.mmsg._sendmmsg", refuse)
            with pytest.raises(OSError, match="unreachable"):
                sender.send(np.zeros(5, dtype=np.uint8), np.arange(6), 0, 5)
        assert sender.done == 0


def begins_to_tell(receiver: mmsg.Receiver, source: socket.socket) -> bool:
    """Whether the kernel tells when a datagram came: a thread of its own switches that on for all sockets."""
    source.send(b"first")
    sent = time.time_ns() // 1000
    time.sleep(0.02)
    assert receiver.receive() == 1
    return bool(receiver.times(1)[0] <= sent)


@pytest.mark.parametrize("told", [True, False])
def test_when_each_datagram_came(pair: tuple[socket.socket, socket.socket], told: bool) -> None:
    """The kernel's own times, in every slot and again in slots used before; else the present time."""
    sink, source = pair
    receiver = mmsg.Receiver(sink, slots=8)
    if told:
        receiver.ask_for_times()
        wait_for(lambda: begins_to_tell(receiver, source), what="the kernel's times")
    for _ in range(3):
        before = time.time_ns() // 1000
        for number in range(5):
            source.send(bytes([number]))
            time.sleep(0.002)
        between = time.time_ns() // 1000
        time.sleep(0.05)
        assert receiver.receive() == 5
        times = receiver.times(5).tolist()
        if told:
            assert before <= times[0] < times[1] < times[2] < times[3] < times[4] <= between
        else:
            assert len(set(times)) == 1
            assert between < times[0] <= time.time_ns() // 1000


@pytest.mark.parametrize(
    ("sizes", "longest", "begins"),
    [
        ([9], 99, [0]),
        ([9, 9], 99, [0]),
        ([9, 8], 99, [0]),
        ([8, 9], 99, [0, 1]),
        ([9, 9, 9, 9, 9], 99, [0, 2, 4]),
        ([9, 8, 7, 9, 8, 7, 6, 9], 99, [0, 2, 3, 5, 7]),
        ([9, 0, 0, 9, 9], 99, [0, 1, 2, 3]),
        ([99, 90, 90, 9], 90, [0, 1, 3]),
        ([9, 9, 9], 0, [0, 1, 2]),
    ],
)
def test_which_datagrams_make_a_pair(sizes: list[int], longest: int, begins: list[int]) -> None:
    assert mmsg._begins(np.array(sizes), longest).tolist() == [*begins, len(sizes)]


@contextlib.contextmanager
def talking(family: int) -> Iterator[tuple[mmsg.Receiver, socket.socket]]:
    """A receiver on loopback, and a socket that is connected to it."""
    with socket.socket(family, socket.SOCK_DGRAM) as there, socket.socket(family, socket.SOCK_DGRAM) as here:
        there.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
        mmsg.set_receive_buffer(there, 8 << 20)
        here.connect(there.getsockname())
        yield mmsg.Receiver(there, slots=2048), here


def take(receiver: mmsg.Receiver) -> list[tuple[int, int, int]]:
    """What has come: length, first and last octet of each datagram."""
    got = 0
    while more := receiver.receive(start_slot=got):
        got += more
    at, length = receiver.offsets[:got], receiver.lengths[:got]
    ends = receiver.data[at].tolist(), receiver.data[at + length - 1].tolist()
    return list(zip(length.tolist(), *ends, strict=True))


def mixed(count: int, seed: int = 1) -> tuple[mmsg.Octets, npt.NDArray[np.int64], list[tuple[int, int, int]]]:
    """Datagrams of about as many sizes as SIP has, and what shall come of them."""
    sizes = np.random.default_rng(seed).choice([1, 300, 301, 620, 640, 1050, 1472, 1500, 40_000], count)
    buffer, offsets = datagrams(sizes.tolist())
    return buffer, offsets, [(size, i % 256, i % 256) for i, size in enumerate(sizes.tolist())]


linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="UDP_SEGMENT is Linux's")


@linux
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_pairs_come_apart_again(family: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each datagram by itself and in order, though a good part of them went to the kernel by twos."""
    messages: list[int] = []
    real = mmsg._sendmmsg

    def count(fd: int, headers: ctypes.c_void_p, number: int, flags: int) -> int:
        messages.append(number)
        return int(real(fd, headers, number, flags))

    monkeypatch.setattr(mmsg, "_sendmmsg", count)
    buffer, offsets, expected = mixed(1500)
    with talking(family) as (receiver, sock):
        sender = mmsg.Sender(sock, batch=400, pairs=True)
        assert sender.longest_paired == 32_000
        assert sender.send(buffer, offsets, 3, 1490) == sender.done == 1490
        assert take(receiver) == expected[3:1493]
    assert 700 < sum(messages) < 1100


@linux
def test_a_kernel_that_refuses_pairs_gets_single_datagrams() -> None:
    """It refuses to cut what shall have no checksum (SO_NO_CHECK): nothing is lost, nothing sent twice."""
    buffer, offsets, expected = mixed(300)
    with talking(socket.AF_INET) as (receiver, sock):
        sender = mmsg.Sender(sock, pairs=True)
        sender.send(buffer, offsets, 0, 100)
        sock.setsockopt(socket.SOL_SOCKET, 11, 1)  # socket(7): SO_NO_CHECK
        sender.send(buffer, offsets, 100, 200)
        assert (sender.done, sender.longest_paired) == (200, 0)
        sender.send(buffer, offsets, 0, 300)
        assert take(receiver) == expected + expected


@linux
def test_no_pairs_where_the_way_is_not_known() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as sock, socket.socket() as stream:
        assert mmsg.longest_paired(sock) == 0  # not connected
        assert mmsg.longest_paired(stream) == 0
        sock.connect(("127.0.0.1", 9))
        assert mmsg.Sender(sock).longest_paired == 0
        assert mmsg.Sender(sock, pairs=True).longest_paired > 0


@linux
def test_a_refusal_of_a_pair_counts_for_both() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as nobody, socket.socket(type=socket.SOCK_DGRAM) as sock:
        nobody.bind(("127.0.0.1", 0))
        sock.connect(nobody.getsockname())
        nobody.close()
        sender = mmsg.Sender(sock, pairs=True)
        assert sender.send(np.zeros(50, dtype=np.uint8), np.arange(51), 0, 50) == 50
        assert (sender.stops + sender.icmp_errors, sender.last) == (48, 2)
