"""The application: routes, errors, headers, the pages.

In: a `Site`. Out: an ASGI application. What can go wrong: nothing at making it; each request's errors are
problem documents (problems.py).
"""

import contextlib
import importlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from fastapi import FastAPI
from starlette.middleware.gzip import GZipMiddleware

from hepcat import __version__
from hepcat.web import openapi, problems
from hepcat.web.auth import is_secure
from hepcat.web.bodies import BoundedBodies
from hepcat.web.headers import SecurityHeaders
from hepcat.web.routes import pages
from hepcat.web.site import Site

#: Modules with a `router` each.
ROUTES: Final = (
    "status",
    "call",
    "calls",
    "messages",
    "numbers",
    "figures",
    "words",
    "export",
    "live",
    "pages",
    "session",
    "tokens",
    "oidc",
)
STATIC: Final = Path(__file__).with_name("static")


def make_app(site: Site) -> FastAPI:
    """Return the application; it closes the site at its end."""

    @contextlib.asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        site.start()
        try:
            yield
        finally:
            site.close()

    app = FastAPI(
        title="hepcat",
        version=__version__,
        summary="SIP calls: find them, see them, see what went wrong.",
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=life,
    )
    app.state.site = site
    problems.install(app)
    for name in ROUTES:
        app.include_router(importlib.import_module(f"hepcat.web.routes.{name}").router)
    openapi.install(app)
    pages.install(app)
    app.add_middleware(BoundedBodies)
    app.add_middleware(GZipMiddleware, minimum_size=1024, compresslevel=4)
    app.add_middleware(SecurityHeaders, secure=is_secure(site.web))
    return app
