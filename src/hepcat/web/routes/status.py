"""The running server: /api/status, stats, stores, agents, samples, capture, reload; /metrics, /healthz.

What the running server says of itself is asked over its control socket (control/methods.py). On a lake
without a server the routes that need one answer 503 with a problem of kind no-server.
"""

from typing import Annotated, Any, Final, Literal

import structlog
from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from hepcat import __version__
from hepcat.batch.drops import DROP_DOCS
from hepcat.config.databases import safe_url
from hepcat.errors import HepcatError
from hepcat.web import metrics as own
from hepcat.web.auth import Admin, Principal, Viewer, peer_of, viewer_of
from hepcat.web.problems import PROBLEMS, Problem
from hepcat.web.site import Site, TheSite

log = structlog.get_logger("hepcat.web")
router = APIRouter()
_REASONS: Final = {drop.name.lower(): doc for drop, doc in DROP_DOCS.items()}
_METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Switch(BaseModel):
    """What is switched."""

    model_config = ConfigDict(extra="forbid")

    mode: Literal["on", "off"]
    source: Annotated[str | None, Field(max_length=1024, description="A source's URL; none: all.")] = None


@router.get("/api/status", tags=["server"], summary="Version, server, stores, searches", responses=PROBLEMS)
async def status(site: TheSite, viewer: Viewer) -> dict[str, Any]:
    """Return what runs: `server` is null where none does, and `why` says what was tried."""
    server, why = None, None
    try:
        server = await run_in_threadpool(site.control.call, "status")
    except HepcatError as error:
        why = str(error)
    return {
        "version": __version__,
        "server": server,
        "why": why,
        "stores": _stores(site),
        "searches": {
            "running": site.searches.running,
            "waiting": site.searches.waiting,
            "done": site.searches.done,
            "refused": site.searches.refused,
            "cancelled": site.searches.cancelled,
        },
        "web": own.numbers(site),
    }


@router.get("/api/stats", tags=["server"], summary="Counters by source, agent, store", responses=PROBLEMS)
async def stats(site: TheSite, viewer: Viewer) -> dict[str, Any]:
    """Return the counters of `hepcat ctl stats`, what the reasons of drops mean (`reasons`), and those of
    the page itself (`web`).
    """
    found: dict[str, Any] = await run_in_threadpool(site.control.call, "stats")
    return {**found, "reasons": _REASONS, "web": own.numbers(site)}


@router.get("/api/stores", tags=["server"], summary="Stores that can be searched", responses=PROBLEMS)
async def stores(site: TheSite, viewer: Viewer) -> list[dict[str, Any]]:
    """Return names and addresses, the one that is searched first in front; passwords are left out."""
    return _stores(site)


@router.get("/api/agents", tags=["server"], summary="Capture agents that were seen", responses=PROBLEMS)
async def agents(site: TheSite, viewer: Viewer) -> dict[str, Any]:
    """Return node id, name, messages, rate and time of the last message of each."""
    return {"agents": site.samples.agents(), "why": site.samples.why}


@router.get("/api/samples", tags=["server"], summary="Counters over the last minutes", responses=PROBLEMS)
async def samples(site: TheSite, viewer: Viewer) -> dict[str, Any]:
    """Return the server's counters every few seconds, oldest first."""
    return {"samples": site.samples.samples(), "why": site.samples.why}


@router.get("/api/capture", tags=["server"], summary="How the capture switch stands", responses=PROBLEMS)
async def capture(site: TheSite, viewer: Viewer) -> dict[str, Any]:
    """Return the switch of all, and of each source."""
    found: dict[str, Any] = await run_in_threadpool(site.control.call, "sip_capture")
    return found


@router.post("/api/capture", tags=["server"], summary="Switch capture on or off", responses=PROBLEMS)
async def switch(site: TheSite, admin: Admin, request: Request, wanted: Switch) -> dict[str, Any]:
    """Switch all of it, or one source; administrators only."""
    found: dict[str, Any] = await run_in_threadpool(
        site.control.call, "sip_capture", wanted.model_dump(exclude_none=True)
    )
    _tell(request, admin, f"capture switched {wanted.mode}", source=wanted.source or "all")
    return found


@router.post("/api/reload", tags=["server"], summary="Read the configuration again", responses=PROBLEMS)
async def reload(site: TheSite, admin: Admin, request: Request) -> dict[str, Any]:
    """Put the server's configuration in force as it stands in its file; administrators only."""
    found: dict[str, Any] = await run_in_threadpool(site.control.call, "reload")
    _tell(request, admin, "configuration reloaded")
    return found


def _tell(request: Request, admin: Principal, what: str, **more: str) -> None:
    """Log who did it, and from where: to the server it was the page."""
    peer = peer_of(request)
    log.info(f"{what} by way of the page", user=admin.name, via=admin.via, peer=peer, **more)


@router.get(
    "/metrics", tags=["server"], summary="Counters for Prometheus", response_class=PlainTextResponse,
    responses=PROBLEMS,
)  # fmt: skip
async def metrics(request: Request, site: TheSite) -> PlainTextResponse:
    """Return the server's metrics and the page's own, in Prometheus's text format; without an account where
    `open_metrics`.
    """
    if not site.web.open_metrics:
        await viewer_of(request)
    text = await run_in_threadpool(site.control.recent, "metrics")
    return PlainTextResponse(text + own.text(site), media_type=_METRICS_TYPE)


@router.api_route(
    "/healthz", methods=["GET", "HEAD"], include_in_schema=False, response_class=PlainTextResponse
)
async def healthz(request: Request, site: TheSite) -> PlainTextResponse:
    """Answer 200 while records are stored, else 503; on a lake without a server 200."""
    try:
        server = await run_in_threadpool(site.control.recent, "status")
    except Problem as problem:
        if problem.kind == "no-server" and not site.options.expects_server:
            return PlainTextResponse("ok: a lake without a server\n")
        return PlainTextResponse("the server does not answer\n", 503)
    well = bool(server["storing"])
    return PlainTextResponse("ok\n" if well else "cannot store\n", 200 if well else 503)


def _stores(site: Site) -> list[dict[str, Any]]:
    databases = {database.name: database for database in site.settings.databases}
    if site.options.store is not None:
        databases[site.options.store.name] = site.options.store
    return [
        {
            "name": name,
            "url": safe_url(databases[name].read()) if name in databases else str(site.settings.data),
            "written": name in site.settings.stores,
        }
        for name in site.stores.names
    ]
