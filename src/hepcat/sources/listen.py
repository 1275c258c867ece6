"""Opens listening sockets, with errors that say what to do.

In: a scheme, an address and a port. Out: bound sockets, non-blocking. What can go wrong: HepcatError.
"""

import errno
import socket

from hepcat.config.values import join_host_port
from hepcat.errors import HepcatError


def open_udp(host: str, port: int, shared: bool) -> socket.socket:
    """Return a bound UDP socket; `shared` lets several workers' sockets have the same port."""
    sock = socket.socket(_family(host), socket.SOCK_DGRAM)
    if shared:
        # Without the option a second server on this port fails to start, as it should; with several
        # workers, the first socket is bound without it for a moment to find that out (`probe`).
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    return _bind(sock, "udp", host, port)


def probe_udp(host: str, port: int) -> None:
    """Raise HepcatError if somebody has this port: SO_REUSEPORT would silently share it."""
    open_udp(host, port, shared=False).close()


def open_tcp(host: str, port: int, scheme: str, backlog: int = 512) -> socket.socket:
    """Return a listening TCP socket."""
    sock = socket.socket(_family(host), socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    _bind(sock, scheme, host, port)
    sock.listen(backlog)
    return sock


def _family(host: str) -> int:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _bind(sock: socket.socket, scheme: str, host: str, port: int) -> socket.socket:
    where = f"{scheme}://{join_host_port(host, port)}"
    try:
        if sock.family == socket.AF_INET6:
            # [::] and 0.0.0.0 are two listeners: what listens where is plain, and both can be had.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise HepcatError(f"cannot listen on {where}: {error.strerror}", _hint(error, port)) from None
    sock.setblocking(False)
    return sock


def _hint(error: OSError, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"Another program has port {port} (`ss -lnptu 'sport = :{port}'` names it). "
            "Stop it, or choose another port: --hep udp://ADDRESS:PORT, or `listen` in [hep]."
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return "Ports below 1024 need CAP_NET_BIND_SERVICE: use another, or start as root with `user` set."
    if error.errno == errno.EADDRNOTAVAIL:
        return "No address of this machine (`ip address` lists them); 0.0.0.0 or [::] means all of them."
    if error.errno in (errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT):
        return "This machine has no IPv6; use an IPv4 address."
    return ""
