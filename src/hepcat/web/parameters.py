"""The parameters that several routes share, each checked where it comes in.

In: query strings. Out: typed values. What can go wrong: Problem 400, with the parameter named.
"""

import re
import time
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Depends, Query
from pydantic import Field

from hepcat.search.parser import MAX_LENGTH
from hepcat.search.render.escape import safe_line
from hepcat.search.times import moment_of, parse_time
from hepcat.web.problems import Problem

#: A datagram has room for one this long, and a request for its escapes (running.py).
MAX_CALL_ID: Final = 16_384
#: Longest cursor that is made and read: it has to fit into a request's address.
MAX_CURSOR: Final = 8192
_MOST_US: Final = 2**62
#: A whole number is always microseconds, also a small one: seconds and milliseconds would be guesses.
_MICROSECONDS: Final = re.compile(r"-?[0-9]{1,19}")

QueryText = Annotated[
    str, Query(alias="q", max_length=MAX_LENGTH, description="Search expression; empty is everything.")
]
StoreName = Annotated[
    str | None, Query(alias="store", max_length=128, description="Name of a store; default the first.")
]
CallId = Annotated[str, Field(min_length=1, max_length=MAX_CALL_ID)]
CallIds = Annotated[
    list[CallId],
    Query(alias="id", min_length=1, max_length=20, description="Call-ID; repeatable, at most 20."),
]
Limit = Annotated[
    int,
    Query(
        ge=1, le=100_000, description="Rows of this page; more than [web] page_rows are not given at once."
    ),
]
Sort = Annotated[
    str | None,
    Query(max_length=64, description="A column, - in front: descending.", examples=["-post_dial_delay"]),
]
Fields = Annotated[
    str | None,
    Query(max_length=2048, description="Columns, with commas between them.", examples=["call_id,state"]),
]
Cursor = Annotated[
    str | None,
    Query(max_length=MAX_CURSOR, description="`next` of the answer before; all else as in that request."),
]


def moment(name: str, text: str | None, now: int | None = None) -> int | None:
    """Return a time in microseconds since the epoch: digits are such, else what the CLI takes ("1h").

    now: the moment that lengths of time are counted back from; None is this one.
    """
    if text is None or not text.strip():
        return None
    if _MICROSECONDS.fullmatch(text.strip()):
        value = int(text)
        if abs(value) > _MOST_US:
            raise _no_time(name, f"{text.strip()} is more than 64 bits of microseconds")
        return value
    try:
        return parse_time(text, None if now is None else moment_of(now)).start
    except (ValueError, OverflowError) as error:
        raise _no_time(name, safe_line(str(error), 200)) from None


def _no_time(name: str, why: str) -> Problem:
    hint = "Microseconds since the epoch, ISO 8601, or a length of time before now such as 15m."
    return Problem(400, f"{name}: {why}", hint, kind="parameter", parameter=name)


@dataclass(frozen=True, slots=True)
class Range:
    """since is included, until is not; microseconds, None is open. now: when it was read."""

    since: int | None
    until: int | None
    now: int

    @property
    def end(self) -> int:
        """`until`, which is now where it is open."""
        return self.now if self.until is None else self.until


def read_range(since: str | None, until: str | None, now: int | None = None) -> Range:
    """Return the range that two parameters name. Raises Problem 400."""
    now = time.time_ns() // 1000 if now is None else now
    found = Range(moment("since", since, now), moment("until", until, now), now)
    if found.since is not None and found.until is not None and found.since > found.until:
        raise Problem(400, "since is later than until", kind="parameter", parameter="since")
    return found


Since = Annotated[
    str | None,
    Query(
        max_length=64,
        description="Begin, included: microseconds since the epoch, ISO 8601, or a length of time before "
        "now such as 15m, 2h, 1d.",
        examples=["15m"],
    ),
]
Until = Annotated[
    str | None, Query(max_length=64, description="End, not included; as `since`. Default: now.")
]


def _range(since: Since = None, until: Until = None) -> Range:
    return read_range(since, until)


TimeRange = Annotated[Range, Depends(_range)]


def fields_of(text: str | None) -> list[str] | None:
    """Return the columns that a parameter names, with commas between them; None where it names none."""
    if text is None:
        return None
    return [name.strip() for name in text.split(",") if name.strip()] or None
