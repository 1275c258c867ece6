"""The address that browsers connect to: bound early, while there is still the right to.

In: the settings. Out: a listening socket. What can go wrong: HepcatError: the address is taken, is none of
this machine, or other machines reach it and there are no accounts.
"""

import errno
import os
import socket
import ssl
from typing import Final

from hepcat.config.settings import Settings
from hepcat.config.values import join_host_port, split_host_port
from hepcat.errors import HepcatError

#: Where a server's page is unless the settings say otherwise.
DEFAULT_LISTEN: Final = "127.0.0.1:9080"
_BACKLOG: Final = 512


def bind(settings: Settings) -> socket.socket:
    """Return the listening socket. Raises HepcatError."""
    host, port = split_host_port(settings.http.listen or DEFAULT_LISTEN)
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        if listening.family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        hint = "Choose another: [http] listen, --http (of hepcat serve) or --listen (of hepcat web)."
        if error.errno == errno.EADDRINUSE:
            hint = f"Another program has it (`ss -lntp 'sport = :{port}'` names it). " + hint
        raise HepcatError(
            f"cannot listen on http://{join_host_port(host, port)}: {error.strerror}", hint
        ) from error
    return listening


class Tls:
    """Certificate and key, read while there was the right to; a process that is handed their descriptors
    needs none to the files."""

    def __init__(self, certificate: bytes, key: bytes) -> None:
        self._parts = (certificate, key)

    def descriptors(self) -> tuple[int, int]:
        """Return two files in memory, certificate and key, which the caller closes."""
        made = []
        for name, octets in zip(("certificate", "key"), self._parts, strict=True):
            descriptor = os.memfd_create(name)
            os.write(descriptor, octets)
            made.append(descriptor)
        return made[0], made[1]

    def context(self) -> ssl.SSLContext:
        """Return the context of a server."""
        descriptors = self.descriptors()
        try:
            return tls_context(*descriptors)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)


def tls_context(certificate: int, key: int) -> ssl.SSLContext:
    """Return a server's context of what the two descriptors hold. Raises HepcatError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        # Without a phrase, a key that has one would make OpenSSL ask on the terminal.
        context.load_cert_chain(f"/proc/self/fd/{certificate}", f"/proc/self/fd/{key}", password=lambda: "")
    except (OSError, ValueError) as error:
        what = "web.certificate and web.key cannot be used"
        if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
            what = "web.key is not the key of web.certificate"
        raise HepcatError(
            what, "Both are PEM files: the certificate with its chain, and its key without a pass phrase."
        ) from None
    return context


def read_tls(settings: Settings) -> Tls | None:
    """Read certificate and key, None where there are none. Raises HepcatError where they cannot be used."""
    web = settings.web
    if web.certificate is None or web.key is None:
        return None
    octets = []
    for name, path in (("certificate", web.certificate), ("key", web.key)):
        try:
            octets.append(path.read_bytes())
        except OSError as error:
            raise HepcatError(
                f"web.{name}: cannot read {path}: {error.strerror}",
                "It is read at the start, by who starts the server.",
            ) from None
    tls = Tls(*octets)
    tls.context()
    return tls


def url_of(settings: Settings, listening: socket.socket) -> str:
    """Return the URL that a person on this machine types."""
    host, port = listening.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    scheme = "https" if settings.web.certificate is not None else "http"
    return f"{scheme}://{join_host_port(host, port)}/"
