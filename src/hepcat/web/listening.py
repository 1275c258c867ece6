"""The address that browsers connect to: bound early, while there is still the right to.

In: the settings. Out: a listening socket. What can go wrong: HepcatError: the address is taken, is none of
this machine, or other machines reach it and there are no accounts.
"""

import errno
import socket
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
        ) from None
    return listening


def url_of(settings: Settings, listening: socket.socket) -> str:
    """Return the URL that a person on this machine types."""
    host, port = listening.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    scheme = "https" if settings.web.certificate is not None else "http"
    return f"{scheme}://{join_host_port(host, port)}/"
