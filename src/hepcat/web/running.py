"""Runs the application on a socket, until told to stop.

In: what the site is for, a listening socket, TLS. Out: nothing; returns after SIGTERM or SIGINT. What can go
wrong: nothing that a client does.

At a stop live results end at once, and what else is being answered has a second; then searches are ended,
which say so, and what is still being sent after that is broken off. It takes less than two seconds.
"""

import asyncio
import contextlib
import functools
import logging
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import structlog
import uvicorn

from hepcat.web.app import make_app
from hepcat.web.connections import Connection, give_up_slow
from hepcat.web.door import Clients, Door
from hepcat.web.site import Site, SiteOptions

#: Seconds after the signal at which searches are ended, and connections broken off; a page in live mode, and
#: a client that takes nothing, never end by themselves.
_SEARCHES_END: Final = 1.0
_ALL_END: Final = 1.5
#: Seconds after which uvicorn waits no more for what still runs in threads.
_THREADS_END: Final = 2
#: Seconds for a TLS handshake.
_HANDSHAKE: Final = 20.0
#: Ticks of uvicorn's loop (0.1 s) between two looks at all connections.
_LOOK_TICKS: Final = 10
_BACKLOG: Final = 512

log = structlog.get_logger("hepcat.web")


class Running(uvicorn.Server):
    """Uvicorn behind our door. ends: what is to be called how many seconds after the signal to stop."""

    def __init__(
        self,
        config: uvicorn.Config,
        listening: socket.socket,
        clients: Clients,
        ends: Sequence[tuple[float, Callable[[], object]]] = (),
    ) -> None:
        super().__init__(config)
        self._clients, self._ends = clients, ends
        if not config.loaded:
            config.load()
        self._door = Door(listening, clients, secure=config.ssl is not None)

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until a signal comes."""
        super().run([])

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept: by ourselves, so that each connection knows its socket."""
        await super().startup([])
        made = functools.partial(
            Connection,
            self._door,
            self._clients,
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )
        loop, tls = asyncio.get_running_loop(), self.config.ssl
        self.servers.append(
            await loop.create_server(
                made,
                sock=self._door,
                backlog=_BACKLOG,
                ssl=tls,
                ssl_handshake_timeout=None if tls is None else _HANDSHAKE,
            )
        )

    async def on_tick(self, counter: int) -> bool:
        """Look at the connections now and then; return whether it is time to stop."""
        if counter % _LOOK_TICKS == 0:
            give_up_slow(self._connections())
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End what is being answered, then all else."""
        loop = asyncio.get_running_loop()
        for seconds, end in self._ends:
            loop.call_later(seconds, end)
        loop.call_later(_ALL_END, self._break_off)
        await super().shutdown([])

    def _break_off(self) -> None:
        # What uvicorn says from here on, with tracebacks, is said here.
        logging.getLogger("uvicorn").setLevel(logging.CRITICAL)
        left = self._connections()
        for connection in left:
            connection.transport.abort()
        if left:
            log.info("stopping: what was still being sent is broken off", answers=len(left))

    def _connections(self) -> list[Connection]:
        return [one for one in self.server_state.connections if isinstance(one, Connection)]

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take the signals; uvicorn would send them to this process again at its end."""
        with super().capture_signals():
            yield
            self._captured_signals.clear()


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a line of uvicorn's is not said elsewhere: that an answer was broken off is (streams.py)."""
    return record.msg != "ASGI callable returned without completing response."


def run(options: SiteOptions, listening: socket.socket, tls: ssl.SSLContext | None = None) -> None:
    """Serve until a signal comes."""
    # It would write a line of each request that is no HTTP, or one too many: anybody could fill the log.
    logging.getLogger("uvicorn").setLevel(logging.ERROR)
    logging.getLogger("uvicorn.error").addFilter(_is_news)
    site = Site(options)
    config = uvicorn.Config(
        make_app(site),
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="on",
        ws="none",
        loop="asyncio",
        http="h11",
        timeout_graceful_shutdown=_THREADS_END,
        timeout_keep_alive=30,
        limit_concurrency=site.clients.most + 1,
        h11_max_incomplete_event_size=65_536,
        ssl_context_factory=None if tls is None else lambda *_: tls,
    )
    ends = ((0.0, site.live.close), (_SEARCHES_END, site.searches.close))
    Running(config, listening, site.clients, ends).run()
