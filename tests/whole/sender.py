"""A sender that knows what it sent: numbered HEP3 messages, each Call-ID a number, and when each was sent."""

import socket
import struct
import threading
import time

INVITE = (
    "INVITE sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK{0}\r\n"
    "From: <sip:alice@example.com>;tag=f{0}\r\nTo: <sip:bob@example.com>\r\nCall-ID: {0}\r\n"
    "CSeq: 1 INVITE\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
)


def hep3(payload: bytes, now: float | None = None, kind: int = 1, key: bytes = b"") -> bytes:
    """Return one HEP3 datagram around a payload."""
    moment = time.time() if now is None else now
    chunks = [
        (1, b"\x02"),
        (2, b"\x11"),
        (3, bytes([192, 0, 2, 1])),
        (4, bytes([192, 0, 2, 2])),
        (7, struct.pack("!H", 5060)),
        (8, struct.pack("!H", 5062)),
        (9, struct.pack("!I", int(moment))),
        (10, struct.pack("!I", int(moment % 1 * 1e6))),
        (11, bytes([kind])),
        (12, struct.pack("!I", 7)),
        *([(14, key)] if key else []),
        (15, payload),
    ]
    body = b"".join(struct.pack("!HHH", 0, type_, len(value) + 6) + value for type_, value in chunks)
    return b"HEP3" + struct.pack("!H", len(body) + 6) + body


class NumberedSender(threading.Thread):
    """Sends messages 0, 1, 2, ... to a UDP port, evenly, until it is stopped."""

    def __init__(self, port: int, rate: int) -> None:
        super().__init__(daemon=True)
        self.port, self.rate = port, rate
        #: (time, number of the next message): what was sent by when
        self.log: list[tuple[float, int]] = [(time.time(), 0)]
        self.ended = threading.Event()

    def run(self) -> None:
        """Send in steps of 10 ms; a port that nobody listens on is no reason to stop."""
        number, start = 0, time.monotonic()
        with socket.socket(type=socket.SOCK_DGRAM) as sock:
            while not self.ended.is_set():
                due = int((time.monotonic() - start) * self.rate)
                for _ in range(due - number):
                    sock.sendto(hep3(INVITE.format(number).encode()), ("127.0.0.1", self.port))
                    number += 1
                self.log.append((time.time(), number))
                time.sleep(0.01)

    def stop(self) -> int:
        """Stop and return how many were sent."""
        self.ended.set()
        if self.ident is not None:  # else it was never started
            self.join()
        return self.log[-1][1]
