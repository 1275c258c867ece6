"""Cursors: where the next page of an answer begins.

In: what was asked, and behind which row. Out: text that means nothing to its holder, and what it stood for
when it comes back. What can go wrong: Problem 400 for text that is no cursor, or that belongs to another
request.

A cursor carries the range of time in microseconds and the moment that the query's own times were counted
back from, so all pages are of one and the same answer, also where the first request said "15m". It is
neither secret nor signed: whoever makes one up gets rows that they might have asked for anyway.
"""

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from hepcat.search.times import moment_of
from hepcat.web.parameters import MAX_CURSOR, Range, read_range
from hepcat.web.problems import Problem

if TYPE_CHECKING:
    from hepcat.search.ast import Node
    from hepcat.search.remote_searcher import RemoteSearcher
    from hepcat.search.searcher import Searcher

_VERSION: Final = 1
_MOST: Final = 2**63


@dataclass(frozen=True, slots=True)
class Asked:
    """A request for rows: which ones, of which time, in which order, behind which key (None: the first)."""

    of: str
    q: str
    sort: str | None
    store: str | None
    times: Range
    key: list[Any] | None = None

    def node(self, searcher: "Searcher | RemoteSearcher") -> "Node":
        """Return the query's tree; its own times are counted back from the first request."""
        return searcher.parse(self.q, "sip", moment_of(self.times.now))

    def cursor(self, key: list[Any] | None, row: int) -> str | None:
        """Return the cursor of the page behind a key; None where there is no further page.

        row: how many rows come before that page. It stands for a key that is too long: a hostile
        Call-ID must not be where paging ends.
        """
        if key is None:
            return None
        text = self._text(key)
        return text if len(text) <= MAX_CURSOR else self._text([row])

    def _text(self, key: list[Any]) -> str:
        times = self.times
        fields = [_VERSION, times.since, times.until, times.now, _digest(self), key]
        text = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    @property
    def row(self) -> int | None:
        """Return how many rows come before the page, where the cursor has no key but that."""
        if self.key is None or len(self.key) != 1:
            return None
        row = self.key[0]
        if isinstance(row, bool) or not isinstance(row, int) or not 0 < row < 2**31:
            raise _wrong("this is no cursor")
        return row


def asked_for(
    of: str,
    q: str,
    sort: str | None,
    store: str | None,
    since: str | None,
    until: str | None,
    cursor: str | None,
) -> Asked:
    """Return what is asked for; an open end is now. Raises Problem 400."""
    if not cursor:
        times = read_range(since, until)
        if times.since is not None and times.since > times.end:
            raise Problem(400, "since is later than now", kind="parameter", parameter="since")
        return Asked(of, q, sort, store, Range(times.since, times.end, times.now))
    began, ends, now, digest, key = _read(cursor)
    asked = Asked(of, q, sort, store, Range(began, ends, now), key)
    again = read_range(since, until, now)
    same_range = (since is None or again.since == began) and (until is None or again.until == ends)
    if digest != _digest(asked) or not same_range:
        raise _wrong("the cursor belongs to another request")
    return asked


def _digest(asked: Asked) -> str:
    parts = [asked.of, asked.q, asked.sort or "", asked.store or ""]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _read(cursor: str) -> tuple[int | None, int, int, str, list[Any]]:
    """Return (since, until, now, digest, key)."""
    try:
        octets = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True)
        fields = json.loads(octets, parse_constant=_refuse)
    except (binascii.Error, ValueError, RecursionError):
        raise _wrong("this is no cursor") from None
    match fields:
        case [int(version), int() | None as since, int(until), int(now), str(digest), list(key)] if (
            version == _VERSION and all(abs(t) < _MOST for t in (since or 0, until)) and 0 <= now < 2**52
        ):
            return since, until, now, digest, key
    raise _wrong("this is no cursor")


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _wrong(why: str) -> Problem:
    hint = "Send `next` of the answer before, with the same q, sort, store, since and until; or leave it out."
    return Problem(400, why, hint, kind="cursor", parameter="cursor")
