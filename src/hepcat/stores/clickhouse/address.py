"""clickhouse:// URLs.

In: clickhouse://[USER[:PASSWORD]@]HOST[:PORT][,HOST[:PORT]...]/DATABASE[?cluster=NAME&secure=1...]. Out: an
`Address`. What can go wrong: HepcatError, which never shows the password.

IPv6 addresses stand in brackets; octets that a URL cannot hold are written %XX. Without a cluster, several
hosts are replicas of one another: the first that answers is taken.
"""

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, unquote

from hepcat.config.databases import safe_url
from hepcat.errors import HepcatError

PORT: Final = 9000
SECURE_PORT: Final = 9440
_FORM: Final = "clickhouse://USER:PASSWORD@HOST:PORT,HOST:PORT/DATABASE?cluster=NAME"
_OPTIONS: Final = ("cluster", "secure", "verify", "ca_certs", "connect_timeout", "timeout", "silence")


@dataclass(frozen=True, slots=True)
class Host:
    """A server's name or address, and its port of the native protocol."""

    name: str
    port: int

    def __str__(self) -> str:
        return f"[{self.name}]:{self.port}" if ":" in self.name else f"{self.name}:{self.port}"


@dataclass(frozen=True, slots=True)
class Address:
    """What the URL says. Its repr has no password."""

    hosts: tuple[Host, ...]
    database: str
    user: str = "default"
    password: str = field(default="", repr=False)
    cluster: str = ""
    secure: bool = False
    verify: bool = True
    ca_certs: str = ""
    connect_timeout: float = 5.0
    #: seconds that an answer may take
    timeout: float = 60.0
    #: seconds after which a server that takes connections, but says nothing, counts as one that hangs
    silence: float = 3.0


def parse_address(url: str) -> Address:
    """Read a URL. Raises HepcatError."""
    rest = url.partition("://")[2]
    before, _, query = rest.partition("?")
    authority, slash, path = before.rpartition("/") if "/" in before else (before, "", "")
    login, at, hosts = authority.rpartition("@")
    user, _, password = login.partition(":")
    options = _options(url, query)
    if not slash or not path or "/" in path:
        raise _wrong(url, "names no database")
    secure = _flag(url, options, "secure", "0")
    try:
        found = tuple(_host(part, SECURE_PORT if secure else PORT) for part in hosts.split(","))
    except ValueError as error:
        raise _wrong(url, str(error)) from None
    return Address(
        hosts=found,
        database=unquote(path),
        user=unquote(user) if at else "default",
        password=unquote(password),
        cluster=options.get("cluster", ""),
        secure=secure,
        verify=_flag(url, options, "verify", "1"),
        ca_certs=options.get("ca_certs", ""),
        connect_timeout=_seconds(url, options, "connect_timeout", 5.0),
        timeout=_seconds(url, options, "timeout", 60.0),
        silence=_seconds(url, options, "silence", 3.0),
    )


def _options(url: str, query: str) -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    for name in options:
        if name not in _OPTIONS:
            raise _wrong(url, f'has an option "{name}"; there are: {", ".join(_OPTIONS)}')
    return options


def _flag(url: str, options: dict[str, str], name: str, default: str) -> bool:
    value = options.get(name, default).lower()
    if value not in ("0", "1", "true", "false", "yes", "no"):
        raise _wrong(url, f"{name} is neither 0 nor 1")
    return value in ("1", "true", "yes")


def _seconds(url: str, options: dict[str, str], name: str, default: float) -> float:
    try:
        value = float(options.get(name, default))
    except ValueError:
        value = 0.0
    if not 0.1 <= value <= 3600:
        raise _wrong(url, f"{name} is not a number of seconds from 0.1 to 3600")
    return value


def _host(text: str, default: int) -> Host:
    """Read HOST, HOST:PORT, [IPV6] or [IPV6]:PORT. Raises ValueError."""
    if text.startswith("["):
        name, bracket, port = text[1:].partition("]")
        if not bracket or (port and not port.startswith(":")):
            raise ValueError("has an address in brackets that is not closed, or not followed by :PORT")
        port = port[1:]
    else:
        name, _, port = text.partition(":")
        if ":" in port:
            raise ValueError("has an IPv6 address without brackets")
    if not name:
        raise ValueError("names no host")
    if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError(f'has a port "{port}" that is none')
    return Host(name, int(port) if port else default)


def _wrong(url: str, reason: str) -> HepcatError:
    return HepcatError(f"the URL {safe_url(url)} {reason}", f"Write it as {_FORM}.")
