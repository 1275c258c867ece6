"""Errors as RFC 9457 problem documents.

In: exceptions of a route. Out: application/problem+json with type, title, status, detail, `hint` where there
is advice, and `query`, `position` (0-based, in characters) where a query cannot be understood. What can go
wrong: an error that nobody foresaw is logged with its traceback, and told as 500 without it.
"""

import re
from typing import Any, Final

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from hepcat.errors import HepcatError
from hepcat.search.errors import QueryError, StoreAway, UnknownName
from hepcat.search.render.escape import safe_line

MEDIA_TYPE: Final = "application/problem+json"
#: Where the kinds are described (openapi.py).
_TYPES: Final = "/api/docs#problem-"
#: The kind of what has no kind of its own, by its status.
KIND_OF: Final = {
    400: "request",
    404: "not-found",
    405: "method",
    413: "too-large",
    415: "media-type",
    500: "fault",
}
_TITLES: Final = {
    400: "Bad request",
    401: "Log in first",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    409: "Conflict",
    413: "Too large",
    415: "Unsupported media type",
    421: "Misdirected request",
    429: "Too many requests",
    500: "A fault in hepcat",
    501: "Not possible in this store",
    502: "The store does not answer",
    503: "Not available",
    504: "Time is over",
}
#: Of the kinds whose status says less than can be said, or that have several.
_TITLES_OF: Final = {
    "parameter": "Wrong parameter",
    "query": "The query cannot be understood",
    "refused": "The server refused",
}
#: RFC 6839 section 3.1: what is JSON by its suffix counts too.
_JSON: Final = re.compile(r"application/(?:[^;\s]+\+)?json\s*(?:;|$)", re.IGNORECASE)

#: What the OpenAPI document says of every route's errors.
PROBLEMS: Final[dict[int | str, dict[str, Any]]] = {
    "default": {
        "description": "A problem document (RFC 9457).",
        "content": {
            MEDIA_TYPE: {
                "schema": {
                    "type": "object",
                    "required": ["type", "title", "status", "detail"],
                    "properties": {
                        "type": {"type": "string"},
                        "title": {"type": "string"},
                        "status": {"type": "integer"},
                        "detail": {"type": "string"},
                        "hint": {"type": "string"},
                    },
                }
            }
        },
    }
}

log = structlog.get_logger("hepcat.web")


class Problem(HepcatError):
    """An error that knows its status. `more`: further members of the document; `headers`: of the answer."""

    def __init__(
        self, status: int, message: str, hint: str = "", *, kind: str = "", headers: Any = None, **more: Any
    ) -> None:
        super().__init__(message, hint)
        self.status = status
        self.kind = kind
        self.headers: dict[str, str] = dict(headers or {})
        self.more = more


def problem_response(
    status: int, detail: str, hint: str = "", *, kind: str = "", headers: Any = None, **more: Any
) -> JSONResponse:
    """Return the document. kind: of openapi.KINDS; else what KIND_OF says of the status."""
    kind = kind or KIND_OF.get(status, "")
    body: dict[str, Any] = {
        "type": _TYPES + kind if kind else "about:blank",
        "title": _TITLES_OF.get(kind) or _TITLES.get(status, "Error"),
        "status": status,
        "detail": detail,
        **({"hint": hint} if hint else {}),
        **more,
    }
    return JSONResponse(body, status, headers=headers, media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Let the application answer every error so."""
    app.add_exception_handler(HepcatError, _hepcat_error)
    app.add_exception_handler(RequestValidationError, _wrong_parameter)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _fault)


def of_error(error: HepcatError) -> JSONResponse:
    """Return the document of an error for people."""
    from hepcat.search.cancel import SearchCancelled, SearchTimeout
    from hepcat.stores.store import StoreUnavailable

    if isinstance(error, Problem):
        return problem_response(
            error.status, str(error), error.hint, kind=error.kind, headers=error.headers, **error.more
        )
    if isinstance(error, QueryError):
        return problem_response(
            400, error.reason, error.hint, kind="query", query=error.query, position=error.position
        )
    if isinstance(error, SearchTimeout):
        return problem_response(504, str(error), error.hint, kind="timeout")
    if isinstance(error, SearchCancelled):
        return problem_response(503, str(error), error.hint, kind="cancelled")
    if isinstance(error, StoreAway | StoreUnavailable):
        return problem_response(502, str(error), error.hint, kind="store-away")
    if isinstance(error, UnknownName):
        return problem_response(400, str(error), error.hint, kind="parameter")
    return problem_response(400, str(error), error.hint)


async def _hepcat_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HepcatError)
    return of_error(error)


async def _wrong_parameter(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    said = request.headers.get("content-type", "")
    whole = any(fault["loc"] == ("body",) and fault["type"] != "missing" for fault in error.errors())
    if whole and not _JSON.match(said):  # then the body was not read as JSON: what is in it may be right
        told = f"the body is {safe_line(said, 100)}, not JSON" if said else "the body does not say what it is"
        return problem_response(
            415,
            told,
            "Send Content-Type: application/json (curl: -H 'Content-Type: application/json').",
        )
    wrong = [
        {
            "parameter": ".".join(str(part) for part in fault["loc"][1:]) or str(fault["loc"][0]),
            "message": safe_line(str(fault["msg"])),
        }
        for fault in error.errors()[:20]
    ]
    told = "; ".join(f"{fault['parameter']}: {fault['message']}" for fault in wrong)
    return problem_response(400, told, kind="parameter", errors=wrong)


async def _http_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    detail = error.detail if isinstance(error.detail, str) else ""
    return problem_response(error.status_code, detail, headers=error.headers)


async def _fault(request: Request, error: Exception) -> JSONResponse:
    log.error("a request ran into a fault", path=request.url.path, exc_info=error)
    return problem_response(500, "The log of the server says more.", kind="fault")
