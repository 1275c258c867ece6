"""/auth/oidc/login, /auth/oidc/callback: to the provider of OpenID Connect, and back.

In: `next`, a path of ours to return to; what the provider gives the browser. Out: redirects. What can go
wrong: all of it leads to /login?problem=REASON, which says it in words; the log says more.
"""

import re
from typing import Annotated, Final
from urllib.parse import urlencode

import structlog
from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse

from hepcat.web.auth import in_thread, is_secure, peer_of, set_cookie
from hepcat.web.oidc import LOGIN_SECONDS, Provider
from hepcat.web.oidc_fetch import OidcError
from hepcat.web.problems import Problem
from hepcat.web.site import Site, TheSite

log = structlog.get_logger("hepcat.web")
router = APIRouter(prefix="/auth/oidc", include_in_schema=False)

#: A path of ours: what browsers could take for another host (//, \) or strip (control characters) is none.
_OWN_PATH: Final = re.compile(r"/(?![/\\])[!-\[\]-~]{0,2000}")
#: Paths that lead nowhere after a login.
_NOT_AFTER: Final = ("/login", "/auth/", "/api/")

Text = Annotated[str, Query(max_length=4096)]


@router.get("/login")
async def login(request: Request, site: TheSite, next: Text = "/") -> RedirectResponse:
    """Send the browser to the provider."""
    provider = _provider(site)
    try:
        begun = await provider.begin(_redirect_uri(request, site), own_path(next))
    except OidcError as error:
        return _failed(request, error, next)
    response = RedirectResponse(begun.url, 303)
    response.set_cookie(
        _cookie(site),
        begun.ticket,
        max_age=LOGIN_SECONDS,
        path="/",
        secure=is_secure(site.web),
        httponly=True,
        samesite="lax",
    )
    return response


@router.get("/callback")
async def callback(
    request: Request, site: TheSite, state: Text = "", code: Text = "", error: Text = "", iss: Text = ""
) -> RedirectResponse:
    """Take what the provider gave the browser; begin a session."""
    provider, goal = _provider(site), "/"
    try:
        ticket = provider.read_ticket(request.cookies.get(_cookie(site), ""))
        goal = ticket.next
        if error:
            raise OidcError("refused", f"the provider says {error[:200]!r}")
        identity = await provider.finish(ticket, state, code, iss or None, _redirect_uri(request, site))
    except OidcError as problem:
        return _failed(request, problem, goal)
    session_id = await in_thread(site.accounts.sessions.begin_foreign, identity.name, identity.role)
    log.info("logged in by OpenID Connect", user=identity.name, role=identity.role, peer=peer_of(request))
    response = RedirectResponse(own_path(goal), 303)
    _forget(response, site)
    set_cookie(response, site.web, session_id)
    return response


def own_path(text: str) -> str:
    """Return the path if it is one of our pages, else "/"."""
    return text if _OWN_PATH.fullmatch(text) and not text.startswith(_NOT_AFTER) else "/"


def _provider(site: Site) -> Provider:
    provider = site.accounts.provider
    if provider is None:
        raise Problem(404, "OpenID Connect is not configured", "[web.oidc] in the configuration sets it up.")
    return provider


def _redirect_uri(request: Request, site: Site) -> str:
    """Return where the provider sends browsers back to; it has to know just this address."""
    base = site.web.public_url
    if base is None:
        scheme = "https" if site.web.certificate is not None else "http"
        base = f"{scheme}://{request.headers.get('host', '')}"
    return f"{base}/auth/oidc/callback"


def _failed(request: Request, error: OidcError, next_path: str) -> RedirectResponse:
    site: Site = request.app.state.site
    peer = peer_of(request)
    log.warning("a login by OpenID Connect failed", reason=error.reason, problem=str(error), peer=peer)
    told = urlencode({"problem": error.reason, "next": own_path(next_path)})
    response = RedirectResponse(f"/login?{told}", 303)
    _forget(response, site)
    return response


def _forget(response: RedirectResponse, site: Site) -> None:
    response.delete_cookie(_cookie(site), path="/", secure=is_secure(site.web), httponly=True, samesite="lax")


def _cookie(site: Site) -> str:
    return "__Host-hepcat-oidc" if is_secure(site.web) else "hepcat-oidc"
