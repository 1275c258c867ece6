"""Tree to SQL condition, through sqlglot.

In: the tree of a query and a dialect. Out: a sqlglot expression that is true for the rows that match;
never null where it stands under NOT. A text as long as an address literal or a column name: all text
of the user's becomes a literal of the generator's.
"""

from typing import Final

from sqlglot import exp

from hepcat.search.ast import (
    And,
    Contains,
    Equals,
    Exists,
    Like,
    Match,
    Node,
    Not,
    Or,
    Pattern,
    Range,
    Regex,
    Wild,
    Within,
)
from hepcat.search.dialects import Dialect, join, number, quote_regex, text

#: Columns whose tests read whole messages: put last in an And, so that cheap tests thin out first.
_DEAR: Final = frozenset({"payload", "header"})


def compile_query(node: Node, dialect: Dialect | None = None) -> exp.Expression:
    """Return the condition of a tree."""
    return _condition(node, dialect or Dialect())


def sql_of(condition: exp.Expression, dialect: Dialect | None = None) -> str:
    """Return the text of a condition in its dialect."""
    return condition.sql(dialect=(dialect or Dialect()).name)


def _condition(node: Node, dialect: Dialect) -> exp.Expression:
    if isinstance(node, Match):
        return _match(node, dialect)
    if isinstance(node, Not):
        # A test of no value is null in SQL and false here: the complement has to be true.
        inner = exp.Coalesce(this=_condition(node.term, dialect), expressions=[exp.false()])
        return exp.Not(this=inner)
    if isinstance(node, And):
        terms = sorted(node.terms, key=_cost)
        return join(exp.And, [_condition(term, dialect) for term in terms], exp.true())
    return join(exp.Or, _alternatives(node, dialect), exp.false())


def _cost(node: Node) -> bool:
    """Say whether a term reads whole messages."""
    if isinstance(node, Match):
        return node.column in _DEAR
    return any(_cost(term) for term in ((node.term,) if isinstance(node, Not) else node.terms))


def _alternatives(node: Or, dialect: Dialect) -> list[exp.Expression]:
    """Compile the terms of an Or; equalities of one column become one IN, which prunes files."""
    same: dict[str, list[str | int]] = {}
    rest: list[exp.Expression] = []
    for term in node.terms:
        if isinstance(term, Match) and isinstance(term.test, Equals) and not term.fold and term.key is None:
            same.setdefault(term.column, []).append(term.test.value)
        else:
            rest.append(_condition(term, dialect))
    joined: list[exp.Expression] = []
    for column, values in same.items():
        if len(values) == 1:
            joined.append(
                exp.EQ(this=dialect.column(column), expression=_literal(column, values[0], dialect))
            )
        else:
            literals = [_literal(column, value, dialect) for value in values]
            joined.append(exp.In(this=dialect.column(column), expressions=literals))
    return joined + rest


def _literal(column: str, value: str | int, dialect: Dialect) -> exp.Expression:
    if isinstance(value, str):
        return text(value)
    return dialect.moment(value) if column == "ts" else number(value)


def _value(node: Match, dialect: Dialect) -> exp.Expression:
    if node.column == "header":
        return dialect.header(node.key or "")
    if node.column == "extra":
        return dialect.extra(node.key or "")
    if node.column == "payload" and not isinstance(node.test, Exists):
        return dialect.payload_text()
    return dialect.column(node.column)


def _match(node: Match, dialect: Dialect) -> exp.Expression:
    value, test = _value(node, dialect), node.test
    match test:
        case Equals():
            literal = _literal(node.column, test.value, dialect)
            if node.fold:
                return exp.EQ(this=exp.Lower(this=value), expression=exp.Lower(this=literal))
            return exp.EQ(this=value, expression=literal)
        case Range():
            return _range(node.column, value, test, dialect)
        case Like():
            pattern, escaped = like_pattern(test.pattern)
            return dialect.like(value, pattern, escaped, node.fold)
        case Contains():
            # A number is searched twice as fast where nobody asks for its letters in any case.
            fold = node.fold and has_letters(test.pattern)
            return dialect.regex(value, contains_pattern(test.pattern), fold)
        case Regex():
            return dialect.regex(value, test.pattern, node.fold)
        case Within():
            return dialect.within(value, test.network)
        case Exists():
            return exp.Not(this=exp.Is(this=value, expression=exp.null()))


def _range(column: str, value: exp.Expression, test: Range, dialect: Dialect) -> exp.Expression:
    sides: list[exp.Expression] = []
    if test.low is not None:
        sides.append(exp.GTE(this=value, expression=_literal(column, test.low, dialect)))
    if test.high is not None:
        sides.append(exp.LTE(this=value.copy(), expression=_literal(column, test.high, dialect)))
    return join(exp.And, sides, exp.true())


def like_pattern(pattern: Pattern) -> tuple[str, bool]:
    """Return a LIKE pattern, and whether characters in it had to be escaped with a backslash."""
    literal = "".join(part for part in pattern if isinstance(part, str))
    escaped = any(char in literal for char in "%_\\")
    pieces = []
    for part in pattern:
        if isinstance(part, Wild):
            pieces.append("%" if part is Wild.ANY else "_")
        elif escaped:
            pieces.append("".join(f"\\{char}" if char in "%_\\" else char for char in part))
        else:
            pieces.append(part)
    return "".join(pieces), escaped


def has_letters(pattern: Pattern) -> bool:
    """Tell whether anything in it has small and capital letters."""
    literal = "".join(part for part in pattern if isinstance(part, str))
    return literal.lower() != literal or literal.upper() != literal


def contains_pattern(pattern: Pattern) -> str:
    """Return the regular expression for words; a wildcard does not cross white space."""
    wild = {Wild.ANY: r"\S*", Wild.ONE: r"\S"}
    return "".join(wild[part] if isinstance(part, Wild) else quote_regex(part) for part in pattern)
