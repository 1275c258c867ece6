"""From packets to SIP: TCP segments that carry TLS, through the whole chain of kernels."""

import random
import ssl
import struct

import numpy as np
import pytest

from hepcat.batch.drops import Drop
from hepcat.wire.columns import LINKTYPE_RAW, Packets
from hepcat.wire.dissect import DissectOptions, Dissector
from hepcat.wire.tls import Secrets
from tests.wire.tls.support import CLIENT, SERVER, Talk, contexts
from tests.wire.tls.test_suites import TLS12, TLS13

ENDS = ((b"\x7f\0\0\1", 40000), (b"\x7f\0\0\2", 5061))
SYN, ACK, FIN = 2, 16, 1


def packet(side: int, seq: int, flags: int, octets: bytes = b"") -> bytes:
    """Return an IPv4 packet with a TCP segment."""
    (src, sport), (dst, dport) = ENDS[side], ENDS[1 - side]
    tcp = struct.pack(">HHIIBBHHH", sport, dport, seq & 0xFFFFFFFF, 1, 5 << 4, flags, 65535, 0, 0) + octets
    return struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(tcp), 0, 0, 64, 6, 0) + src + dst + tcp


def packets_of(one: Talk, size: int) -> list[bytes]:
    """Return a connection as packets, each with at most `size` octets."""
    seq = [1000, 0xFFFFFF00]  # one of them wraps
    out = [packet(CLIENT, seq[0], SYN), packet(SERVER, seq[1], SYN | ACK)]
    seq = [seq[0] + 1, seq[1] + 1]
    for side, octets in one.sent:
        for at in range(0, len(octets), size):
            out.append(packet(side, seq[side], ACK, octets[at : at + size]))
            seq[side] += len(octets[at : at + size])
    return [*out, *(packet(side, seq[side], FIN | ACK) for side in (CLIENT, SERVER))]


def read(reader: Dissector, frames: list[bytes], base: int) -> list[tuple[int, bytes]]:
    """Read one window; return (source port, octets) of the messages."""
    packets = Packets.empty(len(frames))
    packets.n = len(frames)
    sizes = np.array([len(frame) for frame in frames])
    packets.captured[:] = packets.original[:] = sizes
    packets.offset[:] = np.cumsum(sizes) - sizes
    packets.ts[:] = base + np.arange(len(frames))
    packets.link[:] = LINKTYPE_RAW
    found = reader.read(np.frombuffer(b"".join(frames), dtype=np.uint8), packets)
    return messages(found)


def messages(found: object) -> list[tuple[int, bytes]]:
    rows = found.datagrams  # type: ignore[attr-defined]
    out = []
    for row in range(rows.n):
        offset, length = int(rows.offset[row]), int(rows.length[row])
        area = found.octets(int(rows.area[row]))  # type: ignore[attr-defined]
        out.append((int(rows.src_port[row]), area[offset : offset + length].tobytes()))
    return out


def sip(number: int, body: int = 0) -> bytes:
    head = b"MESSAGE sip:%d@example.org SIP/2.0\r\nCall-ID: %d@a\r\nContent-Length: %d\r\n\r\n"
    return head % (number, number, body) + b"x" * body


@pytest.mark.parametrize("version", [TLS12, TLS13])
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("size", [97, 1448])
def test_sip_over_tls(version: ssl.TLSVersion, late: bool, size: int) -> None:
    client, server, log = contexts(version)
    one = Talk(client, server)
    want = []
    for number in range(30):
        side = number & 1
        text = sip(number, number * 100)
        want.append((ENDS[side][1], text))
        half = number * 13 % len(text)  # a message over two records, two messages in one
        if number % 5 == 0 and half:
            one.say(side, text[:half])
            one.say(side, text[half:])
        else:
            one.say(side, text)
    one.close()
    secrets = Secrets()
    drops, frame_drops = np.zeros(len(Drop), dtype=np.int64), np.zeros(len(Drop), dtype=np.int64)
    reader = Dissector(DissectOptions(), drops, frame_drops, secrets)
    frames = packets_of(one, size)
    rng = random.Random(size)
    for at in range(2, len(frames) - 3, 7):  # some packets overtake others
        if rng.random() < 0.5:
            frames[at], frames[at + 1] = frames[at + 1], frames[at]
    if not late:
        secrets.add_keylog(log.read_bytes())
    found = []
    for at in range(0, len(frames), 10):
        found += read(reader, frames[at : at + 10], at)
    if late:
        assert found == []
        secrets.add_keylog(log.read_bytes())
    found += messages(reader.expire(1_000))
    assert sorted(found) == sorted(want)
    if not late:
        for port in (40000, 5061):
            assert [m for m in found if m[0] == port] == [m for m in want if m[0] == port]
    assert drops[Drop.TLS_NO_KEY] == drops[Drop.TLS_MALFORMED] == drops[Drop.STREAM_PARTIAL] == 0


def frame(octets: bytes, key: bytes = b"") -> bytes:
    """Return a WebSocket text frame (RFC 6455 section 5.2), masked where there is a key."""
    size = bytes([len(octets)]) if len(octets) < 126 else b"\x7e" + struct.pack(">H", len(octets))
    first = size[0] | (0x80 if key else 0)
    if key:
        octets = bytes(octet ^ key[at % 4] for at, octet in enumerate(octets))
    return b"\x81" + bytes([first]) + size[1:] + key + octets


def test_websocket_over_tls() -> None:
    """RFC 7118 behind TLS: the handshake and the frames are within the records."""
    client, server, log = contexts(TLS13)
    one = Talk(client, server)
    upgrade = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    one.say(CLIENT, upgrade + b"Sec-WebSocket-Key: x\r\nSec-WebSocket-Protocol: sip\r\n\r\n")
    switch = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    one.say(SERVER, switch + b"Sec-WebSocket-Accept: y\r\nSec-WebSocket-Protocol: sip\r\n\r\n")
    one.say(CLIENT, frame(sip(1, 300), b"abcd"))
    one.say(SERVER, frame(sip(2)) + frame(sip(3)))
    secrets = Secrets()
    secrets.add_keylog(log.read_bytes())
    drops = np.zeros(len(Drop), dtype=np.int64)
    reader = Dissector(DissectOptions(), drops, np.zeros(len(Drop), dtype=np.int64), secrets)
    found = read(reader, packets_of(one, 500), 0)
    assert found == [(40000, sip(1, 300)), (5061, sip(2)), (5061, sip(3))]
