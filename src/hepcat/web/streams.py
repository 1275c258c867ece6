"""Answers that are sent as they are made: exports, live results.

In: octets, piece after piece. Out: an ASGI answer. What can go wrong: the client goes away, or takes nothing
for a while: then nothing more is made. What fails after the beginning breaks the connection off, so that no
half of a file looks like a whole one (RFC 9112 section 8: a chunked body without its last chunk is
incomplete).
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from typing import Final

import structlog
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from hepcat.errors import HepcatError
from hepcat.web.problems import Problem

#: Seconds in which a client has to take a piece.
STALLED: Final = 60.0

log = structlog.get_logger("hepcat.web")


class Streamed(Response):
    """An answer of pieces. gone: called when nobody waits any more; done: called at the end, always."""

    def __init__(
        self,
        pieces: AsyncGenerator[bytes],
        media_type: str,
        headers: Mapping[str, str] | None = None,
        gone: Callable[[], object] = lambda: None,
        done: Callable[[], object] = lambda: None,
        stalled: float = STALLED,
    ) -> None:
        self._pieces, self._gone, self._done, self._stalled = pieces, gone, done, stalled
        self.status_code = 200
        self.media_type = media_type
        self.background = None
        self.init_headers(headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the end, or until there is nobody to send to."""
        sending = asyncio.create_task(self._send(send))
        leaving = asyncio.create_task(_left(receive))
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not sending.done():
                self._gone()
            await _end(leaving, sending)
            await self._pieces.aclose()
            self._done()
        if not sending.cancelled() and (error := sending.exception()) is not None:
            # Nothing more is sent: the server closes the connection without the last chunk.
            known = isinstance(error, HepcatError | TimeoutError)
            say = log.warning if known else log.error
            why = str(error) or "the client took nothing for too long"
            say("an answer was broken off", path=scope["path"], why=why, exc_info=None if known else error)

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for piece in self._pieces:
            async with asyncio.timeout(self._stalled):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _left(receive: Receive) -> None:
    """Return once the client has gone away."""
    with contextlib.suppress(HTTPException):  # it sends more than a request may bring
        while (await receive())["type"] != "http.disconnect":
            pass


async def _end(*tasks: "asyncio.Task[None]") -> None:
    """Cancel what still runs, and wait for its end; errors stay in the tasks."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class Seats:
    """How many answers of a kind are sent at once, in total and to one user."""

    def __init__(self, what: str, most: int, a_user: int) -> None:
        self._what, self._most, self._a_user = what, most, a_user
        self._taken: Counter[str] = Counter()

    def __len__(self) -> int:
        return self._taken.total()

    @contextlib.contextmanager
    def taken(self, user: str) -> Iterator[None]:
        """Hold one. Raises Problem 429 where there is none."""
        if self._taken.total() >= self._most or self._taken[user] >= self._a_user:
            raise Problem(
                429,
                f"too many {self._what} at once",
                "Try again when one of them has ended.",
                kind="busy",
                headers={"Retry-After": "10"},
            )
        self._taken[user] += 1
        try:
            yield
        finally:
            self._taken[user] -= 1
            if not self._taken[user]:
                del self._taken[user]
