"""Passwords: what is one, its hash (argon2id), and whether one is right.

In: passwords as typed. Out: hashes in argon2's own form, which holds its parameters. What can go wrong:
`WeakPassword`, where a new one is too short, too long or the user's name. Comparing is as slow as it has to
be and takes the same time whether there is such a user or not.
"""

import threading
import unicodedata
from typing import TYPE_CHECKING, Final

from hepcat.errors import HepcatError

if TYPE_CHECKING:
    from argon2 import PasswordHasher

#: Least characters of a new password (NIST SP 800-63B asks for eight at least).
LEAST: Final = 10
#: Most characters: enough for any phrase, too few to keep the server busy.
MOST: Final = 1024


class WeakPassword(HepcatError):
    """A password that cannot be a new one."""


def check_new(password: str, name: str) -> None:
    """Raise WeakPassword unless this can be the password of the user of that name."""
    if len(password) < LEAST:
        raise WeakPassword(
            f"the password is too short: {len(password)} characters",
            f"Take {LEAST} or more; a few words are easy to type and hard to guess.",
        )
    if len(password) > MOST or _octets(password) is None:
        raise WeakPassword("the password is too long or no text", f"At most {MOST} characters of Unicode.")
    if password.strip().casefold() == name.casefold():
        raise WeakPassword("the password is the user's name", "Take another.")
    if len(set(password)) < 3:
        raise WeakPassword("the password is one or two characters again and again", "Take another.")


class Hashing:
    """Makes and compares hashes, with argon2-cffi's current parameters (RFC 9106's second choice)."""

    def __init__(self) -> None:
        self._hasher: PasswordHasher | None = None
        self._nobody: str | None = None
        self._mutex = threading.Lock()

    def hash(self, password: str) -> str:
        """Return the hash of a password that `check_new` let pass."""
        octets = _octets(password)
        assert octets is not None
        return self._argon2().hash(octets)

    def matches(self, hashed: str | None, password: str) -> bool:
        """Whether it is the password. With None, of a user who is not there, takes as long to say no."""
        from argon2.exceptions import InvalidHashError, VerificationError

        octets = _octets(password) if len(password) <= MOST else None
        try:
            right = self._argon2().verify(hashed or self._of_nobody(), octets if octets is not None else b"")
        except (VerificationError, InvalidHashError):
            return False
        return right and hashed is not None and octets is not None

    def outdated(self, hashed: str) -> bool:
        """Whether the hash was made with other parameters than those of today."""
        return self._argon2().check_needs_rehash(hashed)

    def _argon2(self) -> "PasswordHasher":
        if self._hasher is None:
            from argon2 import PasswordHasher

            self._hasher = PasswordHasher()
        return self._hasher

    def _of_nobody(self) -> str:
        """Return a hash that is compared with where there is no user."""
        import secrets

        with self._mutex:
            if self._nobody is None:
                self._nobody = self._argon2().hash(secrets.token_bytes(32))
        return self._nobody


def _octets(password: str) -> bytes | None:
    """Return the octets that are hashed; None for text that UTF-8 cannot hold (lone surrogates).

    The same characters typed on two systems must be the same octets: form C (RFC 8265 section 4.2.2).
    """
    try:
        return unicodedata.normalize("NFC", password).encode()
    except UnicodeEncodeError:
        return None
