"""GET /api/figures, /api/figures/definitions: what the dashboard shows, and what it means.

In: a query, a range of time. Out: figures of the range and over time (search/figures.py). What can go wrong:
400 for the query; what searches.py says.

Everybody who looks at the same range within `SHARED_SECONDS` gets the same answer, computed once: "now" is
the last full multiple of them.
"""

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from pydantic import Field

from hepcat.search.figure_table import FIGURES, MOST_BUCKETS
from hepcat.search.times import SECOND, moment_of
from hepcat.web.auth import Viewer
from hepcat.web.models import Answer, Count, Microseconds, answers
from hepcat.web.parameters import QueryText, Since, StoreName, Until, read_range
from hepcat.web.rows import Encoded, encode
from hepcat.web.site import TheSite

if TYPE_CHECKING:
    from hepcat.search.figures import Figures

#: Seconds for which an answer is everybody's.
SHARED_SECONDS: Final = 5

router = APIRouter(prefix="/api", tags=["search"])

Buckets = Annotated[
    int, Query(ge=1, le=MOST_BUCKETS, description="Buckets at most; their width is a round one.")
]
Value = float | None


class Code(Answer):
    """A status code and how many responses have it."""

    value: int
    count: Count


class FiguresAnswer(Answer):
    """Figures of a range. What each name means: /api/figures/definitions."""

    since: Microseconds
    until: Microseconds
    width: Annotated[int, Field(description="Length of a bucket in microseconds.")]
    start: Annotated[list[int], Field(description="Begin of each bucket, microseconds since the epoch.")]
    seconds: Annotated[list[float], Field(description="How much of each bucket lies in the range.")]
    totals: Annotated[
        dict[str, Value], Field(description="Of the whole range, by name; null: nothing to compute it from.")
    ]
    series: Annotated[dict[str, list[Value]], Field(description="Of each bucket, by name.")]
    methods: Annotated[dict[str, list[Count]], Field(description="Requests of each bucket, by method.")]
    statuses: Annotated[dict[str, list[Count]], Field(description="Responses of each bucket, by class.")]
    codes: Annotated[list[Code], Field(description="The most frequent status codes of the range.")]
    notes: Annotated[list[str], Field(description="What the answer lacks, in words.")]


class FigureModel(Answer):
    """What a figure is."""

    name: str
    title: str
    unit: Annotated[str, Field(description="1/s, share (0 to 1), seconds or number")]
    doc: str
    standard: Annotated[str, Field(description="Where it is defined; empty: here.")]


@router.get(
    "/figures", summary="Figures of the dashboard", response_class=Encoded, responses=answers(FiguresAnswer)
)
async def figures(
    request: Request,
    site: TheSite,
    viewer: Viewer,
    since: Since = None,
    until: Until = None,
    q: QueryText = "",
    buckets: Buckets = 60,
    store: StoreName = None,
) -> Encoded:
    """Return calls a second, answer-seizure ratio, post-dial delay and so on, in all and over time."""
    now = time.time_ns() // 1000 // (SHARED_SECONDS * SECOND) * SHARED_SECONDS * SECOND
    span = read_range(since, until, now)

    def search() -> bytes:
        from hepcat.search.figures import figures as figures_of

        data = site.stores.get(store)
        node = data.searcher.parse(q, "sip", moment_of(now))
        found = figures_of(data.searcher, node, span.since, span.end, buckets)
        found.notes += data.notes()
        return encode(_answer(found))

    def shared() -> bytes:
        key = (now, store or site.stores.first, q, span.since, span.end, buckets)
        return site.figures.get(key, search)

    return Encoded(await site.searches.run(request, viewer.name, shared))


@router.get("/figures/definitions", summary="What the figures mean", responses=answers(list[FigureModel]))
async def definitions(viewer: Viewer) -> list[FigureModel]:
    """Return each figure's name, title, unit, definition and the standard it comes from."""
    return [FigureModel(**asdict(figure)) for figure in FIGURES]


def _answer(found: "Figures") -> dict[str, Any]:
    return {
        "since": found.since,
        "until": found.until,
        "width": found.width,
        "start": found.start,
        "seconds": found.seconds,
        "totals": {name: _short(value) for name, value in found.totals.items()},
        "series": {name: [_short(value) for value in values] for name, values in found.series.items()},
        "methods": found.methods,
        "statuses": found.statuses,
        "codes": [{"value": value, "count": count} for value, count in found.codes],
        "notes": found.notes,
    }


def _short(value: float | None) -> float | None:
    """Return a number without the digits that nobody reads."""
    return round(value, 6) if isinstance(value, float) else value
