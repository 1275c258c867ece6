"""GET /api/calls: the calls that a query finds, a page after another, in an exact and stable order.

In: a query, a range of time, an order, a cursor. Out: rows, and the cursor of the next page. What can go
wrong: 400 for the query, a column or a cursor; what searches.py says.

The first page of the newest calls is found without putting all that match in order, and mostly some more of
them with it, which are kept for the next pages (site.newest). For pages behind those, and for other orders,
all that match are put in order once and kept (site.orders) for who asks on, and for equal requests.
"""

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request

from hepcat.web.auth import Viewer
from hepcat.web.cursor import Asked
from hepcat.web.models import CallRows, answers
from hepcat.web.paging import AskedCalls, answer
from hepcat.web.parameters import Fields, Limit, fields_of
from hepcat.web.rows import Encoded, encode
from hepcat.web.sharing import shared
from hepcat.web.site import TheSite

if TYPE_CHECKING:
    from hepcat.search.api import Data
    from hepcat.search.call_pages import Ordered, Page
    from hepcat.web.site import Site

router = APIRouter(prefix="/api", tags=["search"])


@router.get("/calls", summary="Search calls", response_class=Encoded, responses=answers(CallRows))
async def calls(
    request: Request,
    site: TheSite,
    viewer: Viewer,
    asked: AskedCalls,
    limit: Limit = 100,
    fields: Fields = None,
) -> Encoded:
    """Return calls of which a message matches, one row a Call-ID; newest start first unless `sort` says."""
    rows = min(limit, site.web.page_rows)
    columns = fields_of(fields)

    def search() -> bytes:
        data = site.stores.get(asked.store)
        page, before = _page(site, data, asked, rows, columns)
        key = None if page.next is None else page.next.as_list()
        notes = [*page.notes, *data.notes()]
        return encode(answer(asked, "calls", page.rows, asked.cursor(key, before + rows), notes))

    return Encoded(await site.searches.run(request, viewer.name, shared(site, request, search)))


def _page(
    site: "Site", data: "Data", asked: Asked, limit: int, fields: list[str] | None
) -> tuple["Page", int]:
    """Return a page, and how many rows come before it."""
    from hepcat.search.call_pages import first_page, order, page_of
    from hepcat.search.page_keys import Key

    node = asked.node(data.searcher)
    since, until = asked.times.since, asked.times.until
    kept = (asked.store or site.stores.first, node, since, until, asked.sort)
    if asked.sort in (None, "-start") and asked.row is None and site.orders.peek(kept) is None:
        if asked.key is None:
            page = first_page(data.searcher, node, since, until, limit, fields)
            if page.next is not None and page.of is not None:
                site.newest.put(kept, page.of)
            return page, 0
        newest, behind = site.newest.peek(kept), Key.from_list(asked.key)
        if newest is not None and newest.behind(behind) + limit < len(newest):
            return page_of(data.searcher, newest, limit, behind, fields), newest.behind(behind)

    def put_in_order() -> "Ordered":
        ordered = order(data.searcher, node, since, until, asked.sort, site.web.max_rows)
        return ordered.within(site.orders.most // 2)  # more would be put in order anew for every page

    ordered: Any = site.orders.get(kept, put_in_order)
    row = asked.row
    if row is not None:
        key = ordered.key(min(row, len(ordered)) - 1) if len(ordered) else None
    else:
        key = None if asked.key is None else Key.from_list(asked.key)
    return page_of(data.searcher, ordered, limit, key, fields), ordered.behind(key)
