"""The maintenance of one table: what it needs to know, and what became of it.

In: nothing. Out: `Work`, which partitions.py hands to each engine's module, and `Maintained`, which it fills.
"""

import datetime as dt
from dataclasses import dataclass, field

from hepcat.config.databases import DatabaseSettings
from hepcat.stores.admin import Tell

_DAY = dt.timedelta(days=1)


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

    def today(self, zone: dt.tzinfo | None) -> dt.date:
        """Return the day it is; zone None: local."""
        return self.now.astimezone(zone).date()

    def oldest(self, zone: dt.tzinfo | None) -> dt.date | None:
        """Return the first day that is kept, None: all are."""
        kept = self.settings.retention_days
        return None if kept is None else self.today(zone) - kept * _DAY
