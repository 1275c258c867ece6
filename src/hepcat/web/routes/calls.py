"""GET /api/calls, /api/messages: what a query finds, a page after another."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from hepcat.web.auth import Viewer
from hepcat.web.parameters import QueryText, StoreName, TimeRange, fields_of
from hepcat.web.rows import plain
from hepcat.web.site import TheSite

router = APIRouter(prefix="/api", tags=["search"])

Limit = Annotated[int, Query(ge=1, le=100_000, description="Rows of this page.")]
Sort = Annotated[str | None, Query(max_length=64, description="A column, - in front: descending.")]
Fields = Annotated[str | None, Query(max_length=2048, description="Columns, with commas between them.")]


@router.get("/calls")
async def calls(
    request: Request,
    site: TheSite,
    viewer: Viewer,
    times: TimeRange,
    q: QueryText = "",
    sort: Sort = None,
    limit: Limit = 100,
    fields: Fields = None,
    store: StoreName = None,
) -> dict[str, Any]:
    """Return calls of which a message matches."""

    def search() -> dict[str, Any]:
        data = site.stores.get(store)
        found = data.searcher.calls(q, times.since, times.until, limit, sort, fields_of(fields))
        return {"calls": plain(found.table), "next": None, "cut": found.cut, "notes": data.notes()}

    return await site.searches.run(request, viewer.name, search)
