"""Where a target is: scheme, host, port, path.

In: a URL of [[agent.targets]]. Out: `Place`. What can go wrong: HepcatError naming the target.
"""

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from hepcat.config.values import HEP_PORT, join_host_port
from hepcat.errors import HepcatError

_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Place:
    """scheme: udp, tcp, tls, http or https. host: name or address, without brackets. path: of http."""

    scheme: str
    host: str
    port: int
    path: str = "/"

    def __str__(self) -> str:
        return f"{self.scheme}://{join_host_port(self.host, self.port)}"


def parse_place(url: str, target: str) -> Place:
    """Return where a URL points; the port is 9060, or HTTP's own, unless given."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host:
        raise HepcatError(
            f"target {target}: {url} has no host, or no port that can be",
            "Write udp://, tcp:// or tls://HOST:PORT, an IPv6 address in brackets.",
        )
    scheme = parts.scheme.lower()
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Place(scheme, host, port if port is not None else _PORTS.get(scheme, HEP_PORT), path)
