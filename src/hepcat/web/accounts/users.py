"""Users: name, role, hash of the password, disabled or not.

In: the database. Out: `User`s. What can go wrong: HepcatError for a name that cannot be one, is taken or not
there, and for a role that does not exist; WeakPassword. Whatever takes rights away from a user (a new
password, disabling, removing) ends the user's sessions and tokens in the same transaction.
"""

import re
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal

from hepcat.errors import HepcatError
from hepcat.web.accounts.passwords import Hashing, check_new
from hepcat.web.accounts.store import Database

Role = Literal["viewer", "admin"]
#: From least to most.
ROLES: Final[tuple[Role, ...]] = ("viewer", "admin")
#: Room for mail addresses; nothing that could be markup, a path, an option or another letter's twin.
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")
_COLUMNS: Final = "name, role, hash, disabled, created, changed"

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class User:
    """An account."""

    name: str
    role: Role
    hash: str = field(repr=False)
    disabled: bool
    created: float
    changed: float  # of the password


class Users:
    """The accounts of people."""

    def __init__(self, database: Database, hashing: Hashing, clock: Clock) -> None:
        self._database = database
        self._hashing = hashing
        self._clock = clock

    def any(self) -> bool:
        """Whether there is an account, be it a disabled one."""
        with self._database.read() as connection:
            return (
                connection is not None
                and connection.execute("SELECT 1 FROM users LIMIT 1").fetchone() is not None
            )

    def list(self) -> list[User]:
        """Return all, by name."""
        with self._database.read() as connection:
            if connection is None:
                return []
            return [_user(row) for row in connection.execute(f"SELECT {_COLUMNS} FROM users ORDER BY name")]

    def find(self, name: str) -> User | None:
        """Return the user of a name, in any case of letters; None where there is none."""
        if not _NAME.fullmatch(name):
            return None
        with self._database.read() as connection:
            if connection is None:
                return None
            row = connection.execute(f"SELECT {_COLUMNS} FROM users WHERE name = ?", (name,)).fetchone()
            return _user(row) if row else None

    def add(self, name: str, password: str, role: str) -> User:
        """Make an account."""
        checked_name(name)
        checked_role(role)
        check_new(password, name)
        hashed, now = self._hashing.hash(password), self._clock()
        with self._database.write() as connection:
            if connection.execute("SELECT 1 FROM users WHERE name = ?", (name,)).fetchone():
                raise HepcatError(
                    f"there is a user {name} already", "`hepcat user password` gives a new password."
                )
            connection.execute(
                "INSERT INTO users (name, role, hash, created, changed) VALUES (?, ?, ?, ?, ?)",
                (name, role, hashed, now, now),
            )
        return User(name, checked_role(role), hashed, False, now, now)

    def remove(self, name: str) -> None:
        """Remove an account with its sessions and tokens."""
        with self._database.write() as connection:
            _end(connection, name)
            connection.execute("DELETE FROM users WHERE name = ?", (name,))

    def set_password(self, name: str, password: str) -> User:
        """Give a new password; ends the user's sessions and tokens."""
        check_new(password, name)
        hashed, now = self._hashing.hash(password), self._clock()
        with self._database.write() as connection:
            _end(connection, name)
            connection.execute("UPDATE users SET hash = ?, changed = ? WHERE name = ?", (hashed, now, name))
            return _the(connection, name)

    def set_role(self, name: str, role: str) -> None:
        """Give a role. Sessions and tokens go on with at most that role."""
        checked_role(role)
        with self._database.write() as connection:
            _the(connection, name)
            connection.execute("UPDATE users SET role = ? WHERE name = ?", (role, name))

    def set_disabled(self, name: str, disabled: bool) -> None:
        """Disable a user, which ends sessions and tokens, or enable again."""
        with self._database.write() as connection:
            if disabled:
                _end(connection, name)
            else:
                _the(connection, name)
            connection.execute("UPDATE users SET disabled = ? WHERE name = ?", (int(disabled), name))

    def check(self, name: str, password: str) -> User | None:
        """Return the user whose name and password these are; None, after the same time, else.

        A hash made with older parameters is replaced by one of today's.
        """
        user = self.find(name)
        right = self._hashing.matches(user.hash if user else None, password)
        if not right or user is None or user.disabled:
            return None
        if not self._hashing.outdated(user.hash):
            return user
        hashed = self._hashing.hash(password)
        with self._database.write() as connection:
            connection.execute(
                "UPDATE users SET hash = ? WHERE name = ? AND hash = ?", (hashed, user.name, user.hash)
            )
            row = connection.execute(f"SELECT {_COLUMNS} FROM users WHERE name = ?", (user.name,)).fetchone()
        # Whoever changed the password meanwhile wins.
        return _user(row) if row and row[2] == hashed else None


def checked_name(name: str) -> str:
    """Return the name if it can be a user's; raise HepcatError else."""
    if not _NAME.fullmatch(name):
        raise HepcatError(
            f"{name[:80]!r} cannot be a user's name",
            "A letter or digit, then letters, digits, . _ @ + or -; at most 64.",
        )
    return name


def checked_role(role: str) -> Role:
    """Return the role if there is such; raise HepcatError else."""
    if role not in ROLES:
        raise HepcatError(f"{role[:80]!r} is no role", f"There are {' and '.join(ROLES)}.")
    return role


def least_role(one: Role, other: Role) -> Role:
    """Return the role with fewer rights."""
    return min(one, other, key=ROLES.index)


def _the(connection: sqlite3.Connection, name: str) -> User:
    row = connection.execute(f"SELECT {_COLUMNS} FROM users WHERE name = ?", (name,)).fetchone()
    if row is None:
        raise HepcatError(f"there is no user {name[:80]!r}", "`hepcat user list` shows who there is.")
    return _user(row)


def _end(connection: sqlite3.Connection, name: str) -> None:
    """End the sessions and tokens of a user, who has to be there."""
    _the(connection, name)
    connection.execute("DELETE FROM sessions WHERE user = ?", (name,))
    connection.execute("DELETE FROM tokens WHERE user = ?", (name,))


def _user(row: tuple[str, Role, str, int, float, float]) -> User:
    name, role, hashed, disabled, created, changed = row
    return User(name, role, hashed, bool(disabled), created, changed)
