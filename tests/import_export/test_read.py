"""Reading capture files: the same messages as tshark finds; gzip; cut, damaged and odd files; every count."""

import gzip
import os
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest

from hepcat.batch.drops import Drop
from hepcat.batch.schema import MALFORMED
from hepcat.errors import HepcatError
from hepcat.sources.pcap_file import WINDOW, CaptureDamaged, Progress, read_batches
from tests.import_export.support import CAPTURES, rows_of, tshark
from tests.support import need
from tests.wire import make_capture as make


def calls(count: int, size: int = 0) -> list[make.Record]:
    """Records of `count` messages, a microsecond apart."""
    return [
        (
            i // 1_000_000,
            i % 1_000_000,
            make.ethernet(0x0800, make.ipv4(make.udp(make.message("INVITE", f"c{i}", b"x" * size)))),
            None,
        )
        for i in range(count)
    ]


def write(path: Path, octets: bytes) -> Path:
    path.write_bytes(octets)
    return path


def is_datagrams(path: Path, drops: np.ndarray) -> bool:
    """Whether each packet of a capture is a datagram of its own: no stream, no association, no fragments."""
    streams = ("TCP_", "STREAM_", "SCTP_", "WEBSOCKET_", "TLS_", "FRAGMENT_")
    counted = any(drops[drop] for drop in Drop if drop.name.startswith(streams))
    return not counted and "frag" not in path.name and "sctp" not in path.name and "isup" not in path.name


@pytest.mark.peer
@pytest.mark.skipif(not CAPTURES, reason="no recorded captures beside the checkout")
def test_the_same_messages_as_tshark(tmp_path: Path) -> None:
    """All captures: each read by hepcat, all of them one behind the other by tshark (one start of it)."""
    need("mergecap")
    merged = tmp_path / "all.pcapng"
    subprocess.run(["mergecap", "-a", "-w", merged, *CAPTURES], check=True, timeout=120)
    each, plain = [], 0
    for path in CAPTURES:
        drops, progress = np.zeros(len(Drop), dtype=np.int64), Progress()
        rows = rows_of(read_batches(path, drops=drops, progress=progress))
        assert progress.problem is None
        assert (progress.messages, progress.read) == (len(rows), path.stat().st_size)
        if is_datagrams(path, drops):
            assert progress.packets == len(rows) + drops.sum()
            plain += 1
        each += rows
    assert plain > 10
    assert each == list(tshark(merged))
    assert each == rows_of(read_batches(merged)), "a pcapng with all their link types in it"


@pytest.mark.skipif(not CAPTURES, reason="no recorded captures beside the checkout")
def test_the_recorded_captures_hold_what_they_should() -> None:
    counts = {path.name: len(rows_of(read_batches(path))) for path in CAPTURES}
    found = {name: n for name, n in counts.items() if n}
    assert found["zeek-wireshark.pcap"] == 81
    assert found["ndpi-FAX-Call-t38-CA-TDM-SIP-FB-1.pcap"] == 92
    assert found["ndpi-sip_hello.pcapng"] == 8
    assert "ndpi-http_on_sip_port.pcap" not in found
    assert len(found) >= 9


def test_batches_are_of_the_size_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pcap", make.make_pcap(calls(25)))
    batches = list(read_batches(path, rows=10))
    assert [batch.n for batch in batches] == [10, 10, 5]
    assert [row.call_id for row in rows_of(batches)] == [f"c{i}" for i in range(25)]
    assert [row.ts for row in rows_of(batches)] == list(range(25))


def test_records_longer_than_a_batch_has_octets_for(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pcap", make.make_pcap(calls(12, size=60_000)))
    batches = list(read_batches(path, rows=8))
    assert len(batches) == 12
    assert all(batch.text(0, "body") == b"x" * 60_000 for batch in batches)


@pytest.mark.parametrize("pieces", [1, 3])
def test_gzip_in_one_or_more_members(tmp_path: Path, pieces: int) -> None:
    octets = make.make_pcap(calls(5000, size=900))
    assert len(octets) > 3 * WINDOW
    step = len(octets) // pieces + 1
    packed = b"".join(gzip.compress(octets[at : at + step], 1) for at in range(0, len(octets), step))
    found = rows_of(read_batches(write(tmp_path / "a.pcap.gz", packed)))
    assert [row.call_id for row in found] == [f"c{i}" for i in range(5000)]


def test_gzip_of_hardly_anything_inflating_to_much_takes_little_memory(tmp_path: Path) -> None:
    """100 MB of one packet that is no SIP, in a file of 100 kB: the window stays what it was."""
    import tracemalloc

    record = make.make_pcap([(1, 0, bytes(60_000), None)])[24:]
    path = tmp_path / "bomb.pcap.gz"
    with gzip.open(path, "wb", 1) as file:
        file.write(make.make_pcap([]))
        for _ in range(1700):
            file.write(record)
    progress = Progress()
    tracemalloc.start()
    assert list(read_batches(path, rows=64, progress=progress)) == []
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert progress.packets == 1700
    assert peak < 16 * WINDOW


def test_packet_longer_than_a_window(tmp_path: Path) -> None:
    records = [*calls(1), (5, 0, bytes(3 * WINDOW + 5), None), *calls(2)[1:]]
    for name, octets in (
        ("a.pcap", make.make_pcap(records)),
        ("a.gz", gzip.compress(make.make_pcap(records), 1)),
    ):
        assert [row.call_id for row in rows_of(read_batches(write(tmp_path / name, octets)))] == ["c0", "c1"]


def test_what_is_no_sip_is_counted_by_what_it_is(tmp_path: Path) -> None:
    stun = b"\0\1\0\0\x21\x12\xa4\x42" + bytes(12)
    payloads = [b"\r\n\r\n", b"\r\n", b"\0", b"", stun, b"\x80\x08" + bytes(160), stun[:19], make.message()]
    frames = [make.ethernet(0x0800, make.ipv4(make.udp(payload))) for payload in payloads]
    path = write(tmp_path / "a.pcap", make.make_pcap([(0, 0, f, None) for f in [*frames, bytes(60)]]))
    drops = np.zeros(len(Drop), dtype=np.int64)
    assert sum(batch.n for batch in read_batches(path, drops=drops)) == 1
    assert {Drop(i).name: int(n) for i, n in enumerate(drops) if n} == {
        "KEEPALIVE": 2,
        "STUN": 1,
        "NOT_SIP": 4,
        "FRAME_LINK": 1,
    }


def test_every_datagram_where_that_is_asked_for(tmp_path: Path) -> None:
    payloads = [b"\x80\x08" + bytes(160), make.message(), b""]
    frames = [make.ethernet(0x0800, make.ipv4(make.udp(payload))) for payload in payloads]
    path = write(tmp_path / "a.pcap", make.make_pcap([(0, 0, frame, None) for frame in frames]))
    (batch,) = read_batches(path, only_sip=False)
    assert [batch.text(i, "payload") or b"" for i in range(batch.n)] == payloads
    assert batch.hep_type.tolist() == [0, 1, 0]


def test_message_cut_by_the_snap_length_is_kept_and_marked(tmp_path: Path) -> None:
    frame = calls(1)[0][2]
    records = [(0, 0, frame[:-9], len(frame)), (0, 1, frame, None)]
    (batch,) = read_batches(write(tmp_path / "a.pcap", make.make_pcap(records)))
    assert [MALFORMED[code] for code in batch.malformed] == ["truncated", None]
    assert batch.text(0, "payload") == frame[42:-9]
    assert batch.text(0, "call_id") == b"c0"


def test_message_in_a_vlan_keeps_it(tmp_path: Path) -> None:
    frame = make.ethernet(0x86DD, make.ipv6(make.udp(make.message())), (0x8100, 42))
    (batch,) = read_batches(write(tmp_path / "a.pcap", make.make_pcap([(0, 0, frame, None)])))
    assert batch.vlan.tolist() == [42]
    assert (batch.address(0), batch.address(0, "dst_ip")) == ("2001:db8::1", "2001:db8::2")


def test_extra_headers_and_the_other_legs_call_id(tmp_path: Path) -> None:
    payload = make.message().replace(b"\r\n\r\n", b"\r\nX-Foo: bar\r\nX-Leg: other\r\n\r\n")
    frame = make.ethernet(0x0800, make.ipv4(make.udp(payload)))
    path = write(tmp_path / "a.pcap", make.make_pcap([(0, 0, frame, None)]))
    (batch,) = read_batches(path, extra=("X-Foo",), aleg=("X-Leg",))
    assert (batch.text(0, "X-Foo"), batch.text(0, "call_id_aleg")) == (b"bar", b"other")


# ---- files that are not what they should be


def test_cut_file_gives_what_it_has_then_an_error_with_file_and_octet(tmp_path: Path) -> None:
    octets = make.make_pcap(calls(3))
    record = (len(octets) - 24) // 3
    path = write(tmp_path / "cut.pcap", octets[:-1])
    batches = read_batches(path)
    assert [row.call_id for row in rows_of([next(batches)])] == ["c0", "c1"]
    with pytest.raises(CaptureDamaged, match=f"cut.pcap: .*a record, at octet {24 + 2 * record}") as error:
        next(batches)
    assert error.value.octet == 24 + 2 * record


def test_cut_anywhere_gives_the_packets_before(tmp_path: Path) -> None:
    octets = make.make_pcap(calls(3))
    record = (len(octets) - 24) // 3
    path = tmp_path / "cut.pcap"
    for end in range(24, len(octets), 7):
        progress = Progress()
        found = rows_of(read_batches(write(path, octets[:end]), progress=progress))
        assert len(found) == (end - 24) // record
        assert (progress.problem is None) == ((end - 24) % record == 0)


def test_cut_and_damaged_gzip(tmp_path: Path) -> None:
    packed = gzip.compress(make.make_pcap(calls(5000)), 1)
    half = len(packed) // 2
    for octets, what in (
        (packed[:half], "ends early"),
        (packed[:half] + b"\xff" * 100 + packed[half + 100 :], "at octet"),  # zlib, or what it makes of it
    ):
        progress = Progress()
        found = rows_of(read_batches(write(tmp_path / "a.gz", octets), progress=progress))
        assert [row.call_id for row in found] == [f"c{i}" for i in range(len(found))]
        assert what in str(progress.problem)
        assert 1000 < len(found) < 4000


def test_damaged_file_names_the_octet_and_the_reason(tmp_path: Path) -> None:
    octets = make.make_pcap(calls(1)) + b"\xff" * 16
    with pytest.raises(CaptureDamaged, match=f"over the bound of 16 MiB, at octet {len(octets) - 16}"):
        list(read_batches(write(tmp_path / "a.pcap", octets)))


@pytest.mark.parametrize(
    ("octets", "message"),
    [
        (b"", "empty file"),
        (b"INVITE sip:a@b SIP/2.0\r\n\r\n", "neither pcap nor pcapng"),
        (b"PK\3\4" + bytes(40), "zip archive"),
        (b"\x28\xb5\x2f\xfd" + bytes(40), "zstd"),
        (b"\xd4\xc3\xb2\xa1", "ends within the header"),
        (b"\xd4\xc3", "ends within the header"),
        (gzip.compress(b"hello world, this is no capture"), "neither pcap nor pcapng"),
        (b"\x1f\x8b\x08", "the gzip stream ends early within the header"),
    ],
)
def test_what_is_no_capture_is_refused_with_its_name(tmp_path: Path, octets: bytes, message: str) -> None:
    with pytest.raises(HepcatError, match=f"odd.bin: .*{message}"):
        next(read_batches(write(tmp_path / "odd.bin", octets)))


def test_no_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(HepcatError, match="no such file"):
        next(read_batches(tmp_path / "none"))
    with pytest.raises(HepcatError, match="a folder"):
        next(read_batches(tmp_path))


def test_a_pipe_can_be_read_too(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    thread = threading.Thread(target=pipe.write_bytes, args=(make.make_pcap(calls(2000, size=900)),))
    thread.start()
    assert len(rows_of(read_batches(pipe))) == 2000
    thread.join()


def test_a_capture_without_packets(tmp_path: Path) -> None:
    assert list(read_batches(write(tmp_path / "a.pcap", make.make_pcap([])))) == []
