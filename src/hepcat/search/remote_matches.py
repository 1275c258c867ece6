"""The records of a store elsewhere that match a query, and only these.

In: a `Remote`, the tree of a query, a range of time. Out: exact conditions, records in bounded tables.
What can go wrong: HepcatError where too many records would have to be tested.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
from sqlglot import exp

from hepcat.errors import HepcatError
from hepcat.search.ast import Node, pins
from hepcat.search.memory import Memory
from hepcat.search.remote import Remote
from hepcat.search.remote_dialect import both, bounds, named_as
from hepcat.search.remote_records import concat, moments
from hepcat.search.remote_windows import PAGE_ROWS, chunks, growing
from hepcat.search.searcher import Searcher
from hepcat.search.within import Times
from hepcat.stores.lake.arrow import arrow_schema

#: Columns with an index: such a search needs no windows of time.
_INDEXED: Final = frozenset(
    {"call_id", "call_id_aleg", "from_user", "to_user", "ruri_user", "pid_user", "auth_user"}
)
#: Records that are tested one by one, of one search, at most.
MAX_TESTED: Final = 5_000_000


class Matches:
    """What of one store matches."""

    def __init__(self, remote: Remote) -> None:
        """Look in that store."""
        self.remote = remote
        self.dialect = remote.dialect

    def local(self, records: pa.Table, table: str = "sip") -> Searcher:
        """Return the lake's searcher over records that were read."""
        return Searcher(Memory({table: records}), self.dialect.local)

    def select(
        self,
        selected: Sequence[exp.Expression],
        condition: exp.Expression,
        group: Sequence[exp.Expression] = (),
        table: str = "sip",
    ) -> exp.Select:
        """Return a SELECT over the relations of a table together."""
        relations = self.remote.tables(table)
        if not relations:
            raise HepcatError(f"store {self.remote.name} has no table for {table}")
        statement = exp.select(*(s.copy() for s in selected))
        statement = statement.from_(_together(relations)).where(condition.copy())
        return statement.group_by(*(g.copy() for g in group)) if group else statement

    def run(
        self,
        selected: Sequence[exp.Expression],
        condition: exp.Expression,
        group: Sequence[exp.Expression] = (),
        order: Sequence[exp.Expression] = (),
        limit: int | None = None,
        table: str = "sip",
    ) -> pa.Table:
        """Run such a SELECT."""
        statement = self.select(selected, condition, group, table)
        if order:
            statement = statement.order_by(*(o.copy() for o in order))
        return self.remote.run(statement if limit is None else statement.limit(int(limit)))

    def settled(
        self, node: Node, times: Times, calls: bool = False, table: str = "sip"
    ) -> exp.Expression | None:
        """Return the query's exact condition; None where some records in the range have to be tested.

        calls: for what is counted by Call-ID, records whose Call-ID the store does not have whole are such.
        """
        limits = bounds(node, self.dialect)
        doubts = [] if limits.exact else [_between(limits.maybe, limits.sure)]
        blurred = self.dialect.blurred_call() if calls else None
        if blurred is not None:
            doubts.append(both(limits.maybe, blurred))
        if not doubts:
            return limits.sure
        where = both(_any_of(doubts), self.dialect.times(times))
        found = self.run(named_as(n=exp.Literal.number(1)), where, limit=1, table=table)
        return None if len(found) else limits.sure

    def matching(
        self, node: Node, times: Times, table: str = "sip", oldest_first: bool = False
    ) -> Iterator[pa.Table]:
        """Yield the matching records in bounded tables, by time; at least one table."""
        limits = bounds(node, self.dialect)
        tested = None if limits.exact else node
        return self._tested(tested, limits.maybe, times, table, oldest_first)

    def doubtful(self, node: Node, times: Times, table: str) -> Iterator[pa.Table]:
        """Yield those matching records of which the database alone cannot say that they match."""
        limits = bounds(node, self.dialect)
        return self._tested(node, _between(limits.maybe, limits.sure), times, table)

    def _tested(
        self,
        node: Node | None,
        condition: exp.Expression,
        times: Times,
        table: str,
        oldest_first: bool = False,
    ) -> Iterator[pa.Table]:
        """Yield the records of a condition that also match the query."""
        at = self.dialect.micros()
        order = [exp.Ordered(this=at) if oldest_first else descending(at)]
        tested = 0
        where = both(condition, self.dialect.times(times))
        for page in self.remote.stream(where, order, table, PAGE_ROWS):
            tested += len(page)
            if node is not None and tested > MAX_TESTED:
                raise HepcatError(
                    f"store {self.remote.name} cannot look this up: more than {MAX_TESTED:,} records "
                    "would have to be tested one by one",
                    "Narrow the time (--last, --since), or add a term that the store can look up.",
                )
            yield page if node is None else self._passing(page, node, table)
        if not tested:
            yield arrow_schema(table).empty_table()

    def _passing(self, records: pa.Table, node: Node, table: str) -> pa.Table:
        if not len(records):
            return records
        return self.local(records, table).messages(node, table=table).table

    def newest(self, node: Node, times: Times, table: str, wanted: int) -> Iterator[pa.Table]:
        """Yield the matching records, newest first, few at a time: for who needs about `wanted` of them.

        Records of one microsecond are never parted.
        """
        limits = bounds(node, self.dialect)
        rows = wanted + 16 if limits.exact else max(4 * wanted, 500)
        for window in self.windows(node, times, table):
            until = window.until
            while True:
                within = self.dialect.times(Times(window.since, until))
                order = [descending(self.dialect.micros())]
                found = self.remote.records(both(limits.maybe, within), order, rows + 1, table)
                last = len(found) <= rows
                if not last:
                    found, until = self._whole_moments(found, limits.maybe, table)
                yield found if limits.exact else self._passing(found, node, table)
                if last:
                    break
                rows = max(rows, min(2 * rows, PAGE_ROWS))

    def _whole_moments(self, found: pa.Table, condition: exp.Expression, table: str) -> tuple[pa.Table, int]:
        """Leave out the oldest microsecond, of which there may be more records; say where it ends.

        Where all are of one microsecond: all that there are of it, and where it begins.
        """
        at = moments(found)
        low = pc.min(at).as_py()
        newer = found.filter(pc.greater(at, low))
        if len(newer):
            return newer, low + 1
        alone = both(condition, self.dialect.times(Times(low, low + 1)))
        return self.remote.records(alone, [], None, table), low

    def windows(self, node: Node, times: Times, table: str = "sip") -> Iterable[Times]:
        """Return neighbouring ranges, newest first: what is wanted is mostly at the end."""
        if pins(node, _INDEXED):
            return [times]
        low, high = self.dialect.extent()
        found = self.run(named_as(low=low, high=high), exp.true(), table=table)
        return growing(times, found["low"][0].as_py(), found["high"][0].as_py())

    def of_calls(self, call_ids: Sequence[str], times: Times, limit: int | None = None) -> pa.Table:
        """Return the records of these calls; with a limit at least the oldest so many."""
        at = self.dialect.micros()
        order = [exp.Ordered(this=at), *(exp.Ordered(this=a) for a in self.dialect.arrival())]
        parts: list[pa.Table] = []
        for some in chunks(list(dict.fromkeys(call_ids))):
            bound = None if any(self.dialect.blurred_id(i) for i in some) else limit
            where = both(self.dialect.of_calls(some), self.dialect.times(times))
            records = self.remote.records(where, order, bound)
            wanted = pa.array(some, pa.string())
            parts.append(records.filter(pc.is_in(records["call_id"], value_set=wanted)))
        return concat(parts, "sip")


def descending(value: exp.Expression) -> exp.Expression:
    """Return ORDER BY of a value, the largest first."""
    return exp.Ordered(this=value, desc=True)


def _between(maybe: exp.Expression, sure: exp.Expression) -> exp.Expression:
    return both(maybe, exp.Not(this=exp.Paren(this=sure.copy())))


def _any_of(conditions: Sequence[exp.Expression]) -> exp.Expression:
    united = conditions[0]
    for condition in conditions[1:]:
        united = exp.Or(this=exp.Paren(this=united), expression=exp.Paren(this=condition))
    return united


def _together(relations: Sequence[exp.Expression]) -> exp.Expression:
    """Return one relation of several: all their rows."""
    if len(relations) == 1:
        return relations[0].copy()
    united: Any = exp.select("*").from_(relations[0].copy())
    for relation in relations[1:]:
        united = exp.union(united, exp.select("*").from_(relation.copy()), distinct=False)
    return exp.Subquery(this=united, alias=exp.TableAlias(this=exp.to_identifier("records")))
