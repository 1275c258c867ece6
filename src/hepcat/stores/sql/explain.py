"""What a database's refusal means, in words for people, and what the writer does about it.

In: exceptions of the drivers (PyMySQL, psycopg, sqlite3, pyodbc), bare or wrapped by SQLAlchemy. Out: a
`Fault`: what kind it is, what happened, what to do. What can go wrong: nothing; what is not known is
`Kind.UNKNOWN` with the driver's own words. No fault holds a password: drivers' messages name users and
hosts only.
"""

import re
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from hepcat.batch.drops import Drop
from hepcat.errors import HepcatError
from hepcat.stores.store import StoreUnavailable
from hepcat.stores.writer import BatchRefused


class Kind(Enum):
    """What follows from a fault."""

    AWAY = "away"  # waiting and connecting again helps
    FULL = "full"  # waiting helps once there is room again
    BUSY = "busy"  # the same transaction may be offered again on this connection
    DATA = "data"  # some row of the batch is refused: find it
    DENIED = "denied"  # somebody has to do something
    UNKNOWN = "unknown"  # may be about a row or not: offered again, and in smaller pieces


@dataclass(frozen=True, slots=True)
class Fault:
    """One refusal. `missing_table`: the table is not there, which `hepcat db create` mends."""

    kind: Kind
    words: str
    hint: str = ""
    missing_table: bool = False


_AWAY: Final = Fault(
    Kind.AWAY,
    "the database is away",
    "Start it, or correct host and port. A server keeps meanwhile what it receives, and tries again.",
)
_PASSWORD: Final = Fault(
    Kind.DENIED,
    "the database refuses the user or the password",
    "Correct the URL. A password stands there as it is, nothing is percent-encoded.",
)
_HOST: Final = Fault(
    Kind.DENIED,
    "the database lets nobody in from this host",
    "Grant the user access from this host (MariaDB: 'user'@'host'; PostgreSQL: pg_hba.conf).",
)
_NO_DATABASE: Final = Fault(
    Kind.DENIED,
    "there is no such database, or no right to it",
    "Create it at the server and grant the user rights on it, or correct the end of the URL.",
)
_NO_TABLE: Final = Fault(
    Kind.DENIED, "a table is missing", "Make it with `hepcat db create --store NAME`.", missing_table=True
)
_NO_COLUMN: Final = Fault(
    Kind.DENIED, "a column is missing", "Add what is missing with `hepcat db upgrade --store NAME`."
)
_RIGHT: Final = Fault(
    Kind.DENIED, "the database user lacks a right", "Grant it SELECT and INSERT on the tables (and CREATE)."
)
_FULL: Final = Fault(Kind.FULL, "the database's disk or table is full", "Free space at the database server.")
_READ_ONLY: Final = Fault(
    Kind.DENIED,
    "the database is read-only",
    "Name the primary server in the URL; for a file, let hepcat's user write to it and its folder.",
)
_BUSY: Final = Fault(Kind.BUSY, "another transaction is in the way")
_MANY: Final = Fault(
    Kind.AWAY, "the database has too many connections", "Raise its limit, or lower `connections`."
)
_DATA: Final = Fault(Kind.DATA, "a row is refused")
_DRIVER: Final = Fault(
    Kind.DENIED, "the ODBC driver or data source is missing", "Look into odbc.ini and odbcinst.ini."
)
_CRYPTOGRAPHY: Final = Fault(
    Kind.DENIED,
    "the password cannot be sent",
    "Use TLS (mysql://...?ssl_ca=FILE), or install the Python package cryptography.",
)
_FILE: Final = Fault(
    Kind.DENIED, "the file cannot be opened", "An absolute path has four slashes: sqlite:////folder/file.db."
)
_DAMAGED: Final = Fault(
    Kind.DENIED, "the file is no SQLite database, or it is damaged", "Restore or replace it."
)
_UNKNOWN: Final = Fault(Kind.UNKNOWN, "the database refuses")

#: MariaDB and MySQL error numbers (server 1xxx, client 2xxx).
_MYSQL: Final[dict[int, Fault]] = {
    **dict.fromkeys((0, 1053, 1077, 1078, 1079, 1080, 1152, 1158, 1159, 1160, 1161, 1184, 1927), _AWAY),
    **dict.fromkeys((2002, 2003, 2005, 2006, 2012, 2013, 2014, 2027, 2055, 4031), _AWAY),
    **dict.fromkeys((1045, 1698, 1251, 1275, 1862, 4151, 3118), _PASSWORD),
    **dict.fromkeys((1130, 1129), _HOST),
    1049: _NO_DATABASE,
    1044: _NO_DATABASE,  # what MariaDB says to users who may not know whether it exists
    **dict.fromkeys((1142, 1143, 1227, 1370), _RIGHT),
    **dict.fromkeys((1146, 1051), _NO_TABLE),
    1054: _NO_COLUMN,
    **dict.fromkeys((1021, 1114, 1041, 1038), _FULL),
    **dict.fromkeys((1290, 1792, 1836, 1223, 3100), _READ_ONLY),
    **dict.fromkeys((1205, 1213, 1020, 1180, 1637, 1412, 1689), _BUSY),
    **dict.fromkeys((1040, 1203, 1226), _MANY),
    **dict.fromkeys((1048, 1062, 1264, 1265, 1292, 1364, 1366, 1406, 1411, 1526, 1586, 1644, 1690), _DATA),
    **dict.fromkeys((1118, 1216, 1452, 1748, 3819, 3730, 4025, 1300, 1367), _DATA),
}
#: PostgreSQL's and ODBC's SQLSTATE, or the first two characters of it: its class.
_STATES: Final[dict[str, Fault]] = {
    "08": _AWAY,
    "57": _AWAY,
    "58": _AWAY,
    "28": _PASSWORD,
    "3D": _NO_DATABASE,
    "42P01": _NO_TABLE,
    "42S02": _NO_TABLE,
    "3F000": _NO_TABLE,
    "42703": _NO_COLUMN,
    "42S22": _NO_COLUMN,
    "42501": _RIGHT,
    "53100": _FULL,
    "53200": _FULL,
    "53300": _MANY,
    "25006": _READ_ONLY,
    "40": _BUSY,
    "55P03": _BUSY,
    "57014": _BUSY,
    "22": _DATA,
    "23": _DATA,
    "P0001": _DATA,
    "54": _DATA,
    "HYT00": _AWAY,
    "HYT01": _AWAY,
    "IM": _DRIVER,
}
#: PostgreSQL refuses connections without a SQLSTATE that libpq would show; its words are all there is.
_REFUSALS: Final[tuple[tuple[str, Fault], ...]] = (
    (r"password authentication failed|no password supplied|role .* does not exist|authentication failed",
     _PASSWORD),
    (r"no pg_hba\.conf entry", _HOST),
    (r"database .* does not exist", _NO_DATABASE),
    (r"permission denied", _RIGHT),
    (r"too many (clients|connections)|remaining connection slots", _MANY),
)  # fmt: skip
#: SQLite's primary result codes (sqlite.org/rescode.html).
_SQLITE: Final[dict[int, Fault]] = {
    3: _READ_ONLY,
    5: _BUSY,
    6: _BUSY,
    8: _READ_ONLY,
    10: Fault(Kind.AWAY, "the file's disk fails", "Look into the kernel's log."),
    11: _DAMAGED,
    13: _FULL,
    14: _FILE,
    17: _BUSY,
    18: _DATA,
    19: _DATA,
    20: _DATA,
    26: _DAMAGED,
}
_ERRNO_FULL: Final = re.compile(r"\b(?:Errcode: 28|error 28|errno: 28|No space left)\b")


#: Packages whose exceptions are a database's or its driver's.
_PACKAGES: Final = frozenset({"pymysql", "psycopg", "psycopg_pool", "sqlite3", "pyodbc", "sqlalchemy"})


def is_of_driver(error: BaseException) -> bool:
    """Whether an exception is of a driver or the network; else it is a bug of ours."""
    package = type(error).__module__.partition(".")[0]
    return package in _PACKAGES or isinstance(error, OSError) or _needs_cryptography(error)


def _needs_cryptography(error: BaseException) -> bool:
    """What PyMySQL says where MySQL 8 asks for a password over a connection without TLS."""
    return isinstance(error, RuntimeError) and "cryptography" in str(error)


def fault_of(error: BaseException) -> Fault:
    """Say what a driver's exception means."""
    raw = getattr(error, "orig", None) or error
    package = type(raw).__module__.partition(".")[0]
    code = _number(raw)
    if isinstance(raw, OSError):
        fault = _AWAY
    elif _needs_cryptography(raw):
        fault = _CRYPTOGRAPHY
    elif package == "pymysql":
        fault = _mysql(code, str(raw))
    elif package == "psycopg":
        fault = _postgres(raw)
    elif package == "sqlite3":
        fault = _sqlite(getattr(raw, "sqlite_errorcode", None), str(raw))
    elif package == "pyodbc":
        fault = _odbc(raw)
    else:
        fault = _UNKNOWN
    return Fault(fault.kind, f"{fault.words}: {_said(raw)}", fault.hint, fault.missing_table)


def explain(error: BaseException, subject: str = "") -> HepcatError:
    """Make a driver's exception one for people. `subject`: which database, without its password.

    Returns StoreUnavailable where waiting helps, BatchRefused where the same transaction may be tried again,
    else a HepcatError that says what to do.
    """
    if isinstance(error, HepcatError):
        return error
    fault = fault_of(error)
    words = f"{subject}: {fault.words}" if subject else fault.words
    if fault.kind is Kind.AWAY:
        return StoreUnavailable(words, Drop.STORE_FAILED, fault.hint)
    if fault.kind is Kind.FULL:
        return StoreUnavailable(words, Drop.STORE_FULL, fault.hint)
    if fault.kind is Kind.BUSY:
        return BatchRefused(words, fault.hint)
    return HepcatError(words, fault.hint)


def _number(raw: BaseException) -> int:
    return raw.args[0] if raw.args and isinstance(raw.args[0], int) else -1


def _said(raw: BaseException) -> str:
    """Return the driver's own words in one line, cut where a statement with data may follow."""
    words = raw.args[1] if len(raw.args) > 1 and isinstance(raw.args[1], str) else str(raw)
    line = next((line.strip() for line in words.splitlines() if line.strip()), type(raw).__name__)
    return line[:300]


def _mysql(code: int, words: str) -> Fault:
    if _ERRNO_FULL.search(words):
        return _FULL
    if code == -1:
        return _UNKNOWN
    return _MYSQL.get(code, _UNKNOWN)


def _postgres(raw: Any) -> Fault:
    state = getattr(raw, "sqlstate", None)
    if state:
        return _by_state(str(state))
    words = str(raw)
    for pattern, fault in _REFUSALS:
        if re.search(pattern, words):
            return fault
    return (
        _AWAY
        if type(raw).__name__ in ("OperationalError", "ConnectionTimeout", "InterfaceError")
        else _UNKNOWN
    )


def _by_state(state: str) -> Fault:
    return _STATES.get(state) or _STATES.get(state[:2]) or _UNKNOWN


def _sqlite(code: int | None, words: str) -> Fault:
    if "no such table" in words:
        return _NO_TABLE
    if "no such column" in words or "has no column" in words:
        return _NO_COLUMN
    return _SQLITE.get((code or 0) & 0xFF, _UNKNOWN)


def _odbc(raw: Any) -> Fault:
    state = str(raw.args[0]) if raw.args else ""
    words = str(raw)
    if state == "HY000" and "[SQLite]" in words:  # its driver gives SQLite's code in brackets
        codes = re.findall(r"\((\d+)\)", words)
        return _sqlite(int(codes[0]) if codes else None, words)
    if "Can't open lib" in words:
        return _DRIVER
    return _by_state(state)
