"""GET /api/messages: the messages that a query finds, a page after another.

In: as /api/calls. Out: rows without the payload unless `fields` names it. What can go wrong: as /api/calls.
Pages go by time, newest first; in another order there is one page and no cursor.
"""

from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
from fastapi import APIRouter, Request

from hepcat.batch.schema import SIP_COLUMNS
from hepcat.web.auth import Viewer
from hepcat.web.cursor import Asked
from hepcat.web.models import MessageRows, answers
from hepcat.web.paging import AskedMessages, answer
from hepcat.web.parameters import Fields, Limit, fields_of
from hepcat.web.rows import Encoded, encode
from hepcat.web.site import TheSite

if TYPE_CHECKING:
    from hepcat.search.api import Data

router = APIRouter(prefix="/api", tags=["search"])

#: All but the octets, which are most of a row.
DEFAULT_FIELDS: Final = tuple(column.name for column in SIP_COLUMNS if column.type != "binary")


@router.get("/messages", summary="Search messages", response_class=Encoded, responses=answers(MessageRows))
async def messages(
    request: Request,
    site: TheSite,
    viewer: Viewer,
    asked: AskedMessages,
    limit: Limit = 100,
    fields: Fields = None,
) -> Encoded:
    """Return messages that match, newest first unless `sort` says; `payload` only where `fields` names it."""
    rows = min(limit, site.web.page_rows)
    columns = fields_of(fields) or list(DEFAULT_FIELDS)

    def search() -> bytes:
        data = site.stores.get(asked.store)
        table, key, notes = _page(data, asked, rows, columns)
        notes += data.notes()
        return encode(answer(asked, "messages", table, asked.cursor(key, 0), notes))

    return Encoded(await site.searches.run(request, viewer.name, search))


def _page(
    data: "Data", asked: Asked, limit: int, fields: list[str]
) -> tuple[pa.Table, list[Any] | None, list[str]]:
    """Return rows, the key of the next page, and what the answer lacks."""
    from hepcat.search.message_pages import message_page
    from hepcat.search.page_keys import MessageKey

    node = asked.node(data.searcher)
    since, until = asked.times.since, asked.times.until
    if asked.sort in (None, "-ts"):
        key = None if asked.key is None else MessageKey.from_list(asked.key)
        page = message_page(data.searcher, node, since, until, limit, fields, key)
        return page.rows, None if page.next is None else list(page.next.as_list()), []
    found = data.searcher.messages(node, since, until, limit, asked.sort, fields)
    notes = [f"More messages match than these {limit:,}; only sorted by -ts there are further pages."]
    return found.table, None, notes if found.cut else []
