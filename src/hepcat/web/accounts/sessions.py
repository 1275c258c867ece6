"""Sessions: what a browser's cookie stands for.

In: a user who has logged in. Out: a random id of 256 bits, of which only the SHA-256 is kept: whoever reads
the file cannot log in with it. A session ends a fixed time after login, after some time without use, when it
is logged out, and when the user is removed, disabled or gets a new password. Its role is the user's of now.
"""

import base64
import contextlib
import hashlib
import hmac
import secrets
import sqlite3
from dataclasses import dataclass, field
from typing import Final

from hepcat.web.accounts.store import AccountsUnavailable, Database
from hepcat.web.accounts.users import Clock, Role, User

#: Sessions of a user at once; the oldest makes room.
MOST: Final = 50
#: Sessions of all who came by OpenID Connect.
MOST_FOREIGN: Final = 10_000
#: Seconds between two notes of a session's use, so that not each request writes.
NOTE_SECONDS: Final = 60.0
#: Seconds a clock may go back before sessions from "the future" count as ended.
SKEW_SECONDS: Final = 300.0
_ID_LENGTH: Final = 43


@dataclass(frozen=True, slots=True)
class Session:
    """Who logged in, and what the request has to show."""

    name: str
    role: Role
    foreign: bool  # by OpenID Connect: no user of ours
    csrf: str = field(repr=False)
    key: bytes = field(repr=False)  # SHA-256 of the id


class Sessions:
    """The sessions of all users."""

    def __init__(self, database: Database, clock: Clock, seconds: float, idle_seconds: float) -> None:
        self._database = database
        self._clock = clock
        self._seconds = seconds
        self._idle = idle_seconds

    def begin(self, user: User) -> str | None:
        """Return the id of a new session; None where the user has changed since `user` was read."""
        with self._database.write() as connection:
            row = connection.execute(
                "SELECT 1 FROM users WHERE name = ? AND hash = ? AND NOT disabled", (user.name, user.hash)
            ).fetchone()
            if row is None:
                return None
            return self._insert(connection, user.name, user.name, user.role, MOST)

    def begin_foreign(self, name: str, role: Role) -> str:
        """Return the id of a new session of someone whom an OpenID provider vouched for."""
        with self._database.write() as connection:
            return self._insert(connection, None, name, role, MOST_FOREIGN)

    def find(self, session_id: str) -> Session | None:
        """Return the session, noting its use; None where it has ended or never was."""
        if len(session_id) != _ID_LENGTH or not session_id.isascii():
            return None
        key, now = _key(session_id), self._clock()
        with self._database.read() as connection:
            if connection is None:
                return None
            row = connection.execute(
                "SELECT coalesce(u.name, s.name), coalesce(u.role, s.role), s.user IS NULL, s.created,"
                " s.used, s.expires FROM sessions s LEFT JOIN users u ON u.name = s.user"
                " WHERE s.id = ? AND NOT coalesce(u.disabled, 0)",
                (key,),
            ).fetchone()
        if row is None:
            return None
        name, role, foreign, created, used, expires = row
        if now >= min(expires, used + self._idle) or now < created - SKEW_SECONDS:
            with contextlib.suppress(AccountsUnavailable):
                self.end(key)
            return None
        if abs(now - used) > min(NOTE_SECONDS, self._idle / 4):
            # A full disk is when people have to look: the session then ends as if it had not been used.
            with contextlib.suppress(AccountsUnavailable), self._database.write() as connection:
                connection.execute("UPDATE sessions SET used = ? WHERE id = ?", (now, key))
        return Session(name, role, bool(foreign), csrf_of(session_id), key)

    def end(self, key: bytes) -> None:
        """End a session, by the SHA-256 of its id."""
        with self._database.write() as connection:
            connection.execute("DELETE FROM sessions WHERE id = ?", (key,))

    def _insert(
        self, connection: sqlite3.Connection, user: str | None, name: str, role: Role, most: int
    ) -> str:
        session_id, now = secrets.token_urlsafe(32), self._clock()
        connection.execute("DELETE FROM sessions WHERE expires <= ? OR used <= ?", (now, now - self._idle))
        connection.execute(
            "DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE user IS ?"
            " ORDER BY used DESC LIMIT -1 OFFSET ?)",
            (user, most - 1),
        )
        connection.execute(
            "INSERT INTO sessions (id, user, name, role, created, used, expires)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (_key(session_id), user, name, role, now, now, now + self._seconds),
        )
        return session_id


def csrf_of(session_id: str) -> str:
    """Return what unsafe requests of the session show in X-CSRF-Token: only the page can know it."""
    digest = hmac.digest(session_id.encode(), b"hepcat csrf", "sha256")
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _key(session_id: str) -> bytes:
    return hashlib.sha256(session_id.encode()).digest()
