"""The capture file reader: every format, order and resolution; cut at every octet; damaged anywhere."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepcat.wire.columns import Packets
from hepcat.wire.pcap import DAMAGED, FULL, MAX_BLOCK, MAX_TS, MORE, NO_LINK, REASONS, PcapReader
from tests.wire import make_capture as make

FRAMES = [(1_700_000_000, 123_456, b"first!", None), (1_700_000_001, 0, b"", 60), (0, 999_999, b"x" * 61, 99)]
ROWS = [
    (b"first!", 6, 1_700_000_000_123_456),
    (b"", 60, 1_700_000_001_000_000),
    (b"x" * 61, 99, 999_999),
]


def read(
    data: bytes, step: int = 0, rows: int = 64
) -> tuple[list[tuple[bytes, int, int]], PcapReader, list[int]]:
    """Read a whole file; with `step`, the window grows by that many octets at a time."""
    reader, found, links, at = PcapReader(), [], [], 0
    for end in range(step, len(data) + step, step) if step else (len(data),):
        window = np.frombuffer(data[:end], dtype=np.uint8)
        while True:
            columns = Packets.empty(rows)
            n = reader.parse(
                window, at, columns.offset, columns.captured, columns.original, columns.ts, columns.link
            )
            at = reader.position
            for i in range(n):
                start, size = int(columns.offset[i]), int(columns.captured[i])
                assert 0 <= start <= start + size <= len(window)
                found.append((data[start : start + size], int(columns.original[i]), int(columns.ts[i])))
                links.append(int(columns.link[i]))
            if reader.status != FULL:
                break
    return found, reader, links


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("nano", [False, True])
def test_pcap_of_both_orders_and_resolutions(order: str, nano: bool) -> None:
    found, reader, links = read(make.make_pcap(FRAMES, order, nano, link=113))
    assert found == ROWS
    assert links == [113] * 3
    assert (reader.status, reader.known) == (MORE, True)


@pytest.mark.parametrize("order", ["<", ">"])
def test_pcap_with_longer_record_headers(order: str) -> None:
    assert read(make.make_pcap(FRAMES, order, modified=True))[0] == ROWS


def test_link_type_without_the_bits_of_the_check_sequence() -> None:
    assert read(make.make_pcap(FRAMES, link=0x5400_0001))[2] == [1] * 3


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("resolution", "offset", "ticks", "micros"),
    [
        (None, None, 1_700_000_000_123_456, 1_700_000_000_123_456),
        (6, None, 1, 1),
        (0, None, 1_700_000_000, 1_700_000_000_000_000),
        (3, None, 1_700_000_000_123, 1_700_000_000_123_000),
        (9, None, 1_700_000_000_123_456_789, 1_700_000_000_123_456),
        (25, None, 2**64 - 1, 1),
        (26, None, 2**64 - 1, 0),
        (127, None, 2**64 - 1, 0),
        (0x80, None, 1_700_000_000, 1_700_000_000_000_000),
        (0x80 | 10, None, (1_700_000_000 << 10) | 512, 1_700_000_000_500_000),
        (0x80 | 32, None, (1_700_000_000 << 32) | (1 << 31), 1_700_000_000_500_000),
        (0x80 | 63, None, 1 << 62, 500_000),
        (0xFF, None, 2**64 - 1, 0),
        (6, 1_700_000_000, 123_456, 1_700_000_000_123_456),
        (6, -1, 1_500_000, 500_000),
        (6, -(2**63), 1, 0),
        (6, 2**63 - 1, 1, 253_402_300_799_999_999),
        (0, None, 2**64 - 1, 253_402_300_799_999_999),
        (0x80, None, 2**64 - 1, 253_402_300_799_999_999),
    ],
)
def test_pcapng_times(
    order: str, resolution: int | None, offset: int | None, ticks: int, micros: int
) -> None:
    data = make.section(order) + make.interface(order, 1, resolution, offset)
    found, _, _ = read(data + make.enhanced(order, 0, ticks, b"frame"))
    assert found == [(b"frame", 5, micros)]


def test_pcapng_with_every_kind_of_block() -> None:
    data = make.section("<") + make.interface("<", 1) + make.interface("<", 101, 9)
    data += make.block("<", 4, b"\0\0\0\0")  # name resolution: skipped
    data += make.enhanced("<", 0, 10, b"a") + make.enhanced("<", 1, 10_000, b"bb", 70)
    data += make.simple("<", b"ccc") + make.obsolete("<", 1, 11_000, b"dddd")
    data += make.enhanced("<", 2, 12, b"nobody described it")
    data += make.section(">") + make.interface(">", 276, 3) + make.enhanced(">", 0, 13, b"e")
    data += make.block(">", 0x0BAD, b"custom") + make.simple(">", b"f", 100)
    found, reader, links = read(data)
    assert [row[0] for row in found] == [
        b"a",
        b"bb",
        b"ccc",
        b"dddd",
        b"nobody described it",
        b"e",
        b"f\0\0\0",
    ]
    assert [row[1] for row in found] == [1, 70, 3, 4, 19, 1, 100]
    assert [row[2] for row in found] == [10, 10, 0, 11, 0, 13_000, 0]
    assert links == [1, 101, 1, 101, NO_LINK, 276, 276]
    assert reader.status == MORE


def test_simple_packet_stops_at_the_snap_length() -> None:
    data = make.section() + make.interface(snap=3) + make.simple("<", b"abcdef")
    assert read(data)[0] == [(b"abc", 6, 0)]


def test_interfaces_beyond_the_bound_have_no_link_type() -> None:
    data = make.section() + make.interface("<", 101) * 8193
    data += make.enhanced("<", 8191, 1, b"a") + make.enhanced("<", 8192, 1, b"b")
    assert read(data)[2] == [101, NO_LINK]


SMALL = {
    "pcap": make.make_pcap(FRAMES),
    "pcap-big": make.make_pcap(FRAMES, ">", True),
    "pcapng": make.section()
    + make.interface("<", 1, 9, 5)
    + make.enhanced("<", 0, 10_000, b"abc")
    + make.simple("<", b"de")
    + make.section(">")
    + make.interface(">", 101)
    + make.enhanced(">", 0, 11, b"fghij"),
}


@pytest.mark.parametrize("name", SMALL)
def test_cut_at_every_octet(name: str) -> None:
    """A file cut anywhere gives the packets before the cut, and says where the cut record begins."""
    data = SMALL[name]
    whole = read(data)[0]
    for end in range(len(data)):
        found, reader, _ = read(data[:end])
        assert found == whole[: len(found)]
        assert reader.status == MORE
        assert reader.position <= end
    assert len(whole) == 3


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("step", [1, 7, 64])
@pytest.mark.parametrize("rows", [1, 64])
def test_state_goes_on_over_windows_of_any_size(name: str, step: int, rows: int) -> None:
    assert read(SMALL[name], step, rows)[0] == read(SMALL[name])[0]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"not a capture at all", "neither"),
        (b"\xd4\xc3\xb2\xa1\x63\x00" + bytes(18), "version"),
        (make.make_pcap([]) + b"\0" * 8 + b"\xff\xff\xff\x7f" * 2, "packet's length"),
        (make.section() + b"\6\0\0\0\x08\0\0\0" + bytes(8), "below its header"),
        (make.section() + b"\6\0\0\0\0\0\0\x70" + bytes(8), "below its header"),
        (make.section() + b"\x0b\0\0\0\x0c\0\0\0\x10\0\0\0", "two lengths"),
        (make.section() + make.block("<", 6, b"\0" * 8), "too short"),
        (make.section() + make.block("<", 3, b""), "too short"),
        (make.section() + make.block("<", 1, b""), "too short"),
        (make.section()[:8] + b"\1\2\3\4" + make.section()[12:], "magic"),
        (make.block("<", 0x0A0D0D0A, b"\x4d\x3c\x2b\x1a\0\2\0\0" + bytes(8)), None),
    ],
)
def test_damage_has_a_name(data: bytes, reason: str | None) -> None:
    found, reader, _ = read(data)
    assert (found, reader.status) == ([], DAMAGED)
    if reason:
        assert reason in REASONS[reader.reason]
    assert read(data)[1].position <= len(data)


def test_captured_length_beyond_its_block() -> None:
    data = bytearray(make.section() + make.interface() + make.enhanced("<", 0, 1, b"abcd"))
    data[-16:-12] = b"\x09\0\0\0"  # captured length 9 of a block with room for 4 octets
    assert read(bytes(data))[1].reason == REASONS.index("a block is too short for what it must hold")


def test_no_packet_is_longer_than_the_bound() -> None:
    header = make.make_pcap([])
    at_bound = header + bytes(8) + (MAX_BLOCK).to_bytes(4, "little") * 2
    assert read(at_bound)[1].status == MORE
    over = header + bytes(8) + (MAX_BLOCK + 1).to_bytes(4, "little") * 2
    assert read(over)[1].status == DAMAGED


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(SMALL)), st.integers(0, 400), st.binary(max_size=12))
def test_mutated_files_never_raise(name: str, at: int, junk: bytes) -> None:
    data = SMALL[name][:at] + junk + SMALL[name][at + len(junk) :]
    found, reader, _ = read(data)
    assert reader.status in (MORE, DAMAGED)
    assert all(0 <= ts <= MAX_TS for _, _, ts in found)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_any_octets_after_a_header_never_raise(tail: bytes) -> None:
    for head in (make.make_pcap([]), make.section() + make.interface(), b""):
        read(head + tail)
