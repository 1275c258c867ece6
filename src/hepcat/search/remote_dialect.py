"""What a searcher asks of the dialect of a store elsewhere, and a query in two bounds.

In: the tree of a query, ranges of time, Call-IDs. Out: sqlglot expressions over the store's own columns. What
can go wrong: HepcatError for a column that the store does not have.

A store may be unable to say exactly what a query means: a column was cut to its width, a header has no
column, its regular expressions are of another kind. So a condition is a pair: `maybe` is true for every match
(and perhaps for more), `sure` for matches only. Where they differ, the searcher reads the records in between
and tests them itself, with the lake's own code: an answer is exact, or there is none.

`RemoteDialect` as it stands is a store that can say all of it, over columns named as the lake's: what another
store overrides is `name`, `column`, and what its SQL says differently.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlglot import exp

from hepcat.search.ast import And, Match, Node, Not
from hepcat.search.compile import compile_query
from hepcat.search.dialects import Dialect, join, number, text
from hepcat.search.within import Times


@dataclass(frozen=True, slots=True)
class Bounds:
    """maybe: true for every match. sure: true for nothing else. Neither is ever null."""

    maybe: exp.Expression
    sure: exp.Expression

    @property
    def exact(self) -> bool:
        """Say whether both are the same condition."""
        return self.maybe is self.sure

    @classmethod
    def of(cls, condition: exp.Expression) -> "Bounds":
        """Return the bounds of what can be said exactly."""
        return cls(condition, condition)


class RemoteDialect(Dialect):
    """A store whose columns are the lake's, each with the lake's meaning. Microseconds in `ts` as int64."""

    #: what the records that were read are tested with
    local: Dialect = Dialect()

    def match(self, node: Match) -> Bounds:
        """Return the bounds of one test."""
        condition = compile_query(node, self)
        return Bounds.of(exp.Coalesce(this=condition, expressions=[exp.false()]))

    def micros(self) -> exp.Expression:
        """Return the time of capture, whole microseconds since the epoch."""
        return self.column("ts")

    def times(self, times: Times) -> exp.Expression:
        """Return "the time of capture is in the range", in the form that indexes and partitions serve."""
        sides: list[exp.Expression] = []
        if times.since is not None:
            sides.append(exp.GTE(this=self.micros(), expression=number(times.since)))
        if times.until is not None:
            sides.append(exp.LT(this=self.micros(), expression=number(times.until)))
        return join(exp.And, sides, exp.true())

    def extent(self) -> tuple[exp.Expression, exp.Expression]:
        """Return aggregates that bound the times of all records; need not be tight, has to be cheap."""
        return exp.Min(this=self.micros()), exp.Max(this=self.micros())

    def status(self) -> exp.Expression:
        """Return the status code, 0 (never null) in a request."""
        return exp.Coalesce(this=self.column("status"), expressions=[number(0)])

    def bucket(self, value: exp.Expression, width: int) -> exp.Expression:
        """Return the value rounded down to a multiple of the width; whole numbers all the way."""
        rest = exp.Mod(this=value, expression=number(width))
        positive = exp.Mod(
            this=exp.Paren(this=exp.Add(this=exp.Paren(this=rest), expression=number(width))),
            expression=number(width),
        )
        return exp.Sub(this=value.copy(), expression=exp.Paren(this=positive))

    def call_key(self) -> exp.Expression:
        """Return what tells calls apart: equal where the Call-IDs are; ordered by octets."""
        return self.column("call_id")

    def has_call(self) -> exp.Expression:
        """Return "there is a Call-ID"."""
        return exp.Not(this=exp.Is(this=self.column("call_id"), expression=exp.null()))

    def blurred_call(self) -> exp.Expression | None:
        """Return "this record's call key is perhaps not its whole Call-ID"; None where that cannot be."""
        return None

    def blurred_id(self, call_id: str) -> bool:
        """Say whether the store may have the key of other calls for this Call-ID."""
        return False

    def of_calls(self, call_ids: Sequence[str]) -> exp.Expression:
        """Return "the Call-ID is one of these", or a little more where some are blurred."""
        if not call_ids:
            return exp.false()
        return exp.In(this=self.column("call_id"), expressions=[text(i) for i in call_ids])

    def arrival(self) -> Sequence[exp.Expression]:
        """Return what orders records of one microsecond as they arrived; nothing where nobody knows."""
        return ()


def bounds(node: Node, dialect: RemoteDialect) -> Bounds:
    """Return the bounds of a query. Truth is two-valued: the tests' bounds are never null."""
    if isinstance(node, Match):
        return dialect.match(node)
    if isinstance(node, Not):
        inner = bounds(node.term, dialect)
        if inner.exact:
            return Bounds.of(_not(inner.sure))
        return Bounds(_not(inner.sure), _not(inner.maybe))
    connector, empty = (exp.And, exp.true()) if isinstance(node, And) else (exp.Or, exp.false())
    terms = [bounds(term, dialect) for term in node.terms]
    if all(term.exact for term in terms):
        return Bounds.of(join(connector, [term.sure for term in terms], empty))
    return Bounds(
        join(connector, [term.maybe.copy() for term in terms], empty),
        join(connector, [term.sure.copy() for term in terms], empty),
    )


def _not(condition: exp.Expression) -> exp.Expression:
    return exp.Not(this=exp.Paren(this=condition.copy()))


def named_as(**values: exp.Expression) -> list[exp.Expression]:
    """Return a select list: the values under these names."""
    return [
        exp.Alias(this=value.copy(), alias=exp.to_identifier(name, quoted=True))
        for name, value in values.items()
    ]


def both(*conditions: exp.Expression) -> exp.Expression:
    """Return "all of them", each in parentheses and copied, so that they may be used again."""
    known = [c for c in conditions if c != exp.true()]
    return join(exp.And, [exp.Paren(this=c.copy()) for c in known], exp.true())
