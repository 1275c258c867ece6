"""The kernels of the room, wired: frames in, whole messages out in the order of their packets."""

import ipaddress
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from hepcat.batch.drops import Drop
from hepcat.wire.bpf import BpfProgram
from hepcat.wire.collect import IndexOptions, append_found, first_octets, new_batch, sip_among, sort_out
from hepcat.wire.columns import Packets
from hepcat.wire.dissect import END_OF_TIME, DissectOptions, Dissector, Found
from tests.wire import make_capture as make
from tests.wire import make_tunnels as tunnel


def new_drops() -> Any:
    return np.zeros(len(Drop), dtype=np.int64)


def named(drops: Any) -> dict[str, int]:
    return {Drop(i).name: int(count) for i, count in enumerate(drops) if count}


class Reading:
    """A dissector, and what came out of it as (payload, transport, source port)."""

    def __init__(self, options: DissectOptions | None = None, keep: Any = None) -> None:
        self.frame_drops, self.drops = new_drops(), new_drops()
        self.dissector = Dissector(options or DissectOptions(), self.drops, self.frame_drops, keep=keep)
        self.ts = 0

    def read(
        self, frames: Sequence[bytes], times: Sequence[int] | None = None
    ) -> list[tuple[bytes, int, int]]:
        """times: of the frames, microseconds; else each is one later than the one before."""
        packets = Packets.empty(len(frames))
        data = np.frombuffer(b"".join(frames), dtype=np.uint8)
        ends = np.cumsum([len(frame) for frame in frames])
        packets.n = len(frames)
        packets.offset[:] = [0, *ends[:-1]]
        packets.captured[:] = packets.original[:] = [len(frame) for frame in frames]
        packets.ts[:] = self.ts + np.arange(len(frames)) if times is None else times
        packets.link[:] = 1
        self.ts += len(frames)
        return payloads(self.dissector.read(data, packets))


def payloads(found: Found) -> list[tuple[bytes, int, int]]:
    rows = found.datagrams
    out = []
    for i in range(rows.n):
        at, octets = int(rows.offset[i]), found.octets(int(rows.area[i]))
        out.append((octets[at : at + rows.length[i]].tobytes(), int(rows.ip_proto[i]), int(rows.src_port[i])))
    return out


def plain(payload: bytes, port: int = 5060) -> bytes:
    return make.ethernet(0x0800, make.ipv4(make.udp(payload, port)))


def fragments4(payload: bytes, size: int = 200, ident: int = 9) -> list[bytes]:
    """A UDP datagram in IPv4 fragments, as raw IP packets."""
    body = make.udp(payload)
    out = []
    for at in range(0, len(body), size):
        more = 0x2000 if at + size < len(body) else 0
        packet = bytearray(make.ipv4(body[at : at + size], fragment=more | at // 8))
        packet[4:6] = struct.pack("!H", ident)
        out.append(bytes(packet))
    return out


def segment(data: bytes, seq: int, port: int = 40000, flags: int = 0x18) -> bytes:
    head = struct.pack("!HHIIBBHHH", port, 5060, seq, 1, 5 << 4, flags, 65535, 0, 0)
    return make.ethernet(0x0800, make.ipv4(head + data, protocol=6))


def chunk(data: bytes, tsn: int, flags: int = 3, ppid: int = 0) -> bytes:
    body = struct.pack("!HHII", 2905, 5060, 1, 0)
    body += struct.pack("!BBHIHHI", 0, flags, 16 + len(data), tsn, 1, 1, ppid) + data + bytes(-len(data) % 4)
    return make.ethernet(0x0800, make.ipv4(body, protocol=132))


SIP = make.message("OPTIONS", "whole@x", b"v=0\r\n" * 100)


def test_messages_come_in_the_order_of_the_packets_that_complete_them() -> None:
    parts = [make.ethernet(0x0800, packet) for packet in fragments4(SIP, 240)]
    tcp = make.message("INVITE", "tcp@x")
    reading = Reading()
    frames = [
        plain(b"one"), parts[0], segment(tcp[:50], 1000), chunk(b"sctp", 5), parts[1],
        segment(tcp[50:], 1050), plain(b"two"), *parts[2:], plain(b"three"),
    ]  # fmt: skip
    found = reading.read(frames)
    assert [payload for payload, _, _ in found] == [b"one", b"sctp", tcp, b"two", SIP, b"three"]
    assert [protocol for _, protocol, _ in found] == [17, 132, 6, 17, 17, 17]
    assert named(reading.drops) == named(reading.frame_drops) == {}


def test_state_goes_from_window_to_window() -> None:
    reading = Reading()
    parts = [make.ethernet(0x0800, packet) for packet in fragments4(SIP)]
    tcp = make.message("INVITE", "tcp@x")
    out = []
    for i in range(max(len(parts), len(tcp))):
        frames = parts[i : i + 1] + ([segment(tcp[i : i + 1], i + 1)] if i < len(tcp) else [])
        out += reading.read(frames)
    assert sorted(payload for payload, _, _ in out) == sorted([SIP, tcp])


def test_what_time_sets_free_comes_behind_what_came_before_it() -> None:
    reading, second = Reading(), 1_000_000
    first, later = make.message("INVITE", "first@x"), make.message("BYE", "later@x")
    frames = [plain(b"a"), segment(first, 1000), segment(later, 1000 + len(first) + 8), plain(b"b")]
    found = reading.read(frames, [0, second, second, 9 * second])
    assert [payload for payload, _, _ in found] == [b"a", first, b"b", later]


def test_one_packet_of_a_wrong_time_ends_no_stream() -> None:
    whole = make.message("INVITE", "cut@x")
    reading = Reading()
    assert reading.read([segment(whole[:60], 1)]) == []
    for wrong in (2**62, 0, -1):
        reading.read([plain(b"a"), plain(b"b"), segment(b"", 1, 7)], [1000, wrong, 1001])
    found = reading.read([segment(whole[60:], 61)])
    assert [payload for payload, _, _ in found] == [whole]


def test_an_sctp_packet_of_several_chunks_is_one_packet() -> None:
    reading = Reading()
    several = (tunnel.chunk(3, 0, bytes(12)), tunnel.data(b"whole"), tunnel.chunk(4, 0, bytes(8)))
    bodies = (tunnel.sctp(*several), tunnel.sctp(*several[::2]), tunnel.sctp(several[1]))
    frames = [make.ethernet(0x0800, make.ipv4(body, protocol=132)) for body in bodies]
    assert reading.read([frames[0]]) == [(b"whole", 132, 5060)]
    assert named(reading.frame_drops) == {}
    assert named(reading.drops) == {"SCTP_CONTROL": 2}
    assert reading.read(frames[1:]) == []
    assert named(reading.frame_drops) == {"SCTP_CONTROL": 1}, "the packet gave nothing"
    assert named(reading.drops) == {"SCTP_CONTROL": 3, "SCTP_DUPLICATE": 1}


def test_fragments_of_a_tunnel_within_fragments() -> None:
    inner = [make.ipv4(tunnel.gre(0x0800, packet), protocol=47) for packet in fragments4(SIP, 400)]
    frames = []
    for number, packet in enumerate(inner):
        body = packet[20:]
        for at in range(0, len(body), 160):
            more = 0x2000 if at + 160 < len(body) else 0
            outer = bytearray(make.ipv4(body[at : at + 160], protocol=47, fragment=more | at // 8))
            outer[4:6] = struct.pack("!H", 100 + number)
            frames.append(make.ethernet(0x0800, bytes(outer)))
    reading = Reading()
    assert [payload for payload, _, _ in reading.read(frames)] == [SIP]
    assert named(reading.drops) == {}


def test_a_filter_applies_to_what_was_put_together() -> None:
    cypcap = pytest.importorskip("cypcap")
    compiled = cypcap.open_dead(cypcap.DatalinkType.RAW, 65535).compile("udp port 5060", True, 0)
    program = [tuple(int(part) for part in instruction) for instruction in compiled]
    other = bytearray(b"".join(fragments4(SIP)[:1]))
    reading = Reading(keep=BpfProgram(program))
    assert len(reading.read([make.ethernet(0x0800, packet) for packet in fragments4(SIP)])) == 1
    moved = [bytearray(packet) for packet in fragments4(SIP, ident=10)]
    moved[0][20:24] = struct.pack("!HH", 7000, 7001)
    assert reading.read([make.ethernet(0x0800, bytes(packet)) for packet in moved]) == []
    assert named(reading.drops) == {"FILTER": 1}
    assert other


def test_ports_choose_messages_and_streams() -> None:
    options = DissectOptions(ports=np.array([5060, 5061], dtype=np.uint16))
    reading = Reading(options)
    tcp = make.message("INVITE", "tcp@x")
    other = bytearray(segment(tcp, 1))
    other[36:38] = struct.pack("!H", 8080)
    away = make.ethernet(0x0800, make.ipv4(make.udp(b"x", 1, 2)))
    found = reading.read([plain(b"a", 5060), away, segment(tcp, 1), bytes(other)])
    assert [payload for payload, _, _ in found] == [b"a", tcp]
    assert named(reading.drops) == {"FILTER": 2}


@pytest.mark.parametrize("join", [False, True])
def test_sip_over_unmarked_datagrams_is_joined_when_asked_for(join: bool) -> None:
    reading = Reading(DissectOptions(join=join))
    found = reading.read([plain(b"x"), plain(SIP[:300]), plain(b"y", 9), plain(SIP[300:]), plain(b"z", 8)])
    payload = [octets for octets, _, _ in found]
    if join:
        assert payload == [b"x", b"y", SIP, b"z"]
    else:
        assert payload == [b"x", SIP[:300], b"y", SIP[300:], b"z"]
    if join:
        assert reading.read([plain(SIP[:300])]) == []
        late = payloads(reading.dissector.expire(END_OF_TIME))
        assert [octets for octets, _, _ in late] == [SIP[:300]], "nothing is lost"


def test_what_is_not_wanted_is_counted() -> None:
    options = DissectOptions(fragments=False, tcp=False, sctp=False, tunnels=0)
    reading = Reading(options)
    frames = [
        make.ethernet(0x0800, fragments4(SIP)[0]),
        segment(b"x", 1),
        chunk(b"x", 1),
        tunnel.outer4(tunnel.gre(0x0800, make.ipv4(make.udp(b"x"))), 47),
        plain(b"kept"),
    ]
    assert [payload for payload, _, _ in reading.read(frames)] == [b"kept"]
    assert named(reading.frame_drops) == {"FRAME_PROTOCOL": 3, "FRAME_FRAGMENT": 1}


def test_packets_add_up() -> None:
    reading = Reading()
    frames = [plain(b"a"), b"\0" * 60, segment(b"", 1, flags=0x10), chunk(b"x", 1), b"short"]
    packets = Packets.empty(len(frames))
    packets.n = len(frames)
    data = np.frombuffer(b"".join(frames), dtype=np.uint8)
    packets.captured[:] = packets.original[:] = [len(frame) for frame in frames]
    packets.offset[1:] = np.cumsum(packets.captured)[:-1]
    packets.link[:] = 1
    found = reading.dissector.read(data, packets)
    assert found.carried == 3
    assert found.carried + int(reading.frame_drops.sum()) == len(frames)
    assert named(reading.drops) == {"TCP_CONTROL": 1}


def test_tls_without_secrets_is_counted() -> None:
    reading = Reading()
    assert (
        reading.read([segment(b"\x16\x03\x01\x00\x05hello", 1), segment(b"\x16\x03\x01\x00\x01x", 11)]) == []
    )
    assert named(reading.drops) == {"TLS_NO_KEY": 2}


def test_batches_hold_both_areas() -> None:
    reading = Reading()
    parts = [make.ethernet(0x0800, packet) for packet in fragments4(SIP)]
    frames = [plain(make.message("BYE", "a@b")), plain(b"\r\n\r\n"), *parts, plain(b"rtp")]
    packets = Packets.empty(len(frames))
    packets.n = len(frames)
    data = np.frombuffer(b"".join(frames), dtype=np.uint8)
    packets.captured[:] = packets.original[:] = [len(frame) for frame in frames]
    packets.offset[1:] = np.cumsum(packets.captured)[:-1]
    packets.link[:], packets.ts[:] = 1, 1_000_000 + np.arange(len(frames))
    found = reading.dissector.read(data, packets)
    mask = sip_among(found)
    assert mask.tolist() == [1, 0, 1, 0]
    assert first_octets(found, 4).tobytes() == b"BYE \r\n\r\nOPTIrtp\0"
    batch, drops = new_batch(8, ()), new_drops()
    kept = sort_out(found, mask, drops)
    assert named(drops) == {"KEEPALIVE": 1, "NOT_SIP": 1}
    assert append_found(batch, found, kept, mask, IndexOptions()) == 2
    assert append_found(batch, found, np.array([3]), mask, IndexOptions(other_type=5)) == 1
    assert [batch.text(row, "call_id") for row in range(3)] == [b"a@b", b"whole@x", None]
    assert [batch.text(row, "payload") for row in (1, 2)] == [SIP, b"rtp"]
    assert batch.hep_type[:3].tolist() == [1, 1, 5]
    assert bytes(batch.src_ip[1][12:]) == ipaddress.ip_address("192.0.2.1").packed
    assert int(batch.ts[1]) == 1_000_000 + len(frames) - 2


def test_a_full_batch_takes_what_fits() -> None:
    reading = Reading()
    frames = [plain(make.message("BYE", f"{i}@b")) for i in range(5)]
    packets = Packets.empty(5)
    packets.n = 5
    data = np.frombuffer(b"".join(frames), dtype=np.uint8)
    packets.captured[:] = packets.original[:] = [len(frame) for frame in frames]
    packets.offset[1:] = np.cumsum(packets.captured)[:-1]
    packets.link[:] = 1
    found = reading.dissector.read(data, packets)
    mask, batch = sip_among(found), new_batch(3, ())
    keep: Any = np.arange(5)
    assert append_found(batch, found, keep, mask, IndexOptions()) == 3
    assert append_found(batch, found, keep[3:], mask, IndexOptions()) == 0
