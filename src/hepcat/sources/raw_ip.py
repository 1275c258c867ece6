"""IP-in-IP copies that routers send to this host: raw IP sockets as one frame source.

In: the address that the copies are sent to (empty: any, IPv4 and IPv6), an interface (empty: any). Out:
windows of raw IP packets: with the outer header where that is IPv4, without it where it is IPv6, as the
kernel hands them out (raw(7), RFC 3542 section 3). Protocols 4 and 41: IPv4 and IPv6 within. What can go
wrong: HepcatError from the constructor (no right, no such interface, not an address of this host). Later the
interface may go down, vanish and come back: each is logged once, and capture goes on. The receive buffers
overflow: counted (`kernel_drops`).

- The kernel has put outer fragments together; inner ones are as they came.
- One thread reads all sockets. Several would need sockets that share the packets by a filter, and the kernel
  counts what a full socket loses before it asks the filter: each worker would count the losses of all.
- A socket is bound to its interface for good: binding it to the successor of one that vanished takes a right
  that a server has given up by then. So spare sockets are kept, not bound to any.
"""

import contextlib
import errno
import fcntl
import ipaddress
import select
import socket
import struct
import time
from typing import Final

import numpy as np
import structlog

from hepcat.batch.schema import NO_VLAN
from hepcat.errors import HepcatError
from hepcat.mmsg import Receiver, set_receive_buffer, socket_drops
from hepcat.sources.filters import accept_nothing
from hepcat.sources.frame_source import Window
from hepcat.sources.packet_socket import attach, no_interface
from hepcat.wire.columns import LINKTYPE_RAW, Packets

log = structlog.get_logger("hepcat.capture")

#: IANA protocol numbers: IPv4 encapsulation (RFC 2003), IPv6 encapsulation (RFC 4213).
IPIP: Final = 4
IPV6: Final = 41

_SLOTS: Final = 1024
_SLOT: Final = 65536
_BUFFER: Final = 32 * 2**20
#: What a window may leave resident of its slots; more is given back to the kernel.
_RESIDENT: Final = 8 * 2**20
#: Once something came, a nap lets more come, where the buffer has room for it: a window costs the same for
#: few packets as for many. Bursts come at most at so many octets a second.
_NAP: Final = 0.016
_SHORTEST_NAP: Final = 0.0005
_BURST_RATE: Final = 1e9
#: Seconds between two looks at the interface: a raw socket is told nothing of it.
_LOOK: Final = 0.5

_SIOCGIFFLAGS: Final = 0x8913  # netdevice(7)
_IFF_UP: Final = 1
_SO_DETACH_FILTER: Final = 27
#: How often an interface can come back to a process that may not open raw sockets any more.
_SPARES: Final = 4


class RawIpSource:
    """IP-in-IP packets; a FrameSource. packets: rows handed out so far."""

    def __init__(self, address: str = "", interface: str = "", buffer_octets: int = _BUFFER) -> None:
        """buffer_octets: asked for each socket."""
        self.name = f"ipip {address or 'any'}"
        self.ended = False
        self.packets = 0
        self._address = _parse_address(address)
        self._dev = interface
        self._buffer_octets = buffer_octets
        self._index = 0
        self._up = True
        self._due = False  # there is a new interface of the name
        self._look_at = 0.0
        self._finishing = False
        self._broken = False
        self._next = 0
        self._sockets: list[_Socket] = []
        self._spares: list[_Socket] = []
        self._poll = select.poll()
        self._closed_drops = 0
        if interface:
            self._index, self._up = _interface(interface)
            if not self._index:
                raise no_interface(interface)
        try:
            self._open()
        except BaseException:
            self.close()
            raise
        if not self._up:
            log.warning("interface is down", dev=interface)
        self._nap = min(_NAP, min(sock.granted for sock in self._sockets) / _BURST_RATE)

    # ---- the contract

    def next_window(self, timeout: float) -> Window | None:
        """Return the packets that are there, None when none came within `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while not self.ended:
            now = time.monotonic()
            if self._dev and now >= self._look_at and not self._finishing:
                self._look_at = now + _LOOK
                self._look()
            if (window := self._receive()) is not None:
                return window
            if self._due:
                self._come_back()
            if self._finishing:
                self.close()
                return None
            if now >= deadline:
                return None
            self._wait(deadline - now)
        return None

    def release(self, window: Window) -> None:
        """Give a window back: its slots are received into anew."""
        if int(window.packets.captured[: window.packets.n].sum()) > _RESIDENT:
            for sock in self._sockets:
                if sock.receiver.data is window.data:
                    sock.receiver.release()

    def kernel_drops(self) -> int:
        """Return how many packets the receive buffers had no room for since the last call."""
        fresh, self._closed_drops = self._closed_drops, 0
        return fresh + sum(sock.fresh_drops() for sock in self._sockets)

    def close(self) -> None:
        """Close the sockets."""
        self.ended = True
        self._closed_drops += sum(sock.fresh_drops() for sock in self._sockets)
        for sock in (*self._sockets, *self._spares):
            sock.sock.close()
        self._sockets.clear()
        self._spares.clear()

    # ---- beyond the contract

    def finish(self) -> None:
        """Take no more packets; what the sockets hold is still handed out, then `ended` is set."""
        self._finishing = True
        for sock in self._sockets:
            attach(sock.sock, accept_nothing())

    @property
    def granted(self) -> int:
        """Octets of a receive buffer, as the kernel granted it."""
        return min(sock.granted for sock in self._sockets)

    # ---- sockets

    def _open(self) -> None:
        address = self._address
        for family, version in ((socket.AF_INET, 4), (socket.AF_INET6, 6)):
            if address is not None and address.version != version:
                continue
            try:
                for protocol in (IPIP, IPV6):
                    made = self._make(family, protocol)
                    self._sockets.append(made)
                    if self._dev:
                        self._spares += [self._make(family, protocol) for _ in range(_SPARES)]
                    self._admit(made)
            except OSError as error:
                if address is None and version == 6 and error.errno == errno.EAFNOSUPPORT:
                    continue  # a host without IPv6
                raise _open_error(str(address or ""), error) from None

    def _make(self, family: int, protocol: int) -> "_Socket":
        return _Socket(family, protocol, str(self._address or ""), self._buffer_octets)

    def _admit(self, sock: "_Socket") -> None:
        sock.admit(self._dev)
        self._poll.register(sock.sock.fileno(), select.POLLIN)

    def _receive(self) -> Window | None:
        """Take what one socket has; each has its turn."""
        for i in range(len(self._sockets)):
            sock = self._sockets[(self._next + i) % len(self._sockets)]
            try:
                count = sock.receiver.receive()
            except OSError as error:
                if not self._broken:
                    log.warning("cannot receive", source=self.name, error=error.strerror)
                self._broken = True
                continue
            if count:
                self._broken = False
                self._next = (self._next + i + 1) % len(self._sockets)
                self.packets += count
                return sock.window(count)
        return None

    def _wait(self, seconds: float) -> None:
        """Wait for a packet, then a moment for more."""
        if self._broken:
            time.sleep(min(seconds, 0.05))
            return
        if self._dev:
            seconds = min(seconds, _LOOK)
        if self._poll.poll(seconds * 1000) and self._nap >= _SHORTEST_NAP and seconds > self._nap:
            time.sleep(self._nap)

    # ---- the interface's fate

    def _look(self) -> None:
        """Follow the interface: log each change once; a new one of the name takes the place of the old."""
        index, up = _interface(self._dev)
        if index == self._index and up == self._up:
            return
        if index != self._index:
            if self._index:
                log.warning("interface vanished; waiting for it to come back", dev=self._dev)
            self._due, self._up = bool(index), True
        if index and up != self._up:
            (log.info if up else log.warning)(
                "interface is up again" if up else "interface is down", dev=self._dev
            )
            self._up = up
        self._index = index

    def _come_back(self) -> None:
        """Take the interface's successor. The old sockets have been read empty, and nothing comes to them."""
        self._due = False
        try:
            for i, old in enumerate(self._sockets):
                self._sockets[i] = self._successor(old)
        except StopIteration:
            log.error("interface is back, but no raw socket may be opened; restart hepcat", dev=self._dev)
        except OSError as error:
            log.warning("interface is back, but cannot be opened", dev=self._dev, error=error.strerror)
            self._index = 0
        else:
            log.info("interface is back", dev=self._dev)

    def _successor(self, old: "_Socket") -> "_Socket":
        """Return an open socket in the place of an old one: a spare one where making one is not allowed."""
        kind = (old.family, old.protocol)
        spares = (spare for spare in self._spares if (spare.family, spare.protocol) == kind)
        try:
            fresh = self._make(*kind)
        except PermissionError:
            fresh = next(spares)
        self._admit(fresh)
        if fresh in self._spares:
            self._spares.remove(fresh)
        self._poll.unregister(old.sock.fileno())
        self._closed_drops += old.fresh_drops()
        old.sock.close()
        return fresh


class _Socket:
    """One raw socket. It takes nothing until `admit`, which makes its slots. Raises OSError."""

    receiver: Receiver

    def __init__(self, family: int, protocol: int, address: str, buffer_octets: int) -> None:
        self.family, self.protocol = family, protocol
        self.sock = socket.socket(family, socket.SOCK_RAW, protocol)
        try:
            attach(self.sock, accept_nothing())
            self.sock.setblocking(False)
            self.granted = set_receive_buffer(self.sock, buffer_octets)
            if address:
                self.sock.bind((address, 0))
        except BaseException:
            self.sock.close()
            raise
        self._counted = 0

    def admit(self, dev: str) -> None:
        """Begin to receive, from one interface where it is named. Raises OSError."""
        if dev:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, dev.encode() + b"\0")
        self.receiver = Receiver(self.sock, _SLOTS, _SLOT)
        self.receiver.ask_for_times()
        while self.receiver.receive():  # what came before there was a filter
            pass
        self._counted = socket_drops(self.sock)
        self.sock.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)

    def window(self, count: int) -> Window:
        """Return the datagrams of the last call as raw IP packets."""
        receiver = self.receiver
        ts = receiver.times(count)
        length = receiver.lengths[:count].astype(np.int64)
        link = np.full(count, LINKTYPE_RAW, dtype=np.int64)
        vlan = np.full(count, NO_VLAN, dtype=np.int64)
        packets = Packets(count, receiver.offsets[:count], length, length, ts, link, vlan)
        return Window(receiver.data, packets, int(ts[count - 1]))

    def fresh_drops(self) -> int:
        """Return what the kernel dropped since the last call."""
        drops = socket_drops(self.sock)
        fresh, self._counted = (drops - self._counted) & 0xFFFFFFFF, drops  # the kernel counts in u32
        return fresh


def _parse_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    if not text:
        return None
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        raise HepcatError(
            f'raw_socket_listen: "{text}" is no IP address',
            "Name an address of this host, or leave it out for all of them.",
        ) from None


def _interface(dev: str) -> tuple[int, bool]:
    """Return an interface's index, 0 where there is none, and whether it is up."""
    with contextlib.suppress(OSError):
        index = socket.if_nametoindex(dev)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            answer = fcntl.ioctl(sock.fileno(), _SIOCGIFFLAGS, struct.pack("16s24x", dev.encode()))
        return index, bool(struct.unpack_from("=H", answer, 16)[0] & _IFF_UP)
    return 0, False


def _open_error(address: str, error: OSError) -> HepcatError:
    """What to tell of a failure to open, and what to do."""
    if error.errno in (errno.EPERM, errno.EACCES):
        return HepcatError(
            "no right to open a raw socket for IP-in-IP",
            "Start as root (with `user` set, it becomes that user at once), or give the right: "
            "AmbientCapabilities=CAP_NET_RAW in the systemd unit, or `setcap cap_net_raw+ep` on a Python "
            "interpreter of its own.",
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return HepcatError(
            f"raw_socket_listen: {address} is not an address of this host",
            "`ip address` shows which are; without an address, copies to any of them are taken.",
        )
    return HepcatError(
        f"cannot open a raw socket for IP-in-IP{' on ' + address if address else ''}: "
        f"{error.strerror or error}",
        "The kernel needs raw sockets of protocols 4 and 41; where it has no IPv6, name an IPv4 address.",
    )
