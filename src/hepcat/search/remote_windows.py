"""Portions of a search on a store elsewhere: Call-IDs some at a time, ranges of time, counts over time.

In: lists of Call-IDs, bounds of time, a way to run SELECT. Out: portions, which together are the whole.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import pyarrow as pa
from sqlglot import exp

from hepcat.search.ast import Equals, Match
from hepcat.search.remote_dialect import RemoteDialect, both, bounds, named_as
from hepcat.search.times import SECOND
from hepcat.search.within import Times
from hepcat.stores.lake.outcome import ANSWERED, OF_INVITE, UNDECIDED

#: Records of one table that goes from hand to hand, about.
PAGE_ROWS: Final = 25_000
#: Call-IDs of one condition: an IN of so many is still looked up by index in every database.
CHUNK: Final = 200
#: The newest range of time that is looked at, and how much longer each older one is.
_FIRST: Final = 600 * SECOND
_GROWTH: Final = 6
T = TypeVar("T")


def chunks(items: Sequence[T], size: int = CHUNK) -> Iterator[Sequence[T]]:
    """Yield the items some at a time."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def growing(times: Times, low: int | None, high: int | None) -> Iterator[Times]:
    """Yield neighbouring ranges that make up the range, the newest and shortest first.

    low, high: bounds of what there is, None where there is nothing.
    """
    if low is None or high is None:
        yield times
        return
    low = low if times.since is None else max(low, times.since)
    high = high if times.until is None else min(high, times.until - 1)
    end, length = times.until, _FIRST
    start = high + 1 - length
    while start > low:
        yield Times(start, end)
        end, length = start, length * _GROWTH
        start = end - length
    yield Times(times.since, end)


@dataclass(frozen=True, slots=True)
class Window:
    """A range of time, both ends known or open."""

    times: Times

    def overlaps(self, first: int, last: int) -> bool:
        """Say whether something between two moments may lie in it."""
        since, until = self.times.since, self.times.until
        return (since is None or last >= since) and (until is None or first < until)


def windows_of(
    parts: Sequence[tuple[Sequence[str], list[int]]], times: Times, rows: int = PAGE_ROWS
) -> list[Window]:
    """Return neighbouring ranges of about `rows` of the moments each, oldest first, at least one."""
    at = sorted(moment for _, moments in parts for moment in moments)
    cuts = sorted({at[i] for i in range(rows, len(at), rows)} - set(at[:1]))
    return [Window(Times(a, b)) for a, b in zip([times.since, *cuts], [*cuts, times.until], strict=True)]


#: (columns, condition, groups) -> SELECT over the store's records
Select = Callable[[Sequence[exp.Expression], exp.Expression, Sequence[exp.Expression]], exp.Select]


class Counter:
    """Counts matches by buckets of time and class of status, for histogram.build."""

    def __init__(
        self,
        dialect: RemoteDialect,
        select: Select,
        run: Callable[[exp.Expression], pa.Table],
        condition: exp.Expression,
        messages: bool,
    ) -> None:
        """condition: exact. messages: count these, else calls."""
        self.dialect, self.select, self.run = dialect, select, run
        self.condition, self.messages = condition, messages

    def extent(self, times: Times) -> tuple[int | None, int | None]:
        """Return the first and last time of a match."""
        at = self.dialect.micros()
        selected = named_as(low=exp.Min(this=at), high=exp.Max(this=at.copy()))
        found = self.run(self.select(selected, self._where(times), ()))
        return found["low"][0].as_py(), found["high"][0].as_py()

    def count(self, times: Times, width: int) -> pa.Table:
        """Return bucket, class, n, low, high."""
        if self.messages:
            at, status = self.dialect.micros(), self.dialect.status()
            groups = [self.dialect.bucket(at, width), self.dialect.bucket(status, 100)]
            statement = self.select(_counted(groups, at), self._where(times), groups)
        else:
            statement = self._of_calls(times, width)
        found = self.run(statement)
        return pa.table(
            {
                "bucket": [int(bucket) // width for bucket in found["bucket"].to_pylist()],
                "class": [int(klass) // 100 for klass in found["class"].to_pylist()],
                **{name: found[name] for name in ("n", "low", "high")},
            }
        )

    def _of_calls(self, times: Times, width: int) -> exp.Select:
        """A call is counted where its first match is, as histogram.py says."""
        key, status = self.dialect.call_key(), _outcome(self.dialect)
        highest = exp.Mod(this=exp.Max(this=status), expression=_literal(OF_INVITE))
        firsts = named_as(first_at=exp.Min(this=self.dialect.micros()), outcome=highest)
        calls = self.select(firsts, self._where(times), [key]).subquery("calls")
        at, outcome = exp.column("first_at", quoted=True), exp.column("outcome", quoted=True)
        groups = [self.dialect.bucket(at, width), self.dialect.bucket(outcome, 100)]
        return exp.select(*_counted(groups, at)).from_(calls).group_by(*(g.copy() for g in groups))

    def _where(self, times: Times) -> exp.Expression:
        parts = [self.condition, self.dialect.times(times)]
        return both(*parts) if self.messages else both(*parts, self.dialect.has_call())


def _outcome(dialect: RemoteDialect) -> exp.Expression:
    """Return a message's part in its call's outcome; that of a call is the highest, modulo OF_INVITE."""
    status = dialect.status()
    undecided = exp.In(this=status.copy(), expressions=[_literal(n) for n in UNDECIDED])
    success = exp.Between(this=status.copy(), low=_literal(200), high=_literal(299))
    # A CSeq of an odd form cannot be told from others' by all databases: then its status alone counts.
    invite = bounds(Match("method", Equals("INVITE")), dialect).sure
    plus = exp.Case(ifs=[exp.If(this=success, true=_literal(ANSWERED))], default=_literal(OF_INVITE))
    return exp.Add(
        this=exp.Paren(this=exp.Case(ifs=[exp.If(this=undecided, true=_literal(0))], default=status)),
        expression=exp.Paren(this=exp.Case(ifs=[exp.If(this=invite.copy(), true=plus)], default=_literal(0))),
    )


def _literal(value: int) -> exp.Expression:
    return exp.Literal.number(value)


def _counted(groups: Sequence[exp.Expression], at: exp.Expression) -> list[exp.Expression]:
    bucket, klass = groups
    few: dict[str, exp.Expression] = {
        "n": exp.Count(this=exp.Star()),
        "low": exp.Min(this=at),
        "high": exp.Max(this=at.copy()),
    }
    return named_as(bucket=bucket, **{"class": klass}, **few)
