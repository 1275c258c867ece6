"""What the kernel tells of network interfaces, for the doctor: state, link type, features, counts.

In: names. Out: `Interface`s. Nothing is changed and no right is needed. What can go wrong: nothing; what is
not told is empty.
"""

import array
import contextlib
import fcntl
import socket
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# netdevice(7), linux/sockios.h
_SIOCGIFFLAGS: Final = 0x8913
_SIOCGIFHWADDR: Final = 0x8927
_SIOCETHTOOL: Final = 0x8946
# linux/ethtool.h
_GSSET_INFO: Final = 0x37
_GSTRINGS: Final = 0x1B
_GFEATURES: Final = 0x3A
_SS_FEATURES: Final = 4
_STRING: Final = 32
# linux/if.h
_UP, _LOOPBACK, _RUNNING, _PROMISC = 0x1, 0x8, 0x40, 0x100

#: Hardware types (ARPHRD_*) by name; others are shown by number.
LINKS: Final[dict[int, str]] = {
    1: "Ethernet",
    512: "PPP",
    768: "IP in IP",
    769: "IPv6 tunnel",
    772: "loopback",
    776: "IPv6 in IPv4",
    778: "GRE",
    823: "GRE over IPv6",
    65534: "no link header",
}


@dataclass(frozen=True, slots=True)
class Interface:
    """One interface as it is now. kind: ARPHRD_*."""

    name: str
    index: int
    flags: int
    kind: int

    @property
    def up(self) -> bool:
        """Whether it is switched on."""
        return bool(self.flags & _UP)

    @property
    def running(self) -> bool:
        """Whether it has a carrier."""
        return bool(self.flags & _RUNNING)

    @property
    def loopback(self) -> bool:
        """Whether it is the loopback device."""
        return bool(self.flags & _LOOPBACK)

    @property
    def promiscuous(self) -> bool:
        """Whether somebody has asked for promiscuous mode."""
        with contextlib.suppress(OSError, ValueError):
            return bool(int((_SYS / self.name / "flags").read_text(), 16) & _PROMISC)
        return bool(self.flags & _PROMISC)

    @property
    def has_ethernet(self) -> bool:
        """Whether its frames begin with an Ethernet header."""
        return self.kind in (1, 772)

    @property
    def link(self) -> str:
        """The link type for people."""
        return LINKS.get(self.kind, f"link type {self.kind}")

    def features(self) -> dict[str, bool]:
        """Return the driver's features by their kernel names (`ethtool -k` shows them); empty: unknown."""
        with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            head = struct.pack("=IIQI", _GSSET_INFO, 0, 1 << _SS_FEATURES, 0)
            count = struct.unpack_from("=I", self._ethtool(sock, head), 16)[0]
            strings = self._ethtool(
                sock, struct.pack("=III", _GSTRINGS, _SS_FEATURES, count) + bytes(count * _STRING)
            )
            words = (count + 31) // 32
            # struct ethtool_get_features_block: available, requested, active, never_changed
            blocks = self._ethtool(sock, struct.pack("=II", _GFEATURES, words) + bytes(words * 16))
            active = [struct.unpack_from("=I", blocks, 8 + 16 * i + 8)[0] for i in range(words)]
            found = {}
            for i in range(count):
                name = (
                    strings[12 + i * _STRING : 12 + (i + 1) * _STRING]
                    .split(b"\0")[0]
                    .decode("ascii", "replace")
                )
                found[name] = bool(active[i // 32] >> (i % 32) & 1)
            return found
        return {}

    def _ethtool(self, sock: socket.socket, request: bytes) -> bytes:
        """Ask the driver: the request is answered in its own place."""
        buffer = array.array("B", request)
        address, _ = buffer.buffer_info()
        fcntl.ioctl(sock.fileno(), _SIOCETHTOOL, struct.pack("16sP16x", self.name.encode(), address))
        return buffer.tobytes()

    def statistics(self) -> dict[str, int]:
        """Return its counts since it was made."""
        found = {}
        for name in ("rx_packets", "rx_dropped", "rx_missed_errors", "rx_fifo_errors"):
            with contextlib.suppress(OSError, ValueError):
                found[name] = int((_SYS / self.name / "statistics" / name).read_text())
        return found


_SYS: Final = Path("/sys/class/net")


def names() -> list[str]:
    """Return the names of all interfaces."""
    return sorted(name for _, name in socket.if_nameindex())


def interface(name: str) -> Interface | None:
    """Return an interface, None where there is no such one."""
    try:
        index = socket.if_nametoindex(name)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            request = struct.pack("16s24x", name.encode())
            flags = struct.unpack_from("=H", fcntl.ioctl(sock.fileno(), _SIOCGIFFLAGS, request), 16)[0]
            kind = struct.unpack_from("=H", fcntl.ioctl(sock.fileno(), _SIOCGIFHWADDR, request), 16)[0]
    except OSError:
        return None
    return Interface(name, index, flags, kind)
