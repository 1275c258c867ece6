"""GET /api/live: what is stored from now on and matches, as server-sent events.

In: a query, calls or messages. Out: events `calls` or `messages` (rows as /api/calls and /api/messages have
them, the oldest first; a call that goes on comes again with the same call_id), `note` (something to show),
`slow` (the client was too slow, and is dropped). What can go wrong: 400 for the query, 429 for too many
clients, 501 for a store that cannot be followed.

A browser that connects again sends the identity of the last event that it saw; what came meanwhile is told
first, from memory, else by a search.
"""

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated, Final, Literal

from fastapi import APIRouter, Header, Query, Request, Response

from hepcat.web.auth import Principal, Viewer, viewer_of
from hepcat.web.events import Listener, event
from hepcat.web.models import answers
from hepcat.web.parameters import Fields, QueryText, Since, StoreName, fields_of, moment
from hepcat.web.problems import Problem
from hepcat.web.routes.messages import DEFAULT_FIELDS
from hepcat.web.rows import plain
from hepcat.web.site import TheSite
from hepcat.web.streams import Streamed

if TYPE_CHECKING:
    from hepcat.search.api import Data
    from hepcat.web.channel import Channel, Wish

router = APIRouter(prefix="/api", tags=["search"])

#: Rows that a client is told of what it missed.
_MISSED: Final = 200
#: How long after its time a message may be stored, microseconds.
_LATE: Final = 2_000_000
_IDENTITY: Final = re.compile(r"[0-9a-f]{8}-[0-9]{1,18}-([0-9]{1,18})")
_STREAM: Final = {
    "description": "Events `calls` or `messages` with an array of rows, `note` and `slow` with an object.",
    "content": {"text/event-stream": {"schema": {"type": "string"}}},
}
_HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}

Of = Annotated[Literal["calls", "messages"], Query(description="What the rows are.")]
LastEvent = Annotated[
    str | None, Header(alias="Last-Event-ID", max_length=64, description="What a browser saw last.")
]


@router.get("/live", summary="Live results", response_class=Response, responses=answers(None, 501, **_STREAM))
async def live(
    request: Request,
    site: TheSite,
    viewer: Viewer,
    q: QueryText = "",
    of: Of = "calls",
    fields: Fields = None,
    since: Since = None,
    store: StoreName = None,
    last: LastEvent = None,
) -> Response:
    """Send what is stored from now on and matches, and with `since` what came since then."""
    listener, loop = Listener(), asyncio.get_running_loop()
    begin = _begin(last, moment("since", since))
    with ExitStack() as seat:
        seat.enter_context(site.watching.taken(viewer.name))
        joined: list[Channel] = []
        seat.callback(_leave, joined, listener)
        seat.callback(loop.call_later(site.web.live_seconds, listener.end).cancel)

        def join() -> list[bytes]:
            data = site.stores.get(store)
            wish = _wish(data, q, of, fields)
            channel = site.live.join(store or site.stores.first, data, wish, listener, loop)
            joined.append(channel)
            return _missed(data, channel, last, begin)

        missed = await site.searches.run(request, viewer.name, join)
        done = seat.pop_all().close
    return Streamed(_stream(listener, missed, request, viewer), "text/event-stream", _HEADERS, done=done)


def _leave(joined: "list[Channel]", listener: Listener) -> None:
    for channel in joined:
        channel.leave(listener)


def _wish(data: "Data", q: str, of: Literal["calls", "messages"], fields: str | None) -> "Wish":
    from hepcat.search.calls import DEFAULT_FIELDS as CALL_FIELDS
    from hepcat.web.channel import Wish

    default = CALL_FIELDS if of == "calls" else DEFAULT_FIELDS
    return Wish(of, q, data.searcher.parse(q), tuple(fields_of(fields) or default))


def _begin(last: str | None, since: int | None) -> int | None:
    """Return the moment from which on something may have been missed; None: nothing was."""
    match = _IDENTITY.fullmatch(last or "")
    return int(match[1]) if match else since


def _missed(data: "Data", channel: "Channel", last: str | None, begin: int | None) -> list[bytes]:
    """Return events of what came before: from memory, else what a search finds."""
    if begin is None:
        return []
    kept = channel.missed(last) if last else None
    if kept is not None:
        return kept
    searcher, wish = data.searcher, channel.wish
    if wish.of == "calls":
        found = searcher.calls(wish.node, begin - _LATE, None, _MISSED, None, [*wish.fields, "call_id"])
    else:
        found = searcher.messages(wish.node, begin, None, _MISSED, None, wish.fields)
    events = [event(wish.of, plain(found.table)[::-1])] if len(found.table) else []
    if found.cut:
        events.append(event("note", {"note": f"Of what came meanwhile, the newest {_MISSED} are shown."}))
    return events


async def _stream(
    listener: Listener, missed: list[bytes], request: Request, viewer: Principal
) -> AsyncGenerator[bytes]:
    async def still_there() -> bool:
        try:
            return (await viewer_of(request)).name == viewer.name
        except Problem:
            return False

    async for octets in listener.stream(still_there, missed):
        yield octets
