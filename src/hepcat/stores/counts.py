"""What a store has done with what it was given, in numbers that add up.

In: nothing. Out: `StoreCounts`, a picture of one moment. At rest taken = written + waiting + all drops.
No pyarrow here: what shows the counts need not load the stores.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from hepcat.batch.drops import Drop


@dataclass(slots=True)
class StoreCounts:
    """Counts of this process, in records. What was found waiting at its start counts as taken.

    written: in the database for sure. waiting: in the spool, on their way included. unknown: the part of
    `written` that a lost answer, or an earlier process, had written: what of them was cut, replaced or left
    out by the writer is not known. trouble: why nothing is written just now, None while all is well.
    """

    taken: int = 0
    written: int = 0
    waiting: int = 0
    cut: int = 0
    replaced: int = 0
    unknown: int = 0
    spool_octets: int = 0
    trouble: str | None = None
    drops: dict[Drop, int] = field(default_factory=dict)


def sum_counts(parts: Iterable[StoreCounts]) -> StoreCounts:
    """Return the counts of a store that consists of several, with what troubles any of them."""
    total = StoreCounts()
    troubles = []
    for part in parts:
        for name in ("taken", "written", "waiting", "cut", "replaced", "unknown", "spool_octets"):
            setattr(total, name, getattr(total, name) + getattr(part, name))
        for drop, count in part.drops.items():
            total.drops[drop] = total.drops.get(drop, 0) + count
        if part.trouble is not None:
            troubles.append(part.trouble)
    total.trouble = "; ".join(troubles) or None
    return total
