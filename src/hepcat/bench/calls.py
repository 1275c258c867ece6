"""The load of the agent's measurements: whole calls as Ethernet frames, INVITE/180/200/ACK/BYE/200.

In: how many calls. Out: frames (IPv4, UDP) one behind the other with their bounds. The sizes are those with
which captagent was measured (its figures stand in hepcat.bench.lines.agent): 619 to 1,050 octets a packet, a
few more or less from call to call, as names and numbers have it: equal ones would flatter UDP_SEGMENT.
All addresses are of documentation ranges (RFC 5737), all domains example domains (RFC 2606).
"""

import struct
from dataclasses import dataclass
from typing import Any, Final
from zlib import crc32

import numpy as np
import numpy.typing as npt

#: The messages of a call, in order: start line, CSeq, whether it has SDP, whether the caller sends it, and
#: octets of the IP packet in the mean.
_MESSAGES: Final = (
    ("INVITE sip:+4930{n:08d}@sip.example.com SIP/2.0", "1 INVITE", True, True, 1050),
    ("SIP/2.0 180 Ringing", "1 INVITE", False, False, 619),
    ("SIP/2.0 200 OK", "1 INVITE", True, False, 986),
    ("ACK sip:bob@203.0.113.9:5060 SIP/2.0", "1 ACK", False, True, 642),
    ("BYE sip:bob@203.0.113.9:5060 SIP/2.0", "2 BYE", False, True, 668),
    ("SIP/2.0 200 OK", "2 BYE", False, False, 625),
)
MESSAGES_A_CALL: Final = len(_MESSAGES)
#: So much longer or shorter are the messages of a call.
VARIES: Final = 16
_SDP: Final = (
    "v=0\r\no=- {n} 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\nm=audio {port} RTP/AVP 8 0 101\r\n"
    "a=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=ptime:20\r\n"
)
CALLER: Final = "198.51.100.7"
CALLEE: Final = "203.0.113.9"
_LINKTYPE_ETHERNET: Final = 1
_ETHERNET: Final = bytes.fromhex("020000000001020000000002")


@dataclass(frozen=True, slots=True)
class Frames:
    """Frame i is data[offsets[i]:offsets[i + 1]]. data: uint8; offsets: int64."""

    data: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @classmethod
    def of(cls, frames: list[bytes]) -> "Frames":
        """Put frames behind each other."""
        ends = np.cumsum([0, *map(len, frames)])
        return cls(np.frombuffer(b"".join(frames), dtype=np.uint8).copy(), ends.astype(np.int64))


def message(n: int, which: int, octets: int, transport: str = "UDP") -> bytes:
    """Return message `which` (0 to 5) of call n, filled up to `octets` with a header of no meaning."""
    start, cseq, has_sdp, _, _ = _MESSAGES[which]
    mark = f"{(n * 0x9E3779B97F4A7C15 + 1) % 2**64:016x}"
    port = 10_000 + 2 * (n * 7 % 20_000)
    host = CALLER if which == 0 else CALLEE
    body = _SDP.format(n=n, host=host, port=port) if has_sdp else ""
    lines = [
        start.format(n=n),
        f"Via: SIP/2.0/{transport} {CALLER}:5060;branch=z9hG4bK{mark}{which // 3};rport",
        f'From: "Alice" <sip:alice{n % 4000}@sip.example.com>;tag={mark[:8]}',
        f"To: <sip:+4930{n:08d}@sip.example.com>" + (f";tag={mark[8:]}" if which else ""),
        f"Call-ID: {mark}{mark[::-1]}@{CALLER}",
        f"CSeq: {cseq}",
        f"Contact: <sip:{'alice' if which == 0 else 'bob'}@{host}:5060>",
        "Max-Forwards: 70",
        "User-Agent: Deskline T46/108.86.0.20",
        "Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, NOTIFY, INFO, PRACK, UPDATE, MESSAGE",
        *(["Content-Type: application/sdp"] if has_sdp else []),
        f"Content-Length: {len(body)}",
    ]
    text = "\r\n".join(lines)
    filling = octets - len(text) - len(body) - len("\r\nX-Filling: \r\n\r\n")
    if filling < 0:
        raise ValueError(f"message {which} does not fit into {octets} octets")
    return f"{text}\r\nX-Filling: {'x' * filling}\r\n\r\n{body}".encode()


def call_frames(calls: int) -> Frames:
    """Return the frames of so many calls, those of 50 calls interleaved as on a busy link."""
    frames = []
    for first in range(0, calls, 50):
        for which in range(MESSAGES_A_CALL):
            frames += [_sip_frame(n, which) for n in range(first, min(first + 50, calls))]
    return Frames.of(frames)


def noise_frames(packets: int, every: int = 50) -> Frames:
    """Return RTP packets of 20 ms of G.711, one in `every` being SIP."""
    rtp = bytes(range(160)) + bytes(12)
    frames = []
    for n in range(packets):
        if n % every == 0:
            frames.append(_sip_frame(n // MESSAGES_A_CALL // every, n // every % MESSAGES_A_CALL))
            continue
        head = struct.pack("!BBHII", 0x80, 8, n & 0xFFFF, n * 160 & 0xFFFFFFFF, n % 2000)
        ports = 10_000 + 2 * (n % 20_000), 20_000 + 2 * (n % 10_000)
        frames.append(udp_frame(CALLER, CALLEE, *ports, head + rtp[:160]))
    return Frames.of(frames)


def _sip_frame(n: int, which: int) -> bytes:
    _, _, _, forth, octets = _MESSAGES[which]
    source, target = (CALLER, CALLEE) if forth else (CALLEE, CALLER)
    octets += crc32(b"%d" % n) % (2 * VARIES + 1) - VARIES
    return udp_frame(source, target, 5060, 5060, message(n, which, octets - 28))


def ip_frame(source: str, target: str, protocol: int, body: bytes) -> bytes:
    """Wrap a transport's packet in IPv4 (RFC 791) and Ethernet."""
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 1, 0x4000, 64, protocol, 0)
    addresses = bytes(map(int, (source + "." + target).split(".")))
    total = sum(struct.unpack("!10H", head + addresses))
    total = (total & 0xFFFF) + (total >> 16)
    check = struct.pack("!H", ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF)
    return _ETHERNET + b"\x08\x00" + head[:10] + check + addresses + body


def udp_frame(source: str, target: str, source_port: int, target_port: int, payload: bytes) -> bytes:
    """Wrap a payload in UDP (RFC 768) without checksum, IPv4 and Ethernet."""
    head = struct.pack("!HHHH", source_port, target_port, 8 + len(payload), 0)
    return ip_frame(source, target, 17, head + payload)


def packets_of(frames: Frames, start: int = 1_750_000_000_000_000, step: int = 5) -> Any:
    """Return the frames as a window's `Packets` (Ethernet), `step` microseconds apart."""
    from hepcat.wire.columns import Packets

    n = len(frames)
    packets = Packets.empty(n)
    packets.n = n
    packets.offset[:n] = frames.offsets[:-1]
    packets.captured[:n] = packets.original[:n] = np.diff(frames.offsets)
    packets.ts[:n] = start + np.arange(n) * step
    packets.link[:n] = _LINKTYPE_ETHERNET
    return packets
