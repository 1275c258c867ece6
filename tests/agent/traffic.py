"""SIP for the tests of the whole agent: messages, capture files, and senders."""

import socket
import struct
import threading
import time
from collections.abc import Iterable
from pathlib import Path

from tests.live.net import ethernet, ipv4, udp


def sip(
    call_id: str, method: str = "OPTIONS", status: int = 0, size: int = 0, number: int = 1, body: str = ""
) -> bytes:
    """A request, or a response where `status` is given; with SDP, or `size` octets of a body."""
    kind = "Content-Type: application/sdp\r\n" if body else ""
    body = body or "x" * size
    start = f"SIP/2.0 {status} Fine" if status else f"{method} sip:bob@example.net SIP/2.0"
    return (
        f"{start}\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK{call_id}{number}\r\n"
        f"From: <sip:anna@example.org>;tag=1\r\nTo: <sip:bob@example.net>\r\nCall-ID: {call_id}\r\n"
        f"CSeq: {number} {method}\r\n{kind}Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


def frame(payload: bytes, source: int = 5060, target: int = 5060, tags: tuple[int, ...] = ()) -> bytes:
    """Return an Ethernet frame of 10.9.0.1 to 10.9.0.2."""
    return ethernet(ipv4(udp(payload, source, target)), tags=tags)


def write_capture(path: Path, frames: Iterable[bytes], apart: float = 0.001) -> Path:
    """Write frames as pcap, some time apart."""
    records = []
    for i, octets in enumerate(frames):
        at = 1_700_000_000_000_000 + round(i * apart * 1e6)
        records.append(
            struct.pack("<IIII", at // 1_000_000, at % 1_000_000, len(octets), len(octets)) + octets
        )
    path.write_bytes(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1) + b"".join(records))
    return path


def hep3(payload: bytes, node: int = 77, name: str = "edge-7", kind: int = 1) -> bytes:
    """Encode a HEP3 message by the specification."""
    bodies = {
        1: b"\x02",
        2: b"\x11",
        7: struct.pack(">H", 5060),
        8: struct.pack(">H", 5070),
        9: struct.pack(">I", 1_700_000_000),
        0xA: struct.pack(">I", 123_456),
        0xB: bytes([kind]),
        0xC: struct.pack(">I", node),
        3: bytes((192, 0, 2, 1)),
        4: bytes((192, 0, 2, 2)),
        0x13: name.encode(),
        0xF: payload,
    }
    chunks = b"".join(struct.pack(">HHH", 0, k, 6 + len(b)) + b for k, b in bodies.items())
    return b"HEP3" + struct.pack(">H", 6 + len(chunks)) + chunks


class Sender(threading.Thread):
    """Sends numbered messages at a pace until it is told to stop; `sent` are those it has sent."""

    def __init__(
        self, sock: socket.socket, target: tuple[str, int], pause: float = 0.002, size: int = 200
    ) -> None:
        super().__init__(daemon=True)
        self.sent: list[bytes] = []
        self._sock, self._target, self._pause, self._size = sock, target, pause, size
        self._ending = threading.Event()

    def run(self) -> None:
        while not self._ending.is_set():
            message = sip(f"call-{len(self.sent) // 2}", number=1 + len(self.sent) % 2, size=self._size)
            self._sock.sendto(message, self._target)
            self.sent.append(message)
            if self._pause:
                time.sleep(self._pause)

    def end(self) -> list[bytes]:
        """Stop; return all that was sent."""
        self._ending.set()
        self.join()
        self._sock.close()
        return self.sent
