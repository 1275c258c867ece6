"""One TCP or TLS connection to a target, which knows how much of what it was given has arrived.

In: octets. Out: octets on the wire, and `acknowledged`: how many of them the peer's TCP has acknowledged,
so that after a break exactly the messages that did not arrive are sent again. What can go wrong: OSError
(ssl.SSLError is one) from connecting and writing.

The kernel tells how many octets it still holds, sent or not (ioctl SIOCOUTQ, tcp(7)); what it does not hold
any more was acknowledged. With TLS that is ciphertext, so each record that is written leaves a mark: a
record's content has arrived when its last octet has (RFC 8446 section 5.2: no part of a record can be read
before).
"""

import contextlib
import fcntl
import os
import select
import socket
import ssl
import struct
import termios
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from hepcat.sinks.target_url import Place

#: Octets of one TLS record's content (RFC 8446 section 5.1).
_RECORD: Final = 1 << 14
#: Seconds for one address of a target to answer, and for the TLS handshake.
CONNECT_SECONDS: Final = 5.0
#: Seconds for a TLS 1.3 server to say something after the handshake.
HEAR_SECONDS: Final = 0.5
#: Milliseconds until data that nobody acknowledges ends the connection (tcp(7), TCP_USER_TIMEOUT).
_DEAF_MS: Final = 20_000
_KEEPALIVE: Final = (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))
_SLICE: Final = 0.1
_TCP_CLOSE: Final = 7  # linux/tcp_states.h

Stopped = Callable[[], bool]


def _wait(sock: socket.socket, events: int, end: float, stopped: Stopped) -> None:
    """Wait until the socket is ready. Raises TimeoutError at the end, or when stopped."""
    poller = select.poll()
    poller.register(sock, events)
    while not poller.poll(_SLICE * 1000):
        if time.monotonic() > end or stopped():
            raise TimeoutError("no answer")


def _open(family: int, address: tuple[object, ...], sndbuf: int, stopped: Stopped) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in (*_KEEPALIVE, ("TCP_USER_TIMEOUT", _DEAF_MS)):
            if hasattr(socket, name):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        if sndbuf:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, sndbuf)
        with contextlib.suppress(BlockingIOError):
            sock.connect(address)
        _wait(sock, select.POLLOUT, time.monotonic() + CONNECT_SECONDS, stopped)
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, os.strerror(error))
    except BaseException:
        sock.close()
        raise
    return sock


def open_connection(
    place: Place, context: ssl.SSLContext | None, sndbuf: int = 0, stopped: Stopped = lambda: False
) -> "Connection":
    """Connect to the first address of a target that answers. Raises OSError.

    sndbuf: octets of the socket's send buffer, 0 for the kernel's own choice. stopped: ends the waiting.
    """
    last: OSError = OSError(f"{place.host} has no address")
    for family, _, _, _, address in socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM):
        try:
            sock = _open(family, address, sndbuf, stopped)
        except OSError as error:
            last = error
            continue
        connection = Connection(sock, context, place.host)
        try:
            connection.handshake(stopped)
        except BaseException:
            sock.close()
            raise
        return connection
    raise last


class Connection:
    """An open connection. One thread."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext | None = None, name: str = "") -> None:
        """sock: connected and not blocking. name: what the peer's certificate has to say."""
        self.sock = sock
        self._handed = 0  # octets that the kernel took
        self._taken = 0  # octets of content that `write` took
        self._tls: ssl.SSLObject | None = None
        if context is not None:
            self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
            self._tls = context.wrap_bio(self._in, self._out, server_hostname=name)
            self._cipher = b""  # octets of TLS that wait for the kernel
            self._made = 0  # octets of TLS so far
            self._marks: deque[tuple[int, int]] = deque()  # (octets of TLS, of content) at a record's end
            self._arrived = 0

    def handshake(self, stopped: Stopped) -> None:
        """Shake hands, where this is TLS. Raises OSError."""
        if self._tls is None:
            return
        end = time.monotonic() + CONNECT_SECONDS
        while True:
            try:
                self._tls.do_handshake()
                done = True
            except ssl.SSLWantReadError:
                done = False
            finally:
                with contextlib.suppress(BlockingIOError):
                    self._flush()  # an alert too
            while self._cipher:
                _wait(self.sock, select.POLLOUT, end, stopped)
                self._flush()
            if done:
                self._hear(stopped)
                return
            _wait(self.sock, select.POLLIN, end, stopped)
            octets = self.sock.recv(1 << 16)
            if not octets:
                raise ConnectionResetError("closed during the TLS handshake")
            self._in.write(octets)

    def _hear(self, stopped: Stopped) -> None:
        """Wait for the first word after the handshake, a session ticket or an alert.

        In TLS 1.3 a client is done before the server has looked at its certificate (RFC 8446, 4.4.2.4): what
        it sent at once to a server that refuses it would be acknowledged by TCP and thrown away.
        """
        assert self._tls is not None
        if self._tls.version() != "TLSv1.3":
            return
        try:
            _wait(self.sock, select.POLLIN, time.monotonic() + HEAR_SECONDS, stopped)
        except TimeoutError:
            return  # it sends no tickets
        if not self.is_open():
            raise ConnectionResetError("closed after the TLS handshake")

    def _flush(self) -> None:
        """Hand what TLS made to the kernel, as far as it takes it."""
        if self._out.pending:
            octets = self._out.read()
            self._made += len(octets)
            self._cipher += octets
        while self._cipher:
            try:
                sent = self.sock.send(self._cipher)
            except BlockingIOError:
                return
            self._handed += sent
            self._cipher = self._cipher[sent:]

    def write(self, data: memoryview) -> int:
        """Take octets, as many as go at once; return how many, 0 where the kernel has no room. Raises
        OSError."""
        if self._tls is None:
            try:
                sent = self.sock.send(data[: 1 << 20])
            except BlockingIOError:
                return 0
            self._handed += sent
            return sent
        self._flush()
        if self._cipher:
            return 0
        size = self._tls.write(data[:_RECORD])
        self._taken += size
        self._made += self._out.pending
        self._cipher = self._out.read()
        self._marks.append((self._made, self._taken))
        self._flush()
        return size

    def flush(self) -> None:
        """Hand on what the kernel had no room for when it was written. Raises OSError."""
        if self._tls is not None and self._cipher:
            self._flush()

    def acknowledged(self) -> int:
        """Return how many octets of what `write` took have arrived. Works after a break too."""
        try:
            held = fcntl.ioctl(self.sock, termios.TIOCOUTQ, struct.pack("i", 0))
            arrived = self._handed - int(struct.unpack("i", held)[0])
        except OSError:  # a system that does not tell: what the kernel took has to do
            arrived = self._handed
        if self._tls is None:
            return arrived
        while self._marks and self._marks[0][0] <= arrived:
            self._arrived = self._marks.popleft()[1]
        return self._arrived

    def is_open(self) -> bool:
        """Tell whether the peer still listens; reads and forgets what it sends. Raises OSError."""
        while True:
            try:
                octets = self.sock.recv(1 << 14)
            except BlockingIOError:
                return True
            if not octets:
                return False
            if self._tls is not None:
                self._in.write(octets)
                try:
                    while self._tls.read(1 << 14):
                        pass
                    return False  # close_notify
                except ssl.SSLWantReadError:
                    pass

    def settle(self, seconds: float) -> None:
        """Say that nothing more comes, and wait for what is on its way to be acknowledged."""
        end = time.monotonic() + seconds
        with contextlib.suppress(OSError, ValueError):
            if self._tls is not None:
                while self._cipher and time.monotonic() < end:
                    self._flush()
                    if self._cipher:
                        _wait(self.sock, select.POLLOUT, end, lambda: False)
                with contextlib.suppress(ssl.SSLError):
                    self._tls.unwrap()  # close_notify
                self._flush()
            self.sock.shutdown(socket.SHUT_WR)
        while time.monotonic() < end and not self._is_settled():
            time.sleep(0.002)

    def _is_settled(self) -> bool:
        """Whether nothing is on its way any more: all was acknowledged, or the connection is no more."""
        try:
            held = fcntl.ioctl(self.sock, termios.TIOCOUTQ, struct.pack("i", 0))
            info = self.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)
        except (OSError, AttributeError):
            return True
        return struct.unpack("i", held)[0] == 0 or info[0] == _TCP_CLOSE

    def wait_writable(self, seconds: float) -> None:
        """Wait until the kernel has room, or the peer says something."""
        poller = select.poll()
        poller.register(self.sock, select.POLLOUT | select.POLLIN)
        poller.poll(seconds * 1000)

    def close(self) -> None:
        """Close the socket. What has not been acknowledged is not sent any more: it will be sent anew."""
        if not self._is_settled():
            with contextlib.suppress(OSError):
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()
