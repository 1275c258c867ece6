"""Packet sockets: what is asked of the kernel for one, in its own structures; and words for its refusals.

In: sockets, names of interfaces. Out: the same, filtered and bound; the shape of a ring. What can go wrong:
OSError, which `open_error` turns into a HepcatError with what to do.
"""

import ctypes
import errno
import fcntl
import mmap
import os
import socket
import struct
from dataclasses import dataclass
from typing import Any, Final

from hepcat.errors import HepcatError
from hepcat.sources.filter_program import Instruction
from hepcat.wire.tpacket import BLOCK_OVERHEAD, PACKET_OVERHEAD

ANY: Final = "any"

SOL_PACKET: Final = 263
PACKET_ADD_MEMBERSHIP: Final = 1
PACKET_DROP_MEMBERSHIP: Final = 2
PACKET_RX_RING: Final = 5
PACKET_STATISTICS: Final = 6
PACKET_VERSION: Final = 10
PACKET_FANOUT: Final = 18
PACKET_MR_PROMISC: Final = 1
TPACKET_V3: Final = 2
FANOUT_HASH: Final = 0
FANOUT_UNIQUE: Final = 0x2000  # PACKET_FANOUT_FLAG_UNIQUEID
SO_ATTACH_FILTER: Final = 26
ETH_P_ALL: Final = 3
SIOCGIFHWADDR: Final = 0x8927  # netdevice(7)

#: Hardware types whose frames begin with an Ethernet header: ARPHRD_ETHER, ARPHRD_LOOPBACK.
_ETHERNET_TYPES: Final = (1, 772)
#: Blocks are of this size, or of the next power of two that holds a packet of the snap length.
_BLOCK: Final = 1 << 18
_SMALLEST_BLOCK: Final = 1 << 14
_FEWEST_BLOCKS: Final = 4


@dataclass(frozen=True, slots=True)
class Geometry:
    """Blocks of a ring: octets of one, and how many."""

    block_octets: int
    blocks: int

    @classmethod
    def of(cls, ring_octets: int, snap_len: int) -> "Geometry":
        """Choose blocks that hold any packet, and at least a few of them."""
        longest = BLOCK_OVERHEAD + PACKET_OVERHEAD + snap_len
        block = max(_SMALLEST_BLOCK, mmap.PAGESIZE)
        while block < longest or (block < _BLOCK and block * 2 * 16 <= ring_octets):
            block *= 2
        return cls(block, max(_FEWEST_BLOCKS, ring_octets // block))

    @property
    def octets(self) -> int:
        """Octets of the ring."""
        return self.block_octets * self.blocks


def link_type(dev: str) -> int:
    """Return an interface's hardware type (ARPHRD_*). Raises HepcatError where there is no such interface."""
    octets = dev.encode()
    if not 0 < len(octets) < 16:
        raise no_interface(dev)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            answer = fcntl.ioctl(sock.fileno(), SIOCGIFHWADDR, struct.pack("16s24x", octets))
        except OSError as error:
            raise open_error(dev, error) from None
    return int(struct.unpack_from("=H", answer, 16)[0])


def is_cooked(dev: str) -> bool:
    """Whether frames of this interface are read behind their link header. Raises HepcatError."""
    return dev == ANY or link_type(dev) not in _ETHERNET_TYPES


def attach(sock: socket.socket, program: tuple[Instruction, ...]) -> None:
    """Attach a filter in the place of any before it (struct sock_fprog: a count and a pointer)."""
    octets = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(octets)
    sock.setsockopt(
        socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HP", len(program), ctypes.addressof(buffer))
    )


def bind_any(sock: socket.socket) -> None:
    """Bind to every interface, those to come too (ifindex 0, which Python's bind has no word for)."""
    address = struct.pack("=HHiHBB8s", socket.AF_PACKET, socket.htons(ETH_P_ALL), 0, 0, 0, 0, b"")
    libc: Any = ctypes.CDLL(None, use_errno=True)
    if libc.bind(sock.fileno(), address, len(address)) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def no_interface(dev: str) -> HepcatError:
    there = ", ".join(sorted(name for _, name in socket.if_nameindex()))
    return HepcatError(f"there is no interface {dev or '(empty)'}", f'There are: {there}; or "any".')


def open_error(dev: str, error: OSError, shape: Geometry | None = None) -> HepcatError:
    """What to tell of a failure to open, and what to do."""
    if error.errno == errno.ENODEV:
        return no_interface(dev)
    if error.errno in (errno.EPERM, errno.EACCES):
        return HepcatError(
            f"no right to capture on {dev}",
            "Start as root (with `user` set, it becomes that user at once), or give the right: "
            "AmbientCapabilities=CAP_NET_RAW in the systemd unit.",
        )
    if error.errno == errno.ENOMEM and shape is not None:
        return HepcatError(
            f"no memory for a ring of {shape.octets >> 20} MiB on {dev}", "Set a smaller ring_buffer."
        )
    if error.errno in (errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT):
        return HepcatError("this kernel has no packet sockets", "Load them: modprobe af_packet.")
    return HepcatError(
        f"cannot capture on {dev}: {error.strerror or error}", f"`hepcat doctor --dev {dev}` looks why."
    )
