"""The pages and what they are made of: files of the package, never of anywhere else.

In: GET of a page's path, or of /static/NAME. Out: the file, with an ETag; browsers ask again each time and
get 304 (a new version shows at once). What can go wrong: 404, for people a page, for programs a problem
document.
"""

import hashlib
import mimetypes
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from fastapi import APIRouter, FastAPI, Request, Response
from starlette.exceptions import HTTPException

from hepcat.search.render.escape import safe_line
from hepcat.web.problems import problem_response

STATIC: Final = Path(__file__).parent.parent / "static"
#: path -> file
PAGES: Final = {
    "/": "index.html",
    "/call": "call.html",
    "/dashboard": "dashboard.html",
    "/status": "status.html",
    "/login": "login.html",
    "/account": "account.html",
    "/api/docs": "docs.html",
}
#: What stands where there is no page, and what is no place of pages.
MISSING: Final = "missing.html"
_NO_PAGES: Final = ("/api/", "/auth/", "/static/")
_TYPES: Final = {".js": "text/javascript", ".html": "text/html", ".css": "text/css", ".svg": "image/svg+xml"}

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class _File:
    octets: bytes
    type: str
    etag: str


def _read(path: Path) -> _File:
    octets = path.read_bytes()
    kind = _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    if kind.startswith("text/"):
        kind += "; charset=utf-8"
    return _File(octets, kind, f'"{hashlib.sha256(octets).hexdigest()[:32]}"')


@cache
def _names() -> dict[str, Path]:
    """Return the files that there are: a name that is not among them is never looked for on the disk."""
    return {path.relative_to(STATIC).as_posix(): path for path in STATIC.rglob("*") if path.is_file()}


_files: dict[Path, tuple[int, _File]] = {}


def _file(name: str) -> _File:
    path = _names().get(name)
    if path is None:
        raise HTTPException(404, f"there is no {name[:200]!r} here")
    changed = path.stat().st_mtime_ns
    known = _files.get(path)
    if known is None or known[0] != changed:
        known = (changed, _read(path))
        _files[path] = known
    return known[1]


def _answer(request: Request, name: str) -> Response:
    file = _file(name)
    headers = {"ETag": file.etag, "Cache-Control": "no-cache"}
    if file.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(file.octets, media_type=file.type, headers=headers)


def install(app: FastAPI) -> None:
    """Let the application answer so where it has no route."""
    app.add_exception_handler(404, _missing)


async def _missing(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path = request.url.path
    for_people = "text/html" in request.headers.get("accept", "") and not path.startswith(_NO_PAGES)
    if for_people and request.method in ("GET", "HEAD"):
        file = _file(MISSING)
        return Response(file.octets, 404, {"Cache-Control": "no-store"}, file.type)
    told = f"there is nothing at {safe_line(path, 200)}" if error.detail == "Not Found" else str(error.detail)
    return problem_response(404, told)


def _page(name: str) -> object:
    async def page(request: Request) -> Response:
        return _answer(request, name)

    return page


for _path, _name in PAGES.items():
    router.add_api_route(_path, _page(_name), methods=["GET", "HEAD"], name=_name)  # type: ignore[arg-type]


@router.api_route("/static/{name:path}", methods=["GET", "HEAD"])
async def static(request: Request, name: str) -> Response:
    """Return one file."""
    return _answer(request, name)


@router.get("/favicon.ico")
async def favicon(request: Request) -> Response:
    """Return the icon, which browsers ask for on their own."""
    return _answer(request, "icon.svg")
