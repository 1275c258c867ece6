"""Where a target is: scheme, host, port, path.

In: a URL of [[agent.targets]]. Out: `Place`. What can go wrong: HepcatError naming the target.
"""

from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, quote, urlsplit

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
        if not host or port == 0:
            raise ValueError
        host.encode("idna")  # as the look-up will: a label may be empty or too long
    except ValueError:  # UnicodeError is one
        raise HepcatError(
            f"target {target}: {url} has no host, or no port that can be",
            "Write udp://, tcp:// or tls://HOST:PORT, an IPv6 address in brackets.",
        ) from None
    scheme = parts.scheme.lower()
    _refuse_what_is_not_read(
        parts, scheme, f"target {target}: {parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    )
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    path = quote(path, safe="/?&=%:@!$'()*+,;~-._")
    return Place(scheme, host, port if port is not None else _PORTS.get(scheme, HEP_PORT), path)


def _refuse_what_is_not_read(parts: SplitResult, scheme: str, where: str) -> None:
    """Raise HepcatError for parts of a URL that would have no effect. where: without what may be secret."""
    if "@" in parts.netloc:
        raise HepcatError(
            f"{where}: a user name or password in the URL is not sent",
            "Leave it out; a target of kind json has `key`, which it sends as `password`.",
        )
    extra = parts.path.strip("/") or parts.query
    if parts.fragment or (extra and scheme not in _PORTS):
        raise HepcatError(f"{where}: nothing is read behind the port", "Write SCHEME://HOST:PORT.")
