"""Accounts: users, sessions, API tokens, and how often a password may be tried.

In: the settings (where the file is, how long things last). Out: `Accounts`. What can go wrong: HepcatError,
where the file cannot be used (store.py). Nothing here knows HTTP; web/auth.py does.
"""

import time
from pathlib import Path
from typing import TYPE_CHECKING

from hepcat.web.accounts.passwords import Hashing
from hepcat.web.accounts.sessions import Sessions
from hepcat.web.accounts.store import Database
from hepcat.web.accounts.throttle import Throttle
from hepcat.web.accounts.tokens import Tokens
from hepcat.web.accounts.users import Clock, Users

if TYPE_CHECKING:
    from hepcat.config.settings import Settings
    from hepcat.web.oidc import Provider

__all__ = ["Accounts", "accounts_path"]

HOUR = 3600.0


class Accounts:
    """Everything about who may look. Methods may be called from any thread; they wait for the disk."""

    def __init__(self, settings: "Settings", clock: Clock = time.time) -> None:
        web = settings.web
        self.database = Database(accounts_path(settings))
        self.users = Users(self.database, Hashing(), clock)
        self.sessions = Sessions(self.database, clock, web.session_hours * HOUR, web.idle_hours * HOUR)
        self.tokens = Tokens(self.database, clock)
        self.throttle = Throttle(web.login_attempts)
        self.token_days = web.token_days
        self._oidc = web.oidc
        self._provider: Provider | None = None
        self._closed = False

    def open(self) -> bool:
        """Whether nobody needs to log in: there are no accounts, and nowhere else to log in.

        What was closed once stays closed until the next start: removing the last account must not open the
        door to those outside.
        """
        self._closed = self._closed or self._oidc is not None or self.users.any()
        return not self._closed

    @property
    def provider(self) -> "Provider | None":
        """The provider of OpenID Connect, None where there is none."""
        if self._provider is None and self._oidc is not None:
            from hepcat.web.oidc import Provider

            self._provider = Provider(self._oidc)
        return self._provider

    def close(self) -> None:
        """Close the file."""
        self.database.close()


def accounts_path(settings: "Settings") -> Path:
    """Return the file of the accounts: the configured one, else accounts.db in the lake's folder."""
    return settings.web.accounts or settings.data / "accounts.db"
