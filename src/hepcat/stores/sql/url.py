"""Classic db_url -> where and how to connect.

In: the URLs that Kamailio takes (`mysql://user:password@host:port/database`, `sqlite:////file`,
`unixodbc://user:password@host/DSN`). Out: a `Target`: SQLAlchemy's URL and the driver's own options. A
password stands as it is: nothing is percent-encoded, and the last @ ends it, so that it may hold any
character. What can go wrong: HepcatError, which never shows the password.
"""

import re
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import URL

from hepcat.config.databases import kind_of, safe_url
from hepcat.errors import HepcatError

#: Options behind the ? that each kind hands to its driver; the rest is refused, for a typing error to be
#: seen.
OPTIONS: Final[dict[str, frozenset[str]]] = {
    "mysql": frozenset({"unix_socket", "ssl_ca", "ssl_cert", "ssl_key"}),
    "postgres": frozenset(
        {"host", "port", "sslmode", "sslrootcert", "sslcert", "sslkey", "passfile", "service", "options"}
    ),
    "sqlite": frozenset(),
    "odbc": frozenset(),
}
#: kind -> SQLAlchemy's dialect and driver. ODBC's dialect is that of the engine behind (odbc.py).
_DRIVERS: Final = {"mysql": "mysql+pymysql", "postgres": "postgresql+psycopg", "sqlite": "sqlite"}
_SOCKETS: Final = ("socket", "unix_socket")
_PLACE: Final = re.compile(r"(\[[^\]]*\]|[^:/\[\]]*)(?::(\d{1,5}))?")


@dataclass(frozen=True)
class Target:
    """One database. `options`: keywords for the driver's connect(). `shown`: the URL without the password."""

    kind: str
    url: URL
    shown: str
    options: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Target({self.shown})"


def parse_url(text: str) -> Target:
    """Read a classic db_url of an SQL database. Raises HepcatError."""
    try:
        kind = kind_of(text)
    except ValueError as error:
        raise HepcatError(str(error), "Write it like mysql://user:password@host/database.") from None
    if kind not in OPTIONS:
        raise HepcatError(
            f"{safe_url(text)} is not an SQL database", "This is done by another kind of store."
        )
    rest = text.partition("://")[2]
    shown = safe_url(text)
    if kind == "sqlite":
        return _sqlite(rest, shown)
    login, _, place = rest.rpartition("@")
    user, _, password = login.partition(":")
    if kind == "odbc":
        return _odbc(user, password, place, shown)
    return _server(kind, user, password, place, shown)


def _sqlite(rest: str, shown: str) -> Target:
    """`sqlite:///file` is relative, `sqlite:////file` absolute, as in Kamailio; three slashes and a path."""
    path = rest.removeprefix("/")
    if not path:
        raise HepcatError(f"{shown} names no file", "Write sqlite:////var/lib/hepcat/sip.db (four slashes).")
    return Target("sqlite", URL.create("sqlite", database=path), shown)


def _odbc(user: str, password: str, place: str, shown: str) -> Target:
    """The data source stands behind the last slash; a host before it has no meaning, as in Kamailio."""
    dsn = place.rpartition("/")[2]
    if not dsn:
        raise HepcatError(f"{shown} names no data source", "Write unixodbc://DSN, a name of odbc.ini.")
    words = [("DSN", dsn), ("UID", user), ("PWD", password)]
    text = ";".join(f"{name}={_braced(value)}" for name, value in words if value)
    return Target("odbc", URL.create("odbc"), shown, {"odbc_connect": text})


def _braced(value: str) -> str:
    """Quote a value of an ODBC connection string, where it needs it (SQLDriverConnect, comments)."""
    return value if re.fullmatch(r"[\w.@-]+", value) else "{" + value.replace("}", "}}") + "}"


def _server(kind: str, user: str, password: str, place: str, shown: str) -> Target:
    place, _, query = place.partition("?")
    where, _, database = place.partition("/")
    match = _PLACE.fullmatch(where)
    if match is None or (match[2] and not 0 < int(match[2]) < 65_536):
        raise HepcatError(
            f'{shown}: "{where}" is no HOST or HOST:PORT',
            "An IPv6 address stands in brackets, as in [::1]:3306.",
        )
    if not database:
        raise HepcatError(f"{shown} names no database", f"Write {kind}://user:password@host/database.")
    options = _options(kind, query, shown)
    url = URL.create(
        _DRIVERS[kind],
        username=user or None,
        password=password or None,
        host=match[1].strip("[]") or None,
        port=int(match[2]) if match[2] else None,
        database=database,
    )
    return Target(kind, url, shown, options)


def _options(kind: str, query: str, shown: str) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for word in filter(None, query.split("&")):
        name, _, value = word.partition("=")
        if kind == "mysql" and name in _SOCKETS:
            name = "unix_socket"
        if name not in OPTIONS[kind]:
            known = ", ".join(sorted(OPTIONS[kind]))
            raise HepcatError(f'{shown}: unknown option "{name}"', f"Options of {kind}:// are {known}.")
        options[name] = value
    return options
