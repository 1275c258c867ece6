"""The tree of a query: frozen dataclasses, the one form that parser, dialects and stores share.

Leaves test one column of the schema each: what a field such as `ip:` stands for (either side) has
been spelled out by then, so that a dialect knows columns and tests and nothing else.

Truth is two-valued. A test on a row that has no value in the column is false, and Not is the plain
complement: `-method:OPTIONS` also finds messages without a method.
"""

import enum
import ipaddress
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Wild(enum.Enum):
    """A wildcard in a pattern: ANY is any run of characters (also none), ONE is one character."""

    ANY = "*"
    ONE = "?"


#: Literal text and wildcards in turn.
Pattern = tuple[str | Wild, ...]


@dataclass(frozen=True, slots=True)
class Equals:
    """The value is this one."""

    value: str | int


@dataclass(frozen=True, slots=True)
class Range:
    """low <= value <= high, None where the side is open. Times are microseconds since the epoch."""

    low: int | None
    high: int | None


@dataclass(frozen=True, slots=True)
class Like:
    """The whole value fits the pattern."""

    pattern: Pattern


@dataclass(frozen=True, slots=True)
class Contains:
    """The value has the pattern somewhere; a wildcard stays within one word (no white space)."""

    pattern: Pattern


@dataclass(frozen=True, slots=True)
class Regex:
    """The regular expression (RE2 syntax) matches somewhere in the value."""

    pattern: str


@dataclass(frozen=True, slots=True)
class Within:
    """The value is an address of the network."""

    network: Network


@dataclass(frozen=True, slots=True)
class Exists:
    """There is a value."""


Test = Equals | Range | Like | Contains | Regex | Within | Exists


@dataclass(frozen=True, slots=True)
class Match:
    """A column passes a test. `fold`: letters match in any case. `key`: which value of a map column.

    Column "header" is no column of the schema: it is the header `key` of the message, taken from
    the map column where it is there and else read from the payload.
    """

    column: str
    test: Test
    fold: bool = False
    key: str | None = None


@dataclass(frozen=True, slots=True)
class And:
    """All of the terms; without terms: everything."""

    terms: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Or:
    """At least one of the terms; without terms: nothing."""

    terms: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The complement."""

    term: "Node"


Node = And | Or | Not | Match

EVERYTHING: Final = And(())
NOTHING: Final = Or(())


def all_of(*terms: Node) -> Node:
    """Join with And, without nesting what is an And already."""
    flat = tuple(t for term in terms for t in (term.terms if isinstance(term, And) else (term,)))
    return flat[0] if len(flat) == 1 else And(flat)


def any_of(*terms: Node) -> Node:
    """Join with Or, without nesting what is an Or already."""
    flat = tuple(t for term in terms for t in (term.terms if isinstance(term, Or) else (term,)))
    return flat[0] if len(flat) == 1 else Or(flat)


def time_bounds(node: Node) -> tuple[int | None, int | None]:
    """Return (first, last) microsecond that a match can have, None where the query does not say.

    Only what must hold is used: the terms of the outermost And.
    """
    low: int | None = None
    high: int | None = None
    for term in node.terms if isinstance(node, And) else (node,):
        if isinstance(term, Match) and term.column == "ts":
            test = term.test
            if isinstance(test, Equals) and isinstance(test.value, int):
                test = Range(test.value, test.value)
            if isinstance(test, Range):
                low = test.low if low is None else low if test.low is None else max(low, test.low)
                high = test.high if high is None else high if test.high is None else min(high, test.high)
    return low, high


def pins(node: Node, columns: frozenset[str]) -> bool:
    """Say whether a match must equal given values in one of the columns (which an index can find)."""
    if isinstance(node, And):
        return any(pins(term, columns) for term in node.terms)
    if isinstance(node, Or):
        return bool(node.terms) and all(pins(term, columns) for term in node.terms)
    return isinstance(node, Match) and node.column in columns and isinstance(node.test, Equals)


def named(node: Node, column: str) -> list[str] | None:
    """Return the values where the query is nothing but "the column is one of these", else None."""
    terms = node.terms if isinstance(node, Or) else (node,)
    values: list[str] = []
    for term in terms:
        if not (isinstance(term, Match) and term.column == column and isinstance(term.test, Equals)):
            return None
        if term.fold or term.key is not None:
            return None
        values.append(str(term.test.value))
    return list(dict.fromkeys(values)) or None


def required(node: Node, columns: frozenset[str]) -> dict[str, list[str]]:
    """Return values by column, of which every match must equal one. Only the outermost And is looked at."""
    found: dict[str, list[str]] = {}
    for term in node.terms if isinstance(node, And) else (node,):
        first = term.terms[0] if isinstance(term, Or) and term.terms else term
        column = first.column if isinstance(first, Match) else ""
        values = named(term, column) if column in columns else None
        if values is not None:
            found.setdefault(column, values)
    return found


def alternatives(node: Node, columns: Collection[str]) -> dict[str, list[str]] | None:
    """Return values by column: every match has one of them in one of the columns. None: it need not."""
    if isinstance(node, And):
        found = [some for term in node.terms if (some := alternatives(term, columns)) is not None]
        return min(found, key=lambda some: sum(map(len, some.values())), default=None)
    if isinstance(node, Or):
        joined: dict[str, list[str]] = {}
        for term in node.terms:
            one = alternatives(term, columns)
            if one is None:
                return None
            for column, values in one.items():
                joined.setdefault(column, []).extend(values)
        return joined
    if not isinstance(node, Match) or node.column not in columns:
        return None
    equal = named(node, node.column)
    return None if equal is None else {node.column: equal}


def columns_of(node: Node) -> frozenset[str]:
    """Return the columns that a query tests."""
    if isinstance(node, Match):
        return frozenset({node.column})
    terms = (node.term,) if isinstance(node, Not) else node.terms
    return frozenset().union(*map(columns_of, terms))
