"""The ring walker: blocks as the kernel lays them out, made here; and blocks that lie."""

import random
import struct
import sys

import numpy as np
import pytest

from hepcat.batch.drops import Drop
from hepcat.batch.schema import NO_VLAN
from hepcat.wire.columns import LINK_ETHERTYPE, Packets
from hepcat.wire.tpacket import NO_LINK, BlockWalker

BLOCK = 4096
ETHER, LOOPBACK, OTHER = 1, 772, 65534


def packet(
    frame: bytes,
    ts: int = 1_700_000_000_123_456,
    *,
    original: int = 0,
    tci: int | None = None,
    hatype: int = ETHER,
    kind: int = 0,
    protocol: int = 0x0800,
    last: bool = False,
) -> bytes:
    """Return tpacket3_hdr, sockaddr_ll and the frame, padded to eight octets."""
    mac = 82  # as Ethernet has it: the IP header behind it is aligned
    size = (mac + len(frame) + 7) & ~7
    status = 1 | (0x10 if tci is not None else 0)
    nanoseconds = ts % 1_000_000 * 1000 + 999
    head = struct.pack(
        "=IIIIIIHHIIHHQ",
        0 if last else size,
        ts // 1_000_000,
        nanoseconds,
        len(frame),
        original or len(frame),
        status,
        mac,
        mac + 14,
        0,
        tci or 0,
        0x8100,
        0,
        0,
    )
    address = (
        struct.pack("=H", 17) + struct.pack(">H", protocol) + struct.pack("=iHBB8s", 3, hatype, kind, 6, b"")
    )
    return (head + address).ljust(mac, b"\xee") + frame + bytes(size - mac - len(frame))


def block(packets: list[bytes], announced: int | None = None, status: int = 1, first: int = 48) -> bytes:
    """Return a block that holds them."""
    count = len(packets) if announced is None else announced
    head = struct.pack("=IIIIIIQ", 1, 48, status, count, first, 0, 1) + bytes(8 + 8)
    return (head[:48] + b"".join(packets)).ljust(BLOCK, b"\xdd")


def ring(*blocks: bytes) -> "np.ndarray":  # type: ignore[type-arg]
    return np.frombuffer(bytearray(b"".join(blocks)), dtype=np.uint8)


def counts() -> "np.ndarray":  # type: ignore[type-arg]
    return np.zeros(len(Drop), dtype=np.int64)


def rows(data: "np.ndarray", packets: Packets) -> list[tuple[bytes, int, int, int, int]]:  # type: ignore[type-arg]
    return [
        (
            data[packets.offset[i] : packets.offset[i] + packets.captured[i]].tobytes(),
            int(packets.original[i]),
            int(packets.ts[i]),
            int(packets.link[i]),
            int(packets.vlan[i]),
        )
        for i in range(packets.n)
    ]


def test_what_a_block_holds() -> None:
    data = ring(
        block([]),
        block(
            [
                packet(b"a" * 60, 1_700_000_000_000_001),
                packet(b"b" * 61, 1_700_000_000_999_999, original=1500, tci=0x2FFF & 0x2064),
                packet(b"", tci=0xE000),
                packet(b"c" * 3, hatype=LOOPBACK),
                packet(b"d" * 3, hatype=OTHER, last=True),
            ]
        ),
    )
    packets, drops = Packets.empty(16), counts()
    walker = BlockWalker(data, BLOCK, cooked=False)
    assert walker.walk_block(BLOCK, packets, drops) == 5
    assert walker.left == 0
    assert rows(data, packets) == [
        (b"a" * 60, 60, 1_700_000_000_000_001, 1, NO_VLAN),
        (b"b" * 61, 1500, 1_700_000_000_999_999, 1, 0x64),
        (b"", 0, 1_700_000_000_123_456, 1, NO_VLAN),  # a priority tag names no VLAN
        (b"ccc", 3, 1_700_000_000_123_456, 1, NO_VLAN),
        (b"ddd", 3, 1_700_000_000_123_456, NO_LINK, NO_VLAN),
    ]
    assert not drops.any()
    assert walker.walk_block(0, packets, drops) == 0
    assert packets.n == 0


def test_cooked_frames_have_their_ethertype() -> None:
    data = ring(
        block([packet(b"x", protocol=0x86DD, hatype=OTHER), packet(b"y", protocol=0x88A8, last=True)])
    )
    packets = Packets.empty(4)
    assert BlockWalker(data, BLOCK, cooked=True).walk_block(0, packets, counts()) == 2
    assert packets.link[:2].tolist() == [LINK_ETHERTYPE | 0x86DD, LINK_ETHERTYPE | 0x88A8]


IPV4 = bytes.fromhex("4500002e")
IPV6 = bytes.fromhex("6000000000141140")
#: What a cooked packet begins with, its EtherType, and the type that it is read by.
BEGINNINGS = {
    "plain": (IPV4, 0x0800, 0x0800),
    "a second tag": (bytes.fromhex("00070800") + IPV4, 0x0800, 0x8100),
    "a second tag, priority 2": (bytes.fromhex("40070800") + IPV4, 0x0800, 0x8100),
    "a second tag, IPv6": (bytes.fromhex("000786dd") + IPV6, 0x86DD, 0x8100),
    "a second tag, IPv6, priority 3": (bytes.fromhex("600786dd") + IPV6, 0x86DD, 0x8100),
    "two more tags": (bytes.fromhex("0007810000080800") + IPV4, 0x0800, 0x8100),
    "a second tag, MPLS": (bytes.fromhex("000788470001014045"), 0x8847, 0x8100),
    "a second tag, older kernel": (bytes.fromhex("00070800") + IPV4, 0x8100, 0x8100),
    "2048 octets of IPv4": (bytes.fromhex("4500080041"), 0x0800, 0x0800),
    "cut": (bytes.fromhex("00070800"), 0x0800, 0x0800),
    "a flow label": (bytes.fromhex("600086dd00141140"), 0x86DD, 0x86DD),
}


@pytest.mark.parametrize(("octets", "protocol", "expected"), BEGINNINGS.values(), ids=BEGINNINGS.keys())
def test_cooked_frames_behind_two_tags(octets: bytes, protocol: int, expected: int) -> None:
    """The first tag was taken off (tci); the EtherType may be what follows the second one."""
    original = 2048 if protocol == 0x0800 and octets[:4] == bytes.fromhex("45000800") else 0
    for tci, kind in ((5, expected), (None, protocol)):
        made = packet(octets, original=original, tci=tci, protocol=protocol, last=True)
        data, packets = ring(block([made])), Packets.empty(4)
        assert BlockWalker(data, BLOCK, cooked=True).walk_block(0, packets, counts()) == 1
        assert packets.link[0] == LINK_ETHERTYPE | kind
        assert packets.vlan[0] == (NO_VLAN if tci is None else 5)


def test_loopback_is_seen_once() -> None:
    both = [packet(b"x", hatype=LOOPBACK, kind=4), packet(b"x", hatype=LOOPBACK, kind=0)]
    sent = [
        packet(b"y", hatype=ETHER, kind=4, last=True)
    ]  # what this host sends elsewhere is seen once anyway
    data, packets, drops = ring(block(both + sent)), Packets.empty(4), counts()
    assert BlockWalker(data, BLOCK, cooked=False).walk_block(0, packets, drops) == 2
    assert drops[Drop.OUTGOING] == drops.sum() == 1


@pytest.mark.parametrize("room", [1, 2, 3, 7, 8])
def test_full_rows_are_gone_on_with(room: int) -> None:
    frames = [bytes([65 + i]) * (i + 1) for i in range(7)]
    data = ring(block([packet(f, last=i == 6) for i, f in enumerate(frames)]))
    walker, packets, drops, found = BlockWalker(data, BLOCK, cooked=False), Packets.empty(room), counts(), []
    n = walker.walk_block(0, packets, drops)
    while n:
        found += [row[0] for row in rows(data, packets)]
        n = walker.walk_on(packets, drops) if walker.left else 0
    assert found == frames
    assert not drops.any()


def test_status_is_read_and_given_back() -> None:
    data = ring(block([], status=0), block([packet(b"x", last=True)], status=1 | 1 << 5))
    walker = BlockWalker(data, BLOCK, cooked=False)
    assert not walker.is_ready(0)
    assert walker.is_ready(BLOCK)
    walker.release_block(BLOCK)
    assert not walker.is_ready(BLOCK)
    assert data[BLOCK + 8 : BLOCK + 12].tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("at", [-BLOCK, -1, 8, BLOCK, 2 * BLOCK])
def test_no_such_block(at: int) -> None:
    with pytest.raises(IndexError):
        BlockWalker(ring(block([])), BLOCK, cooked=False).walk_block(at, Packets.empty(1), counts())


def test_no_whole_number_of_blocks() -> None:
    with pytest.raises(ValueError, match="blocks"):
        BlockWalker(np.zeros(BLOCK + 8, dtype=np.uint8), BLOCK, cooked=False)


def patched(octets: bytes, at: int, value: int, size: int = 4) -> bytes:
    return octets[:at] + value.to_bytes(size, sys.byteorder) + octets[at + size :]


GOOD = block([packet(b"first"), packet(b"second", last=True)])
LIES = {
    "first packet behind the block": patched(GOOD, 16, BLOCK),
    "first packet far away": patched(GOOD, 16, 0xFFFFFFF8),
    "first packet not aligned": patched(GOOD, 16, 50),
    "first packet across the end": patched(GOOD, 16, BLOCK - 64),
    "captured past the end": patched(GOOD, 48 + 12, BLOCK),
    "captured far past the end": patched(GOOD, 48 + 12, 0xFFFFFFFF),
    "frame within its header": patched(GOOD, 48 + 24, 10, 2),
    "frame behind the block": patched(GOOD, 48 + 24, 0xFFFF, 2),
}


@pytest.mark.parametrize("octets", LIES.values(), ids=LIES.keys())
def test_lies_end_the_block(octets: bytes) -> None:
    data, packets, drops = ring(octets, GOOD), Packets.empty(8), counts()
    walker = BlockWalker(data, BLOCK, cooked=False)
    assert walker.walk_block(0, packets, drops) == 0
    assert drops[Drop.FRAME_MALFORMED] == drops.sum() == 1
    assert walker.walk_block(BLOCK, packets, drops) == 2


@pytest.mark.parametrize("following", [0, 4, 0xFFFFFFF8, BLOCK])
def test_lies_about_the_next_packet_keep_the_first(following: int) -> None:
    data, packets, drops = ring(patched(GOOD, 48, following), GOOD), Packets.empty(8), counts()
    assert BlockWalker(data, BLOCK, cooked=False).walk_block(0, packets, drops) == 1
    assert drops[Drop.FRAME_MALFORMED] == 1


def test_more_announced_than_there_are() -> None:
    data, packets, drops = (
        ring(block([packet(b"only", last=True)], announced=0xFFFFFFFF)),
        Packets.empty(8),
        counts(),
    )
    walker = BlockWalker(data, BLOCK, cooked=False)
    assert walker.walk_block(0, packets, drops) == 1
    assert walker.left == 0
    assert drops[Drop.FRAME_MALFORMED] == 1


def test_random_octets_stay_within_the_block() -> None:
    random_ = random.Random(3)
    for _ in range(300):
        octets = bytearray(GOOD)
        for _ in range(random_.randrange(1, 30)):
            octets[random_.randrange(8, 300)] = random_.choice([0, 1, 8, 48, 0x10, 0x7F, 0xFF])
        data, packets, drops = ring(GOOD, bytes(octets), GOOD), Packets.empty(8), counts()
        walker = BlockWalker(data, BLOCK, cooked=bool(random_.getrandbits(1)))
        n = walker.walk_block(BLOCK, packets, drops)
        for _ in range(20):
            for i in range(n):
                begin, size = int(packets.offset[i]), int(packets.captured[i])
                assert BLOCK < begin <= begin + size <= 2 * BLOCK
            if not walker.left:
                break
            n = walker.walk_on(packets, drops)
