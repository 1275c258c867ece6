"""GET /api/export: what a query finds, or the messages of Call-IDs, as a file; sent while it is read.

In: a query and a range of time, or Call-IDs; a format. Out: the file. What can go wrong: 404 where no
Call-ID is known, 413 where it would be more than [web] export_messages, what searches.py says; all of that
before the first octet. Later errors break the connection off (streams.py).

It is read a page at a time, each in a place for searches and within query_seconds, so that a client that
reads slowly holds up nobody.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, Generator
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final, Literal

from fastapi import APIRouter, Query, Request, Response

from hepcat.search.cancel import Cancel
from hepcat.search.times import moment_of
from hepcat.web.auth import Principal, Viewer
from hepcat.web.models import answers
from hepcat.web.parameters import CallId, QueryText, Range, StoreName, TimeRange
from hepcat.web.problems import Problem
from hepcat.web.site import Site, TheSite
from hepcat.web.streams import Streamed

if TYPE_CHECKING:
    from hepcat.search.export_plan import Plan

router = APIRouter(prefix="/api", tags=["search"])

_TYPES: Final = {
    "pcap": "application/vnd.tcpdump.pcap",
    "pcapng": "application/x-pcapng",
    "text": "text/plain; charset=utf-8",
    "json": "application/json",
}
_ENDINGS: Final = {"text": "txt"}
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_-]+")
#: How the file looks.
_FILE: Final = {
    "description": "The file, oldest message first.",
    "content": {
        **{_TYPES[name]: {"schema": {"type": "string", "format": "binary"}} for name in ("pcap", "pcapng")},
        "text/plain": {"schema": {"type": "string"}},
        "application/json": {"schema": {"type": "array", "items": {"type": "object"}}},
    },
}

Format = Annotated[Literal["pcap", "pcapng", "text", "json"], Query(description="What the file is.")]
Of = Annotated[
    Literal["calls", "messages"],
    Query(description="calls: all messages of the calls that match; messages: those that match alone."),
]
Ids = Annotated[
    list[CallId],
    Query(alias="id", max_length=200, description="Call-ID, in place of a query; repeatable."),
]


@router.get(
    "/export", summary="Export messages", response_class=Response, responses=answers(None, 413, **_FILE)
)
async def export(
    request: Request,
    site: TheSite,
    viewer: Viewer,
    times: TimeRange,
    ids: Ids = [],  # noqa: B006  # FastAPI takes it as it is
    q: QueryText = "",
    format: Format = "pcap",
    of: Of = "calls",
    store: StoreName = None,
) -> Response:
    """Return what matches as a capture file, text or JSON; with `id` the messages of these Call-IDs.

    Of calls that match, messages outside the range are part of the file too. More messages than
    [web] export_messages are refused before anything is sent.
    """
    with ExitStack() as seat:
        seat.enter_context(site.exports.taken(viewer.name))

        def search() -> "Plan":
            return _plan(site, ids, q, times, of, store)

        plan = await site.searches.run(request, viewer.name, search)
        steps = _Steps(site, request, viewer, plan.pieces(format))
        first = await steps.next()
        seat.callback(steps.close)
        done = seat.pop_all().close
    name = f"{_name(ids)}.{_ENDINGS.get(format, format)}"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Streamed(steps.all(first), _TYPES[format], headers, gone=steps.stop, done=done)


def _plan(site: Site, ids: list[str], q: str, times: Range, of: str, store: str | None) -> "Plan":
    from hepcat.search.export_plan import TooLarge, plan_of_calls, plan_of_ids, plan_of_messages

    searcher, most = site.stores.get(store).searcher, site.web.export_messages
    try:
        if ids:
            plan = plan_of_ids(searcher, list(dict.fromkeys(ids)), times.since, times.until, most)
            if not plan.calls:
                raise Problem(404, "no message has one of these Call-IDs", kind="no-call")
            return plan
        node = searcher.parse(q, "sip", moment_of(times.now))
        make = plan_of_calls if of == "calls" else plan_of_messages
        return make(searcher, node, times.since, times.end, most)
    except TooLarge as error:
        raise Problem(413, str(error), error.hint, kind="too-large") from None


class _Steps:
    """Takes piece after piece in threads that search; one token for all of them."""

    def __init__(self, site: Site, request: Request, viewer: Principal, pieces: Generator[bytes]) -> None:
        self._site, self._request, self._user, self._pieces = site, request, viewer.name, pieces
        # A database may stream over several pieces: what runs there belongs to all of them, and must not
        # end with the time of the first.
        self._token = Cancel()

    def stop(self) -> None:
        """End it: nobody waits."""
        self._token.cancel("the client went away")

    async def next(self) -> bytes | None:
        """Return the next piece, None at the end. Each has query_seconds, once it has its place."""
        loop, seconds = asyncio.get_running_loop(), self._site.web.query_seconds
        timers: list[asyncio.TimerHandle] = []
        late = f"a part of the export took longer than {seconds:g} seconds"

        def advance() -> bytes | None:
            loop.call_soon_threadsafe(
                lambda: timers.append(loop.call_later(seconds, self._token.cancel, late))
            )
            with self._token.active():
                return next(self._pieces, None)

        try:
            return await self._site.searches.run(self._request, self._user, advance, patient=True)
        finally:
            for timer in timers:
                timer.cancel()

    async def all(self, first: bytes | None) -> AsyncGenerator[bytes]:
        """Yield the pieces, the one that was taken before first."""
        piece = first
        while piece is not None:
            if piece:
                yield piece
            piece = await self.next()

    def close(self) -> None:
        """Let go of what a database still holds for us; in a thread, for that may take a moment."""
        self.stop()
        with contextlib.suppress(RuntimeError):  # the loop has ended
            asyncio.get_running_loop().run_in_executor(None, _close, self._pieces)


def _close(pieces: Generator[bytes]) -> None:
    with contextlib.suppress(Exception):  # a piece that is still being made ends by itself
        pieces.close()


def _name(ids: list[str]) -> str:
    """Return a file name that means no harm on any system."""
    if ids:
        safe = _UNSAFE.sub("_", ids[0][:200])[:60].strip("_")
        return f"hepcat-{safe or 'call'}"
    return f"hepcat-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
