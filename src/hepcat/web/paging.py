"""What /api/calls and /api/messages share: their parameters, and the frame of their answers.

In: query strings; rows. Out: `Asked`; plain values. What can go wrong: Problem 400.
"""

from collections.abc import Callable
from typing import Annotated, Any

import pyarrow as pa
from fastapi import Depends

from hepcat.web.cursor import Asked, asked_for
from hepcat.web.parameters import Cursor, QueryText, Since, Sort, StoreName, Until
from hepcat.web.rows import plain


def _asked(of: str) -> Callable[..., Asked]:
    def asked(
        q: QueryText = "",
        since: Since = None,
        until: Until = None,
        sort: Sort = None,
        cursor: Cursor = None,
        store: StoreName = None,
    ) -> Asked:
        return asked_for(of, q, sort, store, since, until, cursor)

    return asked


AskedCalls = Annotated[Asked, Depends(_asked("calls"))]
AskedMessages = Annotated[Asked, Depends(_asked("messages"))]


def answer(asked: Asked, name: str, table: pa.Table, cursor: str | None, notes: list[str]) -> dict[str, Any]:
    """Return the answer as plain values."""
    return {
        name: plain(table),
        "next": cursor,
        "since": asked.times.since,
        "until": asked.times.until,
        "notes": notes,
    }
