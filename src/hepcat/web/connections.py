"""A connection of a client: given up where no request comes, or not all of it.

In: octets of a client. Out: what uvicorn makes of them. What can go wrong: nothing else.

Uvicorn waits for ever for a connection's first request, for the rest of one that has begun, and for a body;
as many such connections as may be there at once would lock everybody out, with no account at all.
"""

import asyncio
import resource
from typing import Final

from uvicorn.protocols.http.h11_impl import H11Protocol

from hepcat.pipeline.privileges import raise_file_limit

#: Seconds for a request to arrive, head and body: of a connection's first, and once a next one has begun.
PATIENCE: Final = 20.0
#: Connections at once; further ones get 503.
_MOST: Final = 2000
#: Descriptors that are for the stores' files, not for clients.
_OTHER_FILES: Final = 512


class Connection(H11Protocol):
    """HTTP/1.1 with a limit on how long a request may take to arrive."""

    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Take octets; wait no more once a request is whole."""
        super().data_received(data)
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            if not cycle.more_body:
                self._end_wait()
        elif self._patience is None:  # uvicorn's own timer ended with the first octet of a next request
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._end_wait()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._patience = self.loop.call_later(PATIENCE, self._give_up)

    def _end_wait(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _give_up(self) -> None:
        self._patience = None
        if not self.transport.is_closing():
            self.transport.abort()


def most_connections() -> int:
    """Return how many there may be at once: the stores need descriptors too."""
    raise_file_limit()
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST if soft == resource.RLIM_INFINITY else min(_MOST, max(soft - _OTHER_FILES, soft // 2))
