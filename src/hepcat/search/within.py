"""A range of time of a search.

In: bounds in microseconds since the epoch, or the tree of a query. Out: the range and its SQL.
"""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from hepcat.search.ast import Node, time_bounds

#: What DuckDB can say as a time: the numbers beyond stand for infinity.
_FIRST: Final = -(2**63) + 2
_LAST: Final = 2**63 - 2
#: Ranges that `clusters` makes at most. Each is compared with every row that is read.
MAX_CLUSTERS: Final = 4


@dataclass(frozen=True, slots=True)
class Times:
    """A range of time, microseconds since the epoch: since <= ts < until; None is open."""

    since: int | None = None
    until: int | None = None

    def within(self, node: Node) -> "Times":
        """Return the range narrowed by what the query itself says about ts."""
        low, high = time_bounds(node)
        since = max([t for t in (self.since, low) if t is not None], default=None)
        until = min(
            [t for t in (self.until, None if high is None else high + 1) if t is not None], default=None
        )
        return Times(since, until)

    def widened(self, by: int) -> "Times":
        """Return the range longer by so much at both ends."""
        return Times(
            None if self.since is None else self.since - by, None if self.until is None else self.until + by
        )

    def is_longer(self, than: int) -> bool:
        """Say whether both ends are known and further apart."""
        return self.since is not None and self.until is not None and self.until - self.since > than

    def sql(self) -> str:
        """Return the condition; whole numbers only, so nothing needs quoting."""
        parts = []
        if self.since is not None and self.since > _FIRST:
            parts.append(f"ts >= make_timestamptz({min(int(self.since), _LAST)})")
        if self.until is not None and self.until <= _LAST:
            parts.append(f"ts < make_timestamptz({max(int(self.until), _FIRST)})")
        return " AND ".join(parts) or "true"


def spanning(ranges: Iterable[tuple[int | None, int | None]]) -> Times:
    """Return the range around pairs of (first, last); open at a side where one is no number (infinity)."""
    lows, highs = zip(*ranges, strict=True)
    first = None if None in lows else min(lows)
    return Times(first, None if None in highs else max(highs) + 1)


def any_of_times(ranges: Iterable[Times]) -> str:
    """Return the condition "in one of these ranges"; also as one range around them, which prunes best."""
    every = list(ranges)
    if len(every) < 2:
        return every[0].sql() if every else "false"
    each = " OR ".join(f"({times.sql()})" for times in every)
    return f"{Times(every[0].since, every[-1].until).sql()} AND ({each})"


def clusters(moments: Iterable[int | None]) -> list[Times]:
    """Return a few ranges that hold all of the moments: the largest gaps between them are left out.

    None is a moment that is no number (infinity): then nothing is left out.
    """
    known = set(moments)
    if not known or None in known:
        return [Times()] if known else []
    ordered = sorted(moment for moment in known if moment is not None)
    gaps = sorted(((b - a, a, b) for a, b in itertools.pairwise(ordered)), reverse=True)
    cuts = sorted((a, b) for _, a, b in gaps[: MAX_CLUSTERS - 1])
    starts = [ordered[0], *(b for _, b in cuts)]
    ends = [*(a for a, _ in cuts), ordered[-1]]
    return [Times(start, end + 1) for start, end in zip(starts, ends, strict=True)]
