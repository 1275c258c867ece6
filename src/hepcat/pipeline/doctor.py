"""What keeps an agent from seeing packets on this machine, and what to type against it.

In: interfaces, and the settings where there are any. Out: `Finding`s: ok, warn or bad, what was found, and a
command. Nothing is changed; a ring is opened for a moment, without promiscuous mode. What can go wrong:
nothing; what a kernel or container does not tell is left out.
"""

import contextlib
import ctypes
import os
import socket
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

from hepcat.config.agent import ProfileSettings
from hepcat.config.settings import Settings
from hepcat.config.values import format_octets
from hepcat.errors import HepcatError
from hepcat.pipeline.interfaces import Interface, interface, names
from hepcat.pipeline.privileges import capabilities
from hepcat.sources.filters import compile_filter

Level = Literal["ok", "warn", "bad"]

ANY: Final = "any"
_CAP_NET_RAW: Final = 1 << 13
#: What a receive buffer of a HEP or TZSP port should be able to have.
_RMEM: Final = 8 * 2**20
_BACKLOG: Final = 1000
#: A share of dropped packets that is worth a word: rx_dropped counts protocols that nobody reads, too.
_DROP_SHARE: Final = 0.001
_WHOLE: Final = 65535
_STA_UNSYNC: Final = 0x40  # adjtimex(2)
_TIME_ERROR: Final = 5

#: Offloads that merge packets before a capture sees them: feature, level, meaning, what to turn off.
_MERGING: Final[tuple[tuple[str, Level, str, str], ...]] = (
    ("rx-lro", "warn", "the card merges TCP segments and rewrites their headers", "lro"),
    ("rx-gro-list", "warn", "UDP datagrams of a flow may be merged: messages could be missed", "rx-gro-list"),
    (
        "rx-udp-gro-forwarding",
        "warn",
        "UDP datagrams of a flow may be merged: messages could be missed",
        "rx-udp-gro-forwarding",
    ),
)
#: Those that only make packets longer than the link carries: harmless where whole packets are captured.
_LENGTHENING: Final[tuple[tuple[str, str], ...]] = (
    ("rx-gro", "gro"),
    ("rx-gro-hw", "rx-gro-hw"),
    ("tx-tcp-segmentation", "tso"),
    ("tx-generic-segmentation", "gso"),
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One line. subject: interface, profile or setting; command: what to type, where something is."""

    check: str
    subject: str
    level: Level
    found: str
    command: str = ""

    def as_dict(self) -> dict[str, str]:
        """For --json."""
        return asdict(self)


def examine(devs: Sequence[str] = (), settings: Settings | None = None) -> list[Finding]:
    """Look at everything. devs: interfaces; without them those of the settings' profiles, else "any"."""
    profiles = [p for p in settings.agent.profiles if p.enable] if settings is not None else []
    live = [p for p in profiles if not (p.hep or p.tzsp or p.collect)]
    wanted = tuple(dict.fromkeys(devs or [dev for p in live for dev in p.dev] or (ANY,)))
    findings = [*_rights(settings)]
    for dev in wanted:
        findings += _interface(dev, [p for p in live if dev in p.dev])
    findings += _rings(wanted, live)
    findings += _filters(profiles)
    findings += [*_kernel(), *_backlog(), *_jit(), *_clock(), *_sniffers(wanted)]
    return findings


def worst(findings: Iterable[Finding]) -> Level:
    """Return the worst level."""
    levels = {finding.level for finding in findings}
    return "bad" if "bad" in levels else "warn" if "warn" in levels else "ok"


# ---- rights


def _rights(settings: Settings | None) -> Iterator[Finding]:
    try:
        if not hasattr(socket, "AF_PACKET"):
            yield Finding("rights", "packet sockets", "warn", "not Linux: captured through libpcap, slowly")
            return
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()
    except PermissionError:
        yield Finding(
            "rights",
            "packet sockets",
            "bad",
            "this user may not capture (neither root nor CAP_NET_RAW)",
            "sudo hepcat doctor, or in the systemd unit: AmbientCapabilities=CAP_NET_RAW",
        )
        return
    except OSError as error:
        yield Finding("rights", "packet sockets", "bad", str(error.strerror), "modprobe af_packet")
        return
    how = "root" if os.geteuid() == 0 else "CAP_NET_RAW" if capabilities() & _CAP_NET_RAW else "allowed"
    yield Finding("rights", "packet sockets", "ok", how)
    if settings is not None and settings.user is None and os.geteuid() == 0:
        yield Finding(
            "rights", "user", "warn", "the agent would stay root", 'useradd --system hepcat; user = "hepcat"'
        )


# ---- interfaces


def _interface(dev: str, profiles: Sequence[ProfileSettings]) -> Iterator[Finding]:
    """Look at an interface, or at each that "any" means."""
    snap_len = min((p.snap_len for p in profiles), default=_WHOLE)
    if dev == ANY:
        up = [i for i in map(interface, names()) if i is not None and i.up and not i.loopback]
        if up:
            yield Finding("interface", ANY, "ok", f"up: {', '.join(each.name for each in up)}")
        else:
            yield Finding("interface", ANY, "bad", "no interface but loopback is up", "ip link set DEV up")
        yield Finding("interface", ANY, "ok", "no promiscuous mode: name an interface for a mirror port")
        for each in up:
            yield from _offloads(each, snap_len)
            yield from _losses(each)
        return
    found = interface(dev)
    if found is None:
        there = ", ".join(names())
        yield Finding("interface", dev, "bad", f"there is no such interface; there are {there}", "ip link")
        return
    one = found
    if not one.up:
        yield Finding("interface", dev, "bad", "it is down", f"ip link set {dev} up")
    elif not one.running:
        yield Finding("interface", dev, "warn", "it is up, but has no carrier", f"ethtool {dev}")
    else:
        mode = ", in promiscuous mode now" if one.promiscuous else ""
        yield Finding("interface", dev, "ok", f"up, {one.link}{mode}")
    yield from _offloads(one, snap_len)
    yield from _losses(one)


def _offloads(one: Interface, snap_len: int) -> Iterator[Finding]:
    features = one.features()
    if not features:
        return
    merging = [row for row in _MERGING if features.get(row[0])]
    for name, level, meaning, switch in merging:
        yield Finding("offload", one.name, level, f"{name}: {meaning}", f"ethtool -K {one.name} {switch} off")
    longer = [(name, switch) for name, switch in _LENGTHENING if features.get(name)]
    if not longer:
        if not merging:
            yield Finding("offload", one.name, "ok", "none that merges packets")
        return
    shown = ", ".join(name for name, _ in longer)
    if snap_len >= _WHOLE:
        yield Finding(
            "offload",
            one.name,
            "ok",
            f"{shown}: TCP is seen in longer packets than the link has; all is read",
        )
        return
    off = " ".join(f"{switch} off" for _, switch in longer)
    yield Finding(
        "offload",
        one.name,
        "warn",
        f"{shown}: TCP comes in packets of up to 64 KiB, which snap_len {snap_len} cuts",
        f"ethtool -K {one.name} {off}, or snap_len = {_WHOLE}",
    )


def _losses(one: Interface) -> Iterator[Finding]:
    """Packets that were lost before any capture saw them."""
    counts = one.statistics()
    missed = counts.get("rx_missed_errors", 0) + counts.get("rx_fifo_errors", 0)
    if missed:
        yield Finding(
            "losses", one.name, "warn", f"{missed} packets since boot found the card's ring full",
            f"ethtool -g {one.name}; ethtool -G {one.name} rx MAXIMUM",
        )  # fmt: skip
    dropped, received = counts.get("rx_dropped", 0), counts.get("rx_packets", 0)
    if dropped > received * _DROP_SHARE:
        yield Finding(
            "losses", one.name, "warn",
            f"rx_dropped is {dropped} of {received} (packets of protocols that nobody reads count too)",
            f"ip -s -s link show dev {one.name}",
        )  # fmt: skip


# ---- settings


def _rings(devs: Sequence[str], profiles: Sequence[ProfileSettings]) -> Iterator[Finding]:
    """Whether the rings can be had."""
    total = sum(p.ring_buffer * p.workers * len(p.dev) for p in profiles) or ProfileSettings().ring_buffer
    size = max((p.ring_buffer for p in profiles), default=ProfileSettings().ring_buffer)
    free = _available_memory()
    found = f"{format_octets(total)} for the rings (not counted by ulimit -l)"
    if free and total > free // 2:
        yield Finding(
            "memory", "rings", "bad", f"{found}, of {format_octets(free)} available", "Set ring_buffer lower."
        )
        return
    from hepcat.sources import af_packet

    for dev in devs:
        try:
            af_packet.RingSource(dev, ring_octets=size, promisc=False).close()
        except HepcatError as error:
            if "no right" not in str(error) and "no interface" not in str(error):
                yield Finding("memory", dev, "bad", str(error), error.hint)
            return
        except (OSError, AttributeError):
            return
    yield Finding("memory", "rings", "ok", found)


def _available_memory() -> int:
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return 0


def _filters(profiles: Sequence[ProfileSettings]) -> Iterator[Finding]:
    """Whether libpcap is there, and takes every filter."""
    try:
        compile_filter("port 5060")
        for profile in profiles:
            for dev in profile.dev if profile.filter else ():
                one = interface(dev)
                link = "cooked" if dev == ANY or (one is not None and not one.has_ethernet) else "ethernet"
                made = compile_filter(profile.filter, link, profile.pass_fragments, where=profile.name)
                if made.note:
                    yield Finding("filter", profile.name, "warn", made.note)
    except HepcatError as error:
        yield Finding("filter", "libpcap", "bad", str(error), error.hint)
        return
    yield Finding("filter", "libpcap", "ok", f"{sum(bool(p.filter) for p in profiles)} filters compiled")


# ---- kernel


def _sysctl(name: str) -> int | None:
    try:
        return int(Path("/proc/sys", *name.split(".")).read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None


def _kernel() -> Iterator[Finding]:
    """Receive buffers: those of HEP and TZSP ports (a ring has its own memory)."""
    largest, usual = _sysctl("net.core.rmem_max"), _sysctl("net.core.rmem_default")
    if largest is None:
        return
    found = f"net.core.rmem_max is {largest}, rmem_default {usual}"
    if largest < _RMEM:
        yield Finding(
            "buffers", "rmem_max", "warn", f"{found}: little for a port that receives HEP or TZSP",
            f"sysctl -w net.core.rmem_max={4 * _RMEM}",
        )  # fmt: skip
    else:
        yield Finding("buffers", "rmem_max", "ok", found)


def _backlog() -> Iterator[Finding]:
    """Packets lost between card and protocols: /proc/net/softnet_stat, a line a CPU, in hexadecimal."""
    backlog = _sysctl("net.core.netdev_max_backlog")
    dropped = squeezed = 0
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/net/softnet_stat").read_text().splitlines():
            fields = line.split()
            dropped += int(fields[1], 16)
            squeezed += int(fields[2], 16)
    if dropped or (backlog is not None and backlog < _BACKLOG):
        yield Finding(
            "losses", "backlog", "warn",
            f"{dropped} packets since boot found the backlog of {backlog} full",
            "sysctl -w net.core.netdev_max_backlog=10000",
        )  # fmt: skip
    else:
        yield Finding(
            "losses", "backlog", "ok", f"none lost before the protocols ({squeezed} times out of time)"
        )


def _jit() -> Iterator[Finding]:
    enabled = _sysctl("net.core.bpf_jit_enable")
    if enabled == 0:
        yield Finding(
            "filter", "bpf_jit_enable", "warn", "the kernel interprets filters, several times slower",
            "sysctl -w net.core.bpf_jit_enable=1",
        )  # fmt: skip
    elif enabled is not None:
        yield Finding("filter", "bpf_jit_enable", "ok", "the kernel compiles filters")


class _Timex(ctypes.Structure):
    """The head of struct timex (adjtimex(2)), with room for the rest."""

    _fields_ = [
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 256),
    ]


def _clock() -> Iterator[Finding]:
    """Whether something keeps the clock right: the time of a message is what calls are put together by."""
    if not sys.platform.startswith("linux"):
        return
    libc: Any = ctypes.CDLL(None, use_errno=True)
    now = _Timex()
    state = int(libc.adjtimex(ctypes.byref(now)))
    if state < 0:
        return
    if state == _TIME_ERROR or now.status & _STA_UNSYNC:
        yield Finding(
            "time", "clock", "warn", "not synchronised: messages of several agents will not be in order",
            "timedatectl set-ntp true (or chronyc tracking, to see why)",
        )  # fmt: skip
    else:
        yield Finding("time", "clock", "ok", f"synchronised, error at most {now.maxerror / 1000:.0f} ms")


def _sniffers(devs: Sequence[str]) -> Iterator[Finding]:
    """Others that read packets here. They take nothing away; each costs the kernel a copy."""
    indexes = {0, *(one.index for one in map(interface, devs) if one is not None)}
    count = 0
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/net/packet").read_text().splitlines()[1:]:
            fields = line.split()
            count += fields[3] == "0003" and (ANY in devs or int(fields[4]) in indexes)
    if count:
        yield Finding(
            "sniffers", "packet sockets", "ok", f"{count} others read all packets here: `ss -0 -p` names them"
        )
