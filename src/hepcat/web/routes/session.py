"""/api/session: who is logged in, logging in and out, a new password.

In: name and password as JSON. Out: a session's cookie. What can go wrong: 401 for a wrong name or password,
in the same words and after the same time whether there is such a user or not; 403 from another site's page;
429 after too many attempts. Comparing a password takes 64 MiB and some 0.1 s: few at once, and few may wait.
"""

import re
from collections.abc import Callable
from typing import Annotated, Any, Final, TypeVar

import structlog
from anyio import CapacityLimiter
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from hepcat.web.accounts.passwords import WeakPassword
from hepcat.web.accounts.throttle import TooMany
from hepcat.web.accounts.users import User
from hepcat.web.auth import (
    Principal,
    Viewer,
    check_same_origin,
    clear_cookie,
    cookie_name,
    in_thread,
    peer_of,
    principal_of,
    set_cookie,
)
from hepcat.web.problems import PROBLEMS, Problem
from hepcat.web.site import Site, TheSite

#: Passwords compared at once.
_COMPARING: Final = 2
#: Requests that wait for that.
_WAITING: Final = 32

Text = Annotated[str, StringConstraints(max_length=1024)]
T = TypeVar("T")
log = structlog.get_logger("hepcat.web")
router = APIRouter(prefix="/api/session", tags=["accounts"])


class Login(BaseModel):
    """Name and password."""

    model_config = ConfigDict(extra="forbid")
    user: Text = Field(description="The user's name.")
    password: Text = Field(description="The password.", json_schema_extra={"format": "password"})


class NewPassword(BaseModel):
    """The password of now, and the one to come."""

    model_config = ConfigDict(extra="forbid")
    old: Text = Field(description="The password of now.", json_schema_extra={"format": "password"})
    new: Text = Field(description="The new one.", json_schema_extra={"format": "password"})


class _Comparing:
    """Places for those whose password is compared, in this event loop."""

    def __init__(self) -> None:
        self._limiter: CapacityLimiter | None = None

    async def run(self, function: Callable[..., T], *arguments: object) -> T:
        if self._limiter is None:
            self._limiter = CapacityLimiter(_COMPARING)
        if self._limiter.statistics().tasks_waiting >= _WAITING:
            raise Problem(
                429,
                "too many people log in just now",
                "Try again in some seconds.",
                kind="busy",
                headers={"Retry-After": "2"},
            )
        async with self._limiter:
            return await in_thread(function, *arguments)


_comparing = _Comparing()


@router.get("", summary="Who is logged in, how to log in", responses=PROBLEMS)
async def session(request: Request, site: TheSite) -> dict[str, Any]:
    """Return who is logged in, what they may do, and how to log in."""
    return await _described(site, await principal_of(request))


@router.post("", summary="Log in", responses=PROBLEMS)
async def log_in(request: Request, response: Response, site: TheSite, login: Login) -> dict[str, Any]:
    """Log in with name and password; the answer sets the session's cookie."""
    check_same_origin(request)
    if await in_thread(site.accounts.open):
        raise Problem(
            409, "there are no accounts", "Make one: hepcat user add NAME --role admin", kind="no-accounts"
        )
    user = await _checked(request, site, login.user, login.password)
    session_id = await in_thread(site.accounts.sessions.begin, user) if user else None
    if user is None or session_id is None:
        log.warning("a login failed", user=_for_log(login.user), peer=peer_of(request))
        raise Problem(401, "the user name or the password is wrong", kind="password")
    await _end_old(request, site)
    log.info("logged in", user=user.name, peer=peer_of(request))
    set_cookie(response, site.web, session_id)
    response.headers["Cache-Control"] = "no-store"
    found = await in_thread(site.accounts.sessions.find, session_id)
    if found is None:  # disabled in this very moment
        raise Problem(401, "the user name or the password is wrong", kind="password")
    return await _described(site, Principal(found.name, found.role, "session", found))


@router.delete("", status_code=204, summary="Log out", responses=PROBLEMS)
async def log_out(request: Request, response: Response, site: TheSite) -> None:
    """Log out: the session ends here and in the browser."""
    check_same_origin(request)
    principal = await principal_of(request)
    if principal is not None and principal.session is not None:
        await in_thread(site.accounts.sessions.end, principal.session.key)
        log.info("logged out", user=principal.name)
    clear_cookie(response, site.web)


@router.post("/password", status_code=204, summary="Change one's own password", responses=PROBLEMS)
async def change_password(
    request: Request, response: Response, site: TheSite, viewer: Viewer, passwords: NewPassword
) -> None:
    """Change one's own password. Ends one's other sessions and all one's API tokens."""
    name = own_account(viewer)
    user = await _checked(request, site, name, passwords.old)
    if user is None:
        log.warning("a change of password failed", user=name, peer=peer_of(request))
        raise Problem(403, "the old password is wrong", kind="password")
    try:
        user = await _comparing.run(site.accounts.users.set_password, name, passwords.new)
    except WeakPassword as error:
        raise Problem(400, str(error), error.hint, kind="weak-password") from None
    log.info("changed the password", user=name)
    session_id = await in_thread(site.accounts.sessions.begin, user)
    if session_id is not None:
        set_cookie(response, site.web, session_id)


def own_account(principal: Principal) -> str:
    """Return the name of the user who asks, with a session of a password; raise Problem 403 for others.

    A token must not make tokens, which would outlive it; and a provider's users have no account here, even
    where they have the name of one.
    """
    if principal.via == "session":
        return principal.name
    why = {
        "open": "there are no accounts yet",
        "token": "an API token may not do this",
        "oidc": "users of OpenID Connect have no password and no API tokens here",
    }
    raise Problem(403, why[principal.via], "Log in with a name and password of hepcat.", kind="own-account")


async def _checked(request: Request, site: Site, name: str, password: str) -> User | None:
    """Return the user if the password is right; counts the attempt."""
    throttle, peer = site.accounts.throttle, peer_of(request)
    try:
        throttle.begin(name, peer)
    except TooMany as error:
        raise Problem(
            429, str(error), error.hint, kind="attempts", headers={"Retry-After": str(error.seconds)}
        ) from None
    user = await _comparing.run(site.accounts.users.check, name, password)
    if user is not None:
        throttle.succeeded(name, peer)
    return user


async def _end_old(request: Request, site: Site) -> None:
    """End the session that the browser had before; nobody can leave one there to be used (fixation)."""
    old = request.cookies.get(cookie_name(site.web), "")
    found = await in_thread(site.accounts.sessions.find, old) if old else None
    if found is not None:
        await in_thread(site.accounts.sessions.end, found.key)


async def _described(site: Site, principal: Principal | None) -> dict[str, Any]:
    accounts, oidc = site.accounts, site.web.oidc
    return {
        "user": principal.name if principal else None,
        "role": principal.role if principal else None,
        "via": principal.via if principal else None,
        "open": principal is not None and principal.via == "open",
        "login": {
            "password": await in_thread(accounts.users.any),
            "oidc": oidc.name if oidc is not None else None,
        },
        "csrf": principal.session.csrf if principal and principal.session else None,
    }


def _for_log(name: str) -> str:
    """Return what the log may hold: some type the password where the name belongs."""
    return name if re.fullmatch(r"[A-Za-z0-9._@+-]{1,64}", name) else "(no user's name)"
