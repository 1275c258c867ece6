"""What the tests of sinks share: collectors on loopback made of plain sockets, and records to send."""

import contextlib
import socket
import ssl
import struct
import threading
import time
from typing import Any

import numpy as np

from hepcat.batch.drops import Drop
from hepcat.batch.layout import Batch
from hepcat.config.agent import AgentSettings, TargetSettings
from hepcat.sinks.make import make_sink
from hepcat.wire.hep import decode_hep
from tests.lake.make import NOON, build
from tests.support import free_port

AGENT = AgentSettings(node_id=2001, node_name="edge")


def numbered(first: int, n: int, size: int = 300, **more: Any) -> Batch:
    """Make n records whose payload begins with their number."""
    return build(
        [
            {"payload": (b"%09d " % i).ljust(size, b"x"), "ts": NOON + i, "call_id": b"%09d" % i} | more
            for i in range(first, first + n)
        ]
    )


def sink(*urls: str, agent: AgentSettings = AGENT, **options: Any) -> Any:
    """Make a sink that tries again soon."""
    made: Any = make_sink(TargetSettings(name="t", urls=urls, **options), agent)
    for writer in made._writers:
        writer._first_pause = 0.05
    return made


class Load(threading.Thread):
    """Sends numbered records in batches, as a worker does, until it has sent them all, or it is enough.

    `sent`: how many so far.
    """

    def __init__(
        self, sink: Any, records: int, batch: int = 100, pause: float = 0.002, make: Any = numbered
    ) -> None:
        super().__init__(daemon=True)
        self.outlet = sink.open_outlet()
        self._backlogs = [writer.backlog for writer in sink._writers]
        self.records, self.batch, self.pause, self.make = records, batch, pause, make
        self.sent = 0
        self.enough = threading.Event()

    def run(self) -> None:
        while self.sent < self.records and not self.enough.is_set():
            made = self.make(self.sent, min(self.batch, self.records - self.sent))
            self.outlet.send(made, rows(made))
            self.sent += made.n
            time.sleep(self.pause)
            while any(map(has_to_spool, self._backlogs)):  # a busy machine must not make it lose records
                time.sleep(0.0005)


def has_to_spool(backlog: Any) -> bool:
    """Whether a backlog with a spool has more in memory than it wants to have."""
    return backlog.spools and (backlog._is_pressed() or backlog._moving)


def rows(batch: Batch) -> Any:
    return np.arange(batch.n, dtype=np.int64)


def decode(datagrams: list[bytes]) -> Batch:
    """Decode HEP messages; every one must be good."""
    data = np.frombuffer(b"".join(datagrams), dtype=np.uint8)
    lengths = np.array([len(d) for d in datagrams], dtype=np.int64)
    batch = Batch.empty(max(1, len(datagrams)), 2 * len(data) + 70_000 * bool(datagrams) + 1)
    drops = np.zeros(len(Drop), dtype=np.int64)
    offsets = np.cumsum([0, *lengths])[: len(lengths)]
    assert decode_hep(data, offsets, lengths, len(lengths), NOON, batch, drops) == len(datagrams)
    assert not drops.any()
    return batch


def numbers(octets: bytes) -> list[int]:
    """Take a HEP3 stream apart by its lengths alone; a message cut at the end is left out."""
    found, at = [], 0
    while len(octets) - at >= 6:
        assert octets[at : at + 4] == b"HEP3", octets[at : at + 20]
        (size,) = struct.unpack_from(">H", octets, at + 4)
        if size > len(octets) - at:
            break
        chunk, payload = at + 6, b""
        while chunk < at + size:
            _, kind, length = struct.unpack_from(">HHH", octets, chunk)
            if kind == 0x000F:
                payload = octets[chunk + 6 : chunk + length]
            chunk += length
        found.append(int(payload[:9]))
        at += size
    return found


class Udp:
    """A UDP socket that keeps what it gets."""

    def __init__(self, port: int = 0) -> None:
        self.sock = socket.socket(type=socket.SOCK_DGRAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**22)
        self.sock.bind(("127.0.0.1", port))
        self.port = self.sock.getsockname()[1]
        self.url = f"udp://127.0.0.1:{self.port}"

    def take(self, n: int, seconds: float = 60.0) -> list[bytes]:
        """Return n datagrams, fewer where they do not come in time."""
        self.sock.settimeout(seconds)
        found: list[bytes] = []
        with contextlib.suppress(TimeoutError):
            while len(found) < n:
                found.append(self.sock.recv(65536))
        return found

    def close(self) -> None:
        self.sock.close()


class Stream:
    """A TCP or TLS collector that can go away and come back; keeps the octets of each connection.

    What counts as received is what its kernel acknowledged: `vanish` takes what it holds unread too.
    """

    def __init__(self, tls: ssl.SSLContext | None = None, rcvbuf: int = 0) -> None:
        self.tls = tls
        self.rcvbuf = rcvbuf
        self.port = free_port()
        self.url = f"{'tls' if tls else 'tcp'}://127.0.0.1:{self.port}"
        self.streams: list[bytearray] = []
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._polite = True
        self.hold = threading.Event()  # set: read nothing

    def open(self) -> "Stream":
        self._stop.clear()
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self.rcvbuf:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.rcvbuf)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(8)
        listener.settimeout(0.01)
        self._thread = threading.Thread(target=self._run, args=(listener,), daemon=True)
        self._thread.start()
        return self

    def _run(self, listener: socket.socket) -> None:
        with listener:
            while not self._stop.is_set():
                try:
                    sock, _ = listener.accept()
                except TimeoutError:
                    continue
                stream = bytearray()
                self.streams.append(stream)
                with contextlib.suppress(OSError):
                    self._serve(sock, stream, listener)
                sock.close()

    def _serve(self, sock: socket.socket, stream: bytearray, listener: socket.socket) -> None:
        raw = sock
        if self.tls:
            sock.settimeout(60)
            sock = self.tls.wrap_socket(sock, server_side=True)
        sock.settimeout(0.02)
        while not self._stop.is_set():
            if self.hold.is_set():
                time.sleep(0.005)
                continue
            try:
                octets = sock.recv(1 << 16)
            except TimeoutError:
                continue
            if not octets:
                return
            stream += octets
        listener.close()
        if self._polite:  # FIN, then read to the end
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_WR)
            sock.settimeout(60)
            while octets := sock.recv(1 << 16):
                stream += octets
            return
        # What the kernel has acknowledged counts; then a reset, as when a machine goes down.
        stream += sock.recv(1 << 24, socket.MSG_PEEK)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert raw is sock

    def close(self, polite: bool = True) -> None:
        """Go away: politely (read to the end), or by a reset."""
        self._polite = polite
        self._stop.set()
        assert self._thread is not None
        self._thread.join()

    @property
    def numbers(self) -> list[int]:
        return [n for stream in list(self.streams) for n in numbers(bytes(stream))]


def balanced(sink: Any) -> dict[str, int]:
    """Return the sums over a sink's tallies; hold taken = sent + waiting + drops."""
    total: dict[str, int] = {"taken": 0, "sent": 0, "waiting": 0, "spooled": 0, "reconnects": 0, "dropped": 0}
    for tally in sink.tallies():
        for name in ("taken", "sent", "waiting", "spooled", "reconnects", "dropped"):
            total[name] += int(tally.drops.sum()) if name == "dropped" else getattr(tally, name)
        for drop in Drop:
            if tally.drops[drop]:
                total[drop.name] = total.get(drop.name, 0) + int(tally.drops[drop])
    assert total["taken"] == total["sent"] + total["waiting"] + total["dropped"], total
    return total
