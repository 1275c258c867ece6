"""The OpenAPI document: what FastAPI makes of the routes, and what it cannot know.

In: the application. Out: the document at /api/openapi.json. What can go wrong: nothing.

Added are the ways to be known (session cookie, bearer token), problem documents in place of FastAPI's own
errors, and the kinds of problems with what to do about each (`x-problem-kinds`, shown by /api/docs).
"""

import re
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi

from hepcat.search.render.escape import safe_line
from hepcat.web.auth import cookie_name
from hepcat.web.models import ProblemModel
from hepcat.web.problems import MEDIA_TYPE, problem_response
from hepcat.web.site import Site

#: Every `type` of a problem is /api/docs#problem-KIND.
KINDS: Final[dict[str, str]] = {
    "query": "The query cannot be understood. `position` is where, in characters of `query`, 0 is the first.",
    "parameter": "A parameter has no meaning as it is; `detail` says which and why.",
    "request": "It cannot be done as it was asked; `detail` says why.",
    "cursor": "The cursor is none, or of another request. Begin again without it.",
    "too-large": "The answer would be larger than it may be: narrow the time or the query. Or the body was.",
    "media-type": "A body has to be JSON and to say so: `Content-Type: application/json`.",
    "not-found": "There is nothing at this path; GET /api/openapi.json has all routes.",
    "method": "The path does not take this method; `Allow` has those that it takes.",
    "busy": "Too much at once. `Retry-After` says after how many seconds to try again.",
    "timeout": "The search took longer than [web] query_seconds, and was stopped. Narrow it.",
    "cancelled": "The search was stopped: its client went away, or the server is stopping.",
    "no-call": "Nothing is known of this Call-ID; `similar` has some that come close.",
    "no-store": "There is no store of that name; GET /api/stores lists them.",
    "store-away": "The store does not answer just now; `detail` has its words.",
    "no-tail": "What arrives in this store cannot be followed.",
    "no-server": "No server runs on this lake, so there is nobody to ask or to switch.",
    "login": "Nobody is logged in. POST /api/session, or send a token: `Authorization: Bearer hepcat_...`",
    "token": "The token is wrong, has ended, or its owner may not log in.",
    "role": "This is for administrators.",
    "csrf": "A session changes something only with its X-CSRF-Token, which GET /api/session tells.",
    "origin": "The request was sent by a page of another site.",
    "host": "Without accounts only names of this machine are answered to.",
    "no-accounts": "There are no accounts, so only this machine may look: `hepcat user add`.",
    "own-account": "Only who has an account here, and logged in with its password, may do this.",
    "password": "The password is wrong, or the user name.",
    "weak-password": "The new password is too easily guessed.",
    "attempts": "Too many wrong passwords; `Retry-After` says how many seconds to wait.",
    "refused": "The server refused: its words are in `detail`.",
    "accounts": "The file of the accounts cannot be read; the server's log says why.",
    "fault": "A fault in hepcat; the server's log has it.",
}
_TAGS: Final = (
    ("search", "Calls and messages that match a query of the language of `hepcat search`."),
    ("call", "One call: its messages, its ladder, what went wrong."),
    ("query language", "What a query box needs: fields, recent values, where a fault is."),
    ("server", "The running server: its state, counters, agents, the capture switch."),
    ("accounts", "Who is logged in, tokens."),
)
_ABOUT: Final = (
    "Times are microseconds since the epoch (UTC), durations seconds. `since` and `until` also take ISO 8601 "
    "and lengths of time before now, such as `15m`. Errors are problem documents (RFC 9457). No parameter "
    "takes SQL."
)
#: Parameters that say what is asked for; the others come after them as they stand.
_FIRST: Final = ("id", "by", "field", "q", "since", "until")
#: Routes that answer whoever asks.
_OPEN: Final = frozenset({"/healthz"})


def install(app: FastAPI) -> None:
    """Let the application offer this document."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = make(app)
        return app.openapi_schema

    async def wrong_method(request: Request, error: Exception) -> Response:
        return problem_response(
            405,
            f"{request.method} is not a method of {safe_line(request.url.path, 200)}",
            headers={"Allow": ", ".join(_methods(document(), request.url.path)) or _allow(error)},
        )

    app.openapi = document  # type: ignore[method-assign]
    app.add_exception_handler(405, wrong_method)


def _methods(document: dict[str, Any], path: str) -> list[str]:
    """Return the methods of all routes of a path: each route by itself knows only its own."""
    found: set[str] = set()
    for template, methods in document["paths"].items():
        if re.fullmatch("[^/]+".join(map(re.escape, re.split(r"\{[^}]*\}", template))), path):
            found.update(method.upper() for method in methods)
    return sorted(found)


def _allow(error: Exception) -> str:
    headers = getattr(error, "headers", None) or {}
    return str(headers.get("Allow", ""))


def make(app: FastAPI) -> dict[str, Any]:
    """Return the document."""
    site: Site = app.state.site
    made = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=_ABOUT,
        routes=app.routes,
        tags=[{"name": name, "description": about} for name, about in _TAGS],
    )
    parts = made.setdefault("components", {})
    schemas = parts.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas["ProblemModel"] = ProblemModel.model_json_schema()
    parts["securitySchemes"] = {
        "session": {"type": "apiKey", "in": "cookie", "name": cookie_name(site.web)},
        "token": {"type": "http", "scheme": "bearer", "description": "hepcat token add USER"},
    }
    problem = {"content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemModel"}}}}
    for path, methods in made["paths"].items():
        for operation in methods.values():
            answers = operation["responses"]
            answers.pop("422", None)  # FastAPI's; here it is 400, as all that is wrong with a request
            answers.setdefault("400", {"description": "A parameter has no meaning as it is.", **problem})
            answers["default"] = {"description": "Any other error: a problem document (RFC 9457).", **problem}
            operation.get("parameters", []).sort(key=_place)
            if path not in _OPEN:
                # Neither is needed on loopback while there are no accounts.
                operation["security"] = [{"session": []}, {"token": []}, {}]
    made["x-problem-kinds"] = [{"kind": kind, "doc": doc} for kind, doc in KINDS.items()]
    return made


def _place(parameter: dict[str, Any]) -> int:
    name = parameter["name"]
    return _FIRST.index(name) if name in _FIRST else len(_FIRST)
