"""What the tests of the server share: HEP3 messages made by hand, a fake store, a server in the process."""

import contextlib
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hepcat.batch.layout import Batch
from hepcat.config.loader import load_settings
from hepcat.pipeline.server import Server
from hepcat.stores.store import StoreUnavailable
from tests.support import SHARED, free_port, wait_for

INVITE = (
    "INVITE sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK{0}\r\n"
    "From: <sip:alice@example.com>;tag=f{0}\r\nTo: <sip:bob@example.com>\r\nCall-ID: {0}\r\n"
    "CSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
)


def invite(call_id: object) -> bytes:
    """Return a small request with this Call-ID."""
    return INVITE.format(call_id).encode()


def hep3(payload: bytes, key: bytes = b"", node: int = 7, kind: int = 1, name: bytes = b"") -> bytes:
    """Return one HEP3 message, its chunks written by hand: an oracle independent of our encoder."""
    now = time.time()
    chunks = [
        (0x0001, b"\x02"),
        (0x0002, b"\x11"),
        (0x0003, bytes([192, 0, 2, 1])),
        (0x0004, bytes([192, 0, 2, 2])),
        (0x0007, struct.pack("!H", 5060)),
        (0x0008, struct.pack("!H", 5062)),
        (0x0009, struct.pack("!I", int(now))),
        (0x000A, struct.pack("!I", int(now % 1 * 1e6))),
        (0x000B, bytes([kind])),
        (0x000C, struct.pack("!I", node)),
        *([(0x000E, key)] if key else []),
        *([(0x0013, name)] if name else []),
        (0x000F, payload),
    ]
    body = b"".join(struct.pack("!HHH", 0, type_, len(value) + 6) + value for type_, value in chunks)
    return b"HEP3" + struct.pack("!H", len(body) + 6) + body


def recorded(name: str) -> list[bytes]:
    """Return the datagrams of a recorded vector, [] where the recordings are not there."""
    path: Path = SHARED / "vectors" / name
    raw = path.read_bytes() if path.exists() else b""
    found, at = [], 0
    while at < len(raw):
        (size,) = struct.unpack_from(">I", raw, at)
        found.append(raw[at + 4 : at + 4 + size])
        at += 4 + size
    return found


class MemoryStore:
    """A store that keeps rows in memory, and can be told to be away or slow."""

    def __init__(self) -> None:
        self.call_ids: list[bytes | None] = []
        self.names: list[bytes | None] = []
        self.payloads: list[bytes | None] = []
        self.trouble: StoreUnavailable | Exception | None = None
        self.gate = threading.Event()
        self.gate.set()

    def append(self, batch: Batch) -> None:
        self.gate.wait(120)
        if self.trouble is not None:
            raise self.trouble
        for row in range(batch.n):
            self.call_ids.append(batch.text(row, "call_id"))
            self.names.append(batch.text(row, "node_name"))
            self.payloads.append(batch.text(row, "payload"))

    def close(self) -> None: ...


class Running:
    """A server in the process of the test, with a store in memory."""

    def __init__(self, server: Server, store: MemoryStore, port: int) -> None:
        self.server = server
        self.store = store
        self.port = port

    def drops(self) -> dict[str, int]:
        """Return the drops so far by reason."""
        return {drop.name: count for drop, count in self.server.counters.snapshot().total.drops.items()}

    def settle(self, received: int) -> None:
        """Wait until so much was received and nothing is in flight; prove that the counters add up."""

        def quiet() -> bool:
            total = self.server.counters.snapshot().total
            return total.received >= received and total.in_flight == 0

        wait_for(quiet, 60, f"{received} received and settled; {self.server.counters.snapshot().total}")
        self.balance()

    def balance(self) -> None:
        """received = stored + in flight + drops, and in flight is what the queue says it holds."""
        counts = self.server.counters.snapshot()
        total = counts.total
        assert total.received == total.stored + total.forwarded + total.in_flight + total.dropped, total
        assert counts.queue_records == total.in_flight

    def stop(self, seconds: float = 60.0) -> None:
        """Stop as `hepcat serve` does."""
        self.server.stop_sources()
        self.server.finish_storing(seconds)
        assert self.server.queue.join(seconds + 60)


@contextlib.contextmanager
def running(*schemes: str, **flags: Any) -> Iterator[Running]:
    """Run a server for the length of the block; flags are settings by dotted name, `__` for the dot."""
    port = free_port()
    urls = [f"{scheme}://127.0.0.1:{port}" for scheme in schemes or ("udp", "tcp")]
    dotted = {name.replace("__", "."): value for name, value in flags.items()}
    server = Server(load_settings(None, {"hep.listen": urls, **dotted}, {}))
    server.open()
    store = MemoryStore()
    server.start({"lake": store})
    run = Running(server, store, port)
    try:
        yield run
    finally:
        store.gate.set()
        if any(source.tallies for source in server.sources) and server.stores:
            with contextlib.suppress(Exception):
                run.stop(0.5)
