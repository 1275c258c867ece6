"""The contract of a store's administration: what `hepcat db create|upgrade|check` does, and what it found.

In: one database's settings. Out: `Finding`s, in the order of looking. What can go wrong: HepcatError (the
database is away, a right is missing), with what to do. Neither ever holds a password.

A kind of store has a module with the functions of `Admin`:
sql/check.py (MariaDB, MySQL, PostgreSQL, SQLite, ODBC), dbtext/admin.py, clickhouse/admin.py.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from hepcat.config.databases import DatabaseSettings

Level = Literal["ok", "warn", "bad"]

#: The levels from the best to the worst.
LEVELS: Final[tuple[Level, ...]] = ("ok", "warn", "bad")

#: What a dry run hands each statement to, without its semicolon, in place of running it.
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at, made or changed."""

    #: ok: as it should be (or made just now); warn: works, but not as well as it could; bad: does not work
    level: Level
    #: what it is about, such as "table sip_capture"
    subject: str
    #: how it is, such as "has no column callid_aleg"
    found: str
    #: what to do about it; empty where there is nothing to do
    advice: str = ""


class Admin(Protocol):
    """The functions of a kind's module. `dry`: nothing is changed, the statements go there."""

    def create(self, settings: DatabaseSettings, dry: Tell | None = None) -> list[Finding]:
        """Make what is missing; leave alone what is there."""

    def upgrade(
        self, settings: DatabaseSettings, dry: Tell | None = None, widen: bool = False
    ) -> list[Finding]:
        """Add columns and indexes that tables lack. widen: also make `msg` large enough for any message."""

    def check(self, settings: DatabaseSettings) -> list[Finding]:
        """Look, and change nothing."""
