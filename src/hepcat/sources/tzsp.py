"""TZSP messages over UDP: what access points and switches mirror to this host.

In: datagrams on an address and port. Out: windows whose packets are whole TZSP messages (LINKTYPE_TZSP),
one a datagram; the frame kernel opens them. What can go wrong: HepcatError where the port cannot be had; the
receive buffer overflows (counted, `kernel_drops`); an error of the socket is logged and survived.
"""

import select
import time
from typing import Final

import numpy as np
import structlog

from hepcat.batch.drops import Drop
from hepcat.batch.schema import NO_VLAN
from hepcat.config.values import split_host_port
from hepcat.errors import HepcatError
from hepcat.mmsg import Receiver, set_receive_buffer, socket_drops
from hepcat.sources.frame_source import Window
from hepcat.sources.listen import open_udp
from hepcat.wire.columns import LINKTYPE_TZSP, Packets

log = structlog.get_logger("hepcat.tzsp")

#: Datagrams taken at once, and the longest of them: a frame and its headers fit many times over.
_SLOTS: Final = 512
_SLOT: Final = 65536
_BUFFER: Final = 8 * 2**20
#: TZSP's usual port.
PORT: Final = 37008


class TzspSource:
    """A UDP socket as a FrameSource. packets: rows handed out so far."""

    def __init__(self, address: str, buffer_octets: int = _BUFFER) -> None:
        """address: ADDRESS:PORT; [ADDRESS]:PORT for IPv6. Raises HepcatError."""
        self.name = f"tzsp {address}"
        self.ended = False
        self.packets = 0
        self.drops = np.zeros(len(Drop), dtype=np.int64)
        try:
            host, port = split_host_port(address, PORT)
        except ValueError as error:
            raise HepcatError(f"tzsp: {error}", f"Write ADDRESS:PORT, such as 127.0.0.1:{PORT}.") from None
        self._sock = open_udp(host, port, shared=False)
        set_receive_buffer(self._sock, buffer_octets)
        self._receiver = Receiver(self._sock, _SLOTS, _SLOT)
        self._counted = 0
        self._poll = select.poll()
        self._poll.register(self._sock.fileno(), select.POLLIN)
        self._lent = False
        self._broken = False

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        host, port = self._sock.getsockname()[:2]
        return host, port

    def next_window(self, timeout: float) -> Window | None:
        """Return what has come, None when nothing came within `timeout` seconds."""
        if self.ended:
            return None
        deadline = time.monotonic() + timeout
        while True:
            count = self._receive()
            if count:
                return self._window(count)
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            self._poll.poll(left * 1000)
            if self._broken:
                time.sleep(min(left, 0.05))

    def release(self, window: Window) -> None:
        """Give a window back: the slots are received into anew."""

    def kernel_drops(self) -> int:
        """Return how many datagrams the receive buffer had no room for since the last call."""
        if self.ended:
            return 0
        drops = socket_drops(self._sock)
        fresh, self._counted = (drops - self._counted) & 0xFFFFFFFF, drops
        return fresh

    def close(self) -> None:
        """Close the socket."""
        self.ended = True
        self._sock.close()

    def _receive(self) -> int:
        try:
            count = self._receiver.receive()
        except OSError as error:
            if not self._broken:
                log.warning("cannot receive", source=self.name, error=error.strerror)
            self._broken = True
            return 0
        self._broken = False
        return count

    def _window(self, count: int) -> Window:
        receiver = self._receiver
        now = time.time_ns() // 1000
        length = receiver.lengths[:count].astype(np.int64)
        packets = Packets(
            count,
            receiver.offsets[:count],
            length,
            length,
            np.full(count, now, dtype=np.int64),
            np.full(count, LINKTYPE_TZSP, dtype=np.int64),
            np.full(count, NO_VLAN, dtype=np.int64),
        )
        self.packets += count
        return Window(receiver.data, packets, now)
