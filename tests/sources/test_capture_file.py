"""Capture files as a frame source: every packet of a file, in order, at once or as it was recorded."""

import gzip
import os
import struct
import time
from pathlib import Path

import pytest

from hepcat.errors import HepcatError
from hepcat.sources.capture_file import FileSource
from hepcat.sources.frame_source import Window
from hepcat.sources.pcap_windows import WINDOW, CaptureDamaged

SHARED = Path(os.environ.get("HEPCAT_SHARED", Path(__file__).resolve().parents[3] / "shared"))


def pcap(records: list[tuple[int, bytes]], link: int = 1) -> bytes:
    """Return a capture of (microseconds, octets)."""
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, link)
    return head + b"".join(
        struct.pack("<IIII", ts // 1_000_000, ts % 1_000_000, len(octets), len(octets) + 9) + octets
        for ts, octets in records
    )


def write(tmp_path: Path, octets: bytes, name: str = "a.pcap") -> Path:
    path = tmp_path / name
    path.write_bytes(octets)
    return path


def rows(window: Window) -> list[tuple[int, bytes]]:
    packets = window.packets
    return [
        (
            int(packets.ts[i]),
            window.data[packets.offset[i] : packets.offset[i] + packets.captured[i]].tobytes(),
        )
        for i in range(packets.n)
    ]


def read(source: FileSource) -> list[tuple[int, bytes]]:
    found = []
    while not source.ended:
        window = source.next_window(1.0)
        if window is not None:
            found += rows(window)
            assert window.now_us >= found[-1][0]
            source.release(window)
    return found


@pytest.mark.parametrize("name", ["a.pcap", "a.pcap.gz"])
def test_whole_file(tmp_path: Path, name: str) -> None:
    records = [(1_700_000_000_000_000 + i * 7, bytes([i % 251]) * (i % 1500)) for i in range(20_000)]
    octets = pcap(records, 113)
    path = write(tmp_path, gzip.compress(octets, 1) if name.endswith("gz") else octets, name)
    assert len(octets) > 10 * WINDOW
    source = FileSource(path)
    assert source.name == str(path)
    assert read(source) == records
    assert source.next_window(0) is None
    assert source.progress.packets == 20_000
    assert source.progress.read == source.progress.size == path.stat().st_size
    assert source.kernel_drops() == 0
    source.close()


def test_link_and_lengths(tmp_path: Path) -> None:
    source = FileSource(write(tmp_path, pcap([(5, b"abc")], 276)))
    window = source.next_window(0)
    assert window is not None
    packets = window.packets
    assert (packets.link[0], packets.captured[0], packets.original[0]) == (276, 3, 12)
    source.close()
    assert source.ended


class Clock:
    """A clock that goes on where somebody sleeps: a busy machine does not sleep too long by it."""

    def __init__(self) -> None:
        self.now, self.sleeps, self.looks = 1000.0, 0, 0

    def monotonic(self) -> float:
        self.looks += 1
        assert self.looks < 100_000, "it looks at the clock and does not sleep"
        return self.now

    def sleep(self, seconds: float) -> None:
        self.sleeps += 1
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("hepcat.sources.capture_file.time", made)
    return made


def test_as_it_was_recorded(tmp_path: Path, clock: Clock) -> None:
    at = [0, 0, 100_000, 100_001, 90_000, 300_000]  # one goes back
    records = [(1_700_000_000_000_000 + us, bytes([i])) for i, us in enumerate(at)]
    source = FileSource(write(tmp_path, pcap(records)), realtime=True)
    began, seen, empty = clock.now, [], 0
    while not source.ended:
        window = source.next_window(0.02)
        if window is None:
            empty += 1
            continue
        seen += [(octets[0], clock.now - began) for _, octets in rows(window)]
    assert [i for i, _ in seen] == list(range(6))
    due = [0, 0, 0.1, 0.1, 0.1, 0.3]
    for (_, when), expected in zip(seen, due, strict=True):
        assert expected <= when + 0.001
        assert when < expected + 0.15
    assert empty > 8, "it waits in between, no longer than it was told to"


def test_the_pace_costs_nothing(tmp_path: Path, clock: Clock) -> None:
    records = [(1_700_000_000_000_000 + i * 20, b"x") for i in range(25_000)]  # half a second
    source = FileSource(write(tmp_path, pcap(records)), realtime=True)
    began, windows, count = clock.now, 0, 0
    while not source.ended:
        window = source.next_window(1.0)
        if window is not None:
            windows += 1
            count += window.packets.n
    assert count == 25_000
    assert 0.45 < clock.now - began < 0.6
    assert windows <= 300
    assert clock.sleeps <= 300


def test_a_long_pause_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hepcat.sources.capture_file.LONGEST_PAUSE", 0.05)
    source = FileSource(write(tmp_path, pcap([(0, b"a"), (10**12, b"b")])), realtime=True)
    began = time.monotonic()
    assert len(read(source)) == 2
    assert 0.04 < time.monotonic() - began < 60


def test_a_file_that_ends_early(tmp_path: Path) -> None:
    records = [(i, b"abc") for i in range(10)]
    source = FileSource(write(tmp_path, pcap(records)[:-1]))
    window = source.next_window(0)
    assert window is not None
    assert rows(window) == records[:-1]
    with pytest.raises(CaptureDamaged, match="ends within a record"):
        source.next_window(0)
    assert source.ended
    assert source.next_window(0) is None


@pytest.mark.parametrize(
    ("octets", "words"), [(b"", "empty file"), (b"GIF89a" * 9, "neither pcap nor pcapng")]
)
def test_no_capture(tmp_path: Path, octets: bytes, words: str) -> None:
    with pytest.raises(HepcatError, match=words):
        FileSource(write(tmp_path, octets))


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(HepcatError, match="no such file"):
        FileSource(tmp_path / "none.pcap")


def test_recorded_captures() -> None:
    """Every capture there is can be read to its end, or says where it is damaged."""
    files = sorted(SHARED.glob("captures/*cap*"))
    if not files:
        pytest.skip(f"no captures in {SHARED}")
    for path in files:
        source = FileSource(path)
        assert read(source)
        assert source.progress.packets > 0
