"""What the tests of the doors share: something that can be asked, FIFOs to answer on, clients by hand."""

import contextlib
import json
import os
import select
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hepcat.control.methods import Control
from hepcat.errors import HepcatError
from hepcat.pipeline.counters import Snapshot, SourceCounts
from hepcat.pipeline.switch import CaptureSwitch

SOURCE = "udp://[::1]:9060"


class Asked:
    """A server without sockets: counters that stand still, a switch, and a reload that can fail."""

    def __init__(self) -> None:
        self.switch = CaptureSwitch()
        self.counters = self
        self.reloads = 0
        self.problem: str | None = None
        self.sources = {SOURCE: SourceCounts(received=3, stored=2)}

    def snapshot(self) -> Snapshot:
        return Snapshot(self.sources, SourceCounts(received=3, stored=2), {"7": 3}, 1, 100)

    def store_ok(self) -> bool:
        return True

    def store_gauges(self) -> Mapping[str, float]:
        return {}

    def about(self) -> dict[str, Any]:
        return {"listening": [SOURCE], "trouble": None}

    def reload(self) -> list[str]:
        self.reloads += 1
        if self.problem is not None:
            raise HepcatError(self.problem, "mend it")
        return ["hep.listen changes only with a restart"]

    def control(self) -> Control:
        return Control(self, self.reload)


@contextlib.contextmanager
def open_folder() -> Iterator[Path]:
    """Lend a folder that other users get into. (Those of pytest are closed again when another one starts.)"""
    with tempfile.TemporaryDirectory(prefix="hepcat-test-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


class Answers:
    """A FIFO to be answered on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)
        self.fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    def read(self, seconds: float = 60.0) -> bytes:
        """Return what is written until the writer closes; b"" where nobody writes within `seconds`."""
        got = b""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            select.select([self.fd], [], [], 0.05)
            with contextlib.suppress(BlockingIOError):
                octets = os.read(self.fd, 65_536)
                if not octets and got:
                    return got
                got += octets
            if not got:
                time.sleep(0.01)
        return got

    def close(self) -> None:
        os.close(self.fd)
        self.path.unlink()


@contextlib.contextmanager
def answers(folder: Path, name: str = "answer") -> Iterator[Answers]:
    """Lend a FIFO."""
    lent = Answers(folder / name)
    try:
        yield lent
    finally:
        lent.close()


def write(path: Path, octets: bytes) -> None:
    """Write to a FIFO as a shell's redirection does."""
    with path.open("wb") as fifo:
        fifo.write(octets)


@contextlib.contextmanager
def connected(path: Path) -> Iterator[socket.socket]:
    """Lend a connection to a Unix socket."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(path))  # blocking: with a time-out a full backlog is an error
        sock.settimeout(60)
        yield sock


def ask(sock: socket.socket, document: Any) -> Any:
    """Send a document and return the answer."""
    octets = document if isinstance(document, bytes) else json.dumps(document).encode()
    sock.sendall(octets + b"\n")
    return json.loads(read_line(sock))


def read_line(sock: socket.socket) -> bytes:
    """Return a line and nothing of the next; what there is at the end."""
    got = b""
    while not got.endswith(b"\n"):
        there = sock.recv(65_536, socket.MSG_PEEK)
        if not there:
            return got
        got += sock.recv(there.find(b"\n") + 1 or len(there))
    return got
