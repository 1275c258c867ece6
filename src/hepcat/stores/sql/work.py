"""The maintenance of one table: what it needs to know, and what became of it.

In: nothing. Out: `Work`, which partitions.py hands to each engine's module, and `Maintained`, which it fills.
"""

import datetime as dt
from dataclasses import dataclass, field
from typing import Final

from hepcat.config.databases import DatabaseSettings
from hepcat.stores.admin import Tell

_DAY: Final = dt.timedelta(days=1)


#: Rows of a catch-all that are moved without being asked: some seconds of work.
MOST_ROWS: Final = 1_000_000


class TooMany(Exception):
    """So many rows would be moved that it has to be asked for."""

    def __init__(self, rows: int) -> None:
        super().__init__(f"no partitions are made: about {rows:,} rows wait in the catch-all")


@dataclass(slots=True)
class Maintained:
    """What was done.

    made, dropped: partitions and tables. deleted: rows. unfinished: the next call goes on.
    """

    made: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    deleted: int = 0
    unfinished: bool = False


@dataclass(frozen=True, slots=True)
class Work:
    """One table.

    until: time.monotonic() of the end of patience. dry: nothing is changed, statements go there.
    """

    table: str
    settings: DatabaseSettings
    now: dt.datetime
    done: Maintained
    until: float
    dry: Tell | None = None
    #: whether a catch-all with very many rows is split all the same
    forced: bool = False

    def today(self, zone: dt.tzinfo | None) -> dt.date:
        """Return the day it is; zone None: local."""
        return self.now.astimezone(zone).date()

    def oldest(self, zone: dt.tzinfo | None) -> dt.date | None:
        """Return the first day that is kept, None: all are."""
        kept = self.settings.retention_days
        return None if kept is None else self.today(zone) - kept * _DAY
