"""GET /api/histogram, /api/top: how many, over time and by value.

In: a query, a range of time. Out: counts. What can go wrong: 400 for the query or the list's name; what
searches.py says.
"""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Query, Request

from hepcat.search.times import moment_of
from hepcat.web.auth import Viewer
from hepcat.web.models import Counts, Top, answers
from hepcat.web.parameters import QueryText, StoreName, TimeRange
from hepcat.web.rows import Encoded, encode, times
from hepcat.web.sharing import shared
from hepcat.web.site import TheSite

if TYPE_CHECKING:
    from hepcat.search.api import Data
    from hepcat.search.ast import Node
    from hepcat.web.parameters import Range

router = APIRouter(prefix="/api", tags=["search"])

Of = Annotated[Literal["calls", "messages"], Query(description="What is counted.")]
Buckets = Annotated[int, Query(ge=1, le=2000, description="Buckets at most; their width is a round one.")]
Rows = Annotated[int, Query(ge=1, le=1000, description="Values at most.")]
By = Annotated[
    str,
    Query(
        max_length=64,
        description="What is counted: method, status, reason_phrase, state (of calls), user_agent, source, "
        "destination, node, transport, from_domain and so on; an unknown name is answered with all.",
        examples=["status"],
    ),
]


@router.get("/histogram", summary="Counts over time", response_class=Encoded, responses=answers(Counts))
async def histogram(
    request: Request,
    site: TheSite,
    viewer: Viewer,
    span: TimeRange,
    q: QueryText = "",
    buckets: Buckets = 60,
    of: Of = "calls",
    store: StoreName = None,
) -> Encoded:
    """Return counts by time and class of status.

    A message is counted by its own status. A call is counted where its first matching message is, by the
    responses that are among its matching messages: by those to its INVITE where there is one, a 2xx before
    all others, else by the highest status. 401, 407 and 487 do not count.
    """

    def search() -> bytes:
        data = site.stores.get(store)
        table = data.searcher.histogram(
            _node(data, q, span), span.since, span.end, messages=of == "messages", buckets=buckets
        )
        starts, ends = times(table["start"]), times(table["end"])
        counts = {
            name: table[name].to_pylist() for name in table.column_names if name not in ("start", "end")
        }
        width = (ends[0] or 0) - (starts[0] or 0) if starts else None
        frame = {"since": span.since, "until": span.end, "notes": data.notes()}
        return encode({"start": starts, "width": width, **counts, **frame})

    return Encoded(await site.searches.run(request, viewer.name, shared(site, request, search), beside=True))


@router.get("/top", summary="Most frequent values", response_class=Encoded, responses=answers(Top))
async def top(
    request: Request,
    site: TheSite,
    viewer: Viewer,
    span: TimeRange,
    by: By,
    q: QueryText = "",
    limit: Rows = 10,
    of: Of = "messages",
    store: StoreName = None,
) -> Encoded:
    """Return the values that most of the messages (calls) that match have, the most frequent first."""

    def search() -> bytes:
        from hepcat.search.top import top as most_frequent

        data = site.stores.get(store)
        found = most_frequent(data.searcher, by, _node(data, q, span), span.since, span.end, limit, of)
        rows = [{"value": value, "count": count} for value, count in found.rows]
        answer: dict[str, Any] = {"by": found.by, "rows": rows, "total": found.total, "other": found.other}
        return encode({**answer, "since": span.since, "until": span.end, "notes": data.notes()})

    return Encoded(await site.searches.run(request, viewer.name, search, beside=True))


def _node(data: "Data", q: str, span: "Range") -> "Node":
    return data.searcher.parse(q, "sip", moment_of(span.now))
