"""Who asks, and what they may.

In: a request: its cookie, its bearer token, the peer's address, what the browser says about where it comes
from. Out: a `Principal`, for routes that declare `Viewer` or `Admin`. What can go wrong: Problem 401 (log in
first), 403 (the role is too low; another site's page asked), 421 (a name that is none of this machine's).

Three ways in. A session's cookie: unsafe methods also need the session's X-CSRF-Token and a request of our
own page. A bearer token: no browser sends one by itself, so neither is asked for. Open, while there are no
accounts: only from this machine, not through a proxy, under a name of this machine (a stranger's name that
resolves to 127.0.0.1 is how a page elsewhere would read what only people here may see), and from no other
site's page.
"""

import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Final, Literal, TypeVar
from urllib.parse import urlsplit

import structlog
from anyio import CapacityLimiter, to_thread
from fastapi import Depends, Request, Response

from hepcat.config.web import WebSettings
from hepcat.web.accounts.sessions import Session
from hepcat.web.accounts.starting import is_local_name, is_loopback_address
from hepcat.web.accounts.store import AccountsUnavailable
from hepcat.web.accounts.users import ROLES, Role
from hepcat.web.problems import Problem
from hepcat.web.site import Site

#: RFC 9110 section 9.2.1: what changes nothing.
SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
#: What a proxy adds; who comes through one may be anywhere.
_FORWARDED: Final = ("forwarded", "x-forwarded-", "x-real-ip", "via")
#: Looking a session up takes a thread for some 0.1 ms, longer where the disk is slow.
_LOOKUPS: Final = 16

T = TypeVar("T")
_limiter: CapacityLimiter | None = None  # belongs to the event loop that first asks

log = structlog.get_logger("hepcat.web")


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody: a name, what they may do, and how they were known.

    via: oidc is a session of someone whom an OpenID provider vouched for, who is no user of ours.
    """

    name: str
    role: Role
    via: Literal["open", "session", "oidc", "token"]
    session: Session | None = field(default=None, repr=False)


async def principal_of(request: Request) -> Principal | None:
    """Return who asks; None where nobody is known. Raises Problem where the request is not to be trusted."""
    site: Site = request.app.state.site
    accounts = site.accounts
    authorization = request.headers.get("authorization", "")
    scheme, _, secret = authorization.partition(" ")
    if scheme.lower() == "bearer":
        token = await in_thread(accounts.tokens.find, secret.strip())
        if token is None:
            raise _unknown_token()
        return Principal(token.user, token.role, "token")
    cookie = request.cookies.get(cookie_name(site.web), "")
    session = None
    if cookie:
        session = await in_thread(accounts.sessions.find, cookie)
    if session is not None and session.foreign and site.web.oidc is None:
        session = None  # whom a provider vouched for that is none any more
    if session is not None:
        if request.method not in SAFE:
            check_same_origin(request, required=True)
            _check_csrf(request, session)
        return Principal(session.name, session.role, "oidc" if session.foreign else "session", session)
    if await in_thread(accounts.open):
        _check_open(request)
        return Principal("open", "admin", "open")
    return None


async def viewer_of(request: Request) -> Principal:
    principal = await principal_of(request)
    if principal is None:
        raise Problem(
            401,
            "this needs an account",
            "Log in on the page, or send an API token: Authorization: Bearer hepcat_...",
            kind="login",
            headers={"WWW-Authenticate": "Bearer"},
        )
    return principal


async def _admin(request: Request) -> Principal:
    principal = await viewer_of(request)
    if ROLES.index(principal.role) < ROLES.index("admin"):
        raise Problem(403, f"this is for administrators; {principal.name} is {principal.role}", kind="role")
    return principal


#: Declared by every route that shows what was captured.
Viewer = Annotated[Principal, Depends(viewer_of)]
#: Declared by every route that changes something for all.
Admin = Annotated[Principal, Depends(_admin)]


async def in_thread(function: Callable[..., T], *arguments: object) -> T:
    """Run what reads or writes the accounts in a thread. Raises Problem 503 without a usable file."""
    global _limiter
    if _limiter is None:
        _limiter = CapacityLimiter(_LOOKUPS)
    try:
        return await to_thread.run_sync(function, *arguments, limiter=_limiter)
    except AccountsUnavailable as error:
        log.error(str(error), hint=error.hint)
        raise Problem(
            503, "the accounts cannot be read just now", "The log of the server says why.", kind="accounts"
        ) from None


def is_secure(web: WebSettings) -> bool:
    """Whether browsers reach the page over TLS."""
    return web.certificate is not None or (web.public_url or "").startswith("https://")


def cookie_name(web: WebSettings) -> str:
    """Return the cookie's name. The prefix makes browsers refuse one that another host or plain HTTP set."""
    return "__Host-hepcat" if is_secure(web) else "hepcat"


def set_cookie(response: Response, web: WebSettings, session_id: str) -> None:
    """Give the browser a session. It ends with the browser, or when the server says."""
    # Lax: with Strict, who comes from the provider of OpenID Connect, or from a link, would seem logged out.
    response.set_cookie(
        cookie_name(web), session_id, path="/", secure=is_secure(web), httponly=True, samesite="lax"
    )


def clear_cookie(response: Response, web: WebSettings) -> None:
    """Take the session from the browser."""
    response.delete_cookie(cookie_name(web), path="/", secure=is_secure(web), httponly=True, samesite="lax")


def check_same_origin(request: Request, required: bool = False) -> None:
    """Raise Problem 403 where a browser sends this for a page of another site.

    Every browser of today says so, in Sec-Fetch-Site (on TLS and loopback) or in Origin. required: also raise
    where neither is said, as by a program.
    """
    fetch_site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if fetch_site is not None:
        ours = fetch_site == "same-origin"
    elif origin is not None:
        ours = _is_own_origin(request, origin)
    else:
        ours = not required
    if not ours:
        raise Problem(
            403,
            "this was not sent by a page of hepcat",
            "Programs use an API token. Behind a proxy, [web] public_url has to say what browsers see.",
            kind="origin",
        )


def peer_of(request: Request) -> str:
    """Return the address to count attempts by: of a trusted proxy, what it says it got them from."""
    site: Site = request.app.state.site
    peer = request.client.host if request.client else ""
    return site.proxies.client(peer, request.headers.getlist("x-forwarded-for"))


def _check_open(request: Request) -> None:
    """Raise Problem unless the request comes from a person or program of this machine."""
    site: Site = request.app.state.site
    peer = request.client.host if request.client else ""
    forwarded = any(name.startswith(_FORWARDED) for name in request.headers)
    if forwarded or not is_loopback_address(peer) or _is_public(site.web):
        raise Problem(
            403,
            "there are no accounts yet, so only this machine may look",
            "Make an account: hepcat user add NAME --role admin",
            kind="no-accounts",
        )
    host = _host_of(request.headers.get("host", ""))
    if not is_local_name(host):
        raise Problem(
            421,
            "without accounts, hepcat answers to names of this machine only",
            "Use http://127.0.0.1 or http://localhost, or make an account: hepcat user add NAME --role admin",
            kind="host",
        )
    if request.method not in SAFE:
        check_same_origin(request)
    elif (
        request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
        and request.headers.get("sec-fetch-mode") != "navigate"
    ):
        check_same_origin(request)  # an answer that page could not read; but a search costs


def _is_public(web: WebSettings) -> bool:
    """Whether browsers elsewhere have an address for the page. It does not start so without accounts, but the
    last one may have been removed since."""
    return web.public_url is not None and not is_local_name(urlsplit(web.public_url).hostname or "")


def _check_csrf(request: Request, session: Session) -> None:
    shown = request.headers.get("x-csrf-token", "")
    if not hmac.compare_digest(shown.encode(), session.csrf.encode()):
        raise Problem(
            403,
            "the request lacks the session's X-CSRF-Token",
            "GET /api/session tells it. Programs use an API token.",
            kind="csrf",
        )


def _is_own_origin(request: Request, origin: str) -> bool:
    site: Site = request.app.state.site
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    if site.web.public_url is not None and origin.lower() == _origin_of(site.web.public_url):
        return True
    return (
        parts.scheme == ("https" if site.web.certificate is not None else "http")
        and parts.netloc.lower() == request.headers.get("host", "").lower()
    )


def _origin_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()


def _host_of(header: str) -> str:
    """Return the host of a Host header, without port and brackets; "" where it is none."""
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return ""


def _unknown_token() -> Problem:
    return Problem(
        401,
        "no such API token: it is wrong, has ended, or its owner may not log in",
        "hepcat token list shows the tokens that there are.",
        kind="token",
        headers={"WWW-Authenticate": 'Bearer error="invalid_token"'},
    )
