"""The Unix socket of `hepcat ctl`: JSON-RPC 2.0, a document a line, a line an answer.

In: connections of whoever may open the socket. Out: answers. Only root and the server's own user (the kernel
says who it is, SO_PEERCRED) may switch and reload; the others may look. What can go wrong: HepcatError when
the socket is made. Afterwards a client that sends too much, too slowly, or does not read, loses its
connection; one thread serves all of them and waits for none.
"""

import contextlib
import errno
import os
import selectors
import socket
import stat
import struct
import threading
import time
from collections import deque
from pathlib import Path
from typing import Final

import structlog

from hepcat.control.address import address
from hepcat.control.fifo import Owner
from hepcat.control.json_rpc import MAX_DOCUMENT, answer_document
from hepcat.control.methods import Control
from hepcat.control.pace import Pace
from hepcat.errors import HepcatError

#: Connections at once; the one that has been silent longest makes room for a new one.
MAX_CONNECTIONS: Final = 64
#: Seconds for a line to arrive once it has begun, for an answer to be read, and for the next line to begin.
LINE_SECONDS: Final = 5.0
IDLE_SECONDS: Final = 300.0
#: Connections that wait for the door, and those it takes before it looks at the others again.
BACKLOG: Final = 128
#: Lines of one connection answered before the others have their turn.
LINES: Final = 32
_CREDENTIALS: Final = struct.Struct("iII")  # struct ucred: process, user, group

log = structlog.get_logger("hepcat.control")


class _Connection:
    """One client."""

    def __init__(self, sock: socket.socket, may_change: bool) -> None:
        self.sock = sock
        self.may_change = may_change
        self.received = bytearray()
        self.to_send = bytearray()
        self.busy = False  # its line is being answered by a thread of its own
        self.ended = False  # it sends nothing more
        self.closed = False
        self.give_up = time.monotonic() + IDLE_SECONDS
        self.waits_for_line = True  # nothing of the next line has come

    def set_deadline(self) -> None:
        """A line or an answer that is under way has so long from when it began; silence has longer."""
        waits_for_line = not (self.received or self.to_send or self.busy)
        if self.busy:
            self.give_up = float("inf")
        elif waits_for_line or self.waits_for_line != waits_for_line:
            self.give_up = time.monotonic() + (IDLE_SECONDS if waits_for_line else LINE_SECONDS)
        self.waits_for_line = waits_for_line and not self.busy


class SocketDoor:
    """Binds when made, answers from `start` on."""

    def __init__(self, path: Path, mode: int, owner: Owner, control: Control) -> None:
        """Make the socket. Raises HepcatError."""
        self.path = path
        self._control = control
        self._trusted = {0, owner.ours}
        self._sock = _listen(path, mode, owner)
        self._identity = _identity(path)
        self._connections: set[_Connection] = set()
        self._answered: deque[tuple[_Connection, bytes | None]] = deque()
        self._unfinished: list[_Connection] = []  # with more lines to answer
        self._selector = selectors.DefaultSelector()
        self._woken, self._waker = socket.socketpair()
        for sock in (self._sock, self._woken):
            sock.setblocking(False)
            self._selector.register(sock, selectors.EVENT_READ)
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="control socket", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Stop answering, at once, and remove the socket."""
        self._stopping = True
        self._wake()
        if self._thread.is_alive():
            self._thread.join()
        if self._identity is not None and _identity(self.path) == self._identity:
            with contextlib.suppress(OSError):
                os.unlink(self.path)
        for connection in list(self._connections):
            self._close(connection)
        self._selector.close()
        for sock in (self._sock, self._woken, self._waker):
            sock.close()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):
            self._waker.send(b"x")

    # -- the thread

    def _run(self) -> None:
        pace = Pace()
        while not self._stopping:
            ready = self._selector.select(0.0 if self._unfinished else self._seconds_left())
            pace.begin()
            unfinished, self._unfinished = self._unfinished, []
            for connection in unfinished:
                if not connection.closed:
                    self._serve(connection, 0)
            for key, events in ready:
                if key.fileobj is self._sock:
                    self._accept()
                elif key.fileobj is self._woken:
                    self._take_answers()
                elif not key.data.closed:
                    self._serve(key.data, events)
            self._cut_off()
            pace.rest()

    def _seconds_left(self) -> float | None:
        ends = min((connection.give_up for connection in self._connections), default=float("inf"))
        return None if ends == float("inf") else max(0.0, ends - time.monotonic())

    def _cut_off(self) -> None:
        now = time.monotonic()
        for connection in [c for c in self._connections if c.give_up <= now]:
            self._close(connection)

    def _accept(self) -> None:
        for _ in range(BACKLOG):
            try:
                sock = self._sock.accept()[0]
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE) and not self._make_room():
                    time.sleep(0.1)
                return
            if len(self._connections) >= MAX_CONNECTIONS and not self._make_room():
                sock.close()
                continue
            sock.setblocking(False)
            connection = _Connection(sock, _user_of(sock) in self._trusted)
            self._connections.add(connection)
            self._selector.register(sock, selectors.EVENT_READ, connection)

    def _make_room(self) -> bool:
        """Close the connection nearest to its end, of those who may only look where there are any."""
        waiting = [c for c in self._connections if not c.busy]
        if not waiting:
            return False
        self._close(min(waiting, key=lambda c: (c.may_change, c.give_up)))
        return True

    def _serve(self, connection: _Connection, events: int) -> None:
        try:
            if events & selectors.EVENT_WRITE:
                self._send(connection)
            elif events & selectors.EVENT_READ:
                self._receive(connection)
            self._go_on(connection)
        except OSError:
            self._close(connection)
        except Exception as error:  # a bug of ours in answering: loud, but capture goes on
            log.error("cannot answer a request; please report this bug", exc_info=error)
            self._close(connection)

    def _receive(self, connection: _Connection) -> None:
        try:
            octets = connection.sock.recv(MAX_DOCUMENT)
        except BlockingIOError:
            return
        connection.received += octets
        connection.ended = connection.ended or not octets

    def _send(self, connection: _Connection) -> None:
        with contextlib.suppress(BlockingIOError):
            del connection.to_send[: connection.sock.send(connection.to_send)]

    def _go_on(self, connection: _Connection) -> None:
        """Answer the lines that are whole, one at a time: the next once the client has read the answer."""
        for turn in range(LINES + 1):
            if connection.to_send or connection.busy or connection.closed:
                break
            if turn == LINES:
                self._unfinished.append(connection)
                break
            line, found, rest = connection.received.partition(b"\n")
            if not found:
                if len(rest) + len(line) > MAX_DOCUMENT or connection.ended:
                    self._close(connection)
                break
            connection.received = bytearray(rest)
            if line.strip():
                self._answer(connection, bytes(line))
                self._send(connection)
        if not connection.closed:
            connection.set_deadline()
            self._listen_to(connection)

    def _listen_to(self, connection: _Connection) -> None:
        """Hear what can be gone on with: while an answer waits nothing more is read."""
        if connection.to_send:
            events = selectors.EVENT_WRITE
        elif connection.busy:
            events = 0
        else:
            events = selectors.EVENT_READ
        known = self._selector.get_map().get(connection.sock)
        if known is not None and not events:
            self._selector.unregister(connection.sock)
        elif known is None and events:
            self._selector.register(connection.sock, events, connection)
        elif known is not None and known.events != events:
            self._selector.modify(connection.sock, events, connection)

    def _answer(self, connection: _Connection, line: bytes) -> None:
        """Answer a line. What reloads may take long: a thread of its own does, for those who may."""
        connection.waits_for_line = True  # what follows has all of its time from now on
        if connection.may_change and b"reload" in line:
            connection.busy = True
            threading.Thread(
                target=self._answer_slowly, args=(connection, line), name="control answer", daemon=True
            ).start()
        else:
            self._add_answer(connection, answer_document(line, self._control, connection.may_change))

    def _answer_slowly(self, connection: _Connection, line: bytes) -> None:
        answer = None
        try:
            answer = answer_document(line, self._control, connection.may_change)
        except Exception as error:  # as in `_serve`
            log.error("cannot answer a request; please report this bug", exc_info=error)
        self._answered.append((connection, answer))
        self._wake()

    def _take_answers(self) -> None:
        with contextlib.suppress(OSError):
            self._woken.recv(4096)
        while self._answered:
            connection, answer = self._answered.popleft()
            connection.busy = False
            if not connection.closed:
                self._add_answer(connection, answer)
                connection.waits_for_line = True
                self._serve(connection, selectors.EVENT_WRITE if connection.to_send else 0)

    def _add_answer(self, connection: _Connection, answer: bytes | None) -> None:
        if answer is not None:
            connection.to_send += answer + b"\n"

    def _close(self, connection: _Connection) -> None:
        connection.closed = True
        self._connections.discard(connection)
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(connection.sock)
        connection.sock.close()


# -- the socket


def _listen(path: Path, mode: int, owner: Owner) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        with address(path) as name:
            os.fchmod(sock.fileno(), mode)  # bind gives it to the path, less the umask
            before = os.umask(0)
            try:
                sock.bind(name)
            finally:
                os.umask(before)
        if owner.uid >= 0:  # else the call itself may be forbidden (the unit's SystemCallFilter)
            os.chown(path, owner.uid, owner.gid, follow_symlinks=False)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise HepcatError(
            f"cannot make the control socket {path}: {error.strerror}",
            "Name one in a folder that is there, and that the server may write to: `socket` in [control].",
        ) from None
    except BaseException:
        sock.close()
        raise
    return sock


def _remove_stale(path: Path) -> None:
    """Remove the socket of a server that has ended. Raises HepcatError where one answers."""
    try:
        facts = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(facts.st_mode):
        raise HepcatError(
            f"cannot make the control socket {path}: something else is there, and it is not a socket",
            "Look at what it is and remove it, or name another path: `socket` in [control].",
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, address(path) as name:
        probe.settimeout(1.0)
        try:
            probe.connect(name)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except (TimeoutError, BlockingIOError):  # its backlog is full: it lives
            owner = "unknown"
        else:
            owner = str(_credentials(probe)[0])
    raise HepcatError(
        f"another hepcat server (process {owner}) answers at the control socket {path}",
        "Stop it, name another lake with --data, or another socket: `socket` in [control].",
    )


def _credentials(sock: socket.socket) -> tuple[int, int, int]:
    """Return process, user and group of the other side, as the kernel knows them (unix(7))."""
    octets = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    process, user, group = _CREDENTIALS.unpack(octets)
    return process, user, group


def _user_of(sock: socket.socket) -> int:
    """Return the user of the other side; -1, who is nobody, where the kernel does not say."""
    try:
        return _credentials(sock)[1]
    except OSError:
        return -1


def _identity(path: Path) -> tuple[int, int] | None:
    with contextlib.suppress(OSError):
        facts = os.lstat(path)
        return facts.st_dev, facts.st_ino
    return None
