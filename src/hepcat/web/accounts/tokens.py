"""API tokens: what programs show instead of a password.

In: a user, a name for the token, days, a role. Out: `hepcat_` and 256 random bits, shown once; only the
SHA-256 is kept. Each token ends by itself; its role is at most that of its owner, of now. What can go wrong:
HepcatError for no such user or token, a wrong role, name or number of days, too many tokens.
"""

import contextlib
import hashlib
import secrets
from dataclasses import dataclass
from typing import Final

from hepcat.errors import HepcatError
from hepcat.web.accounts.store import AccountsUnavailable, Database
from hepcat.web.accounts.users import Clock, Role, checked_role, least_role

#: So that programs which look for leaked secrets, and people, know what it is.
PREFIX: Final = "hepcat_"
#: Most of one user.
MOST: Final = 100
MOST_DAYS: Final = 3660.0
#: Seconds between two notes of a token's use.
NOTE_SECONDS: Final = 60.0
DAY: Final = 86_400.0
_LENGTH: Final = len(PREFIX) + 43
_COLUMNS: Final = "t.id, t.user, t.name, t.role, u.role, t.created, t.used, t.expires"


@dataclass(frozen=True, slots=True)
class Token:
    """A token as lists show it: without what it opens."""

    id: int
    user: str
    name: str
    role: Role
    created: float
    used: float | None
    expires: float


class Tokens:
    """The tokens of all users."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def add(self, user: str, name: str, days: float, role: str | None = None) -> tuple[str, Token]:
        """Make a token; return its secret, which nobody can see again, and the token.

        role: None is the user's.
        """
        name = name.strip()
        if not 1 <= len(name) <= 64 or not name.isprintable():
            raise HepcatError("a token needs a name of 1 to 64 printable characters", "Say what it is for.")
        if not 0 < days <= MOST_DAYS:  # also not a number
            raise HepcatError(f"{days} days", f"A token is good for more than 0 and at most {MOST_DAYS:.0f}.")
        secret, now = PREFIX + secrets.token_urlsafe(32), self._clock()
        with self._database.write() as connection:
            owner = connection.execute(
                "SELECT name, role FROM users WHERE name = ? AND NOT disabled", (user,)
            ).fetchone()
            if owner is None:
                raise HepcatError(
                    f"there is no user {user[:80]!r}, or a disabled one",
                    "`hepcat user list` shows who there is.",
                )
            given = checked_role(role) if role is not None else owner[1]
            if least_role(given, owner[1]) != given:
                raise HepcatError(
                    f"{owner[0]} is {owner[1]}: a token cannot be {given}",
                    "A token's role is at most its owner's.",
                )
            connection.execute("DELETE FROM tokens WHERE user = ? AND expires <= ?", (user, now - 30 * DAY))
            if (
                connection.execute("SELECT count(*) FROM tokens WHERE user = ?", (user,)).fetchone()[0]
                >= MOST
            ):
                raise HepcatError(f"{owner[0]} has {MOST} tokens", "Revoke some that are not in use.")
            made = connection.execute(
                "INSERT INTO tokens (hash, user, name, role, created, expires) VALUES (?, ?, ?, ?, ?, ?)",
                (_key(secret), owner[0], name, given, now, now + days * DAY),
            ).lastrowid
        assert made is not None
        return secret, Token(made, owner[0], name, given, now, None, now + days * DAY)

    def list(self, user: str | None = None) -> list[Token]:
        """Return the tokens of a user, or all; expired ones too."""
        with self._database.read() as connection:
            if connection is None:
                return []
            rows = connection.execute(
                f"SELECT {_COLUMNS} FROM tokens t JOIN users u ON u.name = t.user"
                " WHERE ?1 IS NULL OR t.user = ?1 ORDER BY t.user, t.id",
                (user,),
            ).fetchall()
        return [_token(row) for row in rows]

    def revoke(self, token: int, user: str | None = None) -> None:
        """End a token, of that user where one is named."""
        with self._database.write() as connection:
            # SQLite's integers have 64 bits
            found = (
                -(2**63) <= token < 2**63
                and connection.execute(
                    "DELETE FROM tokens WHERE id = ?1 AND (?2 IS NULL OR user = ?2)", (token, user)
                ).rowcount
            )
        if not found:
            raise HepcatError(f"there is no token {token}", "`hepcat token list` shows which there are.")

    def find(self, secret: str) -> Token | None:
        """Return what a secret opens, noting its use; None where it opens nothing (any more)."""
        if len(secret) != _LENGTH or not secret.startswith(PREFIX) or not secret.isascii():
            return None
        now = self._clock()
        with self._database.read() as connection:
            if connection is None:
                return None
            row = connection.execute(
                f"SELECT {_COLUMNS} FROM tokens t JOIN users u ON u.name = t.user"
                " WHERE t.hash = ? AND t.expires > ? AND NOT u.disabled",
                (_key(secret), now),
            ).fetchone()
        if row is None:
            return None
        token = _token(row)
        if token.used is None or abs(now - token.used) > NOTE_SECONDS:
            # A full disk is when people have to look; `used` is for them to read, nothing depends on it.
            with contextlib.suppress(AccountsUnavailable), self._database.write() as connection:
                connection.execute("UPDATE tokens SET used = ? WHERE id = ?", (now, token.id))
        return token


def _key(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _token(row: tuple[int, str, str, Role, Role, float, float | None, float]) -> Token:
    number, user, name, role, owner, created, used, expires = row
    return Token(number, user, name, least_role(role, owner), created, used, expires)
