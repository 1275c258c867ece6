"""FIFOs: the one that requests come in by, and those that answers go out by.

In: a path for requests, made anew; a folder and a name for an answer. Out: octets to a parser, requests to
whoever serves them, answers. What can go wrong: HepcatError when the FIFO is made; afterwards nothing that a
writer does stops the door, makes it wait for long, or has it write to anything but an existing FIFO.
"""

import contextlib
import errno
import os
import re
import select
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol

import structlog

from hepcat.control.pace import Pace
from hepcat.errors import HepcatError

#: Tries to open an answer's FIFO that nobody reads yet, and seconds between them.
REPLY_TRIES: Final = 4
REPLY_WAIT: Final = 0.08
#: Seconds for an answer that does not fit into its FIFO to be read.
REPLY_SECONDS: Final = 2.0
#: Octets read at once: what a FIFO of the usual size holds.
CHUNK: Final = 65_536
#: A name without anything that leads to another folder, or could be an end of line.
_NAME: Final = re.compile(r"[^./\\\x00-\x20\x7f]{1,255}")

log = structlog.get_logger("hepcat.control")


class Owner:
    """Who the server is going to be: what it makes has to be that user's, or it could not remove it."""

    def __init__(self, uid: int = -1, gid: int = -1) -> None:
        """-1: it stays who it is."""
        self.uid, self.gid = uid, gid

    @property
    def ours(self) -> int:
        """The user id that the server will have."""
        return os.geteuid() if self.uid < 0 else self.uid


class Fifo:
    """A FIFO for requests, open for reading and, so that writers may come and go, for writing too."""

    def __init__(self, path: Path, mode: int, owner: Owner) -> None:
        """Make it anew. Raises HepcatError."""
        self.path = path
        try:
            self.fd = _make(path, mode, owner)
        except OSError as error:
            raise HepcatError(
                f"cannot make the FIFO {path}: {error.strerror}",
                "Name one in a folder that is there, and that the server may write to, in [control].",
            ) from None
        #: which file it is, whatever its name
        self.identity = _identity(os.fstat(self.fd))

    def remove(self) -> None:
        """Close it, and remove it where it is still the one that was made."""
        with contextlib.suppress(OSError):
            if _identity(os.lstat(self.path)) == self.identity:
                os.unlink(self.path)
        os.close(self.fd)


def _make(path: Path, mode: int, owner: Owner) -> int:
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISFIFO(os.lstat(path).st_mode):
            raise HepcatError(
                f"cannot make the FIFO {path}: something else is there, and it is not a FIFO",
                "Look at what it is and remove it, or name another path in [control].",
            )
        if _is_read(path):
            raise HepcatError(
                f"cannot make the FIFO {path}: a running program reads from one there",
                f"`fuser {path}` names it. Stop it, or name another path in [control].",
            )
        os.unlink(path)
    os.mkfifo(path, 0o600)
    fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        facts = os.fstat(fd)
        if not stat.S_ISFIFO(facts.st_mode) or facts.st_uid != os.geteuid():
            raise HepcatError(f"cannot make the FIFO {path}: somebody exchanged it", "Use another folder.")
        if owner.uid >= 0:  # else the call itself may be forbidden (the unit's SystemCallFilter)
            os.fchown(fd, owner.uid, owner.gid)
        os.fchmod(fd, mode)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _is_read(path: Path) -> bool:
    """Say whether somebody has the FIFO open for reading: the one who made it lives."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC))
    except OSError as error:
        if error.errno == errno.ENXIO:
            return False
        raise
    return True


def _identity(facts: os.stat_result) -> tuple[int, int]:
    return facts.st_dev, facts.st_ino


class Reply:
    """The FIFO that an answer goes to."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def send(self, octets: bytes) -> None:
        """Write the answer and close. Who does not read it does not get it."""
        end = time.monotonic() + REPLY_SECONDS
        left = memoryview(octets)
        try:
            while left:
                try:
                    left = left[os.write(self._fd, left) :]
                except BlockingIOError:
                    wait = end - time.monotonic()
                    if wait <= 0:
                        return
                    poller = select.poll()
                    poller.register(self._fd, select.POLLOUT)
                    poller.poll(wait * 1000)
        except OSError:  # the reader has gone
            pass
        finally:
            os.close(self._fd)


def open_reply(folder: Path, name: str, own: Fifo | None = None, tries: int = REPLY_TRIES) -> Reply | None:
    """Open the FIFO of an answer; None where the name is no plain one, or no FIFO that somebody else reads.

    own: the FIFO that the request came by; answers there would be requests.
    """
    if not _NAME.fullmatch(name):
        return None
    path = folder / name
    for attempt in range(tries):
        if attempt:
            time.sleep(REPLY_WAIT)
        try:
            if not _can_take(os.lstat(path)):
                return None
            fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nobody reads it yet
                continue
            return None
        facts = os.fstat(fd)
        if _can_take(facts) and (own is None or _identity(facts) != own.identity):
            return Reply(fd)  # what was looked at is what was opened
        os.close(fd)
        return None
    return None


def _can_take(facts: os.stat_result) -> bool:
    return stat.S_ISFIFO(facts.st_mode) and facts.st_nlink == 1  # not another's under a second name


class Parser(Protocol):
    """Makes requests of octets. Bounded, whatever comes."""

    #: seconds of silence after which half a request is to be forgotten
    patience: float

    @property
    def half(self) -> bool:
        """Whether it holds a part of a request."""

    def feed(self, octets: bytes) -> list[Any]:
        """Take octets, return the requests that are whole."""

    def reset(self) -> None:
        """Forget what is half."""


class FifoDoor:
    """Reads requests in a thread of its own and has them served, one after the other."""

    def __init__(self, fifo: Fifo, parser: Parser, serve: Callable[[Any], None]) -> None:
        self.fifo = fifo
        self._parser = parser
        self._serve = serve
        self._stop, self._wake = os.pipe2(os.O_CLOEXEC)
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=f"fifo {fifo.path.name}", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """Stop reading, remove the FIFO."""
        self._stopping = True
        os.write(self._wake, b"x")
        if self._thread.is_alive():
            self._thread.join(2 * REPLY_SECONDS)
        self.fifo.remove()
        os.close(self._stop)
        os.close(self._wake)

    def _run(self) -> None:
        poller = select.poll()
        poller.register(self.fifo.fd, select.POLLIN)
        poller.register(self._stop, select.POLLIN)
        pace = Pace()
        while not self._stopping:
            ready = poller.poll(self._parser.patience * 1000 if self._parser.half else None)
            if not ready:
                self._parser.reset()
                continue
            pace.begin()
            with contextlib.suppress(BlockingIOError):
                self._take(os.read(self.fifo.fd, CHUNK))
            pace.rest()

    def _take(self, octets: bytes) -> None:
        for request in self._parser.feed(octets):
            if self._stopping:
                return
            try:
                self._serve(request)
            except Exception as error:  # a bug of ours in answering: loud, but capture goes on
                log.error("cannot answer a request; please report this bug", exc_info=error)
