"""The parameters that several routes share, each checked where it comes in.

In: query strings. Out: typed values. What can go wrong: Problem 400, with the parameter named.
"""

from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Depends, Query

from hepcat.search.times import parse_time
from hepcat.web.problems import Problem

#: Longest query that is read.
MAX_QUERY: Final = 4096
MAX_CALL_ID: Final = 1024
_MOST_US: Final = 2**62

QueryText = Annotated[
    str, Query(alias="q", max_length=MAX_QUERY, description="Search expression; empty is everything.")
]
StoreName = Annotated[
    str | None, Query(alias="store", max_length=128, description="Name of a store; default the first.")
]
CallIds = Annotated[
    list[str], Query(alias="id", min_length=1, max_length=20, description="Call-ID; repeatable, at most 20.")
]


def moment(name: str, text: str | None) -> int | None:
    """Return a time in microseconds since the epoch: digits are such, else what the CLI takes ("1h")."""
    if text is None or not text.strip():
        return None
    if text.lstrip("-").isdecimal() and len(text.lstrip("-")) > 8:
        value = int(text) if len(text) < 20 else _MOST_US + 1
        if abs(value) > _MOST_US:
            raise Problem(400, f"{name}: {text[:40]} is no time", kind="parameter", parameter=name)
        return value
    try:
        return parse_time(text).start
    except (ValueError, OverflowError) as error:
        raise Problem(
            400,
            f"{name}: {error}",
            "Microseconds since the epoch, ISO 8601, or a length of time before now such as 15m.",
            kind="parameter",
            parameter=name,
        ) from None


@dataclass(frozen=True, slots=True)
class Range:
    """since is included, until is not; microseconds, None is open."""

    since: int | None
    until: int | None


def _range(
    since: Annotated[
        str | None,
        Query(max_length=64, description="Begin: microseconds since the epoch, ISO 8601, or 15m, 2h, 1d."),
    ] = None,
    until: Annotated[str | None, Query(max_length=64, description="End, not included.")] = None,
) -> Range:
    found = Range(moment("since", since), moment("until", until))
    if found.since is not None and found.until is not None and found.since > found.until:
        raise Problem(400, "since is later than until", kind="parameter", parameter="since")
    return found


TimeRange = Annotated[Range, Depends(_range)]


def fields_of(text: str | None) -> list[str] | None:
    """Return the columns that a parameter names, with commas between them."""
    if text is None:
        return None
    return [name.strip() for name in text.split(",") if name.strip()]
