"""Runs the application on a socket, until told to stop.

In: what the site is for, a listening socket, TLS. Out: nothing; returns after SIGTERM or SIGINT. What can go
wrong: nothing that a client does.
"""

import logging
import socket
import ssl
from typing import Final

import uvicorn

from hepcat.web.app import make_app
from hepcat.web.connections import Connection, most_connections
from hepcat.web.site import Site, SiteOptions

#: Seconds for requests to end once it is to stop; a page in live mode never ends by itself.
_GRACE: Final = 2


def run(options: SiteOptions, listening: socket.socket, tls: ssl.SSLContext | None = None) -> None:
    """Serve until a signal comes."""
    # It would write a line of each request that is no HTTP, or one too many: anybody could fill the log.
    logging.getLogger("uvicorn").setLevel(logging.ERROR)
    site = Site(options)
    config = uvicorn.Config(
        make_app(site),
        http=Connection,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="on",
        ws="none",
        timeout_graceful_shutdown=_GRACE,
        timeout_keep_alive=30,
        limit_concurrency=most_connections(),
        h11_max_incomplete_event_size=65_536,
        ssl_context_factory=None if tls is None else lambda *_: tls,
    )
    uvicorn.Server(config).run(sockets=[listening])
