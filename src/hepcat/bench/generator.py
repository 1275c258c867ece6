"""Send made-up traffic: `hepcat bench hep`.

In: where to, how fast, how long, and a Traffic. Out: `Sent`, exact counts of what left. UDP goes out with
sendmmsg, evenly paced: what is due is sent every millisecond. What can go wrong: HepcatError for an
address that cannot be reached; a rate that this machine does not reach is reported, never made up for by
a burst: after a pause it goes a quarter faster than asked until it is in time again.
"""

import socket
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

import numpy as np

from hepcat.bench.traffic import Block, Traffic
from hepcat.errors import HepcatError
from hepcat.mmsg import Sender

#: Seconds between two looks at what is due.
TICK: Final = 0.001
#: Messages written and sent at once: their octets stay in the processor's second-level cache.
BATCH: Final = 512
#: Seconds that the pace may fall behind (other programs had the processor) before the rest is given up.
_BEHIND: Final = 1.0
#: How much faster than asked it goes to catch up.
_CATCH_UP: Final = 1.25


@dataclass(slots=True)
class Sent:
    """What was sent. `methods` counts by "METHOD" or "STATUS METHOD" (of the CSeq)."""

    messages: int = 0
    octets: int = 0
    seconds: float = 0.0
    calls: int = 0
    rate: float = 0.0
    waits: int = 0
    icmp_errors: int = 0
    first_ts: int = 0
    last_ts: int = 0
    methods: dict[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """For --json."""
        return asdict(self)


class _Udp:
    """Datagrams to one address."""

    def __init__(self, host: str, port: int) -> None:
        self.socket = _connected(host, port, socket.SOCK_DGRAM)
        self.sender = Sender(self.socket)

    def send(self, block: Block) -> None:
        self.sender.send(block.buffer, block.offsets, 0, len(block))


class _Tcp:
    """The same messages in a stream; HEP 3 carries its own length."""

    def __init__(self, host: str, port: int) -> None:
        self.socket = _connected(host, port, socket.SOCK_STREAM)

    def send(self, block: Block) -> None:
        self.socket.sendall(block.buffer[: int(block.offsets[-1])].data)


def _connected(host: str, port: int, kind: socket.SocketKind) -> socket.socket:
    """Return a socket connected to the first address of a host that takes it."""
    problem: OSError | None = None
    try:
        found = socket.getaddrinfo(host, port, type=kind)
    except OSError as error:
        raise HepcatError(
            f"cannot find {host}: {error.strerror}", "Give a name or address of a host."
        ) from None
    for family, type_, proto, _, address in found:
        sock = socket.socket(family, type_, proto)
        try:
            sock.connect(address)
        except OSError as error:
            sock.close()
            problem = error
            continue
        return sock
    raise HepcatError(
        f"cannot send to {host} port {port}: {problem}", "Is a server listening there? `hepcat serve`"
    )


def parse_target(to: str, hep_version: int) -> tuple[str, str, int]:
    """Return scheme, host and port of udp://HOST:PORT or tcp://HOST:PORT (port 9060 if none is given)."""
    parts = urlsplit(to if "//" in to else "//" + to, scheme="udp")
    try:
        port = parts.port or 9060
    except ValueError:
        raise HepcatError(f"no port in {to!r}", "Write udp://127.0.0.1:9060, for example.") from None
    if parts.scheme not in ("udp", "tcp") or not parts.hostname or parts.path not in ("", "/"):
        raise HepcatError(f"cannot send to {to!r}", "Write udp://127.0.0.1:9060 or tcp://127.0.0.1:9060.")
    if parts.scheme == "tcp" and hep_version != 3:
        raise HepcatError("HEP 1 and 2 have no framing for TCP", "Use --hep-version 3, or udp://.")
    return parts.scheme, parts.hostname, port


def send(
    traffic: Traffic,
    to: str,
    rate: float = 0.0,
    seconds: float = 10.0,
    messages: int = 0,
    hep_version: int = 3,
    stop: Callable[[], bool] = lambda: False,
) -> Sent:
    """Send the traffic; return what was sent.

    rate: messages a second, 0 as fast as possible. messages: how many exactly; 0: as many as fit into
    `seconds`. stop: asked before every batch.
    """
    scheme, host, port = parse_target(to, hep_version)
    door: _Udp | _Tcp = _Udp(host, port) if scheme == "udp" else _Tcp(host, port)
    try:
        sent = _run(traffic, door, rate, seconds, messages, stop)
    finally:
        door.socket.close()
    if isinstance(door, _Udp):
        sent.waits, sent.icmp_errors = door.sender.waits, door.sender.icmp_errors
    return sent


def _run(
    traffic: Traffic, door: _Udp | _Tcp, rate: float, seconds: float, messages: int, stop: Callable[[], bool]
) -> Sent:
    """The loop: what is due, written, sent."""
    limit = messages or (round(rate * seconds) if rate else 2**62)
    counts = np.zeros(len(traffic.kinds), dtype=np.int64)
    out = np.empty(traffic.widest * BATCH, dtype=np.uint8)
    step = 1e6 / rate if rate else 1.0
    sent = Sent(first_ts=time.time_ns() // 1000)
    begin = origin = time.perf_counter()
    deadline = begin + seconds if not messages else float("inf")
    before = begin
    while sent.messages < limit and not stop():
        now = time.perf_counter()
        due = BATCH
        if rate:
            due = int((min(now, deadline) - origin) * rate) - sent.messages
            if due > rate * _BEHIND:
                origin += due / rate - _BEHIND
            due = min(due, int((now - before) * rate * _CATCH_UP) + 1)
            early = TICK - (now - before)
            if now < deadline and (due <= 0 or early > 0):
                time.sleep(max(early, TICK / 4))
                continue
            before = now
        if now >= deadline and (not rate or due <= 0):
            break
        count = min(due, BATCH, limit - sent.messages)
        last = time.time_ns() // 1000
        ts = (last - np.arange(count - 1, -1, -1) * step).astype(np.int64)
        template, dialog = traffic.events(count)
        block = traffic.write(template, dialog, ts, out)
        door.send(block)
        counts += np.bincount(template, minlength=len(counts))
        sent.messages += count
        sent.octets += int(block.offsets[-1])
        sent.last_ts = last
    sent.seconds = time.perf_counter() - begin
    sent.rate = sent.messages / sent.seconds if sent.seconds else 0.0
    sent.calls = int(counts[traffic.firsts].sum())
    sent.methods = named(traffic.count(counts))
    return sent


def named(methods: Counter[tuple[str, int]]) -> dict[str, int]:
    """Name the kinds of messages: "INVITE", "200 INVITE"; "" is noise and left out."""
    return {
        (f"{status} {method}" if status else method): n
        for (method, status), n in sorted(methods.items())
        if method
    }
