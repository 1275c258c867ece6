"""One call as a picture: GET /api/call, /api/call/ladder.svg, flow.txt, flow.mmd; GET /api/findings.

In: Call-IDs, at most MOST_CALLS with the other legs that are found for them. Out: the ladder's model with
every message's text, what went wrong, the legs that were added and why. What can go wrong: 404 with similar
Call-IDs where nothing is known of any; what is more than MOST_MESSAGES or MOST_OCTETS is cut off, and `cut`
says how many.
"""

import json
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Query, Request, Response

from hepcat.search import cancel
from hepcat.search.render.escape import safe_line
from hepcat.web.auth import Viewer
from hepcat.web.parameters import MAX_CALL_ID, CallIds, StoreName, TimeRange
from hepcat.web.problems import Problem
from hepcat.web.rows import plain
from hepcat.web.site import TheSite

if TYPE_CHECKING:
    import pyarrow as pa

    from hepcat.search.api import Data
    from hepcat.search.ladder import Ladder
    from hepcat.search.related import Related, Relations
    from hepcat.web.site import Site

router = APIRouter(prefix="/api", tags=["call"])

MOST_CALLS: Final = 20
MOST_MESSAGES: Final = 2000
#: Octets of messages that are drawn: a call of this many messages has a tenth of them, unless somebody means
#: to keep the page busy with descriptions of a thousand streams.
MOST_OCTETS: Final = 16 << 20
#: Octets of messages whose text one answer carries; later messages come without.
MOST_TEXT: Final = 8 << 20

WithRelated = Annotated[
    bool, Query(alias="related", description="Add the other legs of the same call, where they are found.")
]
Utc = Annotated[bool, Query(description="Times in UTC, else in the server's zone.")]
Download = Annotated[bool, Query(description="As a file to keep.")]


@dataclass(frozen=True, slots=True)
class _Asked:
    """Which calls, when, and from where."""

    call_ids: list[str]
    since: int | None
    until: int | None
    store: str | None
    related: bool


@dataclass(frozen=True, slots=True)
class _Found:
    """The picture, and what belongs beside it."""

    ladder: "Ladder"
    call_ids: list[str]
    related: "list[Related]"
    cut: int
    notes: list[str]
    data: "Data"


@router.get("/call", response_class=Response, responses={200: {"content": {"application/json": {}}}})
async def call(
    request: Request,
    site: TheSite,
    viewer: Viewer,
    times: TimeRange,
    ids: CallIds,
    related: WithRelated = True,
    store: StoreName = None,
) -> Response:
    """Return calls as one ladder: hosts, messages with their text, findings, related legs."""
    asked = _asked(ids, times.since, times.until, store, related)

    def look() -> bytes:
        found = _find(site, asked)
        return json.dumps(_value(found, asked), ensure_ascii=False).encode("utf-8", "backslashreplace")

    return Response(await site.searches.run(request, viewer.name, look), media_type="application/json")


@router.get("/call/ladder.svg", response_class=Response, responses={200: {"content": {"image/svg+xml": {}}}})
async def picture(
    request: Request,
    site: TheSite,
    viewer: Viewer,
    times: TimeRange,
    ids: CallIds,
    related: WithRelated = True,
    utc: Utc = True,
    download: Download = False,
    store: StoreName = None,
) -> Response:
    """Return the ladder as a stand-alone picture."""
    asked = _asked(ids, times.since, times.until, store, related)
    text = await site.searches.run(request, viewer.name, lambda: _find(site, asked).ladder.svg(utc=utc))
    return Response(text, media_type="image/svg+xml", headers=_disposition(download, "call.svg"))


@router.get("/call/flow.txt", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def flow(
    request: Request,
    site: TheSite,
    viewer: Viewer,
    times: TimeRange,
    ids: CallIds,
    related: WithRelated = True,
    utc: Utc = True,
    raw: Annotated[bool, Query(description="Add the messages.")] = False,
    width: Annotated[int, Query(ge=40, le=400, description="Columns of the text.")] = 120,
    download: Download = False,
    store: StoreName = None,
) -> Response:
    """Return the ladder as plain text."""
    asked = _asked(ids, times.since, times.until, store, related)

    def draw() -> str:
        return _find(site, asked).ladder.text(width=width, utc=utc, raw=raw)

    text = await site.searches.run(request, viewer.name, draw)
    return Response(text, media_type="text/plain", headers=_disposition(download, "call.txt"))


@router.get("/call/flow.mmd", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def diagram(
    request: Request,
    site: TheSite,
    viewer: Viewer,
    times: TimeRange,
    ids: CallIds,
    related: WithRelated = True,
    download: Download = False,
    store: StoreName = None,
) -> Response:
    """Return the ladder as a Mermaid sequence diagram."""
    asked = _asked(ids, times.since, times.until, store, related)
    text = await site.searches.run(request, viewer.name, lambda: _find(site, asked).ladder.mermaid())
    return Response(text, media_type="text/plain", headers=_disposition(download, "call.mmd"))


@router.get("/findings")
async def findings(viewer: Viewer) -> list[dict[str, str]]:
    """List the rules by which something is said to have gone wrong."""
    from hepcat.search.findings import RULES

    return [
        {"name": rule.name, "title": rule.title, "doc": rule.doc, "standard": rule.standard} for rule in RULES
    ]


def _asked(ids: list[str], since: int | None, until: int | None, store: str | None, related: bool) -> _Asked:
    """Check the Call-IDs."""
    for call_id in ids:
        if not call_id or len(call_id) > MAX_CALL_ID:
            raise Problem(
                400, f"a Call-ID has 1 to {MAX_CALL_ID} characters", kind="parameter", parameter="id"
            )
    return _Asked(list(dict.fromkeys(ids)), since, until, store, related)


def _find(site: "Site", asked: _Asked) -> _Found:
    """Look for the calls and draw them. Runs in a worker thread."""
    from hepcat.search.ladder import build

    data = site.stores.get(asked.store)
    span = (asked.since, asked.until)
    notes = []
    have = data.searcher.numbers_of(asked.call_ids, *span)
    missing = [call_id for call_id in asked.call_ids if call_id not in have]
    if not have:
        raise _unknown(data, missing, span)
    if missing:
        notes.append(f"No message with Call-ID {_shown(missing)}.")
    relations = _related(data, list(have), asked)
    others = list(relations.related) if relations else []
    notes += [f"{note[:1].upper()}{note[1:]}." for note in relations.notes] if relations else []
    call_ids = [*have, *(leg.call_id for leg in others)]
    have |= data.searcher.numbers_of([leg.call_id for leg in others], *span) if others else {}
    table = _bounded(data.searcher.messages_of(call_ids, *span, limit=MOST_MESSAGES))
    cut = sum(have.values()) - len(table)
    ladder = build(table, site.settings.aliases)
    return _Found(ladder, call_ids, others, max(cut, 0), [*notes, *data.notes()], data)


def _bounded(table: "pa.Table") -> "pa.Table":
    """Return the first messages, as many as MOST_OCTETS hold, but one at least."""
    import pyarrow.compute as pc

    so_far = pc.cumulative_sum(pc.fill_null(pc.binary_length(table["payload"]).cast("int64"), 0))
    return table.slice(0, max(1, pc.sum(pc.less_equal(so_far, MOST_OCTETS)).as_py() or 0))


def _related(data: "Data", call_ids: list[str], asked: _Asked) -> "Relations | None":
    """Return the other legs, as many as there is room for."""
    room = MOST_CALLS - len(call_ids)
    if not asked.related or room <= 0:
        return None
    from hepcat.search.related import relations

    return relations(data.searcher, call_ids, asked.since, asked.until, limit=room)


def _unknown(data: "Data", missing: list[str], span: tuple[int | None, int | None]) -> Problem:
    from hepcat.search.similar import similar

    close = similar(data.searcher, missing[0], *span)
    hint = f"Similar: {_shown(close)}" if close else "Call-IDs are told apart by case; search lists them."
    return Problem(404, f"no message with Call-ID {_shown(missing)}", hint, kind="no-call", similar=close)


def _shown(call_ids: list[str]) -> str:
    return ", ".join(safe_line(call_id, 120) for call_id in call_ids)


def _value(found: _Found, asked: _Asked) -> dict[str, Any]:
    """Return the answer of /api/call as plain values."""
    from hepcat.search.findings import find
    from hepcat.search.render.json import ladder_value

    ladder = ladder_value(found.ladder, raw=True)
    return {
        "calls": plain(found.data.searcher.calls_of(found.call_ids)),
        "ladder": ladder,
        "sdp_words": _words(found.ladder, ladder["messages"]),
        "findings": [asdict(finding) for finding in find(found.ladder, time.time_ns() // 1000)],
        "related": [{"call_id": leg.call_id, "why": leg.why, "of": leg.of} for leg in found.related],
        "cut": found.cut,
        "text_cut": _bound_text(ladder["messages"]),
        "notes": found.notes,
    }


def _words(ladder: "Ladder", messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return each session description in words once; a message has its number as `sdp_words`."""
    from hepcat.search.sdp_words import words_of_message

    numbers: dict[str, int] = {}
    said: list[dict[str, Any]] = []
    for arrow, message in zip(ladder.arrows, messages, strict=True):
        cancel.check()
        message["sdp_words"] = None
        words = words_of_message(arrow.payload) if arrow.sdp is not None else None
        if words is not None:
            value = asdict(words)
            number = numbers.setdefault(json.dumps(value), len(numbers))
            if number == len(said):
                said.append(value)
            message["sdp_words"] = number
    return said


def _bound_text(messages: list[dict[str, Any]]) -> int:
    """Take away the text of messages beyond MOST_TEXT; return of how many."""
    octets = cut = 0
    for message in messages:
        octets += len(message["payload"])
        if octets > MOST_TEXT:
            message["payload"] = None
            cut += 1
    return cut


def _disposition(download: bool, name: str) -> dict[str, str]:
    return {"Content-Disposition": f'{"attachment" if download else "inline"}; filename="{name}"'}
