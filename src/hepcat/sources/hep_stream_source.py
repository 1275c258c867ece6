"""HEP over TCP and TLS: one listening socket, one thread, many connections.

In: connections of agents, each a stream of HEP 3 messages. Out: messages, handed to an intake; a round
over all ready connections makes one batch. What can go wrong, all counted or bounded: octets that are no
message, a stream that ends within one, a peer that stalls within one or within the TLS handshake, too
many connections, no file descriptor left.

Nothing here blocks on one peer. All connections share one buffer to receive into; a connection keeps
only the beginning of a message whose rest has not arrived, 64 KiB at most.
"""

import contextlib
import errno
import os
import selectors
import socket
import ssl
import threading
import time
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import structlog

from hepcat.batch.drops import Drop
from hepcat.sources.source import Intake, Tally
from hepcat.wire.hep_stream import frame_hep

#: Octets read from one connection in one turn, so that a fast agent leaves time to the others.
TURN_OCTETS: Final = 256 * 1024
#: The longest HEP 3 message (its total length is 16 bits wide); a remainder is always shorter.
LONGEST: Final = 65_536
#: Messages framed in one call.
FRAMES: Final = 4096
#: Seconds between looks at the clock for time-outs.
LOOK_SECONDS: Final = 0.5
#: Seconds without accepting after the process has run out of file descriptors.
PAUSE_SECONDS: Final = 0.5
#: Seconds between two lines about failed TLS handshakes.
TELL_SECONDS: Final = 10.0
#: Seconds of silence in which an agent that was told to stop may still send what it had begun.
FAREWELL_SECONDS: Final = 0.3
#: A connection idle for longer than this is given up for a new one when all places are taken.
SPARE_SECONDS: Final = 60.0

log = structlog.get_logger("hepcat.stream")


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """Bounds of a listener; seconds, 0 for none where idle."""

    max_connections: int = 1000
    idle_timeout: float = 0.0
    half_message_timeout: float = 30.0
    handshake_timeout: float = 10.0


@dataclass(slots=True, eq=False)
class _Connection:
    sock: socket.socket
    peer: str
    heard: float
    handshaking: bool
    rest: bytes = b""
    half_since: float = 0.0
    interest: int = field(default=selectors.EVENT_READ)


class HepStreamListener:
    """Accepts and reads the connections of one TCP or TLS address until it is stopped."""

    def __init__(
        self,
        sock: socket.socket,
        url: str,
        intake: Intake,
        tally: Tally,
        limits: StreamLimits,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Take over a listening, non-blocking socket; `intake` and `tally` are this thread's alone."""
        self.url = url
        self.tls = tls
        self.limits = limits
        self.tallies = [tally]
        self._sock = sock
        self._tally = tally
        self._intake = intake
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._selector = selectors.DefaultSelector()
        self._connections: set[_Connection] = set()
        self._more: set[_Connection] = set()  # with octets left that no selector tells about
        self._buffer = np.empty(LONGEST + TURN_OCTETS, dtype=np.uint8)
        self._offsets = np.zeros(FRAMES, dtype=np.int64)
        self._lengths = np.zeros(FRAMES, dtype=np.int64)
        self._accept_again = 0.0
        self._told_no_descriptor = False
        self._failures = 0
        self._tell_again = 0.0
        self._drain_until = 0.0
        self._thread = threading.Thread(target=self._run, name=f"hep {url}", daemon=True)

    def start(self) -> None:
        """Begin to accept."""
        self._thread.start()

    def stop(self, drain_seconds: float) -> None:
        """Ask to end: read what has arrived, for at most so long, then close every connection."""
        self._drain_until = time.monotonic() + drain_seconds
        os.eventfd_write(self._wake, 1)

    def join(self) -> None:
        """Wait for the end."""
        self._thread.join()

    def close(self) -> None:
        """Close the sockets of a listener that was never started."""
        self._selector.close()
        self._sock.close()
        os.close(self._wake)

    def _run(self) -> None:
        self._selector.register(self._wake, selectors.EVENT_READ)
        self._selector.register(self._sock, selectors.EVENT_READ)
        next_look = 0.0
        while not self._drain_until:
            self._round(0.0 if self._more else LOOK_SECONDS)
            if time.monotonic() >= next_look:
                next_look = time.monotonic() + LOOK_SECONDS
                self._look_at_clock()
        self._drain()
        self._selector.close()
        self._sock.close()
        os.close(self._wake)

    def _round(self, timeout: float) -> bool:
        """Serve whoever is ready, once; hand on what came. Return whether anything did."""
        ready: set[_Connection] = set(self._more)
        self._more.clear()
        for key, _ in self._selector.select(timeout):
            if key.fileobj is self._sock:
                self._accept()
            elif isinstance(key.data, _Connection):
                ready.add(key.data)
        before = self._tally.octets
        for connection in ready:
            self._serve(connection)
        self._intake.flush()
        return self._tally.octets != before or bool(self._more)

    def _drain(self) -> None:
        """Read what had arrived when the stop came; a sender that never pauses cannot hold us.

        Nobody is accepted any more, and each agent is told so by a FIN: one that looks for it stops sending
        and keeps what comes, so that nothing is acknowledged which nobody reads.
        """
        if self._sock in self._selector.get_map():
            self._selector.unregister(self._sock)
        self._sock.close()
        for connection in self._connections:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(connection.sock, socket.SHUT_WR)  # of TLS too, without its goodbye
        quiet = time.monotonic() + FAREWELL_SECONDS
        while self._connections and time.monotonic() < min(quiet, self._drain_until):
            if self._round(0.02):
                quiet = time.monotonic() + FAREWELL_SECONDS
        for connection in list(self._connections):
            self._close(connection)

    # -- connections

    def _accept(self) -> None:
        """Take the connections that wait, as far as there are places."""
        for _ in range(64):
            try:
                sock, address = self._sock.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    self._pause_accepting(error)
                    return
                continue  # the peer has gone again (ECONNABORTED and its like)
            if len(self._connections) >= self.limits.max_connections and not self._make_place():
                self._tally.drops[Drop.STREAM_LIMIT] += 1
                sock.close()
                continue
            self._open(sock, f"{address[0]} port {address[1]}")

    def _pause_accepting(self, error: OSError) -> None:
        """Leave new connections in the kernel's backlog: accepting would fail again at once, and spin."""
        if not self._told_no_descriptor:
            log.warning("cannot accept connections for now", url=self.url, error=error.strerror)
            self._told_no_descriptor = True
        self._selector.unregister(self._sock)
        self._accept_again = time.monotonic() + PAUSE_SECONDS

    def _make_place(self) -> bool:
        """Close the connection that has been silent longest, if that is long and it owes nothing."""
        idle = [c for c in self._connections if not c.rest and not c.handshaking]
        oldest = min(idle, key=lambda c: c.heard, default=None)
        if oldest is None or time.monotonic() - oldest.heard < SPARE_SECONDS:
            return False
        self._close(oldest)
        return True

    def _open(self, sock: socket.socket, peer: str) -> None:
        """Begin to serve a connection; one that its peer has reset meanwhile is only told."""
        tls = self.tls
        try:
            sock = _prepare(sock, tls)
            connection = _Connection(sock, peer, time.monotonic(), handshaking=tls is not None)
            self._selector.register(sock, selectors.EVENT_READ, connection)
        except OSError as error:
            sock.close()
            if tls is not None:
                self._tell_failure(peer, error)
            else:
                log.debug("connection lost before it began", url=self.url, peer=peer, error=_words(error))
            return
        self._connections.add(connection)
        self._tally.connections = len(self._connections)

    def _close(self, connection: _Connection) -> None:
        """Close; what was half sent is counted."""
        if connection not in self._connections:
            return
        if connection.rest:
            self._tally.drops[Drop.STREAM_HALF] += 1
        self._connections.discard(connection)
        self._more.discard(connection)
        self._tally.connections = len(self._connections)
        self._selector.unregister(connection.sock)
        connection.sock.close()

    def _look_at_clock(self) -> None:
        """Close what has been silent, half sent or in its handshake for too long."""
        now = time.monotonic()
        if self._accept_again and now >= self._accept_again:
            self._accept_again = 0.0
            self._selector.register(self._sock, selectors.EVENT_READ)
        limits = self.limits
        for connection in list(self._connections):
            silent = now - connection.heard
            if connection.handshaking:
                late = silent > limits.handshake_timeout
            elif connection.rest:
                late = now - connection.half_since > limits.half_message_timeout
            else:
                late = 0 < limits.idle_timeout < silent
            if late:
                log.debug("connection closed after its time", url=self.url, peer=connection.peer)
                self._close(connection)

    # -- octets

    def _serve(self, connection: _Connection) -> None:
        """Take what one connection has: a step of its handshake, or one turn of octets."""
        if connection not in self._connections:
            return
        if connection.handshaking and not self._shake_hands(connection):
            return
        rest = len(connection.rest)
        if rest:
            self._buffer[:rest] = np.frombuffer(connection.rest, dtype=np.uint8)
        end, gone = self._receive(connection.sock, rest)
        if end > rest:
            connection.heard = time.monotonic()
            self._tally.octets += end - rest
            self._take(connection, end, had_rest=rest > 0)
            if end == len(self._buffer):
                self._more.add(connection)  # TLS may hold octets that the kernel does not
        if gone:
            self._close(connection)

    def _shake_hands(self, connection: _Connection) -> bool:
        """Go on with the TLS handshake; return whether it is done."""
        assert isinstance(connection.sock, ssl.SSLSocket)
        try:
            connection.sock.do_handshake()
        except ssl.SSLWantReadError:
            self._want(connection, selectors.EVENT_READ)
            return False
        except ssl.SSLWantWriteError:
            self._want(connection, selectors.EVENT_WRITE)
            return False
        except (OSError, ValueError) as error:  # not TLS, a certificate refused, gone
            self._tell_failure(connection.peer, error)
            self._close(connection)
            return False
        connection.handshaking = False
        connection.heard = time.monotonic()
        self._want(connection, selectors.EVENT_READ)
        return True

    def _tell_failure(self, peer: str, error: Exception) -> None:
        """Log a failed handshake, at most one in a while: a port scanner must not fill the disk."""
        self._failures += 1
        now = time.monotonic()
        if now < self._tell_again:
            return
        self._tell_again = now + TELL_SECONDS
        log.info(
            "TLS handshake failed", url=self.url, peer=peer, error=_words(error), failures=self._failures
        )

    def _want(self, connection: _Connection, interest: int) -> None:
        if connection.interest != interest:
            connection.interest = interest
            self._selector.modify(connection.sock, interest, connection)

    def _receive(self, sock: socket.socket, at: int) -> tuple[int, bool]:
        """Read into the shared buffer from `at` on; return where it ends and whether the peer is gone."""
        view = self._buffer.data
        while at < len(self._buffer):
            try:
                got = sock.recv_into(view[at:])
            except (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return at, False
            except OSError:  # reset, timed out, or broken TLS
                return at, True
            if got == 0:
                return at, True
            at += got
            if self.tls is None and at < len(self._buffer):
                return at, False  # the kernel had no more just now: another call would only say so
        return at, False

    def _take(self, connection: _Connection, end: int, had_rest: bool) -> None:
        """Frame buffer[:end], hand on the whole messages, keep the rest."""
        start = 0
        received_us = time.time_ns() // 1000
        while True:
            count, consumed = frame_hep(
                self._buffer, start, end, self._offsets, self._lengths, self._tally.drops
            )
            if count:
                self._tally.pending += count
                self._tally.read += count
                self._intake.add(self._buffer, self._offsets, self._lengths, count, received_us)
            start += consumed
            if count < FRAMES:
                break
        if start or not had_rest:
            connection.half_since = time.monotonic()
        connection.rest = self._buffer[start:end].tobytes()


def _prepare(sock: socket.socket, tls: ssl.SSLContext | None) -> socket.socket:
    """Return the socket with its options set, within TLS where that is wanted. Raises OSError."""
    sock.setblocking(False)
    # A peer that vanished without a FIN is found after two minutes.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 20)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    if tls is None:
        return sock
    # A peer that sent RST while it waited in the backlog makes this raise.
    return tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)


def _words(error: Exception) -> str:
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.lower().replace("_", " ")
    return str(error) or type(error).__name__
