"""Parts of the agent: shedding, address replacement, filters for the kernel, answers, frames to files."""

import contextlib
import gzip
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from structlog.testing import capture_logs

from hepcat.batch.drops import Drop
from hepcat.batch.layout import Batch
from hepcat.batch.schema import HEP_RTCP
from hepcat.config.agent import AgentSettings, ProfileSettings, ShedRule
from hepcat.errors import HepcatError
from hepcat.pipeline.capture import AddressReplacement, AgentTally
from hepcat.pipeline.frame_worker import StatsLog
from hepcat.pipeline.profiles import kernel_expression, parse_ports, prepare
from hepcat.pipeline.relay import make_response
from hepcat.pipeline.shed import Shedder
from hepcat.sinks.frame_writer import FrameWriter, encode_records
from hepcat.sources.capture_file import FileSource
from hepcat.sources.pcap_file import CaptureDamaged, read_batches
from hepcat.wire.columns import LINK_ETHERTYPE, Packets
from hepcat.wire.sip import index_sip
from tests.support import SHARED, need

CALL = (
    "INVITE sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\n"
    "To: <sip:b@h>\r\nCall-ID: {}\r\nCSeq: 1 {}\r\n\r\n"
)


def batch_of(*texts: str) -> Batch:
    """Return an indexed batch of SIP messages."""
    batch = Batch.empty(len(texts), sum(map(len, texts)) + 1)
    for row, text in enumerate(texts):
        at = int(batch.start[row])
        batch.buffer[at : at + len(text)] = np.frombuffer(text.encode(), dtype=np.uint8)
        batch.start[row + 1] = at + len(text)
        batch.fields[row, 0] = 0, len(text)
    batch.n = len(texts)
    batch.hep_type[:] = 1
    index_sip(batch)
    return batch


def drops() -> np.ndarray:
    return np.zeros(len(Drop), dtype=np.int64)


def test_shedding_follows_the_use_of_cpu() -> None:
    shedder = Shedder(50, "calls")
    shedder.look(0.1, 1.0)
    assert shedder.keep == 1.0
    shedder.look(1.0, 1.0)
    assert 0.4 < shedder.keep <= 0.5, "twice the ceiling: half is kept"
    for _ in range(30):
        shedder.look(0.1, 1.0)
    assert shedder.keep == 1.0, "it comes back"
    for _ in range(100):
        shedder.look(9.0, 1.0)
    assert shedder.keep == 0.0


def test_whole_calls_are_shed() -> None:
    texts = [CALL.format(f"call-{i}", "INVITE") for i in range(300)] * 2
    batch, counts = batch_of(*texts), drops()
    shedder = Shedder(50, "calls")
    shedder.keep = 0.5
    kept = shedder.shed(batch, counts)
    ids = [kept.text(row, "call_id") for row in range(kept.n)]
    assert 200 < kept.n < 400
    assert all(ids.count(one) == 2 for one in ids), "both messages of a call, or none"
    assert counts[Drop.SHED] == 600 - kept.n == counts.sum()
    shedder.keep = 0.0
    assert shedder.shed(batch_of(texts[0], "no Call-ID in this"), counts).n == 1


@pytest.mark.parametrize(
    ("rule", "left"),
    [("media", 4), ("responses", 4), ("registrations", 4), ("none", 5)],
)
def test_rules_of_shedding(rule: ShedRule, left: int) -> None:
    ringing = CALL.format("c", "INVITE").replace("INVITE sip:b@h SIP/2.0", "SIP/2.0 180 Ringing")
    ok = ringing.replace("180 Ringing", "200 OK")
    register = CALL.format("r", "REGISTER").replace("INVITE sip", "REGISTER sip")
    batch = batch_of(CALL.format("c", "INVITE"), ringing, ok, register, CALL.format("d", "INVITE"))
    if rule == "media":
        batch.hep_type[4] = HEP_RTCP
    shedder, counts = Shedder(50, rule), drops()
    shedder.keep = 0.0
    kept = shedder.shed(batch, counts)
    assert kept.n == left
    assert counts[Drop.SHED] == 5 - left


def test_addresses_are_replaced() -> None:
    batch = batch_of(CALL.format("c", "INVITE"))
    mapped = [0] * 10 + [255, 255]
    batch.src_ip[0], batch.src_port[0], batch.family[0] = [*mapped, 10, 0, 0, 1], 5060, 2
    batch.dst_ip[0], batch.dst_port[0] = [*mapped, 10, 0, 0, 2], 5070
    AddressReplacement("10.0.0.1:5060-192.0.2.1:6060; 10.0.0.2:9-1.1.1.1").apply(batch)
    assert bytes(batch.src_ip[0][12:]) == bytes([192, 0, 2, 1])
    assert batch.src_port[0] == 6060
    assert bytes(batch.dst_ip[0][12:]) == bytes([10, 0, 0, 2]), "another port"
    AddressReplacement("10.0.0.2-[2001:db8::1]:5060").apply(batch)
    assert batch.dst_ip[0][0] == 0x20
    assert batch.dst_port[0] == 5060


def test_kernel_drops_are_told_now_and_then() -> None:
    tally = AgentTally("eth0")
    stats, begun = StatsLog("eth0", tally, 60.0), time.monotonic()
    tally.packets, tally.kernel = 100, 7
    with capture_logs() as lines:
        stats.look(begun + 59)
        stats.look(begun + 61)
        stats.look(begun + 100)
        stats.look(begun + 122)
        StatsLog("eth0", tally, 0.0).look(begun + 1e6)
    told = [(line["log_level"], line["source"], line["packets"], line["dropped"]) for line in lines]
    assert told == [("warning", "eth0", 100, 7), ("info", "eth0", 0, 0)]


def test_two_addresses_are_exchanged() -> None:
    batch = batch_of(CALL.format("c", "INVITE"))
    batch.src_ip[0] = [*[0] * 10, 255, 255, 10, 0, 0, 1]
    AddressReplacement("10.0.0.1-10.0.0.2;10.0.0.2-10.0.0.1").apply(batch)
    assert bytes(batch.src_ip[0][12:]) == bytes([10, 0, 0, 2])


@pytest.mark.parametrize(
    "text", ["10.0.0.1", "10.0.0.1-", "10.0.0.1-10.0.0.300", "a-b", "10.0.0.1:99999-1.1.1.1"]
)
def test_replacements_that_cannot_be_read(text: str) -> None:
    with pytest.raises(HepcatError, match="ip_replace"):
        AddressReplacement(text)


def test_ports() -> None:
    assert parse_ports("5060-5091, 8060").tolist() == [5060, 5091, 8060, 8060]
    assert len(parse_ports("")) == 0
    for wrong in ("a", "5-4", "70000", "1-2-3"):
        with pytest.raises(HepcatError, match="ports"):
            parse_ports(wrong)


def test_expressions_of_capture_filters() -> None:
    plain = ProfileSettings(filter="udp")
    assert kernel_expression(plain) == ("udp", [])
    expression, notes = kernel_expression(ProfileSettings(filter="udp", capture_filter=("rtcp",)))
    assert expression.startswith("(udp) and (")
    assert notes == []
    expression, notes = kernel_expression(ProfileSettings(filter="port 5060", capture_filter=("ip_to_ip",)))
    assert "port 5060" not in expression, "the outer packet has no port"
    assert "5060-5090" in notes[0]
    expression, notes = kernel_expression(
        ProfileSettings(filter="host 10.0.0.1", capture_filter=("ip_to_ip",))
    )
    assert "host 10.0.0.1" in expression
    assert notes == []


def test_answers_repeat_what_they_must() -> None:
    request = (
        b"PUBLISH sip:c@h SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nv: SIP/2.0/UDP b\r\n"
        b"f: <sip:a@h>;tag=1\r\nt: <sip:b@h>\r\ni: x\r\nCSeq: 7 PUBLISH\r\nSubject: no\r\n\r\nbody"
    )
    lines = make_response(request, 200, "OK").decode().split("\r\n")
    assert lines[0] == "SIP/2.0 200 OK"
    assert lines[1:3] == ["Via: SIP/2.0/UDP a;branch=z9hG4bK1", "v: SIP/2.0/UDP b"]
    assert "t: <sip:b@h>;tag=hepcat" in lines
    assert "CSeq: 7 PUBLISH" in lines
    assert not any(line.startswith("Subject") for line in lines)
    assert make_response(b"PUBLISH sip:c@h SIP/2.0\r\n\r\n", 200, "OK") == b"", "nothing to repeat"


FRAME = bytes.fromhex("0102030405060708090a0b0c0800") + b"E" + bytes(27)


def packets_of(*rows: tuple[bytes, int, int]) -> tuple[np.ndarray, Packets]:
    """Return a window of (octets, link, vlan)."""
    data = np.frombuffer(b"".join(octets for octets, _, _ in rows), dtype=np.uint8)
    packets = Packets.empty(len(rows))
    at = 0
    for i, (octets, link, vlan) in enumerate(rows):
        packets.offset[i], packets.captured[i], packets.original[i] = at, len(octets), len(octets) + 1
        packets.ts[i], packets.link[i], packets.vlan[i] = 1_700_000_000_123_456 + i, link, vlan
        at += len(octets)
    packets.n = len(rows)
    return data, packets


def test_records_put_tags_and_headers_back() -> None:
    ip = FRAME[14:]
    out = encode_records(
        *packets_of((FRAME, 1, 0xFFFF), (FRAME, 1, 42), (ip, LINK_ETHERTYPE | 0x0800, 0xFFFF), (ip, 101, 7))
    ).tobytes()
    bodies = []
    while out:
        length = int.from_bytes(out[8:12], "little")
        assert int.from_bytes(out[12:16], "little") == length + 1, "the length on the wire grows alike"
        bodies.append(out[16 : 16 + length])
        out = out[16 + length :]
    tagged = FRAME[:12] + bytes.fromhex("8100002a") + FRAME[12:]
    bare = bytes(12) + b"\x08\x00" + ip
    assert bodies == [FRAME, tagged, bare, bytes(12) + bytes.fromhex("810000070800") + ip]


def test_rotation_and_gzip(tmp_path: Path) -> None:
    writer = FrameWriter(tmp_path / "a.pcap", rotate_octets=200, compress=True)
    for _ in range(10):
        writer.write(*packets_of((FRAME, 1, 0xFFFF), (FRAME, 1, 5)))
    writer.close()
    assert len(writer.files) == 7, "three packets of 58 and 62 octets fill a file: 20 of them seven"
    assert all(path.name.endswith(".pcap.gz") for path in writer.files)
    sizes = [len(gzip.decompress(path.read_bytes())) for path in writer.files]
    assert sum(sizes) == 7 * 24 + 10 * (16 + 42 + 16 + 46)
    assert writer.packets == 20
    with pytest.raises(HepcatError, match="cannot write"):
        FrameWriter(tmp_path / "none" / "a.pcap")


@pytest.mark.parametrize("name", ["a.pcap", "a.pcap.gz"])
def test_a_full_disk_leaves_whole_records(name: str, tmp_path: Path) -> None:
    """What follows a write that failed in the middle can still be read."""
    writer = FrameWriter(tmp_path / name)
    octets, no_vlan = bytes(range(200)), 0xFFFF
    data, packets = packets_of((octets, 1, no_vlan), (octets, 1, no_vlan))
    writer.write(data, packets)
    part = writer._parts[1]

    class Full:
        """Takes a part of what is written, once."""

        def __init__(self, file: Any) -> None:
            self.file, self.calls = file, 0

        def write(self, view: Any) -> int:
            self.calls += 1
            if self.calls == 2:
                raise OSError(28, "No space left on device")
            return int(self.file.write(view[:50] if self.calls == 1 else view))

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

    part.file = Full(part.file)
    for _ in range(2):
        writer.write(data, packets)
    writer.close()
    assert (writer.packets, writer.lost) == (4, 2)
    found = 0
    for path in writer.files:
        windows = list(frames_in(path))
        found += len(windows)
        assert set(windows) <= {octets}
    assert found == 4 or name.endswith(".gz")


def frames_in(path: Path) -> list[bytes]:
    """The frames of a file, as far as it can be read."""
    source = FileSource(path)
    found: list[bytes] = []
    with contextlib.suppress(CaptureDamaged):
        while (window := source.next_window(0)) is not None:
            packets = window.packets
            for at, size in zip(packets.offset[: packets.n], packets.captured[: packets.n], strict=True):
                found.append(window.data[at : at + size].tobytes())
    if path.suffix != ".gz":
        assert source.progress.problem is None
    return found


def test_rotation_within_a_window(tmp_path: Path) -> None:
    writer = FrameWriter(tmp_path / "a.pcap", rotate_octets=600)
    writer.write(*packets_of(*[(FRAME, 1, 0xFFFF)] * 100))
    writer.close()
    assert writer.packets == 100
    sizes = [path.stat().st_size for path in writer.files]
    assert sizes[:-1] == [24 + 10 * 58] * 9 + sizes[9:-1], "each ends with the packet that fills it"
    assert sum(sizes) == 24 * len(sizes) + 100 * 58


def test_a_file_in_is_the_same_file_out(tmp_path: Path) -> None:
    need("tshark")
    source = SHARED / "captures" / "zeek-wireshark.pcap"
    if not source.exists():
        pytest.skip("no captures here")
    from hepcat.sources.capture_file import FileSource

    capture, writer = FileSource(source), FrameWriter(tmp_path / "b.pcap")
    while (window := capture.next_window(1.0)) is not None:
        writer.write(window.data, window.packets)
    writer.close()

    def shown(path: Path) -> str:
        fields = [part for name in ("frame.time_epoch", "frame.len", "sip.Call-ID") for part in ("-e", name)]
        command = ["tshark", "-r", str(path), "-T", "fields", *fields]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert shown(tmp_path / "b.pcap") == shown(source)
    assert sum(batch.n for batch in read_batches(tmp_path / "b.pcap")) == 81


def test_who_can_enter_a_folder(tmp_path: Path) -> None:
    from hepcat.pipeline.ahead import can_enter

    (tmp_path / "a" / "b").mkdir(parents=True)
    assert can_enter("nobody", Path("/usr"))
    assert can_enter("root", tmp_path / "a" / "b")
    (tmp_path / "a").chmod(0o700)
    assert not can_enter("nobody", tmp_path / "a" / "b"), "through what is above it"
    assert not can_enter("nobody", tmp_path / "none")
    assert not can_enter("no such user", Path("/usr"))


@pytest.mark.parametrize(
    ("condition", "kind", "brief"),
    [
        ("parse_sip()", "hep", True),
        ('sip_check("method", "INVITE")', "hep", True),
        ('sip_check("to_user_suffix", "9")', "hep", False),
        ("parse_sip()", "json", False),
    ],
)
def test_a_brief_index_is_made_where_it_will_do(condition: str, kind: str, brief: bool) -> None:
    plan = f'capture {{ if ({condition}) {{ send_{"json" if kind == "json" else "hep"}("out"); }} }}'
    agent = AgentSettings.model_validate(
        {
            "profiles": [{"name": "sip", "plan_text": plan}],
            "targets": [{"name": "out", "kind": kind, "urls": ["udp://127.0.0.1:9"]}],
        }
    )
    assert prepare(agent)[0].brief is brief
