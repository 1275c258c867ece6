"""Server-sent events (WHATWG HTML, "Server-sent events"), and who waits for them.

In: names and values. Out: octets of a stream; a `Listener` holds those that its client has not taken yet,
within bounds. What can go wrong: a client that takes them more slowly than they come is dropped, and told
why.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any, Final

from hepcat.web.rows import encode

#: Seconds of silence after which a comment is sent: proxies close what is silent for long.
KEEP_ALIVE: Final = 15.0
#: What a client may be behind, at most.
MOST_EVENTS: Final = 200
MOST_OCTETS: Final = 4 << 20
#: Milliseconds until a browser connects again.
_RETRY: Final = b"retry: 2000\n\n"


def event(name: str, value: Any, identity: str = "") -> bytes:
    """Return one event; JSON has no line ends, so it is one line of data."""
    head = f"id: {identity}\n" if identity else ""
    return f"{head}event: {name}\ndata: ".encode() + encode(value) + b"\n\n"


class Listener:
    """One client's queue. `offer` is called in the event loop's thread, as all else."""

    def __init__(self) -> None:
        self._events: deque[bytes] = deque()
        self._octets = 0
        self._come = asyncio.Event()
        self.slow = False
        self._ended = False

    def end(self) -> None:
        """Let the stream end once it has sent what it has."""
        self._ended = True
        self._come.set()

    def offer(self, octets: bytes) -> None:
        """Add an event."""
        if self.slow or self._ended:
            return
        self._events.append(octets)
        self._octets += len(octets)
        if len(self._events) > MOST_EVENTS or self._octets > MOST_OCTETS:
            self.slow = True
            self._events.clear()
            self._octets = 0
        self._come.set()

    async def stream(
        self, still_there: Callable[[], Awaitable[bool]], missed: Sequence[bytes] = ()
    ) -> AsyncGenerator[bytes]:
        """Yield what was missed, then what comes. still_there: asked now and then: may it still listen?"""
        yield _RETRY
        for octets in missed:
            yield octets
        looked = time.monotonic()
        while True:
            silent = False
            try:
                async with asyncio.timeout(KEEP_ALIVE):
                    await self._come.wait()
            except TimeoutError:
                silent = True
            if silent or time.monotonic() - looked >= KEEP_ALIVE:  # also where there is never silence
                looked = time.monotonic()
                if not await still_there():
                    yield event("note", {"note": "The session has ended: log in again."})
                    return
            if silent:
                yield b": still here\n\n"
                continue
            self._come.clear()
            if self.slow:
                yield event("slow", {"note": "This client takes results more slowly than they come."})
                return
            octets = b"".join(self._events)
            self._events.clear()
            self._octets = 0
            if octets:
                yield octets
            if self._ended:
                return
