"""HEP3 taken apart by its specification alone, and collectors that keep what an agent sends.

Nothing of hepcat's own decoder is used here: what it and the encoder agree on may still be wrong.
"""

import contextlib
import ipaddress
import socket
import ssl
import struct
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

#: What a test compares messages by: Call-ID, CSeq, start line and the payload itself.
Key = tuple[str, str, str, bytes]
MakeSocket = Callable[[int, int], socket.socket]


@dataclass(frozen=True, slots=True)
class Message:
    """One HEP3 message."""

    payload: bytes
    src: tuple[str, int]
    dst: tuple[str, int]
    family: int
    protocol: int
    kind: int
    node: int
    ts: float
    correlation: str = ""
    vlan: int = 0
    name: str = ""

    @property
    def key(self) -> Key:
        return key_of(self.payload)


def key_of(payload: bytes) -> Key:
    """Return what names a SIP message."""
    head = payload.replace(b"\r\n", b"\n").partition(b"\n\n")[0].decode("utf-8", "replace")
    lines = head.split("\n")
    found = {line.partition(":")[0].strip().lower(): line.partition(":")[2].strip() for line in lines[1:]}
    return found.get("call-id", found.get("i", "")), found.get("cseq", ""), lines[0], payload


def parse(octets: bytes) -> Message:
    """Take one message apart. Raises AssertionError, struct.error or KeyError where it is not HEP3."""
    assert octets[:4] == b"HEP3", octets[:40]
    assert struct.unpack(">H", octets[4:6])[0] == len(octets)
    chunks: dict[int, bytes] = {}
    at = 6
    while at < len(octets):
        vendor, kind, size = struct.unpack_from(">HHH", octets, at)
        assert size >= 6
        assert at + size <= len(octets)
        if vendor == 0:
            assert kind not in chunks, f"chunk {kind} twice"
            chunks[kind] = octets[at + 6 : at + size]
        at += size
    source, target = (chunks.get(4 + i, chunks.get(6 + i, b"")) for i in (-1, 0))
    number = {kind: int.from_bytes(body) for kind, body in chunks.items()}
    payload = chunks[0x0F] if 0x0F in chunks else zlib.decompress(chunks[0x10])
    return Message(
        payload,
        (str(ipaddress.ip_address(source)), number[7]),
        (str(ipaddress.ip_address(target)), number[8]),
        number[1],
        number[2],
        number[0x0B],
        number.get(0x0C, 0),
        number[9] + number[0x0A] / 1e6,
        chunks.get(0x11, b"").decode(),
        number.get(0x12, 0),
        chunks.get(0x13, b"").decode(),
    )


def split_stream(octets: bytes) -> list[Message]:
    """Take a stream apart by the lengths; what is cut off at its end is left out."""
    found, at = [], 0
    while len(octets) - at >= 6:
        (size,) = struct.unpack_from(">H", octets, at + 4)
        assert octets[at : at + 4] == b"HEP3", octets[at : at + 20]
        if at + size > len(octets):
            break
        found.append(parse(octets[at : at + size]))
        at += size
    return found


class UdpCollector:
    """A UDP socket on loopback, wherever `make` makes it, read by a thread."""

    def __init__(self, make: MakeSocket = socket.socket) -> None:
        self._sock = make(socket.AF_INET, socket.SOCK_DGRAM)
        with contextlib.suppress(OSError):
            self._sock.setsockopt(socket.SOL_SOCKET, getattr(socket, "SO_RCVBUFFORCE", 33), 1 << 26)
        self._sock.bind(("127.0.0.1", 0))
        self._sock.settimeout(0.05)
        self.port = int(self._sock.getsockname()[1])
        self.url = f"udp://127.0.0.1:{self.port}"
        self.datagrams: list[bytes] = []
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                self.datagrams.append(self._sock.recv(65536))
            except TimeoutError:
                if self._ending.is_set():
                    return

    def close(self) -> list[Message]:
        """Read what has arrived; return all of it."""
        self._ending.set()
        self._thread.join()
        self._sock.close()
        return self.messages

    @property
    def messages(self) -> list[Message]:
        return [parse(octets) for octets in list(self.datagrams)]

    def __enter__(self) -> "UdpCollector":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class StreamCollector:
    """A TCP or TLS collector on loopback that can go away and come back."""

    def __init__(self, tls: ssl.SSLContext | None = None, make: MakeSocket = socket.socket) -> None:
        self._tls, self._make = tls, make
        self.port = 0
        self.streams: list[bytearray] = []
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.open()
        self.url = f"{'tls' if tls else 'tcp'}://127.0.0.1:{self.port}"

    def open(self) -> None:
        """Begin to listen (again)."""
        listener = self._make(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(8)
        listener.settimeout(0.05)
        self.port = int(listener.getsockname()[1])
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, args=(listener,), daemon=True)
        self._thread.start()

    def away(self) -> None:
        """Stop listening; end the connection politely: FIN, then read to the end."""
        self._stop.set()
        assert self._thread is not None
        self._thread.join()

    def _run(self, listener: socket.socket) -> None:
        with listener:
            while not self._stop.is_set():
                try:
                    raw, _ = listener.accept()
                except TimeoutError:
                    continue
                stream = bytearray()
                self.streams.append(stream)
                with raw, contextlib.suppress(OSError):
                    self._serve(raw, stream, listener)

    def _serve(self, raw: socket.socket, stream: bytearray, listener: socket.socket) -> None:
        raw.settimeout(60)
        sock = self._tls.wrap_socket(raw, server_side=True) if self._tls else raw
        sock.settimeout(0.05)
        with sock:
            while not self._stop.is_set():
                try:
                    octets = sock.recv(1 << 16)
                except TimeoutError:
                    continue
                if not octets:
                    return
                stream += octets
            listener.close()
            socket.socket.shutdown(sock, socket.SHUT_WR)
            sock.settimeout(60)
            while octets := sock.recv(1 << 16):
                stream += octets

    @property
    def messages(self) -> list[Message]:
        return [message for stream in list(self.streams) for message in split_stream(bytes(stream))]

    def close(self) -> list[Message]:
        """Go away for good; return all that came."""
        if not self._stop.is_set():
            self.away()
        return self.messages

    def __enter__(self) -> "StreamCollector":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def check_same(got: Iterable[Key], wanted: Iterable[Key], where: str = "") -> None:
    """Nothing missing, nothing twice, nothing else."""
    have, want = Counter(got), Counter(wanted)
    if have != want:
        missing, extra = want - have, have - want
        shown = [f"{where}: {want.total()} wanted, {have.total()} came"]
        for what, keys in (("missing", missing), ("too many", extra)):
            shown += [f"{n} x {what}: {key[:3]} {len(key[3])} octets" for key, n in list(keys.items())[:8]]
        raise AssertionError("\n".join(shown))


def until(condition: Callable[[], bool], seconds: float = 60.0) -> bool:
    """Wait until it holds; whether it did in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True
