"""What a value means for the kind of its field.

In: a field, whether the operator is `=`-like or a comparison, and the value as written. Out: the
tree that it stands for. Raises ValueError with a reason that fits after the caret.
"""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Final

from hepcat.search.ast import (
    NOTHING,
    Contains,
    Equals,
    Exists,
    Like,
    Match,
    Node,
    Not,
    Pattern,
    Range,
    Regex,
    Wild,
    Within,
    all_of,
    any_of,
)
from hepcat.search.fields import NOCASE, Field, Kind
from hepcat.search.times import Span, parse_time

#: No number of the schema is larger; more digits are a slip of the keyboard.
MAX_NUMBER: Final = 2**32 - 1
MAX_PATTERN_WILDS: Final = 32

_CLASS = re.compile(r"([1-6])xx", re.IGNORECASE)
_NUMBER = re.compile(r"\d{1,20}")
_SCHEME = re.compile(r"(?:sips?|tel):", re.IGNORECASE)
_ESCAPE = re.compile(r'\\(["\\nrt])')
_ESCAPED: Final = {'"': '"', "\\": "\\", "n": "\n", "r": "\r", "t": "\t"}


@dataclass(frozen=True, slots=True)
class Value:
    """A value as written. `form` is "plain" (wildcards count), "quoted" (nothing does) or "regex"."""

    text: str
    form: str
    position: int


@dataclass(frozen=True, slots=True)
class Moment:
    """The clock that relative times are read against: now, and the zone of times without one."""

    now: datetime | None = None
    zone: tzinfo | None = None


def unquote(text: str) -> str:
    r"""Return what stands between the quotes; \" \\ \n \r \t are escapes, other backslashes are text."""
    return _ESCAPE.sub(lambda match: _ESCAPED[match[1]], text[1:-1])


def unregex(text: str) -> str:
    """Return the expression between the tildes; a tilde inside is written with a backslash."""
    return text[1:-1].replace("\\~", "~")


def parse_pattern(text: str) -> Pattern:
    """Split text at its wildcards; neighbours of one kind are joined."""
    parts: list[str | Wild] = []
    for piece in re.split(r"([*?])", text):
        if piece == "*":
            if not parts or parts[-1] is not Wild.ANY:
                parts.append(Wild.ANY)
        elif piece == "?":
            parts.append(Wild.ONE)
        elif piece:
            parts.append(piece)
    if sum(isinstance(part, Wild) for part in parts) > MAX_PATTERN_WILDS:
        raise ValueError(f"more than {MAX_PATTERN_WILDS} wildcards in one value")
    return tuple(parts)


def check_regex(pattern: str) -> None:
    """Raise ValueError with RE2's own words where the expression is not valid."""
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        pc.match_substring_regex(pa.array([""]), pattern)
    except pa.ArrowInvalid as error:
        reason = str(error).removeprefix("Invalid regular expression: ")
        raise ValueError(f"this regular expression is not valid: {reason}") from None
    except pa.ArrowException as error:
        raise ValueError(f"this regular expression cannot be used: {error}") from None


def words(value: Value) -> Node:
    """Return the test for words in the message."""
    if value.form == "regex":
        check_regex(value.text)
        return Match("payload", Regex(value.text), fold=True)
    if not value.text:
        raise ValueError("there is no word between these quotes")
    pattern = (value.text,) if value.form == "quoted" else parse_pattern(value.text)
    # A leading or trailing * adds nothing: the words may stand anywhere.
    while pattern and pattern[0] is Wild.ANY:
        pattern = pattern[1:]
    while pattern and pattern[-1] is Wild.ANY:
        pattern = pattern[:-1]
    if not pattern:
        return Match("payload", Exists())
    return Match("payload", Contains(pattern), fold=True)


def test_of(field: Field, op: str, value: Value, moment: Moment) -> Node:
    """Return the tree of `field op value`; op is one of = != > >= < <=."""
    if op == "!=":
        # A value that differs; `-field:value` also finds where there is none.
        return all_of(_exists(field), Not(test_of(field, "=", value, moment)))
    if value.form == "plain" and op == "=":
        if value.text == "*":
            return _exists(field)
        if value.text.lower() == "null":
            return Not(_exists(field))
    if op != "=" and field.kind not in (Kind.NUMBER, Kind.TIME):
        raise ValueError(f"{field.name} is {field.kind.value}: only numbers and times are larger or smaller")
    if value.form == "regex" and field.kind in (Kind.NUMBER, Kind.TIME):
        raise ValueError(f"{field.name} is a {field.kind.value}: write a range such as 400..499 instead")
    return _BY_KIND[field.kind](field, op, value, moment)


def keyed_test(column: str, key: str, op: str, value: Value) -> Node:
    """Return the tree of `extra.KEY op value` or `header.KEY op value`; header values in any case."""
    present = Match(column, Exists(), key=key)
    if op == "!=":
        return all_of(present, Not(keyed_test(column, key, "=", value)))
    if op != "=":
        raise ValueError(f"{column}.{key} is text: only numbers and times are larger or smaller")
    if value.form == "plain" and value.text == "*":
        return present
    if value.form == "plain" and value.text.lower() == "null":
        return Not(present)
    return _text_match(column, value, fold=True, key=key)


def _exists(field: Field) -> Node:
    if field.kind is Kind.PERSON or field.kind is Kind.ADDRESS:
        return any_of(*(Match(first, Exists()) for first, _ in field.columns))
    return any_of(*(Match(column, Exists()) for column, _ in field.columns))


def _text_match(column: str, value: Value, fold: bool, key: str | None = None) -> Match:
    if value.form == "regex":
        check_regex(value.text)
        return Match(column, Regex(value.text), fold, key)
    pattern = (value.text,) if value.form == "quoted" else parse_pattern(value.text)
    if pattern == (Wild.ANY,):
        return Match(column, Exists(), False, key)
    if any(isinstance(part, Wild) for part in pattern):
        return Match(column, Like(pattern), fold, key)
    return Match(column, Equals(value.text), fold, key)


def _text(field: Field, op: str, value: Value, moment: Moment) -> Node:
    return any_of(*(_text_match(column, value, column in NOCASE) for column, _ in field.columns))


def _payload(field: Field, op: str, value: Value, moment: Moment) -> Node:
    return words(value)


def _number(text: str, field: Field) -> int:
    if not _NUMBER.fullmatch(text):
        kind = "write a number, a range (400..499)" + (" or a class (4xx)" if field.name == "status" else "")
        raise ValueError(f"{field.name} is a number, {text!r} is none; {kind}")
    if int(text) > MAX_NUMBER:
        raise ValueError(f"{text} is larger than any {field.name}")
    return int(text)


def _compare(op: str, first: int, last: int) -> Range:
    """Return the range of `op` against what starts at `first` and ends at `last`."""
    if op == ">":
        return Range(first + 1, None)
    if op == ">=":
        return Range(first, None)
    return Range(None, first - 1 if op == "<" else last)


def _number_test(field: Field, op: str, text: str) -> Equals | Range:
    if match := _CLASS.fullmatch(text):
        first = int(match[1]) * 100
        if op == "=":
            return Range(first, first + 99)
        # 4xx as a whole: above it is 500 and more.
        return Range(first + 100, None) if op == ">" else _compare(op, first, first + 99)
    if op == "=" and ".." in text:
        low, high = text.split("..", 1)
        if not low and not high:
            raise ValueError("a range needs at least one end: 400..499, 400.. or ..499")
        low_number = _number(low, field) if low else None
        high_number = _number(high, field) if high else None
        if low_number is not None and high_number is not None and low_number > high_number:
            raise ValueError(f"the range {text} is empty: its first number is the larger one")
        return Range(low_number, high_number)
    number = _number(text, field)
    return Equals(number) if op == "=" else _compare(op, number, number)


def _numbers(field: Field, op: str, value: Value, moment: Moment) -> Node:
    test = _number_test(field, op, value.text)
    return any_of(*(Match(column, test) for column, _ in field.columns))


def _time(field: Field, op: str, value: Value, moment: Moment) -> Node:
    def read(text: str) -> Span:
        return parse_time(text, moment.now, moment.zone)

    column = field.columns[0][0]
    if op == "=" and ".." in value.text:
        low, high = value.text.split("..", 1)
        if not low and not high:
            raise ValueError("a range of time needs at least one end: 10:00..10:05, 10:00.. or ..10:05")
        first = read(low).start if low else None
        last = read(high).end - 1 if high else None
        if first is not None and last is not None and first > last:
            raise ValueError(f"the range {value.text} is empty: its first time is the later one")
        return Match(column, Range(first, last))
    span = read(value.text)
    if op == "=":
        return Match(column, Range(span.start, span.end - 1))
    return Match(column, _compare(op, span.start, span.start))


def _address_test(text: str) -> Equals | Within:
    """Read an address or a network; the address is written the one way the lake writes it."""
    if "/" in text:
        try:
            return Within(ipaddress.ip_network(text, strict=False))
        except ValueError:
            raise ValueError(f"{text!r} is not a network; write 10.0.0.0/8 or 2001:db8::/32") from None
    try:
        return Equals(_written(ipaddress.ip_address(text.removeprefix("[").removesuffix("]"))))
    except ValueError:
        raise ValueError(
            f"{text!r} is not an IP address; write 10.0.0.1, 10.0.0.1:5060, 10.0.0.* or 10.0.0.0/8"
        ) from None


def _written(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """Return an address as RFC 5952 writes it: a mapped IPv4 address has dots (section 5)."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(address) if mapped is None else f"::ffff:{mapped}"


def _split_port(text: str) -> tuple[str, int | None]:
    """Split address:port; an IPv6 address with a port stands in brackets (RFC 3986 section 3.2.2)."""
    head, colon, tail = text.rpartition(":")
    is_port = bool(colon) and tail.isascii() and tail.isdigit()
    if not is_port or (":" in head and not head.endswith("]")):
        return text, None
    if int(tail) > 65535:
        raise ValueError(f"{tail} is not a port; ports end at 65535")
    return head, int(tail)


def _address(field: Field, op: str, value: Value, moment: Moment) -> Node:
    if value.form == "regex" or (value.form == "plain" and re.search(r"[*?]", value.text)):
        return any_of(*(_text_match(column, value, False) for column, _ in field.columns))
    text, port = _split_port(value.text)
    test = _address_test(text)
    sides = []
    for column, port_column in field.columns:
        side: Node = Match(column, test)
        if port is not None and port_column is not None:
            side = all_of(side, Match(port_column, Equals(port)))
        sides.append(side)
    return any_of(*sides)


def _person(field: Field, op: str, value: Value, moment: Moment) -> Node:
    """user, user@domain or @domain; a regular expression is tested on the user part."""
    if value.form == "regex":
        return any_of(*(_text_match(user, value, False) for user, _ in field.columns))
    text = _SCHEME.sub("", value.text, count=1) if _SCHEME.match(value.text) else value.text
    user_text, at, domain_text = text.rpartition("@") if "@" in text else (text, "", "")
    if at and not domain_text:
        raise ValueError("a domain is expected after @")
    choices: list[Node] = []
    for user, domain in field.columns:
        if at and domain is None:
            continue
        terms: list[Node] = []
        if user_text or not at:
            terms.append(_text_match(user, Value(user_text, value.form, value.position), False))
        if at and domain is not None:
            terms.append(_text_match(domain, Value(domain_text, value.form, value.position), True))
        choices.append(all_of(*terms))
    return any_of(*choices) if choices else NOTHING


def _agent(field: Field, op: str, value: Value, moment: Moment) -> Node:
    """A number is the id or the name, anything else the name."""
    by_name = _text_match("node_name", value, True)
    if value.form == "plain" and _NUMBER.fullmatch(value.text) and int(value.text) <= MAX_NUMBER:
        return any_of(Match("node_id", Equals(int(value.text))), by_name)
    return by_name


_BY_KIND: Final[dict[Kind, Callable[[Field, str, Value, Moment], Node]]] = {
    Kind.TEXT: _text,
    Kind.NOCASE: _text,
    Kind.HOST: _text,
    Kind.NUMBER: _numbers,
    Kind.TIME: _time,
    Kind.ADDRESS: _address,
    Kind.PERSON: _person,
    Kind.AGENT: _agent,
    Kind.PAYLOAD: _payload,
}
