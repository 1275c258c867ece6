"""Query text to tree.

In: a query of at most MAX_LENGTH characters, the table it is for, and the clock that relative times
are read against. Out: the tree (ast.py). What can go wrong: QueryError, which points at the character.
"""

import functools
import re
from datetime import datetime, tzinfo
from importlib import resources
from typing import Any, Final

from lark import Lark, Token, Tree
from lark.exceptions import UnexpectedCharacters, UnexpectedEOF, UnexpectedInput, UnexpectedToken, VisitError
from lark.visitors import Transformer_NonRecursive

from hepcat.search import fields, values
from hepcat.search.ast import EVERYTHING, Node, Not, all_of, any_of
from hepcat.search.errors import QueryError

MAX_LENGTH: Final = 8192
MAX_DEPTH: Final = 24  # parentheses within parentheses
MAX_TERMS: Final = 300  # values, all together

QUOTE_HINT: Final = 'To look for the text itself in the messages, put it in quotes: "{}".'


@functools.cache
def _grammar() -> Lark:
    text = resources.files("hepcat.search").joinpath("query.lark").read_text(encoding="utf-8")
    return Lark(text, parser="lalr", lexer="contextual", maybe_placeholders=False)


def parse_query(
    query: str, table: str = "sip", now: datetime | None = None, zone: tzinfo | None = None
) -> Node:
    """Return the tree of a query; an empty one matches everything. Raises QueryError."""
    _check_bounds(query)
    try:
        tree = _grammar().parse(query)
    except UnexpectedInput as error:
        raise _explain(query, error) from None
    try:
        built = _Builder(query, table, values.Moment(now, zone)).transform(tree)
    except VisitError as error:
        raise error.orig_exc from None
    return built if not isinstance(built, Tree) else EVERYTHING


def _check_bounds(query: str) -> None:
    """Refuse what is too long, too deep or no text at all, before any of it is parsed."""
    if len(query) > MAX_LENGTH:
        raise QueryError(query, MAX_LENGTH, f"the query is longer than {MAX_LENGTH} characters")
    for position, char in enumerate(query):
        if char == "\0" or 0xD800 <= ord(char) <= 0xDFFF:
            raise QueryError(query, position, "this character is not text (UTF-8 without NUL is)")
    opened: list[int] = []
    for match in re.finditer(r'"(?:[^"\\]|\\.)*"|[()]', query, re.DOTALL):
        if match[0] == "(":
            opened.append(match.start())
            if len(opened) > MAX_DEPTH:
                raise QueryError(query, match.start(), f"more than {MAX_DEPTH} parentheses within each other")
        elif match[0] == ")" and opened:
            opened.pop()


class _Builder(Transformer_NonRecursive[Any, Node]):
    """Turns lark's tree into ours, from the leaves up."""

    def __init__(self, query: str, table: str, moment: values.Moment) -> None:
        super().__init__()
        self.query, self.table, self.moment = query, table, moment
        self.terms = 0

    def start(self, children: list[Node]) -> Node:
        return children[0] if children else EVERYTHING

    def any_of(self, children: list[Node]) -> Node:
        return any_of(*children)

    def all_of(self, children: list[Node]) -> Node:
        return all_of(*children)

    def group(self, children: list[Node]) -> Node:
        return children[0]

    def negate(self, children: list[Node]) -> Node:
        inner = children[0]
        return inner.term if isinstance(inner, Not) else Not(inner)

    def text_word(self, children: list[Token]) -> Node:
        return self._words(children[0], str(children[0]), "plain")

    def text_quoted(self, children: list[Token]) -> Node:
        return self._words(children[0], values.unquote(children[0]), "quoted")

    def text_regex(self, children: list[Token]) -> Node:
        return self._words(children[0], values.unregex(children[0]), "regex")

    def value(self, children: list[Token]) -> values.Value:
        token = children[0]
        position = token.start_pos or 0
        self._count(position)
        if token.type == "QUOTED":
            return values.Value(values.unquote(token), "quoted", position)
        if token.type == "REGEX":
            return values.Value(values.unregex(token), "regex", position)
        return values.Value(str(token), "plain", position)

    inside = value

    def alternatives(self, children: list[values.Value]) -> list[values.Value]:
        return children

    def match(self, children: list[Any]) -> Node:
        name, op, alternatives = children
        op = op.lstrip(":") or "="
        if op != "!=":
            return any_of(*(self._test(name, op, value) for value in alternatives))
        return all_of(*(self._test(name, op, value) for value in alternatives))

    def _test(self, name: Token, op: str, value: values.Value) -> Node:
        prefix, dot, key = name.partition(".")
        column = prefix.lower()
        field = fields.find(name, self.table)
        try:
            if dot and column in fields.KEYED and self.table == "sip":
                if not key:
                    raise self._error(name.end_pos, f"the name of a header is expected after {prefix}.")
                return values.keyed_test(column, key, op, value)
            if field is None:
                raise self._unknown(name)
            return values.test_of(field, op, value, self.moment)
        except ValueError as error:
            raise self._error(value.position, str(error)) from None

    def _words(self, token: Token, text: str, form: str) -> Node:
        position = token.start_pos or 0
        self._count(position)
        try:
            return values.words(values.Value(text, form, position))
        except ValueError as error:
            raise self._error(position, str(error)) from None

    def _count(self, position: int) -> None:
        self.terms += 1
        if self.terms > MAX_TERMS:
            raise self._error(position, f"more than {MAX_TERMS} terms")

    def _error(self, position: int | None, reason: str, hint: str = "") -> QueryError:
        return QueryError(self.query, position or 0, reason, hint)

    def _unknown(self, name: Token) -> QueryError:
        close = fields.suggest(name, self.table)
        guess = f"; did you mean {' or '.join(close)}?" if close else ""
        start = name.start_pos or 0
        word = re.match(r"\S*", self.query[start:])
        hint = QUOTE_HINT.format(word[0].replace('"', '\\"') if word else name)
        return self._error(start, f"there is no field {str(name)!r}{guess}", hint)


def _explain(query: str, error: UnexpectedInput) -> QueryError:
    """Say in words what lark found out, and where."""
    if isinstance(error, UnexpectedCharacters):
        position, expected = error.pos_in_stream or 0, set(error.allowed or ())
    elif isinstance(error, UnexpectedToken) and error.token.type != "$END":
        position, expected = error.token.start_pos or 0, set(error.accepts or error.expected)
    else:
        assert isinstance(error, UnexpectedToken | UnexpectedEOF)
        position, expected = len(query), set(error.expected)
    found = query[position : position + 1]
    if found == '"':
        return QueryError(query, position, 'the closing " is missing')
    if found == "~":
        return QueryError(query, position, "the closing ~ of the regular expression is missing")
    if "VALUE" in expected and "WORD" not in expected and "_CLOSE" not in expected:
        return QueryError(
            query, position, "a value is expected here", "For instance status:486, from:alice*."
        )
    if found == ")":
        if "_CLOSE" not in expected and "WORD" in expected and _balance(query[:position]) > 0:
            return QueryError(query, position, "a term is expected before this )")
        return QueryError(query, position, "there is no ( for this )")
    if not found and "_CLOSE" in expected:
        return QueryError(query, _last_open(query), "the ) for this ( is missing")
    if found == "|":
        return QueryError(query, position, "a | joins values of one field; between terms write OR")
    if found == ",":
        return QueryError(query, position, "a comma joins values of one field; between terms write OR")
    if not found:
        return QueryError(query, position, "a term is expected here")
    if found == "-":
        return QueryError(query, position, "a term is expected right after the -")
    return QueryError(query, position, f"a term is expected here, not {query[position:].split()[0]!r}")


def _parens(text: str) -> list[int]:
    """Return the positions of parentheses that are still open at the end."""
    opened: list[int] = []
    for match in re.finditer(r'"(?:[^"\\]|\\.)*"|[()]', text, re.DOTALL):
        if match[0] == "(":
            opened.append(match.start())
        elif match[0] == ")" and opened:
            opened.pop()
    return opened


def _balance(text: str) -> int:
    return len(_parens(text))


def _last_open(text: str) -> int:
    opened = _parens(text)
    return opened[-1] if opened else len(text)
