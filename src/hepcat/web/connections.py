"""A connection of a client: given up where no whole request comes, or where nobody takes the answer.

In: octets of a client. Out: what uvicorn makes of them. What can go wrong: nothing else; what is given up is
counted (door.py).

Uvicorn waits for ever for a connection's first request, for the rest of one that has begun, for a body, and
for a client to take its answer, which is whole in memory by then: as many such connections as may be there at
once would lock everybody out, with no account at all.
"""

import asyncio
import contextlib
import resource
import time
from typing import Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from hepcat.pipeline.privileges import raise_file_limit
from hepcat.web.door import Clients, Door, Ended
from hepcat.web.problems import problem_response

#: Seconds for a request to arrive, head and body: of a connection's first, and once a next one has begun.
PATIENCE: Final = 20.0
#: Of an answer, so many octets have to be taken in so many seconds, or all of it: 35 kbit/s.
LEAST: Final = 128 << 10
STALLED: Final = 30.0
#: Octets of answers that wait to be taken, of all connections.
MOST_UNSENT: Final = 256 << 20
#: Descriptors that are for the stores' files, not for clients.
_OTHER_FILES: Final = 512


class Connection(H11Protocol):
    """HTTP/1.1 with a limit on how long a request may take to arrive, and its answer to be taken."""

    _patience: asyncio.TimerHandle | None = None
    #: since when the client has taken too little of its answer, and how much it had by then
    _since: float | None = None
    _sent = 0

    def __init__(self, door: Door, clients: Clients, **uvicorns: Any) -> None:
        super().__init__(**uvicorns)
        self._door, self._clients = door, clients

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self._accepted = self._door.sockets[transport.get_extra_info("socket").fileno()]
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

    def send_400_response(self, msg: str) -> None:
        """Tell a client that what it sends is no HTTP; where it is being answered already, only end that."""
        answer = problem_response(400, "this is no HTTP that is understood here")
        headers = [
            ("Content-Type", answer.media_type or ""),
            ("Content-Length", str(len(answer.body))),
            ("Connection", "close"),
        ]
        with contextlib.suppress(h11.LocalProtocolError):
            parts = [
                self.conn.send(h11.Response(status_code=400, headers=headers, reason=b"Bad Request")),
                self.conn.send(h11.Data(data=bytes(answer.body))),
                self.conn.send(h11.EndOfMessage()),
            ]
            self.transport.write(b"".join(part or b"" for part in parts))
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True  # what is still made for it is for nobody
            self.cycle.message_event.set()
        self.transport.close()

    def look(self) -> int:
        """Give up a client that takes its answer too slowly; return how many octets wait for it."""
        unsent, now, sent = _unsent(self.transport), time.monotonic(), self._accepted.sent
        if not unsent:
            self._since = None
        elif self._since is None or sent - self._sent >= LEAST:
            self._since, self._sent = now, sent
        elif now - self._since >= STALLED:
            self.give_up(Ended.NOT_READ)
            return 0
        return unsent

    def give_up(self, why: Ended) -> None:
        """Break it off."""
        self._clients.ended[why] += 1
        self.transport.abort()

    def _wait(self) -> None:
        self._patience = self.loop.call_later(PATIENCE, self._end_patience)

    def _end_wait(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _end_patience(self) -> None:
        self._patience = None
        if not self.transport.is_closing():
            self.give_up(Ended.NO_REQUEST)


def give_up_slow(connections: list[Connection]) -> None:
    """Look at all: give up those that take too little, and, where too much waits in all, the largest."""
    unsent = {connection: connection.look() for connection in connections}
    total = sum(unsent.values())
    while total > MOST_UNSENT:
        largest = max(unsent, key=unsent.__getitem__)
        largest.give_up(Ended.NOT_READ)
        total -= unsent.pop(largest)


def most_connections(wanted: int) -> int:
    """Return how many there may be at once: the stores need descriptors too."""
    raise_file_limit()
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if soft == resource.RLIM_INFINITY else min(wanted, max(soft - _OTHER_FILES, soft // 2))


def _unsent(transport: asyncio.Transport) -> int:
    """Return how many octets of an answer wait; asyncio's TLS hides those that are encrypted already."""
    below = getattr(getattr(transport, "_ssl_protocol", None), "_transport", None)
    return transport.get_write_buffer_size() + (below.get_write_buffer_size() if below is not None else 0)
