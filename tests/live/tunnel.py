"""Tunnels in user space, for kernels without the module: packets of a TUN or TAP interface, wrapped here.

In: an interface in each namespace, and a format. Out: real packets on the veth pair, as a router or a switch
makes them. Written from the standards alone; nothing of hepcat's own tunnels is used.
"""

import contextlib
import os
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.live import net
from tests.live.net import Namespace

_ETHERTYPE = {4: 0x0800, 6: 0x86DD}


@dataclass(frozen=True, slots=True)
class Format:
    """wrap: a packet of the inner interface to what stands behind the outer IP (and UDP) header; unwrap:
    the way back. protocol: of the outer IP header, or 17 with a UDP port. tap: the inner packet is a frame.
    """

    protocol: int
    wrap: Callable[[bytes, int], bytes]
    unwrap: Callable[[bytes], bytes]
    port: int = 0
    tap: bool = False
    outer6: bool = False


def _kind(packet: bytes) -> int:
    return _ETHERTYPE[packet[0] >> 4]


def _gre_full(packet: bytes, number: int) -> bytes:
    """GRE with checksum, key and sequence number (RFC 2784, RFC 2890)."""
    head = struct.pack(">HHHHII", 0xB000, _kind(packet), 0, 0, 77, number)
    return head[:4] + struct.pack(">H", _checksum(head + packet)) + head[6:] + packet


def _checksum(octets: bytes) -> int:
    total = sum(struct.unpack(f">{(len(octets) + 1) // 2}H", octets + b"\0" * (len(octets) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _erspan2(frame: bytes, number: int) -> bytes:
    """ERSPAN type II: GRE with a sequence number, protocol 0x88be, and 8 octets (version 1)."""
    return struct.pack(">HHI", 0x1000, 0x88BE, number) + struct.pack(">HHI", 0x1000, 7, 0) + frame


def _erspan3(frame: bytes, number: int) -> bytes:
    """ERSPAN type III: protocol 0x22eb, and 12 octets (version 2), without the platform's part."""
    return (
        struct.pack(">HHI", 0x1000, 0x22EB, number) + struct.pack(">HHIHH", 0x2000, 7, number, 0, 0) + frame
    )


def _gtp(packet: bytes, number: int) -> bytes:
    """GTP-U (3GPP TS 29.281): a T-PDU with a sequence number."""
    return (
        struct.pack(">BBHI", 0x32, 0xFF, len(packet) + 4, 9)
        + struct.pack(">HBB", number & 0xFFFF, 0, 0)
        + packet
    )


FORMATS = {
    "ipip": Format(4, lambda p, n: p, lambda o: o),
    "sit": Format(41, lambda p, n: p, lambda o: o),
    "ip6ip6": Format(41, lambda p, n: p, lambda o: o, outer6=True),
    "ip4ip6": Format(4, lambda p, n: p, lambda o: o, outer6=True),
    "gre": Format(47, lambda p, n: struct.pack(">HH", 0, _kind(p)) + p, lambda o: o[4:]),
    "gre-full": Format(47, _gre_full, lambda o: o[16:]),
    "ip6gre": Format(47, lambda p, n: struct.pack(">HH", 0, _kind(p)) + p, lambda o: o[4:], outer6=True),
    "gretap": Format(47, lambda p, n: struct.pack(">HH", 0, 0x6558) + p, lambda o: o[4:], tap=True),
    "erspan1": Format(47, lambda p, n: struct.pack(">HH", 0, 0x88BE) + p, lambda o: o[4:], tap=True),
    "erspan2": Format(47, _erspan2, lambda o: o[16:], tap=True),
    "erspan3": Format(47, _erspan3, lambda o: o[20:], tap=True),
    "vxlan": Format(17, lambda p, n: struct.pack(">II", 0x08000000, 5 << 8) + p, lambda o: o[8:], 4789, True),
    "geneve": Format(
        17, lambda p, n: struct.pack(">HHI", 0, 0x6558, 5 << 8) + p, lambda o: o[8:], 6081, True
    ),
    "gtp": Format(17, _gtp, lambda o: o[12:], 2152),
}


class _Pump(threading.Thread):
    """One end: packets of its interface go out wrapped; what comes in is unwrapped and written there."""

    def __init__(self, fd: int, sock: socket.socket, peer: tuple[str, int], form: Format) -> None:
        super().__init__(daemon=True)
        self._fd, self._sock, self._peer, self._form = fd, sock, peer, form
        self._ending = threading.Event()

    def run(self) -> None:
        number = 0
        while not self._ending.is_set():
            ready, _, _ = select.select([self._fd, self._sock], [], [], 0.1)
            if self._fd in ready:
                packet = os.read(self._fd, 65536)
                number += 1
                with contextlib.suppress(OSError, KeyError):
                    self._sock.sendto(self._form.wrap(packet, number), self._peer)
            if self._sock in ready:
                octets = self._sock.recv(65536)
                # Raw IPv4 sockets show the IP header, IPv6 ones do not (RFC 3542 section 3).
                if self._form.protocol != 17 and not self._form.outer6:
                    octets = octets[4 * (octets[0] & 15) :]
                with contextlib.suppress(OSError):
                    os.write(self._fd, self._form.unwrap(octets))

    def end(self) -> None:
        self._ending.set()
        if self.is_alive():
            self.join()
        self._sock.close()
        os.close(self._fd)


def _tags(packet: bytes, *tags: tuple[int, int]) -> bytes:
    return b"".join(struct.pack(">HH", *tag) for tag in tags) + struct.pack(">H", _kind(packet)) + packet


def _pppoe(packet: bytes) -> bytes:
    """A PPPoE session (RFC 2516) with PPP's protocol numbers of IPv4 and IPv6."""
    number = 0x0021 if _kind(packet) == 0x0800 else 0x0057
    return struct.pack(">HBBHHH", 0x8864, 0x11, 0, 7, len(packet) + 2, number) + packet


#: What stands behind the link addresses, for links that wrap a packet without an IP header of their own.
LINKS: dict[str, Callable[[bytes], bytes]] = {
    "vlan": lambda p: _tags(p, (0x8100, 0x6009)),
    "qinq": lambda p: _tags(p, (0x88A8, 8), (0x8100, 9)),
    "mpls": lambda p: struct.pack(">HII", 0x8847, (17 << 12) | 64, (18 << 12) | 0x100 | 64) + p,
    "pppoe": _pppoe,
}


class _LinkPump(_Pump):
    """One end of a link: frames go out of the veth as they are made here."""

    def __init__(
        self, fd: int, sock: socket.socket, addresses: bytes, wrap: Callable[[bytes], bytes]
    ) -> None:
        threading.Thread.__init__(self, daemon=True)
        self._fd, self._sock, self._addresses, self._make = fd, sock, addresses, wrap
        self._ending = threading.Event()

    def run(self) -> None:
        while not self._ending.is_set():
            ready, _, _ = select.select([self._fd, self._sock], [], [], 0.1)
            if self._fd in ready:
                self._sock.send(self._addresses + self._make(os.read(self._fd, 65536)))
            if self._sock in ready:
                frame, (_, _, direction, *_) = self._sock.recvfrom(65536)
                if direction == 4:  # PACKET_OUTGOING: our own
                    continue
                packet = _inside(frame)
                if packet:
                    with contextlib.suppress(OSError):
                        os.write(self._fd, packet)


def _inside(frame: bytes) -> bytes:
    """Return the packet of the inner networks in a frame, b"" where it is another. The kernel has taken the
    outer tag out.
    """
    for at in (14, 18, 22):
        for mark in (b"\x45", b"\x60"):
            packet = frame[at:]
            if packet[:1] == mark and (packet[16:18] == b"\x0a\x08" or packet[24:26] == b"\xfd\x08"):
                return packet
    return b""


@contextlib.contextmanager
def linked(a: Namespace, b: Namespace, wrap: Callable[[bytes], bytes], name: str = "t0") -> Iterator[None]:
    """Join the namespaces by frames of a kind over the veth pair; the interfaces get no addresses."""
    pumps: list[_LinkPump] = []
    try:
        for end, other in ((a, b), (b, a)):
            with end.entered():
                sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            sock.setsockopt(socket.SOL_SOCKET, 33, 1 << 24)  # SO_RCVBUFFORCE
            sock.bind((end.dev, 3))
            addresses = bytes.fromhex((net.mac(other) + net.mac(end)).replace(":", ""))
            pumps.append(_LinkPump(net.tun(end, name), sock, addresses, wrap))
            end.ip(f"link set {name} mtu 1400 up")
        for pump in pumps:
            pump.start()
        yield
    finally:
        for pump in pumps:
            pump.end()


@contextlib.contextmanager
def opened(a: Namespace, b: Namespace, form: Format, name: str = "t0") -> Iterator[None]:
    """Join the namespaces by a tunnel; the interfaces get no addresses."""
    pumps: list[_Pump] = []
    try:
        for end, own, other in ((a, 1, 2), (b, 2, 1)):
            net_part = "fd09::" if form.outer6 else "10.9.0."
            family = socket.AF_INET6 if form.outer6 else socket.AF_INET
            kind = socket.SOCK_DGRAM if form.protocol == 17 else socket.SOCK_RAW
            sock = end.socket(family, kind, form.protocol)
            sock.setsockopt(socket.SOL_SOCKET, 33, 1 << 24)  # SO_RCVBUFFORCE
            sock.bind((f"{net_part}{own}", form.port))
            fd = net.tun(end, name, form.tap)
            pumps.append(_Pump(fd, sock, (f"{net_part}{other}", form.port), form))
            end.ip(f"link set {name} mtu 1400 up")
        for pump in pumps:
            pump.start()
        yield
    finally:
        for pump in pumps:
            pump.end()
