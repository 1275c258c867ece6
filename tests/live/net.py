"""Network namespaces for tests: traffic that nobody else sees.

In: root. Out: namespaces and veth pairs with names of their own, gone when the block ends. What can go
wrong: no right, no `ip` command, a kernel without namespaces; `reason()` says so, for a skip.
"""

import contextlib
import ctypes
import fcntl
import functools
import itertools
import os
import shutil
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

CLONE_NEWNET = 0x40000000
_NUMBERS = itertools.count()
_LIBC: Any = ctypes.CDLL(None, use_errno=True)


def run(*words: str, check: bool = True) -> str:
    """Run a command; return what it printed."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


@functools.cache
def reason() -> str:
    """Why there are no namespaces here; empty where there are."""
    if not hasattr(socket, "AF_PACKET"):
        return "not Linux: no packet sockets"
    if os.geteuid() != 0:
        return "not root: cannot make network namespaces"
    if shutil.which("ip") is None:
        return "no ip command (package iproute2)"
    try:
        with pair():
            return ""
    except (RuntimeError, OSError) as error:
        return f"no network namespaces: {error}"


def need() -> None:
    """Skip the test, with the reason, where there are no namespaces."""
    if reason():
        pytest.skip(reason())


@dataclass
class Namespace:
    """A network namespace; `dev` is its end of the pair."""

    name: str
    dev: str = ""

    def run(self, *words: str, check: bool = True) -> str:
        """Run a command in it."""
        return run("ip", "netns", "exec", self.name, *words, check=check)

    def ip(self, words: str) -> str:
        """Run `ip WORDS` in it."""
        return run("ip", "-n", self.name, *words.split())

    def popen(self, words: Sequence[str], **more: Any) -> "subprocess.Popen[str]":
        """Start a command in it (`ip netns exec` becomes that command: the pid is its own)."""
        return subprocess.Popen(["ip", "netns", "exec", self.name, *words], text=True, **more)

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Be in it: sockets that this thread opens meanwhile belong to it for good."""
        assert threading.current_thread() is threading.main_thread(), "children inherit from this thread"
        before = os.open("/proc/self/ns/net", os.O_RDONLY)
        there = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
        try:
            _set(there)
            yield
        finally:
            _set(before)
            os.close(there)
            os.close(before)

    def has_type(self, kind: str) -> bool:
        """Whether this kernel has interfaces of a type: "vlan id 9", "ipip local A remote B"."""
        link = f"link {self.dev} " if kind.startswith("vlan") else ""
        try:
            self.ip(f"link add {link}name hepcat0 type {kind}")
        except RuntimeError:
            return False
        self.ip("link delete hepcat0")
        return True

    def socket(
        self, family: int = socket.AF_INET, kind: int = socket.SOCK_DGRAM, protocol: int = 0
    ) -> socket.socket:
        """Return a socket of it."""
        with self.entered():
            return socket.socket(family, kind, protocol)

    def promiscuity(self, dev: str = "") -> int:
        """Return how many ask for promiscuous mode of an interface."""
        out = run("ip", "-n", self.name, "-d", "link", "show", "dev", dev or self.dev)
        return int(out.split(" promiscuity ")[1].split()[0])


def _set(fd: int) -> None:
    if _LIBC.setns(fd, CLONE_NEWNET) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


@contextlib.contextmanager
def namespace() -> Iterator[Namespace]:
    """Make a namespace with loopback up and without IPv6's own chatter."""
    made = Namespace(f"hepcat-{os.getpid()}-{next(_NUMBERS)}")
    run("ip", "netns", "add", made.name)
    try:
        made.run("sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1", check=False)
        made.ip("link set lo up")
        yield made
    finally:
        run("ip", "netns", "delete", made.name, check=False)


@contextlib.contextmanager
def pair(addresses: bool = True) -> Iterator[tuple[Namespace, Namespace]]:
    """Make two namespaces joined by a veth pair: 10.9.0.1 on `va`, 10.9.0.2 on `vb`."""
    with namespace() as a, namespace() as b:
        run("ip", "link", "add", "va", "netns", a.name, "type", "veth", "peer", "name", "vb", "netns", b.name)
        for end, dev, number in ((a, "va", 1), (b, "vb", 2)):
            end.dev = dev
            if addresses:
                end.ip(f"address add 10.9.0.{number}/24 dev {dev}")
            end.ip(f"link set {dev} up")
        if addresses:  # no ARP: what is counted is what was sent
            a.ip(f"neighbour add 10.9.0.2 lladdr {mac(b)} dev va nud permanent")
            b.ip(f"neighbour add 10.9.0.1 lladdr {mac(a)} dev vb nud permanent")
        yield a, b


def mac(of: Namespace, dev: str = "") -> str:
    """Return an interface's link address."""
    out = run("ip", "-n", of.name, "-o", "link", "show", "dev", dev or of.dev)
    return out.split("link/ether ")[1].split()[0]


def send_frames(to: Namespace, frames: Sequence[bytes], dev: str = "") -> None:
    """Send whole Ethernet frames out of an interface."""
    with to.entered(), socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
        sock.bind((dev or to.dev, 0))
        for frame in frames:
            sock.send(frame)


def replay(to: Namespace, capture: Path, dev: str = "", *options: str) -> str:
    """Send a capture file out of an interface with tcpreplay."""
    return to.run("tcpreplay", "-q", "-i", dev or to.dev, *(options or ("--topspeed",)), str(capture))


def ethernet(payload: bytes, kind: int = 0x0800, tags: Sequence[int] = (), outer: int = 0x8100) -> bytes:
    """Return a frame, with VLAN tags where asked for."""
    head = bytes.fromhex("020000000002020000000001")
    types = [outer if i == 0 and len(tags) > 1 else 0x8100 for i in range(len(tags))]
    return (
        head
        + b"".join(struct.pack(">HH", t, v) for t, v in zip(types, tags, strict=True))
        + struct.pack(">H", kind)
        + payload
    )


def ipv4(payload: bytes, protocol: int = 17, fragment: int = 0, ident: int = 1) -> bytes:
    """Return an IPv4 packet of 10.9.0.1 to 10.9.0.2."""
    length = 20 + len(payload)
    head = struct.pack(">BBHHHBBH", 0x45, 0, length, ident, fragment, 64, protocol, 0)
    head += bytes((10, 9, 0, 1, 10, 9, 0, 2))
    total = sum(struct.unpack(">10H", head))
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return head[:10] + struct.pack(">H", ~total & 0xFFFF) + head[12:] + payload


def udp(payload: bytes, source: int = 5060, target: int = 5060) -> bytes:
    """Return a UDP datagram without a checksum."""
    return struct.pack(">HHHH", source, target, 8 + len(payload), 0) + payload


def enable_ipv6(a: Namespace, b: Namespace) -> None:
    """Give a pair fd09::1 and fd09::2, without neighbour discovery."""
    for end, number in ((a, 1), (b, 2)):
        end.run("sysctl", "-qw", f"net.ipv6.conf.{end.dev}.disable_ipv6=0")
        end.run("sysctl", "-qw", "net.ipv6.conf.lo.disable_ipv6=0")
        end.ip(f"-6 address add fd09::{number}/64 dev {end.dev} nodad")
    a.ip(f"-6 neighbour add fd09::2 lladdr {mac(b)} dev {a.dev} nud permanent")
    b.ip(f"-6 neighbour add fd09::1 lladdr {mac(a)} dev {b.dev} nud permanent")


def tun(where: Namespace, name: str, tap: bool = False) -> int:
    """Make a TUN (or TAP) interface in a namespace; return its descriptor: packets of it are read and
    written there, without a header of their own.
    """
    with where.entered():  # the interface is made where the device was opened
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    try:
        # TUNSETIFF with IFF_TUN or IFF_TAP, IFF_NO_PI: linux/if_tun.h
        fcntl.ioctl(fd, 0x400454CA, struct.pack("16sH22x", name.encode(), 0x1000 | (2 if tap else 1)))
    except BaseException:
        os.close(fd)
        raise
    return fd
