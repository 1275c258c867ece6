"""A router that sends copies: every IP packet seen on an interface goes to a collector as IP in IP.

In: an interface's namespace, and the collector's address. Out: real IP-in-IP packets from a raw socket, made
by the kernel's own IP layer (which fragments what the copy's header makes longer than the MTU). Written from
RFC 2003, RFC 2473 and RFC 4213; nothing of hepcat's is used.
"""

import contextlib
import select
import socket
import threading
from types import TracebackType

from tests.live.net import Namespace

_ETH_P_ALL = 3
_INNER = {0x0800: 4, 0x86DD: 41}


class Copier(threading.Thread):
    """Copies what passes an interface, in both directions."""

    def __init__(self, where: Namespace, collector: str) -> None:
        super().__init__(daemon=True)
        family = socket.AF_INET6 if ":" in collector else socket.AF_INET
        self._collector = (collector, 0)
        self._ending = threading.Event()
        self.copied = 0
        with where.entered():
            self._tap = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
            self._out = {
                kind: socket.socket(family, socket.SOCK_RAW, number) for kind, number in _INNER.items()
            }
            self._tap.setsockopt(socket.SOL_SOCKET, 33, 1 << 26)  # SO_RCVBUFFORCE
            self._tap.bind((where.dev, _ETH_P_ALL))

    def run(self) -> None:
        while select.select([self._tap], [], [], 0.1)[0] or not self._ending.is_set():
            if not select.select([self._tap], [], [], 0)[0]:
                continue
            packet, (_, kind, *_) = self._tap.recvfrom(65536)
            if kind not in _INNER or _next_header(packet) in (4, 41):  # the copies themselves
                continue
            with contextlib.suppress(OSError):
                self._out[kind].sendto(_trimmed(packet), self._collector)
                self.copied += 1

    def __enter__(self) -> "Copier":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self.join()
        for sock in (self._tap, *self._out.values()):
            sock.close()


def _next_header(packet: bytes) -> int:
    """Return what the packet carries; of an IPv6 fragment, what its datagram carries."""
    if packet[0] >> 4 == 4:
        return packet[9]
    return packet[40] if packet[6] == 44 else packet[6]


def _trimmed(packet: bytes) -> bytes:
    """Return the packet without what the link padded."""
    if packet[0] >> 4 == 4:
        return packet[: int.from_bytes(packet[2:4])]
    return packet[: 40 + int.from_bytes(packet[4:6])]
