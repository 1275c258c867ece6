"""/api/tokens: one's own API tokens.

In: a name, days, a role. Out: the token's secret, once. What can go wrong: 403 for whoever has no account of
their own here, 404 for another's token, 400 for wrong values.
"""

from typing import Annotated, Any, Literal

import structlog
from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from hepcat.errors import HepcatError
from hepcat.web.accounts.tokens import MOST_DAYS, Token
from hepcat.web.auth import Viewer, in_thread
from hepcat.web.problems import PROBLEMS, Problem
from hepcat.web.routes.session import own_account
from hepcat.web.site import TheSite

log = structlog.get_logger("hepcat.web")
router = APIRouter(prefix="/api/tokens", tags=["accounts"])


class NewToken(BaseModel):
    """What a token is for, and how long it is good."""

    model_config = ConfigDict(extra="forbid")
    name: Annotated[str, StringConstraints(min_length=1, max_length=64)] = Field(
        description="What it is for."
    )
    days: float | None = Field(
        None, gt=0, le=MOST_DAYS, description="Days it is good for; default: [web] token_days."
    )
    role: Literal["viewer", "admin"] | None = Field(
        None, description="At most one's own, which is the default."
    )


@router.get("", summary="One's own API tokens", responses=PROBLEMS)
async def tokens(site: TheSite, viewer: Viewer) -> dict[str, Any]:
    """Return one's own tokens, without what they open."""
    own = await in_thread(site.accounts.tokens.list, own_account(viewer))
    return {"tokens": [_row(token) for token in own], "days": site.web.token_days}


@router.post("", status_code=201, summary="Make an API token", responses=PROBLEMS)
async def add_token(site: TheSite, viewer: Viewer, new: NewToken) -> dict[str, Any]:
    """Make a token. `secret` is shown this once."""
    owner = own_account(viewer)
    days = new.days if new.days is not None else site.web.token_days
    secret, token = await in_thread(site.accounts.tokens.add, owner, new.name, days, new.role)
    log.info("made an API token", user=owner, token=token.id)
    return {"secret": secret, "token": _row(token)}


@router.delete("/{token}", status_code=204, summary="Revoke an API token", responses=PROBLEMS)
async def revoke_token(
    site: TheSite, viewer: Viewer, token: Annotated[int, Path(ge=1, lt=2**53, description="Its `id`.")]
) -> None:
    """Revoke one of one's own tokens; it opens nothing from now on."""
    owner = own_account(viewer)
    try:
        await in_thread(site.accounts.tokens.revoke, token, owner)
    except HepcatError as error:
        if isinstance(error, Problem):
            raise
        raise Problem(404, str(error), "GET /api/tokens shows which there are.", kind="token") from None
    log.info("revoked an API token", user=owner, token=token)


def _row(token: Token) -> dict[str, Any]:
    def microseconds(seconds: float | None) -> int | None:
        return None if seconds is None else int(seconds * 1_000_000)

    return {
        "id": token.id,
        "name": token.name,
        "role": token.role,
        "created": microseconds(token.created),
        "used": microseconds(token.used),
        "expires": microseconds(token.expires),
    }
