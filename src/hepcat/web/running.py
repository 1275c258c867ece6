"""Runs the application on a socket, until told to stop.

In: what the site is for, a listening socket. Out: nothing; returns after SIGTERM or SIGINT. What can go
wrong: HepcatError where certificate or key cannot be read.
"""

import logging
import socket
from typing import Any, Final

import uvicorn

from hepcat.web.app import make_app
from hepcat.web.site import Site, SiteOptions

#: Seconds for requests to end once it is to stop; a page in live mode never ends by itself.
_GRACE: Final = 2
#: Connections at once; further ones get 503.
_CONNECTIONS: Final = 2000


def run(options: SiteOptions, listening: socket.socket) -> None:
    """Serve until a signal comes."""
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    site = Site(options)
    web = options.settings.web
    tls: dict[str, Any] = {}
    if web.certificate is not None and web.key is not None:
        tls = {"ssl_certfile": str(web.certificate), "ssl_keyfile": str(web.key)}
    config = uvicorn.Config(
        make_app(site),
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=True,
        proxy_headers=False,
        lifespan="on",
        timeout_graceful_shutdown=_GRACE,
        timeout_keep_alive=30,
        limit_concurrency=_CONNECTIONS,
        h11_max_incomplete_event_size=65_536,
        **tls,
    )
    uvicorn.Server(config).run(sockets=[listening])
