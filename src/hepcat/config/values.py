"""Values of settings that have a form of their own: sizes, listening addresses, UDP, TCP and TLS URLs.

In: what stands in the TOML file, the environment or a flag. Out: typed values. What can go wrong:
ValueError, whose text says what was found and what is allowed; pydantic carries it to the user.
"""

import ipaddress
import re
from typing import Annotated, Any, Final

from pydantic import BeforeValidator

#: HEP has no port of IANA's; 9060 is what agents send to unless told otherwise.
HEP_PORT: Final = 9060
SCHEMES: Final = ("udp", "tcp", "tls")

_UNITS: Final = {"": 1, "b": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([bkmgt]?)(?:i?b)?", re.IGNORECASE)
_HOST_PORT: Final = re.compile(r"(?:\[(?P<six>[^\]]*)\]|(?P<host>[^\[\]:/]*))(?::(?P<port>\d+))?")


def parse_octets(value: Any) -> int:
    """Return a size in octets: a number, or text such as "64MiB" (all units are powers of 1024)."""
    if isinstance(value, int) and not isinstance(value, bool):
        octets = value
    else:
        match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
        if match is None:
            raise ValueError('a size is a number of octets, or text such as "256MiB" or "2GiB"')
        octets = int(float(match[1]) * _UNITS[match[2].lower()])
    if octets < 0:
        raise ValueError("a size cannot be negative")
    return octets


def format_octets(octets: int) -> str:
    """Return a size for people: 8388608 -> "8.0 MiB"."""
    size = float(octets)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def split_host_port(text: str, default_port: int | None = None) -> tuple[str, int]:
    """Return (address, port) of "127.0.0.1:9060" or "[::1]:9060". "localhost" is 127.0.0.1.

    Only addresses: a name could mean several, and what a server listens on must be plain to see.
    """
    match = _HOST_PORT.fullmatch(text)
    if match is None:
        raise ValueError(f'"{text}" is not ADDRESS:PORT; write an IPv6 address in brackets, as in [::1]:9060')
    host = match["six"] if match["six"] is not None else match["host"]
    if host == "localhost":
        host = "127.0.0.1"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        what = "the address is missing" if not host else f'"{host}" is not an IP address'
        raise ValueError(
            f"{what}; write one of this machine's, 0.0.0.0 or [::] for all, 127.0.0.1 for this machine only"
        ) from None
    if (address.version == 6) != (match["six"] is not None):
        raise ValueError(f"brackets are for IPv6 addresses: {text}")
    if match["port"] is None and default_port is None:
        raise ValueError(f'the port is missing in "{text}"; write ADDRESS:PORT')
    port = int(match["port"]) if match["port"] is not None else default_port
    assert port is not None
    if not 1 <= port <= 65535:
        raise ValueError(f"port {port} is not in 1..65535")
    return host, port


def join_host_port(host: str, port: int) -> str:
    """Return ADDRESS:PORT, IPv6 in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    return ipaddress.ip_address(host).is_loopback


def split_hep_url(text: str) -> tuple[str, str, int]:
    """Return (scheme, address, port) of a HEP listener's URL; the port is 9060 unless given."""
    scheme, separator, rest = text.partition("://")
    if not separator or scheme.lower() not in SCHEMES:
        found = f'"{scheme}://"' if separator else f'"{text}"'
        raise ValueError(f"{found}: a HEP listener is udp://, tcp:// or tls://ADDRESS:PORT")
    host, port = split_host_port(rest.rstrip("/"), HEP_PORT)
    return scheme.lower(), host, port


def _hep_url(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("a HEP listener is udp://, tcp:// or tls://ADDRESS:PORT")
    scheme, host, port = split_hep_url(value)
    return f"{scheme}://{join_host_port(host, port)}"


def _listen(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("write ADDRESS:PORT as text")
    return join_host_port(*split_host_port(value))


#: a size in octets; "256MiB" is fine
Octets = Annotated[int, BeforeValidator(parse_octets)]
#: a HEP listener's URL, in one normal form
HepUrl = Annotated[str, BeforeValidator(_hep_url)]
#: ADDRESS:PORT, in one normal form
Listen = Annotated[str, BeforeValidator(_listen)]


def parse_network(value: Any) -> Any:
    """Return the network of "10.0.0.0/8", or of one address."""
    try:
        return ipaddress.ip_network(value)
    except (ValueError, TypeError):
        raise ValueError(f"{value!r} is neither an IP address nor a network such as 10.0.0.0/8") from None


Network = Annotated[ipaddress.IPv4Network | ipaddress.IPv6Network, BeforeValidator(parse_network)]
